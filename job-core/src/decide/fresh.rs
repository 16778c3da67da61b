//! A short cut through [`admit`](super::admit): the first delivery of a job that was just enqueued,
//! which nearly every delivery is.

use super::{Known, Message, Seen};
use crate::backend::Capabilities;
use crate::envelope::Fresh;

/// Whether a message is such a one, and is to be run as it is. Whatever is any different goes the
/// long way; of what this admits, that says the same.
pub(crate) fn admit_fresh<'a, J: Known>(
    message: &'a Message,
    seen: Seen<'_>,
    find: impl FnOnce(&str) -> Option<J>,
    capabilities: &Capabilities,
) -> Option<(Fresh<'a>, J)> {
    // There was no delivery before it that could have been a crash.
    if !capabilities.counts || seen.count != Some(1) {
        return None;
    }
    let fresh = Fresh::read(&message.body)?;
    let job = find(fresh.name)?;
    (job.policy().expires_in.is_none() && job.version() >= 1).then_some((fresh, job))
}
