//! Webhooks against servers that record, fail, redirect, hang and never end.

use super::body::{body, signature};
use super::*;
use ebbtide_api::{EventKind, Timestamp};
use ebbtide_core::Millis;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

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

async fn read(stream: &mut tokio::net::TcpStream) -> Delivery {
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
        url: WebhookUrl::parse(&format!("http://{address}/hook?key=k")).unwrap(),
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
    let tally = Arc::clone(&hooks.tally);
    tokio::spawn(run(new, tally, Duration::from_millis(1)));
    hooks.replace(settings);
    hooks
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
    let changes = hooks.replace(vec![slow.clone(), hook("ops", healthy.address)]);
    assert_eq!(changes, ["~ webhook slow"]);
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
    let changes = hooks.replace(vec![stays.clone(), new.clone()]);
    assert_eq!(changes, ["- webhook goes", "+ webhook new"]);
    hooks.tell("store", &event(2));
    assert_eq!(one.next().await.event(), 2);
    assert_eq!(other.next().await.event(), 2);
    counted(&hooks, "new", DELIVERED, 1).await;
    assert_eq!(hooks.replace(vec![stays, new]), Vec::<String>::new());
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
    let url = WebhookUrl::parse("https://hooks.example.com/T0/secret").unwrap();
    assert_eq!((url.port, url.is_tls), (443, true));
    assert!(!format!("{url:?}").contains("secret"));
    let url = WebhookUrl::parse("http://[::1]:8080").unwrap();
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
        let said = WebhookUrl::parse(text).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
}
