//! The audit log as files: what is in them is what the log says, and nothing that a spreadsheet runs.

use super::desk::Desk;
use crate::harness::{Ebbtide, Setup, models};
use ebbtide_api::Role;
use ebbtide_testkit::{BROWSER_LIMIT, Scratch, until};
use serde_json::{Value, json};
use std::fs;

const FORMULA: &str = "=cmd|' /C calc'!A0";
const QUOTED: &str = "he said \"now\", and went";

/// The cells of a file by RFC 4180.
fn rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut letters) = (false, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match (quoted, letter) {
            (true, '"') if letters.next_if_eq(&'"').is_some() => cell.push('"'),
            (_, '"') => quoted = !quoted,
            (false, ',') => row.push(std::mem::take(&mut cell)),
            (false, '\r') => {}
            (false, '\n') => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            (_, letter) => cell.push(letter),
        }
    }
    assert!(cell.is_empty() && row.is_empty() && !quoted, "whole lines");
    rows
}

#[test]
fn the_audit_log_is_taken_along_as_csv_and_json() {
    let scratch = Scratch::new();
    let servers = models(2, &scratch);
    let ebbtide = Ebbtide::start(&Setup::new(&servers));
    let desk = Desk::sign_in(&ebbtide, "anna", Role::Viewer);
    for (what, reason) in [("hold", FORMULA), ("ready", QUOTED)] {
        ebbtide
            .cli(&[what, "app/web1", "--reason", reason])
            .exits(0);
    }
    let folder = scratch.join("downloads");
    let allow = json!({ "behavior": "allow", "downloadPath": folder });
    desk.browser.devtools("Browser.setDownloadBehavior", &allow);
    desk.open("/audit");
    let download = |name: &str| {
        desk.click(&format!("a[href=\"/{name}\"]"));
        until(&format!("{name} is there"), BROWSER_LIMIT, || {
            // The browser keeps the name with an empty file until all of it is there.
            let text = fs::read_to_string(folder.join(name)).ok();
            text.filter(|text| !text.is_empty())
        })
    };
    let logged = ebbtide.cli(&["audit", "--json"]).exits(0).json();
    let logged = logged["entries"].as_array().expect("lines").clone();

    let file: Value = serde_json::from_str(&download("audit.json")).expect("JSON");
    assert_eq!(file.as_array(), Some(&logged), "the same lines");

    let csv = download("audit.csv");
    let rows = rows(&csv);
    let heads = [
        "number", "at", "who", "from", "action", "target", "forced", "reason", "outcome",
    ];
    assert_eq!(rows[0], heads);
    assert_eq!(rows.len(), logged.len() + 1);
    let reason = |action: &str| {
        let row = rows.iter().find(|row| row[4] == action);
        row.map(|row| row[7].clone()).expect("a line")
    };
    assert_eq!(reason("ready"), QUOTED);
    assert_eq!(
        reason("hold"),
        format!("'{FORMULA}"),
        "a text, and no formula"
    );
    let cells = rows.iter().flatten();
    let mut formulas = cells.filter(|cell| cell.starts_with(['=', '+', '@']));
    assert_eq!(formulas.next(), None);
    for (row, line) in rows[1..].iter().zip(&logged) {
        assert_eq!(
            (&row[2], &row[5]),
            (&as_text(&line["who"]), &as_text(&line["target"]))
        );
    }
}

fn as_text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
