//! What a client has asked for and has not been wholly answered, whichever server is to answer it.
//!
//! When a server is lost, nothing of its answers is asked for twice that the client has: a request of
//! which nothing was passed on is sent again as it was. Of one that was passed on in part, what is
//! missing is *mended*: read from the next server in small pieces, before anything else.
//!
//! What several servers were lost over is not asked for again.

use super::trial::Losses;
use ebbtide_core::ServerKey;
use ebbtide_protocol::nbd::{
    Command, Negotiated, ReplyReader, Request, write_data_chunk_head, write_done_chunk,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

/// Requests that may be under way for one client. The next ones wait in its socket.
const REQUESTS_MAX: usize = 256;
/// Bytes that these may be about; one request alone may be about more.
const BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What is mended at a time, in bytes.
const MEND_BYTES: u64 = 256 * 1024;

/// A request, and how far its answer has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// As the client sent it.
    pub request: Request,
    /// Some of the answer was passed on.
    pub touched: bool,
    /// The client knows that it failed: whatever else comes is for nobody.
    pub answered: bool,
    /// Servers that were lost with it.
    losses: Losses,
}

/// A part of an answer that is missing because its server was lost.
#[derive(Debug, PartialEq, Eq)]
enum Mend {
    /// The rest of data of which the client has the beginning.
    Payload(Range<u64>),
    /// Data of a read, of which the client has other pieces.
    Chunk { cookie: u64, range: Range<u64> },
    /// Nothing but the word that the answer is complete.
    Done { cookie: u64 },
}

/// A read of ours for the first mend.
#[derive(Debug)]
struct Mending {
    id: u64,
    /// Where the read begins: maybe before what is missing, at a block's border.
    start: u64,
    bytes: Vec<u8>,
}

/// The ledger. Requests have numbers of ours, which are their cookies towards servers.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    next: u64,
    asked: BTreeMap<u64, Asked>,
    bytes: u64,
    /// To be sent, or sent again.
    unsent: BTreeSet<u64>,
    /// To be sent again, one at a time: a server was lost with them.
    suspects: BTreeSet<u64>,
    /// The suspect that was sent last.
    on_trial: Option<u64>,
    mends: VecDeque<Mend>,
    mending: Option<Mending>,
    /// Servers that were lost over what is mended.
    mend_losses: Losses,
}

/// How much a request counts.
fn weight(request: &Request) -> u64 {
    match request.command {
        Command::Read | Command::Write => u64::from(request.length),
        _ => 0,
    }
}

impl Ledger {
    /// Whether one more request may be taken.
    pub fn has_room(&self) -> bool {
        self.asked.len() < REQUESTS_MAX && (self.bytes < BYTES_MAX || self.asked.is_empty())
    }

