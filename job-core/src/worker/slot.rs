//! One slot of a queue: takes a message, runs its job, settles it, takes the next.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};
use tower_service::Service;
use tracing::{debug, info, warn};

use super::feed::{Item, Turn};
use super::jobs::JobEntry;
use super::lease::LeaseKey;
use super::served::Served;
use crate::backend::{Delivery, MessageId};
use crate::context::About;
use crate::decide::{self, Admission, Gone, Refusal, Rules, Seen, Settlement, raw};
use crate::envelope::Envelope;
use crate::handler::Prepared;
use crate::pipeline::catch_panic::Panicked;
use crate::pipeline::{Call, JobService};
use crate::{Args, BoxError, JobContext, JobId, Outcome, PoisonReason};

/// How many finished messages are deleted in one request, where the backend takes several.
const GROUP: usize = 8;

/// How long a cancelled handler has to come to an end by itself before its future is dropped.
const CANCEL_GRACE: Duration = Duration::from_millis(500);

/// One slot: at any time it runs at most one job.
#[derive(Debug)]
pub(crate) struct Slot {
    served: Arc<Served>,
    rng: fastrand::Rng,
    /// Finished, and not yet deleted. Never kept while a job waits for anything.
    finished: Vec<(LeaseKey, MessageId)>,
}

/// What a run needs to know about its job.
struct Start<'a> {
    id: JobId,
    job: &'a JobEntry,
    args: Args<'a>,
    attempt: u32,
    max_attempts: u32,
    enqueued_at: SystemTime,
    meta: std::collections::BTreeMap<String, String>,
}

/// How a run ended.
enum Ran {
    Outcome(Outcome),
    /// The args are not what the job takes.
    Misfit(String),
    /// It was cancelled, and nothing may be settled.
    LeaseLost,
}

impl Ran {
    fn of(result: Result<Outcome, BoxError>) -> Self {
        Self::Outcome(result.unwrap_or_else(|error| Outcome::Retry { error, after: None }))
    }
}

impl Slot {
    pub(crate) fn new(served: Arc<Served>) -> Self {
        Self { served, rng: fastrand::Rng::new(), finished: Vec::new() }
    }

    /// Runs jobs until the worker stops and nothing is left to give back.
    pub(crate) async fn run(mut self) {
        let served = Arc::clone(&self.served);
        let stop = &served.shutdown.stop;
        while !stop.is_cancelled() {
            let turn = match served.feed.try_turn() {
                Some(Turn::Run(item)) => Some(Turn::Run(item)),
                other => {
                    self.flush().await;
                    match other {
                        Some(turn) => Some(turn),
                        None => served.feed.turn(stop).await,
                    }
                }
            };
            match turn {
                Some(Turn::Run(item)) => self.process(item).await,
                Some(Turn::Lead(lead)) => served.lead(lead).await,
                None => break,
            }
        }
        while let Some(item) = served.feed.leftover() {
            self.process(item).await;
        }
        self.flush().await;
    }

    /// Deletes what is finished.
    async fn flush(&mut self) {
        if !self.finished.is_empty() {
            self.served.delete_group(std::mem::take(&mut self.finished)).await;
        }
    }

    async fn process(&mut self, item: Item) {
        let served = Arc::clone(&self.served);
        let Item { delivery, lease, server_now, received_at, reservation } = item;
        let seen = Seen {
            queue: &served.plan.name,
            message_id: &delivery.message_id,
            count: delivery.count,
            inserted_at: delivery.inserted_at,
            now: server_now,
        };
        if served.vain().contains(&delivery.message_id) {
            debug!(queue = %seen.queue, message_id = %seen.message_id, "deleting a finished job that came again");
            self.finish(lease, &delivery).await;
            return;
        }
        let (service, permit) = (reservation.service, reservation._permit);
        let run =
            Run { slot: self, served: &served, delivery: &delivery, seen, received_at, lease };
        match &served.plan.raw {
            Some(job) => run.raw(job, service).await,
            None => run.enveloped(service).await,
        }
        drop(permit);
    }

    /// The message is to be deleted, in company where the backend takes several.
    async fn finish(&mut self, lease: LeaseKey, delivery: &Delivery) {
        self.finished.push((lease, delivery.message_id.clone()));
        if self.finished.len() >= GROUP.min(self.served.capabilities.max_delete) {
            self.flush().await;
        }
    }
}

/// One message on its way through a slot.
struct Run<'a> {
    slot: &'a mut Slot,
    served: &'a Served,
    delivery: &'a Delivery,
    seen: Seen<'a>,
    received_at: Instant,
    lease: LeaseKey,
}

