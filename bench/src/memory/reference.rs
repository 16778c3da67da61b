//! What one would write by hand: a channel of JSON, and a task for each job under a semaphore.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::coop::consume_budget;

use super::contender::{Bench, Contender, Setup};
use crate::finish::Tasks;
use crate::job::Args;

/// tokio, serde_json, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct Reference;

impl Contender for Reference {
    fn name(&self) -> &'static str {
        "tokio + serde_json + spawn"
    }

    fn open(&self, setup: Setup) -> Box<dyn Bench> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let semaphore = Arc::new(Semaphore::new(setup.concurrency));
        Box::new(Opened { sender, receiver: Some(receiver), semaphore, tasks: Tasks::new() })
    }
}

struct Opened {
    sender: mpsc::UnboundedSender<Vec<u8>>,
    receiver: Option<mpsc::UnboundedReceiver<Vec<u8>>>,
    semaphore: Arc<Semaphore>,
    tasks: Tasks,
}

impl Opened {
    fn send(&self, number: u64) {
        let body = serde_json::to_vec(&Args::numbered(number)).expect("they are plain");
        self.sender.send(body).expect("the receiver has not gone");
    }
}

#[async_trait]
impl Bench for Opened {
    async fn enqueue_singly(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.send(number);
            consume_budget().await;
        }
    }

    async fn enqueue_in_bulk(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.send(number);
        }
    }

    fn work(&mut self) {
        let mut receiver = self.receiver.take().expect("it works once");
        let semaphore = Arc::clone(&self.semaphore);
        self.tasks.spawn(async move {
            while let Some(body) = receiver.recv().await {
                let permit = Arc::clone(&semaphore).acquire_owned().await.expect("never closed");
                tokio::spawn(async move {
                    let args: Args = serde_json::from_slice(&body).expect("it was encoded here");
                    args.run();
                    drop(permit);
                });
            }
            Ok(())
        });
    }

    fn tasks(&mut self) -> &mut Tasks {
        &mut self.tasks
    }
}
