//! Carrying out what was decided about a message.
//!
//! Every step that fails for good leaves the message as it is: its lease ends, and it comes again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use super::lease::{Held, Lease, LeaseLost};
use super::served::Served;
use crate::QueueName;
use crate::backend::{BackendError, ErrorKind, ItemResult, MessageId, Outgoing, Receipt};
use crate::decide::{Gone, Later, Settlement};
use crate::sabotage::{Sabotage, sabotaged};
use crate::telemetry::events;
use crate::telemetry::runs::{JobName, Whose};

/// How long receiving pauses after access was denied.
const DENIED_PAUSE: Duration = Duration::from_secs(10);

/// What is done with a message, for the log.
const DELETING: &str = "deleting a finished job";
const PUTTING_OFF: &str = "putting a job off";
const GIVING_BACK: &str = "giving a job back";

/// Why a message could not be settled.
#[derive(Debug)]
pub(crate) enum Unsettled {
    /// Somebody else may have it.
    LeaseLost,
    /// The backend would not do it.
    Failed,
}

/// How sure it is that a message was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// The backend has said so.
    Surely,
    /// The answer to a try got lost, and the next was too late: either the first had worked, or the
    /// lease was lost in between.
    Presumably,
}

/// A message whose job is done, to be deleted.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) lease: Lease,
    pub(super) message_id: MessageId,
    /// `None` if it was done by an earlier delivery.
    pub(super) job: Option<JobName>,
}

impl Served {
    /// Carries a settlement out and counts it, where no handler can hold it up.
    pub(super) async fn settle(
        self: &Arc<Self>,
        lease: Lease,
        whose: Whose<'_>,
        settlement: Settlement,
    ) -> Result<Settled, Unsettled> {
        let Some(aside) = &self.aside else {
            return self.carry_out(lease, whose, settlement).await;
        };
        let (served, owned) = (Arc::clone(self), whose.into_owned());
        let settling = async move { served.carry_out(lease, owned.whose(), settlement).await };
        aside.run(settling).await
    }

    /// Marks a start, where no handler can hold it up.
    pub(super) async fn mark(
        self: &Arc<Self>,
        lease: Lease,
        whose: Whose<'_>,
        body: Bytes,
    ) -> Result<Lease, Unsettled> {
        const WHAT: &str = "marking a start";
        let Some(aside) = &self.aside else {
            return self.hold_with(lease, whose, body, WHAT).await;
        };
        let (served, owned) = (Arc::clone(self), whose.into_owned());
        let marking = async move { served.hold_with(lease, owned.whose(), body, WHAT).await };
        aside.run(marking).await
    }

    /// Deletes several finished messages in one request, where no handler can hold it up. Of the
    /// group, the room is left.
    pub(super) async fn delete_all(self: &Arc<Self>, group: &mut Vec<Finished>) {
        let Some(aside) = &self.aside else {
            return self.delete_group(group).await;
        };
        let (served, mut owned) = (Arc::clone(self), std::mem::take(group));
        let deleting = async move {
            served.delete_group(&mut owned).await;
            owned
        };
        *group = aside.run(deleting).await;
    }

    #[cfg(feature = "sabotage")]
    pub(super) async fn delete_first(self: &Arc<Self>, receipt: Receipt) {
        let settling = Arc::clone(&self.settling);
        let deleting = async move { drop(settling.delete(&[receipt]).await) };
        match &self.aside {
            Some(aside) => aside.run(deleting).await,
            None => deleting.await,
        }
    }

    async fn carry_out(
        &self,
        lease: Lease,
        whose: Whose<'_>,
        settlement: Settlement,
    ) -> Result<Settled, Unsettled> {
        let counters = &self.counters;
        let (settled, counter) = match settlement {
            Settlement::Delete(gone) => {
                let counter = match gone {
                    Gone::Done => &counters.completed,
                    Gone::Discarded => &counters.discarded,
                    Gone::Expired => &counters.expired,
                };
                // It is so whether or not the backend hears of it.
                counter.increment();
                (self.delete(lease, whose).await, None)
            }
            Settlement::Rewrite { body, delay, why } => {
                (self.rewrite(lease, whose, body, delay).await, Some(self.counter_of(why)))
            }
            Settlement::Release { delay, why } => {
                (self.release(lease, whose, delay).await, Some(self.counter_of(why)))
            }
            Settlement::Poison { fence, copy, .. } => {
                (self.move_to_poison(lease, whose, fence, copy).await, None)
            }
        };
        match &settled {
            Ok(_) => {
                if let Some(counter) = counter {
                    counter.increment();
                }
            }
            Err(unsettled) => self.count_unsettled(unsettled),
        }
        settled
    }

