//! Batch tokens: the record itself, sealed, in the client's hands. Nothing is stored; they cannot be renewed
//! or revoked, and end with their TTL or with the parent they name.

use super::record::TokenRecord;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_crypto::aead::Aes256GcmKey;
use coffer_crypto::random::Random;
use coffer_types::{Error, Result, Secret};
use zeroize::Zeroizing;

pub const PREFIX: &str = "hvb.";
const LABEL: &[u8] = b"coffer/batch-token/v1";

/// Seals and opens batch tokens, under a key that is used for nothing else.
pub struct BatchSealer {
    key: Aes256GcmKey,
}

impl BatchSealer {
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: Aes256GcmKey::new(key) }
    }

    pub fn seal(&self, record: &TokenRecord, random: &dyn Random) -> Result<Secret<String>> {
        let plain = Zeroizing::new(serde_json::to_vec(record).map_err(Error::internal)?);
        let sealed = self.key.seal(random, LABEL, &plain);
        Ok(Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))))
    }

    /// `None` for anything that this server did not make.
    pub fn open(&self, token: &str) -> Option<TokenRecord> {
        let sealed = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let plain = self.key.open(LABEL, &sealed).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}
