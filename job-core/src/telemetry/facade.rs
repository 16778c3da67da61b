//! The `metrics` facade, and what stands in for it without the feature: nothing.

#[cfg(feature = "metrics")]
mod real {
    pub(crate) use metrics::{Counter, Gauge, Histogram};
    use metrics::{Key, Label, Level, Metadata, Recorder, Unit, with_recorder};

    use crate::telemetry::names::{METRICS, Metric, MetricKind, MetricUnit};

    const METADATA: Metadata<'static> =
        Metadata::new("job_core", Level::INFO, Some(module_path!()));

    /// Whether anybody counts. The facade does not say; but what it has in place of a recorder has
    /// no size, and a recorder that keeps anything has one.
    pub(crate) fn is_recorded() -> bool {
        with_recorder(|recorder| size_of_val(recorder) != 0)
    }

    /// Tells the recorder what the metrics are.
    pub(crate) fn describe() {
        with_recorder(|recorder| METRICS.iter().for_each(|metric| describe_one(recorder, metric)));
    }

    fn describe_one(recorder: &dyn Recorder, metric: &Metric) {
        let (name, text) = (metric.name.into(), metric.description.into());
        let unit = match metric.unit {
            MetricUnit::Count => Unit::Count,
            MetricUnit::Seconds => Unit::Seconds,
        };
        match metric.kind {
            MetricKind::Counter => recorder.describe_counter(name, Some(unit), text),
            MetricKind::Gauge => recorder.describe_gauge(name, Some(unit), text),
            MetricKind::Histogram => recorder.describe_histogram(name, Some(unit), text),
        }
    }

    fn key(metric: &Metric, values: &[&str]) -> Key {
        debug_assert_eq!(metric.labels.len(), values.len(), "labels of {}", metric.name);
        let labels = metric.labels.iter().zip(values);
        let labels: Vec<_> =
            labels.map(|(name, value)| Label::new(*name, (*value).to_owned())).collect();
        Key::from_parts(metric.name, labels)
    }

    /// A handle; `values` are those of its labels, in their order.
    pub(crate) fn counter(metric: &Metric, values: &[&str]) -> Counter {
        with_recorder(|recorder| recorder.register_counter(&key(metric, values), &METADATA))
    }

    pub(crate) fn gauge(metric: &Metric, values: &[&str]) -> Gauge {
        with_recorder(|recorder| recorder.register_gauge(&key(metric, values), &METADATA))
    }

    pub(crate) fn histogram(metric: &Metric, values: &[&str]) -> Histogram {
        with_recorder(|recorder| recorder.register_histogram(&key(metric, values), &METADATA))
    }
}

#[cfg(not(feature = "metrics"))]
mod real {
    use crate::telemetry::names::Metric;

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Counter;
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Gauge;
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Histogram;

    impl Counter {
        pub(crate) fn increment(&self, _: u64) {}
    }

    impl Gauge {
        pub(crate) fn set(&self, _: f64) {}
    }

    impl Histogram {
        pub(crate) fn record(&self, _: f64) {}
    }

    pub(crate) fn is_recorded() -> bool {
        false
    }

    pub(crate) fn describe() {}

    pub(crate) fn counter(_: &Metric, _: &[&str]) -> Counter {
        Counter
    }

    pub(crate) fn gauge(_: &Metric, _: &[&str]) -> Gauge {
        Gauge
    }

    pub(crate) fn histogram(_: &Metric, _: &[&str]) -> Histogram {
        Histogram
    }
}

pub(crate) use self::real::*;
