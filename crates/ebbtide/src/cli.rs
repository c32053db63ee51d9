//! The command line: what may be asked, with help for people who have not seen it before.

mod agent;
mod rebalance;
mod server;
mod user;

pub use agent::{AgentArgs, AgentCommand, AgentRun};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ebbtide_api::{Role, Timestamp};
use ebbtide_core::{Millis, ServerName, SessionId};
pub use rebalance::Rebalance;
pub use server::{Assignment, ServerCommand};
use std::path::PathBuf;
pub use user::{PasswordSource, UserArgs, UserCommand};

/// The heading over the options of every command.
pub const GLOBAL: &str = "Options of every command";

/// Takes any server out of traffic without its users losing work, and brings it back.
#[derive(Debug, Parser)]
#[command(
    name = "ebbtide",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(after_help = "\
Try it:             ebbtide demo
Run it:             ebbtide run -c ebbtide.toml
Take a server out:  ebbtide drain app/web2 --within 30m
Bring it back:      ebbtide ready app/web2
Close the service:  ebbtide close app --within 15m --message 'Back at six'
Open it again:      ebbtide open app

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 timed out, 4 refused by a guard.")]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// The node to talk to: unix:PATH or http://HOST:PORT. Without it: the socket in
    /// /var/lib/ebbtide, that of ./ebbtide.toml or that of a running demo, if only one answers
    #[arg(long, global = true, env = "EBBTIDE_ADMIN", value_name = "WHERE", help_heading = GLOBAL)]
    pub admin: Option<String>,
    /// The bearer token for http://; `ebbtide token add` makes one
    #[arg(long, global = true, env = "EBBTIDE_TOKEN", hide_env_values = true, help_heading = GLOBAL)]
    pub token: Option<String>,
    /// Print JSON, for programs (errors too)
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
}

/// What may be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a node by a configuration file
    #[command(after_help = "\
Example:
  ebbtide run -c /etc/ebbtide/ebbtide.toml

SIGHUP reads the file again (as `ebbtide reload` does); SIGTERM and Ctrl-C let requests finish \
within `stop_grace`, a second one stops at once.")]
    Run {
        /// The configuration file
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        #[command(flatten)]
        log: Log,
    },
    /// Check a configuration file, and show every mistake in it
    #[command(after_help = "Example:\n  ebbtide check ebbtide.toml")]
    Check {
        /// The configuration file
        file: PathBuf,
    },
    /// Three servers with users, Ebbtide in front: something to try the commands on
    #[command(after_help = "\
Example:
  ebbtide demo
and in another terminal:
  ebbtide drain demo/blue --within 1m")]
    Demo(DemoArgs),
    /// Show pools, servers and sessions: the page to keep open
    #[command(after_help = "\
Examples:
  ebbtide status --watch
  ebbtide status --json | jq '.pools[].servers[] | {name, standing}'")]
    Status {
        /// Draw it anew every second, until Ctrl-C
        #[arg(long)]
        watch: bool,
    },
    /// Let no new sessions begin on a server; those it has go on
    #[command(after_help = "Example:\n  ebbtide hold app/web2 --reason 'looks slow'")]
    Hold {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        force: Force,
        #[command(flatten)]
        why: Why,
    },
    /// Hold a server, end what is left at a deadline, then put it into maintenance
    #[command(after_help = "\
Examples:
  ebbtide drain app/web2 --within 30m --message 'Please log in again at 18:00'
  ebbtide wait app/web2 --for drained --timeout 35m

On a server that is being drained already, --within sets a new deadline, and --message alone tells its
users something else.")]
    Drain(Drain),
    /// Empty a server for maintenance: disks and downloads move at once, other users are told
    #[command(after_help = "\
Example:
  ebbtide stop disks/s1 --within 10m --message 'Maintenance: please finish'

A stop is a drain, so it ends in maintenance by itself, goes on over a restart, and `ebbtide ready` ends \
it. It waits, for half a minute at most, until the sessions have left that another server can go on with \
(of NBD pools, and downloads of HTTP replicas), and says how many did, what the longest pause was, and \
who is left. That some are is no error.")]
    Stop(Stop),
    /// Move a session to another server whose copy is the same: a disk, or a download under way
    #[command(after_help = "\
