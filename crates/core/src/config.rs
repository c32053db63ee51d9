//! What exists: the configuration after it has been read and checked.
//!
//! The file says what exists, never what is wanted of it: intents are not here, so a reload cannot
//! return a held server to traffic. The program's settings table holds the defaults and the bounds.

use crate::agent::AgentSettings;
use crate::door::DoorSettings;
use crate::gate::GateSettings;
use crate::network::Network;
use crate::outlier::OutlierSettings;
use crate::replica::ReplicaSettings;
use crate::time::Millis;
use std::net::SocketAddr;

/// All that the rules and the data plane need to know of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Addresses that clients connect to.
    pub listeners: Vec<ListenerConfig>,
    /// Pools, each with its servers.
    pub pools: Vec<PoolConfig>,
}

/// An address that clients connect to, leading to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name in the file.
    pub name: String,
    /// Where it listens.
    pub bind: SocketAddr,
    /// The pool it leads to; the configuration check made sure that it exists.
    pub pool: String,
    /// Proxies that begin each connection with a PROXY header; where there are any, nobody else may
    /// connect.
    pub proxy_from: Vec<Network>,
}

/// Servers that can stand in for one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Its name in the file.
    pub name: String,
    /// What its servers speak.
    pub protocol: Protocol,
    /// How new sessions are spread.
    pub balance: Balance,
    /// How long and by what a session binds its user.
    pub sticky: StickySettings,
    /// Servers that must go on admitting new sessions; at least 1.
    pub minimum: u32,
    /// How the servers' health is found out; `None`: every server counts as up.
    pub health: Option<HealthSettings>,
    /// How the load of the servers' machines is found out; `None`: not at all.
    pub load: Option<LoadSettings>,
    /// How the agents on the servers are asked; `None`: not at all.
    pub agent: Option<AgentSettings>,
    /// The load in percent above which a server takes no new sessions, 0 to 100; `None`: it always
    /// does.
    pub peak_load: Option<u8>,
    /// For how long a server that comes back gets fewer new sessions than its share; zero: not at all.
    pub slow_start: Millis,
    /// When a server counts as sick by its traffic, and what comes of it.
    pub outliers: OutlierSettings,
    /// Whom users turn to; shown on Ebbtide's own pages.
    pub contact: Option<String>,
    /// How HTTP is spoken.
    pub http: HttpSettings,
    /// How connections are kept and ended, where each is a session.
    pub tcp: TcpSettings,
    /// How the sessions of NBD clients are kept alive.
    pub nbd: NbdSettings,
    /// What users are told before their sessions end.
    pub notice: NoticeSettings,
    /// What people meet who cannot get in, or whose time is over.
    pub gate: GateSettings,
    /// How operators come in.
    pub door: DoorSettings,
    /// Where a request names its user.
    pub user: Option<UserSource>,
    /// How a server is told that the session of a user was ended.
    pub logout_call: Option<LogoutCall>,
    /// When a closed pool counts as upgraded.
    pub upgrade: Option<UpgradeCheck>,
    /// What a server has to show before it takes sessions after maintenance; `None`: nothing.
    pub verify: Option<VerifyCheck>,
    /// Its resources, of which servers have copies.
    pub replicas: ReplicaSettings,
    /// The servers, in the file's order.
    pub servers: Vec<ServerConfig>,
    /// Names whose addresses are servers too.
    pub names: Vec<NameConfig>,
}

/// What a pool's servers speak, and so what a session of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1: a session is what a token cookie names.
    Http,
    /// Anything over TCP: a session is a connection.
    Tcp,
    /// Network block devices: a session is a connection too, but one that can go on elsewhere.
    Nbd,
}

impl Protocol {
    /// The word in the file.
    pub fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Nbd => "nbd",
        }
    }

    /// Whether each connection is a session of its own.
    pub fn is_connection(self) -> bool {
        match self {
            Self::Http => false,
            Self::Tcp | Self::Nbd => true,
        }
    }
}

/// How the sessions of NBD clients are kept alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NbdSettings {
    /// How long a session that has lost its server waits for one that can stand in.
    pub stand_in: Millis,
}

