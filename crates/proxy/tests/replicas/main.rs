//! Downloads whose server dies, hangs, or has to be left: another one goes on with them, if it has the
//! very same copy, and what reaches the client is whole and right, or visibly broken.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

#[path = "../common/mod.rs"]
mod common;
mod moves;
use common::{DOWN, HELD, House, MAINTENANCE, Message, Server, Wire, clock, get, until};
use ebbtide_core::{EndReason, Millis, Mode, PoolConfig, PoolSlot, ResourceConfig};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Goes through pipes.
const LARGE: usize = 300_000;
/// Goes through buffers.
const SMALL: usize = 9_000;

/// Bytes that no shift leaves alike.
fn file(bytes: usize) -> Arc<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    Arc::new(words.flatten().take(bytes).collect())
}

fn replica(pool: &mut PoolConfig) {
    pool.http.replica = true;
}

/// The range that is asked for: its first byte, and the one after its last.
fn range(request: &Message, total: usize) -> Option<(usize, usize)> {
    let wanted = request.field("range")?.strip_prefix("bytes=")?;
    let (first, last) = wanted.split_once('-')?;
    let end = last.parse().map_or(total, |last: usize| last + 1);
    Some((first.parse().ok()?, end))
}

/// A head with these lines more, which ends here.
fn head(first_line: &str, length: usize, fields: &str) -> String {
    format!("HTTP/1.1 {first_line}\r\nContent-Length: {length}\r\n{fields}\r\n")
}

const TAG: &str = "ETag: \"v1\"\r\n";

/// Answers as a good server does, with so many bytes of the body at most; whether that was all.
fn serve(wire: &mut Wire, request: &Message, file: &[u8], bytes_max: usize) -> bool {
    let (first_line, range, fields) = match range(request, file.len()) {
        None => ("200 OK", 0..file.len(), TAG.to_owned()),
        Some((first, end)) => {
            let (last, total) = (end - 1, file.len());
            let part = format!("{TAG}Content-Range: bytes {first}-{last}/{total}\r\n");
            ("206 Partial Content", first..end, part)
        }
    };
    let body = &file[range];
    let sent = &body[..bytes_max.min(body.len())];
    let head = head(first_line, body.len(), &fields);
    let _ = wire.stream.write_all(&[head.as_bytes(), sent].concat());
    sent.len() == body.len()
}

/// A good server.
fn good(file: &Arc<Vec<u8>>) -> Server {
    dying(file, usize::MAX)
}

/// A server that closes after so many bytes of each body.
fn dying(file: &Arc<Vec<u8>>, bytes: usize) -> Server {
    let file = Arc::clone(file);
    Server::answering(move |wire, request| serve(wire, request, &file, bytes))
}

/// A server that always sends this head, with the file from where it was asked for.
fn lying(file: &Arc<Vec<u8>>, head: impl Fn(usize) -> String + Send + Sync + 'static) -> Server {
    let file = Arc::clone(file);
    Server::answering(move |wire, request| {
        let (first, _) = range(request, file.len()).unwrap_or((0, 0));
        let _ = wire.stream.write_all(head(first).as_bytes());
        let _ = wire.stream.write_all(&file[first..]);
        true
    })
}

fn house(servers: &[&Server]) -> House {
    let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
    House::with(&addresses, replica)
}

/// Has servers chosen in the order in which they stand there.
fn in_this_order(house: &mut House) {
    house.publish(|_, pool| {
        let weights = [1000, 100, 10, 1].into_iter();
        let servers = pool.servers.iter_mut().zip(weights);
        servers.for_each(|(server, weight)| server.weight = weight);
    });
}

#[track_caller]
fn is_whole(answer: &Message, file: &[u8]) {
    assert!(answer.complete, "{} of {}", answer.body.len(), file.len());
    assert!(answer.body == file, "other bytes");
}

/// What has come is a part of the file, and cannot be taken for all of it.
#[track_caller]
fn is_broken(answer: &Message, file: &[u8]) {
    assert!(!answer.complete, "{}", answer.first_line);
    assert!(file.starts_with(&answer.body), "other bytes");
    let length = answer.field("content-length").unwrap();
    assert_eq!(length, file.len().to_string());
}

