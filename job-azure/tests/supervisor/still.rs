//! Machines that stand still for seconds: on them leases end and grace times pass while nobody could
//! do anything, so nothing is judged by that.

#![allow(clippy::print_stderr, reason = "it shows what it does")]

use std::panic::{UnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

const BEAT: Duration = Duration::from_millis(50);

/// What a machine that is busy makes a thread wait that has nothing to do.
const BUSY: Duration = Duration::from_millis(250);

const RUNS: u32 = 3;

/// How often it was seen to stand still.
static STILL: AtomicU64 = AtomicU64::new(0);

/// Watches from here on.
pub fn watch() {
    spawn(|| {
        loop {
            let began = Instant::now();
            sleep(BEAT);
            if began.elapsed() > BEAT + BUSY {
                STILL.fetch_add(1, SeqCst);
            }
        }
    });
}

/// Runs it again if it failed while the machine stood still.
pub fn judge(name: &str, case: impl Fn() + UnwindSafe + Copy) {
    for run in 1.. {
        let before = STILL.load(SeqCst);
        let Err(failed) = catch_unwind(case) else { return };
        if STILL.load(SeqCst) == before || run == RUNS {
            resume_unwind(failed);
        }
        eprintln!("{name} failed while the machine stood still, and is run again");
    }
}
