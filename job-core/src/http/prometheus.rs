//! The recorder behind `/metrics`, where the program has none of its own.

use std::sync::OnceLock;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::Render;
use crate::telemetry::names::BUCKETS;

/// The one that a worker of this program has installed.
static INSTALLED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// What answers `/metrics`.
#[derive(Clone, Debug)]
pub(super) enum Exporter {
    /// The program's own.
    Own(Render),
    /// Ours.
    Installed(&'static PrometheusHandle),
    /// The program has a recorder, and did not say how it is read.
    Unknown,
}

impl Exporter {
    /// Installs a recorder if there is none. To be called before anything is counted.
    pub(super) fn new(render: Option<Render>) -> Self {
        if let Some(render) = render {
            return Self::Own(render);
        }
        match INSTALLED.get_or_init(install) {
            Some(handle) => Self::Installed(handle),
            None => Self::Unknown,
        }
    }

    pub(super) fn render(&self) -> Option<String> {
        match self {
            Self::Own(Render(render)) => Some(render()),
            Self::Installed(handle) => Some(handle.render()),
            Self::Unknown => None,
        }
    }

    /// Makes room for what is yet to be counted.
    pub(super) fn upkeep(&self) {
        if let Self::Installed(handle) = self {
            handle.run_upkeep();
        }
    }
}

fn install() -> Option<PrometheusHandle> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, BUCKETS);
    let recorder = builder.expect("there are buckets").build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).is_ok().then_some(handle)
}
