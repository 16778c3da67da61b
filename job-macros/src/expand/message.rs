//! The message: its struct, and what makes a job of it.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ExprPath, LitStr, Path};

use super::{located, own, path_text};
use crate::model::{Backoff, Definition, Field, Message, Options};

pub(super) fn expand(krate: &Path, message: &Message) -> TokenStream {
    let definition =
        message.definition.as_ref().map(|definition| define(krate, message, definition));
    let job = impl_job(krate, message);
    quote!(#definition #job)
}

fn define(krate: &Path, message: &Message, definition: &Definition) -> TokenStream {
    let Message { ident, .. } = message;
    let Definition { span, vis, attrs, serde, fields, hidden_debug, doubtful } = definition;
    let with_serde = doubtful.is_empty();
    let serde_of = |serde| if with_serde { serde } else { &[][..] };
    let structure = match fields {
        None => unit_struct(krate, message, definition),
        Some(fields) => {
            let derives = with_serde.then(|| serde_derives(krate));
            let serde = serde_of(serde);
            let fields = fields.iter().map(|Field { attrs, serde, vis, ident, ty }| {
                let serde = serde_of(serde);
                quote!(#(#attrs)* #(#serde)* #vis #ident: #ty)
            });
            let body = quote_spanned!(*span=> #vis struct #ident { #(#fields,)* });
            quote! {
                #derives
                #[allow(missing_docs)]
                #(#attrs)*
                #(#serde)*
                #body
            }
        }
    };
    let wire = fields
        .as_ref()
        .filter(|_| !with_serde)
        .map(|fields| impl_serde_if_fit(krate, message, (definition, fields)));
    let debug = hidden_debug.then(|| {
        let f = own("f");
        let shown = LitStr::new(&ident.to_string(), Span::call_site());
        quote! {
            #[automatically_derived]
            impl ::core::fmt::Debug for #ident {
                fn fmt(&self, #f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    #f.debug_struct(#shown).finish_non_exhaustive()
                }
            }
        }
    });
    quote!(#structure #wire #debug)
}

fn serde_derives(krate: &Path) -> TokenStream {
    let serde = format!("{}::__private::serde", path_text(krate));
    quote! {
        #[derive(#krate::__private::serde::Serialize, #krate::__private::serde::Deserialize)]
        #[serde(crate = #serde)]
    }
}

/// Enqueued as `Ping`, without braces. Serde would make `null` of a unit struct, to which no field
/// could ever be added; so it is an empty map, as every other job is a map.
fn unit_struct(krate: &Path, message: &Message, definition: &Definition) -> TokenStream {
    let ident = &message.ident;
    let Definition { span, vis, attrs, .. } = definition;
    let private = quote!(#krate::__private);
    let [s, serializer] = ["S", "serializer"].map(own);
    let [d, deserializer] = ["D", "deserializer"].map(own);
    let structure = quote_spanned!(*span=> #vis struct #ident;);
    quote! {
        #(#attrs)*
        #structure

        #[automatically_derived]
        impl #private::serde::Serialize for #ident {
            fn serialize<#s: #private::serde::Serializer>(
                &self,
                #serializer: #s,
            ) -> ::core::result::Result<#s::Ok, #s::Error> {
                #private::NoArgs::serialize(#serializer)
            }
        }

        #[automatically_derived]
        impl<'de> #private::serde::Deserialize<'de> for #ident {
            fn deserialize<#d: #private::serde::Deserializer<'de>>(
                #deserializer: #d,
            ) -> ::core::result::Result<Self, #d::Error> {
                #private::NoArgs::deserialize(#deserializer)?;
                ::core::result::Result::Ok(#ident)
            }
        }
    }
}

/// Serde's derives where the type of an arg may not be serde's at all. By themselves they would
/// give four long errors for such a type, and one more at each use of the job. So they are put on
/// a twin, under bounds that the compiler does not look into before the twin is used
/// (`for<'a> Mailer: Serialize`); the struct has serde's traits in any case, by way of the twin or,
/// if that does not fit its bounds, of `Unfit`; and each type is asked once, where it stands.
fn impl_serde_if_fit(
    krate: &Path,
    message: &Message,
    (definition, fields): (&Definition, &[Field]),
) -> TokenStream {
    let ident = &message.ident;
    let private = quote!(#krate::__private);
    let twin = format_ident!("__{}Twin", ident, span = Span::mixed_site());
    let derives = serde_derives(krate);
    let remote = LitStr::new(&ident.to_string(), Span::call_site());
    let serde_path = path_text(krate) + "::__private::serde";
    let bounds = |to_what: &str| {
        let bounds = definition.doubtful.iter().map(|ty| {
            let ty = ty.to_token_stream();
            format!("for<'a> {ty}: {serde_path}::{to_what}")
        });
        bounds.collect::<Vec<_>>().join(", ")
    };
    let (serialize, deserialize) = (bounds("Serialize"), bounds("de::DeserializeOwned"));
    let serde = &definition.serde;
    let twins_fields =
        fields.iter().map(|Field { serde, ident, ty, .. }| quote!(#(#serde)* #ident: #ty));
    let [s, serializer] = ["S", "serializer"].map(own);
    let [d, deserializer] = ["D", "deserializer"].map(own);
    let questions = definition
        .doubtful
        .iter()
        .map(|ty| quote_spanned!(ty.span()=> const _: () = <#ty as #krate::Arg>::TRAVELS;));
    quote! {
        const _: () = {
            use #private::Unfit as _;

            #derives
            #[serde(remote = #remote, bound(serialize = #serialize, deserialize = #deserialize))]
            #(#serde)*
            struct #twin {
                #(#twins_fields,)*
            }

            #[automatically_derived]
            impl #private::serde::Serialize for #ident {
                fn serialize<#s: #private::serde::Serializer>(
                    &self,
                    #serializer: #s,
                ) -> ::core::result::Result<#s::Ok, #s::Error> {
                    #twin::serialize(self, #serializer)
                }
            }

            #[automatically_derived]
            impl<'de> #private::serde::Deserialize<'de> for #ident {
                fn deserialize<#d: #private::serde::Deserializer<'de>>(
                    #deserializer: #d,
                ) -> ::core::result::Result<Self, #d::Error> {
                    #twin::deserialize(#deserializer)
                }
            }

            #(#questions)*
        };
    }
}

