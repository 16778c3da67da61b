//! The page, in a browser: pictures go in, thumbnails come out. Screenshots are kept in
//! `target/tmp/web-queue-worker-*.png`.

mod support;

use std::io::{BufRead, BufReader};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use futures_util::FutureExt;
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::json;

use self::support::{Site, Web, asset, program};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn in_one_process() {
    let disk = tempfile::tempdir().unwrap();
    let web = Web::start(program(&["--listen", "127.0.0.1:0"], disk.path()));
    visit("one", &web.url).await;
    let report = web.program.stop();
    assert!(report.contains("3 completed"), "{report}");
    assert!(report.contains("1 poisoned"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_worker_processes_on_azurite() {
    let site = Site::new();
    let (web, workers) = (site.web(), site.workers(2, Duration::ZERO));
    visit("two", &web.url).await;
    web.program.stop();
    workers.stop_after(3);
}

/// Drags a text over the page, then a file, and drops that: whether the box was lit up each time.
const DROP: &str = r#"
    const text = new DataTransfer();
    text.setData("text/plain", "hello");
    const file = new DataTransfer();
    file.items.add(new File(["These are notes."], arguments[0]));
    return [["dragover", text], ["dragover", file], ["drop", file]].map(([type, dataTransfer]) => {
        document.body.dispatchEvent(
            new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
        return document.getElementById("drop").classList.contains("over");
    });"#;

/// A browser of its own, that does not outlive the visit.
async fn visit(name: &str, url: &str) {
    let chrome = Chrome::start().await;
    let visit = AssertUnwindSafe(upload_and_look(name, &chrome.client, url)).catch_unwind().await;
    if visit.is_err() {
        shoot(&chrome.client, &format!("{name}-failed")).await;
    }
    chrome.client.clone().close().await.unwrap();
    visit.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

async fn upload_and_look(name: &str, page: &Client, url: &str) {
    // Both are names that users may give their files.
    let folder = tempfile::tempdir().unwrap();
    let (hostile, wrong) = ("<img src=x onerror=document.title='hacked'>.jpg", "notes.png");
    std::fs::copy(asset("mandelbrot.jpg"), folder.path().join(hostile)).unwrap();

    page.goto(url).await.unwrap();
    let files = [
        asset("plasma.jpg"),
        asset("sunset.png"),
        asset("damaged.png"),
        folder.path().join(hostile),
    ];
    let files: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
    page.find(Locator::Id("files")).await.unwrap().send_keys(&files.join("\n")).await.unwrap();
    assert_eq!(page.execute(DROP, vec![json!(wrong)]).await.unwrap(), json!([false, true, false]));

    // Every picture is settled, and its thumbnail is one that the browser can show.
    until(page, "return document.querySelectorAll('.card.done').length === 3").await;
    until(page, "return document.querySelectorAll('.card.failed').length === 2").await;
    let shown = "return [...document.querySelectorAll('.card.done img')].every(image => \
        image.src.endsWith('/medium') && image.naturalWidth > 200)";
    until(page, shown).await;
    until(page, "return document.querySelectorAll('.sizes a').length === 9").await;
    assert_eq!(names(page, "done").await, sorted([hostile, "plasma.jpg", "sunset.png"]));
    assert_eq!(names(page, "failed").await, sorted(["damaged.png", wrong]));
    let said = page.find(Locator::Css(".card.failed[data-picture] .status")).await.unwrap();
    assert_eq!(said.text().await.unwrap(), "It is damaged.");
    let said = page.find(Locator::Css(".card.failed:not([data-picture]) .status")).await.unwrap();
    let why = "This is no picture that we can read. Please choose a JPEG or a PNG.";
    assert_eq!(said.text().await.unwrap(), why);
    assert_eq!(page.title().await.unwrap(), "Thumbnails", "a name was taken for HTML");

    // Whatever gets into the page is not run.
    let inject = "const script = document.createElement('script'); \
        script.textContent = 'document.title = \"hacked\"'; document.body.append(script)";
    page.execute(inject, vec![]).await.unwrap();
    assert_eq!(page.title().await.unwrap(), "Thumbnails", "the policy let a script in");
    shoot(page, name).await;

    // It is all there for whoever comes later; what was refused never was.
    page.refresh().await.unwrap();
    until(page, "return document.querySelectorAll('.card.done').length === 3").await;
    until(page, "return document.querySelectorAll('.card.failed').length === 1").await;
    page.set_window_size(390, 844).await.unwrap();
    let wide = "return document.documentElement.scrollWidth > innerWidth";
    assert_eq!(page.execute(wide, vec![]).await.unwrap(), json!(false), "it does not fit");
    shoot(page, &format!("{name}-phone")).await;
}

async fn until(page: &Client, script: &str) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while page.execute(script, vec![]).await.unwrap() != json!(true) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(waited.await.is_ok(), "never true: {script}\n{}", page.source().await.unwrap());
}

async fn names(page: &Client, state: &str) -> Vec<String> {
    let mut names = Vec::new();
    for name in page.find_all(Locator::Css(&format!(".card.{state} .name"))).await.unwrap() {
        names.push(name.text().await.unwrap());
    }
    names.sort();
    names
}

fn sorted<const N: usize>(names: [&str; N]) -> Vec<String> {
    let mut names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    names.sort();
    names
}

async fn shoot(page: &Client, name: &str) {
    let file = format!("web-queue-worker-{name}.png");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    std::fs::write(&path, page.screenshot().await.unwrap()).unwrap();
}

/// Chromium, driven by ChromeDriver.
struct Chrome {
    driver: Child,
    client: Client,
    _profile: tempfile::TempDir,
}

impl Chrome {
    /// `CHROMEDRIVER` and `CHROME` say where they are, if they are not on the path.
    async fn start() -> Self {
        let driver = std::env::var("CHROMEDRIVER").unwrap_or_else(|_| "chromedriver".to_owned());
        let mut driver =
            Command::new(&driver).arg("--port=0").stdout(Stdio::piped()).spawn().unwrap_or_else(
                |error| {
                    panic!(
                        "cannot start {driver}: {error}; install Chromium and ChromeDriver \
                     (`apt-get install chromium chromium-driver`), or set CHROMEDRIVER and CHROME"
                    )
                },
            );
        let stdout = BufReader::new(driver.stdout.take().expect("a pipe"));
        let port: u16 = stdout
            .lines()
            .find_map(|line| Some(line.ok()?.split_once("successfully on port ")?.1.to_owned()))
            .and_then(|port| port.trim_end_matches('.').parse().ok())
            .expect("ChromeDriver says its port");

        let profile = tempfile::tempdir().unwrap();
        let profile_arg = format!("--user-data-dir={}", profile.path().display());
        let mut options = json!({ "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--disable-dev-shm-usage", "--window-size=1200,1300", profile_arg,
        ]});
        if let Ok(chrome) = std::env::var("CHROME") {
            options["binary"] = json!(chrome);
        }
        let capabilities = json!({ "browserName": "chrome", "goog:chromeOptions": options });
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(serde_json::from_value(capabilities).unwrap())
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap_or_else(|error| panic!("Chromium does not start: {error}"));
        Self { driver, client, _profile: profile }
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
