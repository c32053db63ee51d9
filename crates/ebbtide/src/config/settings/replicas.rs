//! The settings of resources and of where the identities of their copies come from.

use super::{DAY, Default, Kind, Setting, seconds, setting};

/// The settings.
pub(super) const SETTINGS: &[Setting] = &[
    setting(
        "pools.*.identity",
        Kind::OneOf(&["manifest", "read", "headers"], &[]),
        Default::Else("`manifest` where there is one, else `headers`"),
        "Where Ebbtide learns which copies of the pool's resources are identical. `manifest`: each \
         server's manifest tells. `headers`: each answer tells by its strong `ETag`, `Last-Modified` \
         and `Content-Length`. `read`: Ebbtide reads and hashes every copy itself, in the background, \
         for `nbd` pools without manifests (see [replicas.md](replicas.md#copies-that-ebbtide-reads)).",
    ),
    setting(
        "pools.*.identity_rate",
        Kind::Rate(1_000_000, 10_000_000_000),
        Default::Value("\"50MB/s\""),
        "How fast copies are read of each server with `identity = \"read\"`.",
    ),
    setting(
        "pools.*.manifest",
        Kind::Text,
        Default::Else("none"),
        "Where each server's manifest is, as `ebbtide manifest` writes it: an `http://` address or \
         the path of a file (if it does not begin with `/`, from the directory in which Ebbtide was \
         started). `{host}` in it stands for the host of the server's `address`, `{server}` for the \
         server's name.",
    ),
    setting(
        "pools.*.manifest_every",
        seconds(1, DAY),
        Default::Value("\"60s\""),
        "Time between two looks at each manifest, a tenth more or less. When it cannot be read, \
         what it said last counts for ten times as long.",
    ),
    setting(
        "pools.*.servers.*.manifest",
        Kind::Text,
        Default::Else("the pool's `manifest`"),
        "Where this server's manifest is.",
    ),
    setting(
        "pools.*.resources.*.mode",
        Kind::OneOf(&["shared", "private", "maintenance"], &[]),
        Default::Value("\"shared\""),
        "`shared`: for everybody, read-only; identical copies stand in for one another. `private`: \
         has a writer, so one server serves it, and nothing stands in. `maintenance`: for operators \
         who come through doors.",
    ),
    setting(
        "pools.*.resources.*.balance",
        Kind::OneOf(&["on", "off"], &[]),
        Default::Value("\"on\""),
        "`off`: one server serves it, and nothing stands in.",
    ),
    setting(
        "pools.*.resources.*.server",
        Kind::Text,
        Default::Else("none; required for `private` and without `balance`"),
        "The one server that serves it.",
    ),
    setting(
        "pools.*.resources.*.file",
        Kind::Text,
        Default::Else("the resource's name"),
        "Its name in manifests: the way to its file from the directory that `ebbtide manifest` reads, \
         such as `images/win10.raw`; not from `/` on, and without `.` and `..`.",
    ),
    setting(
        "pools.*.resources.*.digest",
        Kind::Text,
        Default::Else("the copies that are the most are right"),
        "The BLAKE3 digest of the right copy, as 64 hexadecimal digits: no copy with another one \
         serves, even if it is the most common one.",
    ),
];
