//! What the checks need to know of a Rust file, read from its tokens, so that code inside macros counts as well.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::TreeFile;

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
const LONG_FUNCTION: &str = "// tidy: allow(long-function):";
const LONG_FILE: &str = "// tidy: allow(long-file):";
/// A file's own exception stands where a reader of it begins.
const LONG_FILE_WITHIN_LINES: usize = 10;
/// Paths of the modules that may use `unsafe`. Each block there carries its proof.
const UNSAFE_ALLOWED: &[&str] = &[];

/// A Rust file of the tree.
pub struct RustFile<'a> {
    pub path: &'a str,
    pub text: &'a str,
    pub functions: Vec<Function>,
    /// Lines that say `unsafe`, from 1.
    pub unsafe_lines: Vec<usize>,
}

/// A function that has a body, wherever it stands: in a module, an impl, a trait, a macro or another function.
#[derive(Debug, PartialEq)]
pub struct Function {
    pub name: String,
    /// The line of `fn`, from 1.
    pub first_line: usize,
    /// The line of the closing brace.
    pub last_line: usize,
}

/// The Rust files, and a complaint for each that cannot be read as Rust.
pub fn parse_all(files: &[TreeFile]) -> (Vec<RustFile<'_>>, Vec<String>) {
    let (mut rust, mut complaints) = (Vec::new(), Vec::new());
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        match parse(&file.path, &file.text) {
            Ok(parsed) => rust.push(parsed),
            Err(complaint) => complaints.push(complaint),
        }
    }
    (rust, complaints)
}

fn parse<'a>(path: &'a str, text: &'a str) -> Result<RustFile<'a>, String> {
    let tokens: TokenStream = text
        .parse()
        .map_err(|error| format!("{path}:1: not Rust ({error}), make it compile first"))?;
    let mut file = RustFile {
        path,
        text,
        functions: Vec::new(),
        unsafe_lines: Vec::new(),
    };
    collect(tokens, &mut file);
    Ok(file)
}

fn collect(tokens: TokenStream, file: &mut RustFile<'_>) {
    let mut after_fn = None;
    let mut open_function: Option<(String, usize)> = None;
    for token in tokens {
        let line = token.span().start().line;
        let fn_line = after_fn.take();
        match token {
            TokenTree::Ident(word) if word == "fn" => after_fn = Some(line),
            TokenTree::Ident(word) => {
                if word == "unsafe" {
                    file.unsafe_lines.push(line);
                }
                if let Some(first_line) = fn_line {
                    open_function = Some((word.to_string(), first_line));
                }
            }
            // A declaration without a body, as in a trait.
            TokenTree::Punct(mark) if mark.as_char() == ';' => open_function = None,
            TokenTree::Group(group) => {
                if group.delimiter() == Delimiter::Brace
                    && let Some((name, first_line)) = open_function.take()
                {
                    let last_line = group.span_close().start().line;
                    file.functions.push(Function {
                        name,
                        first_line,
                        last_line,
                    });
                }
                collect(group.stream(), file);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Functions and files within their limits, or with a justified exception.
pub fn check_sizes(files: &[RustFile<'_>]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        let lines: Vec<&str> = file.text.lines().collect();
        if lines.len() > FILE_LINES_MAX
            && !lines
                .iter()
                .take(LONG_FILE_WITHIN_LINES)
                .any(|line| justifies(line, LONG_FILE))
        {
            complaints.push(format!(
                "{}:1: {} lines, at most {FILE_LINES_MAX}: split it, or say why not in its first \
                 {LONG_FILE_WITHIN_LINES} lines with `{LONG_FILE} why`",
                file.path,
                lines.len()
            ));
        }
        for function in &file.functions {
            let length = function.last_line - function.first_line + 1;
            if length > FUNCTION_LINES_MAX && !is_excepted(&lines, function.first_line) {
                complaints.push(format!(
                    "{}:{}: fn {} has {length} lines, at most {FUNCTION_LINES_MAX}: split it, or say why not \
                     above it with `{LONG_FUNCTION} why`",
                    file.path, function.first_line, function.name
                ));
            }
        }
    }
    complaints
}

/// Whether the comments and attributes right above a function hold a justified exception.
fn is_excepted(lines: &[&str], fn_line: usize) -> bool {
    let above = lines[..fn_line - 1].iter().rev().map(|line| line.trim());
    let attached = |line: &&str| {
        line.starts_with("//") || (!line.is_empty() && !line.ends_with(['{', '}', ';']))
    };
    above
        .take_while(attached)
        .any(|line| justifies(line, LONG_FUNCTION))
}

/// An exception without a reason is none.
fn justifies(line: &str, exception: &str) -> bool {
    line.trim()
        .strip_prefix(exception)
        .is_some_and(|why| !why.trim().is_empty())
}

/// No `unsafe` but where it is allowed.
pub fn check_unsafe(files: &[RustFile<'_>]) -> Vec<String> {
    let strict = files
        .iter()
        .filter(|file| !UNSAFE_ALLOWED.contains(&file.path));
    let complain = |file: &RustFile<'_>, line: &usize| {
        format!(
            "{}:{line}: unsafe, find a safe way or a crate that has proven it",
            file.path
        )
    };
    strict
        .flat_map(|file| {
            file.unsafe_lines
                .iter()
                .map(move |line| complain(file, line))
        })
        .collect()
}

#[cfg(test)]
mod tests;