impl Run<'_> {
    async fn enveloped(mut self, service: JobService) {
        let Self { served, delivery, seen, .. } = self;
        if served.shutdown.is_stopping() {
            return self.give_back_unstarted().await;
        }
        let rules: Rules = served.rules;
        let capabilities = &served.capabilities;
        let find = |name: &str| served.plan.jobs.find(name);
        let admission =
            decide::admit(delivery, seen, find, rules, capabilities, &mut self.slot.rng);
        let (envelope, job, mark) = match admission {
            Admission::Run { envelope, job, mark } => (envelope, job, mark),
            Admission::Settle(settlement, refusal) => {
                self.log_refusal(&settlement, &refusal);
                return self.settle(settlement).await;
            }
        };
        if let Some(mark) = mark {
            match served.hold_with(self.lease, mark, "marking a start").await {
                Ok(lease) => self.lease = lease,
                Err(unsettled) => return served.count_unsettled(&unsettled),
            }
        }

        let start = Start {
            id: envelope.id,
            job,
            args: Args::new(envelope.args.get(), envelope.args_version),
            attempt: envelope.history.attempt(),
            max_attempts: envelope.options.max_attempts.unwrap_or(job.policy.max_attempts),
            enqueued_at: envelope.enqueued_at,
            meta: envelope.meta.clone(),
        };
        let (id, attempt) = (start.id, start.attempt);
        let ran = self.start(&start, service).await;
        let seen = Seen { now: self.now(), ..seen };
        let verbatim = &delivery.body;
        let rng = &mut self.slot.rng;
        let settlement = match &ran {
            Ran::LeaseLost => return self.forget().await,
            Ran::Outcome(outcome) => {
                decide::decide(envelope, verbatim, seen, outcome, job.policy, capabilities, rng)
            }
            Ran::Misfit(problem) => {
                let (reason, problem) = (PoisonReason::BadArgs, problem.clone());
                decide::put_back(
                    envelope,
                    verbatim,
                    seen,
                    reason,
                    problem,
                    rules,
                    capabilities,
                    rng,
                )
            }
        };
        self.log(job, id, attempt, &ran, &settlement);
        self.settle(settlement).await;
    }

    async fn raw(mut self, job: &JobEntry, service: JobService) {
        let Self { served, delivery, seen, .. } = self;
        let (name, policy) = (job.registration.name, job.policy);
        let capabilities = &served.capabilities;
        if served.shutdown.is_stopping() {
            return self.give_back_unstarted().await;
        }
        let id = JobId::for_message(seen.queue, seen.message_id);
        if let Some(settlement) = raw::admit(delivery, name, seen, policy, capabilities) {
            let refusal = Refusal { id: Some(id), name: Some(name.to_owned()), problem: None };
            self.log_refusal(&settlement, &refusal);
            return self.settle(settlement).await;
        }
        let attempt = raw::attempt(seen);
        let start = std::str::from_utf8(&delivery.body).map(|args| Start {
            id,
            job,
            args: Args::new(args, job.registration.version),
            attempt,
            max_attempts: policy.max_attempts,
            enqueued_at: delivery.inserted_at,
            meta: Default::default(),
        });
        let ran = match &start {
            Ok(start) => self.start(start, service).await,
            Err(_) => Ran::Misfit("the message is not UTF-8 text".to_owned()),
        };
        let seen = Seen { now: self.now(), ..seen };
        let rng = &mut self.slot.rng;
        let settlement = match &ran {
            Ran::LeaseLost => return self.forget().await,
            Ran::Outcome(outcome) => {
                raw::decide(delivery, name, seen, outcome, policy, capabilities, rng)
            }
            Ran::Misfit(problem) => {
                raw::misfit(delivery, name, seen, problem.clone(), policy, capabilities, rng)
            }
        };
        self.log(job, id, attempt, &ran, &settlement);
        self.settle(settlement).await;
    }

    /// Decodes the args and runs the job.
    async fn start(&mut self, start: &Start<'_>, service: JobService) -> Ran {
        let prepared =
            match catch_unwind(AssertUnwindSafe(|| (start.job.registration.decode)(start.args))) {
                Ok(Ok(prepared)) => prepared,
                Ok(Err(misfit)) => return Ran::Misfit(misfit.to_string()),
                Err(payload) => {
                    return Ran::Outcome(Outcome::Retry {
                        error: Panicked::from(payload).into(),
                        after: None,
                    });
                }
            };
        let now = Instant::now();
        let timeout = start.job.timeout;
        if self.served.leases.begin(self.lease, now + timeout + self.served.grace).is_err() {
            return Ran::LeaseLost;
        }
        let about = About {
            id: start.id,
            name: start.job.registration.name,
            queue: self.served.plan.name.clone(),
            attempt: start.attempt,
            max_attempts: start.max_attempts,
            enqueued_at: start.enqueued_at,
            deadline: now + timeout,
            meta: start.meta.clone(),
        };
        let context = JobContext::new(about, Arc::clone(&self.served.shared));
        self.execute(context, prepared, service).await
    }

    async fn execute(
        &mut self,
        context: JobContext,
        prepared: Prepared,
        mut service: JobService,
    ) -> Ran {
        let served = self.served;
        let guard = served.counters.run();
        let mut running = service.call(Call::new(context.clone(), prepared));
        served.reuse(service);
        // Most jobs that wait for nothing are done with the first poll: for them no timer is set,
        // no token made, and their delete may wait for company.
        if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await {
            return Ran::of(result);
        }
        let lease = self.lease;
        let wait = async move {
            let ran = tokio::select! {
                biased;
                result = &mut running => Ran::of(result),
                () = served.leases.lost(lease) => {
                    context.cancel();
                    Ran::LeaseLost
                }
                () = served.shutdown.cancel.cancelled() => {
                    context.cancel();
                    // An error now says only that it was cancelled.
                    match timeout(CANCEL_GRACE, &mut running).await {
                        Ok(Ok(Outcome::Done)) => Ran::Outcome(Outcome::Done),
                        _ => Ran::Outcome(Outcome::GivenBack),
                    }
                }
            };
            drop(running);
            drop(guard);
            ran
        };
        // What is finished does not wait for this job, nor this job for it.
        let (ran, ()) = tokio::join!(wait, self.slot.flush());
        ran
    }

    /// Received, and then the worker was asked to stop.
    async fn give_back_unstarted(mut self) {
        let Self { served, delivery, seen, .. } = self;
        let release = Settlement::Release { delay: Duration::ZERO, why: decide::Later::GiveBack };
        let settlement = match Envelope::decode(&delivery.body) {
            // With its deliveries accounted for, or the next one would look like a crash.
            Ok(envelope) if served.plan.raw.is_none() && envelope.poison.is_none() => {
                decide::give_back_unstarted(envelope, seen, &served.capabilities)
            }
            _ => release,
        };
        self.settle(settlement).await;
    }

    /// The lease is lost: whoever has the message now settles it.
    async fn forget(self) {
        self.served.counters.lease_lost.increment();
        // Takes it off the book.
        let _ = self.served.leases.take(self.lease).await;
        warn!(
            queue = %self.seen.queue,
            message_id = %self.seen.message_id,
            "the lease was lost while the job ran; it was cancelled and will run again"
        );
    }

    async fn settle(&mut self, settlement: Settlement) {
        if let Settlement::Delete(Gone::Done) = settlement {
            self.served.counters.completed.increment();
            return self.slot.finish(self.lease, self.delivery).await;
        }
        self.served.settle(self.lease, &self.delivery.message_id, settlement).await;
    }

    /// The server's time now, by the clock that no adjustment of this machine's can move.
    fn now(&self) -> SystemTime {
        self.seen.now + self.received_at.elapsed()
    }

    fn log_refusal(&self, settlement: &Settlement, refusal: &Refusal) {
        let queue = self.seen.queue;
        let message_id = self.seen.message_id;
        let Refusal { id, name, problem } = refusal;
        let (id, problem) = (id.map(tracing::field::display), problem.as_deref());
        let job = name.as_deref();
        match settlement {
            Settlement::Poison { reason, .. } => {
                warn!(%queue, %message_id, id, job, %reason, problem, "moving a message to the poison queue");
            }
            Settlement::Delete(_) => info!(%queue, id, job, "dropping a job that has expired"),
            Settlement::Rewrite { why, delay, .. } | Settlement::Release { why, delay } => {
                if *why == decide::Later::Hop {
                    debug!(%queue, id, job, ?delay, "not due yet");
                } else {
                    warn!(%queue, %message_id, id, job, problem, ?delay, "putting a message back");
                }
            }
        }
    }

    fn log(&self, job: &JobEntry, id: JobId, attempt: u32, ran: &Ran, settlement: &Settlement) {
        let queue = self.seen.queue;
        let job = job.registration.name;
        let outcome = match ran {
            Ran::Outcome(outcome) => outcome,
            Ran::LeaseLost => return,
            Ran::Misfit(problem) => {
                warn!(%queue, %id, job, attempt, problem, "the args do not fit; putting the job back");
                return;
            }
        };
        match (outcome, settlement) {
            (Outcome::Done, _) => debug!(%queue, %id, job, attempt, "job done"),
            (
                Outcome::Retry { error, .. } | Outcome::Permanent { error },
                Settlement::Poison { reason, .. },
            ) => {
                warn!(%queue, %id, job, attempt, error, %reason, "job failed; to the poison queue");
            }
            (Outcome::Retry { error, .. } | Outcome::Permanent { error }, settlement) => {
                let delay = settlement.delay();
                warn!(%queue, %id, job, attempt, error, ?delay, "job failed; trying again");
            }
            (Outcome::Discard { reason }, _) => {
                info!(%queue, %id, job, attempt, reason, "job discarded by its handler");
            }
            (Outcome::Snooze { delay }, _) => debug!(%queue, %id, job, ?delay, "job snoozed"),
            (Outcome::GivenBack, _) => info!(%queue, %id, job, attempt, "job given back"),
        }
    }
}
