//! Why a copy may serve and stand in, or may not: one reason from a closed list.

use super::identity::{Difference, Identity, grouped};
use std::fmt;

/// What follows for one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// New clients may begin here.
    pub serves: bool,
    /// It may stand in for the other copies that serve, and they for it.
    pub stands_in: bool,
    /// The one reason, shown wherever the copy is shown.
    pub reason: CopyReason,
}

/// The closed list of reasons behind a [`Verdict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyReason {
    /// It serves, as do others that are identical.
    Identical {
        /// How many others.
        others: usize,
    },
    /// It serves, and no other copy is known to be identical.
    Alone,
    /// It serves: no copy is known, and this one is the first of the file that is there.
    FirstOfFile {
        /// How much of it has been read, 0 to 100; `None`: only its size will ever be known.
        percent: Option<u8>,
    },
    /// It serves alone, as the configuration says.
    Assigned,
    /// Each answer tells what it is.
    ByAnswer,
    /// The resource is private, and another server has it.
    Private {
        /// Which, as `pool/server`.
        server: String,
    },
    /// The resource is not balanced, and another server has it.
    NotBalanced {
        /// Which, as `pool/server`.
        server: String,
    },
    /// The resource is in maintenance.
    Maintenance,
    /// Not the same bytes as those it would have to stand in for, or not known to be.
    Differs {
        /// In what.
        difference: Difference,
        /// The same in a sentence.
        text: String,
    },
    /// The configuration says which digest is right, and this one's is another or not known.
    NotPinned {
        /// This one's, if it is known, shortened.
        digest: Option<String>,
    },
    /// Nothing is known of it beyond its size.
    OnlySize,
    /// Nobody has looked yet.
    Unknown,
    /// Some servers have not been looked at yet for the first time, so nobody can say which copies
    /// are the most.
    Waiting,
    /// Ebbtide is reading it.
    Reading {
        /// How much of it has been read, 0 to 100.
        percent: u8,
    },
    /// The server does not have it.
    Absent,
    /// It cannot be found out.
    Unreachable {
        /// Why.
        why: String,
    },
    /// The server has shown another size than it was known by.
    Contradicted {
        /// The size that it was known by, in bytes.
        known: u64,
        /// The size that it showed, in bytes.
        size: u64,
    },
    /// There is no such server in the pool.
    NoServer,
}

impl CopyReason {
    pub(super) fn differs(
        here: &Identity,
        other: &Identity,
        difference: Difference,
        place: &str,
    ) -> Self {
        Self::Differs {
            difference,
            text: here.explain(difference, other, place),
        }
    }

    /// The word for it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Identical { .. } => "identical",
            Self::Alone => "alone",
            Self::FirstOfFile { .. } => "first-of-file",
            Self::Assigned => "assigned",
            Self::ByAnswer => "by-answer",
            Self::Private { .. } => "private",
            Self::NotBalanced { .. } => "not-balanced",
            Self::Maintenance => "maintenance",
            Self::Differs { difference, .. } => match difference {
                Difference::Size => "size-differs",
                Difference::Digest => "digest-differs",
                Difference::Version => "version-differs",
                Difference::Modified => "time-differs",
                Difference::OnlySize => "only-size",
                Difference::NothingShared => "nothing-shared",
            },
            Self::NotPinned { .. } => "not-pinned",
            Self::OnlySize => "only-size",
            Self::Unknown => "unknown",
            Self::Waiting => "waiting",
            Self::Reading { .. } => "reading",
            Self::Absent => "absent",
            Self::Unreachable { .. } => "unreachable",
            Self::Contradicted { .. } => "contradicted",
            Self::NoServer => "no-server",
        }
    }
}

impl fmt::Display for CopyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identical { others: 1 } => f.write_str("identical to one other copy"),
            Self::Identical { others } => write!(f, "identical to {others} other copies"),
            Self::Alone => f.write_str("no other copy is known to be identical"),
            Self::FirstOfFile {
                percent: Some(percent),
            } => write!(
                f,
                "serves alone until copies are known, as the first of the file; {percent} % read"
            ),
            Self::FirstOfFile { percent: None } => f.write_str(
                "serves alone, as the first of the file: of no copy more than the size is known",
            ),
            Self::Assigned => f.write_str("serves alone, as the configuration says"),
            Self::ByAnswer => f.write_str(
                "each answer tells: strong ETag, Last-Modified and Content-Length are compared",
            ),
            Self::Private { server } => write!(f, "private: served by {server} only"),
            Self::NotBalanced { server } => write!(f, "balance is off: served by {server} only"),
            Self::Maintenance => f.write_str("in maintenance: doors only"),
            Self::Differs { text, .. } => f.write_str(text),
            Self::NotPinned {
                digest: Some(digest),
            } => {
                write!(
                    f,
                    "digest differs: {digest} here, the configuration says another"
                )
            }
            Self::NotPinned { digest: None } => {
                f.write_str("its digest is not known, and the configuration says which is right")
            }
            Self::OnlySize => f.write_str("only the size is known"),
            Self::Unknown => f.write_str("nobody has looked yet"),
            Self::Waiting => f.write_str("waits until every server has been looked at once"),
            Self::Reading { percent } => write!(f, "is being read, {percent} %"),
            Self::Absent => f.write_str("the server does not have it"),
            Self::Unreachable { why } => write!(f, "cannot be found out: {why}"),
            Self::Contradicted { known, size } => write!(
                f,
                "the server shows {} B, and it was known by {} B",
                grouped(*size),
                grouped(*known)
            ),
            Self::NoServer => f.write_str("there is no such server in the pool"),
        }
    }
}
