//! What becomes of processes is counted.

use metrics::set_default_local_recorder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};

use super::*;
use crate::telemetry::processes::announce;

#[tokio::test]
async fn what_becomes_of_processes_is_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = set_default_local_recorder(&recorder);
    announce();
    let (mut pool, first, _) = pool();
    // It does not matter what it does.
    pool.program = Program::at("/bin/sh");

    // 100 jobs are enough, and then it is killed since it does not end.
    works(&mut pool, first, 100, 100);
    let successor = pool.last_id;
    assert_eq!(pool.places[0].successor, Some(successor));
    says(&mut pool, successor, Up::Serving { grace_millis: 1 });
    killed(&mut pool, first, Killed::Late);
    // It was asked to end, but the next one was not.
    killed(&mut pool, successor, Killed::Silent);
    let (large, _) = join(&mut pool, 0);
    let well = pool.settings.restarts.well;
    pool.members.get_mut(&large).unwrap().started -= well;
    pool.on(large, Event::OverMemory(1));

    let mut told: Vec<_> = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .map(|(key, _, description, value)| {
            assert!(description.is_some(), "{key:?}");
            let DebugValue::Counter(count) = value else { panic!("{key:?} is no counter") };
            let labels =
                key.key().labels().map(|label| format!("{}={}", label.key(), label.value()));
            format!("{} {}: {count}", key.key().name(), labels.collect::<Vec<_>>().join(" "))
        })
        .collect();
    told.sort();
    let expected = [
        "job_processes_died_total process=1: 1",
        "job_processes_killed_total process=1 reason=late: 1",
        "job_processes_killed_total process=1 reason=silent: 1",
        "job_processes_recycled_total process=1 reason=jobs: 1",
        "job_processes_recycled_total process=1 reason=memory: 1",
        "job_processes_started_total process=1: 2",
    ];
    assert_eq!(told, expected);
    assert_eq!((pool.report.started, pool.report.died), (2, 1));
}

fn killed(pool: &mut Pool, id: Id, why: Killed) {
    let status = Ok(ExitStatus::from_raw(9));
    pool.on(id, Event::Exited(Exit { status, killed: Some(why) }));
}
