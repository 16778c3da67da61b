//! One run of one handler, under conditions that the test sets.

use std::fmt;
use std::future::IntoFuture;
use std::panic::Location;
use std::pin::Pin;
use std::time::Duration;

use job_core::duration::to_text;
use job_core::{BoxError, Enqueue, Job, Outcome, PerformError};
use tokio_util::sync::CancellationToken;

use super::TestJobs;
use super::text::chain;

impl TestJobs {
    /// Runs one job without a queue, once the returned value is awaited: encoded, decoded and
    /// through all layers as in production, so what serde does to its args is found out. Nothing
    /// is tried again; what would become of the job is the result.
    ///
    /// ```rust,standalone_crate
    /// use job_core::prelude::*;
    /// use job_memory::testing::TestJobs;
    ///
    /// #[job(max_attempts = 3)]
    /// async fn charge(order: u64, cx: JobContext) -> Result<(), JobError> {
    ///     if cx.is_last_attempt() {
    ///         println!("the last chance for order {order}");
    ///     }
    ///     Err(JobError::retry_after("the bank is busy", 30 * SECOND))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let jobs = TestJobs::new();
    /// let retry = jobs.perform(Charge { order: 7 }).attempt(2).await.expect_retry();
    /// assert_eq!(retry.error.to_string(), "the bank is busy");
    /// assert_eq!(retry.after, Some(30 * SECOND));
    /// let error = jobs.perform(Charge { order: 7 }).attempt(3).await.expect_exhausted();
    /// assert_eq!(error.to_string(), "the bank is busy");
    /// # }
    /// ```
    #[track_caller]
    pub fn perform<J: Job>(&self, job: J) -> Performing<'_> {
        self.check_runnable(J::NAME);
        Performing {
            jobs: self,
            job: J::NAME,
            enqueue: self.enqueue(job),
            attempt: None,
            max_attempts: None,
            timeout: None,
            cancellation: None,
            caller: Location::caller(),
        }
    }
}

/// One run of a job without a queue: made by [`TestJobs::perform`], begun when it is awaited.
///
/// # Panics
/// If the job cannot start: its args cannot be encoded, or do not come back as they went in, or
/// the worker does not know it.
#[must_use = "a job is performed only when this is awaited"]
#[derive(Debug)]
pub struct Performing<'a> {
    jobs: &'a TestJobs,
    job: &'static str,
    enqueue: Enqueue,
    attempt: Option<u32>,
    max_attempts: Option<u32>,
    timeout: Option<Duration>,
    cancellation: Option<CancellationToken>,
    caller: &'static Location<'static>,
}

impl Performing<'_> {
    /// Which attempt it is, counted from 1, which is the default.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// How many attempts there are at most, whatever the job says.
    pub fn max_attempts(mut self, max_attempts: u32) -> Self {
        self.max_attempts = Some(max_attempts);
        self
    }

    /// How long it may take, whatever the job says: its deadline is that much after its start.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Cancels it before it starts.
    pub fn cancelled(self) -> Self {
        let token = CancellationToken::new();
        token.cancel();
        self.cancel_on(token)
    }

    /// Cancels it when `token` is cancelled, as the end of a shutdown does: the handler can see it,
    /// and has half a second to come to an end. If it does not, the job is given back.
    pub fn cancel_on(mut self, token: CancellationToken) -> Self {
        self.cancellation = Some(token);
        self
    }

    /// Attaches what the handler finds with [`JobContext::meta`](job_core::JobContext::meta).
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.enqueue = self.enqueue.meta(key, value);
        self
    }

    /// Lets it come from that queue.
    pub fn queue(mut self, name: impl AsRef<str>) -> Self {
        self.enqueue = self.enqueue.queue(name);
        self
    }

    async fn run(self) -> Performed {
        let Self { jobs, job, enqueue, attempt, max_attempts, timeout, cancellation, caller } =
            self;
        let id = enqueue.id();
        let mut perform = jobs.performer().perform(enqueue);
        if let Some(attempt) = attempt {
            perform = perform.attempt(attempt);
        }
        if let Some(max_attempts) = max_attempts {
            perform = perform.max_attempts(max_attempts);
        }
        if let Some(timeout) = timeout {
            perform = perform.timeout(timeout);
        }
        if let Some(token) = cancellation {
            perform = perform.cancel_on(token);
        }
        // Of a job that does not even start, no attempt is the last.
        let tries = (attempt.unwrap_or(1), max_attempts.unwrap_or(u32::MAX));
        jobs.stage().tries().insert(id, tries);
        let performed = perform.await;
        let (attempt, max_attempts) = jobs.stage().tries().remove(&id).unwrap_or(tries);
        match performed {
            Ok(outcome) => Performed { job, outcome, attempt, max_attempts },
            Err(error) => panic!("`perform` at {caller}: {}{}", chain(&error), advice(&error)),
        }
    }
}

