//! Downloads that go on elsewhere, by clicking: whoever fetches the file gets all of it.

use super::audited;
use super::desk::Desk;
use crate::downloads::{Nginx, before, content, the_session};
use crate::harness::{Ebbtide, LIMIT, text};
use ebbtide_api::Role;
use ebbtide_testkit::until;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A download that is slow until it is told to finish: whoever clicks takes a while.
struct Trickle {
    curl: Child,
    bytes: Arc<AtomicUsize>,
    hurry: Sender<()>,
    reader: JoinHandle<Vec<u8>>,
}

impl Trickle {
    fn start(ebbtide: &Ebbtide) -> Self {
        let mut curl = Command::new("curl")
            .args(["--silent", "--show-error", "--fail"])
            .arg(format!("http://{}/large", ebbtide.address))
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl starts; `cargo xtask test` installs it");
        let output = curl.stdout.take().expect("its output is a pipe");
        let (hurry, hurried) = channel();
        let bytes = Arc::default();
        let count = Arc::clone(&bytes);
        Self {
            curl,
            bytes,
            hurry,
            reader: thread::spawn(move || read(output, &count, &hurried)),
        }
    }

    /// Waits until more has come.
    fn go_on(&self) {
        let end = self.bytes.load(Relaxed) + 256 * 1024;
        until("the download goes on", LIMIT, || {
            (self.bytes.load(Relaxed) >= end).then_some(())
        });
    }

    /// All that has come.
    fn finish(mut self) -> Vec<u8> {
        drop(self.hurry);
        let got = self.reader.join().expect("it was read");
        assert!(self.curl.wait().expect("it ends").success());
        got
    }
}

fn read(mut output: impl Read, count: &AtomicUsize, hurried: &Receiver<()>) -> Vec<u8> {
    let (mut got, mut piece) = (Vec::new(), vec![0; 32 * 1024]);
    loop {
        match output.read(&mut piece).expect("a pipe") {
            0 => return got,
            bytes => got.extend_from_slice(&piece[..bytes]),
        }
        count.store(got.len(), Relaxed);
        match hurried.recv_timeout(Duration::from_millis(60)) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => output.read_to_end(&mut got).map(drop).expect("a pipe"),
        }
    }
}

/// Drills the server that the download comes from: it goes on elsewhere, and the server is as before.
fn drill(ebbtide: &Ebbtide, desk: &Desk, cut: bool) {
    let name = text(&the_session(ebbtide)["server"]);
    desk.open(&format!("/servers/app/{name}"));
    desk.panel(&format!("/do/drill?server=app/{name}"));
    if cut {
        desk.click("#p-cut");
        desk.wait_for_text("#foretold", "are cut off");
    }
    desk.send();
    assert_ne!(the_session(ebbtide)["server"], name);
    ebbtide.wait_for_reason(&name, "ready");
    let line = audited(ebbtide, "drill");
    assert_eq!(line["target"], format!("app/{name}"));
}

#[test]
fn a_download_is_moved_drilled_and_its_server_stopped_by_clicking() {
    let content = content(64);
    let servers = [0; 3].map(|_| Nginx::start_with(&content, 1_640_995_200, "0"));
    let ebbtide = before(&servers.each_ref());
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Operator);
    for name in ["app/web2", "app/web3"] {
        ebbtide.cli(&["hold", name]).exits(0);
    }
    let download = Trickle::start(&ebbtide);
    download.go_on();
    ebbtide.cli(&["ready", "app/web2"]).exits(0);
    let before = the_session(&ebbtide);
    let id = text(&before["id"]);
    assert_eq!(before["server"], "web1");

    desk.open("/sessions?pool=app");
    desk.panel(&format!("/do/move?id={id}"));
    // A server that cannot take it is there to be chosen, and why it cannot is said.
    desk.choose("#p-to", "app/web3");
    desk.wait_for_text("dialog", "web3: on hold");
    desk.click("dialog button.main");
    desk.wait_for_text("dialog [role=alert]", "app/web3");
    assert_eq!(the_session(&ebbtide)["server"], "web1");
    desk.choose("#p-to", "app/web2");
    desk.wait_for_text("#foretold", "app/web2");
    desk.fill("#p-reason", "web1 is hot");
    desk.send();
    assert_eq!(the_session(&ebbtide)["server"], "web2");
    let line = audited(&ebbtide, "move");
    assert_eq!(
        (&line["who"], &line["reason"]),
        (&"anna".into(), &"web1 is hot".into())
    );
    desk.wait_for_text(&format!("#session-{id}"), "moved 1×");
    download.go_on();

    // Of nobody there is nothing to be tested.
    desk.open("/");
    desk.panel("/do/drill?server=app/web1");
    desk.click("dialog button.main");
    desk.wait_for_text("dialog [role=alert]", "would test nothing");
    desk.click("dialog [data-close]");
    for (moves, cut) in [(2, false), (3, true)] {
        drill(&ebbtide, &desk, cut);
        assert_eq!(the_session(&ebbtide)["moves"], moves);
        download.go_on();
    }

    let name = text(&the_session(&ebbtide)["server"]);
    desk.open("/");
    desk.panel(&format!("/do/stop?server=app/{name}"));
    assert!(desk.text("#foretold").contains("moved at once"));
    desk.fill("#p-within", "5m");
    desk.send();
    let after = the_session(&ebbtide);
    assert_eq!((&after["id"], &after["moves"]), (&before["id"], &4.into()));
    assert_ne!(after["server"], name);
    ebbtide.wait_for_reason(&name, "maintenance");
    desk.wait_for_text(&format!("#server-app-{name}"), "Maintenance");
    assert_eq!(audited(&ebbtide, "stop")["who"], "anna");

    let got = download.finish();
    assert!(got == content, "{} bytes, or others", got.len());
}
