//! The store in memory: kind `inmem`. Gone with the process.
//!
//! One ordered map holds each key's newest version in place and, while a snapshot needs them, older ones
//! behind it. A reader holds the map's lock for one look-up or for [`CHUNK`] keys of a list, never for a whole
//! list, and sees only versions up to its own revision. What a commit replaces is queued and trimmed once no
//! snapshot is older: the work is constant per write and no memory grows with the number of commits.

use crate::{
    Batch, BoxFuture, CommitError, Entry, Expect, Key, Revision, Snapshot, Stats, Store, StoreError, Watch,
    order::{self, Range},
    watch::Publisher,
};
use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, VecDeque},
    future::ready,
    ops::Bound,
    sync::Arc,
};

/// How many keys a list visits under one lock.
const CHUNK: usize = 128;

/// A store in memory.
pub struct Memory {
    /// The latest commit's snapshot, so that taking one is a reference count.
    latest: ArcSwap<View>,
    shared: Arc<Shared>,
    /// Held by the one commit that is under way.
    committing: Mutex<Committing>,
    publisher: Publisher,
}

struct Shared {
    map: RwLock<BTreeMap<Key, Versions>>,
    /// How many snapshots there are of each revision; never empty while the store lives.
    live: Mutex<BTreeMap<Revision, usize>>,
}

struct Committing {
    closed: bool,
    commits: u64,
    conflicts: u64,
    keys: u64,
    /// Keys with a version that was replaced, by the revision that replaced it, in rising order.
    replaced: VecDeque<(Revision, Key)>,
}

/// What one key was; `None` where it was removed.
struct Versions {
    newest: (Revision, Option<Bytes>),
    /// Older ones that a snapshot may need, in rising order.
    older: Vec<(Revision, Option<Bytes>)>,
}

/// The map as of one revision.
struct View {
    shared: Arc<Shared>,
    revision: Revision,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        let shared = Arc::new(Shared { map: RwLock::default(), live: Mutex::default() });
        Self {
            latest: ArcSwap::new(View::open(&shared, Revision(0))),
            shared,
            committing: Mutex::new(Committing { closed: false, commits: 0, conflicts: 0, keys: 0, replaced: VecDeque::new() }),
            publisher: Publisher::new(),
        }
    }

    fn apply(&self, batch: Batch) -> Result<Revision, CommitError> {
        batch.within_limits()?;
        let mut committing = self.committing.lock();
        if committing.closed {
            return Err(CommitError::Closed);
        }
        let latest = self.latest.load_full();
        if let Some(conflict) = batch.checks.iter().find(|check| !latest.holds(&check.key, check.expect)) {
            committing.conflicts += 1;
            return Err(CommitError::Conflict { key: conflict.key.clone() });
        }
        if batch.writes.is_empty() {
            return Ok(latest.revision);
        }
        let revision = Revision(latest.revision.0 + 1);
        let keys: Arc<[Key]> = batch.writes.iter().map(|write| write.key().clone()).collect();
        let mut map = self.shared.map.write();
        for write in batch.writes {
            let (key, value) = match write {
                crate::Write::Put { key, value } => (key, Some(value)),
                crate::Write::Delete { key } => (key, None),
            };
            committing.put(&mut map, revision, key, value);
        }
        drop(map);
        // No snapshot sees the new versions until the latest one is exchanged here.
        drop(latest);
        self.latest.store(View::open(&self.shared, revision));
        committing.commits += 1;
        committing.trim(&self.shared);
        self.publisher.tell(revision, || keys);
        Ok(revision)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for Memory {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.latest.load_full()
    }

    fn revision(&self) -> Revision {
        self.latest.load().revision
    }

    fn commit<'a>(&'a self, batch: Batch) -> BoxFuture<'a, Result<Revision, CommitError>> {
        Box::pin(async move { self.apply(batch) })
    }

    fn watch(&self) -> Watch {
        self.publisher.watch()
    }

    fn kind(&self) -> &'static str {
        "inmem"
    }

    fn stats(&self) -> Stats {
        let committing = self.committing.lock();
        Stats { keys: committing.keys, commits: committing.commits, conflicts: committing.conflicts, ..Stats::default() }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.committing.lock().closed = true;
        self.publisher.close();
        Box::pin(ready(Ok(())))
    }
}

impl Committing {
    fn put(&mut self, map: &mut BTreeMap<Key, Versions>, revision: Revision, key: Key, value: Option<Bytes>) {
        let Some(versions) = map.get_mut(&key) else {
            // Removing what never was leaves nothing behind.
            if value.is_some() {
                self.keys += 1;
                map.insert(key, Versions { newest: (revision, value), older: Vec::new() });
            }
            return;
        };
        let was = versions.newest.1.is_some();
        self.keys = self.keys + u64::from(value.is_some()) - u64::from(was);
        let before = std::mem::replace(&mut versions.newest, (revision, value));
        // A batch that writes a key twice replaces its own version, which nobody has seen.
        if before.0 != revision {
            versions.older.push(before);
            self.replaced.push_back((revision, key));
        }
    }

