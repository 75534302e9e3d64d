//! The barrier: the one way to the store, through which only ciphertext goes.
//!
//! A value is stored as `version(1) ‖ key term(4, big endian) ‖ nonce(12) ‖ ciphertext ‖ tag(16)`, sealed with AES-256-GCM
//! under the keyring's key of that term, with the label, the term and the whole key as associated data: a value
//! that is moved to another key, or whose term is changed, does not open. See docs/design/barrier.md.

mod cache;
mod keyring;
mod txn;

pub use keyring::{KeyTerm, Keyring};
pub use txn::{Committed, Mark, Transaction};

pub use cache::Cache;
use coffer_crypto::random::Random;
use coffer_engine::view::Plain;
use coffer_storage::{Batch, CommitError, Expect, Key, Revision, Snapshot, Store, StoreError, Write};
use coffer_types::{Clock, Error, Kind, Result, secret};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where the sealed keyring stands; sealed under the root key, not under itself.
pub const KEYRING_KEY: &str = "core/keyring";
/// Where the sealed root key stands; sealed under what the seal guards.
pub const ROOT_KEY: &str = "core/root-key";
/// The seal's configuration: the one readable record, needed to know how to unseal.
pub const SEAL_CONFIG_KEY: &str = "core/seal-config";
/// Keys that the barrier does not open: they are read and written by the seal.
const OUTSIDE: [&str; 3] = [KEYRING_KEY, ROOT_KEY, SEAL_CONFIG_KEY];

const FORMAT: u8 = 1;
const HEADER: usize = 5;

/// An open barrier. Dropping the last one wipes the keys.
pub struct Barrier {
    store: Arc<dyn Store>,
    keyring: RwLock<Keyring>,
    random: Arc<dyn Random>,
    /// One for all barriers over this store: a call that outlives a seal still commits through its old barrier,
    /// and the next one must hear of it.
    cache: Arc<Cache>,
}

/// Sealed: nothing stays opened.
impl Drop for Barrier {
    fn drop(&mut self) {
        self.cache.clear();
    }
}

impl Barrier {
    pub fn new(store: Arc<dyn Store>, keyring: Keyring, random: Arc<dyn Random>, cache: Arc<Cache>) -> Self {
        Self { store, keyring: RwLock::new(keyring), random, cache }
    }

