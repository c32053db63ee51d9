//! axe-core's rules of accessibility.

use super::desk::Desk;
use ebbtide_testkit::{BROWSER_LIMIT, until};
use serde_json::{Value, json};

const AXE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../target/axe/node_modules/axe-core/axe.min.js"
);

/// What axe-core finds wrong with what is open. The policy of the page keeps scripts out, so the
/// browser's own protocol brings it in.
#[track_caller]
pub fn faults(desk: &Desk) -> Vec<Value> {
    if desk.run("return 'axe' in window") == false {
        let axe = std::fs::read_to_string(AXE);
        let axe =
            json!({ "expression": axe.expect("axe-core is there: `cargo xtask test` gets it") });
        desk.browser.devtools("Runtime.evaluate", &axe);
    }
    desk.run(
        "window.judged = null; axe.run(document, { resultTypes: ['violations'] })\
         .then((result) => window.judged = result.violations.map(({ id, help, nodes }) =>\
         id + ': ' + help + ' ' + nodes.slice(0, 3).map((node) => node.html + ' ' + (node.any[0]?.message ?? '')).join(' | ')))",
    );
    until("axe-core has judged", BROWSER_LIMIT, || {
        let judged = desk.run("return window.judged");
        judged.as_array().cloned()
    })
}
