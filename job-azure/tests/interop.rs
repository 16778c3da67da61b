//! Beside clients of other languages on one queue: what they post runs here, and what is posted or
//! given up here they can read. On Azurite, with the packages `azure-storage-queue` of Python and
//! `@azure/storage-queue` of Node.js.

mod common;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::*;
use job_azure::{Account, AzureBackend, Encoding};
use job_azurite::{Azurite, Encoding as Wire, Foreign, ForeignMessage};
use job_core::{Client, Data, JobContext, JobError, JobId, PoisonReason, Queue, Worker};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// Tells what came of a message.
type Told = UnboundedSender<(String, Option<String>)>;

/// Says who paid, and what it was told about it.
#[job_core::job(max_attempts = 2, backoff = fixed("1s"))]
async fn pay(order: String, told: Data<Told>, cx: JobContext) -> Result<(), JobError> {
    if order == "broken" {
        return Err(JobError::permanent("no such order"));
    }
    let _ = told.send((order, cx.meta("ce-source").map(str::to_owned)));
    Ok(())
}

/// As Event Grid calls it.
#[job_core::job(name = "Microsoft.Storage.BlobCreated")]
async fn blob_created(url: String, told: Data<Told>, cx: JobContext) -> Result<(), JobError> {
    let _ = told.send((url, cx.meta("ce-source").map(str::to_owned)));
    Ok(())
}

fn clients() -> [Foreign; 2] {
    let azurite = Azurite::shared();
    [Foreign::python(azurite), Foreign::node(azurite)].map(Result::unwrap)
}

fn ours(encoding: Encoding) -> Client {
    let account = Account::from_connection_string(&Azurite::shared().connection_string());
    Client::new(AzureBackend::builder(account.unwrap()).encoding(encoding).build().unwrap())
}

/// A queue of its own for each test and client.
async fn queue(client: &Client, test: &str, foreign: &Foreign) -> String {
    let queue = format!("{test}-{}", foreign.name());
    for name in [name(&queue), name(&queue).poison().unwrap()] {
        client.backend().create_queue(&name, &Default::default()).await.unwrap();
    }
    queue
}

struct Serving {
    running: Running,
    told: UnboundedReceiver<(String, Option<String>)>,
}

fn serve(client: &Client, queue: Queue) -> Serving {
    let (tell, told) = unbounded_channel();
    let queue = queue.max_poll(Duration::from_millis(200));
    // What nobody knows what to do with is given up at once.
    let builder = Worker::builder(client).data::<Told>(tell).queue(queue);
    Serving { running: Running::new(builder.put_back_limit(Duration::from_secs(1))), told }
}

impl Serving {
    /// The next ones, sorted.
    async fn told(&mut self, n: usize) -> Vec<(String, Option<String>)> {
        let mut told = Vec::new();
        while told.len() < n {
            let one = timeout(60 * SECOND, self.told.recv()).await;
            told.push(one.expect("a job should run").unwrap());
        }
        told.sort();
        told
    }
}

