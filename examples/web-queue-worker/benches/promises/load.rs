//! Those who use the web: they send pictures, open the page, and wait for thumbnails.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

/// How many of them send pictures at the same time.
pub(crate) const CROWD: usize = 32;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(300);

/// Somebody with a browser.
#[derive(Clone)]
pub(crate) struct Visitor {
    http: reqwest::Client,
    url: String,
    picture: Vec<u8>,
}

impl Visitor {
    pub(crate) fn new(url: &str) -> Self {
        let mut png = std::io::Cursor::new(Vec::new());
        let picture = image::DynamicImage::new_rgb8(64, 64);
        picture.write_to(&mut png, image::ImageFormat::Png).expect("a PNG");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        Self { http, url: url.to_owned(), picture: png.into_inner() }
    }

    /// Opens the page; how long that took.
    pub(crate) async fn open_page(&self) -> Duration {
        let start = Instant::now();
        let response = self.http.get(&self.url).send().await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        response.bytes().await.expect("the page");
        start.elapsed()
    }

    /// Sends a picture, which must be taken: its id.
    pub(crate) async fn upload(&self) -> String {
        let url = format!("{}/pictures?name=cat.png", self.url);
        let response = self.http.post(url).body(self.picture.clone()).send().await;
        let response = response.expect("an answer");
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let answer: Value =
            serde_json::from_slice(&response.bytes().await.expect("it")).expect("JSON");
        answer["id"].as_str().expect("an id").to_owned()
    }
}

/// As many uploads, by a crowd; every one of them must be taken.
pub(crate) async fn upload(visitors: &[Visitor], uploads: usize) -> Vec<String> {
    let mut crowd = JoinSet::new();
    for one in 0..CROWD.min(uploads) {
        let visitor = visitors[one % visitors.len()].clone();
        let uploads = uploads / CROWD + usize::from(one < uploads % CROWD);
        crowd.spawn(async move {
            let mut ids = Vec::new();
            for _ in 0..uploads {
                ids.push(visitor.upload().await);
            }
            ids
        });
    }
    crowd.join_all().await.concat()
}

/// Waits until all of these have all thumbnails.
pub(crate) async fn all_done(disk: &Path, mut ids: Vec<String>) {
    let wait = async {
        loop {
            ids.retain(|id| {
                let made = |size| disk.join(format!("thumbnails/{id}-{size}.jpg")).exists();
                !["small", "medium", "large"].into_iter().all(made)
            });
            if ids.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "{} pictures have no thumbnails", ids.len());
}

/// The time within which 99 of 100 were done.
pub(crate) fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() * 99 / 100]
}
