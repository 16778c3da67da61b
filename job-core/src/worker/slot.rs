//! One slot of a queue: takes a message, runs its job, settles it, takes the next.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::coop::{consume_budget, has_budget_remaining};
use tokio::time::sleep;

use super::feed::{Item, Reservation, Turn};
use super::lease::Lease;
use super::run::Run;
use super::served::Served;
use super::settle::{Finished, Unsettled};
use crate::context::Place;
use crate::decide::{Message, Seen};
use crate::pipeline::catch_panic::catch;
use crate::pipeline::{JobService, Ready};
use crate::telemetry::events;
use crate::telemetry::runs::JobName;
use crate::telemetry::spans::{self, Settling};

/// How many finished messages are deleted in one request, where the backend takes several.
const GROUP: usize = 16;

/// How long a slot pauses after a panic of something that is not a job.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// One slot: at any time it runs at most one job.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(super) served: Arc<Served>,
    pub(super) place: Arc<Place>,
    pub(super) rng: fastrand::Rng,
    /// The worker's stack, where it is bare and need not be reserved.
    stack: Option<JobService>,
    /// Other services that were called, until they go back to where all slots take them from.
    called: Vec<JobService>,
    /// Finished, and not yet deleted. Never kept while a job waits for anything.
    finished: Vec<Finished>,
}

impl Slot {
    pub(crate) fn new(served: Arc<Served>) -> Self {
        let (queue, shared) = (served.plan.name.clone(), Arc::clone(&served.shared));
        Self {
            served,
            place: Arc::new(Place { queue, shared }),
            rng: fastrand::Rng::new(),
            stack: None,
            called: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Runs jobs until the worker stops and nothing is left to give back.
    ///
    /// A panicking job is a failed attempt and ends nothing. This is for what else may panic, such
    /// as a backend or a backoff of the user's: the message comes again when its lease ends, and
    /// the slot goes on.
    pub(crate) async fn run(mut self) {
        loop {
            let Err(panicked) = catch(pin!(self.serve())).await else { return };
            events::slot_panicked(&self.served.plan.name, &panicked);
            sleep(AFTER_PANIC).await;
        }
    }

    async fn serve(&mut self) {
        let served = Arc::clone(&self.served);
        while !served.shutdown.is_stopping() {
            let mut has_led = false;
            let item = match served.feed.next() {
                Some(item) => Some(item),
                None => {
                    // Before it takes the lead: the others need not wait for this.
                    self.flush().await;
                    match served.feed.turn(&served.shutdown.stop).await {
                        Some(Turn::Run(item)) => Some(item),
                        Some(Turn::Lead(lead)) => {
                            // Other slots find the lead taken and are idle from then on: the
                            // receive brings something for each of them.
                            take_turns().await;
                            has_led = true;
                            served.lead(lead).await
                        }
                        None => break,
                    }
                }
            };
            if let Some(item) = item {
                self.process(&served, item).await;
            }
            if !has_led {
                take_turns().await;
            }
        }
        while let Some(item) = served.feed.next() {
            self.process(&served, item).await;
        }
        self.flush().await;
    }

    /// Deletes what is finished, and gives back what others may use.
    pub(super) async fn flush(&mut self) {
        if !self.called.is_empty() {
            self.served.services().append(&mut self.called);
        }
        if !self.finished.is_empty() {
            let (served, about) = (&self.served, Settling::group(self.finished.len()));
            let deleted = async {
                served.delete_all(&mut self.finished).await;
                Ok::<_, Unsettled>(())
            };
            let (queue, backend) = (&served.plan.name, &*served.settling);
            let _ = spans::settle(about, queue, backend, pin!(deleted)).await;
        }
    }

    async fn process(&mut self, served: &Served, item: Item) {
        let Item { message, lease, server_now, received_at, reservation } = item;
        let seen = Seen {
            queue: &served.plan.name,
            message_id: &message.message_id,
            count: message.count,
            inserted_at: message.inserted_at,
            now: server_now,
        };
        if served.is_vain(&message.message_id) {
            events::job_came_again(seen.queue, seen.message_id);
            self.finish(lease, &message, None).await;
            return;
        }
        let Reservation { worker, queue, permit, ticket } = reservation.unwrap_or_default();
        let worker = worker.or_else(|| self.stack.take()).unwrap_or_else(|| served.stack.clone());
        let ready = Ready { worker, queue };
        let message = &message;
        let _busy = served.meters.busy();
        let (asked, crashed) = (false, false);
        let (began, about) = (None, Settling::default());
        let run = Run {
            slot: self,
            served,
            message,
            seen,
            received_at,
            lease,
            ticket,
            asked,
            crashed,
            began,
            about,
        };
        match &served.plan.raw {
            Some(job) => run.raw(job, ready).await,
            None => run.enveloped(ready).await,
        }
        drop(permit);
    }

    /// Keeps a service that was called for another job.
    pub(super) fn reuse(&mut self, service: JobService) {
        if self.served.stack_is_bare {
            self.stack = Some(service);
        } else {
            self.called.push(service);
        }
    }

    /// The message is to be deleted, in company where the backend takes several.
    pub(super) async fn finish(&mut self, lease: Lease, message: &Message, job: Option<JobName>) {
        self.finished.push(Finished { lease, message_id: message.message_id.clone(), job });
        if self.finished.len() >= GROUP.min(self.served.capabilities.max_delete) {
            self.flush().await;
        }
    }
}

/// Lets other tasks run now and then: where backend and jobs never wait, nothing else would.
///
/// Not by the budget's own wait, which keeps the task on its thread. If the next task there blocked
/// that, whoever has the lead would keep it, and the queue stand still beside an idle thread.
async fn take_turns() {
    let mut in_turn = has_budget_remaining();
    poll_fn(|cx| {
        if std::mem::replace(&mut in_turn, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    consume_budget().await;
}
