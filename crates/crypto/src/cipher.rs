//! The authenticated ciphers that people's keys are of: AES-GCM (NIST SP 800-38D), ChaCha20-Poly1305 (RFC 8439) and
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), each as `nonce || ciphertext || tag (16)`. The caller brings the nonce, for
//! convergent encryption derives it; [`crate::aead`] is the barrier's own and draws its nonces itself.

pub use crate::aead::TAG_BYTES;

use crate::aead::OpenError;
use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use std::fmt;
use zeroize::Zeroizing;

/// A cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
    XChaCha20Poly1305,
}

impl Cipher {
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            _ => 32,
        }
    }

    pub const fn nonce_bytes(self) -> usize {
        match self {
            Self::XChaCha20Poly1305 => 24,
            _ => 12,
        }
    }
}

/// The key or the nonce has another length than the cipher's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key or nonce has another length than its cipher's")
    }
}

impl std::error::Error for WrongLength {}

/// A key with its schedule expanded once; wiped when dropped.
pub struct CipherKey {
    cipher: Cipher,
    key: Inner,
}

enum Inner {
    Library(LessSafeKey),
    /// The library lacks the 24-byte nonce.
    XChaCha(Box<XChaCha20Poly1305>),
}

impl CipherKey {
    /// # Errors
    /// [`WrongLength`]. The caller keeps the duty to wipe its own copy.
    pub fn new(cipher: Cipher, key: &[u8]) -> Result<Self, WrongLength> {
        let algorithm = match cipher {
            Cipher::Aes128Gcm => &AES_128_GCM,
            Cipher::Aes256Gcm => &AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Cipher::XChaCha20Poly1305 => {
                let key = XChaCha20Poly1305::new_from_slice(key).map_err(|_| WrongLength)?;
                return Ok(Self { cipher, key: Inner::XChaCha(Box::new(key)) });
            }
        };
        let unbound = UnboundKey::new(algorithm, key).map_err(|_| WrongLength)?;
        Ok(Self { cipher, key: Inner::Library(LessSafeKey::new(unbound)) })
    }

    pub const fn cipher(&self) -> Cipher {
        self.cipher
    }

    /// Seals `plaintext`, bound to `aad`. One nonce must never seal two plaintexts.
    ///
    /// # Errors
    /// [`WrongLength`] of the nonce.
    pub fn seal(&self, nonce: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, WrongLength> {
        if nonce.len() != self.cipher.nonce_bytes() {
            return Err(WrongLength);
        }
        let mut out = Vec::with_capacity(nonce.len() + plaintext.len() + TAG_BYTES);
        out.extend_from_slice(nonce);
        out.extend_from_slice(plaintext);
        self.seal_in_place(aad, &mut out)?;
        Ok(out)
    }

    /// Seals what stands behind the nonce in `buffer`, and puts the tag behind it. With room for [`TAG_BYTES`] nothing of the plaintext
    /// is left anywhere.
    ///
    /// # Errors
    /// [`WrongLength`] where not even a nonce is there.
    pub fn seal_in_place(&self, aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), WrongLength> {
        let (nonce, body) = buffer.split_at_mut_checked(self.cipher.nonce_bytes()).ok_or(WrongLength)?;
        let nonce: &[u8] = nonce;
        // Both libraries refuse only plaintexts of 2^36 bytes and more.
        match &self.key {
            Inner::Library(key) => {
                let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| WrongLength)?;
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(aad), body).map_err(|_| WrongLength)?;
                buffer.extend_from_slice(tag.as_ref());
            }
            Inner::XChaCha(key) => {
                let nonce: &[u8; 24] = nonce.try_into().map_err(|_| WrongLength)?;
                let tag = key.encrypt_inout_detached(nonce.into(), aad, body.into()).map_err(|_| WrongLength)?;
                buffer.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// Opens what [`seal`](Self::seal) made with the same key and `aad`.
    ///
    /// # Errors
    /// [`OpenError`] for anything else.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let plaintext = self.open_in_place(aad, &mut buffer)?;
        Ok(Zeroizing::new(plaintext.to_vec()))
    }

    /// As [`open`](Self::open), into the same bytes: the plaintext is a part of them, which the caller wipes.
    ///
    /// # Errors
    /// [`OpenError`]; the bytes are then worth nothing.
    pub fn open_in_place<'b>(&self, aad: &[u8], sealed: &'b mut [u8]) -> Result<&'b [u8], OpenError> {
        let (nonce, body) = sealed.split_at_mut_checked(self.cipher.nonce_bytes()).ok_or(OpenError)?;
        match &self.key {
            Inner::Library(key) => {
                let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| OpenError)?;
                let plaintext = key.open_in_place(nonce, Aad::from(aad), body).map_err(|_| OpenError)?;
                Ok(plaintext)
            }
            Inner::XChaCha(key) => {
                let (body, tag) = body.split_last_chunk_mut::<TAG_BYTES>().ok_or(OpenError)?;
                let (nonce, tag): (&[u8; 24], &[u8; TAG_BYTES]) = ((&*nonce).try_into().map_err(|_| OpenError)?, tag);
                key.decrypt_inout_detached(nonce.into(), aad, (&mut *body).into(), tag.into()).map_err(|_| OpenError)?;
                Ok(body)
            }
        }
    }
}

