//! The page's content security policies, changed so that they admit our script and what it asks.
//!
//! All policies of a page hold at once, so each must admit it (W3C CSP Level 3, 8.1). What a policy
//! does not restrict stays as it is, to the byte.

use std::borrow::Cow;

/// What a page's policies become, and the nonce that the script must carry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// The values of the `Content-Security-Policy` fields, in order.
    pub policies: Vec<String>,
    /// One of the policies' own nonces.
    pub nonce: Option<String>,
}

/// What is to be admitted: `host[:port]` of the page, and our path on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours<'a> {
    /// As the user's browser knows it.
    pub host: &'a str,
    /// The prefix of the reserved paths.
    pub prefix: &'a str,
}

/// Changes `policies`, the values of all fields. `None` if they cannot be made to admit the script.
pub(crate) fn admit<'a>(
    policies: impl Iterator<Item = &'a [u8]>,
    ours: Ours<'_>,
) -> Option<Admitted> {
    let values: Vec<&str> = policies
        .map(std::str::from_utf8)
        .collect::<Result<_, _>>()
        .ok()?;
    let all = || values.iter().flat_map(|value| value.split(','));
    // Where only a nonce will do, it has to be that one.
    let strict = all().filter_map(|policy| Policy::of(policy).strict_nonce());
    let any = all().filter_map(|policy| Policy::of(policy).nonce());
    let nonce = strict.chain(any).next();
    let mut policies = Vec::with_capacity(values.len());
    for value in &values {
        let changed: Option<Vec<Cow<'_, str>>> = value
            .split(',')
            .map(|policy| Policy::of(policy).admit(nonce.as_deref(), ours))
            .collect();
        policies.push(changed?.join(","));
    }
    Some(Admitted { policies, nonce })
}

/// One policy. Of directives of the same name the first counts.
struct Policy<'a> {
    text: &'a str,
    directives: Vec<Directive<'a>>,
}

#[derive(Clone)]
struct Directive<'a> {
    name: &'a str,
    sources: Vec<Cow<'a, str>>,
}

impl<'a> Policy<'a> {
    fn of(text: &'a str) -> Self {
        let mut directives: Vec<Directive<'a>> = Vec::new();
        for part in text.split(';') {
            let mut words = part.split_ascii_whitespace();
            let Some(name) = words.next() else {
                continue;
            };
            if !directives.iter().any(|known| known.is(name)) {
                let sources = words.map(Cow::Borrowed).collect();
                directives.push(Directive { name, sources });
            }
        }
        Self { text, directives }
    }

