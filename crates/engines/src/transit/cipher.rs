//! encrypt, decrypt, rewrap.

use super::batch::{Failing, Items, base64, context_of, decoded, number, prefix, text, unprefix};
use super::create::{Create, make};
use super::{Cx, Transit, check_name, failed, keyring, settings, usable};
use crate::keyring::{KeyRecord, Keyring, Material};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::Zeroizing;
use coffer_crypto::cipher::{CipherKey, TAG_BYTES};
use coffer_crypto::mac::HmacKey;
use coffer_crypto::pk::RsaPadding;
use coffer_engine::{Declare, Reply, Request};
use coffer_types::json::Text;
use coffer_types::{Error, Json, Object, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn declare(d: &mut Declare<Transit>) {
    d.at("encrypt/{name}")
        .about("Encrypts; makes the key if it is not there and the policy lets create.")
        .write(encrypt)
        .exists(exists);
    d.at("decrypt/{name}").about("Decrypts.").write(decrypt);
    d.at("rewrap/{name}").about("Encrypts anew with another version, without showing the plaintext.").write(rewrap);
}

/// Encrypt.
#[derive(Request)]
struct Encrypt {
    /// The key's name.
    #[field(path)]
    name: String,
    /// The plaintext, in base64.
    plaintext: Option<Text>,
    /// The context of a derived key, in base64.
    #[field(default)]
    context: String,
    /// Bound to the ciphertext and not part of it, in base64; AEAD keys only.
    #[field(default)]
    associated_data: String,
    /// The version; 0 is the latest.
    #[field(default)]
    key_version: i64,
    /// The type of a key that is made.
    #[field(default = "aes256-gcm96".to_owned(), rename = "type")]
    kind: String,
    /// A key that is made is convergent.
    #[field(default)]
    convergent_encryption: bool,
    /// Many at once: objects with these same fields and a reference.
    batch_input: Option<Json>,
    /// The status where some of a batch failed and some did not; else 400.
    partial_failure_response_code: Option<i64>,
}

/// Decrypt.
#[derive(Request)]
struct Decrypt {
    /// The key's name.
    #[field(path)]
    name: String,
    /// The ciphertext.
    #[field(default)]
    ciphertext: String,
    /// The context of a derived key, in base64.
    #[field(default)]
    context: String,
    /// What was bound to the ciphertext, in base64.
    #[field(default)]
    associated_data: String,
    /// Many at once.
    batch_input: Option<Json>,
    /// The status where some of a batch failed and some did not; else 400.
    partial_failure_response_code: Option<i64>,
}

/// Encrypt anew.
#[derive(Request)]
struct Rewrap {
    /// The key's name.
    #[field(path)]
    name: String,
    /// The ciphertext.
    #[field(default)]
    ciphertext: String,
    /// The context of a derived key, in base64.
    #[field(default)]
    context: String,
    /// The version to encrypt with; 0 is the latest.
    #[field(default)]
    key_version: i64,
    /// Many at once.
    batch_input: Option<Json>,
}

async fn exists(cx: Cx, ask: Encrypt) -> Result<bool> {
    Ok(keyring(&cx).find(&ask.name).await?.is_some())
}

async fn encrypt(cx: Cx, ask: Encrypt) -> Result<Reply> {
    check_name(&ask.name)?;
    let ring = keyring(&cx);
    let one = Object::new()
        .with("context", ask.context.as_str())
        .with("associated_data", ask.associated_data.as_str())
        .with("key_version", ask.key_version);
    let one = match ask.plaintext {
        Some(plaintext) => one.with("plaintext", Json::String(plaintext)),
        None => one,
    };
    let items = Items::read(ask.batch_input, one)?;
    well_formed(&items)?;
    let key = match ring.find(&ask.name).await? {
        Some(_) => usable(&ring, &ask.name, "encryption key not found").await?,
        None if settings(&cx).await?.disable_upsert => return Err(Error::bad_request("encryption key not found")),
        None => {
            let with_context = items.any(|item| !text(item, "context").unwrap_or_default().is_empty());
            make(&cx, &ring, &upsert(ask.name, ask.kind, with_context, ask.convergent_encryption)?).await?
        }
    };
    let mut used = Used::new(&ring, &key).alone(items.is_one());
    used.load(items.versions("key_version", key.latest)).await?;
    let mut nonces = Nonces::draw(&cx, &key, items.len());
    items.run(Failing::Shown(ask.partial_failure_response_code), &Object::new(), |item| {
        let plaintext = match item.get("plaintext") {
            None | Some(Json::Null) => return Err(Error::bad_request("missing plaintext to encrypt")),
            Some(_) => Plain::Base64(text(item, "plaintext")?),
        };
        let (ciphertext, version) = seal(&used, item, plaintext, &mut nonces)?;
        Ok(Object::new().with("ciphertext", ciphertext).with("key_version", i64::from(version)))
    })
}

/// A batch with an item that has no plaintext, or a member of another kind than it should be, is refused whole.
fn well_formed(items: &Items) -> Result<()> {
    let Items::Many(items) = items else { return Ok(()) };
    let bad = |at: usize, what: &str| failed(&format!("failed to parse batch input: '[{at}].{what}"));
    for (at, item) in items.iter().enumerate() {
        if matches!(item.get("plaintext"), None | Some(Json::Null)) {
            return Err(bad(at, "plaintext' missing plaintext to encrypt"));
        }
        if let Some(name) = ["plaintext", "context", "associated_data", "reference"].into_iter().find(|n| text(item, n).is_err())
        {
            return Err(bad(at, &format!("{name}' expected a string")));
        }
        if number(item, "key_version").is_err() {
            return Err(bad(at, "key_version' expected a number"));
        }
    }
    Ok(())
}

fn upsert(name: String, kind: String, derived: bool, convergent_encryption: bool) -> Result<Create> {
    if convergent_encryption && !derived {
        return Err(Error::bad_request("convergent encryption requires derivation to be enabled, so context is required"));
    }
    // Only what encrypts is made by encrypting.
    if crate::keyring::Spec::from_name(&kind).is_some_and(|spec| !spec.encrypts()) {
        return Err(Error::bad_request(format!("unknown key type {kind}")));
    }
    Ok(Create {
        name,
        kind,
        derived,
        convergent_encryption,
        exportable: false,
        allow_plaintext_backup: false,
        auto_rotate_period: Default::default(),
        key_size: 0,
        context: String::new(),
    })
}

async fn decrypt(cx: Cx, ask: Decrypt) -> Result<Reply> {
    let ring = keyring(&cx);
    let one = Object::new()
        .with("ciphertext", ask.ciphertext.as_str())
        .with("context", ask.context.as_str())
        .with("associated_data", ask.associated_data.as_str());
    let items = Items::read(ask.batch_input, one)?;
    let key = usable(&ring, &ask.name, "encryption key not found").await?;
    let mut used = Used::new(&ring, &key).alone(items.is_one());
    used.load(items.ciphertext_versions(&key)).await?;
    items.run(Failing::Shown(ask.partial_failure_response_code), &Object::new().with("plaintext", ""), |item| {
        let plaintext = open(&used, item, |plaintext| Text::new(STANDARD.encode(plaintext)))?;
        Ok(Object::new().with("plaintext", Json::String(plaintext)))
    })
}

async fn rewrap(cx: Cx, ask: Rewrap) -> Result<Reply> {
    let ring = keyring(&cx);
    let one = Object::new()
        .with("ciphertext", ask.ciphertext.as_str())
        .with("context", ask.context.as_str())
        .with("key_version", ask.key_version);
    let items = Items::read(ask.batch_input, one)?;
    let key = usable(&ring, &ask.name, "encryption key not found").await?;
    let mut used = Used::new(&ring, &key).alone(items.is_one());
    used.load(items.ciphertext_versions(&key)).await?;
    used.load(items.versions("key_version", key.latest)).await?;
    let mut nonces = Nonces::draw(&cx, &key, items.len());
    items.run(Failing::Quiet, &Object::new(), |item| {
        let plaintext = open(&used, item, |plaintext| Zeroizing::new(plaintext.to_vec()))?;
        let (ciphertext, version) = seal(&used, item, Plain::Bytes(&plaintext), &mut nonces)?;
        Ok(Object::new().with("ciphertext", ciphertext).with("key_version", i64::from(version)))
    })
}

/// A key with the versions that a call needs, read before the items are gone through.
pub(super) struct Used<'a> {
    ring: &'a Keyring,
    pub(super) key: &'a KeyRecord,
    materials: BTreeMap<u32, Arc<Material>>,
    alone: bool,
}

