//! Signatures on certificates, revocation lists and OCSP replies: RSA (PKCS #1 v1.5 and PSS) from 2048 bits, ECDSA on P-256, P-384
//! and P-521, Ed25519, over SHA-2. Older digests are not known here.

use super::der::{Reader, Result, SEQUENCE};
use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::aws_lc_rs as by;

/// All that is taken.
pub(super) static ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    by::ECDSA_P256_SHA256,
    by::ECDSA_P256_SHA384,
    by::ECDSA_P256_SHA512,
    by::ECDSA_P384_SHA256,
    by::ECDSA_P384_SHA384,
    by::ECDSA_P384_SHA512,
    by::ECDSA_P521_SHA256,
    by::ECDSA_P521_SHA384,
    by::ECDSA_P521_SHA512,
    by::ED25519,
    by::RSA_PKCS1_2048_8192_SHA256,
    by::RSA_PKCS1_2048_8192_SHA256_ABSENT_PARAMS,
    by::RSA_PKCS1_2048_8192_SHA384,
    by::RSA_PKCS1_2048_8192_SHA384_ABSENT_PARAMS,
    by::RSA_PKCS1_2048_8192_SHA512,
    by::RSA_PKCS1_2048_8192_SHA512_ABSENT_PARAMS,
    by::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    by::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    by::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// A signed structure's outer form (RFC 5280 section 4.1.1): what is signed, by which algorithm, the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signed {
    /// With its tag and length.
    pub(super) content: Box<[u8]>,
    /// The body of the AlgorithmIdentifier.
    pub(super) algorithm: Box<[u8]>,
    pub(super) signature: Box<[u8]>,
}

impl Signed {
    /// Reads `SEQUENCE { content SEQUENCE, AlgorithmIdentifier, BIT STRING }` from the inside of its sequence, and leaves what follows.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let content = reader.element(SEQUENCE)?.whole.into();
        let algorithm = reader.body(SEQUENCE)?.into();
        let signature = reader.bits()?.into();
        Ok(Self { content, algorithm, signature })
    }

    /// Whether the key of this SubjectPublicKeyInfo (whole DER) made the signature.
    pub(super) fn is_by(&self, spki: &[u8]) -> bool {
        let Ok((key_algorithm, key)) = split(spki) else { return false };
        ALGORITHMS.iter().any(|algorithm| {
            algorithm.signature_alg_id().as_ref() == &*self.algorithm
                && algorithm.public_key_alg_id().as_ref() == key_algorithm
                && algorithm.verify_signature(key, &self.content, &self.signature).is_ok()
        })
    }
}

/// The body of the AlgorithmIdentifier, and the key's bytes.
pub(super) fn split(spki: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut inner = Reader::only(spki, SEQUENCE, "public key")?;
    let algorithm = inner.body(SEQUENCE)?;
    let key = inner.bits()?;
    inner.end()?;
    Ok((algorithm, key))
}
