//! encrypt, decrypt, rewrap.

use super::batch::{Items, base64, context_of, number, prefix, text, unprefix};
use super::create::{Create, make};
use super::{Cx, Transit, check_name, keyring, settings, usable};
use crate::keyring::{KeyRecord, Keyring, Material};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::Zeroizing;
use coffer_crypto::cipher::CipherKey;
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
    let key = match ring.find(&ask.name).await? {
        Some(_) => usable(&ring, &ask.name, "encryption key not found").await?,
        None if settings(&cx).await?.disable_upsert => return Err(Error::bad_request("encryption key not found")),
        None => {
            let with_context = items.any(|item| !text(item, "context").unwrap_or_default().is_empty());
            make(&cx, &ring, &upsert(ask.name, ask.kind, with_context, ask.convergent_encryption)?).await?
        }
    };
    let mut used = Used::new(&ring, &key);
    used.load(items.versions("key_version", key.latest)).await?;
    let mut random = |out: &mut [u8]| cx.fill_random(out);
    items.run(ask.partial_failure_response_code, None, |item| {
        let plaintext = match item.get("plaintext") {
            None | Some(Json::Null) => return Err(Error::bad_request("missing plaintext to encrypt")),
            Some(_) => base64(text(item, "plaintext")?)?,
        };
        let (ciphertext, version) = seal(&used, item, &plaintext, &mut random)?;
        Ok(Object::new().with("ciphertext", ciphertext).with("key_version", i64::from(version)))
    })
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
    let mut used = Used::new(&ring, &key);
    used.load(items.ciphertext_versions(&key)).await?;
    items.run(ask.partial_failure_response_code, Some("plaintext"), |item| {
        let plaintext = open(&used, item)?;
        Ok(Object::new().with("plaintext", Json::String(Text::new(STANDARD.encode(&*plaintext)))))
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
    let mut used = Used::new(&ring, &key);
    used.load(items.ciphertext_versions(&key)).await?;
    used.load(items.versions("key_version", key.latest)).await?;
    let mut random = |out: &mut [u8]| cx.fill_random(out);
    items.run(None, None, |item| {
        let plaintext = open(&used, item)?;
        let (ciphertext, version) = seal(&used, item, &plaintext, &mut random)?;
        Ok(Object::new().with("ciphertext", ciphertext).with("key_version", i64::from(version)))
    })
}

/// A key with the versions that a call needs, read before the items are gone through.
pub(super) struct Used<'a> {
    ring: &'a Keyring,
    pub(super) key: &'a KeyRecord,
    materials: BTreeMap<u32, Arc<Material>>,
}

impl<'a> Used<'a> {
    pub(super) fn new(ring: &'a Keyring, key: &'a KeyRecord) -> Self {
        Self { ring, key, materials: BTreeMap::new() }
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

    fn any(&self, test: impl Fn(&Object) -> bool) -> bool {
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

fn associated_data(key: &KeyRecord, item: &Object) -> Result<Zeroizing<Vec<u8>>> {
    let given = text(item, "associated_data")?;
    if !given.is_empty() && key.spec.cipher().is_none() {
        return Err(Error::bad_request(format!("'associated_data' provided for non-AEAD cipher suite {}", key.spec.name())));
    }
    base64(given)
}

pub(super) fn seal(used: &Used<'_>, item: &Object, plaintext: &[u8], random: &mut dyn FnMut(&mut [u8])) -> Result<(String, u32)> {
    let key = used.key;
    if !key.spec.encrypts() {
        return Err(Error::bad_request(format!("message encryption not supported for key type {}", key.spec.name())));
    }
    let version = used.outgoing(number(item, "key_version")?, "encryption")?;
    let (aad, context) = (associated_data(key, item)?, context(key, item)?);
    let material = used.material(version)?;
    let sealed = match key.spec.cipher() {
        None => {
            let public = material.public.as_ref().ok_or_else(|| Error::internal("an RSA key without its public half"))?;
            public
                .encrypt(RsaPadding::OaepSha256, plaintext)
                .map_err(|_| Error::bad_request("failed to RSA encrypt the plaintext: the message is too long for the key"))?
        }
        Some(cipher) => {
            let derived = if key.derived { Some(material.derived(cipher, &context)?) } else { None };
            let sealing: &CipherKey = match (&derived, &material.cipher) {
                (Some((sealing, _)), _) => sealing,
                (None, Some(sealing)) => sealing,
                (None, None) => return Err(Error::internal("a symmetric key without material")),
            };
            let mut nonce = vec![0; cipher.nonce_bytes()];
            match &derived {
                // The same plaintext under the same context has the same nonce, and no other has it (but for chance): an HMAC.
                Some((_, nonces)) if key.convergent => {
                    nonce.copy_from_slice(&HmacKey::new(nonces).tag(plaintext)[..cipher.nonce_bytes()])
                }
                _ => random(&mut nonce),
            }
            sealing.seal(&nonce, &aad, plaintext).map_err(Error::internal)?
        }
    };
    Ok((format!("{}{}", prefix(version), STANDARD.encode(sealed)), version))
}

pub(super) fn open(used: &Used<'_>, item: &Object) -> Result<Zeroizing<Vec<u8>>> {
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
    let sealed = STANDARD.decode(body).map_err(|_| Error::bad_request("invalid ciphertext: could not decode base64"))?;
    let (aad, context) = (associated_data(key, item)?, context(key, item)?);
    let material = used.material(version)?;
    let Some(cipher) = key.spec.cipher() else {
        let private = material.private.as_ref().ok_or_else(|| Error::bad_request("the private half of this key is not here"))?;
        return private
            .decrypt(RsaPadding::OaepSha256, &sealed)
            .map_err(|_| Error::bad_request("failed to RSA decrypt the ciphertext: decryption error"));
    };
    if sealed.len() < cipher.nonce_bytes() {
        return Err(Error::bad_request("invalid ciphertext length"));
    }
    let opened = if key.derived {
        material.derived(cipher, &context)?.0.open(&aad, &sealed)
    } else {
        material.cipher.as_ref().ok_or_else(|| Error::internal("a symmetric key without material"))?.open(&aad, &sealed)
    };
    opened.map_err(|_| Error::bad_request("cipher: message authentication failed"))
}
