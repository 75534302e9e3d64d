//! The login.

use super::Kubernetes;
use super::account::Account;
use super::config::Config;
use super::review::Cluster;
use super::role::{AliasSource, Role};
use super::selector::Selector;
use crate::jwt::claims;
use coffer_crypto::jws::{Algorithm, KeySet, peek, verify};
use coffer_engine::outside::TlsClient;
use coffer_engine::{Ctx, Login, Reply, Request};
use coffer_types::{Error, Kind, Object, Result, Secret};
use std::collections::BTreeMap;

/// Log in with a service account's token.
#[derive(Request)]
pub(super) struct Ask {
    /// The role to log in to.
    #[field(default)]
    role: String,
    /// The token.
    #[field(default = Secret::from(""))]
    jwt: Secret<String>,
}

pub(super) async fn login(cx: Ctx<Kubernetes>, q: Ask) -> Result<Reply> {
    if q.role.is_empty() {
        return Err(Error::bad_request("missing role"));
    }
    if q.jwt.expose().is_empty() {
        return Err(Error::bad_request("missing jwt"));
    }
    let name = q.role.to_lowercase();
    let role = Role::load(&cx, &name).await?.ok_or_else(|| Error::bad_request(format!("invalid role name {name:?}")))?;
    let config = Config::load(&cx).await?;
    let begun = role.token.login_from(cx.call().and_then(|call| call.remote.ip))?;
    let token = q.jwt.expose().trim();
    let said = read(&config, token)?;
    let account = Account::of(&said).ok_or_else(Error::denied)?;
    check(&config, &role, &said, &account, &cx)?;
    let audiences = audiences(&role, &said)?;

    let reviewer = config.reviewer(&cx);
    let chosen = config.tls(&cx).map_err(unasked)?;
    let tls = move || TlsClient { roots: chosen.roots.clone(), ..TlsClient::default() };
    let cluster = |bearer: &Secret<String>| Cluster {
        http: cx.outside().http(),
        address: config.address(),
        bearer: bearer.duplicate(),
        tls: &tls,
    };
    let own = Secret::from(token);
    cluster(reviewer.as_ref().unwrap_or(&own)).review(token, &account, &audiences).await.map_err(unasked)?;

    // Only who is known makes us ask about namespaces.
    if !role.takes_namespace(&account.namespace) {
        let selected = match (Selector::parse(&role.namespace_selector), &reviewer) {
            (Some(selector), Some(reviewer)) => {
                cluster(reviewer).labels(&account.namespace).await.map(|labels| selector.selects(&labels))
            }
            _ => Ok(false),
        };
        if !selected.map_err(|fault| denied("namespace not authorized").with_cause(fault))? {
            return Err(denied("namespace not authorized"));
        }
    }
    Ok(Reply::login(finish(begun, &name, &role, account)))
}

/// The claims: verified where there are keys for it, and else only read, for the API server to judge.
fn read(config: &Config, token: &str) -> Result<Object> {
    let keys = config.keys()?;
    if !keys.is_empty() {
        let verified = verify(token, &KeySet::of_keys(keys), &Algorithm::ALL).map_err(unasked)?;
        return Ok(verified.claims);
    }
    match peek(token) {
        Ok(read) if read.header.is_some() => Ok(read.claims),
        _ => Err(Error::denied()),
    }
}

/// What a token must say by itself, so that the API server is not asked about what could never log in.
fn check(config: &Config, role: &Role, said: &Object, account: &Account, cx: &Ctx<Kubernetes>) -> Result<()> {
    if !role.takes_namespace(&account.namespace) && role.namespace_selector.is_empty() {
        return Err(denied("namespace not authorized"));
    }
    if !role.takes_name(&account.name) {
        return Err(denied("service account name not authorized"));
    }
    if !config.any_issuer {
        let issuer = if config.issuer.is_empty() { "kubernetes/serviceaccount" } else { &config.issuer };
        claims::check_text(said, "iss", issuer).map_err(|_| denied("invalid issuer (iss) claim"))?;
    }
    // Old tokens have no times, and live as long as their secret.
    if ["exp", "nbf", "iat"].iter().any(|name| said.contains(name)) {
        claims::check_times(said, claims::Leeways::default(), cx.now())
            .map_err(|e| denied(e.public().trim_start_matches("error validating token: ").to_owned()))?;
    }
    Ok(())
}

/// The audiences to ask for: the role's, which the token must name, else those that the token names.
fn audiences<'a>(role: &'a Role, said: &'a Object) -> Result<Vec<&'a str>> {
    let named = claims::audiences(said).map_err(|_| Error::denied())?;
    if role.audience.is_empty() {
        return Ok(named);
    }
    if named.contains(&role.audience.as_str()) {
        return Ok(vec![&role.audience]);
    }
    Err(denied("invalid audience (aud) claim: audience claim does not match any expected audience"))
}

fn finish(begun: Login, name: &str, role: &Role, account: Account) -> Login {
    let mut login = begun;
    login.display_name = format!("{}-{}", account.namespace, account.name);
    login.alias = match role.alias {
        AliasSource::Uid => account.uid.clone(),
        AliasSource::Name => format!("{}/{}", account.namespace, account.name),
    };
    login.alias_metadata = BTreeMap::from([
        ("service_account_uid".to_owned(), account.uid),
        ("service_account_name".to_owned(), account.name),
        ("service_account_namespace".to_owned(), account.namespace),
        ("service_account_secret_name".to_owned(), account.secret),
    ]);
    login.metadata = login.alias_metadata.clone();
    login.metadata.insert("role".to_owned(), name.to_owned());
    login.internal.insert("role".to_owned(), name.to_owned());
    login
}

/// A renewal needs the role, and takes over its spans.
pub(super) async fn renew(cx: Ctx<Kubernetes>, mut login: Login) -> Result<Login> {
    let name = login.internal.get("role").cloned().unwrap_or_default();
    let Some(role) = Role::load(&cx, &name).await? else {
        return Err(Error::new(Kind::Internal, format!("role {name:?} does not exist during renewal")));
    };
    login.ttl = role.token.ttl;
    login.max_ttl = role.token.max_ttl;
    login.period = role.token.period;
    Ok(login)
}

fn denied(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::Denied, why)
}

/// Who could not be shown to be someone is denied, whatever the reason; the log reads it.
fn unasked(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::denied().with_cause(why)
}
