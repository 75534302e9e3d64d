//! Removing the data of mounts that no longer answer: in batches, resumable, after the answer.

use crate::barrier::Committed;
use crate::core::Core;
use crate::leases;
use crate::mounts;
use coffer_types::Result;
use std::sync::Arc;

const BATCH: usize = 1000;

/// Removes what is left of every mount that is going. Called with the beat, and so also after a restart.
pub(crate) async fn finish_removals(core: &Arc<Core>) -> Result<()> {
    let live = core.unsealed()?;
    for record in mounts::load(&live.view()).await?.into_iter().filter(|m| m.going) {
        leases::revoke::revoke_left_by(core, &live, &record).await?;
        for prefix in leases::revoke::data_of(&record) {
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
            }
        }
        let txn = live.barrier.begin();
        mounts::remove(&txn.root_view(), &record).await?;
        if let Committed::Done(keys) = txn.commit().await? {
            live.after_commit(&keys).await?;
        }
        tracing::info!(target: "core", path = %record.whole_path(), "the data of a removed mount is gone");
    }
    Ok(())
}
