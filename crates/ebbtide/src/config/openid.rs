//! The provider by which people sign in, as the file says it.

use super::build::{maybe, value};
use super::read::{Read, Section};
use ebbtide_control::{HttpUrl, OPENID_BACK, OpenIdOptions, OpenIdRoles, Secret};
use std::path::Path;

/// `None` if the file names none, or if something is wrong, which has been reported.
pub(super) fn openid(sign_in: &Section<'_, '_>) -> Option<OpenIdOptions> {
    if !sign_in.writes("openid") {
        return None;
    }
    let openid = sign_in.section("openid");
    let (issuer, redirect) = (openid.text("issuer"), openid.text("redirect"));
    let issuer = issuer.and_then(|read| address(&openid, "issuer", &read));
    let redirect = redirect.and_then(|read| {
        let url = address(&openid, "redirect", &read)?;
        check_back(&openid, &read, url)
    });
    let secret = openid.text("client_secret_file");
    let secret = secret.and_then(|read| secret_in(&openid, &read));
    let (client_id, name) = (openid.text("client_id"), maybe(openid.text("name")));
    let (scopes, roles) = (scopes(&openid), roles(&openid));
    Some(OpenIdOptions {
        issuer: issuer?,
        client_id: client_id?.value,
        secret: secret?,
        redirect: redirect?,
        scopes,
        name,
        roles,
    })
}

/// An address where nobody on the way can listen.
fn address(openid: &Section<'_, '_>, name: &str, read: &Read<String>) -> Option<HttpUrl> {
    let why = match HttpUrl::parse(&read.value) {
        Ok(_) if read.value.contains('?') => "has a query",
        Ok(url) if url.is_sheltered() => return Some(url),
        Ok(_) => "is without TLS, and not on this machine",
        Err(why) => why,
    };
    openid.report(
        &read.span,
        format!("{}.{name}: {why}", openid.shown()),
        "not an address for signing in",
        Some(match name {
            "issuer" => "write what the provider calls itself, such as \"https://id.example.com/realms/ops\"".into(),
            _ => format!("write the console's address, such as \"https://console.example.com{OPENID_BACK}\""),
        }),
    );
    None
}

/// Whether browsers come back to where they are expected.
fn check_back(openid: &Section<'_, '_>, read: &Read<String>, url: HttpUrl) -> Option<HttpUrl> {
    if url.target() == OPENID_BACK {
        return Some(url);
    }
    openid.report(
        &read.span,
        format!(
            "{}.redirect: its path is not `{OPENID_BACK}`",
            openid.shown()
        ),
        "nobody is expected there",
        Some(format!("write \"{}{OPENID_BACK}\"", url.origin())),
    );
    None
}

fn secret_in(openid: &Section<'_, '_>, read: &Read<String>) -> Option<Secret> {
    let report = |why| {
        openid.report(
            &read.span,
            format!(
                "{}.client_secret_file: {} {why}",
                openid.shown(),
                read.value
            ),
            "no secret",
            Some(
                "write the path of a file (mode 0600) with the secret that the provider has given"
                    .into(),
            ),
        );
    };
    Secret::read(Path::new(&read.value)).map_err(report).ok()
}

fn scopes(openid: &Section<'_, '_>) -> Vec<String> {
    let Some(read) = openid.texts("scopes") else {
        return Vec::new();
    };
    // RFC 6749, 3.3.
    let is_token = |scope: &String| {
        scope
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte))
    };
    let why = match (
        read.value.iter().any(|scope| scope == "openid"),
        read.value.iter().all(is_token),
    ) {
        (false, _) => "`openid` is not among them",
        (_, false) => "one of them is several words, or has signs that none has",
        _ => return read.value,
    };
    openid.report(
        &read.span,
        format!("{}.scopes: {why}", openid.shown()),
        "not what a provider understands",
        Some(
            "write [\"openid\", \"profile\", \"email\"], and what the provider needs for groups"
                .into(),
        ),
    );
    Vec::new()
}

fn roles(openid: &Section<'_, '_>) -> OpenIdRoles {
    let section = openid.section("roles");
    let list = |name| value(section.texts(name));
    let roles = OpenIdRoles {
        claim: value(section.text("claim")),
        viewer: list("viewer"),
        operator: list("operator"),
        admin: list("admin"),
    };
    let names = ["viewer", "operator", "admin"];
    let is_tried = |name: &&str| section.writes(name) || section.misspells(name);
    if !names.iter().any(is_tried) {
        section.report(
            &section.span,
            format!("{}: nobody would have a role", section.shown()),
            "nobody could sign in",
            Some("write which groups have which role: `roles = { operator = [\"ops\"], admin = [\"leads\"] }`".into()),
        );
    }
    roles
}
