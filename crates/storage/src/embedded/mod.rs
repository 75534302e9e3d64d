//! The store in a directory of this machine: kind `embedded`, the default. Layout and crash analysis:
//! docs/design/storage.md.
//!
//! The data lies in a log-structured tree (fjall). One committer thread takes all batches that wait, checks each
//! against the latest state and the members before it, writes those that hold as one record of the tree's journal
//! and syncs it once. Only then is a new snapshot published, are watchers told, do the members return. So what
//! anybody has seen is durable, and a crash leaves a whole group of batches or nothing of it.
//!
//! The first error of the medium while writing poisons the store: it no longer knows what lies on the medium, so it
//! answers nothing until it is opened again, which looks.

mod committer;
mod journal;
mod place;
mod queue;

use crate::{
    Batch, BoxFuture, CommitError, Entry, Key, Revision, Snapshot, Stats, Store, StoreError, Watch,
    order::{self, Range},
    watch::Publisher,
};
use arc_swap::ArcSwap;
use bytes::Bytes;
use fjall::{
    AbstractTree, Database, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, Readable,
    compaction::Leveled,
    config::{BlockSizePolicy, PartitioningPolicy},
};
use parking_lot::{Mutex, RwLock};
use place::Place;
use queue::Queue;
use std::{
    fmt,
    future::ready,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};
use tokio::sync::watch;

/// What is written before it goes from memory to a table; part of what opening replays.
const MEMTABLE_BYTES: u64 = 8 * 1024 * 1024;

/// A table's size: bounds the room that a compaction needs.
const TABLE_BYTES: u64 = 16 * 1024 * 1024;

/// The least that the journals may take; they are bounded by this and two memtables.
const JOURNAL_BYTES: u64 = 64 * 1024 * 1024;

/// How large a store may be in memory and how full its medium.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes of blocks of tables that are kept in memory.
    pub cache_bytes: u64,
    /// Commits that put anything are refused with [`CommitError::Full`] while the medium has less room than this,
    /// and those that only delete while it has less than a quarter of it. It should hold a few compactions.
    pub reserve_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 16 * 1024 * 1024, reserve_bytes: 128 * 1024 * 1024 }
    }
}

/// A store in a directory. Dropping it closes it, and waits for that.
pub struct Embedded {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
    closed: watch::Receiver<bool>,
}

/// What the committer and those who wait for it have in common.
struct Shared {
    medium: Arc<Medium>,
    latest: ArcSwap<View>,
    queue: Queue,
    publisher: Publisher,
    commits: AtomicU64,
    conflicts: AtomicU64,
    syncs: AtomicU64,
}

/// The open database, until it is closed or fails.
struct Medium {
    /// Taken when the store is closed. Readers hold the lock for one read.
    open: RwLock<Option<Open>>,
    /// Why the store no longer answers.
    poison: OnceLock<Arc<str>>,
}

#[derive(Clone)]
struct Open {
    database: Database,
    entries: Keyspace,
}

/// The store after one group of commits.
struct View {
    medium: Arc<Medium>,
    at: fjall::Snapshot,
    revision: Revision,
}

/// Why a directory could not be opened as a store.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it open.
    Locked {
        /// The store's directory.
        path: PathBuf,
        /// The process, if it could be read.
        holder: Option<u32>,
    },
    /// A newer program wrote it.
    Future {
        /// The store's directory.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format that this program knows.
        known: u32,
    },
    /// What lies there is not what was written.
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The operating system refused.
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What it reported.
        cause: io::Error,
    },
}

impl Embedded {
    /// Opens the store in the directory `path`, and makes it if there is none. Blocks: it reads the journal.
    ///
    /// # Errors
    /// See [`OpenError`]. A torn tail, as a crash may leave one, is no error: it is cut and a warning logged.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let place = Place::lock(path)?;
        let directory = place.database(|new| Open::at(new, options).map(drop))?;
        let mended = journal::mend(&directory)?;
        if let Some((path, kept)) = mended.torn {
            tracing::warn!(path = %path.display(), kept, "cut an unfinished commit off the end of the journal");
        }
        let open = Open::at(&directory, options)?;
        if mended.left_out > open.persisted() {
            let what = "its tables lack what they are noted to have; restore a backup".to_owned();
            return Err(OpenError::Damaged { path: directory, what });
        }
        let revision = open.revision().map_err(OpenError::database(&directory))?;
        let medium = Arc::new(Medium { open: RwLock::new(Some(open.clone())), poison: OnceLock::new() });
        let view = View::of(&medium, &open, revision);
        let shared = Arc::new(Shared {
            medium,
            latest: ArcSwap::from_pointee(view),
            queue: Queue::default(),
            publisher: Publisher::new(),
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        });
        let (done, closed) = watch::channel(false);
        let committer = committer::Committer::new(Arc::clone(&shared), open, place, directory, options.reserve_bytes, done);
        let committer =
            thread::Builder::new().name("store-committer".into()).spawn(move || committer.run()).map_err(OpenError::io(path))?;
        Ok(Self { shared, committer: Mutex::new(Some(committer)), closed })
    }
}

