//! Connections that are kept: per name one revision, a bounded number at once, ended when idle for long or older than allowed.

use super::Connection;
use coffer_engine::outside::{Fault, FaultKind, Rows, Script, Target};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection that nobody has used for so long ends.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
pub(super) struct Pools(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    pools: HashMap<String, Pool>,
    /// Whether a task goes round and ends what is idle.
    reaping: bool,
}

struct Pool {
    revision: String,
    permits: Arc<Semaphore>,
    kept: Vec<Kept>,
}

/// A connection with its age.
pub(super) struct Kept {
    connection: Connection,
    born: Instant,
    used: Instant,
}

impl Kept {
    pub(super) async fn answers(&mut self) -> bool {
        self.connection.answers().await
    }

    pub(super) async fn run(&mut self, script: &Script, timeout: Duration) -> Result<Vec<Rows>, Fault> {
        self.connection.run(script, timeout).await
    }
}

/// Leave for one connection under a name.
pub(super) struct Place {
    pool: String,
    revision: String,
    idle: usize,
    lifetime: Duration,
    /// Others may have one when this goes.
    _permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    pub(super) fn fresh(&self, connection: Connection) -> Kept {
        Kept { connection, born: Instant::now(), used: Instant::now() }
    }

    fn allows(&self, kept: &Kept) -> bool {
        kept.used.elapsed() < IDLE && (self.lifetime.is_zero() || kept.born.elapsed() < self.lifetime)
    }
}

impl Pools {
    /// Waits until another connection may be under the target's name.
    pub(super) async fn place(&self, target: &Target) -> Result<Place, Fault> {
        let mut place = Place {
            pool: target.pool.clone(),
            revision: target.revision.clone(),
            idle: target.idle,
            lifetime: target.lifetime,
            _permit: None,
        };
        if target.pool.is_empty() {
            return Ok(place);
        }
        let permits = {
            let mut state = self.state();
            let pool = state.pools.entry(target.pool.clone()).or_insert_with(|| Pool::new(target));
            if pool.revision != target.revision {
                *pool = Pool::new(target);
            }
            pool.permits.clone()
        };
        let permit = permits.acquire_owned().await;
        place._permit = Some(permit.map_err(|_| Fault::new(FaultKind::Unreachable, "the connections of this name have ended"))?);
        Ok(place)
    }

    pub(super) fn idle(&self, place: &Place) -> Option<Kept> {
        let mut state = self.state();
        let pool = state.pools.get_mut(&place.pool).filter(|pool| pool.revision == place.revision)?;
        pool.kept.retain(|kept| place.allows(kept));
        pool.kept.pop()
    }

    pub(super) fn keep(&self, place: Place, mut kept: Kept) {
        kept.used = Instant::now();
        let mut state = self.state();
        let Some(pool) = state.pools.get_mut(&place.pool) else { return };
        if pool.revision == place.revision && pool.kept.len() < place.idle && place.allows(&kept) {
            pool.kept.push(kept);
            if !state.reaping {
                state.reaping = true;
                tokio::spawn(reap(self.clone()));
            }
        }
    }

    pub(super) fn forget(&self, pool: &str) {
        self.state().pools.remove(pool);
    }

    /// Ends what is idle; whether there is anything left to end later.
    fn end_idle(&self) -> bool {
        let mut state = self.state();
        for pool in state.pools.values_mut() {
            pool.kept.retain(|kept| kept.used.elapsed() < IDLE);
        }
        state.reaping = state.pools.values().any(|pool| !pool.kept.is_empty());
        state.reaping
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pool {
    fn new(target: &Target) -> Self {
        let permits = Arc::new(Semaphore::new(target.most.clamp(1, Semaphore::MAX_PERMITS)));
        Self { revision: target.revision.clone(), permits, kept: Vec::new() }
    }
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").field("pools", &self.state().pools.len()).finish()
    }
}

async fn reap(pools: Pools) {
    while pools.end_idle() {
        tokio::time::sleep(IDLE / 2).await;
    }
}
