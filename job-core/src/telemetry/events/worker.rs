//! What a worker logs.

use std::fmt::Display;
use std::time::Duration;

use super::{Since, events};
use crate::backend::{BackendError, ErrorKind, MessageId};
use crate::pipeline::catch_panic::Panicked;
use crate::{BoxError, JobId, PoisonReason, QueueName, Report};

events! { EVENTS, "job_core::worker";
    // What becomes of jobs.
    DEBUG job_done "job done" {
        queue: &QueueName => display,
        id: JobId => display,
        job: &str,
        attempt: u32,
        duration: Since => debug,
    }
    WARN job_retried "job failed; trying again" {
        queue: &QueueName => display,
        id: JobId => display,
        job: &str,
        attempt: u32,
        error: &BoxError,
        delay: Duration => debug,
        duration: Since => debug,
    }
    ERROR job_poisoned "job failed for good; to the poison queue: mend its cause, then replay it" {
        queue: &QueueName => display,
        id: JobId => display,
        job: &str,
        attempt: u32,
        error: &BoxError,
        reason: PoisonReason => display,
        duration: Since => debug,
    }
    INFO job_discarded "job discarded by its handler" {
        queue: &QueueName => display,
        id: JobId => display,
        job: &str,
        attempt: u32,
        reason: &BoxError,
    }
    DEBUG job_snoozed "job snoozed" {
        queue: &QueueName => display,
        id: JobId => display,
        job: &str,
        delay: Duration => debug,
    }
    INFO job_given_back "job given back" {
        queue: &QueueName => display,
        id: JobId => display,
        job: &str,
        attempt: u32,
    }
    INFO job_expired "dropping a job that has expired" {
        queue: &QueueName => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
    }
    DEBUG job_not_due "not due yet" {
        queue: &QueueName => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
        delay: Duration => debug,
    }
    WARN job_put_back "putting a message back" {
        queue: &QueueName => display,
        message_id: &MessageId => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
        problem: Option<&str>,
        delay: Duration => debug,
    }
    ERROR message_poisoned "moving a message that cannot run to the poison queue; mend its cause, \
        then replay it"
    {
        queue: &QueueName => display,
        message_id: &MessageId => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
        reason: PoisonReason => display,
        problem: Option<&str>,
    }
    WARN args_put_back "the args do not fit; putting the job back" {
        queue: &QueueName => display,
        id: JobId => display,
        job: &str,
        attempt: u32,
        problem: &str,
        delay: Duration => debug,
    }
    ERROR args_poisoned "the args do not fit; to the poison queue: deploy a worker that reads \
        them, then replay the job"
    {
        queue: &QueueName => display,
        id: JobId => display,
        job: &str,
        attempt: u32,
        problem: &str,
        reason: PoisonReason => display,
    }
    WARN job_handed_over "handing over a job that may kill its process" {
        queue: &QueueName => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
    }
    DEBUG job_came_again "deleting a finished job that came again" {
        queue: &QueueName => display,
        message_id: &MessageId => display,
    }
    WARN job_panicked_late "a job panicked when it was dropped" { panicked: &Panicked => display }
    WARN history_lost "a job grew too large; its history is lost" {
        queue: &QueueName => display,
        message_id: &MessageId => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
    }

    // Leases.
    DEBUG lease_not_renewed "lease lost" { message_id: &MessageId => display }
    WARN lease_lost "the lease was lost while the job ran; it was cancelled and will run again" {
        queue: &QueueName => display,
        message_id: &MessageId => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
    }
    WARN lease_ended "the lease was lost before the job could be settled; it may run again" {
        queue: &QueueName => display,
        message_id: &MessageId => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
        step: &str,
    }
    WARN renewal_failed "renewing a lease failed; trying again" {
        queue: &QueueName => display,
        error: &BackendError => display,
    }
    ERROR renewal_panicked "renewing leases panicked; their jobs are cancelled" {
        error: &dyn Display => display,
    }
    ERROR renewal_incomplete "the backend gave fewer results than it was asked for" {}
    ERROR keeper_panicked "the keeper of leases panicked; starting it again" {
        panicked: &Panicked => display,
    }
    WARN no_thread_for_leases "no thread for leases; a handler that blocks may lose some" {
        error: &std::io::Error => display,
    }

    // Requests.
    DEBUG receive_throttled "receiving is throttled" {
        queue: &QueueName => display,
        error: &BackendError => display,
        wait: Duration => debug,
    }
    WARN receive_failed "receiving failed" {
        queue: &QueueName => display,
        kind: ErrorKind => debug,
        error: &BackendError => display,
        wait: Duration => debug,
    }
    ERROR receive_refused "receiving failed; jobs of this queue do not run" {
        queue: &QueueName => display,
        error: &BackendError => display,
        wait: Duration => debug,
    }
    ERROR too_many_received "the backend gave more than was asked for" {
        queue: &QueueName => display,
    }
    ERROR layer_not_ready "a layer fails to become ready; no job of this queue starts until it is" {
        queue: &QueueName => display,
        error: &BoxError,
        wait: Duration => debug,
    }
    WARN settle_timed_out "settling took too long; the job comes again when its lease ends" {
        queue: &QueueName => display,
        message_id: &MessageId => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
        step: &str,
    }
    WARN settle_too_late "settling came too late; the job may run again" {
        queue: &QueueName => display,
        message_id: &MessageId => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
        step: &str,
        error: &BackendError => display,
    }
    ERROR settle_denied "settling is not allowed; receiving pauses" {
        queue: &QueueName => display,
        message_id: &MessageId => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
        step: &str,
        error: &BackendError => display,
    }
    WARN settle_failed "settling failed; the job comes again when its lease ends" {
        queue: &QueueName => display,
        message_id: &MessageId => display,
        id: Option<JobId> => display_if,
        job: Option<&str>,
        step: &str,
        error: &BackendError => display,
    }
    WARN sample_failed "the figures of a queue cannot be asked for; trying again" {
        queue: &QueueName => display,
        error: &BackendError => display,
        wait: Duration => debug,
    }
    DEBUG sample_failed_again "the figures of a queue still cannot be asked for" {
        queue: &QueueName => display,
        error: &BackendError => display,
        wait: Duration => debug,
    }

    // The worker's own life.
    INFO queue_served "serving a queue" {
        queue: &QueueName => display,
        concurrency: usize,
        jobs: &[&str] => debug,
        raw: Option<&str>,
    }
    WARN queue_not_checked "cannot tell whether the queue may be served; going on" {
        queue: &QueueName => display,
        error: &BackendError => display,
    }
    WARN queue_not_allowed "may not create the queue; going on as if it were there" {
        queue: &QueueName => display,
        error: &BackendError => display,
    }
    WARN queue_not_created "creating the queue failed; trying again" {
        queue: &QueueName => display,
        error: &BackendError => display,
        pause: Duration => debug,
    }
    #[cfg_attr(not(feature = "http"), allow(dead_code, reason = "the table has it all the same"))]
    INFO http_listening "health, metrics and scaling figures are served" {
        address: std::net::SocketAddr => display,
    }
    #[cfg_attr(not(feature = "http"), allow(dead_code, reason = "the table has it all the same"))]
    WARN http_taken "the address for health and metrics is taken, by the process that this one \
        replaces or by another program; trying again"
    {
        address: std::net::SocketAddr => display,
        error: &std::io::Error => display,
    }
    WARN runtime_stalled "the runtime runs no tasks: handlers block its threads; move what blocks \
        into `tokio::task::spawn_blocking`"
    {
        running: u64,
    }
    WARN runtime_moves "the runtime runs tasks again" { stalled_for: Duration => debug }
    ERROR slot_panicked "a slot of the worker panicked" {
        queue: &QueueName => display,
        panicked: &Panicked => display,
    }
    ERROR slot_ended "a slot of the worker panicked; its job comes again when its lease ends" {
        error: &dyn Display => display,
    }
    INFO shutting_down "shutting down; a second signal skips the grace time" {}
    INFO worker_stopping "worker is stopping" { grace: Duration => debug }
    ERROR handlers_abandoned "some handlers do not stop although they were cancelled, or some \
        requests to the backend hang; their jobs come again when their leases end"
    {
        handlers: u64,
        requests: u64,
    }
    INFO worker_stopped "worker has stopped" { report: &Report => display }
}
