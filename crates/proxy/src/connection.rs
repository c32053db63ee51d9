//! A client's connection: one request after the other, until one side has had enough.

use crate::accept::Guest;
use crate::buffer::{Buffer, Scratch};
use crate::exchanger::Exchanger;
use crate::flight::Phase;
use crate::notice::stream::Stream;
use crate::pages::{self, Format, Page};
use crate::routing::Remembered;
use crate::socket;
use crate::timer::{Interrupt, Watch};
use crate::worker::Worker;
use ebbtide_core::{HttpSettings, Millis, PoolKey, PoolSlot};
use ebbtide_protocol::http1::{Limits, Parsed, Reject, parse_request};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// How long a client may take to notice that we have finished with it.
const LINGER: Millis = Millis(1_000);
/// Bytes that are read and thrown away in that time.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// A client's connection.
pub(crate) struct Connection {
    pub worker: Rc<Worker>,
    pub stream: TcpStream,
    pub client: SocketAddr,
    /// The listener that it came by.
    listener: SocketAddr,
    pub pool: PoolKey,
    pub watch: Watch,
    pub remembered: Option<Remembered>,
    /// The stream of events that it goes on with; apart, as few connections have one.
    pub stream_of_events: Option<Box<Stream>>,
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It takes the next request.
    KeepAlive,
    /// It is closed; everything the client has sent was read.
    Close,
    /// It is closed once the client has had time to read the answer.
    Linger,
    /// It is reset, so that what was sent cannot look complete.
    Reset,
    /// It goes on with a stream of events, and nothing else.
    Events,
}

/// What became of waiting for a request.
enum Arrival {
    /// Its head is there, in what was lent for it.
    Request(Box<Scratch>),
    /// None came, or what came cannot be answered.
    Nothing,
    /// It is malformed.
    Rejected(Reject),
    /// It did not come in time.
    TooSlow,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.worker.connection_closed(&self.watch.flight);
    }
}

impl Connection {
    /// A connection that was just accepted.
    pub fn new(guest: Guest, (listener, pool): (SocketAddr, PoolKey)) -> Self {
        Self {
            worker: guest.worker,
            stream: guest.stream,
            client: guest.client,
            listener,
            pool,
            watch: Watch::new(guest.flight, HttpSettings::defaults().idle_timeout),
            remembered: None,
            stream_of_events: None,
        }
    }

    /// Serves requests until the connection ends.
    pub async fn serve(self: Box<Self>) {
        let mut connection = self;
        let mut scratch = None;
        loop {
            let next = match connection.await_request(&mut scratch).await {
                Arrival::Request(lent) => {
                    let (next, served, lent) = connection.exchange(lent).await;
                    (connection, scratch) = (served, Some(lent));
                    next
                }
                Arrival::Nothing => Next::Close,
                Arrival::Rejected(reject) => {
                    let page = Page::Rejected(reject);
                    connection.refuse(&mut scratch, page).await
                }
                Arrival::TooSlow => connection.refuse(&mut scratch, Page::RequestTimeout).await,
            };
            match next {
                Next::KeepAlive => continue,
                Next::Close => {}
                Next::Linger => connection.linger(&mut scratch).await,
                Next::Reset => socket::reset(&connection.stream),
                Next::Events => connection.tell(&mut scratch).await,
            }
            break;
        }
        if let Some(scratch) = scratch {
            connection.worker.scratches.give_back(scratch);
        }
    }

    /// Serves the request that has arrived.
    async fn exchange(
        self: Box<Self>,
        mut scratch: Box<Scratch>,
    ) -> (Next, Box<Self>, Box<Scratch>) {
        let mut exchanger = scratch.exchanger.take().unwrap_or_else(Exchanger::new);
        let ((connection, mut scratch), next) = exchanger.serve((self, scratch)).await;
        scratch.exchanger = Some(exchanger);
        scratch.inbound.release();
        scratch.outbound.clear();
        connection.watch.flight.enter_alone(Phase::Between);
        (next, connection, scratch)
    }

    /// Goes on with a stream of events. What the request needed is given back: streams are many.
    async fn tell(&mut self, scratch: &mut Option<Box<Scratch>>) {
        if let Some(held) = scratch.take() {
            self.worker.scratches.give_back(held);
        }
        if let Some(stream) = self.stream_of_events.take() {
            Box::pin(stream.run(self)).await;
        }
    }

    /// Waits for a request's whole head. While there is nothing of it, no memory is held.
    async fn await_request(&mut self, scratch: &mut Option<Box<Scratch>>) -> Arrival {
        let (http, limits) = self.settings();
        if let Some(held) = scratch.take_if(|held| held.inbound.is_empty()) {
            self.worker.scratches.give_back(held);
        }
        if scratch.is_none() {
            self.watch.set(http.idle_timeout);
            *scratch = self.await_bytes(limits.head_bytes).await;
        }
        let Some(lent) = scratch else {
            return Arrival::Nothing;
        };
        let Scratch {
            inbound, request, ..
        } = &mut **lent;
        let mut is_timed = false;
        loop {
            match parse_request(inbound.filled(), &limits, request) {
                Ok(Parsed::Complete) => {
                    inbound.hold(request.head_bytes);
                    return scratch.take().map_or(Arrival::Nothing, Arrival::Request);
                }
                Ok(Parsed::Partial) => {}
                Err(reject) => return Arrival::Rejected(reject),
            }
            if !is_timed {
                is_timed = true;
                self.watch.set(http.head_timeout);
            }
            match self.read(inbound, limits.head_bytes).await {
                Ok(true) => {}
                Err(Interrupt::Timeout) => return Arrival::TooSlow,
                Ok(false) | Err(Interrupt::Cut) => return Arrival::Nothing,
            }
        }
    }

