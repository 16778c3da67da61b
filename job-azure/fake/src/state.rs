//! What a fake service's lock guards, and what happens under it. Nothing here waits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use azure_core::http::Request;
use tokio::sync::oneshot;

use crate::access::Refusal;
use crate::call::{Call, Counts, Operation};
use crate::ceiling::Bucket;
use crate::clock::{Clock, Moment};
use crate::error::ServiceError;
use crate::http::{Answer, Context, Route};
use crate::queue::Order;
use crate::service::{Command, Outcome, Service};

/// Judges a request's credentials.
pub(crate) type Check = Arc<dyn Fn(&Request, Operation) -> Result<(), Refusal> + Send + Sync>;

pub(crate) struct State {
    pub(crate) clock: Clock,
    pub(crate) service: Service,
    pub(crate) latency: Duration,
    pub(crate) check: Option<Check>,
    pub(crate) counts: Counts,
    ceiling: Option<u32>,
    buckets: HashMap<String, Bucket>,
    /// Requests that are stuck on their way, by when they arrive and their number.
    stuck: BTreeMap<(Moment, u64), Stuck>,
}

/// A request, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) route: Route,
    pub(crate) command: Result<Command, ServiceError>,
    pub(crate) number: u64,
    pub(crate) version: Option<String>,
    pub(crate) client_request_id: Option<String>,
}

/// How a job is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Properly,
    Twice,
    NewestFirst,
}

struct Stuck {
    job: Job,
    /// Who may still be waiting for the answer.
    asker: oneshot::Sender<Answer>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            clock: Clock::start(),
            service: Service::default(),
            latency: Duration::ZERO,
            check: None,
            counts: Counts::default(),
            ceiling: None,
            buckets: HashMap::new(),
            stuck: BTreeMap::new(),
        }
    }

    /// The time, with everything done that was to happen by now. All that looks at the service
    /// begins with it.
    pub(crate) fn settle(&mut self) -> Moment {
        let now = self.clock.now();
        while let Some(entry) = self.stuck.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((due, _), Stuck { job, asker }) = entry.remove_entry();
            let answer = self.answer_at(due, &job, How::Properly);
            // Whoever asked may have given up.
            let _ = asker.send(answer);
        }
        now
    }

    /// Counts a request.
    pub(crate) fn arrive(&mut self, route: &Route) -> Call {
        self.counts.add(route.operation);
        Call {
            operation: route.operation,
            queue: route.queue.clone(),
            message_id: route.message_id.clone(),
            number: self.counts.total(),
            nth_of_operation: self.counts.of(route.operation),
        }
    }

    pub(crate) fn set_ceiling(&mut self, per_second: u32) {
        self.ceiling = Some(per_second);
        self.buckets.clear();
    }

    /// Whether the queue takes another operation.
    pub(crate) fn pay(&mut self, queue: &str) -> Result<(), ServiceError> {
        let Some(ceiling) = self.ceiling else { return Ok(()) };
        let now = self.settle();
        let bucket = match self.buckets.get_mut(queue) {
            Some(bucket) => bucket,
            None => {
                self.buckets.entry(queue.to_owned()).or_insert_with(|| Bucket::full(now, ceiling))
            }
        };
        if bucket.take(now, ceiling) { Ok(()) } else { Err(ServiceError::SERVER_BUSY) }
    }

    /// Carries the job out and gives the answer to it.
    pub(crate) fn answer(&mut self, job: &Job, how: How) -> Answer {
        let now = self.settle();
        self.answer_at(now, job, how)
    }

    /// An answer to a job that is not carried out.
    pub(crate) fn refuse(&mut self, job: &Job, error: ServiceError) -> Answer {
        let now = self.settle();
        Answer::new(&Err(error), &self.context(now, job))
    }

    /// Lets the job be carried out after `delay`, whoever still waits for it.
    pub(crate) fn hold_up(&mut self, job: Job, delay: Duration) -> oneshot::Receiver<Answer> {
        let (asker, answer) = oneshot::channel();
        let due = self.clock.now().after(delay);
        self.stuck.insert((due, job.number), Stuck { job, asker });
        answer
    }

    fn answer_at(&mut self, now: Moment, job: &Job, how: How) -> Answer {
        let result = self.carry_out(now, job, how);
        Answer::new(&result, &self.context(now, job))
    }

    fn carry_out(&mut self, now: Moment, job: &Job, how: How) -> Result<Outcome, ServiceError> {
        let queue = &job.route.queue;
        let mut command = job.command.clone()?;
        if let (How::NewestFirst, Command::Receive { order, .. }) = (how, &mut command) {
            *order = Order::NewestFirst;
        }
        let again =
            (how == How::Twice && matches!(command, Command::Send { .. })).then(|| command.clone());
        let mut outcome = self.service.apply(now, queue, command)?;
        if let Some(again) = again {
            self.service.apply(now, queue, again)?;
        }
        if let (How::Twice, Outcome::Received(messages)) = (how, &mut outcome) {
            messages.extend(messages.first().cloned());
        }
        Ok(outcome)
    }

    fn context(&self, now: Moment, job: &Job) -> Context {
        Context {
            clock: self.clock,
            now,
            number: job.number,
            version: job.version.clone(),
            client_request_id: job.client_request_id.clone(),
        }
    }
}
