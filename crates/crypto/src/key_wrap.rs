//! AES key wrap with padding (RFC 5649) under a key of 32 bytes: how keys travel.

use crate::aead::OpenError;
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use zeroize::Zeroizing;

/// Wraps 1 to 65,535 bytes.
///
/// # Errors
/// [`OpenError`] for another length.
pub fn wrap(kek: &[u8; 32], key: &[u8]) -> Result<Vec<u8>, OpenError> {
    if key.is_empty() || key.len() > 65_535 {
        return Err(OpenError);
    }
    let mut out = vec![0; key.len() + 16];
    let kek = AesKek::new(&AES_256, kek).map_err(|_| OpenError)?;
    let length = kek.wrap_with_padding(key, &mut out).map_err(|_| OpenError)?.len();
    out.truncate(length);
    Ok(out)
}

/// # Errors
/// [`OpenError`] for what was not wrapped under this key, or was changed.
pub fn unwrap(kek: &[u8; 32], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut out = Zeroizing::new(vec![0; wrapped.len()]);
    let kek = AesKek::new(&AES_256, kek).map_err(|_| OpenError)?;
    let length = kek.unwrap_with_padding(wrapped, &mut out).map_err(|_| OpenError)?.len();
    out.truncate(length);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_whole_or_not_at_all() {
        for length in [1, 7, 8, 9, 16, 20, 32, 1000] {
            let key: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap_or(0)).collect();
            let wrapped = wrap(&[5; 32], &key).expect("wraps");
            assert_eq!(unwrap(&[5; 32], &wrapped).expect("unwraps").to_vec(), key);
            assert!(unwrap(&[6; 32], &wrapped).is_err());
            for at in 0..wrapped.len() {
                let mut bad = wrapped.clone();
                bad[at] ^= 1;
                assert!(unwrap(&[5; 32], &bad).is_err(), "{at}");
                assert!(unwrap(&[5; 32], &wrapped[..at]).is_err(), "{at}");
            }
        }
        assert!(wrap(&[5; 32], &[]).is_err());
    }

    /// Made by another hand: Python's `cryptography`, `aes_key_wrap_with_padding`.
    #[test]
    fn a_published_form() {
        let wrapped = unwrap(&[1; 32], &hex::decode(MADE).expect("hexadecimal")).expect("unwraps");
        assert_eq!(wrapped.to_vec(), b"twenty bytes of a key");
    }

    const MADE: &str = "94d265d6b16f4e202534af290d9657bf5b00ce35ddf0c424b2294d1510c432f4";
}
