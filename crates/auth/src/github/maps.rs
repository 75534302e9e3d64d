//! Policies of teams and people: `map/teams/{key}`, `map/users/{key}`.

use super::GitHub;
use crate::names::{normal, set};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result};
use serde::{Deserialize, Serialize};

/// Stored in format 1 under `team/<key>` and `user/<key>`.
#[derive(Serialize, Deserialize)]
struct Mapped {
    /// As it was written: names of policies with commas between.
    value: String,
}

impl Record for Mapped {
    const FORMAT: u8 = 1;
}

const TEAMS: &str = "team/";
const USERS: &str = "user/";

/// What everyone gets.
const DEFAULT: &str = "default";

/// The policies of these teams, by their names and slugs, and of this person.
pub(super) async fn policies(cx: &Ctx<GitHub>, teams: &[String], user: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for (folder, key) in
        teams.iter().map(|team| (TEAMS, team.as_str())).chain([(TEAMS, DEFAULT), (USERS, user), (USERS, DEFAULT)])
    {
        // A team may be called what no key can be: nobody could have given it policies.
        let Ok(key) = normal(key) else { continue };
        if let Some(mapped) = cx.view.get::<Mapped>(&format!("{folder}{key}")).await? {
            all.extend(split(&mapped.value));
        }
    }
    Ok(set(all))
}

fn split(value: &str) -> impl Iterator<Item = String> {
    value.split(',').map(|policy| policy.trim().to_lowercase())
}

/// Names a team or a person; upper and lower case are the same.
#[derive(Request)]
pub(super) struct Named {
    /// Name or slug of the team, or name of the person.
    #[field(path)]
    key: String,
}

/// Give policies.
#[derive(Request)]
pub(super) struct Write {
    /// Name or slug of the team, or name of the person.
    #[field(path)]
    key: String,
    /// Names of policies, comma-separated.
    #[field(default)]
    value: Vec<String>,
}

/// The policies of a team or a person.
#[derive(Response)]
pub(super) struct Shown {
    /// The team or person.
    key: String,
    /// Names of policies, comma-separated.
    value: String,
}

async fn read(cx: Ctx<GitHub>, folder: &str, q: Named) -> Result<Reply<Shown>> {
    let key = normal(&q.key)?;
    let mapped: Mapped = cx.view.get(&format!("{folder}{key}")).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown { key, value: mapped.value }))
}

async fn write(cx: Ctx<GitHub>, folder: &str, q: Write) -> Result<Reply<()>> {
    let value = q.value.join(",");
    if split(&value).any(|policy| policy == "root") {
        return Err(Error::bad_request("auth methods cannot create root tokens"));
    }
    cx.view.put(&format!("{folder}{}", normal(&q.key)?), &Mapped { value })?;
    Ok(Reply::empty())
}

async fn delete(cx: Ctx<GitHub>, folder: &str, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&format!("{folder}{}", normal(&q.key)?));
    Ok(Reply::empty())
}

async fn list(cx: Ctx<GitHub>, folder: &str) -> Result<Reply> {
    Ok(Reply::list(cx.view.children(folder, None, usize::MAX).await?))
}

pub(super) async fn list_teams(cx: Ctx<GitHub>, _: NoInput) -> Result<Reply> {
    list(cx, TEAMS).await
}

pub(super) async fn read_team(cx: Ctx<GitHub>, q: Named) -> Result<Reply<Shown>> {
    read(cx, TEAMS, q).await
}

pub(super) async fn write_team(cx: Ctx<GitHub>, q: Write) -> Result<Reply<()>> {
    write(cx, TEAMS, q).await
}

pub(super) async fn delete_team(cx: Ctx<GitHub>, q: Named) -> Result<Reply<()>> {
    delete(cx, TEAMS, q).await
}

pub(super) async fn list_users(cx: Ctx<GitHub>, _: NoInput) -> Result<Reply> {
    list(cx, USERS).await
}

pub(super) async fn read_user(cx: Ctx<GitHub>, q: Named) -> Result<Reply<Shown>> {
    read(cx, USERS, q).await
}

pub(super) async fn write_user(cx: Ctx<GitHub>, q: Write) -> Result<Reply<()>> {
    write(cx, USERS, q).await
}

pub(super) async fn delete_user(cx: Ctx<GitHub>, q: Named) -> Result<Reply<()>> {
    delete(cx, USERS, q).await
}
