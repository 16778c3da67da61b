//! One queue on Azurite, worked off by several processes of this program.
//!
//! A process says on stdout how many jobs it has deleted so far, whenever that changes. At the end
//! of its stdin it says what it has cost, and ends.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use job_azure::Account;
use job_core::{Queue, QueueName, Worker};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use super::Done;
use super::azurite::{MOST_WAITING, client, produce, with_sas};
use super::traffic::Traffic;
use super::young::Young;
use crate::figure::{Figure, LeftOut};
use crate::finish::Tasks;
use crate::round::{Effort, Entry, Sample, Spent, Watch, in_turn};
use crate::{job, runtime};

/// How many processes there are.
const PROCESSES: [usize; 3] = [1, 2, 4];

/// How many jobs each runs at a time.
const CONCURRENCY: usize = 16;

const JOBS: u64 = 1200;

/// Where a process finds its Azurite, whose SAS is no secret.
const CONNECTION: &str = "BENCH_CONNECTION";

/// Measures one, two and four processes.
pub fn measure(part: &'static str, effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    let azurite = Young::start();
    let Some(azurite) = left_out.unless("worker processes", azurite) else { return Vec::new() };
    let queues = AtomicU64::new(0);
    let jobs = effort.of(JOBS);
    let entries = PROCESSES.map(|processes| Entry {
        contender: match processes {
            1 => "1 process".to_owned(),
            _ => format!("{processes} processes"),
        },
        concurrency: Some(processes * CONCURRENCY),
        run: {
            let (azurite, queues) = (&azurite, &queues);
            Box::new(move || {
                let queue = format!("azurite-{}", queues.fetch_add(1, Relaxed));
                let done = run(with_sas(&*azurite.get()?)?, queue, processes, jobs)?;
                let mut samples: Vec<Sample> = done.samples("worker processes on Azurite", jobs);
                samples[1].measure = "worker processes on Azurite, requests a job";
                Ok(samples)
            })
        },
    });
    let effort = Effort { warm_up: 0, ..effort };
    in_turn(part, "worker processes", effort, entries.into(), left_out)
}

fn run(connection: String, queue: String, processes: usize, jobs: u64) -> anyhow::Result<Done> {
    runtime::run(async move {
        let traffic = Arc::new(Traffic::new(MOST_WAITING));
        let client = client(Account::from_connection_string(&connection)?, &traffic)?;
        client.backend().create_queue(&QueueName::new(&queue)?, &Default::default()).await?;
        let (mut children, mut costs) = (Vec::new(), JoinSet::new());
        for _ in 0..processes {
            let (child, lines) = start(&connection, &queue)?;
            let traffic = Arc::clone(&traffic);
            costs.spawn_blocking(move || follow(lines, &traffic));
            children.push(child);
        }
        let mut tasks = Tasks::new();
        let watch = Watch::start();
        produce(&mut tasks, &traffic, jobs, move |number| {
            let enqueue = client.enqueue(job::numbered(number)).queue(&queue);
            async move { enqueue.await.map(drop).map_err(Into::into) }
        });
        tokio::select! {
            done = traffic.until_done(jobs, &mut tasks) => done?,
            Some(ended) = costs.join_next() => {
                ended??;
                bail!("a worker process ended before its time");
            }
        }
        let mut done = Done { spent: watch.spent(), requests: traffic.requests() };
        for child in &mut children {
            drop(child.stdin.take());
        }
        while let Some(cost) = costs.join_next().await {
            let Cost { requests, cpu } = cost??;
            done.requests += requests;
            done.spent.cpu += Duration::from_secs_f64(cpu);
        }
        for mut child in children {
            let status = child.wait()?;
            ensure!(status.success(), "a worker process failed: {status}");
        }
        Ok(done)
    })
}

/// What a process has cost.
#[derive(Serialize, Deserialize)]
struct Cost {
    requests: u64,
    /// In seconds.
    cpu: f64,
}

/// Starts a process that is about to receive; it ends when its stdin does.
fn start(connection: &str, queue: &str) -> anyhow::Result<(Child, Lines<BufReader<ChildStdout>>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["serve", queue])
        .env(CONNECTION, connection)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().context("it is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    ensure!(lines.next().is_some(), "a worker process did not start");
    Ok((child, lines))
}

/// Hears how many jobs are deleted, until it hears what the process has cost.
fn follow(lines: Lines<BufReader<ChildStdout>>, traffic: &Traffic) -> anyhow::Result<Cost> {
    let mut before = 0;
    for line in lines {
        let line = line?;
        match line.parse::<usize>() {
            Ok(deleted) => {
                traffic.deleted(deleted - before);
                before = deleted;
            }
            Err(_) => return serde_json::from_str(&line).context("a worker process says nonsense"),
        }
    }
    bail!("a worker process ended before its time")
}

/// What such a process does.
///
/// # Errors
/// If it cannot serve the queue.
pub fn serve(queue: &str) -> anyhow::Result<()> {
    let connection = std::env::var(CONNECTION).context("this is for the program itself")?;
    let queue = queue.to_owned();
    let watch = Watch::start();
    runtime::run(async move {
        let traffic = Arc::new(Traffic::new(0));
        let client = client(Account::from_connection_string(&connection)?, &traffic)?;
        let queue = Queue::new(&queue).concurrency(CONCURRENCY);
        let worker = Worker::builder(&client).queue(queue).build()?;
        let mut stdin = tokio::io::stdin();
        let mut nothing = Vec::new();
        let mut deleted = traffic.follow();
        say(&deleted.borrow_and_update().to_string())?;
        let mut tasks = JoinSet::new();
        tasks.spawn(worker.run());
        loop {
            tokio::select! {
                _ = stdin.read_to_end(&mut nothing) => break,
                Ok(()) = deleted.changed() => say(&deleted.borrow_and_update().to_string())?,
                Some(ended) = tasks.join_next() => drop(ended??),
            }
        }
        let Spent { cpu, .. } = watch.spent();
        let cost = Cost { requests: traffic.requests(), cpu: cpu.as_secs_f64() };
        say(&serde_json::to_string(&cost)?)
    })
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
