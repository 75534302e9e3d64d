//! The signature of response-wrapping tokens in JWT form: ES512 (RFC 7518 section 3.4), ECDSA on P-521 with SHA-512.
//!
//! This file knows signatures only; header, claims and their encoding belong to the caller.

use std::fmt;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

/// Bytes of an ES512 signature: r and s, 66 bytes each, big-endian.
pub const SIGNATURE_BYTES: usize = 132;

/// What can go wrong with a key. Says nothing of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The bytes are not a PKCS#8 private key on P-521.
    Malformed,
    /// The library could not make, write or use a key.
    Failed,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a PKCS#8 private key on P-521",
            Self::Failed => "the signature library failed",
        })
    }
}

impl std::error::Error for KeyError {}

/// A P-521 private key for ES512.
pub struct Es512Key {
    pair: EcdsaKeyPair,
}

impl Es512Key {
    /// A new key. The library draws it from its own generator, the one behind [`crate::random::SystemRandom`].
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).map_err(|_| KeyError::Failed)?;
        Ok(Self { pair })
    }

    /// Reads an unencrypted PKCS#8 DER document (RFC 5958).
    ///
    /// # Errors
    /// [`KeyError::Malformed`] for anything else, keys on other curves included.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, der).map_err(|_| KeyError::Malformed)?;
        Ok(Self { pair })
    }

    /// Writes the key as unencrypted PKCS#8 DER, for sealing.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = self.pair.to_pkcs8v1().map_err(|_| KeyError::Failed)?;
        Ok(Zeroizing::new(document.as_ref().to_vec()))
    }

    /// The public key as a DER SubjectPublicKeyInfo (RFC 5280).
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn public_spki(&self) -> Result<Vec<u8>, KeyError> {
        Ok(self.pair.public_key().as_der().map_err(|_| KeyError::Failed)?.as_ref().to_vec())
    }

    /// Signs `message` (for a JWT: `base64url(header) . base64url(claims)`), as raw `r || s`.
    ///
    /// # Errors
    /// [`KeyError::Failed`].
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], KeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| KeyError::Failed)?;
        signature.as_ref().try_into().map_err(|_| KeyError::Failed)
    }

    /// Whether `signature` is this key's signature of `message`.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, self.pair.public_key().as_ref()).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for Es512Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Es512Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_export_and_verifies_its_own() {
        let key = Es512Key::generate().expect("generates");
        let again = Es512Key::from_pkcs8(&key.to_pkcs8().expect("writes")).expect("reads");
        assert_eq!(key.public_spki().expect("writes"), again.public_spki().expect("writes"));
        let signature = again.sign(b"header.claims").expect("signs");
        assert!(key.verify(b"header.claims", &signature));
    }

    #[test]
    fn wrong_messages_signatures_and_keys_are_refused() {
        let key = Es512Key::generate().expect("generates");
        let signature = key.sign(b"m").expect("signs");
        assert!(!key.verify(b"n", &signature));
        assert!(!Es512Key::generate().expect("generates").verify(b"m", &signature));
        assert!(!key.verify(b"m", &signature[..131]));
        assert!(!key.verify(b"m", &[]));
        assert!(!key.verify(b"m", &[0; SIGNATURE_BYTES]), "r = s = 0");
        for i in (0..SIGNATURE_BYTES).step_by(7) {
            let mut bad = signature;
            bad[i] ^= 1;
            assert!(!key.verify(b"m", &bad));
        }
    }

    #[test]
    fn other_bytes_are_no_key() {
        let good = Es512Key::generate().expect("generates").to_pkcs8().expect("writes");
        for bad in [&b""[..], b"key", &good[..good.len() - 1], &[0x30; 300]] {
            assert_eq!(Es512Key::from_pkcs8(bad).err(), Some(KeyError::Malformed));
        }
        let other_curve = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING)
            .expect("generates")
            .to_pkcs8v1()
            .expect("writes");
        assert_eq!(Es512Key::from_pkcs8(other_curve.as_ref()).err(), Some(KeyError::Malformed));
    }
}
