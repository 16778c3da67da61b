//! No key, signature, token, receipt or job's args gets into a log line, an error or a `Debug`,
//! whatever goes wrong: a run with failures of all kinds, at the most talkative level there is.

mod common;

use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::time::OffsetDateTime;
use bytes::Bytes;
use common::*;
use job_azure::{Account, AzureBackend};
use job_azure_fake::{FakeService, Fault, Operation, Refusal};
use job_azurite::Azurite;
use job_core::backend::{Backend, Outgoing, Receipt, ReceiveRequest};
use job_core::{Client, Queue};
use tokio::time::sleep;
use tracing_subscriber::fmt::MakeWriter;

/// In args. Handlers' own errors do not repeat it.
const ARGS: &str = "ok-canary-args";
/// The account's key: `canary-account-key`.
const KEY: &str = "Y2FuYXJ5LWFjY291bnQta2V5";
const SIGNATURE: &str = "canary%2Bsignature%3D";
const TOKEN: &str = "canary-token";
/// What a credential says that gives no token.
const CREDENTIAL: &str = "canary-credential";

/// All that was logged by anybody in this process.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Written {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

fn listen() -> Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    let listen = || {
        let written = Written::default();
        // `init` takes in what is logged through the `log` crate too.
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(written.clone())
            .try_init()
            .unwrap();
        written
    };
    WRITTEN.get_or_init(listen).clone()
}

/// What was seen of secrets, and all that was said.
struct Said {
    text: String,
    receipts: Vec<String>,
}

impl Said {
    fn show(&mut self, value: &dyn Debug) {
        writeln!(self.text, "{value:?}\n{value:#?}").unwrap();
    }

