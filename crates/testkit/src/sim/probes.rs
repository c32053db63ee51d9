//! The probes of the simulated node, and what comes of them at servers that are well, full, hung or dead.

use super::number::ServerNumber;
use super::plan::{Being, PROBE_EVERY_MS, pool_name};
use super::world::{Before, NodeHappening, World};
use ebbtide_core::ProbeOutcome;

impl World {
    pub(super) fn probe_round(&mut self) {
        let Some(node) = &self.node else { return };
        let snapshot = node.driver.snapshot();
        let checked = snapshot
            .pools
            .iter()
            .filter(|pool| pool.config.health.is_some());
        for pool in checked {
            for server in &pool.servers {
                self.probe(ServerNumber::of_view(pool, server));
            }
        }
        self.node_later(self.at + PROBE_EVERY_MS, NodeHappening::ProbeRound);
    }

    pub(super) fn probe(&mut self, number: ServerNumber) {
        let (quick, timeout) = (self.between(1, 60), 900);
        let at = self.at;
        let before = Before {
            at,
            admitted: self.admitted(number),
            begun: self.judge.ever_begun(number),
        };
        let server = self.servers.get_or_default(number);
        let (lost, late) = (server.probes_lost_until > at, server.probes_late_until > at);
        let bad = |why: &str| ProbeOutcome::Bad(why.into());
        let (outcome, takes) = match server.being {
            _ if lost => (bad("timed out"), timeout),
            Being::Well | Being::SaysGood => (ProbeOutcome::Good { places: None }, quick),
            Being::Dead => (bad("connection refused"), quick),
            Being::Hung => (bad("timed out"), timeout),
            Being::OnHold => (ProbeOutcome::OnHold, quick),
            Being::AllInUse => (ProbeOutcome::AllInUse, quick),
            Being::HasPlaces(places) => {
                let places = Some(u64::from(places));
                (ProbeOutcome::Good { places }, quick)
            }
            Being::SaysBad => (bad("status 500"), quick),
        };
        let takes = takes + if late { 800 } else { 0 };
        self.node_later(at + takes, NodeHappening::Probed(number, outcome, before));
    }

    /// What a server was ever given, as the node counts it.
    fn admitted(&self, number: ServerNumber) -> u32 {
        let snapshot = self.node.as_ref().map(|node| node.driver.snapshot());
        let admitted = snapshot.and_then(|snapshot| {
            let pool = snapshot.pool_named(pool_name(number.pool()))?;
            let mut servers = pool.servers.iter();
            let view = servers.find(|view| ServerNumber::of_view(pool, view) == number)?;
            Some(view.load.places.admitted())
        });
        admitted.unwrap_or(0)
    }
}
