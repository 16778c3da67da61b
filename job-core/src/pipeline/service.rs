//! The service that layers wrap, and layers without their types.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tower::util::{BoxCloneSyncService, MapErr};
use tower_layer::Layer;
use tower_service::Service;

use super::{Call, Dispatch};
use crate::{BoxError, Outcome};

/// What a layer wraps: everything further in, down to the handler, without its type.
///
/// It is a `tower::Service` of [`Call`] with the response [`Outcome`] and the error [`BoxError`].
/// Cloning it clones the layers inside, which share what their clones share.
#[derive(Clone)]
pub struct JobService(Kind);

#[derive(Clone)]
enum Kind {
    /// Where the layers end. Its futures are boxed already.
    Innermost(Dispatch),
    Layered(BoxCloneSyncService<Call, Outcome, BoxError>),
}

/// The future of a [`JobService`].
pub type JobFuture = Pin<Box<dyn Future<Output = Result<Outcome, BoxError>> + Send>>;

impl JobService {
    pub(crate) fn new<S>(service: S) -> Self
    where
        S: Service<Call, Response = Outcome> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
    {
        let into: fn(S::Error) -> BoxError = Into::into;
        Self(Kind::Layered(BoxCloneSyncService::new(MapErr::new(service, into))))
    }

    pub(super) fn innermost() -> Self {
        Self(Kind::Innermost(Dispatch))
    }
}

impl Service<Call> for JobService {
    type Response = Outcome;
    type Error = BoxError;
    type Future = JobFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.0 {
            Kind::Innermost(service) => service.poll_ready(cx),
            Kind::Layered(service) => service.poll_ready(cx),
        }
    }

    fn call(&mut self, call: Call) -> JobFuture {
        match &mut self.0 {
            Kind::Innermost(service) => service.call(call),
            Kind::Layered(service) => service.call(call),
        }
    }
}

impl fmt::Debug for JobService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobService").finish_non_exhaustive()
    }
}

/// A layer that jobs can go through. Every fitting [`tower::Layer`](Layer) is one, and nothing
/// else: it is a name for what is asked of a layer.
///
/// It fits if it can wrap a [`JobService`] and the service that comes of it
///
/// - is a `Service<Call, Response = Outcome>`,
/// - has an error that is `Into<BoxError>`, and a future that is `Send`,
/// - is `Clone + Send + Sync + 'static`: every job that runs at a time has a clone.
///
/// A layer that does not fit is an error of the compiler's, which names what is missing:
///
/// ```compile_fail,E0277
/// # fn example(client: job_core::Client) {
/// let rate = tower::limit::RateLimitLayer::new(100, std::time::Duration::from_secs(1));
/// // the trait bound `RateLimit<JobService>: Clone` is not satisfied
/// let worker = job_core::Worker::builder(&client).layer(rate);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a layer for jobs",
    label = "not a `tower::Layer<JobService>`",
    note = "see `job_core::middleware` for what fits, and for what does not and why"
)]
pub trait JobLayer:
    Layer<
        JobService,
        Service: Service<
            Call,
            Response = Outcome,
            Error: Into<BoxError>,
            Future: Send + 'static,
        > + Clone
                     + Send
                     + Sync
                     + 'static,
    > + Send
    + Sync
    + 'static
{
}

impl<L> JobLayer for L
where
    L: Layer<JobService> + Send + Sync + 'static,
    L::Service: Service<Call, Response = Outcome> + Clone + Send + Sync + 'static,
    <L::Service as Service<Call>>::Error: Into<BoxError>,
    <L::Service as Service<Call>>::Future: Send + 'static,
{
}

/// A layer without its type.
trait Erased: Send + Sync {
    fn wrap(&self, inner: JobService) -> JobService;

    fn type_name(&self) -> &'static str;
}

impl<L: JobLayer> Erased for L {
    fn wrap(&self, inner: JobService) -> JobService {
        JobService::new(self.layer(inner))
    }

    fn type_name(&self) -> &'static str {
        type_name::<L>()
    }
}

/// Layers in the order in which they were added: the first is the outermost.
#[derive(Clone, Default)]
pub(crate) struct Layers(Vec<Arc<dyn Erased>>);

impl Layers {
    pub(crate) fn add(&mut self, layer: impl JobLayer) {
        self.0.push(Arc::new(layer));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The service in all its layers. Every layer is asked for its service exactly once.
    pub(crate) fn around(&self, inner: JobService) -> JobService {
        self.0.iter().rev().fold(inner, |inner, layer| layer.wrap(inner))
    }

    /// The names of their types, without the paths, from the outermost on.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|layer| without_paths(layer.type_name())).collect()
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// `a::b::Stack<a::C, a::D>` as `Stack<C, D>`.
pub(crate) fn without_paths(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut segment_at = 0;
    for char in name.chars() {
        if char == ':' {
            short.truncate(segment_at);
            continue;
        }
        short.push(char);
        if !(char.is_alphanumeric() || char == '_') {
            segment_at = short.len();
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_paths() {
        for (long, short) in [
            ("u32", "u32"),
            ("alloc::string::String", "String"),
            ("a::b::Stack<a::C, a::b::D<'_>>", "Stack<C, D<'_>>"),
            ("dyn app::Mailer + core::marker::Send", "dyn Mailer + Send"),
            ("(a::B, [c::D; 2])", "(B, [D; 2])"),
        ] {
            assert_eq!(without_paths(long), short);
        }
    }
}