    fn error(&mut self, error: &(dyn std::error::Error + 'static)) {
        writeln!(self.text, "{}", chain(error)).unwrap();
        let mut next = Some(error);
        while let Some(error) = next {
            writeln!(self.text, "{error:?}\n{error:#?}").unwrap();
            next = error.source();
        }
    }

    fn receipt(&mut self, receipt: &Receipt) {
        self.show(receipt);
        self.receipts.push(receipt.token().as_text().unwrap().to_owned());
    }

    #[track_caller]
    fn keeps_its_secrets(self, written: &Written) {
        let all = format!("{}\n{}", self.text, written.text());
        let encoded = |text: &str| {
            let mut url = azure_core::http::Url::parse("http://a").unwrap();
            url.query_pairs_mut().append_pair("a", text);
            url.query().unwrap()[2..].to_owned()
        };
        let mut secrets: Vec<String> =
            [ARGS, KEY, SIGNATURE, TOKEN, CREDENTIAL, "canary", "SharedKey devstoreaccount1"]
                .map(str::to_owned)
                .into();
        // What the args look like on the wire, whatever comes before them.
        secrets.extend(["Y2FuYXJ5", "NhbmFye", "jYW5hcn"].map(str::to_owned));
        secrets
            .extend(self.receipts.iter().flat_map(|receipt| [receipt.clone(), encoded(receipt)]));
        for secret in secrets {
            if let Some(at) = all.find(&secret) {
                let from = all[..at].rfind('\n').map_or(0, |at| at + 1);
                let line: String = all[from..].chars().take(600).collect();
                panic!("{secret:?} was said: {line}");
            }
        }
    }
}

/// All that a backend can be asked, with the errors that come of it.
async fn ask_everything(backend: &AzureBackend, said: &mut Said) {
    let queue = name(WORK);
    said.show(backend);
    said.show(backend.account());
    let mut results = vec![
        backend.create_queue(&queue, &Default::default()).await.err(),
        backend.check_access(&queue).await.err(),
        backend.stats(&queue).await.err(),
        backend.peek(&queue, 32).await.err(),
    ];
    let message = Outgoing::new(format!(r#"{{"order":"{ARGS}"}}"#));
    said.show(&message);
    results.extend(backend.send(&queue, &[message]).await.into_iter().map(Result::err));
    let request = ReceiveRequest::new(queue.clone()).max(32);
    let receipts: Vec<_> = match backend.receive(request).await {
        Ok(batch) => {
            said.show(&batch);
            batch.deliveries.into_iter().map(|delivery| delivery.receipt).collect()
        }
        Err(error) => {
            results.push(Some(error));
            vec![Receipt::new(queue.clone(), "0a-1b", "canary-receipt")]
        }
    };
    for receipt in receipts {
        said.receipt(&receipt);
        let minute = 60 * SECOND;
        let body = Bytes::from(format!(r#"{{"order":"{ARGS}"}}"#));
        let mut latest = receipt.clone();
        match backend.replace(&receipt, body, minute).await {
            Ok(receipt) => latest = receipt,
            Err(error) => results.push(Some(error)),
        }
        for renewed in backend.renew(std::slice::from_ref(&latest), minute).await {
            match renewed {
                Ok(receipt) => latest = receipt,
                Err(error) => results.push(Some(error)),
            }
        }
        said.receipt(&latest);
        results.push(backend.release(&receipt, minute).await.err());
        for receipt in [receipt, latest] {
            results.extend(backend.delete(&[receipt]).await.into_iter().map(Result::err));
        }
    }
    results.push(backend.purge(&queue).await.err());
    for error in results.into_iter().flatten() {
        said.error(&error);
    }
    let client = Client::new(backend.clone());
    said.show(&client);
    for order in [ARGS, "retry-canary", "fail-canary"] {
        let enqueue = client.enqueue(Act { order: order.into() });
        said.show(&enqueue);
        if let Err(error) = enqueue.await {
            said.error(&error);
        }
    }
}

/// A worker on whatever is on the queue, for a while.
async fn work(backend: &AzureBackend, said: &mut Said) {
    let client = Client::new(backend.clone());
    let builder = builder(&client, &Log::default()).queue(Queue::new(WORK));
    said.show(&builder);
    let worker = Running::new(builder);
    said.show(&worker);
    sleep(30 * SECOND).await;
    worker.handle.shutdown();
    match worker.ended().await {
        Ok(report) => said.show(&report),
        Err(error) => said.error(&error),
    }
}

fn faults() -> Vec<Fault> {
    let status = |status, code| Fault::Status { status, code, retry_after: None };
    let mut faults = vec![
        Fault::None,
        Fault::LoseRequest,
        Fault::LoseResponse,
        Fault::RefuseConnection,
        Fault::HangAfter,
        Fault::SERVER_BUSY,
        Fault::TIMED_OUT,
        Fault::Garbage,
        Fault::Truncated,
        Fault::Duplicate,
    ];
    faults.extend([
        status(400, "PopReceiptMismatch"),
        status(404, "MessageNotFound"),
        status(404, "QueueNotFound"),
        status(409, "QueueBeingDeleted"),
        status(413, "RequestBodyTooLarge"),
        status(400, "InvalidQueryParameterValue"),
        status(500, "InternalError"),
        status(502, ""),
    ]);
    faults
}

#[derive(Debug)]
struct Credential {
    gives: bool,
}

#[async_trait]
impl TokenCredential for Credential {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let end = OffsetDateTime::now_utc() + azure_core::time::Duration::days(1);
        match self.gives {
            true => Ok(AccessToken::new(TOKEN, end)),
            false => Err(azure_core::Error::with_message(
                azure_core::error::ErrorKind::Credential,
                CREDENTIAL,
            )),
        }
    }
}

fn accounts() -> Vec<Account> {
    let key = format!("AccountName=shop;AccountKey={KEY}");
    let sas = format!("https://shop.queue.core.windows.net/?sv=2022-11-02&sp=raup&sig={SIGNATURE}");
    let token = |gives| {
        let credential = Arc::new(Credential { gives });
        Account::from_credential("https://shop.queue.core.windows.net", credential).unwrap()
    };
    vec![
        Account::from_connection_string(&key).unwrap(),
        Account::from_sas_url(&sas).unwrap(),
        token(true),
        token(false),
    ]
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_on_the_fake_service() {
    let written = listen();
    let mut said = Said { text: String::new(), receipts: Vec::new() };
    for account in accounts() {
        for fault in faults() {
            let service = FakeService::new();
            let builder = AzureBackend::builder(account.clone());
            said.show(&builder);
            let backend = builder.http_client(Arc::new(service.clone())).build().unwrap();
            for operation in Operation::ALL {
                service.fail_times(operation, 3, fault);
            }
            ask_everything(&backend, &mut said).await;
            ask_everything(&backend, &mut said).await;
            work(&backend, &mut said).await;
        }
        for refusal in [Refusal::AuthenticationFailed, Refusal::NoCredentials] {
            let service = FakeService::new();
            service.require(move |_, _| Err(refusal));
            let builder = AzureBackend::builder(account.clone());
            let backend = builder.http_client(Arc::new(service.clone())).build().unwrap();
            ask_everything(&backend, &mut said).await;
            work(&backend, &mut said).await;
        }
    }
    assert!(said.receipts.len() > 100, "{} receipts", said.receipts.len());
    let text = written.text();
    for expected in ["ServerBusy", "popreceipt", "trying again"] {
        assert!(text.contains(expected) || said.text.contains(expected), "nothing of {expected}");
    }
    said.keeps_its_secrets(&written);
}

/// Over real connections, whose libraries have logs of their own.
#[tokio::test]
async fn nothing_is_said_on_azurite() {
    let written = listen();
    let mut said = Said { text: String::new(), receipts: Vec::new() };
    let right = Azurite::shared().connection_string();
    let wrong = right.replace(Azurite::shared().key(), KEY);
    let url = Azurite::shared().url();
    let sas = format!("{url}?sv=2022-11-02&sp=raup&sig={SIGNATURE}");
    for account in [
        Account::from_connection_string(&right).unwrap(),
        Account::from_connection_string(&wrong).unwrap(),
        Account::from_sas_url(&sas).unwrap(),
    ] {
        let backend = AzureBackend::new(account).unwrap();
        ask_everything(&backend, &mut said).await;
        said.show(&backend.independent());
    }
    let nobody = right.replace(url, "http://127.0.0.1:9/devstoreaccount1");
    let nobody = Account::from_connection_string(&nobody).unwrap();
    let limit = 200 * std::time::Duration::from_millis(1);
    let nobody = AzureBackend::builder(nobody).request_timeout(limit).operation_timeout(limit);
    ask_everything(&nobody.build().unwrap(), &mut said).await;
    let key = Azurite::shared().key().to_owned();
    assert!(!written.text().contains(&key) && !said.text.contains(&key));
    said.keeps_its_secrets(&written);
}