/// How the connections of a TCP pool are kept and ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSettings {
    /// After how long a silence a peer is asked for a sign of life.
    pub keepalive: Millis,
    /// How a connection ends whose time is over.
    pub cut: Cut,
    /// Whether servers are told the client's address.
    pub send_proxy: SendProxy,
    /// Whether notices are written into the user's terminal.
    pub telnet: bool,
}

/// Whether, and in which version, servers are told the client's address by a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendProxy {
    /// They are not.
    Off,
    /// In the text form.
    V1,
    /// In the binary form.
    V2,
}

/// How a TCP connection ends whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In order (FIN): both sides read what was sent, and then the end.
    Close,
    /// At once (RST): both sides see an error.
    Reset,
}

/// The policy by which a server is chosen for a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Each in turn, in proportion to the weights, smoothly interleaved.
    RoundRobin,
    /// The fewest sessions in proportion to the weight.
    LeastSessions,
    /// Of two drawn at random, the one whose machine is less busy; by sessions where that is not known.
    LeastLoad,
    /// The greatest share of free room: sessions left, load left.
    MostAvailable,
    /// By the client's address (weighted rendezvous): the same server while it admits.
    SourceHash,
    /// Nobody is admitted but operators, who come through doors.
    DoorOnly,
}

/// How long and by what a session binds its user to its server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StickySettings {
    /// How long after its last activity a session still binds.
    pub reuse: Millis,
    /// How long after its last activity a session still counts as active.
    pub active: Millis,
    /// After how long without a sign of life from its user a session ends, even if a connection of
    /// it is still open; `None`: never.
    pub idle_end: Option<Millis>,
    /// The name of the token cookie.
    pub cookie: String,
    /// Bits of an IPv4 address that stand for a user of a TCP pool, 0 to 32.
    pub prefix_v4: u8,
    /// Bits of an IPv6 address that stand for a user of a TCP pool, 0 to 128.
    pub prefix_v6: u8,
}

/// What users are told before their sessions end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoticeSettings {
    /// How long before a deadline users are reminded.
    pub reminders: Vec<Millis>,
    /// Whether HTML answers get the banner's script while a notice stands.
    pub inject: bool,
}

/// Where a request names its user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserSource {
    /// A request field that a proxy of ours sets.
    Header(String),
    /// A cookie.
    Cookie(String),
    /// The user name of basic authentication.
    Basic,
}

/// How a server is told that the session of a user was ended: one request with that user's cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogoutCall {
    /// The request's method.
    pub method: String,
    /// The request's path and query.
    pub path: String,
    /// How long each call may take.
    pub timeout: Millis,
    /// Most calls at the same time.
    pub concurrency: u32,
}

/// When a closed pool counts as upgraded: every server's version page has changed since the pool was
/// closed and matches, and its health is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeCheck {
    /// The version page: path and query.
    pub path: String,
    /// A regular expression that the page must match.
    pub expect: Option<String>,
    /// Good probes in a row that every server needs.
    pub probes: u32,
    /// How long after the deadline the pool may open by itself; then it stays closed.
    pub within: Millis,
}

/// What a server has to show before it takes sessions after maintenance. Without health checks and without
/// a page there is nothing to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyCheck {
    /// Good probes in a row, and good answers of the page in a row, that began after it was wanted back.
    pub probes: u32,
    /// A page that must answer, too.
    pub page: Option<VerifyPage>,
    /// How long it may take; then the server stays out.
    pub within: Millis,
}

/// A page that a server must answer before it takes sessions again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyPage {
    /// Path and query.
    pub path: String,
    /// A regular expression that the page must match.
    pub expect: Option<String>,
}

