//! How to reach the broker, and how long users live.

use super::{RabbitMq, wire};
use crate::remote;
use crate::username::Template;
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result, Secret, Span};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const CONNECTION: &str = "config/connection";
const LEASE: &str = "config/lease";

/// What a user's name may be made of.
pub(super) const FIELDS: &[&str] = &["DisplayName", "RoleName"];
pub(super) const DEFAULT_TEMPLATE: &str = r#"{{ printf "%s-%s" (.DisplayName) (uuid) }}"#;

/// Stored in format 1 under `config/connection`.
#[derive(Serialize, Deserialize)]
pub(super) struct Connection {
    /// Without a slash at the end.
    pub(super) uri: String,
    pub(super) username: String,
    pub(super) password: Zeroizing<String>,
    /// Empty for 36 letters and digits.
    pub(super) password_policy: String,
    /// Empty for the default.
    pub(super) username_template: String,
}

impl Record for Connection {
    const FORMAT: u8 = 1;
}

/// Stored in format 1 under `config/lease`; zero means the mount's own.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Lifetimes {
    pub(super) ttl: Span,
    pub(super) max_ttl: Span,
}

impl Record for Lifetimes {
    const FORMAT: u8 = 1;
}

/// Configure the connection to the broker's management API.
#[derive(Request)]
pub(super) struct WriteConnection {
    /// The management API's address: `http://host:15672`.
    #[field(default)]
    connection_uri: String,
    /// A user who may manage users (the tag `administrator`).
    #[field(default)]
    username: String,
    /// That user's password.
    #[field(default = Secret::from(""))]
    password: Secret<String>,
    /// Whether to try the connection before it is kept.
    #[field(default = true)]
    verify_connection: bool,
    /// The password policy for users' passwords; 36 letters and digits without one.
    #[field(default)]
    password_policy: String,
    /// The template of users' names.
    #[field(default)]
    username_template: String,
}

pub(super) async fn write_connection(cx: Ctx<RabbitMq>, q: WriteConnection) -> Result<Reply<()>> {
    for (name, empty) in [
        ("connection_uri", q.connection_uri.is_empty()),
        ("username", q.username.is_empty()),
        ("password", q.password.expose().is_empty()),
    ] {
        if empty {
            return Err(Error::bad_request(format!("missing {name}")));
        }
    }
    if !q.username_template.is_empty() {
        Template::parse_distinct(&q.username_template, FIELDS)?;
    }
    let connection = Connection {
        uri: remote::address("connection_uri", &q.connection_uri)?,
        username: q.username,
        password: Zeroizing::new(q.password.expose().clone()),
        password_policy: q.password_policy,
        username_template: q.username_template,
    };
    if q.verify_connection {
        wire::verify(&cx, &connection).await?;
    }
    cx.view.put(CONNECTION, &connection)?;
    Ok(Reply::empty())
}

pub(super) async fn connection(cx: &Ctx<RabbitMq>) -> Result<Connection> {
    let connection = cx.view.get(CONNECTION).await?;
    connection.ok_or_else(|| Error::bad_request("no connection to a broker is configured: write config/connection first"))
}

/// Configure how long users live.
#[derive(Request)]
pub(super) struct WriteLease {
    /// How long a user lives without renewal; zero for the mount's default.
    #[field(default)]
    ttl: Span,
    /// How long renewals may keep a user; zero for the mount's maximum.
    #[field(default)]
    max_ttl: Span,
}

/// How long users live.
#[derive(Response)]
pub(super) struct Lease {
    /// Without renewal, in seconds.
    ttl: Span,
    /// With all renewals, in seconds.
    max_ttl: Span,
}

pub(super) async fn write_lease(cx: Ctx<RabbitMq>, q: WriteLease) -> Result<Reply<()>> {
    if q.ttl.is_negative() || q.max_ttl.is_negative() {
        return Err(Error::bad_request("ttl and max_ttl must not be negative"));
    }
    cx.view.put(LEASE, &Lifetimes { ttl: q.ttl, max_ttl: q.max_ttl })?;
    Ok(Reply::empty())
}

pub(super) async fn read_lease(cx: Ctx<RabbitMq>, _: NoInput) -> Result<Reply<Lease>> {
    let lease: Lifetimes = cx.view.get(LEASE).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Lease { ttl: lease.ttl, max_ttl: lease.max_ttl }))
}

pub(super) async fn lifetimes(cx: &Ctx<RabbitMq>) -> Result<Lifetimes> {
    Ok(cx.view.get(LEASE).await?.unwrap_or_default())
}
