//! `seal` stanzas: what guards the barrier's root key.

use super::setting::{Reading, Setting, block, labelled, stanza};
use super::tree::{At, Node};
use base64::Engine as _;
use coffer_crypto::Zeroize as _;
use coffer_types::Secret;
use std::fmt;
use std::path::{Path, PathBuf};

/// What guards the root key.
#[derive(Debug, Default)]
pub enum Seal {
    /// Shares of an unseal key, in people's hands.
    #[default]
    Shamir,
    /// One key that the server finds where it starts.
    Static(StaticSeal),
}

/// A static seal: a key of 32 bytes for AES-256-GCM.
#[derive(Debug)]
pub struct StaticSeal {
    pub current: StaticKey,
    /// The key that was current before a rotation, for data that it still guards.
    pub previous: Option<StaticKey>,
}

/// One key of a static seal: its name and where its bytes are.
#[derive(Debug)]
pub struct StaticKey {
    pub id: String,
    pub source: KeySource,
}

/// Where the bytes of a static key are. They are read when the server starts, not when the configuration is.
pub enum KeySource {
    /// 32 raw bytes, or 64 hexadecimal digits, or base64 of 32 bytes.
    File(PathBuf),
    /// The name of a variable with the key in hex or base64.
    Environment(String),
    /// The key in the configuration itself.
    Inline(Secret<[u8; 32]>),
}

/// Why a static key could not be had. Never quotes what was read.
#[derive(Debug)]
pub enum KeyError {
    File {
        path: PathBuf,
        cause: std::io::Error,
    },
    Environment {
        name: String,
    },
    /// What was read is no key of 32 bytes.
    Form {
        origin: String,
    },
}

stanza! {
    /// A static seal's keys.
    pub struct StaticSealKeys in "seal" {
        /// The name of the current key; data remember it.
        current_key_id: Option<String> = "";
        /// The current key: `file:///path`, `env://NAME`, or hex or base64 of 32 bytes.
        current_key: Option<Secret<String>> = "";
        /// The name of the key before.
        previous_key_id: Option<String> = "";
        /// The key before, for data that it still guards.
        previous_key: Option<Secret<String>> = "";
    }
    later {
        /// Keep the seal for reading while another takes over.
        disabled: "a boolean";
        /// Where this seal stands among several.
        priority: "a whole number";
    }
    ignored {
        /// The seal's name among several.
        name = "there is one seal";
        /// What the key is for.
        purpose = "the key guards the root key";
        /// Check the seal's health now and then.
        health_check_enabled = "a static key has no health to check";
    }
}

/// Kinds that are known and can't be opened.
const LATER: [&str; 13] = [
    "transit",
    "awskms",
    "azurekeyvault",
    "gcpckms",
    "ocikms",
    "alicloudkms",
    "pkcs11",
    "kmip",
    "ovhcloud",
    "tcloudpublic",
    "vault",
    "hsm",
    "multi",
];

impl KeySource {
    /// Reads `file:///path`, `env://NAME`, hex or base64.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Self::File(PathBuf::from(path)));
        }
        if let Some(name) = text.strip_prefix("env://") {
            return Ok(Self::Environment(name.to_owned()));
        }
        decode(text.as_bytes()).map(Self::Inline).ok_or_else(|| KeyError::Form { origin: "the key".to_owned() })
    }

    /// The key itself.
    ///
    /// # Errors
    /// The file or variable is missing, or holds no key.
    pub fn load(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Secret<[u8; 32]>, KeyError> {
        match self {
            Self::Inline(key) => Ok(key.duplicate()),
            Self::File(path) => {
                let mut bytes = std::fs::read(path).map_err(|cause| KeyError::File { path: path.clone(), cause })?;
                let key = decode(&bytes);
                bytes.zeroize();
                key.ok_or_else(|| KeyError::Form { origin: path.display().to_string() })
            }
            Self::Environment(name) => {
                let mut text = variable(name).ok_or_else(|| KeyError::Environment { name: name.clone() })?;
                let key = decode(text.as_bytes());
                text.zeroize();
                key.ok_or_else(|| KeyError::Form { origin: format!("the variable {name}") })
            }
        }
    }

    /// The file, where the key is in one.
    pub fn file(&self) -> Option<&Path> {
        if let Self::File(path) = self { Some(path) } else { None }
    }
}

/// 32 raw bytes, 64 hexadecimal digits, or base64 of 32 bytes; white space around the texts is left out.
fn decode(bytes: &[u8]) -> Option<Secret<[u8; 32]>> {
    if let Ok(key) = <[u8; 32]>::try_from(bytes) {
        return Some(Secret::new(key));
    }
    let text = bytes.trim_ascii();
    let mut raw = hex::decode(text).ok().filter(|raw| raw.len() == 32).or_else(|| {
        let engines = [&base64::prelude::BASE64_STANDARD, &base64::prelude::BASE64_URL_SAFE];
        let engines_without_padding = [&base64::prelude::BASE64_STANDARD_NO_PAD, &base64::prelude::BASE64_URL_SAFE_NO_PAD];
        engines.into_iter().chain(engines_without_padding).find_map(|engine| engine.decode(text).ok())
    })?;
    let key = <[u8; 32]>::try_from(raw.as_slice()).ok().map(Secret::new);
    raw.zeroize();
    key
}

