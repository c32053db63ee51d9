//! Links from page to page: each leads to a file that exists.

use std::path::Path;

use super::TreeFile;

/// Every relative link of every Markdown page leads somewhere.
pub fn check(files: &[TreeFile], root: &Path) -> Vec<String> {
    let pages = files.iter().filter(|file| file.path.ends_with(".md"));
    let complain = |page: &TreeFile| {
        let folder = root
            .join(&page.path)
            .parent()
            .map(Path::to_path_buf)
            .unwrap_or_default();
        let dead = relative_links(&page.text)
            .into_iter()
            .filter(move |(_, target)| !folder.join(target).exists());
        let path = page.path.clone();
        dead.map(move |(line, target)| format!("{path}:{line}: no file at {target}, mend the link"))
            .collect::<Vec<_>>()
    };
    pages.flat_map(complain).collect()
}

/// The line (from 1) and the file of each link that stays inside the tree. Code is not prose: it has no links.
fn relative_links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let mark = ["```", "~~~"]
            .into_iter()
            .find(|mark| trimmed.starts_with(mark));
        match (fence, mark) {
            (None, Some(opened)) => fence = Some(opened),
            (Some(opened), Some(closing)) if opened == closing => fence = None,
            (Some(_), _) => {}
            (None, None) => {
                let targets = targets_of_line(line).into_iter().filter_map(inside_tree);
                links.extend(targets.map(|target| (index + 1, target)));
            }
        }
    }
    links
}

/// What follows `](`, `[name]: `, `src="` and `href="`, outside `code`.
fn targets_of_line(line: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    for prose in line.split('`').step_by(2) {
        for (opening, closing) in [
            ("](", [')', ' ']),
            ("src=\"", ['"', '"']),
            ("href=\"", ['"', '"']),
        ] {
            let after = prose.split(opening).skip(1);
            targets.extend(after.filter_map(|rest| rest.split(closing).next()));
        }
    }
    if line.starts_with('[')
        && let Some((_, target)) = line.split_once("]: ")
    {
        targets.extend(target.split_whitespace().next());
    }
    targets
}

/// The file part of a target, unless it leads to the web or to this same page.
fn inside_tree(target: &str) -> Option<&str> {
    let leaves = target.contains("://") || target.starts_with("mailto:");
    let file = target.split('#').next().unwrap_or_default();
    (!leaves && !file.is_empty()).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_inside_the_tree_are_found_with_their_lines() {
        let page = "See [a](a.md) and [b](sub/b.md#part \"title\").\n\n![p](p.svg)\n<img src=\"q.svg\">\n[ref]: r.md\n";
        let found = relative_links(page);
        assert_eq!(
            found,
            [
                (1, "a.md"),
                (1, "sub/b.md"),
                (3, "p.svg"),
                (4, "q.svg"),
                (5, "r.md")
            ]
        );
    }

    #[test]
    fn the_web_this_page_and_code_are_left_alone() {
        let page = "[w](https://example.org/x) [m](mailto:a@b) [h](#here) `[c](code.md)`\n```\n[f](fenced.md)\n```\n";
        assert_eq!(relative_links(page), []);
    }

    #[test]
    fn prose_after_a_code_block_is_read_again() {
        assert_eq!(relative_links("~~~\n```\n~~~\n[a](a.md)\n"), [(4, "a.md")]);
    }

    #[test]
    fn a_dead_link_names_its_page_and_line() {
        let root = crate::shell::root();
        let page = |text: &str| {
            vec![TreeFile {
                path: "xtask/page.md".into(),
                text: text.into(),
            }]
        };
        assert_eq!(
            check(&page("[ok](Cargo.toml) [up](../Cargo.toml)\n"), &root),
            [""; 0]
        );
        assert_eq!(
            check(&page("\n[x](none.md)\n"), &root),
            ["xtask/page.md:2: no file at none.md, mend the link"]
        );
    }
}
