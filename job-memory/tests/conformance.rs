//! The contract, kept by the memory backend and by the poorer services that it pretends to be.

use std::time::Duration;

use job_conformance::Harness;
use job_core::backend::{Backend, Capabilities};
use job_memory::MemoryBackend;

/// Everything that the backend can do.
fn rich() -> Harness {
    with(|_| {})
}

/// Just short of everything that the contract lets a service leave out.
fn minimal() -> Harness {
    harness(MemoryBackend::with_capabilities(Capabilities::minimal()))
}

/// A service that counts in seconds, takes small batches, and has short limits.
fn coarse() -> Harness {
    with(|c| {
        c.granularity = Duration::from_secs(1);
        c.min_lease = Duration::from_secs(2);
        c.max_lease = Duration::from_secs(900);
        c.max_delay = Duration::from_secs(600);
        c.max_body = 2000;
        c.max_send = 3;
        c.max_receive = 2;
        c.max_delete = 5;
        c.max_renew = 3;
        c.max_peek = 1;
        c.long_poll = Some(Duration::from_secs(5));
    })
}

/// A service that can do much but not rewrite, count or be waited for.
fn forgetful() -> Harness {
    with(|c| {
        c.replace = false;
        c.counts = false;
        c.exact_stats = false;
        c.ttl = false;
        c.wakes = false;
        c.long_poll = None;
    })
}

fn with(change: impl FnOnce(&mut Capabilities)) -> Harness {
    let mut capabilities = MemoryBackend::new().capabilities().clone();
    change(&mut capabilities);
    harness(MemoryBackend::with_capabilities(capabilities))
}

fn harness(backend: MemoryBackend) -> Harness {
    Harness::new(backend.clone()).second(backend)
}

mod paused {
    job_conformance::suite!(paused: super::rich());
}

mod paused_minimal {
    job_conformance::suite!(paused: super::minimal());
}

mod paused_coarse {
    job_conformance::suite!(paused: super::coarse());
}

mod paused_forgetful {
    job_conformance::suite!(paused: super::forgetful());
}

mod real {
    job_conformance::suite!(real: super::rich());
}