impl Setting for Seal {
    const KIND: &'static str = "a block";

    fn read(key: &str, node: &Node, cx: &mut Reading) -> Option<Self> {
        let blocks = labelled(key, node, cx)?;
        let [(label, body)] = blocks.as_slice() else {
            cx.error(&node.at, "several seals at once are not built yet");
            return None;
        };
        match label.name.as_str() {
            "shamir" => Some(Self::Shamir),
            "static" => static_seal(key, &label.at, body, cx).map(Self::Static),
            kind if LATER.contains(&kind) => {
                cx.error(&label.at, format!("seal {kind:?} is not built yet; there are shamir and static"));
                None
            }
            kind => {
                cx.error(&label.at, format!("unknown kind of seal {kind:?}; there are shamir and static"));
                None
            }
        }
    }

    fn unset(_: &str, _: &str, _: &mut Reading) -> Option<Self> {
        Some(Self::Shamir)
    }
}

fn static_seal(key: &str, at: &At, body: &Node, cx: &mut Reading) -> Option<StaticSeal> {
    let keys = StaticSealKeys::from_entries(block(key, body, cx)?, cx)?;
    let current = pair("current", keys.current_key_id, keys.current_key, at, cx)?;
    let previous = pair("previous", keys.previous_key_id, keys.previous_key, at, cx)?;
    let Some(current) = current else {
        cx.error(at, "seal \"static\" needs current_key_id and current_key");
        return None;
    };
    if previous.as_ref().is_some_and(|previous| previous.id == current.id) {
        cx.error(at, "seal \"static\": the current and the previous key have the same id");
        return None;
    }
    Some(StaticSeal { current, previous })
}

fn pair(which: &str, id: Option<String>, key: Option<Secret<String>>, at: &At, cx: &mut Reading) -> Option<Option<StaticKey>> {
    match (id, key) {
        (None, None) => Some(None),
        (Some(id), Some(key)) => match KeySource::parse(key.expose()) {
            Ok(source) => Some(Some(StaticKey { id, source })),
            Err(_) => {
                cx.error(at, format!("seal.{which}_key takes file:///path, env://NAME, or 32 bytes in hex or base64"));
                None
            }
        },
        _ => {
            cx.error(at, format!("seal.{which}_key_id and {which}_key belong together, and one is missing"));
            None
        }
    }
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment(name) => write!(f, "variable {name}"),
            Self::Inline(_) => f.write_str("in the configuration"),
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, cause } => write!(f, "the seal key in {} can't be read: {cause}", path.display()),
            Self::Environment { name } => write!(f, "the seal key is missing: the variable {name} is not set"),
            Self::Form { origin } => write!(f, "{origin} holds no seal key: it takes 32 bytes, raw, in hex or in base64"),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::File { cause, .. } = self { Some(cause) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn key() -> [u8; 32] {
        std::array::from_fn(|i| u8::try_from(i).unwrap())
    }

    #[test]
    fn keys_are_read_from_every_source() {
        let dir = tempfile::tempdir().unwrap();
        let raw = dir.path().join("raw");
        std::fs::write(&raw, key()).unwrap();
        let text = dir.path().join("text");
        std::fs::write(&text, format!("{HEX}\n")).unwrap();
        let base64 = base64::prelude::BASE64_STANDARD.encode(key());
        let variable = |name: &str| (name == "SEAL").then(|| base64.clone());
        for source in [
            HEX.to_owned(),
            base64.clone(),
            format!("file://{}", raw.display()),
            format!("file://{}", text.display()),
            "env://SEAL".to_owned(),
        ] {
            let loaded = KeySource::parse(&source).unwrap().load(variable).unwrap();
            assert_eq!(loaded.expose(), &key(), "{source}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_not_quoted() {
        for text in ["", "short", &HEX[..62], "canarycanarycanarycanarycanarycanarycanarycanary"] {
            let error = KeySource::parse(text).unwrap_err().to_string();
            assert!(!error.contains("canary"), "{error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, b"canary").unwrap();
        let source = KeySource::parse(&format!("file://{}", path.display())).unwrap();
        let error = source.load(|_| None).unwrap_err().to_string();
        assert!(error.contains("holds no seal key") && !error.contains("canary"), "{error}");
        let missing = KeySource::File(dir.path().join("none")).load(|_| None).unwrap_err();
        assert!(matches!(missing, KeyError::File { .. }));
        let unset = KeySource::Environment("NONE".into()).load(|_| None).unwrap_err();
        assert!(unset.to_string().contains("NONE"));
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", KeySource::parse(HEX).unwrap()), "in the configuration");
    }
}
