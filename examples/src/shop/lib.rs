//! The back office of a shop: mail to those who sign up, orders that are paid and sent, and other
//! people's servers that want to hear of it. It shows how an app is tested: see `tests/shop.rs`.
//!
//! What the app needs from outside is behind traits ([`Mailer`], [`Bank`], [`Shelves`]), which
//! handlers get as `Data`, so a test can put something else in their place. The queues are no
//! trait of the app's: a test swaps the backend.

pub mod accounts;
pub mod orders;
pub mod webhooks;

use std::sync::Arc;

use job_core::{Queue, WorkerBuilder};

pub use self::accounts::{Accounts, Mailer};
pub use self::orders::{Bank, Orders, PaymentError, Shelves};

/// All that the app's jobs share.
#[derive(Clone)]
pub struct Services {
    /// Who has signed up.
    pub accounts: Arc<Accounts>,
    /// What was ordered.
    pub orders: Arc<Orders>,
    /// Sends mail.
    pub mailer: Arc<dyn Mailer>,
    /// Takes the money.
    pub bank: Arc<dyn Bank>,
    /// Has the goods.
    pub shelves: Arc<dyn Shelves>,
}

/// Sets a worker up: in production, with `Worker::builder(&client)`, and in tests.
pub fn worker(worker: WorkerBuilder, services: &Services) -> WorkerBuilder {
    let Services { accounts, orders, mailer, bank, shelves } = services.clone();
    worker
        .data_arc(accounts)
        .data_arc(orders)
        .data_arc(mailer)
        .data_arc(bank)
        .data_arc(shelves)
        .queue(Queue::new("mail").concurrency(8))
        .queue(Queue::new("orders").concurrency(4))
        .queue(Queue::new("webhooks").concurrency(32))
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}
