//! What a worker did, counted.

use std::fmt;
use std::ops::Add;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

macro_rules! counters {
    ($($(#[$doc:meta])+ $name:ident,)+) => {
        /// Counts while the worker runs.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)+
            running: Counter,
        }

        impl Counters {
            pub(crate) fn report(&self) -> Report {
                Report { $($name: self.$name.value(),)+ }
            }
        }

        /// What a worker did from its start to its end.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Report {
            $($name: u64,)+
        }

        impl Report {
            $($(#[$doc])+ pub fn $name(&self) -> u64 { self.$name })+
        }

        impl Add for Report {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self { $($name: self.$name.saturating_add(other.$name),)+ }
            }
        }

        /// One line of all that is not zero.
        impl fmt::Display for Report {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut first = true;
                $(
                    if self.$name != 0 {
                        let name = stringify!($name).replace('_', " ");
                        write!(f, "{}{} {name}", if first { "" } else { ", " }, self.$name)?;
                        first = false;
                    }
                )+
                if first { f.write_str("nothing to do") } else { Ok(()) }
            }
        }
    };
}

counters! {
    /// Messages taken from queues.
    received,
    /// Handlers started.
    started,
    /// Jobs that ended well.
    completed,
    /// Attempts that failed and are tried again.
    retried,
    /// Times a job put itself off.
    snoozed,
    /// Jobs moved to a poison queue.
    poisoned,
    /// Jobs that their handler dropped.
    discarded,
    /// Jobs that were dropped because they came too late.
    expired,
    /// Jobs put back because this worker did not know what to do with them.
    put_back,
    /// Jobs that a shutdown gave back.
    given_back,
    /// Jobs suspected of taking their process with them that were handed over to the process for
    /// such jobs.
    handed_over,
    /// Jobs whose long delay was taken one hop further.
    hopped,
    /// Jobs whose lease was lost while they were held here.
    lease_lost,
    /// Messages that could not be settled; they come again when their lease ends.
    settle_failed,
    /// Handlers that did not stop when they were cancelled at the end of a shutdown.
    abandoned,
    /// Times that handlers blocked all threads of the runtime for seconds.
    stalled,
}

impl Counters {
    /// A handler runs until the returned guard is dropped.
    pub(crate) fn run(&self) -> Running<'_> {
        self.started.increment();
        self.running.increment();
        Running(self)
    }

    /// How many handlers run now.
    pub(crate) fn running(&self) -> u64 {
        // One that begins behind this look at the places, and ends before it, makes it less than
        // none.
        (self.running.value() as i64).max(0) as u64
    }
}

/// A handler that runs.
#[derive(Debug)]
pub(crate) struct Running<'a>(&'a Counters);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.decrement();
    }
}

/// In how many places a counter counts. Threads that change the same one wait for one another, and
/// every job changes several.
const LANES: usize = 8;

/// Counts in one place for each thread, as long as there are no more than [`LANES`], and adds up
/// when somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Counter([Lane; LANES]);

/// A count with a cache line, and the one that is fetched with it, to itself.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane(AtomicU64);

thread_local! {
    /// Where this thread counts.
    static LANE: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Relaxed) % LANES
    };
}

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        let lane = LANE.with(|lane| *lane);
        self.0[lane].0.fetch_add(n, Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    /// What another thread has counted may end here: a lane alone says nothing.
    fn decrement(&self) {
        self.add(u64::MAX);
    }

    fn value(&self) -> u64 {
        self.0.iter().fold(0, |sum, lane| sum.wrapping_add(lane.0.load(Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_is_added_up() {
        let counters = Counters::default();
        let threads = 2 * LANES;
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    // It ends on another thread than it began on.
                    let running = counters.run();
                    scope.spawn(move || drop(running));
                    std::mem::forget(counters.run());
                });
            }
        });
        assert_eq!(counters.report().started(), 2 * threads as u64);
        assert_eq!(counters.running(), threads as u64);
    }

    #[test]
    fn a_report_in_a_line() {
        let counters = Counters::default();
        assert_eq!(counters.report().to_string(), "nothing to do");
        counters.completed.add(2);
        counters.given_back.increment();
        assert_eq!(counters.report().to_string(), "2 completed, 1 given back");
    }
}
