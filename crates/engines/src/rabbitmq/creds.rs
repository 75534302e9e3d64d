//! Users of the broker: made, kept, taken away.

use super::config::{self, Connection, DEFAULT_TEMPLATE, FIELDS};
use super::roles::{self, Named};
use super::{RabbitMq, wire};
use crate::username::{HostRandom, Source, Template};
use coffer_crypto::random::base62;
use coffer_engine::{Ctx, Intent, LeaseKind, Record, Reply, Response, Terms};
use coffer_types::{Error, Result, Secret};
use serde::{Deserialize, Serialize};

/// What renewing and revoking need to know.
#[derive(Serialize, Deserialize)]
pub(super) struct User {
    username: String,
}

impl Record for User {
    const FORMAT: u8 = 1;
}

impl LeaseKind for User {
    const NAME: &'static str = "creds";
}

/// The note of a user about to be made.
#[derive(Serialize, Deserialize)]
pub(super) struct Making {
    username: String,
}

impl Record for Making {
    const FORMAT: u8 = 1;
}

impl Intent for Making {
    const NAME: &'static str = "user";
}

/// A user of the broker.
#[derive(Response)]
pub(super) struct Made {
    /// The user's name.
    username: String,
    /// The user's password.
    password: Secret<String>,
}

pub(super) async fn make(cx: Ctx<RabbitMq>, q: Named) -> Result<Reply<Made>> {
    let role = roles::find(&cx, &q.name).await?.ok_or_else(|| Error::bad_request(format!("unknown role: {}", q.name)))?;
    let connection = config::connection(&cx).await?;
    let lifetimes = config::lifetimes(&cx).await?;
    let username = name(&cx, &connection, q.name.as_str())?;
    let password = password(&cx, &connection).await?;
    if wire::is_taken(&cx, &connection, &username).await? {
        return Err(Error::bad_request("the template made a name that a user of the broker already has: nothing was changed"));
    }
    let noted = cx.intend(&Making { username: username.clone() }).await?;
    // Where this fails the note stays, and what was made by then is taken away by it.
    wire::create(&cx, &connection, &role, &username, &password).await?;
    cx.done(noted);
    let terms = Terms { ttl: lifetimes.ttl, max_ttl: lifetimes.max_ttl, renewable: true };
    Reply::leased(Made { username: username.clone(), password }, &User { username }, terms)
}

fn name(cx: &Ctx<RabbitMq>, connection: &Connection, role: &str) -> Result<String> {
    let text = if connection.username_template.is_empty() { DEFAULT_TEMPLATE } else { &connection.username_template };
    let display = cx.principal().map_or("", |p| &p.display_name);
    let source = Source { now: cx.now(), random: &HostRandom(cx) };
    Template::parse(text, FIELDS)?.render(&[("DisplayName", display), ("RoleName", role)], &source)
}

async fn password(cx: &Ctx<RabbitMq>, connection: &Connection) -> Result<Secret<String>> {
    if connection.password_policy.is_empty() {
        Ok(Secret::new(base62(&HostRandom(cx), 36).to_string()))
    } else {
        cx.host().password(&connection.password_policy).await
    }
}

pub(super) async fn renew(cx: Ctx<RabbitMq>, _: User) -> Result<Terms> {
    let lifetimes = config::lifetimes(&cx).await?;
    Ok(Terms { ttl: lifetimes.ttl, max_ttl: lifetimes.max_ttl, renewable: true })
}

pub(super) async fn revoke(cx: Ctx<RabbitMq>, lease: User) -> Result<()> {
    let connection = config::connection(&cx).await?;
    wire::remove(&cx, &connection, &lease.username).await
}

pub(super) async fn roll_back(cx: Ctx<RabbitMq>, note: Making) -> Result<()> {
    let connection = config::connection(&cx).await?;
    wire::remove(&cx, &connection, &note.username).await
}
