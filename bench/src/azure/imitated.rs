//! The service imitated in this process, with a set latency.
//!
//! It runs on the same processors. It costs both sides alike, so what differs is the client.

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::Transport;
use job_azure::{Account, AzureBackend};
use job_azure_fake::FakeService;
use job_core::{Client, Queue, QueueName, Worker};

use super::bare::Bare;
use super::counted::Counted;
use super::traffic::Traffic;
use super::{BARE, PART, REQUESTS, url_of};
use crate::figure::{Figure, LeftOut, Unit};
use crate::finish::{self, Tasks};
use crate::round::{Effort, Entry, Sample, Spent, in_turn};
use crate::runtime::run;
use crate::{job, table};

/// The service's latencies.
const LATENCIES: [(&str, Duration); 3] = [
    ("no latency", Duration::ZERO),
    ("2 ms latency", Duration::from_millis(2)),
    ("10 ms latency", Duration::from_millis(10)),
];

/// How many jobs run at a time, and how many there are.
const SIZES: [(usize, u64); 4] = [(1, 100), (16, 1600), (64, 6000), (256, 12_000)];

const DRAIN: &str = "drain";

/// The imitation asks nobody for a key. The framework signs all the same, and the SDK cannot.
const ACCOUNT: &str = "AccountName=bench;AccountKey=YmVuY2htYXJr";
const URL: &str = "https://bench.queue.core.windows.net";

pub(super) fn measure(effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (what, latency) in LATENCIES {
        let mut entries = Vec::new();
        for (concurrency, jobs) in SIZES {
            let jobs = effort.of(jobs);
            for (contender, is_bare) in [(table::OURS, false), (BARE, true)] {
                entries.push(Entry {
                    contender: contender.to_owned(),
                    concurrency: Some(concurrency),
                    run: Box::new(move || {
                        run(async move {
                            let service = FakeService::new();
                            let side = Side::with_jobs(is_bare, &service, jobs).await?;
                            service.latency(latency);
                            side.drained(concurrency, jobs).await
                        })
                    }),
                });
            }
        }
        for figure in in_turn(PART, what, effort, entries, left_out) {
            figures.push(Figure { measure: format!("{}, {what}", figure.measure), ..figure });
        }
    }
    figures
}

/// What is done once, for a profiler to look at, without latency and at 64 at a time.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// The loop on the bare SDK, not the framework.
    pub(crate) bare: bool,
    /// Jobs are run, and not enqueued alone.
    pub(crate) drain: bool,
}

/// Does what a case says with so many jobs.
pub(crate) async fn work(case: Case, jobs: u64) -> anyhow::Result<()> {
    let side = Side::with_jobs(case.bare, &FakeService::new(), jobs).await?;
    if case.drain {
        // No watch: under valgrind its clock cannot be read.
        finish::expect(jobs);
        side.run_all(64, jobs).await?;
    }
    Ok(())
}

/// One of the two, and what goes to the service and comes from it.
struct Side {
    traffic: Arc<Traffic>,
    who: Who,
}

enum Who {
    Framework(Client),
    Bare(Bare),
}

impl Side {
    /// With so many jobs in its queue. Nobody asks for room: they are there before one of them runs.
    async fn with_jobs(is_bare: bool, service: &FakeService, jobs: u64) -> anyhow::Result<Self> {
        let traffic = Arc::new(Traffic::new(0));
        let who = if is_bare {
            let transport = Transport::new(Arc::new(service.clone()));
            let url = url_of(URL, job::QUEUE, "")?;
            let bare = Bare::new(url, Some(transport), Arc::clone(&traffic))?;
            bare.create_queue().await?;
            for number in 0..jobs {
                bare.send(number).await?;
            }
            Who::Bare(bare)
        } else {
            let account = Account::from_connection_string(ACCOUNT)?;
            let http = Arc::new(service.clone());
            let backend = AzureBackend::builder(account).http_client(http).build()?;
            let client = Client::new(Counted::new(Arc::new(backend), Arc::clone(&traffic)));
            client
                .backend()
                .create_queue(&QueueName::new(job::QUEUE)?, &Default::default())
                .await?;
            client.enqueue_all((0..jobs).map(job::numbered)).await?;
            Who::Framework(client)
        };
        Ok(Self { traffic, who })
    }

    /// Runs until the last message is deleted. What is timed begins when the first job has run:
    /// before that a worker looks whether it may do what it has to.
    async fn drained(&self, concurrency: usize, jobs: u64) -> anyhow::Result<Vec<Sample>> {
        finish::expect_timed_after(1, jobs);
        self.run_all(concurrency, jobs).await?;
        let spent: Spent = finish::watch()?.spent();
        let requests = self.traffic.requests() as f64 / jobs as f64;
        Ok(vec![
            Sample::rate(DRAIN, jobs - 1, spent),
            Sample { measure: REQUESTS, unit: Unit::Count, value: requests, cpu: None },
        ])
    }

    async fn run_all(&self, concurrency: usize, jobs: u64) -> anyhow::Result<()> {
        let mut tasks = Tasks::new();
        match &self.who {
            Who::Bare(bare) => bare.work(concurrency, &mut tasks),
            Who::Framework(client) => {
                let queue = Queue::new(job::QUEUE).concurrency(concurrency);
                let worker = Worker::builder(client).queue(queue).build()?;
                tasks.spawn(async move {
                    worker.run().await?;
                    Ok(())
                });
            }
        }
        self.traffic.until_done(jobs, &mut tasks).await
    }
}

#[cfg(test)]
mod tests {
    use job_azure_fake::Fault;

    use super::*;

    #[tokio::test]
    async fn a_worker_that_ends_is_not_waited_for() {
        let _alone = finish::ONE_AT_A_TIME.lock().await;
        for is_bare in [true, false] {
            let service = FakeService::new();
            let side = Side::with_jobs(is_bare, &service, 4).await.unwrap();
            let fault =
                Fault::Status { status: 403, code: "AuthorizationFailure", retry_after: None };
            service.faults(move |_| fault);
            assert!(side.drained(16, 4).await.is_err(), "{is_bare}");
        }
    }
}
