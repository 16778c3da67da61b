//! Invoices: at the end of a month every order gets one, as a file, and those that fail are mended
//! and done again.
//!
//! ```text
//! cargo run --bin invoices
//! ```
//!
//! **The problem.** A batch over all orders of a month. One order with bad data must not stop the
//! others, and "run it all again" must not give anybody a second invoice.
//!
//! **The answer.** One job starts the batch and enqueues one job for each order. Who fails is in the
//! poison queue with the reason. Once the data are mended, those are replayed, and only those.
//!
//! What matters in real life:
//! - An order has one invoice number, however often its job runs: the number is given once and kept
//!   with the order. Numbers have no gaps, so none is given before all else is known to be well.
//! - The file has the number in its name and is renamed into its place: the same one, whole, twice.
//!   Until then its name is one that no other run has.
//! - What people have entered is escaped, or a customer's name would be a part of the page.
//! - This writes HTML, which browsers print. A library for PDF goes in the place of `render`.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use job_core::prelude::*;
use job_memory::MemoryBackend;
use tempfile::NamedTempFile;

const QUEUE: &str = "invoices";

// --- The jobs ------------------------------------------------------------------------------------

/// Starts the batch. It may run twice: then each order has two jobs, and still one invoice.
#[job(queue = "invoices")]
async fn invoice_month(orders: Data<Orders>, cx: JobContext) -> Result<(), JobError> {
    let jobs: Vec<_> = orders.ids().into_iter().map(|order| Invoice { order }).collect();
    println!("{} orders", jobs.len());
    cx.client().enqueue_all(jobs).await?;
    Ok(())
}

#[job(queue = "invoices", max_attempts = 5)]
async fn invoice(order: u32, orders: Data<Orders>, folder: Data<Folder>) -> Result<(), JobError> {
    let found = orders.find(order).ok_or("there is no such order").or_permanent()?;
    if found.customer.is_empty() {
        return Err(JobError::permanent("the order has no customer"));
    }
    let number = orders.number(order);
    folder.write(&format!("{number}.html"), &render(&found, number))?;
    println!("order {order}: invoice {number}");
    Ok(())
}

fn render(order: &Order, number: u32) -> String {
    let mut rows = String::new();
    for (what, cents) in &order.items {
        rows += &format!("<tr><td>{}<td>{}\n", escape(what), euros(*cents));
    }
    let total = order.items.iter().map(|(_, cents)| cents).sum();
    format!(
        "<!doctype html><meta charset=utf-8><title>Invoice {number}</title>\n\
         <h1>Invoice {number}</h1>\n<p>{}</p>\n<table>\n{rows}<tr><th>Total<th>{}\n</table>\n",
        escape(&order.customer),
        euros(total),
    )
}

/// Money is whole cents: a floating-point number would lose some.
fn euros(cents: u64) -> String {
    format!("€{}.{:02}", cents / 100, cents % 100)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

// --- The app -------------------------------------------------------------------------------------

#[derive(Clone)]
struct Order {
    customer: String,
    items: Vec<(String, u64)>,
    invoice: Option<u32>,
}

/// A table, in an app that is more than an example.
struct Orders(Mutex<BTreeMap<u32, Order>>);

impl Orders {
    fn ids(&self) -> Vec<u32> {
        self.0.lock().expect("nobody panics with it").keys().copied().collect()
    }

    fn find(&self, id: u32) -> Option<Order> {
        self.0.lock().expect("nobody panics with it").get(&id).cloned()
    }

    fn mend(&self, id: u32, customer: &str) {
        let mut orders = self.0.lock().expect("nobody panics with it");
        orders.entry(id).and_modify(|order| order.customer = customer.to_owned());
    }

    /// The order's number, given now if it has none: in one transaction.
    fn number(&self, id: u32) -> u32 {
        let mut orders = self.0.lock().expect("nobody panics with it");
        let next =
            orders.values().filter_map(|order| order.invoice).max().unwrap_or(20_260_000) + 1;
        *orders.get_mut(&id).expect("it was found").invoice.get_or_insert(next)
    }
}

struct Folder(PathBuf);

impl Folder {
    fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(&self.0)?;
        file.write_all(text.as_bytes())?;
        file.persist(self.0.join(name))?;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let customers = ["Ada", "", "Grace & Sons <script>", "Edsger"];
    let orders = (1..).zip(customers).map(|(id, customer)| {
        let items = vec![("Cup".to_owned(), 995), ("Saucer".to_owned(), 450)];
        (id, Order { customer: customer.to_owned(), items, invoice: None })
    });
    let orders = Arc::new(Orders(Mutex::new(orders.collect())));

    let client = Client::new(MemoryBackend::new());
    let serve = async || {
        let worker = Worker::builder(&client)
            .data_arc(orders.clone())
            .data(Folder(folder.path().to_owned()))
            .queue(Queue::new(QUEUE).concurrency(1)) // so the numbers are the same in every run
            .build()?;
        anyhow::Ok(worker.run_until(support::until_empty(&client, &[QUEUE])).await?)
    };
    client.enqueue(InvoiceMonth {}).await?;
    serve().await?;

    // Somebody looks, mends, and has those done that failed.
    let poison = client.poison(QUEUE)?;
    for job in poison.list(10).await? {
        println!("failed: {}", job.error().unwrap_or("no error"));
    }
    orders.mend(2, "Barbara");
    println!("{} replayed", poison.replay().error_contains("no customer").await?.replayed());
    serve().await?;

    // Everything again, by mistake: nobody gets another one.
    client.enqueue(InvoiceMonth {}).await?;
    serve().await?;
    show(folder.path())
}

fn show(folder: &Path) -> anyhow::Result<()> {
    let mut files = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    println!("\n{} invoices", files.len());
    for file in files {
        let html = fs::read_to_string(file.path())?;
        let customer = html.lines().find(|line| line.starts_with("<p>")).unwrap_or_default();
        println!("{}: {customer}", file.file_name().display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_of_one_job_do_not_touch_each_others_file() {
        let folder = tempfile::tempdir().unwrap();
        let (to, text) = (Folder(folder.path().to_owned()), "whole ".repeat(10_000));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..500).for_each(|_| to.write("1.html", &text).unwrap()));
            }
        });
        assert_eq!(fs::read_to_string(folder.path().join("1.html")).unwrap(), text);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
