//! Credentials: users of IAM, made, kept and taken away; sessions of STS.

use super::config::{self, DEFAULT_TEMPLATE, FIELDS, Root};
use super::roles::{self, CredentialType, Role};
use super::{Aws, iam, sts};
use crate::username::{HostRandom, Source, Template};
use coffer_engine::{Ctx, Intent, LeaseKind, Record, Reply, Request, Terms};
use coffer_types::{Error, Json, Name, Object, Result, Span};
use serde::{Deserialize, Serialize};

/// What AWS takes as the name of a session.
const SESSION_NAME: usize = 64;
/// How long a session lives where nobody says.
const SESSION: Span = Span::from_secs(3600);

/// Generate credentials of a role.
#[derive(Request)]
pub(super) struct Ask {
    /// Name of the role.
    #[field(path)]
    name: Name,
    /// Which of the role's roles to assume; may be left out where there is one.
    #[field(default)]
    role_arn: String,
    /// Name of the session, for `assumed_role`.
    #[field(default)]
    role_session_name: String,
    /// How long the session is to live; not for `iam_user`.
    ttl: Option<Span>,
    /// Code of the role's MFA device, for `session_token`.
    #[field(default)]
    mfa_code: String,
}

/// An IAM user, for renewal and revocation.
#[derive(Serialize, Deserialize)]
pub(super) struct User {
    username: String,
}

impl Record for User {
    const FORMAT: u8 = 1;
}

impl LeaseKind for User {
    const NAME: &'static str = "user";
}

/// A session: it can't be ended before its time.
#[derive(Serialize, Deserialize)]
pub(super) struct Session {}

impl Record for Session {
    const FORMAT: u8 = 1;
}

