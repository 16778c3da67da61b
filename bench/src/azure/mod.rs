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

use std::future::Future;

use azure_core::http::Url;
use tokio::runtime::Builder;

use crate::figure::Unit;
use crate::figure::{Figure, LeftOut};
use crate::round::{Effort, Sample, Spent};

const PART: &str = "azure";

/// The most that one receive brings.
const MOST: usize = 32;

/// What the loop on the SDK is called in tables.
const BARE: &str = "loop on the bare SDK";

/// All that is measured of the service, on the imitation and on Azurite.
///
/// # Errors
/// If a runtime or a client cannot be made, or the service refuses something.
pub fn measure(effort: Effort, left_out: &mut LeftOut) -> anyhow::Result<Vec<Figure>> {
    let mut figures = imitated::measure(effort)?;
    let azurite = azurite::measure(effort, left_out);
    figures.extend(left_out.unless("Azurite", azurite).unwrap_or_default());
    Ok(figures)
}

/// What a run took, and how many requests.
struct Done {
    spent: Spent,
    requests: u64,
}

impl Done {
    fn samples(&self, measure: &'static str, jobs: u64) -> Vec<Sample> {
        let requests = self.requests as f64 / jobs as f64;
        vec![
            Sample::rate(measure, jobs, self.spent),
            Sample { measure: REQUESTS, unit: Unit::Count, value: requests, cpu: None },
        ]
    }
}

const REQUESTS: &str = "requests a job, its enqueue included";

/// Runs as a task of a runtime of its own with all processors, as an app would.
fn block_on<T: Send + 'static>(
    body: impl Future<Output = anyhow::Result<T>> + Send + 'static,
) -> anyhow::Result<T> {
    let runtime = Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(runtime.spawn(body))?
}

/// The URL of a queue.
fn url_of(account: &str, queue: &str, query: &str) -> anyhow::Result<Url> {
    let mut url = Url::parse(&format!("{account}/{queue}"))?;
    url.set_query((!query.is_empty()).then_some(query));
    Ok(url)
}
