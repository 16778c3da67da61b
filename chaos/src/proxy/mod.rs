//! The wire between workers and the service: passes requests on, or not.
//!
//! Shared keys sign the path and not the host, so a request goes on as it came.

mod fault;
mod http;
mod wire;

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::fault::{Fault, Faults};
use self::http::{Expect, Message};
use crate::history::{Event, History, Op, Wire, now};

/// Emulators drop idle connections after 5 s; one that is dropped as it is used would be a fault
/// that nobody asked for.
const IDLE: Duration = Duration::from_secs(2);

/// How long a request that is not answered is kept waiting at most.
const FOR_EVER: Duration = Duration::from_secs(60);

const BUSY: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>ServerBusy</Code>\
                    <Message>The server is busy.</Message></Error>";

/// One proxy with a port for each worker, by which it knows whose a request is.
#[derive(Debug)]
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    connection_string: String,
    history: History,
    faults: Faults,
    idle: Mutex<Vec<(Instant, TcpStream)>>,
    receipts: Mutex<HashSet<String>>,
    struck: AtomicU64,
    deleted: AtomicU64,
}

impl Proxy {
    /// In front of what that connection string leads to.
    pub(crate) fn new(
        connection_string: &str,
        history: History,
        seed: u64,
        percent: u32,
    ) -> anyhow::Result<Self> {
        let (_, rest) = connection_string.split_once("http://").context("it is not HTTP")?;
        let upstream = rest.split('/').next().unwrap_or_default();
        let shared = Shared {
            upstream: upstream.parse().context("not an address")?,
            connection_string: connection_string.to_owned(),
            history,
            faults: Faults::new(seed, percent),
            idle: Mutex::default(),
            receipts: Mutex::default(),
            struck: AtomicU64::new(0),
            deleted: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared), tasks: Mutex::default() })
    }

    /// Opens a port for that process, 0 for the producers: the connection string to use.
    pub(crate) async fn open(&self, worker: u32) -> io::Result<String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (upstream, own) = (self.shared.upstream.to_string(), listener.local_addr()?);
        let connection_string = self.shared.connection_string.replace(&upstream, &own.to_string());
        let shared = Arc::clone(&self.shared);
        lock(&self.tasks).spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((client, _)) = accepted else { continue };
                        let shared = Arc::clone(&shared);
                        connections.spawn(async move {
                            // What goes wrong with a connection, its client sees.
                            let _ = shared.serve(client, worker).await;
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(connection_string)
    }

    /// So many of a hundred requests are struck from now on.
    pub(crate) fn strike(&self, percent: u32) {
        self.shared.faults.set(percent);
    }

    /// How many requests were struck so far.
    pub(crate) fn struck(&self) -> u64 {
        self.shared.struck.load(Relaxed)
    }

    /// How many messages were deleted so far.
    pub(crate) fn deleted(&self) -> u64 {
        self.shared.deleted.load(Relaxed)
    }

    /// All receipts that went over the wire.
    pub(crate) fn receipts(&self) -> HashSet<String> {
        lock(&self.shared.receipts).clone()
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream, worker: u32) -> io::Result<()> {
        client.set_nodelay(true)?;
        while let Some(request) = http::read(&mut client, Expect::Request).await? {
            let mut wire = Wire { worker, ..wire::request(&request) };
            let fault = self.faults.next();
            wire.fault = fault.map(|fault| fault.name().to_owned());
            wire.delayed_ms = fault.and_then(Fault::delay).map(|it| it.as_millis() as u64);
            self.struck.fetch_add(u64::from(fault.is_some()), Relaxed);
            let awaited = match fault {
                Some(Fault::Delay(pause)) => is_awaited(&client, pause).await,
                _ => true,
            };
            wire.sent = now();
            wire.answered = awaited && fault.is_none_or(Fault::answers);
            let answer = match fault.is_none_or(Fault::reaches) {
                true => match self.forward(&request).await {
                    Ok(answer) => Some(answer),
                    Err(_) => {
                        wire.fault = Some("upstream".to_owned());
                        wire.answered = false;
                        None
                    }
                },
                false => None,
            };
            if let Some(answer) = &answer {
                wire::answer(&mut wire, answer);
                lock(&self.receipts).extend(wire::receipts(answer));
            }
            let deleted = wire.op == Op::Delete && wire.applied();
            self.deleted.fetch_add(u64::from(deleted), Relaxed);
            self.record(&wire);

            match (fault, &answer) {
                (Some(Fault::Busy), _) => client.write_all(busy().as_bytes()).await?,
                (Some(Fault::Truncate), Some(answer)) => {
                    client.write_all(&answer.raw[..answer.raw.len() / 2]).await?;
                    return client.shutdown().await;
                }
                (Some(Fault::Reset { .. }), _) => return client.set_zero_linger(),
                (Some(Fault::BlackHole), _) => {
                    let mut rest = [0; 64];
                    let _ = timeout(FOR_EVER, client.read(&mut rest)).await;
                    return Ok(());
                }
                (Some(Fault::DropRequest | Fault::DropAnswer), _) | (_, None) => return Ok(()),
                (fault, Some(answer)) => {
                    if let Some(Fault::DelayAnswer(pause)) = fault
                        && !is_awaited(&client, pause).await
                    {
                        self.history.write(Event::Unheard(wire));
                        return Ok(());
                    }
                    client.write_all(&answer.raw).await?;
                }
            }
        }
        Ok(())
    }

    /// What the checker has no use for is left out: most receives bring nothing.
    fn record(&self, wire: &Wire) {
        let tells = match wire.op {
            Op::Send | Op::Update | Op::Delete => true,
            Op::Receive => wire.fault.is_some() || !wire.messages.is_empty(),
            Op::Other => wire.fault.is_some(),
        };
        if tells {
            self.history.write(Event::Wire(wire.clone()));
        }
    }

    async fn forward(&self, request: &Message) -> io::Result<Message> {
        let mut upstream = self.connection().await?;
        upstream.write_all(&request.raw).await?;
        let expect = Expect::Answer { to_head: request.method == "HEAD" };
        let answer = http::read(&mut upstream, expect).await?;
        let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
        if answer.keeps_alive() {
            lock(&self.idle).push((Instant::now(), upstream));
        }
        Ok(answer)
    }

    async fn connection(&self) -> io::Result<TcpStream> {
        while let Some((since, connection)) = { lock(&self.idle).pop() } {
            if since.elapsed() < IDLE {
                return Ok(connection);
            }
        }
        let connection = TcpStream::connect(self.upstream).await?;
        connection.set_nodelay(true)?;
        Ok(connection)
    }
}

/// Pauses for so long; says whether the client is still there then.
async fn is_awaited(client: &TcpStream, pause: Duration) -> bool {
    // It sends nothing before it has its answer, so what can be read is its end.
    timeout(pause, client.peek(&mut [0])).await.is_err()
}

fn busy() -> String {
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nx-ms-error-code: ServerBusy\r\n\
         Content-Type: application/xml\r\nContent-Length: {}\r\n\r\n{BUSY}",
        BUSY.len()
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
