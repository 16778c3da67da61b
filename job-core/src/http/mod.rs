//! Health, metrics and scaling figures of a worker over HTTP: feature `http`, set up by
//! [`WorkerBuilder::http`](crate::WorkerBuilder::http).
//!
//! | `GET` | answers |
//! |---|---|
//! | `/livez` | 200 while the worker moves, else 503: restart it. The reason is a handler that blocks every thread of the runtime for longer than [`stall_limit`](crate::WorkerBuilder::stall_limit) |
//! | `/readyz` | 200 while receiving works from every queue, else 503: until the queues were found, while the backend fails or throttles again and again, after access was denied, at a shutdown. A queue that waits for a permit, because jobs of others run, or for its turn by the rate limit is well; one that waits for a layer after a failure is not |
//! | `/metrics` | the metrics of [`telemetry`](crate::telemetry), and all others of the program, as Prometheus reads them |
//! | `/scale` | how much there is to do, as JSON; 503 with the reasons while nothing is known of any queue |
//!
//! What is not well says why in its body, as text. Where the backend fails, a worker is not ready,
//! but it lives: a restart would cure nothing.
//!
//! It is served on a thread of its own, so handlers that block the runtime do not silence it, and
//! from before queues are looked up until the worker has ended.
//!
//! # `/scale`
//!
//! ```json
//! {
//!   "jobs": 123, "backlog": 107, "in_flight": 16, "slots": 16,
//!   "depth": 140, "oldest_age_seconds": 12.5, "drain_seconds": 8.9, "poison": 0,
//!   "sampled_seconds_ago": 3.2,
//!   "estimates": [{ "field": "drain_seconds", "why": "the backlog at the pace of this worker since the figures before" }],
//!   "queues": [{ "queue": "mail", "jobs": 123, "estimates": [] }]
//! }
//! ```
//!
//! | field | what it is |
//! |---|---|
//! | `jobs` | `backlog`, and what this worker held when that was counted |
//! | `backlog` | messages that are due, whoever takes them |
//! | `in_flight` | messages that this worker holds now; those of other workers nobody can tell from those that are hidden until later |
//! | `slots` | how many jobs this worker runs at once |
//! | `depth` | all messages: due, hidden until later, held by workers |
//! | `oldest_age_seconds` | how long ago the oldest was sent that the backend shows; `null` if it shows none |
//! | `drain_seconds` | how long the backlog would take this worker alone at the pace of late; `null` while it has none |
//! | `poison` | messages in poison queues |
//! | `sampled_seconds_ago` | how old the figures of the backend are: up to [`sample_every`](crate::WorkerBuilder::sample_every) |
//! | `estimates` | which of them are estimates here, each with the reason. On Azure Queue Storage up to 31 due messages are counted by a look at them; if there are more, `backlog` is all messages but those that this worker holds: those that are hidden until later, and those that other workers hold, are among them |
//! | `queues` | the same for each queue; where nothing is known of one, its figures are `null`, and `problem` says why; so it does where only `poison` is `null` |
//!
//! A sum is `null` while a part of it is not known; what this worker itself does is always known.
//!
//! KEDA's `metrics-api` scaler reads it with `valueLocation: "backlog"`, or for one queue
//! `queues.#(queue=="mail").backlog`; `examples/deploy/scale.yaml` has the whole, for several pods,
//! whose `backlog` + `in_flight` may count some twice and is no more than `depth`. Figures older than
//! three times [`sample_every`](crate::WorkerBuilder::sample_every) are taken for not known: a scaler
//! should not act on those.
//!
//! # Several workers
//!
//! Each has an address of its own: two cannot listen on one, and the second ends with
//! [`WorkerError::Http`](crate::WorkerError::Http). Under a `Supervisor` all processes are told the
//! same address, so there process 1 listens on the port after it, process 2 on the next, and so on;
//! the process for suspects has the port itself. A process that is replaced keeps its port until
//! it has ended, and its successor tries each second until then; so it does, and says so, where
//! another program has the port. Two workers in one process need ports that are further apart than
//! there are processes.

mod answers;
mod prometheus;
mod server;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use self::server::{Server, bind};
use crate::worker::Served;

/// What a worker was told about it.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) address: SocketAddr,
    pub(crate) stall_limit: Duration,
    pub(crate) render: Option<Render>,
}

impl Http {
    /// The address of one of a supervisor's processes: a port for each. Where ports end, or the
    /// system is to choose one, it chooses.
    pub(crate) fn address_of(&self, place: u16) -> SocketAddr {
        let mut address = self.address;
        let port = address.port();
        address.set_port(if port == 0 { 0 } else { port.checked_add(place).unwrap_or(0) });
        address
    }
}

/// The user's way to show metrics.
#[derive(Clone)]
pub(crate) struct Render(Arc<dyn Fn() -> String + Send + Sync>);

impl Render {
    pub(crate) fn new(render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(render))
    }
}

impl fmt::Debug for Render {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Render")
    }
}

/// A worker as whoever asks sees it.
#[derive(Debug)]
pub(crate) struct Watched {
    stall_limit: Duration,
    sample_every: Duration,
    phase: AtomicU8,
    queues: OnceLock<Vec<Arc<Served>>>,
    /// When the worker's runtime was asked for a sign of life that it has not given yet.
    asked_at: Mutex<Option<Instant>>,
}

const STARTING: u8 = 0;
const SERVING: u8 = 1;
const STOPPING: u8 = 2;

impl Watched {
    pub(crate) fn new(http: &Http, sample_every: Duration) -> Self {
        Self {
            stall_limit: http.stall_limit,
            sample_every,
            phase: AtomicU8::new(STARTING),
            queues: OnceLock::new(),
            asked_at: Mutex::default(),
        }
    }

    /// The worker has found its queues.
    pub(crate) fn serving(&self, queues: &[Arc<Served>]) {
        let _ = self.queues.set(queues.to_vec());
        self.phase.store(SERVING, Relaxed);
    }

    /// The worker was asked to stop.
    pub(crate) fn stopping(&self) {
        self.phase.store(STOPPING, Relaxed);
    }

    fn queues(&self) -> &[Arc<Served>] {
        self.queues.get().map_or(&[], Vec::as_slice)
    }

    fn asked_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.asked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;

    use super::*;

    fn http(port: u16) -> Http {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Http {
            address,
            stall_limit: Duration::from_secs(60),
            render: Some(Render::new(String::new)),
        }
    }

    #[test]
    fn processes_have_a_port_each() {
        let port = |port, place| http(port).address_of(place).port();
        assert_eq!([0, 1, 2].map(|place| port(9090, place)), [9090, 9091, 9092]);
        assert_eq!(port(0, 3), 0);
        assert_eq!(port(u16::MAX, 1), 0);
    }

    /// A process that succeeds another has its port once that is gone.
    #[tokio::test]
    async fn a_port_that_is_taken_is_waited_for() {
        let before = bind(http(0).address).unwrap();
        let address = before.local_addr().unwrap();
        let watched = Arc::new(Watched::new(&http(0), Duration::from_secs(1)));
        let (tell, told) = oneshot::channel();
        let bound = move |address| tell.send(address).unwrap_or_default();
        let server = Server::start(Err(address), watched, http(0).render, bound).unwrap();
        drop(before);
        assert_eq!(told.await.unwrap(), address);
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 503 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nthe worker looks for its queues\n"), "{answer}");
        drop(server);
    }
}
