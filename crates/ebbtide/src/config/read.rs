//! Walks the file by the settings table: what is written is checked and handed out typed, what is
//! not written is the table's default, and every mistake is kept.

use super::problem::Problem;
use super::settings::{self, Default, Setting, Short};
use super::value::{Mistake, Value, address, article, interpret, nearest};
use ebbtide_core::{Millis, Network, is_name};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Keeps the mistakes and the addresses that were looked up.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Whether the pages that the file names are looked into: one that cannot be read is no reason
    /// not to run, but it is one not to be content with a file.
    looks_into_pages: bool,
    problems: RefCell<Vec<Problem>>,
    addresses: RefCell<BTreeMap<String, Result<SocketAddr, Mistake>>>,
}

impl Reader {
    pub fn new(looks_into_pages: bool) -> Self {
        Self {
            looks_into_pages,
            ..Self::default()
        }
    }

    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }

    pub fn report(
        &self,
        span: &Range<usize>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        let problem = Problem {
            title: title.into(),
            span: span.clone(),
            label: label.into(),
            help,
        };
        // A setting may be looked at twice; its mistake is one.
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
}

/// A value and where it stands; a default stands where its table begins.
pub(super) struct Read<T> {
    pub value: T,
    pub span: Range<usize>,
    pub written: bool,
}

/// A table of the file, or one that is not written and has all the defaults.
pub(super) struct Section<'r, 'i> {
    reader: &'r Reader,
    /// As in the settings table: `pools.*.sticky`.
    pattern: &'static str,
    /// As in the file: `pools.app.sticky`.
    shown: String,
    table: Option<&'r DeTable<'i>>,
    /// The value of [`Short::Setting`], where it is written in place of the table.
    short: Option<&'r toml::Spanned<DeValue<'i>>>,
    /// Where the table begins.
    pub span: Range<usize>,
    /// Whether it is in the file at all.
    pub written: bool,
}

impl<'r, 'i> Section<'r, 'i> {
    pub fn root(reader: &'r Reader, table: &'r DeTable<'i>) -> Self {
        let root = Self {
            reader,
            pattern: "",
            shown: String::new(),
            table: Some(table),
            short: None,
            span: 0..0,
            written: true,
        };
        root.check_keys();
        root
    }

    /// The table of this name within this one.
    pub fn section(&self, name: &str) -> Section<'r, 'i> {
        let entry = self
            .table
            .and_then(|table| table.get_key_value(name))
            .map(|(key, value)| (key.span(), value));
        self.inner(name, name, entry)
    }

    /// The tables within this one, whose names the operator chose, in the file's order.
    pub fn named(&self) -> Vec<(String, Section<'r, 'i>)> {
        let mut sections = Vec::new();
        for (key, value) in self.table.into_iter().flatten() {
            let name = key.get_ref().to_string();
            if !is_name(&name) {
                self.reader.report(
                    &key.span(),
                    format!("`{}` cannot be a name", name.escape_debug()),
                    "not a name",
                    Some(
                        "a name has 1 to 64 letters, digits, `-`, `_` or `.`, and begins with a \
                         letter or digit"
                            .into(),
                    ),
                );
                continue;
            }
            let section = self.inner("*", &name, Some((key.span(), value)));
            sections.push((name, section));
        }
        sections
    }

    fn inner(
        &self,
        pattern: &str,
        shown: &str,
        entry: Option<(Range<usize>, &'r toml::Spanned<DeValue<'i>>)>,
    ) -> Section<'r, 'i> {
        let known = settings::subsections(self.pattern)
            .find(|section| settings::last(section.path) == pattern)
            .expect("every table that is read is in the settings table: a test reads them all");
        let mut section = Section {
            reader: self.reader,
            pattern: known.path,
            shown: match self.shown.as_str() {
                "" => shown.to_owned(),
                outer => format!("{outer}.{shown}"),
            },
            table: None,
            short: None,
            span: entry
                .as_ref()
                .map_or(self.span.clone(), |(key, _)| key.clone()),
            written: entry.is_some(),
        };
        let Some((_, value)) = entry else {
            return section;
        };
        match (value.get_ref(), known.short) {
            (DeValue::Table(table), _) => {
                section.table = Some(table);
                section.check_keys();
            }
            (_, Short::Setting(_)) => section.short = Some(value),
            (other, _) => self.reader.report(
                &value.span(),
                format!("`{}` is a table, not {}", section.shown, article(other)),
                "expected a table",
                Some(match settings::children(known.path).next() {
                    Some(first) => format!(
                        "write `{shown} = {{ {} = … }}` or `[{}]`",
                        settings::last(first.path),
                        section.shown
                    ),
                    None => format!("write `[{}.NAME]`", section.shown),
                }),
            ),
        }
        section
    }

