//! Role tags: what a machine's tag may take away from its role. A tag is text that anyone can read and only this mount can make:
//! `v1:<nonce>:r=<role>[:i=…][:p=…][:d=true][:m=true][:t=…]:<HMAC-SHA256 in base64>`, keyed with a key of the mount's own.

use super::roles::{self, Role};
use super::{Aws, Tidy};
use crate::names::set;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::mac;
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// Stored in format 1 under `tag-key`, 32 bytes in hexadecimal.
#[derive(Serialize, Deserialize)]
struct Key(Zeroizing<String>);

impl Record for Key {
    const FORMAT: u8 = 1;
}

/// Stored in format 1 under `denied/<SHA-256 of the tag>`.
#[derive(Serialize, Deserialize)]
struct Denied {
    tag: String,
    created: Timestamp,
    expires: Timestamp,
}

impl Record for Denied {
    const FORMAT: u8 = 1;
}

/// Make a role tag.
#[derive(Request)]
pub(super) struct Make {
    /// The role.
    #[field(path)]
    role: String,
    /// Policies, some of the role's; none leaves "default" alone.
    policies: Option<Vec<String>>,
    /// The longest life of tokens.
    #[field(default)]
    max_ttl: Span,
    /// The one machine that may have the tag.
    #[field(default)]
    instance_id: String,
    /// Take a machine that has moved.
    #[field(default)]
    allow_instance_migration: bool,
    /// One token a machine.
    #[field(default)]
    disallow_reauthentication: bool,
}

/// A role tag.
#[derive(Response)]
pub(super) struct Made {
    /// The tag's key.
    tag_key: String,
    /// The tag's value.
    tag_value: String,
}

pub(super) async fn make(cx: Ctx<Aws>, q: Make) -> Result<Reply<Made>> {
    let role: Role = cx.view.get(&roles::key(&q.role)?).await?.ok_or_else(|| Error::bad_request("entry not found for role"))?;
    if role.role_tag.is_empty() {
        return Err(Error::bad_request("tag creation is not enabled for this role"));
    }
    if q.allow_instance_migration && q.disallow_reauthentication {
        return Err(Error::bad_request("cannot specify both disallow_reauthentication and allow_instance_migration"));
    }
    if q.max_ttl.is_negative() || !role.token.max_ttl.is_zero() && q.max_ttl > role.token.max_ttl {
        return Err(Error::bad_request("max_ttl must not be negative nor more than the role's"));
    }
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@'));
    let policies = q.policies.map(set).unwrap_or_default();
    if policies.iter().any(|policy| policy != "default" && !role.token.policies.contains(policy)) {
        return Err(Error::bad_request("policies must be some of the role's"));
    }
    if !plain(&q.instance_id) || !policies.iter().all(|policy| plain(policy)) {
        return Err(Error::bad_request("instance_id or a policy has a character that a tag may not have"));
    }
    let mut nonce = [0; 8];
    cx.fill_random(&mut nonce);
    let mut text = format!("v1:{}:r={}", STANDARD.encode(nonce), crate::names::normal(&q.role)?);
    if !q.instance_id.is_empty() {
        text = format!("{text}:i={}", q.instance_id);
    }
    if !policies.is_empty() {
        text = format!("{text}:p={}", policies.join(","));
    }
    text.push_str(if q.disallow_reauthentication { ":d=true" } else { ":d=false" });
    text.push_str(if q.allow_instance_migration { ":m=true" } else { ":m=false" });
    if !q.max_ttl.is_zero() {
        write!(text, ":t={}", q.max_ttl).map_err(|e| Error::internal("a text").with_cause(e))?;
    }
    let tag_value = format!("{text}:{}", STANDARD.encode(seal(&cx, &text, true).await?));
    if tag_value.len() > 255 {
        return Err(Error::bad_request("role tag value exceeded 255 characters: choose fewer policies"));
    }
    Ok(Reply::data(Made { tag_key: role.role_tag, tag_value }))
}

