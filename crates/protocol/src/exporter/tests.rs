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
        })
    );
}

/// Names and labels as windows_exporter documents them: memory and sessions by their new names.
const WINDOWS: &str = r#"windows_cpu_logical_processor 2
windows_cpu_time_total{core="0,0",mode="dpc"} 5
windows_cpu_time_total{core="0,0",mode="idle"} 700
windows_cpu_time_total{core="0,0",mode="interrupt"} 5
windows_cpu_time_total{core="0,0",mode="privileged"} 100
windows_cpu_time_total{core="0,0",mode="user"} 200
windows_memory_available_bytes 6e+09
windows_memory_physical_total_bytes 8e+09
windows_memory_physical_free_bytes 1e+09
windows_system_processor_queue_length 3
windows_terminal_services_session_info{host="",session_name="",state="listen",user=""} 1
windows_terminal_services_session_info{host="PC",session_name="RDP-Tcp#1",state="active",user="A\\a"} 1
windows_terminal_services_session_info{host="PC",session_name="RDP-Tcp#1",state="disconnected",user="A\\a"} 0
windows_terminal_services_session_info{host="",session_name="",state="disconnected",user="A\\b"} 1
windows_terminal_services_session_info{host="",session_name="Services",state="disconnected",user=""} 1
"#;

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
    let old = read(
        "windows_cs_logical_processors 4\nwindows_cs_physical_memory_bytes 8e9\n\
         windows_os_physical_memory_free_bytes 2e9\nwindows_os_users 9\n\
         windows_terminal_services_local_session_count{session=\"active\"} 3\n\
         windows_terminal_services_local_session_count{session=\"total\"} 5\n",
    )
    .unwrap();
    assert_eq!(old.memory.map(|memory| memory.available), Some(2e9));
    assert_eq!((old.processors, old.sessions), (Some(4), Some(5)));
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
    assert_eq!(none, Err(ExporterFault::NothingKnown));
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
