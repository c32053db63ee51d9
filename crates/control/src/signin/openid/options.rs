//! What the configuration says of the provider, and what it makes of those for whom the provider vouches.

use crate::outside::{HttpUrl, Secret};
use ebbtide_api::Role;
use serde_json::{Map, Value};

/// Begins the names of those for whom a provider vouches. No user of the file and no holder of a token
/// has a name like that.
const MARK: &str = "openid:";
/// Characters of a name, at most.
const NAME_MAX: usize = 128;
/// The claims that name a user, the first that does.
const NAMES: [&str; 3] = ["preferred_username", EMAIL, "sub"];
const EMAIL: &str = "email";

/// A provider of OpenID Connect, by which people sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIdOptions {
    /// What the provider calls itself; its configuration is below that address.
    pub issuer: HttpUrl,
    /// What the provider calls Ebbtide.
    pub client_id: String,
    /// What Ebbtide shows itself with to the provider.
    pub secret: Secret,
    /// Where browsers come back to, as the provider knows it; its path is
    /// [`OPENID_BACK`](super::OPENID_BACK).
    pub redirect: HttpUrl,
    /// What the provider is asked to tell; `openid` is among it.
    pub scopes: Vec<String>,
    /// The claim that names the user; `None`: the first usual one.
    pub name: Option<String>,
    /// Who may do what.
    pub roles: OpenIdRoles,
}

/// Which values of a claim stand for which role; the greatest counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenIdRoles {
    /// The claim: a text, or a list of texts.
    pub claim: String,
    /// Its values that make a viewer.
    pub viewer: Vec<String>,
    /// Its values that make an operator.
    pub operator: Vec<String>,
    /// Its values that make an admin.
    pub admin: Vec<String>,
}

impl OpenIdOptions {
    /// Somebody is signed in by this; another configuration makes another text of it, and so ends that.
    pub(super) fn stamp(&self) -> String {
        let Self {
            issuer,
            client_id,
            name,
            roles,
            ..
        } = self;
        let text = format!("{:?}", (&issuer.text, client_id, name, roles));
        blake3::hash(text.as_bytes()).to_hex().to_string()
    }

    /// The name of somebody, as it is shown and written down.
    pub(super) fn name(&self, claims: &Map<String, Value>) -> Option<String> {
        let name = match &self.name {
            Some(claim) => text(claims, claim),
            None => NAMES.iter().find_map(|claim| text(claims, claim)),
        };
        Some(format!("{MARK}{}", name?))
    }

    /// What somebody may do.
    pub(super) fn role(&self, claims: &Map<String, Value>) -> Option<Role> {
        let roles = &self.roles;
        let has = |wanted: &[String]| {
            let is_wanted = |value: &Value| {
                value
                    .as_str()
                    .is_some_and(|text| wanted.iter().any(|one| one == text))
            };
            match claims.get(&roles.claim) {
                Some(Value::Array(values)) => values.iter().any(is_wanted),
                Some(value) => is_wanted(value),
                None => false,
            }
        };
        let lists = [
            (Role::Admin, &roles.admin),
            (Role::Operator, &roles.operator),
            (Role::Viewer, &roles.viewer),
        ];
        let mut held = lists.into_iter().filter(|(_, wanted)| has(wanted));
        held.next().map(|(role, _)| role)
    }

    /// The provider, in a word for people.
    pub(super) fn provider(&self) -> &str {
        &self.issuer.host
    }
}

/// What a claim says, if that can be shown as a name. An address is one only if the provider has seen
/// that it is the user's.
fn text<'a>(claims: &'a Map<String, Value>, claim: &str) -> Option<&'a str> {
    let text = claims.get(claim)?.as_str()?;
    let is_shown =
        |letter: char| letter.is_alphanumeric() || letter.is_ascii_graphic() || letter == ' ';
    let is_name = !text.is_empty() && text.chars().all(is_shown) && text.trim() == text;
    let is_proven = claim != EMAIL || claims.get("email_verified") == Some(&Value::Bool(true));
    (is_name && is_proven && text.chars().count() <= NAME_MAX).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(name: Option<&str>) -> OpenIdOptions {
        let list = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        OpenIdOptions {
            issuer: HttpUrl::parse("https://id.example/realm").unwrap(),
            client_id: "ebbtide".into(),
            secret: Secret::new("0123456789abcdef").unwrap(),
            redirect: HttpUrl::parse("https://c.example/sign-in/openid/back").unwrap(),
            scopes: list(&["openid"]),
            name: name.map(str::to_owned),
            roles: OpenIdRoles {
                claim: "groups".into(),
                viewer: list(&["staff", "guests"]),
                operator: list(&["/ops"]),
                admin: list(&["leads"]),
            },
        }
    }

    fn name(claim: Option<&str>, claims: Value) -> Option<String> {
        options(claim).name(claims.as_object().unwrap())
    }

    #[test]
    fn names_are_told_apart_from_those_of_the_file_and_show_what_they_are() {
        let named = |text: &str| Some(format!("openid:{text}"));
        let all = json!({ "preferred_username": "otto", "email": "o@x.example", "email_verified": true, "sub": "7" });
        assert_eq!(name(None, all.clone()), named("otto"));
        assert_eq!(name(Some("email"), all), named("o@x.example"));
        // An address that nobody has looked at may be anybody's.
        for verified in [json!(false), json!("true"), json!(null)] {
            let claims = json!({ "email": "o@x.example", "email_verified": verified, "sub": "7" });
            assert_eq!(name(None, claims.clone()), named("7"));
            assert_eq!(name(Some("email"), claims), None);
        }
        assert_eq!(name(Some("nick"), json!({ "sub": "7" })), None);
        for odd in [
            "",
            " otto",
            "ot\u{202e}to",
            "ot\u{200b}to",
            "a\nb",
            &"x".repeat(129),
        ] {
            assert_eq!(
                name(None, json!({ "preferred_username": odd, "sub": "7" })),
                named("7")
            );
        }
        assert_eq!(
            name(None, json!({ "preferred_username": 7, "sub": "Łódź 7" })),
            named("Łódź 7")
        );
    }

    #[test]
    fn the_greatest_role_counts_and_without_one_there_is_none() {
        let role = |groups: Value| {
            let claims = json!({ "groups": groups, "roles": ["leads"] });
            options(None).role(claims.as_object().unwrap())
        };
        assert_eq!(role(json!(["staff", "leads", "/ops"])), Some(Role::Admin));
        assert_eq!(role(json!(["x", "/ops"])), Some(Role::Operator));
        assert_eq!(role(json!("guests")), Some(Role::Viewer));
        for none in [
            json!([]),
            json!(["ops", "Staff", "staff "]),
            json!("staff leads"),
            json!({ "staff": true }),
            json!([["staff"], 7, null]),
            json!(null),
        ] {
            assert_eq!(role(none), None);
        }
    }

    #[test]
    fn another_configuration_is_another_stamp() {
        let before = options(None).stamp();
        let mut others = [
            options(Some("sub")),
            options(None),
            options(None),
            options(None),
        ];
        others[1].issuer = HttpUrl::parse("https://id.example/other").unwrap();
        others[2].roles.admin.clear();
        others[3].client_id.push('2');
        assert!(others.iter().all(|other| other.stamp() != before));
    }
}
