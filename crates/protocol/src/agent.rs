//! The line of an agent on a server, in the words of HAProxy's agent-check.
//!
//! Words may come in any order, between spaces, tabs and commas, in any case; of several words of one
//! kind the last one counts, wherever it stands: only what follows `#` is no word. What is not understood
//! is passed over and noted, unless nothing else is there.

use crate::quote::shortened;

/// The line, with its end, fits into so many bytes.
pub const AGENT_LINE_BYTES_MAX: usize = 4096;
/// The greatest share, in percent: a larger one counts as this. One machine that is mistaken about itself
/// is not to be given everybody.
pub const AGENT_PERCENT_MAX: u32 = 1000;
/// The greatest weight, which is HAProxy's: a larger one counts as this.
pub const AGENT_WEIGHT_MAX: u32 = 256;
/// So much of what an agent says to people is kept, in characters.
const REMARK_MAX: usize = 200;
/// So much of a line that is none is shown, in characters.
const SHOWN_MAX: usize = 40;

/// What an agent says; of what it does not speak of, everything stays as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentLine {
    /// Whether the server is to take new sessions.
    pub wish: Option<AgentWish>,
    /// Whether the service works.
    pub health: Option<AgentHealth>,
    /// The server's share of new sessions.
    pub weight: Option<AgentWeight>,
    /// `maxconn:`; 0 is no limit.
    pub connections_max: Option<u32>,
    /// What follows `#`, for people.
    pub remark: Option<String>,
    /// What was not taken as it was said, for people.
    pub note: Option<String>,
}

/// What the server's own operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentWish {
    /// `ready`.
    Ready,
    /// `drain`.
    Drain,
    /// `maint`.
    Maintenance,
}

/// What the agent thinks of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentHealth {
    /// `up`.
    Up,
    /// `down`.
    Down,
    /// `fail`.
    Fail,
    /// `stopped`.
    Stopped,
}

/// A weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentWeight {
    /// Of the weight that the server was given, in percent, up to [`AGENT_PERCENT_MAX`].
    Percent(u32),
    /// A weight in itself, up to [`AGENT_WEIGHT_MAX`].
    Absolute(u32),
}

/// Why a line has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentFault {
    /// It hung up without a word.
    Silent,
    /// It hung up in the middle of its line.
    Unfinished,
    /// Its line is longer than [`AGENT_LINE_BYTES_MAX`].
    TooLong,
    /// There is nothing in its line.
    Empty,
    /// None of its words is one of an agent; what it says begins so.
    NotUnderstood(String),
}

impl AgentFault {
    /// For people.
    pub fn reason(&self) -> String {
        match self {
            Self::Silent => "it hangs up without a word".into(),
            Self::Unfinished => "it hangs up before the end of its line".into(),
            Self::TooLong => format!("its line is longer than {AGENT_LINE_BYTES_MAX} bytes"),
            Self::Empty => "its line is empty".into(),
            Self::NotUnderstood(shown) => {
                format!("it says {shown:?}, which has no word of an agent")
            }
        }
    }
}

/// Reads the line that an agent begins with; `None` if more of it has to be read first. `is_all`: no
/// more will come.
pub fn read_agent_line(bytes: &[u8], is_all: bool) -> Option<Result<AgentLine, AgentFault>> {
    let head = &bytes[..bytes.len().min(AGENT_LINE_BYTES_MAX)];
    match memchr::memchr2(b'\r', b'\n', head) {
        Some(end) => Some(understand(&head[..end])),
        None if head.len() == AGENT_LINE_BYTES_MAX => Some(Err(AgentFault::TooLong)),
        None if !is_all => None,
        None if head.is_empty() => Some(Err(AgentFault::Silent)),
        None => Some(Err(AgentFault::Unfinished)),
    }
}

fn understand(line: &[u8]) -> Result<AgentLine, AgentFault> {
    let mut said = AgentLine::default();
    let mut excess = Excess::default();
    let mut is_understood = false;
    let mut loose: Vec<&[u8]> = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.iter().position(|byte| !is_space(*byte)) {
        rest = &rest[start..];
        if let Some(remark) = rest.strip_prefix(b"#") {
            said.remark = shown(remark, REMARK_MAX);
            break;
        }
        let end = rest.iter().position(|byte| is_space(*byte));
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        match said.take(word, &mut excess) {
            true => is_understood = true,
            false => loose.push(word),
        }
    }
    if !is_understood {
        let shown = as_said(line, SHOWN_MAX);
        return Err(shown.map_or(AgentFault::Empty, AgentFault::NotUnderstood));
    }
    let loose = as_said(&loose.join(&b' '), REMARK_MAX);
    let loose = loose.map(|loose| format!("not understood: {loose:?}"));
    let notes = [excess.weight, excess.connections_max, loose];
    let notes: Vec<String> = notes.into_iter().flatten().collect();
    said.note = Some(notes.join("; ")).filter(|notes| !notes.is_empty());
    Ok(said)
}

