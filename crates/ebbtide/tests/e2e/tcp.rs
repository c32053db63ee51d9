//! Sessions that are connections, with programs that are not ours: ssh and telnet.

use crate::harness::{Ebbtide, LIMIT, Setup};
use crate::real_servers::Foreign;
use ebbtide_testkit::{Scratch, free_address, until};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const HEALTH: &str = "health = { every = \"200ms\", timeout = \"5s\" }\n";

/// A client program with a conversation in its hands.
pub struct Conversation {
    child: Child,
    input: ChildStdin,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Conversation {
    pub fn begin(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the client starts; `cargo xtask test` installs it");
        let input = child.stdin.take().unwrap();
        let mut output = child.stdout.take().unwrap();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let hearing = Arc::clone(&heard);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                hearing.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self {
            child,
            input,
            heard,
        }
    }

    pub fn say(&mut self, words: &str) {
        // Who is cut off meanwhile hears nothing more, which is what is looked at.
        let _ = self.input.write_all(words.as_bytes());
    }

    pub fn has_heard(&self, words: &str) -> bool {
        let heard = self.heard.lock().unwrap();
        String::from_utf8_lossy(&heard).contains(words)
    }

    pub fn hear(&self, words: &str) {
        until(&format!("`{words}` is heard"), LIMIT, || {
            self.has_heard(words).then_some(())
        });
    }

    /// Waits until the program has ended; when that was.
    pub fn wait_for_end(&mut self) -> SystemTime {
        until("the client ends", LIMIT, || {
            self.child.try_wait().unwrap().map(|_| SystemTime::now())
        })
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn run(command: &mut Command) {
    let ran = command.stdin(Stdio::null()).output().expect("it starts");
    assert!(ran.status.success(), "{ran:?}");
}

fn make_key(path: &Path) {
    run(Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", ""])
        .arg("-f")
        .arg(path));
}

/// sshd, which lets in whoever has `key`.
fn sshd(scratch: &Scratch, name: &str, key: &Path) -> Foreign {
    let address = free_address();
    let host_key = scratch.join(&format!("{name}.host"));
    make_key(&host_key);
    // Where sshd goes when it gives up its privileges; a system that has not started one lacks it.
    if rustix::process::geteuid().is_root() {
        fs::create_dir_all("/run/sshd").unwrap();
        fs::set_permissions("/run/sshd", fs::Permissions::from_mode(0o755)).unwrap();
    }
    let config = scratch.join(&format!("{name}.sshd"));
    let text = format!(
        "ListenAddress {}\nPort {}\nHostKey {}\nAuthorizedKeysFile {}.pub\nPidFile none\n\
         StrictModes no\nUsePAM no\nPermitRootLogin yes\nPasswordAuthentication no\n",
        address.ip(),
        address.port(),
        host_key.display(),
        key.display()
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new("/usr/sbin/sshd");
    command.args(["-D", "-e", "-f"]).arg(config);
    Foreign::start(command.stderr(Stdio::null()), address)
}

fn ssh(ebbtide: &Ebbtide, key: &Path) -> Conversation {
    let user = Command::new("id").arg("-un").output().expect("it starts");
    let user = String::from_utf8(user.stdout).unwrap();
    Conversation::begin(
        Command::new("ssh")
            .args(["-F", "none", "-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"])
            .arg("-i")
            .arg(key)
            .args(["-p", &ebbtide.address.port().to_string()])
            .arg(format!("{}@{}", user.trim(), ebbtide.address.ip()))
            .arg("cat"),
    )
}

pub fn setup(servers: &[(&str, SocketAddr)], lines: &str) -> Setup {
    let servers = servers
        .iter()
        .map(|(name, address)| ((*name).to_owned(), *address));
    Setup {
        top: String::new(),
        protocol: "tcp",
        pool: format!("{HEALTH}{lines}"),
        servers: servers.collect(),
        more: String::new(),
    }
}

/// The server that has the only session.
pub fn server_in_use(ebbtide: &Ebbtide) -> &'static str {
    until("the session is seen", LIMIT, || {
        ["web1", "web2"]
            .into_iter()
            .find(|name| ebbtide.sessions(name) > 0)
    })
}

#[test]
fn an_ssh_session_lasts_until_the_deadline_of_its_drain_and_no_longer() {
    let scratch = Scratch::new();
    let key = scratch.join("key");
    make_key(&key);
    let servers = [sshd(&scratch, "web1", &key), sshd(&scratch, "web2", &key)];
    let ebbtide = Ebbtide::start(&setup(
        &[("web1", servers[0].address), ("web2", servers[1].address)],
        "",
    ));
    let mut first = ssh(&ebbtide, &key);
    first.say("one\n");
    first.hear("one");
    let used = server_in_use(&ebbtide);
    let shown = ebbtide.cli(&["sessions", "app", "--json"]).exits(0).json();
    assert_eq!(shown["sessions"][0]["server"], used, "{shown}");
    // Who comes again finds the same server.
    let mut second = ssh(&ebbtide, &key);
    second.say("two\n");
    second.hear("two");
    assert_eq!(ebbtide.sessions(used), 2);
    let drained = format!("app/{used}");
    ebbtide.cli(&["drain", &drained, "--within", "3s"]).exits(0);
    let deadline = ebbtide.deadline(used);
    let mut third = ssh(&ebbtide, &key);
    third.say("three\n");
    third.hear("three");
    assert_eq!(
        ebbtide.sessions(used),
        2,
        "a drained server gets no new session"
    );
    let mut said = 0;
    until("the deadline is near", LIMIT, || {
        let words = format!("line {said}\n");
        said += 1;
        first.say(&words);
        until("it is answered before the deadline", LIMIT, || {
            (first.has_heard(&words) || SystemTime::now() >= deadline).then_some(())
        });
        (SystemTime::now() + Duration::from_millis(100) >= deadline).then_some(())
    });
    for client in [&mut first, &mut second] {
        let end = client.wait_for_end();
        assert!(end >= deadline, "cut before the deadline");
        assert!(
            end <= deadline + Duration::from_secs(1),
            "it outlived the deadline"
        );
    }
    assert_eq!(ebbtide.intent(used), "maintenance");
    third.say("four\n");
    third.hear("four");
    let ended = ebbtide
        .cli(&["sessions", &drained, "--ended", "--json"])
        .exits(0)
        .json();
    let by_deadline = ended["sessions"].as_array().unwrap().iter();
    let by_deadline = by_deadline.filter(|session| session["ended"] == "deadline");
    assert_eq!(by_deadline.count(), 2, "{ended}");
}

#[test]
fn a_reload_and_a_lost_server_do_to_connections_what_they_must() {
    let scratch = Scratch::new();
    let key = scratch.join("key");
    make_key(&key);
    let mut servers = vec![sshd(&scratch, "web1", &key), sshd(&scratch, "web2", &key)];
    let both = [("web1", servers[0].address), ("web2", servers[1].address)];
    let ebbtide = Ebbtide::start(&setup(&both, ""));
    let refused = ebbtide.cli(&["door", "app/web1"]).exits(2).err;
    assert!(refused.contains("nothing to carry it in"), "{refused}");
    let mut client = ssh(&ebbtide, &key);
    client.say("one\n");
    client.hear("one");
    for round in 0..3 {
        let lines = format!("timeouts = {{ tunnel = \"{}h\" }}\n", round + 1);
        ebbtide.configure(&setup(&both, &lines));
        ebbtide.cli(&["reload"]).exits(0);
        let words = format!("after reload {round}\n");
        client.say(&words);
        client.hear(&words);
    }
    let used = server_in_use(&ebbtide);
    let index = usize::from(used == "web2");
    // sshd's listening process is gone; the session has one of its own, which goes on: only when the
    // checks say that the server is down is the connection given up.
    drop(servers.remove(index));
    client.wait_for_end();
    assert_eq!(ebbtide.reason(used), "down");
    let mut again = ssh(&ebbtide, &key);
    again.say("two\n");
    again.hear("two");
}

/// The program's resident memory, in KiB.
fn memory_kib(ebbtide: &Ebbtide) -> u64 {
    let pid = ebbtide.pid().as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let words = line.unwrap().split_whitespace().nth(1);
    words.unwrap().parse().unwrap()
}

/// Twenty thousand connections, in batches: each process may have so many descriptors, and Ebbtide
/// needs two for each connection. A figure, and too much for a busy machine:
/// `cargo test --release -p ebbtide --test e2e -- --ignored --nocapture twenty_thousand`
#[test]
#[ignore = "needs 8,100 descriptors in each process"]
fn twenty_thousand_connections_are_opened_and_abandoned() {
    const BATCHES: usize = 5;
    const BATCH: usize = 4000;
    crate::slow::raise_descriptors();
    let listener = TcpListener::bind(free_address()).unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::<Mutex<Vec<TcpStream>>>::default();
    let taking = Arc::clone(&taken);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            taking.lock().unwrap().push(stream.unwrap());
        }
    });
    let ebbtide = Ebbtide::start(&setup(&[("web1", address)], ""));
    // The server closes what its clients have closed: until then a connection is half open, and goes on.
    let all_leave = || {
        until("every place has come back", LIMIT, || {
            taken.lock().unwrap().clear();
            (ebbtide.sessions("web1") == 0).then_some(())
        });
    };
    all_leave();
    let mut memory = vec![memory_kib(&ebbtide)];
    for batch in 1..=BATCHES {
        let clients: Vec<TcpStream> = (0..BATCH)
            .map(|_| TcpStream::connect(ebbtide.address).unwrap())
            .collect();
        until("each is a session", LIMIT, || {
            (ebbtide.sessions("web1") == BATCH as u64).then_some(())
        });
        let at_most = memory_kib(&ebbtide);
        for (index, client) in clients.iter().enumerate() {
            match index % 3 {
                // Nothing was ever said.
                0 => {}
                1 => (&*client).write_all(b"hello").unwrap(),
                // It breaks off.
                _ => rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO)).unwrap(),
            }
        }
        drop(clients);
        all_leave();
        memory.push(memory_kib(&ebbtide));
        println!(
            "batch {batch}: {} KiB with {BATCH} connections, {} KiB after them",
            at_most, memory[batch]
        );
    }
    let grown = memory[BATCHES].saturating_sub(memory[1]);
    assert!(
        grown < 8 * 1024,
        "memory has grown by {grown} KiB after the first batch"
    );
    let mut client = TcpStream::connect(ebbtide.address).unwrap();
    client.write_all(b"hello").unwrap();
    until("the next one is served", LIMIT, || {
        // Those of health checks are closed.
        let taken = taken.lock().unwrap();
        let mut heard = [0; 5];
        let mut taken = taken.iter();
        let is_heard = taken.any(|mut stream| stream.read_exact(&mut heard).is_ok());
        is_heard.then(|| assert_eq!(&heard, b"hello"))
    });
}