/// See [`crate::faults::tear_tail`].
#[cfg(any(test, feature = "conformance"))]
pub(crate) fn tear_tail(store: &Path, bytes: u64, how: crate::faults::Tear) -> io::Result<u64> {
    journal::tear(&store.join("data").join("db"), bytes, how)
}

impl Store for Embedded {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        self.shared.latest.load_full()
    }

    fn revision(&self) -> Revision {
        self.shared.latest.load().revision
    }

    fn commit<'a>(&'a self, batch: Batch) -> BoxFuture<'a, Result<Revision, CommitError>> {
        Box::pin(async move {
            batch.within_limits()?;
            let Some(answer) = self.shared.queue.push(batch) else { return Err(self.shared.medium.refusal()) };
            // The committer answers everything that it takes, unless it stopped by a panic.
            answer.await.unwrap_or_else(|_| Err(self.shared.medium.refusal()))
        })
    }

    fn watch(&self) -> Watch {
        self.shared.publisher.watch()
    }

    fn kind(&self) -> &'static str {
        "embedded"
    }

    fn stats(&self) -> Stats {
        let (keys, disk_bytes, log_bytes) = match self.shared.medium.open.read().as_ref() {
            Some(open) => (
                // The revision's own key is one of them.
                (open.entries.approximate_len() as u64).saturating_sub(1),
                open.database.disk_space().unwrap_or(0),
                open.database.journal_disk_space().unwrap_or(0),
            ),
            None => (0, 0, 0),
        };
        Stats {
            keys,
            disk_bytes,
            log_bytes,
            commits: self.shared.commits.load(Ordering::Relaxed),
            conflicts: self.shared.conflicts.load(Ordering::Relaxed),
            syncs: self.shared.syncs.load(Ordering::Relaxed),
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.shared.queue.close();
        let mut closed = self.closed.clone();
        Box::pin(async move {
            // An error means that the committer is gone, which is as closed as it gets.
            closed.wait_for(|closed| *closed).await.ok();
            Ok(())
        })
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(committer) = self.committer.lock().take() {
            // A panic there was reported when it happened.
            committer.join().ok();
        }
    }
}

impl Open {
    fn at(directory: &Path, options: Options) -> Result<Self, OpenError> {
        let database = Database::builder(directory)
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES)
            // Of several, the database keeps the first from merging: it hands a waiting merge on to itself, over and over, on a whole
            // core, until another has time. One does all in turn; `Committer::wait_for_merging` bounds what piles up meanwhile.
            .worker_threads(1)
            .manual_journal_persist(true)
            .open()
            .map_err(OpenError::database(directory))?;
        let entries = database
            .keyspace("entries", || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(MEMTABLE_BYTES)
                    .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES)))
                    .data_block_size_policy(BlockSizePolicy::all(4096))
                    .index_block_partitioning_policy(PartitioningPolicy::new([false, true]))
                    .filter_block_partitioning_policy(PartitioningPolicy::new([false, true]))
                    .manual_journal_persist(true)
            })
            .map_err(OpenError::database(directory))?;
        Ok(Self { database, entries })
    }

    /// The last durable commit.
    fn revision(&self) -> fjall::Result<Revision> {
        let found = self.entries.get(stored::REVISION)?;
        Ok(found.map_or(Revision(0), |value| stored::revision(&value)))
    }

    /// The last batch that is in tables.
    fn persisted(&self) -> Option<u64> {
        self.entries.tree.get_highest_persisted_seqno()
    }

    /// Brings what is written into the system's hands; fails once any earlier write failed.
    fn is_sound(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::Buffer)
    }
}

/// How keys and values are stored.
///
/// A key is stored behind a `k`; the number of the last commit as the value of `mrevision`. A value is stored
/// behind the eight bytes, little endian, of the revision that wrote it.
mod stored {
    use super::{Bound, Bytes, Entry, Range, Revision};

    pub(super) const REVISION: &[u8] = b"mrevision";
    const KEYS: u8 = b'k';

