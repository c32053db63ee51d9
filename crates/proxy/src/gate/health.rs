//! The pool's own health page, in the language of health pages, for balancers in front.

use crate::pages::{self, Envelope};
use crate::routing::Asking;
use ebbtide_core::{Reason, ServerView};

/// What is said when no number of places can be told, as no server has a limit.
const PLACES_WITHOUT_LIMIT: u64 = 9999;

/// Writes the page. Returns its status and length.
pub(crate) fn health(asking: &Asking<'_>, envelope: Envelope, out: &mut Vec<u8>) -> (u16, usize) {
    let page = &asking.routes.pool.config.gate.health_page;
    let said = said(asking);
    let (status, text) = match said {
        Said::Active(places) => (page.active, format!("ACTIVE - {places} Sessions Available")),
        Said::OnHold => (page.hold, "ON HOLD".to_owned()),
        Said::AllInUse => (page.full, "ALL SESSIONS IN USE".to_owned()),
    };
    let body = match &page.template {
        Some(template) => template.replace("{{status}}", &text),
        None => text + "\n",
    };
    let media_type = (page.content_type.as_str(), "");
    let bytes = pages::write_answer(out, status, media_type, &body, envelope);
    (status, bytes)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// So many new sessions are admitted.
    Active(u64),
    /// None are.
    OnHold,
    /// Every place is taken.
    AllInUse,
}

fn said(asking: &Asking<'_>) -> Said {
    if asking.is_closed() {
        return Said::OnHold;
    }
    let servers = &asking.routes.pool.servers;
    // A last resort only shows the service's own error: a balancer in front may know a better place.
    let admitting = servers.iter().filter(|server| {
        server.standing.admits_new && server.standing.reason != Reason::LastResort
    });
    let mut admits = false;
    let mut places = Some(0);
    for server in admitting {
        admits = true;
        places = places
            .zip(server.room())
            .map(|(sum, room)| sum + u64::from(room));
    }
    let is_full = |server: &ServerView| server.standing.reason.is_full();
    match places.unwrap_or(PLACES_WITHOUT_LIMIT) {
        _ if !admits && !servers.iter().any(is_full) => Said::OnHold,
        0 => Said::AllInUse,
        places => Said::Active(places),
    }
}
