//! The one thread that writes.

use super::{Open, Shared, View, journal, place::Place, queue::Request, stored};
use crate::{Batch, CommitError, Expect, Key, Revision, StoreError};
use bytes::Bytes;
use fjall::{LsmError, PersistMode};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};
use tokio::sync::watch;

/// With this many memtables or tables of the first level waiting to be merged, commits wait too. The database
/// would wait by itself a little later, but for ever if its merging has failed.
const MEMTABLES: usize = 3;
const FIRST_LEVEL_TABLES: usize = 16;

/// How much is written before the tables are asked again how far they go.
const NOTE_EVERY: usize = 1 << 20;

pub(super) struct Committer {
    shared: Arc<Shared>,
    open: Open,
    place: Place,
    database: PathBuf,
    reserve_bytes: u64,
    done: watch::Sender<bool>,
    /// Values on their way, to save an allocation each.
    scratch: Vec<u8>,
    /// What was written since the tables were last asked how far they go.
    unasked_bytes: usize,
    /// What is noted to be in tables.
    noted: u64,
    known: Known,
}

/// The revisions of keys that checks have named lately, as of the last commit; `None` for a key that is not there. The same few records
/// are read by call after call, and to find them in the tables again costs more than the rest of a check. Exact, since nobody else
/// writes: it takes over each group's writes once they are durable, and after a failure nothing is committed any more.
#[derive(Default)]
struct Known(HashMap<Key, Option<Revision>>);

impl Known {
    /// Some hundred bytes each.
    const MOST: usize = 8192;

    fn keep(&mut self, key: &Key, revision: Option<Revision>) {
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        self.0.insert(key.clone(), revision);
    }

    fn follow(&mut self, writes: &BTreeMap<Key, (Revision, Option<Bytes>)>) {
        for (key, (revision, value)) in writes {
            if let Some(known) = self.0.get_mut(key) {
                *known = value.is_some().then_some(*revision);
            }
        }
    }
}

/// The state that the next member of a group sees: the latest snapshot and the members before it.
struct Group {
    base: Arc<View>,
    last: Revision,
    /// What each key will be; `None` where it will be removed.
    writes: BTreeMap<Key, (Revision, Option<Bytes>)>,
    /// Of the base.
    known: Known,
}

