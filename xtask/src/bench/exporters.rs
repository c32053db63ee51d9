//! What it costs to ask a thousand exporters again and again, and to choose among servers.
//!
//! The exporters are one thread of ours, which listens at every loopback address and answers with what a
//! real node_exporter has answered last, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::measure::{TICKS_PER_SECOND, parse_cpu_ticks};
use super::peers::{self, BALANCER_CORE, LOAD_CORE, Process};
use super::statistics::Sorted;
use super::{Options, page};
use crate::shell;

const SERVERS: u32 = 1_000;
/// A page is taken of the real exporter this often: the counters of one that stands still are no load.
const PAGE_EVERY: Duration = Duration::from_secs(1);
/// Every exporter has been asked twice by then, and its load is known.
const WARM_UP: Duration = Duration::from_secs(15);
/// So often, with a second between, the oldest reading is looked for after each round.
const LOOKS: usize = 5;
const ANSWER_SECONDS_MAX: u64 = 5;
/// What is told of all threads together.
const ALL: &str = "all";

/// What one thread takes of a core, in percent, by its name.
type Shares = BTreeMap<String, f64>;

/// Measures everything; the tables in Markdown.
pub fn measure(options: &Options, scratch: &Path) -> Result<String, String> {
    let choices = choices(options.rounds)?;
    let exporter_port = peers::free_port()?;
    let listen = format!("--web.listen-address=127.0.0.1:{exporter_port}");
    // Debian's asks systemd too, which is not everywhere.
    let words = [
        "prometheus-node-exporter",
        "--log.level=error",
        "--no-collector.systemd",
        &listen,
    ];
    let mut exporter = peers::spawn(LOAD_CORE, &words)?;
    let page = exporter.wait_until(|| ask(exporter_port).map_err(|error| error.to_string()))?;
    let page_bytes = page.len();
    let exporters = Exporters::start(exporter_port, page)?;

    let without = rounds(&mut start(scratch, "without", "")?, options, &exporters)?;
    let load = format!(
        r#"load = {{ exporter = "http://{{host}}:{}/metrics", every = "5s" }}"#,
        exporters.port
    );
    let mut with_load = start(scratch, "with", &load)?;
    let with = rounds(&mut with_load, options, &exporters)?;
    Ok(format!(
        "{}\n{}",
        chosen_table(&choices),
        asked_table(&without, &with, page_bytes)
    ))
}

/// A node at work.
struct Node {
    process: Process,
    socket: String,
    has_load: bool,
}

/// What a node took in each round, and the oldest reading that it had after it, in milliseconds.
#[derive(Default)]
struct Taken {
    rounds: Vec<Shares>,
    oldest_ms: Vec<f64>,
}

fn start(scratch: &Path, name: &str, load: &str) -> Result<Node, String> {
    let state = scratch.join(name).display().to_string();
    let servers: String = (0..SERVERS)
        .map(|number| {
            let (high, low) = (number / 250, number % 250 + 1);
            format!("web{number} = \"127.1.{high}.{low}:80\"\n")
        })
        .collect();
    // Without a load there is nothing else to go by.
    let balance = match load {
        "" => "least-sessions",
        _ => "least-load",
    };
    let configuration = format!(
        r#"state_dir = "{state}"
workers = 1

[admin]
listen = "127.0.0.1:{}"

[listeners.web]
bind = "127.0.0.1:{}"
pool = "app"

[pools.app]
protocol = "http"
balance = "{balance}"
health = false
{load}

[pools.app.servers]
{servers}"#,
        peers::free_port()?,
        peers::free_port()?,
    );
    let file = peers::write(scratch, &format!("{name}.toml"), &configuration)?;
    let program = peers::ebbtide_binary()?.display().to_string();
    let words = [&*program, "run", "--log", "warn", "-c", &file];
    let mut node = Node {
        process: peers::spawn(BALANCER_CORE, &words)?,
        socket: format!("unix:{state}/admin.sock"),
        has_load: !load.is_empty(),
    };
    let socket = node.socket.clone();
    node.process.wait_until(|| status(&socket).map(drop))?;
    Ok(node)
}

fn status(socket: &str) -> Result<String, String> {
    let program = peers::ebbtide_binary()?;
    let words = ["--admin", socket, "status", "--json"];
    shell::capture_text(&mut shell::command(program, &words))
}

