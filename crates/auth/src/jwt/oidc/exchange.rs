//! What is said to the provider, and what must be true of its answer.

use super::pending::{Pending, STATE_HERE};
use super::url;
use crate::jwt::Method;
use crate::jwt::claims;
use crate::jwt::config::Config;
use crate::jwt::keys::{Provider, Remote, send};
use crate::jwt::role::Role;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use coffer_crypto::mac::sha256;
use coffer_engine::Ctx;
use coffer_engine::outside::{Http, HttpRequest, Method as Verb};
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Object, Result, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What the browser brought from the provider.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) code: Zeroizing<String>,
    pub(super) id_token: Zeroizing<String>,
}

impl Answered {
    pub(super) fn is_empty(&self) -> bool {
        self.code.is_empty() && self.id_token.is_empty()
    }
}

pub(super) struct Tokens {
    pub(super) id: Secret<String>,
    pub(super) access: Secret<String>,
}

/// A device's login as the provider began it.
pub(super) struct Device {
    pub(super) code: Zeroizing<String>,
    pub(super) address: String,
    pub(super) interval: u32,
    pub(super) expires_in: i64,
}

/// Why the provider gave no tokens.
pub(super) enum Failed {
    /// Not yet; ask again.
    Wait(&'static str),
    Over(String),
}

impl Failed {
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Wait(word) => word.to_owned(),
            Self::Over(why) => why,
        }
    }
}

pub(super) struct Exchange<'a> {
    pub(super) http: &'a dyn Http,
    pub(super) remote: &'a Remote,
    pub(super) provider: &'a Provider,
    pub(super) config: &'a Config,
}

