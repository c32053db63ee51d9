//! What users do, and what a worker makes of it.

use super::judge::Asked;
use super::number::ServerNumber;
use super::plan::{Action, Being, Shows, pool_name, pool_number};
use super::worker::{Asking, Exchange, Placed, Token, is_expired};
use super::world::World;
use ebbtide_core::{EndReason, Fact, Found, Now, PoolView, SessionId, Snapshot};
use std::net::IpAddr;
use std::sync::Arc;

impl World {
    /// Plays a request: it comes to one of the workers, is placed, and is served for a while.
    pub fn request(&mut self, index: usize) {
        let Action::Request {
            client,
            pool,
            shows,
            lasts_ms,
            tunnel,
        } = self.plan[index].action
        else {
            return;
        };
        let roll = self.roll() as usize;
        let Some(node) = &self.node else { return };
        let number = roll % node.workers.len();
        let worker = &node.workers[number];
        if worker.stalled_until > self.at {
            let until = worker.stalled_until + 1;
            return self.again(index, until);
        }
        let snapshot = Arc::clone(&worker.snapshot);
        let Some(view) = snapshot.pool_named(pool_name(pool)) else {
            return;
        };
        let token = self.token(client, pool, shows);
        let known = token.as_ref().is_some_and(|token| {
            let node = self.node.as_ref();
            node.is_some_and(|node| !matches!(node.table.find(token.session), Found::Unknown))
        });
        let (placed, refused) = self.place(number, client, view, token.as_ref());
        let now = self.now();
        self.tell(|| shown(client, shows, token.as_ref(), placed.as_ref(), view));
        let asked = Asked {
            genuine: !matches!(shows, Shows::Forged | Shows::OtherPool),
            lost_by_age: token
                .as_ref()
                .is_some_and(|token| !known && is_expired(token, now)),
            lost_by_secret: token.as_ref().is_some_and(|token| {
                let secrets = &snapshot.token_secrets;
                token.secret != secrets.current && Some(token.secret) != secrets.previous
            }),
            behind: token.as_ref().is_some_and(|token| {
                let mut servers = view.servers.iter();
                let known = servers.find(|server| *server.name == *token.server.server());
                known.is_some_and(|server| server.epoch < token.epoch)
            }),
            refused,
        };
        let went = placed.as_ref().map(|placed| {
            let name = ServerNumber::in_pool(pool, &placed.server.name);
            (placed.session.id, name)
        });
        self.judge
            .requested(token.as_ref(), &asked, went, now, self.at);
        if let (Some(placed), Some((_, name))) = (placed, went) {
            let exchange = Exchange {
                number: 0,
                worker: number,
                server: name,
                stay: placed.session.enter(now.moment),
                tunnel,
            };
            self.judge.opened(placed.session.id, self.at);
            self.renew(client, pool, &placed, exchange.server, &snapshot, now);
            let hung = self.being(exchange.server) == Being::Hung;
            self.open_exchange(exchange, if hung { 20_000 } else { lasts_ms });
        }
    }

    /// Gives the client a new token, where its own is missing or old.
    fn renew(
        &mut self,
        client: usize,
        pool: usize,
        placed: &Placed,
        server: ServerNumber,
        snapshot: &Snapshot,
        now: Now,
    ) {
        if !placed.renew {
            return;
        }
        self.clients[client].tokens[pool].push(Token {
            server,
            epoch: placed.server.epoch,
            session: placed.session.id,
            started_s: now.wall_at(placed.session.started).0 / 1000,
            renewed_s: now.wall.0 / 1000,
            secret: snapshot.token_secrets.current,
        });
    }

