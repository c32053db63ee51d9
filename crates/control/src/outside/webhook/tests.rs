//! Webhooks against servers that record, fail, redirect, hang and never end.

use super::body::{body, signature};
use super::deliver::Sender;
use super::*;
use crate::outside::HttpUrl;
use ebbtide_api::{EventKind, Timestamp};
use ebbtide_core::Millis;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tracing::span;

/// What a server answers a delivery.
#[derive(Clone, Copy, Debug)]
enum Script {
    Status(u16),
    /// Leads to this address.
    Redirect(SocketAddr),
    Hang,
    /// A gigabyte, as far as anybody reads it.
    Endless,
    Close,
}

/// A server that answers by script, the last of it again and again, and tells each delivery.
struct Receiver {
    address: SocketAddr,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
}

#[derive(Debug)]
struct Delivery {
    head: String,
    body: String,
}

impl Delivery {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = fields.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value)
    }

    /// The number of the event that it tells.
    fn event(&self) -> u64 {
        let event: Event = serde_json::from_str(&self.body).unwrap();
        event.id
    }
}

impl Receiver {
    async fn start(script: &[Script]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, deliveries) = mpsc::unbounded_channel();
        let script = script.to_vec();
        tokio::spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let script = script[number.min(script.len() - 1)];
                let told = told.clone();
                tokio::spawn(async move {
                    drop(told.send(read(&mut stream).await));
                    let answer = match script {
                        Script::Status(status) => format!("HTTP/1.1 {status} X\r\n\r\n"),
                        Script::Redirect(to) => {
                            format!("HTTP/1.1 307 X\r\nLocation: http://{to}/\r\n\r\n")
                        }
                        Script::Hang => return drop(stream.read(&mut [0]).await),
                        Script::Close => return,
                        Script::Endless => {
                            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
                            stream.write_all(head.as_bytes()).await.unwrap();
                            while stream.write_all(&[b'x'; 65536]).await.is_ok() {}
                            return;
                        }
                    };
                    drop(stream.write_all(answer.as_bytes()).await);
                });
            }
        });
        Self {
            address,
            deliveries,
        }
    }

    async fn next(&mut self) -> Delivery {
        self.deliveries.recv().await.unwrap()
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Delivery {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let delivery = Delivery {
                head: head.to_owned(),
                body: body.to_owned(),
            };
            let length: usize = delivery.field("content-length").unwrap().parse().unwrap();
            if body.len() == length {
                return delivery;
            }
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0);
    }
}

fn hook(name: &str, address: SocketAddr) -> Webhook {
    Webhook {
        name: name.into(),
        url: HttpUrl::parse(&format!("http://{address}/hook?key=k")).unwrap(),
        events: vec!["store".into(), "drained".into()],
        secret: Some(Secret::new("0123456789abcdef\n").unwrap()),
        template: Template::Json,
        timeout: Millis::from_secs(60),
        attempts: 3,
        queue_max: 1000,
    }
}

fn event(id: u64) -> Arc<Event> {
    Arc::new(Event {
        id,
        at: Timestamp(1_700_000_000_000),
        server: None,
        text: "the store works again".into(),
        kind: EventKind::Store { failed: None },
    })
}

/// Hooks whose deliveries are on their way, with pauses of a millisecond.
fn start(settings: Vec<Webhook>) -> Hooks {
    let (hooks, new) = Hooks::new();
    let sender = Sender::new(Arc::clone(&hooks.tally), Duration::from_millis(1));
    tokio::spawn(run(new, sender));
    hooks.replace(settings);
    hooks
}

