//! From the model to tokens. Everything is named by its full path, and every token carries the
//! span of what it stands for, so that the compiler points at the user's own code.

mod handler;
mod message;

pub(crate) use self::message::duration;

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::quote;
use syn::{Attribute, FnArg, ItemStruct, Path};

use crate::check::{is_ours, stays_on_param};
use crate::model::Job;
use crate::parse::Function;

/// The function and, as far as there is a model, the job. With errors, what is left out would only
/// give more of them.
pub(crate) fn function(function: &Function, job: &Job, errors: Option<TokenStream>) -> TokenStream {
    let whole = errors.is_none();
    let message = job.message.as_ref().map(|message| message::expand(&job.krate, message));
    let handler = job.handler.as_ref().filter(|_| whole);
    let handler =
        handler.and_then(|handler| handler::expand(&job.krate, handler, job.message.as_ref()));
    let function = plain_function(function);
    quote!(#errors #function #message #handler)
}

/// The struct, made anew if there is a model and as it was if not.
pub(crate) fn structure(item: &ItemStruct, job: &Job, errors: Option<TokenStream>) -> TokenStream {
    match &job.message {
        Some(message) => {
            let message = message::expand(&job.krate, message);
            quote!(#errors #message)
        }
        None => {
            let mut item = item.clone();
            item.attrs.retain(stays);
            for field in &mut item.fields {
                field.attrs.retain(|attr| !attr.path().is_ident("serde"));
            }
            quote!(#errors #item)
        }
    }
}

/// What a derive adds.
pub(crate) fn derive(job: &Job, errors: Option<TokenStream>) -> TokenStream {
    let message = job.message.as_ref().map(|message| message::expand(&job.krate, message));
    quote!(#errors #message)
}

/// The item as it was: its own errors are the compiler's to tell.
pub(crate) fn as_it_was(item: &TokenStream, errors: Option<TokenStream>) -> TokenStream {
    quote!(#errors #item)
}

/// The function without the attributes that are ours.
fn plain_function(function: &Function) -> TokenStream {
    let Function { attrs, vis, sig, body } = function;
    let attrs = attrs.iter().filter(|attr| stays(attr));
    let mut sig = sig.clone();
    for param in &mut sig.inputs {
        if let FnArg::Typed(param) = param {
            param.attrs.retain(stays_on_param);
        }
    }
    quote!(#(#attrs)* #vis #sig #body)
}

/// What an item keeps that is as it was.
fn stays(attr: &Attribute) -> bool {
    !attr.path().is_ident("serde") && !is_ours(attr)
}

/// A name of ours that can neither see nor be seen by a user's. Hygiene does that for variables,
/// the underscores for constants: a parameter `cx` would be a pattern if there were a constant `cx`.
fn own(name: &str) -> Ident {
    Ident::new(&format!("__{name}"), Span::mixed_site())
}

/// The same tokens, shown as being at that place: an error about all of them is then an error there,
/// and not at the whole macro call.
fn located(at: Span, tokens: TokenStream) -> TokenStream {
    let located = |mut token: TokenTree| {
        if let TokenTree::Group(group) = &token {
            let mut inner = Group::new(group.delimiter(), located(at, group.stream()));
            inner.set_span(group.span());
            token = inner.into();
        }
        token.set_span(token.span().located_at(at));
        token
    };
    tokens.into_iter().map(located).collect()
}

fn path_text(path: &Path) -> String {
    quote!(#path).to_string().replace(' ', "")
}
