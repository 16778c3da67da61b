//! Checks a function's signature, and where the values of its parameters come from.

use syn::{
    Attribute, FnArg, Ident, Meta, Pat, PatType, PathArguments, ReturnType, Signature, Type,
};
use syn::{Visibility, spanned::Spanned};

use super::types::{owned, ungroup};
use crate::Errors;
use crate::model::{Field, Param};

const RETURN: &str = "write `-> Result<(), JobError>`";

/// Everything about a signature but its parameters.
pub(super) fn form(sig: &Signature, errors: &mut Errors) {
    kind(sig, errors);
    output(sig, errors);
}

/// What kind of function it is.
fn kind(sig: &Signature, errors: &mut Errors) {
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

pub(super) fn generics(sig: &Signature, errors: &mut Errors) {
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

/// Where a wrong return type is to be shown.
pub(super) fn output_span(sig: &Signature) -> proc_macro2::Span {
    match &sig.output {
        ReturnType::Type(_, ty) => ty.span(),
        ReturnType::Default => sig.ident.span(),
    }
}

/// The args, and where every parameter's value comes from.
pub(super) fn params(sig: &Signature, errors: &mut Errors) -> (Vec<Field>, Vec<Param>) {
    let mut fields = Vec::new();
    let mut params = Vec::new();
    for param in &sig.inputs {
        match param {
            FnArg::Receiver(receiver) => no_self(receiver, errors),
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

pub(super) fn is_injectable(ty: &Type) -> bool {
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
    let of = |name: &str| {
        let attrs = param.attrs.iter().filter(|attr| attr.path().is_ident(name));
        attrs.cloned().collect()
    };
    // As public as the struct is, which is as public as the function.
    let vis = Visibility::Public(Default::default());
    let (ident, ty) = (ident.clone(), (*param.ty).clone());
    Some(Field { attrs: of("doc"), serde: of("serde"), vis, ident, ty })
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

fn no_self(receiver: &syn::Receiver, errors: &mut Errors) {
    errors.at(
        receiver,
        "a job is a free function without `self`: take what it needs as `Data<T>`, and move it out \
         of the `impl` block",
    );
}

/// The job of a handler, and where its other parameters come from.
pub(super) fn handler_params(sig: &Signature, errors: &mut Errors) -> (Option<Type>, Vec<Param>) {
    let mut job = None;
    let mut params = Vec::new();
    for param in &sig.inputs {
        match param {
            FnArg::Receiver(receiver) => no_self(receiver, errors),
            FnArg::Typed(param) if is_injected(param) => {
                injected(param, errors);
                params.push(Param::Injected((*param.ty).clone()));
            }
            FnArg::Typed(param) if job.is_some() => errors.at(
                param,
                "a handler takes one job: make the args fields of its struct, and take what the \
                 worker provides as `Data<T>`",
            ),
            FnArg::Typed(param) => {
                no_cfg(&param.attrs, errors);
                if let Some(attr) = param.attrs.iter().find(|attr| for_field(attr)) {
                    errors.at(attr, "this belongs to the struct of the job: remove it here");
                }
                owned(&param.ty, errors);
                params.push(Param::Job);
                job = Some((*param.ty).clone());
            }
        }
    }
    if job.is_none() && !sig.inputs.iter().any(|param| matches!(param, FnArg::Receiver(_))) {
        let message = "a handler takes the job that it runs: write `job: SendWelcome` as its first \
                       parameter";
        errors.push(syn::Error::new(sig.paren_token.span.open(), message));
    }
    (job, params)
}

/// Whether an attribute of a parameter belongs to the field.
fn for_field(attr: &Attribute) -> bool {
    attr.path().is_ident("doc") || attr.path().is_ident("serde")
}

/// What a parameter keeps: neither what went to the field nor our own marker.
pub(crate) fn stays_on_param(attr: &Attribute) -> bool {
    !for_field(attr) && !matches!(&attr.meta, Meta::Path(path) if path.is_ident("inject"))
}
