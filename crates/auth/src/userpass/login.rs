//! Logging in. Names that exist and names that don't take the same way: one read, one hash of the same cost, the same
//! words, the same count of failures.

use super::{Userpass, find, normal};
use crate::again::same;
use coffer_crypto::password::PasswordHash;
use coffer_engine::{Ctx, Login, Reply, Request};
use coffer_types::{Error, Name, Result, Secret};

/// Log in.
#[derive(Request)]
pub(super) struct Ask {
    /// The user's name. Case makes no difference.
    #[field(path)]
    username: Name,
    /// The password.
    password: Option<Secret<String>>,
}

pub(super) async fn login(cx: Ctx<Userpass>, q: Ask) -> Result<Reply<()>> {
    let password = q.password.filter(|p| !p.expose().is_empty()).ok_or_else(|| Error::bad_request("missing password"))?;
    let name = normal(&q.username)?;
    let attempt = cx.attempt(&name)?;
    let user = find(&cx, &name).await?;
    let hash = match &user {
        Some(user) => user.hash()?,
        None => PasswordHash::decoy(),
    };
    let holds = cx.compute(move || hash.verify(password.expose())).await?;
    let Some(user) = user.filter(|_| holds) else {
        return Err(attempt.failed(Error::bad_request("invalid username or password")));
    };
    attempt.passed()?;
    let mut login = user.token.login_from(cx.call().and_then(|c| c.remote.ip))?;
    login.display_name.clone_from(&name);
    login.metadata.insert("username".to_owned(), name.clone());
    login.alias = name;
    Ok(Reply::login(login))
}

/// A token lives on while its user does, with the same policies.
pub(super) async fn renew(cx: Ctx<Userpass>, mut login: Login) -> Result<Login> {
    let user = find(&cx, &login.alias).await?.ok_or_else(Error::not_found)?;
    if !same(&user.token.policies, &login.policies) {
        return Err(Error::bad_request("policies have changed, not renewing"));
    }
    (login.ttl, login.max_ttl, login.period) = (user.token.ttl, user.token.max_ttl, user.token.period);
    Ok(login)
}
