//! The script at `PREFIX/notice.js`, which shows notices in the user's window.

use crate::pages::{Envelope, field};
use ebbtide_core::script_with_notice_words;
use ebbtide_protocol::http1::RequestHead;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::sync::LazyLock;

/// With the words that the console shows too.
static SCRIPT: LazyLock<String> =
    LazyLock::new(|| script_with_notice_words(include_str!("notice.js")));

/// Changes with the script.
static ETAG: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = DefaultHasher::new();
    SCRIPT.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
});

/// Writes the script, or that the client has it already (RFC 9110, 13.1.2). Returns the status and
/// the length of the body.
pub(crate) fn answer(
    buf: &[u8],
    head: &RequestHead,
    envelope: Envelope,
    out: &mut Vec<u8>,
) -> (u16, usize) {
    let is_known = field(buf, &head.fields, b"if-none-match").is_some_and(|known| {
        let mut tags = known.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == ETAG.as_bytes())
    });
    let connection = match (envelope.close, envelope.keep_alive) {
        (true, _) => "Connection: close\r\n",
        (false, true) => "Connection: keep-alive\r\n",
        (false, false) => "",
    };
    let (status, content) = match is_known {
        true => ("304 Not Modified", String::new()),
        false => (
            "200 OK",
            format!(
                "Content-Type: text/javascript; charset=utf-8\r\nContent-Length: {}\r\n",
                SCRIPT.len()
            ),
        ),
    };
    let written = write!(
        out,
        "HTTP/1.1 {status}\r\n{content}Cache-Control: public, max-age=300\r\nETag: {}\r\n\
         X-Content-Type-Options: nosniff\r\n{connection}\r\n",
        *ETAG
    );
    debug_assert!(written.is_ok(), "writing to memory does not fail");
    match is_known {
        true => (304, 0),
        false if envelope.head_only => (200, 0),
        false => {
            out.extend_from_slice(SCRIPT.as_bytes());
            (200, SCRIPT.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_small_and_does_nothing_that_a_strict_policy_forbids() {
        assert!(SCRIPT.len() < 24_000, "{} bytes", SCRIPT.len());
        for forbidden in [
            "innerHTML",
            "eval(",
            ".style.",
            "insertAdjacent",
            "document.write",
        ] {
            assert!(!SCRIPT.contains(forbidden), "{forbidden}");
        }
    }
}