impl Exchange<'_> {
    /// Where the browser goes, with [`STATE_HERE`] for the state; `None` where the provider has no such place.
    pub(super) fn address(&self, role: &Role, pending: &Pending) -> Option<String> {
        if self.provider.authorization.is_empty() || self.provider.token.is_empty() {
            return None;
        }
        let scope = scopes(&role.scopes);
        let kind = if self.config.responds_with_id_token() { "id_token" } else { "code" };
        let challenge = URL_SAFE_NO_PAD.encode(sha256(&[pending.verifier.as_bytes()]));
        let age = role.max_age.secs().to_string();
        let mut query = vec![("client_id", self.config.client_id.as_str())];
        if kind == "code" {
            query.extend([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
        }
        if !role.max_age.is_zero() {
            query.push(("max_age", &age));
        }
        query.push(("nonce", &pending.nonce));
        query.push(("redirect_uri", &pending.redirect_uri));
        if self.config.form_post() {
            query.push(("response_mode", "form_post"));
        }
        query.extend([("response_type", kind), ("scope", &scope), ("state", STATE_HERE)]);
        let joint = if self.provider.authorization.contains('?') { '&' } else { '?' };
        Some(format!("{}{joint}{}", self.provider.authorization, url::form(&query)))
    }

    /// Tokens for a code (OpenID Connect Core 1.0 section 3.1.3).
    pub(super) async fn code(&self, code: &str, pending: &Pending) -> std::result::Result<Tokens, Failed> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("code_verifier", &pending.verifier),
            ("redirect_uri", &pending.redirect_uri),
        ];
        self.tokens(&form).await
    }

    /// Tokens for a device's code (RFC 8628 section 3.4).
    pub(super) async fn device(&self, code: &str) -> std::result::Result<Tokens, Failed> {
        self.tokens(&[("grant_type", "urn:ietf:params:oauth:grant-type:device_code"), ("device_code", code)]).await
    }

    /// RFC 8628 section 3.1.
    pub(super) async fn begin_device(&self, wanted: &[String]) -> Result<Device> {
        let place = self.provider.device.as_ref().ok_or_else(|| Error::bad_request("the provider knows no devices"))?;
        let (status, answer) = self
            .ask(place, &[("client_id", &self.config.client_id), ("scope", &scopes(wanted))])
            .await
            .map_err(Error::bad_request)?;
        let text = |name: &str| answer.get(name).and_then(Json::as_str).filter(|t| !t.is_empty());
        let number = |name: &str| answer.get(name).and_then(Json::as_i64);
        let address = text("verification_uri_complete").or_else(|| text("verification_uri")).filter(|a| a.starts_with("http"));
        match (status, text("device_code"), address) {
            (200, Some(code), Some(address)) => Ok(Device {
                code: code.to_owned().into(),
                address: address.to_owned(),
                interval: number("interval").and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0).unwrap_or(5),
                expires_in: number("expires_in").unwrap_or(300),
            }),
            _ => Err(Error::bad_request("the provider began no login for a device")),
        }
    }

    async fn tokens(&self, form: &[(&str, &str)]) -> std::result::Result<Tokens, Failed> {
        let (status, answer) = self.ask(&self.provider.token, form).await.map_err(Failed::Over)?;
        let text = |name: &str| answer.get(name).and_then(Json::as_str).unwrap_or_default();
        if status != 200 || answer.contains("error") {
            return Err(match text("error") {
                "authorization_pending" => Failed::Wait("authorization_pending"),
                "slow_down" => Failed::Wait("slow_down"),
                word => Failed::Over(format!("the provider gave no token: {}", url::word(word))),
            });
        }
        if text("id_token").is_empty() {
            return Err(Failed::Over("the provider gave no id_token".to_owned()));
        }
        Ok(Tokens { id: Secret::from(text("id_token")), access: Secret::from(text("access_token")) })
    }

    /// A form, with the client's secret (RFC 6749 section 2.3.1), and the JSON object that answers it.
    async fn ask(&self, place: &str, form: &[(&str, &str)]) -> std::result::Result<(u16, Object), String> {
        let user = Zeroizing::new(format!(
            "{}:{}",
            url::encode(&self.config.client_id),
            Zeroizing::new(url::encode(&self.config.client_secret)).as_str()
        ));
        let basic = Zeroizing::new(format!("Basic {}", Zeroizing::new(STANDARD.encode(user.as_bytes())).as_str()));
        let body = Zeroizing::new(url::form(form));
        let request = || {
            HttpRequest::new(Verb::Post, place)
                .header("authorization", basic.as_str())
                .header("accept", "application/json")
                .body("application/x-www-form-urlencoded", body.as_bytes().to_vec())
        };
        let reply = send(self.http, self.remote, request).await.map_err(|fault| fault.text.into_owned())?;
        let answer = parse(&reply.body, &DOCUMENT).ok().and_then(Json::into_object);
        answer
            .map(|answer| (reply.status, answer))
            .ok_or_else(|| format!("the provider answered with status {} and no JSON object", reply.status))
    }

    /// The claims of an id token, checked as OpenID Connect Core 1.0 section 3.1.3.7 and the role say.
    pub(super) async fn claims<const O: bool>(
        &self,
        cx: &Ctx<Method<O>>,
        role: &Role,
        tokens: &Tokens,
        nonce: Option<&str>,
    ) -> Result<Object> {
        let allowed = self.config.algorithms();
        let verified = cx.engine.keys.verify(self.http, self.remote, tokens.id.expose(), &allowed, cx.now()).await?;
        let mut claims = verified.claims;
        self.check_id_token(&claims, role, nonce, cx.now())?;
        claims::check_times(&claims, role.leeways, cx.now())?;
        if let Some(place) = self.provider.userinfo.as_ref().filter(|_| !tokens.access.expose().is_empty()) {
            self.add_userinfo(place, &tokens.access, &mut claims).await?;
        }
        if !role.bound_audiences.is_empty() {
            claims::check_audience(&claims, &role.bound_audiences)?;
        }
        claims::check_text(&claims, "sub", &role.bound_subject)?;
        if !self.config.bound_issuer.is_empty() {
            claims::check_text(&claims, "iss", &self.config.bound_issuer)?;
        }
        claims::check_bound(&claims, &role.bound_claims(), role.bound_claims_kind)?;
        Ok(claims)
    }

    fn check_id_token(&self, claims: &Object, role: &Role, nonce: Option<&str>, now: coffer_types::Timestamp) -> Result<()> {
        claims::check_text(claims, "iss", &self.provider.issuer)?;
        let us = self.config.client_id.as_str();
        let audiences = claims::audiences(claims)?;
        let party = match claims::claim(claims, "azp") {
            None => None,
            Some(party) => Some(party.as_str().ok_or_else(|| claims::invalid("invalid authorized party (azp)"))?),
        };
        if !audiences.contains(&us) {
            return Err(claims::invalid("invalid audience (aud) claim: the token is not for this client"));
        }
        if party.is_some_and(|party| party != us) || (audiences.len() > 1 && party.is_none()) {
            return Err(claims::invalid("invalid authorized party (azp)"));
        }
        for name in ["exp", "iat"] {
            if claims::instant(claims, name)?.is_none() {
                return Err(claims::invalid(&format!("the claim {name} is missing")));
            }
        }
        if let Some(nonce) = nonce
            && claims.get("nonce").and_then(Json::as_str) != Some(nonce)
        {
            return Err(claims::invalid("invalid id_token nonce"));
        }
        if !role.max_age.is_zero() {
            let shown = claims::instant(claims, "auth_time")?
                .ok_or_else(|| claims::invalid("missing auth_time claim when max age was requested"))?;
            if i128::from(now.0) - shown > i128::from(role.max_age.0) {
                return Err(claims::invalid("auth_time is beyond max age"));
            }
        }
        Ok(())
    }

    /// Claims that only the provider's page about the person has (OpenID Connect Core 1.0 section 5.3). It adds and changes nothing: what
    /// the signed token says stands.
    async fn add_userinfo(&self, place: &str, access: &Secret<String>, claims: &mut Object) -> Result<()> {
        let bad = |why: &str| Error::bad_request(format!("error reading the provider's userinfo: {why}"));
        let bearer = Zeroizing::new(format!("Bearer {}", access.expose()));
        let request =
            || HttpRequest::new(Verb::Get, place).header("authorization", bearer.as_str()).header("accept", "application/json");
        let reply = send(self.http, self.remote, request).await.map_err(|f| bad(&f.text))?;
        if reply.status != 200 {
            return Err(bad(&format!("status {}", reply.status)));
        }
        let about = parse(&reply.body, &DOCUMENT).ok().and_then(Json::into_object).ok_or_else(|| bad("no JSON object"))?;
        if about.get("sub").and_then(Json::as_str) != claims.get("sub").and_then(Json::as_str) {
            return Err(bad("it is about someone else"));
        }
        for (name, value) in about {
            if !claims.contains(&name) {
                claims.insert(name, value);
            }
        }
        Ok(())
    }
}

const DOCUMENT: Limits = Limits { depth: 16, string: 128 * 1024, strings: 10_000, members: 1000, items: 5000 };

/// "openid" first, each once.
fn scopes(wanted: &[String]) -> String {
    let mut scopes = vec!["openid"];
    for scope in wanted {
        if !scopes.contains(&scope.as_str()) {
            scopes.push(scope);
        }
    }
    scopes.join(" ")
}
