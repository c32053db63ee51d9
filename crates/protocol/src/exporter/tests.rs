use super::*;

fn read(page: &str) -> Result<Figures, ExporterFault> {
    read_for(page, None)
}

fn read_for(page: &str, selector: Option<&str>) -> Result<Figures, ExporterFault> {
    let selector = selector.map(|text| Selector::parse(text).unwrap());
    let mut reader = ExporterReader::new(selector);
    for piece in page.as_bytes().chunks(7) {
        reader.feed(piece);
    }
    reader.finish()
}

/// Names and labels as node_exporter 1.x writes them.
const NODE: &str = r#"# TYPE node_cpu_guest_seconds_total counter
node_cpu_guest_seconds_total{cpu="0",mode="user"} 500
node_cpu_seconds_total{cpu="0",mode="idle"} 900
node_cpu_seconds_total{cpu="0",mode="iowait"} 10
node_cpu_seconds_total{cpu="0",mode="system"} 40
node_cpu_seconds_total{cpu="0",mode="user"} 50
node_cpu_seconds_total{cpu="1",mode="idle"} 800
node_cpu_seconds_total{cpu="1",mode="user"} 200
node_load1 1.5
node_memory_MemAvailable_bytes 3e+09
node_memory_MemTotal_bytes 4e+09
node_pressure_cpu_waiting_seconds_total 12.5
"#;

#[test]
fn a_linux_machine_is_understood() {
    assert_eq!(
        read(NODE),
        Ok(Figures {
            cpu: Some(CpuTime {
                idle_s: 1710.0,
                all_s: 2000.0
            }),
            processors: Some(2),
            memory: Some(Memory {
                available: 3e9,
                total: 4e9
            }),
            run_queue: Some(1.5),
            cpu_waiting_s: Some(12.5),
            sessions: None,
            value: None,
            unusable: BTreeSet::new(),
            too_long: 0,
        })
    );
}

/// Names and labels as windows_exporter documents them: memory and sessions by their new names.
const WINDOWS: &str = include_str!("../../tests/pages/windows_exporter.txt");
/// The same of old versions: counted sessions, `os` and `cs` in place of `memory` and `cpu_info`.
const WINDOWS_OLD: &str = include_str!("../../tests/pages/windows_exporter_old.txt");

#[test]
fn a_windows_machine_is_understood_by_new_names_and_by_old_ones() {
    let new = read(WINDOWS).unwrap();
    let cpu = CpuTime {
        idle_s: 700.0,
        all_s: 1000.0,
    };
    let memory = Memory {
        available: 6e9,
        total: 8e9,
    };
    assert_eq!((new.cpu, new.memory), (Some(cpu), Some(memory)));
    assert_eq!((new.run_queue, new.sessions), (Some(3.0), Some(2)));
    assert_eq!(new.processors, Some(1), "those whose time is told");
    let old = read(WINDOWS_OLD).unwrap();
    assert_eq!(old.memory.map(|memory| memory.available), Some(2e9));
    assert_eq!((old.processors, old.sessions), (Some(1), Some(5)));
    let told = "windows_cs_logical_processors 4\nwindows_os_users 9\n";
    let told = read(told).unwrap();
    assert_eq!((told.processors, told.sessions), (Some(4), Some(9)));
    let both = read(&format!("{WINDOWS}{WINDOWS_OLD}")).unwrap();
    assert_eq!(both.sessions, Some(2), "those that are listed, once");
}

#[test]
fn one_metric_of_any_exporter_is_summed_up() {
    let page = "jobs{queue=\"a\",state=\"run\"} 3\njobs{queue=\"b\",state=\"run\"} -1\n\
        jobs{queue=\"c\",state=\"wait\"} NaN\njobs{queue=\"b\",state=\"wait\"} 40\n";
    let run = read_for(page, Some("jobs{state=\"run\"}")).unwrap();
    assert_eq!((run.value, run.unusable), (Some(2.0), BTreeSet::new()));
    let wait = read_for(page, Some("jobs{ state=\"wait\" }")).unwrap();
    let unusable = BTreeSet::from(["jobs{state=\"wait\"}".to_owned()]);
    assert_eq!((wait.value, wait.unusable), (None, unusable));
    let none = read_for(page, Some("jobs{state=\"none\"}"));
    assert_eq!(
        none,
        Ok(Figures::default()),
        "who asked names what is missing"
    );
}

