//! What the architecture promises, as a table:
//!
//! ```text
//! cargo bench -p web-queue-worker
//! ```
//!
//! It starts the web, its workers and Azurite as processes, and takes about two minutes. CI runs the
//! same rounds, smaller: `tests/promises.rs`.

#![allow(clippy::print_stdout, reason = "it prints a table")]

mod load;
mod rounds;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use self::rounds::{Least, Size, run};

#[tokio::main]
async fn main() {
    let size = Size {
        least: Some(Least { gain: 0.6, p99: Duration::from_millis(250) }),
        backlog: 160,
        scan: Duration::from_millis(500),
        processes: &[1, 2, 4],
        idle: 500,
        spike: 2_000,
        outage: Duration::from_secs(20),
        in_outage: 100,
    };
    println!("{}", run(&size).await);
}
