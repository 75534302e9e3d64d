//! The login with a token, and what every login of the method ends in.

use super::Method;
use super::claims;
use super::config::Config;
use super::keys::verify_with;
use super::role::{Role, RoleKind};
use coffer_crypto::jws::KeySet;
use coffer_engine::{Ctx, Login, Reply, Request};
use coffer_types::{Error, Kind, Object, Result, Secret};

/// Log in with a token.
#[derive(Request)]
pub(crate) struct Ask {
    /// The role to log in to; the configured one if empty.
    #[field(default)]
    role: String,
    /// The signed token.
    #[field(default = Secret::from(""))]
    jwt: Secret<String>,
}

pub(crate) async fn login<const O: bool>(cx: Ctx<Method<O>>, q: Ask) -> Result<Reply> {
    let config = Config::load(&cx).await?;
    if q.jwt.expose().is_empty() {
        return Err(Error::bad_request("missing token"));
    }
    let (name, role) = role_of(&cx, &config, &q.role).await?;
    if role.kind == RoleKind::Oidc {
        return Err(Error::bad_request("role with oidc role_type is not allowed"));
    }
    // Before the token is looked at: who may not come from there learns nothing of it.
    let begun = role.token.login_from(cx.call().and_then(|call| call.remote.ip))?;
    let token = q.jwt.expose().trim();
    let allowed = config.algorithms();
    let verified = match config.remote() {
        Some(remote) => cx.engine.keys.verify(cx.outside().http(), &remote, token, &allowed, cx.now()).await?,
        None => verify_with(&KeySet::of_keys(config.own_keys()?), token, &allowed)?,
    };
    let claims = &verified.claims;
    claims::check_text(claims, "iss", &config.bound_issuer)?;
    claims::check_text(claims, "sub", &role.bound_subject)?;
    claims::check_times(claims, role.leeways, cx.now())?;
    claims::check_audience(claims, &role.bound_audiences)?;
    claims::check_bound(claims, &role.bound_claims(), role.bound_claims_kind)?;
    Ok(Reply::login(finish(begun, &name, &role, claims)?))
}

/// The role that a login means, and its name.
///
/// # Errors
/// None was meant, or it is not there.
pub(crate) async fn role_of<const O: bool>(cx: &Ctx<Method<O>>, config: &Config, asked: &str) -> Result<(String, Role)> {
    let name = if asked.is_empty() { config.default_role.clone() } else { asked.to_lowercase() };
    if name.is_empty() {
        return Err(Error::bad_request("missing role"));
    }
    match Role::load(cx, &name).await? {
        Some(role) => Ok((name, role)),
        None => Err(Error::bad_request(format!("role {name:?} could not be found"))),
    }
}

/// The login of whom the claims name. The claims were checked: this reads from them who it is.
///
/// # Errors
/// The claims do not say so.
pub(crate) fn finish(begun: Login, name: &str, role: &Role, claims: &Object) -> Result<Login> {
    let user = claims::user(claims, &role.user_claim, role.user_claim_json_pointer)?;
    let mut metadata = claims::metadata(claims, &role.claim_mappings)?;
    metadata.insert("role".to_owned(), name.to_owned());
    let mut login = begun;
    if role.template_policies {
        login.policies = login.policies.iter().filter_map(|policy| claims::policy(policy, claims)).collect();
    }
    login.display_name = user.to_owned();
    login.alias = user.to_owned();
    login.alias_metadata = metadata.clone();
    login.metadata = metadata;
    login.group_aliases = claims::groups(claims, &role.groups_claim)?;
    login.internal.insert("role".to_owned(), name.to_owned());
    Ok(login)
}

/// A renewal needs the role, and takes over its spans.
pub(crate) async fn renew<const O: bool>(cx: Ctx<Method<O>>, mut login: Login) -> Result<Login> {
    let name = login.internal.get("role").cloned().unwrap_or_default();
    let Some(role) = Role::load(&cx, &name).await? else {
        return Err(Error::new(Kind::Internal, format!("role {name} does not exist during renewal")));
    };
    login.ttl = role.token.ttl;
    login.max_ttl = role.token.max_ttl;
    login.period = role.token.period;
    Ok(login)
}
