use super::*;
use ebbtide_core::{LoadMeasure, Millis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const NODE: &str = "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 900\n\
    node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 100\n\
    node_load1 0.5\nnode_pressure_cpu_waiting_seconds_total 10\n\
    node_memory_MemAvailable_bytes 7e9\nnode_memory_MemTotal_bytes 1e10\n";

/// What windows_exporter says, in its new names and in its old ones.
const WINDOWS: [&str; 2] = [
    include_str!("../../../../protocol/tests/pages/windows_exporter.txt"),
    include_str!("../../../../protocol/tests/pages/windows_exporter_old.txt"),
];

fn settings(by: LoadMeasure) -> LoadSettings {
    LoadSettings {
        exporter: String::new(),
        by,
        sessions_max: None,
        every: Millis(5_000),
        timeout: Millis(10_000),
    }
}

/// Answers one connection after the other, each in turn with one of these, and then hangs up.
async fn web(answers: Vec<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exporter = format!("http://{}/metrics", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            // Whoever has read enough hangs up.
            drop(stream.write_all(&answer).await);
        }
    });
    exporter
}

fn page(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n{body}").into_bytes()
}

/// What is read of one page after the other.
async fn read(by: LoadMeasure, pages: &[&str]) -> Vec<Result<Option<u32>, String>> {
    read_by(settings(by), pages).await
}

async fn read_by(settings: LoadSettings, pages: &[&str]) -> Vec<Result<Option<u32>, String>> {
    let exporter = web(pages.iter().map(|body| page(body)).collect()).await;
    let mut meter = Meter::new(settings.clone());
    let mut loads = Vec::new();
    for _ in pages {
        let read = look(&exporter, &settings, &mut meter).await;
        loads.push(read.map(|load| load.map(Load::percent)));
    }
    loads
}

fn later(idle: u32, user: u32) -> String {
    NODE.replace("900", &idle.to_string())
        .replace("} 100", &format!("}} {user}"))
}

#[tokio::test]
async fn the_load_is_the_greater_of_processors_and_memory() {
    let (busy, idle) = (later(920, 180), later(980, 200));
    let greatest = read(LoadMeasure::Greatest, &[NODE, &busy, &idle]).await;
    assert_eq!(greatest, [Ok(None), Ok(Some(80)), Ok(Some(30))]);
    let cpu = read(LoadMeasure::Cpu, &[NODE, &busy, &idle]).await;
    assert_eq!(cpu, [Ok(None), Ok(Some(80)), Ok(Some(25))]);
    assert_eq!(read(LoadMeasure::Memory, &[NODE]).await, [Ok(Some(30))]);
    assert_eq!(read(LoadMeasure::RunQueue, &[NODE]).await, [Ok(Some(50))]);
    let waits = NODE.replace("seconds_total 10", "seconds_total 1000000");
    let pressure = read(LoadMeasure::Pressure, &[NODE, &waits]).await;
    assert_eq!(pressure, [Ok(None), Ok(Some(100))]);
}

#[tokio::test]
async fn counters_that_begin_anew_or_stand_still_say_nothing() {
    let pages = [NODE, &later(10, 5), &later(10, 5), &later(19, 6)];
    let loads = read(LoadMeasure::Cpu, &pages).await;
    // A page that was made for somebody before is passed over.
    assert_eq!(loads, [Ok(None), Ok(None), Ok(None), Ok(Some(10))]);
    let two = format!("{NODE}node_cpu_seconds_total{{cpu=\"1\",mode=\"idle\"}} 5000\n");
    let loads = read(LoadMeasure::Cpu, &[NODE, &two]).await;
    assert_eq!(loads, [Ok(None), Ok(None)], "a processor more");
}

