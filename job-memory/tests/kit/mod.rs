//! What the tests of the test kit share.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part of it")]

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use job_core::WorkerBuilder;
use job_memory::testing::TestJobs;

/// What was done, in order.
pub type Log = Mutex<Vec<String>>;

pub fn set_up() -> (TestJobs, Arc<Log>) {
    set_up_with(|worker| worker)
}

pub fn set_up_with(
    change: impl FnOnce(WorkerBuilder) -> WorkerBuilder + Send + 'static,
) -> (TestJobs, Arc<Log>) {
    let log = Arc::new(Log::default());
    let jobs = TestJobs::builder().data_arc(Arc::clone(&log)).worker(change).build();
    (jobs, log)
}

/// What was done since the last time.
pub fn lines(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

/// What an assertion says that fails.
#[track_caller]
pub fn said<T>(assertion: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(assertion)) {
        Ok(_) => panic!("it should have failed"),
        Err(payload) => text(payload),
    }
}

/// The same of what is awaited.
pub async fn said_by<T>(assertion: impl Future<Output = T>) -> String {
    let mut assertion = pin!(assertion);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| assertion.as_mut().poll(cx))) {
        Ok(Poll::Ready(_)) => panic!("it should have failed"),
        Ok(Poll::Pending) => Poll::Pending,
        Err(payload) => Poll::Ready(text(payload)),
    })
    .await
}

fn text(payload: Box<dyn Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&str>().expect("a text")).to_owned(),
    }
}