Examples:
  ebbtide move 00c0ffee00c0ffee
  ebbtide move 00c0ffee00c0ffee --to disks/s2

Sessions of NBD pools move, and those of HTTP pools with `replica = true` while they have a download \
under way. It waits until the session is served there, for ten seconds at most: then it exits with 3.")]
    Move(Move),
    /// Test the failover of a server: its disks and downloads go on elsewhere, and it is put back
    #[command(after_help = "\
Examples:
  ebbtide drill disks/s1          sessions move in order
  ebbtide drill disks/s1 --cut    their connections to the server are cut

Meanwhile the server takes no new sessions. Those that no other server can take over are left alone. \
The server is put back by the node, so also if this command is ended.

Exits with 0 if every session that can move was served elsewhere in time, and with 3 if not. It exits \
with 4 if nothing was tested, or somebody would be harmed: no session that can move is on the server, it \
is not ready, or nobody else could take over; and with 2 in a pool whose sessions never move (`tcp`, and \
`http` without `replica = true`).")]
    Drill(Drill),
    /// Take a server out at once; users who are on it lose their session
    #[command(after_help = "\
Example:
  ebbtide maintenance app/web2

`ebbtide drain` does the same without anyone losing work.")]
    Maintenance {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        force: Force,
        #[command(flatten)]
        why: Why,
    },
    /// Return a server to traffic; after maintenance once it has shown that it is well
    #[command(after_help = "\
Example:
  ebbtide ready app/web2 && ebbtide wait app/web2 --for ready --timeout 1m

A server that comes out of maintenance takes no session before as many good probes in a row as `verify` in \
the file says (`rise` of its health check, if it says nothing). `ebbtide status` shows how far it is.")]
    Ready {
        #[command(flatten)]
        server: Server,
        /// At once, without having shown that it is well
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        why: Why,
    },
    /// Wait until a server is drained or ready; exits with 3 when the time is up, and with 1 when it will
    /// not be by itself: nobody drains it, or it was not verified
    #[command(after_help = "Example:\n  ebbtide wait app/web2 --for drained --timeout 35m")]
    Wait {
        #[command(flatten)]
        server: Server,
        /// What to wait for
        #[arg(long = "for", value_name = "WHAT")]
        what: WaitFor,
        /// Longest wait, such as 35m; without it, as long as it takes
        #[arg(long, value_name = "TIME", value_parser = span)]
        timeout: Option<Millis>,
    },
    /// List sessions, end some, or say something to their users
    #[command(args_conflicts_with_subcommands = true)]
    #[command(after_help = "\
Examples:
  ebbtide sessions app/web2 --active
  ebbtide sessions --user bob
  ebbtide sessions end 00c0ffee00c0ffee
  ebbtide sessions end --of app/web2 --idle
  ebbtide sessions tell 00c0ffee00c0ffee --message 'Please call 4455'")]
    Sessions {
        #[command(subcommand)]
        command: Option<SessionsCommand>,
        #[command(flatten)]
        list: SessionsList,
    },
    /// Close a whole pool at a deadline: users are told, nobody new comes in, everyone is out on time
    #[command(after_help = "\
Examples:
  ebbtide close app --within 15m --for 2h --message 'Please save your work.'
  ebbtide close app --at \"$(date +%FT22:00%:z)\"    today at ten
  ebbtide close app --within 30m          while it is closing: a new deadline
  ebbtide close app --message 'Longer'    while it is closing or closed: new words

`ebbtide open app` ends the countdown, or opens the pool again.")]
    Close(Close),
    /// Open a pool that is closed, or end its countdown
    #[command(after_help = "Example:\n  ebbtide open app")]
    Open {
        #[command(flatten)]
        pool: Pool,
        #[command(flatten)]
        why: Why,
    },
    /// Forget every session of a server at once; its users are placed anew
    #[command(after_help = "Example:\n  ebbtide forget app/web2 --reason 'lost its memory'")]
    Forget {
        #[command(flatten)]
        server: Server,
        #[command(flatten)]
        why: Why,
    },
    /// Open a door: your own way in to a server that is closed to users, or list and close doors
    #[command(args_conflicts_with_subcommands = true)]
    #[command(after_help = "\