/// How a pool's servers are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// What a probe does.
    pub check: HealthCheck,
    /// Time between two probes of one server; jittered by a tenth.
    pub every: Millis,
    /// How long a probe may take.
    pub timeout: Millis,
    /// Failures in a row that take a server down.
    pub fall: u32,
    /// Successes in a row that bring it back.
    pub rise: u32,
    /// Another port than the server's own.
    pub port: Option<u16>,
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthCheck {
    /// A connection is enough, unless something is to be said and heard.
    Tcp {
        /// What is sent.
        send: Option<Vec<u8>>,
        /// What the server's first bytes must hold.
        expect: Option<Vec<u8>>,
    },
    /// `GET path` must answer with a status in a range and, where set, the expected text.
    Http {
        /// The request's path and query.
        path: String,
        /// The `Host` field; the server's address where not set.
        host: Option<String>,
        /// Inclusive ranges of good statuses.
        status: Vec<(u16, u16)>,
        /// Text that the page must hold. `ACTIVE` means a page that also says `ON HOLD`.
        expect: Option<String>,
    },
}

/// How the load of a pool's machines is found out: an exporter on each tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadSettings {
    /// Its address, where `{host}` and `{server}` stand for the server's own.
    pub exporter: String,
    /// What of its page is the load.
    pub by: LoadMeasure,
    /// Sessions of users on the machine that are full load too, at least 1; of a server with
    /// `max_sessions` it is that. `None`: they are not looked at.
    pub sessions_max: Option<u32>,
    /// Time between two looks; jittered by a tenth.
    pub every: Millis,
    /// How long a look may take.
    pub timeout: Millis,
}

/// What of an exporter's page is the load of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadMeasure {
    /// The greater of the next two.
    Greatest,
    /// The share of its processors' time in which they were busy.
    Cpu,
    /// The share of its memory that is not available.
    Memory,
    /// Tasks that run or wait, for each processor.
    RunQueue,
    /// The share of time in which some task waited for a processor.
    Pressure,
    /// Nothing but the sessions on it, which [`LoadSettings::sessions_max`] is of.
    Sessions,
    /// A metric, as in `metric{label="value"}`, where it stands between two values, which are in
    /// thousandths.
    Value {
        /// Which samples, added up.
        metric: String,
        /// No load.
        min: i64,
        /// Full load; above `min`.
        max: i64,
    },
}

/// A name that is looked up again and again: each address that it has is a server of the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameConfig {
    /// What it is called in the file; its servers are called `NAME-1` and on.
    pub name: String,
    /// What is looked up.
    pub host: String,
    /// The port of its servers.
    pub port: u16,
    /// Time between two look-ups; jittered by a tenth.
    pub every: Millis,
    /// How long the sessions of a server may go on whose address the name no longer has.
    pub leave_within: Millis,
    /// What its servers are like, but for their names and addresses.
    pub server: ServerConfig,
}

/// How HTTP is spoken with a pool's clients and servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where Ebbtide's own pages for users live; begins with `/`, does not end with it.
    pub prefix: String,
    /// A second path for the pool's own health page.
    pub health_alias: Option<String>,
    /// Paths that end the session once the server has answered with success or a redirect.
    pub logout: Vec<String>,
    /// Clients are proxies of ours: what they say of their own clients in `X-Forwarded-*` is kept,
    /// and believed.
    pub forwarded_trusted: bool,
    /// Longest head, in bytes.
    pub head_bytes_max: usize,
    /// Most fields in a head.
    pub fields_max: usize,
    /// A head must be whole within this, from its first byte.
    pub head_timeout: Millis,
    /// A client's connection may rest this long between requests.
    pub idle_timeout: Millis,
    /// A connection to a server must stand within this.
    pub connect_timeout: Millis,
    /// A server must begin its answer within this.
    pub response_timeout: Millis,
    /// The longest pause within a body, in either direction.
    pub body_timeout: Millis,
    /// The longest silence in a tunnel (WebSocket, other upgrades).
    pub tunnel_timeout: Millis,
    /// Most connections to one server, over all workers.
    pub connections_max: u32,
    /// Most idle connections kept to one server, over all workers.
    pub upstream_idle_max: u32,
    /// How long an idle connection to a server is kept.
    pub upstream_idle_timeout: Millis,
    /// Most streams of events to users' windows, over all workers.
    pub event_streams_max: u32,
    /// Retries allowed, in percent of requests (and always a few).
    pub retry_percent: u32,
    /// Every server has the same files: one of them can go on with an answer that another began.
    pub replica: bool,
    /// Users are led to their server's own address, and not served here.
    pub redirect: bool,
    /// Whether anybody may see on its listeners whether the pool is open.
    pub status_page: bool,
}