#[test]
fn another_server_goes_on_where_one_died() {
    for (total, died_at) in [
        (LARGE, 100_000),
        (LARGE, 0),
        (SMALL, 5_000),
        (SMALL, 0),
        (LARGE, LARGE - 1),
    ] {
        let file = file(total);
        let (first, second) = (dying(&file, died_at), good(&file));
        let house = house(&[&first, &second]);
        let mut client = house.client();
        client.send(
            "GET /a?b=c HTTP/1.1\r\nHost: files\r\nAccept: x/y\r\nAccept-Encoding: br\r\n\
             Cookie: own=1\r\nAuthorization: Basic eA==\r\nIf-None-Match: \"v0\"\r\n\r\n",
        );
        let answer = client.answer();
        is_whole(&answer, &file);
        assert_eq!(answer.status(), 200);
        let asked = second.log.lock().unwrap()[0].clone();
        assert_eq!(asked.first_line, "GET /a?b=c HTTP/1.1");
        for (name, value) in [
            ("range", format!("bytes={died_at}-").as_str()),
            ("if-match", "\"v1\""),
            ("host", "files"),
            ("accept", "x/y"),
            ("accept-encoding", "br"),
            ("cookie", "own=1"),
            ("authorization", "Basic eA=="),
        ] {
            assert_eq!(asked.field(name), Some(value), "{name}");
        }
        assert_eq!(asked.field("if-none-match"), None);
        assert_eq!(house.pool_sum(|slot| &slot.resumed), 1);
        // The connection goes on, and so does the session, where it is now.
        let cookie = answer.cookie();
        let again = client.get("/", &cookie);
        is_whole(&again, &file);
        assert_eq!((first.seen().len(), second.seen().len()), (1, 2));
        let renewed = again.cookie();
        assert_ne!(renewed, cookie);
        is_whole(&house.client().get("/", &renewed), &file);
        assert_eq!(second.seen().len(), 3);
    }
}

#[test]
fn a_reset_and_silence_are_deaths_too() {
    for is_silent in [false, true] {
        let file = file(LARGE);
        let of_first = Arc::clone(&file);
        let first = Server::scripted(move |_, mut wire, _| {
            let request = wire.message(true).unwrap();
            serve(&mut wire, &request, &of_first, 70_000);
            match is_silent {
                // Until Ebbtide has had enough.
                true => assert!(wire.message(true).is_none()),
                false => wire.reset(),
            }
        });
        let second = good(&file);
        let house = House::with(&[first.address, second.address], |pool| {
            replica(pool);
            pool.http.body_timeout = Millis(300);
        });
        is_whole(&house.client().get("/", ""), &file);
        assert_eq!(second.seen().len(), 1);
        let counted = (
            house.server_sum(0, |slot| &slot.broken),
            house.server_sum(0, |slot| &slot.timeouts),
        );
        assert_eq!(counted, (u64::from(!is_silent), u64::from(is_silent)));
    }
}

#[test]
fn a_server_that_is_down_is_not_waited_for_if_another_one_is_not() {
    let file = file(LARGE);
    // The first to answer sends a part, and the rest when the test says so.
    let (go_on, may_go_on) = std::sync::mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let of_first = Arc::clone(&file);
    let first = Server::scripted(move |_, mut wire, log| {
        let request = wire.message(true).unwrap();
        serve(&mut wire, &request, &of_first, 70_000);
        log.lock().unwrap().push(request);
        if may_go_on.lock().unwrap().recv().is_ok() {
            let _ = wire.stream.write_all(&of_first[70_000..]);
        }
    });
    let second = good(&file);
    // Limits that the test would not live to see.
    let mut house = House::with(&[first.address, second.address], |pool| {
        replica(pool);
        pool.http.body_timeout = Millis::from_secs(600);
    });
    let mut client = house.client();
    client.send(get("/", ""));
    until("it has begun", || first.seen().len() == 1);
    house.stand(0, DOWN);
    is_whole(&client.answer(), &file);
    assert_eq!(second.seen().len(), 1);
    assert_eq!(house.pool_sum(|slot| &slot.resumed), 1);

    // Nobody can go on: it is waited for as ever.
    house.stand(0, common::READY);
    house.stand(1, MAINTENANCE);
    let mut client = house.client();
    client.send(get("/", ""));
    until("it has begun", || first.seen().len() == 2);
    house.stand(0, DOWN);
    go_on.send(()).unwrap();
    go_on.send(()).unwrap();
    is_whole(&client.answer(), &file);
    assert_eq!(house.pool_sum(|slot| &slot.resumed), 1);
}

