//! Wakes the workers of this process, so that a job enqueued here starts at once and not at the
//! next poll. A hint: a wake that nobody hears costs nothing, and a missed one costs a poll.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use tokio::sync::Notify;

use crate::QueueName;

/// From how many messages on everybody is woken rather than one waiter a message.
const EVERYBODY: usize = 16;

/// One bell a queue, for as long as somebody listens.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    queues: RwLock<HashMap<QueueName, Weak<Notify>>>,
}

impl Wakers {
    /// The bell of that queue, shared by all who listen. It is forgotten when the last one drops
    /// it.
    pub(crate) fn subscribe(&self, queue: &QueueName) -> Arc<Notify> {
        let mut queues = self.queues.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(notify) = queues.get(queue).and_then(Weak::upgrade) {
            return notify;
        }
        queues.retain(|_, notify| notify.strong_count() > 0);
        let notify = Arc::new(Notify::new());
        queues.insert(queue.clone(), Arc::downgrade(&notify));
        notify
    }

    /// Says that `messages` have just become visible on the queue. If nobody waits at the moment,
    /// the next one who would does not.
    pub(crate) fn wake(&self, queue: &QueueName, messages: usize) {
        let notify = {
            let queues = self.queues.read().unwrap_or_else(PoisonError::into_inner);
            match queues.get(queue).and_then(Weak::upgrade) {
                Some(notify) => notify,
                None => return,
            }
        };
        if messages > EVERYBODY {
            notify.notify_waiters();
            // The above is lost on somebody who is only about to wait.
            notify.notify_one();
        } else {
            for _ in 0..messages {
                notify.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_before_the_wait_is_not_lost() {
        let wakers = Wakers::default();
        let queue = QueueName::new("mail").unwrap();
        wakers.wake(&queue, 1);
        for messages in [1, 3, 1000] {
            let bell = wakers.subscribe(&queue);
            wakers.wake(&queue, messages);
            bell.notified().await;
        }
    }

    #[tokio::test]
    async fn each_message_wakes_one_waiter() {
        let wakers = Wakers::default();
        let queue = QueueName::new("mail").unwrap();
        let bell = wakers.subscribe(&queue);
        let mut waits: Vec<_> = (0..3).map(|_| Box::pin(bell.notified())).collect();
        for wait in &mut waits {
            wait.as_mut().enable();
        }
        wakers.wake(&queue, 2);
        let woken = waits.iter_mut().map(|wait| wait.as_mut().enable()).filter(|woken| *woken);
        assert_eq!(woken.count(), 2);
    }

    #[test]
    fn one_bell_a_queue_while_somebody_holds_it() {
        let wakers = Wakers::default();
        let (mail, other) = (QueueName::new("mail").unwrap(), QueueName::new("other").unwrap());
        let bell = wakers.subscribe(&mail);
        assert!(Arc::ptr_eq(&bell, &wakers.subscribe(&mail)));
        assert!(!Arc::ptr_eq(&bell, &wakers.subscribe(&other)));
        drop(bell);
        let _other = wakers.subscribe(&other);
        assert_eq!(wakers.queues.read().unwrap().len(), 1);
    }
}
