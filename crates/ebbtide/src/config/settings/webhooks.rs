//! The settings of webhooks.

use super::{Default, Kind, Setting, milliseconds, setting};
use ebbtide_control::WEBHOOK_EVENTS;

/// The settings.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "webhooks.*.url",
        Kind::Url,
        Default::Required,
        "Where events are sent with `POST`. Redirects are not followed.",
    ),
    setting(
        "webhooks.*.events",
        Kind::Words(WEBHOOK_EVENTS),
        Default::Value(
            "[\"intent\", \"drained\", \"pool-intent\", \"pool-closed\", \"stays-closed\", \
             \"standing\", \"store\"]",
        ),
        "The kinds of events that it is told.",
    ),
    setting(
        "webhooks.*.secret_file",
        Kind::FilePath,
        Default::Else("deliveries are not signed"),
        "A file with the secret that deliveries are signed with, 16 to 4096 bytes, which only its owner \
         may read (mode 0600). Line breaks at its end do not belong to the secret.",
    ),
    setting(
        "webhooks.*.secret_env",
        Kind::Text,
        Default::Else("deliveries are not signed"),
        "The environment variable with that secret, instead of the file.",
    ),
    setting(
        "webhooks.*.template",
        Kind::OneOf(&["json", "slack", "teams"], &[]),
        Default::Value("\"json\""),
        "The event as JSON, or a sentence for a chat service: what happened, the deadline, who did it \
         and what users are told.",
    ),
    setting(
        "webhooks.*.timeout",
        milliseconds(100, 60),
        Default::Value("\"10s\""),
        "How long one try may take.",
    ),
    setting(
        "webhooks.*.attempts",
        Kind::Count(1, 20),
        Default::Value("6"),
        "How often a delivery is tried; six tries take about ten minutes.",
    ),
    setting(
        "webhooks.*.queue",
        Kind::Count(1, 100_000),
        Default::Value("1000"),
        "Most events that wait; then the oldest are dropped.",
    ),
];
