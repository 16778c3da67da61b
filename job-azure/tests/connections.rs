//! What goes over real connections: who has which, in which version, and with whose identity.

mod common;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use common::*;
use job_azure::{Account, AzureBackend};
use job_azure_fake::FakeService;
use job_core::backend::Backend;

/// An HTTP server that answers everything alike and keeps what it was asked, by connection.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<(usize, String)>>>,
    /// The numbers of connections that were closed by the client.
    closed: mpsc::Receiver<usize>,
}

impl Server {
    fn start(answer: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let (close, closed) = mpsc::channel();
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let (answer, kept, close) = (answer.clone(), Arc::clone(&kept), close.clone());
                thread::spawn(move || {
                    serve(stream.unwrap(), number, &answer, &kept);
                    let _ = close.send(number);
                });
            }
        });
        Self { url, asked, closed }
    }

    fn asked(&self) -> Vec<(usize, String)> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, number: usize, answer: &str, asked: &Mutex<Vec<(usize, String)>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&std::mem::take(&mut head)).to_lowercase();
            asked.lock().unwrap().push((number, text));
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}

/// What a queue's properties look like.
fn properties() -> String {
    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-ms-approximate-messages-count: 7\r\n\r\n".into()
}

fn account(server: &Server) -> Account {
    let url = &server.url;
    let text = format!("QueueEndpoint={url}/shop;AccountName=shop;AccountKey=Y2FuYXJ5LWtleQ==");
    Account::from_connection_string(&text).unwrap()
}

#[tokio::test]
async fn the_lease_keeper_has_connections_of_its_own() {
    let server = Server::start(properties());
    let backend = AzureBackend::new(account(&server)).unwrap();
    let keeper = backend.independent().unwrap();
    for _ in 0..3 {
        assert_eq!(backend.stats(&name(WORK)).await.unwrap().total, 7);
        assert_eq!(keeper.stats(&name(WORK)).await.unwrap().total, 7);
    }
    let connections: Vec<_> = server.asked().iter().map(|(number, _)| *number).collect();
    assert_eq!(connections, [0, 1, 0, 1, 0, 1], "each kept to its own");

    let shared = AzureBackend::builder(account(&server)).http_client(Arc::new(FakeService::new()));
    assert!(
        shared.build().unwrap().independent().is_none(),
        "a client of the user's is all there is"
    );
}

