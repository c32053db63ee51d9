//! The targets in every build: what is committed, and a few mutations of it.

use ebbtide_fuzz::stable::{Mutations, corpus};
use ebbtide_fuzz::{TARGETS, Target};

/// So few that all targets together take some ten seconds in a build without optimisation.
const MUTATIONS: usize = 4000;
/// The same in every run: a build does not fail by chance. `cargo xtask fuzz` rolls the dice.
const SEED: u64 = 1;

/// On failure, says with which input.
fn check(name: &str) {
    let found = TARGETS.iter().find(|target| target.name == name);
    let target = found.expect("the target is in the list");
    let committed = corpus(target).expect("its corpus can be read");
    assert!(!committed.is_empty(), "{name} has no corpus");
    let mut mutations = Mutations::new(target, SEED).expect("its dictionary can be read");
    for input in &committed {
        run(target, input);
    }
    for _ in 0..MUTATIONS {
        run(target, &mutations.next_input());
    }
}

fn run(target: &Target, input: &[u8]) {
    let held = std::panic::catch_unwind(|| (target.run)(input)).is_ok();
    assert!(held, "{}: {}", target.name, input.escape_ascii());
}

#[test]
fn request() {
    check("request");
}

#[test]
fn response() {
    check("response");
}

#[test]
fn body() {
    check("body");
}

#[test]
fn round_trip() {
    check("round_trip");
}

#[test]
fn pipeline() {
    check("pipeline");
}

#[test]
fn health() {
    check("health");
}

#[test]
fn exporter() {
    check("exporter");
}

#[test]
fn agent() {
    check("agent");
}

#[test]
fn inject() {
    check("inject");
}

#[test]
fn token() {
    check("token");
}

#[test]
fn configuration() {
    check("configuration");
}

#[test]
fn proxy_protocol() {
    check("proxy_protocol");
}

#[test]
fn telnet() {
    check("telnet");
}

#[test]
fn nbd_server() {
    check("nbd_server");
}

#[test]
fn nbd_client() {
    check("nbd_client");
}
