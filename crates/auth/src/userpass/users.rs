//! The users.

use super::{Legacy, User, Userpass, find, key, normal};
use crate::token::TokenAsk;
use coffer_crypto::password::PasswordHash;
use coffer_engine::{Ctx, NoInput, Reply, Request, Response as _};
use coffer_types::{Error, Name, Result, Secret, Span};
use zeroize::Zeroizing;

/// A user by name.
#[derive(Request)]
pub(super) struct Named {
    /// The user's name. Case makes no difference.
    #[field(path)]
    username: Name,
}

/// Write a user.
#[derive(Request)]
pub(super) struct Write {
    /// The user's name. Case makes no difference.
    #[field(path)]
    username: Name,
    /// The password, of at most 72 bytes.
    password: Option<Secret<String>>,
    /// A bcrypt hash of the password in its place.
    password_hash: Option<Secret<String>>,
    /// Older name of `token_policies`.
    policies: Option<Vec<String>>,
    /// Older name of `token_ttl`.
    ttl: Option<Span>,
    /// Older name of `token_max_ttl`.
    max_ttl: Option<Span>,
    /// Older name of `token_bound_cidrs`.
    bound_cidrs: Option<Vec<String>>,
    #[field(flatten)]
    token: TokenAsk,
}

/// Change a password.
#[derive(Request)]
pub(super) struct Password {
    /// The user's name.
    #[field(path)]
    username: Name,
    /// The password, of at most 72 bytes.
    password: Option<Secret<String>>,
    /// A bcrypt hash of the password in its place.
    password_hash: Option<Secret<String>>,
}

/// Change policies.
#[derive(Request)]
pub(super) struct Policies {
    /// The user's name.
    #[field(path)]
    username: Name,
    /// The policies of the user's tokens.
    token_policies: Option<Vec<String>>,
    /// Older name of `token_policies`.
    policies: Option<Vec<String>>,
}

pub(super) async fn list(cx: Ctx<Userpass>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("user/", None, usize::MAX).await?))
}

pub(super) async fn exists(cx: Ctx<Userpass>, q: Named) -> Result<bool> {
    cx.view.exists(&key(&normal(&q.username)?)).await
}

pub(super) async fn read(cx: Ctx<Userpass>, q: Named) -> Result<Reply> {
    let user = find(&cx, &normal(&q.username)?).await?.ok_or_else(Error::not_found)?;
    let mut shown = user.token.shown().into_object();
    let Legacy { policies, ttl, max_ttl, bound_cidrs } = user.legacy;
    if !policies.is_empty() {
        shown.insert("policies", policies);
    }
    if !ttl.is_zero() {
        shown.insert("ttl", ttl.secs());
    }
    if !max_ttl.is_zero() {
        shown.insert("max_ttl", max_ttl.secs());
    }
    if !bound_cidrs.is_empty() {
        shown.insert("bound_cidrs", bound_cidrs);
    }
    Ok(Reply::data(shown))
}

pub(super) async fn write(cx: Ctx<Userpass>, q: Write) -> Result<Reply<()>> {
    let name = normal(&q.username)?;
    let before = find(&cx, &name).await?;
    if q.password.is_none() && q.password_hash.is_none() && before.is_none() {
        return Err(neither());
    }
    let mut user =
        before.unwrap_or_else(|| User { hash: Zeroizing::default(), token: Default::default(), legacy: Legacy::default() });
    if let Some(hash) = chosen(&cx, q.password, q.password_hash).await? {
        user.hash = Zeroizing::new(hash.as_str().to_owned());
    }
    let mut token = q.token;
    crate::older(&mut token.token_policies, q.policies, &mut user.legacy.policies);
    crate::older(&mut token.token_ttl, q.ttl, &mut user.legacy.ttl);
    crate::older(&mut token.token_max_ttl, q.max_ttl, &mut user.legacy.max_ttl);
    crate::older(&mut token.token_bound_cidrs, q.bound_cidrs, &mut user.legacy.bound_cidrs);
    user.token.update(token)?;
    cx.view.put(&key(&name), &user)?;
    Ok(Reply::empty())
}

pub(super) async fn delete(cx: Ctx<Userpass>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&normal(&q.username)?));
    Ok(Reply::empty())
}

pub(super) async fn password(cx: Ctx<Userpass>, q: Password) -> Result<Reply<()>> {
    let name = normal(&q.username)?;
    let mut user = find(&cx, &name).await?.ok_or_else(unknown)?;
    let hash = chosen(&cx, q.password, q.password_hash).await?.ok_or_else(neither)?;
    user.hash = Zeroizing::new(hash.as_str().to_owned());
    cx.view.put(&key(&name), &user)?;
    Ok(Reply::empty())
}

pub(super) async fn policies(cx: Ctx<Userpass>, q: Policies) -> Result<Reply<()>> {
    let name = normal(&q.username)?;
    let mut user = find(&cx, &name).await?.ok_or_else(unknown)?;
    let mut ask = TokenAsk { token_policies: q.token_policies, ..TokenAsk::default() };
    crate::older(&mut ask.token_policies, q.policies, &mut user.legacy.policies);
    user.token.update(ask)?;
    cx.view.put(&key(&name), &user)?;
    Ok(Reply::empty())
}

/// The hash of what was given; `None` where nothing was.
async fn chosen(
    cx: &Ctx<Userpass>,
    password: Option<Secret<String>>,
    hash: Option<Secret<String>>,
) -> Result<Option<PasswordHash>> {
    let given = |s: Option<Secret<String>>| s.filter(|s| !s.expose().is_empty());
    match (password, hash) {
        (Some(_), Some(_)) => Err(Error::bad_request("only one of password or password_hash may be provided")),
        (None, None) => Ok(None),
        (None, Some(hash)) => PasswordHash::parse(hash.expose())
            .map(Some)
            .ok_or_else(|| Error::bad_request("password_hash is not a valid bcrypt hash")),
        (password, None) => {
            let password = given(password).ok_or_else(neither)?;
            let mut salt = [0; 16];
            cx.fill_random(&mut salt);
            let made = cx.compute(move || PasswordHash::make(password.expose(), salt)).await?;
            made.map(Some).map_err(|_| Error::bad_request("a password has at most 72 bytes: bcrypt looks at no more of it"))
        }
    }
}

fn neither() -> Error {
    Error::bad_request("must provide either password or password_hash")
}

fn unknown() -> Error {
    crate::as_vault_500("username does not exist")
}
