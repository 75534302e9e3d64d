//! The keys of this machine, and of the services that it may log in to.

use crate::age::Age;
use crate::map::to_wire;
use crate::pgp_file::PgpFiles;
use crate::{Ask, gpg};
use coffer_client::Environment;
use coffer_client::keyservice::Key;
use coffer_client::kms::{BlockingKms, Fault, Kms, RemoteKey};
use coffer_sops::keys::KeyId;
use coffer_sops::{Error, KeyService, MasterKey, Result};
use std::sync::{Arc, OnceLock};
use zeroize::Zeroizing;

/// Wraps and unwraps with what is here. Key files are read, and passphrases asked for, once and only when a key needs them.
pub struct Local {
    env: Environment,
    age: Age,
    pgp: PgpFiles,
    /// Most files need no network, and an event loop takes its time.
    kms: OnceLock<Result<BlockingKms, Fault>>,
}

impl Local {
    pub fn new(env: Environment, ask: Arc<dyn Ask>) -> Self {
        Self { age: Age::new(env.clone(), ask.clone()), pgp: PgpFiles::new(env.clone(), ask), env, kms: OnceLock::new() }
    }

    /// The key with everything that a file must name: an Azure key without a version gets the newest.
    ///
    /// # Errors
    /// Where the vault does not say.
    pub fn pin(&self, id: &KeyId) -> Result<KeyId> {
        match to_wire(id)? {
            Key::Remote(RemoteKey::Azure(key)) if key.version.is_empty() => {
                let pinned = self.kms()?.pin(&key).map_err(|fault| error(&fault))?;
                Ok(KeyId::AzureKv { vault_url: pinned.vault_url, name: pinned.name, version: pinned.version })
            }
            _ => Ok(id.clone()),
        }
    }

    fn kms(&self) -> Result<&BlockingKms> {
        self.kms.get_or_init(|| BlockingKms::new(Kms::new(self.env.clone()))).as_ref().map_err(error)
    }
}

impl KeyService for Local {
    fn wrap(&self, key: &MasterKey, data_key: &[u8]) -> Result<String> {
        match to_wire(&key.id)? {
            Key::Age(recipient) => self.age.wrap(&recipient, data_key),
            Key::Pgp(fingerprint) => match self.pgp.wrap(&fingerprint, data_key)? {
                Some(enc) => Ok(enc),
                None => gpg::wrap(&self.env, &fingerprint, data_key),
            },
            Key::Remote(remote) => self.kms()?.wrap(&remote, data_key).map_err(|fault| error(&fault)),
        }
    }

    fn unwrap(&self, key: &MasterKey) -> Result<Zeroizing<Vec<u8>>> {
        if key.enc.trim().is_empty() {
            return Err(Error::generic("the file holds no encrypted data key for this key"));
        }
        match to_wire(&key.id)? {
            Key::Age(recipient) => self.age.unwrap(&recipient, &key.enc),
            Key::Pgp(_) => match self.pgp.unwrap(&key.enc)? {
                Some(data_key) => Ok(data_key),
                None => gpg::unwrap(&self.env, &key.enc),
            },
            Key::Remote(remote) => self.kms()?.unwrap(&remote, &key.enc).map_err(|fault| error(&fault)),
        }
    }
}

fn error(fault: &Fault) -> Error {
    Error::generic(fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nobody;

    #[test]
    fn keys_that_hold_nothing_are_refused_before_anything_is_asked() {
        let local = Local::new(Environment::fixed(&[]), Arc::new(Nobody));
        for id in [KeyId::Age { recipient: "age1x".into() }, KeyId::pgp("AB"), KeyId::hckms("r:u").unwrap()] {
            let error = local.unwrap(&MasterKey::new(id)).unwrap_err();
            assert!(error.message.contains("no encrypted data key"), "{error}");
        }
    }

    #[test]
    fn a_service_that_refuses_is_named() {
        let local = Local::new(Environment::fixed(&[("SOPS_HC_VAULT_ALLOWLIST", "none")]), Arc::new(Nobody));
        let key = MasterKey::new(KeyId::hc_vault("https://v.example/v1/transit/keys/n").unwrap());
        assert!(local.wrap(&key, b"d").unwrap_err().message.contains("SOPS_HC_VAULT_ALLOWLIST"));
        let pinned = KeyId::azure_kv("https://v.example/keys/n/1").unwrap();
        assert_eq!(local.pin(&pinned).unwrap(), pinned);
    }
}