    fn directive(&self, name: &str) -> Option<&Directive<'a>> {
        self.directives.iter().find(|directive| directive.is(name))
    }

    /// The directive that decides on scripts with a `src`.
    fn scripts(&self) -> Option<&Directive<'a>> {
        let names = ["script-src-elem", "script-src", "default-src"];
        names.into_iter().find_map(|name| self.directive(name))
    }

    fn connections(&self) -> Option<&Directive<'a>> {
        let names = ["connect-src", "default-src"];
        names.into_iter().find_map(|name| self.directive(name))
    }

    fn nonce(&self) -> Option<String> {
        self.scripts()?.nonces().next().map(str::to_owned)
    }

    fn strict_nonce(&self) -> Option<String> {
        self.scripts()?.has("'strict-dynamic'").then_some(())?;
        self.nonce()
    }

    fn admit(mut self, nonce: Option<&str>, ours: Ours<'_>) -> Option<Cow<'a, str>> {
        // A page in a sandbox runs no script, or none that may ask its own server.
        if let Some(sandbox) = self.directive("sandbox")
            && !(sandbox.has("allow-scripts") && sandbox.has("allow-same-origin"))
        {
            return None;
        }
        let mut changed = false;
        if let Some(scripts) = self.scripts().cloned()
            && !nonce.is_some_and(|nonce| scripts.nonces().any(|known| known == nonce))
        {
            // Then neither hosts nor 'self' count.
            if scripts.has("'strict-dynamic'") {
                return None;
            }
            changed |= self.add("script-src", scripts, "notice.js", ours)?;
        }
        if let Some(connections) = self.connections().cloned() {
            changed |= self.add("connect-src", connections, "", ours)?;
        }
        Some(match changed {
            false => Cow::Borrowed(self.text),
            true => Cow::Owned(self.written()),
        })
    }

    /// Admits the reserved path `name` where `decides` decides; in a directive called `own` where
    /// that is only `default-src`. Whether that changed anything; `None` if the page's host cannot be
    /// written as a source.
    fn add(
        &mut self,
        own: &'static str,
        mut decides: Directive<'a>,
        name: &str,
        ours: Ours<'_>,
    ) -> Option<bool> {
        if decides.has("'self'") || decides.has("*") {
            return Some(false);
        }
        let source = ours.source(name)?;
        // It means nothing beside others.
        decides
            .sources
            .retain(|source| !source.eq_ignore_ascii_case("'none'"));
        decides.sources.push(source.into());
        if decides.is("default-src") {
            decides.name = own;
        }
        match self
            .directives
            .iter_mut()
            .find(|known| known.is(decides.name))
        {
            Some(known) => *known = decides,
            None => self.directives.push(decides),
        }
        Some(true)
    }

    fn written(&self) -> String {
        let directives = self.directives.iter().map(|directive| {
            let words = directive.sources.iter().map(Cow::as_ref);
            let words: Vec<&str> = [directive.name].into_iter().chain(words).collect();
            words.join(" ")
        });
        directives.collect::<Vec<_>>().join("; ")
    }
}

impl Directive<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn has(&self, source: &str) -> bool {
        let mut sources = self.sources.iter();
        sources.any(|known| known.eq_ignore_ascii_case(source))
    }

    /// The nonces, without what is not one: they go into an attribute as they are.
    fn nonces(&self) -> impl Iterator<Item = &str> {
        let quoted = self.sources.iter().filter_map(|source| {
            let (front, rest) = source.split_at_checked(NONCE.len())?;
            let nonce = rest.strip_suffix('\'')?;
            front.eq_ignore_ascii_case(NONCE).then_some(nonce)
        });
        quoted.filter(|nonce| {
            let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
            !nonce.is_empty() && nonce.bytes().all(sound)
        })
    }
}

const NONCE: &str = "'nonce-";

