//! What the rules know, in the words of the API.

use ebbtide_api as api;
use ebbtide_api::Timestamp;
use ebbtide_core::{
    AgentStatus, AgentWeight, Answer, AuditEntry, Balance, Event, EventKind, IntentStatus, Millis,
    NameStatus, NodeStatus, Now, PoolIntentStatus, PoolStatus, ServerStatus, Session, SessionState,
    Snapshot, WallTime,
};
use std::time::Duration;

fn time(wall: WallTime) -> Timestamp {
    Timestamp(wall.0)
}

pub(crate) fn status(status: &NodeStatus, version: &str, uptime: Millis) -> api::Status {
    api::Status {
        node: api::Node {
            version: version.to_owned(),
            generation: status.generation,
            acknowledged: status.acknowledged,
            uptime_ms: uptime.0,
            stopping: false,
            store: api::StoreStatus {
                ok: status.store_failure.is_none(),
                failure: status.store_failure.clone(),
            },
        },
        pools: status.pools.iter().map(pool).collect(),
    }
}

pub(crate) fn pool(pool: &PoolStatus) -> api::PoolStatus {
    let listeners = pool.listeners.iter().map(|(name, address)| api::Listener {
        name: name.clone(),
        address: address.to_string(),
    });
    api::PoolStatus {
        name: pool.name.clone(),
        balance: balance(pool.balance).to_owned(),
        intent: pool_intent(&pool.intent),
        minimum: pool.minimum,
        admitting: pool.admitting,
        listeners: listeners.collect(),
        servers: pool.servers.iter().map(server).collect(),
        names: pool.names.iter().map(name).collect(),
        counting_until: pool.counting_until.map(time),
        rebalance: pool.rebalance.map(|one| api::Rebalance {
            rate: one.rate,
            forgotten: one.forgotten,
            left: one.left,
        }),
    }
}

fn pool_intent(intent: &PoolIntentStatus) -> api::PoolIntent {
    let closure = intent.closure.as_ref();
    api::PoolIntent {
        label: intent.label.to_owned(),
        since: intent.since.map(time),
        by: intent.by.clone(),
        reason: intent.reason.clone(),
        deadline: intent.deadline.map(time),
        left_ms: intent.left.map(|left| left.0),
        blocks_new: intent.blocks_new,
        message: closure.and_then(|closure| closure.message.clone()),
        expected_end: closure.and_then(|closure| closure.expected_end.map(time)),
        until_upgraded: closure.is_some_and(|closure| closure.until_upgraded),
        waits_for: intent.waits_for.clone(),
    }
}

fn balance(balance: Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "round-robin",
        Balance::LeastSessions => "least-sessions",
        Balance::LeastLoad => "least-load",
        Balance::MostAvailable => "most-available",
        Balance::SourceHash => "source-hash",
        Balance::DoorOnly => "door-only",
    }
}

pub(crate) fn server(server: &ServerStatus) -> api::ServerStatus {
    api::ServerStatus {
        name: server.name.clone(),
        address: server.address.clone(),
        weight: server.weight,
        max_sessions: server.max_sessions,
        peak_load: server.peak_load.map(u32::from),
        peak_load_before: server.peak_load_before.flatten().map(u32::from),
        verification: server.verification.as_ref().map(|shown| api::Verification {
            needed: shown.needed,
            good_probes: shown.good_probes,
            good_pages: shown.good_pages,
            progress: shown.progress.clone(),
            failed: shown.failed.clone(),
            until: shown.until.map(time),
            left_ms: shown.left.map(|left| left.0),
        }),
        returning: server.returning.map(|returning| api::Returning {
            share_percent: u32::from(returning.share),
            until: time(returning.until),
            left_ms: returning.left.0,
        }),
        live: server.live,
        of_name: server.of_name.clone(),
        overridden: server.overridden,
        intent: intent(&server.intent),
        health: api::Health {
            state: server.health.label().to_owned(),
            since: time(server.health_since),
            why: server.health_why.clone(),
            places: server.places,
        },
        machine: server.machine.as_ref().map(|machine| api::Machine {
            load_percent: machine.load.map(|load| load.percent()),
            age_ms: machine.age.map(|age| age.0),
            no_metrics: machine.no_metrics.clone(),
            over_peak: machine.over_peak.clone(),
        }),
        agent: server.agent.as_ref().map(agent),
        traffic: server.traffic.map(|traffic| api::Traffic {
            requests: traffic.requests,
            errors: traffic.errors,
            lost: traffic.lost,
            cut_short: traffic.cut_short,
            median_ms: traffic.median_ms,
        }),
        sickness: server.sickness.as_ref().map(|sickness| api::Sickness {
            words: sickness.words.clone(),
            since: time(sickness.since),
            held_ms: sickness.held.map(|held| held.0),
            spared: sickness.spared.clone(),
        }),
        standing: api::Standing {
            admits_new: server.standing.admits_new,
            serves_own: server.standing.serves_own,
            reason: server.standing.reason.label().to_owned(),
        },
        sessions: api::SessionCounts {
            active: server.active,
            idle: server.idle,
        },
        epoch: server.epoch,
        forecast: server.forecast.map(|forecast| api::Forecast {
            half_ms: forecast.half.0,
            all_ms: forecast.all.map(|all| all.0),
            samples: forecast.samples as u64,
        }),
        counting_until: server.counting_until.map(time),
    }
}

