use super::*;
use proptest::prelude::*;

fn read(line: &str) -> AgentLine {
    let read = read_agent_line(format!("{line}\n").as_bytes(), false);
    read.expect("a whole line")
        .unwrap_or_else(|fault| panic!("{line:?}: {}", fault.reason()))
}

fn fault(bytes: &[u8]) -> AgentFault {
    let read = read_agent_line(bytes, true);
    read.expect("no more will come")
        .expect_err("it has no effect")
}

#[test]
fn every_word_is_understood_in_any_order_and_case() {
    let whole = AgentLine {
        wish: Some(AgentWish::Ready),
        health: Some(AgentHealth::Up),
        weight: Some(AgentWeight::Percent(63)),
        connections_max: Some(30),
        remark: Some("processor 37 %, memory 20 %".into()),
        note: None,
    };
    for line in [
        "up ready 63% maxconn:30 #processor 37 %, memory 20 %",
        "MAXCONN:30,63%\tUP,,Ready # processor 37 %, memory 20 %\t",
    ] {
        assert_eq!(read(line), whole, "{line}");
    }
    let wish = |line: &str| read(line).wish;
    assert_eq!(wish("drain"), Some(AgentWish::Drain));
    assert_eq!(wish("maint"), Some(AgentWish::Maintenance));
    let health = |line: &str| read(line).health;
    assert_eq!(health("down"), Some(AgentHealth::Down));
    assert_eq!(health("fail"), Some(AgentHealth::Fail));
    assert_eq!(health("stopped"), Some(AgentHealth::Stopped));
}

#[test]
fn a_weight_is_a_share_or_one_of_its_own() {
    for (line, weight) in [
        ("0%", AgentWeight::Percent(0)),
        ("250%", AgentWeight::Percent(250)),
        ("weight:50%", AgentWeight::Percent(50)),
        ("Weight:7", AgentWeight::Absolute(7)),
        ("1000%", AgentWeight::Percent(1000)),
        ("weight:256", AgentWeight::Absolute(256)),
    ] {
        let said = read(line);
        assert_eq!((said.weight, said.note), (Some(weight), None), "{line}");
    }
}

#[test]
fn a_weight_beyond_all_bounds_counts_as_the_greatest_and_is_noted() {
    for (line, weight, note) in [
        (
            "1001%",
            AgentWeight::Percent(1000),
            "it says 1001 %, which counts as 1000",
        ),
        (
            "weight:99999999999999999999%",
            AgentWeight::Percent(1000),
            "it says 99999999999999999999 %, which counts as 1000",
        ),
        (
            "4294967295%",
            AgentWeight::Percent(1000),
            "it says 4294967295 %, which counts as 1000",
        ),
        (
            "weight:1000000000000000000000000000000",
            AgentWeight::Absolute(256),
            "it says 100000000000000000000000… as a weight, which counts as 256",
        ),
        (
            "up weight:257 now",
            AgentWeight::Absolute(256),
            "it says 257 as a weight, which counts as 256; not understood: \"now\"",
        ),
    ] {
        let said = read(line);
        assert_eq!(said.weight, Some(weight), "{line}");
        assert_eq!(said.note.as_deref(), Some(note), "{line}");
    }
    assert_eq!(read("5000% 50%").note, None, "the last one counts");
}

#[test]
fn a_limit_beyond_all_counts_is_none_and_is_noted() {
    for (line, max, note) in [
        ("maxconn:4294967295", u32::MAX, None),
        (
            "maxconn:4294967296",
            0,
            Some("it says maxconn:4294967296, which is taken for no limit"),
        ),
        (
            "up maxconn:99999999999999999999999999 2000%",
            0,
            Some(
                "it says 2000 %, which counts as 1000; it says maxconn:999999999999999999999999…, \
                 which is taken for no limit",
            ),
        ),
        ("maxconn:4294967296 maxconn:5", 5, None),
    ] {
        let said = read(line);
        assert_eq!(said.connections_max, Some(max), "{line}");
        assert_eq!(said.note.as_deref(), note, "{line}");
    }
}

#[test]
fn what_cannot_be_seen_in_a_word_is_shown_escaped() {
    let note = read("up re\0ady \u{1b}[31mdown\u{7}").note;
    let expected = "not understood: \"re\\0ady \\u{1b}[31mdown\\u{7}\"";
    assert_eq!(note.as_deref(), Some(expected));
    let why = fault(b"\0up\0\n").reason();
    assert_eq!(why, "it says \"\\0up\\0\", which has no word of an agent");
    assert_eq!(fault(b"\0\n"), AgentFault::NotUnderstood("\0".into()));
}

#[test]
fn of_words_that_contradict_each_other_the_last_one_counts() {
    let said = read("up drain 10% maxconn:5 down ready 20% weight:30 maxconn:0");
    let expected = AgentLine {
        wish: Some(AgentWish::Ready),
        health: Some(AgentHealth::Down),
        weight: Some(AgentWeight::Absolute(30)),
        connections_max: Some(0),
        ..AgentLine::default()
    };
    assert_eq!(said, expected);
}

