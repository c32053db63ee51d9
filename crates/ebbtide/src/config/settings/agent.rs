//! The settings of the agents on servers.

use super::{Default, HOUR, Kind, Setting, milliseconds, setting};

/// The settings.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "pools.*.agent.port",
        Kind::Count(1, 65_535),
        Default::Required,
        "The port that the agents answer on, each at the address of its server; `ebbtide agent` answers \
         on 9777.",
    ),
    setting(
        "pools.*.agent.every",
        milliseconds(500, HOUR),
        Default::Value("\"2s\""),
        "Time between two questions, give or take a tenth. A share of the weight and `maxconn:` count \
         until the agent has been silent for ten times as long.",
    ),
    setting(
        "pools.*.agent.timeout",
        milliseconds(50, 60),
        Default::Value("\"1s\""),
        "How long an answer may take. An agent that takes longer than `every` is asked less often.",
    ),
];
