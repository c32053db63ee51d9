//! Which bytes a copy holds, as far as that is known, and when two copies count as the same.

use std::fmt;
use std::sync::Arc;

/// The BLAKE3-256 digest of a copy's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads the 64 hexadecimal digits that [`Display`](fmt::Display) writes, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |at: usize| char::from(pair[at]).to_digit(16);
            *byte = (digit(0)? << 4 | digit(1)?) as u8;
        }
        Some(Self(bytes))
    }

    /// The first twelve digits: enough for people to tell copies apart by.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(12);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// When a copy was last modified, as its file system or its server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Modified {
    /// Whole seconds since 1970-01-01 UTC, rounded down.
    pub seconds: i64,
    /// Nanoseconds beyond those, less than 1,000,000,000.
    pub nanoseconds: u32,
}

impl Modified {
    /// Reads `SECONDS` or `SECONDS.FRACTION`, with a fraction of at most nine digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let unsigned = seconds.strip_prefix('-').unwrap_or(seconds);
        if !is_number(unsigned) || !is_number(fraction) || fraction.len() > 9 {
            return None;
        }
        Some(Self {
            seconds: seconds.parse().ok()?,
            nanoseconds: format!("{fraction:0<9}").parse().ok()?,
        })
    }

    fn nanoseconds_since_1970(self) -> i128 {
        i128::from(self.seconds) * 1_000_000_000 + i128::from(self.nanoseconds)
    }

    /// How far apart two times are, as people say it: `3m 5s`, `42ns`.
    fn apart(self, other: Self) -> String {
        let apart = self.nanoseconds_since_1970() - other.nanoseconds_since_1970();
        let apart = apart.unsigned_abs();
        match u64::try_from(apart / 1_000_000) {
            Ok(0) => format!("{apart}ns"),
            Ok(milliseconds) => crate::time::Millis(milliseconds).to_string(),
            Err(_) => "ages".into(),
        }
    }
}

/// As `stat -c %.9Y` writes it.
impl fmt::Display for Modified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanoseconds)
    }
}

/// What is known of a copy's bytes, the most trusted first below the size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its length, in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub digest: Option<Digest>,
    /// Its version: a strong `ETag`, or what its manifest calls so. A weak validator is no version.
    pub version: Option<Arc<str>>,
    /// When it was last modified.
    pub modified: Option<Modified>,
}

/// Why two copies do not count as the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Their sizes differ.
    Size,
    /// Their digests differ.
    Digest,
    /// Their versions differ.
    Version,
    /// They were modified at different times, and no digests prove that they are the same.
    Modified,
    /// Of one of them nothing is known but its size.
    OnlySize,
    /// One has what the other lacks: nothing beyond the size is known of both.
    NothingShared,
}

impl Identity {
    /// A copy of which only the size is known.
    pub fn of_size(size: u64) -> Self {
        Self {
            size,
            digest: None,
            version: None,
            modified: None,
        }
    }

    /// Whether anything beyond the size is known, so that the copy can be compared at all.
    pub fn is_proven(&self) -> bool {
        self.digest.is_some() || self.version.is_some() || self.modified.is_some()
    }

    /// Whether both are the same bytes, in order of trust:
    ///
    /// 1. Sizes must be equal.
    /// 2. Where both digests are known, they decide alone: equal digests prove equal bytes,
    ///    whatever version and time say.
    /// 3. Otherwise version and time must be equal where both are known, and at least one of them
    ///    must be known of both.
    ///
    /// Symmetric; true of a copy and itself if it [is proven](Self::is_proven). Not transitive: a
    /// copy with a digest only, one with digest and time, and one with a time only are the same in
    /// two pairs, and nothing is known of the third. Whoever forms groups compares every pair.
    pub fn compare(&self, other: &Self) -> Result<(), Difference> {
        if self.size != other.size {
            return Err(Difference::Size);
        }
        if let (Some(one), Some(two)) = (self.digest, other.digest) {
            return if one == two {
                Ok(())
            } else {
                Err(Difference::Digest)
            };
        }
        let versions = self.version.as_ref().zip(other.version.as_ref());
        let times = self.modified.zip(other.modified);
        if versions.is_some_and(|(one, two)| one != two) {
            return Err(Difference::Version);
        }
        if times.is_some_and(|(one, two)| one != two) {
            return Err(Difference::Modified);
        }
        if versions.is_some() || times.is_some() {
            return Ok(());
        }
        match self.is_proven() && other.is_proven() {
            true => Err(Difference::NothingShared),
            false => Err(Difference::OnlySize),
        }
    }

    /// The difference in a sentence; `place` is where the other copy is, such as `on app/s1`.
    pub(super) fn explain(&self, difference: Difference, other: &Self, place: &str) -> String {
        let version = |copy: &Self| copy.version.as_deref().unwrap_or_default().to_owned();
        let digest = |copy: &Self| copy.digest.map(|digest| digest.short()).unwrap_or_default();
        match difference {
            Difference::Size => format!(
                "size differs: {} B here, {} B {place}",
                grouped(self.size),
                grouped(other.size)
            ),
            Difference::Digest => format!(
                "digest differs: {} here, {} {place}",
                digest(self),
                digest(other)
            ),
            Difference::Version => format!(
                "version differs: {} here, {} {place}",
                version(self),
                version(other)
            ),
            Difference::Modified => {
                let apart = self.modified.zip(other.modified);
                let apart = apart.map(|(one, two)| (one > two, one.apart(two)));
                let (later, apart) = apart.unwrap_or_default();
                let word = if later { "later" } else { "earlier" };
                format!(
                    "modified {apart} {word} than {place}, and no digests prove that both are the \
                     same"
                )
            }
            Difference::OnlySize => match self.is_proven() {
                true => format!("only the size is known {place}"),
                false => "only the size is known".into(),
            },
            Difference::NothingShared => {
                format!("no digest, version or time is known both here and {place}")
            }
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B", grouped(self.size))?;
        if let Some(digest) = &self.digest {
            write!(f, ", digest {}", digest.short())?;
        }
        if let Some(version) = &self.version {
            write!(f, ", version {version}")?;
        }
        self.modified
            .map_or(Ok(()), |modified| write!(f, ", modified {modified}"))
    }
}

/// A number in groups of three digits: `1,073,741,824`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_times_read_back() {
        let digest = Digest([0xa5; 32]);
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse(&"A5".repeat(32)), Some(digest));
        let wrong = ["", "a5", &"g5".repeat(32), &"a5".repeat(33)];
        assert!(wrong.iter().all(|text| Digest::parse(text).is_none()));
        assert_eq!(Digest::parse(&"é".repeat(32)), None);
        for (text, seconds, nanoseconds) in [
            ("7", 7, 0),
            ("7.5", 7, 500_000_000),
            ("-1.25", -1, 250_000_000),
        ] {
            let read = Modified::parse(text).unwrap();
            assert_eq!((read.seconds, read.nanoseconds), (seconds, nanoseconds));
            assert_eq!(Modified::parse(&read.to_string()), Some(read));
        }
        for wrong in ["", "-", ".5", "7.", "7.1234567890", "+7", "7.-5", "1e3"] {
            assert_eq!(Modified::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn numbers_are_grouped() {
        let said = [0, 999, 1000, 1_073_741_824].map(grouped);
        assert_eq!(said, ["0", "999", "1,000", "1,073,741,824"]);
    }
}