    /// A transaction on the state as it is now.
    pub fn begin(self: &Arc<Self>) -> Arc<Transaction> {
        Arc::new(Transaction::new(self.clone(), self.store.snapshot()))
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The state of the keyring: terms, install times, counts of encryptions.
    pub fn key_term(&self) -> KeyTerm {
        self.keyring.read().active()
    }

    /// Adds a key; values written from now on are sealed under it, old ones still open. The keyring is
    /// stored before it is used, in one commit with what `also` writes.
    pub async fn rotate(&self, root_key: &[u8; 32], clock: &dyn Clock) -> Result<KeyTerm> {
        let grown = self.keyring.read().grown(&*self.random, clock.now());
        self.store_keyring(&grown, root_key).await?;
        let active = grown.active();
        *self.keyring.write() = grown;
        Ok(active)
    }

    /// Stores the keyring as it is under `root_key` (rotating the root key itself).
    pub fn sealed_keyring(&self, root_key: &[u8; 32]) -> Result<Vec<u8>> {
        self.keyring.read().seal(root_key, &*self.random)
    }

    async fn store_keyring(&self, keyring: &Keyring, root_key: &[u8; 32]) -> Result<()> {
        let batch = Batch::default().put(key(KEYRING_KEY)?, keyring.seal(root_key, &*self.random)?);
        self.store.commit(batch).await.map(|_| ()).map_err(commit_error)
    }

    /// Proves that `root_key` opens the stored keyring.
    pub async fn opens_with(&self, root_key: &[u8; 32]) -> Result<bool> {
        let entry = self.store.snapshot().get(KEYRING_KEY.as_bytes()).await.map_err(store_error)?;
        Ok(entry.is_some_and(|e| Keyring::open(&e.value, root_key).is_ok()))
    }

    fn seal_value(&self, key: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let keyring = self.keyring.read();
        let (term, cipher) = keyring.active_cipher();
        let mut out = Vec::with_capacity(HEADER + 12 + plain.len() + 16);
        out.push(FORMAT);
        out.extend_from_slice(&term.to_be_bytes());
        cipher.seal_onto(&*self.random, &associated(term, key), plain, &mut out);
        keyring.count();
        Ok(out)
    }

    fn open_value(&self, key: &str, sealed: &[u8]) -> Result<secret::Bytes> {
        let fault = |what: &str| Error::internal(format!("the stored value of {key:?} {what}"));
        let header: [u8; HEADER] = sealed.get(..HEADER).and_then(|h| h.try_into().ok()).ok_or_else(|| fault("is too short"))?;
        let [format, term @ ..] = header;
        if format != FORMAT {
            return Err(fault("has a format that this program does not know"));
        }
        let term = u32::from_be_bytes(term);
        let keyring = self.keyring.read();
        let cipher = keyring.cipher(term).ok_or_else(|| fault("is sealed under a key that the keyring does not have"))?;
        cipher.open(&associated(term, key), &sealed[HEADER..]).map_err(|_| fault("does not open: it was changed or moved"))
    }

    /// Reads one key at a snapshot: from the cache where that is what the snapshot holds.
    async fn read(&self, snapshot: &dyn Snapshot, name: &str) -> Result<Option<(Revision, Plain)>> {
        let at = snapshot.revision();
        if let Some((revision, plain)) = self.cache.get(name, at) {
            return Ok(Some((revision, plain)));
        }
        let entry = match snapshot.get_now(name.as_bytes()) {
            Some(entry) => entry,
            None => snapshot.get(name.as_bytes()).await,
        };
        let Some(entry) = entry.map_err(store_error)? else { return Ok(None) };
        if OUTSIDE.contains(&name) {
            return Err(Error::internal(format!("{name} is the seal's, not the barrier's")));
        }
        let plain: Plain = Arc::new(self.open_value(name, &entry.value)?);
        self.cache.fill(name, at, entry.revision, &plain);
        Ok(Some((entry.revision, plain)))
    }

    /// Commits what a transaction read and wrote. `None` is a conflict: run it again.
    async fn commit(
        &self,
        reads: BTreeMap<String, Option<Revision>>,
        writes: Vec<(String, Option<secret::Bytes>)>,
    ) -> Result<Option<Revision>> {
        let mut batch = Batch::default();
        for (name, revision) in &reads {
            batch = batch.check(key(name)?, revision.map_or(Expect::Absent, Expect::At));
        }
        for (name, value) in &writes {
            if OUTSIDE.contains(&name.as_str()) {
                return Err(Error::internal(format!("{name} is the seal's, not the barrier's")));
            }
            batch.writes.push(match value {
                Some(plain) => Write::Put { key: key(name)?, value: self.seal_value(name, plain)?.into() },
                None => Write::Delete { key: key(name)? },
            });
        }
        let pending = self.cache.will_commit(writes.iter().map(|(name, _)| name.as_str()));
        match self.store.commit(batch).await {
            Ok(revision) => {
                pending.committed(revision, writes);
                Ok(Some(revision))
            }
            Err(CommitError::Conflict { .. }) => {
                pending.refused();
                Ok(None)
            }
            // A store that fails a write fails all later ones, so what the stripes hold no longer matters.
            Err(error) => Err(commit_error(error)),
        }
    }
}

fn associated(term: u32, key: &str) -> Vec<u8> {
    let mut aad = Vec::with_capacity(24 + key.len());
    aad.extend_from_slice(b"coffer/barrier/v1\0");
    aad.extend_from_slice(&term.to_be_bytes());
    aad.extend_from_slice(key.as_bytes());
    aad
}

pub(crate) fn key(name: &str) -> Result<Key> {
    // A path of a call is at most MAX_PATH bytes, so this is reached by no request that was parsed.
    Key::try_from(name).map_err(|e| Error::bad_request("the path is too long").with_cause(e))
}

pub(crate) fn store_error(error: StoreError) -> Error {
    Error::new(Kind::Unavailable, "the storage does not answer").with_cause(error)
}

pub(crate) fn commit_error(error: CommitError) -> Error {
    match error {
        CommitError::TooLarge { .. } => {
            Error::new(Kind::TooLarge, "the request writes more than the storage takes at once").with_cause(error)
        }
        other => Error::new(Kind::Unavailable, "the storage could not take the write").with_cause(other),
    }
}
