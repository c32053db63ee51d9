//! Reading from servers that answer as they are told, and lie, hang and break off.

use super::*;
use crate::inbox::{InboxReceiver, inbox};
use ebbtide_core::{
    Config, Driver, Fact, IdentitySource, Input, Millis, Moment, Now, Output, PoolConfig, Protocol,
    ResourceConfig, Restored, ServerConfig, WallTime,
};
use ebbtide_protocol::nbd::{
    self, BlockSizes, Command, ErrorNumber, Negotiated, REQUEST_BYTES, Refusal, Request,
    ServerHandshake, ServerStep, transmission_flag, write_data_chunk_head, write_error,
    write_hole_chunk, write_simple_reply,
};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// As long as nothing is to fail for being slow.
const LONG: Limits = Limits {
    connect: Duration::from_secs(60),
    response: Duration::from_secs(60),
};
const SHORT: Limits = Limits {
    response: Duration::from_millis(200),
    ..LONG
};
const SIZE: usize = 2_000_003;

/// What the server does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Answer,
    /// Answers as many requests as can be under way, the last one first.
    Backwards,
    /// In chunks of 10,000 bytes, the last one first, holes where there are zeroes.
    Pieces,
    /// A byte now and then.
    Trickle,
    Hang,
    /// Half of an answer.
    Break,
    Fail,
    WrongCookie,
    Garbage,
    /// An answer, and a byte more.
    TooMuch,
}

struct Model {
    address: SocketAddr,
    state: Arc<State>,
    serving: tokio::task::JoinHandle<()>,
}

struct State {
    bytes: Vec<u8>,
    /// What it says its size is.
    size: u64,
    chunks: bool,
    block_sizes: Option<BlockSizes>,
    act: Mutex<Act>,
    /// Connections over which something was asked.
    asking: AtomicUsize,
}

fn image() -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..SIZE).map(|index| (index * 7 / 3) as u8).collect();
    bytes[100_000..900_000].fill(0);
    bytes
}

fn state(act: Act) -> State {
    State {
        bytes: image(),
        size: SIZE as u64,
        chunks: true,
        block_sizes: None,
        act: Mutex::new(act),
        asking: AtomicUsize::new(0),
    }
}

impl Model {
    async fn start(state: State) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), state).await
    }

    async fn start_at(address: SocketAddr, state: State) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                connections.spawn(async move { serve(stream, &state).await });
            }
        });
        Self {
            address,
            state,
            serving,
        }
    }

    /// Ends it, with all its connections.
    async fn stop(self) {
        self.serving.abort();
        assert!(self.serving.await.unwrap_err().is_cancelled());
    }

    fn act(&self, act: Act) {
        *self.state.act.lock().unwrap() = act;
    }

    async fn open(&self) -> Export {
        let opened = Export::open(self.address, "disk", LONG).await;
        opened.unwrap_or_else(|why| panic!("{why:?}"))
    }
}

