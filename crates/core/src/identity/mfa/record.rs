//! The records of second factors.

use crate::identity::cache::Identity;
use coffer_crypto::totp::{Algorithm, Digits};
use coffer_engine::View;
use coffer_engine::view::Record;
use coffer_types::{Object, Result, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// One record: there are few methods, and each login that needs one reads them.
const METHODS: &str = "identity/mfa/methods";
/// One record, which every login reads.
const ENFORCEMENTS: &str = "identity/mfa/enforcements";
/// `identity/mfa/secret/<method>/<entity>`
const SECRETS: &str = "identity/mfa/secret/";

/// The key of the secret that an entity has for a method.
pub fn secret_key(method: &str, entity: &str) -> String {
    format!("{SECRETS}{method}/{entity}")
}

/// A TOTP method: what keys made with it are, and how codes are checked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Method {
    pub id: String,
    /// May be empty; else no two have one name.
    #[serde(default)]
    pub name: String,
    pub issuer: String,
    pub period: u64,
    /// Bytes.
    pub key_size: u64,
    /// Pixels; 0 makes no picture.
    pub qr_size: u64,
    pub algorithm: String,
    pub digits: u64,
    /// Steps before and after now.
    pub skew: u64,
    pub max_attempts: u64,
}

impl Method {
    pub fn show(&self) -> Object {
        Object::new()
            .with("algorithm", self.algorithm.as_str())
            .with("digits", self.digits)
            .with("id", self.id.as_str())
            .with("issuer", self.issuer.as_str())
            .with("key_size", self.key_size)
            .with("max_validation_attempts", self.max_attempts)
            .with("name", self.name.as_str())
            .with("namespace_id", "root")
            .with("namespace_path", "")
            .with("period", self.period)
            .with("qr_size", self.qr_size)
            .with("skew", self.skew)
            .with("type", "totp")
    }

    /// As a choice of an enforcement.
    pub fn show_choice(&self) -> Object {
        let mut shown = Object::new().with("type", "totp").with("id", self.id.as_str()).with("uses_passcode", true);
        if !self.name.is_empty() {
            shown.insert("name", self.name.as_str());
        }
        shown
    }
}

/// All methods.
#[derive(Default, Serialize, Deserialize)]
pub struct Methods(pub Vec<Method>);

impl Record for Methods {
    const FORMAT: u8 = 1;
}

impl Methods {
    pub async fn read(view: &View) -> Result<Self> {
        Ok(view.get(METHODS).await?.unwrap_or_default())
    }

    pub fn write(&self, view: &View) -> Result<()> {
        view.put(METHODS, self)
    }

    pub fn by_id(&self, id: &str) -> Option<&Method> {
        self.0.iter().find(|m| m.id == id)
    }
}

/// Whose logins need which methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enforcement {
    pub id: String,
    pub name: String,
    /// One of these must be satisfied.
    pub methods: Vec<String>,
    /// It concerns logins by mounts with these accessors,
    #[serde(default)]
    pub accessors: Vec<String>,
    /// or of these types,
    #[serde(default)]
    pub kinds: Vec<String>,
    /// or of members of these groups,
    #[serde(default)]
    pub groups: Vec<String>,
    /// or of these entities.
    #[serde(default)]
    pub entities: Vec<String>,
}

impl Enforcement {
    pub fn concerns(&self, accessor: &str, kind: &str, identity: Option<&Identity>) -> bool {
        self.accessors.iter().any(|a| a == accessor)
            || self.kinds.iter().any(|k| k == kind)
            || identity.is_some_and(|identity| {
                // Who was merged into an entity is still who an enforcement means.
                let entity = &identity.entity;
                self.entities.iter().any(|e| *e == entity.id || entity.merged.contains(e))
                    || identity.groups.iter().any(|g| self.groups.contains(&g.id))
            })
    }

    pub fn show(&self) -> Object {
        Object::new()
            .with("auth_method_accessors", self.accessors.clone())
            .with("auth_method_types", self.kinds.clone())
            .with("id", self.id.as_str())
            .with("identity_entity_ids", self.entities.clone())
            .with("identity_group_ids", self.groups.clone())
            .with("mfa_method_ids", self.methods.clone())
            .with("name", self.name.as_str())
            .with("namespace_id", "root")
            .with("namespace_path", "")
    }
}

/// All enforcements.
#[derive(Default, Serialize, Deserialize)]
pub struct Enforcements(pub Vec<Enforcement>);

impl Record for Enforcements {
    const FORMAT: u8 = 1;
}

impl Enforcements {
    pub async fn read(view: &View) -> Result<Self> {
        Ok(view.get(ENFORCEMENTS).await?.unwrap_or_default())
    }

    pub fn write(&self, view: &View) -> Result<()> {
        view.put(ENFORCEMENTS, self)
    }
}

/// The key that an entity shares with its authenticator, and the steps whose codes it has used up.
#[derive(Serialize, Deserialize)]
pub struct TotpSecret {
    /// In hexadecimal.
    key: Zeroizing<String>,
    algorithm: String,
    digits: u64,
    pub period: u64,
    #[serde(default)]
    pub used: Vec<u64>,
    created: Timestamp,
}

impl Record for TotpSecret {
    const FORMAT: u8 = 1;
}

impl TotpSecret {
    /// A secret of a method; what the method becomes later does not change it.
    pub fn new(method: &Method, key: &[u8], now: Timestamp) -> Self {
        Self {
            key: Zeroizing::new(hex::encode(key)),
            algorithm: method.algorithm.clone(),
            digits: method.digits,
            period: method.period,
            used: Vec::new(),
            created: now,
        }
    }

    pub fn shared(&self) -> Option<Zeroizing<Vec<u8>>> {
        hex::decode(&*self.key).ok().map(Zeroizing::new)
    }

    pub fn algorithm(&self) -> Algorithm {
        Algorithm::parse(&self.algorithm).unwrap_or(Algorithm::Sha1)
    }

    pub fn digits(&self) -> Digits {
        Digits::new(self.digits).unwrap_or(Digits::Six)
    }
}

/// The methods for which an entity has a secret.
pub async fn methods_of(view: &View, entity: &str) -> Result<Vec<Method>> {
    let mut found = Vec::new();
    for method in Methods::read(view).await?.0 {
        if view.exists(&secret_key(&method.id, entity)).await? {
            found.push(method);
        }
    }
    Ok(found)
}

/// An entity ends: so do its secrets.
pub async fn forget_entity(view: &View, entity: &str) -> Result<()> {
    for method in methods_of(view, entity).await? {
        view.delete(&secret_key(&method.id, entity));
    }
    Ok(())
}

/// The secrets of a method end with it.
pub async fn forget_method(view: &View, method: &str) -> Result<()> {
    for key in view.keys(&format!("{SECRETS}{method}/"), None, usize::MAX).await? {
        view.delete(&key);
    }
    Ok(())
}
