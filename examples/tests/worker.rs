//! The example `worker`: runs it on Azurite as an operator would, and holds the files of
//! `examples/deploy` against it. Whether those keep to the schemas of their kinds is for
//! `examples/deploy/check`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use job_azure::{Account, AzureBackend};
use job_azurite::Azurite;
use job_core::prelude::*;
use saphyr::{LoadableYamlNode, YamlOwned};

const SOURCE: &str = include_str!("../src/worker.rs");
const ROLES: &str = include_str!("../deploy/roles.sh");
const DOCKERFILE: &str = include_str!("../deploy/Dockerfile");

/// What a worker needs after its grace time, rounded up.
const AFTER_GRACE: u64 = 2;

#[cfg(unix)]
#[test]
fn it_serves_until_it_is_terminated() {
    let connection = Azurite::shared().connection_string();
    let with_account = |role: &[&str]| {
        let mut command = worker(role, &[("AZURE_STORAGE_CONNECTION_STRING", &connection)]);
        command.stdout(Stdio::piped());
        command
    };
    for (how, report) in [
        (&["serve"][..], "the worker's report: "),
        (&["serve", "--processes", "2"], "the supervisor's report: 2 processes started; jobs: "),
    ] {
        let sent = with_account(&["enqueue", "ada", "grace"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&sent.stdout), "2 jobs on the queue `greetings`\n");
        let mut served = Running(with_account(how).stderr(Stdio::null()).spawn().unwrap());
        let mut told = BufReader::new(served.0.stdout.take().unwrap());
        let mut text = String::new();
        while text.matches("hello, ").count() < 2 {
            assert_ne!(told.read_line(&mut text).unwrap(), 0, "it ended: {text}");
        }
        let pid = served.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        told.read_to_string(&mut text).unwrap();
        assert!(served.0.wait().unwrap().success(), "{text}");
        assert!(text.contains("hello, ada (job ") && text.contains(", attempt 1)"), "{text}");
        let end = format!("\n{report}2 received, 2 started, 2 completed\n");
        assert!(text.ends_with(&end), "{text}");
    }
}

