//! How a user's session stands, and what its user should know.
//!
//! Asking is not using: nothing here touches, adopts, ends or begins a session, so that a browser
//! that was left open does not look active for ever.

use crate::pages::json_string;
use crate::routing::{Asking, DRIVER_LAG};
use crate::view::Routes;
use crate::wall::rfc3339;
use ebbtide_core::{
    EndReason, Found, Message, Millis, Moment, Notice, Now, ServerKey, ServerView, Session,
    SessionId, SessionState, SessionTable, Snapshot, WallTime,
};
use ebbtide_protocol::http1::{RequestHead, cookie};
use ebbtide_protocol::token::Token;
use std::sync::Arc;

/// What a valid token says of its session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bearer {
    id: SessionId,
    server: ServerKey,
    epoch: u32,
    started: WallTime,
    renewed: WallTime,
}

/// How a bearer's session stands.
#[derive(Clone, Debug)]
pub(crate) enum Life {
    /// There is no token, or none that this pool has made for a server that it still has.
    None,
    /// It lives; the entry is missing after a restart, until its user comes again.
    Live(Option<Arc<Session>>),
    /// It is over.
    Over(EndReason),
}

/// What a user is told: when this changes, they are told again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    over: Option<EndReason>,
    pool: &'static str,
    /// When a pool that closes or is closed will probably be open again.
    expected_end: Option<WallTime>,
    notice: Option<Arc<Notice>>,
    /// The reminder that came last.
    reminder: Option<Millis>,
    blocked: bool,
    /// What an operator says to this user.
    message: Option<Arc<Message>>,
}

impl Bearer {
    /// Whose request this is, by the first of its tokens that is valid.
    pub fn of(asking: &Asking<'_>, buf: &[u8], head: &RequestHead) -> Option<Self> {
        let name = asking.routes.pool.config.sticky.cookie.as_bytes();
        let mut tokens = cookie(buf, head, name)
            .filter_map(|text| Token::decode(text, asking.keys, asking.routes.tag).ok());
        tokens.find_map(|token| {
            let index = asking.routes.index_of_tag(token.server)?;
            Some(Self {
                id: SessionId(token.session),
                server: asking.routes.pool.servers[index].key,
                epoch: token.epoch,
                started: WallTime(token.started_s.saturating_mul(1000)),
                renewed: WallTime(token.renewed_s.saturating_mul(1000)),
            })
        })
    }

    /// How its session stands.
    pub fn life(&self, routes: &Routes, sessions: &SessionTable, now: Now) -> Life {
        let pool = &routes.pool;
        let Some(server) = pool.server(self.server) else {
            return Life::Over(EndReason::ServerRemoved);
        };
        let reuse = pool.config.sticky.reuse;
        let life = match sessions.find(self.id) {
            Found::Live(session) => match session.ended() {
                Some(reason) => Life::Over(reason),
                None if session.open() == 0
                    && now.moment.since(session.last_activity()) > reuse =>
                {
                    Life::Over(EndReason::Expired)
                }
                None => Life::Live(Some(session)),
            },
            // The table remembers that it ended, the epoch why.
            Found::Ended if server.epoch != self.epoch => Life::Over(server.epoch_reason),
            Found::Ended => Life::Over(EndReason::EndedByOperator),
            Found::Unknown => {
                let age = Millis(now.wall.0.saturating_sub(self.renewed.0));
                match age > Snapshot::token_life(reuse) {
                    true => Life::Over(EndReason::Expired),
                    false => Life::Live(None),
                }
            }
        };
        match life {
            Life::Live(_) if server.epoch != self.epoch => Life::Over(server.epoch_reason),
            Life::Live(_) if deadline_is_over(server, now) => Life::Over(EndReason::Deadline),
            Life::Live(_) if server.standing.ends_work() => Life::Over(EndReason::ServerGone),
            other => other,
        }
    }
}

/// Whether a server's deadline has passed, though the driver may not have said so yet.
fn deadline_is_over(server: &ServerView, now: Now) -> bool {
    let is_over = |deadline: Moment| deadline.plus(DRIVER_LAG) <= now.moment;
    server.deadline().is_some_and(is_over)
}

impl Told {
    /// What is told now.
    pub fn now(bearer: Option<&Bearer>, life: &Life, routes: &Routes, now: Now) -> Self {
        let intent = &routes.pool.intent;
        let server = match life {
            Life::Live(_) => bearer.and_then(|bearer| routes.pool.server(bearer.server)),
            Life::None | Life::Over(_) => None,
        };
        let notice = server.and_then(|server| server.notice.clone());
        Self {
            over: match life {
                Life::Over(reason) => Some(*reason),
                Life::None | Life::Live(_) => None,
            },
            pool: intent.label(),
            expected_end: intent.closure().and_then(|closure| closure.expected_end),
            reminder: notice
                .as_ref()
                .and_then(|notice| notice.reminder(now.moment)),
            notice,
            blocked: server.is_some_and(|server| !server.standing.admits_new),
            message: match life {
                Life::Live(Some(session)) => session.message(now.moment),
                Life::Live(None) | Life::None | Life::Over(_) => None,
            },
        }
    }