fn name(name: &NameStatus) -> api::Name {
    api::Name {
        name: name.name.clone(),
        host: name.host.clone(),
        addresses: name.addresses,
        age_ms: name.age.map(|age| age.0),
        trouble: name.trouble.clone(),
    }
}

fn agent(agent: &AgentStatus) -> api::Agent {
    let (weight_percent, weight) = match agent.weight {
        Some(AgentWeight::Percent(percent)) => (Some(percent), None),
        Some(AgentWeight::Absolute(weight)) => (None, Some(weight)),
        None => (None, None),
    };
    api::Agent {
        wish: agent.wish.label().to_owned(),
        health: agent.health.label().to_owned(),
        weight_percent,
        weight,
        max_sessions: agent.max_sessions,
        remark: agent.remark.clone(),
        note: agent.note.clone(),
        age_ms: agent.age.map(|age| age.0),
        no_agent: agent.no_agent.clone(),
    }
}

fn intent(intent: &IntentStatus) -> api::Intent {
    api::Intent {
        label: intent.label.to_owned(),
        since: intent.since.map(time),
        by: intent.by.clone(),
        reason: intent.reason.clone(),
        deadline: intent.deadline.map(time),
        left_ms: intent.left.map(|left| left.0),
        message: intent.message.clone(),
    }
}

/// `None` if a live session's pool or server is gone.
pub(crate) fn session(session: &Session, snapshot: &Snapshot, now: Now) -> Option<api::Session> {
    let pool = snapshot.pool(session.pool)?;
    let server = pool.server_of(session)?;
    let active = pool.config.sticky.active;
    let state = session.state(now.moment, active);
    let (word, ended) = match state {
        SessionState::Active => ("active", None),
        SessionState::Idle => ("idle", None),
        SessionState::Ended(reason) => ("ended", Some(reason.label().to_owned())),
    };
    let is_known = !session.is_buried();
    Some(api::Session {
        id: session.id.to_string(),
        pool: pool.config.name.clone(),
        server: server.name.to_string(),
        state: word.to_owned(),
        ended,
        user: session.user(),
        client: is_known.then(|| session.client.to_string()),
        started: is_known.then(|| time(now.wall_at(session.started))),
        last_activity: is_known.then(|| time(now.wall_at(session.last_activity()))),
        quiet_ms: is_known.then(|| now.moment.since(session.last_activity()).0),
        requests: is_known.then(|| session.requests()),
        moves: session.moves,
        open: is_known.then(|| session.open()),
        bytes: is_known.then(|| session.bytes()),
    })
}

pub(crate) fn changed(answer: Answer) -> api::Changed {
    api::Changed {
        text: answer.text,
        changes: answer.changes,
        deadline: answer.deadline.map(time),
        generation: answer.generation,
    }
}

