//! The two clocks, and the name of the present boot.

use ebbtide_core::{Moment, Now, WallTime};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::time::{SystemTime, UNIX_EPOCH};

const MILLI: i64 = 1_000_000;

/// Reads the boot clock (which counts sleep and never steps) and the wall clock; that one from the C
/// library, where a test can step it.
pub fn clock() -> Now {
    let boot = nanos(clock_gettime(ClockId::Boottime));
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        });
    // Both change at the same instant: so a moment is the same wall time whenever it is asked for.
    let wall = (wall - boot % MILLI) / MILLI;
    Now {
        moment: Moment(boot / MILLI),
        // A machine whose clock is set before 1970 shows 1970.
        wall: WallTime(wall.max(0).unsigned_abs()),
    }
}

/// Nanoseconds fit until the year 2262.
fn nanos(time: Timespec) -> i64 {
    time.tv_sec
        .saturating_mul(1000 * MILLI)
        .saturating_add(time.tv_nsec)
}

/// Names this boot of this machine: only on the same boot does a stored moment mean anything.
/// Where the kernel does not tell, a name that no other start of the program has.
pub fn boot_id() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => format!("unknown-{}-{}", std::process::id(), clock().wall.0),
    }
}
