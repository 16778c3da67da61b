//! One message on its way through a slot: decide, mark, decode, run, decide, settle.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, timeout};

use super::home::{Fate, Handed};
use super::jobs::JobEntry;
use super::lease::{Lease, LeaseLost};
use super::rate::Ticket;
use super::served::Served;
use super::settle::{Settled, Unsettled};
use super::slot::Slot;
use super::start::MarkedStart;
use crate::context::About;
use crate::decide::raw::{self, RawJob};
use crate::decide::{self, Admission, Gone, Message, Refusal, Rules, Seen, Settlement};
use crate::envelope::{Envelope, Plain, Trace};
use crate::handler::Prepared;
use crate::pipeline::catch_panic::{Panicked, speakable};
use crate::pipeline::{Call, Ready};
use crate::telemetry::events;
use crate::telemetry::meters::Deferred;
use crate::telemetry::runs::{Told, Whose, refused};
use crate::telemetry::spans::{self, Settling};
use crate::{Args, ArgsError, BoxError, JobContext, JobId, Outcome, PoisonReason};

/// How long a cancelled handler has to come to an end by itself before its future is dropped.
pub(super) const CANCEL_GRACE: Duration = Duration::from_millis(500);

/// How long a suspect is held until the process for suspects is ready to take it.
pub(crate) const CLAIM_LIMIT: Duration = Duration::from_secs(30);

/// After that a start that is over is believed to have been survived, settled or not.
const BELIEVED_AFTER: Duration = Duration::from_secs(1);

/// One message on its way through a slot.
pub(super) struct Run<'a> {
    pub(super) slot: &'a mut Slot,
    pub(super) served: &'a Served,
    pub(super) message: &'a Message,
    pub(super) seen: Seen<'a>,
    pub(super) received_at: Instant,
    pub(super) lease: Lease,
    pub(super) ticket: Option<Ticket>,
    /// Who may know what became of the start that is marked in it was asked.
    pub(super) asked: bool,
    /// That start was a crash, which is not on record yet: until then, the next delivery finds it,
    /// too.
    pub(super) crashed: bool,
    /// When its handler started.
    pub(super) began: Option<Instant>,
    /// What is known of its job.
    pub(super) about: Settling<'a>,
}

/// What a run needs to know about its job.
struct Start<'a> {
    id: JobId,
    job: &'a JobEntry,
    args: Args<'a>,
    attempt: u32,
    max_attempts: u32,
    enqueued_at: SystemTime,
    meta: BTreeMap<String, String>,
    trace: Option<Trace>,
    /// When it was to run first, if its message says so.
    due_at: Option<SystemTime>,
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
        Self::Outcome(outcome_of(result))
    }
}

/// What a run came to, with errors that can be shown.
pub(super) fn outcome_of(result: Result<Outcome, BoxError>) -> Outcome {
    match result.unwrap_or_else(|error| Outcome::Retry { error, after: None }) {
        Outcome::Retry { error, after } => Outcome::Retry { error: speakable(error), after },
        Outcome::Permanent { error } => Outcome::Permanent { error: speakable(error) },
        Outcome::Discard { reason } => Outcome::Discard { reason: speakable(reason) },
        outcome => outcome,
    }
}

/// Why a job cannot run although its message was read.
pub(super) enum Unprepared {
    /// The args are not what the job takes.
    Misfit(ArgsError),
    /// Reading them panicked.
    Panicked(Outcome),
}

/// Decodes the args of a job.
pub(super) fn prepare(job: &JobEntry, args: Args<'_>) -> Result<Prepared, Unprepared> {
    match catch_unwind(AssertUnwindSafe(|| (job.registration.decode)(args))) {
        Ok(prepared) => prepared.map_err(Unprepared::Misfit),
        Err(payload) => {
            // Its text is likely to hold a piece of the args.
            let _ = Panicked::from(payload);
            let error = "the job panicked while its args were decoded".into();
            Err(Unprepared::Panicked(Outcome::Retry { error, after: None }))
        }
    }
}

