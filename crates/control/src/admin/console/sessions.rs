//! Sessions: one page of them at a time, however many there are.

use super::super::answer::ApiError;
use super::super::reads::no_pool;
use super::super::sought::Sought;
use super::Drawn;
use super::desk::Desk;
use super::fields::Fields;
use super::words::{self, Look, bytes, number, span};
use crate::clock::clock;
use crate::show;
use askama::Template;
use ebbtide_api as api;
use ebbtide_core::{
    Now, PoolKey, PoolView, ServerKey, ServerView, Session, SessionId, SessionState, Snapshot,
};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Sessions on a page.
pub(super) const PAGE: usize = 50;

const ACTIVE: Look = Look {
    tone: "good",
    shape: "full-circle",
    words: "Active",
};
const IDLE: Look = Look {
    tone: "calm",
    shape: "ring",
    words: "Idle",
};

/// The columns that a list can be sorted by: the field's value, and the head of the column.
const COLUMNS: [(&str, &str); 7] = [
    ("user", "User"),
    ("server", "Server"),
    ("heard", "Last heard of"),
    ("began", "Began"),
    ("requests", "Requests"),
    ("bytes", "Bytes"),
    ("client", "Address"),
];

/// Which sessions, and in which order.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub pool: Option<PoolKey>,
    pub server: Option<ServerKey>,
    pub find: Option<Sought>,
    pub active: bool,
    pub idle: bool,
    /// Those that have ended, instead of the live ones.
    pub ended: bool,
    pub sort: String,
    pub down: bool,
    pub after: Option<String>,
}

