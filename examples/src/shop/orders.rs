//! From the basket to the door: an order is paid, then sent, and whoever has asked hears of it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use job_core::prelude::*;

use crate::webhooks::DeliverWebhook;

/// Takes money. It is somebody else's, and not always there.
#[async_trait::async_trait]
pub trait Bank: Send + Sync {
    /// Takes the money once for each `key`, however often it is asked.
    async fn charge(&self, key: &str, cents: u64) -> Result<(), PaymentError>;
}

/// Why there is no money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, job_core::JobError)]
pub enum PaymentError {
    /// Tried again by the backoff.
    #[error("the bank cannot be reached")]
    Unreachable,
    /// It says when to come again.
    #[error("the bank is busy")]
    #[retry_after("90s")]
    Busy,
    /// It will not change its mind.
    #[error("the card was declined")]
    #[permanent]
    Declined,
}

/// Where the goods are.
pub trait Shelves: Send + Sync {
    /// Takes an order out, to be sent. However often it is asked, an order is one parcel.
    fn send(&self, order: u64);
}

/// What was ordered. A database, in an app that is more than an example.
#[derive(Debug, Default)]
pub struct Orders {
    orders: Mutex<BTreeMap<u64, Order>>,
}

#[derive(Clone, Debug)]
struct Order {
    cents: u64,
    status: Status,
    webhook: Option<String>,
}

/// How far an order has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Waiting for the money.
    Placed,
    /// Waiting to be sent.
    Paid,
    /// On its way.
    Sent,
    /// Its customer has thought better of it.
    Cancelled,
}

impl Orders {
    /// How far that order has come.
    pub fn status(&self, id: u64) -> Option<Status> {
        self.find(id).map(|order| order.status)
    }

    /// Stops an order that is not sent yet.
    pub fn cancel(&self, id: u64) {
        self.step(id, &[Status::Placed, Status::Paid], Status::Cancelled);
    }

    fn add(&self, order: Order) -> u64 {
        let mut orders = self.orders.lock().expect("nobody panics with it");
        let id = orders.len() as u64 + 1;
        orders.insert(id, order);
        id
    }

    fn find(&self, id: u64) -> Option<Order> {
        self.orders.lock().expect("nobody panics with it").get(&id).cloned()
    }

    /// Goes on from one of these; whether it was one of them.
    fn step(&self, id: u64, from: &[Status], to: Status) -> bool {
        let mut orders = self.orders.lock().expect("nobody panics with it");
        match orders.get_mut(&id).filter(|order| from.contains(&order.status)) {
            Some(order) => {
                order.status = to;
                true
            }
            None => false,
        }
    }
}

/// Takes an order in.
pub async fn place_order(
    client: &Client,
    orders: &Orders,
    cents: u64,
    webhook: Option<&str>,
) -> anyhow::Result<u64> {
    let webhook = webhook.map(ToOwned::to_owned);
    let order = orders.add(Order { cents, status: Status::Placed, webhook });
    client.enqueue(ChargeOrder { order }).meta("source", "web").await?;
    Ok(order)
}

/// Takes the money.
#[job(queue = "orders", max_attempts = 6, backoff = exponential("2s", "10m"), timeout = "20s")]
pub async fn charge_order(
    order: u64,
    orders: Data<Orders>,
    bank: Data<dyn Bank>,
    cx: JobContext,
) -> Result<(), JobError> {
    let found = orders.find(order).ok_or("no such order").or_permanent()?;
    if found.status == Status::Cancelled {
        return Err(JobError::discard("cancelled before it was paid"));
    }
    // The job's id is the same in every attempt, so the bank charges once.
    bank.charge(&cx.id().to_string(), found.cents).await?;
    orders.step(order, &[Status::Placed], Status::Paid);
    cx.client().enqueue(SendOrder { order }).await?;
    Ok(())
}

/// Sends the goods. Like every job it may run twice: each of its steps can bear that.
#[job(queue = "orders")]
pub async fn send_order(
    order: u64,
    orders: Data<Orders>,
    shelves: Data<dyn Shelves>,
    cx: JobContext,
) -> Result<(), JobError> {
    let found = orders.find(order).ok_or("no such order").or_permanent()?;
    if found.status == Status::Cancelled {
        return Err(JobError::discard("cancelled before it was sent"));
    }
    shelves.send(order);
    orders.step(order, &[Status::Paid], Status::Sent);
    if let Some(url) = found.webhook {
        let key = format!("order-{order}-sent");
        cx.client().enqueue(DeliverWebhook { url, event: "order.sent".into(), key }).await?;
    }
    Ok(())
}
