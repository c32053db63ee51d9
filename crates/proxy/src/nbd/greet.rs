//! The handshake with a client, which ends here: it is told of the pool's resources, and gets a server
//! that has the one that it asks for.

use super::carry::Seat;
use super::join::{self, Connected, Goal, NotConnected};
use super::{End, Life, door};
use crate::buffer::Outbox;
use crate::flight::Phase;
use crate::routing::{Asking, Placed, Refused};
use crate::timer::{Interrupt, Watch};
use crate::view::Routes;
use ebbtide_core::{DoorPass, Identity, Millis, Mode, ResourceView, ServerKey};
use ebbtide_protocol::nbd::{
    Export, Negotiated, Refusal, ServerHandshake, ServerStep, WantedBy, transmission_flag,
};
use std::rc::Rc;
use tokio::net::TcpStream;

/// What a client may know of an export that several servers share: nothing changes it, so there is
/// nothing to flush either. Not every server that has it read-only takes flushes.
const OF_SHARED: u16 = transmission_flag::HAS_FLAGS
    | transmission_flag::ROTATIONAL
    | transmission_flag::SEND_DF
    | transmission_flag::CAN_MULTI_CONN
    | transmission_flag::SEND_CACHE;

/// A client that uses a resource from now on.
pub(super) struct Greeted {
    pub seat: Seat,
    pub connected: Connected,
    /// What was agreed on with the client.
    pub agreed: Negotiated,
    /// What it has sent after that.
    pub rest: Vec<u8>,
}

/// A session whose server was asked for the resource.
pub(super) struct Ready {
    pub seat: Seat,
    pub connected: Connected,
}

/// What is known of the copy that a session begins on: as in [`Seat`].
struct Kept {
    began_on: Option<Identity>,
    watch: Option<u64>,
}

/// Why a client does not get what it asks for.
pub(super) enum Denied {
    /// It is told so.
    Told {
        refusal: Refusal,
        why: String,
        counts: Counts,
    },
    /// Its time is over.
    Cut,
}

/// As what a refusal is counted, beside the connection that ends with it.
#[derive(Clone, Copy)]
pub(super) enum Counts {
    /// As a session that was refused.
    Session(Refused),
    /// As a door that led nowhere.
    Door,
    /// As an export that there is not.
    Export,
    /// As nothing else.
    No,
}

impl Denied {
    pub(super) fn by_policy(why: impl Into<String>, counts: Counts) -> Self {
        let refusal = Refusal::Policy;
        let why = why.into();
        Self::Told {
            refusal,
            why,
            counts,
        }
    }
}

impl Life {
    /// Speaks with the client until it uses a resource, or leaves.
    pub async fn greet(&mut self, client: &mut TcpStream) -> Result<Greeted, End> {
        let limit = self.handshake_limit();
        self.watch.set(limit);
        let (mut input, mut out) = (Vec::new(), Outbox::default());
        let mut handshake = ServerHandshake::new(&mut out.bytes);
        loop {
            let step = handshake.advance(&input, &mut out.bytes);
            for reason in handshake.take_refused() {
                self.worker.slot().reject(reason);
            }
            let (taken, step) = match step {
                Ok(step) => step,
                Err(fault) => {
                    self.worker.slot().reject(fault.reason());
                    return Err(End::Refused);
                }
            };
            input.drain(..taken);
            let (needs_more, is_left) = (step == ServerStep::NeedMore, step == ServerStep::Aborted);
            let agreed = self.answer(&mut handshake, step, &mut out.bytes).await;
            if agreed.is_ok() && !needs_more {
                // Whoever had to wait for a server has not been slow.
                self.watch.set(limit);
            }
            wait(self.watch.run(join::send(client, &mut out)).await)?;
            if let Some(agreed) = agreed? {
                let Ready { seat, connected } = self.ready.take().ok_or(End::Refused)?;
                return Ok(Greeted {
                    seat,
                    connected,
                    agreed,
                    rest: input,
                });
            }
            if is_left {
                return Err(End::Closed);
            }
            let read = join::read_more(client, &mut input);
            if needs_more && wait(self.watch.run(read).await)? == 0 {
                return Err(End::Closed);
            }
        }
    }

    fn handshake_limit(&self) -> Millis {
        let view = self.worker.view();
        view.routes(self.pool)
            .map_or(Millis(0), |routes| routes.pool.config.http.head_timeout)
    }

