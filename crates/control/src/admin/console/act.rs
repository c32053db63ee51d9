//! Making changes: what a panel sends goes to the handlers of the JSON API.

use super::super::answer::{ApiError, Body, Names, Params};
use super::super::{changes, doors, moves, rebalance, sessions, tokens};
use super::desk::Desk;
use super::fields::Fields;
use super::offer::{self, Target};
use super::panel::{Done, Panel};
use super::{Drawn, frame, node_offer, pool_offer, session_offer, tell_offer, user_offer, words};
use crate::signin;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::{Extension, Json};
use ebbtide_api::{
    AddServer, BlockNew, Changed, CloseRequest, CreateToken, DrainRequest, DrillRequest,
    EndSessionsRequest, ErrorKind, HoldRequest, MoveRequest, MovesReport, OpenDoor, ReasonQuery,
    ReasonRequest, RebalanceRequest, RemoveQuery, Role, SetServer, StopRequest, Timestamp,
};

/// Says that it is done, so that the page's script closes the panel.
const DONE: HeaderName = HeaderName::from_static("x-ebbtide-done");

/// Says that the form has to be sent without the script, as there is a page to be gone through before.
const AGAIN: HeaderName = HeaderName::from_static("x-ebbtide-again");

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Ready,
    Hold,
    Drain,
    Maintenance,
    Stop,
    Drill,
    Forget,
    Door,
    Set,
    AllAtOnce,
    Remove,
    Add,
    Close,
    Open,
    Rebalance,
    StopRebalance,
    End,
    Tell,
    Move,
    CloseDoor,
    Reload,
    Rotate,
    AddToken,
    RemoveToken,
    AddUser,
    UserRole,
    UserPassword,
    UserSignOut,
    RemoveUser,
}

impl Act {
    const ALL: [(Self, &'static str); 29] = [
        (Self::Ready, "ready"),
        (Self::Hold, "hold"),
        (Self::Drain, "drain"),
        (Self::Maintenance, "maintenance"),
        (Self::Stop, "stop"),
        (Self::Drill, "drill"),
        (Self::Forget, "forget"),
        (Self::Door, "door"),
        (Self::Set, "set"),
        (Self::AllAtOnce, "all-at-once"),
        (Self::Remove, "remove"),
        (Self::Add, "add"),
        (Self::Close, "close"),
        (Self::Open, "open"),
        (Self::Rebalance, "rebalance"),
        (Self::StopRebalance, "stop-rebalance"),
        (Self::End, "end"),
        (Self::Tell, "tell"),
        (Self::Move, "move"),
        (Self::CloseDoor, "close-door"),
        (Self::Reload, "reload"),
        (Self::Rotate, "rotate"),
        (Self::AddToken, "add-token"),
        (Self::RemoveToken, "remove-token"),
        (Self::AddUser, "add-user"),
        (Self::UserRole, "user-role"),
        (Self::UserPassword, "user-password"),
        (Self::UserSignOut, "user-sign-out"),
        (Self::RemoveUser, "remove-user"),
    ];

    /// The word in its address.
    pub fn label(self) -> &'static str {
        let found = Self::ALL.iter().find(|(act, _)| *act == self);
        found.map_or("", |(_, label)| label)
    }

    fn parse(label: &str) -> Result<Self, ApiError> {
        let found = Self::ALL.iter().find(|(_, other)| *other == label);
        found
            .map(|(act, _)| *act)
            .ok_or_else(|| ApiError::not_found(format!("there is nothing called {label:?} to do")))
    }

    /// What it takes to do it.
    fn needs(self) -> Role {
        match self {
            Self::Reload | Self::Rotate | Self::AddToken | Self::RemoveToken => Role::Admin,
            Self::AddUser | Self::RemoveUser => Role::Admin,
            Self::UserRole | Self::UserPassword | Self::UserSignOut => Role::Admin,
            _ => Role::Operator,
        }
    }

