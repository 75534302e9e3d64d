//! From sealed to open and back.

use super::{SealKind, open_root, seal_root};
use crate::barrier::{Barrier, KEYRING_KEY, Keyring, ROOT_KEY, commit_error, key, store_error};
use crate::core::Core;
use crate::live::Live;
use coffer_crypto::{random, shamir};
use coffer_storage::Batch;
use coffer_types::{Error, Result};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A static seal's recovery key, in the barrier: what shares of it are checked against.
pub(crate) const RECOVERY_KEY: &str = "core/recovery-key";

/// Shares that were given so far.
#[derive(Default)]
pub(super) struct Progress {
    pub shares: Vec<Zeroizing<Vec<u8>>>,
    pub nonce: String,
}

/// What `sys/seal-status` says.
#[derive(Clone, Debug)]
pub struct Status {
    pub kind: &'static str,
    pub initialized: bool,
    pub sealed: bool,
    pub threshold: u8,
    pub shares: u8,
    pub progress: usize,
    pub nonce: String,
    pub recovery_seal: bool,
    pub cluster_name: String,
    pub cluster_id: String,
    pub storage: &'static str,
}

impl Core {
    pub fn seal_status(&self) -> Status {
        let config = self.seal.config();
        let progress = self.seal.progress.lock();
        let sealed = self.is_sealed();
        let config = config.as_deref();
        Status {
            kind: self.seal.kind().name(),
            initialized: config.is_some(),
            sealed,
            threshold: config.map_or(0, |c| c.threshold),
            shares: config.map_or(0, |c| c.shares),
            progress: progress.shares.len(),
            nonce: progress.nonce.clone(),
            recovery_seal: matches!(self.seal.kind(), SealKind::Static { .. }),
            cluster_name: if sealed { String::new() } else { config.map_or_else(String::new, |c| c.cluster_name.clone()) },
            cluster_id: if sealed { String::new() } else { config.map_or_else(String::new, |c| c.cluster_id.clone()) },
            storage: self.store.kind(),
        }
    }

    /// Takes one share of the unseal key. When enough are there the barrier opens; when they do not fit together
    /// all are forgotten.
    pub async fn unseal(self: &Arc<Self>, share: &[u8]) -> Result<Status> {
        let _one_at_a_time = self.seal.state.lock().await;
        let Some(config) = self.seal.config() else { return Err(Error::bad_request("Vault is not initialized")) };
        if !self.is_sealed() {
            return Ok(self.seal_status());
        }
        if !matches!(self.seal.kind(), SealKind::Shamir) {
            return Err(Error::bad_request("this server unseals itself: its seal takes no shares"));
        }
        let length = if config.shares == 1 { 32 } else { 33 };
        if share.len() != length {
            return Err(Error::bad_request(format!("'key' must be a valid hex or base64 string of {length} bytes")));
        }
        let complete = {
            let mut progress = self.seal.progress.lock();
            // The same share twice is no progress.
            if !progress.shares.iter().any(|known| coffer_crypto::mac::ct_eq(known, share)) {
                if progress.shares.is_empty() {
                    progress.nonce = random::uuid(&*self.random);
                }
                progress.shares.push(Zeroizing::new(share.to_vec()));
            }
            (progress.shares.len() >= usize::from(config.threshold)).then(|| std::mem::take(&mut *progress))
        };
        if let Some(complete) = complete {
            let key = combine(&complete.shares)?;
            self.unseal_with(&key).await?;
        }
        Ok(self.seal_status())
    }

    /// Forgets the shares that were given.
    pub fn reset_unseal(&self) {
        *self.seal.progress.lock() = Progress::default();
    }

    /// Opens the barrier with the static seal's key, at start.
    pub async fn unseal_by_itself(self: &Arc<Self>) -> Result<()> {
        match self.seal.kind() {
            SealKind::Static { key, .. } if self.seal.is_initialized() => {
                let key = Zeroizing::new(*key.expose());
                self.unseal_with(&key).await
            }
            _ => Ok(()),
        }
    }

    pub(crate) async fn unseal_with(self: &Arc<Self>, unseal_key: &[u8; 32]) -> Result<()> {
        let root_key = open_root(&*self.store, unseal_key)
            .await?
            .ok_or_else(|| Error::bad_request("unable to retrieve stored keys: the unseal key is not this store's"))?;
        let entry = self.store.snapshot().get(KEYRING_KEY.as_bytes()).await.map_err(store_error)?;
        let entry = entry.ok_or_else(|| Error::internal("the keyring is missing"))?;
        let keyring = Keyring::open(&entry.value, &root_key)?;
        let barrier = Arc::new(Barrier::new(self.store.clone(), keyring, self.random.clone(), self.cache.clone()));
        let live = Live::open(self, barrier, &root_key).await?;
        self.set_live(live);
        tracing::info!(target: "core", "vault is unsealed");
        Ok(())
    }

    /// Adds a key to the keyring.
    pub async fn rotate_keyring(&self) -> Result<()> {
        let _one_at_a_time = self.seal.state.lock().await;
        let live = self.unsealed()?;
        let term = live.barrier.rotate(&live.root_key(), &*self.clock).await?;
        tracing::info!(target: "core", term = term.term, "rotated the barrier's key");
        Ok(())
    }

    /// Replaces the root key, where the seal can seal the new one by itself, without closing the barrier.
    pub async fn rotate_root_key(self: &Arc<Self>) -> Result<()> {
        let SealKind::Static { key: unseal_key, .. } = self.seal.kind() else {
            return Err(Error::bad_request("a Shamir seal's root key is replaced by a rekey: use sys/rotate/root/init"));
        };
        let unseal_key = Zeroizing::new(*unseal_key.expose());
        let _one_at_a_time = self.seal.state.lock().await;
        let live = self.unsealed()?;
        let root_key: Zeroizing<[u8; 32]> = random::bytes(&*self.random);
        let batch = Batch::default()
            .put(key(KEYRING_KEY)?, live.barrier.sealed_keyring(&root_key)?)
            .put(key(ROOT_KEY)?, seal_root(&unseal_key, &root_key, &*self.random));
        self.store.commit(batch).await.map_err(commit_error)?;
        live.set_root_key(&root_key);
        Ok(())
    }

    /// Closes the barrier: from when this returns no call is answered, and the keys go with the last that is
    /// under way.
    pub async fn seal_now(&self) {
        let _one_at_a_time = self.seal.state.lock().await;
        self.drop_live();
        self.reset_unseal();
        // What was under way holds shares, and a rekey that waits for its verification whole keys.
        self.rekey_cancel();
        self.root_token_cancel();
        tracing::info!(target: "core", "vault is sealed");
    }
}

/// The key that shares give; a single share is the key itself.
pub(crate) fn combine(shares: &[Zeroizing<Vec<u8>>]) -> Result<Zeroizing<[u8; 32]>> {
    let whole = match shares {
        [one] if one.len() == 32 => one.clone(),
        several => shamir::combine(several).map_err(|e| Error::bad_request("the shares do not fit together").with_cause(e))?,
    };
    let mut key = Zeroizing::new([0u8; 32]);
    if whole.len() != key.len() {
        return Err(Error::bad_request("the shares do not fit together"));
    }
    key.copy_from_slice(&whole);
    Ok(key)
}