#[test]
fn a_server_that_is_down_may_return_in_time() {
    let file = file(LARGE);
    let (first, second) = (dying(&file, 100_000), good(&file));
    let mut house = house(&[&first, &second]);
    house.stand(1, DOWN);
    let mut client = house.client();
    client.send(get("/", ""));
    until("it has died", || first.seen().len() == 1);
    until("it is waited for another one", || {
        house
            .live()
            .first()
            .is_some_and(|session| session.bytes() > 0)
    });
    assert_eq!(house.pool_sum(|slot| &slot.not_resumed_no_server), 0);
    house.stand(1, common::READY);
    is_whole(&client.answer(), &file);
    assert_eq!(second.seen().len(), 1);
    assert_eq!(first.seen().len(), 1, "nobody asked who has just failed");
}

#[test]
fn copies_that_differ_are_asked_once_and_are_not_counted_as_deaths() {
    let file = file(LARGE);
    let differs = || {
        lying(&file, |first| {
            head("206 Partial Content", LARGE - first, &part(first))
        })
    };
    let servers = [&dying(&file, 100_000), &differs(), &differs(), &good(&file)];
    let house = house(&servers);
    is_whole(&house.client().get("/", ""), &file);
    assert_eq!(house.pool_sum(|slot| &slot.resumed), 1);
    assert!(servers[1].seen().len() <= 1 && servers[2].seen().len() <= 1);
}

#[test]
fn a_part_goes_on_within_its_bounds() {
    let file = file(LARGE);
    let (first, second) = (dying(&file, 50_000), good(&file));
    let house = house(&[&first, &second]);
    let mut client = house.client();
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nRange: bytes=1000-200999\r\nIf-Range: \"v1\"\r\n\r\n");
    let answer = client.answer();
    is_whole(&answer, &file[1000..201_000]);
    assert_eq!(answer.status(), 206);
    let expected = format!("bytes 1000-200999/{LARGE}");
    assert_eq!(answer.field("content-range"), Some(expected.as_str()));
    let asked = second.log.lock().unwrap()[0].clone();
    assert_eq!(asked.field("range"), Some("bytes=51000-200999"));
    assert_eq!(asked.field("if-range"), None);
}

#[test]
fn a_second_death_is_survived_and_a_third_is_not() {
    let file = file(LARGE);
    let third = dying(&file, 100_000);
    let servers = [
        &dying(&file, 100_000),
        &dying(&file, 90_000),
        &third,
        &good(&file),
    ];
    let mut house = house(&servers);
    in_this_order(&mut house);
    let answer = house.client().get("/", "");
    is_broken(&answer, &file);
    assert_eq!(answer.body.len(), 290_000);
    assert_eq!(house.pool_sum(|slot| &slot.resumed), 2);
    assert_eq!(house.pool_sum(|slot| &slot.not_resumed_too_often), 1);
    let asked = third.log.lock().unwrap()[0].clone();
    assert_eq!(asked.field("range"), Some("bytes=190000-"));
    until("one session is left", || house.live().len() == 1);
}

#[test]
fn a_long_download_outlives_many_deaths_and_returns_to_who_is_back() {
    let file = file(8 * 1024 * 1024);
    let servers = [&dying(&file, 1_500_000), &dying(&file, 1_200_000)];
    let house = house(&servers);
    is_whole(&house.client().get("/", ""), &file);
    assert_eq!(house.pool_sum(|slot| &slot.resumed), 6);
    assert_eq!(house.pool_sum(|slot| &slot.not_resumed_too_often), 0);
}

