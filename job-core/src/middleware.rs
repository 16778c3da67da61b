//! Tower middleware around jobs: any [`tower::Layer`](https://docs.rs/tower) for a worker, a queue
//! or a job.
//!
//! A run is a `tower::Service`: it is called with a [`Call`] and answers with an
//! [`Outcome`](crate::Outcome). So limits, timeouts, tracing and metrics that exist as layers fit
//! around jobs, and what you write for jobs has the shape that every tower user knows.
//!
//! ```
//! # fn example(client: job_core::Client) -> Result<(), job_core::BuildError> {
//! use job_core::{Queue, Worker};
//! use tower::limit::ConcurrencyLimitLayer;
//! use tower::timeout::TimeoutLayer;
//! # use job_core::prelude::*;
//! # #[job] async fn resize(picture: String) -> Result<(), JobError> { drop(picture); Ok(()) }
//!
//! let worker = Worker::builder(&client)
//!     .layer(ConcurrencyLimitLayer::new(64)) // over all queues of this worker
//!     .queue(Queue::new("mail").layer(ConcurrencyLimitLayer::new(4))) // over all jobs of `mail`
//!     .queue(Queue::new("pictures"))
//!     .job_layer::<Resize>(TimeoutLayer::new(10 * SECOND)) // this job alone, from any queue
//!     .build()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Order
//!
//! From the outside in:
//!
//! 1. what every worker has: the span of the run, the panic catch, the timeout of the job,
//! 2. the layers of the worker, [`WorkerBuilder::layer`](crate::WorkerBuilder::layer),
//! 3. those of the queue, [`Queue::layer`](crate::Queue::layer),
//! 4. those of the job, [`WorkerBuilder::job_layer`](crate::WorkerBuilder::job_layer),
//! 5. the handler.
//!
//! In each group the layer that was added first is the outermost, as in `tower::ServiceBuilder`.
//! A layer sees what those further in let out, and nothing of those further out. So what is to
//! count everything goes first. Right:
//!
//! ```
//! # use job_core::middleware::JobLayer;
//! # fn metrics() -> impl JobLayer { tower::util::MapRequestLayer::new(|call| call) }
//! # fn example(client: job_core::Client) {
//! # use job_core::{prelude::SECOND, Worker};
//! # use tower::timeout::TimeoutLayer;
//! let worker = Worker::builder(&client)
//!     .layer(metrics()) // measures runs that time out, too
//!     .layer(TimeoutLayer::new(10 * SECOND));
//! # }
//! ```
//!
//! Wrong, although it compiles:
//!
//! ```
//! # use job_core::middleware::JobLayer;
//! # fn metrics() -> impl JobLayer { tower::util::MapRequestLayer::new(|call| call) }
//! # fn example(client: job_core::Client) {
//! # use job_core::{prelude::SECOND, Worker};
//! # use tower::timeout::TimeoutLayer;
//! let worker = Worker::builder(&client)
//!     .layer(TimeoutLayer::new(10 * SECOND))
//!     .layer(metrics()); // is dropped at a timeout: it never hears how such runs end
//! # }
//! ```
//!
//! # Readiness holds back receiving
//!
//! A message is received once the layers of worker and queue are ready for it (`poll_ready`), and
//! not before. A limit that is used up and a circuit that is open leave jobs on the queue, where
//! other workers can take them: nothing is leased that cannot start, and no attempt is charged.
//! That is the way for a layer to say "not now".
//!
//! - Readiness of the queue's layers is waited for first, then the worker's concurrency, then the
//!   worker's layers. So a queue whose own layer is not ready takes nothing from other queues.
//! - What was reserved for a receive that brought nothing is given up before the queue sleeps, so
//!   an idle queue holds no permit that a busy one needs.
//! - Which job a message is for is known only once it is there. The layers of a **job** are waited
//!   for after the receive: under the lease, which is renewed, and within the timeout, which runs.
//!   A limit belongs on a queue, and a job that needs its own limit on a queue of its own.
//! - An error of `poll_ready` charges nobody. It is logged, the service is thrown away, and a clone
//!   of the stack as it was built is asked after a pause, 250 ms at first and up to 30 s. For the
//!   layers of a job it is a failed attempt.
//! - Layers may share a limit, and one run may need several. Those are waited for one after the
//!   other, from the outermost layer of the queue on and then of the worker, while what is had is
//!   held. So two queues that take two shared limits in opposite orders can wait for each other for
//!   ever, like threads that take two locks. Take them in one order everywhere: below, if `news` had
//!   them the other way round, each could hold the one and wait for the other.
//!
//! ```
//! use job_core::Queue;
//! use tower::limit::GlobalConcurrencyLimitLayer;
//!
//! let account = GlobalConcurrencyLimitLayer::new(10);
//! let printer = GlobalConcurrencyLimitLayer::new(1);
//! let mail = Queue::new("mail").layer(account.clone()).layer(printer.clone());
//! let news = Queue::new("news").layer(account).layer(printer);
//! ```
//!
//! # How often a layer makes a service
//!
//! `Layer::layer` is called once: for each layer of the worker, whatever the number of queues; for
//! each layer of a queue; for each layer of a job. Every run then uses a clone of that service, and
//! what its clones share is shared by all runs. So `ConcurrencyLimitLayer::new(10)` means 10 at a
//! time: in all of a worker, in a queue, or of one kind of job. To share a limit between two
//! queues, give both a clone of one `GlobalConcurrencyLimitLayer`.
//!
//! # What an answer means
//!
//! - `Ok(outcome)` is honoured, whoever it comes from. A layer that turns a job away best answers
//!   [`Outcome::Snooze`](crate::Outcome::Snooze): later, without using up an attempt.
//! - `Err(error)` is a failed attempt with that error, like one of the handler, and so is a panic. A
//!   service whose `call` panicked is thrown away.
//! - The handler's own failures are **not** an `Err`: they come out as `Ok(Outcome::Retry { .. })`,
//!   `Ok(Outcome::Permanent { .. })` and so on. A layer that looks for failures must look at both.
//!
//! # What does not fit, and why
//!
//! | layer | |
//! |---|---|
//! | `RateLimitLayer` | Its service is not `Clone`, so it does not compile. Use [`Queue::rate_limit`](crate::Queue::rate_limit). |
//! | `BufferLayer` | Do not use it. It is ready while its buffer has room, so messages are leased that cannot start, and the readiness of what is inside it holds nothing back. |
//! | `LoadShedLayer` | It is always ready and answers `Overloaded` instead, which charges an attempt. Leave it out: what is inside it then holds back receiving. If you need it, translate its error as below. |
//! | `RetryLayer` | A [`Call`] is not `Clone`: its args are decoded once. Retrying is the worker's: set `max_attempts` and `backoff`. |
//! | `TimeoutLayer` | Fits. The job's own `timeout` is better where it will do: it also cancels [`JobContext::cancellation`](crate::JobContext::cancellation). |
//!
//! ```
//! use job_core::{BoxError, Outcome, Queue, prelude::SECOND};
//! use tower::limit::ConcurrencyLimitLayer;
//! use tower::load_shed::{LoadShedLayer, error::Overloaded};
//! use tower::util::MapResultLayer;
//!
//! let put_off = MapResultLayer::new(|result: Result<Outcome, BoxError>| match result {
//!     Err(error) if error.is::<Overloaded>() => Ok(Outcome::Snooze { delay: 10 * SECOND }),
//!     result => result,
//! });
//! let queue = Queue::new("mail")
//!     .layer(put_off)
//!     .layer(LoadShedLayer::new())
//!     .layer(ConcurrencyLimitLayer::new(4));
//! ```
//!
//! # A layer of your own
//!
//! It has the shape of tower's: a layer that holds the settings, and a service. This one measures
//! runs, and tells the handler the tenant that the enqueuer put into the job's meta.
//!
//! ```
//! use std::future::Future;
//! use std::pin::Pin;
//! use std::task::{Context, Poll};
//! use std::time::{Duration, Instant};
//!
//! use job_core::middleware::Call;
//! use job_core::{BoxError, Outcome, Queue};
//! use tower::{Layer, Service};
//!
//! /// Tells of every run of a tenant's.
//! #[derive(Clone, Copy, Debug)]
//! pub struct TenantLayer {
//!     tell: fn(&Tenant, Duration, bool),
//! }
//!
//! /// Whose job it is; the handler finds it with `cx.extension::<Tenant>()`.
//! #[derive(Clone, Debug)]
//! pub struct Tenant(pub String);
//!
//! impl<S> Layer<S> for TenantLayer {
//!     type Service = TenantService<S>;
//!
//!     fn layer(&self, inner: S) -> Self::Service {
//!         TenantService { inner, tell: self.tell }
//!     }
//! }
//!
//! /// The service of [`TenantLayer`].
//! #[derive(Clone, Debug)]
//! pub struct TenantService<S> {
//!     inner: S,
//!     tell: fn(&Tenant, Duration, bool),
//! }
//!
//! impl<S> Service<Call> for TenantService<S>
//! where
//!     S: Service<Call, Response = Outcome, Error = BoxError>,
//!     S::Future: Send + 'static,
//! {
//!     type Response = Outcome;
//!     type Error = BoxError;
//!     type Future = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;
//!
//!     // A layer that passes this on lets the layers inside it hold back receiving.
//!     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
//!         self.inner.poll_ready(cx)
//!     }
//!
//!     fn call(&mut self, mut call: Call) -> Self::Future {
//!         let Some(tenant) = call.meta("tenant").map(|tenant| Tenant(tenant.to_owned())) else {
//!             let delay = Duration::from_secs(60);
//!             return Box::pin(async move { Ok(Outcome::Snooze { delay }) });
//!         };
//!         call.insert_extension(tenant.clone());
//!         let (tell, started) = (self.tell, Instant::now());
//!         let running = self.inner.call(call);
//!         Box::pin(async move {
//!             let result = running.await;
//!             tell(&tenant, started.elapsed(), !matches!(result, Ok(Outcome::Done)));
//!             result
//!         })
//!     }
//! }
//!
//! let layer = TenantLayer { tell: |tenant, took, failed| println!("{tenant:?} {took:?} {failed}") };
//! let queue = Queue::new("mail").layer(layer);
//! ```
//!
//! A service that keeps something between `poll_ready` and `call`, such as a permit, should not
//! clone it with itself: see how tower's `ConcurrencyLimit` implements `Clone`. And one whose
//! `poll_ready` waits must wake whoever asked once that changes, as every future does.

pub use crate::pipeline::{Call, JobFuture, JobLayer, JobService};
