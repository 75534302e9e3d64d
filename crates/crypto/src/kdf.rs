//! Key derivation: HKDF-SHA256 (RFC 5869).
//!
//! Every kind of sealed blob that leaves the server has a key of its own, derived under a label that no other kind uses,
//! so that a value of one kind never opens as another.

use aws_lc_rs::hkdf::{self, HKDF_SHA256};
use zeroize::Zeroizing;

/// Derives a 32-byte key from `secret` for the one purpose that `label` names.
///
/// `secret` must be uniformly random already (a key, not a password); `label` is part of the on-disk formats, so it never changes.
pub fn derive_key(secret: &[u8; 32], label: &str) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0u8; 32]);
    derive(b"", secret, label.as_bytes(), out.as_mut_slice()).expect("32 bytes are below the limit of 8160");
    out
}

/// More than 255 blocks were asked of HKDF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

impl std::fmt::Display for TooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HKDF-SHA256 yields at most 8160 bytes")
    }
}

impl std::error::Error for TooLong {}

/// HKDF-SHA256, extract and expand, into the whole of `out`.
///
/// # Errors
/// [`TooLong`] when `out` is longer than 255 * 32 bytes.
pub fn derive(salt: &[u8], secret: &[u8], info: &[u8], out: &mut [u8]) -> Result<(), TooLong> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let prk = hkdf::Salt::new(HKDF_SHA256, salt).extract(secret);
    prk.expand(&[info], Length(out.len())).and_then(|okm| okm.fill(out)).map_err(|_| TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_part_keys() {
        let a = derive_key(&[1; 32], "coffer batch token v1");
        assert_eq!(*a, *derive_key(&[1; 32], "coffer batch token v1"));
        assert_ne!(*a, *derive_key(&[1; 32], "coffer batch token v2"));
        assert_ne!(*a, *derive_key(&[2; 32], "coffer batch token v1"));
        assert_ne!(*a, [1; 32]);
    }

    #[test]
    fn the_limit_of_the_rfc_holds() {
        assert_eq!(derive(b"", b"k", b"", &mut vec![0; 255 * 32]), Ok(()));
        assert_eq!(derive(b"", b"k", b"", &mut vec![0; 255 * 32 + 1]), Err(TooLong));
    }
}
