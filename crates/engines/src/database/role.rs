//! `roles/{name}`: what logins that are made may do.

use super::credential::{self, Kind};
use super::{Database, Strings};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request};
use coffer_types::{Error, Name, Object, Result, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A role; stored in format 1 under `role/<name>`.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Role {
    pub db_name: String,
    pub creation_statements: Vec<String>,
    pub revocation_statements: Vec<String>,
    pub rollback_statements: Vec<String>,
    pub renew_statements: Vec<String>,
    pub default_ttl: Span,
    pub max_ttl: Span,
    pub credential_type: Kind,
    pub credential_config: BTreeMap<String, String>,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

/// Names a role.
#[derive(Request)]
pub(super) struct Named {
    /// Name of the role.
    #[field(path)]
    pub name: Name,
}

/// Write a role.
#[derive(Request)]
pub(super) struct Write {
    /// Name of the role.
    #[field(path)]
    name: Name,
    /// Name of the connection.
    db_name: Option<String>,
    /// Statements that make an account, with {{name}}, {{password}} and {{expiration}} in them.
    creation_statements: Option<Strings>,
    /// Statements that remove one, with {{name}}.
    revocation_statements: Option<Strings>,
    /// Statements that undo the making of one.
    rollback_statements: Option<Strings>,
    /// Statements that let one live longer, with {{name}} and {{expiration}}.
    renew_statements: Option<Strings>,
    /// How long a login lives; else the mount's default.
    default_ttl: Option<Span>,
    /// How long renewals may keep it; else the mount's maximum.
    max_ttl: Option<Span>,
    /// password, rsa_private_key or client_certificate.
    credential_type: Option<String>,
    /// How the credential is made.
    credential_config: Option<BTreeMap<String, String>>,
}

pub(super) async fn write(cx: Ctx<Database>, q: Write) -> Result<Reply<()>> {
    if cx.view.exists(&super::static_role::key(q.name.as_str())).await? {
        return Err(not_unique());
    }
    let mut role: Role = cx.view.get(&key(q.name.as_str())).await?.unwrap_or_default();
    role.db_name = q.db_name.unwrap_or(role.db_name);
    if role.db_name.is_empty() {
        return Err(Error::bad_request("database name is required"));
    }
    let or = |new: Option<Strings>, old: Vec<String>| new.map_or(old, |new| new.0);
    role.creation_statements = or(q.creation_statements, role.creation_statements);
    role.revocation_statements = or(q.revocation_statements, role.revocation_statements);
    role.rollback_statements = or(q.rollback_statements, role.rollback_statements);
    role.renew_statements = or(q.renew_statements, role.renew_statements);
    role.default_ttl = q.default_ttl.unwrap_or(role.default_ttl);
    role.max_ttl = q.max_ttl.unwrap_or(role.max_ttl);
    if role.default_ttl.is_negative() || role.max_ttl.is_negative() {
        return Err(Error::bad_request("a time to live must not be negative"));
    }
    (role.credential_type, role.credential_config) =
        credentials(q.credential_type, q.credential_config, role.credential_type, role.credential_config)?;
    cx.view.put(&key(q.name.as_str()), &role)?;
    Ok(Reply::empty())
}

/// The kind of credential and its settings: what is given, else what was.
pub(super) fn credentials(
    kind: Option<String>,
    settings: Option<BTreeMap<String, String>>,
    old_kind: Kind,
    old_settings: BTreeMap<String, String>,
) -> Result<(Kind, BTreeMap<String, String>)> {
    let new = kind.filter(|kind| !kind.is_empty()).map(|kind| Kind::parse(&kind)).transpose()?;
    let kept = if new.as_ref().is_none_or(|new| *new == old_kind) { old_settings } else { BTreeMap::new() };
    let kind = new.unwrap_or(old_kind);
    let settings = kind.settings(settings.unwrap_or(kept))?;
    Ok((kind, settings))
}

pub(super) async fn read(cx: Ctx<Database>, q: Named) -> Result<Reply> {
    let role: Role = cx.view.get(&key(q.name.as_str())).await?.ok_or_else(Error::not_found)?;
    let mut shown = Object::new()
        .with("creation_statements", role.creation_statements)
        .with("credential_type", role.credential_type.as_str())
        .with("db_name", role.db_name)
        .with("default_ttl", role.default_ttl.secs())
        .with("max_ttl", role.max_ttl.secs())
        .with("renew_statements", role.renew_statements)
        .with("revocation_statements", role.revocation_statements)
        .with("rollback_statements", role.rollback_statements);
    if let Some(settings) = credential::show(&role.credential_config) {
        shown.insert("credential_config", coffer_types::Json::Object(settings));
    }
    Ok(Reply::data(shown))
}

pub(super) async fn exists(cx: Ctx<Database>, q: Named) -> Result<bool> {
    cx.view.exists(&key(q.name.as_str())).await
}

pub(super) async fn delete(cx: Ctx<Database>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(q.name.as_str()));
    Ok(Reply::empty())
}

pub(super) async fn list(cx: Ctx<Database>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", None, usize::MAX).await?))
}

pub(super) fn key(name: &str) -> String {
    format!("role/{name}")
}

pub(super) fn not_unique() -> Error {
    Error::bad_request("Role and Static Role names must be unique")
}
