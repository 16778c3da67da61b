//! The server: a thread with a runtime of its own, which also asks the worker's for signs of life.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{Instrument, Span};

use super::answers::{Answer, livez, readyz, scale, show_gauges};
use super::prometheus::Exporter;
use super::{Render, Watched};
use crate::telemetry::events;

/// How often the worker's runtime is asked for a sign of life.
const PULSE: Duration = Duration::from_secs(1);

/// How often what was counted is tidied up.
const UPKEEP: Duration = Duration::from_secs(5);

/// How long one connection may last, and take for the head of its request.
const CONNECTION: Duration = Duration::from_secs(60);
const HEAD: Duration = Duration::from_secs(10);

/// How many there may be at once.
const CONNECTIONS: usize = 64;

/// How long until an address that is taken is tried again.
const TAKEN: Duration = Duration::from_secs(1);

/// At every which of these tries it is told.
const REMIND: u64 = 60;

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    stop: DropGuard,
    closed: oneshot::Receiver<()>,
}

/// An address of its own.
pub(crate) fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let listener = StdListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Server {
    /// Starts to serve, on `listener` or, where the address is still another's, as soon as that is
    /// gone. `bound` hears of the address.
    pub(crate) fn start(
        listener: Result<StdListener, SocketAddr>,
        watched: Arc<Watched>,
        render: Option<Render>,
        bound: impl FnOnce(SocketAddr) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let exporter = Exporter::new(render);
        let (worker, span) = (Handle::current(), Span::current());
        let serve = async move {
            let Some(listener) = listen(listener).await else { return };
            if let Ok(address) = listener.local_addr() {
                events::http_listening(address);
                bound(address);
            }
            let answering = Arc::new(Answering { watched, exporter });
            tokio::join!(
                accept(&listener, &answering),
                pulse(&worker, &answering.watched),
                upkeep(&answering.exporter),
            );
        };
        let (close, closed) = oneshot::channel();
        std::thread::Builder::new().name("job-http".into()).spawn(move || {
            runtime.block_on(stopped.run_until_cancelled(serve.instrument(span)));
            let _ = close.send(());
            runtime.shutdown_background();
        })?;
        Ok(Self { stop: stop.drop_guard(), closed })
    }

    /// Ends it and waits until the address is free. A `render` of the user's may take its time;
    /// it is not waited for longer than that.
    pub(crate) async fn close(self, limit: Duration) {
        let Self { stop, closed } = self;
        drop(stop);
        let _ = timeout(limit, closed).await;
    }
}

async fn listen(listener: Result<StdListener, SocketAddr>) -> Option<TcpListener> {
    let listener = match listener {
        Ok(listener) => listener,
        Err(address) => wait_for(address).await,
    };
    TcpListener::from_std(listener).ok()
}

/// Tries until nobody else has the address. A process that is replaced may have it for hours, so
/// not each try is told.
async fn wait_for(address: SocketAddr) -> StdListener {
    for tries in 0_u64.. {
        match bind(address) {
            Ok(listener) => return listener,
            Err(error) if tries % REMIND == 0 => events::http_taken(address, &error),
            Err(_) => {}
        }
        sleep(TAKEN).await;
    }
    unreachable!("there are more numbers than tries")
}

/// What all connections share.
#[derive(Debug)]
struct Answering {
    watched: Arc<Watched>,
    exporter: Exporter,
}

async fn accept(listener: &TcpListener, answering: &Arc<Answering>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                let answering = Arc::clone(answering);
                connections.spawn(async move {
                    let _ = timeout(CONNECTION, connection(stream, answering)).await;
                    drop(place);
                });
            }
            // Out of descriptors, most likely.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(stream: TcpStream, answering: Arc<Answering>) -> Result<(), hyper::Error> {
    let respond = service_fn(move |request: Request<Incoming>| {
        let response = answering.respond(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD);
    server.serve_connection(TokioIo::new(stream), respond).await
}

impl Answering {
    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let answer = match path {
            "/livez" => livez(&self.watched),
            "/readyz" => readyz(&self.watched),
            "/scale" => scale(&self.watched),
            "/metrics" => self.metrics(),
            _ => Answer::text(404, "there are /livez, /readyz, /metrics and /scale\n"),
        };
        let answer = match *method {
            Method::GET | Method::HEAD => answer,
            _ => Answer::text(405, "ask with GET\n"),
        };
        let status = StatusCode::from_u16(answer.status);
        let mut response = Response::new(Full::new(Bytes::from(answer.body)));
        *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, answer.content_type.parse().expect("a valid header"));
        headers.insert(CACHE_CONTROL, "no-store".parse().expect("a valid header"));
        headers.insert(ALLOW, "GET, HEAD".parse().expect("a valid header"));
        response
    }

    fn metrics(&self) -> Answer {
        show_gauges(&self.watched);
        match self.exporter.render() {
            Some(body) => Answer {
                status: 200,
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body,
            },
            None => Answer::text(
                501,
                "the program has a recorder of its own; give the worker's builder a \
                 `render_metrics` that shows it\n",
            ),
        }
    }
}

/// Asks the worker's runtime for a sign of life, again and again.
async fn pulse(worker: &Handle, watched: &Watched) {
    let mut ticks = interval(PULSE);
    loop {
        ticks.tick().await;
        let (give, given) = oneshot::channel();
        *watched.asked_at() = Some(Instant::now());
        worker.spawn(async move { give.send(()) });
        // An error is the runtime's end, and the worker's.
        if given.await.is_err() {
            return;
        }
        *watched.asked_at() = None;
    }
}

async fn upkeep(exporter: &Exporter) {
    let mut ticks = interval(UPKEEP);
    loop {
        ticks.tick().await;
        exporter.upkeep();
    }
}
