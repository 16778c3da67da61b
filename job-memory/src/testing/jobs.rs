//! [`TestJobs`] itself: running what is due, and letting time pass.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use job_core::duration::to_text;
use job_core::{Client, Enqueue, Job, QueueName, Worker};

use super::builder::{SetUp, TestJobsBuilder, Time};
use super::report::{DrainReport, Ran};
use super::stage::Stage;
use super::text::chain;

/// More jobs than this in one drain are taken for jobs that enqueue themselves for ever.
const ENDLESS: usize = 10_000;

/// So many drains in a row that ran nothing are enough, although something is due each time.
pub(super) const FRUITLESS: usize = 100;

/// What is due later than this is not waited for in real time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A worker that has received nothing for that long is not waited for any longer. It is long enough
/// for the pauses after requests that fail.
const RECEIVED_WITHIN: Duration = Duration::from_secs(60 * 60);

/// A client and a worker for one test, over queues of their own.
///
/// Jobs wait until the test says that they run, one at a time and always in the same order: what is
/// due for the longest first. They go through the worker that production has: its encoding, its
/// layers, its retries and its poison queue.
///
/// ```rust,standalone_crate
/// use job_core::prelude::*;
/// use job_memory::testing::{TestJobs, assert_enqueued};
///
/// #[job(queue = "mail")]
/// async fn send_welcome(user_id: u64, name: String) -> Result<(), JobError> {
///     if name.is_empty() { Err("nobody has no name")? } else { Ok(()) }
/// }
///
/// async fn sign_up(client: &Client, name: &str) {
///     client.enqueue(SendWelcome { user_id: 7, name: name.into() }).await.unwrap();
/// }
///
/// // #[tokio::test(start_paused = true)]
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// async fn main() {
///     let jobs = TestJobs::new();
///     sign_up(jobs.client(), "Ada").await;
///
///     assert_enqueued!(jobs, SendWelcome { user_id: 7, name: "Ada" }, queue = "mail");
///     let report = jobs.drain().await;
///     assert_eq!(report.completed(), 1, "{report}");
/// }
/// ```
///
/// Two of them know nothing of each other's jobs, but have the test's clock in common: where one
/// lets time pass, it passes for both. Dropping one fails the test if a
/// [fault](#faults) that was ordered never happened.
pub struct TestJobs {
    client: Client,
    stage: Arc<Stage>,
    set_up: Arc<SetUp>,
    /// It performs, and never serves a queue.
    performer: Arc<Worker>,
    time: Time,
    /// One drain at a time.
    draining: tokio::sync::Mutex<()>,
}

impl TestJobs {
    /// For all jobs that need no `Data`, on the paused clock.
    ///
    /// # Panics
    /// As [`TestJobsBuilder::build`].
    #[track_caller]
    #[allow(clippy::new_without_default, reason = "it looks at the clock, and may panic")]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// For jobs that need `Data`, and for all else that can be set.
    pub fn builder() -> TestJobsBuilder {
        TestJobsBuilder::new()
    }

    pub(super) fn assemble(
        client: Client,
        stage: Arc<Stage>,
        set_up: Arc<SetUp>,
        performer: Arc<Worker>,
        time: Time,
    ) -> Self {
        Self { client, stage, set_up, performer, time, draining: Default::default() }
    }

    /// The client, for the code under test.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Puts a job on its queue: short for `jobs.client().enqueue(job)`.
    pub fn enqueue<J: Job>(&self, job: J) -> Enqueue {
        self.client.enqueue(job)
    }

    /// The time on the clock of the queues, for [`Enqueue::at`].
    pub fn now(&self) -> SystemTime {
        self.stage.now()
    }

    /// Runs jobs until none is due: what they enqueue without a delay, too, and what is tried again
    /// at once. Time passes only as far as handlers let it.
    ///
    /// # Panics
    /// If a job is due whose `Data` the test has not given, unless the set-up names the jobs, or the
    /// queues and that job's is not among them; if there is no end of it, or if the
    /// worker has not received anything for an hour, or a minute on the real clock, as when all its
    /// receives are ordered to fail.
    pub async fn drain(&self) -> DrainReport {
        let mut report = DrainReport::default();
        self.run(&mut report, ENDLESS).await;
        self.end_in_time(&report);
        report
    }

    /// Runs jobs until none is left, and lets time pass to those that are not due yet: every retry
    /// until a job is done or poison.
    ///
    /// # Panics
    /// As [`drain`](Self::drain).
    pub async fn drain_all(&self) -> DrainReport {
        let mut report = DrainReport::default();
        let mut in_vain = 0;
        while in_vain < FRUITLESS {
            let before = report.runs.len();
            self.run(&mut report, ENDLESS).await;
            self.end_in_time(&report);
            in_vain = if report.runs.len() > before { 0 } else { in_vain + 1 };
            if self.advance_to_next().await.is_none() {
                return report;
            }
        }
        not_given(&report)
    }

    /// Runs the job that has been due for the longest, once; `None` if nothing is due.
    ///
    /// # Panics
    /// As [`drain`](Self::drain).
    pub async fn run_one(&self) -> Option<Ran> {
        let mut report = DrainReport::default();
        self.run(&mut report, 1).await;
        report.runs.pop()
    }

    /// Lets that much time pass. Nothing runs before the next drain.
    ///
    /// On the [real clock](TestJobsBuilder::real_clock) this is the time of the queues, and of
    /// nothing else; on [another backend](TestJobsBuilder::backend) it is waited for.
    pub async fn advance(&self, by: Duration) {
        match (self.time, &self.stage.memory) {
            (Time::Skipping, Some(memory)) => memory.skip(by),
            _ => tokio::time::sleep(by).await,
        }
    }