impl<'a> Used<'a> {
    pub(super) fn new(ring: &'a Keyring, key: &'a KeyRecord) -> Self {
        Self { ring, key, materials: BTreeMap::new(), alone: false }
    }

    /// Whether one item is asked for by itself.
    pub(super) fn alone(mut self, alone: bool) -> Self {
        self.alone = alone;
        self
    }

    /// A caller's fault that the reference takes for its own where an item is asked for alone.
    pub(super) fn refused(&self, why: &str) -> Error {
        if self.alone { failed(why) } else { Error::bad_request(why.to_owned()) }
    }

    /// Reads the versions that are there; an item that names another gets its error later.
    pub(super) async fn load(&mut self, versions: impl IntoIterator<Item = u32>) -> Result<()> {
        for version in versions {
            let there = version >= self.key.min_available.max(1) && version <= self.key.latest;
            if there && !self.materials.contains_key(&version) {
                self.materials.insert(version, self.ring.material(self.key, version).await?);
            }
        }
        Ok(())
    }

    pub(super) fn material(&self, version: u32) -> Result<&Material> {
        self.materials.get(&version).map(|m| &**m).ok_or_else(|| Error::bad_request("the key's version was trimmed"))
    }

    /// The version that a new ciphertext or signature gets, of what was asked; 0 is the latest.
    pub(super) fn outgoing(&self, asked: i64, what: &str) -> Result<u32> {
        let bad = |why: &str| Error::bad_request(format!("requested version for {what} is {why}"));
        if asked < 0 {
            return Err(bad("negative"));
        }
        match u32::try_from(asked) {
            Ok(0) => Ok(self.key.latest),
            Ok(version) if version <= self.key.latest => {
                if version < self.key.min_encryption {
                    return Err(bad("less than the minimum encryption key version"));
                }
                Ok(version)
            }
            _ => Err(bad("higher than the latest key version")),
        }
    }

