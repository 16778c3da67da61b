//! What runs the message.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Path, Type, Visibility};

use super::own;
use crate::model::{Handler, Message, Param};

/// The handler, on the message's own struct or on one that is named like the function: a type and
/// a function of one name are two things. `None` if errors have left out the message.
pub(super) fn expand(
    krate: &Path,
    handler: &Handler,
    message: Option<&Message>,
) -> Option<TokenStream> {
    let Handler { vis, function, params, job, output } = handler;
    let (on, job_type, structure) = match job {
        None => (
            &message?.ident,
            quote!(
                type Job = Self;
            ),
            None,
        ),
        Some(job) => {
            // A job that is more private than the function is an error at its type.
            let job_type = quote_spanned!(job.span()=> type Job = #job;);
            (function, job_type, Some(handler_struct(krate, vis, function, job)))
        }
    };
    let taken = match job {
        None => quote!(#on),
        Some(job) => quote!(#job),
    };
    let [job, cx, needs] = ["job", "cx", "needs"].map(own);
    // All of it at the return type, or its error would say that a macro is to blame.
    let returned = Ident::new("__returned", *output);

    let values = params.iter().map(|param| match param {
        Param::Arg(field) => quote!(#job.#field),
        Param::Job => quote!(#job),
        Param::Injected(ty) => {
            quote_spanned!(ty.span()=> <#ty as #krate::Inject>::inject(&#cx)?)
        }
    });
    let mut injected = params.iter().filter_map(|param| match param {
        Param::Injected(ty) => Some(ty),
        Param::Arg(_) | Param::Job => None,
    });
    let job_used = params.iter().any(|param| matches!(param, Param::Arg(_) | Param::Job));
    let job = if job_used { quote!(#job) } else { quote!(_) };
    let cx = if injected.clone().next().is_none() { quote!(_) } else { quote!(#cx) };
    let requires = injected.next().is_some().then(|| {
        let needed = params.iter().filter_map(|param| match param {
            Param::Injected(ty) => Some(quote_spanned! {ty.span()=>
                <#ty as #krate::Inject>::requires(#needs);
            }),
            Param::Arg(_) | Param::Job => None,
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
            #job: #taken,
            #cx: #krate::JobContext,
        ) -> ::core::result::Result<(), #krate::JobError>
    };
    let registration = quote_spanned!(function.span()=> #krate::Registration::of::<#on>());
    let into_result = quote_spanned! {*output=>
        #krate::__private::Returned::into_result(#returned)
    };
    Some(quote! {
        #structure

        #[automatically_derived]
        #[diagnostic::do_not_recommend]
        impl #krate::Handler for #on {
            #job_type

            #call {
                let #returned = #function(#(#values),*).await;
                #into_result
            }

            #requires
        }

        #krate::__private::inventory::submit! { #registration }
    })
}

/// What `Handler` is implemented for, since the job is somebody else's; and the question whether it
/// is the only one, which is an error at the job's type if it is not.
fn handler_struct(krate: &Path, vis: &Visibility, function: &Ident, job: &Type) -> TokenStream {
    let shown = function.unraw();
    let docs = format!(" The handler `{shown}`, as `.register::<{shown}>()` takes it.");
    let private = quote!(#krate::__private);
    let here = quote!({ #private::crate_of(::core::module_path!()) });
    let answer = quote_spanned! {job.span()=>
        #[diagnostic::do_not_recommend]
        impl #private::HandledBy<#function, #here> for #job {}
    };
    let question = quote_spanned!(job.span()=> <#job as #private::HandledBy<_, #here>>::alone);
    quote! {
        #[doc = #docs]
        #[allow(dead_code, non_camel_case_types)]
        #[derive(::core::fmt::Debug)]
        #vis struct #function {}

        #answer
        const _: fn() = || #question(|| ::core::unreachable!());
    }
}