/// What to do about it, where the error alone does not say.
fn advice(error: &PerformError) -> &'static str {
    match error {
        PerformError::Unreadable { .. } => {
            ". What serde writes of its type it does not read again: look at the `#[serde(..)]` \
             attributes of that field. In production the job would be put back for a day, and then \
             be poison"
        }
        _ => "",
    }
}

impl<'a> IntoFuture for Performing<'a> {
    type Output = Performed;
    type IntoFuture = Pin<Box<dyn Future<Output = Performed> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// What a run came to. The `expect_` methods fail the test with what it was instead.
#[derive(Debug)]
#[must_use = "say what is expected: `.expect_done()`, for one"]
pub struct Performed {
    job: &'static str,
    outcome: Outcome,
    attempt: u32,
    max_attempts: u32,
}

/// A run that failed and would be tried again.
#[derive(Debug)]
#[non_exhaustive]
pub struct Retry {
    /// Why.
    pub error: BoxError,
    /// When, if the handler said so; else its backoff says.
    pub after: Option<Duration>,
}

impl Performed {
    /// What it came to, whatever it is.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The job is done.
    #[track_caller]
    pub fn expect_done(self) {
        match self.outcome {
            Outcome::Done => {}
            _ => self.fail("be done"),
        }
    }

    /// It would be tried again: it failed, and not on its last attempt.
    #[track_caller]
    pub fn expect_retry(self) -> Retry {
        match self.outcome {
            Outcome::Retry { error, after } if self.attempt < self.max_attempts => {
                Retry { error, after }
            }
            _ => self.fail("be tried again"),
        }
    }

    /// It failed on its last attempt and would go to the poison queue.
    #[track_caller]
    pub fn expect_exhausted(self) -> BoxError {
        match self.outcome {
            Outcome::Retry { error, .. } if self.attempt >= self.max_attempts => error,
            _ => self.fail("use up its attempts"),
        }
    }

    /// It would go to the poison queue at once.
    #[track_caller]
    pub fn expect_permanent(self) -> BoxError {
        match self.outcome {
            Outcome::Permanent { error } => error,
            _ => self.fail("fail for good"),
        }
    }

    /// It would be dropped.
    #[track_caller]
    pub fn expect_discard(self) -> BoxError {
        match self.outcome {
            Outcome::Discard { reason } => reason,
            _ => self.fail("be discarded"),
        }
    }

    /// It would come again after that time, without using up an attempt.
    #[track_caller]
    pub fn expect_snooze(self) -> Duration {
        match self.outcome {
            Outcome::Snooze { delay } => delay,
            _ => self.fail("snooze"),
        }
    }

    /// It was cancelled and would be given back, without using up an attempt.
    #[track_caller]
    pub fn expect_given_back(self) {
        match self.outcome {
            Outcome::GivenBack => {}
            _ => self.fail("be given back"),
        }
    }

    #[track_caller]
    fn fail(&self, expected: &str) -> ! {
        let Self { job, outcome, attempt, max_attempts } = self;
        match outcome {
            Outcome::Retry { error, .. } if attempt >= max_attempts => panic!(
                "`{job}` was expected to {expected}, but it failed on its last attempt, {attempt} \
                 of {max_attempts}: {}",
                chain(&**error)
            ),
            _ => panic!("`{job}` was expected to {expected}, but {}", Was(outcome)),
        }
    }
}

/// An outcome in words.
struct Was<'a>(&'a Outcome);

impl fmt::Display for Was<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Outcome::Done => f.write_str("it is done"),
            Outcome::Retry { error, after: None } => {
                write!(f, "it failed, to be tried again by its backoff: {}", chain(&**error))
            }
            Outcome::Retry { error, after: Some(after) } => {
                let after = to_text(*after);
                write!(f, "it failed, to be tried again after {after}: {}", chain(&**error))
            }
            Outcome::Permanent { error } => write!(f, "it failed for good: {}", chain(&**error)),
            Outcome::Discard { reason } => write!(f, "it was discarded: {}", chain(&**reason)),
            Outcome::Snooze { delay } => write!(f, "it snoozed for {}", to_text(*delay)),
            Outcome::GivenBack => f.write_str("it was given back, unfinished"),
            other => write!(f, "it ended otherwise: {other:?}"),
        }
    }
}
