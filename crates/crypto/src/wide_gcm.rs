//! AES-256-GCM with the 32-byte nonce of SOPS values (NIST SP 800-38D, §7.1: any length but 96 bits is hashed into the first
//! counter block). The main library takes 12 bytes alone.

use aes_gcm::aead::array::Array;
use aes_gcm::aead::array::typenum::{U8, U16, U24, U32, U64};
use aes_gcm::aead::{AeadInOut, KeyInit, Nonce, Tag};
use aes_gcm::{Aes256Gcm, AesGcm};
use zeroize::Zeroizing;

use crate::aead::OpenError;

/// Bytes of the nonce that sealing takes.
pub const NONCE_BYTES: usize = 32;
/// Bytes of the tag.
pub const TAG_BYTES: usize = 16;

/// A key with its schedule expanded once; the library wipes it when it is dropped.
pub struct WideGcmKey {
    cipher: AesGcm<aes_gcm::aes::Aes256, U32>,
    /// For the other lengths, which opening takes too: the key itself, expanded when it is needed.
    key: Zeroizing<[u8; 32]>,
}

impl WideGcmKey {
    /// Expands a key. The caller keeps the duty to wipe its own copy.
    pub fn new(key: &[u8; 32]) -> Self {
        Self { cipher: AesGcm::new(&Array(*key)), key: Zeroizing::new(*key) }
    }

    /// Seals `text` in place, bound to `aad`, and gives the tag. A nonce must never seal two different texts under one key, but for
    /// the same text with the same `aad`.
    pub fn seal(&self, nonce: &[u8; NONCE_BYTES], aad: &[u8], text: &mut [u8]) -> [u8; TAG_BYTES] {
        // The only refusal is a text of more than 64 GiB, which no caller holds in memory.
        self.cipher.encrypt_inout_detached(&Array(*nonce), aad, text.into()).expect("the text is below 64 GiB").into()
    }

    /// Opens `text` in place. Nonces of 8, 12, 16, 24, 32 and 64 bytes are known. Nothing of the plaintext is left in `text` if it fails.
    ///
    /// # Errors
    /// Another key, nonce, tag, `aad` or text than it was sealed with, or a nonce of an unknown length.
    pub fn open(&self, nonce: &[u8], aad: &[u8], text: &mut [u8], tag: &[u8; TAG_BYTES]) -> Result<(), OpenError> {
        let key = || Array(*self.key);
        match nonce.len() {
            32 => open(&self.cipher, nonce, aad, text, tag),
            12 => open(&Aes256Gcm::new(&key()), nonce, aad, text, tag),
            16 => open(&AesGcm::<aes_gcm::aes::Aes256, U16>::new(&key()), nonce, aad, text, tag),
            8 => open(&AesGcm::<aes_gcm::aes::Aes256, U8>::new(&key()), nonce, aad, text, tag),
            24 => open(&AesGcm::<aes_gcm::aes::Aes256, U24>::new(&key()), nonce, aad, text, tag),
            64 => open(&AesGcm::<aes_gcm::aes::Aes256, U64>::new(&key()), nonce, aad, text, tag),
            _ => Err(OpenError),
        }
    }
}

fn open<C: AeadInOut<TagSize = U16>>(
    cipher: &C,
    nonce: &[u8],
    aad: &[u8],
    text: &mut [u8],
    tag: &[u8; 16],
) -> Result<(), OpenError> {
    let nonce = <&Nonce<C>>::try_from(nonce).map_err(|_| OpenError)?;
    let tag: &Tag<C> = &Array(*tag);
    cipher.decrypt_inout_detached(nonce, aad, text.into(), tag).map_err(|_| OpenError)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    /// With 12 bytes of nonce both libraries must agree, and what is hashed into the counter otherwise is held by the recorded files.
    #[test]
    fn it_agrees_with_the_main_library_on_short_nonces() {
        let random = crate::random::SeededRandom::for_tests_only(1);
        let sealed = crate::aead::Aes256GcmKey::new(&KEY).seal(&random, b"aad", b"text");
        let (nonce, rest) = sealed.split_at(12);
        let (text, tag) = rest.split_at(4);
        let mut text = text.to_vec();
        WideGcmKey::new(&KEY).open(nonce, b"aad", &mut text, tag.try_into().unwrap()).unwrap();
        assert_eq!(text, b"text");
    }

    /// The round trip, and every single change refused. That the reference's own values open is held by the recorded files of
    /// crates/sops.
    #[test]
    fn what_was_changed_does_not_open() {
        let key = WideGcmKey::new(&KEY);
        let (nonce, mut text) = ([9; 32], b"value".to_vec());
        let tag = key.seal(&nonce, b"a:b:", &mut text);
        let opened = |key: &WideGcmKey, nonce: &[u8], aad: &[u8], text: &[u8], tag: &[u8; 16]| {
            let mut text = text.to_vec();
            let result = key.open(nonce, aad, &mut text, tag);
            (result, text)
        };
        assert_eq!(opened(&key, &nonce, b"a:b:", &text, &tag), (Ok(()), b"value".to_vec()));
        let refused = |key: &WideGcmKey, nonce: &[u8], aad: &[u8], text: &[u8], tag: &[u8; 16]| {
            let (result, left) = opened(key, nonce, aad, text, tag);
            assert_eq!(result, Err(OpenError));
            assert_ne!(left, b"value");
        };
        refused(&WideGcmKey::new(&[8; 32]), &nonce, b"a:b:", &text, &tag);
        refused(&key, &[8; 32], b"a:b:", &text, &tag);
        refused(&key, &nonce, b"a:c:", &text, &tag);
        refused(&key, &nonce, b"a:b:", &text[1..], &tag);
        refused(&key, &nonce, b"a:b:", &text, &[0; 16]);
        for length in [0, 1, 13, 31, 33, 100] {
            refused(&key, &vec![9; length], b"a:b:", &text, &tag);
        }
        for length in [8, 16, 24, 64] {
            refused(&key, &vec![9; length], b"a:b:", &text, &tag);
        }
    }
}
