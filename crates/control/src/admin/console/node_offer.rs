//! What a change to the node would do, shown before it is made: its configuration, doors, tokens and keys.

use super::super::answer::ApiError;
use super::act::Act;
use super::fields::Fields;
use super::panel::{Field, Kind, Panel};
use ebbtide_api::Role;

/// The panel for closing a door.
pub(super) fn close_door(asked: &Fields) -> Panel {
    let id = asked.text("id").unwrap_or_default();
    Panel {
        what: Act::CloseDoor.label(),
        title: format!("Close door {id}"),
        lead: "What goes through it ends within a second.".into(),
        hidden: vec![("id", id)],
        button: "Close the door".into(),
        is_harsh: true,
        ..Panel::default()
    }
}

/// The panel for reading the configuration again.
pub(super) fn reload() -> Panel {
    Panel {
        what: Act::Reload.label(),
        title: "Reload the configuration".into(),
        lead: "The file is read again. A file with a mistake changes nothing; no connection is closed, \
               and no server that is held returns by it."
            .into(),
        button: "Reload".into(),
        ..Panel::default()
    }
}

/// The panel for a new key of session tokens.
pub(super) fn rotate() -> Panel {
    Panel {
        what: Act::Rotate.label(),
        title: "A new key for session tokens".into(),
        lead: "From now on the cookies that bind users to servers are signed with another key. \
               Nobody loses a session: what the present key has signed stays good."
            .into(),
        facts: vec![(
            "But",
            "what the key before the present one has signed is worth nothing any more: after a new \
             key, wait for as long as sessions bind (<code>sticky.reuse</code>) before the next one"
                .into(),
        )],
        button: "Make a new key".into(),
        is_harsh: true,
        ..Panel::default()
    }
}

/// What roles may do.
pub(super) fn roles() -> Vec<(&'static str, &'static str)> {
    vec![
        ("viewer", "Viewer: reads"),
        ("operator", "Operator: also changes servers and sessions"),
        ("admin", "Admin: also reloads, makes users, tokens and keys"),
    ]
}

/// The role that a form names.
pub(super) fn read_role(asked: &Fields) -> Result<Role, ApiError> {
    match asked.get("role") {
        Some("admin") => Ok(Role::Admin),
        Some("operator") => Ok(Role::Operator),
        Some("viewer") => Ok(Role::Viewer),
        _ => Err(ApiError::invalid("choose a role".into())),
    }
}

/// The panel for making a bearer token.
pub(super) fn add_token(asked: &Fields) -> Panel {
    let role = asked.text("role").unwrap_or_else(|| "viewer".into());
    Panel {
        what: Act::AddToken.label(),
        title: "A new token".into(),
        lead:
            "A program shows it to use the control API over TCP. Its secret is shown once, in the \
               next step; only a hash of it is kept."
                .into(),
        fields: vec![
            Field::new("name", "Whose it is", Kind::Text, asked.text("name"))
                .hint("Letters, digits, “-”, “_” and “.”; the audit log names its holder so."),
            Field::new(
                "role",
                "What its holder may do",
                Kind::Choice(roles()),
                Some(role),
            ),
        ],
        button: "Make the token".into(),
        ..Panel::default()
    }
}

/// The panel for removing a bearer token.
pub(super) fn remove_token(asked: &Fields) -> Panel {
    let name = asked.text("name").unwrap_or_default();
    Panel {
        what: Act::RemoveToken.label(),
        title: format!("Remove the token {name}"),
        lead:
            "Whoever holds it is refused from now on. A token that is made anew has another secret."
                .into(),
        hidden: vec![("name", name)],
        button: "Remove it".into(),
        is_harsh: true,
        ..Panel::default()
    }
}
