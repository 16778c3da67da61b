//! Sending jobs back from a poison queue to where they came from.
//!
//! Invariant: a job is deleted from the poison queue only after its queue took it, so whatever
//! fails in between leaves a duplicate with the same id and never a loss.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::error::Step;
use super::retry::retry;
use super::scan::Scan;
use super::{PoisonError, PoisonJob, PoisonQueue, ReplayReport};
use crate::backend::{Backend, BackendError, ErrorKind, Outgoing, Receipt};
use crate::client::Client;
use crate::client::concurrent::{IN_FLIGHT, ordered};
use crate::client::lazy::Lazy;
use crate::telemetry::events;
use crate::{JobId, PoisonReason, QueueName};

/// Sends jobs back to the queue that they came from: made by [`PoisonQueue::replay`].
///
/// Nothing happens until it is awaited. Without a filter it takes every job that was in the
/// poison queue when it began; several filters must all match. A job keeps its id and starts its
/// attempts afresh; a message that was no job goes back byte for byte. Jobs that fail again while
/// it is still running are left for the next replay.
///
/// While it runs, what it has looked at is hidden from other readers of the poison queue. Dropping
/// it midway loses nothing: what it held comes back within five minutes.
///
/// # Errors
/// At the first request that fails for good, a [`PoisonError`] with a
/// [`report`](PoisonError::report) of what was done until then.
///
/// # Panics
/// If it is polled again after it has finished.
#[must_use = "nothing is replayed until this is awaited"]
#[derive(Debug)]
pub struct Replay {
    lazy: Lazy<Draft, Result<ReplayReport, PoisonError>>,
}

struct Draft {
    from: PoisonQueue,
    filter: Filter,
    limit: usize,
    rate: Option<(u32, Duration)>,
    dry_run: bool,
}

#[derive(Default)]
struct Filter {
    ids: HashSet<JobId>,
    name: Option<String>,
    error: Option<String>,
    reason: Option<PoisonReason>,
}

impl Replay {
    pub(super) fn new(from: PoisonQueue) -> Self {
        let filter = Filter::default();
        let draft = Draft { from, filter, limit: usize::MAX, rate: None, dry_run: false };
        Self { lazy: Lazy::new(draft) }
    }

    /// Only the job with that id; called several times, all of those.
    pub fn id(self, id: JobId) -> Self {
        self.configure(|draft| {
            draft.filter.ids.insert(id);
        })
    }

    /// Only jobs of that name.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.configure(|draft| draft.filter.name = Some(name.into()))
    }

    /// Only jobs whose [`error`](PoisonJob::error) contains that text, upper and lower case as
    /// given.
    pub fn error_contains(self, text: impl Into<String>) -> Self {
        self.configure(|draft| draft.filter.error = Some(text.into()))
    }

    /// Only jobs that are there for that reason.
    pub fn reason(self, reason: PoisonReason) -> Self {
        self.configure(|draft| draft.filter.reason = Some(reason))
    }

    /// No more than `jobs` in each `per`, evenly spread. Zero of either is an error when it is
    /// awaited.
    pub fn rate(self, jobs: u32, per: Duration) -> Self {
        self.configure(|draft| draft.rate = Some((jobs, per)))
    }

    /// No more than that many jobs in all.
    pub fn limit(self, jobs: usize) -> Self {
        self.configure(|draft| draft.limit = jobs)
    }

    /// Sends and deletes nothing, and only reports what it would do.
    pub fn dry_run(self) -> Self {
        self.configure(|draft| draft.dry_run = true)
    }

    fn configure(mut self, change: impl FnOnce(&mut Draft)) -> Self {
        self.lazy = self.lazy.configure(change);
        self
    }
}

impl Future for Replay {
    type Output = Result<ReplayReport, PoisonError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.lazy.poll(cx, |draft| Box::pin(run(*draft)))
    }
}

impl Filter {
    fn matches(&self, job: &PoisonJob) -> bool {
        (self.ids.is_empty() || self.ids.contains(&job.id()))
            && self.name.as_deref().is_none_or(|name| job.name() == Some(name))
            && self.reason.is_none_or(|reason| job.reason() == reason)
            && self
                .error
                .as_deref()
                .is_none_or(|text| job.error().is_some_and(|error| error.contains(text)))
    }
}

