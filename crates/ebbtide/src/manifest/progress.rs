//! How far it is, on one line of the terminal that is written over and over.

use crate::view::bytes;
use ebbtide_core::Millis;
use std::io::{IsTerminal, Write};
use std::time::Instant;

const BAR: usize = 20;

/// The line; it goes away with this value.
pub(super) struct Progress {
    started: Instant,
    total: u64,
    on_terminal: bool,
}

impl Progress {
    /// Begins, for so many bytes. Without a terminal nothing is drawn.
    pub fn begin(total: u64, wanted: bool) -> Self {
        Self {
            started: Instant::now(),
            total,
            on_terminal: wanted && std::io::stderr().is_terminal(),
        }
    }

    pub fn draw(&self, done: u64) {
        if !self.on_terminal {
            return;
        }
        let line = line(done, self.total, self.started.elapsed().as_secs_f64());
        self.write(&line);
    }

    fn write(&self, line: &str) {
        // Whoever closed it does not want to know.
        drop(write!(std::io::stderr(), "\r{line}\x1b[K"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.on_terminal {
            self.write("");
        }
    }
}

fn line(done: u64, total: u64, seconds: f64) -> String {
    let total = total.max(done).max(1);
    let share = done as f64 / total as f64;
    let filled = (share * BAR as f64) as usize;
    let rate = done as f64 / seconds.max(0.001);
    let left = match rate > 0.0 {
        true => Millis::from_secs(((total - done) as f64 / rate).ceil() as u64).to_string(),
        false => "?".to_owned(),
    };
    format!(
        "{}{} {:3.0} %  {} of {}, {}/s, {left} left",
        "#".repeat(filled),
        "-".repeat(BAR - filled),
        share * 100.0,
        bytes(done),
        bytes(total),
        bytes(rate as u64),
    )
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn the_line_says_how_far_how_fast_and_how_long() {
        assert_eq!(
            line(1 << 30, 4 << 30, 2.0),
            "#####---------------  25 %  1.0 GiB of 4.0 GiB, 512.0 MiB/s, 6s left"
        );
        assert_eq!(
            line(0, 0, 0.0),
            "--------------------   0 %  0 of 1, 0/s, ? left"
        );
        // A file that has grown meanwhile.
        assert!(line(9, 5, 1.0).contains("100 %"));
    }
}
