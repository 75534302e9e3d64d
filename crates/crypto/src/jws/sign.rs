//! Signing: private keys, the tokens they make, and the public halves as JSON web keys.

use super::{Algorithm, PublicKey};
use crate::pk::{Message, PrivateKey};
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
    key: PrivateKey,
}

impl Signer {
    /// A new key: RSA of 2048 bits for RS and PS, the curve of the algorithm else. RSA takes a processor some hundred milliseconds.
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, SignError> {
        let key = PrivateKey::generate(algorithm.kind()).map_err(|_| SignError::Failed)?;
        Ok(Self { algorithm, key })
    }

    /// Reads an unencrypted PKCS#8 DER document (RFC 5958).
    ///
    /// # Errors
    /// [`SignError::Malformed`] also where the key does not fit the algorithm.
    pub fn from_pkcs8(algorithm: Algorithm, der: &[u8]) -> Result<Self, SignError> {
        let key = PrivateKey::from_pkcs8(der).map_err(|_| SignError::Malformed)?;
        if algorithm.fits(key.kind()) { Ok(Self { algorithm, key }) } else { Err(SignError::Malformed) }
    }

    /// Writes the key as unencrypted PKCS#8 DER, for sealing.
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn to_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, SignError> {
        self.key.to_pkcs8().map_err(|_| SignError::Failed)
    }

    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public half.
    ///
    /// # Errors
    /// [`SignError::Failed`].
    pub fn public_key(&self) -> Result<PublicKey, SignError> {
        let public = self.key.public().map_err(|_| SignError::Failed)?;
        PublicKey::from_spki(public.spki()).map_err(|_| SignError::Failed)
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
        self.key.sign(self.algorithm.scheme(), Message::Whole(message)).map_err(|_| SignError::Failed)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.algorithm)
    }
}
