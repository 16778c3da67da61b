//! A bare channel: the least that any queue costs.

use std::ops::Range;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::coop::consume_budget;

use super::contender::{Bench, Contender, Setup};
use crate::finish::Tasks;
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
        Box::new(Opened { sender, receiver: Some(receiver), tasks: Tasks::new() })
    }
}

struct Opened {
    sender: mpsc::UnboundedSender<Args>,
    receiver: Option<mpsc::UnboundedReceiver<Args>>,
    tasks: Tasks,
}

impl Opened {
    fn send(&self, number: u64) {
        self.sender.send(Args::numbered(number)).expect("the receiver has not gone");
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
        self.tasks.spawn(async move {
            while let Some(args) = receiver.recv().await {
                args.run();
            }
            Ok(())
        });
    }

    fn tasks(&mut self) -> &mut Tasks {
        &mut self.tasks
    }
}
