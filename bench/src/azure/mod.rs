//! Azure Queue Storage: throughput, requests and the client's share of the processor, on an
//! imitation in this process with a set latency, and on Azurite.

mod azurite;
mod bare;
mod counted;
pub(crate) mod imitated;
pub mod processes;
mod python;
mod traffic;
mod young;

use azure_core::http::Url;

use crate::figure::{Figure, LeftOut, Unit};
use crate::round::{Effort, Sample, Spent};

const PART: &str = "azure";

/// The most that one receive brings.
const MOST: usize = 32;

/// What the loop on the SDK is called in tables.
const BARE: &str = "loop on the bare SDK";

/// All that is measured of the service, on the imitation and on Azurite.
pub fn measure(effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    let mut figures = imitated::measure(effort, left_out);
    figures.extend(azurite::measure(effort, left_out));
    figures
}

/// What a run took, and how many requests.
struct Done {
    spent: Spent,
    requests: u64,
}

impl Done {
    /// Of so many jobs, all of which were timed.
    fn samples(&self, measure: &'static str, jobs: u64) -> Vec<Sample> {
        let requests = self.requests as f64 / jobs as f64;
        vec![
            Sample::rate(measure, jobs, self.spent),
            Sample { measure: REQUESTS, unit: Unit::Count, value: requests, cpu: None },
        ]
    }
}

const REQUESTS: &str = "requests a job, its enqueue included";

/// The URL of a queue.
fn url_of(account: &str, queue: &str, query: &str) -> anyhow::Result<Url> {
    let mut url = Url::parse(&format!("{account}/{queue}"))?;
    url.set_query((!query.is_empty()).then_some(query));
    Ok(url)
}