/// Keeps the warnings of this thread, which is where everything of such a test runs.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    fn so_far(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn event(&self, event: &tracing::Event<'_>) {
        struct Words(String);
        impl tracing::field::Visit for Words {
            fn record_debug(&mut self, _: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 = format!("{value:?}");
            }
        }
        let mut words = Words(String::new());
        event.record(&mut words);
        self.0.lock().unwrap().push(words.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

async fn counted(hooks: &Hooks, name: &str, outcome: &'static str, count: u64) {
    let key = (name.to_owned(), outcome);
    while hooks.tally.read().get(&key).copied().unwrap_or(0) != count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn deliveries_are_signed_and_come_in_order() {
    let mut receiver = Receiver::start(&[Script::Status(204)]).await;
    let settings = hook("ops", receiver.address);
    let hooks = start(vec![settings.clone()]);
    for id in 1..=20 {
        hooks.tell("store", &event(id));
        hooks.tell("configured", &event(100 + id));
    }
    let mut ids = Vec::new();
    for id in 1..=20 {
        let delivery = receiver.next().await;
        assert_eq!(delivery.event(), id);
        assert!(delivery.head.starts_with("POST /hook?key=k HTTP/1.1\r\n"));
        let host = receiver.address.to_string();
        assert_eq!(delivery.field("host"), Some(host.as_str()));
        assert_eq!(delivery.field("content-type"), Some("application/json"));
        let shown = delivery.field("ebbtide-signature").unwrap();
        let unix = shown[2..].split_once(',').unwrap().0.parse().unwrap();
        let secret = settings.secret.as_ref().unwrap();
        assert_eq!(shown, signature(secret, unix, &delivery.body));
        ids.push(delivery.field("ebbtide-delivery").unwrap().to_owned());
    }
    ids.dedup();
    assert_eq!(ids.len(), 20);
    counted(&hooks, "ops", DELIVERED, 20).await;
}

#[test]
fn the_signature_is_an_hmac_of_time_and_body() {
    let secret = Secret::new("0123456789abcdef").unwrap();
    // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac 0123456789abcdef
    assert_eq!(
        signature(&secret, 1_700_000_000, r#"{"a":1}"#),
        "t=1700000000,v1=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23"
    );
}

#[tokio::test]
async fn what_fails_is_tried_again_as_the_same_delivery_before_anything_else() {
    let script = [Script::Status(500), Script::Close, Script::Status(200)];
    let mut receiver = Receiver::start(&script).await;
    let hooks = start(vec![hook("ops", receiver.address)]);
    hooks.tell("store", &event(1));
    hooks.tell("store", &event(2));
    let mut tries = Vec::new();
    for _ in 0..4 {
        let delivery = receiver.next().await;
        let id = delivery.field("ebbtide-delivery").unwrap().to_owned();
        tries.push((delivery.event(), id));
    }
    let numbers: Vec<u64> = tries.iter().map(|(event, _)| *event).collect();
    assert_eq!(numbers, [1, 1, 1, 2]);
    assert!(tries[0].1 == tries[1].1 && tries[1].1 == tries[2].1 && tries[2].1 != tries[3].1);
    counted(&hooks, "ops", DELIVERED, 2).await;
}

#[tokio::test]
async fn after_so_many_tries_it_is_given_up() {
    let mut receiver = Receiver::start(&[Script::Status(503)]).await;
    let hooks = start(vec![hook("ops", receiver.address)]);
    hooks.tell("store", &event(1));
    for _ in 0..3 {
        assert_eq!(receiver.next().await.event(), 1);
    }
    counted(&hooks, "ops", FAILED, 1).await;
    assert!(receiver.deliveries.try_recv().is_err());
}

#[tokio::test]
async fn redirects_are_not_followed_and_what_is_refused_is_not_tried_again() {
    let mut inner = Receiver::start(&[Script::Status(200)]).await;
    let mut receiver =
        Receiver::start(&[Script::Redirect(inner.address), Script::Status(404)]).await;
    let hooks = start(vec![hook("ops", receiver.address)]);
    hooks.tell("store", &event(1));
    hooks.tell("store", &event(2));
    counted(&hooks, "ops", REFUSED, 2).await;
    assert_eq!(receiver.next().await.event(), 1);
    assert_eq!(receiver.next().await.event(), 2);
    assert!(inner.deliveries.try_recv().is_err());
}

#[tokio::test]
async fn an_answer_without_end_is_not_read() {
    let receiver = Receiver::start(&[Script::Endless]).await;
    let hooks = start(vec![hook("ops", receiver.address)]);
    hooks.tell("store", &event(1));
    hooks.tell("store", &event(2));
    counted(&hooks, "ops", DELIVERED, 2).await;
}

#[tokio::test]
async fn a_hook_that_hangs_delays_no_other_and_drops_the_oldest() {
    let mut hanging = Receiver::start(&[Script::Hang, Script::Status(200)]).await;
    let healthy = Receiver::start(&[Script::Status(200)]).await;
    let mut slow = hook("slow", hanging.address);
    slow.queue_max = 3;
    let hooks = start(vec![slow.clone(), hook("ops", healthy.address)]);
    hooks.tell("store", &event(1));
    assert_eq!(hanging.next().await.event(), 1);
    for id in 2..=10 {
        hooks.tell("store", &event(id));
    }
    counted(&hooks, "ops", DELIVERED, 10).await;
    counted(&hooks, "slow", DROPPED, 6).await;
    // A reload with other settings ends the hook, and begins anew with an empty queue.
    slow.queue_max = 4;
    let settings = vec![slow.clone(), hook("ops", healthy.address)];
    assert_eq!(hooks.differences(&settings), ["~ webhooks.slow"]);
    hooks.replace(settings);
    hooks.tell("store", &event(11));
    assert_eq!(hanging.next().await.event(), 11);
}

#[tokio::test]
async fn a_hang_is_cut_at_the_time_limit() {
    let receiver = Receiver::start(&[Script::Hang]).await;
    let mut settings = hook("ops", receiver.address);
    settings.timeout = Millis(1);
    let hooks = start(vec![settings]);
    hooks.tell("store", &event(1));
    counted(&hooks, "ops", FAILED, 1).await;
}

#[tokio::test]
async fn a_reload_changes_who_is_told() {
    let mut one = Receiver::start(&[Script::Status(200)]).await;
    let mut other = Receiver::start(&[Script::Status(200)]).await;
    let (stays, goes) = (hook("stays", one.address), hook("goes", other.address));
    let hooks = start(vec![stays.clone(), goes]);
    hooks.tell("store", &event(1));
    assert_eq!(one.next().await.event(), 1);
    assert_eq!(other.next().await.event(), 1);
    let new = hook("new", other.address);
    let settings = vec![stays.clone(), new.clone()];
    let changes = hooks.differences(&settings);
    assert_eq!(changes, ["- webhooks.goes", "+ webhooks.new"]);
    hooks.replace(settings);
    hooks.tell("store", &event(2));
    assert_eq!(one.next().await.event(), 2);
    assert_eq!(other.next().await.event(), 2);
    counted(&hooks, "new", DELIVERED, 1).await;
    assert_eq!(hooks.differences(&[stays, new]), Vec::<String>::new());
}

#[tokio::test]
async fn a_hook_that_refuses_everything_is_complained_of_now_and_then() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let mut script = vec![Script::Status(404); 25];
    script.push(Script::Status(200));
    let receiver = Receiver::start(&script).await;
    let hooks = start(vec![hook("ops", receiver.address)]);
    for id in 1..=26 {
        hooks.tell("store", &event(id));
    }
    counted(&hooks, "ops", DELIVERED, 1).await;
    tokio::task::yield_now().await;
    assert_eq!(
        warnings.so_far(),
        [
            "webhook ops: event 1 was refused: it answered 404",
            "webhook ops: event 10 was refused: it answered 404; 10 in a row were not delivered",
            "webhook ops: takes events again; 25 were refused or given up",
        ]
    );
}

#[tokio::test]
async fn what_is_dropped_is_said_now_and_then() {
    let warnings = Warnings::default();
    let _guard = tracing::subscriber::set_default(warnings.clone());
    let mut receiver = Receiver::start(&[Script::Hang]).await;
    let mut settings = hook("ops", receiver.address);
    settings.queue_max = 2;
    let hooks = start(vec![settings]);
    hooks.tell("store", &event(1));
    receiver.next().await;
    for id in 2..=20 {
        hooks.tell("store", &event(id));
    }
    let said = "webhook ops: 2 events wait already, so the oldest are dropped:";
    assert_eq!(
        warnings.so_far(),
        [format!("{said} 1 so far"), format!("{said} 10 so far")]
    );
}

/// A server with a certificate of its own for `localhost` that takes every delivery, and says when
/// one has come; and what trusts that certificate.
async fn tls_receiver() -> (SocketAddr, RootCertStore, Arc<AtomicBool>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let has_come = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&has_come);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever does not trust the certificate hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            assert_eq!(read(&mut stream).await.event(), 1);
            told.store(true, Relaxed);
            let answer = b"HTTP/1.1 204 X\r\n\r\n";
            stream.write_all(answer).await.unwrap();
        }
    });
    (address, roots, has_come)
}