/// A member that will be applied.
struct Admitted {
    request: Request,
    revision: Revision,
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        open: Open,
        place: Place,
        database: PathBuf,
        reserve_bytes: u64,
        done: watch::Sender<bool>,
    ) -> Self {
        Self {
            shared,
            open,
            place,
            database,
            reserve_bytes,
            done,
            scratch: Vec::new(),
            unasked_bytes: 0,
            noted: 0,
            known: Known::default(),
        }
    }

    /// Commits until the queue is closed and empty, then leaves the medium.
    pub(super) fn run(mut self) {
        let fuse = Fuse(Arc::clone(&self.shared));
        while let Some(group) = self.shared.queue.take_group() {
            self.commit(group);
            if self.unasked_bytes > NOTE_EVERY {
                self.note_persisted();
            }
        }
        self.note_persisted();
        drop(fuse);
        self.shared.publisher.close();
        let Self { shared, open, place, done, .. } = self;
        // Waits for reads that are under way; later ones find the store closed.
        drop(shared.medium.open.write().take());
        // The database stops its own threads before the directory is free for another process.
        drop(open);
        drop(place);
        done.send_replace(true);
    }

    fn commit(&mut self, requests: Vec<Request>) {
        if self.shared.medium.poison.get().is_some() {
            return self.refuse(requests, &self.shared.medium.refusal());
        }
        if let Err(error) = self.wait_for_merging() {
            let error = self.poison(error);
            return self.refuse(requests, &error);
        }
        let free = match self.place.free_bytes() {
            Ok(free) => free,
            Err(error) => {
                return self.refuse(requests, &CommitError::Io { cause: Arc::new(error) });
            }
        };
        let mut group = Group { known: std::mem::take(&mut self.known), ..Group::after(self.shared.latest.load_full()) };
        let mut admitted = Vec::with_capacity(requests.len());
        for request in requests {
            match group.admit(&request.batch, free, self.reserve_bytes) {
                Ok(revision) => admitted.push(Admitted { request, revision }),
                Err(error) => {
                    if error.is_conflict() {
                        self.shared.conflicts.fetch_add(1, Ordering::Relaxed);
                    }
                    answer(request, Err(error));
                }
            }
        }
        if let Err(error) = self.write(&group) {
            let error = self.poison(error);
            return self.refuse(admitted.into_iter().map(|member| member.request), &error);
        }
        if !group.writes.is_empty() {
            let view = View::of(&self.shared.medium, &self.open, group.last);
            self.shared.latest.store(Arc::new(view));
        }
        group.known.follow(&group.writes);
        self.known = group.known;
        for member in &admitted {
            let writes = &member.request.batch.writes;
            if !writes.is_empty() {
                self.shared.commits.fetch_add(1, Ordering::Relaxed);
                self.shared.publisher.tell(member.revision, || writes.iter().map(|write| write.key().clone()).collect());
            }
        }
        for member in admitted {
            answer(member.request, Ok(member.revision));
        }
    }

    /// Makes the group durable as one record, and visible to snapshots made from now on.
    fn write(&mut self, group: &Group) -> fjall::Result<()> {
        if group.writes.is_empty() {
            return Ok(());
        }
        let entries = &self.open.entries;
        let mut batch = self.open.database.batch().durability(Some(PersistMode::SyncData));
        let mut bytes = 0;
        for (key, (revision, value)) in &group.writes {
            bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            match value {
                Some(value) => {
                    self.scratch.clear();
                    self.scratch.extend_from_slice(&revision.0.to_le_bytes());
                    self.scratch.extend_from_slice(value);
                    batch.insert(entries, stored::key(key), self.scratch.as_slice());
                }
                None => batch.remove(entries, stored::key(key)),
            }
        }
        batch.insert(entries, stored::REVISION, group.last.0.to_le_bytes());
        batch.commit()?;
        self.unasked_bytes += bytes;
        self.shared.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Saves the next opening from reading what is in tables by now.
    fn note_persisted(&mut self) {
        self.unasked_bytes = 0;
        let Some(persisted) = self.open.persisted().filter(|seqno| *seqno > self.noted) else { return };
        match journal::note_persisted(&self.database, persisted) {
            Ok(()) => self.noted = persisted,
            Err(error) => tracing::debug!(%error, "the next opening will take longer"),
        }
    }

    fn wait_for_merging(&self) -> fjall::Result<()> {
        while self.open.entries.sealed_memtable_count() >= MEMTABLES || self.open.entries.l0_table_count() >= FIRST_LEVEL_TABLES {
            self.open.is_sound()?;
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// From here on the store answers nothing. Gives what those who were in this group are told.
    fn poison(&self, error: fjall::Error) -> CommitError {
        let (reason, told) = match error {
            fjall::Error::Io(cause) | fjall::Error::Storage(LsmError::Io(cause)) => {
                let full = matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
                let reason = format!("writing failed: {cause}");
                let told = if full { CommitError::Full } else { CommitError::Io { cause: Arc::new(cause) } };
                (reason.into(), told)
            }
            fjall::Error::Poisoned => {
                let reason: Arc<str> = "moving data from the journal to its tables failed".into();
                (Arc::clone(&reason), CommitError::Poisoned { reason })
            }
            other => {
                let reason: Arc<str> = format!("writing failed: {other:?}").into();
                (Arc::clone(&reason), CommitError::Poisoned { reason })
            }
        };
        self.shared.poison(reason);
        told
    }

    fn refuse(&self, requests: impl IntoIterator<Item = Request>, error: &CommitError) {
        for request in requests {
            answer(request, Err(error.clone()));
        }
    }
}

impl Group {
    fn after(base: Arc<View>) -> Self {
        Self { last: base.revision, base, writes: BTreeMap::new(), known: Known::default() }
    }

    /// Adds a batch if its checks hold. Its revision, which is that of the member before it if it writes nothing.
    fn admit(&mut self, batch: &Batch, free: u64, reserve: u64) -> Result<Revision, CommitError> {
        for check in &batch.checks {
            let found = self.revision_of(&check.key)?;
            let holds = match check.expect {
                Expect::Absent => found.is_none(),
                Expect::At(revision) => found == Some(revision),
            };
            if !holds {
                return Err(CommitError::Conflict { key: check.key.clone() });
            }
        }
        if batch.writes.is_empty() {
            return Ok(self.last);
        }
        let puts = batch.writes.iter().any(|write| write.value().is_some());
        if free < if puts { reserve } else { reserve / 4 } {
            return Err(CommitError::Full);
        }
        self.last = Revision(self.last.0 + 1);
        for write in &batch.writes {
            self.writes.insert(write.key().clone(), (self.last, write.value().cloned()));
        }
        Ok(self.last)
    }

    fn revision_of(&mut self, key: &Key) -> Result<Option<Revision>, CommitError> {
        if let Some((revision, value)) = self.writes.get(key) {
            return Ok(value.is_some().then_some(*revision));
        }
        if let Some(revision) = self.known.0.get(key) {
            return Ok(*revision);
        }
        match self.base.revision_of(key) {
            Ok(revision) => {
                self.known.keep(key, revision);
                Ok(revision)
            }
            Err(StoreError::Io { cause }) => Err(CommitError::Io { cause }),
            Err(StoreError::Poisoned { reason }) => Err(CommitError::Poisoned { reason }),
            Err(StoreError::Closed) => Err(CommitError::Closed),
            Err(StoreError::Corrupt { what }) => {
                let cause = io::Error::new(io::ErrorKind::InvalidData, what.as_ref());
                Err(CommitError::Io { cause: Arc::new(cause) })
            }
        }
    }
}

impl Shared {
    pub(super) fn poison(&self, reason: Arc<str>) {
        tracing::error!(%reason, "the store refuses all work until it is opened again");
        // Only the first reason is told.
        self.medium.poison.set(reason).ok();
        self.publisher.close();
    }
}

/// Blows if the committer panics: nobody waits for it for ever.
struct Fuse(Arc<Shared>);

impl Drop for Fuse {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison("the committer stopped unexpectedly".into());
            self.0.queue.abandon();
        }
    }
}