Examples:
  ebbtide door app/web2        prints an address that works once, in your browser
  ebbtide door app/web2 --for 2h --as-admin
  ebbtide door disks/s1        prints addresses for an NBD client
  ebbtide door list
  ebbtide door close 00c0ffee00c0ffee

A door leads past a closed pool, a hold or maintenance. It ends by time, when you leave or close it, \
and when Ebbtide is started again. It counts nowhere as a user's session. Of an HTTP pool its address \
works once, of an NBD pool as long as it is open.")]
    Door {
        #[command(subcommand)]
        command: Option<DoorCommand>,
        #[command(flatten)]
        open: DoorOpen,
    },
    /// Show how crowded a pool's servers are; with --go, forget idle sessions on those that are
    #[command(after_help = "\
Examples:
  ebbtide rebalance app                    what it would do; nothing is changed
  ebbtide rebalance app --go --rate 10/s   does it
  ebbtide rebalance app --stop

Forgotten are only sessions that are idle and have nothing open, on servers that have more than their \
share: their users' next requests begin sessions, by the pool's policy. Who is active stays. Pools of \
protocol `tcp` and `nbd` have no idle sessions. `ebbtide status` shows how far it is.")]
    Rebalance(Rebalance),
    /// Show which servers' copies of a pool's resources may stand in for one another, and why
    #[command(after_help = "Example:\n  ebbtide replicas disks")]
    Replicas {
        #[command(flatten)]
        pool: Pool,
    },
    /// Write down which bytes the files of a directory hold, for nodes to compare servers by
    #[command(after_help = "\
Examples:
  ebbtide manifest /srv/images
  ebbtide manifest /srv/images -o /var/www/manifest.json

Run it on each server after its files have changed. Files that are as they were in the manifest before \
are not read again. It needs no running node. Exits with 1 if a file had to be left out.")]
    Manifest(ManifestArgs),
    /// On a server: tell balancers how busy it is, or put it on hold from its own console
    #[command(args_conflicts_with_subcommands = true)]
    #[command(after_help = "\
Examples:
  ebbtide agent --sessions-port 22 --sessions-max 40
  ebbtide agent hold --reason 'new disks at noon'
  ebbtide agent ready

It speaks the agent-check protocol of HAProxy, and runs on Linux. It needs no node.")]
    Agent(AgentArgs),
    /// Add, remove or change servers while the node runs
    #[command(subcommand)]
    Server(ServerCommand),
    /// Show who changed what, when, from where and why; the newest last
    #[command(after_help = "Example:\n  ebbtide audit --limit 20")]
    Audit {
        /// At most so many lines
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show what happens, as it happens, until Ctrl-C
    #[command(
        after_help = "Example:\n  ebbtide events --json | jq -c 'select(.kind == \"standing\")'"
    )]
    Events,
    /// Have the node read its configuration file again
    #[command(after_help = "\
Example:
  ebbtide reload

A file with a mistake changes nothing. A held server stays held.")]
    Reload {
        #[command(flatten)]
        why: Why,
    },
    /// Make, list or remove bearer tokens for the control API over TCP
    #[command(subcommand)]
    Token(TokenCommand),
    /// Add, list, change or remove the console's users
    User(UserArgs),
    /// Print a generated document, for `cargo xtask docs`
    #[command(hide = true)]
    InternalDocs {
        /// Which
        document: Document,
    },
}

/// How much a long-running command says on standard error.
#[derive(Clone, Debug, Args)]
pub struct Log {
    /// How much is said on standard error: error, warn, info, debug or trace, also by part
    /// (`info,ebbtide_proxy=debug`)
    #[arg(long, env = "EBBTIDE_LOG", value_name = "LEVEL", value_parser = log_filter)]
    pub log: Option<String>,
}

/// Options of the demo.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// The port that the simulated users, and you, connect to
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Print the status every five seconds instead of drawing it in place
    #[arg(long)]
    pub plain: bool,
    /// End by itself after this time, such as 30s
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub span: Option<Millis>,
    #[command(flatten)]
    pub log: Log,
}

