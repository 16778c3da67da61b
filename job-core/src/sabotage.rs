//! Deliberate breaks of the worker, to show that tests of the whole notice them.
//!
//! One switch for the process. Without the feature there is none, and the compiler drops what
//! asks for it.

#[cfg(all(feature = "sabotage", not(debug_assertions)))]
compile_error!("the feature `sabotage` breaks the worker on purpose: not in a release");

#[cfg(feature = "sabotage")]
use std::sync::OnceLock;

macro_rules! sabotages {
    ($($(#[$doc:meta])+ $name:ident $text:literal,)+) => {
        /// One way to break the worker.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(
            not(feature = "sabotage"),
            allow(unreachable_pub, dead_code, reason = "public and set only with it")
        )]
        pub enum Sabotage { $($(#[$doc])+ $name,)+ }

        #[cfg(feature = "sabotage")]
        impl Sabotage {
            /// All of them, by name.
            pub const ALL: &[(&str, Self)] = &[$(($text, Self::$name),)+];
        }
    };
}

sabotages! {
    /// A job is deleted before it runs.
    DeleteFirst "delete-first",
    /// A job is deleted before its copy is sent to the poison queue.
    DeleteBeforeCopy "delete-before-copy",
    /// No mark is written before a job is moved to the poison queue.
    NoFence "no-fence",
    /// The copy is sent twice.
    CopyTwice "copy-twice",
    /// Nobody asks whether a job has killed its workers.
    NoCrashCheck "no-crash-check",
    /// Leases are not renewed.
    NoRenewal "no-renewal",
    /// What a shutdown gives back is charged with an attempt.
    ChargeGiveBacks "charge-give-backs",
    /// Deliveries that went nowhere count as crashes.
    LostIsCrashed "lost-is-crashed",
    /// A failed job is deleted.
    DropFailed "drop-failed",
    /// A worker that is to stop returns at once, with jobs running.
    ExitWithoutGivingBack "exit-without-giving-back",
    /// A signal is heard late.
    DeafToSignals "deaf-to-signals",
}

#[cfg(feature = "sabotage")]
static SWITCH: OnceLock<Sabotage> = OnceLock::new();

/// Breaks the worker in that way, for as long as the process lives. Only the first call counts.
#[cfg(feature = "sabotage")]
pub fn sabotage(how: Sabotage) {
    let _ = SWITCH.set(how);
}

/// Whether it is broken in that way.
#[inline]
pub(crate) fn sabotaged(how: Sabotage) -> bool {
    #[cfg(feature = "sabotage")]
    return SWITCH.get() == Some(&how);
    #[cfg(not(feature = "sabotage"))]
    {
        let _ = how;
        false
    }
}
