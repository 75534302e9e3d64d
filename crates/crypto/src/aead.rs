//! Authenticated encryption: AES-256-GCM (NIST SP 800-38D) with a random 96-bit nonce in front of the ciphertext.
//!
//! A random nonce bounds one key to 2^32 seals; the keyring rotates long before that.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::random::Random;

/// Bytes of nonce in front of a sealed value.
pub const NONCE_BYTES: usize = NONCE_LEN;
/// Bytes of tag at the end of a sealed value.
pub const TAG_BYTES: usize = 16;
/// What sealing adds to the length of a plaintext.
pub const OVERHEAD: usize = NONCE_BYTES + TAG_BYTES;

/// Why a sealed value did not open.
///
/// There is one value on purpose: a caller who could tell a short input from a bad tag or a wrong key would be an oracle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenError;

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sealed value does not open with this key and context")
    }
}

impl std::error::Error for OpenError {}

/// An AES-256-GCM key with its schedule expanded once. The library wipes the schedule when the key is dropped.
pub struct Aes256GcmKey {
    key: LessSafeKey,
}

impl Aes256GcmKey {
    /// Expands a 32-byte key. The caller keeps the duty to wipe its own copy.
    pub fn new(key: &[u8; 32]) -> Self {
        // The only refusal of the library is a key of the wrong length, and the type rules that out.
        let unbound = UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes");
        Self { key: LessSafeKey::new(unbound) }
    }

    /// Seals `plaintext`, bound to `aad`, as `nonce (12) || ciphertext || tag (16)`.
    pub fn seal(&self, nonce_source: &dyn Random, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plaintext.len() + OVERHEAD);
        self.seal_onto(nonce_source, aad, plaintext, &mut out);
        out
    }

    /// As [`seal`](Self::seal), appended to `out`, for callers that put a header of their own in front.
    pub fn seal_onto(&self, nonce_source: &dyn Random, aad: &[u8], plaintext: &[u8], out: &mut Vec<u8>) {
        let mut nonce = [0u8; NONCE_BYTES];
        nonce_source.fill(&mut nonce);
        out.reserve(plaintext.len() + OVERHEAD);
        out.extend_from_slice(&nonce);
        let body = out.len();
        out.extend_from_slice(plaintext);
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut out[body..])
            // GCM refuses only more than 2^36 - 32 bytes; no value or batch comes near, as the edge limits bodies.
            .expect("a plaintext is far below the limit of GCM");
        out.extend_from_slice(tag.as_ref());
    }

    /// Opens what [`seal`](Self::seal) made with the same key and `aad`.
    ///
    /// # Errors
    /// [`OpenError`] for any input that is not that: too short, cut, changed, of another key or bound to another context.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError)?;
        let (body, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(OpenError)?;
        let mut plaintext = Zeroizing::new(vec![0u8; body.len()]);
        self.key
            .open_separate_gather(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), body, tag, &mut plaintext)
            .map_err(|_| OpenError)?;
        Ok(plaintext)
    }
}

impl fmt::Debug for Aes256GcmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aes256GcmKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn every_single_change_is_refused() {
        let random = SeededRandom::for_tests_only(1);
        let key = Aes256GcmKey::new(&[7; 32]);
        let sealed = key.seal(&random, b"ctx", b"hello");
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(key.open(b"ctx", &sealed).expect("opens").as_slice(), b"hello");
        for i in 0..sealed.len() {
            for bit in 0..8 {
                let mut bad = sealed.clone();
                bad[i] ^= 1 << bit;
                assert_eq!(key.open(b"ctx", &bad), Err(OpenError));
            }
            assert_eq!(key.open(b"ctx", &sealed[..i]), Err(OpenError), "cut to {i} bytes");
        }
        assert_eq!(key.open(b"cty", &sealed), Err(OpenError));
        assert_eq!(key.open(b"", &sealed), Err(OpenError));
        assert_eq!(Aes256GcmKey::new(&[8; 32]).open(b"ctx", &sealed), Err(OpenError));
        let mut longer = sealed;
        longer.push(0);
        assert_eq!(key.open(b"ctx", &longer), Err(OpenError));
    }

    #[test]
    fn two_seals_never_share_a_nonce() {
        let random = SeededRandom::for_tests_only(2);
        let key = Aes256GcmKey::new(&[7; 32]);
        assert_ne!(key.seal(&random, b"", b"x")[..NONCE_BYTES], key.seal(&random, b"", b"x")[..NONCE_BYTES]);
    }

    #[test]
    fn a_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", Aes256GcmKey::new(&[0x41; 32])), "Aes256GcmKey(..)");
    }
}
