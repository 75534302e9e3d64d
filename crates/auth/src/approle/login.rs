//! Logging in. What counts is that it is fast, that a last use is one login's alone, and that role ids that exist can't be told
//! from those that don't.

use super::AppRole;
use super::store::{Names, Role, SecretId, Sought};
use crate::token::admits;
use coffer_engine::{Ctx, Login, Reply, Request};
use coffer_types::{Error, Kind, Result, Secret};
use std::net::IpAddr;

/// Log in.
#[derive(Request)]
pub(super) struct Ask {
    /// The role's id.
    #[field(default)]
    role_id: String,
    /// One of its secret ids, where the role asks for one.
    secret_id: Option<Secret<String>>,
}

/// What renewal needs.
const ROLE_NAME: &str = "role_name";

pub(super) async fn login(cx: Ctx<AppRole>, q: Ask) -> Result<Reply<()>> {
    if q.role_id.is_empty() {
        // The reference's status, for want of a better reason.
        return Err(Error::new(Kind::Internal, "missing role_id"));
    }
    let attempt = cx.attempt(&q.role_id)?;
    let names = Names::read(&cx.view).await?;
    let sought = names.role_of(&cx.view, &q.role_id).await?;
    let secret_id = q.secret_id.filter(|s| !s.expose().is_empty());
    let (role, known) = match sought {
        Sought::Role(role) => (role, true),
        Sought::Decoy(role) => (role, false),
        Sought::None => return Err(attempt.failed(refused())),
    };
    let mut held = None;
    if role.bind_secret_id {
        // Known or not: who gives none is told the same.
        let given = secret_id.ok_or_else(|| Error::bad_request("missing secret_id"))?;
        let mac = names.secret_id(&role, given.expose());
        let found = SecretId::find(&cx.view, &role.folder, &mac).await?.filter(|s| known && s.is_live(cx.now()));
        match found {
            Some(secret_id) => held = Some((mac, secret_id)),
            None => return Err(attempt.failed(refused())),
        }
    }
    attempt.passed()?;
    let address = cx.call().and_then(|c| c.remote.ip);
    if !admits(&role.secret_id_bound_cidrs, address) {
        return Err(from_elsewhere(address, "by CIDR restrictions on the role"));
    }
    let mut login = bound(&role, held.as_ref().map(|(_, s)| s), address)?;
    if let Some((mac, secret_id)) = held {
        if !admits(&secret_id.cidr_list, address) {
            return Err(from_elsewhere(address, "through CIDR restrictions on the secret ID"));
        }
        login.metadata.clone_from(&secret_id.metadata);
        spend(&cx, &role, &mac, secret_id)?;
    }
    login.metadata.insert(ROLE_NAME.to_owned(), role.name.clone());
    login.alias_metadata.clone_from(&login.metadata);
    login.alias = role.role_id;
    login.internal.insert(ROLE_NAME.to_owned(), role.name);
    Ok(Reply::login(login))
}

/// Takes a use. Part of the login's own commit, which depends on what was read: of two logins with the last use one
/// is run again and finds nothing.
fn spend(cx: &Ctx<AppRole>, role: &Role, mac: &str, mut secret_id: SecretId) -> Result<()> {
    match secret_id.num_uses {
        // Without limit: nothing to write, and nothing that logins at the same time could meet at.
        0 => Ok(()),
        1 => {
            secret_id.remove(&cx.view, &role.folder, mac);
            Ok(())
        }
        _ => {
            secret_id.num_uses -= 1;
            secret_id.updated = cx.now();
            secret_id.update(&cx.view, &role.folder, mac)
        }
    }
}

/// The role's terms; a secret id's own networks take the place of the role's. Where the token may be used from is not where
/// the login must come from: a broker may log in for others.
fn bound(role: &Role, secret_id: Option<&SecretId>, address: Option<IpAddr>) -> Result<Login> {
    let mut login = role.token.login();
    if let Some(secret_id) = secret_id
        && !secret_id.token_bound_cidrs.is_empty()
    {
        login.bound_cidrs.clone_from(&secret_id.token_bound_cidrs);
    }
    if role.token.strictly_bind_ip {
        login.bound_cidrs = vec![address.ok_or_else(Error::denied)?.to_canonical().to_string()];
    }
    Ok(login)
}

fn refused() -> Error {
    Error::bad_request("invalid role or secret ID")
}

fn from_elsewhere(address: Option<IpAddr>, why: &str) -> Error {
    let address = address.map_or_else(String::new, |ip| ip.to_string());
    Error::bad_request(format!("source address {address:?} unauthorized {why}"))
}

/// A token lives on while its role does, by the role's present terms.
pub(super) async fn renew(cx: Ctx<AppRole>, mut login: Login) -> Result<Login> {
    let name = login.internal.get(ROLE_NAME).map_or("", String::as_str);
    let role = Role::find(&cx.view, name).await?;
    let role = role.ok_or_else(|| crate::as_vault_500(format!("role {name:?} does not exist during renewal")))?;
    (login.ttl, login.max_ttl, login.period) = (role.token.ttl, role.token.max_ttl, role.token.period);
    Ok(login)
}
