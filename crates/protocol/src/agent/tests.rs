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
        ("99999999999999999999%", AgentWeight::Percent(u32::MAX)),
    ] {
        assert_eq!(read(line).weight, Some(weight), "{line}");
    }
}

#[test]
fn of_words_that_contradict_each_other_the_last_one_counts() {
    let said = read("up drain 10% maxconn:5 down ready 20% weight:30 maxconn:0");
    let expected = AgentLine {
        wish: Some(AgentWish::Ready),
        health: Some(AgentHealth::Down),
        weight: Some(AgentWeight::Absolute(30)),
        connections_max: Some(0),
        remark: None,
    };
    assert_eq!(said, expected);
}

#[test]
fn words_that_are_none_are_passed_over() {
    let said = read("hello 5 % % 5%% -5% 5.5% weight: weight:x maxconn:-1 maxconn: updown up");
    let expected = AgentLine {
        health: Some(AgentHealth::Up),
        ..AgentLine::default()
    };
    assert_eq!(said, expected);
    for line in ["", " ,\t", "# all is well"] {
        assert_eq!((read(line).health, read(line).wish), (None, None), "{line}");
    }
}

#[test]
fn the_reason_follows_the_sign_or_the_word() {
    for (line, remark) in [
        ("down # disk broken", Some("disk broken")),
        ("fail disk broken", Some("disk broken")),
        ("odd stopped for the night", Some("for the night")),
        ("down by night up by day", None),
        ("up by day down by night", Some("by night")),
        ("down it says # this", Some("this")),
        ("drain please", None),
        ("down", None),
    ] {
        assert_eq!(read(line).remark.as_deref(), remark, "{line}");
    }
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
    let binary = fault(b"\xff\xfe\x00\x01\n").reason();
    assert!(binary.ends_with("which is no word of an agent"), "{binary}");
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
        percent in 0_u32..100_000,
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
