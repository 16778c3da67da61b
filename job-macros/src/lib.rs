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
mod error;
mod expand;
mod model;
mod name;
mod options;
mod parse;

use proc_macro2::TokenStream;

use self::options::Form;
use self::parse::Item;

/// Makes a background job of an `async fn`, or of a struct of args alone.
///
/// # On a function
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
/// ## Parameters
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
/// ## Result
///
/// `Result<(), JobError>`, or any other error type that is `Into<JobError>`: every std error,
/// anyhow's, eyre's, `String`, and your own. [`#[derive(JobError)]`](derive@JobError) lets an error
/// type say itself what becomes of the job.
///
/// # On a struct
///
/// Only the message is made: serde's derives, the `Job` impl, and a `Debug` that hides the args
/// (unless it derives one). That is for a crate that enqueues and must not link the handler, which
/// [`#[handler]`](macro@handler) supplies elsewhere; and for older versions of args. The name on the
/// wire is the struct's in snake case, as if a function had made it.
///
/// ```
/// use job_core::{Job, job};
///
/// #[job(queue = "mail")]
/// pub struct SendWelcome {
///     pub user_id: u64,
///     #[serde(default)]
///     pub lang: Option<String>,
/// }
///
/// assert_eq!(SendWelcome::NAME, "send_welcome");
/// ```
///
/// # Versions
///
/// A field that is optional (an `Option`, or `#[serde(default)]`) can be added at any time. Any other
/// change of the args is a new version, with a function that makes them of the older ones. It may
/// return a `Result`, and the older struct may have an upgrade of its own, but it is of the version
/// before, or it does not compile. Workers leave jobs of a newer version than theirs to newer
/// workers.
///
/// ```
/// use job_core::{JobError, job};
///
/// #[job(name = "resize", version = 1)]
/// struct ResizeV1 {
///     pixels: u32,
/// }
///
/// #[job(version = 2, upgrade = from_v1)]
/// async fn resize(width: u32, height: u32) -> Result<(), JobError> {
///     println!("{width}x{height}");
///     Ok(())
/// }
///
/// fn from_v1(old: ResizeV1) -> Resize {
///     Resize { width: old.pixels, height: old.pixels }
/// }
/// ```
///
/// # Options
///
/// All are optional; what is not set comes from the queue's settings, then from the worker's.
///
/// | Option | Meaning |
/// |---|---|
/// | `name = "send_welcome"` | The name on the wire; by default the function's. It must never change while messages that carry it are about. |
/// | `alias = "old_name"`, `alias = ["old", "older"]` | Names that messages may still carry. |
/// | `version = 2` | The version of the args; 1 by default. |
/// | `upgrade = path::to::function` | Makes the args of those of the version before. |
/// | `args = Name` | What the struct of a function's args is called; by default the function's name in camel case. |
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
    job_on(options.into(), item.into()).into()
}

/// Supplies the handler of a job whose message is defined elsewhere, such as in a crate that
/// enqueues it and must not link what runs it.
///
/// ```
/// mod jobs { // a crate of its own, most of the time
///     use job_core::job;
///
///     /// Sends the welcome mail.
///     #[job(queue = "mail")]
///     pub struct SendWelcome {
///         pub user_id: u64,
///     }
/// }
///
/// use job_core::{JobContext, JobError, handler};
///
/// #[handler]
/// async fn send_welcome(job: jobs::SendWelcome, cx: JobContext) -> Result<(), JobError> {
///     println!("user {} at attempt {}", job.user_id, cx.attempt());
///     Ok(())
/// }
/// # fn main() {}
/// ```
///
/// It takes the job itself, which may be a pattern such as
/// `jobs::SendWelcome { user_id }: jobs::SendWelcome`, and like `#[job]` whatever is to be
/// injected. What it returns means the same, too. Its one option is `crate = path`; all others
/// belong to the job.
///
/// Workers find it by themselves. For `.register::<send_welcome>()` there is a type of that name.
///
/// A job has one handler. Two `#[handler]`s for one job in a crate do not compile, whatever modules
/// they are in and whichever crate the job is from. Two in different crates, or one beside the
/// function of a `#[job]`, are an error of `WorkerBuilder::build` in a program that links both,
/// which names their places; unless its worker leaves out one of them by `.without_linked_jobs()`.
/// A stand-in for a test implements `job_core::Handler` by hand.
#[proc_macro_attribute]
pub fn handler(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    handler_on(options.into(), item.into()).into()
}

/// Makes a job of a type that has serde's derives already.
///
/// Its options are those of [`#[job]`](macro@job) but `args`, in `#[job_options(..)]`. The name on
/// the wire is by default that of the type in snake case. `#[job]` on the struct is shorter, and
/// adds serde's derives and a `Debug` that hides the args.
///
/// ```
/// use job_core::Job;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, Job)]
/// #[job_options(queue = "mail", max_attempts = 8)]
/// #[serde(tag = "kind")]
/// enum Notify {
///     Mail { to: String },
///     Push { device: u64 },
/// }
///
/// assert_eq!(Notify::NAME, "notify");
/// ```
#[proc_macro_derive(Job, attributes(job_options))]
pub fn derive_job(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    job_by_derive(item.into()).into()
}

