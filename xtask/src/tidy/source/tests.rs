//! Sizes, exceptions and `unsafe`, on small files written out here.

use super::*;

fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let found = parse("a.rs", text).unwrap().functions;
    found
        .into_iter()
        .map(|function| (function.name, function.first_line, function.last_line))
        .collect()
}

/// A function of `lines` lines, below `above`.
fn long_function(above: &str, lines: usize) -> String {
    format!(
        "{above}fn long() {{\n{}}}\n",
        "    work();\n".repeat(lines - 2)
    )
}

fn size_complaints(text: &str) -> Vec<String> {
    check_sizes(&[parse("a.rs", text).unwrap()])
}

#[test]
fn functions_are_measured_from_fn_to_the_closing_brace() {
    let text = "/// Doc.\n#[inline]\npub(crate) async fn first<T>(\n    x: [u8; 2],\n) -> T\nwhere\n    T: Copy,\n{\n    x\n}\n";
    assert_eq!(functions(text), [("first".into(), 3, 10)]);
}

#[test]
fn functions_are_found_in_impls_traits_macros_and_functions() {
    let text = "impl A { fn a() {} }\ntrait T { fn no_body(); fn b() { fn inner() {} } }\nwrap! { fn c() {} }\n";
    let names: Vec<_> = functions(text).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["a", "b", "inner", "c"]);
}

#[test]
fn a_function_pointer_or_a_word_in_text_is_no_function() {
    assert_eq!(
        functions("type F = fn(u8) -> u8;\nconst S: &str = \"fn text() {}\"; // fn comment() {}\n"),
        []
    );
}

#[test]
fn seventy_lines_pass_and_seventy_one_do_not() {
    assert_eq!(size_complaints(&long_function("", 70)), [""; 0]);
    let complaints = size_complaints(&long_function("use a::b;\n", 71));
    assert_eq!(complaints.len(), 1);
    assert!(
        complaints[0].starts_with("a.rs:2: fn long has 71 lines, at most 70"),
        "{complaints:?}"
    );
}

#[test]
fn a_long_function_needs_a_reason_above_its_attributes() {
    let reason = "// tidy: allow(long-function): one table, read from top to bottom\n";
    assert_eq!(size_complaints(&long_function(reason, 71)), [""; 0]);
    assert_eq!(
        size_complaints(&long_function(
            &format!("{reason}/// Ends in {{braces}}\n#[inline]\n"),
            71
        )),
        [""; 0]
    );
    assert_eq!(
        size_complaints(&long_function("// tidy: allow(long-function):\n", 71)).len(),
        1
    );
    assert_eq!(
        size_complaints(&long_function(&format!("{reason}fn other() {{}}\n"), 71)).len(),
        1
    );
    assert_eq!(
        size_complaints(&long_function(&format!("{reason}\n"), 71)).len(),
        1
    );
}

#[test]
fn a_long_file_needs_a_reason_near_its_top() {
    let body = "const A: u8 = 0;\n".repeat(800);
    assert_eq!(size_complaints(&body), [""; 0]);
    assert!(size_complaints(&format!("{body}\n"))[0].starts_with("a.rs:1: 801 lines, at most 800"));
    assert_eq!(
        size_complaints(&format!("// tidy: allow(long-file): a table\n{body}")),
        [""; 0]
    );
    assert_eq!(
        size_complaints(&format!("{body}// tidy: allow(long-file): a table\n")).len(),
        1
    );
}

#[test]
fn unsafe_is_seen_wherever_it_stands_as_a_word_of_code() {
    let text = "#![deny(unsafe_code)]\n// unsafe\nfn a() {\n    call!(unsafe { b() });\n}\nunsafe impl Send for A {}\n";
    let complaints = check_unsafe(&[parse("a.rs", text).unwrap()]);
    let places: Vec<_> = complaints.iter().map(|complaint| &complaint[..7]).collect();
    assert_eq!(places, ["a.rs:4:", "a.rs:6:"]);
}

#[test]
fn what_is_not_rust_is_a_complaint() {
    let files = [TreeFile {
        path: "a.rs".into(),
        text: "fn a( {".into(),
    }];
    let (rust, complaints) = parse_all(&files);
    assert!(rust.is_empty());
    assert!(
        complaints[0].starts_with("a.rs:1: not Rust"),
        "{complaints:?}"
    );
}
