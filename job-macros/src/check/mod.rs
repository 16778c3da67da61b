//! Checks what was written and makes the model of it, or says what is wrong. Where something is
//! wrong, the model holds what is right nevertheless.

mod message;
mod signature;
mod types;

use proc_macro2::{Spacing, Span, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::{Attribute, DeriveInput, Ident, ItemStruct, LitStr, Path, Signature};

pub(crate) use self::signature::stays_on_param;
use crate::model::{Handler, Job, Message};
use crate::options::{self, Checked, Form};
use crate::parse::{Function, Setting};
use crate::{Errors, name};

/// `#[job]` on a function: message and handler.
pub(crate) fn job_function(
    function: &Function,
    settings: Vec<Setting>,
    errors: &mut Errors,
) -> Job {
    let Function { attrs, vis, sig, .. } = function;
    once(attrs, errors);
    let mut options = options::check(settings, Form::Function, errors);
    signature::form(sig, errors);

    let errors_before = errors.len();
    signature::generics(sig, errors);
    let (fields, params) = signature::params(sig, errors);
    let ident = args_struct(sig, options.args.take(), errors);
    let definition = message::of_function(attrs, vis, fields, sig, errors);
    let args_fit = errors.len() == errors_before;

    let name = LitStr::new(&sig.ident.unraw().to_string(), sig.ident.span());
    let krate = krate(&mut options);
    let message = ident
        .filter(|_| args_fit)
        .map(|ident| message(ident, Some(definition), name, options, errors));
    Job { krate, message, handler: Some(handler_of(function, params, None)) }
}

/// `#[job]` on a struct: a message, all of which the macro makes.
pub(crate) fn job_struct(item: &ItemStruct, settings: Vec<Setting>, errors: &mut Errors) -> Job {
    let mut options = options::check(settings, Form::Struct, errors);
    let krate = krate(&mut options);
    once(&item.attrs, errors);
    let definition = message::of_struct(item, errors);
    let message = definition
        .map(|definition| named_by_itself(&item.ident, Some(definition), options, errors));
    Job { krate, message, handler: None }
}

/// `#[derive(Job)]`: a message, of which only the `Job` impl is missing.
pub(crate) fn derive(item: &DeriveInput, settings: Vec<Setting>, errors: &mut Errors) -> Job {
    let mut options = options::check(settings, Form::Derive, errors);
    let krate = krate(&mut options);
    message::no_generics(&item.generics, errors);
    let message = named_by_itself(&item.ident, None, options, errors);
    let plain = item.generics.params.is_empty();
    Job { krate, message: plain.then_some(message), handler: None }
}

/// `#[handler]`: what runs the message of somebody else.
pub(crate) fn handler(function: &Function, settings: Vec<Setting>, errors: &mut Errors) -> Job {
    let mut options = options::check(settings, Form::Handler, errors);
    let sig = &function.sig;
    once(&function.attrs, errors);
    signature::form(sig, errors);
    signature::generics(sig, errors);
    let (job, params) = signature::handler_params(sig, errors);
    let handler = job.map(|job| handler_of(function, params, Some(job)));
    Job { krate: krate(&mut options), message: None, handler }
}

/// Whether another of our attributes is on the item, which would see it next.
pub(crate) fn is_ours(attr: &Attribute) -> bool {
    attr.path().is_ident("job") || attr.path().is_ident("handler")
}

fn once(attrs: &[Attribute], errors: &mut Errors) {
    if let Some(attr) = attrs.iter().find(|attr| is_ours(attr)) {
        errors.at(
            attr,
            "one such attribute is enough: `#[job]` makes a job with all that runs it, `#[handler]` \
             runs a job that is a struct elsewhere",
        );
    }
}

fn krate(options: &mut Checked) -> Path {
    options.krate.take().unwrap_or_else(|| syn::parse_quote!(::job_core))
}

fn handler_of(
    function: &Function,
    params: Vec<crate::model::Param>,
    job: Option<syn::Type>,
) -> Handler {
    let Function { vis, sig, .. } = function;
    let output = signature::output_span(sig);
    Handler { vis: vis.clone(), function: sig.ident.clone(), params, job, output }
}

fn named_by_itself(
    ident: &Ident,
    definition: Option<crate::model::Definition>,
    options: Checked,
    errors: &mut Errors,
) -> Message {
    let name = LitStr::new(&name::wire_name(ident), ident.span());
    message(ident.clone(), definition, name, options, errors)
}

fn message(
    ident: Ident,
    definition: Option<crate::model::Definition>,
    default_name: LitStr,
    options: Checked,
    errors: &mut Errors,
) -> Message {
    let Checked { name, aliases, version, upgrade, options, .. } = options;
    let name = name.unwrap_or(default_name);
    let mut names = vec![name.value()];
    for alias in &aliases {
        if names.contains(&alias.value()) {
            errors.at(alias, "the job has this name already: remove the alias");
        }
        names.push(alias.value());
    }
    Message { ident, definition, name, aliases, version, upgrade, options }
}

/// The name of a function's struct: the one given, or that which the function's name gives.
fn args_struct(sig: &Signature, given: Option<Ident>, errors: &mut Errors) -> Option<Ident> {
    const WAY_OUT: &str = "or name the struct, as with `args = Args`";
    let Some(ident) = given.or_else(|| name::args_struct(&sig.ident)) else {
        errors.at(
            &sig.ident,
            format!(
                "the struct of the args is named after the function, and this gives no name: write \
                 one such as `send_welcome`, {WAY_OUT}"
            ),
        );
        return None;
    };
    if ident == sig.ident {
        errors.at(
            &sig.ident,
            format!(
                "the struct of the args is named after the function and would be called the same: \
                 write it in lowercase, as `{}`, {WAY_OUT}",
                ident.to_string().to_lowercase()
            ),
        );
        return None;
    }
    if let Some(span) = mention(quote!(#sig), &ident) {
        let message = format!(
            "the struct of the args is named after the function and would hide this `{ident}`: \
             rename the function to what it does, such as `handle_{}`, {WAY_OUT}",
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