    /// Waits until the client has sent something, and reads it; `None` if the connection ends
    /// before that.
    async fn await_bytes(&mut self, bytes_max: usize) -> Option<Box<Scratch>> {
        let Self {
            stream,
            watch,
            worker,
            ..
        } = self;
        poll_fn(|context| {
            // That it is ready may be a guess of the runtime's, so nothing is kept on its word.
            if stream.poll_read_ready(context).is_ready() {
                let mut scratch = worker.scratches.take();
                match scratch.inbound.poll_fill(context, stream, bytes_max) {
                    Poll::Ready(Ok(bytes)) if bytes > 0 => return Poll::Ready(Some(scratch)),
                    Poll::Ready(_) => return Poll::Ready(None),
                    Poll::Pending => worker.scratches.give_back(scratch),
                }
            }
            match watch.poll(context) {
                None if !worker.is_stopping() => Poll::Pending,
                _ => Poll::Ready(None),
            }
        })
        .await
    }

    /// Reads once; `false` if the client has closed or is gone.
    pub async fn read(&mut self, buffer: &mut Buffer, bytes_max: usize) -> Result<bool, Interrupt> {
        let Self { stream, watch, .. } = self;
        poll_fn(
            |context| match buffer.poll_fill(context, stream, bytes_max) {
                Poll::Ready(read) => Poll::Ready(Ok(read.is_ok_and(|bytes| bytes > 0))),
                Poll::Pending => match watch.poll(context) {
                    Some(interrupt) => Poll::Ready(Err(interrupt)),
                    None => Poll::Pending,
                },
            },
        )
        .await
    }

    /// The settings and limits of the connection's pool, as they are now.
    fn settings(&self) -> (HttpTimes, Limits) {
        match self.worker.view().routes(self.pool) {
            Some(routes) => (HttpTimes::of(&routes.pool.config.http), routes.limits),
            None => (HttpTimes::of(&HttpSettings::defaults()), Limits::default()),
        }
    }

    /// Answers what is no request, and ends the connection.
    async fn refuse(&mut self, scratch: &mut Option<Box<Scratch>>, page: Page) -> Next {
        if let Page::Rejected(reject) = page {
            self.worker.slot().reject(reject.reason());
        }
        let scratch = scratch.get_or_insert_with(|| self.worker.scratches.take());
        let view = self.worker.view();
        let contact = view
            .routes(self.pool)
            .and_then(|routes| routes.pool.config.contact.as_deref());
        scratch.to_client.clear();
        pages::write(
            &mut scratch.to_client.bytes,
            &page,
            Format::Html,
            contact,
            pages::Envelope::LAST,
        );
        self.send(scratch).await;
        Next::Linger
    }

    /// Writes all that is meant for the client; `false` if that fails.
    pub async fn send(&mut self, scratch: &mut Scratch) -> bool {
        let (http, _) = self.settings();
        let Self { stream, watch, .. } = self;
        let mut armed = false;
        poll_fn(|context| {
            if let Poll::Ready(sent) = scratch.to_client.poll_flush(context, stream) {
                return Poll::Ready(sent.is_ok());
            }
            if !armed {
                armed = true;
                watch.set(http.body_timeout);
            }
            // What is being cut may still say so: only time ends this.
            match watch.poll(context) {
                Some(Interrupt::Timeout) => Poll::Ready(false),
                _ => Poll::Pending,
            }
        })
        .await
    }

    /// Closes in a way that lets the client read the answer: closing with unread bytes would send
    /// a reset, and that may overtake the answer (RFC 9112, 9.6).
    async fn linger(&mut self, scratch: &mut Option<Box<Scratch>>) {
        let scratch = scratch.get_or_insert_with(|| self.worker.scratches.take());
        let Self { stream, watch, .. } = self;
        watch.set(LINGER);
        let mut is_shut = false;
        let mut drained = 0;
        poll_fn(|context| {
            if !is_shut {
                is_shut = true;
                if !matches!(
                    Pin::new(&mut *stream).poll_shutdown(context),
                    Poll::Ready(Ok(()))
                ) {
                    return Poll::Ready(());
                }
            }
            while drained < LINGER_BYTES_MAX {
                scratch.inbound.clear();
                match scratch.inbound.poll_fill(context, stream, 0) {
                    Poll::Ready(Ok(bytes)) if bytes > 0 => drained += bytes,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => {
                        return match watch.poll(context) {
                            Some(Interrupt::Timeout) => Poll::Ready(()),
                            _ => Poll::Pending,
                        };
                    }
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Whether the listener that it came by is gone: then it ends with an answer.
    pub fn has_lost_listener(&self) -> bool {
        !self.worker.view().listeners.contains_key(&self.listener)
    }

    /// This worker's counters of a pool.
    pub fn pool_slot<'a>(&self, routes: &'a crate::view::Routes) -> &'a PoolSlot {
        routes.pool.counters.slot(self.worker.index)
    }
}

/// The times that a connection needs between exchanges.
#[derive(Clone, Copy)]
struct HttpTimes {
    head_timeout: Millis,
    idle_timeout: Millis,
    body_timeout: Millis,
}

impl HttpTimes {
    fn of(http: &HttpSettings) -> Self {
        Self {
            head_timeout: http.head_timeout,
            idle_timeout: http.idle_timeout,
            body_timeout: http.body_timeout,
        }
    }
}
