//! What operators ask for, as the node is given it.

use super::number::ServerNumber;
use super::plan::{Closes, Order, pool_name};
use super::world::World;
use ebbtide_core::{Close, Command, Millis, PeakChange, ServerChange, ServerConfig};

impl World {
    /// What an operator tells the users: something else each time.
    fn words(&self) -> String {
        format!("words {}", self.last_request + 1)
    }

    pub(super) fn command(&mut self, order: Order) -> Option<Command> {
        Some(match order {
            Order::Ready(server, force) => Command::Ready {
                server: server.name(),
                force,
            },
            Order::Hold(server, force) => Command::Hold {
                server: server.name(),
                force,
            },
            Order::Drain(server, within, force) => Command::Drain {
                server: server.name(),
                within: (within > 0).then(|| Millis(within.unsigned_abs())),
                message: (within % 2 == 0).then(|| self.words()),
                force,
            },
            Order::Maintenance(server, force) => Command::Maintenance {
                server: server.name(),
                force,
            },
            Order::Forget(server) => Command::Forget {
                server: server.name(),
            },
            Order::EndSession { client, pool } => {
                let id = self.clients[client].tokens[pool].last()?.session;
                Command::EndSessions { ids: vec![id] }
            }
            Order::EndConnection(nth) => Command::EndSessions {
                ids: vec![self.open_session(nth)?],
            },
            Order::Set(server, weight, max) => {
                let mut change = ServerChange::default();
                (change.weight, change.max_sessions) = (Some(weight), Some(max));
                set(server, change)
            }
            Order::Peak(server, peak, force) => {
                let peak = Some(peak.map_or(PeakChange::None, PeakChange::Percent));
                let mut change = ServerChange::default();
                (change.peak_load, change.force) = (peak, force);
                set(server, change)
            }
            Order::Add(added) => add(added),
            Order::Remove(server, force) => Command::RemoveServer {
                server: server.name(),
                force,
            },
            Order::Rebalance(pool, rate) => Command::Rebalance {
                pool: pool_name(pool).into(),
                rate,
            },
            Order::StopRebalance(pool) => Command::StopRebalance {
                pool: pool_name(pool).into(),
            },
            Order::Rotate => {
                let secret = [self.roll().to_le_bytes(); 4].concat();
                let secret = secret.try_into().ok()?;
                Command::RotateTokenSecret { secret }
            }
            Order::Reload(file) => Command::Reload {
                config: file.config(&self.setup),
                beside: Vec::new(),
            },
            Order::Close(pool, closes) => self.close(pool, closes),
            Order::Open(pool) => Command::Open {
                pool: pool_name(pool).into(),
            },
            Order::OpenDoor(opens) => self.open_door(opens),
            Order::CloseDoor(door) => self.close_door(door)?,
        })
    }

    fn close(&self, pool: usize, closes: Closes) -> Command {
        let span = |ms: i64| Millis(ms.unsigned_abs());
        Command::Close {
            pool: pool_name(pool).into(),
            close: Close {
                within: closes.within_ms.map(span),
                message: closes.says.then(|| self.words()),
                lasting: closes.lasting_ms.map(span),
                block_new: closes.block_new,
                until_upgraded: closes.until_upgraded,
            },
        }
    }
}

fn set(server: ServerNumber, change: ServerChange) -> Command {
    Command::SetServer {
        server: server.name(),
        change,
    }
}

fn add(added: ServerNumber) -> Command {
    let number = added.as_added().unwrap_or(0);
    let port = 9050 + 100 * added.pool() + number;
    let address = ([127, 0, 0, 1], port as u16).into();
    Command::AddServer {
        pool: pool_name(added.pool()).into(),
        server: ServerConfig::new(added.server(), address),
    }
}
