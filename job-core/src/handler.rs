//! Handlers, and how they are found: registration and erasure.

use std::fmt;
use std::future::Future;
use std::panic::Location;

use crate::pipeline::JobFuture;
use crate::{Args, ArgsError, Data, DataKey, Job, JobContext, JobError, JobOptions};

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
    note = "put `#[job]` on the `async fn` that runs it, or `#[handler]` if the struct is a job by itself"
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
    note = "a worker injects `JobContext`, and `Data<T>` if `T` is `Send + Sync`; all else is an arg of the job"
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

#[diagnostic::do_not_recommend]
impl<T: ?Sized + Send + Sync + 'static> Inject for Data<T> {
    fn inject(cx: &JobContext) -> Result<Self, JobError> {
        cx.data()
    }

    fn requires(needs: &mut Requirements) {
        needs.data::<T>();
    }
}

#[diagnostic::do_not_recommend]
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
    pub(crate) decode: fn(Args<'_>) -> Result<Prepared, ArgsError>,
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
pub(crate) struct Prepared(Box<dyn FnOnce(JobContext) -> JobFuture + Send>);

impl Prepared {
    pub(crate) fn run(self, cx: JobContext) -> JobFuture {
        (self.0)(cx)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").finish_non_exhaustive()
    }
}

fn decode<H: Handler>(args: Args<'_>) -> Result<Prepared, ArgsError> {
    let job = H::Job::from_args(args)?;
    // One box for the future in all: the innermost service passes it on as it is.
    Ok(Prepared(Box::new(move |cx| Box::pin(async { Ok(H::call(job, cx).await.into()) }))))
}