    /// Answers what the client asks for; what was agreed on if it uses a resource from now on.
    async fn answer(
        &mut self,
        handshake: &mut ServerHandshake,
        step: ServerStep,
        out: &mut Vec<u8>,
    ) -> Result<Option<Negotiated>, End> {
        let (export, by) = match step {
            ServerStep::NeedMore | ServerStep::Aborted => return Ok(None),
            ServerStep::List => {
                handshake.list(out, self.names().iter().map(String::as_str));
                return Ok(None);
            }
            ServerStep::WantsContexts { export } => (export, None),
            ServerStep::Wants { export, by } => (export, Some(by)),
        };
        let (structured_replies, allocation) = (handshake.structured_replies(), by.is_none());
        let denied = match self.seat_for(&export, structured_replies, allocation).await {
            Ok((export, has_allocation)) => {
                return match by {
                    Some(_) => Ok(handshake.offer(out, &export)),
                    None => {
                        handshake.contexts(out, has_allocation);
                        Ok(None)
                    }
                };
            }
            Err(denied) => denied,
        };
        match denied {
            Denied::Cut => Err(End::Cut),
            Denied::Told {
                refusal,
                why,
                counts,
            } => {
                // Who wants contexts asks for the export next, and is refused again.
                if by.is_some() {
                    self.count_denied(counts);
                }
                match handshake.refuse(out, refusal, &why) {
                    true => Ok(None),
                    // Whoever asks by `EXPORT_NAME` can be told of nothing.
                    false => Err(End::Refused),
                }
            }
            .inspect_err(|_| debug_assert_eq!(by, Some(WantedBy::ExportName))),
        }
    }

    fn count_denied(&self, counts: Counts) {
        let view = self.worker.view();
        let Some(routes) = view.routes(self.pool) else {
            return;
        };
        let slot = routes.pool.counters.slot(self.worker.index);
        match counts {
            Counts::Session(refused) => refused.count(slot),
            Counts::Door => slot.doors_refused.add(1),
            Counts::Export => self.worker.slot().reject("nbd-unknown-export"),
            Counts::No => {}
        }
    }

    /// The resources that somebody can have at present.
    fn names(&self) -> Vec<String> {
        let view = self.worker.view();
        let Some(routes) = view.routes(self.pool) else {
            return Vec::new();
        };
        let is_served = |resource: &&ResourceView| {
            resource.rule.mode != Mode::Maintenance
                && resource.copies.iter().any(|copy| copy.verdict.serves)
        };
        let resources = routes.pool.replicas.resources.iter();
        resources
            .filter(is_served)
            .map(|resource| resource.rule.name.clone())
            .collect()
    }

    /// A seat for a client that asks for an export by this name, in which the key of a door may stand.
    async fn seat_for(
        &mut self,
        export: &str,
        structured_replies: bool,
        allocation: bool,
    ) -> Result<(Export, bool), Denied> {
        let (name, key) = door::split(export);
        let door = key.map(|key| self.pass(key)).transpose()?;
        let goal = Goal {
            resource: self.resource_name(name),
            structured_replies,
            allocation,
        };
        self.take_seat(goal, door).await
    }

    /// The default export is the only one there is.
    fn resource_name(&self, name: &str) -> String {
        let view = self.worker.view();
        let resources = view
            .routes(self.pool)
            .map(|routes| routes.pool.replicas.resources.as_slice());
        match resources {
            Some([only]) if name.is_empty() => only.rule.name.clone(),
            _ => name.to_owned(),
        }
    }

    /// A session on a server that is ready to be asked for a resource: how it is offered, and whether
    /// its block status is to be had.
    async fn take_seat(
        &mut self,
        goal: Goal,
        door: Option<DoorPass>,
    ) -> Result<(Export, bool), Denied> {
        let number = |door: &Option<DoorPass>| door.as_ref().map(|pass| pass.door().id());
        let fits = |ready: &Ready| {
            let has = &ready.seat.goal;
            (&has.resource, has.structured_replies) == (&goal.resource, goal.structured_replies)
                && has.allocation >= goal.allocation
                && number(&ready.seat.door) == number(&door)
        };
        if !self.ready.as_ref().is_some_and(fits) {
            if let Some(Ready { seat, .. }) = self.ready.take() {
                self.leave(&seat.routes, &seat.placed.session, End::Closed, 0);
                self.watch.flight.enter_alone(Phase::Between);
            }
            self.ready = Some(match door {
                Some(pass) => self.begin_behind(pass, goal).await?,
                None => self.begin(goal).await?,
            });
        }
        let view = self.worker.view();
        let routes = view.routes(self.pool);
        let Some((ready, routes)) = self.ready.as_ref().zip(routes) else {
            return Err(gone());
        };
        let agreed = ready.connected.agreed;
        let resource = routes.pool.replicas.resource(&ready.seat.goal.resource);
        let mut export = agreed.export;
        if resource.is_none_or(|resource| resource.rule.mode == Mode::Shared) {
            export.flags = export.flags & OF_SHARED | transmission_flag::READ_ONLY;
        }
        Ok((export, agreed.allocation_context.is_some()))
    }

