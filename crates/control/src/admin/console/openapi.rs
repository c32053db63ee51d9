//! The control API, as its own description tells it.

use super::super::answer::ApiError;
use super::super::openapi;
use super::Drawn;
use askama::Template;
use ebbtide_api::PREFIX;
use serde_json::Value;

#[derive(Template)]
#[template(path = "api.html")]
struct Page {
    groups: Vec<Group>,
    prefix: &'static str,
}

struct Group {
    words: &'static str,
    calls: Vec<Call>,
}

struct Call {
    id: String,
    method: String,
    path: String,
    summary: String,
    fields: Vec<Field>,
    answer: Option<String>,
}

struct Field {
    name: String,
    place: String,
    is_needed: bool,
    text: String,
}

pub(super) fn draw() -> Result<Drawn, ApiError> {
    let document: Value = serde_json::from_str(&openapi::openapi()).unwrap_or_default();
    let groups = [
        ("read", "Reading"),
        ("change", "Changing"),
        ("admin", "For administrators"),
    ];
    let group = |(tag, words): (&str, &'static str)| Group {
        words,
        calls: calls(&document, tag),
    };
    let page = Page {
        groups: groups.map(group).into(),
        prefix: PREFIX,
    };
    Drawn::new("API", &page)
}

fn calls(document: &Value, tag: &str) -> Vec<Call> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let all = paths.flat_map(|(path, calls)| {
        let calls = calls.as_object().into_iter().flatten();
        calls.map(move |(method, call)| (path, method, call))
    });
    let of_tag = all.filter(|(_, _, call)| call["tags"][0] == tag);
    of_tag
        .map(|(path, method, call)| Call {
            id: text(&call["operationId"]),
            method: method.to_uppercase(),
            path: path.strip_prefix(PREFIX).unwrap_or(path).to_owned(),
            summary: text(&call["summary"]),
            fields: parameters(call).chain(body(document, call)).collect(),
            answer: schema_name(&call["responses"]["200"]["content"]),
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn parameters(call: &Value) -> impl Iterator<Item = Field> {
    let parameters = call["parameters"].as_array().into_iter().flatten();
    parameters.map(|parameter| Field {
        name: text(&parameter["name"]),
        place: format!("in the {}", text(&parameter["in"])),
        is_needed: parameter["required"] == true,
        text: text(&parameter["description"]),
    })
}

/// The fields of a call's body.
fn body(document: &Value, call: &Value) -> Vec<Field> {
    let Some(name) = schema_name(&call["requestBody"]["content"]) else {
        return Vec::new();
    };
    let schema = &document["components"]["schemas"][&name];
    let needed = schema["required"].as_array();
    let is_needed = |name: &str| needed.is_some_and(|needed| needed.iter().any(|one| one == name));
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields
        .map(|(name, field)| Field {
            is_needed: is_needed(name),
            name: name.clone(),
            place: "in the body".into(),
            text: text(&field["description"]),
        })
        .collect()
}

fn schema_name(content: &Value) -> Option<String> {
    let (_, media) = content.as_object()?.iter().next()?;
    let name = media["schema"]["$ref"].as_str()?.rsplit('/').next()?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_told_of_with_its_fields() {
        let document: Value = serde_json::from_str(&openapi::openapi()).unwrap();
        let count = |tag| calls(&document, tag).len();
        let all: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|calls| calls.as_object().unwrap().len())
            .sum();
        assert_eq!(count("read") + count("change") + count("admin"), all);
        let drain = calls(&document, "change");
        let drain = drain
            .iter()
            .find(|call| call.path.ends_with("/drain"))
            .unwrap();
        let within = drain
            .fields
            .iter()
            .find(|field| field.name == "within_ms")
            .unwrap();
        assert!(!within.is_needed && !within.text.is_empty());
    }
}
