//! The settings of servers by name.

use super::{Default, HOUR, Setting, seconds, setting};

/// The settings.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "pools.*.servers.*.resolve",
        seconds(1, HOUR),
        Default::Else("the name in `address` is looked up once, when the file is read"),
        "The name in `address` is looked up so often, give or take a tenth, and each address that it has \
         is a server: of `web`, these are `web-1`, `web-2` and on. They come by themselves and leave by a \
         drain. See [names.md](names.md).",
    ),
    setting(
        "pools.*.servers.*.leave_within",
        seconds(1, 7 * 24 * HOUR),
        Default::Value("\"30m\""),
        "With `resolve`: how long the sessions of a server may go on whose address the name no longer has.",
    ),
];
