//! Where a test's things live: addresses and folders that no other test uses at the same moment.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A loopback address that nobody else uses: the process's number makes the host part, a counter
/// the port. Asking the kernel for a free port instead would race with the ports of outgoing
/// connections, which all come from 127.0.0.1.
pub fn free_address() -> SocketAddr {
    let [_, high, middle, low] = process::id().to_be_bytes();
    let host = Ipv4Addr::new(127, 64 + high % 128, middle, low);
    // `.0` and `.255` would do on Linux, but read like mistakes in a log.
    let host = if matches!(low, 0 | 255) {
        Ipv4Addr::new(127, 192, middle, low ^ 0x55)
    } else {
        host
    };
    SocketAddr::new(IpAddr::V4(host), 20_000 + NEXT.fetch_add(1, Relaxed))
}

/// A folder of a test's own; removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder, open to every user: tests also start programs as nobody.
    pub fn new() -> Self {
        let name = format!(
            "ebbtide-test-{}-{}",
            process::id(),
            NEXT.fetch_add(1, Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder in the temporary directory");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path within it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
