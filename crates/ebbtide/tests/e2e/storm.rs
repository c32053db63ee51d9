//! A minute in which servers are killed, stopped, drained and returned at random, while clients read a
//! lot. Not run with the other tests, as they take minutes and gigabytes (docs/testing.md).

use crate::downloads::{self, Nginx};
use crate::harness::{Ebbtide, LIMIT};
use crate::nbd::{Copy, Farm, NAMES, Server, image_of};
use ebbtide_testkit::until;
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// How long servers are killed, stopped and drained; what is left of a copy then takes what it takes.
const STORM: Duration = Duration::from_secs(60);
/// Between two faults, on average.
const PACE: Duration = Duration::from_millis(900);
const DISK_BYTES: usize = 2 << 30;
const FILE_MEGABYTES: u64 = 1024;

/// What can be done to a server.
trait Target {
    /// `kill -9`.
    fn kill(&mut self);
    fn start_again(&mut self);
    fn signal(&self, signal: Signal);
}

impl Target for Nginx {
    fn kill(&mut self) {
        Nginx::kill(self);
    }

    fn start_again(&mut self) {
        Nginx::start_again(self);
    }

    fn signal(&self, signal: Signal) {
        Nginx::signal(self, signal);
    }
}

/// A disk's server, and how to start it.
struct Disk {
    server: Server,
    start: Box<dyn Fn() -> Server>,
}

impl Disk {
    fn new(start: impl Fn() -> Server + 'static) -> Self {
        Self {
            server: start(),
            start: Box::new(start),
        }
    }
}

impl Target for Disk {
    fn kill(&mut self) {
        self.server.kill();
    }

    fn start_again(&mut self) {
        self.server = (self.start)();
    }

    fn signal(&self, signal: Signal) {
        self.server.signal(signal);
    }
}

/// What was done to a server that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Killed,
    Stopped,
    Drained,
}

/// How often each was done.
#[derive(Debug, Default)]
struct Tally {
    kills: u32,
    stops: u32,
    drains: u32,
}

/// A storm over servers, of which one at least is always left alone.
struct Storm<'a, T> {
    ebbtide: &'a Ebbtide,
    servers: Vec<T>,
    out: Vec<Option<(Fault, Instant)>>,
    tally: Tally,
    dice: u64,
}

impl<'a, T: Target> Storm<'a, T> {
    fn new(ebbtide: &'a Ebbtide, servers: Vec<T>) -> Self {
        Self {
            ebbtide,
            out: servers.iter().map(|_| None).collect(),
            servers,
            tally: Tally::default(),
            dice: 1,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.dice >> 33) % sides
    }

    /// Rages until the time is over, or what it rages over has ended.
    fn rage(&mut self, mut is_running: impl FnMut() -> bool) {
        let end = Instant::now() + STORM;
        while Instant::now() < end && is_running() {
            let now = Instant::now();
            for index in 0..self.servers.len() {
                if self.out[index].is_some_and(|(_, until)| until <= now) {
                    self.restore(index);
                }
            }
            let index = self.roll(self.servers.len() as u64) as usize;
            let are_out = self.out.iter().filter(|out| out.is_some()).count();
            if self.out[index].is_none() && are_out + 1 < self.servers.len() {
                self.strike(index);
            }
            #[expect(clippy::disallowed_methods, reason = "the pace of the storm")]
            std::thread::sleep(PACE / 2 + PACE * self.roll(100) as u32 / 100);
        }
        for index in 0..self.servers.len() {
            self.restore(index);
        }
    }

    fn strike(&mut self, index: usize) {
        let fault = match self.roll(3) {
            0 => {
                self.servers[index].kill();
                self.tally.kills += 1;
                Fault::Killed
            }
            1 => {
                self.servers[index].signal(Signal::STOP);
                self.tally.stops += 1;
                Fault::Stopped
            }
            _ => {
                let server = format!("app/{}", NAMES[index]);
                let ran = self.ebbtide.cli(&["drain", &server, "--within", "1s"]);
                if ran.code != 0 {
                    // It was the last one that admits, as Ebbtide sees it.
                    return;
                }
                self.tally.drains += 1;
                Fault::Drained
            }
        };
        let lasts = Duration::from_millis(500 + self.roll(4000));
        self.out[index] = Some((fault, Instant::now() + lasts));
    }

    fn restore(&mut self, index: usize) {
        match self.out[index].take() {
            None => {}
            Some((Fault::Killed, _)) => self.servers[index].start_again(),
            Some((Fault::Stopped, _)) => self.servers[index].signal(Signal::CONT),
            Some((Fault::Drained, _)) => {
                let server = format!("app/{}", NAMES[index]);
                self.ebbtide.cli(&["ready", &server]).exits(0);
            }
        }
    }
}

/// A metric's lines, added up, of those that have this in them.
fn metric(ebbtide: &Ebbtide, name: &str, with: &str) -> u64 {
    let scraped = Command::new("curl")
        .args(["--silent", "--fail"])
        .arg(format!("http://{}/metrics", ebbtide.admin))
        .output()
        .unwrap();
    assert!(scraped.status.success(), "{scraped:?}");
    let text = String::from_utf8(scraped.stdout).unwrap();
    let lines = text
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(with));
    let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

fn are_the_same(one: &Path, other: &Path) -> bool {
    let compared = Command::new("cmp").arg(one).arg(other).output().unwrap();
    compared.status.success()
}

