//! Text in colours, and tables of it: what the status page is made of.

use ebbtide_core::is_unseemly;
use std::io::IsTerminal;

/// How a piece of text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As it comes.
    Plain,
    /// A heading.
    Bold,
    /// Beside the point.
    Dim,
    /// As it should be.
    Good,
    /// On its way, or not as it should be.
    Warning,
    /// Wrong.
    Bad,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warning => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// A piece of text.
pub type Piece = (Style, String);

/// A line, in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line(pub Vec<Piece>);

impl Line {
    /// A line of one piece.
    pub fn of(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    /// The line in as many as it takes, each indented by `indent` and at most `width` wide, broken
    /// between words; a word that is wider than that is broken within.
    pub fn wrap(self, width: usize, indent: usize) -> Vec<Line> {
        let room = width.saturating_sub(indent).max(1);
        let margin = || vec![(Style::Plain, " ".repeat(indent))];
        let (mut lines, mut line, mut used) = (Vec::new(), margin(), 0);
        for (style, text) in self.0 {
            for word in text.split_inclusive(' ') {
                let characters: Vec<char> = word.chars().collect();
                for part in characters.chunks(room) {
                    let text: String = part.iter().collect();
                    // A space at the end of a line takes no room.
                    if used > 0 && used + text.trim_end().chars().count() > room {
                        lines.push(Line(std::mem::replace(&mut line, margin())));
                        used = 0;
                    }
                    used += part.len();
                    line.push((style, text));
                }
            }
        }
        lines.push(Line(line));
        lines
    }

    /// The line as text, cut off at `width` characters.
    pub fn render(&self, coloured: bool, width: usize) -> String {
        let mut text = String::new();
        let mut room = width;
        for (style, piece) in &self.0 {
            // What others have written must not steer the operator's terminal.
            let seemly = |character| {
                if is_unseemly(character) {
                    '\u{fffd}'
                } else {
                    character
                }
            };
            let shown: String = piece.chars().map(seemly).take(room).collect();
            room -= shown.chars().count();
            if coloured && *style != Style::Plain && !shown.trim().is_empty() {
                text.push_str(&format!("{}{shown}\x1b[0m", style.code()));
            } else {
                text.push_str(&shown);
            }
        }
        text.trim_end().to_owned()
    }
}

/// Columns between the margin and what is put under a row.
const INDENT: usize = 6;

/// Puts cells under each other; a column that is empty in every row but the first is left out.
/// Where a row would be wider than `width`, the last columns, as many as it takes, are put under
/// their rows, each cell after its heading: nothing is cut off.
pub fn table(rows: Vec<Vec<Piece>>, width: usize) -> Vec<Line> {
    let widths = column_widths(&rows);
    let total = |kept: usize| -> usize {
        let used = widths[..kept].iter().flatten();
        used.map(|width| width + 2).sum::<usize>()
    };
    // The margin is as wide as the padding of the last column, which nobody sees.
    let fits = |kept: &usize| total(*kept) <= width;
    let kept = (1..=widths.len()).rev().find(fits).unwrap_or(1);
    let heads: Vec<String> = rows
        .first()
        .map(|heads| heads.iter().map(|(_, text)| text.clone()).collect())
        .unwrap_or_default();
    let mut lines = Vec::new();
    for (number, row) in rows.into_iter().enumerate() {
        let mut pieces = vec![(Style::Plain, "  ".to_owned())];
        let mut under = Vec::new();
        for (column, (style, text)) in row.into_iter().enumerate() {
            let Some(width) = widths[column] else {
                continue;
            };
            if column < kept {
                let padding = width - text.chars().count() + 2;
                pieces.push((style, text));
                pieces.push((Style::Plain, " ".repeat(padding)));
            } else if number > 0 && !text.is_empty() {
                let parting = if under.is_empty() { "" } else { "   " };
                under.push((Style::Dim, format!("{parting}{} ", heads[column])));
                under.push((style, text));
            }
        }
        lines.push(Line(pieces));
        if !under.is_empty() {
            lines.extend(Line(under).wrap(width, INDENT));
        }
    }
    lines
}

/// `None`: nobody needs the column.
fn column_widths(rows: &[Vec<Piece>]) -> Vec<Option<usize>> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let is_used = |column: usize| cells(column).skip(1).any(|(_, text)| !text.is_empty());
    let width = |column: usize| cells(column).map(|(_, text)| text.chars().count()).max();
    (0..columns)
        .map(|column| width(column).filter(|_| is_used(column)))
        .collect()
}

/// Whether standard output is a terminal.
pub fn on_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether standard output shows colours: a terminal, whose user has not set `NO_COLOR`.
pub fn coloured() -> bool {
    on_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// An amount of bytes, as people say it.
pub fn bytes(number: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fitting = units.into_iter().find(|(unit, _)| number >= *unit);
    fitting.map_or_else(
        || number.to_string(),
        |(unit, name)| format!("{}.{} {name}", number / unit, number % unit * 10 / unit),
    )
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_are_said_in_the_largest_unit_that_fits() {
        let said = [0, 1023, 1024, 1_600_000, 5 << 30].map(bytes);
        assert_eq!(said, ["0", "1023", "1.0 KiB", "1.5 MiB", "5.0 GiB"]);
    }
}
