//! The console's users: what a change to one would do, shown before it is made, and the change.

use super::super::answer::{ApiError, Body, Names, Params};
use super::super::users;
use super::act::Act;
use super::desk::Desk;
use super::fields::Fields;
use super::node_offer::{read_role, roles};
use super::panel::{Done, Field, Kind, Panel};
use crate::signin::{SECRET_FIELDS, last_admin};
use axum::extract::State;
use axum::{Extension, Json};
use ebbtide_api::{
    CreateUser, ReasonQuery, ReasonRequest, Role, SetPassword, SetRole, User, Users,
};
use ebbtide_core::count;

/// A password for somebody, typed twice. It is never shown again, also where a form is not in order.
fn passwords() -> [Field; 2] {
    SECRET_FIELDS.map(|(name, label)| Field::new(name, label, Kind::Secret, None))
}

/// The panel for a new user.
pub(super) fn add(asked: &Fields) -> Panel {
    let role = asked.text("role").unwrap_or_else(|| "viewer".into());
    let mut fields = vec![
        Field::new("name", "User name", Kind::Text, asked.text("name"))
            .hint("Letters, digits, “-”, “_” and “.”; the audit log has it, too."),
        Field::new(
            "role",
            "What the user may do",
            Kind::Choice(roles()),
            Some(role),
        ),
    ];
    fields.extend(passwords());
    Panel {
        what: Act::AddUser.label(),
        title: "A new user".into(),
        lead: "Signs in to the console with a password, which you tell the user, and which the user can \
               change. Only a hash of it is kept."
            .into(),
        fields,
        button: "Make the user".into(),
        ..Panel::default()
    }
}

/// The panel of a change to a user.
pub(super) async fn of_user(desk: &Desk, act: Act, asked: &Fields) -> Result<Panel, ApiError> {
    let Json(known) = users::list(State(desk.app.clone())).await;
    let name = asked.text("user").unwrap_or_default();
    let user = known.users.iter().find(|user| user.name == name);
    let user = user.ok_or_else(|| ApiError::not_found(format!("there is no user {name:?}")))?;
    let is_last = is_last_admin(&known, user);
    let mut panel = Panel {
        what: act.label(),
        hidden: vec![("user", name.clone())],
        facts: facts(user, name == desk.name(), act),
        ..Panel::default()
    };
    match act {
        Act::UserRole => role(&mut panel, user, asked),
        Act::UserPassword => {
            panel.title = format!("Another password for {name}");
            panel.lead =
                "The user is signed out everywhere and signs in with the new one, which you \
                          tell the user. Whoever knows the present one can change it without you."
                    .into();
            panel.fields = passwords().into();
            panel.button = "Set the password".into();
        }
        Act::UserSignOut => {
            panel.title = format!("Sign {name} out everywhere");
            panel.lead = "The user can sign in again at once, with the same password.".into();
            panel.button = format!("Sign {name} out");
        }
        _ => {
            panel.title = format!("Remove the user {name}");
            panel.lead =
                "The user is signed out everywhere, and cannot sign in any more. The audit log \
                          keeps what was done."
                    .into();
            panel.button = format!("Remove {name}");
            panel.is_harsh = true;
        }
    }
    if is_last && matches!(act, Act::UserRole | Act::RemoveUser) {
        panel.refusal = Some(last_admin(&name));
    }
    Ok(panel)
}

fn role(panel: &mut Panel, user: &User, asked: &Fields) {
    let name = &user.name;
    panel.title = format!("Another role for {name}");
    panel.lead =
        "The user is signed out everywhere, and has the new role from the next sign-in on.".into();
    panel.facts.insert(0, ("Role now", user.role.to_string()));
    let role = asked.text("role").unwrap_or_else(|| user.role.to_string());
    panel.fields = vec![Field::new(
        "role",
        "What the user may do",
        Kind::Choice(roles()),
        Some(role),
    )];
    panel.button = format!("Set the role of {name}");
}

fn facts(user: &User, is_me: bool, act: Act) -> Vec<(&'static str, String)> {
    let signed_in = match user.browsers {
        0 => "nowhere".to_owned(),
        browsers => format!("in {}", count(browsers as usize, "browser")),
    };
    let mut facts = vec![("Signed in", signed_in)];
    if is_me {
        let then = match act {
            Act::RemoveUser => "you are out at once, and cannot come back",
            Act::UserPassword => {
                "you are signed out here, too; by <a href=\"/sign-in/password\">Password</a>, at the \
                 top, you stay in"
            }
            _ => "you are signed out here, too",
        };
        facts.push(("It is you", then.to_owned()));
    }
    facts
}

fn is_last_admin(known: &Users, user: &User) -> bool {
    let mut admins = known.users.iter().filter(|one| one.role == Role::Admin);
    admins.next().is_some_and(|one| one.name == user.name) && admins.next().is_none()
}

/// Makes a change to a user.
pub(super) async fn done(act: Act, desk: &Desk, asked: &Fields) -> Result<Done, ApiError> {
    let (state, caller) = (State(desk.app.clone()), Extension(desk.caller.clone()));
    let reason = asked.text("reason");
    let name = Names(asked.text("user").unwrap_or_default());
    let Json(changed) = match act {
        Act::AddUser => {
            let body = Body(CreateUser {
                name: asked.text("name").unwrap_or_default(),
                role: read_role(asked)?,
                password: password(asked)?,
                reason,
            });
            users::create(state, caller, body).await?
        }
        Act::UserRole => {
            let role = read_role(asked)?;
            let body = Body(SetRole { role, reason });
            users::set_role(state, caller, name, body).await?
        }
        Act::UserPassword => {
            let password = password(asked)?;
            let body = Body(SetPassword { password, reason });
            users::set_password(state, caller, name, body).await?
        }
        Act::UserSignOut => {
            let body = Body(ReasonRequest { reason });
            users::sign_out(state, caller, name, body).await?
        }
        _ => {
            let query = Params(ReasonQuery { reason });
            users::remove(state, caller, name, query).await?
        }
    };
    Ok(changed.into())
}

/// The password, if it is the same both times.
fn password(asked: &Fields) -> Result<String, ApiError> {
    let [typed, again] = SECRET_FIELDS.map(|(name, _)| asked.all(name));
    match typed == again {
        true => Ok(typed.into_iter().next().unwrap_or_default()),
        false => Err(ApiError::invalid(
            "the password is not the same both times; type it again".into(),
        )),
    }
}
