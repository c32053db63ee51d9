//! nginx and Python as the pool, curl as the client: programs that are not ours.

use crate::harness::{Ebbtide, LIMIT, Setup};
use ebbtide_testkit::{Crowd, CrowdSettings, Model, Scratch, Wire, free_address, pattern, until};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

const HEALTH: &str = "health = { path = \"/health\", every = \"200ms\", timeout = \"5s\" }\n";

/// A foreign server; it dies with this value.
pub struct Foreign {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Foreign {
    /// Starts it, and waits until it takes connections.
    pub fn start(command: &mut Command, address: SocketAddr) -> Self {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("{program} cannot be started ({error}); `cargo xtask test` installs it")
        });
        let foreign = Self { address, child };
        until(&format!("{program} answers"), LIMIT, || {
            TcpStream::connect(address).ok()
        });
        foreign
    }

    /// nginx that serves and takes files below `files/`, and a page anywhere else.
    fn nginx(scratch: &Scratch) -> Self {
        let address = free_address();
        let root = scratch.path().display();
        fs::create_dir_all(scratch.join("files")).unwrap();
        let user = if rustix::process::geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        let text = format!(
            "{user} worker_processes 1; daemon off; pid {root}/nginx.pid; error_log {root}/nginx.log;\n\
             events {{ worker_connections 512; }}\n\
             http {{\n access_log off; client_max_body_size 100m; client_body_temp_path {root}/body;\n\
             proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;\n\
             uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;\n\
             server {{ listen {address}; root {root};\n\
             location /files/ {{ dav_methods PUT DELETE; }}\n\
             location / {{ return 200 \"server=nginx login=nginx count=1 id=$http_x_request\\n\"; }} }} }}\n"
        );
        let file = scratch.join("nginx.conf");
        fs::write(&file, text).unwrap();
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(scratch.path())
            .arg("-e")
            .arg(scratch.join("nginx.log"))
            .arg("-c")
            .arg(file);
        Self::start(&mut command, address)
    }

    fn python() -> Self {
        let address = free_address();
        let app = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/app.py");
        Self::start(
            Command::new("python3").arg(app).arg(address.to_string()),
            address,
        )
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // nginx's master takes its workers along only when it is asked to.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

#[test]
fn users_stay_on_nginx_python_and_a_model_while_one_is_held_and_returned() {
    let scratch = Scratch::new();
    let (nginx, python) = (Foreign::nginx(&scratch), Foreign::python());
    let model = Model::start("model", &scratch.join("ledger"));
    let mut setup = Setup::new(&[]).pool(HEALTH);
    setup.servers = vec![
        ("nginx".into(), nginx.address),
        ("python".into(), python.address),
        ("model".into(), model.address),
    ];
    let ebbtide = Ebbtide::start(&setup);
    let crowd = Crowd::start(CrowdSettings::new(ebbtide.address, 45));
    let counts = ["nginx", "python", "model"].map(|name| crowd.users_at(name));
    assert!(
        counts.iter().all(|count| (10..=20).contains(count)),
        "{counts:?}"
    );
    ebbtide.cli(&["hold", "app/python"]).exits(0);
    let late = Crowd::start(CrowdSettings::new(ebbtide.address, 15));
    crowd.go_on_for(3);
    assert_eq!(late.users_at("python"), 0);
    assert_eq!(crowd.users_at("python"), counts[1]);
    assert_eq!(ebbtide.sessions("python"), counts[1] as u64);
    ebbtide.cli(&["ready", "app/python"]).exits(0);
    let later = Crowd::start(CrowdSettings::new(ebbtide.address, 15));
    assert!(later.users_at("python") > 0);
    for ledger in [crowd, late, later].map(Crowd::stop) {
        assert!(ledger.anomalies.is_empty(), "{:?}", ledger.anomalies);
        assert!(ledger.moves.is_empty(), "{:?}", ledger.moves);
        assert_eq!(ledger.requests, ledger.good);
    }
}

/// Runs curl; its standard output.
fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "15"])
        .args(arguments)
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!("curl cannot be started ({error}); `cargo xtask test` installs it")
    });
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Ten megabytes that no compression and no shift leaves alike.
fn large() -> Vec<u8> {
    let parts = (0..200).flat_map(|part| pattern(part * 50_000, 50_000));
    parts.copied().collect()
}

