//! Checks the function and makes the model of it, or says what is wrong.

use proc_macro2::{Spacing, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, FnArg, Ident, LitStr, Meta, Pat, PatType, PathArguments, ReturnType, Signature, Type,
};

use crate::model::{Field, Handler, Job, Message, Param};
use crate::parse::{Function, Setting};
use crate::{Errors, name, options};

const RETURN: &str = "write `-> Result<(), JobError>`";

/// Checks everything. Where something is wrong, the model holds what is right nevertheless.
pub(crate) fn job(function: &Function, settings: Vec<Setting>, errors: &mut Errors) -> Job {
    let Function { attrs, vis, sig, .. } = function;
    let options = options::check(settings, errors);
    form(sig, errors);
    output(sig, errors);

    let errors_before = errors.len();
    generics(sig, errors);
    let (fields, params) = params(sig, errors);
    let ident = args_struct(sig, errors);
    let attrs = struct_attrs(attrs, &fields, errors);
    let args_fit = errors.len() == errors_before;

    let name = options
        .name
        .unwrap_or_else(|| LitStr::new(&sig.ident.unraw().to_string(), sig.ident.span()));
    let message = ident.filter(|_| args_fit).map(|ident| Message {
        ident,
        vis: vis.clone(),
        attrs,
        fields,
        name,
        options: options.options,
    });
    let output = match &sig.output {
        ReturnType::Type(_, ty) => ty.span(),
        ReturnType::Default => sig.ident.span(),
    };
    Job {
        krate: options.krate.unwrap_or_else(|| syn::parse_quote!(::job_core)),
        message,
        handler: Handler { function: sig.ident.clone(), params, output },
    }
}

/// What kind of function it is.
fn form(sig: &Signature, errors: &mut Errors) {
    if let Some(constness) = &sig.constness {
        errors.at(constness, "a job cannot be `const`: remove it");
    }
    if sig.asyncness.is_none() {
        errors.at(sig.fn_token, format!("a job is async: write `async fn {}`", sig.ident));
    }
    if let Some(unsafety) = &sig.unsafety {
        errors.at(unsafety, "a worker calls a job by itself, so it must be safe: remove `unsafe`");
    }
    if let Some(abi) = &sig.abi {
        errors.at(abi, "a job is an ordinary function: remove `extern`");
    }
    if let Some(variadic) = &sig.variadic {
        errors.at(variadic, "the args of a job have names and types: write `name: Type`");
    }
}

fn generics(sig: &Signature, errors: &mut Errors) {
    let generics = &sig.generics;
    if !generics.params.is_empty() {
        errors.at(
            generics,
            "a job has one wire format, so its function cannot be generic: write a `#[job]` for \
             each type, and let them call a generic function",
        );
    } else if let Some(clause) = &generics.where_clause {
        errors.at(clause, "a job cannot be generic: remove the `where` clause");
    }
}

/// Whether it returns something that may be a `Result`. An alias may hide one, so that the rest is
/// up to the compiler.
fn output(sig: &Signature, errors: &mut Errors) {
    let ReturnType::Type(_, ty) = &sig.output else {
        let message = format!("a job must say whether it is done: {RETURN}");
        return errors.push(syn::Error::new(sig.paren_token.span.close(), message));
    };
    match ungroup(ty) {
        Type::Path(_) | Type::Macro(_) => {}
        Type::ImplTrait(_) => errors
            .at(ty, format!("a job is an `async fn` and returns what its future gives: {RETURN}")),
        _ => errors.at(ty, format!("a job must say whether it is done: {RETURN}")),
    }
}

