//! Handlers, and how they are found: registration and erasure.

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;

use crate::{Data, DataKey, Job, JobContext, JobError, JobOptions};

/// What runs a job of one kind. `#[job]` implements it for the args struct that it makes.
///
/// By hand:
///
/// ```
/// use job_core::{Handler, Job, JobContext, JobError, Requirements};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Greet {
///     name: String,
/// }
///
/// impl Job for Greet {
///     const NAME: &'static str = "greet";
/// }
///
/// impl Handler for Greet {
///     type Job = Self;
///
///     async fn call(job: Greet, cx: JobContext) -> Result<(), JobError> {
///         let greeting = cx.data::<String>()?;
///         println!("{} {}", *greeting, job.name);
///         Ok(())
///     }
///
///     fn requires(needs: &mut Requirements) {
///         needs.data::<String>();
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no handler",
    label = "nothing runs this job",
    note = "put `#[job]` on the `async fn` that runs it"
)]
pub trait Handler: 'static {
    /// The args it takes.
    type Job: Job;

    /// Runs one job.
    fn call(
        job: Self::Job,
        cx: JobContext,
    ) -> impl Future<Output = Result<(), JobError>> + Send + 'static;

    /// Says what [`call`](Self::call) will ask the context for, so that a worker that lacks it
    /// refuses to start. Nothing by default.
    fn requires(needs: &mut Requirements) {
        let _ = needs;
    }
}

/// The shared data that a handler needs.
#[derive(Debug, Default)]
pub struct Requirements {
    data: Vec<DataKey>,
}

impl Requirements {
    /// The handler asks for `Data<T>`.
    pub fn data<T: ?Sized + Send + Sync + 'static>(&mut self) {
        self.data.push(DataKey::of::<T>());
    }

    pub(crate) fn into_data(self) -> Vec<DataKey> {
        self.data
    }
}

/// A value that a handler takes besides its args.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be injected into a job",
    label = "not something that a worker can inject",
    note = "`Data<T>` and `JobContext` are injected; every other parameter is an arg of the job"
)]
pub trait Inject: Sized {
    /// Takes it from the context.
    ///
    /// # Errors
    /// If the worker has no such value, which a worker finds out when it is built.
    fn inject(cx: &JobContext) -> Result<Self, JobError>;

    /// Says what [`inject`](Self::inject) will need.
    fn requires(needs: &mut Requirements);
}

impl<T: ?Sized + Send + Sync + 'static> Inject for Data<T> {
    fn inject(cx: &JobContext) -> Result<Self, JobError> {
        cx.data()
    }

    fn requires(needs: &mut Requirements) {
        needs.data::<T>();
    }
}

impl Inject for JobContext {
    fn inject(cx: &JobContext) -> Result<Self, JobError> {
        Ok(cx.clone())
    }

    fn requires(_needs: &mut Requirements) {}
}

/// A handler without its type: what a worker keeps of it.
#[derive(Clone, Copy)]
pub struct Registration {
    pub(crate) name: &'static str,
    pub(crate) aliases: &'static [&'static str],
    pub(crate) version: u32,
    pub(crate) options: JobOptions,
    pub(crate) handler: fn() -> &'static str,
    pub(crate) location: &'static Location<'static>,
    pub(crate) requires: fn(&mut Requirements),
    pub(crate) decode: fn(&str) -> Result<Prepared, ArgsError>,
}

inventory::collect!(Registration);

impl Registration {
    /// Erases a handler.
    #[track_caller]
    pub const fn of<H: Handler>() -> Self {
        Self {
            name: H::Job::NAME,
            aliases: H::Job::ALIASES,
            version: H::Job::VERSION,
            options: H::Job::OPTIONS,
            handler: std::any::type_name::<H>,
            location: Location::caller(),
            requires: H::requires,
            decode: decode::<H>,
        }
    }

    /// All handlers that `#[job]` registered in the crates that are linked in.
    pub(crate) fn linked() -> impl Iterator<Item = &'static Self> {
        inventory::iter::<Self>.into_iter()
    }

    /// Whether both are the same handler.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && (self.handler)() == (other.handler)()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("handler", &(self.handler)())
            .finish_non_exhaustive()
    }
}

/// A job whose args are decoded: all it needs to run is its context.
pub(crate) struct Prepared(Box<dyn FnOnce(JobContext) -> HandlerFuture + Send>);

/// A running handler.
pub(crate) type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), JobError>> + Send>>;

impl Prepared {
    pub(crate) fn run(self, cx: JobContext) -> HandlerFuture {
        (self.0)(cx)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

fn decode<H: Handler>(args: &str) -> Result<Prepared, ArgsError> {
    let job: H::Job = serde_json::from_str(args).map_err(|_| ArgsError::of::<H::Job>(args))?;
    Ok(Prepared(Box::new(move |cx| Box::pin(H::call(job, cx)))))
}

/// Args that do not fit the job's type: where, and never what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the args do not fit at `{path}`: {problem}")]
pub(crate) struct ArgsError {
    path: String,
    problem: &'static str,
}

impl ArgsError {
    /// Decodes once more, slowly, to find the place. What serde says itself is not used: it
    /// repeats the values.
    fn of<J: Job>(args: &str) -> Self {
        let mut json = serde_json::Deserializer::from_str(args);
        match serde_path_to_error::deserialize::<_, J>(&mut json) {
            Ok(_) => Self { path: ".".into(), problem: "there is more after the end" },
            Err(error) => {
                Self { path: shorten(error.path().to_string()), problem: problem_of(error.inner()) }
            }
        }
    }
}

fn problem_of(error: &serde_json::Error) -> &'static str {
    use serde_json::error::Category;
    // serde gives no other way to tell these cases apart; the text itself is not passed on.
    let text = error.to_string();
    match error.classify() {
        Category::Data if text.starts_with("missing field") => "a field is missing",
        Category::Data if text.starts_with("unknown field") => "there is a field too many",
        Category::Data if text.starts_with("unknown variant") => "there is no such variant",
        Category::Data if text.starts_with("duplicate field") => "a field is there twice",
        Category::Data if text.starts_with("invalid type") => "it is of another type",
        Category::Data if text.starts_with("invalid length") => "it has another length",
        Category::Data => "the value is not allowed",
        Category::Syntax if text.starts_with("recursion limit") => "it is nested too deep",
        Category::Syntax => "it is not valid JSON",
        Category::Eof => "it ends too soon",
        Category::Io => "it cannot be read",
    }
}

fn shorten(mut path: String) -> String {
    const MOST: usize = 200;
    if path.len() > MOST {
        let end = (0..=MOST).rev().find(|at| path.is_char_boundary(*at)).unwrap_or(0);
        path.truncate(end);
        path.push('…');
    }
    path
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Charge {
        card: Card,
    }
    #[derive(Serialize, Deserialize)]
    struct Card {
        number: u64,
        extra: serde_json::Value,
    }
    impl Job for Charge {
        const NAME: &'static str = "charge";
    }

    fn problem(args: &str) -> String {
        ArgsError::of::<Charge>(args).to_string()
    }

    #[test]
    fn an_args_error_tells_where_and_never_what() {
        let error = problem(r#"{"card":{"number":"canary","extra":0}}"#);
        assert_eq!(error, "the args do not fit at `card.number`: it is of another type");
        let error = problem(r#"{"card":{"number":1}}"#);
        assert_eq!(error, "the args do not fit at `card`: a field is missing");
        let deep = format!(r#"{{"card":{{"number":1,"extra":{}"#, "[".repeat(100_000));
        assert!(problem(&deep).ends_with("it is nested too deep"), "{}", problem(&deep));
    }
}
