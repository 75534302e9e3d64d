//! Master keys, and the trait by which callers wrap and unwrap data keys with them.

use std::collections::BTreeMap;
use std::fmt;

use coffer_types::Timestamp;
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// What wraps and unwraps a data key (32 bytes), or a share of one (33 bytes), under a master key. Callers fill it: with local keys,
/// the network, or a fake in tests.
pub trait KeyService: Sync {
    /// The text for the key's `enc`.
    ///
    /// # Errors
    /// Why this key can't wrap; `Fault::Generic` unless the key itself is malformed.
    fn wrap(&self, key: &MasterKey, data_key: &[u8]) -> Result<String>;

    /// The data key in `key.enc`.
    ///
    /// # Errors
    /// Why this key can't unwrap: for the list that the user sees if no key can.
    fn unwrap(&self, key: &MasterKey) -> Result<Zeroizing<Vec<u8>>>;
}

/// A master key and what it has wrapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterKey {
    pub id: KeyId,
    /// The wrapped data key in the form of its kind; empty until it is wrapped.
    pub enc: String,
    /// When it was wrapped; age keys don't keep it.
    pub created: Option<Timestamp>,
}

/// Six months of 30 days: after that sops advises a rotation of keys whose age it knows.
const LIFETIME_SECONDS: i64 = 6 * 30 * 24 * 3600;

impl MasterKey {
    pub const fn new(id: KeyId) -> Self {
        Self { id, enc: String::new(), created: None }
    }

    /// Whether the key should be wrapped anew by now: never for those without a date.
    pub fn needs_rotation(&self, now: Timestamp) -> bool {
        self.created.is_some_and(|created| now.secs().saturating_sub(created.secs()) > LIFETIME_SECONDS)
    }

    /// Wraps a data key or share, and notes when.
    ///
    /// # Errors
    /// The service's.
    pub fn fill(&mut self, service: &dyn KeyService, data_key: &[u8], now: Timestamp) -> Result<()> {
        self.enc = service.wrap(self, data_key)?;
        self.created = (!matches!(self.id, KeyId::Age { .. })).then(|| Timestamp::from_secs(now.secs()));
        Ok(())
    }
}

/// Which master key: its kind and what names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyId {
    /// An age recipient: `age1…`, `age1pq1…`, `age1<plugin>1…`, `ssh-ed25519 …`, `ssh-rsa …`.
    Age { recipient: String },
    /// A PGP key by its fingerprint, without spaces; a trailing `!` means exactly this subkey.
    Pgp { fingerprint: String },
    /// An AWS KMS key or alias by its ARN, with an encryption context that wrapping and unwrapping send.
    Kms { arn: String, role: String, context: BTreeMap<String, String>, profile: String },
    /// A Google Cloud KMS key: `projects/…/cryptoKeys/…`.
    GcpKms { resource_id: String },
    /// An Azure Key Vault key, by vault, name and version (empty: the newest).
    AzureKv { vault_url: String, name: String, version: String },
    /// A Vault transit key: `address/v1/engine_path/keys/key_name`.
    HcVault { address: String, engine_path: String, key_name: String },
    /// A Huawei Cloud KMS key: `region:uuid`.
    HcKms { key_id: String },
}

/// The kinds of master keys, in the order in which sops lists them in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    Kms,
    GcpKms,
    HcKms,
    AzureKv,
    HcVault,
    Pgp,
    Age,
}

impl KeyKind {
    pub const ALL: [Self; 7] = [Self::Kms, Self::GcpKms, Self::HcKms, Self::AzureKv, Self::HcVault, Self::Pgp, Self::Age];

