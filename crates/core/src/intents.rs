//! Effects outside the server that were noted before they happened ([`coffer_engine::Ctx::intend`]), and whose call did not
//! commit what covers them: they are undone.
//!
//! A note is left alone while its call runs, however long that takes. When the call's handler had finished, and only its commit
//! did not come about (the token was revoked meanwhile, the mount is gone, a limit is reached), the effect is complete and is
//! undone at once. When the handler failed, or the server died, the effect may still be on its way to the outside: it is
//! undone after [`AGE`].

use crate::barrier::Committed;
use crate::core::Core;
use crate::leases::revoke::{housekeeping, mount_of};
use crate::live::{Live, Unsealed};
use crate::mounts::{INTENTS, MountRecord};
use crate::router::Mounted;
use coffer_engine::view::Txn;
use coffer_types::{Error, Kind, Result, Timestamp};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long after a note was written its effect may still come about.
pub const AGE: Duration = Duration::from_secs(60);
/// Notes taken at a time.
const BATCH: usize = 256;
/// Undoing takes at most so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The notes of calls of this process.
#[derive(Default)]
pub struct Notes {
    running: Mutex<HashSet<String>>,
    /// Of calls that had finished and did not commit.
    uncovered: Mutex<Vec<String>>,
}

/// The notes of one run of a call. Dropped when its commit is known.
pub struct OfOneRun {
    live: Arc<Live>,
    keys: Mutex<Vec<String>>,
    finished: AtomicBool,
    committed: AtomicBool,
}

impl OfOneRun {
    pub(crate) fn new(live: &Unsealed) -> Arc<Self> {
        let (finished, committed) = (AtomicBool::new(false), AtomicBool::new(false));
        Arc::new(Self { live: live.0.clone(), keys: Mutex::default(), finished, committed })
    }

    /// Before the note is stored: nobody must find it without knowing that its call runs.
    pub(crate) fn noted(&self, key: &str) {
        if key.starts_with(INTENTS) {
            self.live.notes.running.lock().insert(key.to_owned());
            self.keys.lock().push(key.to_owned());
        }
    }

    /// Its handler came to its end: what it did outside is done.
    pub(crate) fn finished(&self) {
        self.finished.store(true, Ordering::Release);
    }

    /// What it noted is covered by what was committed.
    pub(crate) fn committed(&self) {
        self.committed.store(true, Ordering::Release);
    }
}

impl Drop for OfOneRun {
    fn drop(&mut self) {
        let keys = std::mem::take(self.keys.get_mut());
        if keys.is_empty() {
            return;
        }
        let uncovered = *self.finished.get_mut() && !*self.committed.get_mut();
        let mut running = self.live.notes.running.lock();
        for key in &keys {
            running.remove(key);
        }
        drop(running);
        if uncovered {
            self.live.notes.uncovered.lock().extend(keys);
        }
    }
}

/// Undoes what calls did outside that finished and did not commit.
pub async fn roll_back_finished(core: &Arc<Core>) -> Result<()> {
    let live = core.unsealed()?;
    let keys = std::mem::take(&mut *live.notes.uncovered.lock());
    for key in keys {
        let Some((uuid, kind)) = key.strip_prefix(INTENTS).and_then(|rest| {
            let mut parts = rest.split('/');
            Some((parts.next()?, parts.next()?))
        }) else {
            continue;
        };
        if let Some(mounted) = mount_of(core, &live, &live.view(), uuid).await? {
            // What fails is still noted, and comes again with its age.
            roll_back_one(core, &live, &mounted, kind, &key).await;
        }
    }
    Ok(())
}

/// Undoes what the notes say that are of age and whose calls do not run.
pub async fn roll_back(core: &Arc<Core>) -> Result<()> {
    let live = core.unsealed()?;
    let router = live.router.load_full();
    for mounted in router.all() {
        roll_back_of(core, &live, mounted).await?;
    }
    Ok(())
}

/// The same for a mount that is going. Whether none is left: its data must not go before that.
pub(crate) async fn roll_back_going(core: &Arc<Core>, live: &Unsealed, mount: &MountRecord) -> Result<bool> {
    let notes = mount.intents();
    if live.view().keys(&notes, None, 1).await?.is_empty() {
        return Ok(!live.notes.running.lock().iter().any(|key| key.starts_with(&notes)));
    }
    roll_back_of(core, live, &crate::live::mount(core, mount.clone())?).await?;
    Ok(false)
}

async fn roll_back_of(core: &Arc<Core>, live: &Unsealed, mounted: &Mounted) -> Result<()> {
    for kind in mounted.engine.intents() {
        let folder = format!("{}{kind}/", mounted.intents);
        let mut after: Option<String> = None;
        loop {
            let page = live.view().keys(&folder, after.as_deref(), BATCH).await?;
            let last = page.last().cloned();
            for key in page {
                let written = key[folder.len()..].split('-').next().and_then(|s| s.parse().ok()).map(Timestamp::from_secs);
                // They stand in the order of their time.
                if written.is_some_and(|w| core.clock.now().since(w) < AGE) {
                    after = None;
                    break;
                }
                if !live.notes.running.lock().contains(&key) && !roll_back_one(core, live, mounted, kind, &key).await {
                    // What does not answer now would not answer for the others either.
                    return Ok(());
                }
                after = Some(key);
            }
            if after.is_none() || after != last {
                break;
            }
        }
    }
    Ok(())
}

/// Whether it is undone.
async fn roll_back_one(core: &Arc<Core>, live: &Unsealed, mounted: &Mounted, kind: &str, key: &str) -> bool {
    let attempt = async {
        let txn = live.barrier.begin();
        let view = txn.root_view();
        let Some(record) = view.get_bytes(key).await? else { return Ok(()) };
        let root: Arc<dyn Txn> = txn.clone();
        let inner = housekeeping(core, live, &root, mounted, core.clock.now());
        if let Some(rolled_back) = mounted.engine.roll_back(kind, &record, txn.view(&mounted.prefix), inner) {
            match tokio::time::timeout(PATIENCE, rolled_back).await {
                Ok(done) => done?,
                Err(_) => return Err(Error::new(Kind::Upstream, "the engine did not answer in time")),
            }
            view.delete(key);
            if txn.commit().await? == Committed::Conflict {
                tracing::debug!(target: "rollback", "an intent changed while it was rolled back; it comes again");
            }
        }
        Ok::<_, Error>(())
    };
    match attempt.await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(target: "rollback", mount = %mounted.mount.path, kind, %error, "an effect outside could not be undone; it will be tried again");
            false
        }
    }
}
