//! NBD with programs that are not ours: our client's side with nbdkit and qemu-nbd, our server's side
//! with nbdinfo, nbdcopy and qemu-img. `cargo xtask test` installs them.

// Helpers of tests are tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod client;
mod clients;
mod server;
mod servers;

use std::io::Read;
use std::path::PathBuf;

const MEBIBYTE: usize = 1 << 20;

/// Two mebibytes with data, zeroes, and blocks that are partly zero; the same in every run.
fn image() -> Vec<u8> {
    let mut state = 1_u32;
    let mut bytes: Vec<u8> = (0..2 * MEBIBYTE)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    bytes[64 * 1024..512 * 1024].fill(0);
    bytes[700_001..900_003].fill(0);
    bytes[2 * MEBIBYTE - 4096..].fill(0);
    bytes
}

/// An empty folder for one test.
fn folder(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("nbd-{test}"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Some bytes more; false at the end.
fn fill(stream: &mut impl Read, buffer: &mut Vec<u8>) -> bool {
    let mut piece = [0; 8192];
    let count = stream.read(&mut piece).unwrap();
    buffer.extend_from_slice(&piece[..count]);
    count > 0
}
