//! The stream of events at `PREFIX/events`: how a user's session stands, at once and whenever that
//! changes (server-sent events, WHATWG HTML 9.2).
//!
//! A stream waits for its worker to take a snapshot, for the next reminder, or for the time to show
//! that it is still there. While it waits it holds its connection and a few words, no buffers. It is
//! no request of its user's: the session neither counts it nor stays active by it.

use super::status::{Bearer, Life, Told, life_of};
use crate::connection::Connection;
use crate::flight::Phase;
use crate::pages::{Envelope, Page};
use crate::routing::Asking;
use crate::timer::Interrupt;
use crate::view::Routes;
use ebbtide_core::{Millis, Now, PoolCounters};
use ebbtide_protocol::http1::RequestHead;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use tokio::io::AsyncWrite;

/// A stream that has nothing to say shows that it is there after at most this.
const SIGN_OF_LIFE: Millis = Millis::from_secs(15);
/// So much earlier at random, so that streams that were told at one moment do not stay in step.
const SIGN_OF_LIFE_SPREAD: u64 = 3_000;
/// How long a browser waits before it connects again, in ms: at least this,
const RETRY_MS: u64 = 2_000;
/// and at random up to so much longer, so that not all come at once after a restart.
const RETRY_SPREAD_MS: u64 = 4_000;
/// What a client may send after its request; nothing of it is looked at.
const UNREAD_BYTES_MAX: usize = 64 * 1024;

/// A stream that has begun.
pub(crate) struct Stream {
    bearer: Option<Bearer>,
    told: Told,
    /// What the client may still send.
    unread: usize,
    /// Held for what it does when it is dropped.
    _open: Open,
}

/// Counts a stream while it is open.
struct Open {
    counters: Arc<PoolCounters>,
    worker: usize,
}

impl Open {
    fn new(routes: &Routes, worker: usize) -> Self {
        let counters = Arc::clone(&routes.pool.counters);
        counters.slot(worker).event_streams.add(1);
        Self { counters, worker }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.counters.slot(self.worker).event_streams.sub_one();
    }
}

/// What a stream has waited for.
enum Wake {
    /// To look whether there is something to tell.
    Look,
    /// The client is gone, or its connection is cut.
    Gone,
}

/// Begins a stream: writes the head of the answer and the first event. `Err` if there are as many as
/// there may be; `None` for a `HEAD` request, which gets the head only.
pub(crate) fn begin(
    asking: &Asking<'_>,
    (buf, head): (&[u8], &RequestHead),
    envelope: Envelope,
    out: &mut Vec<u8>,
) -> Result<Option<Stream>, Page> {
    let (routes, worker) = (asking.routes, asking.worker);
    let pool = &routes.pool;
    // Workers that begin streams at one moment may pass the limit by one each.
    let open = pool.counters.sum(|slot| &slot.event_streams);
    if open >= u64::from(pool.config.http.event_streams_max) {
        return Err(Page::StreamsExhausted);
    }
    out.extend_from_slice(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n\
          X-Accel-Buffering: no\r\nConnection: close\r\n\r\n",
    );
    if envelope.head_only {
        return Ok(None);
    }
    let bearer = Bearer::of(asking, buf, head);
    let life = life_of(bearer.as_ref(), routes, &worker.sessions, asking.now);
    let told = Told::now(bearer.as_ref(), &life, routes, asking.now);
    let retry = RETRY_MS + worker.roll() % RETRY_SPREAD_MS;
    out.extend_from_slice(format!("retry: {retry}\n").as_bytes());
    let stream = Stream {
        bearer,
        told,
        unread: UNREAD_BYTES_MAX,
        _open: Open::new(routes, worker.index),
    };
    out.extend_from_slice(stream.event(&life, routes, asking.now).as_bytes());
    Ok(Some(stream))
}

