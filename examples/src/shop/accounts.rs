//! Signing up.

use std::collections::BTreeMap;
use std::sync::Mutex;

use job_core::prelude::*;

/// Sends mail.
#[async_trait::async_trait]
pub trait Mailer: Send + Sync {
    /// Sends one.
    async fn send(&self, to: &str, subject: &str) -> anyhow::Result<()>;
}

/// Who has signed up. A database, in an app that is more than an example.
#[derive(Debug, Default)]
pub struct Accounts {
    accounts: Mutex<BTreeMap<u64, Account>>,
}

#[derive(Clone, Debug)]
struct Account {
    email: String,
    wants_mail: bool,
}

impl Accounts {
    fn add(&self, email: &str) -> u64 {
        let mut accounts = self.accounts.lock().expect("nobody panics with it");
        let id = accounts.len() as u64 + 1;
        accounts.insert(id, Account { email: email.to_owned(), wants_mail: true });
        id
    }

    fn find(&self, id: u64) -> Option<Account> {
        self.accounts.lock().expect("nobody panics with it").get(&id).cloned()
    }

    /// No more mail to that one, please.
    pub fn unsubscribe(&self, id: u64) {
        if let Some(account) = self.accounts.lock().expect("nobody panics with it").get_mut(&id) {
            account.wants_mail = false;
        }
    }
}

/// Makes an account, and has its owner welcomed now and told more in three days.
pub async fn sign_up(client: &Client, accounts: &Accounts, email: &str) -> anyhow::Result<u64> {
    let user_id = accounts.add(email);
    client.enqueue(SendWelcome { user_id, email: email.to_owned() }).await?;
    client.enqueue(SendTips { user_id }).delay(3 * DAY).await?;
    Ok(user_id)
}

/// Says hello.
#[job(queue = "mail", max_attempts = 4, backoff = exponential("30s", "1h"))]
pub async fn send_welcome(
    user_id: u64,
    email: String,
    mailer: Data<dyn Mailer>,
) -> Result<(), JobError> {
    mailer.send(&email, &format!("Welcome, you are number {user_id}")).await?;
    Ok(())
}

/// Says what else there is.
#[job(queue = "mail")]
pub async fn send_tips(
    user_id: u64,
    accounts: Data<Accounts>,
    mailer: Data<dyn Mailer>,
) -> Result<(), JobError> {
    let account = accounts.find(user_id).ok_or("no such account").or_permanent()?;
    if !account.wants_mail {
        return Err(JobError::discard("unsubscribed"));
    }
    mailer.send(&account.email, "Did you know?").await?;
    Ok(())
}
