//! The settings of how sick servers are found by their traffic.

use super::{Default, HOUR, Kind, Setting, milliseconds, seconds, setting};

/// The settings.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "pools.*.outliers.act",
        Kind::Flag,
        Default::Value("true"),
        "Whether a server that is found sick is held: it takes no new sessions for a while, and goes on \
         with those that it has. Otherwise that is only shown and told, as it is without this table.",
    ),
    setting(
        "pools.*.outliers.errors",
        Kind::Count(1, 100),
        Default::Value("20"),
        "A server is sick when so many percent more of its requests fail than of the pool's server in the \
         middle, and at least three users met that. Failures are answers of status 5xx, answers that do \
         not come or break off, and connections that are not made; in a `tcp` pool, also those that the \
         server ends within a second and without a word.",
    ),
    setting(
        "pools.*.outliers.slower",
        Kind::Count(0, 1000),
        Default::Value("5"),
        "A server is sick when half of its answers take so many times as long to begin as those of the \
         pool's server in the middle, and more than 256 ms. 0: it never is for being slow.",
    ),
    setting(
        "pools.*.outliers.window",
        seconds(1, HOUR),
        Default::Value("\"10s\""),
        "How long traffic is watched before it is judged. Pools with few requests need longer.",
    ),
    setting(
        "pools.*.outliers.requests",
        Kind::Count(1, 1_000_000),
        Default::Value("50"),
        "A server that had fewer requests in a window is not judged by it.",
    ),
    setting(
        "pools.*.outliers.share_max",
        Kind::Count(1, 100),
        Default::Value("30"),
        "The part of the pool's servers that may be held as sick at a time, in percent. One may always be, \
         where the pool's `minimum` allows for it.",
    ),
    setting(
        "pools.*.outliers.hold",
        milliseconds(1000, HOUR),
        Default::Value("\"30s\""),
        "How long a server is held for the first time. Each time that it is held again soon after, it is \
         for twice as long, up to twenty times this.",
    ),
];
