use super::*;
use proptest::prelude::*;

/// Every sample of a page that comes in pieces of so many bytes: name, labels as written, value.
fn read(page: &[u8], piece: usize) -> (Vec<(String, String, f64)>, PageSummary) {
    let mut reader = PageReader::default();
    let samples = std::cell::RefCell::new(Vec::new());
    let each = |sample: Sample<'_>| {
        let Sample {
            name,
            labels,
            value,
        } = sample;
        samples
            .borrow_mut()
            .push((name.to_owned(), labels.to_owned(), value));
    };
    for piece in page.chunks(piece.max(1)) {
        reader.feed(piece, |_| true, each);
    }
    let summary = reader.finish(|_| true, each);
    (samples.into_inner(), summary)
}

fn one(line: &str) -> Option<(String, String, f64)> {
    let (mut samples, summary) = read(line.as_bytes(), line.len());
    assert_eq!(summary.samples as usize, samples.len());
    samples.pop()
}

#[test]
fn a_page_of_an_exporter_is_read_whatever_pieces_it_comes_in() {
    let page = b"# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\nnode_load1 0.21\n\
        node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 362812.79\r\n\n\
        \thttp_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n\
        msdos{path=\"C:\\\\DIR\\\\\",error=\"Cannot find file:\\n\\\"FILE\\\"\"} 1.458255915e9\n\
        something_weird{problem=\"division by zero\"} +Inf -3982045\n\
        bucket{le=\"0.5\",} 8 # {trace_id=\"a\"} 0.4\nlast{} 7";
    let whole = read(page, page.len());
    assert_eq!(
        whole.1,
        PageSummary {
            samples: 7,
            malformed: 0,
            too_long: 0
        }
    );
    for piece in [1, 2, 7, 64] {
        assert_eq!(read(page, piece), whole, "in pieces of {piece}");
    }
    let values: Vec<f64> = whole.0.iter().map(|sample| sample.2).collect();
    assert_eq!(values[..3], [0.21, 362_812.79, 1027.0]);
    assert_eq!(values[4], f64::INFINITY);
}

#[test]
fn labels_are_found_without_their_escapes() {
    let line = "m{path=\"C:\\\\DIR\",error=\"no \\\"}\\n\" , odd=\"\\x\"} 1";
    let sample = Sample::parse(line).unwrap();
    assert_eq!(sample.label("path").as_deref(), Some("C:\\DIR"));
    assert_eq!(sample.label("error").as_deref(), Some("no \"}\n"));
    assert_eq!(sample.label("odd").as_deref(), Some("\\x"));
    assert_eq!(sample.label("none"), None);
}

#[test]
fn what_is_no_sample_is_counted_and_passed_over() {
    for line in [
        "metric",
        "metric ",
        "metric{a=\"1\"}",
        "metric{a=\"1\" b=\"2\"} 1",
        "metric{a=\"1} 1",
        "metric{a=1} 1",
        "metric{a} 1",
        "metric one",
        "metric 1 then",
        "metric 1 2 3",
        "1metric 1",
        "<html><body>404</body></html>",
        "{a=\"1\"} 1",
        "\u{fffd}metric 1",
    ] {
        assert_eq!(one(line), None, "{line:?}");
        assert_eq!(read(line.as_bytes(), 3).1.malformed, 1, "{line:?}");
    }
    assert_eq!(read(b"\xff\xfe 1\ngood 2\n", 4).1.samples, 1);
    for value in ["NaN", "-Inf", "1e400", "-0", "0x", ""] {
        let _ = one(&format!("metric {value}"));
    }
    assert!(one("metric NaN").unwrap().2.is_nan());
    assert_eq!(one("metric -Inf").unwrap().2, f64::NEG_INFINITY);
}