#[test]
fn lines_that_are_too_long_are_told() {
    let long = format!("jobs{{a=\"{}\"}} 1\n", "x".repeat(3_000_000));
    for selector in [None, Some("jobs")] {
        assert_eq!(read_for(&long, selector), Err(ExporterFault::TooLong));
    }
    let why = ExporterFault::TooLong.reason();
    assert!(why.contains("lines of more than 16 KiB"), "{why}");
    let others = format!("{long}others 1\n");
    assert_eq!(read(&others), Err(ExporterFault::TooLong));
    let asked = read_for(&others, Some("jobs")).unwrap();
    assert_eq!((asked.value, asked.too_long), (None, 1));
    let node = read(&format!("{NODE}{long}")).unwrap();
    assert!(node.cpu.is_some() && node.too_long == 1);
}

#[test]
fn what_is_no_figure_is_told_and_nothing_is_made_of_the_rest() {
    for (from, what) in [
        ("mode=\"user\"} 200", "mode=\"user\"} NaN"),
        ("mode=\"idle\"} 900", "mode=\"idle\"} -5"),
        ("mode=\"iowait\"} 10", "mode=\"iowait\"} +Inf"),
    ] {
        let page = NODE.replace(from, what);
        let figures = read(&page).unwrap();
        assert_eq!(figures.cpu, None, "{what}");
        let unusable = BTreeSet::from(["node_cpu_seconds_total".to_owned()]);
        assert_eq!(figures.unusable, unusable, "{what}");
        assert!(figures.memory.is_some() && figures.run_queue.is_some());
    }
    let page = NODE
        .replace("MemTotal_bytes 4e+09", "MemTotal_bytes 0")
        .replace(
            "node_load1 1.5",
            "node_load1 1\nnode_load1 -3\nnode_load1 1",
        )
        .replace("mode=\"user\"} 500", "mode=\"user\"} NaN");
    let figures = read(&page).unwrap();
    assert_eq!((figures.memory, figures.run_queue), (None, None));
    assert!(
        figures.cpu.is_some(),
        "what is not looked at does not matter"
    );
    assert_eq!(figures.unusable, BTreeSet::from(["node_load1".to_owned()]));
    let page = WINDOWS.replace("user=\"A\\\\b\"} 1", "user=\"A\\\\b\"} NaN");
    assert_ne!(page, WINDOWS);
    assert_eq!(read(&page).unwrap().sessions, None);
}

#[test]
fn a_page_that_is_no_exporters_says_so() {
    for page in [
        "",
        "# only\n# comments\n",
        "<html><body>404 not found</body></html>",
    ] {
        assert_eq!(read(page), Err(ExporterFault::NoSamples), "{page:?}");
    }
    assert_eq!(read("go_goroutines 7\n"), Err(ExporterFault::NothingKnown));
    let mut long = ExporterReader::new(None);
    for _ in 0..100_000 {
        long.feed(b"something_else{a=\"b\"} 1\n");
    }
    assert_eq!(long.finish(), Err(ExporterFault::NothingKnown));
}

#[test]
fn every_name_that_is_looked_for_is_read() {
    let others = [
        "node_cpu_seconds_total",
        "node_cpu",
        "windows_cpu_time_total",
        "windows_terminal_services_session_info",
        "windows_terminal_services_local_session_count",
    ];
    for name in GAUGES.iter().chain(&others) {
        assert!(is_wanted(name, None), "{name}");
    }
    assert!(!is_wanted("node_filesystem_files", None));
    let selector = Selector::parse("jobs{state=\"running\"}").unwrap();
    assert!(is_wanted("jobs", Some(&selector)));
    assert!(!is_wanted("jobs_total", Some(&selector)));
}
