//! What supervisor and processes tell each other: a line of JSON each, over a socket pair that is
//! the process's stdin when it starts.
//!
//! A suspect goes this way with its body and its receipt, so lines are never shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::backend::{MessageId, Receipt, Token};
use crate::worker::{Fate, Handed, Held};
use crate::{BoxError, QueueName, Report};

/// Which process of the supervisor's this is: a number from 1 on, or [`SUSPECTS`].
/// Not `JOB_..`: a worker's settings may be read from all variables of that prefix.
pub(super) const PROCESS: &str = "SUPERVISED_WORKER";

/// The name of the process for suspects.
pub(super) const SUSPECTS: &str = "suspects";

/// How often a process tells that it lives.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// From a process to its supervisor.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Up {
    /// It lives, and has done this so far.
    Alive(Report),
    /// A worker of it has found its queues; that is its grace time.
    Serving { grace_millis: u64 },
    /// It has a suspect.
    Claim { claim: u64 },
    /// It has none any more.
    Withdraw { claim: u64 },
    /// Here it is.
    HandOver { claim: u64, suspect: Suspect },
    /// From the process for suspects: that one is done with.
    Done { claim: u64 },
    /// A start is about to be marked. It is over within that time, or its job hangs.
    Marked { mark: Mark, within_millis: u64 },
    /// That start is over.
    Over { mark: Mark, survived: bool },
    /// What became of the start that is marked so?
    Ask { question: u64, mark: Mark },
    /// It ends, and that is what it has done.
    Ended { error: Option<String>, report: Report },
}

/// From the supervisor to a process.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Down {
    /// Take no more jobs, and stop when those that run are done.
    Retire,
    /// Stop, within the grace time.
    Drain,
    /// Stop without it.
    Now,
    /// The answer to a claim.
    Claimed { claim: u64, granted: bool },
    /// The answer to a question.
    Answer { question: u64, fate: Fate },
    /// To the process for suspects: run this.
    Suspect { claim: u64, suspect: Suspect },
}

/// The mark of a start in a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Mark {
    queue: String,
    message: String,
    count: u32,
}

impl Mark {
    pub(super) fn new(queue: &QueueName, message: &MessageId, count: u32) -> Self {
        Self { queue: queue.to_string(), message: message.to_string(), count }
    }
}

/// A message with its lease.
#[derive(Serialize, Deserialize)]
pub(super) struct Suspect {
    queue: String,
    message_id: Text,
    token: Text,
    left_millis: u64,
    count: Option<u32>,
    inserted_millis: u64,
    now_millis: u64,
    /// In base64.
    body: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Number(u64),
    Text(String),
}

impl Suspect {
    pub(super) fn new(handed: Handed) -> Self {
        let Handed { held, count, inserted_at, server_now, body } = handed;
        let Held { receipt, deadline } = held;
        let (id, token) = (receipt.message_id(), receipt.token());
        Self {
            queue: receipt.queue().to_string(),
            message_id: id.as_number().map_or_else(|| Text::Text(id.to_string()), Text::Number),
            token: match (token.as_number(), token.as_text()) {
                (Some(number), _) => Text::Number(number),
                (None, text) => Text::Text(text.unwrap_or_default().to_owned()),
            },
            left_millis: millis(deadline.saturating_duration_since(Instant::now())),
            count,
            inserted_millis: millis(since_epoch(inserted_at)),
            now_millis: millis(since_epoch(server_now)),
            body: STANDARD.encode(&body),
        }
    }

    /// For how long it is held.
    pub(super) fn left(&self) -> Duration {
        Duration::from_millis(self.left_millis)
    }

    pub(super) fn read(self) -> Result<Handed, BoxError> {
        let message_id = match self.message_id {
            Text::Number(number) => MessageId::from(number),
            Text::Text(text) => text.into(),
        };
        let token = match self.token {
            Text::Number(number) => Token::from(number),
            Text::Text(text) => text.into(),
        };
        let deadline = Instant::now() + Duration::from_millis(self.left_millis);
        Ok(Handed {
            held: Held {
                receipt: Receipt::new(QueueName::new(&self.queue)?, message_id, token),
                deadline,
            },
            count: self.count,
            inserted_at: UNIX_EPOCH + Duration::from_millis(self.inserted_millis),
            server_now: UNIX_EPOCH + Duration::from_millis(self.now_millis),
            body: STANDARD.decode(self.body)?.into(),
        })
    }
}

/// A message and its end of line.
pub(super) fn line(message: &impl Serialize) -> Vec<u8> {
    // Nothing in them can fail to be written.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspect_arrives_as_it_was() {
        for (id, token) in
            [(MessageId::from(7), Token::from(8)), (MessageId::from("7"), Token::from("a+b=="))]
        {
            let receipt = Receipt::new(QueueName::new("mail").unwrap(), id, token);
            let deadline = Instant::now() + Duration::from_secs(40);
            let at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
            let sent = Handed {
                held: Held { receipt: receipt.clone(), deadline },
                count: Some(3),
                inserted_at: at,
                server_now: at + Duration::from_secs(9),
                body: vec![0, 255, b'\n'].into(),
            };
            let line = line(&Up::HandOver { claim: 1, suspect: Suspect::new(sent) });
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let Up::HandOver { suspect, .. } = serde_json::from_slice(&line).unwrap() else {
                panic!("it is something else")
            };
            let got = suspect.read().unwrap();
            assert!(got.held.receipt == receipt);
            assert!(got.held.deadline.duration_since(deadline) < Duration::from_secs(1));
            assert!(deadline.duration_since(got.held.deadline) < Duration::from_secs(1));
            assert_eq!((got.count, got.inserted_at), (Some(3), at));
            assert_eq!(got.server_now, at + Duration::from_secs(9));
            assert_eq!(got.body[..], [0, 255, b'\n']);
        }
    }
}
