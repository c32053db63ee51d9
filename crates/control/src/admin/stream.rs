//! The event stream: server-sent events.

use super::access::Caller;
use super::answer::ApiError;
use super::app::App;
use crate::clock::clock;
use crate::event_log::EventLog;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName};
use axum::response::IntoResponse;
use ebbtide_api::{ErrorBody, Event, EventKind, Timestamp};
use http_body::Frame;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};

const HEARTBEAT: Duration = Duration::from_secs(15);
/// A listener that takes nothing for this long is gone.
const STALLED: Duration = Duration::from_secs(60);

/// What happens from now on; with `Last-Event-ID`, first what has happened since then. Over the network 64
/// streams and waits can be open at once; a further one is answered with 503.
#[utoipa::path(get, path = "/events", tag = "read",
    params(("Last-Event-ID" = Option<u64>, Header, description = "the last event that was seen")),
    responses((status = 200, body = Event, content_type = "text/event-stream"),
        (status = "default", body = ErrorBody)))]
pub(super) async fn events(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let permit = caller.stay(&app)?;
    let newest = *app.events.watch().borrow();
    let last_seen = headers
        .get(HeaderName::from_static("last-event-id"))
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let after = match last_seen {
        // A number from before a restart: all of this run is news.
        Some(seen) if seen > newest => 0,
        Some(seen) => seen,
        None => newest,
    };
    let (blocks, receiver) = mpsc::channel(1);
    let log = Arc::clone(&app.events);
    let has_lost_token = move || caller.has_lost_token(&app);
    tokio::spawn(async move {
        tell(log, after, blocks, has_lost_token).await;
        drop(permit);
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((headers, Body::new(Blocks(receiver))))
}

/// Until the listener is gone, or his token was removed.
async fn tell(
    log: Arc<EventLog>,
    mut after: u64,
    blocks: mpsc::Sender<Bytes>,
    has_lost_token: impl Fn() -> bool + Send,
) {
    let mut newest = log.watch();
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    let mut block = Bytes::from_static(b": listening\n\n");
    loop {
        if has_lost_token() {
            return;
        }
        if !block.is_empty() && !matches!(timeout(STALLED, blocks.send(block)).await, Ok(Ok(()))) {
            return;
        }
        newest.borrow_and_update();
        block = take(&log, &mut after);
        if !block.is_empty() {
            continue;
        }
        tokio::select! {
            changed = newest.changed() => match changed {
                Ok(()) => {}
                Err(_) => return,
            },
            _ = heartbeat.tick() => block = Bytes::from_static(b": heartbeat\n\n"),
            () = blocks.closed() => return,
        }
    }
}

/// All events after `after`, which is moved on; where some are no longer kept, how many.
fn take(log: &EventLog, after: &mut u64) -> Bytes {
    let mut block = String::new();
    for event in &log.since(*after) {
        let gone = event.id - *after - 1;
        if gone > 0 {
            write(&mut block, &missed(event.id - 1, gone));
        }
        *after = event.id;
        write(&mut block, event);
    }
    Bytes::from(block)
}

fn missed(id: u64, count: u64) -> Event {
    Event {
        id,
        at: Timestamp(clock().wall.0),
        server: None,
        text: format!("{count} events were missed"),
        kind: EventKind::Missed { count },
    }
}

fn write(block: &mut String, event: &Event) {
    let data = serde_json::to_string(event)
        .expect("events are structs of text and numbers, which JSON can hold");
    let kind = event.kind.label();
    block.push_str(&format!(
        "id: {}\nevent: {kind}\ndata: {data}\n\n",
        event.id
    ));
}

/// A body made of the blocks that arrive.
pub(super) struct Blocks(pub mpsc::Receiver<Bytes>);

impl http_body::Body for Blocks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let block = self.0.poll_recv(context);
        block.map(|block| block.map(|block| Ok(Frame::data(block))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebbtide_core::{SessionId, WallTime};
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    fn push(log: &EventLog, count: u64) {
        for number in 0..count {
            log.push(&ebbtide_core::Event {
                at: WallTime(number),
                server: None,
                kind: ebbtide_core::EventKind::Store { failed: None },
            });
        }
    }

    async fn text(blocks: &mut mpsc::Receiver<Bytes>) -> String {
        let block = blocks.recv().await.unwrap();
        String::from_utf8(block.to_vec()).unwrap()
    }

    fn begin(log: &Arc<EventLog>) -> mpsc::Receiver<Bytes> {
        let (blocks, receiver) = mpsc::channel(1);
        tokio::spawn(tell(Arc::clone(log), 0, blocks, || false));
        receiver
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_stream_shows_that_it_lives() {
        let log = Arc::new(EventLog::new());
        let mut blocks = begin(&log);
        assert_eq!(text(&mut blocks).await, ": listening\n\n");
        let start = Instant::now();
        assert_eq!(text(&mut blocks).await, ": heartbeat\n\n");
        assert_eq!(start.elapsed().as_secs(), HEARTBEAT.as_secs());
        push(&log, 1);
        let event = text(&mut blocks).await;
        assert!(event.starts_with("id: 1\nevent: store\ndata: {"), "{event}");
        assert!(event.ends_with("}\n\n"), "{event}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_listener_learns_how_many_events_it_missed() {
        let log = Arc::new(EventLog::new());
        let mut blocks = begin(&log);
        assert_eq!(text(&mut blocks).await, ": listening\n\n");
        push(&log, 3000);
        let late = text(&mut blocks).await;
        assert!(late.starts_with("id: 1976\nevent: missed\n"), "{late:.99}");
        assert!(late.contains(r#""kind":"missed","count":1976"#));
        assert_eq!(late.matches("event: store").count(), 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_sessions_pushes_out_no_word_of_an_operators() {
        let log = Arc::new(EventLog::new());
        push(&log, 2);
        for number in 0..3000 {
            log.push(&ebbtide_core::Event {
                at: WallTime(number),
                server: None,
                kind: ebbtide_core::EventKind::SessionBegan {
                    id: SessionId(number),
                    client: [192, 0, 2, 1].into(),
                    moved_from: None,
                },
            });
        }
        push(&log, 1);
        let mut blocks = begin(&log);
        assert_eq!(text(&mut blocks).await, ": listening\n\n");
        let told = text(&mut blocks).await;
        let ids: Vec<u64> = told
            .lines()
            .filter_map(|line| line.strip_prefix("id: ")?.parse().ok())
            .collect();
        assert_eq!(ids[..4], [1, 2, 1978, 1979]);
        assert_eq!(ids.len(), 3 + 1 + 1024);
        assert_eq!(ids.last(), Some(&3003));
        assert!(
            told.contains(r#""kind":"missed","count":1976"#),
            "{told:.999}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_loses_his_token_hears_no_more() {
        let log = Arc::new(EventLog::new());
        let (blocks, mut receiver) = mpsc::channel(1);
        let is_removed = Arc::new(AtomicBool::new(false));
        let has_lost = Arc::clone(&is_removed);
        let telling = tell(Arc::clone(&log), 0, blocks, move || has_lost.load(Relaxed));
        let telling = tokio::spawn(telling);
        assert_eq!(text(&mut receiver).await, ": listening\n\n");
        is_removed.store(true, Relaxed);
        push(&log, 1);
        telling.await.unwrap();
        assert!(receiver.recv().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_takes_nothing_is_given_up() {
        let log = Arc::new(EventLog::new());
        let (blocks, receiver) = mpsc::channel(1);
        push(&log, 1);
        let telling = tokio::spawn(tell(Arc::clone(&log), 0, blocks, || false));
        // One block is in the channel and the next waits for room, in vain.
        telling.await.unwrap();
        drop(receiver);
    }
}
