//! Ending leases and tokens.

use super::record::{self, BY_TOKEN, LeaseRecord, RECORDS, STUCK, Stuck, Subject};
use crate::barrier::{Committed, Transaction};
use crate::core::Core;
use crate::live::{Live, Unsealed};
use crate::mounts;
use crate::pipeline::CallHost;
use crate::router::Mounted;
use crate::tokens::record::{ACCESSORS, CHILDREN, TokenRecord};
use coffer_engine::context::Inner;
use coffer_engine::view::{Txn, View};
use coffer_types::{Error, Result, Timestamp};
use std::sync::Arc;
use std::time::Duration;

/// After so many failures a lease is called stuck; it is still tried, at the longest interval.
pub const STUCK_AFTER: u32 = 6;

/// Ends a token and what hangs on it, in this transaction: its children, its cubbyhole, its lease. Leases of engines
/// that belong to it become due at once; the expirer revokes them, and tries again where that fails.
pub async fn end_token(live: &Live, view: &View, token: &TokenRecord, now: Timestamp) -> Result<()> {
    let mut ending = vec![token.clone()];
    while let Some(token) = ending.pop() {
        for child in view.children(&format!("{CHILDREN}{}/", token.key), None, usize::MAX).await? {
            if let Some(child) = live.tokens.get_key(view, &child).await? {
                ending.push(child);
            }
        }
        end_one(live, view, &token, now).await?;
    }
    Ok(())
}

/// Ends a token and makes its children orphans.
pub async fn end_token_keep_children(live: &Live, view: &View, token: &TokenRecord, now: Timestamp) -> Result<()> {
    for child in view.children(&format!("{CHILDREN}{}/", token.key), None, usize::MAX).await? {
        view.delete(&format!("{CHILDREN}{}/{child}", token.key));
        if let Some(mut child) = live.tokens.get_key(view, &child).await? {
            child.parent = String::new();
            live.tokens.update(view, &child)?;
        }
    }
    end_one(live, view, token, now).await
}

async fn end_one(live: &Live, view: &View, token: &TokenRecord, now: Timestamp) -> Result<()> {
    view.delete(&format!("{}{}", crate::tokens::record::RECORDS, token.key));
    view.delete(&format!("{ACCESSORS}{}", token.accessor));
    if !token.parent.is_empty() {
        view.delete(&format!("{CHILDREN}{}/{}", token.parent, token.key));
    }
    if !token.cubbyhole.is_empty()
        && let Some(cubbyhole) = live.router.load().at("cubbyhole/")
    {
        for key in view.keys(&format!("{}{}/", cubbyhole.prefix, token.cubbyhole), None, usize::MAX).await? {
            view.delete(&key);
        }
    }
    if token.wrapping {
        view.delete(&format!("{}{}", crate::wrapping::CONTENT, token.key));
    }
    if let Some(lease) = record::get(view, &record::token_lease_id(token)).await? {
        record::forget(view, &lease);
    }
    let owned = format!("{BY_TOKEN}{}/", token.key);
    for key in view.keys(&owned, None, usize::MAX).await? {
        if let Some(mut lease) = record::get(view, &key[owned.len()..]).await? {
            record::move_to(view, &mut lease, now)?;
        }
    }
    Ok(())
}

/// What a token made while the commit that ended it was under way: lists are no preconditions, so that commit did not see
/// it. Whatever came before it is visible now, and nothing can come after it, since the token's record is gone.
pub async fn end_what_came_late(live: &Live, written: &[String]) -> Result<()> {
    let token_keys = |keys: &[String]| -> Vec<String> {
        keys.iter().filter_map(|k| k.strip_prefix(crate::tokens::record::RECORDS)).map(str::to_owned).collect()
    };
    let mut ended = token_keys(written);
    while let Some(token) = ended.pop() {
        loop {
            let txn = live.barrier.begin();
            let view = txn.root_view();
            if live.tokens.get_key(&view, &token).await?.is_some() {
                break;
            }
            let now = live.core()?.clock.now();
            for child in view.children(&format!("{CHILDREN}{token}/"), None, usize::MAX).await? {
                if let Some(child) = live.tokens.get_key(&view, &child).await? {
                    end_token(live, &view, &child, now).await?;
                }
            }
            let owned = format!("{BY_TOKEN}{token}/");
            for key in view.keys(&owned, None, usize::MAX).await? {
                if let Some(mut lease) = record::get(&view, &key[owned.len()..]).await?.filter(|l| l.due > now) {
                    record::move_to(&view, &mut lease, now)?;
                }
            }
            // Nothing came late, or it has ended too, with what it may have made itself.
            if let Committed::Done(keys) = txn.commit().await? {
                ended.extend(token_keys(&keys));
                break;
            }
        }
    }
    Ok(())
}

/// Revokes one lease now. What its engine refuses stays, due again later, with the reason.
pub async fn revoke(core: &Arc<Core>, live: &Unsealed, id: &str) -> Result<()> {
    for _ in 0..8 {
        let txn = live.barrier.begin();
        let view = txn.root_view();
        let Some(lease) = record::get(&view, id).await? else { return Ok(()) };
        let now = core.clock.now();
        let outcome = match &lease.subject {
            Subject::Token(key) => match live.tokens.get_key(&view, key).await? {
                Some(token) => end_token(live, &view, &token, now).await,
                None => {
                    record::forget(&view, &lease);
                    Ok(())
                }
            },
            Subject::Engine { mount, kind, record } => {
                let revoked = revoke_at_engine(core, live, &txn, mount, kind, record, now).await;
                if revoked.is_ok() {
                    record::forget(&view, &lease);
                }
                revoked
            }
        };
        if let Err(error) = outcome {
            return postpone(live, id, &error, now).await.and(Err(error));
        }
        match txn.commit().await? {
            Committed::Done(keys) => return live.after_commit(&keys).await,
            Committed::Conflict => {}
        }
    }
    Err(Error::internal("a lease changes while it is revoked"))
}

