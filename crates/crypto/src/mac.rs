//! HMAC-SHA256 (RFC 2104), the bare SHA-256 that goes with it, and comparison in constant time.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use crate::digest::Algorithm;
use zeroize::Zeroizing;

/// An HMAC-SHA256 key with both pads absorbed once, so that each use costs only its own data.
#[derive(Clone)]
pub struct HmacKey {
    key: hmac::Key,
}

impl HmacKey {
    /// Prepares a key of any length. The library wipes its state on drop; the caller wipes its own copy.
    pub fn new(key: &[u8]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The 32-byte tag of `data`.
    pub fn tag(&self, data: &[u8]) -> [u8; 32] {
        into_array(hmac::sign(&self.key, data))
    }

    /// The tag of all parts joined, without joining them. The caller sees to it that the joint is unambiguous.
    pub fn tag_parts(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        into_array(context.sign())
    }

    /// Whether `tag` is the whole tag of `data`, in constant time.
    pub fn verify(&self, data: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.key, data, tag).is_ok()
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(..)")
    }
}

/// SHA-256 of all parts joined.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut out = [0u8; 32];
    out.copy_from_slice(&Algorithm::Sha256.digest(parts));
    out
}

/// Whether two byte strings are equal. The time depends on the lengths only.
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

fn into_array(tag: hmac::Tag) -> [u8; 32] {
    let mut out = [0u8; 32];
    out.copy_from_slice(tag.as_ref());
    out
}

/// HMAC (RFC 2104) with any digest of [`Algorithm`]: 28 to 64 bytes.
pub fn hmac(algorithm: Algorithm, key: &[u8], data: &[u8]) -> Vec<u8> {
    let library = match algorithm {
        Algorithm::Sha224 => hmac::HMAC_SHA224,
        Algorithm::Sha256 => hmac::HMAC_SHA256,
        Algorithm::Sha384 => hmac::HMAC_SHA384,
        Algorithm::Sha512 => hmac::HMAC_SHA512,
        // The library has no HMAC over SHA-3: the construction of the RFC, over the block of FIPS 202.
        Algorithm::Sha3_224 => return over(algorithm, 144, key, data),
        Algorithm::Sha3_256 => return over(algorithm, 136, key, data),
        Algorithm::Sha3_384 => return over(algorithm, 104, key, data),
        Algorithm::Sha3_512 => return over(algorithm, 72, key, data),
    };
    hmac::sign(&hmac::Key::new(library, key), data).as_ref().to_vec()
}

/// HMAC-SHA1 (RFC 2104): sound as a MAC, and asked for by old protocols; nothing is signed with SHA-1.
pub fn hmac_sha1(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), data).as_ref().to_vec()
}

fn over(algorithm: Algorithm, block: usize, key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut padded = Zeroizing::new(if key.len() > block { algorithm.digest(&[key]) } else { key.to_vec() });
    padded.resize(block, 0);
    let with = |pad: u8| Zeroizing::new(padded.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>());
    let inner = algorithm.digest(&[&with(0x36), data]);
    algorithm.digest(&[&with(0x5c), &inner])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_the_tag_of_the_whole() {
        let key = HmacKey::new(b"k");
        assert_eq!(key.tag(b"abcdef"), key.tag_parts(&[b"ab", b"", b"cdef"]));
        assert_eq!(key.clone().tag(b""), key.tag_parts(&[]));
        assert_ne!(key.tag(b"a"), HmacKey::new(b"l").tag(b"a"));
    }

    #[test]
    fn verify_wants_the_whole_right_tag() {
        let key = HmacKey::new(b"k");
        let tag = key.tag(b"data");
        assert!(key.verify(b"data", &tag));
        assert!(!key.verify(b"datb", &tag));
        for i in 0..32 {
            assert!(!key.verify(b"data", &tag[..i]));
            let mut bad = tag;
            bad[i] ^= 1;
            assert!(!key.verify(b"data", &bad));
        }
    }

    #[test]
    fn ct_eq_agrees_with_eq() {
        assert!(ct_eq(b"", b""));
        assert!(ct_eq(b"abc", b"abc"));
        for other in [&b""[..], b"ab", b"abd", b"abcd", b"xbc"] {
            assert!(!ct_eq(b"abc", other));
        }
    }

    #[test]
    fn a_key_does_not_print_itself() {
        assert_eq!(format!("{:?}", HmacKey::new(b"hunter2")), "HmacKey(..)");
    }

    /// The second test case of RFC 4231 for SHA-2; the same key and data for SHA-3, and a key longer than any block.
    #[test]
    fn with_every_digest() {
        for (algorithm, tag, of_long_key) in [
            (Algorithm::Sha224, "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44", "3b06cf1734065269823fc94690abe8c1"),
            (
                Algorithm::Sha384,
                "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
                "2aea506dce2a4a8c648c789fce83abfb",
            ),
            (Algorithm::Sha3_224, "7fdb8dd88bd2f60d1b798634ad386811c2cfc85bfaf5d52bbace5e66", "ad53afc4de6742ea8df67cbb2a5981f9"),
            (
                Algorithm::Sha3_256,
                "c7d4072e788877ae3596bbb0da73b887c9171f93095b294ae857fbe2645e1ba5",
                "c520e9c2447a31b094d2f7efcbdfafc6",
            ),
            (
                Algorithm::Sha3_384,
                "f1101f8cbf9766fd6764d2ed61903f21ca9b18f57cf3e1a23ca13508a93243ce48c045dc007f26a21b3f5e0e9df4c20a",
                "5078fbeaa41b0c78effb546d9b626e53",
            ),
            (
                Algorithm::Sha3_512,
                "5a4bfeab6166427c7a3647b747292b8384537cdb89afb3bf5665e4c5e709350b287baec921fd7ca0ee7a0c31d022a95e1fc92ba9d77df883960275beb4e62024",
                "a563c11747586b5927131648d8386771",
            ),
        ] {
            assert_eq!(hex::encode(super::hmac(algorithm, b"Jefe", b"what do ya want for nothing?")), tag, "{algorithm:?}");
            assert_eq!(&hex::encode(super::hmac(algorithm, &[0xaa; 200], b"long key"))[..32], of_long_key, "{algorithm:?}");
        }
        // RFC 2202, the second test case.
        let sha1 = hmac_sha1(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(hex::encode(sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(super::hmac(Algorithm::Sha256, b"k", b"d"), HmacKey::new(b"k").tag(b"d"));
    }
}
