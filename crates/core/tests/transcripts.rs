//! The rules as transcripts: each file in `transcripts/` is a script (lines that begin with `> `)
//! and what the driver said to it. To record what it says now, run with `UPDATE_TRANSCRIPTS=1` and
//! read the difference.

mod world;

use std::fs;
use std::path::Path;
use world::World;

fn replay(recorded: &str) -> String {
    let mut world = World::default();
    let mut text = String::new();
    for line in recorded.lines() {
        if line.is_empty() || line.starts_with('#') {
            text += &format!("{line}\n");
        } else if let Some(script) = line.strip_prefix("> ") {
            text += &format!("> {script}\n");
            for said in world.play(script) {
                text += &format!("  {said}\n");
            }
        }
    }
    text
}

#[test]
fn transcripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    #[expect(
        clippy::disallowed_methods,
        reason = "a test asks its runner, core does not"
    )]
    let record = std::env::var_os("UPDATE_TRANSCRIPTS").is_some();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let recorded = fs::read_to_string(&path).unwrap();
        let now = replay(&recorded);
        if record {
            fs::write(&path, &now).unwrap();
        } else {
            assert_eq!(recorded, now, "{} is not what is said now", path.display());
        }
        count += 1;
    }
    assert!(count > 0, "there are no transcripts");
}
