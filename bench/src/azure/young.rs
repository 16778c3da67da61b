//! An Azurite that never gets old.
//!
//! Every minute Azurite clears up, and a request that comes meanwhile can be left without an answer
//! for ever. So it is replaced before that, between two runs.

use std::cell::{Ref, RefCell};
use std::time::{Duration, Instant};

use job_azurite::{Azurite, AzuriteError};

/// How old one may be when a run begins. A run takes seconds.
const OLDEST: Duration = Duration::from_secs(25);

pub(super) struct Young {
    current: RefCell<(Instant, Azurite)>,
}

impl Young {
    pub(super) fn start() -> Result<Self, AzuriteError> {
        Ok(Self { current: RefCell::new((Instant::now(), Azurite::start()?)) })
    }

    /// The one to use for the next run.
    pub(super) fn get(&self) -> Result<Ref<'_, Azurite>, AzuriteError> {
        if self.current.borrow().0.elapsed() > OLDEST {
            let next = Azurite::start()?;
            self.current.replace((Instant::now(), next));
        }
        Ok(Ref::map(self.current.borrow(), |(_, azurite)| azurite))
    }
}