impl Ours<'_> {
    /// The reserved path as a source. Without a scheme: what a browser came with, `https` or not, may
    /// not be known here. `None` if the grammar of sources has no way to write it.
    fn source(self, name: &str) -> Option<String> {
        let (host, port) = match self.host.split_once(':') {
            Some((host, port)) => (host, port),
            None => (self.host, "0"),
        };
        let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/._~-".contains(&byte);
        let can_be_written = !host.is_empty()
            && host.bytes().all(in_host)
            && !port.is_empty()
            && port.bytes().all(|byte| byte.is_ascii_digit())
            && self.prefix.bytes().all(in_path);
        can_be_written.then(|| format!("{}{}/{name}", self.host, self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Ours<'static> = Ours {
        host: "app.example:8080",
        prefix: "/.ebbtide",
    };

    /// What becomes of these fields, and the nonce.
    fn admitted(values: &[&str]) -> Option<(Vec<String>, Option<String>)> {
        let values = values.iter().map(|value| value.as_bytes());
        admit(values, OURS).map(|admitted| (admitted.policies, admitted.nonce))
    }

    fn one(value: &str) -> String {
        let (policies, nonce) = admitted(&[value]).expect("it can be admitted");
        assert_eq!(nonce, None, "{value}");
        policies.concat()
    }

    #[test]
    fn a_policy_is_widened_by_no_more_than_our_paths() {
        let cases = [
            ("", ""),
            ("img-src 'none'", "img-src 'none'"),
            (
                "default-src 'self'; img-src *",
                "default-src 'self'; img-src *",
            ),
            (
                "script-src cdn.example;connect-src 'self'",
                "script-src cdn.example app.example:8080/.ebbtide/notice.js; connect-src 'self'",
            ),
            (
                "Script-Src 'NONE'; connect-src 'none'",
                "Script-Src app.example:8080/.ebbtide/notice.js; connect-src app.example:8080/.ebbtide/",
            ),
            (
                "default-src 'none'",
                "default-src 'none'; script-src app.example:8080/.ebbtide/notice.js; connect-src app.example:8080/.ebbtide/",
            ),
            (
                "default-src https://cdn.example 'unsafe-inline'",
                "default-src https://cdn.example 'unsafe-inline'; script-src https://cdn.example 'unsafe-inline' app.example:8080/.ebbtide/notice.js; connect-src https://cdn.example 'unsafe-inline' app.example:8080/.ebbtide/",
            ),
            (
                "script-src 'self'; script-src-elem 'sha256-abc='",
                "script-src 'self'; script-src-elem 'sha256-abc=' app.example:8080/.ebbtide/notice.js",
            ),
            // Of two directives of the same name the first counts.
            (
                "script-src 'none'; script-src 'self'",
                "script-src app.example:8080/.ebbtide/notice.js",
            ),
            (
                "script-src ;",
                "script-src app.example:8080/.ebbtide/notice.js",
            ),
            (
                "script-src 'self', script-src a.example",
                "script-src 'self',script-src a.example app.example:8080/.ebbtide/notice.js",
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(one(value).trim(), expected.trim(), "{value}");
        }
    }

    #[test]
    fn a_nonce_is_carried_where_there_is_one() {
        let nonce = |values: &[&str]| admitted(values).expect("admitted").1;
        let strict = "script-src 'nonce-b+/_-==' 'strict-dynamic'; connect-src 'self'";
        let (policies, carried) = admitted(&[strict]).expect("admitted");
        assert_eq!(policies, [strict], "to the byte");
        assert_eq!(carried.as_deref(), Some("b+/_-=="));
        assert_eq!(nonce(&["default-src 'NONCE-abc'"]).as_deref(), Some("abc"));
        assert_eq!(nonce(&["script-src 'nonce-\"><b>'"]), None, "no such nonce");
        assert_eq!(nonce(&["img-src 'nonce-abc'"]), None, "not for scripts");
        // The strict policy takes only its own; the other can be given the path.
        let (policies, carried) = admitted(&[
            "script-src 'nonce-a'",
            "script-src 'nonce-b' 'strict-dynamic'",
        ])
        .expect("admitted");
        assert_eq!(carried.as_deref(), Some("b"));
        assert_eq!(
            policies[0],
            "script-src 'nonce-a' app.example:8080/.ebbtide/notice.js"
        );
    }

    #[test]
    fn what_cannot_be_admitted_is_left_alone() {
        let impossible: [&[&str]; 6] = [
            &["script-src 'strict-dynamic' 'sha256-abc='"],
            &["script-src 'self' 'strict-dynamic'"],
            &["script-src 'nonce-a' 'strict-dynamic', script-src 'nonce-b' 'strict-dynamic'"],
            &["sandbox"],
            &["sandbox allow-scripts"],
            &[
                "script-src 'self'",
                "script-src 'self'; sandbox allow-same-origin",
            ],
        ];
        for values in impossible {
            assert_eq!(admitted(values), None, "{values:?}");
        }
        let sandbox = "sandbox allow-scripts allow-same-origin";
        assert_eq!(one(sandbox), sandbox);
        let hosts = ["", "[::1]:80", "a b", "a;b", "a,b", "a:b", "a:", "'self'"];
        for host in hosts {
            let ours = Ours { host, ..OURS };
            let value = [b"script-src a".as_slice()];
            assert_eq!(admit(value.into_iter(), ours), None, "{host}");
            let own = [b"script-src 'self'".as_slice()];
            assert!(admit(own.into_iter(), ours).is_some(), "needs no host");
        }
        assert_eq!(
            admit([b"script-src \xff".as_slice()].into_iter(), OURS),
            None
        );
    }
}
