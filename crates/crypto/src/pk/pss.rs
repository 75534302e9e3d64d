//! Checking RSASSA-PSS (RFC 8017 section 8.1.2) with a salt of any length. The library takes only salts as long as the digest;
//! Go, and so the reference, makes the longest that fits. All that is computed here is public.

use crate::digest::Algorithm;
use num_bigint::BigUint;

pub(super) fn verify(algorithm: Algorithm, modulus: &[u8], exponent: &[u8], digest: &[u8], signature: &[u8]) -> bool {
    if signature.len() != modulus.len() {
        return false;
    }
    let n = BigUint::from_bytes_be(modulus);
    let s = BigUint::from_bytes_be(signature);
    if s >= n {
        return false;
    }
    let encoded = s.modpow(&BigUint::from_bytes_be(exponent), &n).to_bytes_be();
    let Ok(bits) = usize::try_from(n.bits()) else { return false };
    let length = (bits - 1).div_ceil(8);
    if encoded.len() > length {
        return false;
    }
    let mut message = vec![0; length - encoded.len()];
    message.extend_from_slice(&encoded);
    encodes(algorithm, &message, bits - 1, digest)
}

/// EMSA-PSS-VERIFY (section 9.1.2) of an encoded message of `bits` bits.
fn encodes(algorithm: Algorithm, message: &[u8], bits: usize, digest: &[u8]) -> bool {
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
    block[one] == 1 && algorithm.digest(&[&[0; 8], digest, &block[one + 1..]]) == hash
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
