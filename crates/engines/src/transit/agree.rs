//! Keys that two parties make together: a symmetric key of one's own EC key and another's public half.

use super::create::blank;
use super::{Cx, Transit, check_name, failed, keyring};
use crate::keyring::{KeyRecord, Origin, SecretBytes, Spec, VersionRecord};
use coffer_crypto::pk::{PkError, PublicKey};
use coffer_crypto::{Zeroizing, kdf};
use coffer_engine::{Declare, Reply, Request};
use coffer_types::{Error, Result};

pub(super) fn declare(d: &mut Declare<Transit>) {
    d.at("derive-key/{name}")
        .about("Makes a key, or a version, of an EC key and another party's public half (ECDH).")
        .write(derive);
}

/// Make a key by agreement.
#[derive(Request)]
struct Derive {
    /// The name of the key that is made.
    #[field(path)]
    name: String,
    /// The key of ours, on a NIST curve.
    #[field(default)]
    base_key_name: String,
    /// Its version; 0 is the latest.
    #[field(default)]
    base_key_version: i64,
    /// The other party's public key on the same curve, as PEM.
    #[field(default)]
    peer_public_key: String,
    /// ecdh.
    #[field(default = "ecdh".to_owned())]
    key_derivation_algorithm: String,
    /// The type of the key that is made: aes128-gcm96, aes256-gcm96, chacha20-poly1305 or xchacha20-poly1305.
    #[field(default = "aes256-gcm96".to_owned())]
    derived_key_type: String,
}

async fn derive(cx: Cx, ask: Derive) -> Result<Reply<()>> {
    check_name(&ask.name)?;
    let refused = |why: &str| Error::bad_request(why.to_owned());
    if ask.peer_public_key.is_empty() {
        return Err(refused("peer public key not provided"));
    }
    if ask.key_derivation_algorithm != "ecdh" {
        return Err(refused(&format!("key derivation algorithm {} not supported", ask.key_derivation_algorithm)));
    }
    let wanted = Spec::from_name(&ask.derived_key_type).filter(|spec| spec.cipher().is_some());
    let wanted = wanted.ok_or_else(|| refused(&format!("unknown key type {}", ask.derived_key_type)))?;
    let ring = keyring(&cx);
    let base = super::usable(&ring, &ask.base_key_name, "specified base key not found").await?;
    if !base.spec.is_ec() {
        return Err(refused(&format!("base key type {} does not support key agreement", base.spec.name())));
    }
    let version = match u32::try_from(ask.base_key_version) {
        Ok(0) => base.latest,
        Ok(version) if version > base.latest => {
            return Err(failed("requested version of the base key is higher than the latest key version"));
        }
        Ok(version) if version < base.min_decryption.max(base.min_available) => return Err(failed("no such key version")),
        Ok(version) => version,
        Err(_) if ask.base_key_version < 0 => return Err(failed("requested version of the base key is negative")),
        Err(_) => return Err(failed("requested version of the base key is higher than the latest key version")),
    };
    let peer = PublicKey::from_pem(&ask.peer_public_key)
        .map_err(|_| failed("failed to parse supplied peer public key PEM: data does not contain any valid public keys"))?;
    let material = ring.material(&base, version).await?;
    let private = material.private.as_ref().ok_or_else(|| refused("the private half of this key is not here"))?;
    let secret = private.agree(&peer).map_err(|error| match error {
        PkError::Mismatch => failed(&format!("base private key type {} does not match peer public key curve", base.spec.name())),
        other => Error::internal(other),
    })?;
    let made = version_of(&cx, wanted, &secret)?;
    let mut key = match ring.find(&ask.name).await? {
        None => blank(&cx, &ask.name, wanted, Origin::Imported { rotation_allowed: false }),
        Some(key) => addressed(key, wanted)?,
    };
    ring.add(&mut key, &made)?;
    ring.save(&mut key)?;
    Ok(Reply::empty())
}

/// A key that is there gets a version, if it is of the type and in use.
fn addressed(key: KeyRecord, wanted: Spec) -> Result<KeyRecord> {
    if key.soft_deleted {
        return Err(Error::bad_request("refusing to use soft-deleted key"));
    }
    if key.spec != wanted {
        return Err(failed(&format!("error importing key: the key is of type {}, not {}", key.spec.name(), wanted.name())));
    }
    Ok(key)
}

/// HKDF-SHA256 of the secret, with neither salt nor info, as long as the cipher's key.
fn version_of(cx: &Cx, spec: Spec, secret: &[u8]) -> Result<VersionRecord> {
    let length = spec.cipher().map_or(0, |cipher| cipher.key_bytes());
    let mut key = Zeroizing::new(vec![0; length]);
    kdf::derive(&[], secret, &[], &mut key).map_err(Error::internal)?;
    let mut hmac = SecretBytes(Zeroizing::new(vec![0; 32]));
    cx.fill_random(&mut hmac.0);
    Ok(VersionRecord { created: cx.now(), secret: SecretBytes(key), hmac, public: Default::default(), chain: String::new() })
}