    /// Begins a session, on the first server that can be asked.
    async fn begin(&mut self, goal: Goal) -> Result<Ready, Denied> {
        let (mut routes, mut placed, mut kept) = self.place(&goal.resource, None)?;
        let mut failed: Vec<ServerKey> = Vec::new();
        loop {
            let stay = placed.session.connect();
            self.watch.flight.enter(Phase::Tunnel, &placed.session);
            let lane = Rc::clone(&routes.lanes[placed.index]);
            self.tries += 1;
            let mut watch = Watch::new(Rc::clone(&self.watch.flight), Millis(0));
            let connected = join::connect(&self.worker, &routes, &lane, &goal, &mut watch).await;
            let known = kept.began_on.as_ref();
            let place = (self.pool, &*lane);
            match connected {
                Ok(connected)
                    if join::has_known_size(
                        &self.worker,
                        place,
                        &goal.resource,
                        known,
                        &connected.agreed.export,
                    ) =>
                {
                    let first = connected.agreed;
                    let seat = Seat {
                        routes,
                        placed,
                        stay,
                        goal,
                        began_on: kept.began_on,
                        watch: kept.watch,
                        door: None,
                        first,
                    };
                    return Ok(Ready { seat, connected });
                }
                Ok(_) => {}
                Err(NotConnected::Cut) => {
                    self.leave(&routes, &placed.session, End::Cut, 0);
                    return Err(Denied::Cut);
                }
                Err(none) => join::complain(&self.worker, self.pool, &lane, &none),
            }
            failed.push(lane.key);
            let next = self.place(&goal.resource, Some((&placed, &failed)));
            (routes, placed, kept) = match next {
                Ok(next) => next,
                Err(_) => {
                    self.leave(&routes, &placed.session, End::Unreachable, 0);
                    let why = format!("no server can serve `{}` at present", goal.resource);
                    return Err(Denied::by_policy(why, Counts::No));
                }
            };
            lane.slot().retries.add(1);
        }
    }

    /// Chooses a server for a session, or another one for a session whose servers have all `failed`;
    /// and what its copy is known by, if others may stand in for it.
    fn place(
        &self,
        name: &str,
        failed: Option<(&Placed, &[ServerKey])>,
    ) -> Result<(Rc<Routes>, Placed, Kept), Denied> {
        let view = self.worker.view();
        let routes = Rc::clone(view.routes(self.pool).ok_or_else(gone)?);
        let Some(resource) = routes.pool.replicas.resource(name) else {
            return Err(unknown(name, &self.names()));
        };
        if resource.rule.mode == Mode::Maintenance {
            let why = format!("`{name}` is in maintenance: for operators who come through doors");
            let counts = Counts::Session(Refused::OperatorsOnly);
            return Err(Denied::by_policy(why, counts));
        }
        let asking = Asking {
            worker: &self.worker,
            routes: &routes,
            keys: &view.keys,
            generation: view.snapshot.generation,
            client: self.client,
            now: self.worker.now(),
            in_turn: false,
            resource: Some(resource),
        };
        let placed = match failed {
            None => asking.place_anywhere(),
            Some((placed, failed)) => asking.move_away(&placed.session, failed),
        };
        let placed = placed.map_err(|refused| {
            let why = match refused {
                Refused::OperatorsOnly => "for operators at present",
                Refused::Closed => "closed at present",
                Refused::Full => "in use: every server has as many sessions as it may",
                Refused::Unavailable => {
                    "not to be had: no server with the right copy takes clients"
                }
            };
            Denied::by_policy(format!("`{name}` is {why}"), Counts::Session(refused))
        })?;
        let server = placed.session.server;
        let kept = Kept {
            began_on: resource.to_keep(server).cloned(),
            watch: resource.copy(server).and_then(|copy| copy.watch),
        };
        Ok((Rc::clone(&routes), placed, kept))
    }
}

pub(super) fn gone() -> Denied {
    Denied::Told {
        refusal: Refusal::ShuttingDown,
        why: "there is no such pool any more".into(),
        counts: Counts::No,
    }
}

pub(super) fn unknown(name: &str, names: &[String]) -> Denied {
    /// More of them are no help.
    const SHOWN_MAX: usize = 10;
    let shown = names.iter().take(SHOWN_MAX);
    let shown: Vec<String> = shown.map(|name| format!("`{name}`")).collect();
    let more = if names.len() > SHOWN_MAX {
        ", and more"
    } else {
        ""
    };
    let shown = format!("{}{more}", shown.join(", "));
    let why = match (name.is_empty(), shown.is_empty()) {
        (true, true) => "there is no default export, and nothing is to be had at present".into(),
        (true, false) => format!("there is no default export here: ask by name, for {shown}"),
        (false, true) => format!("there is no `{name}`"),
        (false, false) => format!("there is no `{name}`; there is {shown}"),
    };
    Denied::Told {
        refusal: Refusal::Unknown,
        why,
        counts: Counts::Export,
    }
}

fn wait<T>(done: Result<std::io::Result<T>, Interrupt>) -> Result<T, End> {
    match done {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(End::Broken),
        Err(Interrupt::Timeout) => Err(End::Silent),
        Err(Interrupt::Cut) => Err(End::Cut),
    }
}
