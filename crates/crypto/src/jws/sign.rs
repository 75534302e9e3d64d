//! Signing: private keys, the tokens they make, and the public halves as JSON web keys.

use super::{Algorithm, PublicKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_types::{Json, Object};
use std::fmt;
use zeroize::Zeroizing;

/// What can go wrong with a private key. Says nothing of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignError {
    /// Not an unencrypted PKCS#8 private key that fits the algorithm.
    Malformed,
    /// The library could not make, write or use a key.
    Failed,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a PKCS#8 private key for this algorithm",
            Self::Failed => "the signature library failed",
        })
    }
}

impl std::error::Error for SignError {}

/// A private key with the one algorithm that it signs with.
pub struct Signer {
    algorithm: Algorithm,
    key: Private,
}

enum Private {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// A new key: RSA of 2048 bits for RS and PS, the curve of the algorithm else. RSA takes a processor some hundred milliseconds.
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, SignError> {
        let key = match (rsa_encoding(algorithm), ec_algorithm(algorithm)) {
            (Some(encoding), _) => Private::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| SignError::Failed)?, encoding),
            (None, Some(ec)) => Private::Ec(EcdsaKeyPair::generate(ec).map_err(|_| SignError::Failed)?),
            (None, None) => Private::Ed(Ed25519KeyPair::generate().map_err(|_| SignError::Failed)?),
        };
        Ok(Self { algorithm, key })
    }

    /// Reads an unencrypted PKCS#8 DER document (RFC 5958).
    ///
    /// # Errors
    /// [`SignError::Malformed`] also where the key does not fit the algorithm.
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, SignError> {
        let bad = |_| SignError::Malformed;
        let key = match (rsa_encoding(algorithm), ec_algorithm(algorithm)) {
            (Some(encoding), _) => Private::Rsa(RsaKeyPair::from_pkcs8(der).map_err(bad)?, encoding),
            (None, Some(ec)) => Private::Ec(EcdsaKeyPair::from_pkcs8(ec, der).map_err(bad)?),
            (None, None) => Private::Ed(Ed25519KeyPair::from_pkcs8(der).map_err(bad)?),
        };
        Ok(Self { algorithm, key })
    }

    /// Writes the key as unencrypted PKCS#8 DER, for sealing.
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, SignError> {
        let failed = |_| SignError::Failed;
        Ok(Zeroizing::new(match &self.key {
            Private::Rsa(pair, _) => {
                AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(pair).map_err(failed)?.as_ref().to_vec()
            }
            Private::Ec(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            Private::Ed(pair) => pair.to_pkcs8().map_err(failed)?.as_ref().to_vec(),
        }))
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half.
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn public_key(&self) -> Result<PublicKey, SignError> {
        let failed = |_| SignError::Failed;
        let der = match &self.key {
            Private::Rsa(pair, _) => pair.public_key().as_der().map_err(failed)?.as_ref().to_vec(),
            Private::Ec(pair) => pair.public_key().as_der().map_err(failed)?.as_ref().to_vec(),
            Private::Ed(pair) => pair.public_key().as_der().map_err(failed)?.as_ref().to_vec(),
        };
        PublicKey::from_spki(&der).map_err(|_| SignError::Failed)
    }

    /// The public half as a member of a key set: with `kid`, `use` and `alg` (RFC 7517 section 4).
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn public_jwk(&self, key_id: &str) -> Result<Object, SignError> {
        Ok(self.public_key()?.to_jwk().with("kid", key_id).with("use", "sig").with("alg", self.algorithm.as_str()))
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn token(&self, key_id: &str, claims: Object) -> Result<String, SignError> {
        let header = Object::new().with("alg", self.algorithm.as_str()).with("kid", key_id).with("typ", "JWT");
        self.token_with(header, &Json::Object(claims).to_bytes())
    }

    /// A token with a header and a payload of the caller's own; `alg` is set here.
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn token_with(&self, mut header: Object, payload: &[u8]) -> Result<String, SignError> {
        if !header.contains("alg") {
            header.insert("alg", self.algorithm.as_str());
        }
        let header = URL_SAFE_NO_PAD.encode(&*Json::Object(header).to_bytes());
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The signature of `message`, in the form of RFC 7518: `r || s` for ECDSA.
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError::Failed;
        Ok(match &self.key {
            Private::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                signature
            }
            Private::Ec(pair) => pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec(),
            Private::Ed(pair) => pair.try_sign(message).map_err(failed)?.as_ref().to_vec(),
        })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.algorithm)
    }
}

fn rsa_encoding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        _ => return None,
    })
}

fn ec_algorithm(algorithm: Algorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    Some(match algorithm {
        Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        Algorithm::Es512 => &ECDSA_P521_SHA512_FIXED_SIGNING,
        _ => return None,
    })
}
