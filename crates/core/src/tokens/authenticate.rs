//! From a credential to a principal. Nothing else makes one.

use super::batch;
use super::record::{SPENT, TokenRecord};
use crate::identity::Identity;
use crate::leases::end::in_force;
use crate::live::Live;
use coffer_engine::view::View;
use coffer_engine::{Credential, Principal, Remote, TokenKind};
use coffer_types::Cidr;
use coffer_types::{Error, Result, Timestamp};
use std::net::IpAddr;
use std::sync::Arc;

/// A credential that held.
pub struct Authenticated {
    pub principal: Principal,
    pub token: TokenRecord,
    /// Who it is, where the token has an entity.
    pub identity: Option<Arc<Identity>>,
    /// This call takes the token's last use: it ends with the call.
    pub last_use: bool,
}

/// What came with a call.
pub struct Presented<'a> {
    pub credential: &'a Credential,
    pub remote: &'a Remote,
    /// The call takes a use of a use-limited token.
    pub counts: bool,
}

/// Checks a credential. `Ok(None)` is "none was given"; any that does not hold is denied with the same words.
/// A use-limited token's count goes down in the call's own transaction, so also when the call is refused.
pub async fn authenticate(live: &Live, view: &View, presented: &Presented<'_>, now: Timestamp) -> Result<Option<Authenticated>> {
    let remote = presented.remote;
    let text = match presented.credential {
        Credential::None | Credential::Basic(_) => return Ok(None),
        Credential::Token(text) => text.expose().as_str(),
    };
    let mut token = if text.starts_with(batch::PREFIX) {
        live.batch.open(text).ok_or_else(Error::denied)?
    } else {
        live.tokens.get(view, text).await?.ok_or_else(Error::denied)?
    };
    if !token.expires.is_never() && token.expires <= now {
        return Err(Error::denied());
    }
    // No token outlives what it descends from: with a token its whole tree is out of force, though its records may take a
    // while to go, and batch tokens have none.
    if !in_force(&live.tokens, view, &token, now).await? {
        return Err(Error::denied());
    }
    if !token.bound_cidrs.is_empty() && !remote.ip.is_some_and(|ip| in_any(&token.bound_cidrs, ip)) {
        return Err(Error::denied());
    }
    let identity = entity(live, &token).await?;
    let mut last_use = false;
    if presented.counts && token.num_uses > 0 && token.kind == TokenKind::Service {
        token.num_uses -= 1;
        last_use = token.num_uses == 0;
        if last_use {
            // The record must not read as unlimited in the meantime; the pipeline ends the token.
            let mut spent = token.clone();
            spent.expires = SPENT;
            live.tokens.update(view, &spent)?;
        } else {
            live.tokens.update(view, &token)?;
        }
    }
    let principal = principal(&token, identity.as_deref());
    Ok(Some(Authenticated { principal, token, identity, last_use }))
}

/// The identity of a token that has an entity. One whose entity is disabled or gone is good for nothing.
pub async fn entity(live: &Live, token: &TokenRecord) -> Result<Option<Arc<Identity>>> {
    if token.entity_id.is_empty() {
        return Ok(None);
    }
    match live.identities.get(&live.barrier, &token.entity_id).await? {
        Some(identity) if !identity.entity.disabled => Ok(Some(identity)),
        _ => Err(Error::denied()),
    }
}

/// Who a token stands for: its own policies and those of its identity. Root's token has root's alone.
pub fn principal(token: &TokenRecord, identity: Option<&Identity>) -> Principal {
    let of_identity = identity.filter(|_| !token.is_root()).map_or(&[][..], |i| &i.policies);
    let mut policies: Vec<Box<str>> = token.policies.iter().chain(of_identity).map(|p| p.as_str().into()).collect();
    policies.sort_unstable();
    policies.dedup();
    Principal {
        entity_id: identity.map_or(token.entity_id.as_str(), |i| &i.entity.id).into(),
        display_name: token.display_name.as_str().into(),
        policies: Arc::from(policies),
        accessor: token.accessor.as_str().into(),
        kind: token.kind,
        cubbyhole: (token.kind == TokenKind::Service && !token.cubbyhole.is_empty()).then(|| token.cubbyhole.as_str().into()),
        token_key: token.key.as_str().into(),
        root: token.is_root(),
    }
}

fn in_any(cidrs: &[String], ip: IpAddr) -> bool {
    cidrs.iter().filter_map(|c| Cidr::parse(c)).any(|c| c.contains(ip))
}
