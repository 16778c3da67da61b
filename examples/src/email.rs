//! Mail: sent by SMTP from a queue, at the rate that the provider allows.
//!
//! ```text
//! cargo run --bin email
//! ```
//!
//! **The problem.** A mail server takes its time, says "later" as a matter of course, and cuts off
//! who sends too fast. A sign-up must not wait for that, or fail by it.
//!
//! **The answer.** One job a mail, on a queue with a rate limit. "Later" (4xx) is tried again;
//! "never" (5xx) is permanent, unless it is about who sends.
//!
//! What matters in real life:
//! - A mail cannot be taken back. When a worker dies between sending it and saying so, it is sent
//!   again. `Message-ID` comes of the job's id, which is the same in every attempt: by it some mail
//!   programs show it once. Most servers deliver it twice all the same: do not rely on it.
//! - A wrong or expired password is a 5xx, too, and would have every mail of the queue given up.
//! - The rate limit is one for each worker process: share it out among them.
//! - Many addresses that do not exist give a sender a bad name. Those jobs are in the poison queue,
//!   to be looked at.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

mod support;

use std::time::Duration;

use job_core::prelude::*;
use job_memory::MemoryBackend;
use lettre::address::AddressError;
use lettre::message::Mailbox;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use self::support::smtp::MailServer;

type Smtp = AsyncSmtpTransport<Tokio1Executor>;

const QUEUE: &str = "mail";

/// In real life the backoff would go from a minute to hours: that is what "later" means.
#[job(queue = "mail", max_attempts = 10, backoff = exponential("50ms", "1s"), timeout = "30s")]
async fn send_mail(
    to: String,
    subject: String,
    text: String,
    smtp: Data<Smtp>,
    cx: JobContext,
) -> Result<(), JobError> {
    let mailbox: Mailbox = to.parse().map_err(|error: AddressError| {
        println!("{to}: {error}");
        JobError::permanent(error)
    })?;
    let mail = Message::builder()
        .from("Shop <shop@example.com>".parse().or_permanent()?)
        .to(mailbox)
        .subject(subject)
        .message_id(Some(format!("<{}@example.com>", cx.id())))
        .body(text)
        .or_permanent()?;
    match smtp.send(mail).await {
        Ok(_) => {
            println!("{to}: sent at attempt {}", cx.attempt());
            Ok(())
        }
        Err(error) if is_about_the_mail(&error) => {
            println!("{to}: the server will never take it");
            Err(JobError::permanent(error))
        }
        // "Later", no connection, or no valid password.
        Err(error) => {
            println!("{to}: not now");
            Err(error.into())
        }
    }
}

/// "Never", and not because of who sends: these four are about logging in (RFC 4954).
fn is_about_the_mail(error: &lettre::transport::smtp::Error) -> bool {
    let status = error.status().map(u16::from);
    error.is_permanent() && !matches!(status, Some(530 | 534 | 535 | 538))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let server = MailServer::default();
    let address = server.start().await?;
    // In real life `Smtp::relay("smtp.example.com")?` with credentials, and TLS.
    let smtp: Smtp = Smtp::builder_dangerous(address.ip().to_string())
        .port(address.port())
        .timeout(Some(Duration::from_secs(10)))
        .build();

    let client = Client::new(MemoryBackend::new());
    let to = ["ada", "grey", "nobody", "grace", "login", "not an address", "edsger", "barbara"];
    client
        .enqueue_all(to.map(|name| SendMail {
            to: if name.contains(' ') { name.to_owned() } else { format!("{name}@example.org") },
            subject: "Your order".to_owned(),
            text: format!("Dear {name}, it is on its way."),
        }))
        .await?;

    let worker = Worker::builder(&client)
        .data(smtp)
        .queue(Queue::new(QUEUE).concurrency(4).rate_limit(3, SECOND)) // what the server bears
        .build()?;
    let report = worker.run_until(support::until_empty(&client, &[QUEUE])).await?;

    let mails = server.mails();
    let with_id = |id: &str| mails.iter().filter(|mail| mail.text.contains(id)).count();
    println!(
        "\nthe server has {} mails, {} with an id of ours",
        mails.len(),
        with_id("Message-ID: <")
    );
    println!("it found us too fast {} times", server.too_fast());
    println!("{report}");
    Ok(())
}
