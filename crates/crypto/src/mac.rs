//! HMAC-SHA256 (RFC 2104), the bare SHA-256 that goes with it, and comparison in constant time.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use crate::digest::Algorithm;

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
}
