//! The macros of job-core. Use them from there: `job_core::job`.
//!
//! A macro call goes through four steps, each in a file of its own: `parse` turns tokens into the
//! options and the function as written, `check` and `options` turn those into the `model` or into
//! errors, and `expand` turns the model into tokens. Nothing but `expand` knows the names of
//! job-core, and nothing after `check` can fail. Errors are gathered, so that one compilation
//! shows them all; a call with errors still gives back the function, so that an editor goes on
//! understanding its body.

mod check;
mod duration;
mod expand;
mod model;
mod name;
mod options;
mod parse;

use proc_macro2::TokenStream;

/// Makes a background job of an `async fn`.
///
/// The function stays as it is and can be called directly, as in a unit test. Beside it comes a
/// struct of its args, which is what a client enqueues and a message holds, with its handler,
/// which every worker of a program that links this crate finds by itself:
///
/// ```
/// use job_core::{Data, JobContext, JobError, job};
/// # pub struct Mailer;
/// # impl Mailer {
/// #     async fn welcome(&self, _user_id: u64) -> Result<(), std::io::Error> { Ok(()) }
/// # }
///
/// /// Sends the welcome mail.
/// #[job(queue = "mail", max_attempts = 8, backoff = exponential("2s", "10m"), timeout = "30s")]
/// pub async fn send_welcome(user_id: u64, mailer: Data<Mailer>, cx: JobContext) -> Result<(), JobError> {
///     mailer.welcome(user_id).await?; // any error: tried again by the backoff
///     println!("welcome mail sent at attempt {}", cx.attempt());
///     Ok(())
/// }
///
/// let job = SendWelcome { user_id: 42 };
/// assert_eq!(format!("{job:?}"), "SendWelcome { .. }"); // args never reach a log by way of Debug
/// ```
///
/// # Parameters
///
/// - `Data<T>` and `JobContext` are injected by the worker. They are known by that last part of
///   their type; one behind an alias is marked `#[inject]`.
/// - All others are args: fields of the struct, and fields of the JSON in the message. Their names
///   are thereby wire format. They are owned types with serde's `Serialize` and `Deserialize`. Doc
///   comments and `#[serde(..)]` on a parameter go to the field, as with
///   `#[serde(default)] lang: String`.
///
/// A function without args makes a unit struct: `client.enqueue(Ping)`. Its JSON is `{}`.
///
/// # Result
///
/// `Result<(), JobError>`, or any other error type that is `Into<JobError>`.
///
/// # Options
///
/// All are optional; what is not set comes from the queue's settings, then from the worker's.
///
/// | Option | Meaning |
/// |---|---|
/// | `name = "send_welcome"` | The name on the wire; by default the function's. It must never change while messages that carry it are about. |
/// | `queue = "mail"` | The queue it goes to: 3 to 56 lowercase letters, digits and single dashes. |
/// | `max_attempts = 8` | How often it is tried, the first time included. |
/// | `backoff = exponential("2s", "10m")` | Wait 2 s, then twice as long each time, up to 10 min; with full jitter. |
/// | `backoff = linear("5s", "5m")` | Wait 5 s, 10 s, 15 s, ..., up to 5 min; with full jitter. |
/// | `backoff = fixed("30s")` | Always wait 30 s. |
/// | `backoff = path::to::function` | Ask a `fn(u32) -> Duration` with the number of the failed attempt, counted from 1. |
/// | `timeout = "30s"` | How long one attempt may take. |
/// | `expires_in = "1h"` | How long after its enqueueing it is still worth running. |
/// | `crate = path` | Where job-core is, if not at `::job_core`. |
///
/// Durations are numbers with a unit, `ms`, `s`, `m`, `h` or `d`, also several in a row: `"1h30m"`.
#[proc_macro_attribute]
pub fn job(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    job_on_fn(options.into(), item.into()).into()
}

fn job_on_fn(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = parse::options(options, &mut errors);
    let Some(function) = parse::function(item.clone(), &mut errors) else {
        return expand::not_a_function(&item, errors.into_compile_errors());
    };
    let job = check::job(&function, options, &mut errors);
    expand::job(&function, &job, errors.into_compile_errors())
}

/// All that is wrong with one macro call.
#[derive(Default)]
struct Errors(Option<syn::Error>);

impl Errors {
    /// Notes an error, to be shown at `tokens`.
    fn at(&mut self, tokens: impl quote::ToTokens, message: impl std::fmt::Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |errors| errors.into_iter().count())
    }

    /// Nothing, if there were no errors.
    fn into_compile_errors(self) -> Option<TokenStream> {
        self.0.map(|errors| errors.into_compile_error())
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn with_errors_the_function_and_the_message_stay() {
        let options = quote!(queue = "Mail", timeout = 30);
        let item = quote! {
            /// Sends it.
            async fn send_mail(#[serde(default)] to: String, cx: JobContext) -> Result<(), JobError> {
                to.len() let half_typed;
            }
        };
        let expanded = job_on_fn(options, item).to_string();
        assert_eq!(expanded.matches("compile_error").count(), 2, "{expanded}");
        assert!(
            expanded.contains("async fn send_mail (to : String , cx : JobContext)"),
            "{expanded}"
        );
        assert!(expanded.contains("to . len () let half_typed ;"), "{expanded}");
        assert!(expanded.contains("struct SendMail"), "{expanded}");
        assert!(!expanded.contains("Handler"), "{expanded}");
    }

    #[test]
    fn with_wrong_args_only_the_function_stays() {
        let item = quote!(
            async fn send(to: &str) -> Result<(), JobError> {
                Ok(())
            }
        );
        let expanded = job_on_fn(TokenStream::new(), item.clone()).to_string();
        assert_eq!(expanded.matches("compile_error").count(), 1, "{expanded}");
        assert!(expanded.ends_with(&item.to_string()), "{expanded}");
    }

    #[test]
    fn what_is_no_function_stays_too() {
        for item in [
            quote!(
                struct Send {
                    to: String,
                }
            ),
            quote!(
                const SEND: u8 = 1;
            ),
        ] {
            let expanded = job_on_fn(TokenStream::new(), item.clone()).to_string();
            assert_eq!(expanded.matches("compile_error").count(), 1, "{expanded}");
            assert!(expanded.contains("`async fn`"), "{expanded}");
            assert!(expanded.ends_with(&item.to_string()), "{expanded}");
        }
    }
}