    pub(super) fn count_unsettled(&self, unsettled: &Unsettled) {
        match unsettled {
            Unsettled::LeaseLost => {
                self.counters.lease_lost.increment();
                self.meters.lease_lost();
            }
            Unsettled::Failed => {
                self.counters.settle_failed.increment();
                self.meters.settle_failed();
            }
        }
    }

    fn counter_of(&self, why: Later) -> &super::report::Counter {
        match why {
            Later::Retry => &self.counters.retried,
            Later::Snooze => &self.counters.snoozed,
            Later::GiveBack => &self.counters.given_back,
            Later::PutBack => &self.counters.put_back,
            Later::Hop => &self.counters.hopped,
        }
    }

    async fn delete_group(&self, group: &mut Vec<Finished>) {
        let messages = group.iter().map(|it| (it.message_id.clone(), it.job)).collect();
        let mut undeleted = Undeleted { served: self, messages };
        let (mut held, busy) = self.leases.take_free(group.drain(..).map(|it| it.lease));
        for lease in busy {
            let message = lease.message_id();
            let whose = undeleted.whose(&message);
            match self.take(lease, whose, DELETING).await {
                Ok(it) => held.push(it),
                Err(unsettled) => self.count_unsettled(&unsettled),
            }
        }
        let Some(deadline) = held.iter().map(|held| held.deadline).min() else {
            return;
        };
        let receipts: Vec<_> = held.into_iter().map(|held| held.receipt).collect();
        let results = match timeout_at(at_least(deadline), self.settling.delete(&receipts)).await {
            Ok(results) => results,
            Err(_) => receipts.iter().map(|_| Err(ErrorKind::Timeout.into())).collect(),
        };
        if undeleted.messages.len() == results.len() && results.iter().all(Result::is_ok) {
            return undeleted.messages.clear();
        }
        let results = results.into_iter().chain(std::iter::repeat_with(|| Err(no_result())));
        for (receipt, result) in receipts.into_iter().zip(results) {
            let message = receipt.message_id().clone();
            match result {
                Ok(()) => undeleted.forget(&message),
                Err(error) => {
                    let held = Held { receipt, deadline };
                    let whose = undeleted.whose(&message);
                    match self.delete_held(held, whose, Some(error)).await {
                        Ok(_) => undeleted.forget(&message),
                        Err(unsettled) => self.count_unsettled(&unsettled),
                    }
                }
            }
        }
    }

    /// Takes the receipt to settle a message with. No request says that its lease is lost by now.
    async fn take(
        &self,
        lease: Lease,
        whose: Whose<'_>,
        what: &'static str,
    ) -> Result<Held, Unsettled> {
        lease.take().await.map_err(|LeaseLost| {
            let Whose { message_id, id, job } = whose;
            events::lease_ended(&self.plan.name, message_id, id, job, what);
            Unsettled::LeaseLost
        })
    }

    async fn delete(&self, lease: Lease, whose: Whose<'_>) -> Result<Settled, Unsettled> {
        let messages = vec![(whose.message_id.clone(), None)];
        let mut undeleted = Undeleted { served: self, messages };
        let held = self.take(lease, whose, DELETING).await?;
        let settled = self.delete_held(held, whose, None).await?;
        undeleted.forget(whose.message_id);
        Ok(settled)
    }

    /// Deletes, after a first try that failed with `earlier`, if there was one.
    async fn delete_held(
        &self,
        held: Held,
        whose: Whose<'_>,
        earlier: Option<BackendError>,
    ) -> Result<Settled, Unsettled> {
        let receipts = [held.receipt];
        let result = match earlier {
            Some(error) if !error.is_retryable() => {
                Err(Failed { uncertain: error.outcome_unknown(), error: Some(error) })
            }
            _ => {
                let uncertain = earlier.is_some_and(|error| error.outcome_unknown());
                persist(held.deadline, uncertain, || async {
                    only(self.settling.delete(&receipts).await)
                })
                .await
            }
        };
        match result {
            Ok(()) => Ok(Settled::Surely),
            // The answer to an earlier try was lost: most likely it had worked.
            Err(failed) if failed.is_lease_lost() && failed.uncertain => {
                self.remember_vain([whose.message_id.clone()]);
                Ok(Settled::Presumably)
            }
            Err(failed) => Err(self.unsettled(whose, failed, DELETING)),
        }
    }

