//! A pipeline: an order is paid, packed and announced, each step a job that enqueues the next.
//!
//! ```text
//! cargo run --bin order-pipeline
//! ```
//!
//! **The problem.** Several things have to happen one after the other, at several services, each of
//! which may fail at any point. No transaction spans them.
//!
//! **The answer.** One job a step. It does its work, records it, and enqueues the next one. A step
//! that fails is tried again by itself; what was done before is not done again.
//!
//! What matters in real life:
//! - A step may run twice, and so may its end: it died after it enqueued the next one, and enqueues
//!   it again. So every step asks first where the order stands, and lets go what is done already.
//! - What cannot ask that, such as a bank, gets a **key** that is the same every time. Here it is the
//!   order and the step, and not the job's id: two jobs for one step charge once, too.
//! - Record, then enqueue, then return. The other way round, a crash in between would leave an order
//!   that says "paid" and of which nobody thinks any more.
//! - What cannot go on is undone by a job as well: a declined card gives the goods back. Which way an
//!   order goes on is read from where it stands, and not from what this attempt has seen: the attempt
//!   that was refused may have died before it could enqueue anything.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod support;

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use job_core::prelude::*;
use job_memory::MemoryBackend;

const QUEUE: &str = "orders";

// --- The steps -----------------------------------------------------------------------------------

#[job(queue = "orders")]
async fn reserve(order: u64, shop: Data<Shop>, cx: JobContext) -> Result<(), JobError> {
    if shop.at(order) == Step::Placed {
        shop.advance(order, Step::Placed, Step::Reserved);
    }
    cx.client().enqueue(Charge { order }).await?;
    Ok(())
}

#[job(queue = "orders", max_attempts = 6, backoff = exponential("20ms", "200ms"))]
async fn charge(
    order: u64,
    shop: Data<Shop>,
    bank: Data<Bank>,
    cx: JobContext,
) -> Result<(), JobError> {
    if shop.at(order) == Step::Reserved {
        match bank.charge(&format!("order-{order}-charge")) {
            Ok(()) => shop.advance(order, Step::Reserved, Step::Paid),
            Err(Refusal::Declined) => shop.advance(order, Step::Reserved, Step::Declined),
            Err(Refusal::ConnectionLost) => return Err("the bank's answer was lost".into()),
        }
    }
    if order == 4 && cx.attempt() == 1 {
        // As if the process died here: it is recorded, and nothing is on the queue.
        return Err("died right after the bank".into());
    }
    match shop.at(order) {
        Step::Declined => {
            cx.client().enqueue(GiveBack { order }).await?;
            Err(JobError::permanent("the card was declined"))
        }
        Step::GivenBack => Err(JobError::discard("the goods are given back already")),
        _ => {
            cx.client().enqueue(Pack { order }).await?;
            Ok(())
        }
    }
}

#[job(queue = "orders", max_attempts = 6, backoff = exponential("20ms", "200ms"))]
async fn pack(order: u64, shop: Data<Shop>, cx: JobContext) -> Result<(), JobError> {
    if shop.at(order) == Step::Paid {
        shop.advance(order, Step::Paid, Step::Packed);
    }
    cx.client().enqueue(Announce { order }).await?;
    if order == 2 && cx.attempt() == 1 {
        // As if the process died here: the next step is on its queue, and this one comes again.
        return Err("died at the last moment".into());
    }
    Ok(())
}

/// The last one. It is enqueued twice for order 2, and does its work once.
#[job(queue = "orders")]
async fn announce(order: u64, shop: Data<Shop>) -> Result<(), JobError> {
    if shop.at(order) != Step::Packed {
        return Err(JobError::discard("the customer knows already"));
    }
    shop.advance(order, Step::Packed, Step::Announced);
    Ok(())
}

#[job(queue = "orders")]
async fn give_back(order: u64, shop: Data<Shop>) -> Result<(), JobError> {
    if shop.at(order) == Step::Declined {
        shop.advance(order, Step::Declined, Step::GivenBack);
    }
    Ok(())
}

// --- The shop ------------------------------------------------------------------------------------

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Placed,
    Reserved,
    Paid,
    Packed,
    Announced,
    Declined,
    GivenBack,
}

/// A table of orders, in an app that is more than an example.
struct Shop(Mutex<BTreeMap<u64, Step>>);

impl Shop {
    fn at(&self, order: u64) -> Step {
        self.0.lock().expect("nobody panics with it")[&order]
    }

    /// As `UPDATE orders SET step = 'paid' WHERE id = 1 AND step = 'reserved'`: of two that come at
    /// the same time, one finds it changed and changes nothing.
    fn advance(&self, order: u64, from: Step, to: Step) {
        let mut orders = self.0.lock().expect("nobody panics with it");
        if let Some(step) = orders.get_mut(&order).filter(|step| **step == from) {
            *step = to;
            println!("order {order}: {to:?}");
        }
    }
}

/// Somebody else's. It charges once for each key, however often it is asked.
#[derive(Default)]
struct Bank {
    charged: Mutex<HashSet<String>>,
    asked: Mutex<u32>,
}

enum Refusal {
    ConnectionLost,
    Declined,
}

impl Bank {
    fn charge(&self, key: &str) -> Result<(), Refusal> {
        *self.asked.lock().expect("nobody panics with it") += 1;
        if ["order-3-charge", "order-4-charge"].contains(&key) {
            return Err(Refusal::Declined);
        }
        let new = self.charged.lock().expect("nobody panics with it").insert(key.to_owned());
        // It has charged order 1, but nobody hears of it at first.
        if key == "order-1-charge" && new { Err(Refusal::ConnectionLost) } else { Ok(()) }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = Client::new(MemoryBackend::new());
    let bank = std::sync::Arc::new(Bank::default());
    let orders = (1..=4).map(|order| (order, Step::Placed)).collect();
    client.enqueue_all((1..=4).map(|order| Reserve { order })).await?;

    let worker = Worker::builder(&client)
        .data(Shop(Mutex::new(orders)))
        .data_arc(bank.clone())
        .queue(Queue::new(QUEUE).concurrency(4))
        .build()?;
    let report = worker.run_until(support::until_empty(&client, &[QUEUE])).await?;

    let (asked, charged) = (bank.asked.lock().expect("it"), bank.charged.lock().expect("it").len());
    println!("\nthe bank was asked {asked} times and has charged {charged} orders");
    println!("{report}");
    Ok(())
}
