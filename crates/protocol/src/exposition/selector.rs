//! Which samples of a page are meant: `metric{label="value"}`.

use super::{Sample, next_label, split_name, unescape};
use std::fmt;

/// The samples of one metric that have these labels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    name: String,
    labels: Vec<(String, String)>,
}

/// Why a text selects nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SelectorFault {
    /// It does not begin with a metric's name.
    NoName,
    /// What follows the name is not `{label="value",…}`.
    Labels,
}

impl fmt::Display for SelectorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoName => {
                "it must begin with a metric's name: letters, digits, `_` and `:`, no digit first"
            }
            Self::Labels => "after the name may come labels, as in `metric{state=\"active\"}`",
        })
    }
}

impl Selector {
    /// Reads `metric` or `metric{label="value",…}`.
    pub fn parse(text: &str) -> Result<Self, SelectorFault> {
        let (name, rest) = split_name(text.trim()).ok_or(SelectorFault::NoName)?;
        let mut labels = Vec::new();
        let rest = rest.trim_start();
        if !rest.is_empty() {
            let inner = rest.strip_prefix('{').ok_or(SelectorFault::Labels)?;
            let mut inner = inner.strip_suffix('}').ok_or(SelectorFault::Labels)?;
            while let Some((label, value, next)) = next_label(inner) {
                labels.push((label.to_owned(), unescape(value).into_owned()));
                inner = next;
            }
            if !inner.trim().is_empty() {
                return Err(SelectorFault::Labels);
            }
        }
        Ok(Self {
            name: name.to_owned(),
            labels,
        })
    }

    /// The metric's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a sample is of this metric and has every label; it may have others.
    pub fn selects(&self, sample: &Sample<'_>) -> bool {
        let has = |(label, value): &(String, String)| {
            sample.label(label).is_some_and(|found| found == *value)
        };
        sample.name == self.name && self.labels.iter().all(has)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (index, (label, value)) in self.labels.iter().enumerate() {
            let separator = if index == 0 { '{' } else { ',' };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "{separator}{label}=\"{}\"", value.replace('\n', "\\n"))?;
        }
        f.write_str(if self.labels.is_empty() { "" } else { "}" })
    }
}
