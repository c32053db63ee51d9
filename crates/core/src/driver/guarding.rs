//! Who takes a pool's new sessions: what the capacity guard asks before a server is taken out, and what
//! is shown of servers.

use crate::command::Refusal;
use crate::config::{Balance, Protocol};
use crate::driver::state::{PoolState, ServerState, State};
use crate::guard::{GuardRefusal, TakesNone};
use crate::name::ServerName;
use crate::replica::{CopyReason, ReplicaView, ResourceView};
use crate::standing::{Reason, Standing};

impl State {
    /// Refuses what would leave the pool with fewer servers that take new sessions than its minimum,
    /// unless the server takes none anyway. In a pool of protocol nbd that is asked for each resource.
    /// Returns whether `force` made the difference.
    pub fn guard(&self, name: &ServerName, force: bool) -> Result<bool, Refusal> {
        let Some(pool) = self.pools.get(&name.pool) else {
            return Ok(false);
        };
        // A pool that admits nobody has nothing to keep.
        if pool.config.balance == Balance::DoorOnly {
            return Ok(false);
        }
        // By what is known now: the snapshot may be a tick behind the newest probe.
        let judged = self.judge(&pool.order);
        let standing = judged.iter().find(|(other, _)| *other == name);
        let Some((_, standing)) = standing.copied() else {
            return Ok(false);
        };
        let replicas = self.replicas(pool);
        let wanted = replicas.map_or_else(Vec::new, compared);
        let refused = match wanted.is_empty() {
            true => self.too_few(pool, name, &judged, None),
            false => wanted.iter().find_map(|resource| {
                let server = self.servers.get(name)?;
                may_serve(resource, server)
                    .then(|| self.too_few(pool, name, &judged, Some(resource)))?
            }),
        };
        let takes = standing.admits_new && standing.reason != Reason::LastResort;
        let refused = match takes {
            true => refused,
            // A last resort shows the service's own error: somebody has to.
            false
                if standing.reason == Reason::LastResort && !self.is_another_wanted(pool, name) =>
            {
                Some(self.left_without(pool, name, &judged, None))
            }
            false => None,
        };
        match refused {
            None => Ok(false),
            Some(_) if force => Ok(true),
            Some(refusal) => Err(Refusal::guarded(refusal)),
        }
    }

    fn is_another_wanted(&self, pool: &PoolState, name: &ServerName) -> bool {
        let mut others = pool.order.iter().filter(|other| *other != name);
        others.any(|other| {
            let server = self.servers.get(other);
            server.is_some_and(ServerState::is_wanted)
        })
    }

    /// Why a server is not to be taken out, if it is not.
    fn too_few(
        &self,
        pool: &PoolState,
        name: &ServerName,
        judged: &[(&ServerName, Standing)],
        resource: Option<&ResourceView>,
    ) -> Option<GuardRefusal> {
        let left = self.left_without(pool, name, judged, resource);
        (left.would_leave.len() < left.minimum as usize).then_some(left)
    }

    /// Who would take new sessions without this server, and who would not.
    pub fn left_without(
        &self,
        pool: &PoolState,
        name: &ServerName,
        judged: &[(&ServerName, Standing)],
        resource: Option<&ResourceView>,
    ) -> GuardRefusal {
        let mut refusal = GuardRefusal {
            server: name.clone(),
            resource: resource.map(|resource| resource.rule.name.clone()),
            would_leave: Vec::new(),
            others: Vec::new(),
            minimum: pool.config.minimum.max(1),
            sessions: 0,
        };
        for (other, standing) in judged.iter().filter(|(other, _)| *other != name) {
            let Some(server) = self.servers.get(*other) else {
                continue;
            };
            match takes_new(server, *standing, resource) {
                Ok(()) => refusal.would_leave.push(other.server.clone()),
                Err(why) => refusal.others.push((other.server.clone(), why)),
            }
        }
        for (other, server) in self.removed(&name.pool) {
            let why = TakesNone::Standing(server.standing.reason);
            refusal.others.push((other.server.clone(), why));
        }
        refusal
    }

    /// The copies of a pool where sessions are of a resource.
    fn replicas(&self, pool: &PoolState) -> Option<&ReplicaView> {
        if pool.config.protocol != Protocol::Nbd {
            return None;
        }
        let view = self.snapshot.pool(pool.key);
        view.map(|view| &*view.replicas)
    }

    /// A server's standing as it is shown: together with its sessions and its copies.
    pub fn as_shown(&self, pool: &PoolState, server: &ServerState, standing: Standing) -> Standing {
        let standing = standing
            .with_sessions(server.load.sessions(), server.max_sessions())
            .with_places(server.load.places.left());
        let resources = self.replicas(pool).map(|view| view.resources.as_slice());
        match resources {
            Some(some) if !some.iter().any(|resource| resource.serves(server.key)) => {
                standing.without_copy()
            }
            _ => standing,
        }
    }
}

/// The resources that any server with the right copy may serve.
fn compared(replicas: &ReplicaView) -> Vec<&ResourceView> {
    let resources = replicas.resources.iter();
    resources
        .filter(|resource| resource.rule.is_compared())
        .collect()
}

/// Whether new clients of the resource may begin on this server's copy, or might once it is looked at.
fn may_serve(resource: &ResourceView, server: &ServerState) -> bool {
    resource.copy(server.key).is_some_and(|copy| {
        let is_open = matches!(
            copy.verdict.reason,
            CopyReason::Unknown | CopyReason::Waiting | CopyReason::Reading { .. }
        );
        copy.verdict.serves || is_open
    })
}

/// Whether a server takes new sessions, of this resource where they are of one.
fn takes_new(
    server: &ServerState,
    standing: Standing,
    resource: Option<&ResourceView>,
) -> Result<(), TakesNone> {
    // A last resort only shows the service's own error: that is no capacity.
    if !standing.admits_new || standing.reason == Reason::LastResort {
        return Err(TakesNone::Standing(standing.reason));
    }
    let sessions = server.load.sessions();
    if let Some(max_sessions) = server.max_sessions().filter(|max| sessions >= *max) {
        return Err(TakesNone::Full { max_sessions });
    }
    let copy = resource.map(|resource| resource.copy(server.key));
    match copy {
        Some(None) => Err(TakesNone::Copy(CopyReason::NoServer)),
        Some(Some(copy)) if !copy.verdict.serves => {
            Err(TakesNone::Copy(copy.verdict.reason.clone()))
        }
        _ => Ok(()),
    }
}
