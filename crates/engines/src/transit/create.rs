//! Making keys and their versions.

use super::{Cx, Transit, check_name, keyring, show};
use crate::keyring::{KeyRecord, Keyring, Origin, SecretBytes, Spec, VersionRecord};
use coffer_crypto::Zeroizing;
use coffer_crypto::pk::PrivateKey;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Result, Span};

pub(super) fn declare(d: &mut Declare<Transit>) {
    d.at("keys/{name}/rotate").about("Adds a version, which is used from then on.").write(rotate);
    d.beat(rotate_due);
}

/// Make a key.
#[derive(Request)]
pub(super) struct Create {
    /// The key's name.
    #[field(path)]
    pub(super) name: String,
    /// The type: aes256-gcm96, ed25519, ecdsa-p256, rsa-2048, hmac, …
    #[field(default = "aes256-gcm96".to_owned(), rename = "type")]
    pub(super) kind: String,
    /// Each use derives a key of its context.
    #[field(default)]
    pub(super) derived: bool,
    /// One plaintext and context give one ciphertext; needs derivation.
    #[field(default)]
    pub(super) convergent_encryption: bool,
    /// The key may be exported. Can't be taken back.
    #[field(default)]
    pub(super) exportable: bool,
    /// The key may be backed up in plaintext. Can't be taken back.
    #[field(default)]
    pub(super) allow_plaintext_backup: bool,
    /// Adds a version by itself after this; 0 for never, else an hour or more.
    #[field(default)]
    pub(super) auto_rotate_period: Span,
    /// The bytes of an HMAC key, 32 to 512.
    #[field(default)]
    pub(super) key_size: i64,
    /// The context to show a derived key's public half for, in base64.
    #[field(default)]
    pub(super) context: String,
}

pub(super) async fn create(cx: Cx, ask: Create) -> Result<Reply> {
    check_name(&ask.name)?;
    let ring = keyring(&cx);
    if let Some(key) = ring.find(&ask.name).await? {
        return show::key(&ring, &key, &ask.context).await;
    }
    let key = make(&cx, &ring, &ask).await?;
    show::key(&ring, &key, &ask.context).await
}

/// A new key with its first version.
pub(super) async fn make(cx: &Cx, ring: &Keyring, ask: &Create) -> Result<KeyRecord> {
    let spec = Spec::from_name(&ask.kind).ok_or_else(|| Error::bad_request(format!("unknown key type {}", ask.kind)))?;
    if ask.convergent_encryption && !ask.derived {
        return Err(Error::bad_request("convergent encryption requires derivation to be enabled"));
    }
    if ask.derived && !spec.derives() || ask.convergent_encryption && spec.cipher().is_none() {
        return Err(Error::bad_request(format!(
            "key derivation and convergent encryption not supported for keys of type {}",
            spec.name()
        )));
    }
    let key_size = match (spec, ask.key_size) {
        (Spec::Hmac, size @ 32..=512) => u32::try_from(size).unwrap_or(32),
        (Spec::Hmac, 0) => return Err(Error::bad_request("invalid key size for HMAC key, must be between 32 and 512 bytes")),
        (Spec::Hmac, size) => return Err(Error::bad_request(format!("invalid key_size {size}"))),
        (_, 0) => 0,
        _ => return Err(Error::bad_request(format!("key_size is not valid for algorithm {}", spec.name()))),
    };
    let mut key = KeyRecord {
        derived: ask.derived,
        convergent: ask.convergent_encryption,
        exportable: ask.exportable,
        plaintext_backup: ask.allow_plaintext_backup,
        auto_rotate: auto_rotate(ask.auto_rotate_period)?,
        key_size,
        ..blank(cx, &ask.name, spec, Origin::Generated)
    };
    let version = generate(cx, &key).await?;
    ring.add(&mut key, &version)?;
    ring.save(&mut key)?;
    Ok(key)
}

/// A key without a version, of which nothing is allowed.
pub(super) fn blank<E>(cx: &Ctx<E>, name: &str, spec: Spec, origin: Origin) -> KeyRecord {
    KeyRecord::new(name.to_owned(), new_id(cx), spec, origin, cx.now())
}

pub(super) fn new_id<E>(cx: &Ctx<E>) -> String {
    let mut id = [0u8; 16];
    cx.fill_random(&mut id);
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn auto_rotate(period: Span) -> Result<Span> {
    if period.is_zero() || period >= Span::from_secs(3600) {
        return Ok(period);
    }
    Err(Error::bad_request("auto rotate period must be 0 to disable or at least an hour"))
}

/// New material. RSA keys are drawn beside the async threads.
pub(super) async fn generate(cx: &Cx, key: &KeyRecord) -> Result<VersionRecord> {
    let random = |length: usize| {
        let mut bytes = Zeroizing::new(vec![0; length]);
        cx.fill_random(&mut bytes);
        SecretBytes(bytes)
    };
    let mut version = VersionRecord {
        created: cx.now(),
        secret: SecretBytes::default(),
        hmac: random(32),
        public: Default::default(),
        chain: String::new(),
    };
    if let Some(cipher) = key.spec.cipher() {
        version.secret = random(cipher.key_bytes());
    } else if let Some(kind) = key.spec.kind() {
        let made =
            if key.spec.is_rsa() { cx.compute(move || PrivateKey::generate(kind)).await? } else { PrivateKey::generate(kind) };
        let private = made.map_err(Error::internal)?;
        version.secret = SecretBytes(private.to_pkcs8().map_err(Error::internal)?);
        if !key.derived {
            version.public.0 = private.public().map_err(Error::internal)?.spki().to_vec();
        }
    } else {
        version.secret = random(usize::try_from(key.key_size).unwrap_or(32));
        version.hmac = version.secret.clone();
    }
    Ok(version)
}

/// Rotate a key.
#[derive(Request)]
struct Rotate {
    /// The key's name.
    #[field(path)]
    name: String,
}

async fn rotate(cx: Cx, ask: Rotate) -> Result<Reply> {
    let ring = keyring(&cx);
    let mut key = super::usable(&ring, &ask.name, "key not found").await?;
    add_version(&cx, &ring, &mut key).await?;
    show::key(&ring, &key, "").await
}

async fn add_version(cx: &Cx, ring: &Keyring, key: &mut KeyRecord) -> Result<()> {
    if matches!(key.origin, Origin::Imported { rotation_allowed: false }) {
        return Err(Error::bad_request(format!("imported key {} does not allow rotation within this server", key.name)));
    }
    let version = generate(cx, key).await?;
    ring.add(key, &version)?;
    ring.save(key)
}

/// Rotates the first key that is due; says whether it did, so that the rest follow one by one.
async fn rotate_due(cx: Cx) -> Result<bool> {
    let ring = keyring(&cx);
    let Some(mut key) = ring.due(cx.now()).await? else { return Ok(false) };
    add_version(&cx, &ring, &mut key).await?;
    Ok(true)
}
