//! One run, from an empty queue to the verdict.

use std::collections::{BTreeMap, HashSet};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, ensure};
use job_azure::{Account, AzureBackend};
use job_azurite::Azurite;
use job_core::backend::ReceiveRequest;
use job_core::{Client, EnqueueErrorKind, Job, PoisonReason, QueueName};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::check::{Verdict, judge};
use crate::cli::Options;
use crate::fleet::Fleet;
use crate::history::{self, Event, History, Micros, Reason, Rules};
use crate::jobs::{CANARY, Kind, Newcomer, Ordeal, QUEUE, mix, payload};
use crate::nemesis::Nemesis;
use crate::proxy::Proxy;
use crate::worker::{self, CRASH_LIMIT, GRACE, LEASE, MAX_POLL, Role};

/// Jobs a second, all producers together.
const PACE: u64 = 15;

const PRODUCERS: u64 = 4;

/// Producers wait while the queue holds more.
const DEPTH: u64 = 250;

/// How long they do so at most. The nemesis waits for longer, so that this is told.
const PATIENCE: Duration = Duration::from_secs(180);

/// Under a supervisor they are.
const SUSPECTS_ALONE: bool = true;

/// The verdict, and where the history is.
pub(crate) async fn run(options: &Options, seed: u64) -> anyhow::Result<(Verdict, PathBuf)> {
    fastrand::seed(seed);
    static RUNS: AtomicU64 = AtomicU64::new(1);
    let (run, how) = (RUNS.fetch_add(1, Relaxed), options.sabotage.as_deref().unwrap_or("sound"));
    let name = format!("job-chaos-{seed}-{how}-{}-{run}", std::process::id());
    let dir = options.out.clone().unwrap_or_else(std::env::temp_dir).join(name);
    std::fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
    let path = dir.join("history.jsonl");
    let history = History::open(&path)?;
    let fair = options.kills == 0 && options.faults == 0;
    history.write(Event::Run {
        rules: Rules {
            seed,
            lease_ms: LEASE.as_millis() as u64,
            grace_ms: GRACE.as_millis() as u64,
            longest_poll_ms: MAX_POLL.as_millis() as u64,
            crash_limit: CRASH_LIMIT,
            fair,
            only_kills: options.kills_only,
            suspects_alone: SUSPECTS_ALONE,
        },
    });

    let azurite = Azurite::start()?;
    // The harness itself has all the time: the machine may be busy.
    let account = Account::from_connection_string(&azurite.connection_string())?;
    let direct = Client::new(AzureBackend::new(account)?);
    let queue = QueueName::new(QUEUE)?;
    direct.backend().create_queue(&queue, &Default::default()).await?;
    let faults = if options.kills_only { 0 } else { options.faults };
    let proxy = Proxy::new(&azurite.connection_string(), history.clone(), seed, faults)?;
    let proxy = Arc::new(proxy);
    let producers_way = proxy.open(0).await?;
    let mut roles = BTreeMap::new();
    if !options.kills_only {
        roles.insert("1".to_owned(), Role::Old);
    }
    let fleet = Fleet::start(
        history.clone(),
        Arc::clone(&proxy),
        options.workers,
        path.clone(),
        dir.clone(),
        roles,
        options.sabotage.clone(),
    );
    let fleet = Arc::new(fleet.await?);

    let enqueued = Arc::new(AtomicU64::new(0));
    let status = Status {
        started: Instant::now(),
        name: options.sabotage.clone().unwrap_or_else(|| format!("seed {seed}")),
        jobs: options.jobs,
        enqueued: Arc::clone(&enqueued),
        proxy: Arc::clone(&proxy),
        direct: direct.clone(),
    };
    let _vigil = Vigil::begin(history.clone());
    let mut progress = JoinSet::new();
    progress.spawn(async move { status.show().await });

    let mut rng = fastrand::Rng::with_seed(seed);
    let harmless = options.kills_only || fair;
    let kinds = mix(options.jobs, harmless, &mut rng);
    let nemesis = Nemesis {
        fleet: Arc::clone(&fleet),
        proxy: Arc::clone(&proxy),
        rng: rng.fork(),
        faults,
        kills: options.kills,
        only_kills: options.kills_only,
    };
    let client = worker::client(&producers_way)?;
    let course = async {
        let produced = produce(kinds, &client, &direct, &history, &enqueued);
        tokio::try_join!(produced, nemesis.run(&enqueued, options.jobs))?;
        proxy.strike(0);
        history.write(Event::Quiet);
        fleet.roll_all(Role::New).await;
        if timeout(options.patience, drained(&direct, &queue)).await.is_ok() {
            history.write(Event::Drained);
        }
        anyhow::Ok(())
    };
    tokio::select! {
        ended = course => ended?,
        error = fleet.fallen() => return Err(error),
    }
    let fleet = Arc::into_inner(fleet).context("somebody still has the fleet")?;
    fleet.stop().await?;
    progress.shutdown().await;
    take_stock(&direct, &queue, &history).await?;
    look_for_leaks(&dir, azurite.key(), &proxy.receipts(), &history)?;
    history.write(Event::End);
    let verdict = judge(&history::read(&path)?)?;
    Ok((verdict, dir))
}