    pub(super) fn key(key: &[u8]) -> Vec<u8> {
        let mut stored = Vec::with_capacity(key.len() + 1);
        stored.push(KEYS);
        stored.extend_from_slice(key);
        stored
    }

    pub(super) fn range((low, high): Range) -> Range {
        let high = match high {
            Bound::Unbounded => Bound::Excluded(vec![KEYS + 1]),
            high => high.map(|high| key(&high)),
        };
        (low.map(|low| key(&low)), high)
    }

    pub(super) fn revision(value: &[u8]) -> Revision {
        // Only this crate writes here, and always at least these bytes.
        Revision(value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
    }

    pub(super) fn entry(value: &[u8]) -> Entry {
        // Copied, because a part of a cached block would keep all of it in memory.
        let rest = value.get(8..).unwrap_or_default();
        Entry { revision: revision(value), value: Bytes::copy_from_slice(rest) }
    }
}

impl Medium {
    fn read<T>(&self, read: impl FnOnce(&Keyspace) -> fjall::Result<T>) -> Result<T, StoreError> {
        if let Some(reason) = self.poison.get() {
            return Err(StoreError::Poisoned { reason: Arc::clone(reason) });
        }
        match self.open.read().as_ref() {
            Some(open) => read(&open.entries).map_err(read_error),
            None => Err(StoreError::Closed),
        }
    }

    /// Why nothing is committed any more.
    fn refusal(&self) -> CommitError {
        match self.poison.get() {
            Some(reason) => CommitError::Poisoned { reason: Arc::clone(reason) },
            None => CommitError::Closed,
        }
    }
}

fn read_error(error: fjall::Error) -> StoreError {
    match error {
        fjall::Error::Io(cause) | fjall::Error::Storage(LsmError::Io(cause)) => StoreError::Io { cause: Arc::new(cause) },
        other => StoreError::Corrupt { what: format!("{other:?}").into() },
    }
}

impl View {
    fn of(medium: &Arc<Medium>, open: &Open, revision: Revision) -> Self {
        Self { medium: Arc::clone(medium), at: open.database.snapshot(), revision }
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        let found = self.medium.read(|entries| self.at.get(entries, stored::key(key)))?;
        Ok(found.map(|value| stored::entry(&value)))
    }

    fn revision_of(&self, key: &[u8]) -> Result<Option<Revision>, StoreError> {
        let found = self.medium.read(|entries| self.at.get(entries, stored::key(key)))?;
        Ok(found.map(|value| stored::revision(&value)))
    }

    fn walk<T>(&self, range: Range, limit: usize, each: impl Fn(fjall::Guard) -> fjall::Result<T>) -> Result<Vec<T>, StoreError> {
        if limit == 0 || order::is_empty(&range) {
            return Ok(Vec::new());
        }
        self.medium.read(|entries| self.at.range(entries, stored::range(range)).take(limit).map(each).collect())
    }
}

fn key_of(guard: fjall::Guard) -> fjall::Result<Key> {
    guard.key().map(|key| Key::from_stored(&key[1..]))
}

impl Snapshot for View {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        Box::pin(ready(self.entry(key)))
    }

