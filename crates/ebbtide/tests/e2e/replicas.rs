//! Copies of a resource: what manifests say of them, and which may stand in for one another.

use crate::harness::{Ebbtide, Events, LIMIT, Setup, text};
use ebbtide_testkit::{Scratch, free_address, until};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

/// A web server that gives out the files of a directory, as long as the test runs.
fn web(directory: PathBuf) -> SocketAddr {
    let address = free_address();
    let listener = TcpListener::bind(address).expect("a free address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever hangs up does not want it.
            drop(give(stream, &directory));
        }
    });
    address
}

fn give(mut stream: TcpStream, directory: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    match fs::read(directory.join(path.trim_start_matches('/'))) {
        Ok(page) => {
            let length = page.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            )?;
            stream.write_all(&page)
        }
        Err(_) => write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        ),
    }
}

/// Servers with a copy each, and where their manifests are given out.
struct Farm {
    scratch: Scratch,
    ebbtide: Ebbtide,
}

const SERVERS: [&str; 5] = ["web1", "web2", "web3", "web4", "web5"];

impl Farm {
    fn prepare() -> Self {
        Self::prepare_with("1s")
    }

    /// Manifests are looked at so often.
    fn prepare_with(every: &str) -> Self {
        let scratch = Scratch::new();
        let manifests = scratch.join("manifests");
        fs::create_dir(&manifests).expect("a folder");
        let address = web(manifests);
        let mut setup = Setup::new(&[]).pool("health = false\n").with(&format!(
            "manifest = \"http://{{host}}:{}/{{server}}.json\"\nmanifest_every = \"{every}\"",
            address.port()
        ));
        setup.more = "[pools.app.resources.disk]\nfile = \"images/disk.raw\"\n\
                      [pools.app.resources.home]\nmode = \"private\"\nserver = \"web2\"\n"
            .into();
        let servers = SERVERS
            .iter()
            .map(|name| ((*name).to_owned(), free_address()));
        setup.servers = servers.collect();
        let ebbtide = Ebbtide::prepare(&setup);
        Self { scratch, ebbtide }
    }

    /// Gives a server this copy, modified so many seconds after 2001, and writes its manifest with
    /// the program itself.
    fn copy(&self, server: &str, bytes: &[u8], seconds: u64) {
        let directory = self.scratch.join(server);
        fs::create_dir_all(directory.join("images")).expect("a folder");
        let path = directory.join("images/disk.raw");
        fs::write(&path, bytes).expect("a file");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds);
        let file = fs::File::options().write(true).open(&path);
        file.expect("it is there")
            .set_modified(time)
            .expect("its time can be set");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ebbtide"));
        let command = command.arg("manifest").arg(&directory).arg("-o");
        let ran = command.arg(self.manifest(server)).output();
        let ran = ran.expect("the program starts");
        assert!(ran.status.success(), "{ran:?}");
    }

    fn manifest(&self, server: &str) -> PathBuf {
        self.scratch.join(&format!("manifests/{server}.json"))
    }

    /// Gives a server a manifest that says this of its copy.
    fn says(&self, server: &str, of_disk: &str) {
        let text = format!(
            "{{\"ebbtide_manifest\":1,\"files\":[{{\"name\":\"images/disk.raw\",{of_disk}}}]}}"
        );
        fs::write(self.manifest(server), text).expect("a manifest");
    }

    fn replicas(&self) -> Value {
        self.ebbtide
            .cli(&["replicas", "app", "--json"])
            .exits(0)
            .json()
    }

    /// Each server's copy of the first resource: whether it serves and stands in, and why.
    fn copies(&self) -> Vec<String> {
        let replicas = self.replicas();
        let copies = replicas["resources"][0]["copies"]
            .as_array()
            .expect("copies");
        let line = |copy: &Value| {
            let yes = |name: &str| if copy[name] == true { name } else { "-" }.to_owned();
            let reason = text(&copy["reason"]);
            format!("{} {} {reason}", yes("serves"), yes("stands_in"))
        };
        copies.iter().map(line).collect()
    }

    #[track_caller]
    fn wait_for(&self, expected: [&str; 5]) {
        until(&format!("copies are {expected:?}"), LIMIT, || {
            let copies = self.copies();
            (copies == expected).then_some(())
        });
    }
}