impl LeaseKind for Session {
    const NAME: &'static str = "session";
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

pub(super) async fn generate(cx: Ctx<Aws>, q: Ask) -> Result<Reply> {
    let role = roles::find(&cx, &q.name).await?.ok_or_else(|| Error::bad_request(format!("Role '{}' not found", q.name)))?;
    refuse_misfits(&role, &q)?;
    let root = config::root(&cx).await?;
    if role.credential_type == CredentialType::IamUser {
        user(&cx, &root, &role, &q).await
    } else {
        session(&cx, &root, &role, &q).await
    }
}

/// A field that has no effect on credentials of this kind.
fn refuse_misfits(role: &Role, q: &Ask) -> Result<()> {
    let kind = role.credential_type;
    let assumes = kind == CredentialType::AssumedRole;
    for (field, given, fits) in [
        ("role_arn", !q.role_arn.is_empty(), assumes),
        ("role_session_name", !q.role_session_name.is_empty(), assumes),
        ("mfa_code", !q.mfa_code.is_empty(), kind == CredentialType::SessionToken),
        ("ttl", q.ttl.is_some_and(|ttl| !ttl.is_zero()), kind != CredentialType::IamUser),
    ] {
        if given && !fits {
            return Err(Error::bad_request(format!(
                "{field} has no effect on credentials of type {}: leave it out",
                kind.as_str()
            )));
        }
    }
    if q.ttl.is_some_and(Span::is_negative) {
        return Err(Error::bad_request("ttl must not be negative"));
    }
    Ok(())
}

async fn user(cx: &Ctx<Aws>, root: &Root, role: &Role, q: &Ask) -> Result<Reply> {
    let username = made_name(cx, root, "IAM", q.name.as_str())?;
    if username.len() > 64 {
        return Err(Error::bad_request("the template makes a name of over 64 characters, which IAM does not take"));
    }
    let lifetimes = config::lifetimes(cx).await?;
    let noted = cx.intend(&Making { username: username.clone() }).await?;
    if let Err(refused) = iam::create_user(cx, root, role, &username).await {
        // The user of that name, if there is one, is not ours: the note must not take it away.
        if refused.is_certain() {
            cx.undone(noted).await?;
        }
        return Err(refused.into());
    }
    let (access_key, secret_key) = match iam::equip(cx, root, role, &username, &plain(q.name.as_str())).await {
        Ok(key) => key,
        Err(refused) => {
            // At once where that works; else the note does it later.
            if iam::remove_user(cx, root, &username).await.is_ok() {
                cx.undone(noted).await?;
            }
            return Err(refused.into());
        }
    };
    cx.done(noted);
    let data = Object::new()
        .with("access_key", access_key)
        .with("secret_key", secret_key.expose().as_str())
        .with("security_token", Json::Null)
        .with("session_token", Json::Null);
    Reply::leased(data, &User { username }, Terms { ttl: lifetimes.lease, max_ttl: lifetimes.lease_max, renewable: true })
}

async fn session(cx: &Ctx<Aws>, root: &Root, role: &Role, q: &Ask) -> Result<Reply> {
    let role_arn = match (q.role_arn.as_str(), role.role_arns.as_slice()) {
        ("", [only]) => only.as_str(),
        ("", []) => "",
        ("", _) => {
            return Err(Error::bad_request(
                "did not supply a role_arn parameter and unable to determine one: the role allows several",
            ));
        }
        (asked, allowed) => match allowed.iter().find(|arn| *arn == asked) {
            Some(arn) => arn.as_str(),
            None => return Err(Error::bad_request(format!("role_arn is not in allowed role arns for role '{}'", q.name))),
        },
    };
    let name = match role.credential_type {
        CredentialType::FederationToken => made_name(cx, root, "STS", q.name.as_str())?,
        _ if q.role_session_name.is_empty() => made_name(cx, root, "IAM", q.name.as_str())?,
        _ => plain(&q.role_session_name).chars().take(SESSION_NAME).collect(),
    };
    if role.credential_type == CredentialType::FederationToken && name.len() > 32 {
        return Err(Error::bad_request("the template makes a name of over 32 characters, which STS does not take"));
    }
    let wanted =
        q.ttl.filter(|ttl| !ttl.is_zero()).unwrap_or(if role.default_sts_ttl.is_zero() { SESSION } else { role.default_sts_ttl });
    let mount_max = cx.mount().max_lease_ttl;
    let max = if role.max_sts_ttl.is_zero() { mount_max } else { role.max_sts_ttl.min(mount_max) };
    let ttl = wanted.min(max);
    let made = sts::session(cx, root, role, sts::Ask { role_arn, name: &name, ttl, mfa_code: &q.mfa_code }).await?;
    let mut data = Object::new()
        .with("access_key", made.access_key)
        .with("secret_key", made.secret_key.expose().as_str())
        .with("security_token", made.token.expose().as_str())
        .with("session_token", made.token.expose().as_str());
    if let Some(arn) = made.arn {
        data.insert("arn", arn);
    }
    data.insert("ttl", made.left.secs());
    let reply = Reply::leased(data, &Session {}, Terms { ttl: made.left, max_ttl: made.left, renewable: false })?;
    Ok(if ttl < wanted { reply.warn(format!("the TTL of {wanted} is over the maximum; it is capped to {ttl}")) } else { reply })
}

/// A name by the configured template.
fn made_name(cx: &Ctx<Aws>, root: &Root, kind: &str, role: &str) -> Result<String> {
    let text = if root.username_template.is_empty() { DEFAULT_TEMPLATE } else { &root.username_template };
    let display = plain(cx.principal().map_or("", |p| &p.display_name));
    let role = plain(role);
    let source = Source { now: cx.now(), random: &HostRandom(cx) };
    let fields = [("Type", kind), ("DisplayName", display.as_str()), ("PolicyName", role.as_str()), ("RoleName", role.as_str())];
    Template::parse(text, FIELDS)?.render(&fields, &source)
}

/// With `_` for what AWS takes in no name.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "+=,.@_-".contains(c) { c } else { '_' }).collect()
}

pub(super) async fn renew(cx: Ctx<Aws>, _: User) -> Result<Terms> {
    let lifetimes = config::lifetimes(&cx).await?;
    Ok(Terms { ttl: lifetimes.lease, max_ttl: lifetimes.lease_max, renewable: true })
}

pub(super) async fn revoke(cx: Ctx<Aws>, lease: User) -> Result<()> {
    let root = config::root(&cx).await?;
    iam::remove_user(&cx, &root, &lease.username).await
}

/// AWS has no call for it: a session ends at its time.
pub(super) async fn end_session(_: Ctx<Aws>, _: Session) -> Result<()> {
    Ok(())
}

pub(super) async fn roll_back(cx: Ctx<Aws>, note: Making) -> Result<()> {
    let root = config::root(&cx).await?;
    iam::remove_user(&cx, &root, &note.username).await
}