async fn run(draft: Draft) -> Result<ReplayReport, PoisonError> {
    let Draft { from, .. } = &draft;
    let pace = match draft.rate {
        Some((jobs, per)) if jobs == 0 || per.is_zero() => {
            return Err(PoisonError::new(from.name().clone(), Step::Rate, None));
        }
        Some((jobs, per)) => Some(Pace { interval: per / jobs, next: None }),
        None => None,
    };
    let mut report = ReplayReport { dry_run: draft.dry_run, ..ReplayReport::default() };
    let mut scan = Scan::new(&**from.client.backend(), from.name());
    let result = replay(&draft, pace, &mut scan, &mut report).await;
    report.complete = scan.is_complete();
    scan.finish().await;
    let ReplayReport { matched, replayed, skipped, dry_run, .. } = report;
    events::poison_replayed(from.name(), matched, replayed, skipped, dry_run, result.is_err());
    match result {
        Ok(()) => Ok(report),
        Err(error) => Err(error.with_report(report)),
    }
}

async fn replay(
    draft: &Draft,
    mut pace: Option<Pace>,
    scan: &mut Scan<'_>,
    report: &mut ReplayReport,
) -> Result<(), PoisonError> {
    let Draft { from, filter, limit, dry_run, .. } = draft;
    let backend = &**from.client.backend();
    let capabilities = backend.capabilities();
    let in_flight = if capabilities.remote && pace.is_none() { IN_FLIGHT } else { 1 };
    // A job whose moment comes later than this is not kept under a lease until then.
    let safe = Scan::lease(capabilities) / 2;
    let mut had: HashSet<JobId> = HashSet::new();

    while report.matched < *limit && (filter.ids.is_empty() || had.len() < filter.ids.len()) {
        let max = pace.as_ref().map_or(capabilities.max_receive, |pace| pace.most_within(safe));
        let fresh = scan
            .next(max)
            .await
            .map_err(|error| PoisonError::new(from.name().clone(), Step::Read, Some(error)))?;
        if fresh.is_empty() {
            break;
        }

        let mut chosen = Vec::new();
        for delivery in fresh {
            let newer = scan.is_newer(delivery.inserted_at);
            let (id, at) = (&delivery.message_id, delivery.inserted_at);
            let job = PoisonJob::read(from, id, at, delivery.body);
            // Never a copy of what had its turn: it would start the job a second time.
            let had_its_turn = had.contains(&job.id());
            if newer || had_its_turn || report.matched >= *limit || !filter.matches(&job) {
                report.skipped += 1;
                scan.hold(delivery.receipt);
                continue;
            }
            let far = pace.as_ref().and_then(|pace| pace.next_beyond(safe));
            if let Some(moment) = far.filter(|_| !dry_run) {
                scan.give_back(&delivery.receipt).await;
                tokio::time::sleep_until(moment).await;
                continue;
            }
            had.insert(job.id());
            report.matched += 1;
            if *dry_run {
                report.ids.push(job.id());
                scan.hold(delivery.receipt);
            } else {
                chosen.push(Move::of(from, job, delivery.receipt, capabilities.max_body));
            }
        }

        let stop = AtomicBool::new(false);
        let moves = chosen.into_iter().map(|item| {
            let slot = pace.as_mut().map(Pace::slot);
            item.run(&from.client, slot, &stop)
        });
        let mut failed = None;
        for Moved { id, to, receipt, fate } in ordered(moves, in_flight).await {
            match fate {
                Fate::Deleted => report.sent(id),
                Fate::Duplicate => {
                    report.sent(id);
                    report.duplicates.push(id);
                }
                Fate::Refused => {
                    report.refused.push(id);
                    scan.hold(receipt);
                }
                Fate::NotTried => scan.hold(receipt),
                Fate::NotSent(error) => {
                    scan.hold(receipt);
                    failed.get_or_insert((Step::Send { id, to }, error));
                }
                Fate::NotDeleted(error) => {
                    report.sent(id);
                    report.duplicates.push(id);
                    scan.hold(receipt);
                    failed.get_or_insert((Step::Delete { id, to }, error));
                }
            }
        }
        if let Some((step, error)) = failed {
            return Err(PoisonError::new(from.name().clone(), step, Some(error)));
        }
    }
    Ok(())
}

impl ReplayReport {
    fn sent(&mut self, id: JobId) {
        self.replayed += 1;
        self.ids.push(id);
    }
}