    async fn rewrite(
        &self,
        lease: Lease,
        whose: Whose<'_>,
        body: Bytes,
        delay: Duration,
    ) -> Result<Settled, Unsettled> {
        if !self.capabilities.replace {
            let outgoing = Outgoing::new(body).delay(delay);
            self.send(&self.plan.name, whose, outgoing, PUTTING_OFF).await?;
            return self.delete(lease, whose).await;
        }
        let held = self.take(lease, whose, PUTTING_OFF).await?;
        let replaced = persist(held.deadline, false, || {
            self.settling.replace(&held.receipt, body.clone(), delay)
        });
        match replaced.await {
            Ok(_) => Ok(Settled::Surely),
            Err(failed) if failed.is_lease_lost() && failed.uncertain => Ok(Settled::Presumably),
            // It is forgotten what happened, but not the job, and not the wait.
            Err(failed) if failed.is(ErrorKind::TooLarge) => {
                let Whose { message_id, id, job } = whose;
                events::history_lost(&self.plan.name, message_id, id, job);
                self.release_held(held, whose, delay).await
            }
            Err(failed) => Err(self.unsettled(whose, failed, PUTTING_OFF)),
        }
    }

    async fn release(
        &self,
        lease: Lease,
        whose: Whose<'_>,
        delay: Duration,
    ) -> Result<Settled, Unsettled> {
        let held = self.take(lease, whose, GIVING_BACK).await?;
        self.release_held(held, whose, delay).await
    }

    async fn release_held(
        &self,
        held: Held,
        whose: Whose<'_>,
        delay: Duration,
    ) -> Result<Settled, Unsettled> {
        let released =
            persist(held.deadline, false, || self.settling.release(&held.receipt, delay)).await;
        match released {
            Ok(()) => Ok(Settled::Surely),
            Err(failed) if failed.is_lease_lost() && failed.uncertain => Ok(Settled::Presumably),
            Err(failed) => Err(self.unsettled(whose, failed, GIVING_BACK)),
        }
    }

    /// Fence, copy, delete, in this order: a crash in between makes a second copy, with the same
    /// id, but loses nothing and runs nothing again.
    async fn move_to_poison(
        &self,
        lease: Lease,
        whose: Whose<'_>,
        fence: Option<Bytes>,
        copy: Bytes,
    ) -> Result<Settled, Unsettled> {
        let fence = fence.filter(|_| !sabotaged(Sabotage::NoFence));
        let lease = match fence {
            Some(fence) => self.hold_with(lease, whose, fence, "marking a job as poison").await?,
            None => lease,
        };
        let (poison, copy) = (&self.plan.poison, Outgoing::new(copy));
        let what = "moving a job to the poison queue";
        if sabotaged(Sabotage::DeleteBeforeCopy) {
            self.delete(lease, whose).await?;
            self.send(poison, whose, copy, what).await?;
            return Ok(Settled::Surely);
        }
        if sabotaged(Sabotage::CopyTwice) {
            self.send(poison, whose, copy.clone(), what).await?;
        }
        self.send(poison, whose, copy, what).await?;
        self.counters.poisoned.increment();
        self.delete(lease, whose).await
    }

    /// Rewrites the body and goes on holding the message, under a new lease. A body that is too
    /// large is left as it is.
    async fn hold_with(
        &self,
        lease: Lease,
        whose: Whose<'_>,
        body: Bytes,
        what: &'static str,
    ) -> Result<Lease, Unsettled> {
        let held = self.take(lease, whose, what).await?;
        let length = self.leases.lease();
        let mut sent_at = Instant::now();
        let replaced = persist(held.deadline, false, || {
            sent_at = Instant::now();
            self.settling.replace(&held.receipt, body.clone(), length)
        })
        .await;
        match replaced {
            Ok(receipt) => Ok(self.enter(receipt, sent_at)),
            Err(failed) if failed.is(ErrorKind::TooLarge) => {
                Ok(self.enter(held.receipt, held.deadline - length))
            }
            Err(failed) => Err(self.unsettled(whose, failed, what)),
        }
    }

    fn enter(&self, receipt: Receipt, sent_at: Instant) -> Lease {
        self.leases.enter(receipt, sent_at)
    }

