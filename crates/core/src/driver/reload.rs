//! A new configuration: what is different, in lines for people, and the plan for it.

use crate::command::Refusal;
use crate::config::{Config, PoolConfig};
use crate::driver::change::{Change, NodeEdit, Plan};
use crate::driver::commands::Planner;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Planner<'_> {
    /// Takes a configuration that was checked already. Intents are not in it, so whatever is held
    /// stays held.
    pub fn reload(&self, config: Arc<Config>) -> Result<Plan, Refusal> {
        let changes = differences(&self.state.config, &config);
        let text = match changes.len() {
            0 => "the configuration is as it was".to_owned(),
            1 => "the configuration was read again: 1 change".to_owned(),
            many => format!("the configuration was read again: {many} changes"),
        };
        let change = Change::OfNode(NodeEdit::Config(config));
        let target = "-".to_owned();
        let mut plan = self.plan("reload", target, change, Vec::new(), text, false);
        plan.answer.changes = changes;
        Ok(plan)
    }
}

/// What is different, a line each: `+` came, `-` left, `~` changed.
fn differences(before: &Config, after: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    compare(
        &by_name(&before.listeners, |listener| &listener.name),
        &by_name(&after.listeners, |listener| &listener.name),
        |sign, name| lines.push(format!("{sign} listeners.{name}")),
    );
    let before = by_name(&before.pools, |pool| &pool.name);
    let after = by_name(&after.pools, |pool| &pool.name);
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        lines.push(format!("- pools.{name}"));
    }
    for (name, pool) in &after {
        match before.get(name) {
            None => lines.push(format!("+ pools.{name}")),
            Some(earlier) => pool_differences(earlier, pool, &mut lines),
        }
    }
    lines
}

fn pool_differences(before: &PoolConfig, after: &PoolConfig, lines: &mut Vec<String>) {
    let name = &after.name;
    let mut part = |what: &str, same: bool| {
        if !same {
            lines.push(format!("~ pools.{name}.{what}"));
        }
    };
    part("balance", before.balance == after.balance);
    part("sticky", before.sticky == after.sticky);
    part("minimum", before.minimum == after.minimum);
    part("health", before.health == after.health);
    part("contact", before.contact == after.contact);
    part("http", before.http == after.http);
    compare(
        &by_name(&before.servers, |server| &server.name),
        &by_name(&after.servers, |server| &server.name),
        |sign, server| lines.push(format!("{sign} pools.{name}.servers.{server}")),
    );
}

fn compare<T: PartialEq>(
    before: &BTreeMap<&str, &T>,
    after: &BTreeMap<&str, &T>,
    mut say: impl FnMut(char, &str),
) {
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        say('-', name);
    }
    for (name, item) in after {
        match before.get(name) {
            None => say('+', name),
            Some(earlier) if earlier != item => say('~', name),
            Some(_) => {}
        }
    }
}

fn by_name<T>(items: &[T], name: impl Fn(&T) -> &str) -> BTreeMap<&str, &T> {
    items.iter().map(|item| (name(item), item)).collect()
}
