//! Settings of how new sessions are placed, of which nothing comes: the policy has nothing to go by, or
//! nobody is placed in the pool.

use super::build::is_mistaken;
use super::read::Section;
use ebbtide_core::{Balance, HealthCheck, NameConfig, PoolConfig, ServerConfig};
use std::ops::Range;

/// Checks every pool, now that all of the file is known.
pub(super) fn check_placing(root: &Section<'_, '_>, pools: &[(PoolConfig, Range<usize>)]) {
    for (name, section) in root.section("pools").named() {
        let found = pools.iter().find(|(config, _)| config.name == name);
        let Some((config, _)) = found.filter(|_| !is_mistaken(&section)) else {
            continue;
        };
        check_policy(&section, config);
        let why = match config.balance {
            Balance::DoorOnly => "with `balance = \"door-only\"` nobody is placed here",
            _ if !is_led_to(root, &name, pools) => {
                "no listener leads here, so nobody is placed here"
            }
            _ => continue,
        };
        check_nobody(&section, "slow_start", why);
        check_nobody(&section, "load", why);
        if config.outliers.acts {
            check_nobody(&section, "outliers", why);
        }
    }
}

/// Whether a listener leads to this pool, or may be meant to: a pool that does not exist has been
/// reported.
fn is_led_to(root: &Section<'_, '_>, name: &str, pools: &[(PoolConfig, Range<usize>)]) -> bool {
    let section = root.section("listeners");
    let listeners = section.named();
    let is_meant = |pool: &str| pool == name || !pools.iter().any(|(other, _)| other.name == pool);
    let mut led = listeners.iter().map(|(_, listener)| {
        listener
            .text("pool")
            .is_none_or(|pool| is_meant(&pool.value))
    });
    !section.written || led.any(|is_meant| is_meant)
}

fn check_nobody(pool: &Section<'_, '_>, setting: &str, why: &str) {
    if let Some(span) = pool.span_of(setting) {
        pool.report(
            &span,
            format!("{}.{setting}: {why}", pool.shown()),
            "nothing would come of it",
            Some("leave it out".into()),
        );
    }
}

/// Reports a policy that has nothing to go by. A load of which no policy knows is no mistake: it is shown,
/// and a peak may be set live.
fn check_policy(pool: &Section<'_, '_>, config: &PoolConfig) {
    let has_load = pool.writes("load");
    let help = match config.balance {
        Balance::LeastLoad if !has_load => {
            "`least-load` goes by the load of machines, and the pool has no `load`"
        }
        Balance::MostAvailable if !has_load && !tells_of_room(config) => {
            "`most-available` goes by free room, and nothing tells of any"
        }
        _ => return,
    };
    let Some(balance) = pool.word("balance").filter(|read| read.written) else {
        return;
    };
    pool.report(
        &balance.span,
        format!("{}.balance: {help}", pool.shown()),
        "has nothing to go by",
        Some(format!(
            "add `[{}.load]` with `exporter = \"http://{{host}}:9100/metrics\"`, {}or write \
             `balance = \"least-sessions\"`",
            pool.shown(),
            match config.balance {
                Balance::MostAvailable => "or `max_sessions` for each server, ",
                _ => "",
            }
        )),
    );
}

/// Whether anything may tell how much room a server of the pool has.
fn tells_of_room(config: &PoolConfig) -> bool {
    let health = config.health.as_ref();
    // Only such a page tells of places.
    let speaks = |expect: &str| expect.trim().eq_ignore_ascii_case("ACTIVE");
    let asks_for_page = health.is_some_and(
        |it| matches!(&it.check, HealthCheck::Http { expect: Some(expect), .. } if speaks(expect)),
    );
    let has_places = all_servers(config).any(|server| server.max_sessions.is_some());
    has_places || asks_for_page || config.agent.is_some()
}

fn all_servers(config: &PoolConfig) -> impl Iterator<Item = &ServerConfig> {
    let of_names = config.names.iter().map(|name: &NameConfig| &name.server);
    config.servers.iter().chain(of_names)
}