    async fn panel(self, desk: &Desk, asked: &Fields) -> Result<Panel, ApiError> {
        let mut panel = match self {
            Self::Add => pool_offer::add(desk, asked).await,
            Self::Close => pool_offer::close(desk, asked).await,
            Self::Open => pool_offer::open(desk, asked).await,
            Self::Rebalance => pool_offer::rebalance(desk, asked).await,
            Self::StopRebalance => pool_offer::stop_rebalance(desk, asked).await,
            Self::End => session_offer::end(desk, asked).await,
            Self::Tell => tell_offer::panel(desk, asked),
            Self::Move => session_offer::move_session(desk, asked).await,
            Self::CloseDoor => Ok(node_offer::close_door(asked)),
            Self::Reload => Ok(node_offer::reload()),
            Self::Rotate => Ok(node_offer::rotate()),
            Self::AddToken => Ok(node_offer::add_token(asked)),
            Self::RemoveToken => Ok(node_offer::remove_token(asked)),
            Self::AddUser => Ok(user_offer::add(asked)),
            Self::UserRole | Self::UserPassword | Self::UserSignOut | Self::RemoveUser => {
                user_offer::of_user(desk, self, asked).await
            }
            _ => offer::of_server(desk, self, asked).await,
        }?;
        panel.reason = asked.text("reason").unwrap_or_default();
        Ok(panel)
    }

    /// Refuses whoever's role is less, and has that written down.
    fn check(self, desk: &Desk, method: &str, uri: &Uri) -> Result<(), ApiError> {
        if desk.role() >= self.needs() {
            return Ok(());
        }
        let what = format!("{method} {}", uri.path());
        let text = desk.caller.is_refused(&desk.app, self.needs(), &what);
        Err(ApiError::forbidden(text))
    }

    /// What has changed since the form was made, if it has.
    async fn changed(self, desk: &Desk, asked: &Fields) -> Result<Option<String>, ApiError> {
        let Some(basis) = asked.get("basis") else {
            return Ok(None);
        };
        if asked.has("server") {
            let target = Target::of(desk, asked).await?;
            return Ok((target.basis() != basis).then(|| target.told()));
        }
        let pool = desk.pool(asked.get("pool").unwrap_or_default()).await?;
        Ok((pool_offer::basis(&pool) != basis).then(|| pool_offer::told(&pool)))
    }
}

/// Shows what a change would do.
pub(super) async fn show(
    desk: Desk,
    Path(what): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let asked = Fields::of_query(uri.query().unwrap_or_default());
    let act = Act::parse(&what)?;
    act.check(&desk, "GET", &uri)?;
    let panel = act.panel(&desk, &asked).await?;
    shown(&desk, &headers, &panel).await
}

async fn shown(desk: &Desk, headers: &HeaderMap, panel: &Panel) -> Result<Response, ApiError> {
    part(
        desk,
        headers,
        panel.title.clone(),
        panel.html(desk.caller.csrf())?,
    )
    .await
}

/// A part of a page for its script, and a page of its own for a browser without it.
async fn part(
    desk: &Desk,
    headers: &HeaderMap,
    title: String,
    main: String,
) -> Result<Response, ApiError> {
    match frame::wants_part(headers) {
        true => Ok(Html(main).into_response()),
        false => frame::still(desk, &Drawn { title, main }).await,
    }
}

/// Makes a change, unless somebody else has made one since its panel was shown.
pub(super) async fn carry_out(
    desk: Desk,
    Path(what): Path<String>,
    headers: HeaderMap,
    uri: Uri,
    body: String,
) -> Result<Response, ApiError> {
    let act = Act::parse(&what)?;
    act.check(&desk, "POST", &uri)?;
    let asked = Fields::of_query(&body);
    if let Some(changed) = act.changed(&desk, &asked).await? {
        let panel = Panel {
            changed: Some(changed),
            ..act.panel(&desk, &asked).await?
        };
        return shown(&desk, &headers, &panel).await;
    }
    match act.done(&desk, &asked).await {
        Ok(done) => told(&desk, &headers, &done).await,
        Err(error) if error.detail().kind == ErrorKind::SignInOld => {
            Ok(asked_again(&desk, &headers, &uri, &body))
        }
        Err(error) => {
            let mut panel = act.panel(&desk, &asked).await?;
            // What the guard says may stand in the panel already, with what force would do.
            if panel.guard.is_none() {
                panel.guard = offer::guard_of(error.detail());
            }
            if panel.guard.is_none() {
                panel.refusal = Some(error.detail().message.clone());
            }
            shown(&desk, &headers, &panel).await
        }
    }
}

