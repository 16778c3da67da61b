//! What goes wrong, and how it is decided.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::call::{Call, Operation};

/// What goes wrong with one request.
///
/// "Applied" is what the service would have done with it, which may be to refuse it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The request never arrives: not applied, and the client sees an I/O error.
    LoseRequest,
    /// No connection: not applied, and the client knows that it was not.
    RefuseConnection,
    /// Applied, and the client sees an I/O error.
    LoseResponse,
    /// Not applied, never answered.
    HangBefore,
    /// Applied, never answered.
    HangAfter,
    /// Not applied, and answered with an error.
    Status {
        /// The HTTP status.
        status: u16,
        /// What goes into `x-ms-error-code`.
        code: &'static str,
        /// What goes into `Retry-After`, rounded up to whole seconds.
        retry_after: Option<Duration>,
    },
    /// Applied, and answered with an error for all that.
    StatusAfter {
        /// The HTTP status.
        status: u16,
        /// What goes into `x-ms-error-code`.
        code: &'static str,
        /// What goes into `Retry-After`, rounded up to whole seconds.
        retry_after: Option<Duration>,
    },
    /// Applied and answered after this time. Applied then even if the client has given up, as a
    /// request that was stuck on its way would be.
    Delay(Duration),
    /// Applied at once, answered after this time.
    DelayAnswer(Duration),
    /// Applied, and answered with a body that is no XML.
    Garbage,
    /// Applied, and answered with XML that is cut in the middle. Nothing for an answer without a
    /// body.
    Truncated,
    /// A send stores the message twice and answers with the first; a receive answers its first
    /// message twice. Nothing for other operations.
    Duplicate,
    /// A receive takes the newest messages first. Nothing for other operations.
    Reorder,
}

impl Fault {
    /// 503 `ServerBusy`, not applied: what the service says beyond its targets.
    pub const SERVER_BUSY: Self =
        Self::Status { status: 503, code: "ServerBusy", retry_after: None };
    /// 500 `OperationTimedOut`, though it was applied, as may happen.
    pub const TIMED_OUT: Self =
        Self::StatusAfter { status: 500, code: "OperationTimedOut", retry_after: None };
}

/// Where faults come from: first those that were asked for by operation, then the rule.
#[derive(Default)]
pub(crate) struct Faults {
    next: BTreeMap<Operation, VecDeque<(u64, Fault)>>,
    rule: Option<Rule>,
}

type Rule = Box<dyn FnMut(&Call) -> Fault + Send>;

impl Faults {
    pub(crate) fn set_rule(&mut self, rule: impl FnMut(&Call) -> Fault + Send + 'static) {
        self.rule = Some(Box::new(rule));
    }

    pub(crate) fn plan(&mut self, operation: Operation, times: u64, fault: Fault) {
        if times > 0 {
            self.next.entry(operation).or_default().push_back((times, fault));
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn decide(&mut self, call: &Call) -> Fault {
        // The rule hears of every call, so that its own state fits the numbers.
        let ruled = self.rule.as_mut().map_or(Fault::None, |rule| rule(call));
        self.planned(call.operation).unwrap_or(ruled)
    }

    fn planned(&mut self, operation: Operation) -> Option<Fault> {
        let plan = self.next.get_mut(&operation)?;
        let (times, fault) = plan.front_mut()?;
        let fault = *fault;
        *times -= 1;
        if *times == 0 {
            plan.pop_front();
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(operation: Operation) -> Call {
        let queue = "mail".to_owned();
        Call { operation, queue, message_id: None, number: 1, nth_of_operation: 1 }
    }

    #[test]
    fn plans_come_in_their_order_and_before_the_rule() {
        let mut faults = Faults::default();
        faults.set_rule(|_| Fault::Reorder);
        faults.plan(Operation::Send, 0, Fault::Garbage);
        faults.plan(Operation::Send, 2, Fault::LoseRequest);
        faults.plan(Operation::Send, 1, Fault::None);
        let mut decide = |operation| faults.decide(&call(operation));
        assert_eq!(decide(Operation::Delete), Fault::Reorder);
        let decided: Vec<_> = (0..4).map(|_| decide(Operation::Send)).collect();
        assert_eq!(decided, [Fault::LoseRequest, Fault::LoseRequest, Fault::None, Fault::Reorder]);
    }
}
