//! The settings table: each setting's name, kind, bounds, default and help, once. The reader, the
//! reference page and the JSON schema are made from it.

mod agent;
mod load;
mod names;
mod openid;
mod outliers;
mod replicas;
mod returning;
mod sections;
mod webhooks;

pub use sections::SECTIONS;

use ebbtide_core::Millis;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Where it stands in the file; `*` is a name that the operator chooses.
    pub path: &'static str,
    /// What may be written there.
    pub kind: Kind,
    /// What counts when it is not written.
    pub default: Default,
    /// What it is for, in sentences.
    pub help: &'static str,
}

/// What may be written for a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number within bounds.
    Count(u64, u64),
    /// A number within bounds, with up to three digits after the point.
    Decimal(i64, i64),
    /// Bytes: a whole number, or text such as `"32KiB"`; the bounds are in bytes.
    Bytes(u64, u64),
    /// Text such as `"50MB/s"`; the bounds are in bytes per second.
    Rate(u64, u64),
    /// Text such as `"250ms"`, `"20m"` or `"1h30m"`, within bounds.
    Duration(Millis, Millis),
    /// `true` or `false`.
    Flag,
    /// A list of durations: at most so many, each within bounds.
    Durations(usize, Millis, Millis),
    /// One line of text.
    Text,
    /// The name of a field of HTTP requests.
    FieldName,
    /// A list of some of these words.
    Words(&'static [&'static str]),
    /// A list of texts: at most so many, each one line.
    Texts(usize),
    /// A whole `http` or `https` address.
    Url,
    /// A regular expression.
    Regex,
    /// The path of a URL.
    UrlPath,
    /// Several paths of URLs.
    UrlPaths,
    /// Text of several lines, or with other signs that have no place in one.
    Raw,
    /// A list of addresses, or of networks such as `10.0.0.0/8`.
    Networks,
    /// The name of a cookie.
    CookieName,
    /// `"host:port"` of a server.
    ServerAddress,
    /// `"host:port"` to listen on.
    ListenAddress,
    /// Ranges of HTTP statuses: `"200-399"` or `"200-299, 401"`.
    Statuses,
    /// One of these words; the second list is understood but comes with a later version.
    OneOf(&'static [&'static str], &'static [&'static str]),
    /// The name of a pool of this file.
    Pool,
    /// A path in the file system.
    FilePath,
}

