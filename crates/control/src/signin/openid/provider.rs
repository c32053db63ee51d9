//! The provider as it is asked: what it says of itself and its keys, both kept for a while, and tokens.

use super::flow::Flow;
use super::options::OpenIdOptions;
use super::token::{self, Bad, Claims, Expected, Keys};
use crate::clock::clock;
use crate::outside::{Fetch, Fetched, HttpUrl, Outside};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ebbtide_core::{Millis, Moment};
use form_urlencoded::{Serializer, byte_serialize};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::Mutex;

/// How long counts what was fetched.
const KEPT: Millis = Millis::from_secs(3600);
/// Nobody is sent to a provider that was not there so long ago: a browser would say less of it.
const THERE: Millis = Millis::from_secs(30);
/// The least pause between two looks for newer keys: anybody can send a token with a key that is none.
const KEYS_PAUSE: Millis = Millis::from_secs(60);
/// After a failure it is not tried again for so long.
const FAILED_PAUSE: Millis = Millis::from_secs(5);
/// Characters of what a provider says went wrong.
const SAID_MAX: usize = 60;

/// Why a provider did not vouch for somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It cannot be asked, or answers with what it should not. A sentence.
    Provider(String),
    /// It does not know the code, or Ebbtide, or its token is not good. A sentence.
    Refused(String),
}

/// What a provider says of itself (OpenID Connect Discovery 1.0, 3).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Where a provider is asked what.
pub(super) struct Endpoints {
    authorization: HttpUrl,
    token: HttpUrl,
    keys: HttpUrl,
    user: Option<HttpUrl>,
    /// The secret goes into the form, and not into a field of the head.
    is_secret_in_form: bool,
    /// It says with each answer that it is its own (RFC 9207).
    pub names_itself: bool,
}

/// Something that is fetched when it is needed, and kept.
struct Kept<T>(Mutex<(Option<Arc<T>>, Option<Try>)>);

/// When something was last fetched, and why it was not.
struct Try {
    at: Moment,
    problem: Option<String>,
}

impl<T> Kept<T> {
    fn new() -> Self {
        Self(Mutex::new((None, None)))
    }

    /// What is kept; fetched anew if the last try is `span` ago. Who comes meanwhile waits for the same
    /// try. If it fails, what is kept goes on counting, with what is wrong.
    async fn get(
        &self,
        span: Millis,
        fetch: impl Future<Output = Result<T, String>>,
    ) -> Result<(Arc<T>, Option<String>), String> {
        let mut kept = self.0.lock().await;
        let (value, last) = &mut *kept;
        let span = match last {
            Some(Try { problem: None, .. }) => span,
            _ => span.min(FAILED_PAUSE),
        };
        let is_due = |last: &Try| clock().moment.since(last.at) >= span;
        if last.as_ref().is_none_or(is_due) {
            let problem = match fetch.await {
                Ok(fetched) => {
                    *value = Some(Arc::new(fetched));
                    None
                }
                Err(problem) => {
                    tracing::warn!("OpenID: {problem}");
                    Some(problem)
                }
            };
            let at = clock().moment;
            *last = Some(Try { at, problem });
        }
        let problem = last.as_ref().and_then(|last| last.problem.clone());
        match value {
            Some(value) => Ok((Arc::clone(value), problem)),
            None => Err(problem.unwrap_or_default()),
        }
    }
}

/// The provider of the configuration.
pub(super) struct Provider {
    options: OpenIdOptions,
    endpoints: Kept<Endpoints>,
    keys: Kept<Keys>,
}

impl Provider {
    pub fn new(options: OpenIdOptions) -> Self {
        Self {
            options,
            endpoints: Kept::new(),
            keys: Kept::new(),
        }
    }

    pub fn options(&self) -> &OpenIdOptions {
        &self.options
    }

    /// Where the provider is asked what.
    pub async fn endpoints(&self, outside: &Outside) -> Result<Arc<Endpoints>, Trouble> {
        let (endpoints, _) = self.looked_up(outside, KEPT).await?;
        Ok(endpoints)
    }

    /// The same, with what is wrong with the provider at this moment.
    async fn looked_up(
        &self,
        outside: &Outside,
        span: Millis,
    ) -> Result<(Arc<Endpoints>, Option<String>), Trouble> {
        let issuer = &self.options.issuer;
        let fetch = async {
            let place = issuer.text.trim_end_matches('/');
            let place = format!("{place}/.well-known/openid-configuration");
            let named = |why| format!("the configuration of {} {why}", issuer.text);
            let url = HttpUrl::parse(&place).map_err(|why| named(why.to_owned()))?;
            let bytes = get(outside, url).await.map_err(named)?;
            self.understood(&bytes).map_err(named)
        };
        let endpoints = self.endpoints.get(span, fetch).await;
        endpoints.map_err(Trouble::Provider)
    }

