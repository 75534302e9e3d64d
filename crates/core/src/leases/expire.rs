//! The clock's side: what is due is revoked, at a bounded rate.

use super::end::end_token;
use super::record::{self, Subject, TIMES};
use super::revoke::revoke_due;
use crate::barrier::Committed;
use crate::core::Core;
use crate::live::Unsealed;
use coffer_types::{Result, Timestamp};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

pub use crate::housekeeping::finish_revocations;
pub use crate::intents::{roll_back as roll_back_intents, roll_back_finished};

/// Leases taken from the index at a time.
const BATCH: usize = 256;
/// Batches in one beat.
const BATCHES: usize = 64;
/// Tokens that end in one commit.
const TOKENS: usize = 32;
/// Leases that are looked at before other work of this thread has its turn: what people wait for is not to wait for these.
const AT_A_STRETCH: usize = 8;
/// Revocations by engines under way at once.
const AT_ONCE: usize = 16;
/// An entry that is written may lie as far in the past as its call took.
const LATE: Duration = Duration::from_secs(300);
/// Beats after which the index is read from its beginning all the same.
const FROM_THE_START: u32 = 240;

/// Where the index of times is read from: what has been worked off at its front has left traces in the store that every
/// reader from the start would have to pass over.
#[derive(Default)]
struct From(Option<Timestamp>);

impl From {
    fn after(&self) -> Option<String> {
        self.0.map(|time| format!("{TIMES}{:020}", time.secs().max(0)))
    }

    fn nothing_before(&mut self, now: Timestamp) {
        let early = now.secs().saturating_sub(i64::try_from(LATE.as_secs()).unwrap_or(i64::MAX));
        self.0 = Some(Timestamp::from_secs(early));
    }
}

/// Revokes what is due as of now. Gives back how many were tried.
pub async fn expire_due(core: &Arc<Core>) -> Result<usize> {
    expire_from(core, &mut From::default()).await
}

async fn expire_from(core: &Arc<Core>, from: &mut From) -> Result<usize> {
    let live = core.unsealed()?;
    let now = core.clock.now();
    let view = live.view();
    let page = view.keys(TIMES, from.after().as_deref(), BATCH).await?;
    if page.len() < BATCH {
        from.nothing_before(now);
    }
    let (mut tokens, mut by_engines, mut without) = (Vec::new(), Vec::new(), Vec::new());
    for (nth, key) in page.iter().enumerate() {
        breathe(nth).await;
        let Some((secs, id)) = key[TIMES.len()..].split_once('/') else { continue };
        if secs.parse::<i64>().is_ok_and(|secs| secs > now.secs()) {
            break;
        }
        match record::get(&view, id).await? {
            // The index knows whole seconds.
            Some(lease) if lease.due > now => {}
            Some(lease) if matches!(lease.subject, Subject::Token(_)) => tokens.push(id.to_owned()),
            Some(_) => by_engines.push(id.to_owned()),
            None => without.push(key.clone()),
        }
    }
    let tried = tokens.len() + by_engines.len() + without.len();
    // Left by a store that was changed by hand: it would be at the front for ever.
    if !without.is_empty() {
        let txn = live.barrier.begin();
        let view = txn.root_view();
        without.iter().for_each(|key| view.delete(key));
        txn.commit().await?;
    }
    drop(view);
    let many = tokens.len() > TOKENS;
    for some in tokens.chunks(TOKENS) {
        let began = Instant::now();
        // One that is renewed or used for the last time just now sends the rest the long way.
        if !end_tokens(core, &live, some).await? {
            by_engines.extend_from_slice(some);
        }
        if many {
            rest(began).await;
        }
    }
    let (began, many) = (Instant::now(), by_engines.len() > AT_ONCE);
    revoke_each(core, &live, by_engines).await;
    if many {
        rest(began).await;
    }
    Ok(tried)
}

/// Ends the tokens of these leases in one commit. `false` is a conflict: nothing happened.
async fn end_tokens(core: &Arc<Core>, live: &Unsealed, leases: &[String]) -> Result<bool> {
    let txn = live.barrier.begin();
    let view = txn.root_view();
    let now = core.clock.now();
    for (nth, id) in leases.iter().enumerate() {
        breathe(nth).await;
        let Some(lease) = record::get(&view, id).await?.filter(|l| l.due <= now) else { continue };
        let Subject::Token(key) = &lease.subject else { continue };
        match live.tokens.get_key(&view, key).await? {
            Some(token) => end_token(live, &view, &token, now).await?,
            None => record::forget(live, &view, &lease),
        }
    }
    match txn.commit().await? {
        Committed::Conflict => Ok(false),
        Committed::Done(keys) => {
            live.after_commit(&keys).await?;
            Ok(true)
        }
    }
}

/// Lets other work of this thread have its turn now and then.
async fn breathe(nth: usize) {
    if nth % AT_A_STRETCH == AT_A_STRETCH - 1 {
        tokio::task::yield_now().await;
    }
}

/// Half of the time belongs to the calls that people wait for.
async fn rest(began: Instant) {
    tokio::time::sleep(began.elapsed().min(Duration::from_millis(250))).await;
}

async fn revoke_each(core: &Arc<Core>, live: &Unsealed, ids: Vec<String>) {
    let mut under_way = tokio::task::JoinSet::new();
    for id in ids {
        if under_way.len() >= AT_ONCE {
            under_way.join_next().await;
        }
        let (core, live) = (core.clone(), live.clone());
        under_way.spawn(async move {
            if let Err(error) = revoke_due(&core, &live, &id).await {
                tracing::warn!(target: "expiration", lease = %id, %error, "a lease could not be revoked; it will be tried again");
            }
        });
    }
    while under_way.join_next().await.is_some() {}
}

/// Runs until the server is gone.
pub async fn run(core: Weak<Core>) {
    tokio::join!(expire(core.clone()), crate::housekeeping::run(core));
}

async fn expire(core: Weak<Core>) {
    let mut beat = tokio::time::interval(Duration::from_millis(500));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut beats, mut from) = (0u32, From::default());
    loop {
        beat.tick().await;
        let Some(core) = core.upgrade() else { return };
        beats = beats.wrapping_add(1);
        if core.is_sealed() || beats.is_multiple_of(FROM_THE_START) {
            from = From::default();
        }
        if core.is_sealed() {
            continue;
        }
        // Bounded: what can't even be postponed stays due, and waits for the next beat.
        for _ in 0..BATCHES {
            match expire_from(&core, &mut from).await {
                Ok(tried) if tried >= BATCH => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(target: "expiration", %error, "the index of leases could not be read");
                    break;
                }
            }
        }
    }
}
