//! New shares of the unseal key (or recovery key): holders of the old ones agree, the new ones may have to be
//! given once before the old ones stop.

use super::ceremony::{Ceremony, prove};
use super::init::{InitAsk, check_shares};
use super::{SealConfig, SealKind, open_root, seal_root, unseal};
use crate::barrier::{ROOT_KEY, SEAL_CONFIG_KEY, commit_error, key, store_error};
use crate::core::Core;
use crate::outside::shares_document;
use coffer_crypto::{random, shamir};
use coffer_storage::{Batch, Expect};
use coffer_types::{Error, Json, Object, Result};
use std::sync::Arc;
use zeroize::Zeroizing;

/// A rekey under way.
pub(super) struct Rekey {
    ask: InitAsk,
    verify: bool,
    ceremony: Ceremony,
    /// The old key was proven and new shares were given out, but they are not in force yet.
    pending: Option<Pending>,
}

struct Pending {
    old: Zeroizing<[u8; 32]>,
    new: Zeroizing<[u8; 32]>,
    ceremony: Ceremony,
}

fn none() -> Error {
    Error::bad_request("no rekey in progress")
}

impl Core {
    pub(super) fn rekey_status(&self) -> Object {
        let required = self.seal.config().map_or(0, |c| c.threshold);
        match &*self.seal.rekey.lock() {
            None => status("", false, InitAsk { shares: 0, threshold: 0 }, 0, required, false, ""),
            Some(r) => {
                let verification = r.pending.as_ref().map_or("", |p| p.ceremony.nonce.as_str());
                status(&r.ceremony.nonce, true, r.ask, r.ceremony.progress(), required, r.verify, verification)
            }
        }
    }

    pub(super) fn rekey_start(&self, ask: InitAsk, verify: bool) -> Result<()> {
        check_shares(ask)?;
        let mut slot = self.seal.rekey.lock();
        if slot.is_some() {
            return Err(Error::bad_request("rekey already in progress"));
        }
        *slot = Some(Rekey { ask, verify, ceremony: Ceremony::new(self), pending: None });
        Ok(())
    }

    pub(super) fn rekey_cancel(&self) {
        *self.seal.rekey.lock() = None;
    }

    /// Takes a share of the old key. `None` while more are wanted; else the new shares.
    pub(super) async fn rekey_update(self: &Arc<Self>, share: Zeroizing<Vec<u8>>, nonce: &str) -> Result<Option<Object>> {
        let threshold = self.seal.config().map_or(0, |c| c.threshold);
        let (shares, ask, verify, nonce) = {
            let mut slot = self.seal.rekey.lock();
            let rekey = slot.as_mut().filter(|r| r.pending.is_none()).ok_or_else(none)?;
            rekey.ceremony.check_nonce(nonce, "rekey")?;
            match rekey.ceremony.add(share, threshold) {
                None => return Ok(None),
                Some(shares) => (shares, rekey.ask, rekey.verify, rekey.ceremony.nonce.clone()),
            }
        };
        let agreed = prove(self, &shares).await?;
        let new: Zeroizing<[u8; 32]> = random::bytes(&*self.random);
        let fresh = if ask.shares == 1 {
            vec![Zeroizing::new(new.to_vec())]
        } else {
            shamir::split(&*self.random, &*new, ask.shares, ask.threshold).map_err(Error::internal)?
        };
        let mut document = shares_document(&fresh, "");
        document.insert("nonce", nonce);
        document.insert("complete", true);
        document.insert("backup", false);
        document.insert("pgp_fingerprints", Json::Null);
        document.insert("verification_required", verify);
        if verify {
            let ceremony = Ceremony::new(self);
            document.insert("verification_nonce", ceremony.nonce.as_str());
            if let Some(rekey) = self.seal.rekey.lock().as_mut() {
                rekey.pending = Some(Pending { old: agreed.key, new, ceremony });
            }
        } else {
            self.rekey_commit(&agreed.key, &new, ask).await?;
            self.rekey_cancel();
        }
        Ok(Some(document))
    }