pub(crate) fn moves(mut answer: Answer) -> api::MovesReport {
    let report = answer.moves.take().unwrap_or_default();
    let moved = report.sessions.into_iter().map(|moved| api::MovedSession {
        id: moved.id.to_string(),
        from: moved.from.to_string(),
        to: moved.to.to_string(),
        pause_us: micros(moved.pause),
    });
    let staying = report.staying.into_iter();
    let staying = staying.map(|(id, why)| api::StayingSession {
        id: id.to_string(),
        why,
    });
    api::MovesReport {
        complete: report.complete,
        moved: report.moved,
        longest_pause_us: report.longest_pause.map(micros),
        sessions: moved.collect(),
        ended: report.ended,
        stayed: report.stayed,
        staying: staying.collect(),
        changed: changed(answer),
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

pub(crate) fn audit(id: u64, entry: AuditEntry) -> api::AuditEntry {
    api::AuditEntry {
        id,
        at: time(entry.at),
        who: entry.actor.who,
        from: entry.actor.from,
        reason: entry.actor.reason,
        action: entry.action,
        target: entry.target,
        outcome: entry.outcome,
        forced: entry.forced,
    }
}

pub(crate) fn event(id: u64, event: &Event) -> api::Event {
    api::Event {
        id,
        at: time(event.at),
        server: event.server.as_ref().map(ToString::to_string),
        text: event.kind.to_string(),
        kind: event_kind(&event.kind),
    }
}

// tidy: allow(long-function): one arm for each kind of event
fn event_kind(kind: &EventKind) -> api::EventKind {
    match kind {
        EventKind::Intent {
            from,
            to,
            deadline,
            by,
            message,
        } => api::EventKind::Intent {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            deadline: deadline.map(time),
            by: by.clone(),
            message: message.clone(),
        },
        EventKind::Standing { from, to, why } => api::EventKind::Standing {
            from: from.label().to_owned(),
            to: to.label().to_owned(),
            why: why.clone(),
        },
        EventKind::PoolIntent {
            pool,
            from,
            to,
            deadline,
            by,
            message,
        } => api::EventKind::PoolIntent {
            pool: pool.clone(),
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            deadline: deadline.map(time),
            by: by.clone(),
            message: message.clone(),
        },
        EventKind::PoolClosed { pool, ended } => api::EventKind::PoolClosed {
            pool: pool.clone(),
            ended: ended.unwrap_or(0),
        },
        EventKind::StaysClosed { pool, why } => api::EventKind::StaysClosed {
            pool: pool.clone(),
            why: why.clone(),
        },
        EventKind::Drained { left } => {
            let left = left.unwrap_or_default();
            api::EventKind::Drained {
                ended: left.ending,
                moving: left.moving + left.waiting,
            }
        }
        EventKind::Drill { cut, by } => api::EventKind::Drill {
            cut: *cut,
            by: by.clone(),
        },
        EventKind::DrillEnded {
            passed,
            moved,
            stayed,
            longest_pause,
            outcome: _,
        } => api::EventKind::DrillEnded {
            passed: *passed,
            moved: *moved,
            stayed: *stayed,
            longest_pause_us: longest_pause.map(micros),
        },
        EventKind::Rebalancing { pool, sessions, by } => api::EventKind::Rebalancing {
            pool: pool.clone(),
            sessions: *sessions,
            by: by.clone(),
        },
        EventKind::Rebalanced {
            pool,
            forgotten,
            left_alone,
        } => api::EventKind::Rebalanced {
            pool: pool.clone(),
            forgotten: *forgotten,
            left_alone: *left_alone,
        },
        EventKind::Verified { how } => api::EventKind::Verified { how: how.clone() },
        EventKind::NotVerified { why } => api::EventKind::NotVerified { why: why.clone() },
        EventKind::Returning { over } => api::EventKind::Returning { over_ms: over.0 },
        EventKind::Returned => api::EventKind::Returned,
        EventKind::Forgotten { sessions } => api::EventKind::Forgotten {
            sessions: *sessions,
        },
        EventKind::Copy {
            resource,
            from,
            to,
            what,
        } => api::EventKind::Copy {
            resource: resource.clone(),
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            what: what.clone(),
        },
        EventKind::Metrics { lost } => api::EventKind::Metrics { lost: lost.clone() },
        EventKind::Name {
            name,
            host,
            trouble,
        } => api::EventKind::Name {
            name: name.clone(),
            host: host.clone(),
            trouble: trouble.clone(),
        },
        EventKind::Agent { lost } => api::EventKind::Agent { lost: lost.clone() },
        EventKind::Sick { what } => api::EventKind::Sick { what: what.clone() },
        EventKind::SessionBegan {
            id,
            client,
            moved_from,
        } => api::EventKind::SessionBegan {
            session: id.to_string(),
            client: client.to_string(),
            moved_from: moved_from.as_ref().map(ToString::to_string),
        },
        EventKind::SessionMoved { id, from } => api::EventKind::SessionMoved {
            session: id.to_string(),
            from: from.as_ref().map(ToString::to_string),
        },
        EventKind::SessionEnded { id, reason, lasted } => api::EventKind::SessionEnded {
            session: id.to_string(),
            reason: reason.label().to_owned(),
            lasted_ms: lasted.0,
        },
        EventKind::Configured { change } => api::EventKind::Configured {
            change: change.clone(),
        },
        EventKind::Store { failed } => api::EventKind::Store {
            failed: failed.clone(),
        },
    }
}
