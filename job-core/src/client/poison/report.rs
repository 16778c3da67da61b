//! What a replay did.

use std::fmt;

use crate::JobId;

/// What a replay did, or what it would have done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplayReport {
    pub(super) dry_run: bool,
    pub(super) complete: bool,
    pub(super) matched: usize,
    pub(super) skipped: usize,
    pub(super) replayed: usize,
    pub(super) ids: Vec<JobId>,
    pub(super) refused: Vec<JobId>,
    pub(super) duplicates: Vec<JobId>,
}

impl ReplayReport {
    /// How many jobs were asked for and found.
    pub fn matched(&self) -> usize {
        self.matched
    }

    /// How many were sent back to their queue; 0 in a dry run.
    pub fn replayed(&self) -> usize {
        self.replayed
    }

    /// How many were looked at and left where they are: not asked for, beyond the limit, come in
    /// after the replay began, or copies of a job that had its turn.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The jobs that were sent back, in order; in a dry run those that would have been.
    pub fn ids(&self) -> &[JobId] {
        &self.ids
    }

    /// Jobs that matched and are still in the poison queue, because their queue does not take
    /// them (too large, for one) or because the message is damaged.
    pub fn refused(&self) -> &[JobId] {
        &self.refused
    }

    /// Jobs that were sent back, and of which a copy stayed in the poison queue: the lease ended
    /// before it could be deleted.
    pub fn duplicates(&self) -> &[JobId] {
        &self.duplicates
    }

    /// Whether everything that was visible in the poison queue was looked at. It is not when the
    /// limit was reached, all ids were found, or the scan took longer than its leases; then a
    /// further replay may find more.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether nothing was sent because a dry run was asked for.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

impl fmt::Display for ReplayReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { matched, skipped, replayed, .. } = self;
        if self.dry_run {
            write!(f, "{matched} jobs would be replayed, {skipped} left (dry run)")?;
        } else {
            write!(f, "{replayed} of {matched} jobs replayed, {skipped} left")?;
        }
        if !self.refused.is_empty() {
            write!(f, ", {} refused by their queue", self.refused.len())?;
        }
        if !self.duplicates.is_empty() {
            write!(f, ", {} left as duplicates", self.duplicates.len())?;
        }
        Ok(())
    }
}
