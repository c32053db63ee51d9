//! The tables of the file.

use super::{Section, Short};

const fn section(path: &'static str, short: Short, help: &'static str) -> Section {
    Section { path, short, help }
}

/// Every table of the file, outer ones first.
pub const SECTIONS: &[Section] = &[
    section("", Short::None, "The node itself."),
    section(
        "admin",
        Short::None,
        "The control API, the console, `/metrics`, `/livez` and `/readyz`. On its own machine the command line \
         uses the UNIX socket `admin.sock` in `state_dir` instead.",
    ),
    section(
        "admin.sign_in",
        Short::None,
        "How long people stay signed in to the console.",
    ),
    section(
        "admin.sign_in.openid",
        Short::None,
        "A provider of OpenID Connect, by which people sign in without a password of Ebbtide's. \
         See [console.md](console.md#signing-in-by-openid-connect).",
    ),
    section(
        "admin.sign_in.openid.roles",
        Short::None,
        "Who may do what, by what the provider says of them. The greatest role counts; whoever has none is \
         not let in.",
    ),
    section(
        "access_log",
        Short::None,
        "One line for each request. SIGHUP opens the file anew, as log rotation expects.",
    ),
    section(
        "listeners",
        Short::None,
        "Addresses that clients connect to, by name.",
    ),
    section(
        "listeners.*",
        Short::None,
        "One address that clients connect to.",
    ),
    section("pools", Short::None, "Pools of servers, by name."),
    section(
        "pools.*",
        Short::None,
        "Servers that can stand in for one another, and how their users are treated.",
    ),
    section(
        "pools.*.sticky",
        Short::None,
        "How long a session binds its user to its server.",
    ),
    section(
        "pools.*.user",
        Short::None,
        "Where requests name their user, so that `ebbtide sessions` can show and find people: one \
         of the three. Without it sessions have no names.",
    ),
    section(
        "pools.*.logout_call",
        Short::None,
        "A request to the server for each session that a deadline, `idle_end` or an operator ends, \
         with that user's cookies, so that the session in the application ends too.",
    ),
    section(
        "pools.*.door",
        Short::None,
        "How operators come in with `ebbtide door`, past everything that keeps users out.",
    ),
    section(
        "pools.*.health",
        Short::False,
        "How the servers are probed. Without a `path`, being able to connect is enough. \
         `health = false` probes nothing and takes every server to be well.",
    ),
    section(
        "pools.*.load",
        Short::Setting("exporter"),
        "How busy the servers' machines are, for `balance = \"least-load\"` and `\"most-available\"`. A \
         server whose exporter cannot be read has the mark *no metrics* and goes on; sessions decide \
         meanwhile. See [balancing.md](balancing.md#readings).",
    ),
    section(
        "pools.*.agent",
        Short::Setting("port"),
        "Agents on the servers, in the agent-check protocol of HAProxy: they speak for the servers' own \
         operators and tell shares of weights. A server whose agent cannot be asked has the mark *no \
         agent* and goes on. See [agent.md](agent.md).",
    ),
    section(
        "pools.*.outliers",
        Short::Setting("act"),
        "Servers that are sick without being dead: found by what becomes of users' requests, against the \
         pool's other servers, and held for a while. `outliers = true` does that as the defaults say. \
         See [balancing.md](balancing.md#sick-but-not-dead).",
    ),
    section(
        "pools.*.upgrade",
        Short::None,
        "When a pool that was closed with `--until-upgraded` opens by itself. \
         See [maintenance.md](maintenance.md#opening-by-itself).",
    ),
    section(
        "pools.*.verify",
        Short::False,
        "What a server has to show after maintenance before it takes sessions again. `verify = false`: \
         nothing. Without health checks and without a `path` there is nothing to show. \
         See [maintenance.md](maintenance.md#back-into-traffic).",
    ),
    section(
        "pools.*.notice",
        Short::Setting("form"),
        "What users are told in their windows while a deadline stands. \
         See [maintenance.md](maintenance.md#what-users-see).",
    ),
    section(
        "pools.*.pages",
        Short::None,
        "Pages of your own for those who cannot get in; each file is read again when it changes, up \
         to 1 MiB. `{{title}}`, `{{message}}`, `{{began}}`, `{{ends}}`, `{{expected_end}}`, \
         `{{contact}}` and `{{pool}}` in them are replaced by text. `ebbtide check` looks into them: \
         it refuses a file that cannot be read, and other names between such braces.",
    ),
    section(
        "pools.*.health_page",
        Short::None,
        "The pool's own health page (`PREFIX/health` and `health_alias`), in the form that a \
         balancer in front looks for. The number of sessions available is that of free places under \
         `max_sessions`, and of those that the servers' own pages tell, of all servers that take new sessions together; where one of them tells no \
         number there is none, and 9999 is said.",
    ),
    section(
        "pools.*.timeouts",
        Short::None,
        "How long each wait may last.",
    ),
    section(
        "pools.*.limits",
        Short::None,
        "How much of everything there may be.",
    ),
    section(
        "pools.*.servers",
        Short::None,
        "The servers of the pool, by name. A server is named `pool/server` everywhere.",
    ),
    section(
        "pools.*.servers.*",
        Short::Setting("address"),
        "One server: its address, or a table when more is to be said.\n\nNo setting makes a server the \
         *last resort*: when every server of the pool that operators want in traffic is down, health \
         tells nothing about where users are better off. Then their sessions stay where they are, and \
         the server that was well most recently goes on admitting new ones (`last-resort` in `ebbtide \
         status`), so that users see the service's own error. It counts for nothing in `minimum`, and \
         the pool's own health page does not say `ACTIVE` for it.",
    ),
    section(
        "pools.*.resources",
        Short::None,
        "Resources that the servers of an `http` or `nbd` pool have copies of, by name. Only identical \
         copies stand in for one another. See [replicas.md](replicas.md).",
    ),
    section(
        "pools.*.resources.*",
        Short::None,
        "One resource. Its name is what clients ask for.",
    ),
    section(
        "webhooks",
        Short::None,
        "Addresses that are told of events, by name.",
    ),
    section(
        "webhooks.*",
        Short::None,
        "One address that is told of events. See [maintenance.md](maintenance.md#webhooks).",
    ),
];
