//! `identity/oidc/role/…`, the tokens of roles, and their introspection.

use super::keys::{self, folder, load};
use super::template::{Template, decoded};
use super::{IdentityEngine, issuer, seconds};
use crate::identity::cache::Identity;
use crate::identity::engine::Of;
use coffer_crypto::jws::{self, KeySet};
use coffer_crypto::random::base62;
use coffer_engine::view::Record;
use coffer_engine::{Ctx, Declare, NoInput, Reply, Request, Response};
use coffer_types::{Error, Json, Name, Object, Result, Secret, Span};
use serde::{Deserialize, Serialize};

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("oidc/role").about("List the roles of identity tokens.").list(list);
    d.at("oidc/role/{name}")
        .about("A role: what an identity token says, for how long, for whom.")
        .plain(&["key", "template", "ttl", "client_id"])
        .read(read)
        .write(write)
        .exists(exists)
        .delete(delete);
    d.at("oidc/token/{name}").about("An identity token of the caller, by a role.").read(token);
    d.at("oidc/introspect").about("Whether an identity token is good.").write(introspect);
}

/// As stored, format 1.
#[derive(Serialize, Deserialize)]
struct Role {
    key: String,
    template: String,
    ttl: Span,
    client_id: String,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

/// Name a role.
#[derive(Request)]
struct Named {
    /// Its name.
    #[field(path)]
    name: Name,
}

/// Create or change a role.
#[derive(Request)]
struct Write {
    /// Its name.
    #[field(path)]
    name: Name,
    /// The key that signs its tokens.
    key: Option<String>,
    /// What its tokens say besides: JSON with places, as it is or as base64.
    template: Option<String>,
    /// How long its tokens are good.
    ttl: Option<Span>,
    /// Whom its tokens are for; made up where it is left out.
    client_id: Option<String>,
}

/// A role.
#[derive(Response)]
struct Shown {
    /// Whom its tokens are for.
    client_id: String,
    /// The key that signs its tokens.
    key: String,
    /// What its tokens say besides.
    template: String,
    /// How long its tokens are good, in seconds.
    ttl: Span,
}

/// An identity token.
#[derive(Response)]
struct Token {
    /// Whom it is for.
    client_id: String,
    /// The token.
    token: String,
    /// How long it is good, in seconds.
    ttl: Span,
}

/// Ask about a token.
#[derive(Request)]
struct Introspect {
    /// The token.
    #[field(default = Secret::from(""))]
    token: Secret<String>,
    /// For whom it must be, if given.
    client_id: Option<String>,
}

async fn list(cx: Ctx<IdentityEngine>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children(&folder("role"), None, usize::MAX).await?))
}

async fn get(cx: &Ctx<IdentityEngine>, name: &str) -> Result<Option<Role>> {
    cx.view.get(&format!("{}{name}", folder("role"))).await
}

async fn all(cx: &Ctx<IdentityEngine>) -> Result<Vec<(String, Role)>> {
    let mut roles = Vec::new();
    for name in cx.view.children(&folder("role"), None, usize::MAX).await? {
        if let Some(role) = get(cx, &name).await? {
            roles.push((name, role));
        }
    }
    Ok(roles)
}

/// The roles whose tokens a key signs.
pub(super) async fn using(cx: &Ctx<IdentityEngine>, key: &str) -> Result<Vec<String>> {
    Ok(all(cx).await?.into_iter().filter(|(_, role)| role.key == key).map(|(name, _)| name).collect())
}

/// The longest life of a token that a key signs.
pub(super) async fn longest_ttl(cx: &Ctx<IdentityEngine>, key: &str) -> Result<Span> {
    let ttls = all(cx).await?.into_iter().filter(|(_, role)| role.key == key).map(|(_, role)| role.ttl);
    Ok(ttls.max().unwrap_or(Span::ZERO))
}

async fn read(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply<Shown>> {
    let role = get(&cx, ask.name.as_str()).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown { client_id: role.client_id, key: role.key, template: role.template, ttl: role.ttl }))
}

async fn exists(cx: Ctx<IdentityEngine>, ask: Named) -> Result<bool> {
    Ok(get(&cx, ask.name.as_str()).await?.is_some())
}

