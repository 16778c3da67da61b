//! `#[handler]`: patterns, what is injected, modules, strict lints.
#![deny(warnings, missing_docs, unreachable_pub, missing_debug_implementations)]

use job_core::prelude::*;

/// Another crate, as it were.
pub mod jobs {
    use job_core::job;

    /// Greets.
    #[job]
    pub struct Greet {
        /// Whom.
        pub name: String,
    }

    /// Greets again.
    #[job]
    pub struct Ping;

    /// Of the same name as another.
    pub mod other {
        /// Greets otherwise.
        #[job_core::job(name = "other")]
        pub struct Greet {}
    }
}

type Pool = Data<String>;

/// Greets.
#[handler]
pub async fn greet(
    jobs::Greet { name }: jobs::Greet,
    #[inject] pool: Pool,
    cx: JobContext,
) -> Result<(), JobError> {
    let _ = (name, pool, cx);
    Ok(())
}

#[handler]
async fn ping(_: jobs::Ping) -> Result<(), std::io::Error> {
    Ok(())
}

#[handler(crate = job_core)]
async fn other_greet(cx: JobContext, mut job: jobs::other::Greet) -> Result<(), JobError> {
    let _ = (cx, &mut job);
    Ok(())
}

fn worker(client: &Client) -> bool {
    let builder = Worker::builder(client).without_linked_jobs();
    builder.register::<greet>().register::<ping>().register::<other_greet>().build().is_ok()
}

fn main() {
    let _ = (worker, greet, ping, other_greet);
}
