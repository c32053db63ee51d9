//! Health pages: whatever a server says, it is understood in one way, and never too favourably.

use ebbtide_protocol::health::{HealthRule, PageHealth, parse_status_ranges, read_health_page};

/// A page, after two bytes for the status.
pub fn health(input: &[u8]) {
    status_ranges(input);
    let Some((status, page)) = input.split_first_chunk::<2>() else {
        return;
    };
    let status = u16::from_le_bytes(*status);
    let rule = |expect: Option<&str>| HealthRule {
        status: vec![(200, 399)],
        expect: expect.map(str::to_string),
    };
    let speaks = rule(Some("ACTIVE"));
    let health = read_health_page(200, page, &speaks);
    let elsewhere = read_health_page(status, page, &speaks);
    match ((200..=399).contains(&status), &health) {
        (true, _) => assert_eq!(elsewhere, health, "the status is judged only by its range"),
        (false, PageHealth::OnHold | PageHealth::AllInUse) => assert_eq!(elsewhere, health),
        (false, _) => assert!(matches!(elsewhere, PageHealth::Failing(_))),
    }
    // What it quotes has the letters of the page.
    let small = |health: PageHealth| match health {
        PageHealth::Odd { places, why } => PageHealth::Odd {
            places,
            why: why.to_ascii_lowercase(),
        },
        other => other,
    };
    let upper = read_health_page(200, &page.to_ascii_uppercase(), &speaks);
    assert_eq!(small(upper), small(health.clone()), "in capitals");
    // What keeps users away counts, whatever else the page says.
    let after = |words: &str| read_health_page(200, &[words.as_bytes(), page].concat(), &speaks);
    assert_eq!(after("ON HOLD\n"), PageHealth::OnHold);
    let full = match health {
        PageHealth::OnHold => PageHealth::OnHold,
        _ => PageHealth::AllInUse,
    };
    assert_eq!(after("ALL SESSIONS IN USE\n"), full);
    let digits: String = page
        .iter()
        .take(40)
        .map(|byte| char::from(b'0' + byte % 10))
        .collect();
    if !digits.is_empty() && !matches!(health, PageHealth::OnHold | PageHealth::AllInUse) {
        let active = after(&format!("ACTIVE - {digits} Sessions Available\n"));
        match digits.parse().ok() {
            places @ Some(_) => assert_eq!(active, PageHealth::Active { places }),
            None => assert!(
                matches!(active, PageHealth::Odd { places: None, .. }),
                "{digits}"
            ),
        }
    }
    if let PageHealth::Odd { places, why } = &health {
        assert!(places.is_none_or(|places| places == 0) && !why.contains(char::is_control));
    }
    let searched = read_health_page(200, page, &rule(Some("ok")));
    let found = page.windows(2).any(|window| window == b"ok");
    assert_eq!(searched == PageHealth::Active { places: None }, found);
    let unread = read_health_page(200, page, &rule(None));
    assert_eq!(unread, PageHealth::Active { places: None });
}

fn status_ranges(input: &[u8]) {
    let Ok(Ok(ranges)) = std::str::from_utf8(input).map(parse_status_ranges) else {
        return;
    };
    assert!(!ranges.is_empty(), "a rule that nothing can satisfy");
    for (first, last) in &ranges {
        assert!(100 <= *first && first <= last && *last <= 599);
    }
    let texts: Vec<String> = ranges
        .iter()
        .map(|(first, last)| format!("{first}-{last}"))
        .collect();
    assert_eq!(parse_status_ranges(&texts.join(",")), Ok(ranges));
}
