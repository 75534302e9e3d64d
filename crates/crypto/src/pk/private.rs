//! Keys that sign and decrypt.

use super::numbers::RsaNumbers;
use super::{KeyKind, Message, PkError, PublicKey, RsaPadding, Scheme, der, digest_of, ec_digest_of, raw};
use crate::digest::Algorithm;
use aws_lc_rs::agreement;
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512,
    OaepPrivateDecryptingKey, Pkcs1PrivateDecryptingKey, PrivateDecryptingKey,
};
use aws_lc_rs::signature::{
    self as lib, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, PqdsaKeyPair, PqdsaSigningAlgorithm, RsaEncoding,
    RsaKeyPair,
};
use std::fmt;
use std::sync::OnceLock;
use zeroize::Zeroizing;

/// A private key, parsed once. The library wipes it on drop.
pub struct PrivateKey {
    kind: KeyKind,
    inner: Inner,
}

enum Inner {
    Rsa(Box<RsaKeyPair>),
    /// ASN.1 and fixed form are two algorithms to the library, so two pairs of one key. Reading a pair checks the key, which costs more
    /// than to sign with it: the second is made when it is first needed, and never of a key that makes certificates alone.
    Ec {
        asn1: Box<EcdsaKeyPair>,
        fixed: OnceLock<Box<EcdsaKeyPair>>,
    },
    Ed25519(Box<Ed25519KeyPair>),
    MlDsa(Box<PqdsaKeyPair>),
}

impl PrivateKey {
    /// A new key, drawn by the library from its own generator. RSA takes from 30 ms to seconds: not on an async thread.
    ///
    /// # Errors
    /// [`PkError::Unsupported`] for an RSA size that is none of 2048, 3072, 4096 and 8192.
    pub fn generate(kind: KeyKind) -> Result<Self, PkError> {
        let pair = match kind {
            KeyKind::Rsa(bits) => {
                let size = match bits {
                    2048 => KeySize::Rsa2048,
                    3072 => KeySize::Rsa3072,
                    4096 => KeySize::Rsa4096,
                    8192 => KeySize::Rsa8192,
                    _ => return Err(PkError::Unsupported),
                };
                let pair = RsaKeyPair::generate(size).map_err(|_| PkError::Failed)?;
                return Ok(Self { kind, inner: Inner::Rsa(Box::new(pair)) });
            }
            KeyKind::Ed25519 => {
                let pair = Ed25519KeyPair::generate().map_err(|_| PkError::Failed)?;
                return Ok(Self { kind, inner: Inner::Ed25519(Box::new(pair)) });
            }
            KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => {
                let pair = PqdsaKeyPair::generate(lattice(kind)?).map_err(|_| PkError::Failed)?;
                return Ok(Self { kind, inner: Inner::MlDsa(Box::new(pair)) });
            }
            curve => EcdsaKeyPair::generate(signing(curve)?.0).map_err(|_| PkError::Failed)?,
        };
        Ok(Self { kind, inner: Inner::Ec { asn1: Box::new(pair), fixed: OnceLock::new() } })
    }

    /// Reads unencrypted PKCS#8 DER of any kind; of ML-DSA only with the seed (RFC 9881), of which the rest is made.
    ///
    /// # Errors
    /// [`PkError::Malformed`].
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, PkError> {
        if let Some(kind) = der::lattice_of_pkcs8(document) {
            let pair = PqdsaKeyPair::from_pkcs8(lattice(kind)?, document).map_err(|_| PkError::Malformed)?;
            // An expanded key without its seed could not be written again.
            pair.to_pkcs8v1().map_err(|_| PkError::Malformed)?;
            return Ok(Self { kind, inner: Inner::MlDsa(Box::new(pair)) });
        }
        if let Ok(pair) = RsaKeyPair::from_pkcs8(document) {
            return Self::rsa(pair);
        }
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(document) {
            return Ok(Self { kind: KeyKind::Ed25519, inner: Inner::Ed25519(Box::new(pair)) });
        }
        Self::ec(|algorithm| EcdsaKeyPair::from_pkcs8(algorithm, document).ok())
    }

    /// Reads DER of PKCS#8, PKCS#1 (`RSA PRIVATE KEY`) or SEC1 (`EC PRIVATE KEY`).
    ///
    /// # Errors
    /// [`PkError::Malformed`].
    pub fn from_der(document: &[u8]) -> Result<Self, PkError> {
        Self::from_pkcs8(document)
            .or_else(|_| RsaKeyPair::from_der(document).map_err(|_| PkError::Malformed).and_then(Self::rsa))
            .or_else(|_| Self::ec(|algorithm| EcdsaKeyPair::from_private_key_der(algorithm, document).ok()))
    }

