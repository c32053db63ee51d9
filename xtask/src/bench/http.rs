//! HTTP pools beside nginx and HAProxy: wrk as the load, nginx as the origin.

use std::path::Path;

use super::measure::{self, Measured};
use super::peers::{self, Origin, Peer, Running};
use super::rows::{Row, Work};
use super::statistics::Times;
use super::{Options, Suite, hold, idle};

/// The processes of a comparison, and where they keep their files.
pub struct Bench<'a> {
    options: &'a Options,
    scratch: &'a Path,
    origin: Origin,
    running: Vec<Running>,
}

impl<'a> Bench<'a> {
    pub fn start(options: &'a Options, rows: &[Row], scratch: &'a Path) -> Result<Self, String> {
        let origin = peers::start_origin(scratch)?;
        let mut running = Vec::new();
        for peer in super::needed(options, rows) {
            running.push(peers::start(peer, scratch, &origin.ports)?);
        }
        Ok(Self {
            options,
            scratch,
            origin,
            running,
        })
    }

    fn measure_one(&self, row: Row, peer: Peer) -> Result<Measured, String> {
        match (row.work(), self.find(peer)) {
            (Work::Load(load), Some(balancer)) => {
                measure::measure(balancer, &load, self.options.seconds, self.scratch)
            }
            // A process that has worked would have memory left over for the connections.
            _ => idle::measure(&peers::start(peer, self.scratch, &self.origin.ports)?),
        }
    }

    fn find(&self, peer: Peer) -> Option<&Running> {
        self.running.iter().find(|balancer| balancer.peer == peer)
    }
}

impl Suite for Bench<'_> {
    fn measure(&mut self, row: Row, peer: Peer) -> Result<Measured, String> {
        self.measure_one(row, peer)
    }

    fn time(&mut self, _row: Row, times: &mut Times) -> Result<(), String> {
        match self.find(Peer::Ebbtide) {
            Some(ebbtide) => hold::measure(ebbtide, self.scratch, self.options.seconds, times),
            None => Ok(()),
        }
    }
}
