//! What others have said, as people are shown it: as it was written, and never longer than a line can bear.

/// So much is shown of what was said, in characters.
pub const QUOTED_CHARACTERS_MAX: usize = 24;

/// Of a text that is longer than [`QUOTED_CHARACTERS_MAX`] the beginning, and a sign that there is more.
pub fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The same between quotation marks, with what cannot be seen escaped.
pub fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_shown_as_it_was_written() {
        assert_eq!(quoted("1'200"), "\"1'200\"");
        assert_eq!(quoted("up\0\u{1b}"), "\"up\\0\\u{1b}\"");
        let just = "\u{e4}".repeat(QUOTED_CHARACTERS_MAX);
        assert_eq!(shortened(&just), just);
        assert_eq!(shortened(&format!("{just}x")), format!("{just}…"));
    }
}
