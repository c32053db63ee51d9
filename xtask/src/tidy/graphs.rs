//! Drawn state machines whose edges name the functions that make them (docs/fsm/README.md).

use super::TreeFile;

/// Every graph has edges, and every edge names functions that exist.
pub fn check(files: &[TreeFile], functions: &[&str]) -> Vec<String> {
    let graphs = files
        .iter()
        .filter(|file| file.path.starts_with("docs/fsm/") && file.path.ends_with(".dot"));
    graphs
        .flat_map(|file| check_graph(&file.path, &file.text, functions))
        .collect()
}

fn check_graph(path: &str, text: &str, functions: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut edges = 0;
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        if !code.contains("->") {
            continue;
        }
        edges += 1;
        let names = label(code).map(function_names).unwrap_or_default();
        if names.is_empty() {
            let at = index + 1;
            complaints.push(format!(
                "{path}:{at}: an edge without a label, name its function: [label=\"function\"]"
            ));
        }
        for name in names.into_iter().filter(|name| !functions.contains(name)) {
            let at = index + 1;
            complaints.push(format!(
                "{path}:{at}: no fn {name} under crates/*/src, name the one that makes this edge"
            ));
        }
    }
    if edges == 0 {
        complaints.push(format!(
            "{path}:1: a graph without edges, draw them or remove it"
        ));
    }
    complaints
}

fn label(edge: &str) -> Option<&str> {
    let value = edge
        .split_once("label")?
        .1
        .trim_start()
        .strip_prefix('=')?
        .trim_start();
    Some(value.strip_prefix('"')?.split_once('"')?.0)
}

fn function_names(label: &str) -> Vec<&str> {
    label
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check_graph;

    fn complaints(edges: &str) -> Vec<String> {
        check_graph(
            "a.dot",
            &format!("digraph a {{\n{edges}\n}}\n"),
            &["begin_drain", "end_drain"],
        )
    }

    #[test]
    fn labels_name_one_function_or_several() {
        assert_eq!(
            complaints(
                "a -> b [label=\"begin_drain\"];\nb -> a [ label = \"end_drain, begin_drain\" ]"
            ),
            [""; 0]
        );
    }

    #[test]
    fn a_name_that_is_no_function_is_shown_with_its_line() {
        let found = complaints("a -> b [label=\"begin_drain, begun\"];");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.dot:2: no fn begun under crates/*/src"));
    }

    #[test]
    fn an_edge_needs_a_label_and_a_graph_needs_an_edge() {
        assert!(complaints("a -> b;")[0].starts_with("a.dot:2: an edge without a label"));
        assert!(
            complaints("a -> b [label=\"\"];")[0].starts_with("a.dot:2: an edge without a label")
        );
        assert!(complaints("a; // a -> b")[0].contains("a graph without edges"));
    }
}
