//! `sys/locked-users`: who failed to log in too often, and letting them try again.

use super::Sys;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Json, Object, Result};

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("locked-users").about("Users who failed to log in too often.").read(read);
    d.at("locked-users/{mount_accessor}/unlock/{alias_identifier}").about("Lets a locked user try again.").write(unlock);
}

/// Ask for locked users.
#[derive(Request)]
struct Locked {
    /// Only those of this mount.
    #[field(query, default)]
    mount_accessor: String,
}

async fn read(cx: Ctx<Sys>, ask: Locked) -> Result<Reply> {
    let live = cx.engine.core()?.unsealed()?;
    let only = (!ask.mount_accessor.is_empty()).then_some(ask.mount_accessor.as_str());
    let mut locked = live.lockout.locked(only, cx.now());
    if let Some(only) = only {
        locked.entry(only.to_owned()).or_default();
    }
    let total: usize = locked.values().map(Vec::len).sum();
    let mounts: Vec<Object> = locked
        .into_iter()
        .map(|(accessor, names)| {
            let counts = names.len();
            let names = if names.is_empty() { Json::Null } else { Json::from(names) };
            Object::new().with("mount_accessor", accessor).with("counts", counts).with("alias_identifiers", names)
        })
        .collect();
    let root = Object::new()
        .with("namespace_id", "root")
        .with("namespace_path", "")
        .with("counts", total)
        .with("mount_accessors", mounts);
    Ok(Reply::data(Object::new().with("by_namespace", vec![root]).with("total", total)))
}

/// Unlock a user.
#[derive(Request)]
struct Unlock {
    /// The accessor of the auth method's mount.
    #[field(path)]
    mount_accessor: String,
    /// The name that is locked out: a user name, a role id.
    #[field(path)]
    alias_identifier: String,
}

async fn unlock(cx: Ctx<Sys>, ask: Unlock) -> Result<Reply<()>> {
    let live = cx.engine.core()?.unsealed()?;
    live.lockout.forget(&ask.mount_accessor, &ask.alias_identifier.trim().to_lowercase());
    Ok(Reply::empty())
}
