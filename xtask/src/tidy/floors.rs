//! The floors of the house: which crate may import which, read from the manifests.

use toml::de::{DeTable, DeValue};

use super::TreeFile;

/// A crate and what its manifest may name outside dev-dependencies.
struct Floor {
    package: &'static str,
    /// Crates of this workspace.
    imports: &'static [&'static str],
    /// Whether it may name crates from elsewhere.
    foreign: bool,
}

/// Nothing may import `xtask`, `ebbtide-testkit` or `ebbtide-fuzz`, for they stand in no list; and only
/// `ebbtide-fuzz` may import `ebbtide`, to read its configuration.
const FLOORS: &[Floor] = &[
    Floor {
        package: "ebbtide-core",
        imports: &[],
        foreign: false,
    },
    Floor {
        package: "ebbtide-protocol",
        imports: &[],
        foreign: true,
    },
    Floor {
        package: "ebbtide-api",
        imports: &[],
        foreign: true,
    },
    Floor {
        package: "ebbtide-proxy",
        imports: &["ebbtide-core", "ebbtide-protocol"],
        foreign: true,
    },
    Floor {
        package: "ebbtide-control",
        imports: &["ebbtide-core", "ebbtide-protocol", "ebbtide-api"],
        foreign: true,
    },
    Floor {
        package: "ebbtide-testkit",
        // The simulator runs the real store (docs/adr/0005).
        imports: &["ebbtide-core", "ebbtide-protocol", "ebbtide-control"],
        foreign: true,
    },
    Floor {
        package: "ebbtide",
        imports: &[
            "ebbtide-core",
            "ebbtide-protocol",
            "ebbtide-api",
            "ebbtide-proxy",
            "ebbtide-control",
        ],
        foreign: true,
    },
    Floor {
        package: "ebbtide-fuzz",
        imports: &["ebbtide-protocol", "ebbtide-proxy", "ebbtide"],
        foreign: true,
    },
    Floor {
        package: "xtask",
        imports: &[],
        foreign: true,
    },
];

/// A dependency as a manifest names it.
struct Dependency {
    package: String,
    line: usize,
    /// In `[dev-dependencies]`: tests may look at any floor, but not at this tool.
    development: bool,
}

/// Every manifest keeps to its floor.
pub fn check(files: &[TreeFile]) -> Vec<String> {
    let manifests = files
        .iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"));
    manifests
        .flat_map(|file| check_manifest(&file.path, &file.text))
        .collect()
}

fn check_manifest(path: &str, text: &str) -> Vec<String> {
    let manifest = match DeTable::parse(text) {
        Ok(manifest) => manifest.into_inner(),
        Err(error) => return vec![format!("{path}:1: not TOML ({}), mend it", error.message())],
    };
    let name = table(&manifest, "package")
        .and_then(|package| string(package, "name"))
        .unwrap_or_default();
    let Some(floor) = FLOORS.iter().find(|floor| floor.package == name) else {
        return vec![format!(
            "{path}:1: package `{name}` has no floor, give it one in xtask/src/tidy/floors.rs"
        )];
    };
    let refused = dependencies(&manifest, text)
        .into_iter()
        .filter(|dependency| !may_import(floor, dependency));
    let complain = |dependency: Dependency| {
        let Dependency { package, line, .. } = dependency;
        format!(
            "{path}:{line}: {name} may not import {package}, move the code to a floor that may (docs/ARCHITECTURE.md)"
        )
    };
    refused.map(complain).collect()
}

fn may_import(floor: &Floor, dependency: &Dependency) -> bool {
    let package = dependency.package.as_str();
    if package == "xtask" {
        return false;
    }
    let own = package == "ebbtide" || package.starts_with("ebbtide-");
    dependency.development
        || if own {
            floor.imports.contains(&package)
        } else {
            floor.foreign
        }
}

