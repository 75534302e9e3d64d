//! Which issuer and which key stand for `default`.

use super::{Cx, Pki, issuer, keys};
use coffer_engine::{Declare, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result};
use serde::{Deserialize, Serialize};

/// `config/issuers`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Issuers {
    /// An id, or empty.
    pub(super) default: String,
    /// The newest issuer with a key takes its place.
    #[serde(default)]
    pub(super) follow_latest: bool,
}

impl Record for Issuers {
    const FORMAT: u8 = 1;
}

/// `config/keys`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Keys {
    /// An id, or empty.
    pub(super) default: String,
}

impl Record for Keys {
    const FORMAT: u8 = 1;
}

pub(super) async fn issuers(cx: &Cx) -> Result<Issuers> {
    Ok(cx.view.get("config/issuers").await?.unwrap_or_default())
}

/// The default issuer's id, as issuing reads it each time.
pub(super) async fn default_issuer(cx: &Cx) -> Result<Option<std::sync::Arc<Issuers>>> {
    cx.engine.parsed.get(&cx.view, "config/issuers").await
}

pub(super) async fn keys(cx: &Cx) -> Result<Keys> {
    Ok(cx.view.get("config/keys").await?.unwrap_or_default())
}

/// The first key is the default one.
pub(super) async fn key_came(cx: &Cx, id: &str) -> Result<()> {
    let config = keys(cx).await?;
    if config.default.is_empty() {
        cx.view.put("config/keys", &Keys { default: id.to_owned() })?;
    }
    Ok(())
}

/// The first issuer with a key is the default one; later ones where the default follows.
pub(super) async fn issuer_came(cx: &Cx, issuer: &issuer::Issuer) -> Result<()> {
    let mut config = issuers(cx).await?;
    if !issuer.key_id.is_empty() && (config.default.is_empty() || config.follow_latest) {
        config.default.clone_from(&issuer.id);
        cx.view.put("config/issuers", &config)?;
    }
    Ok(())
}

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("config/issuers")
        .about("Says which issuer is the default one.")
        .plain(&["default", "default_follows_latest_issuer"])
        .read(read_issuers)
        .write(write_issuers);
    d.at("config/keys").about("Says which key is the default one.").plain(&["default"]).read(read_keys).write(write_keys);
    d.at("root/replace").about("Makes another issuer the default one.").plain(&["default"]).write(replace);
}

/// Which issuer is the default one.
#[derive(Response)]
struct ShownIssuers {
    /// Its id.
    default: String,
    /// Whether the newest takes its place.
    default_follows_latest_issuer: bool,
}

fn show(config: Issuers) -> Reply<ShownIssuers> {
    Reply::data(ShownIssuers { default: config.default, default_follows_latest_issuer: config.follow_latest })
}

async fn read_issuers(cx: Cx, _: NoInput) -> Result<Reply<ShownIssuers>> {
    Ok(show(issuers(&cx).await?))
}

/// Choose the default issuer.
#[derive(Request)]
struct WriteIssuers {
    /// An issuer's id or name.
    #[field(default)]
    default: String,
    /// Whether the newest issuer with a key takes its place.
    default_follows_latest_issuer: Option<bool>,
}

async fn write_issuers(cx: Cx, ask: WriteIssuers) -> Result<Reply<ShownIssuers>> {
    choose(&cx, &ask.default, ask.default_follows_latest_issuer).await
}

/// Make another issuer the default one.
#[derive(Request)]
struct Replace {
    /// An issuer's id or name.
    #[field(default = "next".to_owned())]
    default: String,
}

async fn replace(cx: Cx, ask: Replace) -> Result<Reply<ShownIssuers>> {
    choose(&cx, &ask.default, None).await
}

async fn choose(cx: &Cx, reference: &str, follow: Option<bool>) -> Result<Reply<ShownIssuers>> {
    if reference.is_empty() || reference == "default" {
        return Err(Error::bad_request("Invalid issuer specification; must be non-empty and can't be 'default'."));
    }
    let chosen = issuer::find(cx, reference).await?;
    let chosen =
        chosen.ok_or_else(|| Error::bad_request(format!("Error resolving issuer reference: {}", issuer::unknown(reference))))?;
    let mut config = issuers(cx).await?;
    config.default = chosen.id;
    config.follow_latest = follow.unwrap_or(config.follow_latest);
    cx.view.put("config/issuers", &config)?;
    let reply = show(config);
    if chosen.key_id.is_empty() {
        let warning = "This selected default issuer has no key associated with it. Some operations like issuing certificates and \
                       signing CRLs will be unavailable with the requested default issuer until a key is imported or the default issuer \
                       is changed.";
        return Ok(reply.warn(warning));
    }
    Ok(reply)
}

/// Which key is the default one.
#[derive(Response)]
struct ShownKeys {
    /// Its id.
    default: String,
}

async fn read_keys(cx: Cx, _: NoInput) -> Result<Reply<ShownKeys>> {
    Ok(Reply::data(ShownKeys { default: keys(&cx).await?.default }))
}

/// Choose the default key.
#[derive(Request)]
struct WriteKeys {
    /// A key's id or name.
    #[field(default)]
    default: String,
}

async fn write_keys(cx: Cx, ask: WriteKeys) -> Result<Reply<ShownKeys>> {
    if ask.default.is_empty() || ask.default == "default" {
        return Err(Error::bad_request("Invalid key specification; must be non-empty and can't be 'default'."));
    }
    let chosen = keys::find(&cx, &ask.default).await?;
    let chosen =
        chosen.ok_or_else(|| Error::bad_request(format!("Error resolving issuer reference: {}", keys::unknown(&ask.default))))?;
    cx.view.put("config/keys", &Keys { default: chosen.id.clone() })?;
    Ok(Reply::data(ShownKeys { default: chosen.id }))
}
