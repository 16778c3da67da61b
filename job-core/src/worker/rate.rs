//! The rate limit of a queue: so many starts in any window of a certain length.
//!
//! A start is reserved before its message is received and counts from the moment it happens, not
//! from the moment it was reserved: in between there may be a while, and the limit is to hold for
//! what others see.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::served::lock;

/// The rate limit of a queue, shared by its slots.
#[derive(Debug)]
pub(crate) struct Rate {
    window: Mutex<Window>,
    /// A reserved start came to something or nothing.
    changed: Notify,
}

impl Rate {
    pub(crate) fn new(limit: u32, per: Duration) -> Self {
        let window = Window { limit: limit as usize, per, reserved: 0, starts: VecDeque::new() };
        Self { window: Mutex::new(window), changed: Notify::new() }
    }

    /// Waits until something may start, and gives up to `most` tickets.
    pub(crate) async fn tickets(self: &Arc<Self>, most: usize) -> Vec<Ticket> {
        loop {
            let changed = self.changed.notified();
            let full = match self.window().reserve(most, Instant::now()) {
                Ok(granted) => {
                    let ticket = || Ticket { rate: Arc::clone(self), used: false };
                    return std::iter::repeat_with(ticket).take(granted).collect();
                }
                Err(full) => full,
            };
            match full {
                Full::Until(at) => tokio::select! {
                    () = sleep_until(at) => {}
                    () = changed => {}
                },
                Full::Reserved => changed.await,
            }
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }
}

/// One start. Dropped without being used it is given back.
#[derive(Debug)]
pub(crate) struct Ticket {
    rate: Arc<Rate>,
    used: bool,
}

impl Ticket {
    /// The job starts now.
    pub(crate) fn start(mut self, now: Instant) {
        self.used = true;
        self.rate.window().start(now);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.used {
            self.rate.window().give_back();
        }
        self.rate.changed.notify_one();
    }
}

/// What has started lately, and what may start yet.
#[derive(Debug)]
struct Window {
    limit: usize,
    per: Duration,
    reserved: usize,
    /// The starts of the current window, oldest first.
    starts: VecDeque<Instant>,
}

/// Nothing more may start for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    /// Until then.
    Until(Instant),
    /// Until what is reserved has started.
    Reserved,
}

impl Window {
    /// Reserves up to `want` starts, one at least.
    fn reserve(&mut self, want: usize, now: Instant) -> Result<usize, Full> {
        while self.starts.front().is_some_and(|start| now.duration_since(*start) >= self.per) {
            self.starts.pop_front();
        }
        let granted = want.min(self.limit - self.starts.len() - self.reserved);
        if granted == 0 {
            let until = self.starts.front().map(|start| Full::Until(*start + self.per));
            return Err(until.unwrap_or(Full::Reserved));
        }
        self.reserved += granted;
        Ok(granted)
    }

    fn start(&mut self, now: Instant) {
        self.reserved -= 1;
        self.starts.push_back(now);
    }

    fn give_back(&mut self) {
        self.reserved -= 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn window(limit: usize) -> Window {
        Window { limit, per: SECOND, reserved: 0, starts: VecDeque::new() }
    }

    #[test]
    fn a_window_holds_so_many_and_no_more() {
        let start = Instant::now();
        let mut window = window(3);
        assert_eq!(window.reserve(2, start), Ok(2));
        window.start(start);
        window.start(start + SECOND / 4);
        assert_eq!(window.reserve(2, start + SECOND / 2), Ok(1));
        window.start(start + SECOND / 2);
        assert_eq!(window.reserve(1, start + SECOND / 2), Err(Full::Until(start + SECOND)));
        assert_eq!(window.reserve(5, start + SECOND), Ok(1));
    }

    #[test]
    fn what_is_reserved_counts_from_its_start() {
        let start = Instant::now();
        let mut window = window(1);
        assert_eq!(window.reserve(1, start), Ok(1));
        assert_eq!(window.reserve(1, start + 5 * SECOND), Err(Full::Reserved));
        window.start(start + 5 * SECOND);
        assert_eq!(window.reserve(1, start + 5 * SECOND), Err(Full::Until(start + 6 * SECOND)));
    }

    #[test]
    fn what_is_not_used_is_given_back() {
        let start = Instant::now();
        let mut window = window(3);
        assert_eq!(window.reserve(3, start), Ok(3));
        window.give_back();
        window.give_back();
        assert_eq!(window.reserve(3, start), Ok(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_given_back_is_another_s() {
        let rate = Arc::new(Rate::new(1, SECOND));
        let first = rate.tickets(5).await;
        assert_eq!(first.len(), 1);
        let other = tokio::spawn({
            let rate = Arc::clone(&rate);
            async move { rate.tickets(1).await.len() }
        });
        tokio::task::yield_now().await;
        assert!(!other.is_finished());
        drop(first);
        assert_eq!(other.await.unwrap(), 1);
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more(
            limit in 1_usize..20,
            steps in prop::collection::vec((0_u64..400, 1_usize..30, 0_usize..30, 0_usize..30), 1..200),
        ) {
            let mut window = window(limit);
            let mut now = Instant::now();
            let mut pending = 0_usize;
            let mut used = Vec::new();
            for (wait, want, start, unused) in steps {
                now += Duration::from_millis(wait);
                if let Ok(granted) = window.reserve(want, now) {
                    prop_assert!(granted >= 1 && granted <= want);
                    pending += granted;
                }
                for _ in 0..start.min(pending) {
                    window.start(now);
                    used.push(now);
                    pending -= 1;
                }
                for _ in 0..unused.min(pending) {
                    window.give_back();
                    pending -= 1;
                }
            }
            for start in &used {
                let within = used.iter().filter(|t| *t >= start && **t < *start + SECOND).count();
                prop_assert!(within <= limit);
            }
        }
    }
}
