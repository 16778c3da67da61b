//! `POST /pictures`: takes a picture, puts a job for it on the queue, and answers.

use std::io::{self, BufReader};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use image::{ImageFormat, ImageReader};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use uuid::Uuid;

use super::App;
use crate::thumbnails::{MAX_PIXELS, MakeThumbnails};

/// The most that an upload may have, in bytes. The page says it, too.
const MAX_BYTES: u64 = 10 << 20;

/// How long an upload may take. Who sends a byte a minute gets no more of our time than that.
const MAX_TIME: Duration = Duration::from_secs(120);

/// A name is shown and never used as one, so it may have anything in it, but not more than this.
const MAX_NAME: usize = 120;

#[derive(Deserialize)]
pub(super) struct About {
    #[serde(default)]
    name: String,
}

#[derive(Serialize)]
pub(super) struct Accepted {
    id: Uuid,
}

/// "Accepted" is a promise: the picture is on the disk and its job is on the queue. Before that,
/// nothing is promised, and what goes wrong leaves nothing behind that anybody sees: a picture whose
/// name cannot be written, at the end, keeps its job, and its thumbnails are shown to nobody.
pub(super) async fn upload(
    State(app): State<App>,
    Query(about): Query<About>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Accepted>), UploadError> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    if length.and_then(|length| length.parse().ok()).is_some_and(|length: u64| length > MAX_BYTES) {
        return Err(UploadError::TooLarge);
    }
    let store = app.store.clone();
    let file = blocking(move || store.begin_upload()).await?;
    let file = timeout(MAX_TIME, receive(body, file)).await.map_err(|_| UploadError::TooSlow)??;

    // The id is ours: no name of a user's gets near the disk.
    let id = Uuid::now_v7();
    let store = app.store.clone();
    blocking(move || {
        check(&file)?;
        Ok::<_, UploadError>(store.keep_upload(id, file)?)
    })
    .await?;

    if let Err(error) = app.client.enqueue(MakeThumbnails { picture: id }).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "a picture was not taken");
        let store = app.store.clone();
        // If the job is on the queue after all, it finds no picture, and ends in the poison queue.
        blocking(move || store.remove_upload(id)).await?;
        return Err(UploadError::NoQueue);
    }
    let (store, name) = (app.store, tidy(&about.name));
    blocking(move || store.list_upload(id, &name)).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { id })))
}

/// Straight to the disk, so that many uploads at a time take little memory.
async fn receive(body: Body, file: NamedTempFile) -> Result<NamedTempFile, UploadError> {
    let mut to = tokio::fs::File::from_std(file.reopen()?);
    let mut chunks = body.into_data_stream();
    let mut left = MAX_BYTES;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| UploadError::Interrupted)?;
        left = left.checked_sub(chunk.len() as u64).ok_or(UploadError::TooLarge)?;
        to.write_all(&chunk).await?;
    }
    to.flush().await?;
    Ok(file)
}

/// What can be told from its first bytes, whatever the browser calls it. The rest takes time, and
/// is the worker's.
fn check(file: &NamedTempFile) -> Result<(), UploadError> {
    let reader = ImageReader::new(BufReader::new(file.reopen()?)).with_guessed_format()?;
    if !matches!(reader.format(), Some(ImageFormat::Jpeg | ImageFormat::Png)) {
        return Err(UploadError::NoPicture);
    }
    let (width, height) = reader.into_dimensions().map_err(|_| UploadError::NoPicture)?;
    if width > MAX_PIXELS || height > MAX_PIXELS {
        return Err(UploadError::TooManyPixels);
    }
    Ok(())
}

fn tidy(name: &str) -> String {
    let name: String = name.chars().filter(|char| !char.is_control()).take(MAX_NAME).collect();
    if name.trim().is_empty() { "a picture".to_owned() } else { name.trim().to_owned() }
}

async fn blocking<T, E>(f: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, UploadError>
where
    T: Send + 'static,
    E: Into<UploadError> + Send + 'static,
{
    spawn_blocking(f).await.map_err(io::Error::other)?.map_err(Into::into)
}

#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error("This picture has more than 10 MB. Please choose a smaller one.")]
    TooLarge,
    #[error(
        "This picture has more than {MAX_PIXELS} pixels in a row. Please choose a smaller one."
    )]
    TooManyPixels,
    #[error("This is no picture that we can read. Please choose a JPEG or a PNG.")]
    NoPicture,
    #[error("It took too long to arrive. Please try again.")]
    TooSlow,
    #[error("It did not arrive. Please try again.")]
    Interrupted,
    #[error("We cannot take pictures right now. Please try again in a moment.")]
    NoQueue,
    #[error("We cannot take pictures right now. Please try again in a moment.")]
    NoStore(#[from] io::Error),
}

#[derive(Serialize)]
struct Refused {
    error: String,
}

impl IntoResponse for UploadError {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyPixels => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoPicture => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Interrupted => StatusCode::BAD_REQUEST,
            Self::NoQueue | Self::NoStore(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        if let Self::NoStore(error) = &self {
            tracing::error!(%error, "a picture was not stored");
        }
        let error = Json(Refused { error: self.to_string() });
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return (status, [(header::RETRY_AFTER, "5")], error).into_response();
        }
        (status, error).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_line_of_text() {
        assert_eq!(tidy(" my\ncat\u{0}.jpg "), "mycat.jpg");
        assert_eq!(tidy("\t"), "a picture");
        assert_eq!(tidy(&"é".repeat(500)).chars().count(), MAX_NAME);
    }
}
