//! Logging in, and being asked again.

use super::api::Api;
use super::{GitHub, config, maps};
use crate::again;
use crate::names::set;
use coffer_engine::{Ctx, Login, Reply, Request};
use coffer_types::{Error, Result, Secret};

/// Log in.
#[derive(Request)]
pub(super) struct Ask {
    /// A personal access token of GitHub.
    token: Option<Secret<String>>,
}

/// Under this the token stands in the login's private data.
const TOKEN: &str = "token";

pub(super) async fn login(cx: Ctx<GitHub>, q: Ask) -> Result<Reply<()>> {
    let token = q.token.filter(|token| !token.expose().is_empty()).ok_or_else(|| Error::bad_request("missing token"))?;
    Ok(Reply::login(verify(&cx, &token).await?))
}

/// The person must still be there, with the same policies; groups are as they are now.
pub(super) async fn renew(cx: Ctx<GitHub>, login: Login) -> Result<Login> {
    let token = Secret::from(login.internal.get(TOKEN).cloned().unwrap_or_default());
    let now = verify(&cx, &token).await?;
    if now.alias != login.alias || !again::same(&now.policies, &login.policies) {
        return Err(Error::bad_request("policies do not match"));
    }
    Ok(now)
}

async fn verify(cx: &Ctx<GitHub>, token: &Secret<String>) -> Result<Login> {
    let config = config::load(cx).await?.ok_or_else(|| Error::bad_request("configuration has not been set"))?;
    // Whom the networks exclude does not get as far as GitHub.
    let mut login = config.token.login_from(cx.call().and_then(|call| call.remote.ip))?;
    let api = Api::new(cx, &config, Some(token))?;
    let user = api.user().await?;
    let organizations = api.organizations().await?;
    let Some(organization) = organizations.into_iter().find(|organization| organization.id == config.organization_id) else {
        return Err(Error::bad_request("user is not part of required org"));
    };
    let teams = api.teams().await?.into_iter().filter(|team| team.organization.id == organization.id);
    let teams = set(teams.flat_map(|team| [team.slug.to_lowercase(), team.name]));
    login.policies.extend(maps::policies(cx, &teams, &user.login).await?);
    login.policies = set(std::mem::take(&mut login.policies));
    login.metadata = [("username", &user.login), ("org", &organization.login)].map(|(k, v)| (k.to_owned(), v.clone())).into();
    login.group_aliases = teams;
    login.internal.insert(TOKEN.to_owned(), token.expose().clone());
    login.display_name.clone_from(&user.login);
    login.alias = user.login;
    Ok(login)
}
