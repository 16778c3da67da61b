//! Faults that a test has ordered, until they happen.

use std::fmt;
use std::time::Duration;

use job_core::Job;
use job_core::backend::ErrorKind;

use super::TestJobs;

/// What is said of jobs that are on no queue when they run.
pub(super) const NO_FAULTS: &str = "faults need `drain`; leave `.inline()` out";

/// A kind of request to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Making a queue.
    CreateQueue,
    /// Sending: an enqueue, or the move of a job to the poison queue.
    Send,
    /// Receiving by the worker.
    Receive,
    /// Renewing the lease of a job that runs for long.
    Renew,
    /// Giving a message back as it is.
    Release,
    /// Rewriting a message: a retry, a snooze, the mark of a start or of poison.
    Replace,
    /// Deleting what is finished.
    Delete,
    /// Looking at a queue without taking anything.
    Peek,
    /// Asking how many messages there are.
    Stats,
}

/// All that was ordered and has not happened yet.
#[derive(Debug, Default)]
pub(super) struct Faults {
    requests: Vec<RequestFault>,
    jobs: Vec<JobFault>,
    pub(super) slow: Duration,
    pub(super) turned: bool,
}

#[derive(Debug)]
struct RequestFault {
    operation: Operation,
    left: usize,
    how: How,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It never arrives.
    Fail(ErrorKind),
    /// It is carried out, and nobody hears of it.
    LoseAnswer,
}

#[derive(Debug)]
struct JobFault {
    job: &'static str,
    kind: Kind,
    /// Ordered by `assert_idempotent!`.
    own: bool,
}

/// What becomes of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    KillMidRun,
    KillBeforeSettle,
    LoseLease,
    FailSettle,
    Duplicate,
}

impl Kind {
    /// What orders it.
    fn method(self) -> &'static str {
        match self {
            Self::KillMidRun => "kill_mid_run",
            Self::KillBeforeSettle => "kill_before_settle",
            Self::LoseLease => "lose_lease",
            Self::FailSettle => "fail_next_settle",
            Self::Duplicate => "duplicate_next",
        }
    }
}

impl Faults {
    /// What happens to the next request of that kind, if anything.
    pub(super) fn request(&mut self, operation: Operation) -> Option<How> {
        let index = self.requests.iter().position(|fault| fault.operation == operation)?;
        let fault = &mut self.requests[index];
        fault.left -= 1;
        let how = fault.how;
        if fault.left == 0 {
            self.requests.remove(index);
        }
        Some(how)
    }

    /// The first of these that is ordered for that job.
    pub(super) fn job(&mut self, job: &str, kinds: &[Kind]) -> Option<Kind> {
        let wanted = |fault: &JobFault| fault.job == job && kinds.contains(&fault.kind);
        let index = self.jobs.iter().position(wanted)?;
        Some(self.jobs.remove(index).kind)
    }

    /// An order of an assertion's own. It comes before those of the test.
    pub(super) fn order_own(&mut self, job: &'static str, kind: Kind) {
        self.jobs.insert(0, JobFault { job, kind, own: true });
    }

    /// Takes the orders back that are an assertion's own.
    pub(super) fn forget_own(&mut self) {
        self.jobs.retain(|fault| !fault.own);
    }

    pub(super) fn is_done(&self) -> bool {
        self.requests.is_empty() && self.jobs.is_empty()
    }
}

/// What never happened.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for JobFault { job, kind, .. } in &self.jobs {
            let never = match kind {
                Kind::Duplicate => "no such job was enqueued after it",
                _ => "no drain has run such a job after it",
            };
            write!(f, "\n  {} of `{job}`: {never}", kind.method())?;
        }
        for RequestFault { operation, left, how } in &self.requests {
            match how {
                How::Fail(kind) => write!(f, "\n  {operation:?} to fail with {kind:?}")?,
                How::LoseAnswer => write!(f, "\n  the answer to {operation:?} to be lost")?,
            }
            write!(f, ": {left} times too few")?;
        }
        Ok(())
    }
}

