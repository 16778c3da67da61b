//! Runs the small scenarios as a person would, and reads what they say.

use std::process::Command;

use job_azurite::{Azurite, Foreign};

#[test]
fn webhooks() {
    let said = run(env!("CARGO_BIN_EXE_webhooks"));
    has_lines(
        &said,
        &[
            "good      attempt 1: 204",
            "busy      attempt 1: 429",
            "busy      attempt 2: 204",
            // It is busy for a second: who does not wait as told asks more often.
            "busy      1 events in 2 requests",
            "flaky     attempt 1: 500",
            "flaky     attempt 2: 500",
            "flaky     attempt 3: 204",
            "hanging   attempt 1: no answer in time",
            "hanging   attempt 2: 204",
            "forgetful attempt 1: no answer in time",
            "forgetful attempt 2: 204",
            "gone      attempt 1: 410",
            // It got the event twice, and has it once.
            "forgetful 1 events in 2 requests",
            "gone      0 events in 1 requests",
        ],
    );
    assert!(said.contains("5 completed, 5 retried, 1 poisoned"), "{said}");
}

#[test]
fn email() {
    let said = run(env!("CARGO_BIN_EXE_email"));
    has_lines(
        &said,
        &[
            "ada@example.org: sent at attempt 1",
            "grey@example.org: not now",
            "grey@example.org: sent at attempt 2",
            "login@example.org: not now",
            "login@example.org: sent at attempt 2",
            "nobody@example.org: the server will never take it",
            "the server has 6 mails, 6 with an id of ours",
            "it found us too fast 0 times",
        ],
    );
    assert!(said.contains("not an address: "), "{said}");
    assert!(said.contains("6 completed, 2 retried, 2 poisoned"), "{said}");
}

#[test]
fn order_pipeline() {
    let said = run(env!("CARGO_BIN_EXE_order-pipeline"));
    for order in [1, 2] {
        for step in ["Reserved", "Paid", "Packed", "Announced"] {
            has_lines(&said, &[&format!("order {order}: {step}")]);
        }
    }
    // The one that charged order 4 died before it could have its goods given back.
    for order in [3, 4] {
        for step in ["Reserved", "Declined", "GivenBack"] {
            has_lines(&said, &[&format!("order {order}: {step}")]);
        }
    }
    has_lines(&said, &["the bank was asked 5 times and has charged 2 orders"]);
    // Order 2 was announced once, by two jobs.
    assert!(said.contains("12 completed, 3 retried, 2 poisoned, 1 discarded"), "{said}");
}

#[test]
fn sync() {
    let said = run(env!("CARGO_BIN_EXE_sync"));
    has_lines(
        &said,
        &[
            "customer 2, attempt 1: it wants us to wait",
            "customer 2, attempt 2: is Grace there",
            "customer 3, attempt 1: it cannot be reached",
            "customer 3, attempt 2: is Edsger there",
            "customer 4, attempt 1: it does not like this customer",
            "customer 5, attempt 1: it has trouble",
            "customer 5, attempt 2: is Barbara there",
            "customer 6, attempt 1: has changed meanwhile",
            // Two jobs for two changes; whichever comes last, the later change stays.
            "over there: {1: \"Ada Lovelace\", 2: \"Grace\", 3: \"Edsger\", 5: \"Barbara\", \
             6: \"Tony Hoare\"}",
        ],
    );
    for changed in ["Ada Lovelace", "Tony Hoare"] {
        assert_eq!(said.matches(&format!(": is {changed} there\n")).count(), 2, "{said}");
    }
    assert!(said.contains("7 completed, 5 retried, 1 poisoned"), "{said}");
}

#[test]
fn import_export() {
    let said = run(env!("CARGO_BIN_EXE_import-export"));
    // One chunk of its rows was read twice.
    has_lines(
        &said,
        &[
            "products.csv: 10 chunks",
            "products.csv: 99998 products, bad lines: {100000, 200000}",
            "products.csv: 99998 rows exported",
            "extras.csv: 3 chunks",
            "extras.csv: 25000 products, bad lines: {}",
            "extras.csv: 25000 rows exported",
        ],
    );
    // Each file has its own, or the export would begin before all of it is there.
    for (file, chunks) in [("products", 10), ("extras", 3)] {
        for done in 1..=chunks {
            let end = format!("is done, {done} of {chunks}");
            let lines = said.lines().filter(|line| line.starts_with(file) && line.ends_with(&end));
            assert_eq!(lines.count(), 1, "{file}: {end}, in:\n{said}");
        }
    }
    assert!(said.contains("17 completed, 2 retried"), "{said}");
}

