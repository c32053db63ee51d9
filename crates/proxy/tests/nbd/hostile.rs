//! Servers and clients that do not keep to the rules, on real sockets: each is passed over or hung up
//! on, counted, and disturbs nobody else.

use crate::client::{self, Client};
use crate::common::{House, MAINTENANCE, PATIENCE, READY, free_address, until};
use crate::model::{Act, Disk, FLAGS};
use crate::{house, house_of, house_with, image, pair, place};
use ebbtide_core::{Knowledge, Millis, Mode};
use ebbtide_protocol::nbd::{Command, transmission_flag};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// `NBDMAGIC`, `IHAVEOPT`, and the flags of a server of the fixed newstyle.
const GREETING: &[u8; 18] = b"NBDMAGICIHAVEOPT\0\x03";
/// What a client answers to that.
const CLIENT_FLAGS: [u8; 4] = [0, 0, 0, 3];

/// A server that does this with each connection.
fn server(act: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind(free_address()).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || act(stream.unwrap()));
        }
    });
    address
}

/// Waits until the other side has had enough.
fn wait_for_end(mut stream: TcpStream) {
    while let Ok(1..) = stream.read(&mut [0; 4096]) {}
}

fn trickle(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| {
        #[expect(clippy::disallowed_methods, reason = "the pace of the one who is slow")]
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(&[*byte]).is_ok()
    })
}

fn rejected(house: &House, reason: &str) -> u64 {
    let rejected = house.node.slot(0).rejected.lock().unwrap();
    rejected.get(reason).copied().unwrap_or(0)
}