    fn understood(&self, bytes: &[u8]) -> Result<Endpoints, String> {
        let said: Metadata =
            serde_json::from_slice(bytes).map_err(|error| format!("is not understood: {error}"))?;
        let issuer = &self.options.issuer;
        if said.issuer != issuer.text {
            let shown: String = said.issuer.chars().take(200).collect();
            return Err(format!(
                "is that of {shown:?}; `issuer` must be written exactly like that"
            ));
        }
        let url = |name: &str, text: &str| {
            let url = HttpUrl::parse(text).map_err(|why| format!("has a {name} that {why}"))?;
            // Whoever cannot be overheard does not lead to where others can, or into this machine.
            match url.is_tls || (!issuer.is_tls && url.is_sheltered()) {
                true => Ok(url),
                false => Err(format!("has a {name} without TLS")),
            }
        };
        let user = said.userinfo_endpoint.as_deref();
        let methods = said.token_endpoint_auth_methods_supported;
        // Without a word on it the secret goes into the head (Discovery, 3).
        let has = |method: &str| {
            methods
                .as_ref()
                .is_some_and(|all| all.iter().any(|one| one == method))
        };
        Ok(Endpoints {
            authorization: url("authorization_endpoint", &said.authorization_endpoint)?,
            token: url("token_endpoint", &said.token_endpoint)?,
            keys: url("jwks_uri", &said.jwks_uri)?,
            user: user
                .map(|user| url("userinfo_endpoint", user))
                .transpose()?,
            is_secret_in_form: has("client_secret_post") && !has("client_secret_basic"),
            names_itself: said.authorization_response_iss_parameter_supported,
        })
    }

    /// The address that the browser is sent to.
    pub async fn address(&self, outside: &Outside, flow: &Flow) -> Result<String, Trouble> {
        let (endpoints, problem) = self.looked_up(outside, THERE).await?;
        if let Some(problem) = problem {
            return Err(Trouble::Provider(problem));
        }
        let options = &self.options;
        let mut query = Serializer::new(String::new());
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &options.client_id)
            .append_pair("redirect_uri", &options.redirect.text)
            .append_pair("scope", &options.scopes.join(" "))
            .append_pair("state", &flow.state())
            .append_pair("nonce", &flow.nonce())
            .append_pair("code_challenge", &flow.challenge())
            .append_pair("code_challenge_method", "S256");
        if flow.is_again {
            query
                .append_pair("prompt", "login")
                .append_pair("max_age", "0");
        }
        let place = &endpoints.authorization.text;
        let joint = if place.contains('?') { '&' } else { '?' };
        Ok(format!("{place}{joint}{}", query.finish()))
    }

    /// Who the user is that came back with `code`.
    pub async fn claims(
        &self,
        outside: &Outside,
        flow: &Flow,
        code: &str,
    ) -> Result<Claims, Trouble> {
        let endpoints = self.endpoints(outside).await?;
        let answer = self.exchange(outside, &endpoints, flow, code).await?;
        let token = answer.id_token.unwrap_or_default();
        let nonce = flow.nonce();
        let keys = self.keys(outside, &endpoints, KEPT).await?;
        let mut verified = token::verify(&token, &keys, &self.expected(&nonce));
        // The keys may be others by now, under names that they had before.
        if let Err(Bad::UnknownKey | Bad::Signature) = verified {
            let keys = self.keys(outside, &endpoints, KEYS_PAUSE).await?;
            verified = token::verify(&token, &keys, &self.expected(&nonce));
        }
        let mut claims = verified.map_err(|bad| {
            Trouble::Refused(match bad {
                Bad::UnknownKey => {
                    "Its ID token is signed with a key that it does not publish.".into()
                }
                Bad::Signature => "Its ID token has a wrong signature.".into(),
                Bad::Token(what) => format!("Its ID token {what}."),
            })
        })?;
        let says_all = claims.all.contains_key(&self.options.roles.claim)
            && self.options.name(&claims.all).is_some();
        if let (false, Some(user), Some(access)) = (says_all, &endpoints.user, answer.access_token)
        {
            let more = user_info(outside, user, &access, &claims.subject).await?;
            for (name, value) in more {
                claims.all.entry(name).or_insert(value);
            }
        }
        Ok(claims)
    }

    fn expected<'a>(&'a self, nonce: &'a str) -> Expected<'a> {
        Expected {
            issuer: &self.options.issuer.text,
            client_id: &self.options.client_id,
            nonce,
            now: clock().wall.0 as f64 / 1000.0,
        }
    }

    async fn keys(
        &self,
        outside: &Outside,
        endpoints: &Endpoints,
        span: Millis,
    ) -> Result<Arc<Keys>, Trouble> {
        let fetch = async {
            let named = |why| format!("the keys of {} {why}", self.options.issuer.text);
            let bytes = get(outside, endpoints.keys.clone()).await.map_err(named)?;
            let keys = Keys::read(&bytes);
            keys.map_err(|error| named(format!("are not understood: {error}")))
        };
        let keys = self.keys.get(span, fetch).await;
        keys.map(|(keys, _)| keys).map_err(Trouble::Provider)
    }

    /// The form that asks for the tokens, and what stands in the head with it.
    fn asked(&self, endpoints: &Endpoints, flow: &Flow, code: &str) -> (String, Option<String>) {
        let options = &self.options;
        let secret = String::from_utf8_lossy(options.secret.bytes());
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &options.redirect.text)
            .append_pair("code_verifier", &flow.verifier());
        if endpoints.is_secret_in_form {
            form.append_pair("client_id", &options.client_id)
                .append_pair("client_secret", &secret);
            return (form.finish(), None);
        }
        // RFC 6749, 2.3.1.
        let part = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", part(&options.client_id), part(&secret));
        let authorization = format!("Basic {}", STANDARD.encode(pair));
        (form.finish(), Some(authorization))
    }

    /// Gets the tokens for a code (Core, 3.1.3).
    async fn exchange(
        &self,
        outside: &Outside,
        endpoints: &Endpoints,
        flow: &Flow,
        code: &str,
    ) -> Result<Tokens, Trouble> {
        let options = &self.options;
        let (form, authorization) = self.asked(endpoints, flow, code);
        let fetch = Fetch {
            url: endpoints.token.clone(),
            form: Some(form),
            authorization,
        };
        let named = |why| Trouble::Provider(format!("the token of {} {why}", options.issuer.text));
        let fetched = outside.fetch(fetch).await.map_err(named)?;
        match fetched.status {
            200 => serde_json::from_slice(&fetched.body)
                .map_err(|error| named(format!("is not understood: {error}"))),
            400..=499 if fetched.status != 429 => Err(Trouble::Refused(complaint(&fetched))),
            status => Err(named(format!("came with the status {status}"))),
        }
    }
}