/// One address in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Its name within the pool.
    pub name: String,
    /// Its address, resolved.
    pub address: SocketAddr,
    /// Its address as the operator wrote it.
    pub address_text: String,
    /// Its share of new sessions, 1 to 1000.
    pub weight: u32,
    /// Most sessions it may have; `None`: no limit.
    pub max_sessions: Option<u32>,
    /// The load in percent above which it takes no new sessions; `None`: as its pool says.
    pub peak_load: Option<u8>,
    /// Where its manifest is, in place of what its pool says.
    pub manifest: Option<String>,
    /// Where its exporter is, in place of what its pool says.
    pub exporter: Option<String>,
    /// Where users reach it themselves, in pools that lead them there: scheme, host and perhaps a
    /// port and a path, without a `/` at the end, a query or a fragment.
    pub public_url: Option<String>,
    /// The name that has its address, where it came by one: [`NameConfig::name`].
    pub of_name: Option<String>,
}

impl HttpSettings {
    /// The defaults, as the settings table of the program has them too (a test there compares).
    pub fn defaults() -> Self {
        Self {
            prefix: "/.ebbtide".into(),
            health_alias: None,
            logout: Vec::new(),
            forwarded_trusted: false,
            head_bytes_max: 32 * 1024,
            fields_max: 100,
            head_timeout: Millis::from_secs(10),
            idle_timeout: Millis::from_secs(60),
            connect_timeout: Millis::from_secs(5),
            response_timeout: Millis::from_secs(60),
            body_timeout: Millis::from_secs(60),
            tunnel_timeout: Millis::from_secs(3600),
            connections_max: 10_000,
            upstream_idle_max: 1_000,
            upstream_idle_timeout: Millis::from_secs(4),
            event_streams_max: 10_000,
            retry_percent: 20,
            replica: false,
            redirect: false,
            status_page: false,
        }
    }
}

impl TcpSettings {
    /// The defaults, as the settings table of the program has them too.
    pub fn defaults() -> Self {
        Self {
            keepalive: Millis::from_secs(60),
            cut: Cut::Close,
            send_proxy: SendProxy::Off,
            telnet: false,
        }
    }
}

impl NbdSettings {
    /// The defaults, as the settings table of the program has them too.
    pub fn defaults() -> Self {
        Self {
            stand_in: Millis::from_secs(60),
        }
    }
}

impl NoticeSettings {
    /// The defaults, as the settings table of the program has them too.
    pub fn defaults() -> Self {
        Self {
            reminders: [15 * 60, 5 * 60, 60].map(Millis::from_secs).to_vec(),
            inject: true,
        }
    }
}

impl LoadSettings {
    /// The settings for a server that may have so many sessions.
    pub fn of_server(&self, max_sessions: Option<u32>) -> Self {
        let sessions_max = self.sessions_max.map(|all| max_sessions.unwrap_or(all));
        Self {
            sessions_max,
            ..self.clone()
        }
    }
}

impl PoolConfig {
    /// What the names of all doors' cookies begin with.
    pub const DOOR_COOKIES: &str = "ebbtide_door_";

    /// In the name of an NBD export, what stands between a resource and the key of a door. It is in no
    /// [name](crate::is_name).
    pub const DOOR_MARK: char = '@';

