//! Collecting shares for something that a threshold of their holders must agree to.

use super::unseal::combine;
use super::{SealKind, open_root, unseal};
use crate::core::Core;
use coffer_crypto::{mac, random};
use coffer_types::{Error, Result};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Shares given under one nonce.
pub(super) struct Ceremony {
    pub nonce: String,
    shares: Vec<Zeroizing<Vec<u8>>>,
}

impl Ceremony {
    pub(super) fn new(core: &Core) -> Self {
        Self { nonce: random::uuid(&*core.random), shares: Vec::new() }
    }

    pub(super) fn progress(&self) -> usize {
        self.shares.len()
    }

    /// Takes a share. When `threshold` are there they are handed over and forgotten here.
    pub(super) fn add(&mut self, share: Zeroizing<Vec<u8>>, threshold: u8) -> Option<Vec<Zeroizing<Vec<u8>>>> {
        if !self.shares.iter().any(|known| mac::ct_eq(known, &share)) {
            self.shares.push(share);
        }
        (self.shares.len() >= usize::from(threshold)).then(|| std::mem::take(&mut self.shares))
    }

    pub(super) fn check_nonce(&self, nonce: &str, what: &str) -> Result<()> {
        if nonce.is_empty() || nonce == self.nonce {
            // The reference wants a nonce; an empty one is refused before this.
            return if nonce.is_empty() {
                Err(Error::bad_request(format!("missing nonce; nonce for this {what} operation is {:?}", self.nonce)))
            } else {
                Ok(())
            };
        }
        Err(Error::bad_request(format!("incorrect nonce supplied; nonce for this {what} operation is {:?}", self.nonce)))
    }
}

/// Proof that a threshold of share holders agreed: the key that their shares give is the seal's. Only
/// [`prove`] makes one.
pub(super) struct Agreed {
    pub key: Zeroizing<[u8; 32]>,
}

/// Holds the key that shares give against the seal: the unseal key, or a static seal's recovery key.
pub(super) async fn prove(core: &Arc<Core>, shares: &[Zeroizing<Vec<u8>>]) -> Result<Agreed> {
    let wrong = || Error::bad_request("the shares do not give this server's key: all of them must be given again");
    let key = combine(shares).map_err(|_| wrong())?;
    let right = match core.seal.kind() {
        SealKind::Shamir => open_root(&*core.store, &key).await?.is_some(),
        SealKind::Static { .. } => {
            let live = core.unsealed()?;
            let stored = live.view().get_bytes(unseal::RECOVERY_KEY).await?;
            stored.is_some_and(|stored| mac::ct_eq(&stored, &*key))
        }
    };
    if right { Ok(Agreed { key }) } else { Err(wrong()) }
}
