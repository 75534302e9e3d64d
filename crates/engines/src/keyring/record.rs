//! Keys as they are stored.

use super::Spec;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_engine::view::Record;
use coffer_types::{Span, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// A key without its material.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyRecord {
    pub name: String,
    /// Names the versions; random, never used again.
    pub id: String,
    pub spec: Spec,
    #[serde(default)]
    pub origin: Origin,
    pub created: Timestamp,
    /// When the latest version came.
    pub rotated: Timestamp,
    pub latest: u32,
    pub min_decryption: u32,
    /// 0: the latest alone.
    pub min_encryption: u32,
    /// What is below is gone; 0 for nothing.
    pub min_available: u32,
    /// Every use derives a key of its context (HKDF-SHA256).
    #[serde(default)]
    pub derived: bool,
    /// One plaintext and context give one ciphertext.
    #[serde(default)]
    pub convergent: bool,
    #[serde(default)]
    pub exportable: bool,
    #[serde(default)]
    pub plaintext_backup: bool,
    #[serde(default)]
    pub deletion_allowed: bool,
    #[serde(default)]
    pub soft_deleted: bool,
    #[serde(default)]
    pub auto_rotate: Span,
    /// When it rotates by itself, as the index has it; kept by [`Keyring::save`](super::Keyring::save).
    #[serde(default)]
    pub due: Option<Timestamp>,
    /// Bytes of an HMAC key; 0 for other kinds.
    #[serde(default)]
    pub key_size: u32,
    /// When it was last taken out whole, and last put back, with the version of that time.
    #[serde(default)]
    pub backed_up: Option<(Timestamp, u32)>,
    #[serde(default)]
    pub restored: Option<(Timestamp, u32)>,
}

impl KeyRecord {
    /// A key without a version, of which nothing is allowed.
    pub fn new(name: String, id: String, spec: Spec, origin: Origin, now: Timestamp) -> Self {
        Self {
            name,
            id,
            spec,
            origin,
            created: now,
            rotated: now,
            latest: 0,
            min_decryption: 1,
            min_encryption: 0,
            min_available: 0,
            derived: false,
            convergent: false,
            exportable: false,
            plaintext_backup: false,
            deletion_allowed: false,
            soft_deleted: false,
            auto_rotate: Span::ZERO,
            due: None,
            key_size: 0,
            backed_up: None,
            restored: None,
        }
    }
}

impl Record for KeyRecord {
    const FORMAT: u8 = 1;
}

/// Where a key's material comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    #[default]
    Generated,
    Imported {
        rotation_allowed: bool,
    },
}

/// One version. The material never changes once it is written.
#[derive(Debug, Serialize, Deserialize)]
pub struct VersionRecord {
    pub created: Timestamp,
    /// The symmetric key, or PKCS#8 of a private key; empty where only the public half was imported.
    pub secret: SecretBytes,
    /// The key of HMACs under this version.
    pub hmac: SecretBytes,
    /// SubjectPublicKeyInfo of an asymmetric key that is not derived; empty otherwise.
    #[serde(default)]
    pub public: PublicBytes,
    /// PEM certificates, leaf first.
    #[serde(default)]
    pub chain: String,
}

impl Record for VersionRecord {
    const FORMAT: u8 = 1;
}

/// Bytes that are wiped and do not print; base64 in the store.
#[derive(Clone, Default)]
pub struct SecretBytes(pub Zeroizing<Vec<u8>>);

/// Bytes in base64.
#[derive(Clone, Debug, Default)]
pub struct PublicBytes(pub Vec<u8>);

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(from)?);
        STANDARD.decode(&*text).map(|bytes| Self(Zeroizing::new(bytes))).map_err(|_| serde::de::Error::custom("no base64"))
    }
}

impl Serialize for PublicBytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for PublicBytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map(Self).map_err(|_| serde::de::Error::custom("no base64"))
    }
}
