//! The same job twice, as production has it now and then.

use std::fmt::Debug;
use std::panic::Location;

use job_core::Job;

use super::TestJobs;
use super::fault::{Kind, NO_FAULTS};
use super::jobs::FRUITLESS;
use super::report::{Ended, Ran};
use super::text::json;

/// What [`assert_idempotent!`](crate::assert_idempotent) does.
///
/// # Panics
/// If the job is not idempotent, or fails in either run.
#[doc(hidden)]
pub async fn assert_idempotent_at<J, T, O>(
    jobs: &TestJobs,
    job: J,
    mut observe: O,
    caller: &'static Location<'static>,
) where
    J: Job,
    T: PartialEq + Debug,
    O: AsyncFnMut() -> T,
{
    let (name, args) = (J::NAME, json(&job));
    let fail = |what: String| -> ! {
        panic!("`assert_idempotent!` at {caller}: `{name}` {args} {what}");
    };
    if jobs.stage().inline().is_some() {
        fail(format!("cannot be killed: {NO_FAULTS}"));
    }
    // What is due already is not to run in between.
    jobs.drain().await;
    let id = match jobs.enqueue(job).await {
        Ok(id) => id,
        Err(error) => fail(format!("cannot be enqueued: {error}")),
    };
    let own = |runs: &[Ran]| runs.iter().find(|ran| ran.id == Some(id)).cloned();

    jobs.stage().faults().order_own(name, Kind::KillBeforeSettle);
    let report = jobs.drain().await;
    jobs.stage().faults().forget_own();
    match own(report.runs()) {
        Some(Ran { ended: Ended::Killed, .. }) => {}
        Some(ran) => fail(format!("did not come to the end of its first run: {}", ran.ended)),
        None => fail("did not run: does the worker of this `TestJobs` serve its queue?".into()),
    }
    if let Some(error) = jobs.stage().last_failure() {
        fail(format!("has to succeed to be tested, but its first run failed: {error}"));
    }
    let first = observe().await;

    // Time passes to the end of its lease, past whatever else is due until then.
    let mut second = None;
    let mut drains = 0;
    while second.is_none() && drains < FRUITLESS && jobs.advance_to_next().await.is_some() {
        // Killed by order of the test it comes once more.
        second = own(jobs.drain().await.runs()).filter(|ran| ran.ended != Ended::Killed);
        drains += 1;
    }
    let Some(second) = second else { fail("did not come again".to_owned()) };
    if second.ended != Ended::Completed {
        fail(format!(
            "succeeded, but not when it ran again, as it does when its worker goes away before it \
             can say so: {}\nlet the second run find out that the first was done: `cx.id()` is \
             the same in both",
            second.ended
        ));
    }
    let again = observe().await;
    if first != again {
        fail(format!(
            "is not idempotent: it ran again, as it does when its worker goes away before it can \
             say that it is done\n  after the first run:  {first:?}\n  after the second run: \
             {again:?}\nlet the second run find out that the first was done: `cx.id()` is the same \
             in both"
        ));
    }
}