/// Ebbtide before one nginx, whose files are in `files/` of the folder.
fn before_nginx(scratch: &Scratch) -> (Foreign, Ebbtide) {
    let nginx = Foreign::nginx(scratch);
    let mut setup = Setup::new(&[]).pool(HEALTH);
    setup.servers = vec![("nginx".into(), nginx.address)];
    (nginx, Ebbtide::start(&setup))
}

#[test]
fn curl_uploads_to_nginx_in_every_framing() {
    let scratch = Scratch::new();
    let (_nginx, ebbtide) = before_nginx(&scratch);
    let source = scratch.join("large");
    fs::write(&source, large()).unwrap();
    let source = source.to_str().unwrap();
    for (name, fields) in [
        ("length", &["-H", "Expect:"][..]),
        ("continue", &["-H", "Expect: 100-continue"]),
        (
            "chunked",
            &["-H", "Transfer-Encoding: chunked", "-H", "Expect:"],
        ),
        (
            "both",
            &[
                "-H",
                "Transfer-Encoding: chunked",
                "-H",
                "Expect: 100-continue",
            ],
        ),
    ] {
        let url = format!("http://{}/files/{name}", ebbtide.address);
        let asked = ["-o", "/dev/null", "-w", "%{http_code}", "-T", source, &url];
        assert_eq!(curl(&[&asked, fields].concat()), "201", "{name}");
        let arrived = fs::read(scratch.join("files").join(name)).unwrap();
        assert!(arrived == large(), "{name} arrived changed");
    }
}

#[test]
fn curl_asks_nginx_for_heads_ranges_and_changes() {
    let scratch = Scratch::new();
    let (_nginx, ebbtide) = before_nginx(&scratch);
    let large = large();
    fs::write(scratch.join("files/large"), &large).unwrap();
    let back = scratch.join("back");
    let back_text = back.to_str().unwrap();
    let url = format!("http://{}/files/large", ebbtide.address);
    curl(&["-o", back_text, &url]);
    assert!(fs::read(&back).unwrap() == large, "changed on the way back");
    curl(&["-o", back_text, "-r", "1000-1999", &url]);
    assert!(
        fs::read(&back).unwrap() == large[1000..2000],
        "another range"
    );

    let head = curl(&["-I", &url]);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = format!("content-length: {}", large.len());
    assert!(head.to_lowercase().contains(&length), "{head}");
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: "));
    let condition = format!("If-None-Match: {}", tag.expect("an ETag").trim());
    let status = ["-o", "/dev/null", "-w", "%{http_code} %{num_connects};"];
    let first = [&status[..], &["-H", &condition, &url, "--next", "-sS"]].concat();
    let both = curl(&[&first[..], &status, &[&url]].concat());
    assert_eq!(both, "304 1;200 0;", "the connection was not kept");
    let root = format!("http://{}/", ebbtide.address);
    assert!(curl(&["--http1.0", &root]).starts_with("server=nginx"));
    let missing = format!("{root}files/none");
    assert_eq!(curl(&[&status[..], &[&missing]].concat()), "404 1;");
}

#[test]
fn nginx_answers_pipelined_requests_of_every_kind_in_order() {
    let scratch = Scratch::new();
    let (_nginx, ebbtide) = before_nginx(&scratch);
    let mut wire = Wire::connect(ebbtide.address, LIMIT).unwrap();
    let asks: String = (0..10)
        .map(|number| {
            let method = if number % 3 == 0 { "HEAD" } else { "GET" };
            format!("{method} / HTTP/1.1\r\nHost: a\r\nX-Request: {number}\r\n\r\n")
        })
        .collect();
    wire.send(asks.as_bytes()).unwrap();
    for number in 0..10 {
        let head = wire.read_head().unwrap().unwrap();
        assert_eq!(head.status(), 200);
        if number % 3 != 0 {
            let mut body = Vec::new();
            wire.read_body(head.framing().unwrap(), &mut body).unwrap();
            assert!(
                String::from_utf8(body)
                    .unwrap()
                    .ends_with(&format!("id={number}\n"))
            );
        }
    }
}