    fn get_now(&self, key: &[u8]) -> Option<Result<Option<Entry>, StoreError>> {
        Some(self.entry(key))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Key>, StoreError>> {
        Box::pin(ready(self.walk(order::range(prefix, after), limit, key_of)))
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Key, Entry)>, StoreError>> {
        Box::pin(ready(self.walk(order::range(prefix, after), limit, |guard| {
            let (key, value) = guard.into_inner()?;
            Ok((Key::from_stored(&key[1..]), stored::entry(&value)))
        })))
    }

    fn children<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Key>, StoreError>> {
        Box::pin(ready(order::children(prefix, after, limit, |range| {
            let first = self.walk(range.clone(), 1, key_of)?;
            Ok(first.first().map(|key| key.to_vec()))
        })))
    }
}

impl OpenError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |cause| Self::Io { path: path.to_owned(), cause }
    }

    fn database(path: &Path) -> impl Fn(fjall::Error) -> Self {
        move |error| match error {
            fjall::Error::Io(cause) | fjall::Error::Storage(LsmError::Io(cause)) => Self::Io { path: path.to_owned(), cause },
            other => Self::Damaged { path: path.to_owned(), what: format!("{other:?}") },
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path, holder: Some(pid) } => {
                write!(f, "the store in {} is in use by process {pid}", path.display())
            }
            Self::Locked { path, holder: None } => {
                write!(f, "the store in {} is in use by another process", path.display())
            }
            Self::Future { path, found, known } => write!(
                f,
                "the store in {} has format {found}, which a newer program wrote; this one knows up to {known}",
                path.display()
            ),
            Self::Damaged { path, what } => write!(f, "{} is damaged: {what}", path.display()),
            Self::Io { path, cause } => write!(f, "{} cannot be used: {cause}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A store of format 1 as the first program that knew it left it: two keys in a table, and in the journal
    /// another value of one, the removal of the other, and a third.
    const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/format-1");

    fn put(name: &str, value: &str) -> Batch {
        Batch::default().put(Key::try_from(name).unwrap(), value.to_owned())
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let target = to.join(entry.file_name());
            match entry.file_type().unwrap().is_dir() {
                true => copy(&entry.path(), &target),
                false => drop(fs::copy(entry.path(), target).unwrap()),
            }
        }
    }

    #[tokio::test]
    async fn yesterdays_store_opens() {
        let root = tempfile::tempdir().unwrap();
        copy(Path::new(FORMAT_1), root.path());
        let store = Embedded::open(root.path(), Options::default()).unwrap();
        assert_eq!(store.revision(), Revision(4));
        let found = store.snapshot().scan(b"", None, 10).await.unwrap();
        let found: Vec<_> = found.iter().map(|(key, entry)| (key.to_string(), &entry.value[..], entry.revision.0)).collect();
        let large = "large".repeat(2000);
        let expected = [
            ("dir/changed".to_owned(), &b"second"[..], 2),
            ("dir/large".to_owned(), large.as_bytes(), 4),
            ("kept".to_owned(), b"first", 1),
        ];
        assert_eq!(found, expected);
        assert_eq!(store.commit(put("new", "")).await.unwrap(), Revision(5));
    }

    #[tokio::test]
    async fn a_damaged_table_is_an_error_and_never_another_value() {
        let root = tempfile::tempdir().unwrap();
        let store = Embedded::open(root.path(), Options::default()).unwrap();
        for number in 0..20 {
            store.commit(put(&format!("{number:02}"), &format!("value {number}").repeat(20))).await.unwrap();
        }
        let entries = store.shared.medium.open.read().as_ref().unwrap().entries.clone();
        entries.rotate_memtable_and_wait().unwrap();
        drop(entries);
        drop(store);
        let tables = root.path().join("data/db/keyspaces/1/tables");
        let table = fs::read_dir(tables).unwrap().next().unwrap().unwrap().path();
        let original = fs::read(&table).unwrap();
        let mut noticed = 0;
        for place in (0..original.len()).step_by(37) {
            let mut damaged = original.clone();
            damaged[place] ^= 0x10;
            fs::write(&table, damaged).unwrap();
            let Ok(store) = Embedded::open(root.path(), Options::default()) else {
                noticed += 1;
                continue;
            };
            let snapshot = store.snapshot();
            for number in 0..20 {
                match snapshot.get(format!("{number:02}").as_bytes()).await {
                    Ok(found) => {
                        let value = found.map(|entry| entry.value);
                        assert_eq!(value, Some(format!("value {number}").repeat(20).into()), "byte {place}");
                    }
                    Err(error) => {
                        assert!(matches!(error, StoreError::Corrupt { .. } | StoreError::Io { .. }), "{error}");
                        noticed += 1;
                        break;
                    }
                }
            }
        }
        assert!(noticed > original.len() / 37 / 2, "{noticed}");
    }

    /// Made the golden store; for the next format, not for this one again.
    #[tokio::test]
    #[ignore = "writes tests/golden, which must not change"]
    async fn make_the_golden_store() {
        let root = Path::new(FORMAT_1);
        assert!(!root.exists(), "a golden store is never made anew");
        let store = Embedded::open(root, Options::default()).unwrap();
        let first = put("kept", "first").put(Key::try_from("dir/changed").unwrap(), "first");
        store.commit(first.put(Key::try_from("dir/deleted").unwrap(), "first")).await.unwrap();
        let entries = store.shared.medium.open.read().as_ref().unwrap().entries.clone();
        entries.rotate_memtable_and_wait().unwrap();
        drop(entries);
        store.commit(put("dir/changed", "second")).await.unwrap();
        store.commit(Batch::default().delete(Key::try_from("dir/deleted").unwrap())).await.unwrap();
        store.commit(put("dir/large", &"large".repeat(2000))).await.unwrap();
        drop(store);
        // Opening cuts the zeros that the journal was made with.
        drop(Embedded::open(root, Options::default()).unwrap());
    }
}
