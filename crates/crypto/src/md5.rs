//! MD5 (RFC 1321) and HMAC-MD5 (RFC 2104), for protocols that know nothing else: RADIUS. Nothing of our own stands on it.

use md5_library::{Digest, Md5};
use zeroize::Zeroizing;

const BLOCK: usize = 64;

/// The 16 bytes of all parts joined.
pub fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    digest.finalize().into()
}

/// HMAC-MD5 of all parts joined.
pub fn hmac_md5(key: &[u8], parts: &[&[u8]]) -> [u8; 16] {
    let mut block = Zeroizing::new([0u8; BLOCK]);
    if key.len() > BLOCK {
        block[..16].copy_from_slice(&md5(&[key]));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Zeroizing::new(block.map(|b| b ^ 0x36));
    let outer = Zeroizing::new(block.map(|b| b ^ 0x5c));
    let mut all: Vec<&[u8]> = vec![&inner[..]];
    all.extend_from_slice(parts);
    md5(&[&outer[..], &md5(&all)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_1321() {
        for (text, digest) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        ] {
            assert_eq!(hex::encode(md5(&[text.as_bytes()])), digest);
            let (a, b) = text.split_at(text.len() / 2);
            assert_eq!(hex::encode(md5(&[a.as_bytes(), b.as_bytes()])), digest);
        }
    }

    #[test]
    fn the_vectors_of_rfc_2202() {
        let tag = |key: &[u8], data: &[u8]| hex::encode(hmac_md5(key, &[data]));
        assert_eq!(tag(&[0x0b; 16], b"Hi There"), "9294727a3638bb1c13f48ef8158bfc9d");
        assert_eq!(tag(b"Jefe", b"what do ya want for nothing?"), "750c783e6ab0b503eaa86e310a5db738");
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(tag(&[0xaa; 80], long), "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }
}