    /// Whether what a version made is still taken.
    pub(super) fn incoming(&self, version: u32, what: &str) -> Result<()> {
        if version > self.key.latest {
            return Err(Error::bad_request(format!("invalid {what}: version is too new")));
        }
        if version < self.key.min_decryption {
            return Err(Error::bad_request("ciphertext or signature version is disallowed by policy (too old)"));
        }
        Ok(())
    }
}

impl Items {
    fn all(&self) -> &[Object] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all().len()
    }

    pub(super) fn any(&self, test: impl Fn(&Object) -> bool) -> bool {
        self.all().iter().any(test)
    }

    /// The versions that items ask for under this name.
    pub(super) fn versions(&self, name: &str, latest: u32) -> Vec<u32> {
        let asked = |item: &Object| u32::try_from(number(item, name).unwrap_or_default()).unwrap_or_default();
        self.all().iter().map(|item| if asked(item) == 0 { latest } else { asked(item) }).collect()
    }

    fn ciphertext_versions(&self, key: &KeyRecord) -> Vec<u32> {
        let version = |item: &Object| unprefix(text(item, "ciphertext").ok()?, "ciphertext").ok().map(|(version, _)| version);
        self.all().iter().filter_map(version).filter(|version| *version <= key.latest).collect()
    }
}

/// The context of an item whose key is derived.
fn context(key: &KeyRecord, item: &Object) -> Result<Zeroizing<Vec<u8>>> {
    let given = text(item, "context")?;
    if key.derived && given.is_empty() {
        return Err(Error::bad_request(
            "missing 'context' for key derivation; the key was created using a derived key, which means additional, per-request \
             information must be included in order to perform operations with the key",
        ));
    }
    context_of(given)
}

fn associated_data(used: &Used<'_>, item: &Object) -> Result<Zeroizing<Vec<u8>>> {
    let key = used.key;
    let given = text(item, "associated_data")?;
    if !given.is_empty() && key.spec.cipher().is_none() {
        return Err(Error::bad_request(format!("'associated_data' provided for non-AEAD cipher suite {}", key.spec.name())));
    }
    base64(given).map_err(|error| used.refused(&format!("unable to get associated_data: {}", error.public())))
}

/// What is to be sealed.
#[derive(Clone, Copy)]
pub(super) enum Plain<'a> {
    Base64(&'a str),
    Bytes(&'a [u8]),
}

impl Plain<'_> {
    /// Appends the bytes to `out`, with room behind them for a tag, so that no copy is left where a buffer grew.
    fn onto(self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Plain::Bytes(bytes) => {
                out.reserve_exact(bytes.len() + TAG_BYTES);
                out.extend_from_slice(bytes);
            }
            Plain::Base64(text) => {
                let start = out.len();
                out.reserve_exact(text.len().div_ceil(4) * 3 + TAG_BYTES);
                if STANDARD.decode_vec(text, out).is_err() {
                    // Line ends, or the error that names the place.
                    out.truncate(start);
                    out.extend_from_slice(&base64(text)?);
                }
            }
        }
        Ok(())
    }
}

/// Random bytes for a call's nonces, drawn at once.
pub(super) struct Nonces {
    bytes: Vec<u8>,
    used: usize,
}

impl Nonces {
    /// For so many items.
    pub(super) fn draw(cx: &Cx, key: &KeyRecord, items: usize) -> Self {
        let each = key.spec.cipher().filter(|_| !key.convergent).map_or(0, |cipher| cipher.nonce_bytes());
        let mut bytes = vec![0; each * items];
        cx.fill_random(&mut bytes);
        Self { bytes, used: 0 }
    }

    /// Bytes that were not given before.
    fn next(&mut self, out: &mut [u8]) -> Result<()> {
        let end = self.used + out.len();
        let fresh = self.bytes.get(self.used..end).ok_or_else(|| Error::internal("more nonces than items"))?;
        out.copy_from_slice(fresh);
        self.used = end;
        Ok(())
    }
}