    /// Whether the session is over.
    pub fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// The next moment at which something else may be told though no snapshot has come: a reminder,
    /// or the end of the time that the driver has to end a session at its deadline.
    pub fn changes_at(&self, now: Moment) -> Option<Moment> {
        let notice = self.notice.as_ref()?;
        let last = notice.deadline.plus(DRIVER_LAG);
        let next = notice.next_after(now).filter(|at| *at < notice.deadline);
        next.or((last > now).then_some(last))
    }

    /// It as JSON, in one line.
    pub fn json(&self, bearer: Option<&Bearer>, life: &Life, routes: &Routes, now: Now) -> String {
        let pool = &routes.pool;
        let server = bearer.and_then(|bearer| pool.server(bearer.server));
        let (state, session) = match life {
            Life::None => ("none", None),
            Life::Over(_) => ("ended", None),
            Life::Live(session) => {
                let state = session
                    .as_ref()
                    .map(|session| session.state(now.moment, pool.config.sticky.active));
                match state {
                    Some(SessionState::Active) => ("active", session.as_ref()),
                    _ => ("idle", session.as_ref()),
                }
            }
        };
        let quoted = |text: Option<String>| {
            text.map_or_else(|| "null".to_owned(), |text| json_string(&text))
        };
        let name = server.map(|server| format!("{}/{}", pool.config.name, server.name));
        let since = bearer.map(|bearer| {
            let started = session.map_or(bearer.started, |session| now.wall_at(session.started));
            rfc3339(started)
        });
        format!(
            "{{\"server\":{},\"since\":{},\"state\":\"{state}\",\"reason\":{},\"pool_state\":\"{}\",\"notice\":{},\"expected_end\":{},\"message\":{}}}",
            quoted(name),
            quoted(since),
            quoted(self.over.map(|reason| reason.label().to_owned())),
            self.pool,
            self.notice
                .as_ref()
                .map_or_else(|| "null".to_owned(), |notice| self.notice_json(notice, now)),
            quoted(self.expected_end.map(rfc3339)),
            self.message
                .as_deref()
                .map_or_else(|| "null".to_owned(), message_json),
        )
    }

    fn notice_json(&self, notice: &Notice, now: Now) -> String {
        let left = notice.deadline.since(now.moment);
        let reminders = notice.reminders.iter();
        let reminders: Vec<String> = reminders.map(|lead| (lead.0 / 1000).to_string()).collect();
        format!(
            "{{\"kind\":\"{}\",\"message\":{},\"ends\":\"{}\",\"seconds_left\":{},\"milliseconds_left\":{},\"reminders\":[{}],\"new_sessions_blocked\":{}}}",
            notice.kind.label(),
            notice
                .message
                .as_deref()
                .map_or_else(|| "null".to_owned(), json_string),
            rfc3339(now.wall_at(notice.deadline)),
            left.0 / 1000,
            left.0,
            reminders.join(","),
            self.blocked,
        )
    }
}

fn message_json(message: &Message) -> String {
    format!(
        "{{\"id\":{},\"text\":{},\"at\":\"{}\"}}",
        message.at.0,
        json_string(&message.text),
        rfc3339(message.at)
    )
}

/// The answer to `POST PREFIX/dismiss?message=ID`: the user has read that message, and how their session
/// stands then. A message that is another one by now stays. No other site's page can say so, as a browser
/// sends no token along then.
pub(crate) fn dismiss(asking: &Asking<'_>, buf: &[u8], head: &RequestHead) -> String {
    let query = head.target.of(buf).split(|byte| *byte == b'?').nth(1);
    let mut fields = query.unwrap_or_default().split(|byte| *byte == b'&');
    let read = fields.find_map(|field| {
        let number = field.strip_prefix(b"message=")?;
        std::str::from_utf8(number).ok()?.parse().ok().map(WallTime)
    });
    let bearer = Bearer::of(asking, buf, head);
    let life = life_of(
        bearer.as_ref(),
        asking.routes,
        &asking.worker.sessions,
        asking.now,
    );
    if let (Life::Live(Some(session)), Some(read)) = (life, read) {
        session.dismiss_message(read);
    }
    session(asking, buf, head)
}

/// The answer to `GET PREFIX/session`.
pub(crate) fn session(asking: &Asking<'_>, buf: &[u8], head: &RequestHead) -> String {
    let (routes, now) = (asking.routes, asking.now);
    let bearer = Bearer::of(asking, buf, head);
    let life = life_of(bearer.as_ref(), routes, &asking.worker.sessions, now);
    let told = Told::now(bearer.as_ref(), &life, routes, now);
    let mut text = told.json(bearer.as_ref(), &life, routes, now);
    text.push('\n');
    text
}

/// How the session of whoever it may be stands.
pub(crate) fn life_of(
    bearer: Option<&Bearer>,
    routes: &Routes,
    sessions: &SessionTable,
    now: Now,
) -> Life {
    bearer.map_or(Life::None, |bearer| bearer.life(routes, sessions, now))
}
