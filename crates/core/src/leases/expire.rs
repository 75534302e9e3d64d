//! The clock's side: what is due is revoked, at a bounded rate; intents that a crash left are rolled back.

use super::record::TIMES;
use super::revoke::{housekeeping, revoke};
use crate::barrier::Committed;
use crate::core::Core;
use crate::live::Unsealed;
use coffer_engine::view::Txn;
use coffer_types::{Result, Timestamp};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Leases taken from the index at a time.
const BATCH: usize = 256;
/// Batches in one beat.
const BATCHES: usize = 64;
/// Revocations under way at once.
const AT_ONCE: usize = 16;
/// Intents younger than this may still belong to a call that runs.
const INTENT_AGE: Duration = Duration::from_secs(60);

/// Revokes what is due as of now. Gives back how many were tried.
pub async fn expire_due(core: &Arc<Core>) -> Result<usize> {
    let live = core.unsealed()?;
    let now = core.clock.now();
    let due: Vec<String> = live
        .view()
        .keys(TIMES, None, BATCH)
        .await?
        .into_iter()
        .filter_map(|key| {
            let (secs, id) = key[TIMES.len()..].split_once('/')?;
            (secs.parse::<i64>().ok()? <= now.secs()).then(|| id.to_owned())
        })
        .collect();
    let tried = due.len();
    let mut under_way = tokio::task::JoinSet::new();
    for id in due {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        let (core, live) = (core.clone(), live.clone());
        under_way.spawn(async move {
            if let Err(error) = revoke(&core, &live, &id).await {
                tracing::warn!(target: "expiration", lease = %id, %error, "a lease could not be revoked; it will be tried again");
            }
        });
    }
    while under_way.join_next().await.is_some() {}
    Ok(tried)
}

/// Rolls back the effects outside whose calls never committed.
pub async fn roll_back_intents(core: &Arc<Core>) -> Result<()> {
    let live = core.unsealed()?;
    let now = core.clock.now();
    let router = live.router.load_full();
    for mounted in router.all() {
        for kind in mounted.engine.intents() {
            let folder = format!("{}{kind}/", mounted.intents);
            for key in live.view().keys(&folder, None, BATCH).await? {
                let written =
                    key[folder.len()..].split('-').next().and_then(|s| s.parse().ok()).map_or(now, Timestamp::from_secs);
                if now.since(written) >= INTENT_AGE {
                    roll_back(core, &live, mounted, kind, &key, now).await;
                }
            }
        }
    }
    Ok(())
}

async fn roll_back(core: &Arc<Core>, live: &Unsealed, mounted: &crate::router::Mounted, kind: &str, key: &str, now: Timestamp) {
    let attempt = async {
        let txn = live.barrier.begin();
        let view = txn.root_view();
        let Some(record) = view.get_bytes(key).await? else { return Ok(()) };
        let root: Arc<dyn Txn> = txn.clone();
        let inner = housekeeping(core, live, &root, mounted, now);
        if let Some(rolled_back) = mounted.engine.roll_back(kind, &record, txn.view(&mounted.prefix), inner) {
            rolled_back.await?;
            view.delete(key);
            if txn.commit().await? == Committed::Conflict {
                tracing::debug!(target: "rollback", "an intent changed while it was rolled back; it comes again");
            }
        }
        Ok::<_, coffer_types::Error>(())
    };
    if let Err(error) = attempt.await {
        tracing::warn!(target: "rollback", mount = %mounted.mount.path, kind, %error, "an effect outside could not be undone; it will be tried again");
    }
}

/// Runs until the server is gone.
pub async fn run(core: Weak<Core>) {
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beats = 0u32;
    let mut upkeep = crate::upkeep::Upkeep::default();
    loop {
        beat.tick().await;
        let Some(core) = core.upgrade() else { return };
        if core.is_sealed() {
            continue;
        }
        beats = beats.wrapping_add(1);
        // Bounded: what can't even be postponed stays due, and waits for the next beat.
        for _ in 0..BATCHES {
            match expire_due(&core).await {
                Ok(tried) if tried >= BATCH => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(target: "expiration", %error, "the index of leases could not be read");
                    break;
                }
            }
        }
        if beats.is_multiple_of(4)
            && let Err(error) = crate::sys::finish_removals(&core).await
        {
            tracing::warn!(target: "core", %error, "the data of a removed mount could not be removed; it will be tried again");
        }
        if beats.is_multiple_of(2)
            && let Err(error) = upkeep.run(&core).await
        {
            tracing::warn!(target: "core", %error, "mounts could not be asked for their own work");
        }
        if beats.is_multiple_of(2)
            && let Err(error) = upkeep.beat(&core)
        {
            tracing::warn!(target: "core", %error, "mounts could not be asked for their work by the clock");
        }
        if beats.is_multiple_of(20)
            && let Err(error) = roll_back_intents(&core).await
        {
            tracing::warn!(target: "rollback", %error, "the notes of effects outside could not be read");
        }
    }
}
