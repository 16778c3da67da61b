//! Receiving: what a slot does while it has the lead.

use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use super::feed::{Item, Lead, Reservation};
use super::home::Home;
use super::rate::Ticket;
use super::served::Served;
use crate::BoxError;
use crate::backend::{BackendError, Batch, ErrorKind, ReceiveRequest};
use crate::decide::Message;
use crate::pipeline::{JobService, ready, ready_now};
use crate::telemetry::{events, spans};

/// The waits after failures in a row double from the first to the second of these.
const FAILURE_WAITS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// The longest that free slots wait for others to become free.
const LONGEST_GATHERING: Duration = Duration::from_millis(50);

/// What was reserved for a receive.
struct Reserved {
    /// How many messages could start.
    messages: usize,
    /// One for each of them, or none at all where nothing has to be reserved.
    held: Vec<Reservation>,
}

/// Sets a timer only if there is no answer at once, as in memory there is.
async fn in_time<F: Future + Unpin>(limit: Duration, mut request: F) -> Result<F::Output, Elapsed> {
    match poll_fn(|cx| Poll::Ready(Pin::new(&mut request).poll(cx))).await {
        Poll::Ready(answer) => Ok(answer),
        Poll::Pending => timeout(limit, request).await,
    }
}

impl Served {
    /// Receives until something came, or the worker stops. Gives the leader's share of it.
    ///
    /// What was reserved is dropped, services included, whenever nothing came for it: a service
    /// that is ready may hold a permit of a layer, and an idle queue must not hold what a busy one
    /// needs.
    pub(super) async fn lead(&self, mut lead: Lead<'_>) -> Option<Item> {
        while !self.shutdown.is_stopping() {
            if let Some(until) = self.paused() {
                self.sleep_until(until).await;
                continue;
            }
            if let Some(home) = self.home.as_ref().filter(|home| home.is_for_suspects()) {
                if let Some(items) = self.suspect(&**home).await {
                    return lead.launch(1).deliver(items, 1);
                }
                continue;
            }
            self.gather(&lead).await;
            // Permit first: nothing is leased that cannot start at once.
            let most = lead.wanted().min(self.capabilities.max_receive);
            let reserved = match self.reserve_or_stop(most).await? {
                Ok(reserved) => reserved,
                Err(error) => {
                    self.not_ready(error).await;
                    continue;
                }
            };
            let sent_at = Instant::now();
            let request = ReceiveRequest::new(self.plan.name.clone())
                .max(reserved.messages)
                .lease(self.leases.lease());
            // The backend is to answer in time by itself. Should it not, the queue must not wait
            // for ever; what it has leased comes again.
            let flight = lead.launch(reserved.messages);
            let answer = in_time(self.receive_limit(), self.backend.receive(request));
            let answer = spans::receive(&self.plan.name, &*self.backend, answer).await;
            match answer.unwrap_or_else(|_| Err(ErrorKind::Timeout.into())) {
                Ok(batch) if batch.deliveries.is_empty() => {
                    self.meters.received(0);
                    drop(reserved);
                    lead = flight.land()?;
                    self.idle().await;
                }
                Ok(batch) => {
                    // As many as could be taken: there is more where they came from.
                    let backlog = batch.deliveries.len() >= reserved.messages;
                    self.pace().round_trip =
                        if backlog { sent_at.elapsed() } else { Duration::ZERO };
                    let most = if backlog { self.most_receives() } else { 1 };
                    let items = self.accept(batch, reserved, sent_at);
                    self.counters.received.add(items.len() as u64);
                    self.meters.received(items.len());
                    return flight.deliver(items, most);
                }
                Err(error) => {
                    drop(reserved);
                    let landed = flight.land();
                    self.receive_failed(&error, landed.is_some()).await;
                    lead = landed?;
                }
            }
        }
        None
    }

    /// In the process for suspects: the next of them, with all that it takes to start it. What that
    /// takes is for whoever has one: another queue's may come first, and they wait for one another.
    async fn suspect(&self, home: &dyn Home) -> Option<Vec<Item>> {
        let handed = tokio::select! {
            biased;
            () = self.shutdown.stop.cancelled() => return None,
            handed = home.suspect(&self.plan.name) => handed,
        };
        // One that cannot start in time comes again.
        let deadline = handed.held.deadline;
        let reserved = tokio::select! {
            biased;
            () = self.shutdown.stop.cancelled() => return None,
            reserved = timeout_at(deadline, self.reserve(1)) => reserved.ok()?,
        };
        match reserved {
            Ok(reserved) => {
                let (batch, sent_at) = handed.received(self.leases.lease());
                Some(self.accept(batch, reserved, sent_at))
            }
            Err(error) => {
                // Others need not wait until this queue's layers are ready.
                home.done(&self.plan.name);
                self.not_ready(error).await;
                None
            }
        }
    }

