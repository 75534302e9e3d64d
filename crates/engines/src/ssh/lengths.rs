//! Which keys of users a role signs: kinds and lengths.

use coffer_crypto::pk::KeyKind;
use coffer_crypto::ssh::SshKeyKind;
use coffer_types::{Error, Json, Object, Result, lenient};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Lengths by the name of a kind; empty lets every sound key pass.
#[derive(Clone, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub(super) struct Lengths(BTreeMap<String, Vec<i64>>);

/// RSA keys below are signed only where a role names their length.
const SOUND_RSA: u32 = 2048;

impl Lengths {
    /// One length, several, or several in a text.
    pub(super) fn read(fields: &Object) -> Result<Self> {
        let mut out = BTreeMap::new();
        for (kind, lengths) in fields.iter() {
            let lengths = lenient::comma_ints(lengths)
                .map_err(|error| Error::bad_request(format!("error processing allowed_user_key_lengths: {}", error.public())))?;
            out.insert(kind.to_owned(), lengths);
        }
        Ok(Self(out))
    }

    pub(super) fn show(&self) -> Json {
        Json::Object(self.0.iter().map(|(kind, lengths)| (kind.clone(), Json::from(lengths.clone()))).collect())
    }

    /// # Errors
    /// Why a key is not signed, in the reference's words.
    pub(super) fn check(&self, key: SshKeyKind) -> Result<(), String> {
        if self.0.is_empty() {
            return match key {
                SshKeyKind::Rsa(bits) if bits < SOUND_RSA => Err(format!("key is of an invalid size: {bits}")),
                _ => Ok(()),
            };
        }
        let known = names(key).iter().filter_map(|name| self.0.get(*name).map(|lengths| (*name, lengths)));
        let bits = i64::from(key.bits());
        let mut is_known = false;
        for (name, lengths) in known {
            is_known = true;
            // The length of these says nothing, or their name says it.
            let is_fixed = !matches!(name, "rsa" | "ssh-rsa" | "ec" | "ecdsa");
            if is_fixed || lengths.contains(&bits) {
                return Ok(());
            }
        }
        if is_known {
            Err(format!("key is of an invalid size: {bits}"))
        } else {
            Err(format!("key of type {} is not allowed", short(key)))
        }
    }
}

fn names(key: SshKeyKind) -> &'static [&'static str] {
    match key {
        SshKeyKind::Rsa(_) => &["rsa", "ssh-rsa"],
        SshKeyKind::Ecdsa(KeyKind::P384) => &["ec", "ecdsa", "ecdsa-sha2-nistp384"],
        SshKeyKind::Ecdsa(KeyKind::P521) => &["ec", "ecdsa", "ecdsa-sha2-nistp521"],
        SshKeyKind::Ecdsa(_) => &["ec", "ecdsa", "ecdsa-sha2-nistp256"],
        SshKeyKind::Ed25519 => &["ed25519", "ssh-ed25519"],
        SshKeyKind::SkEd25519 => &["sk-ssh-ed25519@openssh.com"],
        SshKeyKind::SkEcdsa => &["sk-ecdsa-sha2-nistp256@openssh.com"],
    }
}

const fn short(key: SshKeyKind) -> &'static str {
    match key {
        SshKeyKind::Rsa(_) => "rsa",
        SshKeyKind::Ecdsa(_) => "ecdsa",
        SshKeyKind::Ed25519 => "ed25519",
        other => other.name(),
    }
}