    /// Forgets what no snapshot can see any more.
    fn trim(&mut self, shared: &Shared) {
        let Some(oldest) = shared.live.lock().keys().next().copied() else {
            return;
        };
        if self.replaced.front().is_none_or(|(revision, _)| *revision > oldest) {
            return;
        }
        let mut map = shared.map.write();
        while let Some((_, key)) = self.replaced.pop_front_if(|(revision, _)| *revision <= oldest) {
            let Some(versions) = map.get_mut(&key) else {
                continue;
            };
            if versions.newest.0 <= oldest {
                versions.older = Vec::new();
                if versions.newest.1.is_none() {
                    map.remove(&key);
                }
            } else if let Some(seen) = versions.older.iter().rposition(|(at, _)| *at <= oldest) {
                versions.older.drain(..seen);
            }
        }
    }
}

impl Versions {
    fn at(&self, revision: Revision) -> Option<Entry> {
        let (revision, value) =
            if self.newest.0 <= revision { &self.newest } else { self.older.iter().rfind(|(at, _)| *at <= revision)? };
        Some(Entry { value: value.clone()?, revision: *revision })
    }
}

impl View {
    fn open(shared: &Arc<Shared>, revision: Revision) -> Arc<Self> {
        *shared.live.lock().entry(revision).or_default() += 1;
        Arc::new(Self { shared: Arc::clone(shared), revision })
    }

    fn entry(&self, key: &[u8]) -> Option<Entry> {
        self.shared.map.read().get(key)?.at(self.revision)
    }

    fn holds(&self, key: &[u8], expect: Expect) -> bool {
        match (self.entry(key), expect) {
            (None, Expect::Absent) => true,
            (Some(entry), Expect::At(revision)) => entry.revision == revision,
            _ => false,
        }
    }

    /// Collects up to `limit` of a range, a chunk of keys at a time.
    fn walk<T>(&self, mut range: Range, limit: usize, each: impl Fn(&Key, Entry) -> T) -> Vec<T> {
        let mut found = Vec::new();
        while found.len() < limit && !order::is_empty(&range) {
            let mut visited = None;
            let map = self.shared.map.read();
            let bounds = (slice(&range.0), slice(&range.1));
            for (count, (key, versions)) in map.range::<[u8], _>(bounds).enumerate() {
                if found.len() == limit {
                    break;
                }
                if count == CHUNK {
                    visited = Some(key.clone());
                    break;
                }
                if let Some(entry) = versions.at(self.revision) {
                    found.push(each(key, entry));
                }
            }
            drop(map);
            match visited {
                Some(next) => range.0 = Bound::Included(next.to_vec()),
                None => break,
            }
        }
        found
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let mut live = self.shared.live.lock();
        if let Some(count) = live.get_mut(&self.revision) {
            *count -= 1;
            if *count == 0 {
                live.remove(&self.revision);
            }
        }
    }
}

impl Snapshot for View {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(ready(Ok(self.entry(key))))
    }

    fn get_now(&self, key: &[u8]) -> Option<Result<Option<Entry>, StoreError>> {
        Some(Ok(self.entry(key)))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Key>, StoreError>> {
        let keys = self.walk(order::range(prefix, after), limit, |key, _| key.clone());
        Box::pin(ready(Ok(keys)))
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Key, Entry)>, StoreError>> {
        let entries = self.walk(order::range(prefix, after), limit, |key, entry| (key.clone(), entry));
        Box::pin(ready(Ok(entries)))
    }

    fn children<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Key>, StoreError>> {
        let names = order::children(prefix, after, limit, |range| Ok(self.walk(range.clone(), 1, |key, _| key.to_vec()).pop()));
        Box::pin(ready(names))
    }
}

fn slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::try_from(text).unwrap()
    }

    fn versions(store: &Memory, name: &str) -> usize {
        let map = store.shared.map.read();
        map.get(&key(name)).map_or(0, |versions| 1 + versions.older.len())
    }

    #[tokio::test]
    async fn old_versions_stay_while_a_snapshot_sees_them_and_no_longer() {
        let store = Memory::new();
        store.commit(Batch::default().put(key("a"), "0")).await.unwrap();
        let old = store.snapshot();
        for round in 1..100 {
            store.commit(Batch::default().put(key("a"), round.to_string())).await.unwrap();
        }
        assert_eq!(&old.get(b"a").await.unwrap().unwrap().value[..], b"0");
        assert_eq!(versions(&store, "a"), 100);
        drop(old);
        store.commit(Batch::default().delete(key("a"))).await.unwrap();
        assert_eq!(versions(&store, "a"), 0, "a removed key leaves nothing behind");
        assert!(store.committing.lock().replaced.is_empty());
    }

    #[tokio::test]
    async fn a_key_written_twice_in_a_batch_has_one_version() {
        let store = Memory::new();
        let batch = Batch::default().put(key("a"), "1").delete(key("a")).put(key("a"), "2");
        store.commit(batch).await.unwrap();
        assert_eq!(versions(&store, "a"), 1);
        assert_eq!(store.stats().keys, 1);
        assert_eq!(&store.snapshot().get(b"a").await.unwrap().unwrap().value[..], b"2");
    }
}
