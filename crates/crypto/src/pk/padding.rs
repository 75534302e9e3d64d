//! The paddings of RSA signatures (RFC 8017 section 9) that the library does not have: EMSA-PSS with a salt of any length,
//! EMSA-PKCS1-v1_5 over any digest or none. The library knows SHA-256, SHA-384 and SHA-512, and in PSS a salt as long as the digest;
//! Go, and so the reference, makes the longest that fits. Nothing here is secret: it is made of the message's digest.

use super::PkError;
use crate::digest::Algorithm;

/// Which salt a message encoded by PSS has.
#[derive(Clone, Copy)]
pub(super) enum Salt {
    Any,
    Exactly(usize),
}

/// The longest salt with a digest of this kind in an encoded message of `bits` bits.
pub(super) fn longest_salt(algorithm: Algorithm, bits: usize) -> Option<usize> {
    bits.div_ceil(8).checked_sub(algorithm.bytes() + 2)
}

/// EMSA-PSS-ENCODE (section 9.1.1) into `bits` bits.
pub(super) fn pss(algorithm: Algorithm, digest: &[u8], salt: &[u8], bits: usize) -> Result<Vec<u8>, PkError> {
    let length = bits.div_ceil(8);
    let zeros = length.checked_sub(algorithm.bytes() + salt.len() + 2).ok_or(PkError::Refused)?;
    let hash = algorithm.digest(&[&[0; 8], digest, salt]);
    let mut out = vec![0; zeros];
    out.push(1);
    out.extend_from_slice(salt);
    let masking = mask(algorithm, &hash, out.len());
    for (byte, mask) in out.iter_mut().zip(masking) {
        *byte ^= mask;
    }
    if let Some(first) = out.first_mut() {
        *first &= 0xff >> (8 * length - bits);
    }
    out.extend_from_slice(&hash);
    out.push(0xbc);
    Ok(out)
}

/// EMSA-PSS-VERIFY (section 9.1.2) of an encoded message of `bits` bits.
pub(super) fn is_pss(algorithm: Algorithm, message: &[u8], bits: usize, digest: &[u8], salt: Salt) -> bool {
    let size = algorithm.bytes();
    let Some((rest, [0xbc])) = message.split_last_chunk::<1>() else { return false };
    let Some(at) = rest.len().checked_sub(size) else { return false };
    let (masked, hash) = rest.split_at(at);
    let unused = 8 * message.len() - bits;
    let Some(first) = masked.first() else { return false };
    if unused > 0 && first >> (8 - unused) != 0 {
        return false;
    }
    let mut block: Vec<u8> = masked.iter().zip(mask(algorithm, hash, masked.len())).map(|(a, b)| a ^ b).collect();
    if unused > 0 {
        block[0] &= 0xff >> unused;
    }
    let Some(one) = block.iter().position(|byte| *byte != 0) else { return false };
    let found = &block[one + 1..];
    let fits = match salt {
        Salt::Any => true,
        Salt::Exactly(length) => found.len() == length,
    };
    fits && block[one] == 1 && algorithm.digest(&[&[0; 8], digest, found]) == hash
}

/// EMSA-PKCS1-v1_5 (section 9.2) into `length` bytes; without an algorithm the value stands there alone.
pub(super) fn pkcs1(algorithm: Option<Algorithm>, value: &[u8], length: usize) -> Result<Vec<u8>, PkError> {
    let mut info = Vec::new();
    if let Some(algorithm) = algorithm {
        // DigestInfo { { OID, NULL }, OCTET STRING }; the identifiers of SHA-2 and SHA-3 differ in their last byte alone.
        let size = u8::try_from(algorithm.bytes()).map_err(|_| PkError::Failed)?;
        info.extend_from_slice(&[0x30, 17 + size, 0x30, 13, 0x06, 9, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02]);
        info.extend_from_slice(&[identifier(algorithm), 0x05, 0, 0x04, size]);
    }
    info.extend_from_slice(value);
    let filling = length.checked_sub(info.len() + 3).filter(|filling| *filling >= 8).ok_or(PkError::Refused)?;
    let mut out = vec![0, 1];
    out.resize(2 + filling, 0xff);
    out.push(0);
    out.extend_from_slice(&info);
    Ok(out)
}

/// The last arc of the digest's identifier below 2.16.840.1.101.3.4.2.
const fn identifier(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Sha256 => 1,
        Algorithm::Sha384 => 2,
        Algorithm::Sha512 => 3,
        Algorithm::Sha224 => 4,
        Algorithm::Sha3_224 => 7,
        Algorithm::Sha3_256 => 8,
        Algorithm::Sha3_384 => 9,
        Algorithm::Sha3_512 => 10,
    }
}

/// MGF1 (appendix B.2.1).
fn mask(algorithm: Algorithm, seed: &[u8], length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + algorithm.bytes());
    let mut counter = 0u32;
    while out.len() < length {
        out.extend_from_slice(&algorithm.digest(&[seed, &counter.to_be_bytes()]));
        counter += 1;
    }
    out.truncate(length);
    out
}
