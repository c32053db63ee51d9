//! Who may get at this node: the console's users, and the bearer tokens of programs.

use super::super::answer::ApiError;
use super::super::{tokens, users};
use super::Drawn;
use super::desk::Desk;
use super::words;
use askama::Template;
use axum::Json;
use axum::extract::State;
use ebbtide_api::{Role, Token, User};

/// What can be done with a user: panels and their words.
const ACTIONS: [(&str, &str); 4] = [
    ("user-role", "Role"),
    ("user-password", "Password"),
    ("user-sign-out", "Sign out"),
    ("remove-user", "Remove"),
];

#[derive(Template)]
#[template(path = "access.html")]
struct Page {
    users: Vec<(User, String)>,
    file: String,
    problem: Option<String>,
    /// With when they were made, as HTML.
    tokens: Vec<(Token, String)>,
    me: String,
}

pub(super) async fn draw(desk: &Desk) -> Result<Drawn, ApiError> {
    // The page's address asks for the role too; its stream comes here without that.
    desk.check(Role::Admin)?;
    let Json(users) = users::list(State(desk.app.clone())).await;
    let Json(tokens) = tokens::list(State(desk.app.clone())).await;
    let page = Page {
        file: users.file,
        problem: users.problem,
        users: users
            .users
            .into_iter()
            .map(|user| {
                let since = words::date(user.created);
                (user, since)
            })
            .collect(),
        tokens: tokens
            .tokens
            .into_iter()
            .map(|token| {
                let since = words::date(token.created);
                (token, since)
            })
            .collect(),
        me: desk.name().to_owned(),
    };
    Drawn::new("Access", &page)
}
