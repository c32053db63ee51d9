//! What a form or an address's query says.

use super::words::percent;

/// Fields, in order; a name may come several times. Never printed: a password may be among them.
#[derive(Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Of `name=value&…`, as forms are sent (WHATWG URL, 5.1). What is not UTF-8 is replaced.
    pub fn of_query(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes()).into_owned();
        // A browser sends line ends as CR LF.
        Self(
            pairs
                .map(|(name, value)| (name, value.replace("\r\n", "\n")))
                .collect(),
        )
    }

    /// The first value of this name, unless there is nothing in it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(other, _)| other == name);
        let (_, value) = found.next()?;
        let value = value.trim();
        (!value.is_empty()).then_some(value)
    }

    /// The same as text of its own.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Whether the field is there, be it empty.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    /// Every value of this name.
    pub fn all(&self, name: &str) -> Vec<String> {
        let found = self.0.iter().filter(|(other, _)| other == name);
        found.map(|(_, value)| value.clone()).collect()
    }

    /// The same query with one field set, or taken away.
    pub fn with(&self, name: &str, value: Option<&str>) -> String {
        let kept = self.0.iter().filter(|(other, _)| other != name);
        let kept = kept.filter(|(_, value)| !value.is_empty());
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let pairs = kept.chain(value.map(|value| (name, value)));
        let pairs = pairs.map(|(name, value)| format!("{}={}", percent(name), percent(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_send_them() {
        let fields = Fields::of_query("a=1+2&b=%C3%BC%0D%0Ax&id=1&id=2&c=&%zz&d");
        assert_eq!(fields.get("a"), Some("1 2"));
        assert_eq!(fields.get("b"), Some("ü\nx"));
        assert_eq!(fields.all("id"), ["1", "2"]);
        assert_eq!(fields.get("c"), None);
        assert!(fields.has("d") && fields.has("%zz") && !fields.has("e"));
        assert_eq!(
            fields.with("a", Some("3 4")),
            "b=%C3%BC%0Ax&id=1&id=2&a=3%204"
        );
        assert_eq!(Fields::of_query("%ff").with("x", None), "");
    }
}
