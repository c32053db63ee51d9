//! The JSON schema of the file, from the settings table, for editors that complete and check TOML.

use super::settings::{self, Default, Kind, SECTIONS, Section, Setting, Short};
use super::value::Value;
use ebbtide_core::{Millis, Network};
use serde_json::{Map, Value as Json, json};

const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
const DURATION: &str = "^([0-9]+(ms|s|m|h|d) ?)+$";
const RATE: &str = "^[0-9]+ ?(MB|MiB|GB|GiB)/s$";
const ADDRESS: &str = "^(\\[[0-9A-Fa-f:.%]+\\]|[^:\\[\\]]+):[0-9]{1,5}$";

/// The JSON schema (draft 2020-12) of the file.
pub fn schema() -> String {
    let mut schema = table(&SECTIONS[0]);
    if let Some(object) = schema.as_object_mut() {
        object.insert(
            "$schema".into(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        object.insert("title".into(), json!("Ebbtide configuration"));
    }
    format!("{schema:#}\n")
}

fn section(section: &Section) -> Json {
    let table = table(section);
    let short = match section.short {
        Short::None => return table,
        Short::False => json!({ "const": false }),
        Short::Setting(name) => match settings::find(section.path, name) {
            Some(setting) => self::setting(setting),
            None => return table,
        },
    };
    json!({ "oneOf": [short, table] })
}

fn table(section: &Section) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for setting in settings::children(section.path) {
        let name = settings::last(setting.path);
        if setting.default == Default::Required {
            required.push(name);
        }
        properties.insert(name.into(), self::setting(setting));
    }
    let mut schema = json!({ "type": "object", "description": section.help });
    for inner in settings::subsections(section.path) {
        match settings::last(inner.path) {
            "*" => {
                schema["patternProperties"] = json!({ NAME: self::section(inner) });
                schema["minProperties"] = json!(1);
            }
            name => {
                properties.insert(name.into(), self::section(inner));
                if ["listeners", "pools", "servers"].contains(&name) {
                    required.push(name);
                }
            }
        }
    }
    if !properties.is_empty() {
        schema["properties"] = Json::Object(properties);
    }
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema["additionalProperties"] = json!(false);
    schema
}

fn setting(setting: &Setting) -> Json {
    let mut schema = kind(setting.kind);
    schema["description"] = json!(setting.help);
    if let Default::Value(text) = setting.default {
        schema["default"] = match super::read::default_value(setting, text) {
            Value::Number(number) => json!(number),
            Value::Thousandths(number) => json!(number / 1000),
            Value::Flag(flag) => json!(flag),
            Value::Texts(texts) => json!(texts),
            Value::Networks(networks) => {
                json!(networks.iter().map(Network::to_string).collect::<Vec<_>>())
            }
            Value::Durations(spans) => {
                json!(spans.iter().map(Millis::to_string).collect::<Vec<_>>())
            }
            _ => json!(text.trim_matches('"')),
        };
    }
    schema
}

fn kind(kind: Kind) -> Json {
    match kind {
        Kind::Count(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Decimal(least, most) => {
            json!({ "type": "number", "minimum": least, "maximum": most })
        }
        Kind::Bytes(least, most) => json!({
            "anyOf": [
                { "type": "integer", "minimum": least, "maximum": most },
                { "type": "string", "pattern": "^[0-9]+ ?(B|KiB|MiB)$" },
            ],
        }),
        Kind::Rate(..) => json!({ "type": "string", "pattern": RATE }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Duration(..) => json!({ "type": "string", "pattern": DURATION }),
        Kind::Durations(count_max, ..) => json!({
            "type": "array",
            "items": { "type": "string", "pattern": DURATION },
            "maxItems": count_max,
        }),
        Kind::Words(words) => json!({
            "type": "array", "items": { "enum": words }, "minItems": 1,
        }),
        Kind::Texts(count_max) => json!({
            "type": "array",
            "items": { "type": "string", "minLength": 1 },
            "maxItems": count_max,
        }),
        Kind::Url => json!({ "type": "string", "pattern": "^https?://" }),
        Kind::Regex => json!({ "type": "string", "format": "regex" }),
        Kind::UrlPath => json!({ "type": "string", "pattern": "^/" }),
        Kind::UrlPaths => {
            json!({ "type": "array", "items": { "type": "string", "pattern": "^/" } })
        }
        Kind::ServerAddress | Kind::ListenAddress => {
            json!({ "type": "string", "pattern": ADDRESS })
        }
        Kind::OneOf(words, _) => json!({ "enum": words }),
        Kind::Pool => json!({ "type": "string", "pattern": NAME }),
        Kind::Networks => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Raw
        | Kind::Text
        | Kind::CookieName
        | Kind::FieldName
        | Kind::Statuses
        | Kind::FilePath => {
            json!({ "type": "string", "minLength": 1 })
        }
    }
}