#[test]
fn who_takes_no_connection_is_passed_over() {
    let file = file(LARGE);
    let (first, last) = (dying(&file, 100_000), good(&file));
    let gone = [common::dead_address(), common::dead_address()];
    let addresses = [first.address, gone[0], gone[1], last.address];
    let mut house = House::with(&addresses, replica);
    in_this_order(&mut house);
    is_whole(&house.client().get("/", ""), &file);
    assert_eq!(house.pool_sum(|slot| &slot.not_resumed_unreachable), 2);
    assert_eq!(house.server_sum(1, |slot| &slot.connect_failures), 1);
}

type Lie = (
    &'static str,
    fn(usize) -> String,
    fn(&PoolSlot) -> &ebbtide_core::Counter,
);

/// What a head says of the rest of [`LARGE`] bytes from `first`, truly.
fn part(first: usize) -> String {
    format!("Content-Range: bytes {first}-{}/{LARGE}\r\n", LARGE - 1)
}

const LIES: [Lie; 12] = [
    (
        "200",
        |_| head("200 OK", LARGE, TAG),
        |slot| &slot.not_resumed_status,
    ),
    (
        "500",
        |_| head("500 Broken", 0, TAG),
        |slot| &slot.not_resumed_status,
    ),
    (
        "412",
        |_| head("412 Changed", 0, ""),
        |slot| &slot.not_resumed_differs,
    ),
    (
        "another tag",
        |first| {
            head(
                "206 Part",
                LARGE - first,
                &format!("ETag: \"v2\"\r\n{}", part(first)),
            )
        },
        |slot| &slot.not_resumed_differs,
    ),
    (
        "a weak tag",
        |first| {
            head(
                "206 Part",
                LARGE - first,
                &format!("ETag: W/\"v1\"\r\n{}", part(first)),
            )
        },
        |slot| &slot.not_resumed_differs,
    ),
    (
        "no tag",
        |first| head("206 Part", LARGE - first, &part(first)),
        |slot| &slot.not_resumed_differs,
    ),
    (
        "compressed",
        |first| {
            let fields = format!("{TAG}Content-Encoding: gzip\r\n{}", part(first));
            head("206 Part", LARGE - first, &fields)
        },
        |slot| &slot.not_resumed_differs,
    ),
    (
        "another total",
        |first| {
            let fields = format!(
                "{TAG}Content-Range: bytes {first}-{}/{}\r\n",
                LARGE - 1,
                LARGE + 1
            );
            head("206 Part", LARGE - first, &fields)
        },
        |slot| &slot.not_resumed_differs,
    ),
    (
        "from too early",
        |first| {
            head(
                "206 Part",
                LARGE - first + 1,
                &format!("{TAG}{}", part(first - 1)),
            )
        },
        |slot| &slot.not_resumed_range,
    ),
    (
        "a length of its own",
        |first| {
            head(
                "206 Part",
                LARGE - first - 1,
                &format!("{TAG}{}", part(first)),
            )
        },
        |slot| &slot.not_resumed_range,
    ),
    (
        "several parts",
        |first| {
            let fields = format!(
                "{TAG}Content-Type: multipart/byteranges; boundary=x\r\n{}",
                part(first)
            );
            head("206 Part", LARGE - first, &fields)
        },
        |slot| &slot.not_resumed_range,
    ),
    (
        "no HTTP",
        |_| "SSH-2.0-x\r\n".to_owned(),
        |slot| &slot.not_resumed_unreachable,
    ),
];

#[test]
fn no_lie_gets_into_a_body_and_a_third_server_is_asked() {
    let file = file(LARGE);
    for (what, says, counter) in LIES {
        let (first, liar) = (dying(&file, 100_000), lying(&file, says));
        let house = house(&[&first, &liar]);
        let answer = house.client().get("/", "");
        is_broken(&answer, &file);
        assert_eq!(answer.body.len(), 100_000, "{what}");
        assert_eq!(house.pool_sum(counter), 1, "{what}");
        assert_eq!(house.pool_sum(|slot| &slot.resumed), 0, "{what}");
        let no_server = house.pool_sum(|slot| &slot.not_resumed_no_server);
        assert_eq!(no_server, 0, "{what}: there was one, and it is counted");

        let honest = good(&file);
        let mut house = self::house(&[&first, &liar, &honest]);
        in_this_order(&mut house);
        is_whole(&house.client().get("/", ""), &file);
        assert_eq!(house.pool_sum(counter), 1, "{what}");
        assert_eq!(honest.seen().len(), 1, "{what}");
    }
}

