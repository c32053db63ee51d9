//! What keeps an open page up to date: server-sent events with the page as it is now.
//!
//! However much happens, a page is drawn again a few times a second at most, and less often the longer
//! that takes: ten open pages of a million sessions leave the machine nine tenths of its time.

use super::super::answer::ApiError;
use super::super::stream::Blocks;
use super::desk::Desk;
use super::fields::Fields;
use super::{Place, frame, nothing_at};
use crate::clock::clock;
use axum::body::{Body, Bytes};
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use blake3::Hash;
use ebbtide_api::{ErrorKind, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep, timeout};

/// Between two drawings at the least.
const PAUSE_MIN: Duration = Duration::from_millis(300);
/// And so many times as long as one of them takes.
const PAUSE_TIMES: u32 = 10;
/// Counts change without anybody being told: so often they are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A page is looked after for so long; then its browser asks again, and is asked again who it is.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Something is said so often, so that a browser notices when nobody is there any more.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A page that takes nothing for this long is gone.
const STALLED: Duration = Duration::from_secs(60);

/// The stream of the page whose address follows `/live`.
pub(super) async fn stream(desk: Desk, uri: Uri) -> Result<Response, ApiError> {
    let path = uri.path().strip_prefix("/live").unwrap_or_default();
    let place = Place::of(path).ok_or_else(|| nothing_at(&uri))?;
    let asked = Fields::of_query(uri.query().unwrap_or_default());
    let permit = Arc::clone(&desk.room.streams).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let text = "too many pages are open already; this one is not kept up to date";
        ApiError::new(503, ErrorKind::Internal, text)
    })?;
    let (blocks, receiver) = mpsc::channel(1);
    tokio::spawn(tell(desk, place, asked, blocks, permit));
    Ok((
        [(CONTENT_TYPE, "text/event-stream")],
        Body::new(Blocks(receiver)),
    )
        .into_response())
}

async fn tell(
    desk: Desk,
    place: Place,
    asked: Fields,
    blocks: mpsc::Sender<Bytes>,
    _permit: OwnedSemaphorePermit,
) {
    let (mut snapshots, mut events) = (desk.app.snapshots.clone(), desk.app.events.watch());
    let end = Instant::now() + LIFE;
    let greeting = format!("{} {}", frame::run_of(&desk), Timestamp(clock().wall.0));
    let (mut last, mut block) = (None, Some(event("hello", &greeting)));
    let mut told = Instant::now();
    while Instant::now() < end {
        snapshots.borrow_and_update();
        events.borrow_and_update();
        let begun = Instant::now();
        let page = draw(&desk, &place, &asked).await;
        let pause = PAUSE_MIN.max(begun.elapsed() * PAUSE_TIMES);
        let hash = blake3::hash(page.as_bytes());
        for block in block
            .take()
            .into_iter()
            .chain(news(last, hash, &page, told))
        {
            if !matches!(timeout(STALLED, blocks.send(block)).await, Ok(Ok(()))) {
                return;
            }
            told = Instant::now();
        }
        last = Some(hash);
        sleep(pause).await;
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() { return },
            changed = events.changed(), if place == Place::Events => if changed.is_err() { return },
            () = sleep(LOOK) => {}
            () = blocks.closed() => return,
        }
    }
    drop(timeout(STALLED, blocks.send(event("again", ""))).await);
}

/// What there is to say: the page if it is another one, or that somebody is still there.
fn news(last: Option<Hash>, hash: Hash, page: &str, told: Instant) -> Option<Bytes> {
    match last == Some(hash) {
        false => Some(event("page", page)),
        true => (told.elapsed() >= HEARTBEAT).then(|| event("beat", "")),
    }
}

/// The page as it is now; what went wrong, if it cannot be drawn any more.
async fn draw(desk: &Desk, place: &Place, asked: &Fields) -> String {
    let drawn = async {
        let drawn = place.draw(desk, asked).await?;
        frame::live(desk, &drawn.main).await
    };
    match drawn.await {
        Ok(page) => page,
        Err(error) => frame::trouble(&error),
    }
}

fn event(name: &str, data: &str) -> Bytes {
    let mut block = format!("event: {name}\n");
    for line in data.lines() {
        block.push_str("data: ");
        block.push_str(line);
        block.push('\n');
    }
    if data.is_empty() {
        block.push_str("data:\n");
    }
    block.push('\n');
    Bytes::from(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_its_page_line_by_line() {
        assert_eq!(
            event("page", "<p>\n</p>"),
            "event: page\ndata: <p>\ndata: </p>\n\n"
        );
        assert_eq!(event("beat", ""), "event: beat\ndata:\n\n");
    }
}
