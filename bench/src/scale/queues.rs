//! One worker on several queues.

use job_core::{Client, Queue, Worker};
use job_memory::MemoryBackend;
use tokio::task::JoinSet;

use super::{CONCURRENCY, PART};
use crate::figure::Figure;
use crate::memory::run;
use crate::round::{Effort, Entry, Sample, Spent, Watch, in_turn};
use crate::{finish, job};

const QUEUES: [usize; 3] = [1, 4, 16];

/// How many jobs there are, on all queues together.
const JOBS: u64 = 200_000;

pub(super) fn measure(effort: Effort) -> anyhow::Result<Vec<Figure>> {
    let jobs = effort.of(JOBS);
    let entries = QUEUES.map(|queues| Entry {
        contender: if queues == 1 { "1 queue".to_owned() } else { format!("{queues} queues") },
        concurrency: Some(CONCURRENCY),
        run: Box::new(move || {
            let spent = run(drain(queues, jobs))?;
            Ok(vec![Sample::rate("drain of several full queues, in memory", jobs, spent)])
        }),
    });
    in_turn(PART, "queues", effort, entries.into())
}

async fn drain(queues: usize, jobs: u64) -> Spent {
    let client = Client::new(MemoryBackend::new());
    let names: Vec<_> = (0..queues).map(|queue| format!("many-{queue}")).collect();
    let each = jobs / queues as u64;
    let mut builder = Worker::builder(&client);
    for name in &names {
        let enqueue = client.enqueue_all((0..each).map(job::numbered));
        enqueue.queue(name).await.expect("memory takes all");
        builder = builder.queue(Queue::new(name).concurrency(CONCURRENCY / queues));
    }
    let worker = builder.build().expect("the set-up is sound");
    let mut tasks = JoinSet::new();
    finish::expect(each * queues as u64);
    let watch = Watch::start();
    tasks.spawn(worker.run());
    watch.spent_at(finish::last().await)
}
