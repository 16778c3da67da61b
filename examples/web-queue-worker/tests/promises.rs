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
        least: None,
        // Enough for one process to be at work for seconds, so that the other one comes in time.
        backlog: 32,
        scan: Duration::from_millis(500),
        processes: &[1, 2],
        idle: 10,
        spike: 60,
        outage: Duration::from_millis(100),
        in_outage: 5,
    };
    let table = rounds::run(&size).await.to_string();
    for what in [
        "32 pictures in the queue, worker processes: 2",
        "60 uploads by 32 visitors",
        "store for thumbnails is away",
        "5 of 5",
    ] {
        assert!(table.contains(what), "{table}");
    }
}

#[test]
fn reports_are_read() {
    let report = "the supervisor's report: 2 processes started; jobs: 7 received, 101 completed";
    assert_eq!(support::completed(report), Some(101));
    assert_eq!(support::completed("jobs: 7 received"), None);
}

#[test]
fn the_log_says_which_process_was_busy() {
    let line = |text: &str| support::busy_process(text).map(str::to_owned);
    let done = "DEBUG worker{process=12}: job_core::worker: job done queue=pictures";
    assert_eq!(line(done), Some("12".to_owned()));
    assert_eq!(line("WARN worker{process=12}: job_core::worker: job failed"), None);
}