    async fn not_ready(&self, error: BoxError) {
        let wait = self.failed();
        self.meters.not_ready();
        events::layer_not_ready(&self.plan.name, &error, wait);
        self.sleep_until(Instant::now() + wait).await;
    }

    /// While there is a backlog, waits for more slots to become free, for as long as two requests
    /// take: that is when a short job that was received together with others is done with them.
    /// Each receive costs time and money, and brings the more the more slots are free.
    async fn gather(&self, lead: &Lead<'_>) {
        if !self.capabilities.remote {
            return;
        }
        let limit = (self.pace().round_trip * 2).min(LONGEST_GATHERING);
        if limit.is_zero() {
            return;
        }
        let enough = self.plan.settings.concurrency.min(self.capabilities.max_receive);
        tokio::select! {
            () = lead.gathered(enough) => {}
            () = sleep(limit) => {}
            () = self.shutdown.stop.cancelled() => {}
        }
    }

    /// How many receives may be on their way while there is a backlog: as many as it takes to bring
    /// something for every slot. In memory there is no way.
    fn most_receives(&self) -> usize {
        if !self.capabilities.remote {
            return 1;
        }
        self.plan.settings.concurrency.div_ceil(self.capabilities.max_receive.max(1))
    }

    /// A quarter of the lease, so that what comes late is still worth starting.
    pub(crate) fn receive_limit(&self) -> Duration {
        (self.leases.lease() / 4).max(Duration::from_secs(1))
    }

    fn paused(&self) -> Option<Instant> {
        self.pace().paused_until.filter(|until| *until > Instant::now())
    }

    async fn sleep_until(&self, until: Instant) {
        tokio::select! {
            () = sleep_until(until) => {}
            () = self.shutdown.stop.cancelled() => {}
        }
    }

    /// Reserves for up to `most` messages; `None` once the worker is to stop.
    async fn reserve_or_stop(&self, most: usize) -> Option<Result<Reserved, BoxError>> {
        if self.reserves_nothing {
            return Some(Ok(Reserved { messages: most, held: Vec::new() }));
        }
        tokio::select! {
            biased;
            () = self.shutdown.stop.cancelled() => None,
            reserved = self.reserve(most) => Some(reserved),
        }
    }

    /// Waits for one reservation, then takes as many more as there are at once, `most` in all.
    async fn reserve(&self, most: usize) -> Result<Reserved, BoxError> {
        let mut tickets = match &self.rate {
            Some(rate) => {
                let _in_line = self.meters.in_line();
                rate.tickets(most).await.into_iter().map(Some).collect()
            }
            None => std::iter::repeat_with(|| None).take(most).collect::<Vec<_>>(),
        };
        let mut spares = {
            let mut services = self.services();
            let left = services.len().saturating_sub(most);
            services.split_off(left)
        };
        let mut reserved = Vec::with_capacity(most);
        if let Some(ticket) = tickets.pop() {
            reserved.push(self.reserve_one(ticket, spares.pop()).await?);
        }
        poll_fn(|cx| {
            while let Some(ticket) = tickets.pop() {
                let Some(more) = self.reserve_now(ticket, spares.pop(), cx) else { break };
                reserved.push(more);
            }
            Poll::Ready(())
        })
        .await;
        Ok(Reserved { messages: reserved.len(), held: reserved })
    }

    /// From what is this queue's own to what all share: whoever waits for one thing holds only
    /// what fewer others could use. A queue that waits long for a layer of its own takes nothing
    /// from the rest.
    async fn reserve_one(
        &self,
        ticket: Option<Ticket>,
        spare: Option<JobService>,
    ) -> Result<Reservation, BoxError> {
        let queue = match &self.plan.stack {
            None => None,
            Some(stack) => Some(ready(stack.clone()).await?),
        };
        let permit = match &self.permits {
            None => None,
            Some(permits) => {
                // It may take as long as others' jobs do.
                let _in_line = self.meters.in_line();
                permits.clone().acquire_owned().await.ok()
            }
        };
        let worker = match self.stack_is_bare {
            true => None,
            false => Some(ready(spare.unwrap_or_else(|| self.stack.clone())).await?),
        };
        Ok(Reservation { worker, queue, permit, ticket })
    }