#[test]
fn words_that_are_none_are_passed_over_and_noted() {
    let said = read("hello 5 % % 5%% -5% 5.5% weight: weight:x maxconn:-1 maxconn: updown up");
    assert_eq!(said.health, Some(AgentHealth::Up));
    let others = (said.wish, said.weight, said.connections_max, said.remark);
    assert_eq!(others, (None, None, None, None));
    let note = said.note.unwrap();
    assert!(note.starts_with("not understood: \"hello 5 % %"), "{note}");
}

#[test]
fn the_reason_follows_the_sign_and_every_word_before_it_counts() {
    for (line, health, remark) in [
        ("down # disk broken", AgentHealth::Down, Some("disk broken")),
        (
            "down #up again at noon",
            AgentHealth::Down,
            Some("up again at noon"),
        ),
        ("fail disk broken", AgentHealth::Fail, None),
        ("down by night up by day", AgentHealth::Up, None),
        ("down it says # this", AgentHealth::Down, Some("this")),
        ("down", AgentHealth::Down, None),
        ("down #", AgentHealth::Down, None),
    ] {
        let said = read(line);
        assert_eq!(said.health, Some(health), "{line}");
        assert_eq!(said.remark.as_deref(), remark, "{line}");
    }
    assert_eq!(read("fail drain the disk").wish, Some(AgentWish::Drain));
    let remark = read("down #a\u{7}b\0c").remark;
    assert_eq!(remark.as_deref(), Some("a b c"));
    let long = format!("down #{}", "\u{e4}".repeat(1000));
    assert_eq!(read(&long).remark.unwrap().chars().count(), REMARK_MAX);
}

#[test]
fn only_the_first_line_is_read() {
    for line in ["ready\r\ndrain\r\n", "ready\rdrain", "ready\n\u{0}"] {
        let said = read_agent_line(line.as_bytes(), false).unwrap().unwrap();
        assert_eq!(said.wish, Some(AgentWish::Ready));
    }
}

#[test]
fn what_is_no_line_of_an_agent_has_no_effect() {
    assert_eq!(fault(b""), AgentFault::Silent);
    assert_eq!(fault(b"down"), AgentFault::Unfinished);
    let ssh = fault(b"SSH-2.0-OpenSSH_10.0\r\n");
    assert_eq!(
        ssh,
        AgentFault::NotUnderstood("SSH-2.0-OpenSSH_10.0".into())
    );
    for line in ["# all is well\n", "SSH\n", "\u{ff}\0\n", "5\n"] {
        let said = fault(line.as_bytes()).reason();
        assert!(said.ends_with("which has no word of an agent"), "{said}");
    }
    for line in ["\n", "\r\n", " ,\t\n"] {
        let said = fault(line.as_bytes());
        assert!(
            matches!(said, AgentFault::Empty | AgentFault::NotUnderstood(_)),
            "{said:?}"
        );
    }
    assert_eq!(fault(b"\n"), AgentFault::Empty);
    let megabyte = [b"drain ".repeat(200_000), b"\n".to_vec()].concat();
    assert_eq!(fault(&megabyte), AgentFault::TooLong);
    let just = |spaces: usize| [b"drain".to_vec(), vec![b' '; spaces], b"\n".to_vec()].concat();
    assert_eq!(fault(&just(AGENT_LINE_BYTES_MAX - 5)), AgentFault::TooLong);
    let said = read_agent_line(&just(AGENT_LINE_BYTES_MAX - 6), false);
    assert_eq!(said.unwrap().unwrap().wish, Some(AgentWish::Drain));
}

proptest! {
    #[test]
    fn a_line_is_understood_alike_however_it_is_written(
        wish in prop::sample::select(vec!["ready", "drain", "maint"]),
        health in prop::sample::select(vec!["up", "down", "fail", "stopped"]),
        percent in 0_u32..=AGENT_PERCENT_MAX,
        max in any::<u32>(),
        remark in "[ -~]{0,100}",
        separator in "[ \t,]{1,3}",
        noise in "[g-j]{0,9}",
        order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(),
    ) {
        let words = [
            wish.to_uppercase(), health.to_owned(), format!("{percent}%"), format!("maxconn:{max}"), noise,
        ];
        let words: Vec<&str> = order.iter().map(|index| words[*index].as_str()).collect();
        let said = read(&format!("{}{separator}#{remark}", words.join(&separator)));
        prop_assert_eq!(said.wish, word_of_wish(wish.as_bytes()));
        prop_assert_eq!(said.health, word_of_health(health.as_bytes()));
        prop_assert_eq!(said.weight, Some(AgentWeight::Percent(percent)));
        prop_assert_eq!(said.connections_max, Some(max));
        if !remark.trim().is_empty() {
            prop_assert_eq!(said.remark.as_deref(), Some(remark.trim()));
        }
    }
}
