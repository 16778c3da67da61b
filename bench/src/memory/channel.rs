//! A bare channel: the least that any queue costs.

use std::ops::Range;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::contender::{Bench, Contender, Setup};
use crate::job::Args;

/// A channel of args and one task that takes them off.
#[derive(Clone, Copy, Debug)]
pub struct Channel;

impl Contender for Channel {
    fn name(&self) -> &'static str {
        "bare channel"
    }

    fn is_concurrent(&self) -> bool {
        false
    }

    fn open(&self, _setup: Setup) -> Box<dyn Bench> {
        let (sender, receiver) = mpsc::unbounded_channel();
        Box::new(Opened { sender, receiver: Some(receiver), tasks: JoinSet::new() })
    }
}

struct Opened {
    sender: mpsc::UnboundedSender<Args>,
    receiver: Option<mpsc::UnboundedReceiver<Args>>,
    tasks: JoinSet<()>,
}

#[async_trait]
impl Bench for Opened {
    async fn enqueue_singly(&mut self, numbers: Range<u64>) {
        self.enqueue_in_bulk(numbers).await;
    }

    async fn enqueue_in_bulk(&mut self, numbers: Range<u64>) {
        for number in numbers {
            self.sender.send(Args::numbered(number)).expect("the receiver has not gone");
            tokio::task::coop::consume_budget().await;
        }
    }

    fn work(&mut self) {
        let mut receiver = self.receiver.take().expect("it works once");
        self.tasks.spawn(async move {
            while let Some(args) = receiver.recv().await {
                args.run();
            }
        });
    }
}
