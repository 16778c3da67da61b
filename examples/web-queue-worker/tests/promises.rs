//! The promises of `benches/promises`, smaller, and without a look at the clock: every upload is
//! taken and gets its thumbnails, however many workers there are and whatever is away.

#[path = "../benches/promises/load.rs"]
mod load;
#[path = "../benches/promises/rounds.rs"]
mod rounds;
mod support;

use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_promises_hold() {
    let size = rounds::Size {
        backlog: 12,
        scan: Duration::from_millis(50),
        processes: &[1, 2],
        idle: 10,
        spike: 60,
        outage: Duration::from_millis(100),
        in_outage: 5,
    };
    let table = rounds::run(&size).await.to_string();
    for what in [
        "12 pictures in the queue, worker processes: 2",
        "60 uploads at once",
        "store for thumbnails is away",
        "5 of 5",
    ] {
        assert!(table.contains(what), "{table}");
    }
}
