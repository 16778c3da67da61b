//! Types as tokens: whether they own what they hold, and what can be known of them.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Expr, GenericArgument, Lit, PathArguments, Type};

use super::signature::is_injectable;
use crate::Errors;

/// Whether the type holds its own: it has to outlive the call that enqueues it.
pub(super) fn owned(ty: &Type, errors: &mut Errors) {
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

/// The type itself, also where a `macro_rules` macro passed it on.
pub(super) fn ungroup(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        }
    }
}

/// A type as a person would write it.
pub(super) fn readable(ty: &Type) -> String {
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

/// Whether a type is known to be serde's by its name. Others are asked by the compiler.
pub(super) fn surely_travels(ty: &Type) -> bool {
    const PLAIN: [&str; 17] = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
        "f32", "f64", "bool", "char", "String",
    ];
    const HOLDERS: [&str; 4] = ["Option", "Vec", "Box", "VecDeque"];
    match ungroup(ty) {
        Type::Tuple(tuple) => tuple.elems.len() <= 16 && tuple.elems.iter().all(surely_travels),
        Type::Array(array) => {
            let short = matches!(&array.len, Expr::Lit(len) if matches!(
                &len.lit, Lit::Int(len) if len.base10_parse::<u8>().is_ok_and(|len| len <= 32)
            ));
            short && surely_travels(&array.elem)
        }
        Type::Path(path) if path.qself.is_none() && path.path.segments.len() == 1 => {
            let name = &path.path.segments[0];
            match &name.arguments {
                PathArguments::None => PLAIN.iter().any(|plain| name.ident == plain),
                PathArguments::AngleBracketed(of) => {
                    HOLDERS.iter().any(|holder| name.ident == holder)
                        && of.args.iter().all(
                            |arg| matches!(arg, GenericArgument::Type(ty) if surely_travels(ty)),
                        )
                }
                PathArguments::Parenthesized(_) => false,
            }
        }
        _ => false,
    }
}
