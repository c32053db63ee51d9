//! What is known of replicas: each resource, and each server's copy of it.

use super::super::answer::{ApiError, Names};
use super::super::replicas as handlers;
use super::Drawn;
use super::desk::Desk;
use super::words::{self, bytes};
use askama::Template;
use axum::Json;
use axum::extract::State;
use ebbtide_api::{Copy, Resource};

#[derive(Template)]
#[template(path = "replicas.html")]
struct Page {
    pools: Vec<Pool>,
}

struct Pool {
    name: String,
    identity: String,
    resources: Vec<Shown>,
}

struct Shown {
    resource: Resource,
    copies: Vec<Row>,
}

struct Row {
    copy: Copy,
    tone: &'static str,
    shape: &'static str,
    size: String,
    digest: Option<String>,
    /// HTML.
    modified: Option<String>,
}

pub(super) async fn draw(desk: &Desk) -> Result<Drawn, ApiError> {
    let snapshot = desk.app.snapshot();
    let with = snapshot
        .pools
        .iter()
        .filter(|pool| !pool.replicas.resources.is_empty());
    let mut pools = Vec::new();
    for pool in with {
        let names = Names(pool.config.name.clone());
        let Json(known) = handlers::replicas(State(desk.app.clone()), names).await?;
        pools.push(Pool {
            name: known.pool,
            identity: known.identity,
            resources: known.resources.into_iter().map(shown).collect(),
        });
    }
    Drawn::new("Replicas", &Page { pools })
}

fn shown(mut resource: Resource) -> Shown {
    let copies = std::mem::take(&mut resource.copies);
    Shown {
        resource,
        copies: copies.into_iter().map(row).collect(),
    }
}

fn row(copy: Copy) -> Row {
    let (tone, shape) = match (copy.serves, copy.stands_in, copy.state.as_str()) {
        (true, ..) => ("good", "full-circle"),
        (_, true, _) => ("good", "ring"),
        (_, _, "reading" | "unknown") => ("calm", "ring"),
        (_, _, "contradicted" | "unreachable" | "absent") => ("bad", "triangle"),
        _ => ("warn", "diamond"),
    };
    Row {
        size: copy.size.map(bytes).unwrap_or_default(),
        digest: copy
            .digest
            .as_deref()
            .and_then(|digest| digest.get(..16))
            .map(str::to_owned),
        modified: copy.modified.map(words::date),
        tone,
        shape,
        copy,
    }
}
