//! The configuration file: the provider by which people sign in.

use crate::helpers::{SMALL, errors, good, shows};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

/// A file with a secret, removed with this.
struct Secret(PathBuf);

impl Secret {
    fn new(name: &str, mode: u32) -> Self {
        let name = format!("ebbtide-openid-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        drop(fs::remove_file(&path));
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(mode).open(&path);
        let written = file.and_then(|mut file| writeln!(file, "0123456789abcdef"));
        written.expect("the directory for temporary files takes files");
        Self(path)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

const ISSUER: &str = "issuer = \"https://id.example/realms/ops\"";
const CLIENT: &str = "client_id = \"ebbtide\"";
const REDIRECT: &str = "redirect = \"https://console.example/sign-in/openid/back\"";
const ROLES: &str = "roles = { operator = [\"/ops\"] }";

fn file(lines: &[&str]) -> String {
    let lines = lines.join("\n");
    format!("{SMALL}\n[admin.sign_in.openid]\n{lines}\n")
}

#[test]
fn a_provider_is_read_and_without_one_there_is_none() {
    assert_eq!(good(SMALL).node.signin.openid, None);
    let secret = Secret::new("good", 0o600);
    let secret = format!("client_secret_file = {:?}", secret.0);
    let openid = |lines: &[&str]| good(&file(lines)).node.signin.openid.unwrap();
    let least = openid(&[ISSUER, CLIENT, &secret, REDIRECT, ROLES]);
    assert_eq!(least.scopes, ["openid", "profile", "email"]);
    assert_eq!((least.name, least.client_id.as_str()), (None, "ebbtide"));
    assert_eq!(least.roles.claim, "groups");
    assert_eq!(least.roles.operator, ["/ops"]);
    assert!(least.roles.viewer.is_empty() && least.roles.admin.is_empty());
    let all = openid(&[
        "issuer = \"http://localhost:9000\"",
        CLIENT,
        &secret,
        "redirect = \"http://127.0.0.1:7070/sign-in/openid/back\"",
        "scopes = [\"openid\", \"groups\"]",
        "name = \"email\"",
        "[admin.sign_in.openid.roles]",
        "claim = \"https://claims.example/roles\"",
        "viewer = [\"a\", \"b c\"]",
        "operator = []",
        "admin = [\"d\"]",
    ]);
    assert_eq!(all.scopes, ["openid", "groups"]);
    assert_eq!(all.name.as_deref(), Some("email"));
    assert_eq!(all.roles.claim, "https://claims.example/roles");
    assert_eq!(all.roles.viewer, ["a", "b c"]);
    assert_eq!(all.roles.admin, ["d"]);
}

// tidy: allow(long-function): one list, a line or two for each mistake
#[test]
fn a_wrong_provider_says_what_to_write() {
    let (secret, open) = (Secret::new("right", 0o600), Secret::new("open", 0o644));
    let secret = format!("client_secret_file = {:?}", secret.0);
    let open = format!("client_secret_file = {:?}", open.0);
    let many = format!("scopes = [\"openid\"{}]", ", \"x\"".repeat(100));
    for (wrong, says, help) in [
        ("issuer", "`admin.sign_in.openid` has no `issuer`", "issuer"),
        ("client_id", "has no `client_id`", "client_id"),
        ("client_secret_file", "has no `client_secret_file`", "0600"),
        ("redirect", "has no `redirect`", "/sign-in/openid/back"),
        ("roles", "nobody would have a role", "leads"),
        (
            "issuer = \"http://id.example\"",
            "issuer: is without TLS, and not on this machine",
            "https://",
        ),
        (
            "issuer = \"https://id.example/?a\"",
            "issuer: has a query",
            "https://",
        ),
        (
            "issuer = \"id.example\"",
            "issuer: does not begin with",
            "https://",
        ),
        (
            "redirect = \"http://console.example/sign-in/openid/back\"",
            "redirect: is without TLS",
            "https://",
        ),
        (
            "redirect = \"https://console.example/\"",
            "its path is not",
            "\"https://console.example/sign-in/openid/back\"",
        ),
        (&open, "may be read by others", "0600"),
        (
            "client_secret_file = \"/no/such\"",
            "/no/such cannot be read",
            "0600",
        ),
        (
            "scopes = [\"profile\"]",
            "`openid` is not among them",
            "profile",
        ),
        ("scopes = [\"openid\", \"a b\"]", "several words", "groups"),
        (
            "scopes = \"openid\"",
            "expected a list of texts, found text",
            "another",
        ),
        (
            "scopes = [\"openid\", 7]",
            "found a number",
            "text in quotes",
        ),
        (&many, "101 texts are too many", "at most 100"),
        (
            "roles = { operators = [\"ops\"] }",
            "unknown key `operators`",
            "`operator`",
        ),
        (
            "roles = { claim = \"groups\" }",
            "nobody would have a role",
            "leads",
        ),
        ("rolls = 7", "unknown key `rolls`", "`roles`"),
    ] {
        let name = wrong.split(' ').next().unwrap();
        let good = [ISSUER, CLIENT, &secret, REDIRECT, ROLES];
        let mut lines: Vec<&str> = good
            .into_iter()
            .filter(|line| !line.starts_with(&format!("{name} ")))
            .collect();
        if wrong.contains('=') {
            lines.push(wrong);
        }
        shows(&errors(&file(&lines)), &[says, help]);
    }
}