/// Asks again who it is, with a page of its own: the page's script is told to send the form by itself.
fn asked_again(desk: &Desk, headers: &HeaderMap, uri: &Uri, body: &str) -> Response {
    match frame::wants_part(headers) {
        true => (StatusCode::FORBIDDEN, [(AGAIN, "1")]).into_response(),
        false => signin::ask_again(&desk.app, &desk.caller, uri, body.as_bytes()),
    }
}

async fn told(desk: &Desk, headers: &HeaderMap, done: &Done) -> Result<Response, ApiError> {
    let is_all = done.links.is_empty() && done.note.is_empty();
    if frame::wants_part(headers) && is_all {
        let mut response = done.text.clone().into_response();
        response
            .headers_mut()
            .insert(DONE, HeaderValue::from_static("1"));
        return Ok(response);
    }
    part(desk, headers, "Done".into(), frame::written(done)?).await
}

impl From<Changed> for Done {
    fn from(changed: Changed) -> Self {
        Self {
            text: changed.text,
            links: Vec::new(),
            note: String::new(),
        }
    }
}

impl From<MovesReport> for Done {
    fn from(report: MovesReport) -> Self {
        let staying = report.staying.iter();
        let staying = staying.map(|one| format!("{} stays: {}", one.id, one.why));
        Self {
            note: staying.collect::<Vec<_>>().join("; "),
            ..report.changed.into()
        }
    }
}

impl Act {
    async fn done(self, desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
        match self {
            Self::Add => add(desk, asked).await,
            Self::Close | Self::Open => of_pool(self, desk, asked).await,
            Self::Rebalance | Self::StopRebalance => spread(self, desk, asked).await,
            Self::End | Self::Move => of_session(self, desk, asked).await,
            Self::Tell => tell_offer::done(desk, asked, span(asked, "lasting")?).await,
            Self::Door => door(desk, asked).await,
            Self::CloseDoor | Self::Reload | Self::Rotate => of_node(self, desk, asked).await,
            Self::AddToken | Self::RemoveToken => of_token(self, desk, asked).await,
            Self::AddUser
            | Self::UserRole
            | Self::UserPassword
            | Self::UserSignOut
            | Self::RemoveUser => user_offer::done(self, desk, asked).await,
            Self::Set => set(desk, asked).await,
            Self::AllAtOnce => all_at_once(desk, asked).await,
            _ => self.of_server(desk, asked).await,
        }
    }

    async fn of_server(self, desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
        let state = State(desk.app.clone());
        let caller = Extension(desk.caller.clone());
        let names = Names(names(asked)?);
        let (force, reason) = (asked.has("force"), asked.text("reason"));
        let message = message(asked);
        let simply = Body(ReasonRequest {
            reason: reason.clone(),
        });
        let hold = Body(HoldRequest {
            force,
            reason: reason.clone(),
        });
        let Json(changed) = match self {
            Self::Ready => changes::ready(state, caller, names, hold).await?,
            Self::Forget => changes::forget(state, caller, names, simply).await?,
            Self::Hold => changes::hold(state, caller, names, hold).await?,
            Self::Maintenance => changes::maintenance(state, caller, names, hold).await?,
            Self::Remove => {
                let query = Params(RemoveQuery { force, reason });
                changes::remove_server(state, caller, names, query).await?
            }
            Self::Stop => {
                let body = Body(StopRequest {
                    within_ms: span(asked, "within")?,
                    message,
                    force,
                    reason,
                });
                return Ok(moves::stop(state, caller, names, body).await?.0.into());
            }
            Self::Drill => {
                let body = Body(DrillRequest {
                    cut: asked.has("cut"),
                    within_ms: span(asked, "within")?,
                    reason,
                });
                return Ok(moves::drill(state, caller, names, body).await?.0.into());
            }
            _ => {
                let body = Body(DrainRequest {
                    within_ms: span(asked, "within")?,
                    message,
                    force,
                    reason,
                });
                changes::drain(state, caller, names, body).await?
            }
        };
        Ok(changed.into())
    }
}

