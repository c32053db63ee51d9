//! `ebbtide replicas`: which copies of a pool's resources may stand in for one another, and why.

use super::{Done, print_table};
use crate::exit::Exit;
use crate::output;
use ebbtide_api::{Client, Copy, Resource};
use ebbtide_core::grouped;

/// As much of a digest is shown to people.
const DIGEST_SHOWN: usize = 12;

/// Shows what is known of every copy.
pub(super) async fn show(client: &Client, pool: &str, json: bool) -> Done {
    let replicas = client.replicas(pool).await?;
    if json {
        output::json(&replicas);
        return Ok(Exit::Done);
    }
    let heads = [
        "RESOURCE",
        "MODE",
        "SERVER",
        "SIZE",
        "DIGEST",
        "VERSION",
        "MODIFIED",
        "SERVES",
        "STANDS IN",
        "WHY",
    ];
    let resources = replicas.resources.iter();
    let rows = resources.flat_map(|resource| {
        let copies = resource.copies.iter().enumerate();
        copies.map(move |(index, copy)| row(resource, copy, index == 0))
    });
    print_table(&heads, rows, "no resources are configured for this pool");
    Ok(Exit::Done)
}

/// What a resource is called stands in its first row only.
fn row(resource: &Resource, copy: &Copy, is_first: bool) -> Vec<String> {
    let mode = match resource.balance {
        true => resource.mode.clone(),
        false => format!("{}, not balanced", resource.mode),
    };
    let once = |text: String| if is_first { text } else { String::new() };
    let digest = copy.digest.clone().unwrap_or_default();
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    vec![
        once(resource.name.clone()),
        once(mode),
        copy.server.clone(),
        copy.size.map(grouped).unwrap_or_default(),
        digest.chars().take(DIGEST_SHOWN).collect(),
        copy.version.clone().unwrap_or_default(),
        copy.modified.map(|at| at.to_string()).unwrap_or_default(),
        yes(copy.serves),
        yes(copy.stands_in),
        copy.text.clone(),
    ]
}