/// What counts when a setting is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// It must be written.
    Required,
    /// This value, as it would be written.
    Value(&'static str),
    /// Something that the text describes.
    Else(&'static str),
}

/// A table of the file.
#[derive(Debug)]
pub struct Section {
    /// Where it stands; `*` is a name that the operator chooses.
    pub path: &'static str,
    /// A value that may be written in place of the table, and what it means.
    pub short: Short,
    /// What it is for.
    pub help: &'static str,
}

/// What may be written in place of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Short {
    /// Nothing else.
    None,
    /// `false`: there is none.
    False,
    /// The value of the setting of this name; the others keep their defaults.
    Setting(&'static str),
}

const fn seconds(least: u64, most: u64) -> Kind {
    Kind::Duration(Millis::from_secs(least), Millis::from_secs(most))
}

const fn milliseconds(least: u64, most_seconds: u64) -> Kind {
    Kind::Duration(Millis(least), Millis::from_secs(most_seconds))
}

const fn setting(path: &'static str, kind: Kind, default: Default, help: &'static str) -> Setting {
    Setting {
        path,
        kind,
        default,
        help,
    }
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

/// Every setting, in the order of the reference page.
pub const SETTINGS: &[Setting] = &[
    setting(
        "state_dir",
        Kind::FilePath,
        Default::Value("\"/var/lib/ebbtide\""),
        "Where intents, the audit log and the admin socket live. Made if it is missing. A change \
         needs a restart.",
    ),
    setting(
        "workers",
        Kind::Count(1, 1024),
        Default::Else("one for each processor core"),
        "Threads that serve clients. A change needs a restart.",
    ),
    setting(
        "stop_grace",
        seconds(0, HOUR),
        Default::Value("\"30s\""),
        "How long requests may still run after SIGTERM. A change needs a restart.",
    ),
    setting(
        "admin.listen",
        Kind::ListenAddress,
        Default::Value("\"127.0.0.1:7070\""),
        "Where the control API listens. Anything but a loopback address lets others try their \
         tokens. A change needs a restart.",
    ),
    setting(
        "admin.url",
        Kind::Url,
        Default::Else("none"),
        "Where browsers find the console when something stands before `listen` that ends TLS, such as \
         \"https://console.example.com\". At a loopback address, other names in `Host` are refused, which \
         keeps foreign pages out. A change needs a restart. See [console.md](console.md#signing-in).",
    ),
    setting(
        "admin.users",
        Kind::FilePath,
        Default::Else("`users` in `state_dir`"),
        "The file of the console's users; `ebbtide user` and the console keep it. It is read again when it changes. \
         Another path needs a restart. See [console.md](console.md#signing-in).",
    ),
    setting(
        "admin.sign_in.idle",
        seconds(60, DAY),
        Default::Value("\"30m\""),
        "How long a browser stays signed in while its user does nothing. A change needs a restart.",
    ),
    setting(
        "admin.sign_in.longest",
        seconds(300, 30 * DAY),
        Default::Value("\"12h\""),
        "How long a browser stays signed in at most. A change needs a restart.",
    ),
    setting(
        "admin.sign_in.fresh",
        seconds(10, DAY),
        Default::Value("\"5m\""),
        "How long after the password was typed, or shown to the provider, a forced change does not ask for \
         it again. A change needs a restart.",
    ),
    setting(
        "access_log.format",
        Kind::OneOf(&["off", "json", "combined"], &[]),
        Default::Value("\"off\""),
        "JSON lines, or the combined format that nginx and Apache write. A change needs a restart.",
    ),
    setting(
        "access_log.path",
        Kind::FilePath,
        Default::Else("standard output"),
        "The file that the lines are added to. A change needs a restart.",
    ),
    setting(
        "listeners.*.bind",
        Kind::ListenAddress,
        Default::Required,
        "Where to listen: `0.0.0.0:8080` for every IPv4 address of the machine.",
    ),
    setting(
        "listeners.*.pool",
        Kind::Pool,
        Default::Required,
        "The pool that clients are led to.",
    ),
    setting(
        "listeners.*.proxy_from",
        Kind::Networks,
        Default::Value("[]"),
        "Proxies in front, such as [\"10.0.0.5\", \"10.1.0.0/16\"], that begin each connection with a \
         PROXY protocol header (version 1 or 2), which names the true client. Where there are any, \
         connections from other addresses are refused.",
    ),
    setting(
        "pools.*.protocol",
        Kind::OneOf(&["http", "tcp", "nbd"], &[]),
        Default::Value("\"http\""),
        "What the servers speak. `http`: a session is what a cookie names. `tcp`: anything else over \
         TCP; a session is a connection. See [tcp.md](tcp.md). `nbd`: network block devices; a session \
         is a connection that goes on with another server. See [nbd.md](nbd.md).",
    ),
    setting(
        "pools.*.balance",
        Kind::OneOf(
            &[
                "round-robin",
                "least-sessions",
                "least-load",
                "most-available",
                "source-hash",
                "door-only",
            ],
            &[],
        ),
        Default::Value("\"least-sessions\""),
        "How a server is chosen for a new session. `round-robin`: each in turn, by weight, as every \
         worker counts for itself. \
         `least-sessions`: the one with the fewest sessions for its weight. `least-load`: of two drawn \
         by weight, the one whose machine is less busy. `most-available`: the one with the greatest \
         share of free room. `source-hash`: by the client's address. `door-only`: nobody is admitted \
         but operators who come through doors. A session that is there already stays where it is. See \
         [balancing.md](balancing.md).",
    ),
    setting(
        "pools.*.minimum",
        Kind::Count(1, 100_000),
        Default::Value("1"),
        "Servers that must go on admitting new sessions. A command that would leave fewer is \
         refused unless it is forced.",
    ),
    setting(
        "pools.*.contact",
        Kind::Text,
        Default::Else("nobody"),
        "Whom users turn to; shown on Ebbtide's own pages.",
    ),
    setting(
        "pools.*.prefix",
        Kind::UrlPath,
        Default::Value("\"/.ebbtide\""),
        "Where Ebbtide's own pages for users live, so that they cannot hide a page of the servers.",
    ),
    setting(
        "pools.*.status_page",
        Kind::Flag,
        Default::Value("false"),
        "Whether anybody can see at `PREFIX/status` whether the pool is open, planned to close, closing or \
         closed, and until when.",
    ),
    setting(
        "pools.*.health_alias",
        Kind::UrlPath,
        Default::Else("none"),
        "A second path for the pool's own health page (`PREFIX/health`), for a balancer in front \
         that asks for a path of its own. Neither `/` nor below `prefix`, and without a query.",
    ),
    setting(
        "pools.*.queue",
        seconds(1, 300),
        Default::Else("off: the full page at once"),
        "How long a new user waits in line for a place while every server is full, before the full \
         page.",
    ),
    setting(
        "pools.*.queue_max",
        Kind::Count(1, 100_000),
        Default::Value("1000"),
        "Most new users in line, where there is a `queue`; each holds a connection. The next one gets \
         the full page at once.",
    ),
    setting(
        "pools.*.end_grace",
        Kind::Duration(Millis(0), Millis(900)),
        Default::Value("\"500ms\""),
        "How long a request that is being answered may go on after the deadline of its session. \
         Nothing outlives a deadline by more than a second.",
    ),
    setting(
        "pools.*.logout",
        Kind::UrlPaths,
        Default::Value("[]"),
        "Paths that end the session once the server has answered with success or a redirect.",
    ),
    setting(
        "pools.*.forwarded",
        Kind::OneOf(&["set", "trust"], &[]),
        Default::Value("\"set\""),
        "What becomes of `X-Forwarded-Proto` and `-Host`. `set`: they say how the client reached \
         Ebbtide. `trust`: every client is a proxy of yours, such as one that ends TLS; what it \
         says in them is kept, and the last address in its `X-Forwarded-For` is the client that \
         sessions, `source-hash` and the access log know. Do not trust where others can connect.",
    ),
    setting(
        "pools.*.retry_percent",
        Kind::Count(0, 100),
        Default::Value("20"),
        "Second tries allowed, in percent of requests (a few are always allowed).",
    ),
    setting(
        "pools.*.mode",
        Kind::OneOf(&["proxy", "redirect"], &[]),
        Default::Value("\"proxy\""),
        "`proxy`: requests are passed on. `redirect`: users are led to their server's `public_url` \
         and go on there, past Ebbtide. See [redirects.md](redirects.md).",
    ),
    setting(
        "pools.*.replica",
        Kind::Flag,
        Default::Value("false"),
        "Whether every server has the same files, so that another one can go on with a download whose \
         server was lost. See [http-replicas.md](http-replicas.md).",
    ),
    setting(
        "pools.*.sticky.reuse",
        seconds(1, 30 * DAY),
        Default::Value("\"20m\""),
        "How long after its last activity a session still binds its user to its server. Take the \
         session timeout of the application.",
    ),
    setting(
        "pools.*.sticky.active",
        seconds(1, DAY),
        Default::Value("\"1m\""),
        "How long after its last activity a session counts as active. At most `reuse`; where \
         `reuse` is shorter than the default, `reuse` counts.",
    ),
    setting(
        "pools.*.sticky.idle_end",
        seconds(10, 30 * DAY),
        Default::Else("never"),
        "After how long without a sign of life from its user a session ends, even if a WebSocket or \
         a connection of it is still open: so that a browser left alone does not look active for \
         ever. One longer than `reuse` concerns only these: other sessions have ended by then.",
    ),
    setting(
        "pools.*.sticky.cookie",
        Kind::CookieName,
        Default::Else("`ebbtide_` and the pool's name"),
        "The name of the token cookie. Browsers do not tell ports of one host apart, so two pools \
         need two names.",
    ),
    setting(
        "pools.*.sticky.by",
        Kind::OneOf(&["cookie", "source"], &[]),
        Default::Else("`cookie` in `http` pools, `source` in `tcp` pools"),
        "What a returning user is known by. `cookie`: the token cookie. `source`: the client's address.",
    ),
    setting(
        "pools.*.sticky.prefix_v4",
        Kind::Count(0, 32),
        Default::Value("32"),
        "Bits of an IPv4 address that stand for one user, where users are known by their address.",
    ),
    setting(
        "pools.*.sticky.prefix_v6",
        Kind::Count(0, 128),
        Default::Value("64"),
        "Bits of an IPv6 address that stand for one user, where users are known by their address.",
    ),
    setting(
        "pools.*.cut",
        Kind::OneOf(&["close", "reset"], &[]),
        Default::Value("\"close\""),
        "How a TCP connection ends whose time is over. `close`: in order, so that both sides can read \
         what was sent. `reset`: at once, as an error.",
    ),
    setting(
        "pools.*.send_proxy",
        Kind::OneOf(&["off", "v1", "v2"], &[]),
        Default::Value("\"off\""),
        "Whether servers of a `tcp` pool are told the client's address by a PROXY protocol header \
         before its first byte. They must expect it.",
    ),
    setting(
        "pools.*.door.credentials",
        Kind::OneOf(&["none", "ask", "default"], &[]),
        Default::Value("\"none\""),
        "What servers are sent as `Authorization` through a door. `none`: what the browser sends. \
         `ask`: the operator is asked once; it is kept in memory for this door only. `default`: the \
         pool's own, from `credentials_file` or `credentials_env`.",
    ),
    setting(
        "pools.*.door.credentials_file",
        Kind::FilePath,
        Default::Else("none"),
        "A file that only its owner can read (mode 0600), with one line `user:password`. It is read \
         with the configuration, and again on reload.",
    ),
    setting(
        "pools.*.door.credentials_env",
        Kind::Text,
        Default::Else("none"),
        "The environment variable that holds `user:password`.",
    ),
    setting(
        "pools.*.door.admin_field",
        Kind::Text,
        Default::Else("none"),
        "The request field, such as \"X-Admin-Session: 1\", that doors opened with `--as-admin` add. \
         A field of this name is taken from every other request, so that users cannot forge it.",
    ),
    setting(
        "pools.*.user.header",
        Kind::FieldName,
        Default::Else("none"),
        "The field that names the user, such as \"X-Remote-User\", in any case of letters. Only where \
         a proxy of yours sets it, in place of what clients have written. A request with several \
         fields of this name names nobody: one of them may be the client's own.",
    ),
    setting(
        "pools.*.user.cookie",
        Kind::CookieName,
        Default::Else("none"),
        "The cookie that holds the user's name, in the same case of letters. Quotes around its value \
         do not belong to the name; nothing else is decoded. Clients can write what they like.",
    ),
    setting(
        "pools.*.user.basic",
        Kind::Flag,
        Default::Value("false"),
        "The user name of basic authentication (RFC 7617). It is not checked here: clients can write \
         what they like.",
    ),
    setting(
        "pools.*.logout_call.path",
        Kind::UrlPath,
        Default::Required,
        "The path that logs out, such as \"/logout\".",
    ),
    setting(
        "pools.*.logout_call.method",
        Kind::OneOf(&["GET", "POST", "DELETE"], &[]),
        Default::Value("\"GET\""),
        "The request's method.",
    ),
    setting(
        "pools.*.logout_call.timeout",
        milliseconds(100, 60),
        Default::Value("\"5s\""),
        "How long each call may take.",
    ),
    setting(
        "pools.*.logout_call.concurrency",
        Kind::Count(1, 1000),
        Default::Value("16"),
        "Most calls to the pool's servers at the same time.",
    ),
    setting(
        "pools.*.upgrade.path",
        Kind::UrlPath,
        Default::Required,
        "The page on which each server says its version, such as \"/version\".",
    ),
    setting(
        "pools.*.upgrade.expect",
        Kind::Regex,
        Default::Else("any other page than before"),
        "What the page must also match somewhere.",
    ),
    setting(
        "pools.*.upgrade.probes",
        Kind::Count(1, 1000),
        Default::Value("3"),
        "Good answers in a row that every server must give.",
    ),
    setting(
        "pools.*.upgrade.within",
        seconds(1, 31 * DAY),
        Default::Value("\"4h\""),
        "How long after it was closed the pool may open by itself; another `close` begins that time \
         anew.",
    ),
    setting(
        "pools.*.pages.closed",
        Kind::FilePath,
        Default::Else("the built-in page"),
        "The page of a closed pool, in HTML.",
    ),
    setting(
        "pools.*.pages.full",
        Kind::FilePath,
        Default::Else("the built-in page"),
        "The page of a pool whose servers are all full, in HTML.",
    ),
    setting(
        "pools.*.pages.full_text",
        Kind::Text,
        Default::Else("that all sessions are in use"),
        "What the built-in full page says.",
    ),
    setting(
        "pools.*.health_page.template",
        Kind::Text,
        Default::Else("the status alone"),
        "The page, with `{{status}}` where `ACTIVE - 12 Sessions Available`, `ON HOLD` or `ALL \
         SESSIONS IN USE` is to stand.",
    ),
    setting(
        "pools.*.health_page.content_type",
        Kind::Text,
        Default::Value("\"text/plain; charset=utf-8\""),
        "Its `Content-Type`.",
    ),
    setting(
        "pools.*.health_page.active",
        Kind::Count(200, 599),
        Default::Value("200"),
        "The status while new sessions are admitted.",
    ),
    setting(
        "pools.*.health_page.hold",
        Kind::Count(200, 599),
        Default::Value("503"),
        "The status while none are, or the pool is closed.",
    ),
    setting(
        "pools.*.health_page.full",
        Kind::Count(200, 599),
        Default::Value("503"),
        "The status while every place is taken.",
    ),
    setting(
        "pools.*.health.kind",
        Kind::OneOf(&["http", "tcp"], &[]),
        Default::Else("`http` where a `path` is given, otherwise `tcp`"),
        "`http` asks for a page, `tcp` only connects.",
    ),
    setting(
        "pools.*.health.path",
        Kind::UrlPath,
        Default::Else("`/` where `kind` is `http`"),
        "The page to ask for.",
    ),
    setting(
        "pools.*.health.host",
        Kind::Text,
        Default::Else("the server's address"),
        "The `Host` field of the request.",
    ),
    setting(
        "pools.*.health.status",
        Kind::Statuses,
        Default::Value("\"200-399\""),
        "Statuses that count as good. A page that says `ON HOLD` or `ALL SESSIONS IN USE` counts as what it \
         says with any status, where `expect` is `ACTIVE`.",
    ),
    setting(
        "pools.*.health.expect",
        Kind::Text,
        Default::Else("any page will do"),
        "Text that the page must hold; of a `tcp` check, the server's first 64 KiB. With `ACTIVE`, a page may also say `ON HOLD` (wants no new \
         sessions), `ALL SESSIONS IN USE` (full) or `ACTIVE - 12 Sessions Available`.",
    ),
    setting(
        "pools.*.health.send",
        Kind::Raw,
        Default::Else("nothing"),
        "What the `tcp` check says once it is connected, such as \"PING\\r\\n\".",
    ),
    setting(
        "pools.*.health.every",
        milliseconds(100, HOUR),
        Default::Value("\"2s\""),
        "Time between two probes of one server, give or take a tenth.",
    ),
    setting(
        "pools.*.health.timeout",
        milliseconds(10, 300),
        Default::Value("\"2s\""),
        "How long a probe may take.",
    ),
    setting(
        "pools.*.health.fall",
        Kind::Count(1, 100),
        Default::Value("3"),
        "Failures in a row that take a server down.",
    ),
    setting(
        "pools.*.health.rise",
        Kind::Count(1, 100),
        Default::Value("2"),
        "Successes in a row that bring it back.",
    ),
    setting(
        "pools.*.health.port",
        Kind::Count(1, 65_535),
        Default::Else("the server's own"),
        "Another port to probe.",
    ),
    setting(
        "pools.*.notice.reminders",
        Kind::Durations(10, Millis::from_secs(10), Millis::from_secs(7 * DAY)),
        Default::Value("[\"15m\", \"5m\", \"1m\"]"),
        "How long before a deadline users are reminded with a pop-up. Those that are longer than the \
         time given are left out.",
    ),
    setting(
        "pools.*.notice.form",
        Kind::OneOf(&["telnet"], &[]),
        Default::Else("none"),
        "How users of a `tcp` pool are told. `telnet`: a line in their terminal, once for each reminder.",
    ),
    setting(
        "pools.*.notice.inject",
        Kind::Flag,
        Default::Value("true"),
        "Whether HTML pages get the script that shows notices while one stands. An application that \
         includes `PREFIX/notice.js` itself, or shows its own, does not need it.",
    ),
    setting(
        "pools.*.timeouts.head",
        milliseconds(100, HOUR),
        Default::Value("\"10s\""),
        "A request's head must be whole within this, from its first byte. In an `nbd` pool: each step of \
         a client's handshake.",
    ),
    setting(
        "pools.*.timeouts.idle",
        milliseconds(100, DAY),
        Default::Value("\"1m\""),
        "A client's connection may rest this long between requests.",
    ),
    setting(
        "pools.*.timeouts.connect",
        milliseconds(10, 300),
        Default::Value("\"5s\""),
        "A connection to a server must stand within this.",
    ),
    setting(
        "pools.*.timeouts.response",
        milliseconds(100, DAY),
        Default::Value("\"1m\""),
        "A server must begin its answer within this. In an `nbd` pool (10s where not set): the longest \
         silence of a server that owes an answer; then another one is asked.",
    ),
    setting(
        "pools.*.timeouts.body",
        milliseconds(100, DAY),
        Default::Value("\"1m\""),
        "The longest pause within a body, in either direction.",
    ),
    setting(
        "pools.*.timeouts.tunnel",
        milliseconds(100, 30 * DAY),
        Default::Value("\"1h\""),
        "The longest silence in a WebSocket, another upgraded connection, or a connection of a `tcp` \
         pool.",
    ),
    setting(
        "pools.*.timeouts.stand_in",
        milliseconds(100, DAY),
        Default::Value("\"1m\""),
        "How long a session of an `nbd` pool that has lost its server waits for one that can stand in. \
         Then the client's connection is closed.",
    ),
    setting(
        "pools.*.timeouts.keepalive",
        seconds(1, 7200),
        Default::Value("\"1m\""),
        "After how long a silence the peers of a `tcp` or `nbd` pool are asked for a sign of life (TCP \
         keep-alive). One that gives none within 30 seconds more is lost.",
    ),
    setting(
        "pools.*.timeouts.upstream_idle",
        milliseconds(100, DAY),
        Default::Value("\"4s\""),
        "How long an idle connection to a server is kept. Shorter than the servers' own limit, or \
         requests meet closing connections.",
    ),
    setting(
        "pools.*.limits.head_bytes",
        Kind::Bytes(1024, 1024 * 1024),
        Default::Value("\"32KiB\""),
        "Longest head of a request or an answer.",
    ),
    setting(
        "pools.*.limits.fields",
        Kind::Count(8, 1000),
        Default::Value("100"),
        "Most fields in a head.",
    ),
    setting(
        "pools.*.limits.connections",
        Kind::Count(1, 1_000_000),
        Default::Value("10000"),
        "Most connections to one server, over all workers.",
    ),
    setting(
        "pools.*.limits.upstream_idle",
        Kind::Count(0, 1_000_000),
        Default::Value("1000"),
        "Most idle connections kept to one server, over all workers.",
    ),
    setting(
        "pools.*.limits.event_streams",
        Kind::Count(0, 100_000),
        Default::Value("10000"),
        "Most event streams (`PREFIX/events`) to users' windows, over all workers. Windows beyond it \
         ask every 15 seconds instead.",
    ),
    setting(
        "pools.*.servers.*.address",
        Kind::ServerAddress,
        Default::Required,
        "Where it is: `host:port`. A name is looked up when the file is read.",
    ),
    setting(
        "pools.*.servers.*.weight",
        Kind::Count(1, 1000),
        Default::Value("1"),
        "Its share of new sessions.",
    ),
    setting(
        "pools.*.servers.*.max_sessions",
        Kind::Count(1, 10_000_000),
        Default::Else("no limit"),
        "Most sessions it may have.",
    ),
    setting(
        "pools.*.servers.*.public_url",
        Kind::Url,
        Default::Else("none"),
        "Where users reach the server themselves, such as \"https://web1.example.com\". Needed where \
         `mode` is `redirect`.",
    ),
];

/// The setting of this name in the table at this path.
pub fn find(section: &str, name: &str) -> Option<&'static Setting> {
    children(section).find(|setting| last(setting.path) == name)
}

/// The settings that stand in the table at this path itself.
pub fn children(section: &str) -> impl Iterator<Item = &'static Setting> {
    SETTINGS
        .iter()
        .chain(replicas::SETTINGS)
        .chain(load::SETTINGS)
        .chain(agent::SETTINGS)
        .chain(openid::SETTINGS)
        .chain(names::SETTINGS)
        .chain(returning::SETTINGS)
        .chain(outliers::SETTINGS)
        .chain(webhooks::SETTINGS)
        .filter(move |setting| parent(setting.path) == section)
}

/// The tables that stand in the table at this path.
pub fn subsections(section: &str) -> impl Iterator<Item = &'static Section> {
    SECTIONS
        .iter()
        .filter(move |inner| !inner.path.is_empty() && parent(inner.path) == section)
}

/// The last part of a path.
pub fn last(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, last)| last)
}

fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}
