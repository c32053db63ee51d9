//! What is asked, and what is answered to it.

use crate::{ServerStatus, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use utoipa::{IntoParams, ToSchema};

/// Body of `hold`, `maintenance` and `ready`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HoldRequest {
    /// Past the capacity guard; of `ready`: without having shown that it is well, after maintenance.
    pub force: bool,
    /// Why, for the audit log.
    pub reason: Option<String>,
}

/// Body of `drain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// From now to the deadline. Of a server that is being drained: absent, the deadline stays.
    #[serde(default)]
    pub within_ms: Option<u64>,
    /// What users are told: plain text of at most 1,000 characters, `\n` between its lines. An empty
    /// one takes away what they were told before.
    #[serde(default)]
    pub message: Option<String>,
    /// Past the capacity guard.
    #[serde(default)]
    pub force: bool,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Body of `forget`, `reload` and `token-secret/rotate`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReasonRequest {
    /// Why, for the audit log.
    pub reason: Option<String>,
}

/// Body of `PUT servers/{pool}/{server}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddServer {
    /// Address and port, such as `10.0.0.13:8080`.
    pub address: String,
    /// Its share of new sessions, 1 to 1000; 1 if absent.
    #[serde(default)]
    pub weight: Option<u32>,
    /// Most sessions it may have; absent: no limit.
    #[serde(default)]
    pub max_sessions: Option<u32>,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Body of `POST pools/{pool}/close`. On a pool that is closing or closed already, what is absent
/// stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CloseRequest {
    /// From now to the deadline, up to seven days; 0: at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_ms: Option<u64>,
    /// The deadline, instead of `within_ms`: at most seven days away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What users are told: plain text of at most 1,000 characters, `\n` between its lines. An empty
    /// one takes away what they were told before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How long the pool will probably be closed, up to 31 days; users are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasting_ms: Option<u64>,
    /// When new sessions are refused; `now` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_new: Option<BlockNew>,
    /// Opens by itself when the pool's upgrade check says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_upgraded: Option<bool>,
    /// Why, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// From when on a pool that is closing refuses new sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BlockNew {
    /// From now on.
    Now,
    /// From the deadline on.
    AtDeadline,
}

/// Body of `PATCH servers/{pool}/{server}`: what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SetServer {
    /// Its share of new sessions, 1 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Most sessions it may have; `null` takes the limit away.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub max_sessions: Option<Option<u32>>,
    /// The load of its machine, in percent (0 to 100), above which it takes no new sessions; 0: it takes
    /// none, and what it had before is kept. `null`: it always does.
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub peak_load: Option<Option<u32>>,
    /// The peak load is again what it was before it was set to 0.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub peak_load_back: bool,
    /// Its slow start is over: it gets all of its new sessions from now on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub slow_start_over: bool,
    /// Past the capacity guard, where the peak load takes the server out of traffic.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// First drops whatever was set so before: the file's values count again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    /// Why, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A field that is there, be it `null`: the outer option tells it from one that is absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Query of `DELETE servers/{pool}/{server}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RemoveQuery {
    /// Past the capacity guard, and although it has sessions.
    pub force: bool,
    /// Why, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Query of `DELETE sessions/{id}` and `DELETE tokens/{name}`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ReasonQuery {
    /// Why, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to every change: it is on disk, and in force on every worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// What was done, in a sentence.
    pub text: String,
    /// What is different, a line each (of a reload).
    pub changes: Vec<String>,
    /// The deadline that was set.
    pub deadline: Option<Timestamp>,
    /// The generation that every worker has taken.
    pub generation: u64,
}

/// Query of `GET sessions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SessionQuery {
    /// Of this pool only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Of this server of that pool only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Of this user only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Those with this text in their number, their user's name or their address; case does not
    /// matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Active ones only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub active: bool,
    /// Instead of the live ones, those that have ended and whose tokens could still come.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
    /// Those after this one: the `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many, 1 to 1000; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Body of `POST sessions/end`: the live sessions that fit all that is said. Says it nothing but