/// # Faults
///
/// Each happens once, to the next job or request that it fits. One that never happens fails the
/// test at its end: it would have tested nothing. Those of jobs happen in a drain, and not to what
/// is performed; with [`inline`](super::TestJobsBuilder::inline) to order one is a panic.
impl TestJobs {
    /// Kills the worker in the middle of the next run of that job, as `kill -9` would: at the first
    /// place where the handler waits for something, or after its last line if it never does.
    ///
    /// The job comes again when its lease ends, after 60 s unless its queue says otherwise:
    /// [`advance_to_next`](Self::advance_to_next) goes there. A new worker takes over at once.
    #[track_caller]
    pub fn kill_mid_run<J: Job>(&self) {
        self.order_job(J::NAME, Kind::KillMidRun);
    }

    /// Kills the worker after the next run of that job, before it can say that the job is done: all
    /// that the handler does is done, and is done again when the lease ends.
    #[track_caller]
    pub fn kill_before_settle<J: Job>(&self) {
        self.order_job(J::NAME, Kind::KillBeforeSettle);
    }

    /// Takes the lease of the next run of that job away while it runs: another worker has the job
    /// at once, and this one cannot settle it. A handler that runs for longer than a third of the
    /// lease is cancelled.
    #[track_caller]
    pub fn lose_lease<J: Job>(&self) {
        self.order_job(J::NAME, Kind::LoseLease);
    }

    /// Lets the settlement of the next run of that job fail for good, whatever it is: done, retry
    /// or poison. The job comes to another worker when its lease ends.
    #[track_caller]
    pub fn fail_next_settle<J: Job>(&self) {
        self.order_job(J::NAME, Kind::FailSettle);
    }

    /// Puts the next job of that kind on its queue twice, as an enqueue does that is repeated after
    /// its answer was lost. Both have the same id.
    #[track_caller]
    pub fn duplicate_next<J: Job>(&self) {
        self.order_job(J::NAME, Kind::Duplicate);
    }

    /// From now on, of all jobs that are due, the last is run first: queues promise no order.
    ///
    /// # Panics
    /// On another backend than the kit's own, whose order nobody can turn round.
    pub fn reorder(&self) {
        let own = self.stage().memory.is_some();
        assert!(own, "`reorder` needs the kit's own queues: leave `.backend(..)` out");
        self.stage().faults().turned = true;
    }

    /// Lets the next request of that kind fail without arriving. The client and the worker try
    /// again what can be tried again, as in production.
    pub fn fail_next(&self, operation: Operation, kind: ErrorKind) {
        self.fail_times(operation, 1, kind);
    }

    /// Lets the next `times` requests of that kind fail without arriving.
    pub fn fail_times(&self, operation: Operation, times: usize, kind: ErrorKind) {
        self.order(operation, times, How::Fail(kind));
    }

    /// Lets the next request of that kind be carried out, and its answer be lost: for whoever asked
    /// it timed out.
    pub fn lose_answer(&self, operation: Operation) {
        self.order(operation, 1, How::LoseAnswer);
    }

    /// From now on every request takes that long. Zero ends it.
    pub fn slow_backend(&self, each: Duration) {
        self.stage().faults().slow = each;
    }

    #[track_caller]
    fn order_job(&self, job: &'static str, kind: Kind) {
        self.check_faults();
        self.stage().faults().jobs.push(JobFault { job, kind, own: false });
    }

    /// Fails if jobs run where they meet no faults.
    #[track_caller]
    pub(super) fn check_faults(&self) {
        assert!(self.stage().inline().is_none(), "{NO_FAULTS}");
    }

    fn order(&self, operation: Operation, left: usize, how: How) {
        if left > 0 {
            self.stage().faults().requests.push(RequestFault { operation, left, how });
        }
    }
}