pub(super) fn seal(used: &Used<'_>, item: &Object, plaintext: Plain<'_>, nonces: &mut Nonces) -> Result<(String, u32)> {
    let key = used.key;
    let mut buffer = Zeroizing::new(Vec::new());
    let Some(cipher) = key.spec.cipher() else {
        plaintext.onto(&mut buffer)?;
        if !key.spec.encrypts() {
            return Err(Error::bad_request(format!("message encryption not supported for key type {}", key.spec.name())));
        }
        let version = used.outgoing(number(item, "key_version")?, "encryption")?;
        associated_data(used, item)?;
        context(key, item)?;
        let material = used.material(version)?;
        let public = material.public.as_ref().ok_or_else(|| Error::internal("an RSA key without its public half"))?;
        let sealed = public
            .encrypt(RsaPadding::OaepSha256, &buffer)
            .map_err(|_| Error::bad_request("failed to RSA encrypt the plaintext: the message is too long for the key"))?;
        return Ok((written(version, &sealed), version));
    };
    let nonce = cipher.nonce_bytes();
    let size = match plaintext {
        Plain::Base64(text) => text.len().div_ceil(4) * 3,
        Plain::Bytes(bytes) => bytes.len(),
    };
    buffer.reserve_exact(nonce + size + TAG_BYTES);
    buffer.resize(nonce, 0);
    plaintext.onto(&mut buffer)?;
    let version = used.outgoing(number(item, "key_version")?, "encryption")?;
    let (aad, context) = (associated_data(used, item)?, context(key, item)?);
    let material = used.material(version)?;
    let derived = if key.derived { Some(material.derived(cipher, &context)?) } else { None };
    let sealing: &CipherKey = match (&derived, &material.cipher) {
        (Some((sealing, _)), _) => sealing,
        (None, Some(sealing)) => sealing,
        (None, None) => return Err(Error::internal("a symmetric key without material")),
    };
    match &derived {
        // The same plaintext under the same context has the same nonce, and no other has it (but for chance): an HMAC.
        Some((_, derived)) if key.convergent => {
            let tag = HmacKey::new(derived).tag(&buffer[nonce..]);
            buffer[..nonce].copy_from_slice(&tag[..nonce]);
        }
        _ => nonces.next(&mut buffer[..nonce])?,
    }
    sealing.seal_in_place(&aad, &mut buffer).map_err(Error::internal)?;
    // What is in it is no secret any more.
    let sealed = std::mem::take(&mut *buffer);
    Ok((written(version, &sealed), version))
}

/// `vault:v3:` and base64.
fn written(version: u32, sealed: &[u8]) -> String {
    let mut text = prefix(version);
    text.reserve_exact(sealed.len().div_ceil(3) * 4);
    STANDARD.encode_string(sealed, &mut text);
    text
}

/// Opens an item's ciphertext and hands the plaintext to `read`; what was opened is wiped after that.
pub(super) fn open<T>(used: &Used<'_>, item: &Object, read: impl FnOnce(&[u8]) -> T) -> Result<T> {
    let key = used.key;
    let ciphertext = text(item, "ciphertext")?;
    if ciphertext.is_empty() {
        return Err(Error::bad_request("missing ciphertext to decrypt"));
    }
    if !key.spec.encrypts() {
        return Err(Error::bad_request(format!("message decryption not supported for key type {}", key.spec.name())));
    }
    let (version, body) = unprefix(ciphertext, "ciphertext")?;
    used.incoming(version, "ciphertext")?;
    let sealed = decoded(&STANDARD, body).map(Zeroizing::new);
    let mut sealed = sealed.map_err(|_| Error::bad_request("invalid ciphertext: could not decode base64"))?;
    let (aad, context) = (associated_data(used, item)?, context(key, item)?);
    let material = used.material(version)?;
    let Some(cipher) = key.spec.cipher() else {
        let private = material.private.as_ref().ok_or_else(|| Error::bad_request("the private half of this key is not here"))?;
        return private
            .decrypt(RsaPadding::OaepSha256, &sealed)
            .map(|plaintext| read(&plaintext))
            .map_err(|_| used.refused("failed to RSA decrypt the ciphertext: decryption error"));
    };
    if sealed.len() < cipher.nonce_bytes() {
        return Err(Error::bad_request("invalid ciphertext length"));
    }
    let opened = if key.derived {
        material.derived(cipher, &context)?.0.open_in_place(&aad, &mut sealed)
    } else {
        let opening = material.cipher.as_ref().ok_or_else(|| Error::internal("a symmetric key without material"))?;
        opening.open_in_place(&aad, &mut sealed)
    };
    opened.map_err(|_| Error::bad_request("cipher: message authentication failed")).map(read)
}
