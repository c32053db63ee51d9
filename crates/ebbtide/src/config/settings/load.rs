//! The settings of the load of servers' machines.

use super::{Default, HOUR, Kind, Setting, milliseconds, setting};

/// The largest number that a metric is compared with.
const MOST: i64 = 1_000_000_000_000;

/// The settings.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "pools.*.load.exporter",
        Kind::Text,
        Default::Required,
        "Where the exporter of each server's machine is: an `http://` address, in which `{host}` stands \
         for the host of the server's `address` and `{server}` for the server's name. node_exporter \
         (`http://{host}:9100/metrics`), windows_exporter (9182), or any page in Prometheus' text format.",
    ),
    setting(
        "pools.*.load.by",
        Kind::OneOf(
            &[
                "greatest",
                "cpu",
                "memory",
                "run-queue",
                "pressure",
                "sessions",
            ],
            &[],
        ),
        Default::Value("\"greatest\""),
        "What the load is. `cpu`: the share of the processors' time in which they were busy. `memory`: \
         the share of memory that is not available. `greatest`: whichever of these two is greater. \
         `run-queue`: tasks that run or wait, for each processor. `pressure`: the share of time in which \
         tasks waited for a processor (Linux). `sessions`: users' sessions on the machine, and nothing else; \
         see `sessions_max`.",
    ),
    setting(
        "pools.*.load.sessions_max",
        Kind::Count(1, 1_000_000),
        Default::Else("sessions on the machine are not looked at"),
        "So many sessions of users on the machine are full load; then the load is their share of this, or \
         what `by` or `value` says, whichever is greater. A server with `max_sessions` has that in place of \
         it. The sessions are those of Windows' terminal services, also disconnected ones, which \
         windows_exporter tells with its collector `terminal_services`.",
    ),
    setting(
        "pools.*.load.value",
        Kind::Text,
        Default::Else("none"),
        "The load is this metric, in place of `by`: its name and perhaps labels, as in \
         \"jobs{state=\\\"running\\\"}\". Samples that have them all are added up.",
    ),
    setting(
        "pools.*.load.min",
        Kind::Decimal(-MOST, MOST),
        Default::Value("0"),
        "The value of that metric that is no load.",
    ),
    setting(
        "pools.*.load.max",
        Kind::Decimal(-MOST, MOST),
        Default::Value("100"),
        "The value of that metric that is full load; more than `min`.",
    ),
    setting(
        "pools.*.load.every",
        milliseconds(500, HOUR),
        Default::Value("\"5s\""),
        "Time between two looks at each exporter, give or take a tenth. A reading counts less when the \
         next one is overdue, and not at all after three times as long.",
    ),
    setting(
        "pools.*.load.timeout",
        milliseconds(50, 60),
        Default::Value("\"3s\""),
        "How long a look may take; at most `every`, also where this is left to its default.",
    ),
    setting(
        "pools.*.peak_load",
        Kind::Count(0, 100),
        Default::Else("none"),
        "The load of a server's machine, in percent, above which it takes no new sessions, until the load \
         has come down by a tenth of it. The sessions that it has go on. 0: it takes no new sessions, \
         whatever its load.",
    ),
    setting(
        "pools.*.servers.*.peak_load",
        Kind::Count(0, 100),
        Default::Else("the pool's `peak_load`"),
        "The same for this server. `ebbtide server set POOL/SERVER peak_load=60` sets it live.",
    ),
    setting(
        "pools.*.servers.*.exporter",
        Kind::Text,
        Default::Else("the pool's `load.exporter`"),
        "Where the exporter of this server's machine is.",
    ),
];