    /// Places a request; a server that cannot be connected to is tried once, then another.
    /// Returns as well which session that cost its server.
    fn place(
        &mut self,
        worker: usize,
        client: usize,
        pool: &PoolView,
        token: Option<&Token>,
    ) -> (Option<Placed>, Option<SessionId>) {
        let address = IpAddr::from([192, 0, 2, client as u8]);
        let now = self.now();
        let number = pool_number(&pool.config.name);
        let mut numbers = [0; 4].map(|_: u64| self.roll());
        let mut next = 0;
        let mut roll = || {
            next += 1;
            std::mem::take(&mut numbers[(next - 1) % 4])
        };
        let Some(node) = &mut self.node else {
            return (None, None);
        };
        let snapshot = Arc::clone(&node.workers[worker].snapshot);
        let generation = snapshot.generation;
        let rotation = node.workers[worker].rotation(number);
        let mut asking = Asking {
            table: &node.table,
            pool,
            snapshot: &snapshot,
            client: address,
            now,
            roll: &mut roll,
            resource: None,
        };
        let name = |placed: &Placed| ServerNumber::in_pool(number, &placed.server.name);
        let Some(placed) = asking.place(token, rotation) else {
            return (None, None);
        };
        if placed.begun {
            self.tell_begun(&placed, number, generation);
        }
        let refuses = |name: ServerNumber, world: &Self| {
            matches!(world.being(name), Being::Dead | Being::SaysGood)
        };
        if !refuses(name(&placed), self) {
            return (Some(placed), None);
        }
        self.tell_driver(Fact::ConnectFailed {
            pool: pool.key,
            server: placed.server.key,
        });
        let Some(node) = &mut self.node else {
            return (None, None);
        };
        let rotation = node.workers[worker].rotation(number);
        let mut asking = Asking {
            table: &node.table,
            pool,
            snapshot: &snapshot,
            client: address,
            now,
            roll: &mut roll,
            resource: None,
        };
        let second = asking.move_away(&placed.session, &[placed.server.key], rotation);
        if let Some(second) = &second {
            self.tell_begun(second, number, generation);
        }
        let second = second.filter(|second| !refuses(name(second), self));
        (second, Some(placed.session.id))
    }

    /// A session begins on a server of the pool with this number, in the snapshot of this generation.
    fn tell_begun(&mut self, placed: &Placed, pool: usize, generation: u64) {
        let (session, moved) = (&placed.session, placed.moved);
        let name = ServerNumber::in_pool(pool, &placed.server.name);
        self.judge.begun(session, name, moved, generation, self.at);
    }

    fn token(&mut self, client: usize, pool: usize, shows: Shows) -> Option<Token> {
        let roll = self.roll();
        let tokens = &self.clients[client].tokens;
        match shows {
            Shows::Nothing => None,
            Shows::Own => tokens[pool].last().copied(),
            Shows::Earlier(back) => tokens[pool].iter().rev().nth(back + 1).copied(),
            Shows::OtherPool => tokens[1 - pool].last().copied(),
            Shows::Forged => tokens[pool].last().copied().map(|mut token| {
                match roll % 3 {
                    0 => token.epoch += 1,
                    1 => token.server = ServerNumber::of_file(token.server.pool(), 0),
                    _ => token.renewed_s += 3600,
                }
                token.secret = [0xee; 32];
                token
            }),
        }
    }

    pub fn log_out(&mut self, client: usize, pool: usize) {
        let now = self.now();
        let (Some(node), Some(token)) = (&self.node, self.clients[client].tokens[pool].last())
        else {
            return;
        };
        let reason = EndReason::LoggedOut;
        if node.table.end_by_id(token.session, reason, now).is_some() {
            self.judge.logged_out(token.session, self.at);
        }
    }
}

fn shown(
    client: usize,
    shows: Shows,
    token: Option<&Token>,
    placed: Option<&Placed>,
    pool: &PoolView,
) -> String {
    let token = token.map_or("no token".to_owned(), |token| {
        format!(
            "token {} on {} epoch {}",
            token.session, token.server, token.epoch
        )
    });
    let went = placed.map_or("is refused".to_owned(), |placed| {
        let (id, server) = (placed.session.id, &placed.server.name);
        format!("goes to {}/{server}, session {id}", pool.config.name)
    });
    format!("client {client} shows {shows:?}: {token}: {went}")
}