/// Nothing stops what `spawn_blocking` runs. Its job goes to others, and the process goes.
#[cfg(unix)]
#[test]
fn it_ends_while_a_job_computes() {
    let azurite = Azurite::start().unwrap();
    let connection = azurite.connection_string();
    let account = [("AZURE_STORAGE_CONNECTION_STRING", connection.as_str())];
    // Longer than anybody waits for this test.
    let sent = worker(&["enqueue", "--seconds", "86400", "ada"], &account).output().unwrap();
    assert!(sent.status.success());
    let mut serve = worker(&["serve"], &account);
    let mut served = Running(serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut told = BufReader::new(served.0.stdout.take().unwrap());
    let mut log = BufReader::new(served.0.stderr.take().unwrap());
    let until = |from: &mut dyn BufRead, what: &str| {
        let mut text = String::new();
        while !text.contains(what) {
            assert_ne!(from.read_line(&mut text).unwrap(), 0, "it ended: {text}");
        }
    };
    let pid = served.0.id().to_string();
    let terminate =
        || assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    until(&mut told, "computing for ada\n");
    terminate();
    // The second one skips the grace time.
    until(&mut log, "shutting down; a second signal");
    terminate();
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert!(served.0.wait().unwrap().success(), "{text}");
    assert!(!text.contains("hello"), "{text}");
    assert_eq!(text, "the worker's report: 1 received, 1 started, 1 given back\n");
}

/// As the program's job, with a mistake in it.
#[job(name = "greet", queue = "greetings")]
async fn greet_wrongly(name: String) -> Result<(), JobError> {
    Err(JobError::permanent(format!("the bell of {} is\nbroken", name.len())))
}

#[tokio::test]
async fn who_is_called_at_night_looks_and_replays() {
    let azurite = Azurite::start().unwrap();
    let connection = azurite.connection_string();
    let account = Account::from_connection_string(&connection).unwrap();
    let client = Client::new(AzureBackend::builder(account).build().unwrap());
    let jobs = ["ada", "grace"].map(|name| GreetWrongly { name: name.to_owned() });
    let [ada, _] = client.enqueue_all(jobs).await.unwrap()[..] else { panic!("two") };
    let poison = client.poison("greetings").unwrap();
    let both = async {
        while poison.count().await.unwrap() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let wrong = Worker::builder(&client).queue(Queue::new("greetings")).build().unwrap();
    wrong.run_until(both).await.unwrap();

    let told = |args: &[&str]| {
        let output =
            worker(args, &[("AZURE_STORAGE_CONNECTION_STRING", &connection)]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let list = told(&["poison", "list"]);
    let line = format!(r"{ada} greet: permanent error at attempt 1: the bell of 3 is\nbroken");
    assert!(list.lines().any(|it| it == line), "{line}: {list}");
    assert!(list.ends_with("\n2 in greetings-poison\n"), "{list}");
    assert!(!list.contains("ada"), "args are nobody's business: {list}");

    let replay = |filters: &[&str]| told(&[&["poison", "replay"], filters].concat());
    assert_eq!(replay(&["--error", "whistle"]), "0 of 0 jobs replayed, 2 left\n");
    let id = ada.to_string();
    let one = ["--error", "bell of 3", "--id", &id];
    let trial = replay(&[&one[..], &["--dry-run"]].concat());
    assert_eq!(trial, "1 jobs would be replayed, 1 left (dry run)\n");
    assert_eq!(poison.count().await.unwrap(), 2);
    assert_eq!(replay(&one), "1 of 1 jobs replayed, 1 left\n");
    assert_eq!(replay(&[]), "1 of 1 jobs replayed, 0 left\n");
    assert_eq!(told(&["poison", "list"]), "0 in greetings-poison\n");
    let queue = client.backend().stats(poison.queue()).await.unwrap();
    assert_eq!(queue.total, 2);
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let azurite = [("AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true")];
    let said = |output: Output| String::from_utf8_lossy(&output.stderr).into_owned();
    for args in [
        &[][..],
        &["srve"],
        &["serve", "4"],
        &["serve", "--processes"],
        &["poison"],
        &["poison", "replay", "--eror", "bank"],
        &["poison", "replay", "--error"],
    ] {
        let usage = said(worker(args, &azurite).output().unwrap());
        assert!(usage.starts_with("error: usage: worker serve [--processes N]\n"), "{usage}");
    }
    let id = said(worker(&["poison", "replay", "--id", "seven"], &azurite).output().unwrap());
    assert!(id.starts_with("error: `seven` is no job's id: "), "{id}");
    let long = said(worker(&["enqueue", "--seconds", "long", "ada"], &azurite).output().unwrap());
    assert!(long.starts_with("error: `long` is no number of seconds: "), "{long}");
    let many = said(worker(&["serve", "--processes", "many"], &azurite).output().unwrap());
    assert!(many.starts_with("error: `many` is no number of processes: "), "{many}");
    let none = said(worker(&["serve", "--processes", "0"], &azurite).output().unwrap());
    assert!(none.contains("use at least 1"), "{none}");
    let nobody = said(worker(&["enqueue"], &azurite).output().unwrap());
    assert_eq!(nobody, "error: whom to greet? worker enqueue NAME..\n");
    let nowhere = said(worker(&["serve"], &[]).output().unwrap());
    assert!(nowhere.starts_with("error: set AZURE_STORAGE_CONNECTION_STRING, or "), "{nowhere}");
}

#[test]
fn compose_runs_it() {
    let [compose] = &load("compose.yaml")[..] else { panic!("one document") };
    let worker = &compose["services"]["worker"];
    assert!(grace() + AFTER_GRACE <= seconds(&worker["stop_grace_period"]));
    assert!(finds_an_account(variables(&worker["environment"])));

    // Azurite where `UseDevelopmentStorage=true` looks for it, in the version that tests run.
    assert_eq!(text(&worker["network_mode"]), "service:azurite");
    let azurite = &compose["services"]["azurite"];
    assert_eq!(text(&azurite["ports"][0]), "127.0.0.1:10001:10001");
    let npm = include_str!("../../job-azure/azurite/npm/package.json");
    let version = text(&azurite["image"]).rsplit(':').next().unwrap();
    assert!(npm.contains(&format!("\"azurite\": \"{version}\"")), "{version}");

    let build = &worker["build"];
    let context =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(text(&build["context"]));
    assert!(context.join("Cargo.lock").exists());
    assert!(context.join(text(&build["dockerfile"])).exists());
}

#[test]
fn kubernetes_runs_it() {
    let documents = load("kubernetes.yaml");
    let [account, deployment, authentication, scaled] = &documents[..] else { panic!("four") };
    let pod = &deployment["spec"]["template"];
    let container = &pod["spec"]["containers"][0];

    let limit = pod["spec"]["terminationGracePeriodSeconds"].as_integer().unwrap();
    assert!(grace() + AFTER_GRACE <= limit.try_into().unwrap());
    assert_eq!(text(&container["args"][0]), "serve");
    let variable = &container["env"][0];
    let url = text(&variable["value"]).replace("ACCOUNT", "shop");
    assert!(finds_an_account(vec![(text(&variable["name"]).to_owned(), url)]));

    // What refers to what.
    let labels = &pod["metadata"]["labels"];
    let name = "app.kubernetes.io/name";
    let selector = &deployment["spec"]["selector"]["matchLabels"];
    assert_eq!(text(&selector[name]), text(&labels[name]));
    assert_eq!(text(&labels["azure.workload.identity/use"]), "true");
    assert_eq!(text(&pod["spec"]["serviceAccountName"]), text(&account["metadata"]["name"]));
    let target = &scaled["spec"]["scaleTargetRef"]["name"];
    assert_eq!(text(target), text(&deployment["metadata"]["name"]));
    let trigger = &scaled["spec"]["triggers"][0];
    let by = &trigger["authenticationRef"]["name"];
    assert_eq!(text(by), text(&authentication["metadata"]["name"]));
    assert_eq!(text(&trigger["metadata"]["queueName"]), queue());
    // KEDA takes texts only.
    for (_, value) in trigger["metadata"].as_mapping().unwrap() {
        text(value);
    }
}

/// What KEDA asks is what `/scale` answers: see the test of `telemetry`.
#[test]
fn kubernetes_scales_it_by_what_it_says() {
    let (documents, pods) = (load("scale.yaml"), load("kubernetes.yaml"));
    let ([service, scaled], deployment) = (&documents[..], &pods[1]) else { panic!("two") };
    let name = "app.kubernetes.io/name";
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(text(&service["spec"]["selector"][name]), text(&labels[name]));
    let target = &scaled["spec"]["scaleTargetRef"]["name"];
    assert_eq!(text(target), text(&deployment["metadata"]["name"]));

    let port = service["spec"]["ports"][0]["port"].as_integer().unwrap();
    let host = format!("{}.default.svc.cluster.local", text(&service["metadata"]["name"]));
    let triggers = scaled["spec"]["triggers"].as_sequence().unwrap();
    for trigger in triggers {
        let metadata = &trigger["metadata"];
        assert_eq!(text(&metadata["url"]), format!("http://{host}:{port}/scale"));
        assert_eq!(text(&trigger["name"]), text(&metadata["valueLocation"]));
        for (_, value) in metadata.as_mapping().unwrap() {
            text(value);
        }
    }
    let ways: Vec<_> = triggers
        .iter()
        .map(|trigger| (text(&trigger["name"]), text(&trigger["metadata"]["aggregationType"])))
        .collect();
    // Pods run each their own; what is on the queue is the same for all of them.
    assert_eq!(ways, [("backlog", "max"), ("in_flight", "sum"), ("depth", "max")]);
    let formula = text(&scaled["spec"]["advanced"]["scalingModifiers"]["formula"]);
    assert_eq!(formula, "backlog + in_flight < depth ? backlog + in_flight : depth");
}

#[test]
fn the_roles_are_for_its_queue_and_service_account() {
    assert!(ROLES.contains(&format!("\nqueue={}\n", queue())));
    let account = &load("kubernetes.yaml")[0];
    let name = text(&account["metadata"]["name"]);
    assert!(ROLES.contains(&format!("\nidentity job-worker \"$namespace\" {name}\n")));
    let yaml = include_str!("../deploy/kubernetes.yaml");
    for word in ["ACCOUNT", "WORKER_CLIENT_ID", "SCALER_CLIENT_ID"] {
        assert!(ROLES.contains(&format!("echo \"{word} ")) && yaml.contains(word), "{word}");
    }
}

#[test]
fn the_image_holds_it() {
    for line in [
        "cargo build --release --locked -p examples --bin worker",
        "USER nonroot",
        "STOPSIGNAL SIGTERM",
        "ENTRYPOINT [\"/usr/local/bin/worker\"]",
        "CMD [\"serve\"]",
    ] {
        assert!(DOCKERFILE.contains(line), "{line}");
    }
}

/// The program with no other variables than these.
fn worker(role: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_worker"));
    command.args(role).env_clear().envs(variables.iter().copied());
    command
}

/// Whether variables tell the program of an account: then what it lacks is something else.
fn finds_an_account(variables: Vec<(String, String)>) -> bool {
    let variables: Vec<_> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let said = worker(&["enqueue"], &variables).output().unwrap().stderr;
    String::from_utf8_lossy(&said).contains("whom to greet?")
}

fn queue() -> &'static str {
    constant("const QUEUE: &str = \"", "\";")
}

fn grace() -> u64 {
    constant("const GRACE: Duration = Duration::from_secs(", ");").parse().unwrap()
}

fn constant(before: &str, after: &str) -> &'static str {
    SOURCE.split_once(before).unwrap().1.split_once(after).unwrap().0
}

fn load(file: &str) -> Vec<YamlOwned> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    YamlOwned::load_from_str(&std::fs::read_to_string(path).unwrap()).expect(file)
}

#[track_caller]
fn text(yaml: &YamlOwned) -> &str {
    yaml.as_str().unwrap_or_else(|| panic!("{yaml:?} is no text"))
}

fn seconds(yaml: &YamlOwned) -> u64 {
    text(yaml).strip_suffix('s').unwrap().parse().unwrap()
}

fn variables(yaml: &YamlOwned) -> Vec<(String, String)> {
    let pairs = yaml.as_mapping().unwrap().iter();
    pairs.map(|(name, value)| (text(name).to_owned(), text(value).to_owned())).collect()
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
