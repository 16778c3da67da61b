//! From the model to tokens. Everything is named by its full path, and every token carries the
//! span of what it stands for, so that the compiler points at the user's own code.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{FnArg, LitStr, Path};

use crate::check::{for_field, stays_on_param};
use crate::model::{Backoff, Field, Handler, Job, Message, Options, Param};
use crate::parse::Function;

/// The function and, as far as there is a model, the job. With errors, what is left out would only
/// give more of them.
pub(crate) fn job(function: &Function, job: &Job, errors: Option<TokenStream>) -> TokenStream {
    let Job { krate, message, handler } = job;
    let whole = errors.is_none();
    let function = plain_function(function);
    let message_items = message.as_ref().map(|message| {
        let args = args_struct(krate, message, handler);
        let job = impl_job(krate, message);
        let handler = whole.then(|| impl_handler(krate, message, handler));
        quote!(#args #job #handler)
    });
    quote!(#errors #function #message_items)
}

/// The item as it was: its own errors are the compiler's to tell.
pub(crate) fn not_a_function(item: &TokenStream, errors: Option<TokenStream>) -> TokenStream {
    quote!(#errors #item)
}

/// The function without the attributes that are ours.
fn plain_function(function: &Function) -> TokenStream {
    let Function { attrs, vis, sig, body } = function;
    let attrs = attrs.iter().filter(|attr| !attr.path().is_ident("serde"));
    let mut sig = sig.clone();
    for param in &mut sig.inputs {
        if let FnArg::Typed(param) = param {
            param.attrs.retain(stays_on_param);
        }
    }
    quote!(#(#attrs)* #vis #sig #body)
}

fn args_struct(krate: &Path, message: &Message, handler: &Handler) -> TokenStream {
    let Message { ident, vis, attrs, fields, .. } = message;
    let docs = if attrs.iter().any(|attr| attr.path().is_ident("doc")) {
        None
    } else {
        let text = format!(" The args of the job `{}`.", handler.function.unraw());
        Some(quote!(#[doc = #text]))
    };
    let f = own("f");
    let shown = LitStr::new(&ident.to_string(), Span::call_site());
    let definition = if fields.is_empty() {
        unit_struct(krate, message, docs)
    } else {
        let serde = format!("{}::__private::serde", path_text(krate));
        let fields =
            fields.iter().map(|Field { attrs, ident, ty }| quote!(#(#attrs)* pub #ident: #ty));
        quote! {
            #[derive(#krate::__private::serde::Serialize, #krate::__private::serde::Deserialize)]
            #[serde(crate = #serde)]
            #[allow(missing_docs)]
            #docs
            #(#attrs)*
            #vis struct #ident {
                #(#fields,)*
            }
        }
    };
    quote! {
        #definition

        #[automatically_derived]
        impl ::core::fmt::Debug for #ident {
            fn fmt(&self, #f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                #f.debug_struct(#shown).finish_non_exhaustive()
            }
        }
    }
}

/// Enqueued as `Ping`, without braces. Serde would make `null` of a unit struct, to which no field
/// could ever be added; so it is an empty map, as every other job is a map.
fn unit_struct(krate: &Path, message: &Message, docs: Option<TokenStream>) -> TokenStream {
    let Message { ident, vis, attrs, .. } = message;
    let attrs = attrs.iter().filter(|attr| for_field(attr) && !attr.path().is_ident("serde"));
    let private = quote!(#krate::__private);
    let [s, serializer] = ["S", "serializer"].map(own);
    let [d, deserializer] = ["D", "deserializer"].map(own);
    quote! {
        #docs
        #(#attrs)*
        #vis struct #ident;

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

fn impl_job(krate: &Path, message: &Message) -> TokenStream {
    let Message { ident, name, options, .. } = message;
    let options = impl_options(krate, options);
    quote! {
        #[automatically_derived]
        impl #krate::Job for #ident {
            const NAME: &'static ::core::primitive::str = #name;
            #options
        }
    }
}

fn impl_options(krate: &Path, options: &Options) -> Option<TokenStream> {
    let Options { queue, max_attempts, backoff, timeout, expires_in } = options;
    let calls: Vec<_> = [
        queue.as_ref().map(|queue| quote!(.queue(#queue))),
        max_attempts.map(|number| quote!(.max_attempts(#number))),
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

fn impl_handler(krate: &Path, message: &Message, handler: &Handler) -> TokenStream {
    let Message { ident, .. } = message;
    let Handler { function, params, output } = handler;
    let [job, cx, needs, returned] = ["job", "cx", "needs", "returned"].map(own);
    let returned = respan(returned, *output);

    let values = params.iter().map(|param| match param {
        Param::Arg(field) => quote!(#job.#field),
        Param::Injected(ty) => {
            quote_spanned!(ty.span()=> <#ty as #krate::Inject>::inject(&#cx)?)
        }
    });
    let mut injected = params.iter().filter_map(|param| match param {
        Param::Injected(ty) => Some(ty),
        Param::Arg(_) => None,
    });
    let job = if message.fields.is_empty() { quote!(_) } else { quote!(#job) };
    let cx = if injected.clone().next().is_none() { quote!(_) } else { quote!(#cx) };
    let requires = injected.next().is_some().then(|| {
        let needed = params.iter().filter_map(|param| match param {
            Param::Injected(ty) => Some(quote_spanned! {ty.span()=>
                <#ty as #krate::Inject>::requires(#needs);
            }),
            Param::Arg(_) => None,
        });
        quote! {
            fn requires(#needs: &mut #krate::Requirements) {
                #(#needed)*
            }
        }
    });
    // A handler that is not `Send` is an error at its name, and its place is what `build()` shows
    // when two handlers have one name.
    let call = quote_spanned! {function.span()=>
        async fn call(
            #job: #ident,
            #cx: #krate::JobContext,
        ) -> ::core::result::Result<(), #krate::JobError>
    };
    let registration = quote_spanned!(function.span()=> #krate::Registration::of::<#ident>());
    let into_result = quote_spanned! {*output=>
        #krate::__private::Returned::into_result(#returned)
    };
    quote! {
        #[automatically_derived]
        impl #krate::Handler for #ident {
            type Job = Self;

            #call {
                let #returned = #function(#(#values),*).await;
                #into_result
            }

            #requires
        }

        #krate::__private::inventory::submit! { #registration }
    }
}

/// Whole seconds as such, for those who read the expansion.
fn duration(duration: Duration) -> TokenStream {
    let (amount, constructor) = match duration.subsec_millis() {
        0 => (u128::from(duration.as_secs()), quote!(from_secs)),
        _ => (duration.as_millis(), quote!(from_millis)),
    };
    let amount = proc_macro2::Literal::u128_unsuffixed(amount);
    quote!(::core::time::Duration::#constructor(#amount))
}

/// A name of ours that can neither see nor be seen by a user's. Hygiene does that for variables,
/// the underscores for constants: a parameter `cx` would be a pattern if there were a constant `cx`.
fn own(name: &str) -> Ident {
    Ident::new(&format!("__{name}"), Span::mixed_site())
}

/// The same name, shown elsewhere.
fn respan(mut ident: Ident, at: Span) -> Ident {
    ident.set_span(ident.span().located_at(at));
    ident
}

fn path_text(path: &Path) -> String {
    quote!(#path).to_string().replace(' ', "")
}