/// `idle`, it is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EndSessionsRequest {
    /// These, by their numbers; at most 1,000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Of this pool only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Of this server of that pool only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Of this user only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Those with this text in their number, their user's name or their address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Idle ones only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// Why, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Body of `POST sessions/tell`: the live sessions that fit all that is said. Says it nothing but
/// `idle`, it is refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TellSessionsRequest {
    /// These, by their numbers; at most 1,000.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Of this pool only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Of this server of that pool only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Of this user only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Those with this text in their number, their user's name or their address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Idle ones only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub idle: bool,
    /// What their users are told: plain text of 1 to 1,000 characters, `\n` between its lines. It takes
    /// the place of the message that was left for them before.
    pub message: String,
    /// How long it stands, if they do not dismiss it: a minute to a day; 15 minutes if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lasting_ms: Option<u64>,
    /// Why, for the audit log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `GET sessions`: a page, by session number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<Session>,
    /// Where the next page begins; absent: this is the last.
    pub next: Option<String>,
}

/// One session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its number, sixteen hexadecimal digits.
    pub id: String,
    /// Its pool.
    pub pool: String,
    /// Its server within the pool.
    pub server: String,
    /// `active`, `idle` or `ended`.
    pub state: String,
    /// Why it has ended, if it has.
    pub ended: Option<String>,
    /// Its user's name, where the pool says how to know it and a request has told it.
    pub user: Option<String>,
    /// The address that it began from. This and what follows is absent of a session that an operator
    /// ended before the program was last started: then it is not known.
    pub client: Option<String>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When its user was last heard from; of one that has ended, when it did.
    pub last_activity: Option<Timestamp>,
    /// How long ago that is.
    pub quiet_ms: Option<u64>,
    /// Requests so far: of an NBD pool what its client has asked for, of a TCP pool one.
    pub requests: Option<u32>,
    /// How often it has moved from one server to another, unnoticed by its client.
    #[serde(default)]
    pub moves: u32,
    /// Requests and tunnels that are open now.
    pub open: Option<u32>,
    /// Bytes of bodies, tunnels and connections so far, both ways.
    pub bytes: Option<u64>,
}

/// The answer to `POST sessions/end`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionsEnded {
    /// What was done.
    #[serde(flatten)]
    pub changed: Changed,
    /// Those of the `ids` that were not ended: no such session is live, or it does not fit what else
    /// was said.
    pub unknown: Vec<String>,
}

/// The answer to `POST sessions/tell`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SessionsTold {
    /// What was done, and when users see it.
    #[serde(flatten)]
    pub changed: Changed,
    /// For how many sessions the message was left.
    pub told: usize,
    /// Sessions that fit, but whose users cannot be told anything.
    pub untold: Vec<Untold>,
    /// Those of the `ids` for which it was not left: no such session is live, or it does not fit what
    /// else was said.
    pub unknown: Vec<String>,
}

/// Sessions of a pool whose users cannot be told anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Untold {
    /// The pool.
    pub pool: String,
    /// How many.
    pub sessions: usize,
    /// Why.
    pub why: String,
}

/// Query of `GET audit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// At most so many lines, 1 to 1000; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Those before this line: the `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
}

/// `GET audit`: a page, the newest line first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The lines.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins; absent: this is the last.
    pub next: Option<u64>,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub who: String,
    /// By which socket or from which address.
    pub from: String,
    /// Why, in the operator's own words.
    pub reason: Option<String>,
    /// What: `hold`, `drain`, `server add` …
    pub action: String,
    /// To what: `pool/server`, a session, or `-`.
    pub target: String,
    /// What came of it, in a sentence.
    pub outcome: String,
    /// A guard was overridden.
    pub forced: bool,
}

/// What an operator may do. Each role may also do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Changes servers and sessions.
    Operator,
    /// Reloads, rotates secrets, makes tokens.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        })
    }
}

