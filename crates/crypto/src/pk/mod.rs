//! Asymmetric keys: RSA (RFC 8017), ECDSA and ECDH on the NIST curves (FIPS 186-5, SP 800-56A), Ed25519 (RFC 8032) and ML-DSA
//! (FIPS 204), as PKCS#8 (RFC 5958) and SubjectPublicKeyInfo (RFC 5280). One [`PrivateKey`] and one [`PublicKey`] for whoever signs or checks: transit, certificates,
//! tokens.

mod der;
mod numbers;
mod padding;
mod private;
mod public;
mod raw;

pub(crate) use der::pem;
pub use numbers::{RsaNumbers, decimal, from_decimal};
pub use private::PrivateKey;
pub use public::PublicKey;

use crate::digest::Algorithm;
use std::fmt;

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// With so many bits: 2048, 3072 or 4096 where it is made here, 2048 to 8192 where it comes from elsewhere.
    Rsa(u32),
    P256,
    P384,
    P521,
    Ed25519,
    /// FIPS 204; the private key is its seed of 32 bytes.
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

/// How a message is signed. Each fits some kinds of keys only; another is [`PkError::Mismatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5.
    Pkcs1(Algorithm),
    /// RSASSA-PKCS1-v1_5 of a value that is given whole, with no word of its digest's kind: what older protocols sign. Takes
    /// [`Message::Digest`] alone.
    Pkcs1Bare,
    /// RSASSA-PSS, MGF1 with the same digest, the salt as long as the digest.
    Pss(Algorithm),
    /// As `Pss`, but checking takes a salt of any length, as others make them.
    PssAnySalt(Algorithm),
    /// As `Pss`, with a salt of just so many bytes.
    PssSalt(Algorithm, usize),
    /// As `Pss`, with the longest salt that fits the key; in checking, the same as `PssAnySalt`.
    PssLongestSalt(Algorithm),
    /// ECDSA, the signature as ASN.1 `SEQUENCE { r, s }`.
    EcdsaAsn1(Algorithm),
    /// ECDSA, the signature as `r || s`, each as long as the curve's order.
    EcdsaFixed(Algorithm),
    /// Ed25519, which hashes by itself.
    Ed25519,
    /// ML-DSA with an empty context, which hashes by itself.
    MlDsa,
}

impl Scheme {
    pub(super) const fn is_rsa(self) -> bool {
        !matches!(self, Self::EcdsaAsn1(_) | Self::EcdsaFixed(_) | Self::Ed25519 | Self::MlDsa)
    }
}

/// A message to sign or to check.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    Whole(&'a [u8]),
    /// Its digest by the scheme's algorithm. ECDSA takes one of any length, as its standard does; Ed25519 and
    /// ML-DSA have none.
    Digest(&'a [u8]),
}

/// Why a key could not be read or used. Says nothing of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PkError {
    /// The bytes are no key of a kind that is known here.
    Malformed,
    /// RSA of less than 2048 or more than 8192 bits.
    Size,
    /// The scheme does not fit the key, or the digest its length.
    Mismatch,
    /// The cryptography library does not offer this combination.
    Unsupported,
    /// A ciphertext does not open, or a plaintext is too long for the key.
    Refused,
    /// The library failed.
    Failed,
}

impl fmt::Display for PkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the bytes are no key of a known kind",
            Self::Size => "an RSA key must have between 2048 and 8192 bits",
            Self::Mismatch => "the algorithm does not fit the key or the digest",
            Self::Unsupported => "this combination of key and digest is not supported",
            Self::Refused => "the message does not fit the key",
            Self::Failed => "the cryptography library failed",
        })
    }
}

impl std::error::Error for PkError {}

/// How RSA encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RsaPadding {
    /// RSAES-OAEP with SHA-256, MGF1 with SHA-256, no label.
    OaepSha256,
    OaepSha384,
    OaepSha512,
    /// RSAES-OAEP with SHA-1, as older protocols fix it.
    OaepSha1,
    /// RSAES-PKCS1-v1_5; only for protocols that demand it.
    Pkcs1,
}

/// The digest as ECDSA on this curve takes it: cut to the order's length, or with zeros in front; the number is the same
/// (FIPS 186-5 section 6.4.1), and the library then takes every digest on every curve.
fn fitted(kind: KeyKind, digest: &[u8]) -> Result<Vec<u8>, PkError> {
    let length = match kind {
        KeyKind::P256 => 32,
        KeyKind::P384 => 48,
        KeyKind::P521 => 64,
        _ => return Err(PkError::Mismatch),
    };
    let mut out = vec![0; length - digest.len().min(length)];
    out.extend_from_slice(&digest[..digest.len().min(length)]);
    Ok(out)
}

/// The digest for ECDSA on this curve.
fn ec_digest_of(kind: KeyKind, algorithm: Algorithm, message: Message<'_>) -> Result<Vec<u8>, PkError> {
    match message {
        Message::Whole(bytes) => fitted(kind, &algorithm.digest(&[bytes])),
        Message::Digest([]) => Err(PkError::Mismatch),
        Message::Digest(digest) => fitted(kind, digest),
    }
}

fn digest_of(algorithm: Algorithm, message: Message<'_>) -> Result<Vec<u8>, PkError> {
    match message {
        Message::Whole(bytes) => Ok(algorithm.digest(&[bytes])),
        Message::Digest(digest) if digest.len() == algorithm.bytes() => Ok(digest.to_vec()),
        Message::Digest(_) => Err(PkError::Mismatch),
    }
}

#[cfg(test)]
mod tests;
