//! Sessions that are ended end in the application too.

use crate::harness::{Ebbtide, LIMIT, Setup};
use ebbtide_testkit::{Client, Request};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// An application that sets a cookie for each visitor; tells the heads of its logout calls.
fn application() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (told, logouts) = channel();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            let told = told.clone();
            thread::spawn(move || serve(stream, number, &told));
        }
    });
    (address, logouts)
}

fn serve(mut stream: TcpStream, number: usize, told: &Sender<String>) {
    let lines = BufReader::new(stream.try_clone().expect("a second handle")).lines();
    let mut head = String::new();
    for (request, line) in lines.map_while(Result::ok).enumerate() {
        if !line.is_empty() {
            head += &line;
            head.push('\n');
            continue;
        }
        if head.starts_with("POST /logout ") {
            let _ = told.send(std::mem::take(&mut head));
        }
        head.clear();
        let cookie = format!("Set-Cookie: JSESSIONID=u{number}-{request}; Path=/\r\n");
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{cookie}\r\n");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

#[test]
fn every_session_that_a_closure_ends_is_logged_out_once() {
    let (address, logouts) = application();
    let mut setup = Setup::new(&[]).pool(
        "health = false\nlogout_call = { path = \"/logout\", method = \"POST\", concurrency = 2 }\n",
    );
    setup.servers = vec![("web1".into(), address)];
    let ebbtide = Ebbtide::start(&setup);
    let mut expected = Vec::new();
    for _ in 0..10 {
        let mut user = Client::new(ebbtide.address, LIMIT);
        for _ in 0..2 {
            assert_eq!(user.send(&Request::get("/")).answer().head.status(), 200);
        }
        expected.push(user.jar["JSESSIONID"].clone());
        // A third time, so that the server has what is in the jar now.
        user.send(&Request::get("/")).answer();
    }
    ebbtide.cli(&["close", "app", "--within", "0s"]).exits(0);
    let mut seen: Vec<String> = (0..10)
        .map(|_| {
            let head = logouts.recv_timeout(LIMIT).expect("a logout call");
            assert!(head.contains("\nUser-Agent: ebbtide-logout\n"), "{head}");
            assert!(
                !head.contains("ebbtide_app"),
                "the token stays here: {head}"
            );
            let (_, rest) = head.split_once("JSESSIONID=").expect("the user's cookie");
            rest.split([';', '\n']).next().unwrap_or("").to_owned()
        })
        .collect();
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    assert!(logouts.try_recv().is_err());
}