    /// Whether everything is answered.
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.mends.is_empty()
    }

    /// Takes a request; it is sent as soon as there is somebody to ask. Returns its number.
    pub fn take(&mut self, request: Request) -> u64 {
        let id = self.number();
        self.bytes += weight(&request);
        let asked = Asked {
            request,
            touched: false,
            answered: false,
            losses: Losses::default(),
        };
        self.asked.insert(id, asked);
        self.unsent.insert(id);
        id
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A request that is not wholly answered.
    pub fn get(&mut self, id: u64) -> Option<&mut Asked> {
        self.asked.get_mut(&id)
    }

    /// A request is wholly answered.
    pub fn finish(&mut self, id: u64) {
        if let Some(asked) = self.asked.remove(&id) {
            self.bytes -= weight(&asked.request);
        }
    }

    /// Whether the client has the beginning of data whose rest is to come before anything else.
    pub fn is_within_payload(&self) -> bool {
        matches!(self.mends.front(), Some(Mend::Payload(_)))
    }

    /// Whether something is to be mended.
    pub fn is_mending(&self) -> bool {
        !self.mends.is_empty()
    }

    /// Whether a server is asked at present for what another one was lost with.
    pub fn is_on_trial(&self) -> bool {
        let is_open = |id| self.asked.get(&id).is_some_and(|asked| !asked.touched);
        self.mending.is_some() || self.on_trial.is_some_and(is_open)
    }

    /// Whether the next thing to be sent is one that a server was lost with.
    pub fn wants_trial(&self) -> bool {
        let is_next = match self.mends.is_empty() {
            true => !self.suspects.is_empty(),
            false => self.mend_losses.count() > 0,
        };
        is_next && !self.is_on_trial()
    }

    /// The only servers that may be asked, as others were lost over something already.
    pub fn confine(&self) -> Option<Vec<ServerKey>> {
        let of_suspects = self.suspects.iter().chain(&self.on_trial);
        let of_suspects = of_suspects.filter_map(|id| Some(&self.asked.get(id)?.losses));
        let of_mend = Some(&self.mend_losses).filter(|_| self.is_mending());
        let mut all = of_mend.into_iter().chain(of_suspects);
        all.find_map(Losses::confine)
    }

    /// Whether something waits for a server that can be asked.
    pub fn is_waiting(&self) -> bool {
        self.is_mending() || !self.unsent.is_empty() || !self.suspects.is_empty()
    }

    /// Sends what is to be sent next to a server with which this was agreed; what is mended without
    /// asking it goes to the client, in the form that it knows. What a server was lost with is sent
    /// only if it `may_try`.
    pub fn send(
        &mut self,
        reader: &mut ReplyReader,
        out: &mut Vec<u8>,
        client: &mut Vec<u8>,
        (agreed, may_try): (&Negotiated, bool),
    ) {
        while self.mends.front().is_some() {
            let must_wait = self.wants_trial() && !may_try;
            let is_busy = must_wait || self.mending.is_some();
            if is_busy || !self.begin_mend(reader, out, client, agreed) {
                return;
            }
        }
        self.mend_losses = Losses::default();
        if may_try && self.wants_trial() {
            let losses = |id: &u64| self.asked.get(id).map(|asked| asked.losses.count());
            self.on_trial = self.suspects.iter().copied().max_by_key(losses);
            self.unsent.extend(self.on_trial);
        }
        while let Some(id) = self.unsent.pop_first() {
            self.suspects.remove(&id);
            if let Some(asked) = self.asked.get(&id) {
                issue(
                    Request {
                        cookie: id,
                        ..asked.request
                    },
                    reader,
                    out,
                );
            }
        }
    }

    /// Gives up what is not to be asked for again: with `all`, whatever only some servers may be asked
    /// for. Returns the requests, for the client to be told; `None` if it cannot be, as it has the
    /// beginning of the answer.
    pub fn give_up(&mut self, all: bool) -> Option<Vec<Request>> {
        let is_over =
            |losses: &Losses| losses.are_too_many() || (all && losses.confine().is_some());
        if self.is_mending() && is_over(&self.mend_losses) {
            return None;
        }
        let asked = self
            .suspects
            .iter()
            .filter_map(|id| self.asked.get_key_value(id));
        let over = asked.filter(|(_, asked)| is_over(&asked.losses));
        let over: Vec<(u64, Request)> = over.map(|(id, asked)| (*id, asked.request)).collect();
        for (id, _) in &over {
            self.suspects.remove(id);
            self.finish(*id);
        }
        Some(over.into_iter().map(|(_, request)| request).collect())
    }

    /// Sees to the first mend; `false` if it has to be waited for.
    fn begin_mend(
        &mut self,
        reader: &mut ReplyReader,
        out: &mut Vec<u8>,
        client: &mut Vec<u8>,
        agreed: &Negotiated,
    ) -> bool {
        let range = match self.mends.front() {
            Some(Mend::Payload(range) | Mend::Chunk { range, .. }) if !range.is_empty() => {
                range.clone()
            }
            Some(Mend::Done { cookie }) => {
                write_done_chunk(client, *cookie);
                self.mends.pop_front();
                return true;
            }
            _ => {
                self.mends.pop_front();
                return true;
            }
        };
        let block = u64::from(agreed.export.block_sizes.map_or(1, |sizes| sizes.minimum));
        let start = range.start - range.start % block;
        let end = range.end.min(start + MEND_BYTES).next_multiple_of(block);
        let request = Request {
            flags: 0,
            command: Command::Read,
            cookie: self.number(),
            offset: start,
            // At most `MEND_BYTES` and a block.
            length: (end - start) as u32,
        };
        issue(request, reader, out);
        let bytes = vec![0; (end - start) as usize];
        self.mending = Some(Mending {
            id: request.cookie,
            start,
            bytes,
        });
        false
    }

    /// Where the data of a mend goes that belongs to `offset`; `None` if the read is not one.
    pub fn mend_place(&mut self, id: u64, offset: u64) -> Option<&mut [u8]> {
        let mending = self.mending.as_mut().filter(|mending| mending.id == id)?;
        let at = usize::try_from(offset.checked_sub(mending.start)?).ok()?;
        mending.bytes.get_mut(at..)
    }

    /// Whether this is a read of ours.
    pub fn is_mend(&self, id: u64) -> bool {
        self.mending
            .as_ref()
            .is_some_and(|mending| mending.id == id)
    }

    /// A read of ours is wholly answered: what was missing goes to the client.
    pub fn mended(&mut self, client: &mut Vec<u8>) {
        let Some(mending) = self.mending.take() else {
            return;
        };
        self.mend_losses.forgive();
        let end = mending.start + mending.bytes.len() as u64;
        let piece = |range: &mut Range<u64>| {
            let stop = range.end.min(end);
            let (from, to) = (range.start - mending.start, stop - mending.start);
            range.start = stop;
            // Both are within the bytes that were asked for.
            from as usize..to as usize
        };
        match self.mends.front_mut() {
            Some(Mend::Payload(range)) => client.extend_from_slice(&mending.bytes[piece(range)]),
            Some(Mend::Chunk { cookie, range }) => {
                let (cookie, offset) = (*cookie, range.start);
                let bytes = &mending.bytes[piece(range)];
                write_data_chunk_head(client, cookie, offset, bytes.len() as u32, false);
                client.extend_from_slice(bytes);
            }
            _ => {}
        }
    }

    /// A server is lost or left: everything that it has not answered is to be asked elsewhere. `to_client`:
    /// the request whose data was on its way to the client, if that was announced as the last.
    /// `refused`: so is what it answered last. `lost`: the server, if what it was asked may be why.
    pub fn take_back(
        &mut self,
        reader: &ReplyReader,
        to_client: Option<UnderWay>,
        refused: bool,
        lost: Option<ServerKey>,
    ) {
        let mut last = None;
        if let (Some(under_way), Some((id, range))) = (to_client, reader.under_way()) {
            self.mends.push_front(Mend::Payload(range));
            last = under_way.is_last.then_some(id);
        }
        let refused = refused.then(|| reader.answered()).flatten();
        for outstanding in reader.outstanding().chain(refused) {
            let id = outstanding.request().cookie;
            if self.is_mend(id) {
                self.mending = None;
                lost.inspect(|server| self.mend_losses.add(*server));
                continue;
            }
            let Some(asked) = self.asked.get_mut(&id) else {
                continue;
            };
            lost.inspect(|server| asked.losses.add(*server));
            let Asked {
                request,
                touched,
                answered,
                losses,
            } = *asked;
            if !touched && !answered {
                match losses.count() {
                    0 => self.unsent.insert(id),
                    _ => self.suspects.insert(id),
                };
                continue;
            }
            let cookie = request.cookie;
            if !answered && last != Some(id) {
                let missing = outstanding
                    .missing()
                    .filter(|_| request.command == Command::Read);
                self.mends
                    .extend(missing.map(|range| Mend::Chunk { cookie, range }));
                self.mends.push_back(Mend::Done { cookie });
            }
            if !answered && losses.count() > self.mend_losses.count() {
                self.mend_losses = losses;
            }
            self.finish(id);
        }
        self.on_trial = self.on_trial.filter(|id| !self.suspects.contains(id));
    }
}

/// Data that was on its way to the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnderWay {
    /// With it the request is answered.
    pub is_last: bool,
}

fn issue(request: Request, reader: &mut ReplyReader, out: &mut Vec<u8>) {
    // Our numbers are never used twice.
    if reader.expect(request) {
        request.write(out);
    }
}
