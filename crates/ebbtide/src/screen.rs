//! A page that is drawn anew in place, on the terminal's second screen, and what was there before
//! when it is over.

use crate::output::write;
use crate::view::{Line, Style, coloured, on_terminal};
use std::io::IsTerminal;
use std::os::fd::AsFd;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The terminal's second screen; dropping it brings the first one back.
pub struct Screen {}

impl Screen {
    /// Goes there. Standard output must be a terminal.
    pub fn enter() -> Self {
        write(ENTER);
        Self {}
    }

    /// Draws a page over the one before. What does not fit is cut off: a page that is made for
    /// [`width`] only lacks the lines below.
    pub fn draw(&self, lines: &[Line]) {
        let (columns, rows) = size();
        let mut text = String::from("\x1b[H");
        let fitting = lines.iter().take(rows);
        let rendered: Vec<String> = fitting
            .map(|line| format!("{}\x1b[K", line.render(coloured(), columns)))
            .collect();
        text.push_str(&rendered.join("\r\n"));
        text.push_str("\x1b[J");
        write(&text);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        write(LEAVE);
    }
}

/// Columns that a line may have: those of the terminal. Elsewhere nothing is too wide.
pub fn width() -> usize {
    if on_terminal() { size().0 } else { usize::MAX }
}

/// A text for standard error: on a terminal, what is wider than that is broken between words.
pub fn wrapped(text: &str) -> String {
    let stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return text.to_owned();
    }
    let columns = size_of(&stderr).0;
    let lines = text
        .lines()
        .flat_map(|line| Line::of(Style::Plain, line).wrap(columns, 0));
    let lines: Vec<String> = lines.map(|line| line.render(false, usize::MAX)).collect();
    lines.join("\n")
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    size_of(&std::io::stdout())
}

fn size_of(terminal: &impl AsFd) -> (usize, usize) {
    match rustix::termios::tcgetwinsize(terminal) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => (80, 24),
    }
}

/// Prints a page below what is there.
pub fn print(lines: &[Line]) {
    let rendered: Vec<String> = lines
        .iter()
        .map(|line| format!("{}\n", line.render(coloured(), usize::MAX)))
        .collect();
    write(&rendered.concat());
}