impl fmt::Debug for CipherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CipherKey({:?})", self.cipher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Cipher; 4] = [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305, Cipher::XChaCha20Poly1305];

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text).expect("hexadecimal")
    }

    /// One published answer each: cipher, key, nonce, aad, plaintext, ciphertext with tag.
    #[test]
    fn published_answers() {
        let sunscreen = "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f6666657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069742e";
        for (cipher, key, nonce, aad, plaintext, sealed) in [
            // The GCM specification (McGrew and Viega), test cases 4 and 16.
            (
                Cipher::Aes128Gcm,
                "feffe9928665731c6d6a8f9467308308",
                "cafebabefacedbaddecaf888",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc3221a5db94fae95ae7121a47",
            ),
            (
                Cipher::Aes256Gcm,
                "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
                "cafebabefacedbaddecaf888",
                "feedfacedeadbeeffeedfacedeadbeefabaddad2",
                "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b",
            ),
            // RFC 8439 section 2.8.2.
            (
                Cipher::ChaCha20Poly1305,
                "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
                "070000004041424344454647",
                "50515253c0c1c2c3c4c5c6c7",
                sunscreen,
                "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691",
            ),
            // draft-irtf-cfrg-xchacha-03 appendix A.3.1.
            (
                Cipher::XChaCha20Poly1305,
                "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
                "404142434445464748494a4b4c4d4e4f5051525354555657",
                "50515253c0c1c2c3c4c5c6c7",
                sunscreen,
                "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da9768812f615c68b13b52ec0875924c1c7987947deafd8780acf49",
            ),
        ] {
            let key = CipherKey::new(cipher, &bytes(key)).expect("a key");
            let made = key.seal(&bytes(nonce), &bytes(aad), &bytes(plaintext)).expect("seals");
            assert_eq!(hex::encode(&made), format!("{nonce}{sealed}"), "{cipher:?}");
            assert_eq!(key.open(&bytes(aad), &made).expect("opens").to_vec(), bytes(plaintext), "{cipher:?}");
        }
    }

    #[test]
    fn what_was_changed_does_not_open() {
        for cipher in ALL {
            let key = CipherKey::new(cipher, &vec![7; cipher.key_bytes()]).expect("a key");
            let sealed = key.seal(&vec![1; cipher.nonce_bytes()], b"aad", b"plain").expect("seals");
            assert!(key.open(b"other", &sealed).is_err());
            for cut in 0..sealed.len() {
                assert!(key.open(b"aad", &sealed[..cut]).is_err(), "{cipher:?} cut at {cut}");
            }
            for at in 0..sealed.len() {
                let mut bad = sealed.clone();
                bad[at] ^= 1;
                assert!(key.open(b"aad", &bad).is_err(), "{cipher:?} changed at {at}");
            }
            let other = CipherKey::new(cipher, &vec![8; cipher.key_bytes()]).expect("a key");
            assert!(other.open(b"aad", &sealed).is_err());
        }
    }

    #[test]
    fn wrong_lengths_are_refused() {
        for cipher in ALL {
            for length in [0, 15, 17, 31, 33, 64] {
                assert_eq!(CipherKey::new(cipher, &vec![0; length]).err(), Some(WrongLength), "{cipher:?} {length}");
            }
            let key = CipherKey::new(cipher, &vec![7; cipher.key_bytes()]).expect("a key");
            for length in [0, 11, 13, 23, 25] {
                assert_eq!(key.seal(&vec![0; length], b"", b"x").err(), Some(WrongLength), "{cipher:?} {length}");
            }
        }
    }
}
