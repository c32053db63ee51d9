//! The console's style, script and icon: part of the program, fetched from nowhere else.

use super::super::app::App;
use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ebbtide_core::script_with_notice_words;
use std::sync::LazyLock;

const STYLE: &str = include_str!("../../../assets/console.css");
/// With the words that users are told.
static SCRIPT: LazyLock<String> =
    LazyLock::new(|| script_with_notice_words(include_str!("../../../assets/console.js")));
const ICON: &str = include_str!("../../../assets/icon.svg");

/// Their addresses have a part of their digest, so that browsers may keep them for good.
fn named(path: &str, text: &str) -> String {
    let digest = blake3::hash(text.as_bytes()).to_hex();
    format!("{path}?{}", &digest[..12])
}

/// The script's address.
pub(super) fn script() -> &'static str {
    static ADDRESS: LazyLock<String> = LazyLock::new(|| named("/assets/console.js", &SCRIPT));
    &ADDRESS
}

/// The style's address.
pub(super) fn style() -> &'static str {
    static ADDRESS: LazyLock<String> = LazyLock::new(|| named("/assets/console.css", STYLE));
    &ADDRESS
}

/// They say nothing of anybody: the page for signing in needs them too.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route(
            "/assets/console.css",
            get(|| asset("text/css; charset=utf-8", STYLE)),
        )
        .route(
            "/assets/console.js",
            get(|| asset("text/javascript; charset=utf-8", &SCRIPT)),
        )
        .route("/assets/icon.svg", get(|| asset("image/svg+xml", ICON)))
}

async fn asset(media_type: &'static str, text: &'static str) -> Response {
    let kept = "public, max-age=31536000, immutable";
    ([(CONTENT_TYPE, media_type), (CACHE_CONTROL, kept)], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_console_is_small() {
        let bytes = STYLE.len() + SCRIPT.len() + ICON.len();
        assert!(bytes < 150 * 1024, "{bytes} bytes");
    }
}
