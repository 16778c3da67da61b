//! The job that all contenders run.

use std::convert::Infallible;

use job_core::job;
use serde::{Deserialize, Serialize};

use crate::finish;

/// The queue of the framework's jobs.
pub const QUEUE: &str = "bench";

/// Does nothing, with args of 24 bytes.
#[job(queue = "bench")]
pub async fn welcome(_user_id: u64, _email: String) -> Result<(), Infallible> {
    finish::one();
    Ok(())
}

/// The same args, for those who take a type of the user's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Args {
    /// 8 bytes.
    pub user_id: u64,
    /// 16 bytes.
    pub email: String,
}

impl Args {
    /// Those of the job with that number.
    pub fn numbered(user_id: u64) -> Self {
        Self { user_id, email: email() }
    }

    /// What the framework's contenders do with them, without the framework.
    pub fn run(self) {
        finish::one();
    }
}

/// The framework's job with that number.
pub fn numbered(user_id: u64) -> Welcome {
    Welcome { _user_id: user_id, _email: email() }
}

fn email() -> String {
    "ada1@example.com".to_owned()
}
