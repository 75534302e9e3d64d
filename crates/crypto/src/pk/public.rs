//! Keys that check and encrypt.

use super::private::{ec_digest, library_digest};
use super::{KeyKind, Message, PkError, RsaPadding, Scheme, der, digest_of, ec_digest_of, raw};
use crate::digest::Algorithm;
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512, OaepPublicEncryptingKey,
    Pkcs1PublicEncryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{self as lib, UnparsedPublicKey, VerificationAlgorithm};

/// A public key. Cheap to clone but for its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyKind,
    /// DER SubjectPublicKeyInfo.
    spki: Vec<u8>,
}

impl PublicKey {
    /// Reads DER SubjectPublicKeyInfo.
    ///
    /// # Errors
    /// [`PkError::Malformed`] for what does not parse, has bytes behind it or is of an unknown kind; [`PkError::Size`].
    pub fn from_spki(document: &[u8]) -> Result<Self, PkError> {
        let kind = der::kind_of_spki(document).ok_or(PkError::Malformed)?;
        // The library would notice a key's size only when it checks a signature.
        let algorithm: &'static dyn VerificationAlgorithm = match kind {
            KeyKind::Rsa(bits) if !(2048..=8192).contains(&bits) => return Err(PkError::Size),
            KeyKind::Rsa(_) => &lib::RSA_PKCS1_2048_8192_SHA256,
            KeyKind::P256 => &lib::ECDSA_P256_SHA256_ASN1,
            KeyKind::P384 => &lib::ECDSA_P384_SHA384_ASN1,
            KeyKind::P521 => &lib::ECDSA_P521_SHA512_ASN1,
            KeyKind::Ed25519 => &lib::ED25519,
            KeyKind::MlDsa44 => &lib::ML_DSA_44,
            KeyKind::MlDsa65 => &lib::ML_DSA_65,
            KeyKind::MlDsa87 => &lib::ML_DSA_87,
        };
        UnparsedPublicKey::new(algorithm, der::key_material(kind, document)).parse().map_err(|_| PkError::Malformed)?;
        Ok(Self { kind, spki: document.to_vec() })
    }

    /// The key of an X.509 certificate in DER. Nothing else of the certificate is looked at.
    ///
    /// # Errors
    /// As [`PublicKey::from_spki`].
    pub fn of_certificate(document: &[u8]) -> Result<Self, PkError> {
        Self::from_spki(der::spki_of_certificate(document).ok_or(PkError::Malformed)?)
    }

    /// Reads PKCS#1 DER (`RSA PUBLIC KEY`).
    ///
    /// # Errors
    /// As [`PublicKey::from_spki`].
    pub fn from_pkcs1(document: &[u8]) -> Result<Self, PkError> {
        let (modulus, exponent) = der::rsa_parts(document).ok_or(PkError::Malformed)?;
        Self::from_rsa(modulus, exponent)
    }

    /// Reads the first public key of a PEM text.
    ///
    /// # Errors
    /// [`PkError::Malformed`].
    pub fn from_pem(text: &str) -> Result<Self, PkError> {
        let blocks = pem::parse_many(text).map_err(|_| PkError::Malformed)?;
        let block = blocks.iter().find(|block| block.tag() == "PUBLIC KEY").ok_or(PkError::Malformed)?;
        Self::from_spki(block.contents())
    }

    /// An RSA key of its modulus and exponent, big-endian.
    ///
    /// # Errors
    /// [`PkError::Malformed`].
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, PkError> {
        Self::from_spki(&der::rsa_spki(modulus, exponent))
    }

    /// A key on a NIST curve of its coordinates, each as long as the field's elements.
    ///
    /// # Errors
    /// [`PkError::Malformed`].
    pub fn from_ec(kind: KeyKind, x: &[u8], y: &[u8]) -> Result<Self, PkError> {
        Self::from_spki(&der::ec_spki(kind, x, y).ok_or(PkError::Malformed)?)
    }

    /// An Ed25519 key of its 32 bytes.
    ///
    /// # Errors
    /// [`PkError::Malformed`].
    pub fn from_ed25519(bytes: &[u8]) -> Result<Self, PkError> {
        Self::from_spki(&der::ed25519_spki(bytes).ok_or(PkError::Malformed)?)
    }

    /// An ML-DSA key of its bare bytes.
    ///
    /// # Errors
    /// [`PkError::Malformed`].
    pub fn from_ml_dsa(kind: KeyKind, bytes: &[u8]) -> Result<Self, PkError> {
        Self::from_spki(&der::lattice_spki(kind, bytes).ok_or(PkError::Malformed)?)
    }

    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// SubjectPublicKeyInfo as PEM.
    pub fn to_pem(&self) -> String {
        der::pem("PUBLIC KEY", &self.spki).to_string()
    }

    /// The bits of the SubjectPublicKeyInfo: an EC point, the bare bytes of Ed25519 and ML-DSA, RSA's PKCS#1 structure.
    pub fn bits(&self) -> &[u8] {
        der::bits_of_spki(&self.spki).unwrap_or_default()
    }

    /// Modulus and exponent of an RSA key, big-endian without leading zeros.
    pub fn rsa_parts(&self) -> Option<(&[u8], &[u8])> {
        matches!(self.kind, KeyKind::Rsa(_)).then(|| der::rsa_parts(self.bits())).flatten()
    }

    /// Whether `signature` is of this key and message.
    ///
    /// # Errors
    /// [`PkError::Mismatch`], [`PkError::Unsupported`]: the question makes no sense. A wrong signature is `false`.
    pub fn verify(&self, scheme: Scheme, message: Message<'_>, signature: &[u8]) -> Result<bool, PkError> {
        let by = |algorithm: &'static dyn VerificationAlgorithm, digest: &aws_lc_rs::digest::Digest| {
            UnparsedPublicKey::new(algorithm, self.material()).verify_digest(digest, signature).is_ok()
        };
        match (self.kind, scheme) {
            (KeyKind::Rsa(_), scheme) if scheme.is_rsa() => {
                let known: Option<(&'static dyn VerificationAlgorithm, _)> = match scheme {
                    Scheme::Pkcs1(Algorithm::Sha256) => Some((&lib::RSA_PKCS1_2048_8192_SHA256, Algorithm::Sha256)),
                    Scheme::Pkcs1(Algorithm::Sha384) => Some((&lib::RSA_PKCS1_2048_8192_SHA384, Algorithm::Sha384)),
                    Scheme::Pkcs1(Algorithm::Sha512) => Some((&lib::RSA_PKCS1_2048_8192_SHA512, Algorithm::Sha512)),
                    Scheme::Pss(Algorithm::Sha256) => Some((&lib::RSA_PSS_2048_8192_SHA256, Algorithm::Sha256)),
                    Scheme::Pss(Algorithm::Sha384) => Some((&lib::RSA_PSS_2048_8192_SHA384, Algorithm::Sha384)),
                    Scheme::Pss(Algorithm::Sha512) => Some((&lib::RSA_PSS_2048_8192_SHA512, Algorithm::Sha512)),
                    _ => None,
                };
                match known {
                    Some((parameters, algorithm)) => {
                        Ok(by(parameters, &library_digest(algorithm, &digest_of(algorithm, message)?)?))
                    }
                    None => {
                        let (modulus, exponent) = self.rsa_parts().ok_or(PkError::Failed)?;
                        raw::verify(modulus, exponent, scheme, message, signature)
                    }
                }
            }
            (KeyKind::P256 | KeyKind::P384 | KeyKind::P521, Scheme::EcdsaAsn1(algorithm) | Scheme::EcdsaFixed(algorithm)) => {
                let digest = ec_digest(self.kind, &ec_digest_of(self.kind, algorithm, message)?)?;
                let fixed = matches!(scheme, Scheme::EcdsaFixed(_));
                Ok(match (self.kind, fixed) {
                    (KeyKind::P256, false) => by(&lib::ECDSA_P256_SHA256_ASN1, &digest),
                    (KeyKind::P256, true) => by(&lib::ECDSA_P256_SHA256_FIXED, &digest),
                    (KeyKind::P384, false) => by(&lib::ECDSA_P384_SHA384_ASN1, &digest),
                    (KeyKind::P384, true) => by(&lib::ECDSA_P384_SHA384_FIXED, &digest),
                    (_, false) => by(&lib::ECDSA_P521_SHA512_ASN1, &digest),
                    (_, true) => by(&lib::ECDSA_P521_SHA512_FIXED, &digest),
                })
            }
            (KeyKind::Ed25519, Scheme::Ed25519) => match message {
                Message::Whole(bytes) => {
                    Ok(UnparsedPublicKey::new(&lib::ED25519, self.material()).verify(bytes, signature).is_ok())
                }
                Message::Digest(_) => Err(PkError::Mismatch),
            },
            (KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87, Scheme::MlDsa) => {
                let Message::Whole(bytes) = message else { return Err(PkError::Mismatch) };
                let algorithm = match self.kind {
                    KeyKind::MlDsa44 => &lib::ML_DSA_44,
                    KeyKind::MlDsa65 => &lib::ML_DSA_65,
                    _ => &lib::ML_DSA_87,
                };
                Ok(UnparsedPublicKey::new(algorithm, self.material()).verify(bytes, signature).is_ok())
            }
            _ => Err(PkError::Mismatch),
        }
    }

    /// # Errors
    /// [`PkError::Mismatch`] for keys that are not RSA's, [`PkError::Refused`] for a plaintext that is too long.
    pub fn encrypt(&self, padding: RsaPadding, plaintext: &[u8]) -> Result<Vec<u8>, PkError> {
        if !matches!(self.kind, KeyKind::Rsa(_)) {
            return Err(PkError::Mismatch);
        }
        let key = PublicEncryptingKey::from_der(&self.spki).map_err(|_| PkError::Failed)?;
        let mut out = vec![0; key.key_size_bytes()];
        let oaep = |algorithm, key, out: &mut [u8]| {
            let key = OaepPublicEncryptingKey::new(key).map_err(|_| PkError::Failed)?;
            key.encrypt(algorithm, plaintext, out, None).map(|made| made.len()).map_err(|_| PkError::Refused)
        };
        let length = match padding {
            RsaPadding::OaepSha256 => oaep(&OAEP_SHA256_MGF1SHA256, key, &mut out)?,
            RsaPadding::OaepSha384 => oaep(&OAEP_SHA384_MGF1SHA384, key, &mut out)?,
            RsaPadding::OaepSha512 => oaep(&OAEP_SHA512_MGF1SHA512, key, &mut out)?,
            RsaPadding::OaepSha1 => oaep(&OAEP_SHA1_MGF1SHA1, key, &mut out)?,
            RsaPadding::Pkcs1 => {
                let key = Pkcs1PublicEncryptingKey::new(key).map_err(|_| PkError::Failed)?;
                key.encrypt(plaintext, &mut out).map(|made| made.len()).map_err(|_| PkError::Refused)?
            }
        };
        out.truncate(length);
        Ok(out)
    }

    fn material(&self) -> &[u8] {
        der::key_material(self.kind, &self.spki)
    }
}
