//! Every metric of this crate: its name, its labels, what it counts.

/// A metric that this crate has with the feature `metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind of thing it is.
    pub kind: MetricKind,
    /// What its values are of.
    pub unit: MetricUnit,
    /// The names of its labels. None of them ever holds an id.
    pub labels: &'static [&'static str],
    /// What it says.
    pub description: &'static str,
}

/// What kind of thing a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// How often there were which values.
    Histogram,
}

/// What the values of a metric are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricUnit {
    /// Things that are counted.
    Count,
    /// Time.
    Seconds,
}

macro_rules! metrics {
    ($(
        $const:ident: $kind:ident of $unit:ident $name:literal [$($label:literal),*]
        $description:literal
    )+) => {
        $(
            #[doc = $description]
            pub const $const: Metric = Metric {
                name: $name,
                kind: MetricKind::$kind,
                unit: MetricUnit::$unit,
                labels: &[$($label),*],
                description: $description,
            };
        )+

        /// All of them.
        pub const METRICS: &[Metric] = &[$($const),+];
    };
}

metrics! {
    ENQUEUED: Counter of Count "job_enqueued_total" ["queue", "job"]
        "Jobs that a client put on a queue."
    ENQUEUE_FAILED: Counter of Count "job_enqueue_failed_total" ["queue", "job"]
        "Jobs that a client could not put on a queue, or of which it does not know."
    RECEIVED: Counter of Count "job_received_total" ["queue"]
        "Messages taken from a queue."
    COMPLETED: Counter of Count "job_completed_total" ["queue", "job"]
        "Jobs that ended well."
    FAILED: Counter of Count "job_failed_total" ["queue", "job"]
        "Attempts that failed, whatever came of it."
    RETRIED: Counter of Count "job_retried_total" ["queue", "job"]
        "Attempts that failed and are tried again."
    POISONED: Counter of Count "job_poisoned_total" ["queue", "job", "reason"]
        "Times it was decided that a job goes to the poison queue; one whose move fails comes again."
    DISCARDED: Counter of Count "job_discarded_total" ["queue", "job"]
        "Jobs that their handler dropped."
    EXPIRED: Counter of Count "job_expired_total" ["queue", "job"]
        "Jobs dropped because they came too late."
    SNOOZED: Counter of Count "job_snoozed_total" ["queue", "job"]
        "Times a job put itself off."
    GIVEN_BACK: Counter of Count "job_given_back_total" ["queue", "job"]
        "Jobs that a shutdown gave back after their start."
    CRASHED: Counter of Count "job_crashed_total" ["queue"]
        "Starts that ended with their worker going away, as far as that can be told: from the second \
         delivery of a job on, when the next one finds it out."
    DEFERRED: Counter of Count "job_deferred_total" ["queue", "job", "reason"]
        "Messages put back without a run: not_due, unknown, args, suspect, stopping."
    LEASE_RENEWALS: Counter of Count "job_lease_renewals_total" ["queue", "result"]
        "Leases renewed, or not: ok, or the kind of error."
    LEASES_LOST: Counter of Count "job_leases_lost_total" ["queue"]
        "Jobs whose lease was lost while they were held here."
    SETTLE_FAILURES: Counter of Count "job_settle_failures_total" ["queue"]
        "Messages that could not be settled; they come again when their lease ends."
    EMPTY_POLLS: Counter of Count "job_empty_polls_total" ["queue"]
        "Receives that brought nothing."
    REQUESTS: Counter of Count "job_backend_requests_total" ["operation", "result"]
        "Requests to the backend, each with what it repeats by itself: ok, cancelled if nobody waited \
         for the answer, or the kind of the first error in it."
    REQUEST_DURATION: Histogram of Seconds "job_backend_request_duration_seconds" ["operation"]
        "How long requests to the backend took."
    RUN_DURATION: Histogram of Seconds "job_run_duration_seconds" ["queue", "job", "outcome"]
        "How long handlers ran: done, failed, discarded, snoozed, given_back."
    START_LATENCY: Histogram of Seconds "job_start_latency_seconds" ["queue", "job"]
        "How long after it could have a job was started, where it was its first delivery."
    SLOTS: Gauge of Count "job_slots" ["queue"]
        "How many jobs of a queue may run at once in this worker."
    SLOTS_USED: Gauge of Count "job_slots_used" ["queue"]
        "How many of them do."
    IN_FLIGHT: Gauge of Count "job_in_flight" ["queue"]
        "Messages that this worker holds, from receiving to settling."
    BACKLOG: Gauge of Count "job_backlog" ["queue"]
        "Messages of a queue that are due, as far as the backend tells: where 32 or more are, Azure \
         Queue Storage counts all but those that this worker holds, so those that are hidden until \
         later, and those that others hold, are among them."
    QUEUE_DEPTH: Gauge of Count "job_queue_depth" ["queue"]
        "All messages of a queue: due, hidden until later, and held by workers."
    OLDEST_AGE: Gauge of Seconds "job_oldest_age_seconds" ["queue"]
        "How long ago the oldest message was sent that the backend shows; 0 if there is none. Jobs \
         that were delayed, snoozed or retried look old: how late jobs are, \
         `job_start_latency_seconds` says."
    POISON_DEPTH: Gauge of Count "job_poison_depth" ["queue"]
        "Messages in the poison queue of a queue."
    RUNTIME_STALLS: Counter of Count "job_runtime_stalls_total" []
        "Times that handlers blocked all threads of the runtime for seconds."
    PROCESSES_STARTED: Counter of Count "job_processes_started_total" ["process"]
        "Processes that a supervisor started."
    PROCESSES_DIED: Counter of Count "job_processes_died_total" ["process"]
        "Processes that ended without being asked to, those killed for their silence included."
    PROCESSES_RECYCLED: Counter of Count "job_processes_recycled_total" ["process", "reason"]
        "Processes replaced since they had enough: jobs, memory."
    PROCESSES_KILLED: Counter of Count "job_processes_killed_total" ["process", "reason"]
        "Processes killed: silent, or late at their end."
}

/// Where the buckets of the histograms end, in seconds: from a millisecond to the longest that
/// most jobs may take. For recorders that have to be told.
pub const BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0, 1800.0,
];
