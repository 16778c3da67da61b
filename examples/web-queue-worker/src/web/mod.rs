//! The web app: the page, uploads, thumbnails, and news of them. It computes nothing that takes
//! time; that is what the queue is for.

mod album;
mod events;
#[cfg(test)]
mod tests;
mod upload;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use job_core::Client;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::album::Album;
use crate::store::{Size, Store};

#[derive(Clone)]
struct App {
    client: Client,
    store: Arc<Store>,
    album: Arc<Album>,
    stop: CancellationToken,
}

/// Serves until it is told to stop, and then ends what is on its way.
pub(crate) async fn serve(
    listener: TcpListener,
    client: Client,
    store: Arc<Store>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let album = Arc::new(Album::new());
    let app = App { client, store: store.clone(), album: album.clone(), stop: stop.clone() };
    let server =
        axum::serve(listener, router(app)).with_graceful_shutdown(stop.clone().cancelled_owned());
    tokio::select! {
        served = server => served?,
        never = album.follow(&store) => match never {},
    }
    Ok(())
}

fn router(app: App) -> Router {
    Router::new()
        .route(
            "/",
            get(|| file("text/html; charset=utf-8", include_str!("../../static/index.html"))),
        )
        .route("/style.css", get(|| file("text/css", include_str!("../../static/style.css"))))
        .route("/app.js", get(|| file("text/javascript", include_str!("../../static/app.js"))))
        .route("/icon.svg", get(|| file("image/svg+xml", include_str!("../../static/icon.svg"))))
        .route("/pictures", post(upload::upload))
        .route("/thumbnails/{picture}/{size}", get(thumbnail))
        .route("/events", get(events::events))
        .layer(map_response(harden))
        .with_state(app)
}

async fn file(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "no-cache")], text)
}

/// What users send never gets out again as it came. This is a picture that a worker has made, and
/// both parts of its name are checked: an id and one of three sizes make no path but its own.
async fn thumbnail(
    State(app): State<App>,
    Path((picture, size)): Path<(Uuid, Size)>,
) -> Result<impl IntoResponse, StatusCode> {
    let jpeg = tokio::fs::read(app.store.thumbnail(picture, size)).await;
    let jpeg = jpeg.map_err(|_| StatusCode::NOT_FOUND)?;
    // It never changes.
    let cache = "public, max-age=31536000, immutable";
    Ok(([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, cache)], jpeg))
}

/// Nothing but what this app serves is run, shown or connected to, whatever gets into the page.
/// `blob:` is for the previews of pictures that the page itself is about to send.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const HARDENED: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

async fn harden(mut response: Response) -> Response {
    response.headers_mut().extend(HARDENED);
    response
}
