//! A server that leaves the file while it has connections: they go on, in sight and in hand.

use crate::harness::{Ebbtide, LIMIT};
use crate::tcp::setup;
use ebbtide_testkit::until;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime};

/// A server that says back what it hears.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), mut bytes) = (stream, [0; 64]) else {
                return;
            };
            std::thread::spawn(move || {
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    if stream.write_all(&bytes[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn connect(ebbtide: &Ebbtide) -> TcpStream {
    let mut stream = TcpStream::connect(ebbtide.address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    assert!(is_alive(&mut stream), "a server is there");
    stream
}

fn is_alive(stream: &mut TcpStream) -> bool {
    let mut heard = [0; 1];
    stream.write_all(b"x").is_ok() && matches!(stream.read(&mut heard), Ok(1))
}

/// Waits until the connection has ended; when that was.
fn end_of(stream: &mut TcpStream) -> SystemTime {
    let mut rest = Vec::new();
    // A reset is an end as good as another.
    let _ = stream.read_to_end(&mut rest);
    SystemTime::now()
}

/// How many sessions are listed of a server.
fn listed(ebbtide: &Ebbtide, of: &str) -> Vec<String> {
    let page = ebbtide.cli(&["sessions", of, "--json"]).exits(0).json();
    let sessions = page["sessions"].as_array().unwrap().iter();
    sessions
        .map(|session| session["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn connections_on_a_server_that_left_the_file_go_on_in_sight_and_in_hand() {
    let (first, second) = (echo(), echo());
    let only = setup(&[("web1", first)], "");
    let both = setup(&[("web1", first), ("web2", second)], "");
    let ebbtide = Ebbtide::start(&both);
    ebbtide.wait_until_probed();
    ebbtide.cli(&["hold", "app/web1"]).exits(0);
    let mut streams: Vec<TcpStream> = (0..4).map(|_| connect(&ebbtide)).collect();
    assert_eq!(ebbtide.sessions("web2"), 4);
    ebbtide.cli(&["ready", "app/web1"]).exits(0);
    ebbtide
        .cli(&["drain", "app/web2", "--within", "1h"])
        .exits(0);
    ebbtide.configure(&only);
    let told = ebbtide.cli(&["reload"]).exits(0).out;
    assert!(
        told.contains("app/web2 leaves the pool: 4 sessions go on until they end"),
        "{told}"
    );

    // They go on, are listed and shown, and the server takes no others.
    assert!(streams.iter_mut().all(is_alive));
    assert_eq!(listed(&ebbtide, "app/web2").len(), 4);
    assert_eq!(ebbtide.reason("web2"), "removed");
    let page = ebbtide.cli(&["status"]).exits(0).out;
    assert!(page.contains("1 of 1 servers take new sessions"), "{page}");
    assert!(page.contains("has left the pool"), "{page}");
    let mut new = connect(&ebbtide);
    until("the new session counts", LIMIT, || {
        (ebbtide.sessions("web1") == 1).then_some(())
    });
    ebbtide.cli(&["hold", "app/web1"]).exits(4);

    // One by one, and all at once by the deadline of the drain.
    let ended = listed(&ebbtide, "app/web2").remove(0);
    ebbtide.cli(&["sessions", "end", &ended]).exits(0);
    assert_eq!(listed(&ebbtide, "app/web2").len(), 3);
    until("one connection ends", LIMIT, || {
        streams.retain_mut(is_alive);
        (streams.len() == 3).then_some(())
    });
    ebbtide
        .cli(&["drain", "app/web2", "--within", "2s"])
        .exits(0);
    let deadline = ebbtide.deadline("web2");
    let wait = ebbtide.cli(&["wait", "app/web2", "--for", "drained", "--timeout", "1m"]);
    wait.exits(0);
    for stream in &mut streams {
        let end = end_of(stream);
        assert!(end >= deadline, "cut before the deadline");
        assert!(
            end <= deadline + Duration::from_secs(20),
            "it outlived the deadline"
        );
    }
    until("the server is shown no more", LIMIT, || {
        let status = ebbtide.status();
        let servers = status["pools"][0]["servers"].as_array().unwrap().len();
        (servers == 1).then_some(())
    });
    assert!(is_alive(&mut new));

    // It is back as what it is wanted to be.
    ebbtide.configure(&both);
    ebbtide.cli(&["reload"]).exits(0);
    assert_eq!(ebbtide.intent("web2"), "maintenance");
}