/// More bytes from the client; `None` when it is gone.
async fn more(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<()> {
    let count = stream.read_buf(input).await.ok()?;
    (count > 0).then_some(())
}

async fn serve(mut stream: TcpStream, state: &State) -> Option<()> {
    let mut input = Vec::new();
    let agreed = shake(&mut stream, &mut input, state).await?;
    let mut kept = Vec::new();
    let mut has_asked = false;
    loop {
        let request = loop {
            match Request::parse(&input).unwrap() {
                Some(request) => break request,
                None => more(&mut stream, &mut input).await?,
            }
        };
        input.drain(..REQUEST_BYTES);
        if request.command == Command::Disconnect {
            return Some(());
        }
        if !std::mem::replace(&mut has_asked, true) {
            state.asking.fetch_add(1, Ordering::SeqCst);
        }
        let act = *state.act.lock().unwrap();
        kept.push(request);
        let is_last = request.offset + u64::from(request.length) == state.size;
        if act == Act::Backwards && kept.len() < 4 && !is_last {
            continue;
        }
        for request in kept.drain(..).rev() {
            act_out(&mut stream, state, &agreed, &request, act).await?;
        }
    }
}

/// Acts; `None` when the connection is to end.
async fn act_out(
    stream: &mut TcpStream,
    state: &State,
    agreed: &Negotiated,
    request: &Request,
    act: Act,
) -> Option<()> {
    let mut out = answer(state, agreed, request, act == Act::Pieces);
    match act {
        Act::Answer | Act::Backwards | Act::Pieces => {}
        Act::Hang => return Some(()),
        Act::Trickle => {
            for byte in out.chunks(1) {
                stream.write_all(byte).await.ok()?;
                sleep(Duration::from_millis(50)).await;
            }
            return Some(());
        }
        Act::Break => {
            stream.write_all(&out[..out.len() / 2]).await.ok()?;
            stream.shutdown().await.ok()?;
            // A socket with unread bytes would be reset.
            while more(stream, &mut Vec::new()).await.is_some() {}
            return None;
        }
        Act::Fail => {
            out.clear();
            let error = ErrorNumber::InputOutput;
            let chunks = agreed.structured_replies;
            write_error(&mut out, chunks, request.cookie, error, "as told");
        }
        Act::WrongCookie => {
            let cookie = !request.cookie;
            out = answer(state, agreed, &Request { cookie, ..*request }, false);
        }
        Act::Garbage => out.fill(b'x'),
        Act::TooMuch => out.push(0),
    }
    stream.write_all(&out).await.ok()
}

async fn shake(stream: &mut TcpStream, input: &mut Vec<u8>, state: &State) -> Option<Negotiated> {
    let export = nbd::Export {
        size: state.size,
        flags: transmission_flag::HAS_FLAGS | transmission_flag::READ_ONLY,
        block_sizes: state.block_sizes,
    };
    let mut out = Vec::new();
    let mut handshake = ServerHandshake::new(&mut out);
    loop {
        let (taken, step) = handshake.advance(input, &mut out).unwrap();
        input.drain(..taken);
        let mut agreed = None;
        match step {
            ServerStep::NeedMore => {
                stream.write_all(&std::mem::take(&mut out)).await.ok()?;
                more(stream, input).await?;
            }
            ServerStep::Wants { export: name, .. } if name.starts_with("disk") => {
                agreed = handshake.offer(&mut out, &export);
            }
            ServerStep::Wants { .. } => {
                handshake.refuse(&mut out, Refusal::Unknown, "no such disk");
            }
            ServerStep::Aborted => return None,
            other => panic!("{other:?} was not to be asked"),
        }
        if let Some(mut agreed) = agreed {
            stream.write_all(&out).await.ok()?;
            agreed.structured_replies &= state.chunks;
            return Some(agreed);
        }
    }
}

fn answer(state: &State, agreed: &Negotiated, request: &Request, in_pieces: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let (cookie, chunks) = (request.cookie, agreed.structured_replies);
    if let Some(error) = request.refusal(agreed) {
        write_error(&mut out, chunks, cookie, error, "not like this");
        return out;
    }
    let start = request.offset as usize;
    let Some(data) = state.bytes.get(start..start + request.length as usize) else {
        write_error(
            &mut out,
            chunks,
            cookie,
            ErrorNumber::InputOutput,
            "the end",
        );
        return out;
    };
    if !chunks {
        write_simple_reply(&mut out, cookie);
        out.extend_from_slice(data);
        return out;
    }
    let piece_bytes = if in_pieces { 10_000 } else { data.len() };
    for (index, piece) in data.chunks(piece_bytes).enumerate().rev() {
        let offset = request.offset + (index * piece_bytes) as u64;
        let length = piece.len() as u32;
        if piece.iter().all(|byte| *byte == 0) {
            write_hole_chunk(&mut out, cookie, offset, length, index == 0);
        } else {
            write_data_chunk_head(&mut out, cookie, offset, length, index == 0);
            out.extend_from_slice(piece);
        }
    }
    out
}

async fn hashed(export: &mut Export) -> Result<blake3::Hash, String> {
    let mut hasher = blake3::Hasher::new();
    let mut at_once = Pace::new(|| u64::MAX);
    let size = export.size();
    let take = |bytes: &[u8]| {
        hasher.update(bytes);
    };
    export.read(0..size, &mut at_once, take).await?;
    Ok(hasher.finalize())
}

#[tokio::test]
async fn every_byte_is_read_once_and_in_order() {
    let small = BlockSizes {
        minimum: 1,
        preferred: 4096,
        payload_max: 10_000,
    };
    let sizes = |block_sizes| State {
        block_sizes: Some(block_sizes),
        ..state(Act::Backwards)
    };
    let cases = [
        state(Act::Answer),
        state(Act::Backwards),
        state(Act::Pieces),
        sizes(small),
        sizes(BlockSizes {
            minimum: 4096,
            ..small
        }),
    ];
    for mut case in cases {
        // The last block of a disk with large ones is whole.
        if case.block_sizes.is_some_and(|sizes| sizes.minimum > 1) {
            case.bytes.truncate(488 * 4096);
            case.size = case.bytes.len() as u64;
        }
        let expected = blake3::hash(&case.bytes);
        let model = Model::start(case).await;
        let mut export = model.open().await;
        assert_eq!(hashed(&mut export).await, Ok(expected));
        model.act(Act::Answer);
        assert_eq!(hashed(&mut export).await, Ok(expected), "and once more");
    }
}

#[tokio::test]
async fn an_empty_export_is_read() {
    let model = Model::start(State {
        size: 0,
        ..state(Act::Answer)
    })
    .await;
    let mut export = model.open().await;
    assert_eq!(hashed(&mut export).await, Ok(blake3::hash(b"")));
}

#[tokio::test]
async fn a_server_that_does_not_answer_as_it_should_is_told_of() {
    let cases = [
        (Act::Hang, "has not answered a request within 1m"),
        (Act::Trickle, "has not answered a request within 1m"),
        (Act::Break, "closed the connection"),
        (Act::Fail, "it answers EIO (as told)"),
        (Act::WrongCookie, "a reply is to no outstanding request"),
        (Act::Garbage, "a reply does not begin like one"),
        (Act::TooMuch, "a reply does not begin like one"),
    ];
    for (act, expected) in cases {
        let model = Model::start(state(act)).await;
        let mut export = model.open().await;
        let is_slow = matches!(act, Act::Hang | Act::Trickle);
        if is_slow {
            // Time goes by as soon as there is nothing else to do.
            tokio::time::pause();
        }
        let error = hashed(&mut export).await.unwrap_err();
        if is_slow {
            tokio::time::resume();
        }
        assert!(error.contains(expected), "{act:?}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_shows_more_than_it_has_is_told_of() {
    let model = Model::start(State {
        size: 1 << 60,
        ..state(Act::Answer)
    })
    .await;
    let error = hashed(&mut model.open().await).await.unwrap_err();
    assert_eq!(error, "it answers EIO (the end)");
}

#[tokio::test]
async fn a_handshake_that_comes_to_nothing_says_why() {
    let model = Model::start(state(Act::Answer)).await;
    let absent = Export::open(model.address, "other", LONG).await;
    assert_eq!(absent.err(), Some(Unread::Absent));
    let address = model.address;
    model.stop().await;
    let refused = Export::open(address, "disk", LONG).await.err();
    assert!(
        matches!(&refused, Some(Unread::Failed(why)) if why.contains("refused")),
        "{refused:?}"
    );
    let oldstyle = [&b"NBDMAGIC"[..], b"\0\0\x42\x02\x81\x86\x12\x53"].concat();
    for (greeting, limits, expected) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            LONG,
            "does not speak NBD",
        ),
        (&oldstyle, LONG, "only speaks the oldstyle handshake"),
        (b"NBDMAGIC", SHORT, "its handshake is not over within 200ms"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let greet = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting).await.unwrap();
            stream
        };
        let (opened, _stream) = tokio::join!(Export::open(address, "disk", limits), greet);
        let Some(Unread::Failed(why)) = opened.err() else {
            panic!("{expected}");
        };
        assert!(why.contains(expected), "{why}");
    }
}

