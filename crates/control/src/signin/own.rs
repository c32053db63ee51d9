//! The page where whoever signed in with a password takes another one.

use super::browser::{is_https, set_cookie};
use super::guard::address;
use super::pages::{Form, no_form, page, refusal, refused, with_wait};
use super::sessions::Holder;
use super::users::{Change, UsersError};
use super::{NotIn, SignIn, actor, password};
use crate::admin::{App, Caller};
use crate::clock::clock;
use askama::Template;
use axum::extract::{Request, State};
use axum::http::header::SET_COOKIE;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use std::net::IpAddr;
use std::sync::Arc;

const OWN: &str = "/sign-in/password";

/// For whoever is signed in.
pub(super) fn routes() -> Router<App> {
    Router::new().route(OWN, get(ask).post(take))
}

#[derive(Template)]
#[template(path = "signin/own.html")]
struct OwnPage<'a> {
    action: &'a str,
    name: &'a str,
    csrf: &'a str,
    problem: String,
    is_done: bool,
}

impl<'a> OwnPage<'a> {
    fn new(caller: &'a Caller) -> Self {
        Self {
            action: OWN,
            name: caller.name(),
            csrf: caller.csrf(),
            problem: String::new(),
            is_done: false,
        }
    }
}

/// Why somebody goes on with the password that he has.
enum NotTaken {
    /// The present one does not let him in.
    NotIn(NotIn),
    Not(UsersError),
}

impl From<NotIn> for NotTaken {
    fn from(why: NotIn) -> Self {
        Self::NotIn(why)
    }
}

impl From<UsersError> for NotTaken {
    fn from(why: UsersError) -> Self {
        Self::Not(why)
    }
}

impl SignIn {
    /// Gives a user who knows his password another one. He is signed out everywhere; the secret for
    /// his cookie in the browser that he sits at.
    async fn change_own(
        self: &Arc<Self>,
        name: &str,
        from: IpAddr,
        form: Form,
    ) -> Result<String, NotTaken> {
        let invalid = |text: &str| UsersError::Invalid(text.to_owned());
        if form.new != form.again {
            return Err(invalid("the new password is not the same both times").into());
        }
        if form.new == form.password {
            return Err(invalid("the new password is the present one").into());
        }
        password::check(name, &form.new).map_err(UsersError::Invalid)?;
        let (_, stamp) = self.compare(name, form.password, from).await?;
        let proven = clock().moment;
        let hash = self.hash(name, form.new).await?;
        let change = Change::Password(hash);
        let made = self.change_user(actor(name, from), name.to_owned(), change, Some(stamp));
        made.await?;
        let holder = self.with(|state| {
            let user = state.users.find(name).ok_or(NotIn::Wrong)?;
            Ok::<_, NotIn>(Holder {
                user: name.to_owned(),
                role: user.role,
                stamp: user.stamp(),
                subject: None,
                from,
            })
        })?;
        Ok(self.begin(holder, proven, None, ", by the new password")?)
    }
}

fn none() -> Response {
    let text =
        "You have not signed in here with a password of your own, so there is none to change here.";
    refused(403, "No password", text)
}

/// `GET /sign-in/password`
async fn ask(Extension(caller): Extension<Caller>) -> Response {
    match caller.has_password() {
        true => page(200, &OwnPage::new(&caller)),
        false => none(),
    }
}

/// `POST /sign-in/password`
async fn take(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    if !caller.has_password() {
        return none();
    }
    let (from, is_https) = (address(&request), is_https(request.headers()));
    let Some(form) = Form::read(request).await else {
        return no_form();
    };
    // Whose password it is says the session, and not the form.
    let changed = app.signin.change_own(caller.name(), from, form).await;
    let mut asked = OwnPage::new(&caller);
    let (status, problem, wait) = match changed {
        Ok(secret) => {
            asked.is_done = true;
            let mut response = page(200, &asked);
            let cookie = set_cookie(&secret, is_https);
            response.headers_mut().insert(SET_COOKIE, cookie);
            return response;
        }
        Err(NotTaken::NotIn(NotIn::Wrong)) => {
            (401, "The present password is wrong.".to_owned(), None)
        }
        Err(NotTaken::NotIn(why)) => refusal(why),
        Err(NotTaken::Not(UsersError::Invalid(text))) => (422, format!("Not done: {text}."), None),
        Err(NotTaken::Not(why)) => {
            let text = format!(
                "Not done: {why}. `ebbtide user password` on the node's own machine changes the same file."
            );
            (503, text, None)
        }
    };
    asked.problem = problem;
    with_wait(page(status, &asked), wait)
}
