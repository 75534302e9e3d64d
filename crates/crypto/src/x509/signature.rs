//! Signatures on certificates, revocation lists and OCSP replies: RSA (PKCS #1 v1.5 and PSS) from 2048 bits, ECDSA on P-256, P-384
//! and P-521, Ed25519, over SHA-2; ML-DSA (RFC 9881). Older digests are not known here.

use super::der::{Reader, Result, SEQUENCE};
use super::write::Writer;
use crate::digest::Algorithm;
use crate::pk::{KeyKind, Message, PkError, PrivateKey, Scheme};
use rustls_pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};
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
    by::ML_DSA_44,
    by::ML_DSA_65,
    by::ML_DSA_87,
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

/// An algorithm of signatures, as certificates name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    RsaSha256,
    RsaSha384,
    RsaSha512,
    /// RSASSA-PSS with MGF1 of the same digest and a salt as long as that.
    RsaPssSha256,
    RsaPssSha384,
    RsaPssSha512,
    EcdsaSha256,
    EcdsaSha384,
    EcdsaSha512,
    Ed25519,
    MlDsa44,
    MlDsa65,
    MlDsa87,
}

impl SignatureAlgorithm {
    pub const ALL: [Self; 13] = [
        Self::RsaSha256,
        Self::RsaSha384,
        Self::RsaSha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::Ed25519,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    /// The algorithm for a key. `bits` of the digest: 256, 384 or 512; 0 takes what fits the key. `pss` counts for RSA alone.
    /// Nothing for other numbers of bits.
    pub fn for_key(kind: KeyKind, bits: u32, pss: bool) -> Option<Self> {
        let bits = match (bits, kind) {
            (0, KeyKind::P384) => 384,
            (0, KeyKind::P521) => 512,
            (0, _) => 256,
            (bits, _) => bits,
        };
        Some(match (kind, bits, pss) {
            (KeyKind::Ed25519, 256 | 384 | 512, _) => Self::Ed25519,
            (KeyKind::MlDsa44, 256 | 384 | 512, _) => Self::MlDsa44,
            (KeyKind::MlDsa65, 256 | 384 | 512, _) => Self::MlDsa65,
            (KeyKind::MlDsa87, 256 | 384 | 512, _) => Self::MlDsa87,
            (KeyKind::Rsa(_), 256, false) => Self::RsaSha256,
            (KeyKind::Rsa(_), 384, false) => Self::RsaSha384,
            (KeyKind::Rsa(_), 512, false) => Self::RsaSha512,
            (KeyKind::Rsa(_), 256, true) => Self::RsaPssSha256,
            (KeyKind::Rsa(_), 384, true) => Self::RsaPssSha384,
            (KeyKind::Rsa(_), 512, true) => Self::RsaPssSha512,
            (KeyKind::P256 | KeyKind::P384 | KeyKind::P521, 256, _) => Self::EcdsaSha256,
            (KeyKind::P256 | KeyKind::P384 | KeyKind::P521, 384, _) => Self::EcdsaSha384,
            (KeyKind::P256 | KeyKind::P384 | KeyKind::P521, 512, _) => Self::EcdsaSha512,
            _ => return None,
        })
    }

    /// Whether keys of this kind make such signatures.
    pub const fn fits(self, kind: KeyKind) -> bool {
        match self.scheme() {
            Scheme::MlDsa => matches!(
                (self, kind),
                (Self::MlDsa44, KeyKind::MlDsa44) | (Self::MlDsa65, KeyKind::MlDsa65) | (Self::MlDsa87, KeyKind::MlDsa87)
            ),
            Scheme::EcdsaAsn1(_) => matches!(kind, KeyKind::P256 | KeyKind::P384 | KeyKind::P521),
            Scheme::Ed25519 => matches!(kind, KeyKind::Ed25519),
            _ => matches!(kind, KeyKind::Rsa(_)),
        }
    }

    /// As Vault's API names it: `SHA256WithRSA`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaSha256 => "SHA256WithRSA",
            Self::RsaSha384 => "SHA384WithRSA",
            Self::RsaSha512 => "SHA512WithRSA",
            Self::RsaPssSha256 => "SHA256WithRSAPSS",
            Self::RsaPssSha384 => "SHA384WithRSAPSS",
            Self::RsaPssSha512 => "SHA512WithRSAPSS",
            Self::EcdsaSha256 => "ECDSAWithSHA256",
            Self::EcdsaSha384 => "ECDSAWithSHA384",
            Self::EcdsaSha512 => "ECDSAWithSHA512",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }

    /// By its name, in letters of either case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The body of its AlgorithmIdentifier.
    pub(super) const fn identifier(self) -> AlgorithmIdentifier {
        match self {
            Self::RsaSha256 => alg_id::RSA_PKCS1_SHA256,
            Self::RsaSha384 => alg_id::RSA_PKCS1_SHA384,
            Self::RsaSha512 => alg_id::RSA_PKCS1_SHA512,
            Self::RsaPssSha256 => alg_id::RSA_PSS_SHA256,
            Self::RsaPssSha384 => alg_id::RSA_PSS_SHA384,
            Self::RsaPssSha512 => alg_id::RSA_PSS_SHA512,
            Self::EcdsaSha256 => alg_id::ECDSA_SHA256,
            Self::EcdsaSha384 => alg_id::ECDSA_SHA384,
            Self::EcdsaSha512 => alg_id::ECDSA_SHA512,
            Self::Ed25519 => alg_id::ED25519,
            Self::MlDsa44 => alg_id::ML_DSA_44,
            Self::MlDsa65 => alg_id::ML_DSA_65,
            Self::MlDsa87 => alg_id::ML_DSA_87,
        }
    }

    pub(super) fn from_identifier(body: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.identifier().as_ref() == body)
    }

    const fn scheme(self) -> Scheme {
        match self {
            Self::RsaSha256 => Scheme::Pkcs1(Algorithm::Sha256),
            Self::RsaSha384 => Scheme::Pkcs1(Algorithm::Sha384),
            Self::RsaSha512 => Scheme::Pkcs1(Algorithm::Sha512),
            Self::RsaPssSha256 => Scheme::Pss(Algorithm::Sha256),
            Self::RsaPssSha384 => Scheme::Pss(Algorithm::Sha384),
            Self::RsaPssSha512 => Scheme::Pss(Algorithm::Sha512),
            Self::EcdsaSha256 => Scheme::EcdsaAsn1(Algorithm::Sha256),
            Self::EcdsaSha384 => Scheme::EcdsaAsn1(Algorithm::Sha384),
            Self::EcdsaSha512 => Scheme::EcdsaAsn1(Algorithm::Sha512),
            Self::Ed25519 => Scheme::Ed25519,
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => Scheme::MlDsa,
        }
    }

    /// Signs what `content` is (a whole element) and puts the three parts together: certificates, requests and revocation lists all
    /// have this form.
    pub(super) fn sign(self, content: &[u8], key: &PrivateKey) -> std::result::Result<Vec<u8>, PkError> {
        let signature = key.sign(self.scheme(), Message::Whole(content))?;
        let mut writer = Writer::with_capacity(content.len() + signature.len() + 48);
        writer.nest(SEQUENCE, |w| {
            w.raw(content);
            w.put(SEQUENCE, self.identifier().as_ref());
            w.bits(&signature);
        });
        Ok(writer.finish())
    }
}

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
