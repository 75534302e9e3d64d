//! The auth method `ldap`: a person proves who they are to a directory, which says what groups they are in.
//! <https://developer.hashicorp.com/vault/api-docs/auth/ldap>
//!
//! No password of a person is kept: a renewal looks the person up again with the mount's own account, and where the mount has
//! none, its tokens don't renew.

mod config;
mod names;
mod policies;
mod session;

use coffer_engine::{Ctx, Declare, Engine, Login, Mount, Reply, Request};
use coffer_types::{Error, Result, Secret};
use config::Config;
use names::{UserName, normal};
use session::Person;
use std::collections::{BTreeMap, BTreeSet};

pub struct Ldap;

impl Engine for Ldap {
    const KIND: &'static str = "ldap";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs people in with the password that a directory (LDAP) knows of them.");
        d.at("config")
            .about("Says where the directory is and how people and groups are found in it.")
            .read(config::read)
            .write(config::write)
            .exists(config::exists);
        d.at("config/rotate-root").about("Gives the account that searches a new password.").write(config::rotate_root);
        d.at("users").about("Lists the people with policies or groups of their own.").list(policies::list_users);
        d.at("users/{name}")
            .about("Gives one person policies and groups besides those of the directory.")
            .read(policies::read_user)
            .write(policies::write_user)
            .exists(policies::user_exists)
            .delete(policies::delete_user);
        d.at("groups").about("Lists the groups with policies.").list(policies::list_groups);
        d.at("groups/{name}")
            .about("Gives the members of a group policies.")
            .read(policies::read_group)
            .write(policies::write_group)
            .exists(policies::group_exists)
            .delete(policies::delete_group);
        d.at("login/{username}").about("Logs a person in.").public().write(login);
        d.renew_login(renew);
    }
}

/// Logs in with the password that the directory knows.
#[derive(Request)]
struct LoginAsk {
    /// The name to log in with.
    #[field(path)]
    username: String,
    /// The password.
    #[field(default = Secret::from(""))]
    password: Secret<String>,
}

/// Every login that fails on a name or password reads this, whatever there is.
fn refused() -> Error {
    Error::bad_request("ldap operation failed: failed to bind as user")
}

async fn login(cx: Ctx<Ldap>, ask: LoginAsk) -> Result<Reply> {
    let config = config::load(&cx).await?.ok_or_else(|| Error::bad_request("ldap backend not configured"))?;
    let mut login = config.token.login_from(cx.call().and_then(|call| call.remote.ip))?;
    let attempt = cx.attempt(&ask.username)?;
    let Some(name) = UserName::parse(&ask.username) else { return Err(attempt.failed(refused())) };
    let mut decoy = [0u8; 16];
    cx.fill_random(&mut decoy);
    let next = config::next_passwords(&cx).await?;
    let mut session = session::connect(&cx, &config).await?;
    let person = session.prove(&config, &next, &name, &ask.password, &hex::encode(decoy)).await?;
    let Some(person) = person else { return Err(attempt.failed(refused())) };
    attempt.passed()?;
    grant(&cx, &config, &name, &person, &mut login).await?;
    Ok(Reply::login(login))
}

/// Looks the person up again: they must be there as the same entry, and have the same policies.
async fn renew(cx: Ctx<Ldap>, mut login: Login) -> Result<Login> {
    let gone = || Error::bad_request("the login no longer holds: log in again");
    let config = config::load(&cx).await?.ok_or_else(gone)?;
    let name = login.internal.get("username").and_then(|name| UserName::parse(name)).ok_or_else(gone)?;
    let next = config::next_passwords(&cx).await?;
    let mut session = session::connect(&cx, &config).await?;
    let person = session.look_up(&config, &next, &name).await?.ok_or_else(gone)?;
    if login.internal.get("dn") != Some(&person.dn) {
        return Err(gone());
    }
    let mut again = config.token.login();
    grant(&cx, &config, &name, &person, &mut again).await?;
    let sorted = |policies: &[String]| policies.iter().cloned().collect::<BTreeSet<_>>();
    if sorted(&again.policies) != sorted(&login.policies) {
        return Err(Error::bad_request("policies have changed, not renewing"));
    }
    login.group_aliases = again.group_aliases;
    (login.ttl, login.max_ttl, login.period) = (again.ttl, again.max_ttl, again.period);
    Ok(login)
}

/// Adds who it is and what they may do.
async fn grant(cx: &Ctx<Ldap>, config: &Config, name: &UserName, person: &Person, login: &mut Login) -> Result<()> {
    let local = normal(name.as_str(), config.case_sensitive_names);
    let (policies, groups) = policies::of(cx, &local, &person.groups, config.case_sensitive_names).await?;
    for policy in policies {
        if !login.policies.contains(&policy) {
            login.policies.push(policy);
        }
    }
    login.display_name = local;
    login.metadata = BTreeMap::from([("username".to_owned(), name.as_str().to_owned())]);
    login.alias.clone_from(&person.alias);
    login.alias_metadata = BTreeMap::from([("name".to_owned(), name.as_str().to_owned())]);
    login.group_aliases = groups;
    login.renewable = config.looks_people_up();
    login.internal = BTreeMap::from([("username".to_owned(), name.as_str().to_owned()), ("dn".to_owned(), person.dn.clone())]);
    Ok(())
}

#[cfg(test)]
mod tests;