/// One job on its way back.
struct Move {
    id: JobId,
    to: QueueName,
    body: Option<Bytes>,
    receipt: Receipt,
}

struct Moved {
    id: JobId,
    to: QueueName,
    receipt: Receipt,
    fate: Fate,
}

enum Fate {
    Deleted,
    /// Sent, but somebody else has it in the poison queue by now.
    Duplicate,
    Refused,
    NotTried,
    NotSent(BackendError),
    NotDeleted(BackendError),
}

impl Move {
    fn of(from: &PoisonQueue, job: PoisonJob, receipt: Receipt, max_body: usize) -> Self {
        // A worker may have been let loose on the poison queue itself.
        let own = job.queue() == from.name();
        let to = if own { from.queue().clone() } else { job.queue().clone() };
        Self { id: job.id(), to, body: job.revived(max_body), receipt }
    }

    async fn run(self, client: &Client, slot: Option<Instant>, stop: &AtomicBool) -> Moved {
        let Self { id, to, body, receipt } = self;
        let fate = match body {
            None => Fate::Refused,
            Some(_) if stop.load(Ordering::Relaxed) => Fate::NotTried,
            Some(body) => {
                if let Some(slot) = slot {
                    tokio::time::sleep_until(slot).await;
                }
                carry(client, &to, body, &receipt).await
            }
        };
        if matches!(fate, Fate::NotSent(_) | Fate::NotDeleted(_)) {
            stop.store(true, Ordering::Relaxed);
        }
        Moved { id, to, receipt, fate }
    }
}

async fn carry(client: &Client, to: &QueueName, body: Bytes, receipt: &Receipt) -> Fate {
    let backend = &**client.backend();
    // Without the id as a hint: a service that drops a second message with the same id would take
    // this for one, and the job would be gone.
    let message = [Outgoing::new(body)];
    match retry(|| async { one(backend.send(to, &message).await).map(drop) }).await {
        Ok(()) => {
            client.known().insert(to);
            client.wakers().wake(to, 1);
        }
        Err(error) => {
            return match error.kind() {
                ErrorKind::TooLarge | ErrorKind::Invalid => Fate::Refused,
                _ => Fate::NotSent(error),
            };
        }
    }
    delete(backend, receipt).await
}

async fn delete(backend: &dyn Backend, receipt: &Receipt) -> Fate {
    let unsure = AtomicBool::new(false);
    let deleted = retry(|| async {
        let deleted = one(backend.delete(std::slice::from_ref(receipt)).await);
        if deleted.as_ref().is_err_and(BackendError::outcome_unknown) {
            unsure.store(true, Ordering::Relaxed);
        }
        deleted
    })
    .await;
    match deleted {
        Ok(()) => Fate::Deleted,
        // An earlier attempt whose answer was lost did it.
        Err(error) if error.kind() == ErrorKind::LeaseLost && unsure.into_inner() => Fate::Deleted,
        Err(error) if error.kind() == ErrorKind::LeaseLost => Fate::Duplicate,
        Err(error) => Fate::NotDeleted(error),
    }
}

/// The result of a request with one item.
fn one<T>(mut results: Vec<Result<T, BackendError>>) -> Result<T, BackendError> {
    results.pop().unwrap_or_else(|| {
        Err(BackendError::new(ErrorKind::Other)
            .message("the backend gave no result")
            .with_outcome_unknown(true))
    })
}

/// Evenly spread moments.
struct Pace {
    interval: Duration,
    next: Option<Instant>,
}

impl Pace {
    /// The next moment.
    fn slot(&mut self) -> Instant {
        /// In place of moments that the clock does not reach.
        const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
        let now = Instant::now();
        let slot = self.next.map_or(now, |next| next.max(now));
        self.next = Some(slot.checked_add(self.interval).unwrap_or(slot + FAR));
        slot
    }

    /// How many moments there are within `time`, at least one.
    fn most_within(&self, time: Duration) -> usize {
        let most = time.as_nanos() / self.interval.as_nanos().max(1);
        usize::try_from(most).unwrap_or(usize::MAX).max(1)
    }

    /// The next moment, if it is further away than `time`.
    fn next_beyond(&self, time: Duration) -> Option<Instant> {
        self.next.filter(|next| next.saturating_duration_since(Instant::now()) > time)
    }
}