async fn delete(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply<()>> {
    cx.view.delete(&format!("{}{}", folder("role"), ask.name));
    Ok(Reply::empty())
}

async fn write(cx: Ctx<IdentityEngine>, ask: Write) -> Result<Reply<()>> {
    let core = cx.engine.core()?;
    let mut role = match get(&cx, ask.name.as_str()).await? {
        Some(role) => role,
        None => Role { key: String::new(), template: String::new(), ttl: Span::from_secs(24 * 3600), client_id: String::new() },
    };
    role.key = ask.key.unwrap_or(role.key);
    role.template = ask.template.as_deref().map(decoded).unwrap_or(role.template);
    role.ttl = ask.ttl.unwrap_or(role.ttl);
    role.client_id = ask.client_id.unwrap_or(role.client_id);
    if role.client_id.is_empty() {
        role.client_id = base62(&*core.random, 26).to_string();
    }
    if role.key.is_empty() {
        return Err(Error::bad_request("the key parameter is required"));
    }
    Template::parse(&role.template)?;
    let mut key = load(&cx, &role.key).await?.ok_or_else(|| Error::bad_request(format!("cannot find key {:?}", role.key)))?;
    if role.ttl.secs() < 1 {
        return Err(Error::bad_request("a role's token ttl must be at least a second"));
    }
    if role.ttl > key.verification_ttl {
        return Err(Error::bad_request("a role's token ttl cannot be longer than the verification_ttl of the key it references"));
    }
    key.prepare(&cx, &role.key).await?;
    cx.view.put(&format!("{}{}", folder("role"), ask.name), &role)?;
    Ok(Reply::empty())
}

async fn token(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply<Token>> {
    let name = ask.name.as_str();
    let of = Of::new(cx)?;
    let cx = &of.cx;
    let role = get(cx, name).await?.ok_or_else(|| Error::bad_request(format!("role {name:?} not found")))?;
    let key = load(cx, &role.key).await?;
    let mut key = key.ok_or_else(|| Error::bad_request(format!("key {:?} not found", role.key)))?;
    if !key.allows(&role.client_id) {
        return Err(Error::bad_request(format!(
            "the key {:?} does not list the client ID of the role {name:?} as an allowed client ID",
            role.key
        )));
    }
    let entity = cx.principal().map(|principal| principal.entity_id.to_string()).unwrap_or_default();
    let nobody = || Error::bad_request("no entity associated with the request's token");
    let entity = of.store().entity_or_heir(&cx.view, &entity).await?.ok_or_else(nobody)?;
    let identity = Identity::load(of.store(), &cx.view, entity).await?;
    let now = cx.now();
    // The key may have been given a shorter life since.
    let ttl = role.ttl.min(key.verification_ttl);
    let mut claims = Object::new()
        .with("iss", issuer(&of).await?)
        .with("sub", identity.entity.id.as_str())
        .with("aud", role.client_id.as_str())
        .with("iat", seconds(now))
        .with("exp", seconds(now.plus(ttl.duration())))
        .with("namespace", "root");
    let said = Template::parse(&role.template)?.fill(Some(&identity), now)?;
    for (name, value) in said.iter() {
        claims.insert(name, value.clone());
    }
    let token = key.sign(cx, &role.key, claims).await?;
    Ok(Reply::data(Token { client_id: role.client_id, token, ttl }))
}

async fn introspect(cx: Ctx<IdentityEngine>, ask: Introspect) -> Result<Reply> {
    let of = Of::new(cx)?;
    let document = match good(&of, ask.token.expose(), ask.client_id.as_deref()).await? {
        Ok(()) => Object::new().with("active", true),
        Err(why) => Object::new().with("active", false).with("error", why),
    };
    Ok(Reply::data(document).bare())
}

/// Whether a token is one of ours, for this client, in its time, of an entity that is still there; else why not.
async fn good(of: &Of, token: &str, client: Option<&str>) -> Result<std::result::Result<(), String>> {
    let cx = &of.cx;
    let header = match jws::peek(token) {
        Ok(peeked) => peeked.header,
        Err(_) => return Ok(Err("error parsing token".to_owned())),
    };
    let unsigned = || Ok(Err("unable to validate the token signature".to_owned()));
    let Some(header) = header else { return unsigned() };
    let Some(public) = keys::public_by_id(cx, header.key_id.as_deref().unwrap_or_default()).await? else { return unsigned() };
    let set = Json::Object(Object::new().with("keys", Json::Array(vec![public]))).to_bytes();
    let set = KeySet::parse(&set).map_err(Error::internal)?;
    let Ok(verified) = jws::verify(token, &set, &jws::Algorithm::ALL) else { return unsigned() };
    let text = |name: &str| verified.claims.get(name).and_then(Json::as_str);
    let invalid = |what: &str| Ok(Err(format!("error validating claims: {what}")));
    if text("iss") != Some(issuer(of).await?.as_str()) {
        return invalid("invalid issuer claim (iss)");
    }
    if verified.claims.get("exp").and_then(Json::as_i64).is_none_or(|exp| exp <= seconds(cx.now())) {
        return invalid("token is expired (exp)");
    }
    if client.is_some_and(|client| !client.is_empty() && text("aud") != Some(client)) {
        return invalid("invalid audience claim (aud)");
    }
    let entity = of.store().entity_or_heir(&cx.view, text("sub").unwrap_or_default()).await?;
    Ok(match entity {
        None => Err("entity was not found".to_owned()),
        Some(entity) if entity.disabled => Err("entity is disabled".to_owned()),
        Some(_) => Ok(()),
    })
}