/// Makes an error type say what becomes of a job that fails with it.
///
/// Each variant of an enum, or a struct as a whole, is marked with one of these; without a mark it
/// is `#[retry]`:
///
/// | Mark | What becomes of the job |
/// |---|---|
/// | `#[retry]` | It is tried again, by its backoff. |
/// | `#[retry_after("30s")]` | It is tried again after that time. |
/// | `#[retry_after(field)]` | The same with the time that a field holds, a `Duration` or an `Option` of one (`None`: by its backoff). A tuple's field is `#[retry_after(0)]`. |
/// | `#[permanent]` | It goes to the poison queue now. |
/// | `#[discard]` | It is dropped, logged and counted. |
/// | `#[snooze("1m")]`, `#[snooze(field)]` | It comes again after that time, without using up an attempt (`None`: tried again by its backoff). |
/// | `#[transparent]` | What the error in the only field says, if it says anything. |
///
/// ```
/// use std::time::Duration;
/// use job_core::{JobError, job};
///
/// #[derive(Debug, thiserror::Error, JobError)]
/// enum ChargeError {
///     #[error("the bank cannot be reached")]
///     Unreachable(#[from] std::io::Error), // without a mark: tried again
///     #[error("too many requests")]
///     #[retry_after(wait)]
///     Busy { wait: Duration },
///     #[error("no such account")]
///     #[permanent]
///     NoAccount,
/// }
///
/// async fn call_bank(account: u64) -> Result<(), ChargeError> {
///     if account == 0 { Err(ChargeError::NoAccount) } else { Ok(()) }
/// }
///
/// #[job]
/// async fn charge(account: u64) -> Result<(), ChargeError> {
///     call_bank(account).await
/// }
///
/// #[job]
/// async fn charge_twice(account: u64) -> Result<(), JobError> {
///     call_bank(account).await?; // what it says is heard here as well
///     call_bank(account).await?;
///     Ok(())
/// }
/// ```
///
/// The type is an error (`std::error::Error + Send + Sync`), as thiserror makes it; it stays what
/// the job failed with. It is asked when it becomes a `JobError` itself. Inside of another error,
/// such as `anyhow::Error`, it is not seen; convert it before.
///
/// `#[job_error(crate = path)]` on the type says where job-core is, if not at `::job_core`.
#[proc_macro_derive(
    JobError,
    attributes(retry, retry_after, permanent, discard, snooze, transparent, job_error)
)]
pub fn derive_job_error(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let mut errors = Errors::default();
    match parse::derive(item.into(), &mut errors) {
        Some(item) => error::derive(&item).into(),
        None => errors.into_compile_errors().unwrap_or_default().into(),
    }
}

fn job_on(options: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    match parse::item(tokens.clone(), &mut errors) {
        None => expand::as_it_was(&tokens, errors.into_compile_errors()),
        Some(Item::Function(function)) => {
            let options = parse::options(options, Form::Function, &mut errors);
            let job = check::job_function(&function, options, &mut errors);
            expand::function(&function, &job, errors.into_compile_errors())
        }
        Some(Item::Struct(item)) => {
            let options = parse::options(options, Form::Struct, &mut errors);
            let job = check::job_struct(&item, options, &mut errors);
            expand::structure(&item, &job, errors.into_compile_errors())
        }
    }
}

fn handler_on(options: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let Some(function) = parse::function(tokens.clone(), &mut errors) else {
        return expand::as_it_was(&tokens, errors.into_compile_errors());
    };
    let options = parse::options(options, Form::Handler, &mut errors);
    let job = check::handler(&function, options, &mut errors);
    expand::function(&function, &job, errors.into_compile_errors())
}

fn job_by_derive(tokens: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let Some(item) = parse::derive(tokens, &mut errors) else {
        return expand::as_it_was(&TokenStream::new(), errors.into_compile_errors());
    };
    let mut options = Vec::new();
    for attr in item.attrs.iter().filter(|attr| attr.path().is_ident("job_options")) {
        match attr.meta.require_list() {
            Ok(list) => {
                options.extend(parse::options(list.tokens.clone(), Form::Derive, &mut errors));
            }
            Err(_) => {
                errors.at(attr, "write the options in it: `#[job_options(queue = \"mail\")]`");
            }
        }
    }
    let job = check::derive(&item, options, &mut errors);
    expand::derive(&job, errors.into_compile_errors())
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
        let expanded = job_on(options, item).to_string();
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
        let expanded = job_on(TokenStream::new(), item.clone()).to_string();
        assert_eq!(expanded.matches("compile_error").count(), 1, "{expanded}");
        assert!(expanded.ends_with(&item.to_string()), "{expanded}");
    }

    #[test]
    fn what_is_no_job_stays_too() {
        for item in [
            quote!(
                enum Send {
                    Mail,
                }
            ),
            quote!(
                const SEND: u8 = 1;
            ),
        ] {
            for expanded in [
                job_on(TokenStream::new(), item.clone()),
                handler_on(TokenStream::new(), item.clone()),
            ] {
                let expanded = expanded.to_string();
                assert_eq!(expanded.matches("compile_error").count(), 1, "{expanded}");
                assert!(expanded.contains("`async fn`"), "{expanded}");
                assert!(expanded.ends_with(&item.to_string()), "{expanded}");
            }
        }
    }

    #[test]
    fn a_struct_with_errors_stays_without_what_only_a_derive_knows() {
        let item = quote!(
            struct Send<T> {
                #[serde(default)]
                to: T,
            }
        );
        let expanded = job_on(TokenStream::new(), item).to_string();
        assert_eq!(expanded.matches("compile_error").count(), 1, "{expanded}");
        assert!(expanded.ends_with("struct Send < T > { to : T , }"), "{expanded}");
    }
}