/// Body of `POST tokens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Whose it is; the audit log names its holder so.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Answer to `POST tokens`: the only time that the secret is seen.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// Whose it is.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Since when it exists.
    pub created: Timestamp,
    /// What goes after `Authorization: Bearer`.
    pub secret: String,
}

/// Secrets are never printed.
impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewToken({}, {})", self.name, self.role)
    }
}

/// A bearer token, without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Whose it is.
    pub name: String,
    /// What its holder may do.
    pub role: Role,
    /// Since when it exists.
    pub created: Timestamp,
}

/// `GET tokens`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// The tokens, by name.
    pub tokens: Vec<Token>,
}

/// A user of the console.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Who.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Since when there is this user.
    pub created: Timestamp,
    /// How many browsers the user is signed in with.
    pub browsers: u32,
}

/// `GET users`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Users {
    /// The file that they stand in, on the node's machine.
    pub file: String,
    /// Why what stands in the file now is not what counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The users, by name.
    pub users: Vec<User>,
}

/// Body of `POST users`.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// Who: the name to sign in with, and in the audit log.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// 12 characters to 1,024 bytes.
    pub password: String,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Passwords are never printed.
impl fmt::Debug for CreateUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CreateUser({}, {})", self.name, self.role)
    }
}

/// Body of `POST users/{name}/role`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRole {
    /// What the user may do from now on.
    pub role: Role,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Body of `POST users/{name}/password`.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// 12 characters to 1,024 bytes.
    pub password: String,
    /// Why, for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Passwords are never printed.
impl fmt::Debug for SetPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SetPassword")
    }
}

/// What `wait` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WaitFor {
    /// The drain is over, or the server is closed and has no sessions.
    Drained,
    /// The server admits new sessions.
    Ready,
}

/// Query of `GET servers/{pool}/{server}/wait`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// What to wait for.
    #[serde(rename = "for")]
    #[param(inline)]
    pub what: WaitFor,
    /// Longest wait, to 60,000; then the answer says that it was not reached. 30,000 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Answer to `wait`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WaitAnswer {
    /// It has come to pass. Otherwise the time was up; or, of `drained`, the server's intent is
    /// `ready`, so that nobody drains it; or, of `ready`, it is `unverified` and stays out until somebody
    /// asks for it again.
    pub reached: bool,
    /// The server, as it is now.
    pub server: ServerStatus,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_takes_a_limit_away_and_absence_leaves_it() {
        let set = |text: &str| {
            serde_json::from_str::<SetServer>(text)
                .unwrap()
                .max_sessions
        };
        assert_eq!(set(r#"{"max_sessions":null}"#), Some(None));
        assert_eq!(set(r#"{"max_sessions":5}"#), Some(Some(5)));
        assert_eq!(set("{}"), None);
        let cleared = SetServer {
            max_sessions: Some(None),
            ..SetServer::default()
        };
        let text = serde_json::to_string(&cleared).unwrap();
        assert_eq!(text, r#"{"max_sessions":null}"#);
    }

    #[test]
    fn a_field_nobody_knows_is_named() {
        let wrong = serde_json::from_str::<HoldRequest>(r#"{"forse":true}"#).unwrap_err();
        assert!(wrong.to_string().contains("forse"), "{wrong}");
    }

    #[test]
    fn a_new_token_is_never_printed() {
        let new = NewToken {
            name: "ci".into(),
            role: Role::Viewer,
            created: Timestamp(0),
            secret: "ebb_hush".into(),
        };
        assert!(!format!("{new:?}").contains("hush"));
    }

    #[test]
    fn a_password_is_never_printed() {
        let add = CreateUser {
            name: "anna".into(),
            role: Role::Viewer,
            password: "hush hush hush".into(),
            reason: None,
        };
        let set = SetPassword {
            password: "hush hush hush".into(),
            reason: None,
        };
        assert!(!format!("{add:?} {set:?}").contains("hush"));
    }
}
