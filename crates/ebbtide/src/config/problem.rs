//! What is wrong with a file, shown at its line and column.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use ebbtide_core::count;
use serde::Serialize;
use std::fmt;
use std::io::IsTerminal;
use std::ops::Range;

/// More than these are counted, not shown: a file that is something else altogether.
const SHOWN_MAX: usize = 200;
/// Lines of the file that are handed to the renderer on each side, so that a mistake in a huge
/// file costs no more than one in a small file.
const LINES_AROUND: usize = 1;

/// One mistake in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// What is wrong, in a line that makes sense by itself.
    pub title: String,
    /// Where, in bytes.
    pub span: Range<usize>,
    /// What to write there at that place, in few words.
    pub label: String,
    /// What to do.
    pub help: Option<String>,
}

/// A mistake and its place, for programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MistakeAt {
    /// The file, as it was named.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

/// All mistakes of one file. [`fmt::Display`] shows them with their lines.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    path: String,
    source: String,
    problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(super) fn new(path: &str, source: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.start);
        Self {
            path: path.into(),
            source: source.into(),
            problems,
        }
    }

    /// How many mistakes there are.
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    /// Every mistake by itself.
    pub fn mistakes(&self) -> Vec<MistakeAt> {
        let problems = self.problems.iter();
        problems
            .map(|problem| {
                let (line, column) = place(&self.source, problem.span.start);
                let help = problem.help.as_ref().unwrap_or(&problem.label);
                MistakeAt {
                    file: self.path.clone(),
                    line,
                    column,
                    message: format!("{}; {help}", problem.title),
                }
            })
            .collect()
    }

    /// As [`fmt::Display`], in colour where standard error is a terminal that wants it.
    pub fn for_terminal(&self) -> String {
        let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let renderer = if coloured {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        self.render(&renderer)
    }

    fn render(&self, renderer: &Renderer) -> String {
        let shown = self.problems.iter().take(SHOWN_MAX);
        let mut text: Vec<String> = shown
            .map(|problem| self.render_one(renderer, problem))
            .collect();
        let hidden = self.problems.len().saturating_sub(SHOWN_MAX);
        if hidden > 0 {
            text.push(format!(
                "… and {}, not shown",
                count(hidden, "more mistake")
            ));
        }
        text.join("\n\n")
    }

    fn render_one(&self, renderer: &Renderer, problem: &Problem) -> String {
        let (window, first_line) = self.window(&problem.span);
        let source = &self.source[window.clone()];
        let local = |position: usize| position.clamp(window.start, window.end) - window.start;
        let span = local(problem.span.start)..local(problem.span.end);
        let snippet = Snippet::source(source)
            .path(self.path.as_str())
            .line_start(first_line)
            .annotation(
                AnnotationKind::Primary
                    .span(span)
                    .label(problem.label.as_str()),
            );
        let mut group = Level::ERROR
            .primary_title(problem.title.as_str())
            .element(snippet);
        if let Some(help) = &problem.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        renderer.render(&[group])
    }

    /// The lines around a span, and the number of the first.
    fn window(&self, span: &Range<usize>) -> (Range<usize>, usize) {
        let bytes = self.source.as_bytes();
        let line_start = |from: usize| {
            bytes[..from]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |newline| newline + 1)
        };
        let line_end = |from: usize| {
            bytes[from..]
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(bytes.len(), |newline| from + newline)
        };
        let mut start = line_start(span.start.min(bytes.len()));
        let mut end = line_end(span.start.min(bytes.len()));
        for _ in 0..LINES_AROUND {
            start = line_start(start.saturating_sub(1));
            end = line_end((end + 1).min(bytes.len()));
        }
        let first_line = bytes[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
        (start..end, first_line)
    }
}

/// Line and column of a byte, both from 1.
pub(super) fn place(source: &str, position: usize) -> (usize, usize) {
    let before = &source[..source.floor_char_boundary(position)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Renderer::plain()))
    }
}

impl std::error::Error for ConfigErrors {}
