//! What a user is told who got something wrong: at the start, in words, and without their secrets.

mod common;

use std::sync::Arc;
use std::time::Duration;

use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use common::*;
use job_azure::{Account, AzureBackend, SettingsError};
use job_azure_fake::{FakeService, Fault, Operation, Refusal};
use job_azurite::Azurite;
use job_core::{Client, Queue, WorkerError};
use tokio::time::Instant;

/// Why a worker of that client does not start.
async fn refusal(client: &Client) -> (WorkerError, String) {
    let worker = Running::new(builder(client, &Log::default()).queue(Queue::new(WORK)));
    let error = worker.ended().await.expect_err("it should not start");
    let text = chain(&error);
    (error, text)
}

fn azurite(account: Account) -> Client {
    Client::new(AzureBackend::new(account).unwrap())
}

/// A SAS for Azurite's account with these permissions.
fn sas(permissions: &str) -> String {
    let azurite = Azurite::shared();
    let (version, end) = ("2021-12-02", "2099-01-01T00:00:00Z");
    let account = azurite.account();
    let signed = format!("{account}\n{permissions}\nq\nsco\n\n{end}\n\n\n{version}\n\n");
    let signature = hmac_sha256(&signed, &Secret::new(azurite.key().to_owned())).unwrap();
    let signature = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sv={version}&ss=q&srt=sco&sp={permissions}&se={end}&sig={signature}")
}

#[tokio::test]
async fn a_wrong_key_ends_the_worker_at_once() {
    let text = Azurite::shared().connection_string();
    let wrong = text.replace(Azurite::shared().key(), "Y2FuYXJ5LWtleQ==");
    assert_ne!(text, wrong);
    let client = azurite(Account::from_connection_string(&wrong).unwrap());
    let (error, text) = refusal(&client).await;
    assert!(matches!(error, WorkerError::Denied { .. }), "{text}");
    assert!(text.contains("the key or signature is wrong or has expired"), "{text}");
    assert!(text.contains("403 AuthenticationFailed"), "{text}");
    assert!(!text.contains("Y2FuYXJ5"), "{text}");

    let error = client.enqueue(Act { order: "ok".into() }).await.unwrap_err();
    assert!(chain(&error).contains("the key or signature is wrong"), "{}", chain(&error));
}

#[tokio::test]
async fn a_sas_of_an_account_serves_a_worker() {
    let url = Azurite::shared().url();
    for account in [
        Account::from_sas_url(&format!("{url}?{}", sas("raupcwdl"))).unwrap(),
        Account::from_connection_string(&format!(
            "QueueEndpoint={url};SharedAccessSignature={}",
            sas("raupcwdl")
        ))
        .unwrap(),
    ] {
        let (client, log) = (azurite(account), Log::default());
        let worker = start(&client, &log);
        client.enqueue(Act { order: "ok".into() }).await.unwrap();
        client.enqueue(Act { order: "retry".into() }).await.unwrap();
        log.done_with(&["ok", "retry"]).await;
        let report = worker.stop().await;
        assert_eq!((report.completed(), report.retried()), (2, 1));
    }
}

#[tokio::test]
async fn a_sas_that_lacks_a_permission_names_it() {
    let url = Azurite::shared().url();
    for (permissions, lacking) in [("rapc", "update"), ("rauc", "process"), ("rupc", "add")] {
        let account = Account::from_sas_url(&format!("{url}?{}", sas(permissions))).unwrap();
        let (error, text) = refusal(&azurite(account)).await;
        assert!(matches!(error, WorkerError::Denied { .. }), "{text}");
        assert!(text.contains(&format!("the SAS lacks the permission `{lacking}`")), "{text}");
    }
}

#[tokio::test]
async fn a_sas_for_another_queue_says_so() {
    let url = Azurite::shared().url();
    let account = Account::from_sas_url(&format!("{url}/other?{}", sas("raup"))).unwrap();
    let error = azurite(account).enqueue(Act { order: "ok".into() }).await.unwrap_err();
    assert!(chain(&error).contains("the SAS URL is for another queue"), "{}", chain(&error));
}