    /// Lets time pass until the next job is due, and says how much; zero if one is due already,
    /// `None` if there is none.
    ///
    /// # Panics
    /// If that would be waited for in real time for more than a minute.
    pub async fn advance_to_next(&self) -> Option<Duration> {
        let next = self.stage.book().next_due(self.stage.served())?;
        let wait = next.duration_since(self.now()).unwrap_or_default();
        assert!(
            self.time != Time::Real || wait <= PATIENCE,
            "the next job is due in {}, and on this backend that would be waited for: test it on \
             the kit's own queues, or with a shorter delay",
            to_text(wait)
        );
        self.advance(wait).await;
        Some(wait)
    }

    pub(super) fn stage(&self) -> &Arc<Stage> {
        &self.stage
    }

    pub(super) fn performer(&self) -> &Worker {
        &self.performer
    }

    /// Fails if the worker does not run a job of that name for want of data.
    #[track_caller]
    pub(super) fn check_runnable(&self, job: &str) {
        if !self.set_up.runs(job)
            && let Some(problem) = self.set_up.why_not(job)
        {
            panic!("{problem} to the builder of `TestJobs`");
        }
    }

    /// Whether a job that is due on that queue and does not run is a mistake of the set-up.
    fn is_for_this_worker(&self, queue: &QueueName) -> bool {
        let served = self.stage.served().contains(queue);
        (served || !self.set_up.leaves_queues_to_others()) && !self.set_up.leaves_jobs_to_others()
    }

    fn end_in_time(&self, report: &DrainReport) {
        assert!(
            report.runs.len() < ENDLESS,
            "{ENDLESS} jobs have run and there are still some due, the last: {}; does a job \
             enqueue itself, or come again at once for ever? `run_one` runs one at a time",
            report.runs.last().map(ToString::to_string).unwrap_or_default()
        );
    }

    /// Runs up to `most` jobs, on as many workers as it takes.
    async fn run(&self, report: &mut DrainReport, most: usize) {
        let _draining = self.draining.lock().await;
        let stage = &self.stage;
        // Of a drain that was dropped in the middle.
        stage.handlers_gone().await;
        stage.finish_step(true);
        while report.runs.len() < most && self.next(&BTreeSet::new()).is_some() {
            let again = AtomicBool::new(false);
            stage.gate.next_worker();
            let killed = {
                let steps = self.steps(report, most, &again);
                let worker = self.set_up.worker().run_until(steps);
                tokio::select! {
                    biased;
                    () = stage.killed.notified() => true,
                    ran = worker => {
                        if let Err(error) = ran {
                            panic!("the worker cannot start: {}", chain(&error));
                        }
                        false
                    }
                }
            };
            if killed {
                stage.handlers_gone().await;
                report.runs.extend(stage.finish_step(true).map(|(ran, _)| ran));
            } else if !again.into_inner() {
                break;
            }
        }
        self.count_unserved(report);
    }

    /// Lets the worker run one job after the other; the worker ends when this does. `again` says
    /// that another worker has to go on.
    async fn steps(&self, report: &mut DrainReport, most: usize, again: &AtomicBool) {
        let limit = if self.time == Time::Paused { RECEIVED_WITHIN } else { PATIENCE };
        let mut in_vain = BTreeSet::new();
        while report.runs.len() < most {
            let Some(queue) = self.next(&in_vain) else { return };
            if tokio::time::timeout(limit, self.stage.gate.pass(&queue)).await.is_err() {
                not_given(report);
            }
            self.stage.gate.over(&queue).await;
            let Some((ran, spoilt)) = self.stage.finish_step(false) else {
                in_vain.insert(queue);
                continue;
            };
            in_vain.clear();
            report.runs.push(ran);
            if spoilt {
                return again.store(true, Relaxed);
            }
        }
    }

    /// The queue whose turn it is.
    fn next(&self, in_vain: &BTreeSet<QueueName>) -> Option<QueueName> {
        let stage = &self.stage;
        let (now, turned) = (stage.now(), stage.faults().turned);
        let book = stage.book();
        for entry in book.entries().filter(|entry| entry.due <= now && !entry.queue.is_poison()) {
            if self.is_for_this_worker(&entry.queue) {
                self.check_runnable(entry.wire.name());
            }
        }
        let left: BTreeSet<_> = stage.served().difference(in_vain).cloned().collect();
        let due = book.due(&left, now, turned);
        // On a service of others there may be what never passed here.
        due.or_else(|| left.into_iter().next().filter(|_| stage.memory.is_none()))
    }

    fn count_unserved(&self, report: &mut DrainReport) {
        report.unserved.clear();
        let (now, book) = (self.stage.now(), self.stage.book());
        for entry in book.entries().filter(|entry| entry.due <= now && !entry.queue.is_poison()) {
            if !self.stage.served().contains(&entry.queue) {
                *report.unserved.entry(entry.queue.clone()).or_default() += 1;
            }
        }
    }
}

fn not_given(report: &DrainReport) -> ! {
    panic!(
        "a job is due that the backend does not give, however often it is asked; are its receives \
         ordered to fail, or slower than a quarter of the lease, or does somebody else take from \
         these queues?\n{report}"
    )
}

/// A fault that never happened has tested nothing.
impl Drop for TestJobs {
    fn drop(&mut self) {
        let faults = self.stage.faults();
        if !std::thread::panicking() && !faults.is_done() {
            let never = faults.to_string();
            drop(faults);
            panic!(
                "faults were ordered that never happened, so the test has not tested them:{never}"
            );
        }
    }
}

impl fmt::Debug for TestJobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestJobs").field("time", &self.time).finish_non_exhaustive()
    }
}
