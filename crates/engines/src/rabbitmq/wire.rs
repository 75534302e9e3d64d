//! The management API: users, permissions, permissions on topics.

use super::RabbitMq;
use super::config::Connection;
use super::roles::Role;
use crate::remote::{self, ask, escape};
use base64::Engine as _;
use coffer_engine::Ctx;
use coffer_engine::outside::{HttpReply, HttpRequest, Method};
use coffer_types::{Error, Json, Kind, Object, Result, Secret};
use zeroize::Zeroizing;

/// Is this the broker, does it know us, may we manage users?
pub(super) async fn verify(cx: &Ctx<RabbitMq>, connection: &Connection) -> Result<()> {
    let reply = ask(cx, request(connection, Method::Get, "whoami")).await?;
    if !reply.is_success() {
        return Err(refused("failed to validate the connection", &reply));
    }
    let who = remote::document("RabbitMQ", &reply)?;
    // A list since 3.9, before that one text with commas.
    let administers = match who.get("tags") {
        Some(Json::Array(tags)) => tags.iter().any(|tag| tag.as_str() == Some("administrator")),
        Some(Json::String(tags)) => tags.as_str().split(',').any(|tag| tag.trim() == "administrator"),
        _ => false,
    };
    if administers {
        Ok(())
    } else {
        Err(Error::bad_request(
            "failed to validate the connection: that user lacks the tag administrator, which managing users needs",
        ))
    }
}

/// Makes the user with all of the role's permissions. May be repeated.
pub(super) async fn create(
    cx: &Ctx<RabbitMq>,
    connection: &Connection,
    role: &Role,
    user: &str,
    password: &Secret<String>,
) -> Result<()> {
    let body = Object::new().with("password", password.expose().as_str()).with("tags", role.tags.as_str());
    put(cx, connection, &format!("users/{}", escape(user)), body, "the user").await?;
    for (vhost, permissions) in role.vhosts.iter().flatten() {
        let body = Object::new()
            .with("configure", permissions.configure.as_str())
            .with("write", permissions.write.as_str())
            .with("read", permissions.read.as_str());
        put(cx, connection, &format!("permissions/{}/{}", escape(vhost), escape(user)), body, "the user's permissions").await?;
    }
    for (vhost, exchanges) in role.vhost_topics.iter().flatten() {
        for (exchange, permissions) in exchanges {
            let body = Object::new()
                .with("exchange", exchange.as_str())
                .with("write", permissions.write.as_str())
                .with("read", permissions.read.as_str());
            let path = format!("topic-permissions/{}/{}", escape(vhost), escape(user));
            put(cx, connection, &path, body, "the user's permissions on topics").await?;
        }
    }
    Ok(())
}

/// Takes the user away with all permissions; also if there is none.
pub(super) async fn remove(cx: &Ctx<RabbitMq>, connection: &Connection, user: &str) -> Result<()> {
    let reply = ask(cx, request(connection, Method::Delete, &format!("users/{}", escape(user)))).await?;
    if reply.is_success() || is_missing(&reply) { Ok(()) } else { Err(refused("the user could not be removed", &reply)) }
}

/// Whether somebody has that name. Making a user would change one who has, and the end of the lease would take that one away.
pub(super) async fn is_taken(cx: &Ctx<RabbitMq>, connection: &Connection, user: &str) -> Result<bool> {
    let reply = ask(cx, request(connection, Method::Get, &format!("users/{}", escape(user)))).await?;
    match reply.status {
        _ if is_missing(&reply) => Ok(false),
        200 => Ok(true),
        _ => Err(refused("users could not be looked up", &reply)),
    }
}

/// A 404 that is not the management API's own could come from anything at that address.
fn is_missing(reply: &HttpReply) -> bool {
    reply.status == 404 && remote::document("RabbitMQ", reply).is_ok_and(|d| d.get("error").is_some())
}

async fn put(cx: &Ctx<RabbitMq>, connection: &Connection, path: &str, body: Object, what: &str) -> Result<()> {
    let request = request(connection, Method::Put, path).body("application/json", Json::Object(body).to_bytes());
    let reply = ask(cx, request).await?;
    if reply.is_success() { Ok(()) } else { Err(refused(&format!("{what} could not be made"), &reply)) }
}

fn request(connection: &Connection, method: Method, path: &str) -> HttpRequest {
    let pair = Zeroizing::new(format!("{}:{}", connection.username, *connection.password));
    let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.as_bytes()));
    HttpRequest::new(method, format!("{}/api/{path}", connection.uri)).header("authorization", basic)
}

/// The status, and the broker's own word where it has one; its longer text could repeat what was sent.
fn refused(what: &str, reply: &HttpReply) -> Error {
    let document = remote::document("RabbitMQ", reply).unwrap_or_default();
    let word = document.get("error").and_then(Json::as_str).and_then(remote::word);
    let word = word.map(|w| format!(" ({w})")).unwrap_or_default();
    let why = match reply.status {
        401 => ": it does not know that user and password",
        300..=399 => ": it points elsewhere, and no redirect is followed",
        _ => "",
    };
    Error::new(Kind::Upstream, format!("{what}: RabbitMQ answered status {}{word}{why}", reply.status))
}
