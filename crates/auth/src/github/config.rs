//! The configuration.

use super::GitHub;
use super::api::Api;
use crate::token::{TokenAsk, TokenParams, TokenShown};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result, Span};
use serde::{Deserialize, Serialize};

/// Stored in format 1 under `config`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) organization: String,
    /// Its number at GitHub: names can be given up and taken by others.
    pub(super) organization_id: i64,
    /// Empty is GitHub itself.
    pub(super) base_url: String,
    pub(super) token: TokenParams,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

pub(super) async fn load(cx: &Ctx<GitHub>) -> Result<Option<Config>> {
    cx.view.get("config").await
}

/// Configure the method. What is left out stays as it is.
#[derive(Request)]
pub(super) struct Write {
    /// The organization that people must be in.
    organization: Option<String>,
    /// Its number; asked of GitHub if it is not given.
    organization_id: Option<i64>,
    /// Address of the API of a GitHub of one's own: "https://github.example.com/api/v3".
    base_url: Option<String>,
    /// Old name of token_ttl.
    ttl: Option<Span>,
    /// Old name of token_max_ttl.
    max_ttl: Option<Span>,
    #[field(flatten)]
    token: TokenAsk,
}

pub(super) async fn write(cx: Ctx<GitHub>, q: Write) -> Result<Reply<()>> {
    let mut config = load(&cx).await?.unwrap_or_default();
    let before = (config.organization.clone(), config.base_url.clone());
    if let Some(organization) = q.organization {
        config.organization = organization.trim().to_owned();
    }
    if config.organization.is_empty() {
        return Err(Error::bad_request("organization is a required parameter"));
    }
    if !config.organization.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(Error::bad_request("organization: letters, digits and '-' only"));
    }
    if let Some(url) = q.base_url {
        if !(url.is_empty() || url.starts_with("https://") || url.starts_with("http://")) {
            return Err(Error::bad_request("base_url must begin with https:// or http://"));
        }
        config.base_url = url.trim_end_matches('/').to_owned();
    }
    let mut token = q.token;
    token.token_ttl = token.token_ttl.or(q.ttl);
    token.token_max_ttl = token.token_max_ttl.or(q.max_ttl);
    config.token.update(token)?;
    // A number belongs to a name at an address; with another of either it is asked again.
    if before != (config.organization.clone(), config.base_url.clone()) {
        config.organization_id = 0;
    }
    config.organization_id = q.organization_id.unwrap_or(config.organization_id);
    if config.organization_id < 0 {
        return Err(Error::bad_request("organization_id must not be negative"));
    }
    if config.organization_id == 0 {
        let asked = Api::new(&cx, &config, None)?.organization_id(&config.organization).await;
        config.organization_id = asked.map_err(|error| {
            let text = "unable to fetch the organization_id, you must manually set it in the config";
            Error::new(error.kind(), format!("{text}: {}", error.public())).with_cause(error)
        })?;
    }
    cx.view.put("config", &config)?;
    Ok(Reply::empty())
}

/// The configuration.
#[derive(Response)]
pub(super) struct Shown {
    /// The organization.
    organization: String,
    /// Its number.
    organization_id: i64,
    /// Address of the API; empty is GitHub itself.
    base_url: String,
    #[field(flatten)]
    token: TokenShown,
}

pub(super) async fn read(cx: Ctx<GitHub>, _: NoInput) -> Result<Reply<Shown>> {
    let config = load(&cx).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown {
        organization: config.organization,
        organization_id: config.organization_id,
        base_url: config.base_url,
        token: config.token.shown(),
    }))
}
