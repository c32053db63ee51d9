//! Where requests name their user, as the file says it.

use super::read::{Read, Section};
use ebbtide_core::UserSource;

/// Fields that hold secrets or more than a name.
const NO_NAMES: [&str; 4] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
];

/// Whether it is a cookie of Ebbtide's, for this pool or another: what it holds is a key.
fn is_own(cookie: &str, own_cookies: &[String]) -> bool {
    // Pools that come later in the file have, as a rule, names of this kind.
    cookie.starts_with("ebbtide_") || own_cookies.iter().any(|own| own == cookie)
}

/// Where requests name their user; more than one place is a mistake. `own_cookies` are Ebbtide's.
pub(super) fn user(user: &Section<'_, '_>, own_cookies: &[String]) -> Option<UserSource> {
    let (header, cookie) = (user.text("header"), user.text("cookie"));
    if let Some(read) = &header {
        check_header(user, read);
    }
    if let Some(read) = cookie
        .as_ref()
        .filter(|read| is_own(&read.value, own_cookies))
    {
        user.report(
            &read.span,
            format!(
                "{}.cookie: `{}` is Ebbtide's own cookie",
                user.shown(),
                read.value
            ),
            "names no user",
            Some("write the name of a cookie of the application".into()),
        );
    }
    let basic = user.flag("basic");
    let basic_is_wrong = user.writes("basic") && basic.as_ref().is_none_or(|read| !read.written);
    let sources = [
        header.map(|read| (read.span, UserSource::Header(read.value))),
        cookie.map(|read| (read.span, UserSource::Cookie(read.value))),
        basic
            .filter(|read| read.value)
            .map(|read| (read.span, UserSource::Basic)),
    ];
    let mut sources = sources.into_iter().flatten();
    let Some((_, first)) = sources.next() else {
        // What is written there and wrong has been reported.
        let tried = |name: &&str| user.writes(name) || user.misspells(name);
        let is_reported =
            ["header", "cookie"].iter().any(tried) || user.misspells("basic") || basic_is_wrong;
        if user.written && !is_reported {
            user.report(
                &user.span,
                format!("{}: does not say where", user.shown()),
                "needs one of `header`, `cookie`, `basic`",
                Some("write `user = { header = \"X-Remote-User\" }`".into()),
            );
        }
        return None;
    };
    if let Some((span, _)) = sources.next() {
        user.report(
            &span,
            format!("{}: a user is named in one place", user.shown()),
            "the second one",
            Some("keep one of `header`, `cookie` and `basic`".into()),
        );
    }
    Some(first)
}

fn check_header(user: &Section<'_, '_>, header: &Read<String>) {
    let name = header.value.to_lowercase();
    if !NO_NAMES.contains(&name.as_str()) {
        return;
    }
    let help = match name.as_str() {
        "cookie" | "set-cookie" => "write `user = { cookie = \"NAME\" }` with the cookie's name",
        _ => "write `user = { basic = true }` for the name alone",
    };
    user.report(
        &header.span,
        format!(
            "{}.header: `{}` holds more than a name, and secrets would be shown",
            user.shown(),
            header.value
        ),
        "not a user's name",
        Some(help.into()),
    );
}
