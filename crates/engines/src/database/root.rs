//! The connection's own account: its target, and the change of its password.

use super::config::{self, Config};
use super::credential::Credential;
use super::pending::{self, Note};
use super::plugin::{Accounts, Failure};
use super::{Database, credential, failed, failure};
use coffer_engine::outside::{FaultKind, Script, Target};
use coffer_engine::{Ctx, Reply, Request};
use coffer_types::{Name, Result, Secret};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// Change the password of a connection's own account.
#[derive(Request)]
pub(super) struct Rotate {
    /// Name of the connection.
    #[field(path)]
    name: Name,
}

pub(super) async fn rotate(cx: Ctx<Database>, q: Rotate) -> Result<Reply<()>> {
    let name = q.name.as_str();
    let mut config = config::find(&cx, name).await?;
    let username = config.username()?;
    if username.is_empty() {
        return Err(failed("unable to rotate root credentials: no username in configuration"));
    }
    let before = pending::of_root(&cx, name).await?;
    let target = target(&cx, name, &config).await?;
    let new = credential::password(&cx, &BTreeMap::new(), &config.password_policy).await?;
    let note = pending::note(&cx, "config", name, &new, 0).await?;
    let accounts = Accounts { database: cx.outside().database(), target: &target, manner: config.manner()? };
    let credential = Credential::Password(new.duplicate());
    if let Err(why) = accounts.change(&config.root_rotation_statements, &username, &credential).await {
        if surely_not(&cx, &why, config.target_of(&cx, &username, &new)?).await {
            pending::take_back(&cx, &note).await?;
        }
        return Err(failure("failed to update user: ", why, &[new.expose(), target.password.expose()]));
    }
    keep(&cx, name, &mut config, &new)?;
    for done in before.iter().chain([&note]) {
        cx.view.delete(&done.key);
    }
    Ok(Reply::empty())
}

/// Whom to ask. After a crash in a change of the password the one that works is found out by trying.
pub(super) async fn target(cx: &Ctx<Database>, name: &str, config: &Config) -> Result<Target> {
    let mut target = config.target(cx, name)?;
    let notes = pending::of_root(cx, name).await?;
    if notes.is_empty() || works(cx, &mut target).await != Some(false) {
        return Ok(target);
    }
    for note in notes.iter().rev() {
        if let Some(mut other) = with(cx, name, config, note).await?
            && works(cx, &mut other).await == Some(true)
        {
            return Ok(other);
        }
    }
    Ok(target)
}

/// Clears up what calls have left that did not come to their end.
pub(super) async fn settle(cx: &Ctx<Database>) -> Result<()> {
    for name in pending::names(cx, "config").await? {
        let notes = pending::of_root(cx, &name).await?;
        if notes.is_empty() || !notes.iter().all(|note| note.is_of_age(cx.now())) {
            continue;
        }
        let Some(mut config) = cx.view.get::<Config>(&config::key(&name)).await? else {
            notes.iter().for_each(|note| cx.view.delete(&note.key));
            continue;
        };
        match works(cx, &mut config.target(cx, &name)?).await {
            Some(true) => notes.iter().for_each(|note| cx.view.delete(&note.key)),
            Some(false) => {
                for note in notes.iter().rev() {
                    let Some(mut other) = with(cx, &name, &config, note).await? else { continue };
                    if works(cx, &mut other).await == Some(true) {
                        keep(cx, &name, &mut config, &other.password)?;
                        notes.iter().for_each(|note| cx.view.delete(&note.key));
                        break;
                    }
                }
            }
            // It does not answer: another time.
            None => {}
        }
    }
    Ok(())
}

async fn with(cx: &Ctx<Database>, name: &str, config: &Config, note: &Note) -> Result<Option<Target>> {
    let Some(pending) = note.read(cx).await? else { return Ok(None) };
    let password = Secret::new(pending.password.to_string());
    let mut target = config.target_as(cx, name, &config.username()?, &password)?;
    target.revision.push_str(&note.key);
    Ok(Some(target))
}

/// Whether the database knows this account and password; `None` where it does not say.
pub(super) async fn works(cx: &Ctx<Database>, target: &mut Target) -> Option<bool> {
    // One that was opened before says nothing of the password now.
    let pool = std::mem::take(&mut target.pool);
    let said = cx.outside().database().run(target, Script::nothing()).await;
    target.pool = pool;
    match said {
        Ok(_) => Some(true),
        Err(fault) => (fault.kind == FaultKind::Credentials).then_some(false),
    }
}

/// Whether a change that failed surely left the old password: several statements may have been half done.
pub(super) async fn surely_not(cx: &Ctx<Database>, why: &Failure, mut with_new: Target) -> bool {
    match why {
        Failure::Template(_) => true,
        Failure::Database(fault) => fault.is_refusal() && works(cx, &mut with_new).await == Some(false),
    }
}

fn keep(cx: &Ctx<Database>, name: &str, config: &mut Config, password: &Secret<String>) -> Result<()> {
    config.password = Zeroizing::new(password.expose().clone());
    config.revision = super::token(cx);
    cx.view.put(&config::key(name), config)?;
    cx.outside().database().forget(&config::pool(cx, name));
    Ok(())
}
