//! Words, numbers and times, as the console writes them.

use ebbtide_api::{PoolStatus, Timestamp};
use ebbtide_core::{Millis, count};
pub(super) use ebbtide_protocol::html::escape;

/// How a standing looks: a colour, a shape, and words. Never by the colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The class that colours it: `good`, `warn`, `out`, `bad` or `calm`.
    pub tone: &'static str,
    /// The name of its shape among the page's symbols.
    pub shape: &'static str,
    pub words: &'static str,
}

const fn look(tone: &'static str, shape: &'static str, words: &'static str) -> Look {
    Look { tone, shape, words }
}

/// How a server's standing looks, by its one reason.
pub(super) fn standing(reason: &str) -> Look {
    match reason {
        "ready" => look("good", "full-circle", "Ready"),
        "unproven" => look("good", "ring", "Ready, not probed yet"),
        "last-resort" => look("bad", "triangle", "Down, tried as the last one"),
        "full" => look("warn", "square", "Full"),
        "no-copy" => look("warn", "diamond", "No good copy"),
        "reports-full" => look("warn", "square", "Says that it is full"),
        "reports-hold" => look("warn", "half-circle", "Says that it is on hold"),
        "over-peak" => look("warn", "square", "Too busy for new sessions"),
        "peak-zero" => look("warn", "half-circle", "Peak load 0: no new sessions"),
        "agent-full" => look("warn", "square", "Its agent says that it is full"),
        "agent-drain" => look("warn", "half-circle", "Its agent wants no new sessions"),
        "agent-maint" => look("out", "half-circle", "Its agent says maintenance"),
        "sick" => look("bad", "diamond", "Sick: much of its traffic fails"),
        "verifying" => look("calm", "ring", "Shows that it is well"),
        "unverified" => look("bad", "diamond", "Did not show that it is well"),
        "starting" => look("calm", "ring", "Waits for its first good probe"),
        "held" => look("warn", "half-circle", "On hold"),
        "draining" => look("warn", "ebb", "Draining"),
        "drill" => look("warn", "ebb", "A drill is on"),
        "closing" => look("bad", "ebb", "Its pool is closing"),
        "down" => look("bad", "triangle", "Down"),
        "closed" => look("bad", "bar", "Its pool is closed"),
        "door-only" => look("out", "bar", "Operators only"),
        "maintenance" => look("out", "bar", "Maintenance"),
        "removed" => look("calm", "ebb", "Has left the pool"),
        _ => look("calm", "ring", "Unknown"),
    }
}

/// How a pool looks.
pub(super) fn pool_look(pool: &PoolStatus) -> Look {
    match pool.intent.label.as_str() {
        "closed" => look("bad", "bar", "Closed"),
        "closing" => look("bad", "ebb", "Closing"),
        _ if pool.admitting == 0 => look("bad", "triangle", "Open, but nobody new gets in"),
        _ if pool.admitting < pool.minimum => {
            look("warn", "half-circle", "Open, below its minimum")
        }
        _ => look("good", "full-circle", "Open"),
    }
}

/// `1,234,567`.
pub(super) fn number(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1,234 sessions`.
pub(super) fn sessions(sessions: u32) -> String {
    let noun = if sessions == 1 { "session" } else { "sessions" };
    format!("{} {noun}", number(sessions))
}

/// `1.4 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let (mut value, mut unit) = (bytes as f64 / 1000.0, 0);
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", units[unit])
}

/// A span, to the second below an hour and to the minute above.
pub(super) fn span(ms: u64) -> String {
    let day = 24 * 3600 * 1000;
    match ms {
        0..1000 => "0s".into(),
        _ if ms >= 2 * day => count(ms / day, "day"),
        _ => Millis(ms / 1000 * 1000).to_string(),
    }
}

/// A span that is only known roughly.
pub(super) fn about(ms: u64) -> String {
    match ms {
        0..60_000 => "less than a minute".into(),
        _ => format!("about {}", span(ms / 60_000 * 60_000)),
    }
}

/// A point in time for people, in UTC until the page's script writes it in their own zone.
pub(super) fn time(at: Timestamp) -> String {
    let iso = at.to_string();
    let clock = iso.get(11..19).unwrap_or(&iso);
    format!("<time datetime=\"{iso}\" data-clock=\"s\">{clock} UTC</time>")
}

/// The same to the minute, which is all that a forecast knows.
pub(super) fn minute(at: Timestamp) -> String {
    let iso = at.to_string();
    let clock = iso.get(11..16).unwrap_or(&iso);
    format!("<time datetime=\"{iso}\" data-clock=\"m\">{clock} UTC</time>")
}

