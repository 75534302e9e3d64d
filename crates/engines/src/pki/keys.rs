//! The authorities' keys: their names here, their material in the keyring.

use super::{Cx, Page, Pki, fingerprint, is_name, keyring, new_id, put_text, read_text};
use crate::keyring::{KeyRecord, Material, Origin, PublicBytes, Spec};
use coffer_crypto::pk::{KeyKind, PrivateKey};
use coffer_engine::{Declare, Record, Reply, Request};
use coffer_types::{Error, Object, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Key {
    /// Never given twice; also its name in the keyring.
    pub(super) id: String,
    /// Empty for none.
    pub(super) name: String,
    pub(super) spec: Spec,
    /// SubjectPublicKeyInfo.
    pub(super) public: PublicBytes,
}

impl Record for Key {
    const FORMAT: u8 = 1;
}

/// `rsa`, `ec` or `ed25519`: a kind of key as the API names it.
pub(super) const fn type_name(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Rsa(_) => "rsa",
        KeyKind::Ed25519 => "ed25519",
        KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => "ml-dsa",
        _ => "ec",
    }
}

/// The kind of a new key. `bits` of 0 take what is usual.
///
/// # Errors
/// Types and lengths that are not known or too weak.
pub(super) fn kind_of(key_type: &str, bits: i64) -> Result<KeyKind> {
    match (key_type, bits) {
        ("rsa", 0 | 2048) => Ok(KeyKind::Rsa(2048)),
        ("rsa", 3072) => Ok(KeyKind::Rsa(3072)),
        ("rsa", 4096) => Ok(KeyKind::Rsa(4096)),
        ("rsa", 8192) => Ok(KeyKind::Rsa(8192)),
        ("rsa", bits) if bits < 2048 => {
            Err(Error::bad_request(format!("RSA keys < 2048 bits are unsafe and not supported: got {bits}")))
        }
        ("rsa", bits) => Err(Error::bad_request(format!("unsupported bit length for RSA key: {bits}"))),
        ("ec", 0 | 256) => Ok(KeyKind::P256),
        ("ec", 384) => Ok(KeyKind::P384),
        ("ec", 521) => Ok(KeyKind::P521),
        ("ec", bits) => Err(Error::bad_request(format!("unsupported bit length for EC key: {bits}"))),
        ("ed25519", _) => Ok(KeyKind::Ed25519),
        (other, _) => Err(Error::bad_request(format!("unknown key type {other}"))),
    }
}

/// Whether drawing such a key, or signing with it, keeps a processor busy for long enough to be done beside the async threads: all but
/// P-256 and Ed25519, which take tens of microseconds.
pub(super) const fn takes_long(kind: KeyKind) -> bool {
    !matches!(kind, KeyKind::P256 | KeyKind::Ed25519)
}

/// A new key. What takes long is drawn beside the async threads.
pub(super) async fn generate(cx: &Cx, kind: KeyKind) -> Result<PrivateKey> {
    let made = if takes_long(kind) { cx.compute(move || PrivateKey::generate(kind)).await? } else { PrivateKey::generate(kind) };
    made.map_err(Error::internal)
}

pub(super) async fn all(cx: &Cx) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    for id in cx.view.children("key/", None, usize::MAX).await? {
        keys.extend(by_id(cx, &id).await?);
    }
    Ok(keys)
}

pub(super) async fn by_id(cx: &Cx, id: &str) -> Result<Option<Key>> {
    cx.view.get(&format!("key/{id}")).await
}

/// The key whose public half this SubjectPublicKeyInfo is.
pub(super) async fn by_public(cx: &Cx, spki: &[u8]) -> Result<Option<Key>> {
    match read_text(cx, &format!("key-public/{}", fingerprint(spki))).await? {
        Some(id) => by_id(cx, &id).await,
        None => Ok(None),
    }
}

/// The key of an id, a name, or `default`.
pub(super) async fn find(cx: &Cx, reference: &str) -> Result<Option<Key>> {
    if reference == "default" {
        let id = super::config::keys(cx).await?.default;
        return if id.is_empty() { Ok(None) } else { by_id(cx, &id).await };
    }
    if let Some(key) = by_id(cx, reference).await? {
        return Ok(Some(key));
    }
    match read_text(cx, &format!("key-name/{reference}")).await? {
        Some(id) => by_id(cx, &id).await,
        None => Ok(None),
    }
}

/// What is said of a reference to nothing.
pub(super) fn unknown(reference: &str) -> String {
    if reference == "default" {
        "no default key currently configured".to_owned()
    } else {
        format!("unable to find PKI key for reference: {reference}")
    }
}

