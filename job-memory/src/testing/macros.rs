//! The assertions as macros: a job is written as it is in the app, as far as it matters.

/// Fails unless a job like that is on a queue, due or not.
///
/// It is written as where it is enqueued, with the fields that matter; texts are plain literals.
/// After it may come `queue = "..."`, `delay = ...` (a `Duration`, give or take a twentieth of it
/// and at most a second, since clocks go on; or a range of them, which is exact) and
/// `count = ...` (so many exactly, instead of at least one).
///
/// ```rust,standalone_crate
/// use job_core::prelude::*;
/// use job_memory::testing::{TestJobs, assert_enqueued};
///
/// #[job(queue = "mail")]
/// async fn send_welcome(user_id: u64, name: String) -> Result<(), JobError> {
///     println!("welcome {name}, you are number {user_id}");
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let jobs = TestJobs::new();
/// let ada = SendWelcome { user_id: 7, name: "Ada".into() };
/// jobs.enqueue(ada).delay(5 * MINUTE).await.unwrap();
///
/// assert_enqueued!(jobs, SendWelcome);
/// assert_enqueued!(jobs, SendWelcome { name: "Ada" });
/// assert_enqueued!(jobs, SendWelcome { user_id: 7 }, queue = "mail", delay = 5 * MINUTE);
/// assert_enqueued!(jobs, SendWelcome, count = 1, delay = MINUTE..10 * MINUTE);
/// # }
/// ```
///
/// A failure lists what is there instead, the nearest first:
///
/// ```text
/// no `send_welcome` with user_id: 8, queue = "mail" is enqueued
/// there is one:
///   - on `mail`, due in 5m: {"user_id":7,"name":"Ada"}
///       user_id is 7, not 8
/// ```
#[macro_export]
macro_rules! assert_enqueued {
    ($jobs:expr, $($job:tt)+) => {
        $crate::__expect!([assert_enqueued, OnQueue, $jobs] $($job)+)
    };
}

/// Fails if a job like that is on a queue, due or not. It is written as for
/// [`assert_enqueued!`](crate::assert_enqueued).
///
/// It also fails where it could never find one: if a job of that kind is there whose args cannot be
/// read, or if a field is compared with JSON of another kind, such as a text with `7`.
///
/// ```rust,standalone_crate
/// use job_core::prelude::*;
/// use job_memory::testing::{TestJobs, refute_enqueued};
///
/// #[job]
/// async fn send_welcome(user_id: u64) -> Result<(), JobError> {
///     println!("welcome, number {user_id}");
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let jobs = TestJobs::new();
/// jobs.enqueue(SendWelcome { user_id: 7 }).await.unwrap();
/// refute_enqueued!(jobs, SendWelcome { user_id: 8 });
/// jobs.drain().await;
/// refute_enqueued!(jobs, SendWelcome);
/// # }
/// ```
#[macro_export]
macro_rules! refute_enqueued {
    ($jobs:expr, $($job:tt)+) => {
        $crate::__expect!([refute_enqueued, OnQueue, $jobs] $($job)+)
    };
}

/// Fails unless a job like that is in a poison queue.
///
/// After the job may come `reason = PoisonReason::..`, `error = "..."` (a part of its error),
/// `attempts = ...`, `queue = "..."` (the one it came from) and `count = ...`.
///
/// ```rust,standalone_crate
/// use job_core::prelude::*;
/// use job_memory::testing::{TestJobs, assert_poisoned};
///
/// #[job(max_attempts = 3)]
/// async fn charge(order: u64) -> Result<(), JobError> {
///     if order == 7 { Err("the card was declined")? } else { Ok(()) }
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let jobs = TestJobs::new();
/// jobs.enqueue(Charge { order: 7 }).await.unwrap();
/// jobs.drain_all().await;
/// let reason = PoisonReason::AttemptsExhausted;
/// assert_poisoned!(jobs, Charge { order: 7 }, reason = reason, error = "declined", attempts = 3);
/// # }
/// ```
#[macro_export]
macro_rules! assert_poisoned {
    ($jobs:expr, $($job:tt)+) => {
        $crate::__expect!([assert_poisoned, InPoison, $jobs] $($job)+)
    };
}

/// Runs a job twice, as production does now and then, and fails unless `observe` sees the same
/// after both runs.
///
/// The job is enqueued and runs to its end; its worker dies before it can say so, the lease ends,
/// and another worker runs it again, with the same id. After each run what is due besides runs as
/// well. `observe` is a closure without parameters, `async || ..` if it has to wait; what it gives
/// needs `PartialEq` and `Debug`. The macro waits by itself, in the task of the test: what it waits
/// for is not `Send`, so it has no place in `tokio::spawn`. Jobs that run inline cannot be tested.
///
/// ```rust,standalone_crate
/// use std::sync::Mutex;
/// use std::collections::BTreeSet;
/// use job_core::prelude::*;
/// use job_memory::testing::{TestJobs, assert_idempotent};
///
/// type Charged = Mutex<BTreeSet<JobId>>;
///
/// #[job]
/// async fn charge(order: u64, charged: Data<Charged>, cx: JobContext) -> Result<(), JobError> {
///     if charged.lock().unwrap().insert(cx.id()) {
///         println!("charging order {order}");
///     }
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let charged = std::sync::Arc::new(Charged::default());
/// let jobs = TestJobs::builder().data_arc(charged.clone()).build();
/// assert_idempotent!(jobs, Charge { order: 7 }, || charged.lock().unwrap().len());
/// # }
/// ```
#[macro_export]
macro_rules! assert_idempotent {
    ($jobs:expr, $job:expr, async $($observe:tt)+) => {
        $crate::testing::assert_idempotent_at(
            &$jobs,
            $job,
            async $($observe)+,
            ::core::panic::Location::caller(),
        )
        .await
    };
    ($jobs:expr, $job:expr, $observe:expr $(,)?) => {{
        let mut observe = $observe;
        $crate::testing::assert_idempotent_at(
            &$jobs,
            $job,
            async || observe(),
            ::core::panic::Location::caller(),
        )
        .await
    }};
}