/// What a manifest is written of.
#[derive(Clone, Debug, Args)]
pub struct ManifestArgs {
    /// The directory, with all below it; links are not followed
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Where the manifest goes; DIR/manifest.json, unless said otherwise
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Read every file, also those that seem to be as they were
    #[arg(long)]
    pub full: bool,
}

/// A server, as `pool/server`.
#[derive(Clone, Debug, Args)]
pub struct Server {
    /// Which server, such as app/web2
    #[arg(value_name = "POOL/SERVER", value_parser = server_name)]
    pub server: ServerName,
}

/// A pool.
#[derive(Clone, Debug, Args)]
pub struct Pool {
    /// Which pool, such as app
    #[arg(value_name = "POOL", value_parser = pool_name)]
    pub pool: String,
}

/// What users are told.
#[derive(Clone, Debug, Args)]
pub struct Words {
    /// What users are told: plain text, up to 1,000 characters, several lines if you like. '' takes
    /// away what they were told before
    #[arg(long)]
    pub message: Option<String>,
}

/// How a server is drained.
#[derive(Clone, Debug, Args)]
pub struct Drain {
    #[command(flatten)]
    pub server: Server,
    /// Time from now to the deadline, such as 30m or 1h30m, up to seven days. May be left out of a server
    /// that is being drained, if there is a message: the deadline stays
    #[arg(long, value_name = "TIME", value_parser = span, allow_hyphen_values = true,
        required_unless_present = "message")]
    pub within: Option<Millis>,
    #[command(flatten)]
    pub words: Words,
    #[command(flatten)]
    pub force: Force,
    #[command(flatten)]
    pub why: Why,
}

/// How a server is stopped.
#[derive(Clone, Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    pub server: Server,
    /// Time from now to the deadline of those that cannot be moved, up to seven days
    #[arg(long, value_name = "TIME", value_parser = span, allow_hyphen_values = true,
        default_value = "10m")]
    pub within: Millis,
    #[command(flatten)]
    pub words: Words,
    #[command(flatten)]
    pub force: Force,
    #[command(flatten)]
    pub why: Why,
}

/// Which session moves, and where to.
#[derive(Clone, Debug, Args)]
pub struct Move {
    /// Its number, sixteen hexadecimal digits, as `ebbtide sessions` shows it
    #[arg(value_name = "SESSION", value_parser = session_id)]
    pub id: SessionId,
    /// Where to; without it, to the least busy server that can take it over
    #[arg(long, value_name = "POOL/SERVER", value_parser = server_name)]
    pub to: Option<ServerName>,
    #[command(flatten)]
    pub why: Why,
}

/// What kind of drill.
#[derive(Clone, Debug, Args)]
pub struct Drill {
    #[command(flatten)]
    pub server: Server,
    /// Cut the connections to the server, instead of moving sessions in order
    #[arg(long)]
    pub cut: bool,
    /// How long it may take, 1s to 1m
    #[arg(long, value_name = "TIME", value_parser = span, allow_hyphen_values = true,
        default_value = "30s")]
    pub within: Millis,
    #[command(flatten)]
    pub why: Why,
}

/// How a pool is closed.
#[derive(Clone, Debug, Args)]
pub struct Close {
    #[command(flatten)]
    pub pool: Pool,
    /// Time from now to the deadline, such as 15m or 1h30m, up to seven days; 0s: at once
    #[arg(long, value_name = "TIME", value_parser = span, allow_hyphen_values = true,
        conflicts_with = "at")]
    pub within: Option<Millis>,
    /// The deadline as a time with its offset from UTC, up to seven days away:
    /// YYYY-MM-DDThh:mm+01:00, with seconds if you like
    #[arg(long, value_name = "WHEN", value_parser = timestamp)]
    pub at: Option<Timestamp>,
    #[command(flatten)]
    pub words: Words,
    /// How long the pool will probably be closed, such as 2h; users are told when it ends
    #[arg(long = "for", value_name = "TIME", value_parser = span)]
    pub lasting: Option<Millis>,
    /// When new sessions are refused; now, unless said otherwise
    #[arg(long, value_name = "WHEN")]
    pub block_new: Option<BlockNew>,
    /// Open by itself when the pool's `upgrade` check says so
    #[arg(long)]
    pub until_upgraded: bool,
    #[command(flatten)]
    pub why: Why,
}