/// A page of sessions.
#[derive(Default)]
pub(super) struct Listing {
    pub rows: Vec<Row>,
    /// How many fit in all.
    pub count: usize,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// A session, as a row.
pub(super) struct Row {
    pub id: String,
    pub user: String,
    pub place: String,
    pub state: Look,
    pub heard: String,
    /// HTML.
    pub began: String,
    pub requests: String,
    pub bytes: String,
    pub client: String,
    pub moves: u32,
    pub can_move: bool,
    pub can_be_told: bool,
}

/// By what sessions are ordered; the number makes each key another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Up(Value<'a>, SessionId),
    Down(Reverse<Value<'a>>, SessionId),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value<'a> {
    Number(i64),
    Text(Cow<'a, str>),
}

impl<'a> Key<'a> {
    fn of(value: Value<'a>, id: SessionId, down: bool) -> Self {
        match down {
            true => Self::Down(Reverse(value), id),
            false => Self::Up(value, id),
        }
    }

    /// As it stands in the address of the next page.
    fn text(&self) -> String {
        let (value, id) = match self {
            Self::Up(value, id) | Self::Down(Reverse(value), id) => (value, id),
        };
        match value {
            Value::Number(number) => format!("{id}.{number}"),
            Value::Text(text) => format!("{id}~{text}"),
        }
    }

    fn parse(text: &'a str, down: bool) -> Option<Self> {
        let (id, rest) = text.split_at_checked(16)?;
        let id = SessionId::parse(id)?;
        let value = match rest.split_at_checked(1)? {
            (".", number) => Value::Number(number.parse().ok()?),
            ("~", text) => Value::Text(text.into()),
            _ => return None,
        };
        Some(Self::of(value, id, down))
    }
}

impl Wish {
    /// What a query asks for.
    pub fn read(asked: &Fields, snapshot: &Snapshot) -> Result<Self, ApiError> {
        let pool = match asked.get("pool") {
            None => None,
            Some(name) => Some(snapshot.pool_named(name).ok_or_else(|| no_pool(name))?),
        };
        let server = match (pool, asked.get("server")) {
            (Some(pool), Some(name)) => {
                let mut servers = pool.servers.iter().chain(&pool.removed);
                let found = servers.find(|server| *server.name == *name);
                Some(found.ok_or_else(|| {
                    let pool = &pool.config.name;
                    ApiError::not_found(format!("there is no server {pool}/{name}"))
                })?)
            }
            _ => None,
        };
        let sort = asked.get("sort").unwrap_or("heard");
        Ok(Self {
            pool: pool.map(|pool| pool.key),
            server: server.map(|server| server.key),
            find: asked.get("find").map(Sought::new),
            active: asked.has("active"),
            idle: false,
            ended: asked.has("ended"),
            sort: sort.to_owned(),
            down: asked.has("down"),
            after: asked.text("after"),
        })
    }

    /// The same of idle sessions only, or of all of them.
    pub fn idle(self, idle: bool) -> Self {
        Self { idle, ..self }
    }

    fn fits(&self, session: &Session, snapshot: &Snapshot, now: Now) -> bool {
        let pool_fits = self.pool.is_none_or(|pool| session.pool == pool);
        let server_fits = self.server.is_none_or(|server| session.server == server);
        let state_fits = match (self.active, self.idle) {
            _ if self.ended => true,
            (true, _) => is_active(session, snapshot, now),
            (_, true) => !is_active(session, snapshot, now),
            _ => true,
        };
        let is_found = |find: &Sought| find.is_in(session);
        pool_fits && server_fits && state_fits && self.find.as_ref().is_none_or(is_found)
    }

    /// `places`: what the servers are called, if the list is sorted by that.
    fn key<'a>(&self, session: &Session, places: &'a Places) -> Key<'a> {
        let value = match self.sort.as_str() {
            "user" => {
                let name = session.with_user(str::to_lowercase);
                Value::Text(name.unwrap_or_default().into())
            }
            "server" => {
                let place = places.get(&session.server);
                Value::Text(place.map_or("", String::as_str).into())
            }
            "client" => Value::Text(session.client.to_string().into()),
            "began" => Value::Number(session.started.0),
            "requests" => Value::Number(session.requests().into()),
            "bytes" => Value::Number(i64::try_from(session.bytes()).unwrap_or(i64::MAX)),
            // Whoever was heard of last comes first.
            _ => Value::Number(-session.last_activity().0),
        };
        Key::of(value, session.id, self.down)
    }

    /// The page that is wished for; found on a thread of its own, as there may be a million sessions.
    pub async fn list(self, desk: &Desk) -> Result<Listing, ApiError> {
        let (table, snapshot) = (Arc::clone(&desk.app.sessions), desk.app.snapshot());
        let looked = tokio::task::spawn_blocking(move || {
            let now = clock();
            let after = self.after.as_deref();
            let after = after.and_then(|text| Key::parse(text, self.down));
            let places = match self.sort == "server" {
                true => places(&snapshot),
                false => Places::new(),
            };
            let key = |session: &Session| {
                let fits = self.fits(session, &snapshot, now);
                fits.then(|| self.key(session, &places))
            };
            let (mut found, count) = match self.ended {
                true => table.sorted_ended(after.as_ref(), PAGE + 1, key),
                false => table.sorted(&snapshot, after.as_ref(), PAGE + 1, key),
            };
            let more = found.len() > PAGE;
            found.truncate(PAGE);
            let next = found.last().filter(|_| more).map(|(key, _)| key.text());
            let rows = found
                .iter()
                .filter_map(|(_, session)| row(session, &snapshot, now));
            Listing {
                rows: rows.collect(),
                count,
                next,
            }
        });
        looked.await.map_err(|_| ApiError::stopping())
    }
}

fn is_active(session: &Session, snapshot: &Snapshot, now: Now) -> bool {
    let pool = snapshot.pool(session.pool);
    let active = pool.map(|pool| pool.config.sticky.active);
    active.is_some_and(|active| session.state(now.moment, active) == SessionState::Active)
}

/// What the servers are called.
type Places = BTreeMap<ServerKey, String>;

fn places(snapshot: &Snapshot) -> Places {
    let of_pool = |pool: &Arc<PoolView>| {
        let servers = pool.servers.iter().chain(&pool.removed);
        let name = |server: &ServerView| format!("{}/{}", pool.config.name, server.name);
        servers
            .map(|server| (server.key, name(server)))
            .collect::<Vec<_>>()
    };
    snapshot.pools.iter().flat_map(of_pool).collect()
}

fn row(session: &Arc<Session>, snapshot: &Snapshot, now: Now) -> Option<Row> {
    let shown: api::Session = show::session(session, snapshot, now)?;
    let pool = snapshot.pool(session.pool)?;
    Some(Row {
        user: shown.user.unwrap_or_else(|| "–".into()),
        place: format!("{}/{}", shown.pool, shown.server),
        state: match (shown.state.as_str(), &shown.ended) {
            (_, Some(reason)) => Look {
                tone: "calm",
                shape: "bar",
                words: words::ended(reason),
            },
            ("active", _) => ACTIVE,
            _ => IDLE,
        },
        heard: match shown.quiet_ms {
            Some(0..2000) => "now".into(),
            Some(quiet) => format!("{} ago", span(quiet)),
            None => "–".into(),
        },
        began: shown.started.map(words::time).unwrap_or_default(),
        requests: shown.requests.map(number).unwrap_or_default(),
        bytes: shown.bytes.map(bytes).unwrap_or_default(),
        client: shown.client.unwrap_or_default(),
        moves: shown.moves,
        can_move: pool.config.moves_sessions(),
        can_be_told: pool.config.why_untold().is_none(),
        id: shown.id,
    })
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct Page<'a> {
    listing: Listing,
    heads: Vec<Head>,
    pools: Vec<Choice>,
    servers: Vec<Choice>,
    find: &'a str,
    active: bool,
    ended: bool,
    sort: &'a str,
    down: bool,
    count: String,
    next: Option<String>,
    first: Option<String>,
    may_change: bool,
    end_all: Option<String>,
    tell_all: Option<String>,
}

/// The head of a column.
pub(super) struct Head {
    pub words: &'static str,
    /// Sorts by it; nothing where the list cannot be sorted.
    pub href: String,
    /// `ascending` or `descending`, if the list is sorted by it.
    pub sorted: Option<&'static str>,
}

impl Head {
    /// The heads of a list that is not sorted by them.
    pub fn plain() -> Vec<Self> {
        let head = |(_, words): &(&str, &'static str)| Self {
            words,
            href: String::new(),
            sorted: None,
        };
        COLUMNS.iter().map(head).collect()
    }
}

struct Choice {
    value: String,
    is_chosen: bool,
}

pub(super) async fn draw(desk: &Desk, asked: &Fields) -> Result<Drawn, ApiError> {
    let snapshot = desk.app.snapshot();
    let wish = Wish::read(asked, &snapshot)?;
    let (sort, down, ended) = (wish.sort.clone(), wish.down, wish.ended);
    let listing = wish.list(desk).await?;
    let chosen = |name: &str, value: &str| asked.get(name) == Some(value);
    let pools = snapshot.pools.iter().map(|pool| pool.config.name.clone());
    let of_pool = asked.get("pool").and_then(|pool| snapshot.pool_named(pool));
    let servers = of_pool
        .into_iter()
        .flat_map(|pool| pool.servers.iter().chain(&pool.removed));
    let find = asked.get("find").unwrap_or_default();
    let says_which = of_pool.is_some() || !find.is_empty();
    let is_all = !asked.has("active") && !ended;
    let end_all = (says_which && listing.count > 0 && is_all).then(|| {
        let query = asked.with("after", None);
        format!("/do/end?{query}")
    });
    let page = Page {
        heads: COLUMNS
            .iter()
            .map(|column| head(column, asked, &sort, down))
            .collect(),
        pools: pools
            .map(|value| Choice {
                is_chosen: chosen("pool", &value),
                value,
            })
            .collect(),
        servers: servers
            .map(|server| Choice {
                is_chosen: chosen("server", &server.name),
                value: server.name.to_string(),
            })
            .collect(),
        find,
        active: asked.has("active"),
        ended,
        sort: &sort,
        down,
        count: match words::sessions(u32::try_from(listing.count).unwrap_or(u32::MAX)) {
            count if ended => format!("{count} ended lately"),
            count => count,
        },
        next: listing
            .next
            .as_ref()
            .map(|next| format!("/sessions?{}", asked.with("after", Some(next)))),
        first: asked
            .has("after")
            .then(|| format!("/sessions?{}", asked.with("after", None))),
        may_change: desk.may_change() && !ended,
        tell_all: end_all
            .as_ref()
            .map(|href| href.replacen("/do/end", "/do/tell", 1)),
        end_all,
        listing,
    };
    Drawn::new("Sessions", &page)
}

fn head(column: &(&str, &'static str), asked: &Fields, sort: &str, down: bool) -> Head {
    let (value, words) = *column;
    let is_sorted = sort == value;
    let again = Fields::of_query(&asked.with("after", None));
    let again = Fields::of_query(&again.with("down", (is_sorted && !down).then_some("1")));
    Head {
        words,
        href: format!("/sessions?{}", again.with("sort", Some(value))),
        sorted: is_sorted.then_some(if down { "descending" } else { "ascending" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_page_goes_there_and_back() {
        let texts = [
            Value::Text("a~b.c".into()),
            Value::Number(-17),
            Value::Text("".into()),
        ];
        for (value, down) in texts.into_iter().zip([true, false, true]) {
            let key = Key::of(value, SessionId(0xabc), down);
            let text = key.text();
            assert_eq!(Key::parse(&text, down), Some(key));
        }
        for wrong in ["", "x", "0000000000000abc", "0000000000000abc.x", "ü~"] {
            assert_eq!(Key::parse(wrong, false), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_other_way_round_is_the_other_way_round() {
        let key = |number, down| Key::of(Value::Number(number), SessionId(1), down);
        assert!(key(1, false) < key(2, false));
        assert!(key(1, true) > key(2, true));
    }
}
