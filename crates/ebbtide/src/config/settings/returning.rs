//! The settings of how servers come back.

use super::{DAY, Default, HOUR, Kind, Setting, seconds, setting};

/// The settings.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "pools.*.slow_start",
        seconds(1, HOUR),
        Default::Else("none: the whole share at once"),
        "A server that comes back (from a hold, a drain, maintenance or a drill, after it was down, or new in \
     a running pool) gets for so long fewer new sessions than it would: 5 % of them at first, then more \
     and more. Never where no other server takes new sessions.",
    ),
    setting(
        "pools.*.verify.probes",
        Kind::Count(1, 1000),
        Default::Else("`rise` of `health`; 2 without"),
        "Good probes in a row that a server must give. Only those count that began after `ebbtide ready`.",
    ),
    setting(
        "pools.*.verify.path",
        Kind::UrlPath,
        Default::Else("no page"),
        "A page that the server must also answer, with a status of 200 to 299, as many times in a row.",
    ),
    setting(
        "pools.*.verify.expect",
        Kind::Regex,
        Default::Else("any page"),
        "What that page must match somewhere, such as the version that was installed.",
    ),
    setting(
        "pools.*.verify.within",
        seconds(1, 31 * DAY),
        Default::Value("\"15m\""),
        "How long it may take. Then the server stays out until `ebbtide ready` is said again. If nothing \
         is said, it is at least twice the time that so many probes take.",
    ),
];