/// Fails unless this release of a job reads args that an older one has stored, and gives the job.
///
/// The file is one that [`assert_golden_args!`](crate::assert_golden_args) has written, relative to
/// the crate's `Cargo.toml`. Its args are read as those of a message are, through `upgrade` where
/// there is one. It also fails if the job has lost the file's name (`alias` keeps it), and if
/// nothing reads some field any more, as after renaming one that is optional. Fields that are not
/// needed any more are named by their place, the items of a list by number:
/// `unread = ["nickname", "lines.0.note"]`.
///
/// ```rust,standalone_crate
/// use job_core::prelude::*;
/// use job_memory::testing::assert_args_compatible;
///
/// #[job]
/// async fn send_welcome(
///     user_id: u64,
///     #[serde(alias = "name")] full_name: String,
/// ) -> Result<(), JobError> {
///     println!("welcome {full_name}, you are number {user_id}");
///     Ok(())
/// }
///
/// let job = assert_args_compatible!("tests/golden/send_welcome.v1.json", SendWelcome);
/// assert_eq!(job.full_name, "Ada");
/// ```
#[macro_export]
macro_rules! assert_args_compatible {
    ($file:expr, $job:ty $(,)?) => {
        $crate::assert_args_compatible!($file, $job, unread = [])
    };
    ($file:expr, $job:ty, unread = [$($unread:expr),* $(,)?] $(,)?) => {
        $crate::testing::assert_args_compatible_at::<$job>(
            ::core::env!("CARGO_MANIFEST_DIR"),
            $file,
            &[$($unread),*],
        )
    };
}

/// Fails unless a job is enqueued as the file has it; with `UPDATE_GOLDEN=1` in the environment, a
/// file that is missing is written.
///
/// The file then goes into the repository, one for each version of the args, and
/// [`assert_args_compatible!`](crate::assert_args_compatible) holds later releases to it. One that
/// is there is never written over: a release may have jobs like it on its queues.
///
/// ```rust,standalone_crate
/// use job_core::prelude::*;
/// use job_memory::testing::assert_golden_args;
///
/// #[job]
/// async fn send_welcome(user_id: u64, name: String) -> Result<(), JobError> {
///     println!("welcome {name}, you are number {user_id}");
///     Ok(())
/// }
///
/// let job = SendWelcome { user_id: 7, name: "Ada".into() };
/// assert_golden_args!("tests/golden/send_welcome.v1.json", job);
/// ```
#[macro_export]
macro_rules! assert_golden_args {
    ($file:expr, $job:expr $(,)?) => {
        $crate::testing::assert_golden_args_at(::core::env!("CARGO_MANIFEST_DIR"), $file, &$job)
    };
}

/// A job as it is written in an assertion, and what comes after it.
#[doc(hidden)]
#[macro_export]
macro_rules! __expect {
    ([$($how:tt)*] $job:ty { $($fields:tt)* } $($options:tt)*) => {
        $crate::__expect!(@options [$($how)*] $job, { $($fields)* } $($options)*)
    };
    ([$($how:tt)*] $job:ty $(, $($options:tt)*)?) => {
        $crate::__expect!(@options [$($how)*] $job, {} $(, $($options)*)?)
    };
    (@options [$method:ident, $place:ident, $jobs:expr] $job:ty, { $($fields:tt)* }
        $(, $option:ident = $value:expr)* $(,)?) => {{
        let expect = $crate::testing::Expect::<$job, $crate::testing::$place>::new();
        let expect = $crate::__expect!(@fields expect, $job, $($fields)*);
        $(let expect = expect.$option($value);)*
        expect.$method(&$jobs)
    }};
    (@fields $expect:ident, $job:ty, $(..)?) => { $expect };
    (@fields $expect:ident, $job:ty, $field:ident : $value:expr $(, $($rest:tt)*)?) => {{
        let expect = $expect.field(
            ::core::stringify!($field),
            |job: &$job| $crate::testing::value_of(&job.$field),
            &$value,
        );
        $crate::__expect!(@fields expect, $job, $($($rest)*)?)
    }};
    (@fields $expect:ident, $job:ty, $field:ident $(, $($rest:tt)*)?) => {
        $crate::__expect!(@fields $expect, $job, $field: $field $(, $($rest)*)?)
    };
}
