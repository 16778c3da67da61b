//! From tokens to what was written: options and the item. Nothing is judged here beyond
//! whether it can be read at all.

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, DeriveInput, Expr, Ident, ItemStruct, Signature, Token, Visibility};

use crate::options::Form;
use crate::{Errors, options};

/// `key = value`.
pub(crate) struct Setting {
    pub(crate) key: Ident,
    pub(crate) value: Expr,
}

/// A function whose body nobody looks into: while it is being typed it is often no valid Rust, and
/// an editor must still be able to help.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) body: TokenStream,
}

/// All settings that can be read; each of the others is an error of its own.
pub(crate) fn options(tokens: TokenStream, form: Form, errors: &mut Errors) -> Vec<Setting> {
    let all = |input: ParseStream<'_>| {
        let mut settings = Vec::new();
        while !input.is_empty() {
            match setting(input, form) {
                Ok(setting) => settings.push(setting),
                Err(error) => {
                    errors.push(error);
                    skip_to_comma(input)?;
                }
            }
            if input.is_empty() {
                break;
            }
            if let Err(error) = input.parse::<Token![,]>() {
                errors.push(syn::Error::new(error.span(), "a comma goes between two options"));
                skip_to_comma(input)?;
                input.parse::<Option<Token![,]>>()?;
            }
        }
        Ok(settings)
    };
    all.parse2(tokens).unwrap_or_else(|error| {
        errors.push(error);
        Vec::new()
    })
}

fn skip_to_comma(input: ParseStream<'_>) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

fn setting(input: ParseStream<'_>, form: Form) -> syn::Result<Setting> {
    // `crate` is a keyword.
    let key = input.call(Ident::parse_any).map_err(|error| {
        let message = "an option is a name with a value, such as `queue = \"mail\"`";
        syn::Error::new(error.span(), message)
    })?;
    let needs_value = |_| syn::Error::new(key.span(), options::needs_value(&key, form));
    input.parse::<Token![=]>().map_err(needs_value)?;
    let value = input.parse().map_err(needs_value)?;
    Ok(Setting { key, value })
}

/// What an attribute is on.
pub(crate) enum Item {
    Function(Function),
    Struct(ItemStruct),
}

/// The item, or `None` with an error if it is none for a job.
pub(crate) fn item(tokens: TokenStream, errors: &mut Errors) -> Option<Item> {
    let parsed = syn::parse2::<Headed>(tokens.clone()).and_then(|head| match head.kind {
        Kind::Function => syn::parse2(tokens).map(Item::Function),
        Kind::Struct => syn::parse2(tokens).map(Item::Struct),
        Kind::Other(at) => {
            let message = "`#[job]` goes on an `async fn`, whose parameters are the args, or on a \
                           struct of args";
            Err(syn::Error::new(at, message))
        }
    });
    parsed.map_err(|error| errors.push(error)).ok()
}

/// The function, or `None` with an error if the item is none.
pub(crate) fn function(tokens: TokenStream, errors: &mut Errors) -> Option<Function> {
    let parsed = syn::parse2::<Headed>(tokens.clone()).and_then(|head| match head.kind {
        Kind::Function => syn::parse2(tokens),
        Kind::Struct => {
            let message = "`#[handler]` goes on the `async fn` that runs a job: write `#[job]` on \
                           the struct of its args";
            Err(syn::Error::new(head.at, message))
        }
        Kind::Other(at) => {
            let message = "`#[handler]` goes on the `async fn` that runs a job";
            Err(syn::Error::new(at, message))
        }
    });
    parsed.map_err(|error| errors.push(error)).ok()
}

/// The type under a derive.
pub(crate) fn derive(tokens: TokenStream, errors: &mut Errors) -> Option<DeriveInput> {
    syn::parse2(tokens).map_err(|error| errors.push(error)).ok()
}

/// An item up to where one can tell what it is.
struct Headed {
    at: Span,
    kind: Kind,
}

enum Kind {
    Function,
    Struct,
    Other(Span),
}

impl Parse for Headed {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let at = input.span();
        let kind = if starts_fn(input) {
            Kind::Function
        } else if input.peek(Token![struct]) {
            Kind::Struct
        } else {
            Kind::Other(at)
        };
        input.parse::<TokenStream>()?;
        Ok(Self { at, kind })
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let sig: Signature = input.parse()?;
        if input.peek(Token![;]) {
            return Err(input.error("a job is a function with a body: write `{ .. }`"));
        }
        Ok(Self { attrs, vis, sig, body: input.parse()? })
    }
}

fn starts_fn(input: ParseStream<'_>) -> bool {
    input.peek(Token![fn])
        || input.peek(Token![async])
        || input.peek(Token![unsafe])
        || input.peek(Token![extern])
        || input.peek(Token![const]) && !input.peek2(Ident)
}
