//! What Ebbtide asks of others and tells them, as the file says it: webhooks and version pages.

use super::build::{maybe, number, value};
use super::read::{Read, Section};
use ebbtide_control::{HttpUrl, Secret, Template, UPGRADE_EVERY, Webhook};
use ebbtide_core::{HealthSettings, Millis, UpgradeCheck, VerifyCheck, VerifyPage};
use std::path::Path;

/// When a closed pool counts as upgraded.
pub(super) fn upgrade(upgrade: &Section<'_, '_>, health: Option<&HealthSettings>) -> UpgradeCheck {
    let probes: u32 = number(upgrade.count("probes"));
    let within = upgrade.duration("within");
    let never = "the pool would never open by itself";
    check_within(upgrade, within.as_ref(), probes, health, never);
    UpgradeCheck {
        path: value(upgrade.text("path")),
        expect: maybe(upgrade.text("expect")),
        probes,
        within: value(within),
    }
}

/// What a server has to show after maintenance.
pub(super) fn verify(
    pool: &Section<'_, '_>,
    health: Option<&HealthSettings>,
) -> Option<VerifyCheck> {
    if pool.is_off("verify") {
        return None;
    }
    let verify = pool.section("verify");
    let probes = verify.count("probes");
    let probes = probes.map_or_else(
        || health.map_or(VerifyCheck::defaults().probes, |health| health.rise),
        |read| number(Some(read)),
    );
    let within = verify.duration("within");
    let never = "no server would ever come back";
    let written = within.as_ref().filter(|read| read.written);
    check_within(&verify, written, probes, health, never);
    let (path, expect) = (verify.text("path"), verify.text("expect"));
    if let Some(read) = expect.as_ref().filter(|_| path.is_none()) {
        verify.report(
            &read.span,
            format!("{}.expect: there is no `path` to ask for", verify.shown()),
            "would not be looked at",
            Some("add the page that says it, such as `path = \"/version\"`".into()),
        );
    }
    if verify.written && health.is_none() && path.is_none() {
        verify.report(
            &verify.span,
            format!("{}: the pool has no health checks", verify.shown()),
            "nothing to see",
            Some(
                "add the page that tells that a server is well, such as `path = \"/version\"`"
                    .into(),
            ),
        );
    }
    Some(VerifyCheck {
        probes,
        page: path.map(|path| VerifyPage {
            path: path.value,
            expect: maybe(expect),
        }),
        // Who probes seldom waits longer, unless told otherwise.
        within: match written {
            Some(read) => read.value,
            None => value(within).max(Millis(2 * time_for(probes, health).0)),
        },
    })
}

/// How long so many answers in a row take.
fn time_for(probes: u32, health: Option<&HealthSettings>) -> Millis {
    let every = health.map_or(UPGRADE_EVERY, |health| health.every);
    Millis(every.0.saturating_mul(u64::from(probes)))
}

/// Reports a time in which so many answers in a row cannot come.
fn check_within(
    section: &Section<'_, '_>,
    within: Option<&Read<Millis>>,
    probes: u32,
    health: Option<&HealthSettings>,
    never: &str,
) {
    let every = health.map_or(UPGRADE_EVERY, |health| health.every);
    let needed = time_for(probes, health);
    if let Some(read) = within.filter(|read| read.value < needed) {
        section.report(
            &read.span,
            format!("{}.within: too short for `probes`", section.shown()),
            never,
            Some(format!(
                "{probes} answers in a row, one every {every}, take that long: write at least \
                 \"{needed}\", or fewer `probes`"
            )),
        );
    }
}

/// Who is told of events.
pub(super) fn webhooks(root: &Section<'_, '_>) -> Vec<Webhook> {
    let section = root.section("webhooks");
    let hooks = section.named();
    hooks
        .into_iter()
        .filter_map(|(name, hook)| webhook(name, &hook))
        .collect()
}

/// `None`: something is wrong, which has been reported.
fn webhook(name: String, hook: &Section<'_, '_>) -> Option<Webhook> {
    let url = hook.text("url").and_then(|read| url(hook, &read));
    Some(Webhook {
        name,
        events: value(hook.texts("events")),
        secret: secret(hook),
        template: match value(hook.word("template")) {
            "slack" => Template::Slack,
            "teams" => Template::Teams,
            _ => Template::Json,
        },
        timeout: value(hook.duration("timeout")),
        attempts: number(hook.count("attempts")),
        queue_max: number(hook.count("queue")),
        url: url?,
    })
}

fn url(hook: &Section<'_, '_>, read: &Read<String>) -> Option<HttpUrl> {
    let report = |why| {
        hook.report(
            &read.span,
            format!("{}.url: {why}", hook.shown()),
            "not an address for a webhook",
            Some("write one such as \"https://hooks.example.com/ebbtide\"".into()),
        );
    };
    HttpUrl::parse(&read.value).map_err(report).ok()
}

fn secret(hook: &Section<'_, '_>) -> Option<Secret> {
    let (file, env) = (hook.text("secret_file"), hook.text("secret_env"));
    let (read, found) = match (file, env) {
        (None, None) => return None,
        (Some(_), Some(env)) => {
            let why = "a secret comes from one place".to_owned();
            (env, Err(why))
        }
        (Some(file), None) => {
            let found = Secret::read(Path::new(&file.value));
            let named = |why| format!("{} {why}", file.value);
            let found = found.map_err(named);
            (file, found)
        }
        (None, Some(env)) => {
            let text = std::env::var(&env.value).map_err(|_| "is not in the environment".into());
            let found = text.and_then(|text| Secret::new(&text));
            let named = |why| format!("{} {why}", env.value);
            let found = found.map_err(named);
            (env, found)
        }
    };
    found
        .map_err(|why| {
            hook.report(
                &read.span,
                format!("{}: no secret: {why}", hook.shown()),
                "no secret",
                Some(
                    "write `secret_file = \"/path\"` (mode 0600) or `secret_env = \"NAME\"`; `openssl \
                     rand -hex 32` makes a secret"
                        .into(),
                ),
            );
        })
        .ok()
}
