//! The two clocks, and the name of the present boot.

use ebbtide_core::{Moment, Now, WallTime};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Reads the boot clock (which counts sleep and never steps) and the wall clock.
pub fn clock() -> Now {
    let wall = millis(clock_gettime(ClockId::Realtime));
    Now {
        moment: Moment(millis(clock_gettime(ClockId::Boottime))),
        // A machine whose clock is set before 1970 shows 1970.
        wall: WallTime(wall.max(0).unsigned_abs()),
    }
}

fn millis(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1000)
        .saturating_add(time.tv_nsec / 1_000_000)
}

/// Names this boot of this machine: only on the same boot does a stored moment mean anything.
/// Where the kernel does not tell, a name that no other start of the program has.
pub fn boot_id() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => format!("unknown-{}-{}", std::process::id(), clock().wall.0),
    }
}
