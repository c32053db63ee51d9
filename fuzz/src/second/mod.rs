//! The second reading: hyper, given bytes from memory, as many at a time as we choose.

mod client;
mod server;
mod wire;

pub use client::Client;
pub use server::Server;

use hyper::HeaderMap;
use hyper::body::Incoming;
use std::cell::RefCell;
use std::rc::Rc;

use http_body_util::BodyExt;

/// More fields than are ever written, so that hyper's own limit is not what we measure.
const FIELDS_MAX: usize = 256;
/// More bytes than any input has.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// Fields in order of their names, which are in lower case; those of one name in their own order.
pub type Fields = Vec<(String, Vec<u8>)>;

/// A message as hyper reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of a request.
    pub method: String,
    /// Of a request: path and query, or `*`.
    pub target: String,
    /// Of a request, when its target had one.
    pub authority: Option<String>,
    /// Of a response.
    pub status: u16,
    /// The fields.
    pub fields: Fields,
    /// So much of the content as has come.
    pub content: Vec<u8>,
    /// The trailer fields.
    pub trailers: Fields,
    /// Whether the end of the message was found.
    pub ended: bool,
    /// Whether the body was refused, or broke off.
    pub broken: bool,
}

/// The messages that hyper has found so far.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<Seen>>>);

impl Log {
    fn push(&self, seen: Seen) -> usize {
        let mut log = self.0.borrow_mut();
        log.push(seen);
        log.len() - 1
    }

    fn change(&self, at: usize, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.borrow_mut()[at]);
    }

    fn ended(&self) -> usize {
        self.0.borrow().iter().filter(|seen| seen.ended).count()
    }

    /// Notes a body as it comes.
    async fn read_body(&self, at: usize, mut body: Incoming) {
        loop {
            match body.frame().await {
                None => return self.change(at, |seen| seen.ended = true),
                Some(Err(_)) => return self.change(at, |seen| seen.broken = true),
                Some(Ok(frame)) => self.change(at, |seen| match frame.into_data() {
                    Ok(data) => seen.content.extend_from_slice(&data),
                    Err(frame) => {
                        seen.trailers = frame.trailers_ref().map(fields).unwrap_or_default()
                    }
                }),
            }
        }
    }
}

fn fields(map: &HeaderMap) -> Fields {
    sorted(
        map.iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())),
    )
}

/// Fields as [`Fields`] has them.
pub fn sorted<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Fields {
    let lower = |name: &[u8]| String::from_utf8_lossy(name).to_ascii_lowercase();
    let mut fields: Fields = fields
        .map(|(name, value)| (lower(name), value.to_vec()))
        .collect();
    fields.sort_by(|one, other| one.0.cmp(&other.0));
    fields
}