/// What a server does instead of a handshake, and what it is counted as.
type Misfit = (&'static str, &'static [&'static str], fn(TcpStream));

#[test]
fn a_server_that_comes_to_nothing_in_the_handshake_is_passed_over() {
    let acts: [Misfit; 8] = [
        ("says nothing", &[], wait_for_end),
        ("stops in the greeting", &[], |mut stream| {
            stream.write_all(&GREETING[..10]).unwrap();
            wait_for_end(stream);
        }),
        ("stops after the greeting", &[], |mut stream| {
            stream.write_all(GREETING).unwrap();
            wait_for_end(stream);
        }),
        ("trickles", &[], |mut stream| {
            trickle(&mut stream, &GREETING.repeat(10));
        }),
        ("trickles replies that never end", &[], |mut stream| {
            stream.write_all(GREETING).unwrap();
            // To STRUCTURED_REPLY, with a thousand bytes.
            let head = b"\x00\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x08\0\0\0\x01\0\0\x03\xe8";
            stream.write_all(head).unwrap();
            while trickle(&mut stream, &[0]) {}
        }),
        ("speaks something else", &["bad-magic"], |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            wait_for_end(stream);
        }),
        ("is of the old style", &["oldstyle"], |mut stream| {
            let _ = stream.write_all(b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53");
            wait_for_end(stream);
        }),
        ("hangs up", &[], |mut stream| {
            stream.write_all(GREETING).unwrap();
            let _ = stream.read(&mut [0; 16]);
        }),
    ];
    for (what, reason, act) in acts {
        let good = Disk::new(image());
        let mut house = House::with(&[server(act), good.address], |pool| {
            crate::nbd(pool);
            pool.http.connect_timeout = Millis(500);
        });
        let known = Knowledge::Known(crate::identity(1));
        let copies = [(known.clone(), true), (known, true)];
        house.publish(|_, pool| pool.replicas = crate::disk(Mode::Shared, None, &copies));
        let mut client = Client::connect(house.listen, true);
        assert!(client.read_all() == image(), "{what}");
        assert_eq!(place(&house).0, 1, "{what}");
        let failures = house.server_sum(0, |slot| &slot.connect_failures);
        assert_eq!(failures, 1, "{what}");
        let reasons = house.node.slot(0).answers_rejected.lock().unwrap().clone();
        let reasons: Vec<&str> = reasons.keys().copied().collect();
        assert_eq!(reasons, reason, "{what}");
    }
}

#[test]
fn a_server_that_answers_a_byte_at_a_time_is_left() {
    // In the head of a reply, and in its payload.
    for bytes in [0, 5000] {
        let (one, two) = pair();
        one.act(move |_, _| Act::Trickle(bytes));
        let house = house_with(&[&one, &two], |pool| {
            crate::nbd(pool);
            pool.http.response_timeout = Millis(500);
        });
        let mut client = Client::connect(house.listen, false);
        assert!(client.read(0, 100_000) == image()[..100_000]);
        assert_eq!(place(&house), (1, 1));
        assert_eq!(house.server_sum(0, |slot| &slot.timeouts), 1);
    }
}

#[test]
fn a_server_that_changes_its_flags_is_not_gone_back_to() {
    let (one, two) = pair();
    one.act(|_, number| match number {
        0 => Act::Answer,
        _ => Act::Break(9),
    });
    let mut house = house(&[&one, &two]);
    house.stand(1, MAINTENANCE);
    let mut client = Client::connect(house.listen, true);
    assert!(client.read(0, 1000) == image()[..1000]);
    one.claim_flags(FLAGS & !transmission_flag::SEND_DF);
    client.ask(Command::Read, 0, 5000);
    until("it was tried again", || one.connections() > 1);
    house.stand(1, READY);
    assert!(client.answer().unwrap().bytes == image()[..5000]);
    assert_eq!(place(&house), (1, 1));
    assert_eq!(one.asked().len(), 2, "nothing after that");
}

/// A client that has sent its flags.
fn greeted(house: &House) -> TcpStream {
    let mut stream = TcpStream::connect(house.listen).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut greeting = [0; 18];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, GREETING);
    stream.write_all(&CLIENT_FLAGS).unwrap();
    stream
}

fn option(number: u32, length: u32, data: &[u8]) -> Vec<u8> {
    [
        b"IHAVEOPT",
        &number.to_be_bytes()[..],
        &length.to_be_bytes(),
        data,
    ]
    .concat()
}

/// Whether the connection ends without another byte. One that is closed with something unread is reset.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 16]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn options_that_nobody_knows_are_refused_and_endless_ones_end_the_connection() {
    let (one, two) = pair();
    let house = house(&[&one, &two]);
    let mut onlooker = Client::connect(house.listen, true);
    let mut stream = greeted(&house);
    // Unknown, with data that is kept, and with data that is skipped.
    for length in [0, 100, 40_000] {
        stream
            .write_all(&option(0xdead, length, &vec![7; length as usize]))
            .unwrap();
        let mut reply = [0; 20];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply[8..12], 0xdead_u32.to_be_bytes());
        assert_eq!(reply[12..16], 0x8000_0001_u32.to_be_bytes(), "ERR_UNSUP");
    }
    assert_eq!(rejected(&house, "nbd-unknown-option"), 3);
    // TLS, a list with data, and a block of options that is too long.
    for (bytes, error, reason) in [
        (option(5, 0, &[]), 1, "nbd-tls"),
        (option(3, 1, b"x"), 3, "nbd-bad-option"),
        (option(7, 40_000, &[7; 40_000]), 9, "nbd-option-too-long"),
    ] {
        stream.write_all(&bytes).unwrap();
        let mut reply = [0; 20];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(reply[12..16], (0x8000_0000_u32 + error).to_be_bytes());
        assert_eq!(rejected(&house, reason), 1, "{reason}");
    }
    // It can go on after that.
    stream.write_all(&option(3, 0, &[])).unwrap();
    let mut reply = [0; 20];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply[12..16], 2_u32.to_be_bytes(), "the first export");
    for (bytes, reason) in [
        (option(0xdead, u32::MAX, &[]), "too-long"),
        (option(7, u32::MAX, &[]), "too-long"),
        (b"IHAVEOPX\0\0\0\x03\0\0\0\0".to_vec(), "bad-magic"),
        (option(1, 2, b"\xff\xff"), "bad-name"),
    ] {
        let before = rejected(&house, reason);
        let mut stream = greeted(&house);
        stream.write_all(&bytes).unwrap();
        assert!(is_closed(&mut stream));
        until("it is counted", || rejected(&house, reason) == before + 1);
    }
    assert!(onlooker.read_all() == image());
    assert_eq!(house.live().len(), 1);
}

