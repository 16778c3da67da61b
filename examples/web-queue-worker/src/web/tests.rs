//! Requests as they should not be, and what becomes of them.

use std::io;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use image::{DynamicImage, ImageFormat};
use job_core::backend::ErrorKind;
use job_memory::testing::{Operation, TestJobs, assert_enqueued, refute_enqueued};
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::thumbnails::{MAX_PIXELS, MakeThumbnails};

/// The web on a disk of its own, with a queue that nobody serves.
struct Site {
    jobs: TestJobs,
    disk: tempfile::TempDir,
    app: App,
}

impl Site {
    fn new() -> Self {
        let jobs = TestJobs::builder().build();
        let disk = tempfile::tempdir().unwrap();
        let app = App {
            client: jobs.client().clone(),
            store: Arc::new(Store::open(disk.path()).unwrap()),
            album: Arc::new(Album::new()),
            stop: CancellationToken::new(),
        };
        Self { jobs, disk, app }
    }

    async fn request(&self, request: Request<Body>) -> Response<Body> {
        router(self.app.clone()).oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.request(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends a picture: the status, and what the page is told.
    async fn post(&self, body: impl Into<Body>) -> (StatusCode, Value) {
        let response = self.request(upload("cat.png", body)).await;
        let (head, body) = response.into_parts();
        let json = to_bytes(body, 10_000).await.unwrap();
        (head.status, serde_json::from_slice(&json).unwrap())
    }

    fn files(&self) -> usize {
        std::fs::read_dir(self.disk.path().join("uploads")).unwrap().count()
    }
}

fn upload(name: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(format!("/pictures?name={name}")).body(body.into()).unwrap()
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut png = std::io::Cursor::new(Vec::new());
    DynamicImage::new_luma8(width, height).write_to(&mut png, ImageFormat::Png).unwrap();
    png.into_inner()
}

#[tokio::test(start_paused = true)]
async fn accepted_is_stored_and_on_the_queue() {
    let site = Site::new();
    let (status, answer) = site.post(png(3, 2)).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let id: Uuid = serde_json::from_value(answer["id"].clone()).unwrap();
    assert_enqueued!(site.jobs, MakeThumbnails { picture: id });
    let upload = site.disk.path().join("uploads").join(id.to_string());
    assert_eq!(std::fs::read(upload).unwrap(), png(3, 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_leaves_nothing_behind() {
    let site = Site::new();
    let large = vec![0; (10 << 20) + 1];
    let parts: Vec<_> = large.chunks(1 << 20).map(|part| io::Result::Ok(part.to_vec())).collect();
    let parts = futures_util::stream::iter(parts);
    let lost = futures_util::stream::iter([Ok(png(3, 2)), Err("connection reset")]);
    for (body, status, why) in [
        (Body::from("These are notes."), 415, "no picture"),
        (Body::empty(), 415, "no picture"),
        (Body::from(png(3, 2)[..20].to_vec()), 415, "no picture"),
        (Body::from(b"GIF89a..........".to_vec()), 415, "no picture"),
        (Body::from(b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec()), 415, "no picture"),
        (Body::from(png(MAX_PIXELS + 1, 1)), 422, "pixels in a row"),
        (Body::from(large.clone()), 413, "more than 10 MB"),
        (Body::from_stream(parts), 413, "more than 10 MB"),
        (Body::from_stream(lost), 400, "did not arrive"),
    ] {
        let (found, answer) = site.post(body).await;
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}, not {why}");
        assert_eq!(found.as_u16(), status, "{answer}");
    }
    let mut announced = upload("cat.png", Body::empty());
    announced.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("99999999"));
    assert_eq!(site.request(announced).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(site.files(), 0);
    refute_enqueued!(site.jobs, MakeThumbnails);
}

#[tokio::test(start_paused = true)]
async fn without_its_queue_it_takes_nothing() {
    let site = Site::new();
    site.jobs.fail_next(Operation::Send, ErrorKind::Unauthorized);
    let (status, answer) = site.post(png(3, 2)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer["error"], "We cannot take pictures right now. Please try again in a moment.");
    assert_eq!(site.files(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_sends_too_slowly_is_sent_away() {
    let site = Site::new();
    let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let (status, _) = site.post(Body::from_stream(never)).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(site.files(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_path_leads_anywhere_else() {
    let site = Site::new();
    std::fs::write(site.disk.path().join("secret.jpg"), "secret").unwrap();
    let id = Uuid::now_v7();
    for (path, status) in [
        ("/thumbnails/..%2fsecret/small".to_owned(), 400),
        ("/thumbnails/../secret.jpg".to_owned(), 400),
        (format!("/thumbnails/{id}/..%2f..%2fsecret"), 400),
        (format!("/thumbnails/{id}/huge"), 400),
        (format!("/thumbnails/{id}/small"), 404),
        (format!("/uploads/{id}"), 404),
    ] {
        assert_eq!(site.get(&path).await.status().as_u16(), status, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_hardened() {
    let site = Site::new();
    for path in ["/", "/app.js", "/thumbnails/x/small", "/none"] {
        let response = site.get(path).await;
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
    }
    // The policy forbids both, so the page would break.
    let page = include_str!("../../static/index.html");
    assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onclick"));
    assert_eq!(page.matches("<script").count(), page.matches("<script src=").count());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_wait_for_open_pages() {
    let site = Site::new();
    let events = site.get("/events").await.into_body();
    site.app.stop.cancel();
    assert!(to_bytes(events, 1000).await.unwrap().is_empty());
}
