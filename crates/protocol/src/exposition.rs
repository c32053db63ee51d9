//! Prometheus' text format, as far as an exporter's page is read: its samples, one after the other.
//!
//! The page comes in pieces and may be of any length, so nothing of it is kept but the line that has
//! not ended yet. Both forms are read: the text format 0.0.4 (prometheus.io, "Exposition formats") and
//! OpenMetrics 1.0, which adds a `# EOF` and exemplars.

mod selector;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use selector::{Selector, SelectorFault};

/// The longest line that is read, in bytes; longer ones are passed over.
pub const LINE_BYTES_MAX: usize = 16 * 1024;

/// Reads a page that comes in pieces.
#[derive(Debug, Default)]
pub struct PageReader {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// That line is too long, and the rest of it is passed over.
    is_too_long: bool,
    read: PageSummary,
}

/// What a page had, in lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageSummary {
    /// Samples, with those that were not wanted and have not been read any further.
    pub samples: u64,
    /// Lines that are neither samples nor comments.
    pub malformed: u64,
    /// Lines that are longer than [`LINE_BYTES_MAX`], whatever they are.
    pub too_long: u64,
}

/// One sample of a page.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample<'a> {
    /// The metric's name.
    pub name: &'a str,
    /// What is between its braces, well formed.
    labels: &'a str,
    /// Its value, which may be infinite or not a number.
    pub value: f64,
}

impl PageReader {
    /// Reads on, and hands every sample that is complete to `each`; of those whose name `wants` does not
    /// let through, only the first of the page: most of a page is of no interest, and reading its labels and
    /// values would take most of the time.
    pub fn feed(
        &mut self,
        mut piece: &[u8],
        wants: impl Fn(&str) -> bool,
        mut each: impl FnMut(Sample<'_>),
    ) {
        while let Some(end) = memchr::memchr(b'\n', piece) {
            let (rest_of_line, next) = (&piece[..end], &piece[end + 1..]);
            piece = next;
            if self.line.is_empty() && !self.is_too_long {
                self.read_line(rest_of_line, &wants, &mut each);
                continue;
            }
            self.keep(rest_of_line);
            self.end_line(&wants, &mut each);
        }
        self.keep(piece);
    }

    /// Reads the last line, if it has no end, and says what the page had.
    pub fn finish(
        mut self,
        wants: impl Fn(&str) -> bool,
        mut each: impl FnMut(Sample<'_>),
    ) -> PageSummary {
        if !self.line.is_empty() || self.is_too_long {
            self.end_line(&wants, &mut each);
        }
        self.read
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.is_too_long || self.line.len() + piece.len() > LINE_BYTES_MAX {
            self.is_too_long = true;
            self.line.clear();
        } else {
            self.line.extend_from_slice(piece);
        }
    }

    fn end_line(&mut self, wants: &impl Fn(&str) -> bool, each: &mut impl FnMut(Sample<'_>)) {
        if std::mem::take(&mut self.is_too_long) {
            self.read.too_long += 1;
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        self.read_line(&line, wants, each);
        line.clear();
        self.line = line;
    }

    fn read_line(
        &mut self,
        line: &[u8],
        wants: &impl Fn(&str) -> bool,
        each: &mut impl FnMut(Sample<'_>),
    ) {
        if line.len() > LINE_BYTES_MAX {
            self.read.too_long += 1;
            return;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            self.read.malformed += 1;
            return;
        };
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        let name = split_name(line).map(|(name, _)| name);
        // Once there has been a sample, the page is an exporter's.
        if self.read.samples > 0 && name.is_some_and(|name| !wants(name)) {
            self.read.samples += 1;
            return;
        }
        match Sample::parse(line) {
            Some(sample) => {
                self.read.samples += 1;
                each(sample);
            }
            None => self.read.malformed += 1,
        }
    }
}

impl<'a> Sample<'a> {
    /// `name{label="value",…} value timestamp`, where all but name and value may be absent.
    fn parse(line: &'a str) -> Option<Self> {
        let (name, rest) = split_name(line)?;
        let rest = rest.trim_start_matches([' ', '\t']);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(inner) => {
                let end = labels_end(inner)?;
                (&inner[..end], &inner[end + 1..])
            }
            None if rest.len() < line.len() - name.len() => ("", rest),
            None => return None,
        };
        let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
        let value = number(words.next()?)?;
        // A timestamp, or an exemplar (OpenMetrics).
        match words.next() {
            None => {}
            Some("#") => {}
            Some(word) => {
                number(word)?;
                if words.next().is_some_and(|word| word != "#") {
                    return None;
                }
            }
        }
        Some(Self {
            name,
            labels,
            value,
        })
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<Cow<'a, str>> {
        let mut rest = self.labels;
        while let Some((found, value, next)) = next_label(rest) {
            if found == name {
                return Some(unescape(value));
            }
            rest = next;
        }
        None
    }
}

/// Every form of number that the format has. Go's own parser takes more, exporters write less.
fn number(word: &str) -> Option<f64> {
    word.parse().ok()
}

/// A metric's or label's name (`[a-zA-Z_:][a-zA-Z0-9_:]*`), and what follows it.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    let end = text.bytes().position(|byte| !is_of_name(byte));
    let (name, rest) = text.split_at(end.unwrap_or(text.len()));
    let first = name.bytes().next()?;
    (!first.is_ascii_digit()).then_some((name, rest))
}

/// Where the labels end that begin here: the place of their `}`. `None` if they are malformed.
fn labels_end(inner: &str) -> Option<usize> {
    let mut rest = inner;
    while let Some((_, _, next)) = next_label(rest) {
        rest = next;
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    rest.starts_with('}').then(|| inner.len() - rest.len())
}

/// The first label, its value as it is written, and what follows them and their comma.
fn next_label(text: &str) -> Option<(&str, &str, &str)> {
    let blanks = [' ', '\t'];
    let (name, rest) = split_name(text.trim_start_matches(blanks))?;
    let rest = rest.trim_start_matches(blanks).strip_prefix('=')?;
    let rest = rest.trim_start_matches(blanks).strip_prefix('"')?;
    let end = quote_end(rest)?;
    let after = rest[end + 1..].trim_start_matches(blanks);
    let next = match after.strip_prefix(',') {
        Some(next) => next,
        // Nothing but the end may follow without a comma.
        None if after.is_empty() || after.starts_with('}') => after,
        None => return None,
    };
    Some((name, &rest[..end], next))
}

/// The place of the quotation mark that ends a value.
fn quote_end(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

/// A label's value without its escapes: `\\`, `\"` and `\n`.
fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(char) = chars.next() {
        match (char, chars.clone().next()) {
            ('\\', Some('n')) => {
                text.push('\n');
                chars.next();
            }
            ('\\', Some(escaped @ ('\\' | '"'))) => {
                text.push(escaped);
                chars.next();
            }
            _ => text.push(char),
        }
    }
    Cow::Owned(text)
}
