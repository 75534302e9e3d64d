//! Work that mounts do by themselves ([`Declare::upkeep`](coffer_engine::Declare::upkeep)): the data of an older version
//! of an engine becomes its own. Batch by batch, each one commit; after a crash or a failure it goes on where it was.

use crate::barrier::Committed;
use crate::core::Core;
use crate::leases::revoke::housekeeping;
use crate::live::Unsealed;
use crate::router::Mounted;
use coffer_engine::view::Txn;
use coffer_types::Result;
use std::collections::HashSet;
use std::sync::Arc;

/// Remembers which mounts have nothing left to do: what it does not remember is asked again.
#[derive(Default)]
pub struct Upkeep {
    done: HashSet<String>,
}

impl Upkeep {
    /// Runs what mounts have to do until nothing is left of it. A mount whose work fails is asked again next time.
    pub async fn run(&mut self, core: &Arc<Core>) -> Result<()> {
        let live = core.unsealed()?;
        for mounted in live.router.load_full().all() {
            // An engine of another version is another engine.
            let which = format!("{} {:?}", mounted.mount.uuid, mounted.mount.options);
            if self.done.contains(&which) {
                continue;
            }
            match keep_up(core, &live, mounted).await {
                Ok(()) => {
                    self.done.insert(which);
                }
                Err(error) => {
                    tracing::warn!(target: "core", mount = %mounted.mount.path, %error, "a mount's own work failed; it will be tried again");
                }
            }
        }
        Ok(())
    }
}

async fn keep_up(core: &Arc<Core>, live: &Unsealed, mounted: &Mounted) -> Result<()> {
    loop {
        let txn = live.barrier.begin();
        let root: Arc<dyn Txn> = txn.clone();
        let inner = housekeeping(core, live, &root, mounted, core.clock.now());
        let Some(batch) = mounted.engine.upkeep(txn.view(&mounted.prefix), inner) else { return Ok(()) };
        let more = batch.await?;
        // A call changed what this batch read: the same batch again, as things are now.
        if txn.commit().await? != Committed::Conflict && !more {
            return Ok(());
        }
    }
}
