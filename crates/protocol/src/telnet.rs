//! The Telnet protocol (RFC 854, RFC 855), as far as a proxy must know it that wants to tell a user
//! something in the middle of a session: where a line of the server's text ends and the next has not
//! begun, and what a notice looks like in the user's stream.
//!
//! [`Stream`] follows the bytes from the server to the client. It holds no text and refuses nothing.
//! It hears only one side, so what a server offers counts as agreed: a session in which the server
//! proposes to leave plain text gets no notices, even if the client declined.

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SUBNEGOTIATION: u8 = 250;
const SUBNEGOTIATION_END: u8 = 240;
/// The end of a record (RFC 885): its sender works with screens.
const END_OF_RECORD: u8 = 239;

const OPTION_BINARY: u8 = 0;
const OPTION_END_OF_RECORD: u8 = 25;
const OPTION_ENCRYPT: u8 = 38;
const OPTION_TN3270E: u8 = 40;
const OPTION_START_TLS: u8 = 46;
const OPTION_COMPRESS: u8 = 85;
const OPTION_COMPRESS2: u8 = 86;

/// Where one direction of a Telnet connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the start of a line, and of the stream: a notice may be written here.
    LineStart,
    /// In a line of text, such as after a prompt.
    InLine,
    /// In the middle of something that is longer than one byte: a command, a subnegotiation, or a
    /// carriage return and what belongs to it.
    Within,
    /// What is sent is not text: BINARY (RFC 856), records (RFC 885) or TN3270E
    /// (RFC 2355) are in effect, the ways in which full screens are sent (RFC 1576, RFC 1205).
    Screen,
    /// The bytes can no longer be understood, since they are compressed or encrypted.
    Opaque,
}

/// Follows what a server sends from its first byte on.
#[derive(Clone, Debug)]
pub struct Stream {
    command: Command,
    text: Text,
    is_binary: bool,
    has_records: bool,
    is_tn3270e: bool,
    is_opaque: bool,
}

/// Where in a command the next byte is (RFC 854, RFC 855).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    None,
    /// After `IAC`.
    Begun,
    /// After `IAC` and one of `WILL`, `WONT`, `DO` and `DONT`.
    Option(u8),
    /// After `IAC SB`.
    SubnegotiationBegun,
    /// In the text of a subnegotiation.
    Subnegotiation,
    /// After an `IAC` in that text.
    SubnegotiationIac,
}

/// Where in the text the next byte is (RFC 854, "The NVT printer and keyboard").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    LineStart,
    InLine,
    /// After a carriage return, which is nothing without the line feed or NUL that follows.
    AfterCarriageReturn,
}

impl Default for Stream {
    fn default() -> Self {
        Self::new()
    }
}

impl Stream {
    /// Before the first byte.
    pub fn new() -> Self {
        Self {
            command: Command::None,
            text: Text::LineStart,
            is_binary: false,
            has_records: false,
            is_tn3270e: false,
            is_opaque: false,
        }
    }

