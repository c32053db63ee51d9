//! The health page: what a server says of itself.
//!
//! Some applications have a page, made for balancers, that says `ACTIVE - 12 Sessions Available`,
//! `ON HOLD` or `ALL SESSIONS IN USE`, somewhere in whatever markup and encoding its author chose.

use crate::quote::quoted;

/// What counts as healthy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HealthRule {
    /// Ranges of HTTP status, both ends included.
    pub status: Vec<(u16, u16)>,
    /// Text that the page must have. `ACTIVE` (in any case) means that the page speaks the
    /// language of health pages, and is understood rather than searched.
    pub expect: Option<String>,
}

/// What a health page said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PageHealth {
    /// Serving.
    Active {
        /// The sessions it still has places for, if it says so.
        places: Option<u64>,
    },
    /// Serving, though what it says of its places makes no sense.
    Odd {
        /// The places that it is taken to have.
        places: Option<u64>,
        /// What it said and what that is taken for, for people.
        why: String,
    },
    /// Its own administrator holds it: no new sessions.
    OnHold,
    /// Full: no new sessions for now.
    AllInUse,
    /// Not healthy, and why, for people.
    Failing(String),
}

/// Understands a health page. The caller bounds the length of `body`.
///
/// If a page says several things, the one that keeps users away from the server counts. `ON HOLD` and
/// `ALL SESSIONS IN USE` count whatever the status is, as such pages are often sent with 503.
pub fn read_health_page(status: u16, body: &[u8], rule: &HealthRule) -> PageHealth {
    let speaks = |expect: &str| expect.trim().eq_ignore_ascii_case("ACTIVE");
    let text = match &rule.expect {
        Some(expect) if speaks(expect) => plain_text(body),
        _ => String::new(),
    };
    let words = words_of(&text);
    let says = |phrase: &[&str]| {
        words
            .windows(phrase.len())
            .any(|window| window.iter().map(|word| &word.text).eq(phrase))
    };
    if says(&["on", "hold"]) {
        return PageHealth::OnHold;
    }
    if says(&["all", "sessions", "in", "use"]) {
        return PageHealth::AllInUse;
    }
    let in_range = |(first, last): &(u16, u16)| (*first..=*last).contains(&status);
    if !rule.status.iter().any(in_range) {
        let expected = describe_ranges(&rule.status);
        return PageHealth::Failing(format!("it answered {status}; {expected} was expected"));
    }
    match &rule.expect {
        None => PageHealth::Active { places: None },
        Some(expect) if speaks(expect) => match is_active(&words) {
            true => places(&text, &words),
            false => PageHealth::Failing(
                "its page says neither ACTIVE, ON HOLD nor ALL SESSIONS IN USE".to_string(),
            ),
        },
        Some(expect) => match memchr::memmem::find(body, expect.as_bytes()) {
            Some(_) => PageHealth::Active { places: None },
            None => PageHealth::Failing(format!("its page does not say \"{expect}\"")),
        },
    }
}

