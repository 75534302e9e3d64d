//! Looking tokens up.

use super::TokenEngine;
use crate::tokens::record::{ACCESSORS, TokenRecord};
use coffer_engine::{Ctx, Declare, NoInput, Reply, Request};
use coffer_types::{Error, Json, Kind, Object, Result, Secret, Timestamp};

pub(super) fn declare(d: &mut Declare<TokenEngine>) {
    d.at("lookup").about("Look a token up.").read(lookup).write(lookup);
    d.at("lookup-self").about("Look the caller's own token up.").read(lookup_self).write(lookup_self);
    d.at("lookup-accessor").about("Look a token up by its accessor.").write(lookup_accessor);
    d.at("accessors").about("List the accessors of all tokens.").sudo().list(accessors);
}

/// Look a token up.
#[derive(Request)]
struct Lookup {
    /// The token; the caller's own where it is left out.
    token: Option<Secret<String>>,
}

/// Look a token up by its accessor.
#[derive(Request)]
struct LookupAccessor {
    /// The accessor.
    accessor: Option<String>,
}

async fn lookup(cx: Ctx<TokenEngine>, ask: Lookup) -> Result<Reply> {
    match ask.token.as_ref().map(|t| t.expose().as_str()).filter(|t| !t.is_empty()) {
        None => lookup_self(cx, NoInput).await,
        Some(text) => {
            let found = super::find(&cx, text).await?.filter(|t| !t.is_spent());
            let found = found.ok_or_else(|| Error::new(Kind::Denied, "bad token"))?;
            shown(&cx, &found, text).await
        }
    }
}

async fn lookup_self(cx: Ctx<TokenEngine>, _: NoInput) -> Result<Reply> {
    let text = super::own_text(&cx)?;
    let found = super::find(&cx, text).await?.ok_or_else(Error::denied)?;
    shown(&cx, &found, text).await
}

async fn lookup_accessor(cx: Ctx<TokenEngine>, ask: LookupAccessor) -> Result<Reply> {
    let accessor = ask.accessor.filter(|a| !a.is_empty()).ok_or_else(|| Error::bad_request("missing accessor"))?;
    let found = super::find_accessor(&cx, &accessor).await?;
    shown(&cx, &found, "").await
}

async fn accessors(cx: Ctx<TokenEngine>, page: crate::tokens::engine::roles::Page) -> Result<Reply> {
    crate::listing::children(&cx.view, ACCESSORS, page.after(), page.asked()).await
}

/// With what its entity adds, where there is one that adds anything.
async fn shown(cx: &Ctx<TokenEngine>, token: &TokenRecord, text: &str) -> Result<Reply> {
    let live = cx.engine.live()?;
    let mut shown = show(token, text, cx.now());
    if !token.entity_id.is_empty()
        && let Some(identity) = live.identities.get(&live.barrier, &token.entity_id).await?
        && !identity.policies.is_empty()
    {
        shown.insert("external_namespace_policies", Object::new());
        shown.insert("identity_policies", identity.policies.clone());
    }
    Ok(Reply::data(shown))
}

/// A token as lookups show it.
fn show(token: &TokenRecord, text: &str, now: Timestamp) -> Object {
    // A token that spends its last use on looking itself up reads its true expiry nowhere else.
    let spent = token.is_spent();
    let expires = if spent { token.created.plus(token.ttl.duration()) } else { token.expires };
    let mut shown = Object::with_capacity(20)
        .with("accessor", token.accessor.as_str())
        .with("creation_time", token.created.secs())
        .with("creation_ttl", token.ttl.secs())
        .with("display_name", token.display_name.as_str())
        .with("entity_id", token.entity_id.as_str())
        .with("expire_time", (!expires.is_never()).then(|| expires.rfc3339()))
        .with("explicit_max_ttl", token.explicit_max_ttl.secs())
        .with("id", text);
    if !expires.is_never() {
        shown.insert("issue_time", token.created.rfc3339());
    }
    let meta = (!token.meta.is_empty()).then(|| token.meta.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Object>());
    shown.insert("meta", meta);
    shown.insert("num_uses", if spent { Json::from(-1) } else { Json::from(token.num_uses) });
    shown.insert("orphan", token.is_orphan());
    shown.insert("path", token.path.as_str());
    shown.insert("policies", token.policies.clone());
    if !token.period.is_zero() && token.role.is_empty() {
        shown.insert("period", token.period.secs());
    }
    if !token.last_renewed.is_never() {
        shown.insert("last_renewal", token.last_renewed.rfc3339());
        shown.insert("last_renewal_time", token.last_renewed.secs());
    }
    if !token.role.is_empty() {
        shown.insert("role", token.role.as_str());
    }
    if !token.bound_cidrs.is_empty() {
        shown.insert("bound_cidrs", token.bound_cidrs.clone());
    }
    if !expires.is_never() {
        shown.insert("renewable", token.renewable);
    }
    shown.insert("ttl", if expires.is_never() { 0 } else { i64::try_from(expires.since(now).as_secs()).unwrap_or(i64::MAX) });
    shown.insert("type", token.kind.as_str());
    shown
}
