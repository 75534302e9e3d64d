//! Work that mounts do by themselves ([`Declare::upkeep`](coffer_engine::Declare::upkeep)): the data of an older version
//! of an engine becomes its own. Batch by batch, each one commit; after a crash or a failure it goes on where it was.

use crate::barrier::Committed;
use crate::core::Core;
use crate::leases::revoke::housekeeping;
use crate::live::Unsealed;
use crate::router::Mounted;
use coffer_engine::view::Txn;
use coffer_types::Result;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Remembers which mounts have nothing left to do: what it does not remember is asked again.
#[derive(Default)]
pub struct Upkeep {
    done: HashSet<String>,
    /// The work by the clock that is under way, by mount.
    beating: HashMap<String, JoinHandle<()>>,
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

/// Turns of one mount in one beat: what is left has its turn with the next.
const TURNS: usize = 64;

impl Upkeep {
    /// Asks the mounts for what they do by the clock. One that still works at what it was asked before is left alone.
    pub fn beat(&mut self, core: &Arc<Core>) -> Result<()> {
        let live = core.unsealed()?;
        self.beating.retain(|_, work| !work.is_finished());
        for mounted in live.router.load_full().all() {
            let uuid = mounted.mount.uuid.to_string();
            if !mounted.engine.has_beat() || self.beating.contains_key(&uuid) {
                continue;
            }
            let (core, live, mounted) = (core.clone(), live.clone(), mounted.clone());
            let work = tokio::spawn(async move {
                if let Err(error) = beat(&core, &live, &mounted).await {
                    tracing::warn!(target: "core", mount = %mounted.mount.path, %error, "a mount's work by the clock failed; it will be tried again");
                }
            });
            self.beating.insert(uuid, work);
        }
        Ok(())
    }

    /// [`Upkeep::beat`], and waits until all is done: for tests, whose clock stands still meanwhile.
    pub async fn beat_and_wait(&mut self, core: &Arc<Core>) -> Result<()> {
        self.beat(core)?;
        for (_, work) in self.beating.drain() {
            work.await.map_err(coffer_types::Error::internal)?;
        }
        Ok(())
    }
}

async fn beat(core: &Arc<Core>, live: &Unsealed, mounted: &Mounted) -> Result<()> {
    for _ in 0..TURNS {
        let txn = live.barrier.begin();
        let root: Arc<dyn Txn> = txn.clone();
        let inner = housekeeping(core, live, &root, mounted, core.clock.now());
        let Some(work) = mounted.engine.beat(txn.view(&mounted.prefix), inner) else { return Ok(()) };
        let more = work.await?;
        if txn.commit().await? != Committed::Conflict && !more {
            return Ok(());
        }
    }
    Ok(())
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
