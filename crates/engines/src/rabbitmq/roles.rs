//! Roles: what a user may do.

use super::RabbitMq;
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Json, Name, Object, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Stored in format 1 under `role/<name>`.
#[derive(Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) tags: String,
    /// By virtual host.
    pub(super) vhosts: Option<BTreeMap<String, Permissions>>,
    /// By virtual host and exchange.
    pub(super) vhost_topics: Option<BTreeMap<String, BTreeMap<String, TopicPermissions>>>,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

/// Regular expressions over names of resources; an empty one permits nothing.
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(default)]
pub(super) struct Permissions {
    pub(super) configure: String,
    pub(super) write: String,
    pub(super) read: String,
}

/// Regular expressions over routing keys.
#[derive(Serialize, Deserialize, Clone, Default)]
#[serde(default)]
pub(super) struct TopicPermissions {
    pub(super) write: String,
    pub(super) read: String,
}

/// Names a role.
#[derive(Request)]
pub(super) struct Named {
    /// Name of the role.
    #[field(path)]
    pub(super) name: Name,
}

/// Write a role.
#[derive(Request)]
pub(super) struct Write {
    /// Name of the role.
    #[field(path)]
    name: Name,
    /// Tags of the user, separated by commas.
    #[field(default)]
    tags: String,
    /// Permissions by virtual host, as JSON text: `{"/": {"configure": ".*", "write": ".*", "read": ".*"}}`.
    #[field(default)]
    vhosts: String,
    /// Permissions on topics by virtual host and exchange, as JSON text: `{"/": {"amq.topic": {"write": ".*", "read": ".*"}}}`.
    #[field(default)]
    vhost_topics: String,
}

/// A role.
#[derive(Response)]
pub(super) struct Shown {
    /// Tags of the user.
    tags: String,
    /// Permissions by virtual host.
    vhosts: Json,
    /// Permissions on topics by virtual host and exchange.
    vhost_topics: Json,
}

pub(super) async fn write(cx: Ctx<RabbitMq>, q: Write) -> Result<Reply<()>> {
    if q.tags.is_empty() && q.vhosts.is_empty() {
        return Err(Error::bad_request("both tags and vhosts not specified"));
    }
    let role =
        Role { tags: q.tags, vhosts: read_json("vhosts", &q.vhosts)?, vhost_topics: read_json("vhost_topics", &q.vhost_topics)? };
    cx.view.put(&key(&q.name), &role)?;
    Ok(Reply::empty())
}

/// The text's value; nothing for an empty text.
fn read_json<T: serde::de::DeserializeOwned>(field: &str, text: &str) -> Result<Option<T>> {
    if text.is_empty() {
        return Ok(None);
    }
    // The library's own words may repeat a value.
    serde_json::from_str(text).map(Some).map_err(|e| {
        Error::bad_request(format!(
            "failed to unmarshal {field}: not of the expected form at line {} column {}",
            e.line(),
            e.column()
        ))
    })
}

pub(super) async fn read(cx: Ctx<RabbitMq>, q: Named) -> Result<Reply<Shown>> {
    let role = find(&cx, &q.name).await?.ok_or_else(Error::not_found)?;
    let permissions = |p: &Permissions| {
        Json::Object(
            Object::new().with("configure", p.configure.clone()).with("read", p.read.clone()).with("write", p.write.clone()),
        )
    };
    let topic = |p: &TopicPermissions| Json::Object(Object::new().with("read", p.read.clone()).with("write", p.write.clone()));
    Ok(Reply::data(Shown {
        tags: role.tags,
        vhosts: object(role.vhosts, permissions),
        vhost_topics: object(role.vhost_topics, |exchanges| object(Some(exchanges.clone()), topic)),
    }))
}

fn object<T>(map: Option<BTreeMap<String, T>>, value: impl Fn(&T) -> Json) -> Json {
    map.map_or(Json::Null, |map| {
        Json::Object(map.iter().fold(Object::new(), |object, (name, item)| object.with(name.as_str(), value(item))))
    })
}

pub(super) async fn delete(cx: Ctx<RabbitMq>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&q.name));
    Ok(Reply::empty())
}

pub(super) async fn list(cx: Ctx<RabbitMq>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", None, usize::MAX).await?))
}

pub(super) async fn find(cx: &Ctx<RabbitMq>, name: &Name) -> Result<Option<Role>> {
    cx.view.get(&key(name)).await
}

fn key(name: &Name) -> String {
    format!("role/{name}")
}
