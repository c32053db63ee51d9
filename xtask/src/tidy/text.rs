//! Small rules about files of any kind.

use super::TreeFile;

/// Written in halves, so that this file keeps its own rule.
const MARKERS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];
const SOURCE_ENDINGS: &[&str] = &[
    ".rs", ".toml", ".dot", ".sh", ".html", ".css", ".js", ".py", ".ci/run",
];

/// No notes to self in the source: an issue is where work that is not done stands.
pub fn check_markers(files: &[TreeFile]) -> Vec<String> {
    let source = files.iter().filter(|file| {
        SOURCE_ENDINGS
            .iter()
            .any(|ending| file.path.ends_with(ending))
    });
    source
        .flat_map(|file| marked_lines(&file.path, &file.text))
        .collect()
}

fn marked_lines(path: &str, text: &str) -> Vec<String> {
    let marker_in = |line: &str| {
        let mut words = line.split(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
        words.find_map(|word| MARKERS.iter().find(|marker| **marker == word))
    };
    let marked = text
        .lines()
        .enumerate()
        .filter_map(|(index, line)| Some((index + 1, marker_in(line)?)));
    marked
        .map(|(line, marker)| format!("{path}:{line}: {marker}, do it now or write an issue"))
        .collect()
}

/// CHANGELOG.md exists and has a place for what comes next.
pub fn check_changelog(files: &[TreeFile]) -> Vec<String> {
    match files.iter().find(|file| file.path == "CHANGELOG.md") {
        None => vec!["CHANGELOG.md:1: missing, write it with an \"Unreleased\" section".to_owned()],
        Some(file)
            if file
                .text
                .lines()
                .any(|line| line.starts_with("## ") && line.contains("Unreleased")) =>
        {
            Vec::new()
        }
        Some(_) => vec!["CHANGELOG.md:1: no \"## Unreleased\" section, add it".to_owned()],
    }
}

/// No snapshot waits for review.
pub fn check_snapshots(paths: &[String]) -> Vec<String> {
    let waiting = paths.iter().filter(|path| path.ends_with(".snap.new"));
    waiting
        .map(|path| format!("{path}:1: a snapshot nobody has looked at, accept it or remove it"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_whole_words() {
        let text = format!(
            "let a = 1; // {}: later\nlet {}S = 2;\n",
            MARKERS[0], MARKERS[0]
        );
        assert_eq!(marked_lines("a.rs", &text).len(), 1);
        assert!(marked_lines("a.rs", &text)[0].starts_with("a.rs:1: "));
    }

    #[test]
    fn the_changelog_has_a_place_for_what_comes_next() {
        let changelog = |text: &str| {
            check_changelog(&[TreeFile {
                path: "CHANGELOG.md".into(),
                text: text.into(),
            }])
        };
        assert_eq!(changelog("# Changes\n\n## [Unreleased]\n"), [""; 0]);
        assert_eq!(changelog("# Changes\nUnreleased\n").len(), 1);
        assert_eq!(check_changelog(&[]).len(), 1);
    }

    #[test]
    fn a_waiting_snapshot_is_a_complaint() {
        assert_eq!(
            check_snapshots(&["a.snap".to_owned(), "b.snap.new".to_owned()]).len(),
            1
        );
    }
}