/// From when on a pool that is closing refuses new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BlockNew {
    /// From now on
    Now,
    /// From the deadline on
    AtDeadline,
}

/// Past a guard.
#[derive(Clone, Debug, Args)]
pub struct Force {
    /// Do it even if too few servers are left; the audit log says so
    #[arg(long)]
    pub force: bool,
}

/// For the audit log.
#[derive(Clone, Debug, Args)]
pub struct Why {
    /// Why, for the audit log
    #[arg(long, value_name = "WORDS")]
    pub reason: Option<String>,
}

/// Which door to open.
#[derive(Clone, Debug, Args)]
pub struct DoorOpen {
    /// To which server, such as app/web2; without it, doors are listed
    #[arg(value_name = "POOL/SERVER", value_parser = server_name)]
    pub server: Option<ServerName>,
    /// How long it is open, 1m to 12h; 30m, unless said otherwise
    #[arg(long = "for", value_name = "TIME", value_parser = span, requires = "server")]
    pub lasting: Option<Millis>,
    /// Requests through it carry the pool's `admin_field` (HTTP pools)
    #[arg(long, requires = "server")]
    pub as_admin: bool,
    #[command(flatten)]
    pub why: Why,
}

/// What is done with doors.
#[derive(Clone, Debug, Subcommand)]
pub enum DoorCommand {
    /// List the doors that are open
    #[command(after_help = "Example:\n  ebbtide door list")]
    List,
    /// Close a door: what goes through it ends within a second
    #[command(after_help = "Example:\n  ebbtide door close 00c0ffee00c0ffee")]
    Close {
        /// Its number, sixteen hexadecimal digits, as `ebbtide door list` shows it
        #[arg(value_name = "DOOR")]
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// The drain is over, or the server is held and has no sessions
    Drained,
    /// The server takes new sessions
    Ready,
}

/// Which sessions to list.
#[derive(Clone, Debug, Args)]
pub struct SessionsList {
    /// Of this pool or server only, such as app or app/web2
    #[arg(value_name = "POOL[/SERVER]", value_parser = pool_or_server)]
    pub of: Option<(String, Option<String>)>,
    /// Of this user only, where the pool's `user` says how to know
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Those with this text in their number, their user's name or their address
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Active ones only: with a request open, or heard from lately
    #[arg(long)]
    pub active: bool,
    /// Those that have ended lately, instead of the live ones; of those that ended before Ebbtide was
    /// last started, only the ones that an operator ended
    #[arg(long, conflicts_with = "active")]
    pub ended: bool,
    /// Those after this one: the next page
    #[arg(long, value_name = "SESSION", value_parser = session_id)]
    pub after: Option<SessionId>,
    /// At most so many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
}

/// What else may be done with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// End sessions, by their numbers or by what they have in common; their users begin new ones
    #[command(after_help = "\
Examples:
  ebbtide sessions end 00c0ffee00c0ffee 00c0ffee00c0fff0
  ebbtide sessions end --user bob --reason 'left the company'
  ebbtide sessions end --of app/web2 --idle

Exits with 1 if none of them is live. If only some of those that are named by their numbers are, it \
ends these, names the others, and exits with 1, too.")]
    End {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        why: Why,
    },
    /// Say something to the users of sessions, chosen as for `end`, and to nobody else
    #[command(after_help = "\
Examples:
  ebbtide sessions tell 00c0ffee00c0ffee --message 'Please call 4455'
  ebbtide sessions tell --user bob --message \"$(cat notice.txt)\" --for 2h
  ebbtide sessions tell --of app/web2 --idle --message 'Are you still there?'

Users of HTTP pools see it at once in pages that have the notice's script, others on their next page; in \
Telnet it is written after the next line. Users of other TCP pools and of NBD pools cannot be told \
anything. It is there until they dismiss it, for a time, or until their session ends; the next message \
takes its place. A restart of Ebbtide forgets it. Exits with 1 if it was not left for all sessions that \
are named by their numbers.")]
    Tell {
        #[command(flatten)]
        which: Which,
        /// What they are told: plain text, up to 1,000 characters, several lines if you like
        #[arg(long)]
        message: String,
        /// How long it is there if they do not dismiss it, 1m to 24h; 15m, unless said otherwise
        #[arg(long = "for", value_name = "TIME", value_parser = span)]
        lasting: Option<Millis>,
        #[command(flatten)]
        why: Why,
    },
}