/// What comes of an event for a hook at this name of a server with a certificate for `localhost`.
async fn over_tls(host: &str, is_trusted: bool, outcome: &'static str) -> bool {
    let (address, roots, has_come) = tls_receiver().await;
    let roots = if is_trusted {
        roots
    } else {
        RootCertStore::empty()
    };
    let (hooks, new) = Hooks::new();
    let tally = Arc::clone(&hooks.tally);
    let sender = Sender::trusting(tally, Duration::from_millis(1), roots);
    tokio::spawn(run(new, sender));
    let mut settings = hook("ops", address);
    let url = format!("https://{host}:{}/hook", address.port());
    settings.url = HttpUrl::parse(&url).unwrap();
    hooks.replace(vec![settings]);
    hooks.tell("store", &event(1));
    counted(&hooks, "ops", outcome, 1).await;
    has_come.load(Relaxed)
}

#[tokio::test]
async fn https_delivers_to_whom_a_trusted_certificate_names() {
    assert!(over_tls("localhost", true, DELIVERED).await);
}

#[tokio::test]
async fn https_tells_nothing_to_whom_no_trusted_certificate_names() {
    assert!(!over_tls("localhost", false, FAILED).await);
    assert!(!over_tls("127.0.0.1", true, FAILED).await);
}

