//! A version's material, parsed. Parsing an RSA key or expanding a cipher's schedule costs more than its use, so what was parsed is
//! kept, bounded. It can't be stale: material under an id and a number never changes, and ids are never given twice.

use super::{Spec, VersionRecord};
use coffer_crypto::cipher::{Cipher, CipherKey};
use coffer_crypto::pk::{PrivateKey, PublicKey};
use coffer_crypto::{Zeroizing, kdf};
use coffer_types::{Error, Result};
use quick_cache::sync::Cache;
use std::fmt;
use std::sync::Arc;

/// What a version can be used with.
pub struct Material {
    pub spec: Spec,
    secret: Zeroizing<Vec<u8>>,
    pub hmac: Zeroizing<Vec<u8>>,
    /// The cipher of a symmetric key.
    pub cipher: Option<CipherKey>,
    pub private: Option<PrivateKey>,
    pub public: Option<PublicKey>,
}

impl Material {
    pub fn read(spec: Spec, version: VersionRecord) -> Result<Self> {
        let broken = |_| Error::internal("a stored key does not read");
        let secret = version.secret.0;
        let cipher = spec.cipher().map(|cipher| CipherKey::new(cipher, &secret)).transpose().map_err(broken)?;
        let broken = |_| Error::internal("a stored key does not read");
        let private = match spec.kind() {
            Some(_) if !secret.is_empty() => Some(PrivateKey::from_pkcs8(&secret).map_err(broken)?),
            _ => None,
        };
        let public = match (&private, version.public.0.is_empty()) {
            (_, false) => Some(PublicKey::from_spki(&version.public.0).map_err(broken)?),
            (Some(private), true) => Some(private.public().map_err(broken)?),
            (None, true) => None,
        };
        Ok(Self { spec, secret, hmac: version.hmac.0, cipher, private, public })
    }

    /// The cipher for one context, and the key of its convergent nonces: HKDF-SHA256 of the key with the context as info, 32 bytes of
    /// cipher key (16 for AES-128) and, behind them, 32 for the nonces.
    pub fn derived(&self, cipher: Cipher, context: &[u8]) -> Result<(CipherKey, Zeroizing<Vec<u8>>)> {
        let mut okm = Zeroizing::new(vec![0; cipher.key_bytes() + 32]);
        kdf::derive(&[], &self.secret, context, &mut okm).map_err(Error::internal)?;
        let (key, nonces) = okm.split_at(cipher.key_bytes());
        Ok((CipherKey::new(cipher, key).map_err(Error::internal)?, Zeroizing::new(nonces.to_vec())))
    }

    /// The Ed25519 key for one context, its seed by HKDF-SHA256.
    pub fn derived_ed25519(&self, context: &[u8]) -> Result<PrivateKey> {
        let private = self.private.as_ref().ok_or_else(|| Error::internal("a derived key without material"))?;
        let own = private.ed25519_bytes().map_err(Error::internal)?;
        let mut seed = Zeroizing::new([0; 32]);
        kdf::derive(&[], &own, context, &mut *seed).map_err(Error::internal)?;
        PrivateKey::from_ed25519_seed(&*seed).map_err(Error::internal)
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Material({})", self.spec.name())
    }
}

/// The parsed material of a mount, as much as fits. It goes when the server is sealed, with the mount.
pub struct Materials(Cache<(Box<str>, u32), Arc<Material>>);

/// Versions kept parsed. An RSA-4096 key with the library's precomputed numbers takes some 10 KB.
const KEPT: usize = 2000;

impl Default for Materials {
    fn default() -> Self {
        Self(Cache::new(KEPT))
    }
}

impl Materials {
    pub(super) fn get(&self, id: &str, number: u32) -> Option<Arc<Material>> {
        self.0.get(&(id.into(), number))
    }

    pub(super) fn keep(&self, id: &str, number: u32, material: Arc<Material>) {
        self.0.insert((id.into(), number), material);
    }

    pub(super) fn forget(&self, id: &str, number: u32) {
        self.0.remove(&(id.into(), number));
    }
}

impl fmt::Debug for Materials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Materials({})", self.0.len())
    }
}