/// Which sessions something is done with: those that fit all that is said.
#[derive(Debug, Args)]
pub struct Which {
    /// Their numbers, sixteen hexadecimal digits, as `ebbtide sessions` shows them
    #[arg(value_name = "SESSION", value_parser = session_id)]
    pub ids: Vec<SessionId>,
    /// All of this pool or server, such as app or app/web2
    #[arg(long, value_name = "POOL[/SERVER]", value_parser = pool_or_server)]
    pub of: Option<(String, Option<String>)>,
    /// All of this user
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// All with this text in their number, their user's name or their address
    #[arg(long, value_name = "TEXT")]
    pub search: Option<String>,
    /// Of those, the idle ones only
    #[arg(long)]
    pub idle: bool,
}

/// Bearer tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; it is shown this once
    #[command(after_help = "Example:\n  ebbtide token add ci --role operator")]
    Add {
        /// Whose it is; the audit log names its holder so
        name: String,
        /// What its holder may do
        #[arg(long, value_enum)]
        role: RoleName,
        #[command(flatten)]
        why: Why,
    },
    /// List the tokens, without their secrets
    #[command(after_help = "Example:\n  ebbtide token list")]
    List,
    /// Remove a token; whoever holds it is refused from now on
    #[command(after_help = "Example:\n  ebbtide token remove ci")]
    Remove {
        /// Whose
        name: String,
        #[command(flatten)]
        why: Why,
    },
}

/// What a token's holder may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleName {
    /// Read
    Viewer,
    /// Also change servers and sessions
    Operator,
    /// Also reload, rotate secrets and make tokens
    Admin,
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Viewer => Self::Viewer,
            RoleName::Operator => Self::Operator,
            RoleName::Admin => Self::Admin,
        }
    }
}

/// A generated document.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Document {
    Settings,
    Schema,
    Openapi,
    Cli,
    Metrics,
}

fn span(text: &str) -> Result<Millis, String> {
    crate::config::duration(text).map_err(|mistake| mistake.to_string())
}

fn server_name(text: &str) -> Result<ServerName, String> {
    ServerName::parse(text).ok_or_else(|| "a server is named POOL/SERVER, such as app/web2".into())
}

fn pool_name(text: &str) -> Result<String, String> {
    match ebbtide_core::is_name(text) {
        true => Ok(text.into()),
        false => Err("expected the name of a pool, such as app".into()),
    }
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| {
        "expected a date and a time of day with their offset from UTC: YYYY-MM-DDThh:mm, and then \
         Z or an offset such as +01:00"
            .into()
    })
}

fn pool_or_server(text: &str) -> Result<(String, Option<String>), String> {
    if ebbtide_core::is_name(text) {
        return Ok((text.into(), None));
    }
    let name = ServerName::parse(text);
    name.map(|name| (name.pool, Some(name.server)))
        .ok_or_else(|| "expected POOL or POOL/SERVER, such as app or app/web2".into())
}

fn session_id(text: &str) -> Result<SessionId, String> {
    SessionId::parse(text).ok_or_else(|| {
        "a session's number is sixteen hexadecimal digits (see `ebbtide sessions`)".into()
    })
}

fn log_filter(text: &str) -> Result<String, String> {
    let is_level = |part: &str| {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        ["off", "error", "warn", "info", "debug", "trace"].contains(&level)
    };
    if text.split(',').all(is_level) {
        return Ok(text.into());
    }
    Err("expected error, warn, info, debug or trace; or PART=LEVEL, with commas between".into())
}