/// The dependencies of the package, of its build script, and of each target.
fn dependencies(manifest: &DeTable<'_>, text: &str) -> Vec<Dependency> {
    let targets = table(manifest, "target")
        .into_iter()
        .flat_map(|targets| targets.values());
    let per_target = targets.filter_map(|target| target.get_ref().as_table());
    let mut found = Vec::new();
    for owner in std::iter::once(manifest).chain(per_target) {
        for section in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (key, value) in table(owner, section).into_iter().flatten() {
                let renamed = value
                    .get_ref()
                    .as_table()
                    .and_then(|details| string(details, "package"));
                found.push(Dependency {
                    package: renamed.unwrap_or(key.get_ref()).to_owned(),
                    line: text[..key.span().start].matches('\n').count() + 1,
                    development: section == "dev-dependencies",
                });
            }
        }
    }
    found
}

fn table<'a, 'i>(owner: &'a DeTable<'i>, key: &str) -> Option<&'a DeTable<'i>> {
    owner.get(key).and_then(|value| value.get_ref().as_table())
}

fn string<'a>(owner: &'a DeTable<'_>, key: &str) -> Option<&'a str> {
    owner
        .get(key)
        .map(|value| value.get_ref())
        .and_then(DeValue::as_str)
}

#[cfg(test)]
mod tests {
    use super::check_manifest;

    fn manifest(package: &str, rest: &str) -> Vec<String> {
        check_manifest(
            "Cargo.toml",
            &format!("[package]\nname = \"{package}\"\n{rest}"),
        )
    }

    #[test]
    fn a_crate_may_import_what_is_below_it() {
        let rest = "[dependencies]\nebbtide-core.workspace = true\nebbtide-protocol = { path = \"..\" }\ntokio = \"1\"\n";
        assert_eq!(manifest("ebbtide-proxy", rest), [""; 0]);
    }

    #[test]
    fn planes_do_not_import_each_other() {
        let rest = "[dependencies]\ntokio = \"1\"\nebbtide-control.workspace = true\n";
        let complaints = manifest("ebbtide-proxy", rest);
        assert_eq!(complaints.len(), 1);
        assert!(
            complaints[0].starts_with("Cargo.toml:5: ebbtide-proxy may not import ebbtide-control")
        );
    }

    #[test]
    fn core_imports_nothing_but_for_its_tests() {
        assert_eq!(
            manifest("ebbtide-core", "[dev-dependencies]\nproptest = \"1\"\n"),
            [""; 0]
        );
        assert_eq!(
            manifest("ebbtide-core", "[dependencies]\nmemchr = \"1\"\n").len(),
            1
        );
        assert_eq!(
            manifest("ebbtide-core", "[build-dependencies]\ncc = \"1\"\n").len(),
            1
        );
        assert_eq!(
            manifest(
                "ebbtide-core",
                "[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n"
            )
            .len(),
            1
        );
    }

    #[test]
    fn testkit_is_for_tests_only_and_xtask_for_nobody() {
        assert_eq!(
            manifest(
                "ebbtide",
                "[dev-dependencies]\nebbtide-testkit.workspace = true\n"
            ),
            [""; 0]
        );
        assert_eq!(
            manifest(
                "ebbtide",
                "[dependencies]\nebbtide-testkit.workspace = true\n"
            )
            .len(),
            1
        );
        assert_eq!(
            manifest("ebbtide", "[dev-dependencies]\nxtask.workspace = true\n").len(),
            1
        );
    }

    #[test]
    fn another_name_for_a_crate_does_not_hide_it() {
        let rest = "[dependencies]\nrules = { package = \"ebbtide-core\", path = \"..\" }\n";
        assert_eq!(manifest("ebbtide-api", rest).len(), 1);
    }

    #[test]
    fn a_new_crate_needs_a_floor() {
        assert!(manifest("ebbtide-attic", "")[0].contains("`ebbtide-attic` has no floor"));
    }
}
