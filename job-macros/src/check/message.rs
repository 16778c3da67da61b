//! Checks the struct of the args, written or made.

use proc_macro2::Span;
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Attribute, Fields, Generics, ItemStruct, Meta, Path, Signature, Token, Visibility};

use super::is_ours;
use super::types::{owned, surely_travels};
use crate::Errors;
use crate::model::{Definition, Field};

/// What serde's attributes may say without a field's type being anything but itself on the wire.
const HARMLESS: [&str; 7] = [
    "default",
    "rename",
    "rename_all",
    "alias",
    "skip_serializing_if",
    "deny_unknown_fields",
    "expecting",
];

/// Derives that look into nothing that belongs to serde.
const STD_DERIVES: [&str; 9] =
    ["Clone", "Copy", "Debug", "Default", "Eq", "Hash", "Ord", "PartialEq", "PartialOrd"];

/// The struct that a function makes.
pub(super) fn of_function(
    attrs: &[Attribute],
    vis: &Visibility,
    fields: Vec<Field>,
    sig: &Signature,
    errors: &mut Errors,
) -> Definition {
    let of = |name: &str| -> Vec<_> {
        attrs.iter().filter(|attr| attr.path().is_ident(name)).cloned().collect()
    };
    let serde = of("serde");
    if let Some(attr) = serde.first().filter(|_| fields.is_empty()) {
        errors.at(attr, "this job has no args to serialize: remove `#[serde(..)]`");
    }
    let mut docs = of("doc");
    if docs.is_empty() {
        use syn::ext::IdentExt;
        let text = format!(" The args of the job `{}`.", sig.ident.unraw());
        docs.push(syn::parse_quote!(#[doc = #text]));
    }
    let doubtful = doubtful(&serde, &fields);
    let fields = Some(fields).filter(|fields| !fields.is_empty());
    Definition {
        span: Span::call_site(),
        vis: vis.clone(),
        attrs: docs,
        serde,
        fields,
        hidden_debug: true,
        doubtful,
    }
}

/// The struct that somebody wrote.
pub(super) fn of_struct(item: &ItemStruct, errors: &mut Errors) -> Option<Definition> {
    let attrs = without_derive_job(&item.attrs, errors);
    let errors_before = errors.len();
    no_generics(&item.generics, errors);
    let derives = derives(&attrs);
    for derive in &derives {
        if last_is(derive, "Serialize") || last_is(derive, "Deserialize") {
            errors.at(
                derive,
                "`#[job]` derives this: remove it, or write `#[derive(Job)]` instead of `#[job]`",
            );
        }
    }
    let (serde, attrs) = split(&attrs);
    let fields: Option<Vec<Field>> = match &item.fields {
        Fields::Named(fields) => {
            Some(fields.named.iter().map(|field| named(field, errors)).collect())
        }
        Fields::Unit => None,
        Fields::Unnamed(fields) => {
            errors.at(
                fields,
                "an arg travels under its name, so it needs one: write `{ name: Type }`",
            );
            None
        }
    };
    if let Some(attr) = serde.first().filter(|_| fields.is_none()) {
        errors.at(attr, "this job has no args to serialize: remove `#[serde(..)]`");
    }
    let std_only = derives.iter().all(|path| STD_DERIVES.iter().any(|name| last_is(path, name)));
    let doubtful = match &fields {
        Some(fields) if std_only => doubtful(&serde, fields),
        _ => Vec::new(),
    };
    let hidden_debug = !derives.iter().any(|path| last_is(path, "Debug"));
    (errors.len() == errors_before).then(|| Definition {
        span: item.ident.span(),
        vis: item.vis.clone(),
        attrs,
        serde,
        fields,
        hidden_debug,
        doubtful,
    })
}

fn named(field: &syn::Field, errors: &mut Errors) -> Field {
    owned(&field.ty, errors);
    let (serde, attrs) = split(&field.attrs);
    let ident = field.ident.clone().expect("a named field has a name");
    Field { attrs, serde, vis: field.vis.clone(), ident, ty: field.ty.clone() }
}

pub(super) fn no_generics(generics: &Generics, errors: &mut Errors) {
    if !generics.params.is_empty() {
        errors.at(
            generics,
            "a job has one wire format, so its struct cannot be generic: write a struct for each \
             type",
        );
    } else if let Some(clause) = &generics.where_clause {
        errors.at(clause, "a job cannot be generic: remove the `where` clause");
    }
}

/// What is serde's, and the others.
fn split(attrs: &[Attribute]) -> (Vec<Attribute>, Vec<Attribute>) {
    attrs.iter().cloned().partition(|attr| attr.path().is_ident("serde"))
}

/// The attributes without those that would do the same once more, which is an error.
fn without_derive_job(attrs: &[Attribute], errors: &mut Errors) -> Vec<Attribute> {
    let attrs = attrs.iter().filter(|attr| !is_ours(attr));
    let without = |attr: &Attribute| {
        let paths = derives(std::slice::from_ref(attr));
        let Some(job) = paths.iter().find(|path| last_is(path, "Job")) else { return attr.clone() };
        errors.at(job, "`#[job]` does that, and derives serde's traits: remove either");
        let others = paths.iter().filter(|path| !last_is(path, "Job"));
        syn::parse_quote!(#[derive(#(#others),*)])
    };
    attrs.map(without).collect()
}

fn derives(attrs: &[Attribute]) -> Vec<Path> {
    let lists = attrs.iter().filter(|attr| attr.path().is_ident("derive"));
    // What cannot be read is for the compiler to tell.
    let parse = |attr: &Attribute| {
        attr.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated).unwrap_or_default()
    };
    lists.flat_map(parse).collect()
}

fn last_is(path: &Path, name: &str) -> bool {
    path.segments.last().is_some_and(|last| last.ident == name)
}

/// The types that the compiler has to be asked about: those of which it is not plain whether they
/// can travel, as far as nothing of serde's is between them and the wire.
fn doubtful(serde: &[Attribute], fields: &[Field]) -> Vec<syn::Type> {
    if !harmless(serde) {
        return Vec::new();
    }
    let mut types = Vec::new();
    let mut seen = Vec::new();
    for Field { serde, ty, .. } in fields {
        // `$crate` would not survive the way through a string, which serde's `bound` is.
        let text = ty.to_token_stream().to_string();
        if harmless(serde) && !surely_travels(ty) && !text.contains('$') && !seen.contains(&text) {
            types.push(ty.clone());
            seen.push(text);
        }
    }
    types
}

fn harmless(serde: &[Attribute]) -> bool {
    let metas = |attr: &Attribute| {
        attr.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()
    };
    serde.iter().all(|attr| {
        metas(attr).is_some_and(|metas| {
            metas.iter().all(|meta| HARMLESS.iter().any(|name| meta.path().is_ident(name)))
        })
    })
}