    /// Reads the first private key of a PEM text.
    ///
    /// # Errors
    /// [`PkError::Malformed`].
    pub fn from_pem(text: &str) -> Result<Self, PkError> {
        let blocks = pem::parse_many(text).map_err(|_| PkError::Malformed)?;
        let block = blocks.into_iter().find(|block| block.tag().ends_with("PRIVATE KEY")).ok_or(PkError::Malformed)?;
        Self::from_der(&Zeroizing::new(block.into_contents()))
    }

    /// The Ed25519 key of a seed of 32 bytes.
    ///
    /// # Errors
    /// [`PkError::Malformed`] for another length.
    pub fn from_ed25519_seed(seed: &[u8]) -> Result<Self, PkError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| PkError::Malformed)?;
        Ok(Self { kind: KeyKind::Ed25519, inner: Inner::Ed25519(Box::new(pair)) })
    }

    /// The ML-DSA key of a seed of 32 bytes.
    ///
    /// # Errors
    /// [`PkError::Malformed`] for another length, [`PkError::Mismatch`] for another kind.
    pub fn from_ml_dsa_seed(kind: KeyKind, seed: &[u8]) -> Result<Self, PkError> {
        let pair = PqdsaKeyPair::from_seed(lattice(kind)?, seed).map_err(|_| PkError::Malformed)?;
        Ok(Self { kind, inner: Inner::MlDsa(Box::new(pair)) })
    }

    /// The seed of an ML-DSA key, 32 bytes.
    ///
    /// # Errors
    /// [`PkError::Mismatch`] for other kinds.
    pub fn ml_dsa_seed(&self) -> Result<Zeroizing<Vec<u8>>, PkError> {
        let Inner::MlDsa(_) = &self.inner else { return Err(PkError::Mismatch) };
        der::seed_of_pkcs8(&self.to_pkcs8()?).ok_or(PkError::Failed)
    }

    /// The EC key of a scalar, big-endian.
    ///
    /// # Errors
    /// [`PkError::Malformed`] where the scalar does not fit the curve or the point is not its.
    pub fn from_ec(kind: KeyKind, scalar: &[u8], public: &PublicKey) -> Result<Self, PkError> {
        let (asn1, _) = signing(kind)?;
        let length = fitted_length(kind);
        let mut padded = Zeroizing::new(vec![0; length.checked_sub(scalar.len()).ok_or(PkError::Malformed)?]);
        padded.extend_from_slice(scalar);
        let pair = EcdsaKeyPair::from_private_key_and_public_key(asn1, &padded, public.bits()).map_err(|_| PkError::Malformed)?;
        Self::from_pkcs8(pair.to_pkcs8v1().map_err(|_| PkError::Failed)?.as_ref())
    }

    /// The RSA key of its modulus, exponents and primes, big-endian.
    ///
    /// # Errors
    /// [`PkError::Malformed`] where they do not make a key.
    pub fn from_rsa(numbers: &RsaNumbers) -> Result<Self, PkError> {
        let document = super::numbers::pkcs1(numbers).ok_or(PkError::Malformed)?;
        RsaKeyPair::from_der(&document).map_err(|_| PkError::Malformed).and_then(Self::rsa)
    }

    /// The scalar of an EC key, big-endian, as long as the curve's order.
    ///
    /// # Errors
    /// [`PkError::Mismatch`] for other kinds.
    pub fn ec_scalar(&self) -> Result<Zeroizing<Vec<u8>>, PkError> {
        let Inner::Ec { asn1, .. } = &self.inner else { return Err(PkError::Mismatch) };
        let scalar =
            aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::EcPrivateKeyBin<'_>>::as_be_bytes(&asn1.private_key());
        Ok(Zeroizing::new(scalar.map_err(|_| PkError::Failed)?.as_ref().to_vec()))
    }

    /// The numbers of an RSA key.
    ///
    /// # Errors
    /// [`PkError::Mismatch`] for other kinds.
    pub fn rsa_numbers(&self) -> Result<RsaNumbers, PkError> {
        let Inner::Rsa(_) = &self.inner else { return Err(PkError::Mismatch) };
        let document = der::inside_pkcs8(&self.to_pkcs8()?).ok_or(PkError::Failed)?;
        super::numbers::of_pkcs1(&document).ok_or(PkError::Failed)
    }

    fn rsa(pair: RsaKeyPair) -> Result<Self, PkError> {
        let bits = u32::try_from(pair.public_modulus_len() * 8).map_err(|_| PkError::Malformed)?;
        if !(2048..=8192).contains(&bits) {
            return Err(PkError::Size);
        }
        Ok(Self { kind: KeyKind::Rsa(bits), inner: Inner::Rsa(Box::new(pair)) })
    }

    fn ec(read: impl Fn(&'static EcdsaSigningAlgorithm) -> Option<EcdsaKeyPair>) -> Result<Self, PkError> {
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::P521] {
            if let Some(asn1) = read(signing(kind)?.0) {
                return Ok(Self { kind, inner: Inner::Ec { asn1: Box::new(asn1), fixed: OnceLock::new() } });
            }
        }
        Err(PkError::Malformed)
    }

    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Unencrypted PKCS#8 DER, for sealing.
    ///
    /// # Errors
    /// [`PkError::Failed`].
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, PkError> {
        let failed = |_| PkError::Failed;
        Ok(Zeroizing::new(match &self.inner {
            Inner::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(&**pair).map_err(failed)?.as_ref().to_vec(),
            Inner::Ec { asn1, .. } => asn1.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Inner::Ed25519(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Inner::MlDsa(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
        }))
    }

    /// The older form that tools expect of RSA (PKCS#1) and EC (SEC1) keys, as PEM; PKCS#8 of others.
    ///
    /// # Errors
    /// [`PkError::Failed`].
    pub fn to_traditional_pem(&self) -> Result<Zeroizing<String>, PkError> {
        let label = match &self.inner {
            Inner::Rsa(_) => "RSA PRIVATE KEY",
            Inner::Ec { .. } => "EC PRIVATE KEY",
            Inner::Ed25519(_) | Inner::MlDsa(_) => "PRIVATE KEY",
        };
        Ok(der::pem(label, &self.to_traditional_der()?))
    }

    /// The same as DER.
    ///
    /// # Errors
    /// [`PkError::Failed`].
    pub fn to_traditional_der(&self) -> Result<Zeroizing<Vec<u8>>, PkError> {
        match &self.inner {
            Inner::Rsa(_) => der::inside_pkcs8(&self.to_pkcs8()?).ok_or(PkError::Failed),
            Inner::Ec { asn1, .. } => {
                let document = AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&asn1.private_key()).map_err(|_| PkError::Failed)?;
                Ok(Zeroizing::new(document.as_ref().to_vec()))
            }
            Inner::Ed25519(_) | Inner::MlDsa(_) => self.to_pkcs8(),
        }
    }

    /// PKCS#8 as PEM.
    ///
    /// # Errors
    /// [`PkError::Failed`].
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, PkError> {
        Ok(der::pem("PRIVATE KEY", &self.to_pkcs8()?))
    }

    /// The seed and, behind it, the public key, 64 bytes: Go's form of an Ed25519 private key.
    ///
    /// # Errors
    /// [`PkError::Mismatch`] for other kinds.
    pub fn ed25519_bytes(&self) -> Result<Zeroizing<Vec<u8>>, PkError> {
        let Inner::Ed25519(pair) = &self.inner else { return Err(PkError::Mismatch) };
        let seed = pair.seed().map_err(|_| PkError::Failed)?;
        let seed = aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::Curve25519SeedBin<'_>>::as_be_bytes(&seed);
        let mut out = Zeroizing::new(seed.map_err(|_| PkError::Failed)?.as_ref().to_vec());
        out.extend_from_slice(pair.public_key().as_ref());
        Ok(out)
    }

    /// The public half.
    ///
    /// # Errors
    /// [`PkError::Failed`].
    pub fn public(&self) -> Result<PublicKey, PkError> {
        PublicKey::from_spki(&self.spki()?)
    }

    /// DER SubjectPublicKeyInfo of the public half, for who only writes it down.
    ///
    /// # Errors
    /// [`PkError::Failed`].
    pub fn spki(&self) -> Result<Vec<u8>, PkError> {
        let failed = |_| PkError::Failed;
        let document = match &self.inner {
            Inner::Rsa(pair) => pair.public_key().as_der().map_err(failed)?,
            Inner::Ec { asn1, .. } => asn1.public_key().as_der().map_err(failed)?,
            Inner::Ed25519(pair) => pair.public_key().as_der().map_err(failed)?,
            Inner::MlDsa(pair) => pair.public_key().as_der().map_err(failed)?,
        };
        Ok(document.as_ref().to_vec())
    }

    /// # Errors
    /// [`PkError::Mismatch`], [`PkError::Unsupported`].
    pub fn sign(&self, scheme: Scheme, message: Message<'_>) -> Result<Vec<u8>, PkError> {
        let failed = |_| PkError::Failed;
        match (&self.inner, scheme) {
            (Inner::Rsa(pair), scheme) if scheme.is_rsa() => {
                let Some((encoding, algorithm)) = rsa_encoding(scheme) else {
                    return raw::sign(&self.rsa_numbers()?, scheme, message);
                };
                let digest = library_digest(algorithm, &digest_of(algorithm, message)?)?;
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign_digest(encoding, &digest, &mut out).map_err(failed)?;
                Ok(out)
            }
            (Inner::Ec { asn1, .. }, Scheme::EcdsaAsn1(algorithm)) => self.sign_ec(asn1, algorithm, message),
            (Inner::Ec { asn1, fixed }, Scheme::EcdsaFixed(algorithm)) => {
                let pair = match fixed.get() {
                    Some(pair) => pair,
                    None => {
                        let document = Zeroizing::new(asn1.to_pkcs8v1().map_err(failed)?.as_ref().to_vec());
                        let made = EcdsaKeyPair::from_pkcs8(signing(self.kind)?.1, &document).map_err(|_| PkError::Failed)?;
                        fixed.get_or_init(|| Box::new(made))
                    }
                };
                self.sign_ec(pair, algorithm, message)
            }
            (Inner::Ed25519(pair), Scheme::Ed25519) => match message {
                Message::Whole(bytes) => Ok(pair.try_sign(bytes).map_err(failed)?.as_ref().to_vec()),
                Message::Digest(_) => Err(PkError::Mismatch),
            },
            (Inner::MlDsa(pair), Scheme::MlDsa) => match message {
                Message::Whole(bytes) => {
                    let mut out = vec![0; pair.algorithm().signature_len()];
                    let length = pair.sign(bytes, &mut out).map_err(failed)?;
                    out.truncate(length);
                    Ok(out)
                }
                Message::Digest(_) => Err(PkError::Mismatch),
            },
            _ => Err(PkError::Mismatch),
        }
    }

    fn sign_ec(&self, pair: &EcdsaKeyPair, algorithm: Algorithm, message: Message<'_>) -> Result<Vec<u8>, PkError> {
        let digest = ec_digest(self.kind, &ec_digest_of(self.kind, algorithm, message)?)?;
        Ok(pair.sign_digest(&digest).map_err(|_| PkError::Failed)?.as_ref().to_vec())
    }

    /// The secret that this key and another's public half make together (ECDH, SP 800-56A section 5.7.1.2): the point's x coordinate,
    /// as long as the field's elements. It is not uniformly random: derive keys of it.
    ///
    /// # Errors
    /// [`PkError::Mismatch`] where the two are not on one NIST curve.
    pub fn agree(&self, peer: &PublicKey) -> Result<Zeroizing<Vec<u8>>, PkError> {
        let algorithm = match self.kind {
            kind if kind != peer.kind() => return Err(PkError::Mismatch),
            KeyKind::P256 => &agreement::ECDH_P256,
            KeyKind::P384 => &agreement::ECDH_P384,
            KeyKind::P521 => &agreement::ECDH_P521,
            _ => return Err(PkError::Mismatch),
        };
        let own = agreement::PrivateKey::from_private_key(algorithm, &self.ec_scalar()?).map_err(|_| PkError::Failed)?;
        let peer = agreement::UnparsedPublicKey::new(algorithm, peer.bits());
        agreement::agree(&own, peer, PkError::Refused, |secret| Ok(Zeroizing::new(secret.to_vec())))
    }

    /// # Errors
    /// [`PkError::Mismatch`] for keys that are not RSA's, [`PkError::Refused`] for what does not open.
    pub fn decrypt(&self, padding: RsaPadding, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, PkError> {
        if !matches!(self.inner, Inner::Rsa(_)) {
            return Err(PkError::Mismatch);
        }
        let key = PrivateDecryptingKey::from_pkcs8(&self.to_pkcs8()?).map_err(|_| PkError::Failed)?;
        let mut out = Zeroizing::new(vec![0; key.key_size_bytes()]);
        let oaep = |algorithm, key, out: &mut [u8]| {
            let key = OaepPrivateDecryptingKey::new(key).map_err(|_| PkError::Failed)?;
            key.decrypt(algorithm, ciphertext, out, None).map(|plain| plain.len()).map_err(|_| PkError::Refused)
        };
        let length = match padding {
            RsaPadding::OaepSha256 => oaep(&OAEP_SHA256_MGF1SHA256, key, &mut out)?,
            RsaPadding::OaepSha384 => oaep(&OAEP_SHA384_MGF1SHA384, key, &mut out)?,
            RsaPadding::OaepSha512 => oaep(&OAEP_SHA512_MGF1SHA512, key, &mut out)?,
            RsaPadding::OaepSha1 => oaep(&OAEP_SHA1_MGF1SHA1, key, &mut out)?,
            RsaPadding::Pkcs1 => {
                let key = Pkcs1PrivateDecryptingKey::new(key).map_err(|_| PkError::Failed)?;
                key.decrypt(ciphertext, &mut out).map(|plain| plain.len()).map_err(|_| PkError::Refused)?
            }
        };
        out.truncate(length);
        Ok(out)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({:?})", self.kind)
    }
}

fn signing(kind: KeyKind) -> Result<(&'static EcdsaSigningAlgorithm, &'static EcdsaSigningAlgorithm), PkError> {
    match kind {
        KeyKind::P256 => Ok((&lib::ECDSA_P256_SHA256_ASN1_SIGNING, &lib::ECDSA_P256_SHA256_FIXED_SIGNING)),
        KeyKind::P384 => Ok((&lib::ECDSA_P384_SHA384_ASN1_SIGNING, &lib::ECDSA_P384_SHA384_FIXED_SIGNING)),
        KeyKind::P521 => Ok((&lib::ECDSA_P521_SHA512_ASN1_SIGNING, &lib::ECDSA_P521_SHA512_FIXED_SIGNING)),
        _ => Err(PkError::Mismatch),
    }
}

fn lattice(kind: KeyKind) -> Result<&'static PqdsaSigningAlgorithm, PkError> {
    match kind {
        KeyKind::MlDsa44 => Ok(&lib::ML_DSA_44_SIGNING),
        KeyKind::MlDsa65 => Ok(&lib::ML_DSA_65_SIGNING),
        KeyKind::MlDsa87 => Ok(&lib::ML_DSA_87_SIGNING),
        _ => Err(PkError::Mismatch),
    }
}