#[test]
fn chat_services_are_told_the_deadline_who_did_it_and_the_message() {
    let told = |server: Option<&str>, kind: EventKind| {
        let event = Event {
            server: server.map(str::to_owned),
            text: "intent ready -> drain".into(),
            kind,
            ..(*event(1)).clone()
        };
        let slack: serde_json::Value =
            serde_json::from_str(&body(Template::Slack, &event)).unwrap();
        slack["text"].as_str().unwrap().to_owned()
    };
    let of_pool = |from: &str, to: &str, deadline, message: Option<&str>| EventKind::PoolIntent {
        pool: "app".into(),
        from: from.into(),
        to: to.into(),
        deadline,
        by: "olga".into(),
        message: message.map(str::to_owned),
    };
    let deadline = Some(Timestamp(1_769_846_709_042));
    assert_eq!(
        told(
            None,
            of_pool("open", "closing", deadline, Some("Back at six.\nSorry."))
        ),
        "Ebbtide: pool app is closing, its deadline is 2026-01-31 08:05:09 UTC, by olga\n\
         Back at six.\nSorry."
    );
    assert_eq!(
        told(None, of_pool("closing", "open", None, None)),
        "Ebbtide: pool app stays open, its closing is off, by olga"
    );
    let drain = EventKind::Intent {
        from: "ready".into(),
        to: "drain".into(),
        deadline,
        by: "olga".into(),
        message: Some("soon".into()),
    };
    assert_eq!(
        told(Some("app/web1"), drain),
        "Ebbtide: app/web1: intent ready -&gt; drain, its deadline is 2026-01-31 08:05:09 UTC, by \
         olga\nsoon"
    );
    let teams = Event {
        kind: of_pool("open", "closed", None, Some("one\ntwo")),
        ..(*event(1)).clone()
    };
    let teams: serde_json::Value = serde_json::from_str(&body(Template::Teams, &teams)).unwrap();
    let block = &teams["attachments"][0]["content"]["body"][0];
    assert_eq!(
        block["text"],
        "Ebbtide: pool app is closed, by olga\n\none\n\ntwo"
    );
}

#[test]
fn chat_services_get_text_and_no_markup() {
    let mut told = (*event(1)).clone();
    told.server = Some("app/web1".into());
    told.text = "standing ready -> down (<!channel> *x* [a](b))".into();
    let slack: serde_json::Value = serde_json::from_str(&body(Template::Slack, &told)).unwrap();
    assert_eq!(
        slack["text"],
        "Ebbtide: app/web1: standing ready -&gt; down (&lt;!channel&gt; *x* [a](b))"
    );
    assert_eq!(slack["mrkdwn"], false);
    let teams: serde_json::Value = serde_json::from_str(&body(Template::Teams, &told)).unwrap();
    let block = &teams["attachments"][0]["content"]["body"][0];
    let text = block["text"].as_str().unwrap();
    assert!(text.contains(r"\<\!channel\> \*x\* \[a\]\(b\)"), "{text}");
}

#[test]
fn addresses_are_judged_and_their_paths_never_shown() {
    let url = HttpUrl::parse("https://hooks.example.com/T0/secret").unwrap();
    assert_eq!((url.port, url.is_tls), (443, true));
    assert!(!format!("{url:?}").contains("secret"));
    let url = HttpUrl::parse("http://[::1]:8080").unwrap();
    assert_eq!((&*url.host, url.port, &*url.target), ("::1", 8080, "/"));
    for (text, why) in [
        ("ftp://example.com/", "http://"),
        ("example.com", "http://"),
        ("/hook", "http://"),
        ("http://me:secret@example.com/", "user"),
        ("http://example.com:99999/", "65535"),
        ("http://example.com:/", "65535"),
        ("http://example.com/ x", "address"),
        ("http://example.com/#x", "#"),
    ] {
        let said = HttpUrl::parse(text).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn every_kind_of_event_of_the_stream_can_be_named() {
    let document: serde_json::Value = serde_json::from_str(&crate::openapi()).unwrap();
    let kinds = &document["components"]["schemas"]["EventKind"]["oneOf"];
    let kinds = kinds.as_array().unwrap().iter();
    let mut kinds: Vec<&str> = kinds
        .map(|kind| kind["properties"]["kind"]["enum"][0].as_str().unwrap())
        // What only the stream of one listener tells, and what clients make of kinds of later versions.
        .filter(|kind| !["missed", "other"].contains(kind))
        .collect();
    let mut known = WEBHOOK_EVENTS.to_vec();
    kinds.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, kinds);
    assert!(known.contains(&"returning") && known.contains(&"not-verified"));
}