    /// Takes note of the bytes that come next.
    pub fn pass(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.is_opaque {
                return;
            }
            self.step(*byte);
        }
    }

    /// Where the stream is.
    pub fn place(&self) -> Place {
        match (self.command, self.text) {
            _ if self.is_opaque => Place::Opaque,
            _ if self.is_binary || self.has_records || self.is_tn3270e => Place::Screen,
            (Command::None, Text::LineStart) => Place::LineStart,
            (Command::None, Text::InLine) => Place::InLine,
            _ => Place::Within,
        }
    }

    /// How many of the bytes that come next must be sent before a notice may be: 0 at the start of a
    /// line, `None` when no line starts among them nor after them.
    pub fn to_line_start(&self, bytes: &[u8]) -> Option<usize> {
        let mut ahead = self.clone();
        for (index, byte) in bytes.iter().enumerate() {
            if ahead.place() == Place::LineStart {
                return Some(index);
            }
            ahead.pass(&[*byte]);
        }
        (ahead.place() == Place::LineStart).then_some(bytes.len())
    }

    fn step(&mut self, byte: u8) {
        self.command = match (self.command, byte) {
            (Command::None, IAC) => Command::Begun,
            (Command::None, _) => {
                self.text_byte(byte);
                Command::None
            }
            (Command::Begun, WILL | WONT | DO | DONT) => Command::Option(byte),
            (Command::Begun, SUBNEGOTIATION) => Command::SubnegotiationBegun,
            (Command::Begun, _) => {
                self.command_byte(byte);
                Command::None
            }
            (Command::Option(verb), _) => {
                self.option(verb, byte);
                Command::None
            }
            (Command::SubnegotiationBegun, _) => {
                self.is_opaque = matches!(
                    byte,
                    OPTION_ENCRYPT | OPTION_START_TLS | OPTION_COMPRESS | OPTION_COMPRESS2
                );
                Command::Subnegotiation
            }
            (Command::Subnegotiation, IAC) => Command::SubnegotiationIac,
            (Command::Subnegotiation, _) => Command::Subnegotiation,
            (Command::SubnegotiationIac, SUBNEGOTIATION_END) => Command::None,
            // `IAC IAC` is a byte of the text. Anything else has no meaning here, and the text goes on.
            (Command::SubnegotiationIac, _) => Command::Subnegotiation,
        };
    }

    /// A command of two bytes; `IAC IAC` is a byte of text.
    fn command_byte(&mut self, byte: u8) {
        match byte {
            IAC => self.text_byte(byte),
            END_OF_RECORD => self.has_records = true,
            _ => {}
        }
    }

    /// `WILL` and `WONT` are about what this side sends. A server that wants records or TN3270E from
    /// its client sends screens as well.
    fn option(&mut self, verb: u8, option: u8) {
        let is_on = matches!(verb, WILL | DO);
        match (option, verb) {
            (OPTION_BINARY, WILL | WONT) => self.is_binary = is_on,
            (OPTION_END_OF_RECORD, WILL | WONT) => self.has_records = is_on,
            (OPTION_END_OF_RECORD, DO) => self.has_records = true,
            (OPTION_TN3270E, _) => self.is_tn3270e = is_on,
            _ => {}
        }
    }

    fn text_byte(&mut self, byte: u8) {
        self.text = match (self.text, byte) {
            (_, b'\r') => Text::AfterCarriageReturn,
            (Text::AfterCarriageReturn, b'\n') => Text::LineStart,
            // A carriage return alone: to the start of the same line, which has text in it.
            _ => Text::InLine,
        };
    }
}

/// Writes a notice, on lines of its own: line end, text, line end. It is the same text for all, in
/// ASCII, since nobody knows what character set a terminal has: letters with marks lose them, other
/// characters become `?`. Lines of the text stay lines, and other control characters are left out.
/// So there is no byte in it that means anything to Telnet (RFC 854), or to a terminal but as text.
pub fn write_notice(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"\r\n");
    for line in text.trim_end().lines() {
        for character in line.chars() {
            match character {
                '\t' => out.push(b' '),
                _ if character.is_control() => {}
                _ if character.is_ascii() => out.push(character as u8),
                _ => out.extend_from_slice(in_ascii(character).as_bytes()),
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// What stands for each of the characters before it.
const TRANSLITERATIONS: &[(&str, &str)] = &[
    ("ÀÁÂÃÅĀĂĄ", "A"),
    ("àáâãåāăąª", "a"),
    ("ÄÆ", "Ae"),
    ("äæ", "ae"),
    ("ÇĆČ", "C"),
    ("çćč", "c"),
    ("ÐĎĐ", "D"),
    ("ðďđ", "d"),
    ("ÈÉÊËĒĖĘĚ", "E"),
    ("èéêëēėęě", "e"),
    ("Ğ", "G"),
    ("ğ", "g"),
    ("ÌÍÎÏĪİ", "I"),
    ("ìíîïīı", "i"),
    ("Ł", "L"),
    ("ł", "l"),
    ("ÑŃŇ", "N"),
    ("ñńň", "n"),
    ("ÒÓÔÕŌŐ", "O"),
    ("òóôõōőº", "o"),
    ("ÖØŒ", "Oe"),
    ("öøœ", "oe"),
    ("Ř", "R"),
    ("ř", "r"),
    ("ŚŞŠȘ", "S"),
    ("śşšș", "s"),
    ("ß", "ss"),
    ("ŤȚ", "T"),
    ("ťț", "t"),
    ("Þ", "Th"),
    ("þ", "th"),
    ("ÙÚÛŪŮŰ", "U"),
    ("ùúûūůű", "u"),
    ("Ü", "Ue"),
    ("ü", "ue"),
    ("ÝŸ", "Y"),
    ("ýÿ", "y"),
    ("ŹŻŽ", "Z"),
    ("źżž", "z"),
    ("‘’‚′", "'"),
    ("“”„″«»", "\""),
    ("‐‑‒–—―−", "-"),
    ("…", "..."),
    ("•·", "*"),
    ("€", "EUR"),
    ("\u{a0}\u{2009}\u{202f}", " "),
    ("\u{ad}\u{200b}\u{feff}", ""),
];

fn in_ascii(character: char) -> &'static str {
    let found = TRANSLITERATIONS
        .iter()
        .find(|(characters, _)| characters.contains(character));
    found.map_or("?", |(_, ascii)| ascii)
}

#[cfg(test)]
mod tests;
