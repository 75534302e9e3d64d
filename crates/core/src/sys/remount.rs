//! `sys/remount`: a mount moves to another path, in one commit; its data stays where it is, under its own uuid.

use super::Sys;
use crate::leases::sweep::{self, Sweep};
use crate::mounts;
use coffer_crypto::random::uuid;
use coffer_engine::view::Record;
use coffer_engine::{Ctx, Declare, MountClass, Reply, Request};
use coffer_types::{Error, MountPath, Object, Result, Timestamp};
use serde::{Deserialize, Serialize};

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("remount").about("Move a mount to another path.").sudo().plain(&["from", "to"]).write(remount);
    d.at("remount/status/{migration_id}").about("How a move went.").read(status);
}

const MOVES: &str = "core/moves/";

/// A move, as its status shows it.
#[derive(Serialize, Deserialize)]
struct Move {
    from: String,
    to: String,
}

impl Record for Move {
    const FORMAT: u8 = 1;
}

/// Move a mount.
#[derive(Request)]
struct Remount {
    /// From where.
    #[field(default)]
    from: String,
    /// To where.
    #[field(default)]
    to: String,
}

/// A move by its id.
#[derive(Request)]
struct Named {
    /// The id that the move gave.
    #[field(path)]
    migration_id: String,
}

/// `auth/x` names an auth method.
fn place(text: &str) -> Result<(MountClass, MountPath)> {
    let text = text.trim_matches('/');
    match text.strip_prefix("auth/") {
        Some(rest) => Ok((MountClass::Auth, MountPath::parse(rest)?)),
        None => Ok((MountClass::Engine, MountPath::parse(text)?)),
    }
}

async fn remount(cx: Ctx<Sys>, ask: Remount) -> Result<Reply> {
    let core = cx.engine.core()?;
    let live = core.unsealed()?;
    if ask.from.is_empty() || ask.to.is_empty() {
        return Err(Error::bad_request("both 'from' and 'to' path must be specified as a string"));
    }
    let ((class, from), (to_class, to)) = (place(&ask.from)?, place(&ask.to)?);
    if class != to_class {
        return Err(Error::bad_request("cannot remount between auth methods and secrets engines"));
    }
    super::mounts::refuse_reserved(class, &from, "remount")?;
    super::mounts::refuse_reserved(class, &to, "remount to")?;
    if class == MountClass::Auth && (from.as_str() == "token/" || to.as_str() == "token/") {
        return Err(Error::bad_request("cannot remount \"auth/token/\""));
    }
    let Some(mut record) = mounts::find(&cx.view, class, &from).await? else {
        return Err(Error::bad_request(format!("no matching mount at \"{}/\"", ask.from.trim_matches('/'))));
    };
    // Leases are named by their path: those of the old one end with it, as in the reference.
    let leased = Sweep::of_mount(&record, cx.now());
    if let Some(refused) = sweep::run_now(&core, &live, &leased).await? {
        return Err(refused.into_error());
    }
    // And those that come before this commits: after it the mount leases under its new path.
    sweep::begin(&cx.view, &*core.random, &Sweep { until: Timestamp(i64::MAX), ..leased })?;
    mounts::remove(&cx.view, &record).await?;
    let left = record.whole_path();
    to.as_str().clone_into(&mut record.path);
    mounts::add(&cx.view, &record).await?;
    crate::quotas::follow_mount(&cx.view, &left, Some(&record.whole_path())).await?;
    let id = uuid(&*core.random);
    let shown = |text: &str| format!("{}/", text.trim_matches('/'));
    cx.view.put(&format!("{MOVES}{id}"), &Move { from: shown(&ask.from), to: shown(&ask.to) })?;
    let said = "Mount move has been queued. Progress will be reported in the server's log, tagged with the returned migration_id";
    tracing::info!(target: "core", migration = %id, from = %record.path, "moved a mount");
    Ok(Reply::data(Object::new().with("migration_id", id)).mirrored().warn(said))
}

async fn status(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let found = cx.view.get::<Move>(&format!("{MOVES}{}", ask.migration_id)).await?.ok_or_else(Error::not_found)?;
    let info = Object::new().with("source_mount", found.from).with("target_mount", found.to).with("status", "success");
    Ok(Reply::data(Object::new().with("migration_id", ask.migration_id).with("migration_info", info)))
}