#[test]
fn interim_answers_of_who_goes_on_stay_out_of_the_body() {
    let file = file(LARGE);
    let of_second = Arc::clone(&file);
    let first = dying(&file, 100_000);
    let second = Server::answering(move |wire, request| {
        wire.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
        serve(wire, request, &of_second, usize::MAX)
    });
    is_whole(&house(&[&first, &second]).client().get("/", ""), &file);
}

#[test]
fn what_cannot_be_known_again_breaks_off() {
    let file = file(LARGE);
    for fields in [
        "ETag: W/\"v1\"\r\n",
        "Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT\r\n",
        "",
        "ETag: \"v1\"\r\nETag: \"v2\"\r\n",
    ] {
        let of_first = Arc::clone(&file);
        let first = Server::answering(move |wire, _| {
            wire.send(head("200 OK", LARGE, fields));
            wire.send(&of_first[..100_000]);
            false
        });
        let second = good(&file);
        let house = house(&[&first, &second]);
        is_broken(&house.client().get("/", ""), &file);
        assert!(second.seen().is_empty(), "{fields}");
        assert_eq!(house.pool_sum(|slot| &slot.not_resumed_unidentified), 1);
    }
}

#[test]
fn other_methods_and_other_pools_break_off() {
    let file = file(LARGE);
    let (first, second) = (dying(&file, 100_000), good(&file));
    let replicas = house(&[&first, &second]);
    let mut client = replicas.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    is_broken(&client.answer(), &file);
    let mut client = replicas.client();
    client.send("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    let others = House::new(&[first.address, second.address]);
    is_broken(&others.client().get("/", ""), &file);
    // The second user of the first house is the second server's, which is good.
    is_whole(&client.answer(), &file);
    assert_eq!(second.seen().len(), 1);
}

#[test]
fn nothing_stands_in_for_a_resource_that_is_served_alone() {
    let file = file(LARGE);
    for (path, is_alone) in [
        ("/disks/one.raw?x", true),
        ("/one", true),
        ("/disks/%6fne.raw", true),
        ("/a/../one", true),
        ("//one", true),
        ("/two", false),
        ("/disks/three", false),
    ] {
        let (first, second) = (dying(&file, 100_000), good(&file));
        let house = House::with(&[first.address, second.address], |pool| {
            replica(pool);
            let resource = |name: &str, mode| ResourceConfig {
                name: name.into(),
                file: format!("disks/{name}.raw"),
                mode,
                balance: true,
                server: None,
                digest: None,
            };
            let private = resource("one", Mode::Private);
            pool.replicas.resources = vec![private, resource("two", Mode::Shared)];
        });
        let answer = house.client().get(path, "");
        assert_eq!(answer.complete, !is_alone, "{path}");
        assert_eq!(second.seen().is_empty(), is_alone, "{path}");
    }
}

/// A server that sends as much as is taken of it, and says when that is no more; it then waits.
fn stalling(file: &Arc<Vec<u8>>) -> (Server, Arc<AtomicBool>) {
    let (file, is_stuck) = (Arc::clone(file), Arc::new(AtomicBool::new(false)));
    let says = Arc::clone(&is_stuck);
    let server = Server::answering(move |wire, request| {
        if request.field("range").is_some() {
            return serve(wire, request, &file, usize::MAX);
        }
        wire.send(head("200 OK", file.len(), TAG));
        let stuck_after = Some(Duration::from_millis(300));
        wire.stream.set_write_timeout(stuck_after).unwrap();
        let _ = wire.stream.write_all(&file);
        says.store(true, Ordering::SeqCst);
        wire.message(true).is_some()
    });
    (server, is_stuck)
}

#[test]
fn at_a_deadline_a_download_moves_with_all_that_was_on_its_way() {
    let file = file(48 * 1024 * 1024);
    let (first, is_stuck) = stalling(&file);
    let second = good(&file);
    let mut house = house(&[&first, &second]);
    let mut client = house.client();
    client.send(get("/", ""));
    // Every buffer on the way is full now, the pipe as well, and nobody reads.
    until("nothing is taken any more", || {
        is_stuck.load(Ordering::SeqCst)
    });
    house.stand(0, MAINTENANCE);
    until("the other server is asked", || !second.seen().is_empty());
    is_whole(&client.answer(), &file);
    assert_eq!(house.pool_sum(|slot| &slot.resumed), 1);
    until("the connection there is closed", || {
        house.server_sum(0, |slot| &slot.connections) == 0
    });
}

#[test]
fn at_a_deadline_without_another_server_it_is_cut() {
    let file = file(48 * 1024 * 1024);
    let (first, is_stuck) = stalling(&file);
    let mut house = house(&[&first, &good(&file)]);
    let mut client = house.client();
    client.send(get("/", ""));
    until("nothing is taken any more", || {
        is_stuck.load(Ordering::SeqCst)
    });
    house.stand(1, HELD);
    house.stand(0, MAINTENANCE);
    until("it is counted", || {
        house.pool_sum(|slot| &slot.not_resumed_no_server) == 1
    });
    is_broken(&client.answer(), &file);
}

#[test]
fn who_stands_in_can_be_left_at_its_own_deadline() {
    let file = file(48 * 1024 * 1024);
    let (first, is_stuck) = stalling(&file);
    let (second, third) = (good(&file), good(&file));
    let mut house = house(&[&first, &second, &third]);
    in_this_order(&mut house);
    let mut client = house.client();
    client.send(get("/", ""));
    until("nothing is taken any more", || {
        is_stuck.load(Ordering::SeqCst)
    });
    house.stand(0, MAINTENANCE);
    until("the second server is asked", || !second.seen().is_empty());
    until("it is a session there", || {
        house.live().iter().any(|session| session.server.0 == 1)
    });
    until("it goes on there", || {
        house.pool_sum(|slot| &slot.resumed) == 1
    });
    house.stand(1, MAINTENANCE);
    until("the third server is asked", || !third.seen().is_empty());
    until("and has the session", || {
        house.live().iter().any(|session| session.server.0 == 2)
    });
    is_whole(&client.answer(), &file);
    assert_eq!(house.pool_sum(|slot| &slot.resumed), 2);
}

#[test]
fn a_session_that_is_ended_takes_its_download_along() {
    let file = file(48 * 1024 * 1024);
    let (first, is_stuck) = stalling(&file);
    let second = good(&file);
    let house = house(&[&first, &second]);
    let mut client = house.client();
    client.send(get("/", ""));
    until("nothing is taken any more", || {
        is_stuck.load(Ordering::SeqCst)
    });
    let session = house.live().pop().unwrap();
    house
        .sessions
        .end(&session, EndReason::EndedByOperator, clock());
    is_broken(&client.answer(), &file);
    assert!(second.seen().is_empty());
}

#[test]
fn a_held_server_takes_no_rest_and_a_full_one_neither() {
    let file = file(LARGE);
    let (first, held, full) = (dying(&file, 100_000), good(&file), good(&file));
    let mut house = house(&[&first, &held, &full]);
    house.publish(|_, pool| {
        pool.servers[1].standing = HELD;
        pool.servers[2].max_sessions = Some(0);
    });
    is_broken(&house.client().get("/", ""), &file);
    assert!(held.seen().is_empty() && full.seen().is_empty());
    assert_eq!(house.pool_sum(|slot| &slot.not_resumed_no_server), 1);
}

#[test]
fn many_downloads_at_once_are_each_whole() {
    let file = file(3_000_000);
    let (number, of_first) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&file));
    let first = Server::answering(move |wire, request| {
        let bytes = 100_000 + 37_123 * number.fetch_add(1, Ordering::SeqCst);
        serve(wire, request, &of_first, bytes)
    });
    let second = good(&file);
    let house = house(&[&first, &second]);
    let address = house.listen;
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| is_whole(&Wire::connect(address).get("/", ""), &file));
        }
    });
    assert_eq!(house.pool_sum(|slot| &slot.resumed), 10);
}
