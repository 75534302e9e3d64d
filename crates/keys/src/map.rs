//! A master key as the clients know it.

use coffer_client::keyservice::Key;
use coffer_client::kms::{AwsKey, AzureKey, GcpKey, HuaweiKey, RemoteKey, VaultKey};
use coffer_sops::keys::KeyId;
use coffer_sops::{Error, Result};

/// For the wire of a key service, or for [`coffer_client::kms`].
///
/// # Errors
/// A key of Huawei's KMS that is no `region:uuid`.
pub(crate) fn to_wire(id: &KeyId) -> Result<Key> {
    let optional = |text: &String| (!text.is_empty()).then(|| text.clone());
    Ok(match id {
        KeyId::Age { recipient } => Key::Age(recipient.clone()),
        KeyId::Pgp { fingerprint } => Key::Pgp(fingerprint.clone()),
        KeyId::Kms { arn, role, context, profile } => Key::Remote(RemoteKey::Aws(AwsKey {
            arn: arn.clone(),
            role: optional(role),
            profile: optional(profile),
            context: context.clone(),
        })),
        KeyId::GcpKms { resource_id } => Key::Remote(RemoteKey::Gcp(GcpKey { resource: resource_id.clone() })),
        KeyId::AzureKv { vault_url, name, version } => {
            Key::Remote(RemoteKey::Azure(AzureKey { vault_url: vault_url.clone(), name: name.clone(), version: version.clone() }))
        }
        KeyId::HcVault { address, engine_path, key_name } => Key::Remote(RemoteKey::Vault(VaultKey {
            address: address.clone(),
            engine: engine_path.clone(),
            name: key_name.clone(),
        })),
        KeyId::HcKms { key_id } => match key_id.split_once(':') {
            Some((region, id)) => Key::Remote(RemoteKey::Huawei(HuaweiKey { region: region.to_owned(), id: id.to_owned() })),
            None => return Err(Error::generic(format!("{key_id:?} is no key of Huawei's KMS: write it as region:uuid"))),
        },
    })
}

/// The master key that somebody asks a key service for.
pub(crate) fn of_wire(key: &Key) -> KeyId {
    match key {
        Key::Age(recipient) => KeyId::Age { recipient: recipient.clone() },
        Key::Pgp(fingerprint) => KeyId::Pgp { fingerprint: fingerprint.clone() },
        Key::Remote(RemoteKey::Aws(key)) => KeyId::Kms {
            arn: key.arn.clone(),
            role: key.role.clone().unwrap_or_default(),
            context: key.context.clone(),
            profile: key.profile.clone().unwrap_or_default(),
        },
        Key::Remote(RemoteKey::Gcp(key)) => KeyId::GcpKms { resource_id: key.resource.clone() },
        Key::Remote(RemoteKey::Azure(key)) => {
            KeyId::AzureKv { vault_url: key.vault_url.clone(), name: key.name.clone(), version: key.version.clone() }
        }
        Key::Remote(RemoteKey::Vault(key)) => {
            KeyId::HcVault { address: key.address.clone(), engine_path: key.engine.clone(), key_name: key.name.clone() }
        }
        Key::Remote(RemoteKey::Huawei(key)) => KeyId::HcKms { key_id: format!("{}:{}", key.region, key.id) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_there_and_back() {
        let context = [("a".to_owned(), "b".to_owned())].into();
        for id in [
            KeyId::Age { recipient: "age1x".into() },
            KeyId::pgp("AB CD"),
            KeyId::kms("arn:aws:kms:r:1:key/k+arn:aws:iam::1:role/r", context, "dev"),
            KeyId::kms("arn:aws:kms:r:1:key/k", <_>::default(), ""),
            KeyId::GcpKms { resource_id: "projects/p".into() },
            KeyId::azure_kv("https://v.example/keys/n/1").unwrap(),
            KeyId::azure_kv("https://v.example/keys/n").unwrap(),
            KeyId::hc_vault("https://v.example/v1/a/transit/keys/n").unwrap(),
            KeyId::hckms("region:uuid").unwrap(),
        ] {
            assert_eq!(of_wire(&to_wire(&id).unwrap()), id);
        }
        assert!(to_wire(&KeyId::HcKms { key_id: "none".into() }).is_err());
    }
}
