//! Logins of databases that no one else has, for a while; and passwords of accounts that are there, changed by the clock.
//!
//! | path | what |
//! | --- | --- |
//! | `config/{name}`, `reset/…`, `reload/…`, `rotate-root/…` | connections |
//! | `roles/{name}`, `creds/{name}` | accounts that are made, under leases |
//! | `static-roles/{name}`, `static-creds/{name}`, `rotate-role/{name}` | accounts that are there |
//!
//! What is told to a database is written down first: an account that is made ([`creds::Making`], an intent), a password that is
//! changed ([`pending`]). What stands in the store, and what happens after a crash: docs/design/database.md.

mod address;
mod bundle;
mod cassandra;
mod certificate;
mod config;
mod credential;
mod creds;
mod cron;
mod mongodb;
mod pending;
mod plugin;
mod role;
mod root;
mod sqlserver;
mod statement;
mod static_role;

use coffer_crypto::random::base62;
use coffer_engine::field::{FieldKind, FromField};
use coffer_engine::outside::{Fault, FaultKind};
use coffer_engine::{Ctx, Declare, Engine, Mount};
use coffer_types::{Error, Json, Kind, Result, lenient};

use crate::username::HostRandom;

pub struct Database;

impl Engine for Database {
    const KIND: &'static str = "database";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Makes logins of databases under leases, and changes passwords by the clock.");
        d.at("config").about("Lists connections to databases.").list(config::list);
        d.at("config/{name}")
            .about("A connection to a database.")
            .plain(&["plugin_name", "plugin_version", "allowed_roles"])
            .read(config::read)
            .write(config::write)
            .exists(config::exists)
            .delete(config::delete);
        d.at("reset/{name}").about("Ends the open connections of one configuration.").write(config::reset);
        d.at("reload/{plugin_name}").about("Ends the open connections of all configurations of a plug-in.").write(config::reload);
        d.at("rotate-root/{name}").about("Changes the password of a connection's own account.").write(root::rotate);
        d.at("roles").about("Lists roles.").list(role::list);
        d.at("roles/{name}")
            .about("What a login that is made may do, and how long.")
            .plain(&["db_name"])
            .read(role::read)
            .write(role::write)
            .exists(role::exists)
            .delete(role::delete);
        d.at("creds/{name}").about("Makes a login of a role.").read(creds::make);
        d.at("static-roles").about("Lists roles of accounts that are there.").list(static_role::list);
        d.at("static-roles/{name}")
            .about("An account that is there, and when its password changes.")
            .plain(&["db_name", "username"])
            .read(static_role::read)
            .write(static_role::write)
            .exists(static_role::exists)
            .delete(static_role::delete);
        d.at("static-creds/{name}").about("The login of an account that is there.").read(static_role::creds);
        d.at("rotate-role/{name}").about("Changes the password of an account that is there, now.").write(static_role::rotate_now);
        d.lease::<creds::Creds>().renew(creds::renew).revoke(creds::revoke);
        d.intent(creds::roll_back);
        d.beat(beat);
    }
}

/// What is due is changed, one account a turn; what a crash has left is cleared up.
async fn beat(cx: Ctx<Database>) -> Result<bool> {
    if static_role::rotate_due(&cx).await? {
        return Ok(true);
    }
    root::settle(&cx).await?;
    static_role::settle(&cx).await?;
    Ok(false)
}

/// A field of several texts in which a single text is one, whatever commas it holds.
pub(crate) struct Strings(pub Vec<String>);

impl FromField for Strings {
    const KIND: FieldKind = FieldKind::Strings;
    fn from_field(value: Json) -> Result<Self> {
        let texts = match &value {
            Json::Array(items) => items.iter().map(lenient::string).collect::<Result<Vec<_>>>()?,
            other => vec![lenient::string(other)?],
        };
        Ok(Self(texts.into_iter().filter(|text| !text.is_empty()).collect()))
    }
}

/// In the words of the reference, with its status.
fn failed(why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Upstream, format!("1 error occurred:\n\t* {why}\n\n"))
}

/// What a database did not do, without the secrets of what it was told.
fn fault(before: &str, fault: &Fault, secrets: &[&str]) -> Error {
    let text = plugin::scrub(&fault.text, secrets);
    if fault.kind == FaultKind::NotBuilt {
        return Error::new(Kind::NotImplemented, text);
    }
    failed(format!("{before}{text}"))
}

/// The same for what did not even get there.
fn failure(before: &str, failure: plugin::Failure, secrets: &[&str]) -> Error {
    match failure {
        plugin::Failure::Template(error) => error,
        plugin::Failure::Database(why) => fault(before, &why, secrets),
    }
}

/// A random word for names that no one guesses.
fn token(cx: &Ctx<Database>) -> String {
    base62(&HostRandom(cx), 16).to_string()
}

/// Whether a name fits a list of patterns in which `*` stands for anything.
fn is_allowed(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| fits(pattern, name))
}

fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(place) = name.find(part) else { return false };
        name = &name[place + part.len()..];
    }
    name.ends_with(last)
}

#[cfg(test)]
mod kinds_tests;
#[cfg(test)]
mod tests;