/// The server that a form names.
fn names(asked: &Fields) -> Result<(String, String), ApiError> {
    let text = asked.get("server").unwrap_or_default();
    let parts = text.split_once('/');
    parts
        .map(|(pool, server)| (pool.to_owned(), server.to_owned()))
        .ok_or_else(|| ApiError::invalid(format!("{text:?} names no server")))
}

/// What users are to be told; an empty field takes away what they were told before.
fn message(asked: &Fields) -> Option<String> {
    asked
        .has("message")
        .then(|| asked.text("message").unwrap_or_default())
}

fn span(asked: &Fields, name: &str) -> Result<Option<u64>, ApiError> {
    let read = |text: &str| {
        words::read_span(text).ok_or_else(|| {
            ApiError::invalid(format!(
                "{name}: {text:?} is no time; write it as 90s, 30m or 1h 30m"
            ))
        })
    };
    match asked.get(name) {
        // The one time that is no time at all.
        Some("0" | "0s" | "0m") => Ok(Some(0)),
        text => text.map(read).transpose(),
    }
}

fn count(asked: &Fields, name: &str) -> Result<Option<u32>, ApiError> {
    let read = |text: &str| {
        let number = text.parse::<u32>();
        number.map_err(|_| {
            ApiError::invalid(format!(
                "{name}: {text:?} is no whole number from 0 to 4294967295"
            ))
        })
    };
    asked.get(name).map(read).transpose()
}

/// The moment that a form names, in the zone of its browser or else in UTC.
pub(super) fn moment(asked: &Fields) -> Result<Option<Timestamp>, ApiError> {
    let Some(at) = asked.get("at") else {
        return Ok(None);
    };
    let text = format!("{at}{}", asked.get("zone").unwrap_or("Z"));
    let read = text.parse::<Timestamp>().map(Some);
    read.map_err(|_| ApiError::invalid(format!("at: {at:?} is no date and time")))
}

async fn add(desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
    let name = asked.text("name").unwrap_or_default();
    let pool = asked.text("pool").unwrap_or_default();
    let body = AddServer {
        address: asked.text("address").unwrap_or_default(),
        weight: count(asked, "weight")?,
        max_sessions: count(asked, "max_sessions")?,
        reason: asked.text("reason"),
    };
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let done = changes::add_server(state, caller, Names((pool, name)), Body(body)).await?;
    Ok(done.0.into())
}

async fn set(desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
    let server = desk.server(&names(asked)?.0, &names(asked)?.1).await?;
    let is_back = asked.has("peak_load_back");
    let (weight, max) = (count(asked, "weight")?, count(asked, "max_sessions")?);
    let peak = count(asked, "peak_load")?;
    // Only what is different is set: the rest stays the file's.
    let body = SetServer {
        weight: weight.filter(|weight| *weight != server.weight),
        max_sessions: (max != server.max_sessions).then_some(max),
        peak_load: (peak != server.peak_load && !is_back).then_some(peak),
        peak_load_back: is_back,
        slow_start_over: false,
        force: asked.has("force"),
        reset: asked.has("reset"),
        reason: asked.text("reason"),
    };
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let done = changes::set_server(state, caller, Names(names(asked)?), Body(body)).await?;
    Ok(done.0.into())
}

async fn all_at_once(desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
    let body = SetServer {
        slow_start_over: true,
        reason: asked.text("reason"),
        ..SetServer::default()
    };
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let done = changes::set_server(state, caller, Names(names(asked)?), Body(body)).await?;
    Ok(done.0.into())
}

async fn of_pool(act: Act, desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let name = asked.text("pool").unwrap_or_default();
    let reason = asked.text("reason");
    if act == Act::Open {
        let body = Body(ReasonRequest { reason });
        return Ok(changes::open(state, caller, Names(name), body)
            .await?
            .0
            .into());
    }
    let at = moment(asked)?;
    let within = span(asked, "within")?;
    let pool = desk.pool(&name).await?;
    let body = CloseRequest {
        within_ms: within.filter(|_| at.is_none()),
        at,
        message: message(asked),
        lasting_ms: span(asked, "lasting")?,
        block_new: asked.get("block_new").map(|block| match block {
            "at-deadline" => BlockNew::AtDeadline,
            _ => BlockNew::Now,
        }),
        until_upgraded: match asked.has("until_upgraded") {
            true => Some(true),
            false => pool.intent.until_upgraded.then_some(false),
        },
        reason,
    };
    Ok(changes::close(state, caller, Names(name), Body(body))
        .await?
        .0
        .into())
}

