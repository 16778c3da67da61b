//! What a case needs of a backend, decided by its capabilities.

use std::fmt;

use job_core::backend::Capabilities;

use crate::harness::Harness;

/// The largest batch that a case fills to its limit.
const FILLABLE: usize = 1024;

/// A condition of a case.
#[derive(Clone, Copy)]
pub(crate) struct Need {
    /// Why the case is skipped where it is not met.
    reason: &'static str,
    met: fn(&Harness) -> bool,
}

impl Need {
    pub(crate) fn met(&self, harness: &Harness) -> bool {
        (self.met)(harness)
    }

    pub(crate) fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Debug for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

macro_rules! needs {
    ($($name:ident: $reason:literal, |$capabilities:ident| $met:expr;)*) => {$(
        pub(crate) const $name: Need = Need {
            reason: $reason,
            met: |harness| {
                let $capabilities: &Capabilities = harness.backend.capabilities();
                $met
            },
        };
    )*};
}

needs! {
    REPLACE: "it cannot replace", |c| c.replace;
    NO_REPLACE: "it can replace", |c| !c.replace;
    COUNTS: "it does not count deliveries", |c| c.counts;
    TTL: "it has no TTL", |c| c.ttl;
    NO_TTL: "it has TTLs", |c| !c.ttl;
    PEEK: "it cannot peek", |c| c.max_peek > 0;
    PEEK_TWO: "it peeks at one message at a time", |c| c.max_peek > 1;
    NO_PEEK: "it can peek", |c| c.max_peek == 0;
    EXACT_STATS: "its stats are estimates", |c| c.exact_stats;
    LONG_POLL: "its receives do not wait", |c| c.long_poll.is_some();
    NO_LONG_POLL: "its receives can wait", |c| c.long_poll.is_none();
    WAKES: "it is not told of new messages", |c| c.wakes;
    IN_PROCESS: "its clock is remote", |c| !c.remote;
    SEND_BATCH: "it takes fewer than 3 messages a send", |c| c.max_send >= 3;
    DELETE_BATCH: "it takes fewer than 3 receipts a delete", |c| c.max_delete >= 3;
    RENEW_BATCH: "it takes fewer than 3 receipts a renew", |c| c.max_renew >= 3;
    RECEIVE_BATCH: "it gives one message a receive", |c| c.max_receive >= 2;
    SEND_LIMIT: "its sends are too large to fill", |c| c.max_send <= FILLABLE;
    RECEIVE_LIMIT: "its receives are too large to fill", |c| c.max_receive <= FILLABLE;
    DELETE_LIMIT: "its deletes are too large to fill", |c| c.max_delete <= FILLABLE;
    RENEW_LIMIT: "its renews are too large to fill", |c| c.max_renew <= FILLABLE;
    SHORTEST_LEASE: "it has leases of no length", |c| !c.min_lease.is_zero();
}

/// Met where the harness knows another handle on the same service.
pub(crate) const SECOND: Need =
    Need { reason: "there is no second handle", met: |harness| harness.second.is_some() };
