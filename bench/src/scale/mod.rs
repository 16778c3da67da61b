//! What becomes of speed and memory as there is more of something: queues, waiting jobs, jobs over
//! time, worker processes.

mod depth;
pub mod flow;
mod queues;

use crate::figure::{Figure, LeftOut};
use crate::round::Effort;

const PART: &str = "scale";

/// How many jobs run at a time, unless it says otherwise.
const CONCURRENCY: usize = 64;

/// All of it.
pub fn measure(effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    let mut figures = queues::measure(effort, left_out);
    figures.extend(depth::measure(effort, left_out));
    figures.extend(left_out.unless("memory over time", flow::measure(effort)).unwrap_or_default());
    #[cfg(feature = "azure")]
    figures.extend(crate::azure::processes::measure(PART, effort, left_out));
    figures
}