/// Forgets a lease without asking its engine.
pub async fn forget_without_asking(view: &View, id: &str) -> Result<()> {
    if let Some(lease) = record::get(view, id).await? {
        record::forget(view, &lease);
    }
    Ok(())
}

async fn revoke_at_engine(
    core: &Arc<Core>,
    live: &Unsealed,
    txn: &Arc<Transaction>,
    mount: &str,
    kind: &str,
    record: &[u8],
    now: Timestamp,
) -> Result<()> {
    let router = live.router.load_full();
    let mounted = match router.by_uuid(mount) {
        Some(mounted) => mounted.clone(),
        // One that is going answers no calls, but what it leased is still its to revoke. With its record its leases are gone.
        None => match mounts::by_uuid(&txn.root_view(), mount).await? {
            Some(going) => Arc::new(crate::live::mount(core, going)?),
            None => return Ok(()),
        },
    };
    let root: Arc<dyn Txn> = txn.clone();
    let inner = housekeeping(core, live, &root, &mounted, now);
    match mounted.engine.revoke_lease(kind, record, txn.view(&mounted.prefix), inner) {
        Some(revoked) => revoked.await,
        None => Err(Error::internal(format!("no engine at {} revokes leases of kind {kind}", mounted.mount.path))),
    }
}

/// The context of what the clock starts: no caller, no permit.
pub(crate) fn housekeeping(
    core: &Arc<Core>,
    live: &Unsealed,
    txn: &Arc<dyn Txn>,
    mounted: &Mounted,
    now: Timestamp,
) -> Arc<Inner> {
    Arc::new(Inner {
        mount: mounted.mount.clone(),
        intents: View::new(txn.clone(), mounted.intents.clone()),
        principal: None,
        permit: None,
        call: None,
        existed: false,
        host: Arc::new(CallHost { core: core.clone(), live: live.clone(), compiled: None, now }),
        now,
        renewal: None,
    })
}

/// Due again later: after 10 s, doubling up to an hour.
async fn postpone(live: &Unsealed, id: &str, error: &Error, now: Timestamp) -> Result<()> {
    let txn = live.barrier.begin();
    let view = txn.root_view();
    let Some(mut lease) = record::get(&view, id).await? else { return Ok(()) };
    lease.failures += 1;
    let wait = Duration::from_secs((10u64 << lease.failures.min(9)).min(3600));
    record::move_to(&view, &mut lease, now.plus(wait))?;
    let stuck = Stuck { reason: error.public().to_owned(), since: now, failures: lease.failures };
    view.put(&format!("{STUCK}{id}"), &stuck)?;
    txn.commit().await.map(|_| ())
}

/// Ids of the leases below a prefix.
pub async fn below(view: &View, prefix: &str, limit: usize) -> Result<Vec<String>> {
    let folder = format!("{RECORDS}{prefix}");
    let keys = view.keys(&folder, None, limit).await?;
    Ok(keys.into_iter().map(|k| k[RECORDS.len()..].to_owned()).collect())
}

/// The leases of a mount that goes away: revoked one by one; with `force` what an engine refuses is forgotten.
pub async fn revoke_below(core: &Arc<Core>, live: &Unsealed, prefix: &str, force: bool) -> Result<()> {
    let mut first = None;
    for id in below(&live.view(), prefix, usize::MAX).await? {
        if let Err(error) = revoke(core, live, &id).await {
            if force {
                let txn = live.barrier.begin();
                forget_without_asking(&txn.root_view(), &id).await?;
                txn.commit().await?;
            } else if first.is_none() {
                first = Some(error);
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// The leases that a mount which is going has still: the mount that may stand at its path by now keeps its own.
/// What the engine refuses is forgotten.
pub async fn revoke_left_by(core: &Arc<Core>, live: &Unsealed, mount: &mounts::MountRecord) -> Result<()> {
    for id in below(&live.view(), &mount.whole_path(), usize::MAX).await? {
        let view = live.view();
        let Some(lease) = record::get(&view, &id).await? else { continue };
        let its_own = match &lease.subject {
            Subject::Engine { mount: uuid, .. } => *uuid == mount.uuid,
            Subject::Token(key) => {
                live.tokens.get_key(&view, key).await?.is_none_or(|token| token.mount_accessor == mount.accessor)
            }
        };
        if its_own && let Err(error) = revoke(core, live, &id).await {
            tracing::warn!(target: "expiration", lease = %id, %error, "a lease of a removed mount is forgotten without its engine");
            let txn = live.barrier.begin();
            forget_without_asking(&txn.root_view(), &id).await?;
            txn.commit().await?;
        }
    }
    Ok(())
}

/// Where a mount's data and leases stand, for its removal.
pub fn data_of(mount: &mounts::MountRecord) -> [String; 2] {
    [mount.prefix(), mount.intents()]
}

/// A lease as `sys/leases/lookup` shows it.
pub fn show(lease: &LeaseRecord, now: Timestamp) -> coffer_types::Object {
    coffer_types::Object::new()
        .with("id", lease.id.as_str())
        .with("issue_time", lease.issued.rfc3339())
        .with("expire_time", lease.expires.rfc3339())
        .with("last_renewal", (!lease.last_renewed.is_never()).then(|| lease.last_renewed.rfc3339()))
        .with("renewable", lease.renewable)
        .with("ttl", lease.seconds_left(now))
}
