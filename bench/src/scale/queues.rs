//! One worker on several queues.

use job_core::{Client, Queue, Worker};
use job_memory::MemoryBackend;

use super::{CONCURRENCY, PART};
use crate::figure::{Figure, LeftOut};
use crate::finish::{self, Tasks};
use crate::job;
use crate::round::{Effort, Entry, Sample, Spent, Watch, in_turn};
use crate::runtime::run;

const QUEUES: [usize; 3] = [1, 4, 16];

/// How many jobs there are, on all queues together.
const JOBS: u64 = 200_000;

pub(super) fn measure(effort: Effort, left_out: &mut LeftOut) -> Vec<Figure> {
    let jobs = effort.of(JOBS);
    let entries = QUEUES.map(|queues| Entry {
        contender: if queues == 1 { "1 queue".to_owned() } else { format!("{queues} queues") },
        concurrency: Some(CONCURRENCY),
        run: Box::new(move || {
            let spent = run(drain(queues, jobs))?;
            Ok(vec![Sample::rate("drain of several full queues, in memory", jobs, spent)])
        }),
    });
    in_turn(PART, "queues", effort, entries.into(), left_out)
}

async fn drain(queues: usize, jobs: u64) -> anyhow::Result<Spent> {
    let client = Client::new(MemoryBackend::new());
    let names: Vec<_> = (0..queues).map(|queue| format!("many-{queue}")).collect();
    let each = jobs / queues as u64;
    let mut builder = Worker::builder(&client);
    for name in &names {
        let enqueue = client.enqueue_all((0..each).map(job::numbered));
        enqueue.queue(name).await?;
        builder = builder.queue(Queue::new(name).concurrency(CONCURRENCY / queues));
    }
    let worker = builder.build()?;
    let mut tasks = Tasks::new();
    finish::expect(each * queues as u64);
    let watch = Watch::start();
    tasks.spawn(async move {
        worker.run().await?;
        Ok(())
    });
    Ok(watch.spent_at(finish::last(&mut tasks).await?))
}
