//! axe-core, which judges whether everybody can use the console's pages: a package of npm's, only for tests.

use std::fs;

use crate::shell;

/// Always the same rules: a build does not fail because others were added meanwhile.
const PACKAGE: &str = "axe-core@4.14.1";

/// Returns when it is below `target/`, where the tests look for it; gets it if it is not.
pub fn require() -> Result<(), String> {
    let folder = shell::root().join("target/axe");
    let script = folder.join("node_modules/axe-core/axe.min.js");
    if script.exists() {
        return Ok(());
    }
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let place = folder.display().to_string();
    let arguments = [
        "install",
        "--prefix",
        &place,
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        PACKAGE,
    ];
    let status = shell::stream(&mut shell::command("npm", &arguments))?;
    match status.success() && script.exists() {
        true => Ok(()),
        false => Err(format!("npm could not install {PACKAGE} ({status})")),
    }
}