fn answer(request: Request, result: Result<Revision, CommitError>) {
    // Who no longer waits does not want to know.
    request.answer.send(result).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Store,
        embedded::{Embedded, Options},
    };
    use std::path::Path;

    const ROOM: u64 = 1000;

    fn group(root: &Path) -> (Embedded, Group) {
        let store = Embedded::open(root, Options::default()).unwrap();
        let group = Group::after(store.shared.latest.load_full());
        (store, group)
    }

    fn key(name: &str) -> Key {
        Key::try_from(name).unwrap()
    }

    #[test]
    fn a_member_sees_the_members_before_it() {
        let root = tempfile::tempdir().unwrap();
        let (_store, mut group) = group(root.path());
        let mut admit = |batch: Batch| group.admit(&batch, ROOM, ROOM);
        let absent = || Batch::default().check(key("a"), Expect::Absent);
        let at = |revision| Batch::default().check(key("a"), Expect::At(revision));

        let first = admit(absent().put(key("a"), "1")).unwrap();
        assert!(admit(absent().put(key("a"), "x").put(key("b"), "x")).unwrap_err().is_conflict());
        assert_eq!(admit(at(first)).unwrap(), first, "a member that only checks gets the revision before it");
        let second = admit(at(first).delete(key("a"))).unwrap();
        assert!(admit(at(first).put(key("a"), "x")).unwrap_err().is_conflict());
        assert!(admit(at(second)).unwrap_err().is_conflict(), "a removed key is at no revision");
        let third = admit(absent().put(key("a"), "2")).unwrap();
        assert!(Revision(0) < first && first < second && second < third);
        assert_eq!(group.last, third);
        let writes: Vec<_> = group.writes.iter().map(|(key, (at, value))| (&key[..], *at, value.as_deref())).collect();
        assert_eq!(writes, [(&b"a"[..], third, Some(&b"2"[..]))], "nothing of those that conflict");
    }

    #[test]
    fn without_room_a_member_that_puts_is_refused_alone() {
        let root = tempfile::tempdir().unwrap();
        let (_store, mut group) = group(root.path());
        let (put, delete) = (Batch::default().put(key("a"), ""), Batch::default().delete(key("a")));
        assert!(matches!(group.admit(&put, ROOM - 1, ROOM), Err(CommitError::Full)));
        assert_eq!(group.admit(&delete, ROOM / 4, ROOM).unwrap(), Revision(1));
        assert!(matches!(group.admit(&delete, ROOM / 4 - 1, ROOM), Err(CommitError::Full)));
        assert_eq!(group.admit(&Batch::default(), 0, ROOM).unwrap(), Revision(1));
        assert_eq!(group.admit(&put, ROOM, ROOM).unwrap(), Revision(2));
    }

    #[tokio::test]
    async fn if_the_committer_panics_nobody_waits_for_it() {
        let root = tempfile::tempdir().unwrap();
        let store = Embedded::open(root.path(), Options::default()).unwrap();
        let shared = Arc::clone(&store.shared);
        let panicked = thread::spawn(move || {
            let _fuse = Fuse(shared);
            panic!("as the committer might");
        });
        assert!(panicked.join().is_err());
        let refused = store.commit(Batch::default().put(key("a"), "")).await;
        assert!(matches!(refused, Err(CommitError::Poisoned { .. })), "{refused:?}");
        assert!(matches!(store.snapshot().get_now(b"a"), Some(Err(StoreError::Poisoned { .. }))));
        assert!(store.watch().next().await.is_err());
        store.close().await.unwrap();
    }

    /// What checks remember of a key follows every commit, also of keys that come and go, and is forgotten in bounds.
    #[test]
    fn what_is_known_of_a_key_is_what_the_store_says() {
        let root = tempfile::tempdir().unwrap();
        let (store, mut group) = group(root.path());
        let name = key("a");
        assert_eq!(group.revision_of(&name).unwrap(), None);
        assert_eq!(group.known.0.get(&name), Some(&None));
        let writes =
            BTreeMap::from([(name.clone(), (Revision(7), Some(Bytes::from_static(b"x")))), (key("b"), (Revision(7), None))]);
        group.known.follow(&writes);
        assert_eq!(group.revision_of(&name).unwrap(), Some(Revision(7)));
        assert_eq!(group.known.0.get(&key("b")), None, "nobody asked for it");
        group.known.follow(&BTreeMap::from([(name.clone(), (Revision(8), None))]));
        assert_eq!(group.revision_of(&name).unwrap(), None);
        for number in 0..3 * Known::MOST {
            group.known.keep(&key(&number.to_string()), None);
        }
        assert!(group.known.0.len() <= Known::MOST);
        drop(store);
    }
}