fn rounds(node: &mut Node, options: &Options, exporters: &Exporters) -> Result<Taken, String> {
    exporters.pass(WARM_UP)?;
    let mut taken = Taken::default();
    for round in 1..=options.rounds {
        eprintln!(
            "round {round} of {}: {SERVERS} servers, load: {}",
            options.rounds, node.has_load
        );
        let before = cpu_seconds(node.process.id())?;
        let begun = Instant::now();
        exporters.pass(Duration::from_secs(options.seconds.into()))?;
        let after = cpu_seconds(node.process.id())?;
        let wall = begun.elapsed().as_secs_f64();
        let share = |(name, spent): (&String, &f64)| {
            let spent = spent - before.get(name).unwrap_or(&0.0);
            (name.clone(), spent * 100.0 / wall)
        };
        let mut shares: Shares = after.iter().map(share).collect();
        shares.insert(ALL.to_owned(), shares.values().sum());
        eprintln!("    {shares:.2?}");
        taken.rounds.push(shares);
        if node.has_load {
            let mut oldest_ms: f64 = 0.0;
            for _ in 0..LOOKS {
                exporters.pass(Duration::from_secs(1))?;
                oldest_ms = oldest_ms.max(oldest(&status(&node.socket)?)?);
            }
            eprintln!("    the oldest reading: {oldest_ms} ms");
            taken.oldest_ms.push(oldest_ms);
        }
    }
    Ok(taken)
}

/// The age of the oldest reading in what `ebbtide status` says; an error if there is a server without one.
fn oldest(status: &str) -> Result<f64, String> {
    let ages = status.split("\"age_ms\":").skip(1);
    let ages = ages.filter_map(|rest| rest.trim_start().split([',', '}', '\n']).next());
    let ages: Vec<f64> = ages.filter_map(|age| age.trim().parse().ok()).collect();
    match Sorted::of(ages) {
        Some(ages) if ages.count() == SERVERS as usize => Ok(ages.most()),
        ages => Err(format!(
            "{} of {SERVERS} servers have a load; see `ebbtide status` of such a node",
            ages.map_or(0, |ages| ages.count())
        )),
    }
}

/// What the threads of a process have taken so far, by their names.
fn cpu_seconds(process: u32) -> Result<BTreeMap<String, f64>, String> {
    let folder = format!("/proc/{process}/task");
    let complain = |error: std::io::Error| format!("the node has ended? {folder}: {error}");
    let mut seconds = BTreeMap::new();
    for thread in fs::read_dir(&folder).map_err(complain)? {
        let path = thread.map_err(complain)?.path().join("stat");
        // A thread that has just ended is none of those that matter.
        let Ok(stat) = fs::read_to_string(&path) else {
            continue;
        };
        let name = stat
            .split_once('(')
            .and_then(|(_, rest)| rest.rsplit_once(')'));
        let (Some((name, _)), Some(ticks)) = (name, parse_cpu_ticks(&stat)) else {
            return Err(format!("{} is not as expected", path.display()));
        };
        *seconds.entry(name.to_owned()).or_default() += ticks / TICKS_PER_SECOND;
    }
    Ok(seconds)
}

/// The exporters of all servers.
struct Exporters {
    port: u16,
    real_port: u16,
    page: Arc<Mutex<Vec<u8>>>,
}

impl Exporters {
    fn start(real_port: u16, page: Vec<u8>) -> Result<Self, String> {
        let listen = || {
            let listener = TcpListener::bind("0.0.0.0:0")?;
            let port = listener.local_addr()?.port();
            std::io::Result::Ok((listener, port))
        };
        let (listener, port) = listen().map_err(|error| format!("cannot listen: {error}"))?;
        let page = Arc::new(Mutex::new(page));
        let served = Arc::clone(&page);
        // It ends with us.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let page = served
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                if let Err(error) = stream.and_then(|stream| answer(stream, &page)) {
                    eprintln!("an exporter was not heard out: {error}");
                }
            }
        });
        Ok(Self {
            port,
            real_port,
            page,
        })
    }

    /// Lets time pass, in which the page changes.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is measured is what a span of time costs"
    )]
    fn pass(&self, span: Duration) -> Result<(), String> {
        let end = Instant::now() + span;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(PAGE_EVERY));
            let page = ask(self.real_port).map_err(|error| format!("node_exporter: {error}"))?;
            *self.page.lock().unwrap_or_else(PoisonError::into_inner) = page;
        }
    }
}

fn answer(mut stream: TcpStream, page: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    stream.set_write_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            bytes => request.extend_from_slice(&part[..bytes]),
        }
    }
    stream.write_all(page)
}

