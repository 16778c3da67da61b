//! What a backend says of itself makes sense.

use std::time::Duration;

use crate::fixture::Fixture;
use crate::promise::ensure;

/// A backend can send, receive, delete and renew at least one message at once.
pub async fn every_batch_takes_at_least_one(t: &Fixture) {
    let c = t.capabilities();
    for (name, most) in [
        ("max_send", c.max_send),
        ("max_receive", c.max_receive),
        ("max_delete", c.max_delete),
        ("max_renew", c.max_renew),
    ] {
        ensure!(most >= 1, "Each request takes at least one item.", "{name} is {most}");
    }
}

/// There is room for a body, and the spans are in order.
pub async fn limits_are_in_order(t: &Fixture) {
    let c = t.capabilities();
    let promise = "The limits of a backend leave room between them.";
    ensure!(c.max_body >= 1024, promise, "max_body is {}", c.max_body);
    ensure!(c.min_lease <= c.max_lease, promise, "min_lease is above max_lease");
    ensure!(c.max_lease >= Duration::from_secs(1), promise, "max_lease is {:?}", c.max_lease);
    ensure!(c.granularity <= c.max_lease, promise, "the granularity is above max_lease");
    ensure!(
        c.max_delay.is_zero() || c.granularity <= c.max_delay,
        promise,
        "the granularity is above max_delay"
    );
    ensure!(c.long_poll != Some(Duration::ZERO), promise, "long_poll is zero; None says that");
}

/// Capabilities are constant for the backend's lifetime, whatever is done with it.
pub async fn capabilities_are_constant(t: &Fixture) {
    let before = t.capabilities().clone();
    t.send("x").await;
    t.take().await;
    ensure!(
        *t.capabilities() == before,
        "Capabilities are constant for the backend's lifetime.",
        "they changed after a send and a receive"
    );
}

/// Another handle on the service can do the same.
pub async fn both_handles_can_do_the_same(t: &Fixture) {
    ensure!(
        t.capabilities() == t.second().capabilities(),
        "`independent` gives the same queues through connections of its own.",
        "the capabilities differ"
    );
}

/// The service has a name for logs and metrics.
pub async fn the_service_has_a_name(t: &Fixture) {
    let name = t.backend().system();
    ensure!(!name.trim().is_empty(), "`system` names the service in logs.", "it is empty");
}