/// A name for a new key: none, or a good one that no key has.
pub(super) async fn check_new_name(cx: &Cx, name: &str) -> Result<()> {
    if name.is_empty() {
        return Ok(());
    }
    if name == "default" {
        return Err(Error::bad_request("reserved keyword 'default' can not be used as key name"));
    }
    if !is_name(name) {
        return Err(Error::bad_request("key name contained invalid characters"));
    }
    if find(cx, name).await?.is_some() {
        return Err(Error::bad_request("key name already in use"));
    }
    Ok(())
}

/// Keeps a key, unless it is there already; says whether it was. The first becomes the default.
pub(super) async fn keep(cx: &Cx, private: &PrivateKey, name: &str, origin: Origin) -> Result<(Key, bool)> {
    let public = private.public().map_err(Error::internal)?;
    if let Some(known) = by_public(cx, public.spki()).await? {
        return Ok((known, true));
    }
    let spec = Spec::ALL.into_iter().find(|spec| spec.kind() == Some(private.kind()));
    let spec = spec.ok_or_else(|| Error::bad_request("an authority's RSA key must have 2048, 3072 or 4096 bits"))?;
    let id = new_id(cx);
    let public = keyring(cx).take_in(&id, spec, private, origin, cx.now())?;
    let key = Key { id, name: name.to_owned(), spec, public };
    cx.view.put(&format!("key/{}", key.id), &key)?;
    put_text(cx, &format!("key-public/{}", fingerprint(&key.public.0)), &key.id);
    if !name.is_empty() {
        put_text(cx, &format!("key-name/{name}"), &key.id);
    }
    super::config::key_came(cx, &key.id).await?;
    Ok((key, false))
}

/// A key's material, parsed once.
pub(super) async fn material(cx: &Cx, id: &str) -> Result<Arc<Material>> {
    let record = cx.engine.parsed.get::<KeyRecord>(&cx.view, &format!("ring/key/{id}")).await?;
    let record = record.ok_or_else(|| Error::internal("a key of an issuer is not in the keyring"))?;
    keyring(cx).material(&record, record.latest).await
}

pub(super) async fn remove(cx: &Cx, key: &Key) -> Result<()> {
    let ring = keyring(cx);
    if let Some(record) = ring.find(&key.id).await? {
        ring.delete(&record).await?;
    }
    cx.view.delete(&format!("key/{}", key.id));
    cx.view.delete(&format!("key-public/{}", fingerprint(&key.public.0)));
    if !key.name.is_empty() {
        cx.view.delete(&format!("key-name/{}", key.name));
    }
    Ok(())
}

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("keys").about("Lists the authorities' keys.").list(list);
    d.at("keys/generate/{exported}").about("Makes a key.").plain(&["key_type", "key_bits", "key_name"]).write(make);
    d.at("keys/import").about("Takes in a key.").plain(&["key_name"]).write(take_in);
    d.at("key/{key_ref}").about("Reads, renames and deletes a key.").plain(&["key_name"]).read(read).write(rename).delete(delete);
}

async fn list(cx: Cx, ask: Page) -> Result<Reply> {
    let default = super::config::keys(&cx).await?.default;
    let mut keys = Vec::new();
    for id in cx.view.children("key/", ask.after(), ask.limit()).await? {
        keys.extend(by_id(&cx, &id).await?);
    }
    let info = keys.iter().map(|key| {
        let about = Object::new().with("is_default", key.id == default).with("key_name", key.name.as_str());
        (key.id.clone(), coffer_types::Json::Object(about))
    });
    let info: Object = info.collect();
    Ok(Reply::list_with(keys.into_iter().map(|key| key.id).collect(), info))
}

/// Make a key.
#[derive(Request)]
struct Make {
    /// `internal` keeps it here, `exported` shows it this once.
    #[field(path)]
    exported: String,
    /// A name for it.
    #[field(default)]
    key_name: String,
    /// `rsa`, `ec` or `ed25519`.
    #[field(default = "rsa".to_owned())]
    key_type: String,
    /// Its length; 0 for what is usual.
    #[field(default)]
    key_bits: i64,
    /// A key outside, which is not supported.
    #[field(default)]
    external_key_ref: String,
}

async fn make(cx: Cx, ask: Make) -> Result<Reply> {
    let exported = match ask.exported.as_str() {
        "internal" => false,
        "exported" => true,
        "kms" if ask.external_key_ref.is_empty() => {
            return Err(Error::bad_request("\"external_key_ref\" is required for kms typed key generation"));
        }
        "kms" => return Err(Error::bad_request("keys that lie outside are not supported")),
        _ => return Err(super::unsupported_path()),
    };
    check_new_name(&cx, &ask.key_name).await?;
    let kind = kind_of(&ask.key_type, ask.key_bits)
        .map_err(|error| Error::bad_request(format!("Validation for key_type, key_bits failed: {}", error.public())))?;
    let private = generate(&cx, kind).await?;
    let (key, _) = keep(&cx, &private, &ask.key_name, Origin::Generated).await?;
    let mut shown = Object::new().with("key_id", key.id).with("key_name", key.name).with("key_type", type_name(kind));
    if exported {
        let pem = private.to_traditional_pem().map_err(Error::internal)?;
        shown.insert("private_key", pem.trim_end());
    }
    Ok(Reply::data(shown))
}