/// All that the real exporter answers, head and chunks.
fn ask(port: u16) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(ANSWER_SECONDS_MAX)))?;
    stream.write_all(
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain; version=0.0.4\r\nConnection: close\r\n\r\n",
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    match answer.starts_with(b"HTTP/1.1 200") {
        true => Ok(answer),
        false => Err(std::io::Error::other("no page")),
    }
}

/// Nanoseconds of each choice, run by run.
fn choices(runs: u32) -> Result<BTreeMap<String, Vec<f64>>, String> {
    let mut choices = BTreeMap::<String, Vec<f64>>::new();
    for _ in 0..runs {
        let report = shell::capture_text(&mut shell::cargo(&[
            "bench",
            "--package",
            "ebbtide-core",
            "--bench",
            "rules",
        ]))?;
        for (what, ns) in report.lines().filter_map(parse_choice) {
            choices.entry(what).or_default().push(ns);
        }
    }
    Ok(choices)
}

/// Lines like `choose among 10: round-robin    12.3 ns   (11.9 to 13.0)`.
fn parse_choice(line: &str) -> Option<(String, f64)> {
    let (rest, _) = line.strip_prefix("choose among ")?.split_once(" ns ")?;
    let (what, ns) = rest.rsplit_once(' ')?;
    Some((what.trim().to_owned(), ns.parse().ok()?))
}

fn chosen_table(choices: &BTreeMap<String, Vec<f64>>) -> String {
    let mut text =
        "## Choosing a server\n\n| among | ns, median | least to most |\n|---|---:|---:|\n"
            .to_owned();
    for (what, ns) in choices {
        if let Some(ns) = Sorted::of(ns.iter().copied()) {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "| {what} | {:.0} | {:.0} to {:.0} |",
                ns.median(),
                ns.least(),
                ns.most()
            );
        }
    }
    for (servers, limit) in [("10", 100.0), ("1000", 2_000.0)] {
        let of_these = choices
            .iter()
            .filter(|(what, _)| what.starts_with(&format!("{servers}:")));
        let medians = of_these.filter_map(|(_, ns)| Some(Sorted::of(ns.iter().copied())?.median()));
        if let Some(medians) = Sorted::of(medians) {
            let wanted = format!("of {servers} at most {limit:.0} ns, whatever the policy");
            text += &page::said(&wanted, medians.most(), limit);
        }
    }
    text
}

fn asked_table(without: &Taken, with: &Taken, page_bytes: usize) -> String {
    let mut text = format!(
        "## Asking {SERVERS} exporters every 5 s\n\nPages of {page_bytes} bytes.\n\n\
         | thread | without, % of a core | with, median | least to most |\n|---|---:|---:|---:|\n"
    );
    let of = |taken: &Taken, thread: &str| {
        let of_thread = |shares: &Shares| shares.get(thread).copied().unwrap_or(0.0);
        Sorted::of(taken.rounds.iter().map(of_thread).collect::<Vec<_>>())
    };
    let threads: BTreeSet<&String> = with.rounds.iter().flat_map(Shares::keys).collect();
    for thread in threads {
        if let (Some(without), Some(with)) = (of(without, thread), of(with, thread)) {
            let _ = writeln!(
                text,
                "| {thread} | {:.2} | {:.2} | {:.2} to {:.2} |",
                without.median(),
                with.median(),
                with.least(),
                with.most()
            );
        }
    }
    if let Some(with) = of(with, ALL) {
        text += &page::said(
            "at most 10 % of a core, of all threads together",
            with.median(),
            10.0,
        );
    }
    if let Some(oldest) = Sorted::of(with.oldest_ms.iter().copied()) {
        let _ = write!(
            text,
            "\nThe oldest of the {SERVERS} readings, looked for {LOOKS} times after each round: {:.1} s \
             ({:.1} to {:.1}).\n",
            oldest.median() / 1e3,
            oldest.least() / 1e3,
            oldest.most() / 1e3
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_read() {
        let line =
            "choose among 10: round-robin                                 12.3 ns   (11.9 to 13.0)";
        assert_eq!(
            parse_choice(line),
            Some(("10: round-robin".to_owned(), 12.3))
        );
        assert_eq!(
            parse_choice("session table: sweep of all  12.3 ns   (1.0 to 2.0)"),
            None
        );
    }

    #[test]
    fn a_server_without_a_reading_is_no_result() {
        let status = "{\"age_ms\": 4000},".repeat(SERVERS as usize);
        assert_eq!(oldest(&status.replacen("4000", "5100", 1)), Ok(5100.0));
        assert!(oldest(&status.replacen("4000", "null", 1)).is_err());
    }
}