    pub(super) fn rekey_verify_status(&self) -> Result<Object> {
        let slot = self.seal.rekey.lock();
        let rekey = slot.as_ref().ok_or_else(none)?;
        let pending = rekey.pending.as_ref().ok_or_else(|| Error::bad_request("no rekey verification in progress"))?;
        Ok(Object::new()
            .with("nonce", pending.ceremony.nonce.as_str())
            .with("started", true)
            .with("t", u32::from(rekey.ask.threshold))
            .with("n", u32::from(rekey.ask.shares))
            .with("progress", pending.ceremony.progress()))
    }

    /// Forgets the new shares that were given back so far, under a new nonce.
    pub(super) fn rekey_verify_restart(&self) -> Result<Object> {
        if let Some(pending) = self.seal.rekey.lock().as_mut().and_then(|r| r.pending.as_mut()) {
            pending.ceremony = Ceremony::new(self);
        }
        self.rekey_verify_status()
    }

    /// Takes a share of the new key; when enough prove it, it is in force.
    pub(super) async fn rekey_verify(self: &Arc<Self>, share: Zeroizing<Vec<u8>>, nonce: &str) -> Result<Object> {
        let (old, new, ask, shown) = {
            let mut slot = self.seal.rekey.lock();
            let rekey = slot.as_mut().ok_or_else(none)?;
            let ask = rekey.ask;
            let pending = rekey.pending.as_mut().ok_or_else(|| Error::bad_request("no rekey verification in progress"))?;
            pending.ceremony.check_nonce(nonce, "rekey verification")?;
            let shown = pending.ceremony.nonce.clone();
            match pending.ceremony.add(share, ask.threshold) {
                None => {
                    drop(slot);
                    return Ok(self.rekey_verify_status()?.with("complete", false));
                }
                Some(shares) => {
                    let given = unseal::combine(&shares)?;
                    if !coffer_crypto::mac::ct_eq(&*given, &*pending.new) {
                        pending.ceremony = Ceremony::new(self);
                        return Err(Error::bad_request("rekey verification failed; incorrect key shares supplied"));
                    }
                    (pending.old.clone(), pending.new.clone(), ask, shown)
                }
            }
        };
        self.rekey_commit(&old, &new, ask).await?;
        self.rekey_cancel();
        Ok(Object::new().with("nonce", shown).with("complete", true))
    }

    /// From this commit on the new shares are the ones.
    async fn rekey_commit(self: &Arc<Self>, old: &[u8; 32], new: &[u8; 32], ask: InitAsk) -> Result<()> {
        let current = self.seal.config().ok_or_else(|| Error::internal("the seal has no configuration"))?;
        let config = SealConfig { shares: ask.shares, threshold: ask.threshold, ..(*current).clone() };
        let text = serde_json::to_vec(&config).map_err(Error::internal)?;
        match self.seal.kind() {
            SealKind::Shamir => {
                let entry = self.store.snapshot().get(ROOT_KEY.as_bytes()).await.map_err(store_error)?;
                let entry = entry.ok_or_else(|| Error::internal("the sealed root key is missing"))?;
                let root = open_root(&*self.store, old)
                    .await?
                    .ok_or_else(|| Error::internal("the root key was sealed anew meanwhile"))?;
                let batch = Batch::default()
                    .check(key(ROOT_KEY)?, Expect::At(entry.revision))
                    .put(key(ROOT_KEY)?, seal_root(new, &root, &*self.random))
                    .put(key(SEAL_CONFIG_KEY)?, text);
                self.store.commit(batch).await.map_err(commit_error)?;
            }
            SealKind::Static { .. } => {
                let live = self.unsealed()?;
                let txn = live.barrier.begin();
                txn.root_view().put_bytes(unseal::RECOVERY_KEY, Zeroizing::new(new.to_vec()));
                txn.commit().await?;
                self.store.commit(Batch::default().put(key(SEAL_CONFIG_KEY)?, text)).await.map_err(commit_error)?;
            }
        }
        self.seal.set_config(config);
        Ok(())
    }
}

fn status(nonce: &str, started: bool, ask: InitAsk, progress: usize, required: u8, verify: bool, verification: &str) -> Object {
    let mut document = Object::new()
        .with("nonce", nonce)
        .with("started", started)
        .with("t", u32::from(ask.threshold))
        .with("n", u32::from(ask.shares))
        .with("progress", progress)
        .with("required", u32::from(required))
        .with("pgp_fingerprints", Json::Null)
        .with("backup", false)
        .with("verification_required", verify);
    if started {
        document.insert("verification_nonce", verification);
    }
    document
}
