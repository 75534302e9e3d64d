//! The configuration.

use super::Okta;
use crate::token::{TokenAsk, TokenParams, TokenShown};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result, Secret, Span};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Stored in format 1 under `config`. Has no `Debug`: it holds a token.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) organization: String,
    /// `okta.com`
    pub(super) base: String,
    /// For Okta's API; empty if groups are only those kept here.
    pub(super) api_token: Zeroizing<String>,
    pub(super) bypass_mfa: bool,
    pub(super) token: TokenParams,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

const OKTA: &str = "okta.com";
const PREVIEW: &str = "oktapreview.com";

impl Config {
    /// `https://organization.okta.com`
    pub(super) fn address(&self) -> String {
        let base = if self.base.is_empty() { OKTA } else { &self.base };
        format!("https://{}.{base}", self.organization)
    }
}

pub(super) async fn load(cx: &Ctx<Okta>) -> Result<Option<Config>> {
    cx.view.get("config").await
}

/// Configure the method. What is left out stays as it is.
#[derive(Request)]
pub(super) struct Write {
    /// The organization's name at Okta.
    org_name: Option<String>,
    /// Old name of org_name.
    organization: Option<String>,
    /// A token for Okta's API: with it Okta's groups count, and renewals ask whether a person is still active.
    api_token: Option<Secret<String>>,
    /// Old name of api_token.
    token: Option<Secret<String>>,
    /// The domain of the API: "okta.com" if empty; "oktapreview.com", "okta-emea.com".
    base_url: Option<String>,
    /// Old way to say base_url: false is "oktapreview.com".
    production: Option<bool>,
    /// Log in although Okta asks for a second factor or a new password.
    bypass_okta_mfa: Option<bool>,
    /// Old name of token_ttl.
    ttl: Option<Span>,
    /// Old name of token_max_ttl.
    max_ttl: Option<Span>,
    #[field(flatten)]
    ask: TokenAsk,
}

pub(super) async fn write(cx: Ctx<Okta>, q: Write) -> Result<Reply<()>> {
    let mut config = load(&cx).await?.unwrap_or_default();
    if let Some(name) = q.org_name.or(q.organization) {
        config.organization = name.trim().to_lowercase();
    }
    if config.organization.is_empty() {
        return Err(Error::bad_request("org_name is missing"));
    }
    let label = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !config.organization.bytes().all(label) {
        return Err(Error::bad_request("org_name: letters, digits and '-' only"));
    }
    if let Some(base) = q.base_url.or_else(|| q.production.map(|is| if is { OKTA } else { PREVIEW }.to_owned())) {
        let base = base.trim().to_lowercase();
        let sound = base.is_empty() || base.split('.').all(|part| !part.is_empty() && part.bytes().all(label));
        if !sound {
            return Err(Error::bad_request("base_url must be a domain like okta.com"));
        }
        config.base = base;
    }
    if let Some(token) = q.api_token.or(q.token) {
        if !token.expose().bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::bad_request("api_token has characters that no token has"));
        }
        config.api_token = Zeroizing::new(token.expose().clone());
    }
    config.bypass_mfa = q.bypass_okta_mfa.unwrap_or(config.bypass_mfa);
    let mut ask = q.ask;
    ask.token_ttl = ask.token_ttl.or(q.ttl);
    ask.token_max_ttl = ask.token_max_ttl.or(q.max_ttl);
    config.token.update(ask)?;
    cx.view.put("config", &config)?;
    Ok(Reply::empty())
}

pub(super) async fn exists(cx: Ctx<Okta>, _: NoInput) -> Result<bool> {
    cx.view.exists("config").await
}

/// The configuration. The API's token is not shown.
#[derive(Response)]
pub(super) struct Shown {
    /// The organization.
    org_name: String,
    /// Old name of org_name.
    organization: String,
    /// The domain of the API.
    base_url: String,
    /// Whether Okta's wish for a second factor is passed over.
    bypass_okta_mfa: bool,
    #[field(flatten)]
    token: TokenShown,
}

pub(super) async fn read(cx: Ctx<Okta>, _: NoInput) -> Result<Reply<Shown>> {
    let config = load(&cx).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown {
        organization: config.organization.clone(),
        org_name: config.organization,
        base_url: config.base,
        bypass_okta_mfa: config.bypass_mfa,
        token: config.token.shown(),
    }))
}
