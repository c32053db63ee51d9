use super::*;

fn rule(expect: Option<&str>) -> HealthRule {
    HealthRule {
        status: vec![(200, 399)],
        expect: expect.map(str::to_string),
    }
}

fn read(body: &[u8]) -> PageHealth {
    read_health_page(200, body, &rule(Some("ACTIVE")))
}

fn active(places: u64) -> PageHealth {
    PageHealth::Active {
        places: Some(places),
    }
}

const NO_NUMBER: PageHealth = PageHealth::Active { places: None };

#[test]
fn the_number_is_found_in_every_spelling() {
    let pages: [&[u8]; 14] = [
        b"ACTIVE - 12 Sessions Available",
        "ACTIVE \u{2013} 12 Sessions Available".as_bytes(),
        "ACTIVE \u{2014} 12 Sessions Available".as_bytes(),
        b"ACTIVE \x96 12 Sessions Available",
        b"ACTIVE &ndash; 12 Sessions Available",
        b"ACTIVE &#8211; 12 Sessions Available",
        b"ACTIVE&nbsp;&#x2013;&nbsp;12&nbsp;Sessions&nbsp;Available",
        b"active-12 sessions available",
        b"Active - 12 session available",
        b"\xef\xbb\xbf  ACTIVE\r\n\t-\r\n\t12\r\n\tSessions   Available\r\n",
        b"<html><head><title>Health</title></head><body><b>ACTIVE</b> - <i>12</i> Sessions Available</body></html>",
        b"<p class=\"a > b\">ACTIVE</p><p>-</p><p>0012</p><p>Sessions</p><p>Available</p>",
        b"<span id=\"lblStatus\">ACTIVE \xe2\x80\x93 12 Sessions Available</span>",
        b"ACTIVE\xa0\x96\xa012 Sessions Available",
    ];
    for page in pages {
        assert_eq!(read(page), active(12), "{}", String::from_utf8_lossy(page));
    }
}

#[test]
fn a_number_that_is_none_leaves_the_server_active() {
    let pages = [
        "ACTIVE",
        "Status: active.",
        "ACTIVE - Sessions Available",
        "ACTIVE - many Sessions Available",
        "ACTIVE 12 Sessions Available",
        "ACTIVE - 12 users since Monday",
        "ACTIVE - ",
    ];
    for page in pages {
        assert_eq!(read(page.as_bytes()), NO_NUMBER, "{page}");
    }
}

#[test]
fn numbers_at_the_edges() {
    assert_eq!(read(b"ACTIVE - 0 Sessions Available"), active(0));
    let largest = b"ACTIVE - 18446744073709551615 Sessions Available";
    assert_eq!(read(largest), active(u64::MAX));
    let absurd = format!("ACTIVE - {} Sessions Available", "9".repeat(5000));
    let why = format!(
        "its page tells of \"{}…\" places, which is too many to be a bound",
        "9".repeat(24)
    );
    let odd = PageHealth::Odd { places: None, why };
    assert_eq!(read(absurd.as_bytes()), odd);
}

#[test]
fn hold_and_full_are_understood_and_win_over_active() {
    for page in ["ON HOLD", "on <b>hold</b>", "ACTIVE? No: ON&nbsp;HOLD"] {
        assert_eq!(read(page.as_bytes()), PageHealth::OnHold, "{page}");
    }
    for page in [
        "ALL SESSIONS IN USE",
        "<h1>All sessions</h1> in use",
        "ACTIVE - ALL SESSIONS IN USE",
    ] {
        assert_eq!(read(page.as_bytes()), PageHealth::AllInUse, "{page}");
    }
}

#[test]
fn parts_of_words_and_hidden_text_do_not_count() {
    let pages = [
        "",
        "INACTIVE",
        "ACTIVEX control missing",
        "<!-- ACTIVE - 5 Sessions Available -->",
        "<script>var states = ['ACTIVE'];</script>",
        "<style>.active { color: green }</style>",
        "<div class=\"ACTIVE\">down</div>",
        "<unclosed ACTIVE",
        "upon holding",
    ];
    for page in pages {
        let health = read(page.as_bytes());
        assert!(
            matches!(health, PageHealth::Failing(_)),
            "{page}: {health:?}"
        );
    }
    let page = b"<script>if (s == 'ON HOLD') {}</script>ACTIVE - 3 Sessions Available";
    assert_eq!(read(page), active(3));
}

#[test]
fn the_status_comes_first() {
    let page = b"ACTIVE - 12 Sessions Available";
    for status in [100, 199, 400, 503] {
        let health = read_health_page(status, page, &rule(Some("active")));
        let why = format!("it answered {status}; 200-399 was expected");
        assert_eq!(health, PageHealth::Failing(why));
    }
    for status in [200, 302, 399] {
        let health = read_health_page(status, page, &rule(Some("active")));
        assert_eq!(health, active(12));
    }
}

#[test]
fn hold_and_full_count_whatever_the_status_is() {
    for status in [200, 302, 404, 500, 503] {
        let read = |page: &[u8]| read_health_page(status, page, &rule(Some("ACTIVE")));
        assert_eq!(read(b"ON HOLD"), PageHealth::OnHold, "{status}");
        let full = read(b"<b>ALL SESSIONS IN USE</b>");
        assert_eq!(full, PageHealth::AllInUse, "{status}");
    }
}

