//! The barrier's numbered keys.

use coffer_crypto::aead::Aes256GcmKey;
use coffer_crypto::memory::LockedKey;
use coffer_crypto::random::Random;
use coffer_types::{Error, Result, Timestamp};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

const LABEL: &[u8] = b"coffer/keyring/v1";

/// What may be known of the active key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyTerm {
    pub term: u32,
    pub installed: Timestamp,
    /// Values sealed under it by this process since it opened.
    pub encryptions: u64,
}

struct Slot {
    key: LockedKey,
    cipher: Aes256GcmKey,
    installed: Timestamp,
}

/// All keys under which values of the store may be sealed; the highest term is active.
pub struct Keyring {
    keys: BTreeMap<u32, Slot>,
    encryptions: AtomicU64,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Stored {
    keys: Vec<StoredKey>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct StoredKey {
    term: u32,
    installed: Timestamp,
    key: Zeroizing<[u8; 32]>,
}

impl Keyring {
    /// A keyring with its first key.
    pub fn first(random: &dyn Random, now: Timestamp) -> Self {
        let empty = Self { keys: BTreeMap::new(), encryptions: AtomicU64::new(0) };
        empty.grown(random, now)
    }

    /// This keyring and one key more.
    pub(super) fn grown(&self, random: &dyn Random, now: Timestamp) -> Self {
        let mut keys: BTreeMap<u32, Slot> =
            self.keys.iter().map(|(term, slot)| (*term, Slot::new(slot.key.expose(), slot.installed))).collect();
        let next = keys.last_key_value().map_or(1, |(term, _)| term + 1);
        let mut fresh = Zeroizing::new([0u8; 32]);
        random.fill(&mut *fresh);
        keys.insert(next, Slot::new(&fresh, now));
        Self { keys, encryptions: AtomicU64::new(0) }
    }

    /// Opens a stored keyring.
    pub fn open(sealed: &[u8], root_key: &[u8; 32]) -> Result<Self> {
        let fault = || Error::internal("the keyring does not open with this root key");
        let plain = Aes256GcmKey::new(root_key).open(LABEL, sealed).map_err(|_| fault())?;
        let stored: Stored = serde_json::from_slice(&plain).map_err(|_| Error::internal("the keyring does not read"))?;
        if stored.keys.is_empty() {
            return Err(Error::internal("the keyring is empty"));
        }
        let keys = stored.keys.iter().map(|k| (k.term, Slot::new(&k.key, k.installed))).collect();
        Ok(Self { keys, encryptions: AtomicU64::new(0) })
    }

    /// The keyring, sealed under the root key.
    pub fn seal(&self, root_key: &[u8; 32], random: &dyn Random) -> Result<Vec<u8>> {
        let keys = self.keys.iter().map(|(term, slot)| StoredKey {
            term: *term,
            installed: slot.installed,
            key: Zeroizing::new(*slot.key.expose()),
        });
        let stored = Stored { keys: keys.collect() };
        // Large enough for any keyring that was rotated for years: growing would leave a copy behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(256 * (stored.keys.len() + 1)));
        serde_json::to_writer(&mut *plain, &stored).map_err(Error::internal)?;
        Ok(Aes256GcmKey::new(root_key).seal(random, LABEL, &plain))
    }

    pub(super) fn active(&self) -> KeyTerm {
        let encryptions = self.encryptions.load(Ordering::Relaxed);
        let (term, installed) = self.keys.last_key_value().map_or((0, Timestamp::NEVER), |(term, slot)| (*term, slot.installed));
        KeyTerm { term, installed, encryptions }
    }

    pub(super) fn active_cipher(&self) -> (u32, &Aes256GcmKey) {
        // Every constructor puts at least one key in, and none is ever removed.
        #[allow(clippy::expect_used, reason = "see above")]
        let (term, slot) = self.keys.last_key_value().expect("a keyring is never empty");
        (*term, &slot.cipher)
    }

    pub(super) fn cipher(&self, term: u32) -> Option<&Aes256GcmKey> {
        self.keys.get(&term).map(|slot| &slot.cipher)
    }

    pub(super) fn count(&self) {
        self.encryptions.fetch_add(1, Ordering::Relaxed);
    }
}

impl Slot {
    fn new(key: &[u8; 32], installed: Timestamp) -> Self {
        Self { key: LockedKey::new(key), cipher: Aes256GcmKey::new(key), installed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_crypto::random::SeededRandom;

    #[test]
    fn opens_with_its_root_key_only() {
        let random = SeededRandom::for_tests_only(1);
        let keyring = Keyring::first(&random, Timestamp(5)).grown(&random, Timestamp(6));
        let sealed = keyring.seal(&[7; 32], &random).unwrap();
        let opened = Keyring::open(&sealed, &[7; 32]).unwrap();
        assert_eq!(opened.active(), KeyTerm { term: 2, installed: Timestamp(6), encryptions: 0 });
        assert_eq!(opened.keys[&1].key.expose(), keyring.keys[&1].key.expose());
        assert!(Keyring::open(&sealed, &[8; 32]).is_err());
        for n in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[n] ^= 1;
            assert!(Keyring::open(&bent, &[7; 32]).is_err(), "byte {n}");
        }
        assert!(Keyring::open(&sealed[..sealed.len() - 1], &[7; 32]).is_err());
    }
}
