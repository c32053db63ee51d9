//! Pages that are given the banner's script: whatever they are and in whatever pieces they come, they go
//! out as they came, with the script once or not at all, and little of them is held back.

use ebbtide_proxy::{Insertion, Look, Outcome, look};
use encoding_rs::{BIG5, GB18030, SHIFT_JIS, UTF_8};
use lol_html::AsciiCompatibleEncoding;

const TAG: &[u8] = b"<script src=\"/.ebbtide/notice.js\" async></script>";
/// What may be held back at most, in bytes.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// A page, after a byte for its encoding, the lengths of its pieces and whether it goes on and on.
pub fn inject(input: &[u8]) {
    let Some((options, page)) = input.split_first() else {
        return;
    };
    let encoding = [UTF_8, SHIFT_JIS, GB18030, BIG5][usize::from(options & 3)];
    let lengths = usize::from(options >> 2 & 7) + 1;
    match options >> 5 {
        0 if page.len() > 64 => {
            let long = page.repeat(2 * HELD_BYTES_MAX / page.len() + 1);
            keeps_all(&long, &written(&long, encoding, 64 * lengths));
        }
        _ => {
            let whole = written(page, encoding, usize::MAX);
            keeps_all(page, &whole);
            let in_pieces = written(page, encoding, lengths);
            assert_eq!(in_pieces, whole, "the pieces make a difference");
        }
    }
}

/// The page as it goes out, in pieces of up to `lengths` bytes, and what became of the script.
fn written(
    page: &[u8],
    encoding: &'static encoding_rs::Encoding,
    lengths: usize,
) -> (Vec<u8>, Outcome) {
    let mark_bytes = match look(page) {
        Look::Html { mark_bytes } => mark_bytes,
        _ => 0,
    };
    let encoding = AsciiCompatibleEncoding::new(encoding).expect("markup is ASCII in it");
    let mut insertion = Insertion::new(TAG.to_vec(), encoding, mark_bytes);
    let (mut out, mut rest, mut taken) = (Vec::new(), page, 0);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.len().min(lengths - taken / 3 % lengths));
        (rest, taken) = (after, taken + piece.len());
        match insertion.outcome() {
            Outcome::Looking => {
                let released = insertion.take(piece).unwrap_or_default();
                out.extend_from_slice(&released.concat());
            }
            Outcome::Inserted | Outcome::Unreadable => out.extend_from_slice(piece),
        }
        let held = taken.saturating_sub(out.len());
        assert!(held <= HELD_BYTES_MAX, "{held} bytes are held back");
    }
    if insertion.outcome() == Outcome::Looking {
        out.extend_from_slice(&insertion.end().concat());
    }
    (out, insertion.outcome())
}

/// Without the script it is the page.
fn keeps_all(page: &[u8], (out, outcome): &(Vec<u8>, Outcome)) {
    match outcome {
        Outcome::Inserted => {
            let same = page.iter().zip(out).take_while(|(came, goes)| came == goes);
            let same = same.count();
            // A page that holds the tag itself goes on as if it were the same for longer.
            let is_split = (same.saturating_sub(TAG.len())..=same)
                .any(|at| out[at..].starts_with(TAG) && out[at + TAG.len()..] == page[at..]);
            assert!(is_split, "{}", out.escape_ascii());
        }
        Outcome::Unreadable => assert!(out == page, "{}", out.escape_ascii()),
        Outcome::Looking => panic!("undecided at the end"),
    }
}