/// A farm with two gigabytes, of which the fourth copy differs in one byte.
fn farm() -> Farm {
    let mut image = image_of(DISK_BYTES);
    let farm = Farm::prepare(&image, 4);
    image[DISK_BYTES / 2 + 1] ^= 1;
    fs::remove_file(farm.file("web4")).unwrap();
    fs::write(farm.file("web4"), image).unwrap();
    farm
}

fn storm_over_disks(name: &str, command: impl Fn(&str, &Path) -> Command) {
    let mut farm = farm();
    let disk = |index: usize| {
        let (address, file) = (farm.addresses[index], farm.file(NAMES[index]));
        Disk::new(move || match index {
            1 => Server::start(&mut slow_qemu(address, &file), address),
            // About 15 MB a second.
            _ => Server::nbdkit(address, &file, &["rate=120M"]),
        })
    };
    let servers: Vec<Disk> = (0..3).map(disk).collect();
    let _differs = disk(3);
    farm.start();
    let target = farm.scratch.join("copied");
    let began = Instant::now();
    let mut copy = Copy::by(&mut command(&farm.uri(), &target), target.clone());
    let ebbtide = farm.ebbtide();
    let mut storm = Storm::new(ebbtide, servers);
    storm.rage(|| copy.is_running());
    let raged = began.elapsed();
    copy.succeed();
    assert!(are_the_same(&farm.file("web1"), &target), "other bytes");
    let moves = metric(ebbtide, "ebbtide_pool_sessions_moved_total", "");
    let given_up = metric(
        ebbtide,
        "ebbtide_requests_rejected_total",
        "nbd-servers-lost",
    );
    let of_differing = metric(ebbtide, "ebbtide_server_received_bytes_total", "web4");
    println!(
        "{name}: {:?} in {:.0?} of {:.0?}, {moves} moves, {given_up} requests given up, \
         {of_differing} bytes of the copy that differs",
        storm.tally,
        raged,
        began.elapsed()
    );
    assert_eq!((given_up, of_differing), (0, 0));
    assert!(moves > 0, "the storm was felt");
}

fn slow_qemu(address: std::net::SocketAddr, file: &Path) -> Command {
    let mut command = Command::new("qemu-nbd");
    command
        .args(["-r", "-t", "-e", "0", "-x", "disk"])
        .args(["-b", &address.ip().to_string()])
        .args(["-p", &address.port().to_string()])
        .args(["--object", "throttle-group,id=slow,x-bps-read=15000000"])
        .args(["--image-opts", "--"])
        .arg(format!(
            "driver=throttle,throttle-group=slow,file.driver=file,file.filename={}",
            file.display()
        ));
    command
}

#[test]
#[ignore = "takes minutes and gigabytes; see docs/testing.md"]
fn storm_over_nbdcopy() {
    storm_over_disks("nbdcopy", |uri, target| {
        let mut command = Command::new("nbdcopy");
        command
            .args(["--connections=4", "--requests=16", uri])
            .arg(target);
        command
    });
}

#[test]
#[ignore = "takes minutes and gigabytes; see docs/testing.md"]
fn storm_over_qemu_img() {
    storm_over_disks("qemu-img", |uri, target| {
        let mut command = Command::new("qemu-img");
        command
            .args(["convert", "-f", "raw", "-O", "raw", uri])
            .arg(target);
        command
    });
}

#[test]
#[ignore = "takes minutes and gigabytes; see docs/testing.md"]
fn storm_over_curl() {
    const CHANGED_S: u64 = 1_640_995_200;
    let mut content = downloads::content(FILE_MEGABYTES);
    let start = |changed_s: u64| Nginx::start_with(&content, changed_s, "20m");
    let servers = vec![start(CHANGED_S), start(CHANGED_S), start(CHANGED_S)];
    let middle = content.len() / 2;
    content[middle] ^= 1;
    let differs = Nginx::start_with(&content, CHANGED_S + 1, "20m");
    drop(content);
    let mut all: Vec<&Nginx> = servers.iter().collect();
    all.push(&differs);
    let ebbtide = downloads::before_with(&all, "1s", "10s");
    let original = servers[0].file();
    // Who begins on the copy that differs can only go on with that: it serves nobody new.
    ebbtide.cli(&["hold", "app/web4"]).exits(0);
    let target = ebbtide.scratch.join("fetched");
    let began = Instant::now();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "-o"])
        .arg(&target);
    curl.arg(format!("http://{}/large", ebbtide.address));
    let mut download = Copy::by(&mut curl, target.clone());
    until("it has begun", LIMIT, || {
        fs::metadata(&target)
            .is_ok_and(|file| file.len() > 0)
            .then_some(())
    });
    ebbtide.cli(&["ready", "app/web4"]).exits(0);
    let mut storm = Storm::new(&ebbtide, servers);
    storm.rage(|| download.is_running());
    let raged = began.elapsed();
    download.succeed();
    assert!(are_the_same(&original, &target), "other bytes");
    let resumed = metric(&ebbtide, "ebbtide_pool_resumed_total", "");
    println!(
        "curl: {:?} in {:.0?} of {:.0?}, gone on with {resumed} times",
        storm.tally,
        raged,
        began.elapsed()
    );
    assert!(resumed > 0, "the storm was felt");
}
