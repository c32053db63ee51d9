//! The settings of how servers come back.

use super::{Default, HOUR, Setting, seconds, setting};

/// The settings.
pub(super) const SETTINGS: &[Setting] = &[setting(
    "pools.*.slow_start",
    seconds(1, HOUR),
    Default::Else("none: the whole share at once"),
    "A server that comes back (from a hold, a drain, maintenance or a drill, after it was down, or new in \
     a running pool) gets for so long fewer new sessions than it would: 5 % of them at first, then more \
     and more. Never where no other server takes new sessions.",
)];
