//! The way through a door: an operator's own way to one server's copy, whatever is wanted of the server,
//! its pool and the resource. The key of the door stands in the export's name.

use super::Life;
use super::carry::Seat;
use super::greet::{Counts, Denied, Ready, gone, unknown};
use super::join::{self, Goal, NotConnected};
use crate::flight::Phase;
use crate::routing::Placed;
use crate::timer::Watch;
use ebbtide_core::{DoorPass, DoorRefusal, Millis, PoolConfig, Session, SessionId};
use std::rc::Rc;

/// The resource in an export's name, and the key of a door if there is one.
pub(super) fn split(export: &str) -> (&str, Option<&str>) {
    match export.split_once(PoolConfig::DOOR_MARK) {
        Some((name, key)) => (name, Some(key)),
        None => (export, None),
    }
}

impl Life {
    /// Lets the client through the door whose key it shows, as far as that is open.
    pub(super) fn pass(&self, key: &str) -> Result<DoorPass, Denied> {
        let view = self.worker.view();
        let now = self.worker.now();
        let doors = &view.snapshot.doors;
        let passed = doors.pass(self.pool, key.as_bytes(), self.client, now);
        passed.map_err(|refusal| {
            let why = match refusal {
                DoorRefusal::OtherPool => "this door leads into another pool",
                DoorRefusal::Unknown | DoorRefusal::Used | DoorRefusal::Over => {
                    "this door is over: its time was up, it was closed, or Ebbtide was started again; \
                     or its address was copied wrongly"
                }
            };
            Denied::by_policy(why, Counts::Door)
        })
    }

    /// Asks the server that a door leads to.
    pub(super) async fn begin_behind(
        &mut self,
        pass: DoorPass,
        goal: Goal,
    ) -> Result<Ready, Denied> {
        let view = self.worker.view();
        let routes = Rc::clone(view.routes(self.pool).ok_or_else(gone)?);
        let replicas = &routes.pool.replicas;
        if replicas.resource(&goal.resource).is_none() {
            let resources = replicas.resources.iter();
            let names: Vec<String> = resources.map(|known| known.rule.name.clone()).collect();
            return Err(unknown(&goal.resource, &names));
        }
        let Some(index) = routes.index_of(pass.door().server()) else {
            let why = "the server that this door led to is no longer in the pool";
            return Err(Denied::by_policy(why, Counts::Door));
        };
        let now = self.worker.now();
        let number = SessionId(pass.door().id().0);
        let server = &routes.pool.servers[index];
        let session = Session::behind_door(number, self.pool, server, self.client, now.moment);
        let stay = session.connect();
        let flight = Rc::clone(&self.watch.flight);
        flight.enter_alone(Phase::Tunnel);
        flight.pass(pass.door());
        self.tries += 1;
        let lane = Rc::clone(&routes.lanes[index]);
        let mut watch = Watch::new(Rc::clone(&flight), Millis(0));
        let why = match join::connect(&self.worker, &routes, &lane, &goal, &mut watch).await {
            Ok(connected) => {
                let placed = Placed {
                    session,
                    index,
                    is_new: true,
                    renew: false,
                    moved: false,
                };
                let seat = Seat {
                    routes,
                    placed,
                    stay,
                    goal,
                    began_on: None,
                    watch: None,
                    door: Some(pass),
                    first: connected.agreed,
                };
                return Ok(Ready { seat, connected });
            }
            Err(NotConnected::Cut) => return Err(Denied::Cut),
            Err(none) => {
                join::complain(&self.worker, self.pool, &lane, &none);
                match none {
                    NotConnected::Failed(why) | NotConnected::Refused(why) => why,
                    NotConnected::Exhausted | NotConnected::Cut => {
                        "Ebbtide has no room for one more connection".into()
                    }
                }
            }
        };
        flight.enter_alone(Phase::Between);
        let why = format!("{} cannot be used: {why}", lane.name);
        Err(Denied::by_policy(why, Counts::No))
    }
}