    /// The same without waiting for anything.
    fn reserve_now(
        &self,
        ticket: Option<Ticket>,
        spare: Option<JobService>,
        cx: &mut Context<'_>,
    ) -> Option<Reservation> {
        let queue = match &self.plan.stack {
            None => None,
            Some(stack) => Some(ready_now(stack.clone(), cx)?),
        };
        let permit = match &self.permits {
            None => None,
            Some(permits) => Some(permits.clone().try_acquire_owned().ok()?),
        };
        let worker = match self.stack_is_bare {
            true => None,
            false => Some(ready_now(spare.unwrap_or_else(|| self.stack.clone()), cx)?),
        };
        Some(Reservation { worker, queue, permit, ticket })
    }

    fn accept(&self, batch: Batch, reserved: Reserved, sent_at: Instant) -> Vec<Item> {
        let Batch { mut deliveries, server_now, .. } = batch;
        let Reserved { messages, mut held } = reserved;
        if deliveries.len() > messages {
            events::too_many_received(&self.plan.name);
            // They come again when their lease ends.
            deliveries.truncate(messages);
        }
        {
            let mut pace = self.pace();
            pace.idle_wait = self.plan.settings.min_poll;
            pace.failures = 0;
        }
        held.truncate(deliveries.len());
        let received_at = Instant::now();
        let mut held = held.into_iter();
        let received = deliveries.into_iter().map(|delivery| {
            let reservation = held.next();
            let (message, receipt) = Message::split(delivery);
            (receipt, (message, reservation))
        });
        self.leases.enter_all(received, sent_at, |lease, (message, reservation)| Item {
            message,
            lease,
            server_now,
            received_at,
            reservation,
        })
    }

    /// Waits after an empty receive: longer each time, until an enqueue by a client of this
    /// worker or a word of the backend ends it.
    async fn idle(&self) {
        let max = self.plan.settings.max_poll;
        let wait = {
            let mut pace = self.pace();
            pace.failures = 0;
            // There is no backlog that it would pay to gather for.
            pace.round_trip = Duration::ZERO;
            // A backend that tells of new messages need not be asked often.
            let wait = if self.capabilities.wakes { max } else { pace.idle_wait };
            pace.idle_wait = (pace.idle_wait * 2).min(max);
            // By the time that it is as long as can be, chance has had its say.
            let jitter = if wait < max { 0.8 + 0.4 * pace.rng.f64() } else { 1.0 };
            wait.mul_f64(jitter).min(max)
        };
        let enqueued = async {
            match &self.enqueued {
                Some(enqueued) => enqueued.notified().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.backend.wait_visible(&self.plan.name, wait) => {}
            () = enqueued => self.pace().idle_wait = self.plan.settings.min_poll,
            () = self.shutdown.stop.cancelled() => {}
        }
    }

    /// Says so and waits before it is tried again. Where another receive is on its way, it is for
    /// that one to count and to wait; whoever leads next begins no sooner than that.
    async fn receive_failed(&self, error: &BackendError, alone: bool) {
        self.meters.receive_failed(error);
        let queue = &self.plan.name;
        let wait = if alone { self.failed() } else { FAILURE_WAITS.0 };
        let wait = error.retry_after().map_or(wait, |after| after.max(wait));
        match error.kind() {
            ErrorKind::Throttled => events::receive_throttled(queue, error, wait),
            kind if error.is_retryable() => events::receive_failed(queue, kind, error, wait),
            _ => events::receive_refused(queue, error, wait),
        }
        if alone {
            self.sleep_until(Instant::now() + wait).await;
        } else {
            self.pause(wait);
        }
    }

    /// How long to wait after one more failure.
    fn failed(&self) -> Duration {
        let mut pace = self.pace();
        pace.failures = pace.failures.saturating_add(1);
        let (first, longest) = FAILURE_WAITS;
        let doubled = first.saturating_mul(1 << (pace.failures - 1).min(16)).min(longest);
        doubled.mul_f64(0.8 + 0.4 * pace.rng.f64())
    }
}