    /// The name in metadata and in `--decryption-order`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kms => "kms",
            Self::GcpKms => "gcp_kms",
            Self::HcKms => "hckms",
            Self::AzureKv => "azure_kv",
            Self::HcVault => "hc_vault",
            Self::Pgp => "pgp",
            Self::Age => "age",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl KeyId {
    pub const fn kind(&self) -> KeyKind {
        match self {
            Self::Age { .. } => KeyKind::Age,
            Self::Pgp { .. } => KeyKind::Pgp,
            Self::Kms { .. } => KeyKind::Kms,
            Self::GcpKms { .. } => KeyKind::GcpKms,
            Self::AzureKv { .. } => KeyKind::AzureKv,
            Self::HcVault { .. } => KeyKind::HcVault,
            Self::HcKms { .. } => KeyKind::HcKms,
        }
    }

    /// A PGP key; spaces in the fingerprint are for the eye.
    pub fn pgp(fingerprint: &str) -> Self {
        Self::Pgp { fingerprint: fingerprint.chars().filter(|c| *c != ' ').collect() }
    }

    /// An AWS key from `arn[+role]`.
    pub fn kms(arn: &str, context: BTreeMap<String, String>, profile: &str) -> Self {
        let arn: String = arn.chars().filter(|c| *c != ' ').collect();
        let (arn, role) = match arn.split_once("+arn:aws") {
            Some((key, role)) => (key.to_owned(), format!("arn:aws{role}")),
            None => (arn, String::new()),
        };
        Self::Kms { arn, role, context, profile: profile.to_owned() }
    }

    /// A Vault transit key from `scheme://host[:port]/v1/engine/keys/name`.
    ///
    /// # Errors
    /// A URI of another form.
    pub fn hc_vault(uri: &str) -> Result<Self> {
        let wrong = || {
            Error::generic(format!(
                "{uri:?} is no key of a transit engine: write it as https://vault.example:8200/v1/transit/keys/name"
            ))
        };
        let (scheme, rest) = uri.trim().split_once("://").ok_or_else(wrong)?;
        let (host, path) = rest.split_once('/').ok_or_else(wrong)?;
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_matches('/');
        let below = path.strip_prefix("v1/").ok_or_else(wrong)?;
        let (engine_path, key_name) = below.rsplit_once("/keys/").ok_or_else(wrong)?;
        if scheme.is_empty() || host.is_empty() || engine_path.is_empty() || key_name.is_empty() || key_name.contains('/') {
            return Err(wrong());
        }
        Ok(Self::HcVault {
            address: format!("{scheme}://{host}"),
            engine_path: engine_path.to_owned(),
            key_name: key_name.to_owned(),
        })
    }

    /// An Azure key from `https://host/keys/name[/version]`.
    ///
    /// # Errors
    /// A URL of another form.
    pub fn azure_kv(url: &str) -> Result<Self> {
        let wrong = || Error::generic(format!("{url:?} is no key of a key vault: write it as https://host/keys/name/version"));
        let rest = url.trim().strip_prefix("https://").ok_or_else(wrong)?;
        let parts: Vec<&str> = rest.trim_end_matches('/').split('/').collect();
        let (host, name, version) = match parts[..] {
            [host, "keys", name] => (host, name, ""),
            [host, "keys", name, version] => (host, name, version),
            _ => return Err(wrong()),
        };
        if host.is_empty() || name.is_empty() {
            return Err(wrong());
        }
        Ok(Self::AzureKv { vault_url: format!("https://{host}"), name: name.to_owned(), version: version.to_owned() })
    }

    /// A Huawei key from `region:uuid`.
    ///
    /// # Errors
    /// Another form.
    pub fn hckms(key_id: &str) -> Result<Self> {
        match key_id.trim().split_once(':') {
            Some((region, uuid)) if !region.is_empty() && !uuid.is_empty() => {
                Ok(Self::HcKms { key_id: key_id.trim().to_owned() })
            }
            _ => Err(Error::generic(format!("{key_id:?} is no key of Huawei's KMS: write it as region:uuid"))),
        }
    }
}

/// The identity by which sops compares keys and that its messages show.
impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age { recipient } => f.write_str(recipient),
            Self::Pgp { fingerprint } => f.write_str(fingerprint),
            Self::Kms { arn, role, context, profile } => {
                f.write_str(arn)?;
                if !role.is_empty() {
                    write!(f, "+{role}")?;
                }
                for (i, (key, value)) in context.iter().enumerate() {
                    write!(f, "{}{key}:{value}", if i == 0 { "|" } else { "," })?;
                }
                if !profile.is_empty() {
                    write!(f, "|{profile}")?;
                }
                Ok(())
            }
            Self::GcpKms { resource_id } => f.write_str(resource_id),
            Self::AzureKv { vault_url, name, version } => write!(f, "{vault_url}/keys/{name}/{version}"),
            Self::HcVault { address, engine_path, key_name } => write!(f, "{address}/v1/{engine_path}/keys/{key_name}"),
            Self::HcKms { key_id } => f.write_str(key_id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_read_back() {
        let vault = "http://127.0.0.1:8200/v1/team/a/transit/keys/dev";
        assert_eq!(KeyId::hc_vault(vault).unwrap().to_string(), vault);
        let azure = "https://v.vault.azure.net/keys/k/1";
        assert_eq!(KeyId::azure_kv(azure).unwrap().to_string(), azure);
        let kms = "arn:aws:kms:eu-west-1:123456789012:key/abc+arn:aws:iam::123456789012:role/r";
        let id = KeyId::kms(kms, BTreeMap::from([("a".into(), "b".into()), ("c".into(), "d".into())]), "dev");
        assert_eq!(id.to_string(), format!("{kms}|a:b,c:d|dev"));
        assert_eq!(KeyId::pgp("AB CD").to_string(), "ABCD");
    }

    #[test]
    fn malformed_keys_are_refused() {
        for bad in [
            "",
            "vault/v1/transit/keys/a",
            "http://h/transit/keys/a",
            "http://h/v1/keys/a",
            "http://h/v1/t/keys/",
            "http:///v1/t/keys/k",
        ] {
            assert!(KeyId::hc_vault(bad).is_err(), "{bad}");
        }
        for bad in ["", "http://h/keys/a", "https://h/secrets/a", "https:///keys/a", "https://h/keys/", "https://h/keys/a/b/c"] {
            assert!(KeyId::azure_kv(bad).is_err(), "{bad}");
        }
        for bad in ["", "abc", ":x", "x:"] {
            assert!(KeyId::hckms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_keys_with_a_date_grow_old() {
        let mut key = MasterKey::new(KeyId::pgp("AB"));
        assert!(!key.needs_rotation(Timestamp::from_secs(i64::MAX / 2_000_000_000)));
        key.created = Some(Timestamp::from_secs(0));
        assert!(!key.needs_rotation(Timestamp::from_secs(LIFETIME_SECONDS)));
        assert!(key.needs_rotation(Timestamp::from_secs(LIFETIME_SECONDS + 1)));
    }
}
