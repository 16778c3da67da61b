//! Every kind of error in a handler, and what becomes of the job.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use job_core::__private::Returned;
use job_core::{JobError, Outcome, ResultExt, job};

/// An app's own error, which says what becomes of the job.
#[derive(Debug, thiserror::Error, JobError)]
enum ChargeError {
    #[error("no mark")]
    Unmarked,
    #[error("the bank cannot be reached")]
    #[retry]
    Bank(#[from] std::io::Error),
    #[error("in half a minute")]
    #[retry_after("30s")]
    Fixed,
    #[error("busy")]
    #[retry_after(wait)]
    Busy { wait: Duration, account: u64 },
    #[error("busy, perhaps")]
    #[retry_after(1)]
    Perhaps(u64, Option<Duration>),
    #[error("no account {account}")]
    #[permanent]
    NoAccount { account: u64 },
    #[error("paid already")]
    #[discard]
    Paid,
    #[error("not yet")]
    #[snooze("1m")]
    NotYet,
    #[error("not for a while")]
    #[snooze(0)]
    NotFor(Duration),
    #[error(transparent)]
    #[transparent]
    Mail(#[from] MailError),
}

#[derive(Debug, JobError)]
#[permanent]
struct MailError;

impl fmt::Display for MailError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such address")
    }
}

impl Error for MailError {}

/// Not an error to std, but to jobs.
struct Refused;

impl From<Refused> for JobError {
    fn from(_: Refused) -> Self {
        Self::discard("refused")
    }
}

fn said(error: impl Into<JobError>) -> String {
    match Outcome::from(Err(error.into())) {
        Outcome::Retry { error, after: None } => format!("retry: {error}"),
        Outcome::Retry { error, after: Some(delay) } => format!("retry in {delay:?}: {error}"),
        Outcome::Permanent { error } => format!("permanent: {error}"),
        Outcome::Discard { reason } => format!("discard: {reason}"),
        Outcome::Snooze { delay } => format!("snooze: {delay:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn each_variant_says_what_becomes_of_the_job() {
    use ChargeError::*;
    let seconds = Duration::from_secs;
    for (error, says) in [
        (Unmarked, "retry: no mark"),
        (Bank(std::io::ErrorKind::TimedOut.into()), "retry: the bank cannot be reached"),
        (Fixed, "retry in 30s: in half a minute"),
        (Busy { wait: seconds(7), account: 1 }, "retry in 7s: busy"),
        (Perhaps(1, Some(seconds(8))), "retry in 8s: busy, perhaps"),
        (Perhaps(1, None), "retry: busy, perhaps"),
        (NoAccount { account: 9 }, "permanent: no account 9"),
        (Paid, "discard: paid already"),
        (NotYet, "snooze: 60s"),
        (NotFor(seconds(5)), "snooze: 5s"),
        (Mail(MailError), "permanent: no such address"),
    ] {
        assert_eq!(said(error), says);
    }
}

#[test]
fn the_error_stays_what_the_job_failed_with() {
    let error = JobError::from(ChargeError::Bank(std::io::Error::other("cable")));
    assert_eq!(error.to_string(), "the bank cannot be reached");
    assert!(error.error().is::<ChargeError>());
    assert_eq!(error.error().source().unwrap().to_string(), "cable");
}

#[test]
fn what_a_handler_says_itself_counts_more() {
    let error = || Err::<(), _>(ChargeError::NoAccount { account: 9 });
    assert_eq!(said(error().or_discard().unwrap_err()), "discard: no account 9");
    assert_eq!(said(JobError::retry(ChargeError::Paid)), "retry: paid already");
    let later = Duration::from_secs(1);
    assert_eq!(said(error().or_retry_after(later).unwrap_err()), "retry in 1s: no account 9");
}

#[test]
fn question_mark_takes_what_apps_have() {
    fn classified() -> Result<(), JobError> {
        Err(MailError)?;
        Ok(())
    }
    fn anyhow() -> Result<(), JobError> {
        Err(anyhow::anyhow!("inner")).map_err(|error| error.context("outer"))?;
        Ok(())
    }
    fn eyre() -> Result<(), JobError> {
        Err(eyre::eyre!("eyre"))?;
        Ok(())
    }
    fn string() -> Result<(), JobError> {
        Err("string".to_owned())?;
        Ok(())
    }
    fn text() -> Result<(), JobError> {
        Err("text")?;
        Ok(())
    }
    fn boxed() -> Result<(), JobError> {
        Err(Box::<dyn Error + Send + Sync>::from("boxed"))?;
        Ok(())
    }
    fn refused() -> Result<(), JobError> {
        Err(Refused)?;
        Ok(())
    }
    fn never() -> Result<(), JobError> {
        let done: Result<(), Infallible> = Ok(());
        done?;
        Ok(())
    }
    for (result, says) in [
        (classified(), "permanent: no such address"),
        (anyhow(), "retry: outer"),
        (eyre(), "retry: eyre"),
        (string(), "retry: string"),
        (text(), "retry: text"),
        (boxed(), "retry: boxed"),
        (refused(), "discard: refused"),
    ] {
        assert_eq!(said(result.unwrap_err()), says);
    }
    never().unwrap();
}

/// Each of these compiles with its own error type; here is what the worker gets.
#[tokio::test]
async fn jobs_return_what_apps_have() {
    #[job]
    async fn of_charge(n: u8) -> Result<(), ChargeError> {
        Err(if n == 0 { ChargeError::Paid } else { ChargeError::Unmarked })
    }
    #[job]
    async fn of_anyhow() -> anyhow::Result<()> {
        anyhow::bail!("anyhow")
    }
    #[job]
    async fn of_eyre() -> eyre::Result<()> {
        eyre::bail!("eyre")
    }
    #[job]
    async fn of_string() -> Result<(), String> {
        Err("string".into())
    }
    #[job]
    async fn of_text() -> Result<(), &'static str> {
        Err("text")
    }
    #[job]
    async fn of_never() -> Result<(), Infallible> {
        Ok(())
    }
    #[job]
    async fn of_refused() -> Result<(), Refused> {
        Err(Refused)
    }

    // As the expansion of `#[job]` does.
    fn failed(result: impl Returned) -> String {
        said(result.into_result().unwrap_err())
    }
    assert_eq!(failed(of_charge(0).await), "discard: paid already");
    assert_eq!(failed(of_charge(1).await), "retry: no mark");
    assert_eq!(failed(of_anyhow().await), "retry: anyhow");
    assert_eq!(failed(of_eyre().await), "retry: eyre");
    assert_eq!(failed(of_string().await), "retry: string");
    assert_eq!(failed(of_text().await), "retry: text");
    assert_eq!(failed(of_refused().await), "discard: refused");
    of_never().await.into_result().unwrap();
}