#[test]
fn requests_that_are_refused_are_counted_by_reason() {
    let (one, two) = pair();
    let house = house(&[&one, &two]);
    let mut client = Client::connect(house.listen, true);
    let size = image().len() as u64;
    for (command, offset, length, reason) in [
        (Command::Read, size - 1, 2, "nbd-past-end"),
        (Command::Read, u64::MAX, 1, "nbd-past-end"),
        (Command::Read, 0, u32::MAX, "nbd-too-long"),
        (Command::Flush, 0, 0, "nbd-not-offered"),
        (Command::Other(99), 0, 0, "nbd-unknown-command"),
    ] {
        let before = rejected(&house, reason);
        client.ask(command, offset, length);
        assert!(client.answer().unwrap().error.is_some(), "{command:?}");
        assert_eq!(rejected(&house, reason), before + 1, "{command:?}");
    }
    client.ask_with(Command::Write, 0, 4, 0, b"1234");
    assert!(client.answer().unwrap().error.is_some());
    assert_eq!(rejected(&house, "nbd-read-only"), 1);
    let (_, step) = client::shake(house.listen, client::goal("none", true));
    assert!(step.is_err());
    assert_eq!(rejected(&house, "nbd-unknown-export"), 1);
    assert_eq!(one.asked().len() + two.asked().len(), 0);
    assert!(client.read_all() == image());
}

#[test]
fn a_client_may_be_slow_with_its_requests_and_not_with_its_handshake() {
    let (one, two) = pair();
    let house = house_with(&[&one, &two], |pool| {
        crate::nbd(pool);
        pool.http.head_timeout = Millis(500);
    });
    let mut slow = greeted(&house);
    slow.write_all(&option(0xdead, 60_000, &[])).unwrap();
    while trickle(&mut slow, &[0]) {}
    until("it is counted", || {
        house.pool_sum(|slot| &slot.connections_silent) == 1
    });
    let mut client = Client::connect(house.listen, false);
    // READ of 512 bytes from 0 on, under the cookie 9.
    let request = b"\x25\x60\x95\x13\0\0\0\0\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\0\0\0\x02\0";
    assert!(trickle(&mut client.stream, request));
    let mut answer = vec![0; 16 + 512];
    client.stream.read_exact(&mut answer).unwrap();
    assert!(answer[16..] == image()[..512]);
}

#[test]
fn a_client_that_asks_and_does_not_read_waits_and_nobody_else_does() {
    let (one, two) = pair();
    let house = house_of(&[&one, &two], 1, |pool| {
        crate::nbd(pool);
        pool.http.response_timeout = Millis(500);
    });
    let greedy = Client::connect(house.listen, false);
    let of_greedy = house.live()[0].server.0 as usize;
    greedy.stream.set_nonblocking(true).unwrap();
    let mut request = Vec::new();
    ebbtide_protocol::nbd::Request {
        flags: 0,
        command: Command::Read,
        cookie: 1,
        offset: 0,
        length: 1 << 20,
    }
    .write(&mut request);
    // Cookies are the client's own affair: these are all the same.
    let many = request.repeat(1000);
    until("its socket takes no more", || {
        let written = (&greedy.stream).write(&many);
        written.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    let disk = [&one, &two][of_greedy];
    let mut other = Client::connect(house.listen, true);
    assert!(other.read_all() == image());
    let asked = || {
        disk.asked()
            .iter()
            .filter(|asked| asked.length == 1 << 20)
            .count()
    };
    assert!(asked() <= 64 + 1, "{} are under way", asked());
    // It is held up by itself, and that is no fault of the server's.
    assert_eq!(house.server_sum(of_greedy, |slot| &slot.timeouts), 0);
    drop(greedy);
    until("one session is left", || house.live().len() == 1);
    assert!(other.read_all() == image());
}
