//! Opened values, kept while they are what the store holds.
//!
//! Invariant: an entry that is seen while no commit is under way on its key's stripe is the key's latest value. So a
//! reader whose snapshot is at least as new as the entry's revision may use it. A commit marks its stripes before it
//! can become visible and brings the cache up to date before it is acknowledged; a reader that fills the cache
//! from an older snapshot checks the stripe, and nothing comes between that and the fill.

use coffer_engine::view::Plain;
use coffer_storage::Revision;
use coffer_types::secret;
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Quick;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Far more than the keys of all commits that are under way at once: a key that shares a stripe with one of them is not read from here
/// meanwhile. 200 KB.
const STRIPES: usize = 8192;

/// See the module.
pub struct Cache {
    entries: Quick<Box<str>, (Revision, Plain), Weight>,
    stripes: Box<[Stripe]>,
    hasher: RandomState,
}

#[derive(Default)]
struct Stripe {
    under_way: AtomicU32,
    last: AtomicU64,
    /// Held to put something in: between a reader's check and its fill no commit brings the stripe up to date.
    filling: Mutex<()>,
}

#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, (Revision, Plain)> for Weight {
    fn weight(&self, key: &Box<str>, value: &(Revision, Plain)) -> u64 {
        // The constant covers the entry itself and its allocations.
        (key.len() + value.1.capacity() + 128) as u64
    }
}

impl Cache {
    /// At most about `bytes` bytes of keys and values.
    pub fn new(bytes: u64) -> Self {
        // An idle server must stay small: room for few at first, it grows with what is kept.
        let entries = usize::try_from(bytes / 8192).unwrap_or(0);
        Self {
            entries: Quick::with_weighter(entries, bytes, Weight),
            stripes: (0..STRIPES).map(|_| Stripe::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Wipes everything.
    pub(super) fn clear(&self) {
        self.entries.clear();
    }

    fn stripe(&self, key: &str) -> &Stripe {
        #[allow(clippy::cast_possible_truncation, reason = "only the low bits are wanted")]
        let n = self.hasher.hash_one(key) as usize % STRIPES;
        &self.stripes[n]
    }

    /// The value of `key` at a snapshot of revision `at`, if the cache knows it.
    pub(super) fn get(&self, key: &str, at: Revision) -> Option<(Revision, Plain)> {
        if self.stripe(key).under_way.load(Ordering::Acquire) > 0 {
            return None;
        }
        self.entries.get(key).filter(|(revision, _)| *revision <= at)
    }

    /// Offers what a snapshot of revision `at` held.
    pub(super) fn fill(&self, key: &str, at: Revision, revision: Revision, plain: &Plain) {
        let stripe = self.stripe(key);
        let _alone = stripe.filling.lock();
        // A commit that starts after this check replaces what is put in here before anyone may read it.
        if stripe.under_way.load(Ordering::Acquire) == 0 && stripe.last.load(Ordering::Acquire) <= at.0 {
            self.entries.insert(key.into(), (revision, plain.clone()));
        }
    }

    /// Marks the keys of a commit that is about to be made.
    pub(super) fn will_commit<'k>(&self, keys: impl Iterator<Item = &'k str>) -> Pending<'_> {
        let stripes: Vec<&Stripe> = keys.map(|key| self.stripe(key)).collect();
        for stripe in &stripes {
            stripe.under_way.fetch_add(1, Ordering::AcqRel);
        }
        Pending { cache: self, stripes, outcome: Outcome::Unknown }
    }
}

/// A commit under way.
pub(super) struct Pending<'c> {
    cache: &'c Cache,
    stripes: Vec<&'c Stripe>,
    outcome: Outcome,
}

#[derive(PartialEq, Eq)]
enum Outcome {
    /// Still so when dropped: the caller went away, and the commit may yet become visible, at a revision that
    /// nobody here will hear of.
    Unknown,
    Known,
}

impl Pending<'_> {
    /// Nothing was applied.
    pub(super) fn refused(mut self) {
        self.outcome = Outcome::Known;
    }

    /// Applied at `revision`.
    pub(super) fn committed(mut self, revision: Revision, writes: Vec<(String, Option<secret::Bytes>)>) {
        self.outcome = Outcome::Known;
        for (stripe, (key, value)) in self.stripes.iter().zip(writes) {
            let _alone = stripe.filling.lock();
            // Two commits on one key may finish in either order here: the later revision stays.
            let before = stripe.last.fetch_max(revision.0, Ordering::AcqRel);
            match value {
                Some(plain) if before <= revision.0 && stripe.under_way.load(Ordering::Acquire) == 1 => {
                    self.cache.entries.insert(key.into(), (revision, Arc::new(plain)));
                }
                _ => {
                    self.cache.entries.remove(key.as_str());
                }
            }
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        for stripe in &self.stripes {
            if self.outcome == Outcome::Unknown {
                // Never fewer than one commit under way: this stripe is no longer cached.
                continue;
            }
            stripe.under_way.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use zeroize::Zeroizing;

    /// A reader that was held up between looking and filling must not put an older value over a newer one: who reads
    /// after a commit was acknowledged sees it.
    #[test]
    fn a_slow_reader_does_not_bring_an_old_value_back() {
        let cache = Cache::new(1 << 20);
        // What the store holds and has acknowledged: its revision is its value.
        let stored = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let value = |n: u64| Zeroizing::new(n.to_be_bytes().to_vec());
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let at = Revision(stored.load(Ordering::SeqCst));
                        match cache.get("key", at) {
                            Some((revision, _)) => assert_eq!(revision, at, "not what was the latest when it was asked"),
                            None => cache.fill("key", at, at, &Arc::new(value(at.0))),
                        }
                    }
                });
            }
            for n in 1..100_000 {
                let pending = cache.will_commit(std::iter::once("key"));
                stored.store(n, Ordering::SeqCst);
                // Every other time the entry goes, so that readers fill it.
                let plain = (n % 2 == 0).then(|| value(n));
                pending.committed(Revision(n), vec![("key".to_owned(), plain)]);
                std::thread::yield_now();
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}
