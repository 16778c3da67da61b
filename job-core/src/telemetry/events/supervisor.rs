//! What a supervisor and its processes log.

#![cfg_attr(
    not(all(unix, feature = "supervisor")),
    allow(dead_code, reason = "the table has them whatever is built")
)]

use std::fmt::Display;
use std::io;
use std::time::Duration;

use super::events;
use crate::QueueName;

events! { EVENTS, "job_core::supervisor";
    INFO process_started "a worker process was started" { process: &str, pid: Option<u32> }
    WARN process_not_started "a worker process cannot be started" {
        process: &str,
        error: &io::Error => display,
    }
    INFO process_ended "a worker process has ended" { process: &str, pid: Option<u32> }
    WARN process_died "a worker process has died" {
        process: &str,
        pid: Option<u32>,
        exit: &str,
    }
    DEBUG process_backing_off "starting it again" { process: &str, pause: Duration => debug }
    DEBUG process_succeeded "a worker process is succeeded" { process: &str, pid: Option<u32> }
    INFO process_too_large "a worker process has too much memory; replacing it" {
        process: &str,
        pid: Option<u32>,
        resident: u64,
        limit: Option<u64>,
    }
    WARN process_too_large_at_once "a worker process has more memory than its limit soon after its \
        start, and so will its successor: the limit is below what the program needs; raise \
        `max_memory`"
    {
        process: &str,
        pid: Option<u32>,
        resident: u64,
        limit: Option<u64>,
        kept: Duration => debug,
    }
    INFO process_has_run_enough "a worker process has run enough jobs; replacing it" {
        process: &str,
        pid: Option<u32>,
        jobs: u64,
    }
    WARN process_not_replaced "a worker process cannot be replaced and goes on: no other can be \
        started; if the program's file was moved or removed, restart the supervisor"
    {
        process: &str,
        error: &io::Error => display,
        next_try: Duration => debug,
    }
    WARN process_retires_long "a worker process that is to end has not finished its jobs yet; if \
        one of them never ends, give it a timeout, and kill the process"
    {
        process: &str,
        pid: Option<u32>,
        lives: Duration => debug,
    }
    ERROR suspects_not_started "the process for suspects does not start; such jobs wait in their \
        queues"
    {
        deaths: u32,
        exit: &str,
    }
    ERROR process_given_up "a worker process does not get to serve; giving up" {
        process: &str,
        deaths: u32,
        exit: &str,
    }
    ERROR suspect_hangs "the job in the process for suspects hangs; killing it" { pid: Option<u32> }
    WARN process_does_not_listen "a worker process does not listen" { pid: Option<u32> }
    ERROR process_silent "a worker process gives no sign of life; killing it" {
        pid: Option<u32>,
        silence: Duration => debug,
    }
    ERROR process_late "a worker process does not end in time; killing it" { pid: Option<u32> }
    WARN group_not_killed "killing what a worker process has started failed" {
        error: &dyn Display => display,
    }
    WARN process_not_killed "killing a worker process failed" { error: &io::Error => display }
    INFO supervisor_stopping "the supervisor is stopping" { processes: usize }
    INFO supervisor_stopped "the supervisor has stopped" { report: &dyn Display => display }
    ERROR process_failed "the worker process failed" { error: &str }
    ERROR supervisor_gone "the supervisor is gone; the worker process ends" {}
    INFO process_retiring "the worker process is to end when its jobs are done" {}
    INFO process_stopping "the worker process is to end" {}
    ERROR suspect_not_served "the process for suspects does not serve this queue; let every \
        process build the same workers"
    {
        queue: &QueueName => display,
    }
}
