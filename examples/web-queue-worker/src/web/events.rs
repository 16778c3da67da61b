//! `GET /events`: server-sent events, one for each picture that changes, beginning with those of
//! late. A browser that lost its connection comes again by itself and begins anew, so it misses
//! nothing.

use std::convert::Infallible;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::{Stream, StreamExt, unfold};

use super::App;

pub(super) async fn events(
    State(app): State<App>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let pictures = unfold(app.album.watch(), |mut watcher| async {
        let picture = watcher.next().await?;
        let event = Event::default().json_data(picture).unwrap_or_default();
        Some((Ok(event), watcher))
    });
    // Such a request never ends by itself: without this, a shutdown would wait for every page.
    Sse::new(pictures.take_until(app.stop.cancelled_owned())).keep_alive(KeepAlive::default())
}