#[tokio::test]
async fn sessions_of_terminal_services_count_alone_and_beside_the_machine() {
    let by = |by, sessions_max| LoadSettings {
        sessions_max: Some(sessions_max),
        ..settings(by)
    };
    for (windows, of_eight) in WINDOWS.into_iter().zip([25, 63]) {
        let alone = read_by(by(LoadMeasure::Sessions, 8), &[windows]).await;
        assert_eq!(alone, [Ok(Some(of_eight))]);
        // Half of the time between the two pages was idle, and memory is 25 or 75 % in use.
        let later = windows.replace("} 700", "} 750").replace("} 200", "} 250");
        let with_cpu = read_by(by(LoadMeasure::Cpu, 8), &[windows, &later]).await;
        assert_eq!(with_cpu, [Ok(None), Ok(Some(of_eight.max(50)))]);
        let many = read_by(by(LoadMeasure::Greatest, 1_000), &[windows, &later]).await;
        let memory = if of_eight == 25 { 25 } else { 75 };
        assert_eq!(many, [Ok(None), Ok(Some(memory.max(50)))]);
        let few = read_by(by(LoadMeasure::Memory, 1), &[windows]).await;
        assert_eq!(few, [Ok(Some(100))]);
    }
    let lacks = read_by(by(LoadMeasure::Memory, 8), &[NODE]).await;
    let error = lacks[0].as_ref().unwrap_err();
    assert!(error.contains("nothing of users' sessions"), "{error}");
    let spoilt = WINDOWS[1].replace("\"total\"} 5", "\"total\"} NaN");
    let spoilt = read_by(by(LoadMeasure::Sessions, 8), &[&spoilt]).await;
    let why = "its page has windows_terminal_services_local_session_count that is NaN, infinite or negative";
    assert_eq!(spoilt, [Err(why.to_owned())]);
}

#[test]
fn a_server_with_max_sessions_is_compared_with_those() {
    let mut all = settings(LoadMeasure::Sessions);
    let of = |all: &LoadSettings, max| all.of_server(max).sessions_max;
    assert_eq!((of(&all, Some(9)), of(&all, None)), (None, None));
    all.sessions_max = Some(40);
    assert_eq!((of(&all, Some(9)), of(&all, None)), (Some(9), Some(40)));
}

#[test]
fn counters_that_stand_still_for_long_are_no_metrics() {
    let figures = |page: &str| {
        let mut reader = ExporterReader::new(None);
        reader.feed(page.as_bytes());
        reader.finish().unwrap()
    };
    let mut meter = Meter::new(settings(LoadMeasure::Cpu));
    let start = Instant::now();
    let mut load = |page: &str, after_s: u64| {
        let load = meter.load(&figures(page), start + Duration::from_secs(after_s));
        load.map(|load| load.map(Load::percent))
    };
    let busy = later(920, 180);
    assert_eq!((load(NODE, 0), load(&busy, 5)), (Ok(None), Ok(Some(80))));
    assert_eq!((load(&busy, 6), load(&busy, 19)), (Ok(None), Ok(None)));
    let why = "the counters of processor time on its page have not moved for 15s";
    assert_eq!(load(&busy, 20), Err(why.to_owned()));
    assert_eq!(load(&later(930, 190), 25), Ok(Some(50)));
}

#[tokio::test]
async fn a_counter_that_is_no_number_for_once_is_no_low_load() {
    let (busy, idle) = (later(920, 180), later(980, 200));
    let spoilt = busy.replace("} 180", "} NaN");
    let loads = read(LoadMeasure::Cpu, &[NODE, &spoilt, &busy, &idle]).await;
    let why = "its page has node_cpu_seconds_total that is NaN, infinite or negative";
    let expected = [Ok(None), Err(why.to_owned()), Ok(Some(80)), Ok(Some(25))];
    assert_eq!(loads, expected);
}

