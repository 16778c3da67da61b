//! Foreign clients talk to Azurite and to one another.

use std::process::Command;
use std::time::Duration;

use job_azurite::{Azurite, AzuriteError, Encoding, Foreign};
use serde_json::json;

const HIDDEN: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn clients() -> [Foreign; 2] {
    let azurite = Azurite::shared();
    [Foreign::python(azurite), Foreign::node(azurite)]
        .map(|client| client.unwrap_or_else(|error| panic!("{error}")))
}

/// Texts that XML, JSON and base64 each have their way with.
const TEXTS: [&str; 5] = [
    r#"{"order":42,"note":"a < b & \"c\" > 'd'"}"#,
    "Größe ✓ 🦀",
    "bm90IGVuY29kZWQ=",
    " x ",
    "]]>",
];

#[test]
fn each_reads_what_the_other_sends() {
    let clients = clients();
    for (from, to) in [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, b)| (&clients[a], &clients[b])) {
        let queue = format!("{}-to-{}", from.name(), to.name());
        from.create(&queue).unwrap();
        from.create(&queue).unwrap();
        for text in TEXTS {
            for encoding in [Encoding::Plain, Encoding::Base64] {
                let id = from.send(&queue, text, encoding).unwrap();
                let peeked = to.peek(&queue, 32, encoding).unwrap();
                assert_eq!((peeked.len(), peeked[0].text.as_str()), (1, text), "{queue}");
                assert_eq!(peeked[0].receipt, None);
                let received = to.receive(&queue, 32, HIDDEN, encoding).unwrap();
                assert_eq!((received.len(), received[0].text.as_str()), (1, text), "{queue}");
                assert_eq!((&received[0].id, received[0].dequeue_count), (&id, 1));
                assert_eq!(received[0].ttl(), Some(7 * DAY));
                assert_eq!(to.count(&queue).unwrap(), 1);
                to.delete(&queue, &received[0]).unwrap();
                assert_eq!(to.count(&queue).unwrap(), 0);
            }
        }
        to.drop_queue(&queue).unwrap();
    }
}

#[test]
fn base64_is_what_is_on_the_wire() {
    for client in clients() {
        let queue = format!("wire-{}", client.name());
        client.create(&queue).unwrap();
        client.send_base64(&queue, "hello").unwrap();
        client.send_text(&queue, "hello").unwrap();
        let texts = client.receive(&queue, 32, HIDDEN, Encoding::Plain).unwrap();
        let texts: Vec<_> = texts.iter().map(|message| message.text.as_str()).collect();
        assert_eq!(texts, ["aGVsbG8=", "hello"]);
    }
}

#[test]
fn a_message_can_be_for_ever() {
    for client in clients() {
        let queue = format!("ever-{}", client.name());
        client.create(&queue).unwrap();
        client.call(&json!({ "op": "send", "queue": queue, "text": "x", "ttl": -1 })).unwrap();
        let hidden = json!({ "op": "send", "queue": queue, "text": "y", "visibility": 60 });
        client.call(&hidden).unwrap();
        let peeked = client.peek(&queue, 32, Encoding::Plain).unwrap();
        assert_eq!((peeked.len(), peeked[0].ttl()), (1, None));
        assert_eq!(client.count(&queue).unwrap(), 2);
    }
}

#[test]
fn errors_are_the_services() {
    for client in clients() {
        match client.send_text("no-such-queue", "x") {
            Err(AzuriteError::Foreign { status, code, operation, .. }) => {
                assert_eq!((status, code.as_deref()), (Some(404), Some("QueueNotFound")));
                assert_eq!(operation, "send");
            }
            other => panic!("{other:?}"),
        }
        let error = client.call(&json!({ "op": "nonsense", "queue": "q" })).unwrap_err();
        assert!(error.to_string().starts_with("nonsense with the client for"), "{error}");
        // It goes on after that.
        client.create("after-an-error").unwrap();
    }
}

#[test]
fn without_python_it_says_what_to_install() {
    // This test calls itself, as a process without a PATH.
    if std::env::var_os("WITHOUT_PYTHON").is_some() {
        let error = Foreign::python_at("UseDevelopmentStorage=true").unwrap_err().to_string();
        assert!(error.contains("`python3` was not found"), "{error}");
        assert!(error.contains("install Python 3.10 or newer with venv"), "{error}");
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "without_python_it_says_what_to_install"])
        .env("WITHOUT_PYTHON", "1")
        .env("PATH", "")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
