//! hyper as a server: how it reads requests.

use super::wire::{Task, Wire};
use super::{BUFFER_BYTES_MAX, FIELDS_MAX, Log, Seen, fields};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use std::convert::Infallible;

/// A server that reads one connection.
pub struct Server {
    wire: Wire,
    log: Log,
    task: Task,
}

impl Server {
    /// One that `bytes` will be sent to.
    pub fn new(bytes: &[u8]) -> Self {
        let (wire, log) = (Wire::new(bytes), Log::default());
        let noted = log.clone();
        let service = service_fn(move |request| note(noted.clone(), request));
        let connection = http1::Builder::new()
            .auto_date_header(false)
            .max_headers(FIELDS_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(wire.clone(), service);
        Server {
            wire,
            log,
            task: Task::new(async move {
                // Whether it failed shows in what it has noted.
                let _ = connection.await;
            }),
        }
    }

    /// Lets all bytes before `end` arrive; how many requests it has then read to their ends.
    pub fn arrive(&mut self, end: usize) -> usize {
        self.wire.arrive(end);
        self.task.poll();
        self.log.ended()
    }

    /// The client sends no more.
    pub fn close(&mut self) -> usize {
        self.wire.close();
        self.task.poll();
        self.log.ended()
    }

    /// Will it read no more?
    pub fn is_done(&self) -> bool {
        self.task.is_done()
    }

    /// Request number `at`, if it has begun.
    pub fn seen(&self, at: usize) -> Option<Seen> {
        self.log.0.borrow().get(at).cloned()
    }
}

/// Notes a request, and answers it when its body has been read.
async fn note(log: Log, request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let target = head.uri.path_and_query();
    let at = log.push(Seen {
        method: head.method.to_string(),
        target: target.map(ToString::to_string).unwrap_or_default(),
        authority: head.uri.authority().map(ToString::to_string),
        fields: fields(&head.headers),
        ..Seen::default()
    });
    log.read_body(at, body).await;
    Ok(Response::new(Empty::new()))
}
