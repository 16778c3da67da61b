//! The service as a client's HTTP client.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::HeaderName;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use azure_core::{Error, Result};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::access::Refusal;
use crate::call::{Call, Counts, Operation};
use crate::error::ServiceError;
use crate::fault::{Fault, Faults};
use crate::http::{self, Answer, Route};
use crate::state::{How, Job, State};

/// One storage account's queues in memory, behind the trait by which the Azure SDK sends requests.
///
/// Clones share everything, settings too, and each setting may be changed at any time. The name of
/// the account plays no role: what differs between two URLs is the queue.
#[derive(Clone)]
pub struct FakeService {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Locked before `state`, never after it.
    faults: Mutex<Faults>,
    /// Told of every arrival and every change.
    changed: watch::Sender<()>,
}

impl FakeService {
    /// A service without queues, latency, ceiling, credentials and faults, whose wall clock starts
    /// with the machine's.
    pub fn new() -> Self {
        let state = Mutex::new(State::new());
        let (changed, _) = watch::channel(());
        Self { shared: Arc::new(Shared { state, faults: Mutex::default(), changed }) }
    }

    /// How long every request takes, half of it before it is applied. Default: no time.
    pub fn latency(&self, latency: Duration) -> &Self {
        self.state().latency = latency;
        self
    }

    /// How many requests a second each queue takes; more are answered with 503 `ServerBusy`. A
    /// queue that was idle takes a second's worth at once. Default: no limit. The real service
    /// aims at 2,000.
    pub fn ceiling(&self, per_second: u32) -> &Self {
        self.state().set_ceiling(per_second);
        self
    }

    /// What the service's wall clock shows now. Default: what the machine's showed when the
    /// service was made, moved on by tokio's clock since.
    pub fn wall_clock(&self, now: SystemTime) -> &Self {
        self.state().clock.set_wall(now);
        self
    }

    /// Whether a stale receipt is answered with 404 `MessageNotFound`, as the service was seen to
    /// do, or with 400 `PopReceiptMismatch`, as it is documented. Default: as documented.
    pub fn stale_receipts_are_not_found(&self, yes: bool) -> &Self {
        self.state().service.stale_is_not_found = yes;
        self
    }

    /// Judges the credentials of every request from now on. Default: anybody may do anything.
    ///
    /// ```
    /// use job_azure_fake::{FakeService, Operation, Refusal};
    ///
    /// let fake = FakeService::new();
    /// fake.require(|request, operation| {
    ///     if !request.url().query_pairs().any(|(key, value)| key == "sig" && value == "secret") {
    ///         return Err(Refusal::AuthenticationFailed);
    ///     }
    ///     match operation {
    ///         Operation::CreateQueue => Err(Refusal::PermissionMismatch),
    ///         _ => Ok(()),
    ///     }
    /// });
    /// ```
    pub fn require(
        &self,
        check: impl Fn(&Request, Operation) -> std::result::Result<(), Refusal> + Send + Sync + 'static,
    ) -> &Self {
        self.state().check = Some(Arc::new(check));
        self
    }

    /// Decides what goes wrong with each request from now on, in place of the rule before. It is
    /// called once for each, in the order of their numbers, and must not call `faults`,
    /// `fail_next`, `fail_times` or `no_faults` itself.
    pub fn faults(&self, rule: impl FnMut(&Call) -> Fault + Send + 'static) -> &Self {
        self.rules().set_rule(rule);
        self
    }

    /// Lets the next request of that operation fail, whatever the rule says. Several of these add
    /// up.
    pub fn fail_next(&self, operation: Operation, fault: Fault) -> &Self {
        self.fail_times(operation, 1, fault)
    }

    /// Lets the next `times` requests of that operation fail, after those already asked for.
    pub fn fail_times(&self, operation: Operation, times: u64, fault: Fault) -> &Self {
        self.rules().plan(operation, times, fault);
        self
    }

    /// Ends all faults: the rule, and what was asked for by operation.
    pub fn no_faults(&self) -> &Self {
        self.rules().clear();
        self
    }

    /// The requests so far, from when they set out.
    pub fn calls(&self) -> Counts {
        self.state().counts
    }

    /// Waits until there were `count` requests of that operation in all.
    pub async fn wait_for(&self, operation: Operation, count: u64) {
        self.wait_until(|fake| fake.calls().of(operation) >= count).await;
    }

    /// Waits until something is so. It is looked at again after every request's arrival and
    /// effect; that time passes by itself is no reason to look.
    pub async fn wait_until(&self, mut is_so: impl FnMut(&Self) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        while !is_so(self) {
            changed.changed().await.expect("the sender is in self");
        }
    }

    /// The text of every message, hidden ones included, oldest first; none if there is no such
    /// queue.
    pub fn texts(&self, queue: &str) -> Vec<String> {
        let mut state = self.state();
        let now = state.settle();
        state.service.texts(now, queue)
    }

    /// How many messages there are, hidden ones included; none if there is no such queue.
    pub fn depth(&self, queue: &str) -> usize {
        let mut state = self.state();
        let now = state.settle();
        state.service.depth(now, queue)
    }