    /// Why nobody can say anything to the users of its sessions, if that is so.
    pub fn why_untold(&self) -> Option<&'static str> {
        match self.protocol {
            Protocol::Http if self.http.redirect => {
                Some("its users are led to their servers, and what they see does not pass here")
            }
            Protocol::Tcp if !self.tcp.telnet => Some(
                "nothing is written into its connections; notice = \"telnet\" does, for Telnet",
            ),
            Protocol::Nbd => Some("a disk shows its users nothing"),
            Protocol::Http | Protocol::Tcp => None,
        }
    }

    /// Whether sessions can go on elsewhere with what they have open, if other servers have the same.
    pub fn moves_sessions(&self) -> bool {
        match self.protocol {
            Protocol::Nbd => true,
            Protocol::Http => self.http.replica,
            Protocol::Tcp => false,
        }
    }

    /// The name of the cookie of doors to the pool of this name.
    pub fn door_cookie(pool: &str) -> String {
        format!("{}{pool}", Self::DOOR_COOKIES)
    }

    /// Where the load of this server's machine is read.
    pub fn exporter_of(&self, server: &ServerConfig) -> Option<String> {
        let pool = self.load.as_ref()?;
        let template = server.exporter.as_ref().unwrap_or(&pool.exporter);
        Some(server.fill_in(template))
    }

    /// The name that is called so in the file.
    pub fn name(&self, name: &str) -> Option<&NameConfig> {
        self.names.iter().find(|entry| entry.name == name)
    }

    /// What a server is like that is not in the file itself: as it was added, or as the file says of the
    /// name that it came by; `None` if the file has that no more.
    pub fn live_server(&self, live: &ServerConfig) -> Option<ServerConfig> {
        match &live.of_name {
            None => Some(live.clone()),
            Some(name) => Some(self.name(name)?.server_at(&live.name, live.address)),
        }
    }

    /// A pool with every setting at its default and no servers yet.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            protocol: Protocol::Http,
            balance: Balance::LeastSessions,
            sticky: StickySettings {
                reuse: Millis::from_secs(20 * 60),
                active: Millis::from_secs(60),
                idle_end: None,
                cookie: format!("ebbtide_{name}"),
                prefix_v4: 32,
                prefix_v6: 64,
            },
            minimum: 1,
            health: Some(HealthSettings::defaults()),
            load: None,
            agent: None,
            peak_load: None,
            slow_start: Millis(0),
            outliers: OutlierSettings::defaults(),
            contact: None,
            http: HttpSettings::defaults(),
            tcp: TcpSettings::defaults(),
            nbd: NbdSettings::defaults(),
            notice: NoticeSettings::defaults(),
            gate: GateSettings::defaults(),
            door: DoorSettings::default(),
            user: None,
            logout_call: None,
            upgrade: None,
            verify: Some(VerifyCheck::defaults()),
            replicas: ReplicaSettings::defaults(),
            servers: Vec::new(),
            names: Vec::new(),
            name,
        }
    }
}

impl VerifyCheck {
    /// As many probes as bring a server back that was down by [`HealthSettings::defaults`].
    pub fn defaults() -> Self {
        Self {
            probes: HealthSettings::defaults().rise,
            page: None,
            within: Millis::from_secs(15 * 60),
        }
    }
}

impl HealthSettings {
    /// A connection every two seconds; three failures take down, two successes bring back.
    pub fn defaults() -> Self {
        Self {
            check: HealthCheck::Tcp {
                send: None,
                expect: None,
            },
            every: Millis::from_secs(2),
            timeout: Millis::from_secs(2),
            fall: 3,
            rise: 2,
            port: None,
        }
    }
}

impl NameConfig {
    /// Its server at this address.
    pub fn server_at(&self, name: &str, address: SocketAddr) -> ServerConfig {
        ServerConfig {
            name: name.to_owned(),
            address,
            address_text: address.to_string(),
            of_name: Some(self.name.clone()),
            ..self.server.clone()
        }
    }
}

impl ServerConfig {
    /// An address in which `{host}` and `{server}` stand for this server's own.
    pub fn fill_in(&self, template: &str) -> String {
        let host = self.address_text.rsplit_once(':');
        let host = host.map_or(self.address_text.as_str(), |(host, _)| host);
        template
            .replace("{host}", host)
            .replace("{server}", &self.name)
    }

    /// A server of weight 1 without a limit.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            address_text: address.to_string(),
            weight: 1,
            max_sessions: None,
            peak_load: None,
            manifest: None,
            exporter: None,
            public_url: None,
            of_name: None,
        }
    }
}
