//! The line of an agent on a server, in the words of HAProxy's agent-check.
//!
//! Words may come in any order, between spaces, tabs and commas, in any case; of several words of one
//! kind the last one counts, wherever it stands: only what follows `#` is no word. What is not understood
//! is passed over and noted, unless nothing else is there.

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
        match said.take(word) {
            true => is_understood = true,
            false => loose.push(word),
        }
    }
    if !is_understood {
        let shown = shown(line, SHOWN_MAX);
        return Err(shown.map_or(AgentFault::Empty, AgentFault::NotUnderstood));
    }
    let excess = said.weight.as_mut().and_then(AgentWeight::bound);
    let loose = shown(&loose.join(&b' '), REMARK_MAX);
    let loose = loose.map(|loose| format!("not understood: {loose:?}"));
    let notes: Vec<String> = excess.into_iter().chain(loose).collect();
    said.note = Some(notes.join("; ")).filter(|notes| !notes.is_empty());
    Ok(said)
}

impl AgentWeight {
    /// Brings it within bounds; returns what is to be said of that.
    fn bound(&mut self) -> Option<String> {
        let (number, max, said) = match self {
            Self::Percent(number) => (number, AGENT_PERCENT_MAX, "%"),
            Self::Absolute(number) => (number, AGENT_WEIGHT_MAX, "as a weight"),
        };
        let beyond = std::mem::replace(number, (*number).min(max));
        (beyond > max).then(|| match beyond {
            // It may be more than that.
            u32::MAX => format!("it says far more than {max} {said}, which counts as {max}"),
            _ => format!("it says {beyond} {said}, which counts as {max}"),
        })
    }
}

impl AgentLine {
    /// Takes a word in; returns whether it is one.
    fn take(&mut self, word: &[u8]) -> bool {
        if let Some(health) = word_of_health(word) {
            self.health = Some(health);
        } else if let Some(wish) = word_of_wish(word) {
            self.wish = Some(wish);
        } else if let Some(weight) = word_of_weight(word) {
            self.weight = Some(weight);
        } else if let Some(max) = after(word, b"maxconn:").and_then(number) {
            self.connections_max = Some(max);
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

/// `75%`, `weight:75%` or `weight:75`.
fn word_of_weight(word: &[u8]) -> Option<AgentWeight> {
    let absolute = after(word, b"weight:");
    let text = absolute.unwrap_or(word);
    match (text.strip_suffix(b"%"), absolute) {
        (Some(percent), _) => number(percent).map(AgentWeight::Percent),
        (None, Some(weight)) => number(weight).map(AgentWeight::Absolute),
        (None, None) => None,
    }
}

fn after<'a>(word: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = word.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Digits; too large a number is the largest.
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u32, |number, digit| {
        let digit = u32::from(digit - b'0');
        number.saturating_mul(10).saturating_add(digit)
    });
    Some(number)
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b',')
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