/// The same with its date.
pub(super) fn date(at: Timestamp) -> String {
    let iso = at.to_string();
    let text = iso.get(..19).unwrap_or(&iso).replace('T', " ");
    format!("<time datetime=\"{iso}\" data-clock=\"d\">{text} UTC</time>")
}

/// What is left until a deadline; the page's script counts it down.
pub(super) fn countdown(at: Timestamp, left_ms: u64) -> String {
    format!(
        "<span class=\"left\" data-until=\"{at}\">{}</span>",
        span(left_ms)
    )
}

/// So much of the whole, in percent.
pub(super) fn percent_of(part: u32, whole: u32) -> f64 {
    f64::from(part) / f64::from(whole.max(1)) * 100.0
}

/// A value in an address's query (RFC 3986, 2.3).
pub(super) fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                encoded.push(byte.into());
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

/// A span as people write it: `90s`, `30m`, `1h 30m`, `2d`; a bare number counts minutes.
pub(super) fn read_span(text: &str) -> Option<u64> {
    let text: String = text.split_whitespace().collect();
    if let Ok(minutes) = text.parse::<u64>() {
        return minutes.checked_mul(60_000);
    }
    let (mut total, mut digits) = (0_u64, String::new());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let is_ms = letter == 'm' && letters.next_if_eq(&'s').is_some();
        let unit = match letter {
            _ if is_ms => 1,
            's' => 1000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => return None,
        };
        let part = digits.parse::<u64>().ok()?.checked_mul(unit)?;
        total = total.checked_add(part)?;
        digits.clear();
    }
    (digits.is_empty() && total > 0).then_some(total)
}

/// Why a session has ended.
pub(super) fn ended(reason: &str) -> &'static str {
    match reason {
        "expired" => "was not heard of any more",
        "logged-out" => "logged out",
        "ended-by-operator" => "ended by an operator",
        "forgotten" => "forgotten",
        "server-gone" => "its server was gone",
        "server-removed" => "its server left the pool",
        "deadline" => "its time was up",
        "idle" => "was idle for too long",
        "disconnected" => "disconnected",
        "resource-maintenance" => "its resource went into maintenance",
        _ => "ended",
    }
}

/// As HTML, with what stands between backticks as code.
pub(super) fn with_code(text: &str) -> String {
    let mut parts = text.split('`').map(escape);
    let mut html = parts.next().unwrap_or_default();
    let mut is_code = true;
    for part in parts {
        html += if is_code { "<code>" } else { "</code>" };
        html += &part;
        is_code = !is_code;
    }
    if !is_code {
        html += "</code>";
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use ebbtide_core::Reason;

    #[test]
    fn backticks_are_code_and_markup_stays_text() {
        assert_eq!(
            with_code("run `a <b>` now"),
            "run <code>a &lt;b&gt;</code> now"
        );
        assert_eq!(with_code("no <i>"), escape("no <i>"));
        assert_eq!(with_code("one ` only"), "one <code> only</code>");
    }

    #[test]
    fn every_reason_has_a_shape_and_words() {
        for reason in Reason::ALL {
            assert_ne!(standing(reason.label()).words, "Unknown", "{reason:?}");
        }
    }

    #[test]
    fn numbers_are_grouped_and_sizes_rounded() {
        assert_eq!(
            [0_u32, 999, 1000, 1_234_567].map(number),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_450_000), "1.4 MB");
        assert_eq!(bytes(999_999), "1.0 MB");
    }

    #[test]
    fn spans_are_read_as_people_write_them() {
        let read = ["30", "90s", "1h 30m", "1h30m", "2d", "1500ms"].map(read_span);
        let expected = [1_800_000, 90_000, 5_400_000, 5_400_000, 172_800_000, 1500];
        assert_eq!(read, expected.map(Some));
        for wrong in ["", "m", "3x", "5m3", "-1m", "99999999999999999999h"] {
            assert_eq!(read_span(wrong), None, "{wrong:?}");
        }
        assert_eq!(span(5_400_000), "1h 30m");
        assert_eq!(about(59_000), "less than a minute");
        assert_eq!(about(754_000), "about 12m");
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(
            escape("<a href='x'>\"&"),
            "&lt;a href=&#39;x&#39;&gt;&quot;&amp;"
        );
        assert_eq!(percent("a b/ü"), "a%20b/%C3%BC");
    }
}