#[test]
fn only_copies_that_are_surely_identical_stand_in() {
    let mut farm = Farm::prepare();
    let mut bytes = vec![7; 100_000];
    farm.copy("web1", &bytes, 0);
    farm.copy("web2", &bytes, 0);
    // The same update at another time: digests prove that it is the same.
    farm.copy("web3", &bytes, 60);
    bytes[77_777] ^= 1;
    farm.copy("web4", &bytes, 0);
    farm.says("web5", "\"size\":100000");
    farm.ebbtide.run(&mut farm.ebbtide.command());
    farm.wait_for([
        "serves stands_in identical",
        "serves stands_in identical",
        "serves stands_in identical",
        "- - digest-differs",
        "- - only-size",
    ]);
    let replicas = farm.replicas();
    let disk = &replicas["resources"][0];
    assert_eq!(replicas["identity"], "manifest");
    assert_eq!(
        (text(&disk["name"]), text(&disk["mode"])),
        ("disk".into(), "shared".into())
    );
    let copy = &disk["copies"][0];
    assert_eq!(copy["size"], 100_000);
    assert_eq!(copy["digest"], blake3::hash(&[7; 100_000]).to_string());
    assert_eq!(copy["modified"], "2001-09-09T01:46:40.000Z");
    let home = &replicas["resources"][1]["copies"];
    let said: Vec<String> = [0, 1]
        .map(|index: usize| text(&home[index]["text"]))
        .to_vec();
    assert_eq!(
        said,
        [
            "private: served by app/web2 only",
            "the server does not have it"
        ]
    );
    let table = farm.ebbtide.cli(&["replicas", "app"]).exits(0).out;
    for expected in [
        "STANDS IN",
        "100,000",
        "identical to 2 other copies",
        "digest differs: ",
    ] {
        assert!(table.contains(expected), "{expected} is not in\n{table}");
    }
    let unknown = farm.ebbtide.cli(&["replicas", "nope"]).exits(1);
    assert!(unknown.err.contains("there is no pool nope"), "{unknown:?}");
}

#[test]
fn without_digests_a_copy_of_another_time_is_another_copy() {
    let mut farm = Farm::prepare();
    let of = |size: u32, seconds: u32| format!("\"size\":{size},\"modified\":\"{seconds}.5\"");
    farm.says("web1", &of(1000, 50));
    farm.says("web2", &of(1000, 50));
    farm.says("web3", &of(1000, 51));
    farm.says("web4", &of(999, 50));
    fs::write(farm.manifest("web5"), "<html>").expect("a file");
    farm.ebbtide.run(&mut farm.ebbtide.command());
    farm.wait_for([
        "serves stands_in identical",
        "serves stands_in identical",
        "- - time-differs",
        "- - size-differs",
        "- - unreachable",
    ]);
    let events = Events::follow(&farm.ebbtide);
    farm.says("web4", &of(1000, 50));
    let fields = [("resource", "disk"), ("from", "known"), ("to", "known")];
    let told = events.wait_for("app/web4", "copy", &fields);
    assert_eq!(told["what"], "1,000 B, modified 50.500000000");
    farm.says("web3", "\"size\":1000,\"version\":\"2\"");
    farm.wait_for([
        "serves stands_in identical",
        "serves stands_in identical",
        "- - nothing-shared",
        "serves stands_in identical",
        "- - unreachable",
    ]);
}

#[test]
fn a_manifest_that_is_late_is_fetched_soon() {
    let mut farm = Farm::prepare_with("1h");
    farm.ebbtide.run(&mut farm.ebbtide.command());
    farm.wait_for(["- - unreachable"; 5]);
    for server in SERVERS {
        farm.copy(server, b"the same", 0);
    }
    // After one, two, four seconds and so on.
    until("they are known", Duration::from_secs(120), || {
        (farm.copies() == ["serves stands_in identical"; 5]).then_some(())
    });
}
