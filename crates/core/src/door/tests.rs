use super::*;
use crate::time::WallTime;

const POOL: PoolKey = PoolKey(1);
const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn at(seconds: i64) -> Now {
    Now {
        moment: Moment(seconds * 1000),
        wall: WallTime(1_000_000),
    }
}

fn keys(number: u64) -> DoorKeys {
    let secret = |byte| DoorSecret([byte; 16]);
    DoorKeys {
        id: DoorId(number),
        entry: secret(0xab),
        cookie: secret(2),
        form: secret(3),
    }
}

fn table() -> (DoorTable, Arc<Door>) {
    let table = DoorTable::default();
    let place = (POOL, ServerKey(2));
    let door = Arc::new(Door::new(
        keys(7),
        place,
        Moment(60_000),
        false,
        "ann".into(),
    ));
    table.open(Arc::clone(&door));
    (table, door)
}

fn refusal(found: Result<Arc<Door>, DoorRefusal>) -> Option<DoorRefusal> {
    found.err()
}

#[test]
fn an_address_opens_its_door_once_and_a_cookie_until_its_end() {
    let (table, door) = table();
    let key = keys(7).entry_text();
    let cookie = door.cookie_text();
    assert_eq!(
        refusal(table.enter(POOL, key.as_bytes(), CLIENT, at(1))),
        None
    );
    let again = table.enter(POOL, key.as_bytes(), CLIENT, at(2));
    assert_eq!(refusal(again), Some(DoorRefusal::Used));
    assert_eq!(
        refusal(table.find(POOL, cookie.as_bytes(), CLIENT, at(59))),
        None
    );
    let late = table.find(POOL, cookie.as_bytes(), CLIENT, at(60));
    assert_eq!(refusal(late), Some(DoorRefusal::Over));
    let told: Vec<_> = table.take_notes().iter().map(|note| note.what).collect();
    assert_eq!(told, ["entered", "refused: the address had been used"]);
}

#[test]
fn other_keys_open_nothing() {
    let (table, door) = table();
    let entry = keys(7).entry_text();
    let cookie = door.cookie_text();
    for wrong in [
        "",
        "7",
        &cookie,
        &entry[..47],
        &entry.to_uppercase(),
        &format!("{entry}0"),
    ] {
        let found = table.enter(POOL, wrong.as_bytes(), CLIENT, at(1));
        assert_eq!(refusal(found), Some(DoorRefusal::Unknown), "{wrong}");
    }
    let found = table.find(POOL, entry.as_bytes(), CLIENT, at(1));
    assert_eq!(refusal(found), Some(DoorRefusal::Unknown));
    let elsewhere = table.enter(PoolKey(9), entry.as_bytes(), CLIENT, at(1));
    assert_eq!(refusal(elsewhere), Some(DoorRefusal::OtherPool));
    assert_eq!(table.take_notes().len(), 1, "each door tells once");
    assert_eq!(
        refusal(table.enter(POOL, entry.as_bytes(), CLIENT, at(1))),
        None
    );
}

#[test]
fn a_closed_door_is_over_and_is_forgotten_in_the_end() {
    let (table, door) = table();
    table.close(DoorId(7));
    let cookie = door.cookie_text();
    let found = table.find(POOL, cookie.as_bytes(), CLIENT, at(1));
    assert_eq!(refusal(found), Some(DoorRefusal::Over));
    assert_eq!(table.list(at(1).moment).len(), 0);
    table.expire(at(60 + 3599));
    assert_eq!(lock(&table.doors).len(), 1);
    table.expire(at(60 + 3600));
    assert_eq!(lock(&table.doors).len(), 0);
}

#[test]
fn time_ends_a_door_and_that_is_told_once() {
    let (table, door) = table();
    table.expire(at(59));
    assert!(door.is_open(at(59).moment));
    table.expire(at(60));
    table.expire(at(61));
    let told: Vec<_> = table.take_notes().iter().map(|note| note.what).collect();
    assert_eq!(told, ["is over: its time was up"]);
}

#[test]
fn the_end_of_a_door_is_told_even_if_nobody_looked_for_hours() {
    let (table, _) = table();
    table.expire(at(24 * 3600));
    let told: Vec<_> = table.take_notes().iter().map(|note| note.what).collect();
    assert_eq!(told, ["is over: its time was up"]);
}

