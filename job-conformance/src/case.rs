//! A case: a name, what it needs, and the function that is the test.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::fixture::Fixture;
use crate::harness::Harness;
use crate::need::Need;

/// A case's function.
pub(crate) type Test = for<'a> fn(&'a Fixture) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// One promise of the contract as a test.
#[derive(Clone, Copy)]
pub struct Case {
    pub(crate) topic: &'static str,
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) test: Test,
}

impl Case {
    /// The case's name, which is its function's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The module that its function is in.
    pub fn topic(&self) -> &'static str {
        self.topic
    }

    /// Why this backend is not asked to keep this promise, if it is not.
    pub fn skipped(&self, harness: &Harness) -> Option<&'static str> {
        self.needs.iter().find(|need| !need.met(harness)).map(Need::reason)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("topic", &self.topic).field("name", &self.name).finish()
    }
}