/// Waits until so many are in poison; their texts as they are on the wire.
async fn poison(foreign: &Foreign, queue: &str, n: usize) -> Vec<ForeignMessage> {
    let queue = format!("{queue}-poison");
    let all = async {
        loop {
            let peeked = foreign.peek(&queue, 32, Wire::Plain).unwrap();
            if peeked.len() >= n {
                break peeked;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(60 * SECOND, all).await.expect("they should be in poison")
}

fn decoded(text: &str) -> Value {
    serde_json::from_slice(&STANDARD.decode(text).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_queue_takes_the_json_of_others_in_either_form() {
    let client = ours(Encoding::Base64);
    for foreign in clients() {
        let queue = queue(&client, "raw-in", &foreign).await;
        foreign.send_text(&queue, r#"{"order":"plain"}"#).unwrap();
        foreign.send_base64(&queue, r#"{"order":"base64"}"#).unwrap();
        let parent = r#"{"$AzureWebJobsParentId":"7f0f","order":"parent"}"#;
        foreign.send_base64(&queue, parent).unwrap();
        foreign.send_text(&queue, "{ \"order\" :\n\"<&> ü 😀\" }").unwrap();
        let mut serving = serve(&client, Queue::new(&queue).raw::<Pay>());
        let told: Vec<_> = serving.told(4).await.into_iter().map(|(order, _)| order).collect();
        assert_eq!(told, ["<&> ü 😀", "base64", "parent", "plain"], "{}", foreign.name());
        let report = serving.running.stop().await;
        assert_eq!((report.completed(), report.poisoned()), (4, 0), "{}", foreign.name());
        assert_eq!(foreign.count(&queue).unwrap(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rubbish_ends_in_poison_where_its_sender_can_read_it() {
    let client = ours(Encoding::Base64);
    for foreign in clients() {
        let queue = queue(&client, "rubbish", &foreign).await;
        foreign.send_text(&queue, "not json").unwrap();
        foreign.send_text(&queue, "dGVzdA==").unwrap();
        let serving = serve(&client, Queue::new(&queue));
        let copies = poison(&foreign, &queue, 2).await;
        let copies: Vec<Value> = copies.iter().map(|copy| decoded(&copy.text)).collect();
        let mut originals: Vec<_> = copies.iter().map(|copy| &copy["original"]["text"]).collect();
        originals.sort_by_key(|text| text.to_string());
        assert_eq!(originals, [&json!("not json"), &json!("test")], "{}", foreign.name());
        for copy in &copies {
            assert_eq!(copy["poison"]["queue"], json!(queue));
        }
        serving.running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_of_anybody_is_a_job() {
    for encoding in [Encoding::Base64, Encoding::Text] {
        let client = ours(encoding);
        for foreign in clients() {
            let queue = queue(&client, "envelope", &foreign).await;
            let envelope = |order: &str| {
                let id = JobId::new().to_string();
                let args = json!({ "order": order });
                json!({ "format": 1, "id": id, "name": "pay", "args": args, "enqueued_at": 0 })
            };
            foreign.send_text(&queue, &envelope("plain").to_string()).unwrap();
            foreign.send_base64(&queue, &envelope("base64").to_string()).unwrap();
            foreign.send_base64(&queue, &envelope("broken").to_string()).unwrap();
            let mut serving = serve(&client, Queue::new(&queue));
            let told = serving.told(2).await;
            assert_eq!((&*told[0].0, &*told[1].0), ("base64", "plain"), "{}", foreign.name());

            let copies = poison(&foreign, &queue, 1).await;
            let text = &copies[0].text;
            let copy = match encoding {
                Encoding::Text => serde_json::from_str(text).unwrap(),
                _ => decoded(text),
            };
            assert_eq!(copy["args"]["order"], "broken");
            assert_eq!(copy["poison"]["reason"], "permanent");
            assert_eq!(copies[0].ttl(), None, "poison never expires");
            let listed = client.poison(&queue).unwrap().list(32).await.unwrap();
            assert_eq!(listed[0].reason(), PoisonReason::Permanent);
            assert_eq!(listed[0].error(), Some("no such order"));
            serving.running.stop().await;
            foreign.drop_queue(&queue).unwrap();
            foreign.drop_queue(&format!("{queue}-poison")).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_name_their_job() {
    let client = ours(Encoding::Base64);
    for foreign in clients() {
        let queue = queue(&client, "events", &foreign).await;
        let cloud = json!({
            "specversion": "1.0", "type": "pay", "source": "/shop", "id": "1",
            "datacontenttype": "application/json", "data": { "order": "cloud" },
        });
        let grid = json!({
            "topic": "/subscriptions/1", "subject": "/blobServices/default", "id": "2",
            "eventType": "Microsoft.Storage.BlobCreated", "eventTime": "2026-11-22T10:00:00Z",
            "data": { "url": "https://shop.blob.core.windows.net/a/b.png", "api": "PutBlob" },
            "dataVersion": "", "metadataVersion": "1",
        });
        foreign.send_base64(&queue, &cloud.to_string()).unwrap();
        foreign.send_base64(&queue, &grid.to_string()).unwrap();
        let mut serving = serve(&client, Queue::new(&queue));
        let told = serving.told(2).await;
        assert_eq!(told[0], ("cloud".into(), Some("/shop".into())), "{}", foreign.name());
        assert_eq!(told[1].0, "https://shop.blob.core.windows.net/a/b.png");
        assert_eq!(serving.running.stop().await.completed(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_functions_trigger_reads_what_is_sent_raw() {
    for foreign in clients() {
        let client = ours(Encoding::Base64);
        let queue = queue(&client, "raw-out", &foreign).await;
        client.enqueue(Pay { order: "<&> ü".into() }).queue(&queue).raw().await.unwrap();
        // As the trigger does by default.
        let received = foreign.receive(&queue, 1, 30 * SECOND, Wire::Base64).unwrap();
        assert_eq!(received[0].text, r#"{"order":"<&> ü"}"#, "{}", foreign.name());
        assert_eq!(received[0].ttl(), None, "it does not vanish after a week");
        foreign.delete(&queue, &received[0]).unwrap();

        let client = ours(Encoding::Text);
        client.enqueue(Pay { order: "<&> ü".into() }).queue(&queue).raw().await.unwrap();
        let received = foreign.receive(&queue, 1, 30 * SECOND, Wire::Plain).unwrap();
        assert_eq!(received[0].text, r#"{"order":"<&> ü"}"#, "{}", foreign.name());
        foreign.delete(&queue, &received[0]).unwrap();
    }
}

#[tokio::test]
async fn the_queues_of_a_functions_host_are_left_alone() {
    let client = ours(Encoding::Base64);
    let host = "azure-webjobs-blobtrigger-shop";
    let error = client.enqueue(Pay { order: "a".into() }).queue(host).await.unwrap_err();
    assert!(chain(&error).contains("belongs to the host of a Functions app"), "{}", chain(&error));
    let worker = Running::new(builder(&client, &Log::default()).queue(Queue::new(host)));
    let error = worker.ended().await.unwrap_err();
    assert!(chain(&error).contains("belongs to the host of a Functions app"), "{}", chain(&error));
}