/// What is to be said of the last number of each kind, if it is beyond its bounds.
#[derive(Default)]
struct Excess {
    weight: Option<String>,
    connections_max: Option<String>,
}

impl AgentLine {
    /// Takes a word in; returns whether it is one.
    fn take(&mut self, word: &[u8], excess: &mut Excess) -> bool {
        if let Some(health) = word_of_health(word) {
            self.health = Some(health);
        } else if let Some(wish) = word_of_wish(word) {
            self.wish = Some(wish);
        } else if let Some((weight, beyond)) = word_of_weight(word) {
            self.weight = Some(weight);
            excess.weight = beyond;
        } else if let Some((max, beyond)) = word_of_max(word) {
            self.connections_max = Some(max);
            excess.connections_max = beyond;
        } else {
            return false;
        }
        true
    }
}

fn word_of_health(word: &[u8]) -> Option<AgentHealth> {
    let words: [(&[u8], AgentHealth); 4] = [
        (b"up", AgentHealth::Up),
        (b"down", AgentHealth::Down),
        (b"fail", AgentHealth::Fail),
        (b"stopped", AgentHealth::Stopped),
    ];
    one_of(word, &words)
}

fn word_of_wish(word: &[u8]) -> Option<AgentWish> {
    let words: [(&[u8], AgentWish); 3] = [
        (b"ready", AgentWish::Ready),
        (b"drain", AgentWish::Drain),
        (b"maint", AgentWish::Maintenance),
    ];
    one_of(word, &words)
}

fn one_of<T: Copy>(word: &[u8], words: &[(&[u8], T)]) -> Option<T> {
    let found = words.iter().find(|(one, _)| word.eq_ignore_ascii_case(one));
    found.map(|(_, meaning)| *meaning)
}

/// `75%`, `weight:75%` or `weight:75`, and what is to be said of one that is beyond its bounds.
fn word_of_weight(word: &[u8]) -> Option<(AgentWeight, Option<String>)> {
    let absolute = after(word, b"weight:");
    let text = absolute.unwrap_or(word);
    match (text.strip_suffix(b"%"), absolute) {
        (Some(percent), _) => {
            let (percent, beyond) = bounded(digits(percent)?, AGENT_PERCENT_MAX, "%");
            Some((AgentWeight::Percent(percent), beyond))
        }
        (None, Some(weight)) => {
            let (weight, beyond) = bounded(digits(weight)?, AGENT_WEIGHT_MAX, "as a weight");
            Some((AgentWeight::Absolute(weight), beyond))
        }
        (None, None) => None,
    }
}

fn bounded(digits: &str, max: u32, unit: &str) -> (u32, Option<String>) {
    match digits.parse() {
        Ok(number) if number <= max => (number, None),
        _ => {
            let written = shortened(digits);
            let beyond = format!("it says {written} {unit}, which counts as {max}");
            (max, Some(beyond))
        }
    }
}

/// `maxconn:30`. More than can be counted is no limit.
fn word_of_max(word: &[u8]) -> Option<(u32, Option<String>)> {
    let digits = digits(after(word, b"maxconn:")?)?;
    Some(match digits.parse() {
        Ok(max) => (max, None),
        Err(_) => {
            let written = shortened(digits);
            let beyond = format!("it says maxconn:{written}, which is taken for no limit");
            (0, Some(beyond))
        }
    })
}

fn after<'a>(word: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = word.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// This, if it is nothing but digits.
fn digits(text: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(text).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(text)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b',')
}

/// The beginning of this, if there is anything; what cannot be seen is for whoever shows it to escape.
fn as_said(bytes: &[u8], max: usize) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_matches([' ', '\t', ',']);
    Some(text.chars().take(max).collect()).filter(|text: &String| !text.is_empty())
}

/// What people can be shown of this, if there is anything.
fn shown(bytes: &[u8], max: usize) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.replace(|sign: char| sign.is_control(), " ");
    let text: String = text.trim().chars().take(max).collect();
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
