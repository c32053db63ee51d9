//! What the tests need of npm's: packages below `target/`, always the same ones, so that a build does not
//! fail because others were published meanwhile.

use std::fs;
use std::path::Path;

use crate::shell;

/// Judges whether everybody can use the console's pages. It needs no other package.
const AXE: &str = "axe-core@4.14.1";

/// Returns when all of it is where the tests look for it; gets what is missing.
pub fn require() -> Result<(), String> {
    let axe = shell::root().join("target/axe");
    get(&axe, "axe-core/axe.min.js", &["install", AXE])?;
    // A provider of OpenID Connect, which needs many others: a lock file names each by its hash.
    let provider = shell::root().join("target/openid-provider");
    let listed = shell::root().join("xtask/openid-provider");
    for file in ["package.json", "package-lock.json"] {
        let (from, to) = (listed.join(file), provider.join(file));
        let text = fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
        let is_same = fs::read(&to).is_ok_and(|there| there == text);
        if !is_same {
            make(&provider)?;
            drop(fs::remove_dir_all(provider.join("node_modules")));
            fs::write(&to, text).map_err(|error| format!("{}: {error}", to.display()))?;
        }
    }
    get(&provider, "oidc-provider/lib/index.js", &["ci"])
}

fn make(folder: &Path) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))
}

/// Has npm do this in `folder`, unless it has already: then `file` is there.
fn get(folder: &Path, file: &str, what: &[&str]) -> Result<(), String> {
    let file = folder.join("node_modules").join(file);
    if file.exists() {
        return Ok(());
    }
    make(folder)?;
    let place = folder.display().to_string();
    let quietly = [
        "--prefix",
        &place,
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ];
    let status = shell::stream(&mut shell::command("npm", &[what, &quietly].concat()))?;
    match status.success() && file.exists() {
        true => Ok(()),
        false => Err(format!("npm {} failed ({status})", what.join(" "))),
    }
}