#[test]
fn of_many_who_use_an_address_at_once_one_gets_in() {
    for _ in 0..50 {
        let (table, door) = table();
        let key = keys(7).entry_text();
        let start = std::sync::Barrier::new(8);
        let entered = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8)
                .map(|second| {
                    let (table, key, start) = (&table, key.as_bytes(), &start);
                    scope.spawn(move || {
                        let now = Now {
                            wall: WallTime(second),
                            ..at(1)
                        };
                        start.wait();
                        let entered = table.enter(POOL, key, CLIENT, now);
                        entered.is_ok().then_some(now.wall)
                    })
                })
                .collect();
            let tries = tries.into_iter();
            tries
                .filter_map(|one| one.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert_eq!(entered.len(), 1);
        assert_eq!(door.entered(), Some(entered[0]), "and that is when it was");
    }
}

#[test]
fn doors_that_are_over_do_not_pile_up() {
    let (table, _) = table();
    for number in 0..2000 {
        let id = 100 + number;
        let place = (POOL, ServerKey(2));
        table.open(Arc::new(Door::new(
            keys(id),
            place,
            Moment(90_000),
            false,
            "ann".into(),
        )));
        table.close(DoorId(id));
    }
    assert_eq!(lock(&table.doors).len(), KNOWN_MAX);
    assert!(
        table.get(DoorId(7), at(1).moment).is_some(),
        "the one that is open stays"
    );
}

#[test]
fn secrets_are_never_printed() {
    let (_, door) = table();
    door.give_credentials(Credentials::basic("ann", "hush"));
    let printed = format!("{door:?} {:?}", keys(7));
    assert!(
        !printed.contains("abab") && !printed.contains("Basic"),
        "{printed}"
    );
}

#[test]
fn basic_credentials_are_those_of_the_rfc() {
    let example = Credentials::basic("Aladdin", "open sesame");
    assert_eq!(example.value(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    assert_eq!(
        Credentials::basic("test", "123\u{a3}").value(),
        "Basic dGVzdDoxMjPCow=="
    );
    assert_eq!(base64(b"abc"), "YWJj");
    assert_eq!(base64(b""), "");
}

#[test]
fn numbers_are_read_as_they_are_written() {
    assert_eq!(DoorId::from_text("00000000000000ff"), Some(DoorId(255)));
    for wrong in [
        "ff",
        "00000000000000FF",
        "+0000000000000ff",
        "000000000000000fg",
    ] {
        assert_eq!(DoorId::from_text(wrong), None, "{wrong}");
    }
}

#[test]
fn connections_pass_as_long_as_the_door_is_open() {
    let (table, door) = table();
    let key = keys(7).entry_text();
    let pass = |key: &str, second| {
        table
            .pass(POOL, key.as_bytes(), CLIENT, at(second))
            .map_err(Some)
    };
    let first = pass(&key, 1).unwrap();
    let second = pass(&key, 2).unwrap();
    assert_eq!((first.door().id(), door.connections()), (DoorId(7), 2));
    drop(first);
    assert_eq!(door.connections(), 1);
    for (key, second, refusal) in [
        (key.as_str(), 60, DoorRefusal::Over),
        (&door.cookie_text(), 1, DoorRefusal::Unknown),
        ("", 1, DoorRefusal::Unknown),
    ] {
        assert_eq!(pass(key, second).unwrap_err(), Some(refusal));
    }
    let other = table.pass(PoolKey(9), key.as_bytes(), CLIENT, at(1));
    assert_eq!(other.unwrap_err(), DoorRefusal::OtherPool);
    // Each new address is told of, and of too many only the first.
    for last in 1..=100 {
        let client = IpAddr::from([10, 0, 0, last]);
        table.pass(POOL, key.as_bytes(), client, at(3)).unwrap();
    }
    let notes = table.take_notes();
    let entered = notes.iter().filter(|note| note.what == "entered");
    assert_eq!(entered.count(), ADDRESSES_MAX);
    assert_eq!(door.connections(), 1);
    drop(second);
    table.close(DoorId(7));
    assert_eq!(pass(&key, 4).unwrap_err(), Some(DoorRefusal::Over));
}
