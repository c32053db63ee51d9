//! The whole program, from outside: the real binary, real servers, real sockets, and an account of
//! every request. What is asserted is what operators and users are promised.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod agent;
mod agents;
mod browser;
mod closing;
mod console;
mod databases;
mod day;
mod demo;
mod door;
mod downloads;
mod faults;
mod full;
mod harness;
mod intents;
mod kills;
mod load;
mod logout;
mod names;
mod nbd;
mod nbd_read;
mod openid;
mod real_servers;
mod rebalance;
mod reload;
mod removed;
mod replicas;
mod restart;
mod returning;
mod sick;
mod signin;
mod slow;
mod smuggling;
mod startup;
mod stickiness;
mod storm;
mod streams;
mod tcp;
mod tunnels;
mod upgrade;
mod wall_clock;

/// Becomes a model server, when one of the other tests starts this program again; otherwise shows
/// that such a process is there, dies by `kill -9` and takes its memory with it.
#[test]
fn model_process() {
    ebbtide_testkit::serve_if_asked();
    let scratch = ebbtide_testkit::Scratch::new();
    let mut model = ebbtide_testkit::Model::start("web1", &scratch.join("ledger"));
    assert!(model.is_alive());
    model.kill();
    assert!(!model.is_alive());
}