#[test]
fn a_line_that_is_too_long_costs_nothing_but_itself() {
    let mut page = b"before 1\nlong{a=\"".to_vec();
    page.extend(vec![b'x'; 3 * LINE_BYTES_MAX]);
    page.extend(b"\"} 1\nafter 2\n# HELP ");
    page.extend(vec![b'x'; 3 * LINE_BYTES_MAX]);
    page.push(b'\n');
    for piece in [1000, page.len()] {
        let (samples, summary) = read(&page, piece);
        assert_eq!(samples.len(), 2, "in pieces of {piece}");
        let PageSummary {
            samples,
            malformed,
            too_long,
        } = summary;
        assert_eq!((samples, malformed, too_long), (2, 0, 2));
    }
    let mut reader = PageReader::default();
    for _ in 0..1000 {
        reader.feed(&[b'x'; 1000], |_| true, |_| panic!("no sample"));
    }
    assert!(
        reader.line.capacity() <= 2 * LINE_BYTES_MAX,
        "it is bounded"
    );
}

#[test]
fn a_selector_takes_samples_of_its_metric_with_its_labels() {
    let selector = Selector::parse(" sessions { state = \"active\" , host=\"a\\\"b\" } ").unwrap();
    assert_eq!(
        selector.to_string(),
        "sessions{state=\"active\",host=\"a\\\"b\"}"
    );
    let takes = |line: &str| selector.selects(&Sample::parse(line).unwrap());
    assert!(takes(
        "sessions{host=\"a\\\"b\",user=\"u\",state=\"active\"} 3"
    ));
    assert!(!takes("sessions{host=\"a\\\"b\",state=\"idle\"} 3"));
    assert!(!takes("sessions{state=\"active\"} 3"));
    assert!(!takes("sessions_total{host=\"a\\\"b\",state=\"active\"} 3"));
    assert!(
        Selector::parse("sessions")
            .unwrap()
            .selects(&Sample::parse("sessions 3").unwrap())
    );
    for (text, fault) in [
        ("", SelectorFault::NoName),
        ("{a=\"1\"}", SelectorFault::NoName),
        ("9a", SelectorFault::NoName),
        ("a b", SelectorFault::Labels),
        ("a{b=\"1\"", SelectorFault::Labels),
        ("a{b!=\"1\"}", SelectorFault::Labels),
        ("a{b=\"1\"}}", SelectorFault::Labels),
    ] {
        assert_eq!(Selector::parse(text), Err(fault), "{text:?}");
    }
}

proptest! {
    #[test]
    fn pieces_do_not_matter_and_nothing_panics(
        page in "([a-z_]{0,4}(\\{[a-z]{0,2}=?\"?[^\n]{0,6}\"?\\})? ?[0-9.eNa+-]{0,5}[\n\r# ]{0,2}){0,12}",
        piece in 1_usize..40,
    ) {
        let whole = read(page.as_bytes(), page.len());
        let pieces = read(page.as_bytes(), piece);
        prop_assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
    }

    #[test]
    fn what_a_selector_says_selects_the_same(name in "[a-z_:][a-z0-9_:]{0,8}", value in "[^\u{0}]{0,8}") {
        let text = format!("{name}{{l=\"{}\"}}", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
        let selector = Selector::parse(&text).unwrap();
        prop_assert_eq!(&Selector::parse(&selector.to_string()).unwrap(), &selector);
        let line = format!("{text} 1");
        if !line.contains('\r') {
            prop_assert!(selector.selects(&Sample::parse(&line).unwrap()));
        }
    }
}

#[test]
fn of_what_is_not_wanted_only_the_first_is_read() {
    let mut reader = PageReader::default();
    let mut seen = Vec::new();
    let page = b"a 1\nb{c=\"d\"} 2\nwanted{c=\"d\"} 3\nb{broken 4\n< 5\n";
    let wants = |name: &str| name == "wanted";
    reader.feed(page, wants, |sample| seen.push(sample.value));
    let summary = reader.finish(wants, |_| panic!("nothing is left"));
    assert_eq!(seen, [1.0, 3.0]);
    assert_eq!((summary.samples, summary.malformed), (4, 1));
}
