//! What kinds of keys there are, and what each can do.

use coffer_crypto::cipher::Cipher;
use coffer_crypto::pk::KeyKind;
use serde::{Deserialize, Serialize};

/// A kind of key. The names are those of Vault's transit; stored by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Spec {
    #[serde(rename = "aes128-gcm96")]
    Aes128Gcm,
    #[serde(rename = "aes256-gcm96")]
    Aes256Gcm,
    #[serde(rename = "chacha20-poly1305")]
    ChaCha20Poly1305,
    #[serde(rename = "xchacha20-poly1305")]
    XChaCha20Poly1305,
    #[serde(rename = "ed25519")]
    Ed25519,
    #[serde(rename = "ecdsa-p256")]
    P256,
    #[serde(rename = "ecdsa-p384")]
    P384,
    #[serde(rename = "ecdsa-p521")]
    P521,
    #[serde(rename = "rsa-2048")]
    Rsa2048,
    #[serde(rename = "rsa-3072")]
    Rsa3072,
    #[serde(rename = "rsa-4096")]
    Rsa4096,
    #[serde(rename = "mldsa-44")]
    MlDsa44,
    #[serde(rename = "mldsa-65")]
    MlDsa65,
    #[serde(rename = "mldsa-87")]
    MlDsa87,
    #[serde(rename = "hmac")]
    Hmac,
}

impl Spec {
    pub const ALL: [Self; 15] = [
        Self::Aes128Gcm,
        Self::Aes256Gcm,
        Self::ChaCha20Poly1305,
        Self::XChaCha20Poly1305,
        Self::Ed25519,
        Self::P256,
        Self::P384,
        Self::P521,
        Self::Rsa2048,
        Self::Rsa3072,
        Self::Rsa4096,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
        Self::Hmac,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Gcm => "aes128-gcm96",
            Self::Aes256Gcm => "aes256-gcm96",
            Self::ChaCha20Poly1305 => "chacha20-poly1305",
            Self::XChaCha20Poly1305 => "xchacha20-poly1305",
            Self::Ed25519 => "ed25519",
            Self::P256 => "ecdsa-p256",
            Self::P384 => "ecdsa-p384",
            Self::P521 => "ecdsa-p521",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
            Self::MlDsa44 => "mldsa-44",
            Self::MlDsa65 => "mldsa-65",
            Self::MlDsa87 => "mldsa-87",
            Self::Hmac => "hmac",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|spec| spec.name() == name)
    }

    /// The cipher of a symmetric key.
    pub const fn cipher(self) -> Option<Cipher> {
        match self {
            Self::Aes128Gcm => Some(Cipher::Aes128Gcm),
            Self::Aes256Gcm => Some(Cipher::Aes256Gcm),
            Self::ChaCha20Poly1305 => Some(Cipher::ChaCha20Poly1305),
            Self::XChaCha20Poly1305 => Some(Cipher::XChaCha20Poly1305),
            _ => None,
        }
    }

    /// The kind of an asymmetric key.
    pub const fn kind(self) -> Option<KeyKind> {
        match self {
            Self::Ed25519 => Some(KeyKind::Ed25519),
            Self::P256 => Some(KeyKind::P256),
            Self::P384 => Some(KeyKind::P384),
            Self::P521 => Some(KeyKind::P521),
            Self::Rsa2048 => Some(KeyKind::Rsa(2048)),
            Self::Rsa3072 => Some(KeyKind::Rsa(3072)),
            Self::Rsa4096 => Some(KeyKind::Rsa(4096)),
            Self::MlDsa44 => Some(KeyKind::MlDsa44),
            Self::MlDsa65 => Some(KeyKind::MlDsa65),
            Self::MlDsa87 => Some(KeyKind::MlDsa87),
            _ => None,
        }
    }

    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }

    pub const fn is_ec(self) -> bool {
        matches!(self, Self::P256 | Self::P384 | Self::P521)
    }

    pub const fn is_ml_dsa(self) -> bool {
        matches!(self, Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87)
    }

    /// What it signs it hashes by itself.
    pub const fn hashes_itself(self) -> bool {
        matches!(self, Self::Ed25519) || self.is_ml_dsa()
    }

    pub const fn encrypts(self) -> bool {
        self.cipher().is_some() || self.is_rsa()
    }

    pub const fn signs(self) -> bool {
        self.kind().is_some()
    }

    /// Keys of their own can be derived of it for each context.
    pub const fn derives(self) -> bool {
        self.cipher().is_some() || matches!(self, Self::Ed25519)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_names_are_the_names() {
        for spec in Spec::ALL {
            assert_eq!(Spec::from_name(spec.name()), Some(spec));
            assert_eq!(serde_json::to_string(&spec).ok(), Some(format!("\"{}\"", spec.name())));
        }
    }
}