/// The HMAC of a tag's text; without a key, and if none may be made, of nothing that could ever have been made.
async fn seal(cx: &Ctx<Aws>, text: &str, make: bool) -> Result<[u8; 32]> {
    let key = match cx.view.get::<Key>("tag-key").await? {
        Some(Key(key)) => hex::decode(&*key).map_err(|e| Error::internal("the key of role tags").with_cause(e))?,
        None => {
            let mut key = vec![0; 32];
            cx.fill_random(&mut key);
            if make {
                cx.view.put("tag-key", &Key(hex::encode(&key).into()))?;
            }
            key
        }
    };
    Ok(mac::HmacKey::new(&key).tag(text.as_bytes()))
}

/// Names a role tag.
#[derive(Request)]
pub(super) struct Named {
    /// The tag's value as it is, or in base64.
    #[field(path)]
    role_tag: String,
}

/// The tag as text, whoever made it.
fn plain(given: &str) -> Result<String> {
    if given.starts_with("v1:") {
        return Ok(given.to_owned());
    }
    let text = STANDARD.decode(given).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(|text| text.trim().to_owned())
        .filter(|text| text.starts_with("v1:"))
        .ok_or_else(|| Error::bad_request("role_tag is no role tag"))
}

fn key(tag: &str) -> String {
    format!("denied/{}", hex::encode(mac::sha256(&[tag.as_bytes()])))
}

pub(super) async fn refuse(cx: Ctx<Aws>, q: Named) -> Result<Reply<()>> {
    let tag = plain(&q.role_tag)?;
    let ours = tag.rsplit_once(':').map(|(text, mac)| (text, STANDARD.decode(mac).unwrap_or_default()));
    let (text, given) = ours.ok_or_else(|| Error::bad_request("role_tag is no role tag"))?;
    if !mac::ct_eq(&seal(&cx, text, false).await?, &given) {
        return Err(Error::bad_request("role tag verification failed: it was not made here"));
    }
    let part = |name: &str| text.split(':').find_map(|part| part.strip_prefix(name));
    let role: Option<Role> = match part("r=") {
        Some(role) => cx.view.get(&roles::key(role)?).await?,
        None => None,
    };
    let role = role.ok_or_else(|| Error::bad_request("role entry not found"))?;
    // A tag can be of use as long as the longest of its tokens lives.
    let own = part("t=").map(Span::parse).transpose()?.unwrap_or_default();
    let mount = cx.mount().max_lease_ttl;
    let longest = [own, role.token.max_ttl].into_iter().filter(|span| !span.is_zero()).fold(mount, Span::min);
    let denied = Denied { created: cx.now(), expires: cx.now().plus(longest.duration()), tag: tag.clone() };
    cx.view.put(&key(&tag), &denied)?;
    Ok(Reply::empty())
}

/// When a tag was refused.
#[derive(Response)]
pub(super) struct Shown {
    /// When it was refused.
    creation_time: String,
    /// When no token of it can be left.
    expiration_time: String,
}

pub(super) async fn read(cx: Ctx<Aws>, q: Named) -> Result<Reply<Shown>> {
    let denied: Denied = cx.view.get(&key(&plain(&q.role_tag)?)).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown { creation_time: denied.created.rfc3339(), expiration_time: denied.expires.rfc3339() }))
}

pub(super) async fn delete(cx: Ctx<Aws>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&plain(&q.role_tag)?));
    Ok(Reply::empty())
}

pub(super) async fn list(cx: Ctx<Aws>, _: NoInput) -> Result<Reply> {
    let mut tags = Vec::new();
    for name in cx.view.children("denied/", None, usize::MAX).await? {
        if let Some(denied) = cx.view.get::<Denied>(&format!("denied/{name}")).await? {
            tags.push(STANDARD.encode(denied.tag));
        }
    }
    tags.sort_unstable();
    Ok(Reply::list(tags))
}

pub(super) async fn tidy(cx: Ctx<Aws>, q: Tidy) -> Result<Reply<()>> {
    if q.safety_buffer.is_negative() {
        return Err(Error::bad_request("safety_buffer must not be negative"));
    }
    for name in cx.view.children("denied/", None, usize::MAX).await? {
        let key = format!("denied/{name}");
        if let Some(denied) = cx.view.get::<Denied>(&key).await?
            && denied.expires.plus(q.safety_buffer.duration()) < cx.now()
        {
            cx.view.delete(&key);
        }
    }
    Ok(Reply::empty())
}
