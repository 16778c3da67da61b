//! Speed and cost of the framework, measured side by side with its peers.
//!
//! Every measurement lets its contenders run in turn, round after round, and gives medians with
//! the least and the most, so that what disturbs the machine disturbs all of them. The job is the
//! same everywhere and does nothing: what is measured is what is around it.
//!
//! It has no opinion about figures: nothing here fails because something is slow.

#[cfg(feature = "azure")]
pub mod azure;
pub mod chart;
pub mod child;
pub mod figure;
pub mod finish;
pub mod instructions;
pub mod job;
pub mod machine;
pub mod memory;
pub mod micro;
pub mod results;
pub mod round;
pub mod runtime;
pub mod scale;
pub mod table;
pub mod telemetry;
