//! What stands in for the world outside in the tests of the shop, and the test that runs on more
//! than one backend.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test binary uses a part of it")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use anyhow::bail;
use job_memory::testing::{TestJobs, TestJobsBuilder, assert_enqueued};
use shop::orders::{ChargeOrder, SendOrder, Status, place_order};
use shop::{Bank, Mailer, PaymentError, Services, Shelves};

/// A world in which everything works, unless a test says otherwise.
#[derive(Default)]
pub struct World {
    /// Mails that were sent: to whom, about what.
    pub mails: Mutex<Vec<(String, String)>>,
    /// How many mails are to fail first.
    pub mails_to_fail: Mutex<u32>,
    /// What the bank answers first; then it takes the money.
    pub bank: Mutex<VecDeque<Answer>>,
    /// What was charged, by key.
    pub charged: Mutex<BTreeMap<String, u64>>,
    /// Orders that were sent.
    pub parcels: Mutex<BTreeSet<u64>>,
}

pub enum Answer {
    No(PaymentError),
    /// It does not answer at all.
    Silence,
}

#[async_trait::async_trait]
impl Mailer for World {
    async fn send(&self, to: &str, subject: &str) -> anyhow::Result<()> {
        let mut to_fail = self.mails_to_fail.lock().unwrap();
        if *to_fail > 0 {
            *to_fail -= 1;
            bail!("the mail server is down");
        }
        self.mails.lock().unwrap().push((to.to_owned(), subject.to_owned()));
        Ok(())
    }
}

#[async_trait::async_trait]
impl Bank for World {
    async fn charge(&self, key: &str, cents: u64) -> Result<(), PaymentError> {
        let answer = self.bank.lock().unwrap().pop_front();
        match answer {
            Some(Answer::No(error)) => return Err(error),
            Some(Answer::Silence) => std::future::pending().await,
            None => {}
        }
        self.charged.lock().unwrap().insert(key.to_owned(), cents);
        Ok(())
    }
}

impl Shelves for World {
    fn send(&self, order: u64) {
        self.parcels.lock().unwrap().insert(order);
    }
}

/// A shop in a world of its own, with its worker in the hands of the test.
pub struct Shop {
    pub jobs: TestJobs,
    pub services: Services,
    pub world: Arc<World>,
}

impl Shop {
    pub fn new(builder: TestJobsBuilder) -> Self {
        let world = Arc::new(World::default());
        let services = Services {
            accounts: Arc::default(),
            orders: Arc::default(),
            mailer: world.clone(),
            bank: world.clone(),
            shelves: world.clone(),
        };
        let deps = services.clone();
        // The worker's set-up is the app's own.
        let jobs = builder.worker(move |worker| shop::worker(worker, &deps)).build();
        Self { jobs, services, world }
    }

    pub async fn order(&self, cents: u64) -> u64 {
        self.order_for(cents, None).await
    }

    pub async fn order_for(&self, cents: u64, webhook: Option<&str>) -> u64 {
        let placed = place_order(self.jobs.client(), &self.services.orders, cents, webhook);
        placed.await.unwrap()
    }

    pub fn status(&self, order: u64) -> Status {
        self.services.orders.status(order).unwrap()
    }

    pub fn bank_says(&self, answers: impl IntoIterator<Item = Answer>) {
        self.world.bank.lock().unwrap().extend(answers);
    }

    pub fn charged(&self) -> Vec<u64> {
        self.world.charged.lock().unwrap().values().copied().collect()
    }

    pub fn parcels(&self) -> Vec<u64> {
        self.world.parcels.lock().unwrap().iter().copied().collect()
    }
}

/// The test that runs on every backend: an order makes its way although the bank is not there at
/// first.
pub async fn an_order_outlasts_a_flaky_bank(jobs: TestJobsBuilder) {
    let shop = Shop::new(jobs);
    shop.bank_says([Answer::No(PaymentError::Unreachable)]);
    let order = shop.order(4_200).await;
    assert_enqueued!(shop.jobs, ChargeOrder { order }, queue = "orders", count = 1);

    let report = shop.jobs.drain().await;
    assert_eq!((report.retried(), report.completed()), (1, 0), "{report}");
    assert_eq!(shop.status(order), Status::Placed);
    assert_eq!(shop.jobs.all_enqueued::<ChargeOrder>()[0].attempt, 2);

    shop.jobs.advance_to_next().await.expect("it is tried again");
    let report = shop.jobs.drain().await;
    assert_eq!(report.of::<ChargeOrder>().completed(), 1, "{report}");
    assert_eq!(report.of::<SendOrder>().completed(), 1, "{report}");
    assert_eq!(
        (shop.status(order), shop.charged(), shop.parcels()),
        (Status::Sent, vec![4_200], vec![order])
    );
}