/// The args, and where every parameter's value comes from.
fn params(sig: &Signature, errors: &mut Errors) -> (Vec<Field>, Vec<Param>) {
    let mut fields = Vec::new();
    let mut params = Vec::new();
    for param in &sig.inputs {
        match param {
            FnArg::Receiver(receiver) => errors.at(
                receiver,
                "a job is a free function without `self`: take what it needs as `Data<T>`, and \
                 move it out of the `impl` block",
            ),
            FnArg::Typed(param) if is_injected(param) => {
                injected(param, errors);
                params.push(Param::Injected((*param.ty).clone()));
            }
            FnArg::Typed(param) => {
                if let Some(field) = arg(param, errors) {
                    params.push(Param::Arg(field.ident.clone()));
                    fields.push(field);
                }
            }
        }
    }
    (fields, params)
}

/// By the last part of its type, `Data<..>` or `JobContext`, or because it is marked.
fn is_injected(param: &PatType) -> bool {
    param.attrs.iter().any(|attr| attr.path().is_ident("inject")) || is_injectable(&param.ty)
}

fn is_injectable(ty: &Type) -> bool {
    let Type::Path(path) = ungroup(ty) else { return false };
    path.path.segments.last().is_some_and(|last| match last.arguments {
        PathArguments::None => last.ident == "JobContext",
        // An app may have a `Data` of its own, and it is not likely to be generic.
        _ => last.ident == "Data",
    })
}

fn injected(param: &PatType, errors: &mut Errors) {
    for attr in &param.attrs {
        if attr.path().is_ident("serde") {
            errors
                .at(attr, "this parameter is injected and never serialized: remove `#[serde(..)]`");
        }
    }
    no_cfg(&param.attrs, errors);
}

fn arg(param: &PatType, errors: &mut Errors) -> Option<Field> {
    no_cfg(&param.attrs, errors);
    owned(&param.ty, errors);
    let Some(ident) = plain_name(&param.pat) else {
        let example = if matches!(*param.pat, Pat::Wild(_)) { "`unused`" } else { "`name`" };
        errors.at(
            &param.pat,
            format!(
                "an arg travels under its name, so it needs one: write {example}, and take it \
                 apart in the body"
            ),
        );
        return None;
    };
    let attrs = param.attrs.iter().filter(|attr| for_field(attr)).cloned().collect();
    Some(Field { attrs, ident: ident.clone(), ty: (*param.ty).clone() })
}

/// The name that a pattern is, if it is no more than that; it may be `mut`.
fn plain_name(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => Some(&pat.ident),
        _ => None,
    }
}

/// A parameter that comes and goes would change the wire format, and a call cannot leave one out.
fn no_cfg(attrs: &[Attribute], errors: &mut Errors) {
    for attr in attrs {
        if attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr") {
            errors.at(attr, "a job's parameters cannot depend on `cfg`: put it on the function");
        }
    }
}

/// Whether an attribute of a parameter belongs to the field.
pub(crate) fn for_field(attr: &Attribute) -> bool {
    attr.path().is_ident("doc") || attr.path().is_ident("serde")
}

/// Whether the type holds its own: it has to outlive the call that enqueues it.
fn owned(ty: &Type, errors: &mut Errors) {
    match ungroup(ty) {
        Type::Reference(reference) => {
            let inner = ungroup(&reference.elem);
            if is_injectable(inner) {
                let inner = readable(inner);
                errors.at(ty, format!("injected values are taken by value: write `{inner}`"));
            } else {
                let instead = owned_instead(inner);
                errors.at(
                    ty,
                    format!("args travel in messages, so they are owned: write `{instead}`"),
                );
            }
        }
        Type::ImplTrait(_) => errors.at(
            ty,
            "a job has one wire format, so its args have one type: write a type instead of \
             `impl Trait`",
        ),
        _ => {
            if let Some((span, what)) = borrowed(ty.to_token_stream()) {
                let message = format!(
                    "args travel in messages, so they are owned: write a type without {what}, such as \
                     `String` instead of `&str`"
                );
                errors.push(syn::Error::new(span, message));
            }
        }
    }
}

