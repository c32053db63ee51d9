//! The simulated store: batches that are there whole or not at all.

use super::plan::DiskFault;
use ebbtide_core::{
    Now, PoolIntentRecord, Restored, RestoredServer, ServerName, ServerOverride, SessionId, TokenSecrets, WallTime,
    Write,
};
use std::collections::BTreeMap;

#[derive(Default)]
pub(super) struct Disk {
    servers: BTreeMap<ServerName, RestoredServer>,
    pools: BTreeMap<String, PoolIntentRecord>,
    ended: BTreeMap<SessionId, (ServerName, WallTime)>,
    secrets: TokenSecrets,
    in_use: bool,
    pub fault: Option<(DiskFault, i64)>,
}

impl Disk {
    /// What it does to a write at `at`.
    pub fn fault_at(&self, at: i64) -> Option<DiskFault> {
        let (fault, until) = self.fault?;
        (at < until).then_some(fault)
    }

    pub fn commit(&mut self, writes: &[Write]) {
        for write in writes {
            match write {
                Write::Intent(name, record) => self.server(name).intent = Some(record.clone()),
                Write::PoolIntent(name, record) => {
                    self.pools.insert(name.clone(), record.clone());
                }
                Write::Epoch(name, epoch) => self.server(name).epoch = *epoch,
                Write::LiveServer(name, config) => self.server(name).live.clone_from(config),
                Write::Override(name, set) => self.server(name).set = *set,
                Write::EndedSession { id, server, until } => {
                    self.ended.insert(*id, (server.clone(), *until));
                }
                Write::TokenSecrets(secrets) => self.secrets = secrets.clone(),
                Write::Audit(_) => {}
            }
        }
    }

    pub fn restore(&mut self, now: Now) -> Restored {
        self.ended.retain(|_, (_, until)| until.0 > now.wall.0);
        Restored {
            servers: self.servers.values().cloned().collect(),
            pools: self.pools.clone().into_iter().collect(),
            ended_sessions: self
                .ended
                .iter()
                .map(|(id, (server, _))| (*id, server.clone()))
                .collect(),
            token_secrets: self.secrets.clone(),
            first_start: !std::mem::replace(&mut self.in_use, true),
        }
    }

    fn server(&mut self, name: &ServerName) -> &mut RestoredServer {
        self.servers
            .entry(name.clone())
            .or_insert_with(|| RestoredServer {
                name: name.clone(),
                intent: None,
                epoch: 0,
                live: None,
                set: ServerOverride::default(),
            })
    }
}
