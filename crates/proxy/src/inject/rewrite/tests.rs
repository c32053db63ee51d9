use super::*;
use proptest::prelude::*;

const TAG: &str = "<script src=\"/.ebbtide/notice.js\" async></script>";

fn insertion(mark_bytes: usize) -> Insertion {
    let encoding = AsciiCompatibleEncoding::utf_8();
    Insertion::new(TAG.as_bytes().to_vec(), encoding, mark_bytes)
}

/// The page as it goes out when it comes in pieces of so many bytes, and what became of the script.
fn rewritten(page: &[u8], mark_bytes: usize, piece_bytes: usize) -> (Vec<u8>, Outcome) {
    let mut insertion = insertion(mark_bytes);
    let mut out = Vec::new();
    for piece in page.chunks(piece_bytes) {
        match insertion.outcome() {
            Outcome::Looking => out.extend(insertion.take(piece).unwrap_or_default().concat()),
            _ => out.extend_from_slice(piece),
        }
    }
    if insertion.outcome() == Outcome::Looking {
        out.extend(insertion.end().concat());
    }
    (out, insertion.outcome())
}

/// `page` has a `|` where the script is to be.
#[track_caller]
fn check(page: &str) {
    let expected = page.replacen('|', TAG, 1);
    let page = page.replacen('|', "", 1);
    for piece_bytes in [1, 2, 3, 7, usize::MAX >> 1] {
        let (out, outcome) = rewritten(page.as_bytes(), 0, piece_bytes);
        let out = String::from_utf8(out).expect("UTF-8 as before");
        assert_eq!(
            (out.as_str(), outcome),
            (expected.as_str(), Outcome::Inserted)
        );
    }
}

#[test]
fn the_script_is_the_first_thing_in_the_head() {
    check("<!doctype html><html><head>|<meta charset=utf-8><title>a</title></head><body>b");
    check("<!DOCTYPE html>\n<html lang=\"de>\">\n<!-- <head> -->\n<HEAD profile='>' >|</HEAD>");
    check("<head/>|<p>");
}

#[test]
fn a_page_without_a_head_has_it_before_its_first_tag() {
    check("<!doctype html>\n|<title>a</title>");
    check("|<p>no head, no body");
    check("<html>|<body onload=\"x('<head>')\">");
    check("<html>|<frameset></frameset>");
    check("|<svg></svg>");
    check("<!-- a --><!-- b -->\n|<h1>ü</h1>");
    check("</p>|<div><head>");
    check("<?xml version=\"1.0\"?><!DOCTYPE html><html><head>|");
}

#[test]
fn a_page_of_text_has_it_before_the_text() {
    check("<!doctype html>|\n  only text");
    check("<!doctype html><html>|\nüber &amp; out");
    check("<!-- a -->|text <b>then</b> tags");
    check("<html>|a <head> in vain");
}

#[test]
fn a_page_that_ends_early_has_it_all_the_same() {
    check("<!doctype html>|");
    check("<!doctype html>\n<html>|\n ");
    check("<!doctype html>|<di");
    check("<!-- only this -->|");
}

#[test]
fn a_byte_order_mark_stays_first() {
    let page = "\u{feff}<!doctype html><head><title>";
    let expected = page.replace("<title>", &format!("{TAG}<title>"));
    for piece_bytes in [1, 2, 4, 100] {
        let (out, outcome) = rewritten(page.as_bytes(), 3, piece_bytes);
        assert_eq!(outcome, Outcome::Inserted);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }
}

#[test]
fn other_xml_is_left_alone() {
    for page in [
        "<?xml version=\"1.0\"?>\n<rss version=\"2.0\"><channel></channel></rss>",
        "<?xml version=\"1.0\"?><!-- a --><feed>",
    ] {
        let expected = (page.as_bytes().to_vec(), Outcome::Unreadable);
        assert_eq!(rewritten(page.as_bytes(), 0, 5), expected);
    }
}

#[test]
fn what_is_held_back_is_bounded_and_nothing_of_it_is_lost() {
    let endless = [
        format!("<!-- {}", "x".repeat(3 * HELD_BYTES_MAX)),
        format!("<p title=\"{}", "x".repeat(3 * HELD_BYTES_MAX)),
        format!("<html>{}", " ".repeat(3 * HELD_BYTES_MAX)),
        "<!-- -->".repeat(HELD_BYTES_MAX / 2),
    ];
    for page in endless {
        for piece_bytes in [1, 1000, HELD_BYTES_MAX] {
            let mut insertion = insertion(0);
            let mut out = Vec::new();
            for piece in page.as_bytes().chunks(piece_bytes) {
                match insertion.outcome() {
                    Outcome::Looking => {
                        out.extend(insertion.take(piece).unwrap_or_default().concat())
                    }
                    _ => out.extend_from_slice(piece),
                }
                assert!(insertion.held.len() <= HELD_BYTES_MAX);
            }
            assert_eq!(insertion.outcome(), Outcome::Unreadable);
            assert!(out == page.as_bytes(), "{} in {piece_bytes}", &page[..10]);
        }
    }
}

/// Bytes that look more or less like a page.
fn pages() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "<!doctype html>",
        "<html>",
        "<head>",
        "<HEAD\n",
        "<body>",
        "<title>",
        "</title>",
        "<!--",
        "-->",
        "--!>",
        "<![CDATA[",
        "]]>",
        "<?xml",
        "?>",
        "<script>",
        "</script>",
        "<svg>",
        "</",
        "<",
        ">",
        "\"",
        "'",
        "=",
        " ",
        "\n",
        "a",
        "é",
        "漢",
        "&lt;",
        "\u{feff}",
        "<p ",
        "/>",
        "<plaintext>",
        "\0",
        "<template>",
        "<textarea>",
        "<br",
    ];
    let word = prop_oneof![
        9 => prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

proptest! {
    /// Whatever comes, in whatever pieces: it goes out as it came, with the script at most once, and
    /// the pieces make no difference.
    #[test]
    fn nothing_but_the_script_is_added(page in pages(), piece_bytes in 1usize..9) {
        let whole = rewritten(&page, 0, usize::MAX >> 1);
        let (out, outcome) = rewritten(&page, 0, piece_bytes);
        prop_assert_eq!(&out, &whole.0);
        prop_assert_eq!(outcome, whole.1);
        match outcome {
            Outcome::Inserted => {
                let at = find(&out, TAG.as_bytes()).expect("it is in");
                let rest = [&out[..at], &out[at + TAG.len()..]].concat();
                prop_assert_eq!(rest, page);
            }
            Outcome::Unreadable => prop_assert_eq!(out, page),
            Outcome::Looking => prop_assert!(false, "undecided at the end"),
        }
    }
}