#[tokio::test]
async fn any_metric_is_a_load_between_two_values() {
    let by = |metric: &str, min, max| LoadMeasure::Value {
        metric: metric.into(),
        min,
        max,
    };
    let jobs = "jobs{state=\"run\"} 3 1\njobs{state=\"run\",q=\"b\"} 4.5\njobs{state=\"no\"} 9\n";
    for (min, max, expected) in [(0, 10_000, 75), (5_000, 10_000, 50), (8_000, 9_000, 0)] {
        let by = by("jobs{state=\"run\"}", min, max);
        assert_eq!(read(by, &[jobs]).await, [Ok(Some(expected))]);
    }
    let error = read(by("jobs", 0, 1000), &["jobs NaN\nother 1\n"]).await;
    let expected = "its page has jobs that is NaN or infinite".to_owned();
    assert_eq!(error, [Err(expected)]);
    let error = read(by("jobs", 0, 1000), &[NODE]).await;
    assert_eq!(error, [Err("its page has no number for jobs".to_owned())]);
    // Also where nothing on the page is known, and where it may be in a line that is not read.
    let long = format!("jobs{{user=\"{}\"}} 1\n", "x".repeat(3_000_000));
    for (others, expected) in [
        (String::new(), "its page has no number for jobs"),
        (
            long.clone(),
            "its page has no number for jobs; lines of it that were too long to be read, of more than 16 KiB: 1",
        ),
    ] {
        let error = read(by("jobs", 0, 1000), &[&format!("other 1\n{others}")]).await;
        assert_eq!(error, [Err(expected.to_owned())]);
    }
    let error = read(by("jobs", 0, 1000), &[&long]).await;
    let why = error[0].as_ref().unwrap_err();
    assert!(
        why.starts_with("its page has lines of more than 16 KiB"),
        "{why}"
    );
}

#[tokio::test]
async fn what_is_no_page_of_an_exporter_says_why() {
    let node = |from: &str, to: &str| page(&NODE.replace(from, to));
    let cases = [
        (
            page("<html><body>It works!</body></html>"),
            "its page has no metrics",
        ),
        (
            page("go_goroutines 7\n"),
            "its metrics do not tell what is looked for",
        ),
        (node("node_cpu", "no_cpu"), "tells no processor time"),
        (
            node("} 900", "} NaN"),
            "node_cpu_seconds_total that is NaN, infinite or negative",
        ),
        (
            node("} 100", "} NaN"),
            "node_cpu_seconds_total that is NaN, infinite or negative",
        ),
        (
            node("MemTotal_bytes 1e10", "MemTotal_bytes -5"),
            "node_memory_MemTotal_bytes that is NaN, infinite or negative",
        ),
        (
            node("MemTotal_bytes 1e10", "MemTotal_bytes 0"),
            "how much memory",
        ),
        (b"HTTP/1.1 503 Busy\r\n\r\n".to_vec(), "it is answered 503"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\na 1\n".to_vec(),
            "broke off",
        ),
        (b"nonsense\r\n\r\n".to_vec(), "no sound answer"),
    ];
    for (answer, expected) in cases {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let exporter = web(vec![answer]).await;
        let mut meter = Meter::new(settings(LoadMeasure::Greatest));
        let read = look(&exporter, &settings(LoadMeasure::Greatest), &mut meter).await;
        let error = read.expect_err(&shown);
        assert!(error.contains(expected), "{error} of {shown}");
    }
}

#[tokio::test]
async fn a_page_without_end_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exporter = format!("http://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let piece = "some_metric{a=\"b\"} 1\n".repeat(10_000);
        let mut sent = 0;
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        while sent < 100_000_000 && stream.write_all(piece.as_bytes()).await.is_ok() {
            sent += piece.len();
        }
        sent
    });
    let settings = LoadSettings {
        timeout: Millis(60_000),
        ..settings(LoadMeasure::Cpu)
    };
    let mut meter = Meter::new(settings.clone());
    let error = look(&exporter, &settings, &mut meter).await.unwrap_err();
    assert!(error.contains("longer than 8 MiB"), "{error}");
    assert!(serving.await.unwrap() < 50_000_000, "it hung up");
}

#[tokio::test(start_paused = true)]
async fn an_exporter_that_hangs_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let exporter = format!("http://{}/", listener.local_addr().unwrap());
    let mut meter = Meter::new(settings(LoadMeasure::Cpu));
    let error = look(&exporter, &settings(LoadMeasure::Cpu), &mut meter).await;
    assert_eq!(error, Err("no whole page within 10s".to_owned()));
}

#[tokio::test]
async fn nobody_there_is_told_in_words() {
    let exporter = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let mut meter = Meter::new(settings(LoadMeasure::Cpu));
    let error = look(&exporter, &settings(LoadMeasure::Cpu), &mut meter).await;
    assert_eq!(error, Err("connection refused".to_owned()));
}
