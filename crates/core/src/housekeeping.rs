//! What the server does by itself besides ending leases: it finishes what calls and crashes have left, batch by batch.

use crate::core::Core;
use crate::upkeep::Upkeep;
use coffer_types::Result;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Commits in one beat, of each kind of work.
const BATCHES: usize = 256;

/// Runs until the server is gone.
pub(crate) async fn run(core: Weak<Core>) {
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut beats = 0u32;
    let mut upkeep = Upkeep::default();
    loop {
        beat.tick().await;
        let Some(core) = core.upgrade() else { return };
        if core.is_sealed() {
            continue;
        }
        beats = beats.wrapping_add(1);
        log(finish_revocations(&core).await, "what revocations have left could not be revoked; it will be tried again");
        log(crate::intents::roll_back_finished(&core).await, "effects outside of calls that failed could not be undone");
        if beats.is_multiple_of(4) {
            log(
                crate::sys::finish_removals(&core).await,
                "the data of a removed mount could not be removed; it will be tried again",
            );
            log(count(&core).await, "the leases could not be counted");
        }
        if beats.is_multiple_of(2) {
            log(upkeep.run(&core).await, "mounts could not be asked for their own work");
            log(upkeep.beat(&core), "mounts could not be asked for their work by the clock");
        }
        if beats.is_multiple_of(20) {
            log(crate::intents::roll_back(&core).await, "the notes of effects outside could not be read");
        }
    }
}

/// Tokens that have ended and prefixes that are being revoked: what is left of them.
pub async fn finish_revocations(core: &Arc<Core>) -> Result<()> {
    let live = core.unsealed()?;
    crate::leases::end::go_on(&live, BATCHES).await?;
    crate::leases::sweep::go_on(&live, BATCHES).await
}

async fn count(core: &Arc<Core>) -> Result<()> {
    let live = core.unsealed()?;
    live.leases.count(&live).await
}

fn log(outcome: Result<()>, what: &str) {
    if let Err(error) = outcome {
        tracing::warn!(target: "core", %error, "{what}");
    }
}
