//! Identity tokens (`identity/oidc/token/…`): signed statements of who a token's entity is, for services outside that verify them
//! with public keys; and the OIDC provider on the same keys.
//! <https://developer.hashicorp.com/vault/api-docs/secret/identity/tokens>
//!
//! All state stands in the store; keys rotate by the clock, in [`beat`].

mod clients;
mod keys;
mod login;
mod roles;
mod template;

use super::engine::{IdentityEngine, Of};
use coffer_engine::view::Record;
use coffer_engine::{Ctx, Declare, NoInput, Reply, Request, Response};
use coffer_types::{Error, Json, Object, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// Below this stands everything of this folder.
const ROOT: &str = "identity/oidc/";
const CONFIG: &str = "identity/oidc/config";
/// What the algorithms are called, in the order in which descriptions list them.
const ALGORITHMS: [&str; 7] = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "EdDSA"];

/// Claims that are the server's alone to say.
const RESERVED: [&str; 10] = ["iat", "aud", "exp", "iss", "sub", "namespace", "nonce", "auth_time", "at_hash", "c_hash"];

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("oidc/config").about("The issuer of identity tokens.").plain(&["issuer"]).read(read_config).write(write_config);
    d.at("oidc/.well-known/openid-configuration")
        .about("What verifies identity tokens: issuer, keys, algorithms.")
        .public()
        .read(description);
    d.at("oidc/.well-known/keys").about("The public keys that verify identity tokens.").public().read(key_set);
    keys::declare(d);
    roles::declare(d);
    clients::declare(d);
    login::declare(d);
}

/// The clock's side: keys whose time has come rotate, and those that verify nothing any more go, as do
/// codes that nobody came for.
///
/// # Errors
/// The store's, and the signature library's.
pub async fn beat(cx: Ctx<IdentityEngine>) -> Result<bool> {
    Ok(keys::rotate_due(&cx).await? | login::sweep(&cx).await?)
}

/// As stored, format 1.
#[derive(Default, Serialize, Deserialize)]
struct Config {
    issuer: String,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

/// Sets the issuer.
#[derive(Request)]
struct WriteConfig {
    /// Scheme, host and port of the issuer; empty for the server's own address.
    issuer: Option<String>,
}

/// The issuer.
#[derive(Response)]
struct ShownConfig {
    /// Scheme, host and port of the issuer; empty for the server's own address.
    issuer: String,
}

async fn read_config(cx: Ctx<IdentityEngine>, _: NoInput) -> Result<Reply<ShownConfig>> {
    let config: Config = cx.view.get(CONFIG).await?.unwrap_or_default();
    Ok(Reply::data(ShownConfig { issuer: config.issuer }))
}

async fn write_config(cx: Ctx<IdentityEngine>, ask: WriteConfig) -> Result<Reply<()>> {
    let mut config: Config = cx.view.get(CONFIG).await?.unwrap_or_default();
    if let Some(issuer) = ask.issuer {
        check_issuer(&issuer)?;
        config.issuer = issuer.trim_end_matches('/').to_owned();
    }
    cx.view.put(CONFIG, &config)?;
    let reply = Reply::empty();
    if config.issuer.is_empty() {
        return Ok(reply);
    }
    Ok(reply.warn(
        "If \"issuer\" is set explicitly, all tokens must be validated against that address, including those issued by secondary \
         clusters. Setting issuer to \"\" will restore the default behavior of using the cluster's api_addr as the issuer.",
    ))
}

/// An origin: scheme, host and perhaps a port, nothing behind.
fn check_issuer(issuer: &str) -> Result<()> {
    let rest = issuer.strip_prefix("https://").or_else(|| issuer.strip_prefix("http://"));
    let host = rest.map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    let good = |host: &str| {
        !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']'))
    };
    if issuer.is_empty() || host.is_some_and(good) {
        return Ok(());
    }
    Err(Error::bad_request(
        "invalid issuer, which must include only a scheme, host, and optional port (e.g. https://example.com:8200)",
    ))
}

/// Who says identity tokens.
async fn issuer(of: &Of) -> Result<String> {
    let config: Config = of.cx.view.get(CONFIG).await?.unwrap_or_default();
    let origin = if config.issuer.is_empty() { of.core.config.api_addr.trim_end_matches('/') } else { &config.issuer };
    Ok(format!("{origin}/v1/identity/oidc"))
}

async fn description(cx: Ctx<IdentityEngine>, _: NoInput) -> Result<Reply> {
    let of = Of::new(cx)?;
    let issuer = issuer(&of).await?;
    let document = Object::new()
        .with("jwks_uri", format!("{issuer}/.well-known/keys"))
        .with("issuer", issuer)
        .with("response_types_supported", vec!["id_token".to_owned()])
        .with("subject_types_supported", vec!["public".to_owned()])
        .with("id_token_signing_alg_values_supported", ALGORITHMS.map(str::to_owned).to_vec());
    Ok(document_of(document, 200).header("cache-control", "max-age=3600"))
}

async fn key_set(cx: Ctx<IdentityEngine>, _: NoInput) -> Result<Reply> {
    let names = cx.view.children(keys::FOLDER, None, usize::MAX).await?;
    keys::set(&cx, &names).await.map(|set| document_of(set, 200))
}

/// A reply that is a document of its own, as these protocols want it.
fn document_of(document: Object, status: u16) -> Reply {
    Reply::raw("application/json", Json::Object(document).to_bytes().to_vec()).status(status)
}

fn seconds(at: Timestamp) -> i64 {
    at.secs()
}