fn impl_job(krate: &Path, message: &Message) -> TokenStream {
    let Message { ident, definition, name, aliases, version, upgrade, options } = message;
    let aliases = (!aliases.is_empty()).then(
        || quote!(const ALIASES: &'static [&'static ::core::primitive::str] = &[#(#aliases),*];),
    );
    let version = version.map(|version| {
        let version = proc_macro2::Literal::u32_unsuffixed(version);
        quote!(const VERSION: ::core::primitive::u32 = #version;)
    });
    let options = impl_options(krate, options);
    let from_args = upgrade.as_ref().map(|upgrade| from_args(krate, ident, upgrade));
    let impl_job = |bounds| {
        quote! {
            #[automatically_derived]
            #[diagnostic::do_not_recommend]
            impl #krate::Job for #ident #bounds {
                const NAME: &'static ::core::primitive::str = #name;
                #aliases
                #version
                #options
                #from_args
            }
        }
    };
    if definition.is_some() {
        return impl_job(None);
    }
    // A derive cannot see whether serde's are there as well, so it asks, once.
    let serde = quote!(#krate::__private::serde);
    let bounds = quote!(where for<'a> #ident: #serde::Serialize + #serde::de::DeserializeOwned);
    let impl_job = impl_job(Some(bounds));
    let question = quote_spanned! {ident.span()=>
        const _: () = <#ident as #krate::Arg>::TRAVELS;
    };
    quote!(#impl_job #question)
}

/// The constant makes versions that do not fit an error of `cargo check`, too, which does not look
/// into functions that far. Both questions are at the same place, so what is wrong with the function
/// is one error.
fn from_args(krate: &Path, ident: &Ident, upgrade: &ExprPath) -> TokenStream {
    let args = own("args");
    let at = upgrade.span();
    let private = quote!(#krate::__private);
    let returns = quote!(::core::result::Result<#ident, #krate::ArgsError>);
    let borrowed = quote_spanned!(at=> &#upgrade);
    let check = located(at, quote!(#private::upgrades::<_, #ident, _>(#borrowed)));
    let read = located(at, quote!(#args.read_or_upgrade::<_, #ident, _>(#upgrade)));
    quote! {
        fn from_args(#args: #krate::Args<'_>) -> #returns {
            const UPGRADE: fn(#krate::Args<'_>) -> #returns = {
                #check;
                |#args| #read
            };
            UPGRADE(#args)
        }
    }
}

fn impl_options(krate: &Path, options: &Options) -> Option<TokenStream> {
    let Options { queue, max_attempts, backoff, timeout, expires_in } = options;
    let calls: Vec<_> = [
        queue.as_ref().map(|queue| quote!(.queue(#queue))),
        max_attempts.map(|number| {
            let number = proc_macro2::Literal::u32_unsuffixed(number);
            quote!(.max_attempts(#number))
        }),
        backoff.as_ref().map(|backoff| {
            let backoff = backoff_value(krate, backoff);
            quote!(.backoff(#backoff))
        }),
        timeout.map(duration).map(|timeout| quote!(.timeout(#timeout))),
        expires_in.map(duration).map(|expires_in| quote!(.expires_in(#expires_in))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let none = calls.is_empty();
    (!none)
        .then(|| quote!(const OPTIONS: #krate::JobOptions = #krate::JobOptions::new() #(#calls)*;))
}

fn backoff_value(krate: &Path, backoff: &Backoff) -> TokenStream {
    match backoff {
        Backoff::Exponential { base, max } => {
            let (base, max) = (duration(*base), duration(*max));
            quote!(#krate::Backoff::exponential(#base, #max))
        }
        Backoff::Linear { step, max } => {
            let (step, max) = (duration(*step), duration(*max));
            quote!(#krate::Backoff::linear(#step, #max))
        }
        Backoff::Fixed(delay) => {
            let delay = duration(*delay);
            quote!(#krate::Backoff::fixed(#delay))
        }
        Backoff::Custom(path) => quote!(#krate::Backoff::custom(#path)),
    }
}

/// Whole seconds as such, for those who read the expansion.
pub(crate) fn duration(duration: Duration) -> TokenStream {
    let (amount, constructor) = match duration.subsec_millis() {
        0 => (u128::from(duration.as_secs()), quote!(from_secs)),
        _ => (duration.as_millis(), quote!(from_millis)),
    };
    let amount = proc_macro2::Literal::u128_unsuffixed(amount);
    quote!(::core::time::Duration::#constructor(#amount))
}