#[test]
fn without_an_expected_text_the_status_is_all() {
    assert_eq!(read_health_page(204, b"ON HOLD", &rule(None)), NO_NUMBER);
    let why = "it answered 503; 200-399 was expected".to_string();
    for other in [None, Some("ON HOLD")] {
        let health = read_health_page(503, b"ON HOLD", &rule(other));
        assert_eq!(health, PageHealth::Failing(why.clone()), "{other:?}");
    }
}

#[test]
fn any_other_expected_text_is_searched_as_it_is() {
    let rule = rule(Some("pong <ok>"));
    let found = read_health_page(200, b"ping pong <ok> ON HOLD", &rule);
    assert_eq!(found, NO_NUMBER);
    let missing = read_health_page(200, b"PONG <OK>", &rule);
    let why = "its page does not say \"pong <ok>\"".to_string();
    assert_eq!(missing, PageHealth::Failing(why));
}

#[test]
fn status_ranges_are_read() {
    assert_eq!(parse_status_ranges("200"), Ok(vec![(200, 200)]));
    let several = parse_status_ranges("200-399, 401 ,500 - 503");
    assert_eq!(several, Ok(vec![(200, 399), (401, 401), (500, 503)]));
}

#[test]
fn wrong_status_ranges_are_explained() {
    for (text, why) in [
        ("", "\"\" is not an HTTP status (100 to 599)"),
        ("200,", "\"\" is not an HTTP status (100 to 599)"),
        ("2xx", "\"2xx\" is not an HTTP status (100 to 599)"),
        ("+20", "\"+20\" is not an HTTP status (100 to 599)"),
        ("0200", "\"0200\" is not an HTTP status (100 to 599)"),
        ("600", "\"600\" is not an HTTP status (100 to 599)"),
        ("399-200", "the range 399-200 is the wrong way round"),
        (
            "200-299-399",
            "\"299-399\" is not an HTTP status (100 to 599)",
        ),
    ] {
        assert_eq!(parse_status_ranges(text), Err(why.to_string()));
    }
}

#[test]
fn the_number_may_stand_alone_but_is_not_taken_for_another_kind_of_number() {
    let rule = HealthRule {
        status: vec![(200, 200)],
        expect: Some("ACTIVE".into()),
    };
    let places_of = |page: &str| read_health_page(200, page.as_bytes(), &rule);
    for (page, places) in [
        ("ACTIVE - 9", Some(9)),
        ("ACTIVE-9", Some(9)),
        ("ACTIVE \u{2014} 6 free", Some(6)),
        ("ACTIVE &ndash; 5<br>", Some(5)),
        ("ACTIVE - - Sessions Available", None),
        (
            "ACTIVE - 1000000000000000000",
            Some(1_000_000_000_000_000_000),
        ),
        ("ACTIVE - 2026-11-22", None),
        ("ACTIVE - 12:30", None),
        ("ACTIVE - 1,200 Sessions Available", Some(1_200)),
        ("ACTIVE - 12.345.678 Sessions Available", Some(12_345_678)),
    ] {
        assert_eq!(places_of(page), PageHealth::Active { places }, "{page}");
    }
    assert!(matches!(places_of("NOT ACTIVE"), PageHealth::Failing(_)));
}

#[test]
fn a_number_that_makes_no_sense_is_told() {
    let rule = HealthRule {
        status: vec![(200, 200)],
        expect: Some("ACTIVE".into()),
    };
    let none = (Some(0), "which is taken for none");
    let part = (None, "which is no whole number and sets no bound");
    let other = (None, "which is no number and sets no bound");
    let many = (None, "which is too many to be a bound");
    for (page, said, (places, taken_for)) in [
        ("ACTIVE - -5 Sessions Available", "-5", none),
        ("ACTIVE - -1,200 Sessions Available", "-1,200", none),
        ("ACTIVE - 3.5 Sessions Available", "3.5", part),
        ("ACTIVE - 3,50", "3,50", part),
        ("ACTIVE - 1,200.5 free", "1,200.5", part),
        ("ACTIVE - 1234,567 free", "1234,567", part),
        ("ACTIVE - 1 200 Sessions Available", "1 200", other),
        ("ACTIVE -- 5 Sessions Available", "- 5", other),
        ("ACTIVE - 1 of 5 Sessions Available", "1 of 5", other),
        ("ACTIVE - 1\x1b2 Sessions Available", "1\\u{1b}2", other),
        ("ACTIVE - 1'200 Sessions Available", "1'200", other),
        ("ACTIVE - 1\u{2019}200 Sessions", "1\u{2019}200", other),
        ("ACTIVE - 1\u{202f}200 Sessions", "1 200", other),
        ("ACTIVE - 1<b>\r\n\t200</b> free", "1 200", other),
        ("ACTIVE - 1K free", "1K", other),
        (
            "ACTIVE - 18446744073709551616 free",
            "18446744073709551616",
            many,
        ),
    ] {
        let why = format!("its page tells of \"{said}\" places, {taken_for}");
        let health = read_health_page(200, page.as_bytes(), &rule);
        assert_eq!(health, PageHealth::Odd { places, why }, "{page}");
    }
    let negative = format!("ACTIVE - -{} Sessions Available", "5".repeat(5000));
    match read_health_page(200, negative.as_bytes(), &rule) {
        PageHealth::Odd { places, why } => assert!(places == Some(0) && why.len() < 200),
        other => panic!("{other:?}"),
    }
}