#[test]
fn a_telnet_user_reads_the_notice_in_the_terminal() {
    let address = free_address();
    let mut command = Command::new("socat");
    command.arg(format!(
        "TCP-LISTEN:{},bind={},fork,reuseaddr",
        address.port(),
        address.ip()
    ));
    command
        .arg("EXEC:telnetd -h -E /bin/cat")
        .stderr(Stdio::null());
    let server = Foreign::start(&mut command, address);
    let ebbtide = Ebbtide::start(&setup(
        &[("web1", server.address)],
        "notice = { form = \"telnet\", reminders = [\"10s\"] }\n",
    ));
    let mut client = Conversation::begin(
        Command::new("telnet")
            .arg(ebbtide.address.ip().to_string())
            .arg(ebbtide.address.port().to_string()),
    );
    client.say("one\r\n");
    client.hear("one");
    ebbtide
        .cli(&[
            "close",
            "app",
            "--within",
            "12s",
            "--message",
            "Upgrade tonight. Grüße",
        ])
        .exits(0);
    client.say("two\r\n");
    client.hear("*** This service closes, and your session ends, in 1");
    client.hear("*** Upgrade tonight. Gruesse");
    client.say("three\r\n");
    client.hear("three");
    ebbtide.cli(&["open", "app"]).exits(0);
    client.say("four\r\n");
    client.hear("*** Called off");
    ebbtide.cli(&["close", "app", "--within", "1s"]).exits(0);
    client.wait_for_end();
    assert!(client.has_heard("*** Your session has ended."));
}
