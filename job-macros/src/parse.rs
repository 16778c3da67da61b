//! From tokens to what was written: options and the function. Nothing is judged here beyond
//! whether it can be read at all.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Attribute, Expr, Ident, Signature, Token, Visibility};

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
pub(crate) fn options(tokens: TokenStream, errors: &mut Errors) -> Vec<Setting> {
    let all = |input: ParseStream<'_>| {
        let mut settings = Vec::new();
        while !input.is_empty() {
            match input.parse::<Setting>() {
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

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // `crate` is a keyword.
        let key = input.call(Ident::parse_any).map_err(|error| {
            let message = "an option is a name with a value, such as `queue = \"mail\"`";
            syn::Error::new(error.span(), message)
        })?;
        let needs_value = |_| syn::Error::new(key.span(), options::needs_value(&key));
        input.parse::<Token![=]>().map_err(needs_value)?;
        let value = input.parse().map_err(needs_value)?;
        Ok(Self { key, value })
    }
}

/// The function, or `None` with an error if the item is none.
pub(crate) fn function(tokens: TokenStream, errors: &mut Errors) -> Option<Function> {
    match syn::parse2::<Function>(tokens) {
        Ok(function) => Some(function),
        Err(error) => {
            errors.push(error);
            None
        }
    }
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        if !starts_fn(input) {
            return Err(input.error(
                "`#[job]` goes on an `async fn`: write the function that does the job, and the \
                 struct of its args comes by itself",
            ));
        }
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
