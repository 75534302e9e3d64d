//! Keys that come and go: export, import, and between mounts under another key (BYOK).

mod backup;
mod form;

use self::form::Form;
use super::create::{auto_rotate, blank, new_id};
use super::{Cx, Transit, check_name, failed, keyring, usable};
use crate::keyring::{KeyRecord, Keyring, Origin, SecretBytes, Spec, VersionRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::Zeroizing;
use coffer_crypto::key_wrap;
use coffer_crypto::pk::{KeyKind, PrivateKey, PublicKey, RsaPadding};
use coffer_engine::view::Record;
use coffer_engine::{Declare, NoInput, Reply, Request};
use coffer_types::json::Text;
use coffer_types::{Error, Json, Object, Result, Span};
use serde::{Deserialize, Serialize};

pub(super) fn declare(d: &mut Declare<Transit>) {
    for pattern in ["export/{type}/{name}", "export/{type}/{name}/{version}"] {
        d.at(pattern).about("The material of an exportable key, or its public half.").read(export);
    }
    d.at("wrapping_key").about("The public key that imported keys are sealed to.").read(wrapping_key);
    d.at("keys/{name}/import").about("Makes a key of material from elsewhere.").write(import);
    d.at("keys/{name}/import_version").about("Adds a version of material from elsewhere.").write(import_version);
    for pattern in ["byok-export/{destination}/{source}", "byok-export/{destination}/{source}/{version}"] {
        d.at(pattern).about("An exportable key, sealed to another server's wrapping key.").read(byok_export);
    }
    backup::declare(d);
}

/// Export a key.
#[derive(Request)]
struct Export {
    /// encryption-key, signing-key, hmac-key, public-key or certificate-chain.
    #[field(path, rename = "type")]
    kind: String,
    /// The key's name.
    #[field(path)]
    name: String,
    /// A version, `latest`, or all that are live.
    #[field(path, default)]
    version: String,
    /// raw, der or pem, where the kind of key has it; else as the reference has always shown it.
    #[field(query, default)]
    format: String,
}

async fn export(cx: Cx, ask: Export) -> Result<Reply> {
    if !["encryption-key", "signing-key", "hmac-key", "public-key", "certificate-chain"].contains(&ask.kind.as_str()) {
        return Err(Error::bad_request(format!("invalid export type: {}", ask.kind)));
    }
    let form = Form::named(&ask.format)?;
    let ring = keyring(&cx);
    let key = ring.find(&ask.name).await?.ok_or_else(Error::not_found)?;
    let public = matches!(ask.kind.as_str(), "public-key" | "certificate-chain");
    if !public && !key.exportable {
        return Err(Error::bad_request("private key material is not exportable"));
    }
    match ask.kind.as_str() {
        "encryption-key" if !key.spec.encrypts() => return Err(Error::bad_request("encryption not supported for the key")),
        "signing-key" if !key.spec.signs() => return Err(Error::bad_request("signing not supported for the key")),
        "certificate-chain" if !key.spec.signs() => {
            return Err(Error::bad_request("certificate chain not supported for keys that do not support signing"));
        }
        _ => {}
    }
    let mut keys = Object::new();
    for (number, version) in chosen(&ring, &key, &ask.version).await? {
        let text = match ask.kind.as_str() {
            "hmac-key" => form.of_bytes(&version.hmac.0)?,
            "public-key" if !key.spec.signs() => {
                return Err(failed(&format!("unknown key type {} for export type {}", key.spec.name(), ask.kind)));
            }
            "public-key" => form.of_public(key.spec, &version)?,
            "certificate-chain" if version.chain.is_empty() => {
                return Err(failed("selected key version does not have a certificate chain imported"));
            }
            "certificate-chain" => Text::new(version.chain.clone()),
            _ => form.of_private(key.spec, &version)?,
        };
        keys.insert(number.to_string(), Json::String(text));
    }
    Ok(Reply::data(Object::new().with("name", key.name).with("type", key.spec.name()).with("keys", Json::Object(keys))))
}

/// The versions that a path names.
async fn chosen(ring: &Keyring, key: &KeyRecord, named: &str) -> Result<Vec<(u32, VersionRecord)>> {
    let lowest = key.min_decryption.max(key.min_available);
    let number = match named {
        "" => return ring.versions(key, lowest).await,
        "latest" => key.latest,
        number => number.parse::<u32>().map_err(|_| Error::bad_request("invalid key version"))?,
    };
    if number < lowest {
        return Err(Error::bad_request("version for export is below minimum decryption version"));
    }
    if number > key.latest {
        return Err(Error::bad_request("version does not exist or cannot be found"));
    }
    Ok(vec![(number, ring.version(key, number).await?)])
}

/// The mount's key pair that imported keys are sealed to: RSA with 4096 bits, made when it is first asked for.
#[derive(Serialize, Deserialize)]
struct WrappingKey {
    secret: SecretBytes,
}

impl Record for WrappingKey {
    const FORMAT: u8 = 1;
}

async fn wrapping_pair(cx: &Cx) -> Result<PrivateKey> {
    if let Some(stored) = cx.view.get::<WrappingKey>("wrapping-key").await? {
        return PrivateKey::from_pkcs8(&stored.secret.0).map_err(Error::internal);
    }
    let made = cx.compute(|| PrivateKey::generate(KeyKind::Rsa(4096))).await?.map_err(Error::internal)?;
    let secret = SecretBytes(made.to_pkcs8().map_err(Error::internal)?);
    cx.view.put("wrapping-key", &WrappingKey { secret })?;
    Ok(made)
}

async fn wrapping_key(cx: Cx, _: NoInput) -> Result<Reply> {
    let public = wrapping_pair(&cx).await?.public().map_err(Error::internal)?;
    Ok(Reply::data(Object::new().with("public_key", public.to_pem())))
}

/// Import a key.
#[derive(Request)]
struct Import {
    /// The key's name.
    #[field(path)]
    name: String,
    /// The type: aes256-gcm96, ed25519, ecdsa-p256, rsa-2048, hmac, …
    #[field(default = "aes256-gcm96".to_owned(), rename = "type")]
    kind: String,
    /// An AES-256 key sealed to the wrapping key by RSA-OAEP, and behind it the key wrapped under that (RFC 5649), in base64.
    #[field(default)]
    ciphertext: String,
    /// A public key alone, as PEM.
    #[field(default)]
    public_key: String,
    /// The digest of OAEP: SHA256, SHA384, SHA512 or SHA1.
    #[field(default = "SHA256".to_owned())]
    hash_function: String,
    /// Versions may be made here.
    #[field(default)]
    allow_rotation: bool,
    /// Each use derives a key of its context.
    #[field(default)]
    derived: bool,
    /// The key may be exported.
    #[field(default)]
    exportable: bool,
    /// The key may be backed up in plaintext.
    #[field(default)]
    allow_plaintext_backup: bool,
    /// Adds a version by itself after this; needs allow_rotation.
    #[field(default)]
    auto_rotate_period: Span,
    /// Unused; derived keys take their context with each use.
    #[field(default, rename = "context")]
    _context: String,
}

async fn import(cx: Cx, ask: Import) -> Result<Reply<()>> {
    check_name(&ask.name)?;
    let ring = keyring(&cx);
    if ring.find(&ask.name).await?.is_some() {
        return Err(Error::bad_request(
            "the import path cannot be used with an existing key; use import-version to rotate an existing imported key",
        ));
    }
    let spec = Spec::from_name(&ask.kind).ok_or_else(|| Error::bad_request(format!("unknown key type: {}", ask.kind)))?;
    if ask.derived && !spec.derives() {
        return Err(Error::bad_request(format!("key derivation not supported for keys of type {}", spec.name())));
    }
    let auto_rotate = auto_rotate(ask.auto_rotate_period)?;
    if !auto_rotate.is_zero() && !ask.allow_rotation {
        return Err(Error::bad_request("allow_rotation must be set to true if auto-rotation is enabled"));
    }
    let material = incoming(&cx, spec, &ask.ciphertext, &ask.public_key, &ask.hash_function).await?;
    let mut key = KeyRecord {
        derived: ask.derived,
        exportable: ask.exportable,
        plaintext_backup: ask.allow_plaintext_backup,
        auto_rotate,
        key_size: if spec == Spec::Hmac { u32::try_from(material.secret.0.len()).unwrap_or(0) } else { 0 },
        ..blank(&cx, &ask.name, spec, Origin::Imported { rotation_allowed: ask.allow_rotation })
    };
    ring.add(&mut key, &material)?;
    ring.save(&mut key)?;
    Ok(Reply::empty())
}

/// Import a version.
#[derive(Request)]
struct ImportVersion {
    /// The key's name.
    #[field(path)]
    name: String,
    /// As for import.
    #[field(default)]
    ciphertext: String,
    /// A public key alone, as PEM.
    #[field(default)]
    public_key: String,
    /// The digest of OAEP.
    #[field(default = "SHA256".to_owned())]
    hash_function: String,
    /// A version whose public half is here and whose private half now comes.
    #[field(default)]
    version: i64,
}

async fn import_version(cx: Cx, ask: ImportVersion) -> Result<Reply<()>> {
    let ring = keyring(&cx);
    let missing =
        || Error::bad_request(format!("no key found with name {}; to import a new key, use the import/ endpoint", ask.name));
    let mut key = ring.find(&ask.name).await?.ok_or_else(missing)?;
    if key.origin == Origin::Generated {
        return Err(Error::bad_request("the import_version endpoint can only be used with an imported key"));
    }
    let material = incoming(&cx, key.spec, &ask.ciphertext, &ask.public_key, &ask.hash_function).await?;
    if ask.version == 0 {
        ring.add(&mut key, &material)?;
        ring.save(&mut key)?;
        return Ok(Reply::empty());
    }
    let number = u32::try_from(ask.version).ok().filter(|number| *number <= key.latest && *number >= key.min_available.max(1));
    let number = number.ok_or_else(|| Error::bad_request("version does not exist or cannot be found"))?;
    let mut there = ring.version(&key, number).await?;
    if !there.secret.0.is_empty() || material.secret.0.is_empty() || there.public.0 != material.public.0 {
        return Err(Error::bad_request("only the private half of a version that has its public half alone can be added to it"));
    }
    there.secret = material.secret;
    // The version's material was read without its private half: under a new id nobody can have kept it.
    let versions = ring.versions(&key, key.min_available).await?;
    key.id = new_id(&cx);
    for (other, version) in versions {
        ring.put(&key, other, if other == number { &there } else { &version })?;
    }
    ring.save(&mut key)?;
    Ok(Reply::empty())
}

/// The material of an import, unwrapped and held to its type.
async fn incoming(cx: &Cx, spec: Spec, ciphertext: &str, public_key: &str, digest: &str) -> Result<VersionRecord> {
    let padding = match digest.to_ascii_uppercase().as_str() {
        "SHA1" => RsaPadding::OaepSha1,
        "SHA256" => RsaPadding::OaepSha256,
        "SHA384" => RsaPadding::OaepSha384,
        "SHA512" => RsaPadding::OaepSha512,
        _ => return Err(Error::bad_request(format!("unknown hash function: {digest}"))),
    };
    let mut hmac = SecretBytes(Zeroizing::new(vec![0; 32]));
    cx.fill_random(&mut hmac.0);
    let mut version = VersionRecord {
        created: cx.now(),
        secret: SecretBytes::default(),
        hmac,
        public: Default::default(),
        chain: String::new(),
    };
    match (ciphertext.is_empty(), public_key.is_empty()) {
        (true, true) | (false, false) => {
            return Err(Error::bad_request("only one of the following fields, ciphertext and public_key, can be set"));
        }
        (true, false) => {
            let public = PublicKey::from_pem(public_key)
                .map_err(|_| Error::bad_request("error importing key: public_key is no PEM of a public key"))?;
            held_to(spec, public.kind())?;
            version.public.0 = public.spki().to_vec();
            return Ok(version);
        }
        (false, true) => {}
    }
    let sealed = STANDARD.decode(ciphertext).map_err(|_| Error::bad_request("error importing key: ciphertext is no base64"))?;
    let Some((ephemeral, wrapped)) = sealed.split_at_checked(512) else { return Err(failed("provided ciphertext is too short")) };
    let unsealed = wrapping_pair(cx).await?.decrypt(padding, ephemeral);
    let refused = |_| Error::bad_request("error importing key: the ciphertext does not open with this mount's wrapping key");
    let unsealed = unsealed.map_err(refused)?;
    let kek: &[u8; 32] =
        unsealed.as_slice().try_into().map_err(|_| Error::bad_request("the ephemeral key must be an AES key of 256 bits"))?;
    let material = key_wrap::unwrap(kek, wrapped)
        .map_err(|_| Error::bad_request("error importing key: the wrapped key does not unwrap with the ephemeral key"))?;
    match (spec.cipher(), spec.kind()) {
        (Some(cipher), _) if material.len() != cipher.key_bytes() => {
            return Err(Error::bad_request(format!("invalid key size {} for key type {}", material.len(), spec.name())));
        }
        (_, Some(_)) => {
            let private =
                PrivateKey::from_pkcs8(&material).map_err(|_| Error::bad_request("error parsing asymmetric key: no PKCS#8"))?;
            held_to(spec, private.kind())?;
            version.public.0 = private.public().map_err(Error::internal)?.spki().to_vec();
            version.secret = SecretBytes(private.to_pkcs8().map_err(Error::internal)?);
            return Ok(version);
        }
        (None, None) if !(32..=512).contains(&material.len()) => {
            return Err(Error::bad_request(format!(
                "invalid key size {} for key type hmac, must be between 32 and 512 bytes",
                material.len()
            )));
        }
        _ => {}
    }
    version.secret = SecretBytes(material);
    if spec == Spec::Hmac {
        version.hmac = version.secret.clone();
    }
    Ok(version)
}

fn held_to(spec: Spec, kind: KeyKind) -> Result<()> {
    if spec.kind() == Some(kind) {
        Ok(())
    } else {
        Err(Error::bad_request(format!("invalid key type: expected {}", spec.name())))
    }
}

/// Export a key sealed.
#[derive(Request)]
struct ByokExport {
    /// The imported wrapping key of the server that it goes to.
    #[field(path)]
    destination: String,
    /// The key that goes.
    #[field(path)]
    source: String,
    /// A version, `latest`, or all that are live.
    #[field(path, default)]
    version: String,
    /// The digest of OAEP.
    #[field(query, default = "SHA256".to_owned())]
    hash: String,
}

async fn byok_export(cx: Cx, ask: ByokExport) -> Result<Reply> {
    let ring = keyring(&cx);
    let destination = usable(&ring, &ask.destination, "no such destination key to export to").await?;
    let source = usable(&ring, &ask.source, "no such source key for export").await?;
    if !source.exportable {
        return Err(Error::bad_request("private key material is not exportable"));
    }
    if !destination.spec.is_rsa() {
        return Err(Error::bad_request(format!("the destination must be an RSA key, not {}", destination.spec.name())));
    }
    if destination.id == source.id {
        return Err(Error::bad_request("a key cannot be sealed to itself"));
    }
    let padding = match ask.hash.to_ascii_uppercase().as_str() {
        "SHA1" => RsaPadding::OaepSha1,
        "SHA256" => RsaPadding::OaepSha256,
        "SHA384" => RsaPadding::OaepSha384,
        "SHA512" => RsaPadding::OaepSha512,
        other => return Err(Error::bad_request(format!("unknown hash function: {other}"))),
    };
    let to = ring.material(&destination, destination.latest).await?;
    let to = to.public.as_ref().ok_or_else(|| Error::internal("an RSA key without its public half"))?;
    let mut keys = Object::new();
    for (number, version) in chosen(&ring, &source, &ask.version).await? {
        if version.secret.0.is_empty() {
            return Err(Error::bad_request("the private half of this key is not here"));
        }
        let mut kek = Zeroizing::new([0u8; 32]);
        cx.fill_random(&mut *kek);
        let mut sealed = to.encrypt(padding, &*kek).map_err(Error::internal)?;
        sealed.extend(key_wrap::wrap(&kek, &version.secret.0).map_err(Error::internal)?);
        keys.insert(number.to_string(), Json::from(STANDARD.encode(sealed)));
    }
    Ok(Reply::data(Object::new().with("name", source.name).with("type", source.spec.name()).with("keys", Json::Object(keys))))
}
