//! Whether a body is a page, whatever its head says of it: by its first bytes.

/// A page whose first character has not come within so many bytes is not looked for any longer.
pub(crate) const SNIFF_BYTES_MAX: usize = 4 * 1024;

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// What UTF-16 begins with, in either order of its bytes.
const UTF16_BOMS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// What the first bytes look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// HTML; it begins after so many bytes of a byte order mark.
    Html {
        /// 0 or 3.
        mark_bytes: usize,
    },
    /// UTF-16, whatever its head says: a byte order mark counts for more (WHATWG Encoding, 6).
    Utf16,
    /// Something else: it does not begin with `<`. So do JSON, images, archives and text; a page that
    /// begins with text is among them, as nothing tells it from what is not a page. Without its mark,
    /// UTF-16 is none to a browser either.
    Other,
    /// Only white space so far, or nothing.
    Unknown,
}

/// Looks at the front of a body.
pub fn look(front: &[u8]) -> Look {
    if UTF16_BOMS.iter().any(|mark| front.starts_with(mark)) {
        return Look::Utf16;
    }
    let (mark_bytes, text) = match front.strip_prefix(UTF8_BOM) {
        Some(text) => (UTF8_BOM.len(), text),
        None if UTF8_BOM.starts_with(front) => return Look::Unknown,
        None if UTF16_BOMS.iter().any(|mark| mark.starts_with(front)) => return Look::Unknown,
        None => (0, front),
    };
    let mut visible = text.iter().skip_while(|byte| is_blank(**byte));
    match (visible.next(), visible.next()) {
        (Some(b'<'), Some(next)) => match next {
            b'!' | b'?' | b'/' | b'a'..=b'z' | b'A'..=b'Z' => Look::Html { mark_bytes },
            _ => Look::Other,
        },
        (Some(b'<'), None) => Look::Unknown,
        (Some(_), _) => Look::Other,
        (None, _) if front.len() >= SNIFF_BYTES_MAX => Look::Other,
        (None, _) => Look::Unknown,
    }
}

/// White space of HTML.
pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\x0c' | b'\r' | b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_begin_with_markup() {
        let pages: [&[u8]; 5] = [
            b"<!doctype html>",
            b" \r\n\t\x0c<p>",
            b"<?xml version=\"1.0\"?>",
            b"<H1>",
            b"<!-- -->",
        ];
        for page in pages {
            assert_eq!(look(page), Look::Html { mark_bytes: 0 }, "{page:?}");
            let marked = [UTF8_BOM, page].concat();
            assert_eq!(look(&marked), Look::Html { mark_bytes: 3 });
        }
    }

    #[test]
    fn what_else_is_called_html_is_not_taken_for_a_page() {
        let others: [&[u8]; 10] = [
            b"{\"a\":1}",
            b"[]",
            b"%PDF-1.7",
            b"\x89PNG\r\n",
            b"GIF89a",
            b"\x1f\x8b\x08",
            b"\xff\xd8\xff\xe0",
            b"<\0h\0t\0",
            b"\0<\0h",
            b"ok",
        ];
        for other in others {
            assert_eq!(look(other), Look::Other, "{other:?}");
        }
        for unknown in [
            b"".as_slice(),
            b"\xef",
            b"\xff",
            b"\xfe",
            b"\xef\xbb",
            b" \n",
            b"\xef\xbb\xbf \n<",
        ] {
            assert_eq!(look(unknown), Look::Unknown, "{unknown:?}");
        }
        assert_eq!(look(&[b' '; SNIFF_BYTES_MAX]), Look::Other);
        assert_eq!(look(b"\xff\xfe<\0h\0"), Look::Utf16);
        assert_eq!(look(b"\xfe\xff\0<"), Look::Utf16);
    }
}