fn owned_instead(ty: &Type) -> String {
    match ty {
        Type::Path(path) if path.path.is_ident("str") => "String".into(),
        Type::Slice(slice) => format!("Vec<{}>", readable(&slice.elem)),
        Type::Path(_) => readable(ty),
        _ => "String".into(),
    }
}

/// The first thing in a type that borrows.
fn borrowed(tokens: TokenStream) -> Option<(Span, &'static str)> {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(punct) if punct.as_char() == '&' => {
                return Some((punct.span(), "references"));
            }
            TokenTree::Punct(punct) if punct.as_char() == '\'' => match tokens.next() {
                Some(TokenTree::Ident(name)) if name == "static" => {}
                _ => return Some((punct.span(), "lifetimes")),
            },
            TokenTree::Ident(ident) if ident == "impl" => {
                return Some((ident.span(), "`impl Trait`"));
            }
            TokenTree::Group(group) => {
                if let Some(found) = borrowed(group.stream()) {
                    return Some(found);
                }
            }
            _ => {}
        }
    }
    None
}

fn args_struct(sig: &Signature, errors: &mut Errors) -> Option<Ident> {
    let Some(ident) = name::args_struct(&sig.ident) else {
        errors.at(
            &sig.ident,
            "the struct of the args is named after the function, and this gives no name: write \
             one such as `send_welcome`",
        );
        return None;
    };
    if ident == sig.ident {
        errors.at(
            &sig.ident,
            format!(
                "the struct of the args is named after the function and would be called the same: \
                 write it in lowercase, as `{}`",
                ident.to_string().to_lowercase()
            ),
        );
        return None;
    }
    if let Some(span) = mention(quote!(#sig), &ident) {
        let message = format!(
            "the struct of the args is named after the function and would hide this `{ident}`: \
             rename the function to what it does, such as `handle_{}`",
            sig.ident.unraw()
        );
        errors.push(syn::Error::new(span, message));
    }
    Some(ident)
}

/// Where tokens name that type, other than by a path to somewhere else.
fn mention(tokens: TokenStream, ident: &Ident) -> Option<Span> {
    let mut behind_colons = false;
    for token in tokens {
        let found = match &token {
            TokenTree::Ident(name) if name == ident && !behind_colons => Some(name.span()),
            TokenTree::Group(group) => mention(group.stream(), ident),
            _ => None,
        };
        if found.is_some() {
            return found;
        }
        // The first colon of two is joint; the one between a name and its type is not.
        behind_colons = match &token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                behind_colons || punct.spacing() == Spacing::Joint
            }
            _ => false,
        };
    }
    None
}

/// The function's attributes that belong to the struct.
fn struct_attrs(attrs: &[Attribute], fields: &[Field], errors: &mut Errors) -> Vec<Attribute> {
    let serde = attrs.iter().find(|attr| attr.path().is_ident("serde"));
    if let Some(attr) = serde.filter(|_| fields.is_empty()) {
        errors.at(attr, "this job has no args to serialize: remove `#[serde(..)]`");
    }
    attrs.iter().filter(|attr| for_field(attr)).cloned().collect()
}

/// The type itself, also where a `macro_rules` macro passed it on.
fn ungroup(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        }
    }
}

/// A type as a person would write it.
fn readable(ty: &Type) -> String {
    let text = quote!(#ty).to_string();
    let mut out = String::with_capacity(text.len());
    for part in text.split(' ') {
        let tight = |c: char| "<>:&,()[]".contains(c);
        let joins = out.ends_with(|c| tight(c) && c != ',' && c != '>') || out.is_empty();
        if !(joins || part.starts_with(tight)) {
            out.push(' ');
        }
        out.push_str(part);
    }
    out
}

/// What a parameter keeps: neither what went to the field nor our own marker.
pub(crate) fn stays_on_param(attr: &Attribute) -> bool {
    !for_field(attr) && !matches!(&attr.meta, Meta::Path(path) if path.is_ident("inject"))
}