fn describe_ranges(ranges: &[(u16, u16)]) -> String {
    let texts = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

/// Whether it says `ACTIVE` anywhere, other than in `NOT ACTIVE`.
fn is_active(words: &[Word]) -> bool {
    words.iter().enumerate().any(|(at, word)| {
        let denied = at > 0 && words[at - 1].text == "not";
        word.text == "active" && !denied
    })
}

/// What may follow the number of places; anything else makes it another kind of number.
const AFTER_PLACES: [&str; 5] = ["session", "available", "free", "left", "place"];
/// So many words before that are looked at for what is meant to be a number.
const PLACES_WORDS_MAX: usize = 5;

/// The number in `ACTIVE - n` or `ACTIVE - n Sessions Available`. A number that is too large to be one is
/// no bound, and less than none is none.
fn places(text: &str, words: &[Word]) -> PageHealth {
    let after = |word: &Word| {
        AFTER_PLACES
            .iter()
            .any(|after| word.text.starts_with(after))
    };
    let begins_with_digit =
        |word: &Word| word.text.starts_with(|first: char| first.is_ascii_digit());
    let odd = |words: &[Word], places, taken_for: &str| PageHealth::Odd {
        places,
        why: format!(
            "its page tells of {} places, {taken_for}",
            quoted(&as_written(text, words))
        ),
    };
    for at in 0..words.len() {
        let [active, dash, rest @ ..] = &words[at..] else {
            break;
        };
        if active.text != "active" || dash.text != "-" {
            continue;
        }
        let end = rest.iter().take(PLACES_WORDS_MAX + 1).position(after);
        match &rest[..end.unwrap_or(rest.len())] {
            said @ [number] if let Some(digits) = whole_number(&number.text) => {
                return match digits.parse() {
                    Ok(places) => PageHealth::Active {
                        places: Some(places),
                    },
                    Err(_) => odd(said, None, "which is too many to be a bound"),
                };
            }
            said @ [number]
                if number
                    .text
                    .strip_prefix('-')
                    .and_then(whole_number)
                    .is_some() =>
            {
                return odd(said, Some(0), "which is taken for none");
            }
            said @ [number] if begins_with_digit(number) => {
                return odd(said, None, "which is no whole number and sets no bound");
            }
            said if end.is_some() && said.iter().any(begins_with_digit) => {
                return odd(said, None, "which is no number and sets no bound");
            }
            _ => {}
        }
    }
    PageHealth::Active { places: None }
}

/// These words as their author wrote them, with a space wherever there is any room between them.
fn as_written(text: &str, words: &[Word]) -> String {
    let (Some(first), Some(last)) = (words.first(), words.last()) else {
        return String::new();
    };
    let said = &text[first.from..last.to];
    // Each character stands for a byte of the page, which is in UTF-8 more often than not.
    let bytes = said.chars().map(|letter| letter as u8).collect();
    let said = String::from_utf8(bytes).unwrap_or_else(|_| said.to_owned());
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The digits of a whole number, which may be in groups of three after the first one, which are parted alike by commas or points: of
/// sessions there are no parts.
fn whole_number(word: &str) -> Option<String> {
    let mark = if word.contains(',') { ',' } else { '.' };
    let groups: Vec<&str> = word.split(mark).collect();
    let is_digits = |group: &&str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    let (first, others) = groups.split_first()?;
    let is_grouped = first.len() <= 3 && others.iter().all(|group| group.len() == 3);
    let is_number = groups.iter().all(is_digits) && (others.is_empty() || is_grouped);
    is_number.then(|| groups.concat())
}

/// A word of the page.
struct Word {
    /// In lower case.
    text: String,
    /// Where it begins and ends in the text of the page.
    from: usize,
    to: usize,
}

/// Runs of letters, of digits (with the comma or the point between two of them), and single marks; in lower
/// case. Of two dashes, the second one belongs to a number that follows at once: it is less than none.
fn words_of(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let (mut before, mut before_that) = (' ', ' ');
    for (from, letter) in text.char_indices() {
        let to = from + letter.len_utf8();
        if letter.is_ascii_digit() && matches!(before, ',' | '.') && before_that.is_ascii_digit() {
            words.pop();
            if let Some(number) = words.last_mut() {
                number.text.push(before);
            }
            before = before_that;
        }
        let is_negative =
            || matches!(&words[..], [.., one, other] if one.text == "-" && other.text == "-");
        let same_word = (letter.is_alphabetic() && before.is_alphabetic())
            || (letter.is_ascii_digit() && before.is_ascii_digit())
            || (letter.is_ascii_digit() && before == '-' && is_negative());
        match words.last_mut() {
            Some(word) if same_word => {
                word.text.push(letter.to_ascii_lowercase());
                word.to = to;
            }
            _ if letter.is_whitespace() => {}
            _ => words.push(Word {
                text: letter.to_ascii_lowercase().to_string(),
                from,
                to,
            }),
        }
        (before_that, before) = (before, letter);
    }
    words
}

/// The dashes that people and their tools write, in the encodings they are written in.
const DASHES: [&[u8]; 8] = [
    b"\xe2\x80\x93", // U+2013 in UTF-8
    b"\xe2\x80\x94", // U+2014 in UTF-8
    b"\x96",         // U+2013 in windows-1252
    b"\x97",         // U+2014 in windows-1252
    b"&ndash;",
    b"&mdash;",
    b"&#8211;",
    b"&#x2013;",
];
/// The spaces that are none to [`char::is_whitespace`] as they are written.
const SPACES: [&[u8]; 3] = [b"\xc2\xa0", b"\xa0", b"&nbsp;"];
/// What is not shown: from the one text to the other.
const HIDDEN: [(&[u8], &[u8]); 3] = [
    (b"<!--", b"-->"),
    (b"<script", b"</script"),
    (b"<style", b"</style"),
];

/// What a reader of the page would see, a character for each byte: tags are spaces, dashes are `-`.
fn plain_text(body: &[u8]) -> String {
    let page = body.to_ascii_lowercase();
    let mut text = String::with_capacity(page.len());
    let mut rest = &page[..];
    while let Some(&byte) = rest.first() {
        let starts = |sign: &&[u8]| rest.starts_with(sign);
        if byte == b'<' {
            text.push(' ');
            rest = after_markup(rest);
        } else if let Some(dash) = DASHES.iter().copied().find(starts) {
            text.push('-');
            rest = &rest[dash.len()..];
        } else if let Some(space) = SPACES.iter().copied().find(starts) {
            text.push(' ');
            rest = &rest[space.len()..];
        } else {
            // As it was before it was made lower case.
            text.push(char::from(body[body.len() - rest.len()]));
            rest = &rest[1..];
        }
    }
    text
}

/// What follows the tag, comment, script or style at the front of `page`.
fn after_markup(page: &[u8]) -> &[u8] {
    let hidden = HIDDEN.iter().find(|(from, _)| page.starts_with(from));
    let skip_to = |sign: &[u8], page: &'_ [u8]| match memchr::memmem::find(page, sign) {
        Some(at) => at + sign.len(),
        None => page.len(),
    };
    match hidden {
        Some((b"<!--", to)) => &page[skip_to(to, page)..],
        Some((_, to)) => {
            let close = skip_to(to, page);
            &page[close + skip_to(b">", &page[close..])..]
        }
        None => &page[skip_to(b">", page)..],
    }
}

/// Reads status ranges such as `200-399,401`. The error says what is wrong, for people.
pub fn parse_status_ranges(text: &str) -> Result<Vec<(u16, u16)>, String> {
    let status = |text: &str| -> Result<u16, String> {
        let text = text.trim();
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(status @ 100..=599) if digits => Ok(status),
            _ => Err(format!("\"{text}\" is not an HTTP status (100 to 599)")),
        }
    };
    let range = |part: &str| -> Result<(u16, u16), String> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (status(first)?, status(last)?);
        match first <= last {
            true => Ok((first, last)),
            false => Err(format!("the range {first}-{last} is the wrong way round")),
        }
    };
    text.split(',').map(range).collect()
}

#[cfg(test)]
mod tests;