const fn fitted_length(kind: KeyKind) -> usize {
    match kind {
        KeyKind::P256 => 32,
        KeyKind::P384 => 48,
        _ => 66,
    }
}

/// The library's name of a scheme, where it has it.
fn rsa_encoding(scheme: Scheme) -> Option<(&'static dyn RsaEncoding, Algorithm)> {
    let scheme = match scheme {
        Scheme::PssAnySalt(algorithm) => Scheme::Pss(algorithm),
        Scheme::PssSalt(algorithm, length) if length == algorithm.bytes() => Scheme::Pss(algorithm),
        other => other,
    };
    Some(match scheme {
        Scheme::Pkcs1(Algorithm::Sha256) => (&lib::RSA_PKCS1_SHA256, Algorithm::Sha256),
        Scheme::Pkcs1(Algorithm::Sha384) => (&lib::RSA_PKCS1_SHA384, Algorithm::Sha384),
        Scheme::Pkcs1(Algorithm::Sha512) => (&lib::RSA_PKCS1_SHA512, Algorithm::Sha512),
        Scheme::Pss(Algorithm::Sha256) => (&lib::RSA_PSS_SHA256, Algorithm::Sha256),
        Scheme::Pss(Algorithm::Sha384) => (&lib::RSA_PSS_SHA384, Algorithm::Sha384),
        Scheme::Pss(Algorithm::Sha512) => (&lib::RSA_PSS_SHA512, Algorithm::Sha512),
        _ => return None,
    })
}

/// A digest that was made here, as the library's own type.
pub(super) fn library_digest(algorithm: Algorithm, digest: &[u8]) -> Result<aws_lc_rs::digest::Digest, PkError> {
    let algorithm = match algorithm {
        Algorithm::Sha256 => &aws_lc_rs::digest::SHA256,
        Algorithm::Sha384 => &aws_lc_rs::digest::SHA384,
        Algorithm::Sha512 => &aws_lc_rs::digest::SHA512,
        _ => return Err(PkError::Unsupported),
    };
    aws_lc_rs::digest::Digest::import_less_safe(digest, algorithm).map_err(|_| PkError::Mismatch)
}

/// See [`fitted`].
pub(super) fn ec_digest(kind: KeyKind, fitted: &[u8]) -> Result<aws_lc_rs::digest::Digest, PkError> {
    let algorithm = match kind {
        KeyKind::P256 => Algorithm::Sha256,
        KeyKind::P384 => Algorithm::Sha384,
        _ => Algorithm::Sha512,
    };
    library_digest(algorithm, fitted)
}
