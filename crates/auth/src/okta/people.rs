//! Groups and policies that are kept here: `users/{name}`, `groups/{name}`.

use super::Okta;
use crate::names::{normal, set};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result};
use serde::{Deserialize, Serialize};

/// Stored in format 1 under `user/<name>`, and under `group/<name>` without groups.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) groups: Vec<String>,
    pub(super) policies: Vec<String>,
}

impl Record for Kept {
    const FORMAT: u8 = 1;
}

const USERS: &str = "user/";
const GROUPS: &str = "group/";

/// The policies of a person with these groups of Okta's, and all the groups.
pub(super) async fn policies(cx: &Ctx<Okta>, user: &str, groups: Vec<String>) -> Result<(Vec<String>, Vec<String>)> {
    let kept: Kept = cx.view.get(&format!("{USERS}{user}")).await?.unwrap_or_default();
    let groups = set(groups.into_iter().chain(kept.groups));
    let mut policies = kept.policies;
    for group in &groups {
        // A group may be called what no key can be: nobody could have given it policies.
        let Ok(key) = normal(group) else { continue };
        if let Some(group) = cx.view.get::<Kept>(&format!("{GROUPS}{key}")).await? {
            policies.extend(group.policies);
        }
    }
    Ok((set(policies), groups))
}

/// Names a person or a group; upper and lower case are the same.
#[derive(Request)]
pub(super) struct Named {
    /// The name.
    #[field(path)]
    name: String,
}

/// Write a person.
#[derive(Request)]
pub(super) struct WriteUser {
    /// The person's name at Okta.
    #[field(path)]
    name: String,
    /// Groups besides Okta's.
    groups: Option<Vec<String>>,
    /// Policies besides the groups'.
    policies: Option<Vec<String>>,
}

/// Write a group.
#[derive(Request)]
pub(super) struct WriteGroup {
    /// The group's name.
    #[field(path)]
    name: String,
    /// Its policies.
    policies: Option<Vec<String>>,
}

/// A person.
#[derive(Response)]
pub(super) struct UserShown {
    /// Groups besides Okta's.
    groups: Vec<String>,
    /// Policies besides the groups'.
    policies: Vec<String>,
}

/// A group.
#[derive(Response)]
pub(super) struct GroupShown {
    /// Its policies.
    policies: Vec<String>,
}

async fn find(cx: &Ctx<Okta>, folder: &str, name: &str) -> Result<Option<Kept>> {
    cx.view.get(&format!("{folder}{}", normal(name)?)).await
}

fn checked(policies: Vec<String>) -> Result<Vec<String>> {
    let policies = set(policies.into_iter().map(|policy| policy.trim().to_lowercase()));
    if policies.iter().any(|policy| policy == "root") {
        return Err(Error::bad_request("auth methods cannot create root tokens"));
    }
    Ok(policies)
}

pub(super) async fn write_user(cx: Ctx<Okta>, q: WriteUser) -> Result<Reply<()>> {
    let mut kept = find(&cx, USERS, &q.name).await?.unwrap_or_default();
    kept.groups = q.groups.map_or(kept.groups, set);
    kept.policies = q.policies.map_or(Ok(kept.policies), checked)?;
    cx.view.put(&format!("{USERS}{}", normal(&q.name)?), &kept)?;
    Ok(Reply::empty())
}

pub(super) async fn write_group(cx: Ctx<Okta>, q: WriteGroup) -> Result<Reply<()>> {
    let kept = Kept { groups: Vec::new(), policies: checked(q.policies.unwrap_or_default())? };
    cx.view.put(&format!("{GROUPS}{}", normal(&q.name)?), &kept)?;
    Ok(Reply::empty())
}

pub(super) async fn read_user(cx: Ctx<Okta>, q: Named) -> Result<Reply<UserShown>> {
    let kept = find(&cx, USERS, &q.name).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(UserShown { groups: kept.groups, policies: kept.policies }))
}

pub(super) async fn read_group(cx: Ctx<Okta>, q: Named) -> Result<Reply<GroupShown>> {
    let kept = find(&cx, GROUPS, &q.name).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(GroupShown { policies: kept.policies }))
}

pub(super) async fn delete_user(cx: Ctx<Okta>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&format!("{USERS}{}", normal(&q.name)?));
    Ok(Reply::empty())
}

pub(super) async fn delete_group(cx: Ctx<Okta>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&format!("{GROUPS}{}", normal(&q.name)?));
    Ok(Reply::empty())
}

pub(super) async fn list_users(cx: Ctx<Okta>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children(USERS, None, usize::MAX).await?))
}

pub(super) async fn list_groups(cx: Ctx<Okta>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children(GROUPS, None, usize::MAX).await?))
}
