//! Removing the data of mounts that no longer answer: in batches, resumable, after the answer.

use crate::barrier::Committed;
use crate::core::Core;
use crate::leases;
use crate::leases::sweep::Sweep;
use crate::live::Unsealed;
use crate::mounts::{self, MountRecord};
use coffer_types::Result;
use std::sync::Arc;

const BATCH: usize = 1000;

/// Removes what is left of every mount that is going. Called with the beat, and so also after a restart. What a mount has
/// leased or done outside is undone first, and its record stays until that has succeeded: only its engine can do it.
pub(crate) async fn finish_removals(core: &Arc<Core>) -> Result<()> {
    let live = core.unsealed()?;
    for record in mounts::load(&live.view()).await?.into_iter().filter(|m| m.going) {
        // One that can't be undone does not keep the others.
        if let Err(error) = finish(core, &live, &record).await {
            tracing::warn!(target: "core", path = %record.whole_path(), %error, "a removed mount is not undone yet; it will be tried again");
        }
    }
    Ok(())
}

async fn finish(core: &Arc<Core>, live: &Unsealed, record: &MountRecord) -> Result<()> {
    let sweep = Sweep::of_mount(record, core.clock.now());
    if leases::sweep::make_due(live, &sweep).await? || !crate::intents::roll_back_going(core, live, record).await? {
        tracing::debug!(target: "core", path = %record.whole_path(), "a removed mount has something to undo yet");
        return Ok(());
    }
    remove_data(live, record).await?;
    let txn = live.barrier.begin();
    mounts::remove(&txn.root_view(), record).await?;
    if let Committed::Done(keys) = txn.commit().await? {
        live.after_commit(&keys).await?;
        tracing::info!(target: "core", path = %record.whole_path(), "the data of a removed mount is gone");
    }
    Ok(())
}

async fn remove_data(live: &Unsealed, record: &MountRecord) -> Result<()> {
    for prefix in [record.prefix(), record.intents()] {
        loop {
            let txn = live.barrier.begin();
            let view = txn.root_view();
            let keys = view.keys(&prefix, None, BATCH).await?;
            if keys.is_empty() {
                break;
            }
            for key in &keys {
                view.delete(key);
            }
            txn.commit().await?;
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}
