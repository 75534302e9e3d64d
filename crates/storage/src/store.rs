//! The [`Store`] and [`Snapshot`] traits and what goes through them.

use crate::{CommitError, Key, Limit, StoreError, Watch};
use bytes::Bytes;
use std::{fmt, pin::Pin, sync::Arc};

/// The most bytes of keys and values that one [`Batch`] may write.
pub const MAX_BATCH: usize = 64 * 1024 * 1024;

/// A future of the store. Memory and embedded answer at the first poll, without a thread hop.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The number of a commit: strictly rising, never reused, as durable as the commit. 0 is the empty store.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Revision(pub u64);

/// A value and the commit that wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// What was written: ciphertext.
    pub value: Bytes,
    /// The revision of the commit that wrote it.
    pub revision: Revision,
}

/// What one key must be for a batch to apply.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Expect {
    /// There is no such key.
    Absent,
    /// The key's entry was written by this commit.
    At(Revision),
}

/// A precondition on one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    /// The key; it need not be one that the batch writes.
    pub key: Key,
    /// What it must be.
    pub expect: Expect,
}

/// One change.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key's value.
    Put {
        /// The key.
        key: Key,
        /// Its new value.
        value: Bytes,
    },
    /// Removes a key; it need not exist.
    Delete {
        /// The key.
        key: Key,
    },
}

impl Write {
    /// The key that is written.
    pub fn key(&self) -> &Key {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// The value to be, or `None` where the key is removed.
    pub fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Put { value, .. } => Some(value),
            Self::Delete { .. } => None,
        }
    }
}

/// Preconditions and changes that apply together or not at all.
///
/// The checks see the store without the batch's own writes. Writes apply in order: the last one to a key wins.
#[derive(Clone, Default)]
pub struct Batch {
    /// All must hold.
    pub checks: Vec<Check>,
    /// All are applied. Without any, a commit only tests its checks and gets the latest revision.
    pub writes: Vec<Write>,
}

impl Batch {
    /// Adds a precondition.
    pub fn check(mut self, key: Key, expect: Expect) -> Self {
        self.checks.push(Check { key, expect });
        self
    }

    /// Adds a put.
    pub fn put(mut self, key: Key, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put { key, value: value.into() });
        self
    }

    /// Adds a delete.
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push(Write::Delete { key });
        self
    }

    /// The bytes of keys and values that it writes.
    pub fn size(&self) -> usize {
        self.writes.iter().map(|write| write.key().len() + write.value().map_or(0, Bytes::len)).sum()
    }

    /// Refuses a batch over [`MAX_BATCH`]; every kind of store calls this first.
    ///
    /// # Errors
    /// [`CommitError::TooLarge`].
    pub fn within_limits(&self) -> Result<(), CommitError> {
        match self.size() {
            size if size > MAX_BATCH => Err(CommitError::TooLarge { what: Limit::Batch, size, limit: MAX_BATCH }),
            _ => Ok(()),
        }
    }
}

/// The store as it was after one commit. It never changes; holding one costs what later commits replace.
pub trait Snapshot: Send + Sync {
    /// The last commit that it contains.
    fn revision(&self) -> Revision;

    /// The entry of `key`, if there is one.
    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Entry>, StoreError>>;

    /// As [`Snapshot::get`] without a future, where this kind of store never waits for another machine:
    /// `None` means "use `get`", not "absent".
    fn get_now(&self, key: &[u8]) -> Option<Result<Option<Entry>, StoreError>> {
        // The default is that of a kind across the network.
        let _ = key;
        None
    }

    /// The keys that start with `prefix`, strictly after the full key `after` if given, in byte order, at
    /// most `limit`.
    fn list<'a>(&'a self, prefix: &'a [u8], after: Option<&'a [u8]>, limit: usize)
    -> BoxFuture<'a, Result<Vec<Key>, StoreError>>;

    /// As [`Snapshot::list`], with the entries.
    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Key, Entry)>, StoreError>>;

    /// The distinct next segments below `prefix`, which ends in `/` or is empty for the root.
    ///
    /// A child is named relative to `prefix`; a folder's name keeps its trailing `/` and stands once however
    /// much it holds (its contents are skipped by seeking). A key and a folder may share a name, as `a` and
    /// `a/`. A key equal to `prefix` is no child of it. An empty segment is the folder `/`.
    /// In byte order, strictly after the child name `after` if given, at most `limit`.
    fn children<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Key>, StoreError>>;
}

/// A place for ciphertext. See the crate's documentation.
pub trait Store: Send + Sync {
    /// The latest commit's state. Cheap enough for every call.
    fn snapshot(&self) -> Arc<dyn Snapshot>;

    /// The latest commit that a new snapshot would contain.
    fn revision(&self) -> Revision {
        self.snapshot().revision()
    }

    /// All checks hold and all writes are applied, atomically and durably, before this returns; or nothing
    /// is. Every snapshot taken on this node after it returned contains the commit.
    ///
    /// Dropping the future once it was polled does not take the batch back: it is then applied whole or not
    /// at all, and which of the two is not told.
    ///
    /// # Errors
    /// See [`CommitError`].
    fn commit<'a>(&'a self, batch: Batch) -> BoxFuture<'a, Result<Revision, CommitError>>;

    /// Every later commit, in order, each after it is visible to new snapshots and before its
    /// [`Store::commit`] returns.
    fn watch(&self) -> Watch;

    /// `inmem`, `embedded`: what `storage_type` reports.
    fn kind(&self) -> &'static str;

    /// What there is to know about size and work done.
    fn stats(&self) -> Stats;

    /// Refuses further commits, waits for those under way and leaves the medium. Watches end. Idempotent.
    ///
    /// # Errors
    /// [`StoreError::Io`] if the last bytes could not be brought to the medium; nothing acknowledged is
    /// among them.
    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Size and work of a store since it was opened.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// About how many keys there are.
    pub keys: u64,
    /// Bytes on the medium; 0 where there is none.
    pub disk_bytes: u64,
    /// Bytes of the log that opening would have to replay, at most.
    pub log_bytes: u64,
    /// Batches that were applied.
    pub commits: u64,
    /// Batches that were refused for a conflict.
    pub conflicts: u64,
    /// Syncs to the medium that commits waited for.
    pub syncs: u64,
}

// Values are ciphertext, but dumping them helps nobody.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({} bytes at {})", self.value.len(), self.revision.0)
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value } => write!(f, "Put({key}, {} bytes)", value.len()),
            Self::Delete { key } => write!(f, "Delete({key})"),
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("checks", &self.checks).field("writes", &self.writes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_over_its_limit_is_the_callers_fault() {
        let key = || Key::try_from("k").unwrap();
        let full = Batch::default().put(key(), vec![0; MAX_BATCH - 1]);
        assert!(full.within_limits().is_ok());
        let over = full.delete(key());
        assert!(matches!(
            over.within_limits(),
            Err(CommitError::TooLarge { what: Limit::Batch, size, limit })
                if size == MAX_BATCH + 1 && limit == MAX_BATCH
        ));
    }

    #[test]
    fn no_value_is_printed() {
        let batch = Batch::default().put(Key::try_from("k").unwrap(), &b"hidden"[..]);
        assert!(!format!("{batch:?}").contains("hidden"));
        let entry = Entry { value: Bytes::from_static(b"hidden"), revision: Revision(1) };
        assert!(!format!("{entry:?}").contains("hidden"));
    }
}