#[tokio::test]
async fn no_more_connections_are_kept_than_is_set() {
    for (kept, expected) in [(0, [0, 1, 2]), (1, [0, 0, 0])] {
        let server = Server::start(properties());
        let backend = AzureBackend::builder(account(&server)).max_idle_connections(kept);
        let backend = backend.build().unwrap();
        for _ in 0..3 {
            backend.stats(&name(WORK)).await.unwrap();
        }
        let connections: Vec<_> = server.asked().iter().map(|(number, _)| *number).collect();
        assert_eq!(connections, expected, "{kept}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_idle_connection_is_closed_in_its_time() {
    let server = Server::start(properties());
    let backend = AzureBackend::builder(account(&server)).idle_timeout(Duration::from_millis(50));
    let backend = backend.build().unwrap();
    for number in 0..2 {
        backend.stats(&name(WORK)).await.unwrap();
        // The default is 3 s here.
        let closed = server.closed.recv_timeout(Duration::from_millis(2500));
        assert_eq!(closed, Ok(number));
    }
}

#[tokio::test]
async fn the_api_version_is_the_one_that_is_set() {
    let server = Server::start(properties());
    let backend = AzureBackend::builder(account(&server)).api_version("2024-11-04");
    backend.build().unwrap().stats(&name(WORK)).await.unwrap();
    let (_, asked) = server.asked().remove(0);
    assert!(asked.starts_with("get /shop/work?comp=metadata http/1.1\r\n"), "{asked}");
    assert!(asked.contains("\r\nx-ms-version: 2024-11-04\r\n"), "{asked}");
    assert!(asked.contains("\r\nauthorization: sharedkey shop:"), "{asked}");
}

#[tokio::test]
async fn nobody_is_sent_elsewhere() {
    let elsewhere = Server::start(properties());
    for status in ["301 Moved Permanently", "307 Temporary Redirect"] {
        let location = format!("location: {}/shop/work?comp=metadata", elsewhere.url);
        let answer = format!("HTTP/1.1 {status}\r\n{location}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::start(answer);
        let backend = AzureBackend::new(account(&server)).unwrap();
        backend.stats(&name(WORK)).await.unwrap_err();
        assert_eq!((server.asked().len(), elsewhere.asked()), (1, Vec::new()), "{status}");
    }
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server {
        url: format!("http://{}", listener.local_addr().unwrap()),
        asked: Arc::default(),
        closed: mpsc::channel().1,
    };
    let limit = Duration::from_millis(300);
    let backend = AzureBackend::builder(account(&server)).request_timeout(limit);
    let backend = backend.operation_timeout(limit).build().unwrap();
    let error = backend.stats(&name(WORK)).await.unwrap_err();
    assert_eq!(error.kind(), job_core::backend::ErrorKind::Timeout);
}

/// Set in the process in which the identity is looked for: variables are a process's own.
const CHILD: &str = "JOB_AZURE_TEST_IDENTITY";
/// The same for the process that has a proxy: where the service is.
const BEHIND_PROXY: &str = "JOB_AZURE_TEST_PROXY";

#[test]
fn what_is_on_this_machine_is_not_asked_through_a_proxy() {
    let (server, proxy) = (Server::start(properties()), Server::start(properties()));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_process_with_a_proxy", "--nocapture"])
        .env(BEHIND_PROXY, &server.url)
        .envs(["HTTP_PROXY", "http_proxy", "ALL_PROXY"].map(|name| (name, &proxy.url)))
        .env_remove("NO_PROXY")
        .env_remove("no_proxy")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((server.asked().len(), proxy.asked()), (1, Vec::new()));
}

/// Does nothing unless the test above started this process.
#[tokio::test]
async fn in_a_process_with_a_proxy() {
    let Ok(url) = std::env::var(BEHIND_PROXY) else { return };
    let server = Server { url, asked: Arc::default(), closed: mpsc::channel().1 };
    let backend = AzureBackend::new(account(&server)).unwrap();
    assert_eq!(backend.stats(&name(WORK)).await.unwrap().total, 7);
}

#[test]
fn a_managed_identity_is_found_by_the_environment() {
    let answer = r#"{"access_token":"canary","expires_on":"4102444800","token_type":"Bearer","resource":"r"}"#;
    let length = answer.len();
    let head = format!("content-type: application/json\r\ncontent-length: {length}");
    let server = Server::start(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{answer}"));
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_process_with_an_identity", "--nocapture"])
        .env(CHILD, "1")
        .env("IDENTITY_ENDPOINT", &server.url)
        .env("IDENTITY_HEADER", "secret")
        .env("AZURE_STORAGE_QUEUE_ENDPOINT", "https://shop.queue.core.windows.net")
        .env_remove("AZURE_STORAGE_CONNECTION_STRING")
        .env_remove("AZURE_FEDERATED_TOKEN_FILE")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let (_, asked) = server.asked().remove(0);
    assert!(asked.contains("resource=https%3a%2f%2fstorage.azure.com"), "{asked}");
    assert!(asked.contains("x-identity-header: secret"), "{asked}");
}

/// Does nothing unless the test above started this process.
#[tokio::test]
async fn in_a_process_with_an_identity() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let service = FakeService::new();
    let authorized = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&authorized);
    service.require(move |request, _| {
        let header = azure_core::http::headers::AUTHORIZATION;
        assert_eq!(request.headers().get_optional_str(&header), Some("Bearer canary"));
        *counted.lock().unwrap() += 1;
        Ok(())
    });
    let account = Account::from_env().unwrap();
    let backend = AzureBackend::builder(account).http_client(Arc::new(service));
    let backend = backend.build().unwrap();
    backend.create_queue(&name(WORK), &Default::default()).await.unwrap();
    assert_eq!(backend.stats(&name(WORK)).await.unwrap().total, 0);
    assert_eq!(*authorized.lock().unwrap(), 2);
}
