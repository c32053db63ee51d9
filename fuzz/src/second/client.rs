//! hyper as a client: how it reads responses.

use super::wire::{Task, Wire};
use super::{BUFFER_BYTES_MAX, FIELDS_MAX, Log, Seen, fields};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request};
use std::cell::RefCell;
use std::rc::Rc;

type Connection = http1::Connection<Wire, Empty<Bytes>>;

/// A client that asks the same again and again, and reads what comes.
pub struct Client {
    wire: Wire,
    log: Log,
    connection: Task,
    asking: Task,
}

impl Client {
    /// One that `bytes` will be sent to, after requests with this method.
    pub fn new(bytes: &[u8], method: Method) -> Self {
        let (wire, log) = (Wire::new(bytes), Log::default());
        let (asks, io) = (log.clone(), wire.clone());
        let shared: Rc<RefCell<Option<Connection>>> = Rc::default();
        let handed_over = shared.clone();
        let mut asking = Task::new(async move {
            let handshake = http1::Builder::new()
                .max_headers(FIELDS_MAX)
                .max_buf_size(BUFFER_BYTES_MAX)
                .handshake(io);
            let Ok((sender, connection)) = handshake.await else {
                return;
            };
            *handed_over.borrow_mut() = Some(connection);
            ask(sender, method, asks).await;
        });
        asking.poll();
        let connection = shared.take();
        let connection = Task::new(async move {
            if let Some(connection) = connection {
                // Whether it failed shows in what was noted.
                let _ = connection.await;
            }
        });
        let mut client = Client {
            wire,
            log,
            connection,
            asking,
        };
        // The request goes first: nothing may come before it.
        client.poll();
        client
    }

    /// Lets all bytes before `end` arrive; how many final responses it has then read to their ends.
    pub fn arrive(&mut self, end: usize) -> usize {
        self.wire.arrive(end);
        self.poll()
    }

    /// The server sends no more.
    pub fn close(&mut self) -> usize {
        self.wire.close();
        self.poll()
    }

    fn poll(&mut self) -> usize {
        loop {
            self.connection.poll();
            self.asking.poll();
            // Only now does the connection learn that another request may be wanted.
            self.connection.poll();
            if !self.connection.is_woken() && !self.asking.is_woken() {
                return self.log.ended();
            }
        }
    }

    /// Will it read no more?
    pub fn is_done(&self) -> bool {
        self.connection.is_done() || self.asking.is_done()
    }

    /// Final response number `at`, if it has begun.
    pub fn seen(&self, at: usize) -> Option<Seen> {
        self.log.0.borrow().get(at).cloned()
    }
}

/// Sends a request, notes the response, and so on until something fails.
async fn ask(mut sender: SendRequest<Empty<Bytes>>, method: Method, log: Log) {
    while sender.ready().await.is_ok() {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method.clone();
        let Ok(response) = sender.send_request(request).await else {
            return;
        };
        let (head, body) = response.into_parts();
        let at = log.push(Seen {
            status: head.status.as_u16(),
            fields: fields(&head.headers),
            ..Seen::default()
        });
        log.read_body(at, body).await;
    }
}