/// What comes for a code.
#[derive(Deserialize)]
struct Tokens {
    id_token: Option<String>,
    access_token: Option<String>,
}

/// What the provider says of the user beyond the token (Core, 5.3): some put groups or names only there.
async fn user_info(
    outside: &Outside,
    url: &HttpUrl,
    access: &str,
    subject: &str,
) -> Result<Map<String, Value>, Trouble> {
    let named =
        |why: String| Trouble::Provider(format!("what the provider knows of the user {why}"));
    let fetch = Fetch {
        url: url.clone(),
        form: None,
        authorization: Some(format!("Bearer {access}")),
    };
    let fetched = outside.fetch(fetch).await.map_err(named)?;
    let body = good(fetched).map_err(named)?;
    let claims: Map<String, Value> = serde_json::from_slice(&body)
        .map_err(|error| named(format!("is not understood: {error}")))?;
    match claims.get("sub").and_then(Value::as_str) == Some(subject) {
        true => Ok(claims),
        false => Err(named("is of somebody else (sub)".to_owned())),
    }
}

async fn get(outside: &Outside, url: HttpUrl) -> Result<Vec<u8>, String> {
    let fetch = Fetch {
        url,
        form: None,
        authorization: None,
    };
    good(outside.fetch(fetch).await?)
}

fn good(fetched: Fetched) -> Result<Vec<u8>, String> {
    match fetched.status {
        200 => Ok(fetched.body.to_vec()),
        status => Err(format!("came with the status {status}")),
    }
}

/// What is wrong, as a provider says it (RFC 6749, 5.2).
fn complaint(fetched: &Fetched) -> String {
    #[derive(Deserialize)]
    struct Said {
        error: String,
    }
    let said = serde_json::from_slice::<Said>(&fetched.body);
    match said.as_ref().map(|said| word(&said.error)) {
        Ok("invalid_grant") => {
            "It does not take what the browser brought back (invalid_grant): that counts once, and not \
             for long."
                .to_owned()
        }
        Ok("invalid_client") => "It does not know Ebbtide by this `client_id` and secret (invalid_client).".to_owned(),
        Ok(word) if !word.is_empty() => format!("It refuses with {word}."),
        _ => format!("It refuses with the status {}.", fetched.status),
    }
}

/// An error's word, if it is one.
pub(super) fn word(error: &str) -> &str {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    match error.len() <= SAID_MAX && error.bytes().all(is_letter) {
        true => error,
        false => "",
    }
}
