//! docs/settings.md, from the settings table.

use super::settings::{Default, Kind, SECTIONS, Section, Setting, Short, children, last};
use std::fmt::Write;

const INTRODUCTION: &str = "# Settings

<!-- Written by `cargo xtask docs` from the settings table in crates/ebbtide/src/config/settings.rs. -->

The configuration is one TOML file. It says what exists; what operators want of it (hold, drain,
maintenance) is kept in the state directory, so reading the file again never returns a held server
to traffic. `ebbtide check FILE` checks it, SIGHUP or `ebbtide reload` has a running node take it;
a file with a mistake changes nothing. [ebbtide.toml](../examples/ebbtide.toml) is an example with
comments, [ebbtide.schema.json](ebbtide.schema.json) the JSON schema for editors.

`*` stands for a name that you choose: 1 to 64 letters, digits, `-`, `_` or `.`, beginning with a
letter or digit. Durations are texts with units: `\"250ms\"`, `\"30s\"`, `\"20m\"`, `\"1h30m\"`, `\"2d\"`.
";

/// The reference page of all settings.
pub fn settings_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in SECTIONS {
        write_section(&mut page, section);
    }
    page
}

fn write_section(page: &mut String, section: &Section) {
    let mut settings = children(section.path).peekable();
    if settings.peek().is_none() {
        return;
    }
    let title = match section.path {
        "" => "At the top of the file".to_owned(),
        path => format!("`[{path}]`"),
    };
    // Writing to a String cannot fail.
    let _ = write!(page, "\n## {title}\n\n{}\n", section.help);
    if let Short::Setting(name) = section.short {
        let _ = write!(
            page,
            "\nThe value of `{name}` alone may stand in place of the table.\n"
        );
    }
    page.push_str("\n| setting | value | default | |\n|---|---|---|---|\n");
    for setting in settings {
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            last(setting.path),
            value(setting.kind),
            default(setting),
            setting.help
        );
    }
}

fn value(kind: Kind) -> String {
    match kind {
        Kind::Count(least, most) => format!("{least} to {most}"),
        Kind::Decimal(least, most) => {
            format!("number of up to three digits after the point, {least} to {most}")
        }
        Kind::Bytes(least, most) => {
            format!("{least} to {most} bytes, or a text such as `\"32KiB\"`")
        }
        Kind::Rate(least, most) => {
            let (least, most) = (least / 1_000_000, most / 1_000_000);
            format!("rate, `{least}MB/s` to `{most}MB/s`")
        }
        Kind::Duration(least, most) => format!("duration, `{least}` to `{most}`"),
        Kind::Flag => "true or false".into(),
        Kind::Durations(count_max, least, most) => {
            format!("list of at most {count_max} durations, each `{least}` to `{most}`")
        }
        Kind::Text => "text".into(),
        Kind::FieldName => "name of a field".into(),
        Kind::Words(words) => format!("list of `\"{}\"`", words.join("\"`, `\"")),
        Kind::Texts(count_max) => format!("list of at most {count_max} texts"),
        Kind::Url => "`http://` or `https://` address".into(),
        Kind::Regex => "regular expression".into(),
        Kind::UrlPath => "path of a URL".into(),
        Kind::Raw => "text, with escapes such as `\\r\\n`".into(),
        Kind::Networks => "list of addresses, or of networks such as `\"10.0.0.0/8\"`".into(),
        Kind::UrlPaths => "list of paths of URLs".into(),
        Kind::CookieName => "name of a cookie".into(),
        Kind::ServerAddress | Kind::ListenAddress => "`\"host:port\"`, IPv6 in brackets".into(),
        Kind::Statuses => "ranges of statuses".into(),
        Kind::OneOf(words, _) => words
            .iter()
            .map(|word| format!("`\"{word}\"`"))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Pool => "name of a pool".into(),
        Kind::FilePath => "path of a file or directory".into(),
    }
}

fn default(setting: &Setting) -> String {
    match setting.default {
        Default::Required => "**required**".into(),
        Default::Value(text) => format!("`{text}`"),
        Default::Else(text) => text.into(),
    }
}
