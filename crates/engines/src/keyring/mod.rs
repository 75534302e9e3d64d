//! The kernel of keys: a named key with numbered versions, whose material never changes once it is written. Transit is one way to
//! see it; other protocols see the same records through operations of their own.
//!
//! What it enforces, whoever asks: a version's number is never used twice; material goes out only of a key that is exportable, and
//! exportable never becomes false again; nothing is encrypted or signed below `min_encryption`, nothing opened or checked below
//! `min_decryption`; a version below `min_available` is gone.
//!
//! Layout below the mount's view: `key/<name>` the [`KeyRecord`], `version/<id>/<number, ten digits>` one [`VersionRecord`] each,
//! `due/<seconds, twenty digits>/<name>` when a key rotates by itself.
//! The id is the key's for ever and is never given to another, so what was parsed of `(id, version)` stays true: see [`Material`].

mod material;
mod record;
mod spec;

pub use material::{Material, Materials};
pub use record::{KeyRecord, Origin, PublicBytes, SecretBytes, VersionRecord};
pub use spec::Spec;

use coffer_crypto::Zeroizing;
use coffer_crypto::pk::PrivateKey;
use coffer_engine::View;
use coffer_types::{Error, Result, Timestamp};
use std::sync::Arc;

/// The keys of one mount.
#[derive(Clone)]
pub struct Keyring {
    view: View,
    materials: Arc<Materials>,
}

impl Keyring {
    pub fn new(view: View, materials: Arc<Materials>) -> Self {
        Self { view, materials }
    }

    pub async fn find(&self, name: &str) -> Result<Option<KeyRecord>> {
        self.view.get(&format!("key/{name}")).await
    }

    pub async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        self.view.children("key/", after, limit).await
    }

    pub fn save(&self, key: &mut KeyRecord) -> Result<()> {
        let rotates =
            !key.auto_rotate.is_zero() && !key.soft_deleted && key.origin != (Origin::Imported { rotation_allowed: false });
        let due = rotates.then(|| key.rotated.plus(key.auto_rotate.duration()));
        if due != key.due {
            if let Some(old) = key.due {
                self.view.delete(&due_key(old, &key.name));
            }
            if let Some(new) = due {
                self.view.put_bytes(&due_key(new, &key.name), Zeroizing::new(Vec::new()));
            }
            key.due = due;
        }
        self.view.put(&format!("key/{}", key.name), &*key)
    }

    /// The key whose rotation has been due longest, if any is.
    pub async fn due(&self, now: Timestamp) -> Result<Option<KeyRecord>> {
        let Some(first) = self.view.keys("due/", None, 1).await?.into_iter().next() else { return Ok(None) };
        let Some((seconds, name)) = first.strip_prefix("due/").and_then(|rest| rest.split_once('/')) else {
            return Err(Error::internal("a rotation's index does not read"));
        };
        if seconds.parse::<i64>().map_or(true, |seconds| seconds > now.secs()) {
            return Ok(None);
        }
        match self.find(name).await? {
            Some(key) => Ok(Some(key)),
            None => Err(Error::internal("a rotation's index names no key")),
        }
    }

    /// Adds a version behind the latest and makes it that.
    pub fn add(&self, key: &mut KeyRecord, version: &VersionRecord) -> Result<()> {
        key.latest = key.latest.checked_add(1).ok_or_else(|| Error::internal("a key has no numbers left"))?;
        key.rotated = version.created;
        self.put(key, key.latest, version)
    }

    /// Takes in a private key as the one version of a key that its engine knows by `id` alone, and that ends when the engine
    /// says so. Gives back its public half.
    pub fn take_in(&self, id: &str, spec: Spec, private: &PrivateKey, origin: Origin, now: Timestamp) -> Result<PublicBytes> {
        let public = PublicBytes(private.public().map_err(Error::internal)?.spki().to_vec());
        let version = VersionRecord {
            created: now,
            secret: SecretBytes(private.to_pkcs8().map_err(Error::internal)?),
            hmac: SecretBytes::default(),
            public: public.clone(),
            chain: String::new(),
        };
        let mut key = KeyRecord { deletion_allowed: true, ..KeyRecord::new(id.to_owned(), id.to_owned(), spec, origin, now) };
        self.add(&mut key, &version)?;
        self.save(&mut key)?;
        Ok(public)
    }

    /// Writes a version where there is none, or adds to what is not its material.
    pub fn put(&self, key: &KeyRecord, number: u32, version: &VersionRecord) -> Result<()> {
        self.view.put(&version_key(&key.id, number), version)
    }

    pub async fn version(&self, key: &KeyRecord, number: u32) -> Result<VersionRecord> {
        let found = self.view.get(&version_key(&key.id, number)).await?;
        found.ok_or_else(|| Error::internal("a key's version is missing"))
    }

    /// The versions that may still be used to open or check, in order.
    pub async fn versions(&self, key: &KeyRecord, from: u32) -> Result<Vec<(u32, VersionRecord)>> {
        let mut versions = Vec::new();
        for number in from.max(1)..=key.latest {
            versions.push((number, self.version(key, number).await?));
        }
        Ok(versions)
    }

    /// A version's material, parsed once and kept.
    pub async fn material(&self, key: &KeyRecord, number: u32) -> Result<Arc<Material>> {
        if let Some(known) = self.materials.get(&key.id, number) {
            return Ok(known);
        }
        let material = Arc::new(Material::read(key.spec, self.version(key, number).await?)?);
        self.materials.keep(&key.id, number, material.clone());
        Ok(material)
    }

    /// Removes the versions below `number`.
    pub async fn trim(&self, key: &mut KeyRecord, number: u32) -> Result<()> {
        for gone in key.min_available.max(1)..number {
            self.view.delete(&version_key(&key.id, gone));
            self.materials.forget(&key.id, gone);
        }
        key.min_available = number;
        self.save(key)
    }

    /// Removes a key and all its versions.
    pub async fn delete(&self, key: &KeyRecord) -> Result<()> {
        if let Some(due) = key.due {
            self.view.delete(&due_key(due, &key.name));
        }
        for stored in self.view.keys(&format!("version/{}/", key.id), None, usize::MAX).await? {
            self.view.delete(&stored);
        }
        for number in 1..=key.latest {
            self.materials.forget(&key.id, number);
        }
        self.view.delete(&format!("key/{}", key.name));
        Ok(())
    }
}

fn version_key(id: &str, number: u32) -> String {
    format!("version/{id}/{number:010}")
}

fn due_key(at: Timestamp, name: &str) -> String {
    format!("due/{:020}/{name}", at.secs())
}