impl Run<'_> {
    pub(super) async fn enveloped(mut self, ready: Ready) {
        let Self { served, message, seen, .. } = self;
        if served.shutdown.is_stopping() {
            return self.give_back_unstarted().await;
        }
        let rules = Rules { asked: self.asked, ..served.rules };
        let capabilities = &served.capabilities;
        let find = |name: &str| served.plan.jobs.find(name);
        if let Some((fresh, job)) = decide::admit_fresh(message, seen, find, capabilities) {
            let start = Start {
                id: fresh.id,
                job,
                args: Args::new(fresh.args.get(), 1),
                attempt: 1,
                max_attempts: job.policy.max_attempts.max(1),
                enqueued_at: fresh.enqueued_at,
                meta: BTreeMap::new(),
                trace: None,
                due_at: None,
            };
            let (id, attempt) = (start.id, start.attempt);
            let ran = self.start(start, ready).await;
            if matches!(ran, Ran::Outcome(Outcome::Done)) {
                // As nearly every run ends: without a way through futures that take it along.
                self.log(job, id, attempt, &ran, &Settlement::Delete(Gone::Done));
                self.count_done();
                return self.slot.finish(self.lease, message, self.about.job_name()).await;
            }
            let run = (id, job, attempt);
            return self.settle_run(run, ran, || fresh.into_envelope(), None).await;
        }
        let admission = decide::admit(message, seen, find, rules, capabilities, &mut self.slot.rng);
        let (envelope, job, mark) = match admission {
            Admission::Run { envelope, job, mark } => (envelope, job, mark),
            Admission::Settle(settlement, refusal) => {
                return self.refuse(settlement, &refusal).await;
            }
            Admission::HandOver(settlement, refusal) => {
                self.slot.flush().await;
                return self.hand_over(settlement, &refusal).await;
            }
            Admission::Ask(mark, otherwise, refusal) => {
                self.slot.flush().await;
                return self.ask(mark, otherwise, &refusal, ready).await;
            }
        };
        let open_mark = mark.as_ref().and(envelope.history.open_mark(seen.message_id));
        // If it is to run, its lease ends so long after this at the latest.
        let longest = job.timeout + served.grace;
        let mut marked = open_mark.map(|mark| {
            let within = longest + served.leases.lease();
            MarkedStart::new(served, &message.message_id, mark, within)
        });
        if let Some(mark) = mark {
            self.slot.flush().await;
            let (name, attempt) = (job.registration.name, envelope.history.attempt());
            self.about = Settling::job(envelope.id, name, attempt);
            let whose = self.about.whose(&message.message_id);
            match self.slot.served.mark(self.lease, whose, mark).await {
                Ok(lease) => self.lease = lease,
                // It may have been written all the same, but nothing starts.
                Err(unsettled) => return served.count_unsettled(&unsettled),
            }
            // The new mark has taken the place of the one that told of it.
            if std::mem::take(&mut self.crashed) {
                served.meters.crashed();
            }
            if served.shutdown.is_stopping() {
                job.meters.deferred(Deferred::Stopping);
                // The mark goes, or the next delivery would take this for a crash.
                let (outcome, rng) = (Outcome::GivenBack, &mut self.slot.rng);
                let (verbatim, policy) = (&message.body, job.policy);
                let settlement =
                    decide::decide(envelope, verbatim, seen, &outcome, policy, capabilities, rng);
                return self.settle_start(settlement, marked).await;
            }
        }
        let give_up = Instant::now() + longest + CANCEL_GRACE;

        let start = Start {
            id: envelope.id,
            job,
            args: Args::new(envelope.args.get(), envelope.args_version),
            attempt: envelope.history.attempt(),
            max_attempts: envelope.options.max_attempts.unwrap_or(job.policy.max_attempts).max(1),
            enqueued_at: envelope.enqueued_at,
            meta: envelope.meta.clone(),
            trace: envelope.trace.clone(),
            due_at: envelope.due_at,
        };
        let run = (start.id, job, start.attempt);
        let ran = self.start(start, ready).await;
        // Nobody renewed its lease any more. If others have it now, it would hang there, too.
        if Instant::now() >= give_up
            && let Some(start) = marked.take()
        {
            start.forget();
        }
        self.settle_run(run, ran, || envelope, marked).await;
    }

    /// Settles a job that was run. Most are done, and of no envelope is anything needed then.
    async fn settle_run<'e>(
        self,
        (id, job, attempt): (JobId, &JobEntry, u32),
        ran: Ran,
        envelope: impl FnOnce() -> Envelope<'e>,
        marked: Option<MarkedStart<'_>>,
    ) {
        let Self { served, message, seen, .. } = self;
        let rules = Rules { asked: self.asked, ..served.rules };
        let capabilities = &served.capabilities;
        // Nobody asks for the time where nothing went wrong.
        let now = |run: &Self| Seen { now: run.now(), ..seen };
        let verbatim = &message.body;
        let settlement = match &ran {
            Ran::LeaseLost => return self.forget().await,
            Ran::Outcome(Outcome::Done) => Settlement::Delete(Gone::Done),
            Ran::Outcome(outcome) => {
                let (seen, policy, rng) = (now(&self), job.policy, &mut self.slot.rng);
                decide::decide(envelope(), verbatim, seen, outcome, policy, capabilities, rng)
            }
            Ran::Misfit(problem) => {
                let (why, problem) = (PoisonReason::BadArgs, problem.clone());
                let (seen, rng) = (now(&self), &mut self.slot.rng);
                decide::put_back(envelope(), verbatim, seen, why, problem, rules, capabilities, rng)
            }
        };
        self.log(job, id, attempt, &ran, &settlement);
        self.settle_start(settlement, marked).await;
    }

    pub(super) async fn raw(mut self, job: &JobEntry, ready: Ready) {
        let Self { served, message, seen, .. } = self;
        let (registration, policy) = (&job.registration, job.policy);
        let capabilities = &served.capabilities;
        if served.shutdown.is_stopping() {
            return self.give_back_unstarted().await;
        }
        let is_named =
            |name: &str| registration.name == name || registration.aliases.contains(&name);
        let plain = std::str::from_utf8(&message.body).map(|body| Plain::read(body, is_named));
        let id = plain.as_ref().ok().and_then(|plain| plain.id);
        let id = id.unwrap_or_else(|| JobId::for_message(seen.queue, seen.message_id));
        let raw_job = RawJob { id, name: registration.name };
        if let Some(settlement) = raw::admit(message, raw_job, seen, policy, capabilities) {
            let name = Some(registration.name.to_owned());
            let refusal = Refusal { id: Some(id), name, problem: None };
            return self.refuse(settlement, &refusal).await;
        }
        let attempt = raw::attempt(seen);
        let ran = match &plain {
            Ok(plain) => {
                let start = Start {
                    id,
                    job,
                    args: Args::new(&plain.args, registration.version),
                    attempt,
                    max_attempts: policy.max_attempts,
                    enqueued_at: message.inserted_at,
                    meta: plain.meta.clone(),
                    trace: plain.trace.clone(),
                    due_at: None,
                };
                self.start(start, ready).await
            }
            Err(_) => Ran::Misfit("the message is not UTF-8 text".to_owned()),
        };
        let seen = Seen { now: self.now(), ..seen };
        let rng = &mut self.slot.rng;
        let settlement = match &ran {
            Ran::LeaseLost => return self.forget().await,
            Ran::Outcome(outcome) => {
                raw::decide(message, raw_job, seen, outcome, policy, capabilities, rng)
            }
            Ran::Misfit(problem) => {
                raw::misfit(message, raw_job, seen, problem.clone(), policy, capabilities, rng)
            }
        };
        self.log(job, id, attempt, &ran, &settlement);
        self.settle(settlement).await;
    }

    /// Decodes the args and runs the job.
    async fn start(&mut self, start: Start<'_>, ready: Ready) -> Ran {
        self.about = Settling::job(start.id, start.job.registration.name, start.attempt);
        let prepared = match prepare(start.job, start.args) {
            Ok(prepared) => prepared,
            Err(Unprepared::Misfit(misfit)) => return Ran::Misfit(misfit.to_string()),
            Err(Unprepared::Panicked(outcome)) => return Ran::Outcome(outcome),
        };
        let now = Instant::now();
        self.began = Some(now);
        start.job.meters.starts(|| self.waited(start.due_at));
        let timeout = start.job.timeout;
        if self.lease.begin(now, now + timeout + self.served.grace).is_err() {
            return Ran::LeaseLost;
        }
        #[cfg(feature = "sabotage")]
        if crate::sabotage::sabotaged(crate::sabotage::Sabotage::DeleteFirst) {
            self.slot.served.delete_first(self.lease.stolen_receipt()).await;
        }
        if let Some(ticket) = self.ticket.take() {
            ticket.start(now);
        }
        let about = About {
            id: start.id,
            name: start.job.registration.name,
            attempt: start.attempt,
            max_attempts: start.max_attempts,
            enqueued_at: start.enqueued_at,
            deadline: now + timeout,
            timeout,
            meta: start.meta,
            trace: start.trace,
        };
        let context = JobContext::new(about, Arc::clone(&self.slot.place));
        let call = Call::new(context.clone(), prepared, start.job.stack.clone());
        self.execute(context, call, ready).await
    }

    async fn execute(&mut self, context: JobContext, call: Call, mut ready: Ready) -> Ran {
        let served = self.served;
        let guard = served.counters.run();
        let mut running = call.go(&mut ready);
        // Most jobs that wait for nothing are done with the first poll: for them no timer is set,
        // no token made, and their delete may wait for company.
        let polled = poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx))).await;
        // A panic in a layer's `call` shows by now, and its service may be left in any state.
        if !matches!(&polled, Poll::Ready(Err(error)) if error.is::<Panicked>()) {
            self.slot.reuse(ready.worker);
        }
        if let Poll::Ready(result) = polled {
            return Ran::of(result);
        }
        let lease = &self.lease;
        let wait = async move {
            let ran = tokio::select! {
                biased;
                result = &mut running => Ran::of(result),
                () = lease.lost() => {
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
        // What is finished does not wait for this job.
        let (ran, ()) = tokio::join!(wait, self.slot.flush());
        ran
    }

    /// Received, and then the worker was asked to stop.
    async fn give_back_unstarted(self) {
        let Self { served, message, seen, .. } = self;
        let release = Settlement::Release { delay: Duration::ZERO, why: decide::Later::GiveBack };
        let mut job = served.plan.raw.as_ref();
        let settlement = match Envelope::decode(&message.body) {
            // With its deliveries accounted for, or the next one would look like a crash.
            Ok(envelope) if served.plan.raw.is_none() && envelope.poison.is_none() => {
                job = served.plan.jobs.find(&envelope.name);
                decide::give_back_unstarted(envelope, seen, &served.capabilities)
            }
            _ => release,
        };
        let meters = job.map_or(served.meters.unknown_job(), |job| &job.meters);
        meters.deferred(Deferred::Stopping);
        // An open mark stays open.
        Run { crashed: false, ..self }.settle(settlement).await;
    }

    /// Whether the start that is marked in it was survived, of whoever may know; and then what is
    /// right.
    async fn ask(self, mark: u32, otherwise: Settlement, refusal: &Refusal, ready: Ready) {
        let Self { served, message, seen, .. } = self;
        let known = served.has_survived(seen.message_id, mark);
        let home = served.home.as_ref().filter(|home| !known && !home.is_for_suspects());
        let fate = match home {
            None if known => Fate::Survived,
            None => Fate::Unknown,
            Some(home) => {
                let answer = home.fate(seen.queue, seen.message_id, mark);
                tokio::select! {
                    answer = timeout(CLAIM_LIMIT, answer) => answer.unwrap_or(Fate::Open),
                    () = served.shutdown.stop.cancelled() => return self.give_back_unstarted().await,
                    () = self.lease.lost() => Fate::Open,
                }
            }
        };
        match fate {
            Fate::Survived => {
                let message = without_mark(message.clone(), mark);
                self.again(&message, ready).await;
            }
            Fate::Unknown => Run { crashed: true, ..self }.again(message, ready).await,
            Fate::Open => self.refuse(otherwise, refusal).await,
        }
    }

    /// From the beginning, now that whoever may know was asked.
    fn again<'a>(
        self,
        message: &'a Message,
        ready: Ready,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>
    where
        Self: 'a,
    {
        Box::pin(Run { message, asked: true, ..self }.enveloped(ready))
    }

    /// To the process for suspects, lease and all; if that is busy, back to the queue.
    async fn hand_over(self, otherwise: Settlement, refusal: &Refusal) {
        let Self { served, message, seen, .. } = self;
        let claim = async {
            let home = served.home.as_ref()?;
            tokio::select! {
                claim = timeout(CLAIM_LIMIT, home.claim()) => claim.ok().flatten(),
                () = served.shutdown.stop.cancelled() => None,
                () = self.lease.lost() => None,
            }
        };
        let Some(claim) = claim.await else {
            return self.refuse(otherwise, refusal).await;
        };
        let server_now = self.now();
        match self.lease.take().await {
            Ok(held) => {
                let Refusal { id, name, .. } = refusal;
                events::job_handed_over(seen.queue, *id, name.as_deref());
                served.counters.handed_over.increment();
                claim.hand_over(Handed {
                    held,
                    count: message.count,
                    inserted_at: message.inserted_at,
                    server_now,
                    body: message.body.clone(),
                });
            }
            Err(LeaseLost) => {
                let (queue, id, name) = (seen.queue, refusal.id, refusal.name.as_deref());
                events::lease_ended(queue, &message.message_id, id, name, "handing a job over");
                served.count_unsettled(&Unsettled::LeaseLost);
            }
        }
    }

    /// The lease is lost: whoever has the message now settles it.
    async fn forget(self) {
        self.served.counters.lease_lost.increment();
        self.served.meters.lease_lost();
        // Takes it off the book.
        let _ = self.lease.take().await;
        let Whose { message_id, id, job } = self.about.whose(self.seen.message_id);
        events::lease_lost(self.seen.queue, message_id, id, job);
    }

    /// Settles a message whose start was marked, if it was. Until that has come about, the process
    /// may still be dying of it; but it must not take long to be believed, or the process may have
    /// ended for another reason.
    async fn settle_start(self, settlement: Settlement, marked: Option<MarkedStart<'_>>) {
        let Some(mut start) = marked else {
            self.settle(settlement).await;
            return;
        };
        self.slot.flush().await;
        let Self { slot, served, message, lease, about, .. } = self;
        let about = about.message(&message.message_id).settlement(&settlement);
        let settling =
            pin!(slot.served.settle(lease, about.whose(&message.message_id), settlement));
        let settling = spans::settle(about, &served.plan.name, &*served.settling, settling);
        let mut settling = pin!(settling);
        let settled = match timeout(BELIEVED_AFTER, &mut settling).await {
            Ok(settled) => settled,
            Err(_) => {
                start.survived();
                settling.await
            }
        };
        // Where it is but presumed, the mark may be there still.
        if matches!(settled, Ok(Settled::Surely)) {
            start.forget();
        }
    }

    /// Settles a message that is not run.
    async fn refuse(self, settlement: Settlement, refusal: &Refusal) {
        self.log_refusal(&settlement, refusal);
        Run { about: Settling::refused(refusal.id), ..self }.settle(settlement).await;
    }

    async fn settle(self, settlement: Settlement) {
        if let Settlement::Delete(Gone::Done) = settlement {
            self.count_done();
            return self.slot.finish(self.lease, self.message, self.about.job_name()).await;
        }
        // This may take as long as its lease, for which what is done need not wait.
        self.slot.flush().await;
        let Self { slot, served, message, about, .. } = self;
        let about = about.message(&message.message_id).settlement(&settlement);
        let records = !matches!(settlement, Settlement::Release { .. });
        let whose = about.whose(&message.message_id);
        let settled = pin!(slot.served.settle(self.lease, whose, settlement));
        // What is not settled was counted and logged.
        let settled = spans::settle(about, &served.plan.name, &*served.settling, settled).await;
        if self.crashed && records && settled.is_ok() {
            served.meters.crashed();
        }
    }

    fn count_done(&self) {
        self.served.counters.completed.increment();
        if self.crashed {
            self.served.meters.crashed();
        }
    }

    /// How long after it could have it starts now, unless it was here before.
    fn waited(&self, due_at: Option<SystemTime>) -> Option<Duration> {
        let first = self.message.count.is_none_or(|count| count == 1);
        let due_at = due_at.map_or(self.seen.inserted_at, |at| at.max(self.seen.inserted_at));
        first.then(|| self.now().duration_since(due_at).unwrap_or_default())
    }

    /// The server's time now, by the clock that no adjustment of this machine's can move.
    fn now(&self) -> SystemTime {
        self.seen.now + self.received_at.elapsed()
    }

    fn log_refusal(&self, settlement: &Settlement, refusal: &Refusal) {
        let Self { served, seen, .. } = self;
        let known = refusal.name.as_deref().and_then(|name| served.plan.jobs.find(name));
        let meters = known.or(served.plan.raw.as_ref()).map(|job| &job.meters);
        refused(seen.queue, seen.message_id, &served.meters, meters, settlement, refusal);
    }

    fn log(&self, job: &JobEntry, id: JobId, attempt: u32, ran: &Ran, settlement: &Settlement) {
        let (queue, name, began) = (self.seen.queue, job.registration.name, self.began);
        let told = Told { queue, id, job: name, attempt, began, meters: &job.meters };
        match ran {
            Ran::Outcome(outcome) => told.ended(outcome, settlement),
            Ran::Misfit(problem) => told.misfit(problem, settlement),
            Ran::LeaseLost => {}
        }
    }
}

/// The message without the mark of that count.
fn without_mark(mut message: Message, count: u32) -> Message {
    let unmarked = || {
        let mut envelope = Envelope::decode(&message.body).ok()?;
        envelope.history.started.take_if(|mark| mark.count == count)?;
        envelope.encode().ok()
    };
    if let Some(body) = unmarked() {
        message.body = body;
    }
    message
}
