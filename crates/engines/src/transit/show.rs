//! A key as its readers see it.

use super::batch::context_of;
use crate::keyring::{KeyRecord, Keyring, Origin, Spec, VersionRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::pk::PublicKey;
use coffer_engine::Reply;
use coffer_types::{Error, Json, Object, Result, Timestamp};

/// What is public of a key; the public half of a derived one for a context, if one is given.
pub(super) async fn key(ring: &Keyring, key: &KeyRecord, context: &str) -> Result<Reply> {
    let mut shown = Object::new()
        .with("name", key.name.as_str())
        .with("type", key.spec.name())
        .with("derived", key.derived)
        .with("deletion_allowed", key.deletion_allowed)
        .with("soft_deleted", key.soft_deleted)
        .with("exportable", key.exportable)
        .with("allow_plaintext_backup", key.plaintext_backup)
        .with("imported_key", matches!(key.origin, Origin::Imported { .. }))
        .with("latest_version", i64::from(key.latest))
        .with("min_available_version", i64::from(key.min_available))
        .with("min_decryption_version", i64::from(key.min_decryption))
        .with("min_encryption_version", i64::from(key.min_encryption))
        .with("auto_rotate_period", key.auto_rotate.secs())
        .with("supports_encryption", key.spec.encrypts())
        .with("supports_decryption", key.spec.encrypts())
        .with("supports_signing", key.spec.signs())
        .with("supports_derivation", key.spec.derives());
    if key.derived {
        shown.insert("kdf", "hkdf_sha256");
        shown.insert("convergent_encryption", key.convergent);
        if key.convergent {
            shown.insert("convergent_encryption_version", -1);
        }
    }
    if let Origin::Imported { rotation_allowed } = key.origin {
        shown.insert("imported_key_allow_rotation", rotation_allowed);
    }
    if key.spec == Spec::Hmac {
        shown.insert("key_size", i64::from(key.key_size));
    }
    let mark = |(at, version): (Timestamp, u32)| Object::new().with("time", at.rfc3339()).with("version", i64::from(version));
    if let Some(done) = key.backed_up {
        shown.insert("backup_info", Json::Object(mark(done)));
    }
    if let Some(done) = key.restored {
        shown.insert("restore_info", Json::Object(mark(done)));
    }
    if let Some(versions) = versions(ring, key, context).await? {
        shown.insert("keys", Json::Object(versions));
    }
    Ok(Reply::data(shown))
}

async fn versions(ring: &Keyring, key: &KeyRecord, context: &str) -> Result<Option<Object>> {
    if key.spec == Spec::Hmac {
        return Ok(None);
    }
    let context = if context.is_empty() { None } else { Some(context_of(context)?) };
    let mut shown = Object::new();
    for (number, version) in ring.versions(key, key.min_decryption.max(key.min_available)).await? {
        let value = if key.spec.cipher().is_some() {
            Json::from(version.created.secs())
        } else {
            let public = match &context {
                Some(context) if key.derived => {
                    let derived = ring.material(key, number).await?.derived_ed25519(context)?;
                    STANDARD.encode(derived.public().map_err(Error::internal)?.bits())
                }
                _ => public_text(key.spec, &version)?,
            };
            let name = match key.spec {
                Spec::P256 => "P-256",
                Spec::P384 => "P-384",
                Spec::P521 => "P-521",
                other => other.name(),
            };
            let details = Object::new()
                .with("name", name)
                .with("public_key", public)
                .with("certificate_chain", version.chain.as_str())
                .with("creation_time", version.created.rfc3339());
            Json::Object(details)
        };
        shown.insert(number.to_string(), value);
    }
    Ok(Some(shown))
}

/// PEM; of Ed25519 and ML-DSA the bytes in base64. Empty for a derived key.
pub(super) fn public_text(spec: Spec, version: &VersionRecord) -> Result<String> {
    if version.public.0.is_empty() {
        return Ok(String::new());
    }
    let public = PublicKey::from_spki(&version.public.0).map_err(Error::internal)?;
    Ok(if spec.hashes_itself() { STANDARD.encode(public.bits()) } else { public.to_pem() })
}