/// Tells when the machine stood still, until it is dropped. What nobody could have done anything in
/// is no delay of the worker's.
struct Vigil(Arc<AtomicBool>);

impl Vigil {
    const BEAT: Duration = Duration::from_millis(50);
    const STILL: Duration = Duration::from_millis(250);

    fn begin(history: History) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ended);
        std::thread::spawn(move || {
            while !is_over.load(Relaxed) {
                let began = std::time::Instant::now();
                std::thread::sleep(Self::BEAT);
                let late = began.elapsed() - Self::BEAT;
                if late > Self::STILL && !is_over.load(Relaxed) {
                    history.write(Event::StoodStill { micros: late.as_micros() as Micros });
                }
            }
        });
        Self(ended)
    }
}

impl Drop for Vigil {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Enqueues them all, no faster than they are done.
async fn produce(
    kinds: Vec<Kind>,
    client: &Client,
    direct: &Client,
    history: &History,
    enqueued: &Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let mut producers = JoinSet::new();
    let jobs: Vec<_> = (0..).zip(kinds).collect();
    for producer in 0..PRODUCERS {
        let (client, direct) = (client.clone(), direct.clone());
        let (history, enqueued) = (history.clone(), Arc::clone(enqueued));
        let own = jobs.iter().filter(move |(n, _)| n % PRODUCERS == producer);
        let own: Vec<(u64, Kind)> = own.copied().collect();
        producers.spawn(async move {
            let mut ticks = interval(Duration::from_millis(1_000 * PRODUCERS / PACE));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let queue = QueueName::new(QUEUE)?;
            for (n, kind) in own {
                ticks.tick().await;
                let give_up = Instant::now() + PATIENCE;
                while direct.backend().stats(&queue).await.is_ok_and(|it| it.total > DEPTH) {
                    ensure!(Instant::now() < give_up, "the queue has been full for {PATIENCE:?}");
                    sleep(Duration::from_millis(200)).await;
                }
                enqueue(&client, &history, n, kind).await;
                enqueued.fetch_add(1, Relaxed);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = producers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn enqueue(client: &Client, history: &History, n: u64, kind: Kind) {
    let call = match kind {
        Kind::Newcomer => client.enqueue(Newcomer { n, payload: payload(n) }),
        _ => client.enqueue(Ordeal { n, kind, payload: payload(n) }),
    };
    let call = call.max_attempts(kind.max_attempts());
    let call = match kind.delay() {
        Some(delay) => call.delay(delay),
        None => call,
    };
    let job = call.id().to_string();
    history.write(Event::Invoke { job: job.clone(), kind, n });
    history.write(match call.await {
        Ok(_) => Event::Enqueued { job },
        Err(error) if error.kind() == EnqueueErrorKind::Unknown => Event::Unknown { job },
        Err(_) => Event::Rejected { job },
    });
}

/// The queue is empty, which it is only once nothing of it is leased either.
async fn drained(direct: &Client, queue: &QueueName) {
    while !direct.backend().stats(queue).await.is_ok_and(|stats| stats.total == 0) {
        sleep(Duration::from_millis(250)).await;
    }
}

/// What is left in the queue and in the poison queue.
async fn take_stock(direct: &Client, queue: &QueueName, history: &History) -> anyhow::Result<()> {
    // Whatever is left is hidden for a lease or a backoff at most.
    let give_up = Instant::now() + Duration::from_secs(60);
    while direct.backend().stats(queue).await?.total > 0 && Instant::now() < give_up {
        let request = ReceiveRequest::new(queue.clone()).max(32).lease(Duration::from_secs(60));
        for delivery in direct.backend().receive(request).await?.deliveries {
            #[derive(serde::Deserialize)]
            struct Head {
                id: String,
            }
            let head = serde_json::from_slice::<Head>(&delivery.body);
            history.write(Event::Remains { job: head.ok().map(|head| head.id) });
            let deleted = direct.backend().delete(&[delivery.receipt]).await;
            deleted.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        sleep(Duration::from_millis(500)).await;
    }
    for job in direct.poison(QUEUE)?.list(usize::MAX).await? {
        #[derive(serde::Deserialize)]
        struct Args {
            n: u64,
            kind: Option<Kind>,
            payload: String,
        }
        let args = job.args().and_then(|args| serde_json::from_str::<Args>(args).ok());
        history.write(Event::Poisoned {
            job: job.id().to_string(),
            reason: match job.reason() {
                PoisonReason::AttemptsExhausted => Reason::AttemptsExhausted,
                PoisonReason::Crashed => Reason::Crashed,
                PoisonReason::Permanent => Reason::Permanent,
                _ => Reason::Other,
            },
            n: args.as_ref().map(|args| args.n),
            kind: match job.name() {
                Some(Newcomer::NAME) => Some(Kind::Newcomer),
                _ => args.as_ref().and_then(|args| args.kind),
            },
            intact: args.is_some_and(|args| args.payload == payload(args.n)),
        });
    }
    Ok(())
}

/// Nothing that is secret may be in what the workers said.
fn look_for_leaks(
    dir: &Path,
    key: &str,
    receipts: &HashSet<String>,
    history: &History,
) -> anyhow::Result<()> {
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let in_receipts = |word: &str| receipts.contains(word);
        let is_part = |c: char| c.is_ascii_alphanumeric() || "+/=-_".contains(c);
        for (secret, found) in [
            ("account key", text.contains(key)),
            ("job args", text.contains(CANARY)),
            ("receipt", text.split(|c| !is_part(c)).any(in_receipts)),
        ] {
            if found {
                let secret = secret.to_owned();
                history.write(Event::Leaked { secret, file: file.clone() });
            }
        }
    }
    Ok(())
}

/// How far it has come.
struct Status {
    started: Instant,
    name: String,
    jobs: u64,
    enqueued: Arc<AtomicU64>,
    proxy: Arc<Proxy>,
    direct: Client,
}

impl Status {
    async fn show(&self) {
        let terminal = std::io::stderr().is_terminal();
        let every = if terminal { 1 } else { 10 };
        let mut ticks = interval(Duration::from_secs(every));
        let Ok(queue) = QueueName::new(QUEUE) else { return };
        loop {
            ticks.tick().await;
            let stats = self.direct.backend().stats(&queue).await;
            let line = format!(
                "{}, {:3} s: {}/{} enqueued, {} off the queue, {} on it, {} requests struck",
                self.name,
                self.started.elapsed().as_secs(),
                self.enqueued.load(Relaxed),
                self.jobs,
                self.proxy.deleted(),
                stats.map_or("?".to_owned(), |stats| stats.total.to_string()),
                self.proxy.struck(),
            );
            let line = if terminal { format!("\r\x1b[K{line}") } else { format!("{line}\n") };
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }
}
