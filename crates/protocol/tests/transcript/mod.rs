//! The form of a transcript file.

use std::fmt::Write;
use std::path::Path;

/// One case of a transcript.
pub struct Case {
    title: String,
    options: Vec<String>,
    input_text: Vec<String>,
    /// The bytes that come in.
    pub input: Vec<u8>,
}

impl Case {
    /// Was this option given?
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|given| given == option)
    }
}

/// Runs every case of the file, and compares what comes out with what is recorded.
pub fn check(file: &str, run: impl Fn(&Case, usize) -> Vec<String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(file);
    let recorded = std::fs::read_to_string(&path).unwrap();
    let (preamble, cases) = parse(&recorded);
    let mut actual = preamble;
    for case in &cases {
        let outcome = run(case, usize::MAX);
        for step in [1, 2, 7] {
            let in_pieces = run(case, step);
            assert_eq!(outcome, in_pieces, "{}: in pieces of {step}", case.title);
        }
        writeln!(actual, "\n## {}", case.title).unwrap();
        for option in &case.options {
            writeln!(actual, "? {option}").unwrap();
        }
        for line in case.input_text.iter().chain(&outcome) {
            writeln!(actual, "{line}").unwrap();
        }
    }
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        std::fs::write(&path, actual).unwrap();
        return;
    }
    for (recorded, actual) in recorded.split("\n## ").zip(actual.split("\n## ")) {
        assert!(recorded == actual, "recorded:\n{recorded}\nnow:\n{actual}");
    }
    assert_eq!(recorded.len(), actual.len(), "the number of cases differs");
}

/// The text before the first case, and the cases without their recorded outcomes.
fn parse(text: &str) -> (String, Vec<Case>) {
    let mut parts = text.split("\n## ");
    let preamble = parts.next().unwrap_or_default().to_string();
    let cases = parts.map(|part| {
        let lines = || part.lines().skip(1);
        let marked = |mark: char| lines().filter(move |line| line.starts_with(mark));
        let input_text: Vec<String> = marked('>').map(str::to_string).collect();
        Case {
            title: part.lines().next().unwrap_or_default().to_string(),
            options: marked('?').map(|line| line[2..].to_string()).collect(),
            input: input_text.iter().flat_map(|line| unescape(line)).collect(),
            input_text,
        }
    });
    (preamble, cases.collect())
}

/// The bytes of an input line.
fn unescape(line: &str) -> Vec<u8> {
    let text = line.strip_prefix("> ").unwrap_or("");
    let (text, line_end) = match text.strip_suffix('\\') {
        Some(text) => (text, ""),
        None => (text, "\r\n"),
    };
    let mut bytes = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, letter == '\\') {
            (_, true) => match letters.next() {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('t') => bytes.push(b'\t'),
                Some('0') => bytes.push(0),
                Some('s') => bytes.push(b' '),
                Some('x') => {
                    let digits: String = letters.by_ref().take(2).collect();
                    bytes.push(u8::from_str_radix(&digits, 16).unwrap());
                }
                // `\*N*text*` repeats a text.
                Some('*') => {
                    let rest: String = letters.by_ref().collect();
                    let mut parts = rest.splitn(3, '*');
                    let count: usize = parts.next().unwrap().parse().unwrap();
                    let unit = unescape(&format!("> {}\\", parts.next().unwrap()));
                    bytes.extend(unit.repeat(count));
                    let tail = parts.next().unwrap_or_default();
                    bytes.extend(unescape(&format!("> {tail}\\")));
                }
                other => panic!("unknown escape {other:?} in {line}"),
            },
            _ => bytes.extend(letter.to_string().bytes()),
        }
    }
    bytes.extend_from_slice(line_end.as_bytes());
    bytes
}

/// Bytes as text; long ones are shortened.
pub fn escape(bytes: &[u8]) -> String {
    let text: String = bytes
        .iter()
        .map(|byte| match byte {
            b' '..=b'~' => char::from(*byte).to_string(),
            _ => format!("\\x{byte:02x}"),
        })
        .collect();
    if text.len() > 120 {
        return format!("{}... ({} bytes)", &text[..40], bytes.len());
    }
    text
}