    /// The names of the queues.
    pub fn queues(&self) -> Vec<String> {
        let mut state = self.state();
        state.settle();
        state.service.names().map(str::to_owned).collect()
    }

    /// Makes a queue vanish, and says whether it was there. Its name is free at once.
    pub fn remove_queue(&self, queue: &str) -> bool {
        let removed = {
            let mut state = self.state();
            state.settle();
            state.service.remove(queue)
        };
        self.changed();
        removed
    }

    /// Posts a message from elsewhere: visible at once, never expiring, its text neither checked
    /// for size nor for characters. Makes the queue if it is not there.
    pub fn insert_text(&self, queue: &str, text: &str) {
        {
            let mut state = self.state();
            let now = state.settle();
            state.service.insert(now, queue, text);
        }
        self.changed();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("the state is whole unless one of its operations panicked")
    }

    fn rules(&self) -> MutexGuard<'_, Faults> {
        self.shared.faults.lock().expect("no rule panicked")
    }

    fn changed(&self) {
        self.shared.changed.send_replace(());
    }

    /// Numbers the request and decides its fault, in one step.
    fn arrive(&self, route: &Route) -> (Call, Fault) {
        let mut rules = self.rules();
        let call = self.state().arrive(route);
        let fault = rules.decide(&call);
        drop(rules);
        self.changed();
        (call, fault)
    }

    async fn half_of_latency(&self) {
        let half = self.state().latency / 2;
        if half.is_zero() {
            // A real request lets other tasks run.
            tokio::task::yield_now().await;
        } else {
            sleep(half).await;
        }
    }

    fn admit(&self, request: &Request, job: &Job) -> std::result::Result<(), ServiceError> {
        let check = self.state().check.clone();
        if let Some(check) = check {
            check(request, job.route.operation)?;
        }
        self.state().pay(&job.route.queue)
    }

    fn refuse(&self, job: &Job, error: ServiceError) -> Answer {
        self.state().refuse(job, error)
    }

    fn apply(&self, job: &Job, how: How) -> Answer {
        let answer = self.state().answer(job, how);
        self.changed();
        answer
    }

    /// What the service does with a request that reaches it.
    async fn serve(&self, request: &Request, job: &Job, fault: Fault) -> Answer {
        if let Fault::Status { status, code, retry_after } = fault {
            return self.refuse(job, ServiceError::requested(status, code, retry_after));
        }
        if let Err(error) = self.admit(request, job) {
            return self.refuse(job, error);
        }
        match fault {
            Fault::Delay(delay) => {
                let answer = self.state().hold_up(job.clone(), delay);
                sleep(delay).await;
                self.state().settle();
                self.changed();
                answer.await.expect("what is due is carried out")
            }
            Fault::Duplicate => self.apply(job, How::Twice),
            Fault::Reorder => self.apply(job, How::NewestFirst),
            _ => self.apply(job, How::Properly),
        }
    }
}

#[async_trait]
impl HttpClient for FakeService {
    async fn execute_request(&self, request: &Request) -> Result<AsyncRawResponse> {
        let route = http::route(request).map_err(|error| {
            let (method, path) = (request.method(), request.url().path());
            let message = format!("the fake service knows no {method} {path}: {}", error.code);
            Error::with_message(ErrorKind::Other, message)
        })?;
        let (call, fault) = self.arrive(&route);
        let job = Job {
            command: http::command(&route, request),
            route,
            number: call.number,
            version: header(request, "x-ms-version"),
            client_request_id: header(request, "x-ms-client-request-id"),
        };
        self.half_of_latency().await;
        match fault {
            Fault::RefuseConnection => return Err(broken(ErrorKind::Connection)),
            Fault::LoseRequest => return Err(broken(ErrorKind::Io)),
            Fault::HangBefore => std::future::pending().await,
            _ => {}
        }
        let answer = self.serve(request, &job, fault).await;
        self.half_of_latency().await;
        let answer = match fault {
            Fault::LoseResponse => return Err(broken(ErrorKind::Io)),
            Fault::HangAfter => std::future::pending().await,
            Fault::StatusAfter { status, code, retry_after } => {
                self.refuse(&job, ServiceError::requested(status, code, retry_after))
            }
            Fault::DelayAnswer(delay) => {
                sleep(delay).await;
                answer
            }
            Fault::Garbage => answer.garbage(),
            Fault::Truncated => answer.truncated(),
            _ => answer,
        };
        Ok(answer.into_response())
    }
}

impl Default for FakeService {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FakeService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Figures only: texts, receipts and credentials are nobody's business.
        let mut shown = f.debug_struct("FakeService");
        if let Ok(state) = self.shared.state.try_lock() {
            shown.field("queues", &state.service.names().count()).field("calls", &state.counts);
        }
        shown.finish_non_exhaustive()
    }
}

fn header(request: &Request, name: &'static str) -> Option<String> {
    request.headers().get_optional_string(&HeaderName::from_static(name))
}

fn broken(kind: ErrorKind) -> Error {
    let message = match kind {
        ErrorKind::Connection => "connection refused",
        _ => "connection reset by peer",
    };
    Error::with_message(kind, message)
}
