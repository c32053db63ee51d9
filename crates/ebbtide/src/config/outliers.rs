//! How sick servers are found by their traffic, as the file says it.

use super::build::{number, value};
use super::read::Section;
use super::redirect::redirects;
use ebbtide_core::{OutlierSettings, Protocol};

/// What the file says of a pool's sick servers. Checked here: where none can be found.
pub(super) fn outliers(pool: &Section<'_, '_>, protocol: Protocol) -> OutlierSettings {
    let outliers = pool.section("outliers");
    let act = outliers.flag("act");
    let acts = pool.writes("outliers") && act.is_none_or(|act| act.value);
    let why = match protocol {
        Protocol::Nbd => Some("does not know what NBD servers answer"),
        _ if redirects(pool) => Some("finds nothing where users are led to the servers themselves"),
        _ => None,
    };
    if let (Some(why), Some(span)) = (why, pool.span_of("outliers")) {
        pool.report(
            &span,
            format!("{}: `outliers` {why}", pool.shown()),
            "nothing would be watched",
            Some("leave it out".into()),
        );
    }
    let slower = outliers.count("slower");
    if let Some(slower) = slower.as_ref().filter(|slower| slower.value == 1) {
        outliers.report(
            &slower.span,
            format!(
                "{}.slower: every server is as slow as itself",
                outliers.shown()
            ),
            "too little",
            Some("write 2 or more, or 0 to leave time out".into()),
        );
    }
    OutlierSettings {
        acts,
        errors: number(outliers.count("errors")),
        slower: Some(number(slower)).filter(|slower| *slower > 0),
        requests: number(outliers.count("requests")),
        window: value(outliers.duration("window")),
        share_max: number(outliers.count("share_max")),
        hold: value(outliers.duration("hold")),
    }
}