impl Stream {
    /// Tells what there is to tell, until the session is over, the client is gone or the program
    /// stops.
    pub async fn run(mut self, connection: &mut Connection) {
        let worker = Rc::clone(&connection.worker);
        while !self.told.is_over() && !worker.is_stopping() {
            let Some(routes) = worker.view().routes(connection.pool).map(Rc::clone) else {
                return;
            };
            let now = worker.now();
            let life = life_of(self.bearer.as_ref(), &routes, &worker.sessions, now);
            self.watch_over(&life, connection);
            let told = Told::now(self.bearer.as_ref(), &life, &routes, now);
            if told != self.told {
                self.told = told;
                let event = self.event(&life, &routes, now);
                if !send(connection, event.as_bytes()).await {
                    return;
                }
                continue;
            }
            drop((routes, life));
            let rest = SIGN_OF_LIFE.0 - worker.roll() % SIGN_OF_LIFE_SPREAD;
            let next = self.told.changes_at(now.moment);
            let until_next = next.map_or(u64::MAX, |at| at.since(now.moment).0.max(1));
            let is_quiet = rest <= until_next;
            match self.wait(connection, Millis(rest.min(until_next))).await {
                (Wake::Gone, _) => return,
                (Wake::Look, true) if is_quiet && !send(connection, b":\n\n").await => return,
                (Wake::Look, _) => {}
            }
        }
    }

    /// Waits until somebody wakes the stream or the time is over; whether it was the time.
    async fn wait(&mut self, connection: &mut Connection, span: Millis) -> (Wake, bool) {
        let Connection { stream, watch, .. } = connection;
        watch.set(span);
        let mut is_woken = false;
        let unread = &mut self.unread;
        poll_fn(|context| {
            while let Poll::Ready(ready) = stream.poll_read_ready(context) {
                let mut nothing = [0; 256];
                match ready.and_then(|()| stream.try_read(&mut nothing)) {
                    Ok(bytes) if bytes > 0 && bytes < *unread => *unread -= bytes,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    _ => return Poll::Ready((Wake::Gone, false)),
                }
            }
            match watch.poll(context) {
                Some(Interrupt::Timeout) => Poll::Ready((Wake::Look, true)),
                Some(Interrupt::Cut) => Poll::Ready((Wake::Gone, false)),
                None if std::mem::replace(&mut is_woken, true) => Poll::Ready((Wake::Look, false)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Has the worker wake this stream when its session is ended.
    fn watch_over(&self, life: &Life, connection: &Connection) {
        let flight = &connection.watch.flight;
        match life {
            Life::Live(Some(session)) => flight.enter(Phase::Events, session),
            _ => flight.enter_alone(Phase::Events),
        }
    }

    fn event(&self, life: &Life, routes: &Routes, now: Now) -> String {
        let name = match self.told.is_over() {
            true => "ended",
            false => "state",
        };
        let json = self.told.json(self.bearer.as_ref(), life, routes, now);
        let mut event = String::with_capacity(json.len() + 32);
        let written = write!(event, "event: {name}\ndata: {json}\n\n");
        debug_assert!(written.is_ok(), "writing to memory does not fail");
        event
    }
}

/// Writes all of `bytes`; `false` if that fails, or takes longer than a pause in a body may.
async fn send(connection: &mut Connection, mut bytes: &[u8]) -> bool {
    let view = connection.worker.view();
    let Some(routes) = view.routes(connection.pool) else {
        return false;
    };
    let pause_max = routes.pool.config.http.body_timeout;
    drop(view);
    let Connection { stream, watch, .. } = connection;
    watch.set(pause_max);
    poll_fn(|context| {
        while !bytes.is_empty() {
            match Pin::new(&mut *stream).poll_write(context, bytes) {
                Poll::Ready(Ok(written)) if written > 0 => bytes = &bytes[written..],
                Poll::Ready(_) => return Poll::Ready(false),
                Poll::Pending => {
                    return match watch.poll(context) {
                        // What is being cut may still say so: only time ends this.
                        Some(Interrupt::Timeout) => Poll::Ready(false),
                        _ => Poll::Pending,
                    };
                }
            }
        }
        Poll::Ready(true)
    })
    .await
}