    /// Whether the pages that the file names are looked into.
    pub fn looks_into_pages(&self) -> bool {
        self.reader.looks_into_pages
    }

    /// Whether `false` is written in place of the table of this name.
    pub fn is_off(&self, name: &str) -> bool {
        let value = self.table.and_then(|table| table.get(name));
        value.is_some_and(|value| value.get_ref().as_bool() == Some(false))
    }

    /// Whether there is something for this name, right or wrong.
    pub fn writes(&self, name: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(name))
    }

    /// Where something is written for this name, right or wrong.
    pub fn span_of(&self, name: &str) -> Option<Range<usize>> {
        if let Some(short) = self.short.filter(|_| self.is_short(name)) {
            return Some(short.span());
        }
        let entry = self.table?.get_key_value(name)?;
        Some(entry.0.span())
    }

    /// Whether a key that nobody knows was probably meant to be this name: that has been reported,
    /// so that what it lacks need not be.
    pub fn misspells(&self, name: &str) -> bool {
        let names = self.known();
        let mut keys = self.table.into_iter().flat_map(DeTable::keys);
        keys.any(|key| {
            let key = key.get_ref().as_ref();
            !names.contains(&key) && nearest(key, names.iter().copied()) == Some(name)
        })
    }

    /// The settings and tables that this one may hold.
    fn known(&self) -> Vec<&'static str> {
        settings::subsections(self.pattern)
            .map(|section| settings::last(section.path))
            .chain(settings::children(self.pattern).map(|setting| settings::last(setting.path)))
            .collect()
    }

    /// The name of this table in the file.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Reports a mistake that is not one value's own.
    pub fn report(&self, span: &Range<usize>, title: String, label: &str, help: Option<String>) {
        self.reader.report(span, title, label, help);
    }

    pub fn count(&self, name: &str) -> Option<Read<u64>> {
        self.typed(name, |value| match value {
            Value::Number(number) => Some(number),
            _ => None,
        })
    }

    /// In thousandths.
    pub fn decimal(&self, name: &str) -> Option<Read<i64>> {
        self.typed(name, |value| match value {
            Value::Thousandths(number) => Some(number),
            _ => None,
        })
    }

    pub fn flag(&self, name: &str) -> Option<Read<bool>> {
        self.typed(name, |value| match value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        })
    }

    pub fn duration(&self, name: &str) -> Option<Read<Millis>> {
        self.typed(name, |value| match value {
            Value::Duration(span) => Some(span),
            _ => None,
        })
    }

    pub fn durations(&self, name: &str) -> Option<Read<Vec<Millis>>> {
        self.typed(name, |value| match value {
            Value::Durations(spans) => Some(spans),
            _ => None,
        })
    }

    pub fn text(&self, name: &str) -> Option<Read<String>> {
        self.typed(name, |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        })
    }

    pub fn word(&self, name: &str) -> Option<Read<&'static str>> {
        self.typed(name, |value| match value {
            Value::Word(word) => Some(word),
            _ => None,
        })
    }

    pub fn texts(&self, name: &str) -> Option<Read<Vec<String>>> {
        self.typed(name, |value| match value {
            Value::Texts(texts) => Some(texts),
            _ => None,
        })
    }

    pub fn networks(&self, name: &str) -> Option<Read<Vec<Network>>> {
        self.typed(name, |value| match value {
            Value::Networks(networks) => Some(networks),
            _ => None,
        })
    }

    pub fn statuses(&self, name: &str) -> Option<Read<Vec<(u16, u16)>>> {
        self.typed(name, |value| match value {
            Value::Statuses(ranges) => Some(ranges),
            _ => None,
        })
    }

    /// An address, looked up, with its text.
    pub fn address(&self, name: &str) -> Option<(SocketAddr, Read<String>)> {
        let read = self.text(name)?;
        let found = self
            .reader
            .addresses
            .borrow_mut()
            .entry(read.value.clone())
            .or_insert_with(|| address(&read.value))
            .clone();
        match found {
            Ok(address) => Some((address, read)),
            Err(mistake) => {
                self.mistaken(name, &read.span, mistake);
                None
            }
        }
    }

    /// What is written for a setting, or its default; `None` without either, or if it is wrong
    /// (which has been reported then).
    fn typed<T>(&self, name: &str, take: impl FnOnce(Value) -> Option<T>) -> Option<Read<T>> {
        let setting = settings::find(self.pattern, name)
            .expect("every setting that is read is in the settings table: a test reads them all");
        let read = self.value(setting)?;
        let value =
            take(read.value).expect("every setting is read as its kind: a test reads them all");
        Some(Read {
            value,
            span: read.span,
            written: read.written,
        })
    }

    /// Whether the setting of this name may be written in place of this table.
    fn is_short(&self, name: &str) -> bool {
        let mut sections = settings::SECTIONS.iter();
        sections.any(|section| {
            section.path == self.pattern
                && matches!(section.short, Short::Setting(setting) if setting == name)
        })
    }

    fn value(&self, setting: &'static Setting) -> Option<Read<Value>> {
        let name = settings::last(setting.path);
        let written = self
            .table
            .and_then(|table| table.get(name))
            .or(self.short.filter(|_| self.is_short(name)));
        if let Some(value) = written {
            return match interpret(setting.kind, value.get_ref()) {
                Ok(read) => Some(Read {
                    value: read,
                    span: value.span(),
                    written: true,
                }),
                Err(mistake) => {
                    self.mistaken(name, &value.span(), mistake);
                    self.default(setting)
                }
            };
        }
        let is_missed = self.table.is_some() || !self.written;
        if setting.default == Default::Required && is_missed && !self.misspells(name) {
            self.reader.report(
                &self.span,
                format!("`{}` has no `{name}`", self.shown),
                format!("needs `{name}`"),
                Some(format!("{} Write `{name} = …`.", setting.help)),
            );
        }
        self.default(setting)
    }

    fn default(&self, setting: &Setting) -> Option<Read<Value>> {
        let Default::Value(text) = setting.default else {
            return None;
        };
        Some(Read {
            value: default_value(setting, text),
            span: self.span.clone(),
            written: false,
        })
    }

    fn mistaken(&self, name: &str, span: &Range<usize>, mistake: Mistake) {
        let place = if self.short.is_some() || self.shown.is_empty() {
            match self.shown.as_str() {
                "" => name.to_owned(),
                shown => shown.to_owned(),
            }
        } else {
            format!("{}.{name}", self.shown)
        };
        self.reader.report(
            mistake.at.as_ref().unwrap_or(span),
            format!("{place}: {}", mistake.what),
            mistake.help,
            None,
        );
    }

    /// Every key of the table is a setting or a table that is known.
    fn check_keys(&self) {
        let names = self.known();
        if names == ["*"] {
            return;
        }
        for key in self.table.into_iter().flat_map(DeTable::keys) {
            let name = key.get_ref().as_ref();
            if names.contains(&name) {
                continue;
            }
            let help = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", names.join(", ")),
            };
            let place = match self.shown.as_str() {
                "" => "at the top of the file".to_owned(),
                shown => format!("in `{shown}`"),
            };
            self.reader.report(
                &key.span(),
                format!("unknown key `{}` {place}", name.escape_debug()),
                "not a setting",
                Some(help),
            );
        }
    }
}

/// A default of the table, read as a file's value is.
pub(super) fn default_value(setting: &Setting, text: &str) -> Value {
    let written = DeValue::parse(text).expect("every default is TOML: a test reads them all");
    interpret(setting.kind, written.get_ref())
        .expect("every default is within its bounds: a test reads them all")
}
