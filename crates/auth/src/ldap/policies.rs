//! `users` and `groups`: what people and groups of the directory may do here.

use super::names::normal;
use super::{Ldap, config};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// As stored, format 1, under `user/<name>` and `group/<name>`; groups have no groups.
#[derive(Default, Serialize, Deserialize)]
struct Mapping {
    policies: Vec<String>,
    groups: Vec<String>,
}

impl Record for Mapping {
    const FORMAT: u8 = 1;
}

/// Name a person or group.
#[derive(Request)]
pub(super) struct Named {
    /// Name of the person or group.
    #[field(path)]
    name: String,
}

/// Gives a person policies and groups.
#[derive(Request)]
pub(super) struct WriteUser {
    /// Name of the person.
    #[field(path)]
    name: String,
    /// Groups besides those of the directory, comma-separated.
    groups: Option<Vec<String>>,
    /// Policies, comma-separated.
    policies: Option<Vec<String>>,
}

/// Gives a group's members policies.
#[derive(Request)]
pub(super) struct WriteGroup {
    /// Name of the group.
    #[field(path)]
    name: String,
    /// Policies, comma-separated.
    policies: Option<Vec<String>>,
}

/// A person.
#[derive(Response)]
pub(super) struct User {
    /// Groups besides those of the directory, comma-separated.
    groups: String,
    /// Policies.
    policies: Vec<String>,
}

/// A group.
#[derive(Response)]
pub(super) struct Group {
    /// Policies of its members.
    policies: Vec<String>,
}

/// The policies and all groups of a person that the directory found in these groups; names are normal.
pub(super) async fn of(cx: &Ctx<Ldap>, name: &str, found: &[String], case_sensitive: bool) -> Result<(Vec<String>, Vec<String>)> {
    let own: Mapping = cx.view.get(&format!("user/{name}")).await?.unwrap_or_default();
    let groups: BTreeSet<String> =
        own.groups.iter().map(|group| normal(group, case_sensitive)).chain(found.iter().cloned()).collect();
    let mut policies: BTreeSet<String> = own.policies.into_iter().collect();
    for group in &groups {
        if let Some(mapping) = cx.view.get::<Mapping>(&format!("group/{group}")).await? {
            policies.extend(mapping.policies);
        }
    }
    Ok((policies.into_iter().collect(), groups.into_iter().filter(|group| !group.is_empty()).collect()))
}

pub(super) async fn list_users(cx: Ctx<Ldap>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("user/", None, usize::MAX).await?))
}

pub(super) async fn list_groups(cx: Ctx<Ldap>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("group/", None, usize::MAX).await?))
}

pub(super) async fn read_user(cx: Ctx<Ldap>, ask: Named) -> Result<Reply<User>> {
    let found: Mapping = cx.view.get(&key(&cx, "user", &ask.name).await?).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(User { groups: found.groups.join(","), policies: found.policies }))
}

pub(super) async fn read_group(cx: Ctx<Ldap>, ask: Named) -> Result<Reply<Group>> {
    let found: Mapping = cx.view.get(&key(&cx, "group", &ask.name).await?).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Group { policies: found.policies }))
}

pub(super) async fn user_exists(cx: Ctx<Ldap>, ask: Named) -> Result<bool> {
    cx.view.exists(&key(&cx, "user", &ask.name).await?).await
}

pub(super) async fn group_exists(cx: Ctx<Ldap>, ask: Named) -> Result<bool> {
    cx.view.exists(&key(&cx, "group", &ask.name).await?).await
}

pub(super) async fn write_user(cx: Ctx<Ldap>, ask: WriteUser) -> Result<Reply<()>> {
    write(&cx, "user", &ask.name, ask.groups, ask.policies).await
}

pub(super) async fn write_group(cx: Ctx<Ldap>, ask: WriteGroup) -> Result<Reply<()>> {
    write(&cx, "group", &ask.name, None, ask.policies).await
}

pub(super) async fn delete_user(cx: Ctx<Ldap>, ask: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&cx, "user", &ask.name).await?);
    Ok(Reply::empty())
}

pub(super) async fn delete_group(cx: Ctx<Ldap>, ask: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&cx, "group", &ask.name).await?);
    Ok(Reply::empty())
}

async fn write(
    cx: &Ctx<Ldap>,
    class: &str,
    name: &str,
    groups: Option<Vec<String>>,
    policies: Option<Vec<String>>,
) -> Result<Reply<()>> {
    let key = key(cx, class, name).await?;
    let mut mapping: Mapping = cx.view.get(&key).await?.unwrap_or_default();
    let trimmed = |list: Vec<String>| list.iter().map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
    if let Some(groups) = groups {
        mapping.groups = trimmed(groups);
    }
    if let Some(policies) = policies {
        mapping.policies = trimmed(policies);
    }
    if mapping.policies.iter().any(|policy| policy.eq_ignore_ascii_case("root")) {
        return Err(Error::bad_request("auth methods cannot create root tokens"));
    }
    cx.view.put(&key, &mapping)?;
    Ok(Reply::empty())
}

async fn key(cx: &Ctx<Ldap>, class: &str, name: &str) -> Result<String> {
    let case_sensitive = config::load(cx).await?.is_some_and(|config| config.case_sensitive_names);
    Ok(format!("{class}/{}", normal(name, case_sensitive)))
}