    /// Sends what is to be in the place of a message, for as long as a lease lasts; the message's
    /// own lease is renewed meanwhile.
    async fn send(
        &self,
        queue: &QueueName,
        whose: Whose<'_>,
        message: Outgoing,
        what: &'static str,
    ) -> Result<(), Unsettled> {
        let messages = [message];
        let until = Instant::now() + self.leases.lease();
        let sent =
            persist(until, false, || async { only(self.settling.send(queue, &messages).await) });
        sent.await.map(drop).map_err(|failed| self.unsettled(whose, failed, what))
    }

    /// Logs a failure for good and pauses the queue if access was denied.
    fn unsettled(&self, whose: Whose<'_>, failed: Failed, what: &'static str) -> Unsettled {
        let queue = &self.plan.name;
        let Whose { message_id, id, job } = whose;
        let Some(error) = failed.error else {
            events::settle_timed_out(queue, message_id, id, job, what);
            return Unsettled::Failed;
        };
        match error.kind() {
            ErrorKind::LeaseLost => {
                events::settle_too_late(queue, message_id, id, job, what, &error);
                return Unsettled::LeaseLost;
            }
            ErrorKind::Unauthorized => {
                self.meters.denied();
                events::settle_denied(queue, message_id, id, job, what, &error);
                self.pause(DENIED_PAUSE);
            }
            _ => events::settle_failed(queue, message_id, id, job, what, &error),
        }
        Unsettled::Failed
    }
}

/// Messages that are to be gone. Those that still are not when this is dropped, however that comes
/// about, are remembered, so that their redelivery is deleted and not run again.
struct Undeleted<'a> {
    served: &'a Served,
    messages: Vec<(MessageId, Option<JobName>)>,
}

impl Undeleted<'_> {
    fn forget(&mut self, message: &MessageId) {
        self.messages.retain(|(own, _)| own != message);
    }

    fn whose<'m>(&self, message_id: &'m MessageId) -> Whose<'m> {
        let job = self.messages.iter().find(|(own, _)| own == message_id).and_then(|it| it.1);
        let (id, job) = job.unzip();
        Whose { message_id, id, job }
    }
}

impl Drop for Undeleted<'_> {
    fn drop(&mut self) {
        if !self.messages.is_empty() {
            self.served.remember_vain(self.messages.drain(..).map(|(message, _)| message));
        }
    }
}

/// A request that failed for good.
#[derive(Debug)]
struct Failed {
    /// `None` if time ran out.
    error: Option<BackendError>,
    /// Whether some try of it may have been carried out.
    uncertain: bool,
}

impl Failed {
    fn is(&self, kind: ErrorKind) -> bool {
        self.error.as_ref().is_some_and(|error| error.kind() == kind)
    }

    fn is_lease_lost(&self) -> bool {
        self.is(ErrorKind::LeaseLost)
    }
}

/// Repeats a request while that can help, until `deadline` but for 2 s at least: a try after the
/// end of a lease does no harm, since a stale receipt is refused.
async fn persist<T, F, Fut>(deadline: Instant, uncertain: bool, request: F) -> Result<T, Failed>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, BackendError>>,
{
    let uncertain = AtomicBool::new(uncertain);
    let until = at_least(deadline);
    let backoff = ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(2))
        .with_jitter()
        .without_max_times();
    let tries = request
        .retry(backoff)
        .when(BackendError::is_retryable)
        .notify(|error, _| {
            uncertain.store(uncertain.load(Relaxed) | error.outcome_unknown(), Relaxed)
        })
        .adjust(|error, wait| wait.map(|wait| error.retry_after().map_or(wait, |it| it.max(wait))));
    let result = timeout_at(until, tries).await;
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failed {
            uncertain: uncertain.load(Relaxed) | error.outcome_unknown(),
            error: Some(error),
        }),
        Err(_) => Err(Failed { error: None, uncertain: true }),
    }
}

/// Until when to try: 2 s at least.
fn at_least(deadline: Instant) -> Instant {
    deadline.max(Instant::now() + Duration::from_secs(2))
}

/// The result of a request of one item.
fn only<T>(results: Vec<ItemResult<T>>) -> ItemResult<T> {
    results.into_iter().next().unwrap_or_else(|| Err(no_result()))
}

fn no_result() -> BackendError {
    BackendError::new(ErrorKind::Other).message("the backend gave no result for an item")
}
