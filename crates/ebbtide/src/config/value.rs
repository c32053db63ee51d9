//! Values as operators write them: durations, bytes, addresses, ranges. Each reader says what is
//! wrong and what to write instead.

use super::settings::Kind;
use ebbtide_core::{Millis, Network};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use toml::de::DeValue;

/// A value that has been read by its setting's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Of [`Kind::Count`], [`Kind::Bytes`] and [`Kind::Rate`].
    Number(u64),
    /// Of [`Kind::Decimal`], in thousandths.
    Thousandths(i64),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Duration`].
    Duration(Millis),
    /// Of [`Kind::Durations`].
    Durations(Vec<Millis>),
    /// Of every kind of text; an address is not looked up yet.
    Text(String),
    /// Of [`Kind::OneOf`].
    Word(&'static str),
    /// Of [`Kind::UrlPaths`], [`Kind::Words`] and [`Kind::Texts`].
    Texts(Vec<String>),
    /// Of [`Kind::Networks`].
    Networks(Vec<Network>),
    /// Of [`Kind::Statuses`].
    Statuses(Vec<(u16, u16)>),
}

/// What is wrong with a value, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong.
    pub what: String,
    /// What was expected, or what to write.
    pub help: String,
    /// Where, if that is less than all of the value.
    pub(super) at: Option<Range<usize>>,
}

impl Mistake {
    pub(super) fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            help: help.into(),
            at: None,
        }
    }

    /// The same, of one item of a list.
    fn of(self, item: &toml::Spanned<DeValue<'_>>) -> Self {
        Self {
            at: Some(item.span()),
            ..self
        }
    }
}

/// For those who have one line to say it in, as the command line.
impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.what, self.help)
    }
}

impl std::error::Error for Mistake {}

/// Reads `value` as `kind` wants it.
pub(super) fn interpret(kind: Kind, value: &DeValue<'_>) -> Result<Value, Mistake> {
    match kind {
        Kind::Count(least, most) => within(integer(value)?, least, most, ""),
        Kind::Decimal(least, most) => decimal(value, least, most).map(Value::Thousandths),
        Kind::Bytes(least, most) => within(bytes(value)?, least, most, " bytes"),
        Kind::Rate(least, most) => within(rate(value)?, least, most, " bytes per second"),
        Kind::Duration(least, most) => duration_within(value, least, most).map(Value::Duration),
        Kind::Durations(count_max, least, most) => {
            durations(value, count_max, least, most).map(Value::Durations)
        }
        Kind::Flag => value.as_bool().map(Value::Flag).ok_or_else(|| {
            let what = format!("expected true or false, found {}", article(value));
            Mistake::new(what, "write true or false, without quotes")
        }),
        Kind::Words(words) => listed_words(value, words).map(Value::Texts),
        Kind::Texts(count_max) => texts(value, count_max).map(Value::Texts),
        Kind::Url => plain(text(value, "an address in quotes")?).map(Value::Text),
        Kind::Regex => regex(text(value, "a regular expression in quotes")?).map(Value::Text),
        Kind::UrlPaths => {
            let array = value.as_array().ok_or_else(|| {
                Mistake::new(
                    format!("expected a list of paths, found {}", article(value)),
                    "write [\"/logout\"]",
                )
            })?;
            let path = |item: &toml::Spanned<DeValue<'_>>| {
                url_path(text(item.get_ref(), "a path in quotes")?)
            };
            let paths = array
                .iter()
                .map(|item| path(item).map_err(|why| why.of(item)));
            Ok(Value::Texts(paths.collect::<Result<_, _>>()?))
        }
        Kind::Raw => Ok(Value::Text(text(value, "text in quotes")?.into())),
        Kind::Networks => networks(value).map(Value::Networks),
        Kind::Text | Kind::FilePath => plain(text(value, "text in quotes")?).map(Value::Text),
        Kind::UrlPath => url_path(text(value, "a path in quotes")?).map(Value::Text),
        Kind::CookieName => cookie_name(text(value, "a name in quotes")?).map(Value::Text),
        Kind::FieldName => field_name(text(value, "a name in quotes")?).map(Value::Text),
        Kind::Pool => Ok(Value::Text(text(value, "a pool's name in quotes")?.into())),
        Kind::ServerAddress | Kind::ListenAddress => {
            let address = text(value, "an address in quotes, such as \"10.0.0.11:8080\"")?;
            split_address(address).map(|_| Value::Text(address.into()))
        }
        Kind::Statuses => {
            statuses(text(value, "statuses in quotes, such as \"200-399\"")?).map(Value::Statuses)
        }
        Kind::OneOf(now, later) => one_of(text(value, "a word in quotes")?, now, later),
    }
}

/// The word for a value's type, with its article.
pub(super) fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn text<'a>(value: &'a DeValue<'_>, expected: &str) -> Result<&'a str, Mistake> {
    value.as_str().ok_or_else(|| {
        Mistake::new(
            format!("found {}", article(value)),
            format!("expected {expected}"),
        )
    })
}

fn integer(value: &DeValue<'_>) -> Result<u64, Mistake> {
    let expected = "expected a whole number without quotes";
    let number = value
        .as_integer()
        .ok_or_else(|| Mistake::new(format!("found {}", article(value)), expected))?;
    u64::from_str_radix(number.as_str(), number.radix()).map_err(|_| {
        Mistake::new(
            format!("`{number}` is out of bounds"),
            "expected a whole number, not negative",
        )
    })
}

/// In thousandths.
fn decimal(value: &DeValue<'_>, least: i64, most: i64) -> Result<i64, Mistake> {
    let text = match value {
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        other => {
            let what = format!("found {}", article(other));
            return Err(Mistake::new(what, "expected a number without quotes"));
        }
    };
    let expected = format!("expected {least} to {most}, with up to three digits after the point");
    let wrong = |what: &str| Mistake::new(format!("`{text}` {what}"), expected.as_str());
    let number: f64 = text.parse().map_err(|_| wrong("is not a number"))?;
    if !(least as f64..=most as f64).contains(&number) {
        return Err(wrong("is out of bounds"));
    }
    let thousandths = (number * 1000.0).round();
    // Both are the nearest to the same decimal, or it has more digits.
    if thousandths / 1000.0 != number {
        return Err(wrong("has more than three digits after the point"));
    }
    Ok(thousandths as i64)
}

fn within(number: u64, least: u64, most: u64, unit: &str) -> Result<Value, Mistake> {
    if (least..=most).contains(&number) {
        return Ok(Value::Number(number));
    }
    Err(Mistake::new(
        format!("`{number}` is out of bounds"),
        format!("expected {least} to {most}{unit}"),
    ))
}

fn bytes(value: &DeValue<'_>) -> Result<u64, Mistake> {
    if value.as_integer().is_some() {
        return integer(value);
    }
    let text = text(value, "bytes, such as 32768 or \"32KiB\"")?;
    let wrong = || {
        Mistake::new(
            format!("`{text}` is not an amount of bytes"),
            "write 32768, \"32KiB\" or \"1MiB\"",
        )
    };
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

fn rate(value: &DeValue<'_>) -> Result<u64, Mistake> {
    let text = text(value, "a rate in quotes, such as \"50MB/s\"")?;
    let wrong = || {
        Mistake::new(
            format!("`{text}` is not a rate"),
            "write \"50MB/s\", \"50MiB/s\" or \"1GB/s\"",
        )
    };
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "MB/s" => 1_000_000,
        "MiB/s" => 1 << 20,
        "GB/s" => 1_000_000_000,
        "GiB/s" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

fn durations(
    value: &DeValue<'_>,
    count_max: usize,
    least: Millis,
    most: Millis,
) -> Result<Vec<Millis>, Mistake> {
    let array = value.as_array().ok_or_else(|| {
        Mistake::new(
            format!("expected a list of durations, found {}", article(value)),
            "write [\"15m\", \"5m\"]",
        )
    })?;
    if array.len() > count_max {
        return Err(Mistake::new(
            format!("{} durations are too many", array.len()),
            format!("expected at most {count_max}"),
        ));
    }
    let spans = array
        .iter()
        .map(|item| duration_within(item.get_ref(), least, most));
    spans.collect()
}

fn duration_within(value: &DeValue<'_>, least: Millis, most: Millis) -> Result<Millis, Mistake> {
    let written = match value {
        DeValue::Integer(number) => number.to_string(),
        other => text(other, "a duration in quotes, such as \"20m\"")?.to_owned(),
    };
    let span = duration(&written)?;
    if (least..=most).contains(&span) {
        return Ok(span);
    }
    Err(Mistake::new(
        format!("`{written}` is out of bounds"),
        format!("expected {least} to {most}"),
    ))
}

/// Reads a duration: `250ms`, `20m`, `1h30m`, `1h 30m`.
pub fn duration(text: &str) -> Result<Millis, Mistake> {
    let wrong = || {
        Mistake::new(
            format!("`{text}` is not a duration"),
            "write \"250ms\", \"30s\", \"20m\", \"1h30m\" or \"2d\"",
        )
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Mistake::new(
            format!("`{text}` has no unit"),
            format!("write \"{text}s\", \"{text}m\" or \"{text}h\""),
        ));
    }
    let (mut rest, mut total) = (text.trim(), 0_u64);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, after) = rest.split_at(digits);
        let letters = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let factor = match &after[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let part = number.checked_mul(factor).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after[letters..].trim_start();
    }
    Ok(Millis(total))
}

/// Splits `host:port`; the brackets of an IPv6 address are taken off.
pub(super) fn split_address(text: &str) -> Result<(&str, u16), Mistake> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let address = rest.split('/').next().unwrap_or(rest);
        return Err(Mistake::new(
            format!("`{text}` is not `host:port`"),
            format!("leave out \"{scheme}://\": write \"{address}\""),
        ));
    }
    let bare_v6 = text.parse::<std::net::Ipv6Addr>().is_ok();
    if bare_v6 || (!text.starts_with('[') && text.matches(':').count() > 1) {
        return Err(Mistake::new(
            format!("`{text}` is not `host:port`"),
            "an IPv6 address stands in brackets: write \"[2001:db8::1]:8080\"",
        ));
    }
    let Some((host, port)) = text
        .rsplit_once(':')
        .filter(|(host, _)| !host.starts_with('[') || host.ends_with(']'))
    else {
        let host = if text.is_empty() { "10.0.0.11" } else { text };
        return Err(Mistake::new(
            format!("`{text}` has no port"),
            format!("write \"{host}:8080\", with the port to use"),
        ));
    };
    let host = host
        .strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(host);
    let host_is_good = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:%".contains(&byte));
    if !host_is_good || is_hopeless(host) {
        return Err(Mistake::new(
            format!("`{text}` has no host that could be looked up"),
            "write an address or a name before the port: \"10.0.0.11:8080\"",
        ));
    }
    match port.parse::<u16>() {
        Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((host, number))
        }
        _ => Err(Mistake::new(
            format!("`{port}` is not a port"),
            "a port is a number from 1 to 65535",
        )),
    }
}

/// Whether no look-up could ever find this name (RFC 1035, section 2.3.4): a label of it is empty or has
/// more than 63 signs, or the whole has more than 253. An IPv6 address is no name.
fn is_hopeless(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    let mut labels = name.split('.');
    !host.contains(':')
        && (name.len() > 253 || labels.any(|label| !(1..=63).contains(&label.len())))
}

/// Reads `host:port` and looks the host up where it is a name; its first address counts.
pub fn address(text: &str) -> Result<SocketAddr, Mistake> {
    let (host, port) = split_address(text)?;
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip.to_canonical(), port));
    }
    let failed = |why: &str| {
        Mistake::new(
            format!("the name `{host}` cannot be looked up: {why}"),
            "correct the name, or write the address itself",
        )
    };
    let mut found = std::net::ToSocketAddrs::to_socket_addrs(&(host, port))
        .map_err(|error| failed(&error.to_string()))?;
    found.next().ok_or_else(|| failed("it has no address"))
}

fn statuses(text: &str) -> Result<Vec<(u16, u16)>, Mistake> {
    let wrong = |part: &str| {
        Mistake::new(
            format!("`{part}` is not a range of statuses"),
            "write \"200-399\" or \"200-299, 401\"; statuses go from 100 to 599",
        )
    };
    let status = |digits: &str| -> Option<u16> {
        let number = digits.trim().parse().ok()?;
        (100..=599).contains(&number).then_some(number)
    };
    text.split(',')
        .map(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            match (status(from), status(to)) {
                (Some(from), Some(to)) if from <= to => Ok((from, to)),
                _ => Err(wrong(part.trim())),
            }
        })
        .collect()
}

fn one_of(
    word: &str,
    now: &'static [&'static str],
    later: &'static [&'static str],
) -> Result<Value, Mistake> {
    if let Some(known) = now.iter().find(|known| **known == word) {
        return Ok(Value::Word(known));
    }
    let listed = quoted(now);
    if later.contains(&word) {
        return Err(Mistake::new(
            format!("`{word}` comes with a later version"),
            format!("for now: {listed}"),
        ));
    }
    let nearest = nearest(word, now.iter().copied())
        .map(|near| format!("did you mean \"{near}\"? "))
        .unwrap_or_default();
    Err(Mistake::new(
        format!("`{word}` is not known here"),
        format!("{nearest}expected {listed}"),
    ))
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// The name that `word` was probably meant to be.
pub(super) fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    names
        .map(|name| {
            (
                strsim::damerau_levenshtein(&word, &name.to_lowercase()),
                name,
            )
        })
        .filter(|(distance, name)| *distance <= name.len().max(word.len()) / 3 + 1)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn plain(text: &str) -> Result<String, Mistake> {
    if text.is_empty() {
        return Err(Mistake::new(
            "empty",
            "write something, or leave the setting out",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(Mistake::new(
            "a control character or a line break",
            "expected one line of plain text",
        ));
    }
    Ok(text.into())
}

fn listed_words(
    value: &DeValue<'_>,
    words: &'static [&'static str],
) -> Result<Vec<String>, Mistake> {
    let array = value.as_array().ok_or_else(|| {
        Mistake::new(
            format!("expected a list of words, found {}", article(value)),
            format!("write [\"{}\"]", words[0]),
        )
    })?;
    if array.is_empty() {
        return Err(Mistake::new(
            "an empty list",
            format!("expected some of: {}", words.join(", ")),
        ));
    }
    let mut read: Vec<String> = Vec::new();
    for item in array {
        let word = text(item.get_ref(), "a word in quotes").map_err(|why| why.of(item))?;
        one_of(word, words, &[]).map_err(|why| why.of(item))?;
        if read.iter().any(|other| other == word) {
            let what = format!("`{word}` is listed twice");
            return Err(Mistake::new(what, "leave one of them out").of(item));
        }
        read.push(word.to_owned());
    }
    Ok(read)
}

fn texts(value: &DeValue<'_>, count_max: usize) -> Result<Vec<String>, Mistake> {
    let array = value.as_array().ok_or_else(|| {
        Mistake::new(
            format!("expected a list of texts, found {}", article(value)),
            "write [\"one\", \"another\"]",
        )
    })?;
    if array.len() > count_max {
        return Err(Mistake::new(
            format!("{} texts are too many", array.len()),
            format!("expected at most {count_max}"),
        ));
    }
    let items = array.iter().map(|item| item.get_ref());
    let read = items.map(|item| plain(text(item, "text in quotes")?));
    read.collect()
}

/// A regular expression that can be compiled within the crate's own bounds.
fn regex(text: &str) -> Result<String, Mistake> {
    match regex::Regex::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default();
            Err(Mistake::new(
                format!(
                    "`{}` is not a regular expression: {}",
                    text.escape_debug(),
                    why.trim_start_matches("error: ")
                ),
                "write one such as \"v2\\\\..*\", with `\\\\` for a backslash",
            ))
        }
    }
}

fn networks(value: &DeValue<'_>) -> Result<Vec<Network>, Mistake> {
    let example = "write [\"10.0.0.5\", \"10.1.0.0/16\"]";
    let array = value.as_array().ok_or_else(|| {
        Mistake::new(
            format!("expected a list of addresses, found {}", article(value)),
            example,
        )
    })?;
    let network = |item: &toml::Spanned<DeValue<'_>>| {
        let written = text(item.get_ref(), "an address in quotes")?;
        let network = Network::parse(written).ok_or_else(|| {
            let what = format!(
                "`{}` is neither an address nor a network",
                written.escape_debug()
            );
            Mistake::new(what, example)
        })?;
        let (meant, (address, _)) = (network.first(), written.split_once('/').unwrap_or_default());
        match meant == network {
            true => Ok(network),
            false => Err(Mistake::new(
                format!("`{written}` is an address within a network"),
                format!("write \"{meant}\" for the network, or \"{address}\" for the address"),
            )),
        }
    };
    let networks = array
        .iter()
        .map(|item| network(item).map_err(|why| why.of(item)));
    networks.collect()
}

fn url_path(text: &str) -> Result<String, Mistake> {
    let visible = text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if text.starts_with('/') && visible {
        return Ok(text.into());
    }
    Err(Mistake::new(
        format!("`{}` is not the path of a URL", text.escape_debug()),
        "a path begins with `/` and holds visible ASCII characters: \"/health\"",
    ))
}

/// RFC 6265 section 4.1.1: a cookie's name is a token (RFC 9110 section 5.6.2).
/// RFC 9110, 5.1: a token.
fn field_name(text: &str) -> Result<String, Mistake> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.len() <= 256 && text.bytes().all(is_token) {
        return Ok(text.into());
    }
    Err(Mistake::new(
        format!("`{}` cannot name a field", text.escape_debug()),
        "expected a name such as \"X-Remote-User\"",
    ))
}

fn cookie_name(text: &str) -> Result<String, Mistake> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if (1..=128).contains(&text.len()) && text.bytes().all(token) {
        return Ok(text.into());
    }
    Err(Mistake::new(
        format!("`{}` cannot name a cookie", text.escape_debug()),
        "expected 1 to 128 letters, digits, `-`, `_` or `.`",
    ))
}