#[test]
fn invoices() {
    let said = run(env!("CARGO_BIN_EXE_invoices"));
    has_lines(&said, &["failed: the order has no customer", "1 replayed", "4 invoices"]);
    has_lines(
        &said,
        &[
            "20260001.html: <p>Ada</p>",
            "20260002.html: <p>Grace &amp; Sons &lt;script&gt;</p>",
            "20260003.html: <p>Edsger</p>",
            "20260004.html: <p>Barbara</p>",
        ],
    );
}

#[test]
fn middleware() {
    let said = run(env!("CARGO_BIN_EXE_middleware"));
    has_lines(
        &said,
        &[
            "report 1 for acme",
            "report 2 for umbrella",
            "report 7 for acme",
            "a report has to wait: umbrella has not paid",
            "acme     done: 2",
            "acme     to be tried again: 1",
            "initech  failed for good: 1",
            "umbrella done: 1",
        ],
    );
}

#[test]
fn graceful_shutdown() {
    let said = run(env!("CARGO_BIN_EXE_graceful-shutdown"));
    let (old, new) = said.split_once("the old worker: ").expect(&said);
    has_lines(old, &["long: from step 1 on, attempt 1", "short: done"]);
    has_lines(old, &["long: step 3 is done", "long: stopped before step 4 was done"]);
    // On it goes, and nothing was charged for it.
    has_lines(new, &["long: from step 4 on, attempt 1", "long: step 10 is done"]);
    for step in 1..=10 {
        assert_eq!(said.matches(&format!("step {step} is done\n")).count(), 1, "{said}");
    }
}

#[test]
fn raw_queue() {
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    // Microsoft's own client, as a Functions app would use it.
    let app = Foreign::node(&azurite).unwrap();
    app.create("functions-orders").unwrap();
    for message in [
        r#"{"orderId": 7, "email": "ada@example.com"}"#,
        r#"{"orderId": 7, "email": "ada@example.com"}"#,
        "these are no args",
    ] {
        app.send_base64("functions-orders", message).unwrap();
    }
    let said = run_on(&azurite, env!("CARGO_BIN_EXE_raw-queue"));
    has_lines(
        &said,
        &[
            "order 1: the mail server is away",
            "order 1: confirmed to grace@example.com",
            "order 7: confirmed to ada@example.com",
            "order 7: confirmed already",
        ],
    );
    assert!(said.contains("in functions-orders-poison: "), "{said}");
    assert!(said.contains("3 completed, 1 retried, 1 poisoned"), "{said}");
}

#[cfg(unix)]
#[test]
fn worker_processes() {
    let azurite = Azurite::start().unwrap_or_else(|error| panic!("{error}"));
    let said = run_on(&azurite, env!("CARGO_BIN_EXE_worker-processes"));
    for order in (1..=20).filter(|order| *order != 13) {
        let line = format!("order {order} is shipped");
        assert!(said.lines().any(|said| said == line), "{line}, in:\n{said}");
    }
    assert!(said.contains("order 13 takes its process with it"), "{said}");
    assert!(said.contains("in the poison queue: crashed its worker at attempt"), "{said}");
    assert!(said.contains(" suspects run apart"), "{said}");
}

fn run(program: &str) -> String {
    output(&mut Command::new(program))
}

fn run_on(azurite: &Azurite, program: &str) -> String {
    let connection = azurite.connection_string();
    output(Command::new(program).env("AZURE_STORAGE_CONNECTION_STRING", connection))
}

fn output(command: &mut Command) -> String {
    let run = command.env_remove("RUST_LOG").output().expect("the program starts");
    let (said, errors) =
        (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}\n{errors}");
    said.into_owned()
}

/// Each of these lines once.
#[track_caller]
fn has_lines(said: &str, lines: &[&str]) {
    for line in lines {
        assert_eq!(said.lines().filter(|said| said == line).count(), 1, "{line}, in:\n{said}");
    }
}
