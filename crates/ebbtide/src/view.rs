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

/// Puts cells under each other; a column that is empty in every row but the first is left out.
pub fn table(rows: Vec<Vec<Piece>>) -> Vec<Line> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|(_, text)| text.chars().count())
            .max()
            .unwrap_or(0)
    };
    let is_used = |column: usize| {
        let mut cells = rows.iter().skip(1).filter_map(|row| row.get(column));
        cells.any(|(_, text)| !text.is_empty())
    };
    let widths: Vec<Option<usize>> = (0..columns)
        .map(|column| is_used(column).then(|| width_of(column)))
        .collect();
    let line = |row: Vec<Piece>| {
        let mut pieces = vec![(Style::Plain, "  ".to_owned())];
        for ((style, text), width) in row.into_iter().zip(&widths) {
            let Some(width) = *width else { continue };
            let padding = width - text.chars().count() + 2;
            pieces.push((style, text));
            pieces.push((Style::Plain, " ".repeat(padding)));
        }
        Line(pieces)
    };
    rows.into_iter().map(line).collect()
}

/// Whether standard output is a terminal.
pub fn on_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether standard output shows colours: a terminal, whose user has not set `NO_COLOR`.
pub fn coloured() -> bool {
    on_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