#[tokio::test]
async fn a_server_that_goes_or_speaks_unasked_is_noticed() {
    let model = Model::start(state(Act::Answer)).await;
    let mut export = model.open().await;
    hashed(&mut export).await.unwrap();
    model.stop().await;
    assert_eq!(export.watch().await, "it closed the connection");

    // Nothing but a sign of life that does not come tells that a machine has vanished.
    let model = Model::start(state(Act::Answer)).await;
    let mut export = model.open().await;
    model.act(Act::Hang);
    tokio::time::pause();
    let why = export.watch().await;
    assert!(why.contains("has not answered"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn requests_are_due_as_the_rate_says() {
    let begin = Instant::now();
    let mut pace = Pace::new(|| 1_000_000);
    for _ in 0..10 {
        pace.asked(200_000);
    }
    assert_eq!(pace.due() - begin, Duration::from_millis(2000));
    tokio::time::advance(Duration::from_secs(60)).await;
    pace.asked(200_000);
    assert_eq!(
        pace.due() - begin,
        Duration::from_millis(60_100),
        "what was missed long ago is not caught up with"
    );
}

/// A driver whose copies are read for real.
struct House {
    driver: Driver,
    snapshots: watch::Sender<Arc<Snapshot>>,
    receiver: InboxReceiver,
    told: Vec<(ServerName, String, Knowledge)>,
    bytes_read: Arc<BytesRead>,
    reading: tokio::task::JoinHandle<()>,
}

impl House {
    fn new(servers: &[SocketAddr], resources: &[&str]) -> Self {
        let mut pool = PoolConfig::new("app");
        pool.protocol = Protocol::Nbd;
        pool.health = None;
        pool.http.response_timeout = Millis::from_secs(60);
        let servers = servers.iter().enumerate();
        pool.servers = servers
            .map(|(index, address)| ServerConfig::new(format!("s{}", index + 1), *address))
            .collect();
        pool.replicas.source = IdentitySource::Read;
        pool.replicas.read_bytes_per_second = 10_000_000_000;
        let resources = resources.iter().map(|name| ResourceConfig::shared(*name));
        pool.replicas.resources = resources.collect();
        let config = Config {
            listeners: Vec::new(),
            pools: vec![pool],
        };
        let (restored, sessions) = (Restored::default(), Arc::default());
        let driver = Driver::new(
            Arc::new(config),
            restored,
            sessions,
            "boot".into(),
            1,
            now(),
        );
        let (snapshots, receiver) = watch::channel(driver.snapshot());
        let (inbox, inbox_receiver) = inbox();
        let bytes_read = Arc::<BytesRead>::default();
        let reading = tokio::spawn(run(receiver, inbox, Arc::clone(&bytes_read)));
        Self {
            driver,
            snapshots,
            receiver: inbox_receiver,
            told: Vec::new(),
            bytes_read,
            reading,
        }
    }

    /// Takes what readers tell until this holds.
    async fn until(&mut self, holds: impl Fn(&Self) -> bool) {
        let mut batch = Vec::new();
        while !holds(self) {
            self.receiver.take(&mut batch).await;
            for message in batch.drain(..) {
                let Message::CopyRead {
                    server,
                    resource,
                    reading,
                    knowledge,
                } = message
                else {
                    panic!("nobody tells anything else");
                };
                let told = (server.clone(), resource.clone(), knowledge.clone());
                self.told.push(told);
                self.step(Input::CopyRead {
                    server,
                    resource,
                    reading,
                    knowledge,
                });
            }
        }
    }

    fn step(&mut self, input: Input) {
        for output in self.driver.step(now(), input) {
            if let Output::Publish(snapshot) = output {
                self.snapshots.send_replace(snapshot);
            }
        }
    }

    /// The word for each server's copy of a resource.
    fn stand(&self, resource: &str) -> Vec<&'static str> {
        let snapshot = self.driver.snapshot();
        let view = &snapshot.pools[0].replicas;
        let copies = &view.resource(resource).unwrap().copies;
        let words = copies.iter().map(|copy| copy.verdict.reason.label());
        words.collect()
    }

    async fn stands(&mut self, expected: &[&'static str]) {
        self.until(|house| house.stand("disk") == expected).await;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

fn now() -> Now {
    Now {
        moment: Moment(1_000_000),
        wall: WallTime(1_700_000_000_000),
    }
}

#[tokio::test]
async fn copies_are_read_and_read_again_when_their_server_was_gone() {
    let mut other = state(Act::Answer);
    other.bytes[SIZE / 2] ^= 1;
    let one = Model::start(state(Act::Answer)).await;
    let two = Model::start(state(Act::Pieces)).await;
    let three = Model::start(other).await;
    let (first, second) = (one.address, two.address);
    let mut house = House::new(&[first, second, three.address], &["disk"]);
    house
        .stands(&["identical", "identical", "digest-differs"])
        .await;
    let name = ServerName::new("app", "s1");
    assert_eq!(house.bytes_read.of(&name), SIZE as u64);
    let of_first = house.told.iter().filter(|(server, ..)| *server == name);
    let of_first: Vec<&Knowledge> = of_first.map(|(.., knowledge)| knowledge).collect();
    assert_eq!(of_first[0], &Knowledge::Reading { percent: 0 });

    two.stop().await;
    house
        .stands(&["alone", "unreachable", "digest-differs"])
        .await;
    let (.., Knowledge::Unreachable { why }) = house.told.last().unwrap() else {
        panic!("{:?}", house.told);
    };
    assert!(why.contains("it is read again"), "{why}");

    // Another copy at the same place.
    let mut changed = state(Act::Answer);
    changed.bytes[0] ^= 1;
    let _two = Model::start_at(second, changed).await;
    house
        .stands(&["alone", "digest-differs", "digest-differs"])
        .await;
    assert!(house.told.iter().any(|(server, resource, knowledge)| {
        (&*server.server, resource.as_str()) == ("s2", "disk")
            && matches!(knowledge, Knowledge::Reading { .. })
    }));
}

#[tokio::test]
async fn a_copy_that_is_contradicted_is_read_again() {
    let model = Model::start(state(Act::Answer)).await;
    let mut house = House::new(&[model.address], &["disk"]);
    house.stands(&["alone"]).await;
    let snapshot = house.driver.snapshot();
    let pool = &snapshot.pools[0];
    house.step(Input::Fact(Fact::CopyContradicted {
        pool: pool.key,
        server: pool.servers[0].key,
        resource: "disk".into(),
        size: 7,
    }));
    assert_eq!(house.stand("disk"), ["contradicted"]);
    house.stands(&["alone"]).await;
    let name = ServerName::new("app", "s1");
    assert_eq!(house.bytes_read.of(&name), 2 * SIZE as u64);
}

#[tokio::test]
async fn one_copy_of_a_server_is_read_at_a_time() {
    let model = Model::start(state(Act::Hang)).await;
    let mut house = House::new(&[model.address], &["disk1", "disk2", "other"]);
    let asking = || model.state.asking.load(Ordering::SeqCst);
    let is_reading =
        |house: &House| ["disk1", "disk2"].map(|name| house.stand(name)[0]) == ["first-of-file"; 2];
    house
        .until(|house| is_reading(house) && house.stand("other") == ["absent"])
        .await;
    while asking() == 0 {
        tokio::task::yield_now().await;
    }
    // Whoever hangs is asked for one of them only, until it closes.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(asking(), 1);
    let address = model.address;
    model.stop().await;
    let _model = Model::start_at(address, state(Act::Answer)).await;
    house
        .until(|house| ["disk1", "disk2"].map(|name| house.stand(name)[0]) == ["alone"; 2])
        .await;
}
