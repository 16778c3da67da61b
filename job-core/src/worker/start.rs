//! A start that is announced in its message before it happens: if the worker goes away under it, the
//! mark is found there, and tells that it was a crash.

use std::time::Duration;

use super::served::Served;
use crate::backend::MessageId;

/// A marked start, from before its mark is written until that is gone. If this just ends, the worker
/// lives, and so the start was no crash, whether or not anything could be written to say so.
pub(super) struct MarkedStart<'a> {
    served: &'a Served,
    message: &'a MessageId,
    mark: u32,
    over: bool,
}

impl<'a> MarkedStart<'a> {
    /// A mark is about to be written. The start is over `within` that time, or its job hangs.
    pub(super) fn new(
        served: &'a Served,
        message: &'a MessageId,
        mark: u32,
        within: Duration,
    ) -> Self {
        if let Some(home) = &served.home {
            home.marked(&served.plan.name, message, mark, within);
        }
        Self { served, message, mark, over: false }
    }

    /// It is over, and nobody may come to know of it from the message.
    pub(super) fn survived(&mut self) {
        if !self.over {
            self.over(true);
        }
    }

    /// Its mark is gone, or is to be taken for a crash.
    pub(super) fn forget(mut self) {
        if !self.over {
            self.over(false);
        }
    }

    fn over(&mut self, survived: bool) {
        self.over = true;
        if survived {
            self.served.remember_survived(self.message, self.mark);
        }
        if let Some(home) = &self.served.home {
            home.over(&self.served.plan.name, self.message, self.mark, survived);
        }
    }
}

impl Drop for MarkedStart<'_> {
    fn drop(&mut self) {
        self.survived();
    }
}
