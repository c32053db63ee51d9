//! Probes against servers that answer by script.

use super::*;
use tokio::net::TcpListener;

/// What a server does once the request's head is there.
enum Script {
    /// Says this and closes.
    Say(Vec<u8>),
    /// Says nothing and keeps the connection.
    Hang,
    /// Says this again and again.
    Repeat(&'static [u8], &'static [u8]),
}

async fn server(script: Script) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await.unwrap() == 0 {
                break;
            }
        }
        match script {
            Script::Say(answer) => stream.write_all(&answer).await.unwrap(),
            Script::Hang => drop(stream.read(&mut [0]).await),
            Script::Repeat(head, piece) => {
                stream.write_all(head).await.unwrap();
                while stream.write_all(piece).await.is_ok() {}
            }
        }
        String::from_utf8(request).unwrap()
    });
    (address, task)
}

fn http(expect: Option<&str>) -> HealthSettings {
    HealthSettings {
        check: HealthCheck::Http {
            path: "/health?x=1".into(),
            host: None,
            status: vec![(200, 399)],
            expect: expect.map(str::to_owned),
        },
        timeout: Millis(20_000),
        ..HealthSettings::defaults()
    }
}

async fn outcome(script: Script, health: &HealthSettings) -> ProbeOutcome {
    let (address, _task) = server(script).await;
    probe(address, health).await
}

fn page(status: &str, body: &str) -> Script {
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
    Script::Say(answer.into_bytes())
}

fn bad(outcome: ProbeOutcome) -> String {
    match outcome {
        ProbeOutcome::Bad(why) => why,
        good => panic!("not bad: {good:?}"),
    }
}

#[tokio::test]
async fn health_pages_are_understood() {
    let active = http(Some("ACTIVE"));
    for (body, expected) in [
        (
            "<p>ACTIVE - 17 Sessions</p>",
            ProbeOutcome::Good { places: Some(17) },
        ),
        ("ACTIVE", ProbeOutcome::Good { places: None }),
        (
            "ACTIVE - 3.5 Sessions",
            ProbeOutcome::Odd {
                places: None,
                why: "its page tells of \"3.5\" places, which is no whole number and sets no bound"
                    .into(),
            },
        ),
        ("ON HOLD", ProbeOutcome::OnHold),
        ("ALL SESSIONS IN USE", ProbeOutcome::AllInUse),
    ] {
        assert_eq!(
            outcome(page("200 OK", body), &active).await,
            expected,
            "{body}"
        );
    }
    // As our own health page has them.
    for (body, expected) in [
        ("ON HOLD\n", ProbeOutcome::OnHold),
        ("ALL SESSIONS IN USE\n", ProbeOutcome::AllInUse),
    ] {
        let busy = page("503 Service Unavailable", body);
        assert_eq!(outcome(busy, &active).await, expected, "{body}");
    }
    let why = bad(outcome(page("503 Service Unavailable", "ACTIVE"), &active).await);
    assert!(why.contains("503"), "{why}");
    let why = bad(outcome(page("200 OK", "hello"), &active).await);
    assert!(why.contains("ACTIVE"), "{why}");
}

#[tokio::test]
async fn the_request_is_plain_and_says_who_asks() {
    let (address, task) = server(page("204 No Content", "")).await;
    probe(address, &http(None)).await;
    let request = task.await.unwrap();
    assert!(
        request.starts_with("GET /health?x=1 HTTP/1.1\r\n"),
        "{request}"
    );
    for field in ["Connection: close", "User-Agent: ebbtide-health"] {
        assert!(request.contains(&format!("\r\n{field}\r\n")), "{request}");
    }
    assert!(
        request.contains(&format!("\r\nHost: {address}\r\n")),
        "{request}"
    );
}

#[tokio::test]
async fn what_fails_is_said_for_people() {
    let why = bad(outcome(page("500 Oops", ""), &http(None)).await);
    assert!(why.contains("500"), "{why}");
    let why = bad(outcome(Script::Say(b"hello\r\n\r\n".to_vec()), &http(None)).await);
    assert!(why.contains("not sound HTTP"), "{why}");
    let why = bad(outcome(Script::Say(Vec::new()), &http(None)).await);
    assert!(why.contains("without an answer"), "{why}");
    let hurried = HealthSettings {
        timeout: Millis(50),
        ..http(None)
    };
    let why = bad(outcome(Script::Hang, &hurried).await);
    assert_eq!(why, "no answer within 50ms");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    assert_eq!(bad(probe(address, &http(None)).await), "connection refused");
    let whole = Script::Say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nACTIVE".to_vec());
    let why = bad(outcome(whole, &http(Some("ACTIVE"))).await);
    assert!(why.contains("not sound"), "{why}");
}

#[tokio::test]
async fn interim_answers_chunks_and_endless_pages_are_read() {
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\
        Transfer-Encoding: chunked\r\n\r\n3\r\nACT\r\n3\r\nIVE\r\n0\r\n\r\n";
    let good = ProbeOutcome::Good { places: None };
    let active = http(Some("ACTIVE"));
    assert_eq!(outcome(Script::Say(interim.to_vec()), &active).await, good);
    let endless = Script::Repeat(b"HTTP/1.1 200 OK\r\n\r\nACTIVE", b"<br>\n");
    assert_eq!(outcome(endless, &active).await, good);
    let endless = Script::Repeat(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n");
    let why = bad(outcome(endless, &active).await);
    assert!(why.contains("without end"), "{why}");
}

#[tokio::test]
async fn a_connection_is_enough_for_a_tcp_check_and_may_be_to_another_port() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tcp = HealthSettings::defaults();
    let good = ProbeOutcome::Good { places: None };
    assert_eq!(probe(address, &tcp).await, good);
    tcp.port = Some(address.port());
    let elsewhere = SocketAddr::new(address.ip(), 9);
    assert_eq!(probe(elsewhere, &tcp).await, good);
}
