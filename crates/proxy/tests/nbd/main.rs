//! NBD pools: a session goes on with another server that has the same bytes.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod client;
#[path = "../common/mod.rs"]
mod common;
mod door;
mod hostile;
mod model;
mod poison;
mod sessions;
mod wire;

use client::Client;
use common::{House, Plan};
use ebbtide_core::{
    CopyReason, CopyView, Digest, Identity, IdentitySource, Knowledge, Millis, Mode, PoolConfig,
    Protocol, ReplicaView, ResourceConfig, ResourceView, ServerKey, Verdict,
};
use model::Disk;
use std::sync::Arc;

const SIZE: usize = 3 * 1024 * 1024 + 4096;

/// Data, zeroes, and blocks that are partly zero.
fn image() -> Vec<u8> {
    let mut state = 7_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut bytes: Vec<u8> = (0..SIZE).map(|_| next()).collect();
    bytes[64 * 1024..512 * 1024].fill(0);
    bytes
}

fn nbd(pool: &mut PoolConfig) {
    pool.protocol = Protocol::Nbd;
    pool.http.response_timeout = Millis::from_secs(30);
    pool.nbd.stand_in = Millis::from_secs(30);
}

fn identity(digest: u8) -> Identity {
    Identity {
        digest: Some(Digest([digest; 32])),
        ..Identity::of_size(SIZE as u64)
    }
}

/// The resource `disk`: each server's copy, and whether new clients may begin there.
fn disk(mode: Mode, server: Option<&str>, copies: &[(Knowledge, bool)]) -> Arc<ReplicaView> {
    let copies = copies
        .iter()
        .enumerate()
        .map(|(index, (knowledge, serves))| CopyView {
            server: ServerKey(index as u32),
            name: format!("web{}", index + 1).into(),
            knowledge: knowledge.clone(),
            watch: None,
            verdict: Verdict {
                serves: *serves,
                stands_in: *serves,
                reason: CopyReason::Identical { others: 1 },
            },
        });
    let rule = ResourceConfig {
        mode,
        server: server.map(str::to_owned),
        ..ResourceConfig::shared("disk")
    };
    Arc::new(ReplicaView {
        resources: vec![ResourceView {
            rule,
            source: IdentitySource::Manifest,
            copies: copies.collect(),
        }],
        manifests: Vec::new(),
        readings: Vec::new(),
    })
}

/// A house in which every server has the same disk.
fn house(disks: &[&Disk]) -> House {
    house_with(disks, nbd)
}

fn house_with(disks: &[&Disk], edit: fn(&mut PoolConfig)) -> House {
    house_of(disks, 1, edit)
}

fn house_of(disks: &[&Disk], workers: usize, edit: fn(&mut PoolConfig)) -> House {
    let mut house = House::build(Plan {
        workers,
        servers: disks.iter().map(|disk| disk.address).collect(),
        edit,
        ..Plan::default()
    });
    let copies: Vec<_> = disks
        .iter()
        .map(|_| (Knowledge::Known(identity(1)), true))
        .collect();
    house.publish(|_, pool| pool.replicas = disk(Mode::Shared, None, &copies));
    house
}

fn pair() -> (Disk, Disk) {
    (Disk::new(image()), Disk::new(image()))
}

/// Which server the one session is on, and how often it has moved.
fn place(house: &House) -> (u32, u32) {
    let live = house.live();
    assert_eq!(live.len(), 1, "one session");
    (live[0].server.0, live[0].moves)
}

#[test]
fn every_byte_is_right_in_either_form() {
    for structured in [true, false] {
        let (one, two) = pair();
        one.act(|_, _| model::Act::Pieces);
        two.act(|_, _| model::Act::Pieces);
        let house = house(&[&one, &two]);
        let mut client = Client::connect(house.listen, structured);
        assert_eq!(client.agreed.structured_replies, structured);
        assert!(client.read_all() == image(), "the same bytes");
        assert_eq!(place(&house).1, 0);
        // A large one goes through the kernel.
        assert!(client.read(0, SIZE as u32) == image(), "the same bytes");
    }
}