#[tokio::test(start_paused = true)]
async fn a_worker_is_not_served_by_a_sas_for_one_queue() {
    let service = FakeService::new();
    create_queues(&client(&service)).await;
    let url = "https://shop.queue.core.windows.net/work?sv=2021-12-02&sp=raup&sig=canary";
    let backend = AzureBackend::builder(Account::from_sas_url(url).unwrap());
    let backend = backend.http_client(Arc::new(service.clone())).build().unwrap();
    let client = Client::new(backend);
    client.enqueue(Act { order: "ok".into() }).await.unwrap();
    let (error, text) = refusal(&client).await;
    assert!(matches!(error, WorkerError::Denied { .. }), "{text}");
    assert!(text.contains("`work-poison`") && text.contains("for the account"), "{text}");
    assert_eq!(service.calls().of(Operation::Receive), 0);
}

/// A SAS whose permissions are in a stored policy, or a role: only the service knows.
#[tokio::test(start_paused = true)]
async fn a_role_that_does_not_suffice_is_found_out_before_any_job_is_taken() {
    for operation in [Operation::Update, Operation::Delete] {
        let service = FakeService::new();
        let client = client(&service);
        create_queues(&client).await;
        client.enqueue(Act { order: "ok".into() }).await.unwrap();
        service.require(move |_, asked| match asked == operation {
            true => Err(Refusal::PermissionMismatch),
            false => Ok(()),
        });
        let (error, text) = refusal(&client).await;
        assert!(matches!(error, WorkerError::Denied { .. }), "{text}");
        assert!(text.contains("Storage Queue Data Contributor"), "{text}");
        assert_eq!(service.calls().of(Operation::Receive), 0);
        assert_eq!(service.depth(WORK), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_create_queues_can_serve_those_that_are_there() {
    let service = FakeService::new();
    let (client, log) = (client(&service), Log::default());
    create_queues(&client).await;
    service.require(|_, asked| match asked {
        Operation::CreateQueue => Err(Refusal::PermissionMismatch),
        _ => Ok(()),
    });
    let worker = start(&client, &log);
    client.enqueue(Act { order: "ok".into() }).await.unwrap();
    drained(&service, WORK).await;
    assert_eq!(worker.stop().await.completed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_be_reached_ends_the_worker_after_two_minutes() {
    let service = FakeService::new();
    service.faults(|_| Fault::RefuseConnection);
    let begin = Instant::now();
    let (error, text) = refusal(&client(&service)).await;
    assert!(matches!(error, WorkerError::Queue { .. }), "{text}");
    assert!(text.contains("no connection"), "{text}");
    assert!(text.contains("check the account's name"), "{text}");
    assert!(begin.elapsed() <= 140 * SECOND, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_as_such() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let text = format!(
        "QueueEndpoint=http://127.0.0.1:{port}/shop;AccountName=shop;AccountKey=Y2FuYXJ5LWtleQ=="
    );
    let account = Account::from_connection_string(&text).unwrap();
    let limit = Duration::from_millis(500);
    let backend = AzureBackend::builder(account).request_timeout(limit).operation_timeout(limit);
    let client = Client::new(backend.build().unwrap());
    let error = client.enqueue(Act { order: "ok".into() }).await.unwrap_err();
    let text = chain(&error);
    assert!(text.contains("no connection: connection refused"), "{text}");
    assert_eq!(error.kind(), job_core::EnqueueErrorKind::Rejected, "nothing was sent");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_the_service_refuses_ends_the_worker() {
    let service = FakeService::new();
    let refused = Fault::Status { status: 400, code: "InvalidResourceName", retry_after: None };
    service.fail_times(Operation::CreateQueue, 9, refused);
    let (error, text) = refusal(&client(&service)).await;
    assert!(matches!(error, WorkerError::Queue { .. }), "{text}");
    assert!(text.contains("the service refuses the queue's name"), "{text}");
}

#[test]
fn settings_that_cannot_be_are_refused() {
    let builder = || {
        let account = Account::from_connection_string("UseDevelopmentStorage=true").unwrap();
        AzureBackend::builder(account).http_client(Arc::new(FakeService::new()))
    };
    let zero = builder().request_timeout(Duration::ZERO).build();
    assert!(matches!(zero, Err(SettingsError::Timeout)));
    let longer = builder().request_timeout(20 * SECOND).build();
    assert!(matches!(longer, Err(SettingsError::Timeout)));
    for version in ["latest", "2024-1-1", "2024-11-04\r\nx: y"] {
        assert!(matches!(builder().api_version(version).build(), Err(SettingsError::ApiVersion)));
    }
    assert!(builder().api_version("2024-11-04").build().is_ok());
}