/// Begins or stops a rebalance.
async fn spread(act: Act, desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let pool = Names(asked.text("pool").unwrap_or_default());
    let reason = asked.text("reason");
    let Json(changed) = match act {
        Act::Rebalance => {
            let rate = count(asked, "rate")?;
            let body = Body(RebalanceRequest { rate, reason });
            rebalance::begin(state, caller, pool, body).await?
        }
        _ => rebalance::stop(state, caller, pool, Params(ReasonQuery { reason })).await?,
    };
    Ok(changed.into())
}

async fn of_session(act: Act, desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let reason = asked.text("reason");
    if act == Act::Move {
        let id = asked.text("id").unwrap_or_default();
        let body = Body(MoveRequest {
            to: asked.text("to"),
            reason,
        });
        return Ok(moves::move_session(state, caller, Names(id), body)
            .await?
            .0
            .into());
    }
    let body = EndSessionsRequest {
        ids: asked.all("id"),
        pool: asked.text("pool"),
        server: asked.text("server"),
        search: asked.text("find"),
        idle: asked.has("idle"),
        reason,
        ..EndSessionsRequest::default()
    };
    let Json(ended) = sessions::end(state, caller, Body(body)).await?;
    Ok(ended.changed.into())
}

async fn door(desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let body = OpenDoor {
        lasting_ms: span(asked, "lasting")?,
        as_admin: asked.has("as_admin"),
        reason: asked.text("reason"),
    };
    let Json(door) = doors::open(state, caller, Names(names(asked)?), Body(body)).await?;
    Ok(Done {
        text: door.text,
        links: door.urls,
        note: match door.works_once {
            true => "The address works once, and is shown only here.".into(),
            false => {
                "The address works as long as the door is open, and is shown only here.".into()
            }
        },
    })
}

async fn of_node(act: Act, desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let reason = asked.text("reason");
    if act == Act::CloseDoor {
        let id = asked.text("id").unwrap_or_default();
        let query = Params(ReasonQuery { reason });
        return Ok(doors::close(state, caller, Names(id), query)
            .await?
            .0
            .into());
    }
    let body = Body(ReasonRequest { reason });
    if act == Act::Rotate {
        let done = changes::rotate_token_secret(state, caller, body).await?;
        return Ok(done.0.into());
    }
    let Json(changed) = changes::reload(state, caller, body).await?;
    Ok(Done {
        text: changed.text,
        note: changed.changes.join("; "),
        links: Vec::new(),
    })
}

async fn of_token(act: Act, desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let name = asked.text("name").unwrap_or_default();
    let reason = asked.text("reason");
    if act == Act::RemoveToken {
        let query = Params(ReasonQuery { reason });
        let Json(changed) = tokens::remove(state, caller, Names(name), query).await?;
        return Ok(changed.into());
    }
    let role = node_offer::read_role(asked)?;
    let body = CreateToken { name, role, reason };
    let Json(token) = tokens::create(state, caller, Body(body)).await?;
    Ok(Done {
        text: format!("The token {} has the role {}.", token.name, token.role),
        links: vec![token.secret],
        note:
            "This is its secret, and the only time that it is shown: copy it now. Programs send it \
               as “Authorization: Bearer …”; `ebbtide` takes it as --token or in EBBTIDE_TOKEN."
                .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_has_one_word() {
        for (act, label) in Act::ALL {
            assert_eq!(act.label(), label);
            assert_eq!(Act::parse(label).ok(), Some(act));
        }
        assert!(Act::parse("explode").is_err());
    }

    #[test]
    fn a_moment_is_read_in_the_zone_of_the_browser() {
        let asked = Fields::of_query("at=2026-11-23T02:00&zone=%2B01:00");
        let at = moment(&asked).ok().flatten().map(|at| at.to_string());
        assert_eq!(at.as_deref(), Some("2026-11-23T01:00:00.000Z"));
        assert!(moment(&Fields::of_query("at=tomorrow")).is_err());
    }
}