/// Take in a key.
#[derive(Request)]
struct TakeIn {
    /// A name for it.
    #[field(default)]
    key_name: String,
    /// The key in PEM.
    #[field(default)]
    pem_bundle: coffer_types::json::Text,
}

async fn take_in(cx: Cx, ask: TakeIn) -> Result<Reply> {
    check_new_name(&cx, &ask.key_name).await?;
    let (keys, certificates) = super::import::parse(ask.pem_bundle.as_str())?;
    let ([private], true) = (&*keys, certificates.is_empty()) else {
        return Err(Error::bad_request("only a single key can be present within the pem_bundle for importing"));
    };
    let (key, known) = keep(&cx, private, &ask.key_name, Origin::Imported { rotation_allowed: false }).await?;
    super::issuer::adopt(&cx, &key).await?;
    let shown = Object::new().with("key_id", key.id).with("key_name", key.name).with("key_type", type_name(private.kind()));
    let reply = Reply::data(shown);
    Ok(if known { reply.warn("Key already imported, use key/ endpoint to update name.") } else { reply })
}

/// Name a key.
#[derive(Request)]
struct Named {
    /// Its id, its name, or `default`.
    #[field(path)]
    key_ref: String,
}

async fn read(cx: Cx, ask: Named) -> Result<Reply> {
    let key = find(&cx, &ask.key_ref).await?.ok_or_else(|| super::failed(unknown(&ask.key_ref)))?;
    let id = coffer_crypto::x509::key_id(&key.public.0).map_err(Error::internal)?;
    Ok(Reply::data(shown(&key).with("subject_key_id", super::serial::show(&id))))
}

/// Rename a key.
#[derive(Request)]
struct Rename {
    /// Its id, its name, or `default`.
    #[field(path)]
    key_ref: String,
    /// The new name; empty takes the old one away.
    #[field(default)]
    key_name: String,
}

async fn rename(cx: Cx, ask: Rename) -> Result<Reply> {
    let mut key = find(&cx, &ask.key_ref).await?.ok_or_else(|| super::failed(unknown(&ask.key_ref)))?;
    if ask.key_name != key.name {
        if !ask.key_name.is_empty() && (!is_name(&ask.key_name) || ask.key_name == "default") {
            return Err(Error::bad_request("new key name outside of valid character limits"));
        }
        if !ask.key_name.is_empty() && find(&cx, &ask.key_name).await?.is_some() {
            return Err(Error::bad_request("key name already in use"));
        }
        if !key.name.is_empty() {
            cx.view.delete(&format!("key-name/{}", key.name));
        }
        if !ask.key_name.is_empty() {
            put_text(&cx, &format!("key-name/{}", ask.key_name), &key.id);
        }
        key.name = ask.key_name;
        cx.view.put(&format!("key/{}", key.id), &key)?;
    }
    let reply = Reply::data(shown(&key));
    if key.name.is_empty() {
        let warning = format!("Name successfully deleted, you will now need to reference this key by it's Id: {}", key.id);
        return Ok(reply.warn(warning));
    }
    Ok(reply)
}

fn shown(key: &Key) -> Object {
    Object::new()
        .with("key_id", key.id.as_str())
        .with("key_name", key.name.as_str())
        .with("key_type", key.spec.kind().map_or("", type_name))
}

async fn delete(cx: Cx, ask: Named) -> Result<Reply> {
    let Some(key) = find(&cx, &ask.key_ref).await? else { return Ok(Reply::empty()) };
    if let Some(user) = super::issuer::all(&cx).await?.into_iter().find(|issuer| issuer.key_id == key.id) {
        return Err(Error::bad_request(format!("Failed to Delete Key.  Key in Use by Issuer: {}", user.id)));
    }
    remove(&cx, &key).await?;
    let mut defaults = super::config::keys(&cx).await?;
    if defaults.default == key.id {
        defaults.default.clear();
        cx.view.put("config/keys", &defaults)?;
        let warning = format!(
            "Deleted key {} (via key_ref {}); this was configured as the default key. Operations without an explicit key will not work \
             until a new default is configured.",
            key.id, ask.key_ref
        );
        return Ok(Reply::<Object>::empty().status(200).warn(warning));
    }
    Ok(Reply::empty())
}
