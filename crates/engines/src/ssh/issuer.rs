//! Issuers: the authorities' keys, made here or brought along. One of them is the default.

use super::{Cx, Ssh, check_name, failed, is_name, keyring, new_id};
use crate::keyring::{Material, Origin, Spec};
use coffer_crypto::pk::{KeyKind, PrivateKey};
use coffer_crypto::ssh::{SshPublicKey, read_private};
use coffer_engine::{Declare, NoInput, Record, Reply, Request};
use coffer_types::{Error, Object, Result, Secret};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

const DEFAULT: &str = "config/default";

pub(super) fn declare(d: &mut Declare<Ssh>) {
    const PLAIN: &[&str] = &["generate_signing_key", "key_type", "key_bits", "public_key", "set_default", "issuer_name"];
    d.at("config/ca")
        .about("The default issuer: read it, make or bring a new one, or take all issuers away.")
        .plain(PLAIN)
        .read(read_default)
        .write(write_default)
        .delete(delete_all);
    d.at("config/issuers").about("Which issuer is the default.").plain(&["default"]).read(read_config).write(write_config);
    d.at("issuers").about("Lists issuers.").list(list);
    d.at("issuers/import").about("Makes or brings an issuer without a name.").plain(PLAIN).write(import);
    d.at("issuers/import/{issuer_name}").about("Makes or brings an issuer with a name.").plain(PLAIN).write(import_named);
    d.at("issuer/{issuer_ref}")
        .about("An issuer, by its id, its name or `default`.")
        .plain(&["issuer_name"])
        .read(read)
        .write(rename)
        .delete(delete);
    d.at("issuer/{issuer_ref}/public_key").about("An issuer's public key, as files have it.").public().read(public_key);
    d.at("public_key").about("The default issuer's public key, as files have it.").public().read(default_public_key);
}

/// Stored in format 1 under `issuer/<id>`.
#[derive(Serialize, Deserialize)]
pub(super) struct Issuer {
    /// Never given twice; also its key's name in the keyring.
    pub(super) id: String,
    /// Empty for none.
    name: String,
    /// The line of its `*.pub` file, with its end.
    public: String,
}

impl Record for Issuer {
    const FORMAT: u8 = 1;
}

/// The default issuer's id. Stored in format 1.
#[derive(Serialize, Deserialize, Default)]
struct Default_ {
    id: String,
}

impl Record for Default_ {
    const FORMAT: u8 = 1;
}

impl Issuer {
    fn show(&self) -> Object {
        Object::new().with("issuer_id", &*self.id).with("issuer_name", &*self.name).with("public_key", &*self.public)
    }
}

/// The issuer of an id, a name, or `default`.
///
/// # Errors
/// 400 where there is none.
pub(super) async fn find(cx: &Cx, reference: &str) -> Result<Issuer> {
    if reference == "default" {
        return default(cx).await?.ok_or_else(|| Error::bad_request("no default issuer currently configured"));
    }
    let found = match by_id(cx, reference).await? {
        Some(issuer) => Some(issuer),
        None => all(cx).await?.into_iter().find(|issuer| !issuer.name.is_empty() && issuer.name == reference),
    };
    found.ok_or_else(|| Error::bad_request(format!("unable to find issuer for reference: {reference}")))
}

/// An issuer's private key, parsed once and kept.
pub(super) async fn material(cx: &Cx, issuer: &Issuer) -> Result<Arc<Material>> {
    let ring = keyring(cx);
    let key = ring.find(&issuer.id).await?.ok_or_else(|| Error::internal("an issuer's key is missing"))?;
    ring.material(&key, key.latest).await
}

async fn default(cx: &Cx) -> Result<Option<Issuer>> {
    match cx.view.get::<Default_>(DEFAULT).await? {
        Some(default) => by_id(cx, &default.id).await,
        None => Ok(None),
    }
}

async fn by_id(cx: &Cx, id: &str) -> Result<Option<Issuer>> {
    if is_name(id) { cx.view.get(&format!("issuer/{id}")).await } else { Ok(None) }
}

async fn all(cx: &Cx) -> Result<Vec<Issuer>> {
    let mut issuers = Vec::new();
    for id in cx.view.children("issuer/", None, usize::MAX).await? {
        issuers.extend(by_id(cx, &id).await?);
    }
    Ok(issuers)
}

/// Make an issuer, or bring one along.
#[derive(Request)]
struct Make {
    /// The private key to bring along: OpenSSH's form or PEM, without a passphrase.
    #[field(default = Secret::from(""))]
    private_key: Secret<String>,
    /// Its public half, as `*.pub` files have it.
    #[field(default)]
    public_key: String,
    /// Draw the key here: what is done where no key is brought along.
    generate_signing_key: Option<bool>,
    /// The kind of a drawn key: ssh-rsa, ed25519, ec, …
    #[field(default = "ssh-rsa".to_owned())]
    key_type: String,
    /// The length of a drawn key; 0 for what is usual.
    #[field(default)]
    key_bits: i64,
    /// It becomes the default.
    #[field(default)]
    set_default: bool,
}

/// Make a named issuer, or bring one along.
#[derive(Request)]
struct MakeNamed {
    /// The issuer's name.
    #[field(path)]
    issuer_name: String,
    #[field(flatten)]
    make: Make,
}

async fn write_default(cx: Cx, q: Make) -> Result<Reply> {
    make(&cx, "", &Make { set_default: true, ..q }).await
}

async fn import(cx: Cx, q: Make) -> Result<Reply> {
    make(&cx, "", &q).await
}

async fn import_named(cx: Cx, q: MakeNamed) -> Result<Reply> {
    check_name(&q.issuer_name)?;
    check_new_name(&all(&cx).await?, &q.issuer_name, &q.make.public_key)?;
    make(&cx, &q.issuer_name, &q.make).await
}

/// A name that no issuer has, but the one of this very key.
fn check_new_name(issuers: &[Issuer], name: &str, public: &str) -> Result<()> {
    if name == "default" {
        return Err(Error::bad_request("reserved keyword 'default' can not be used as issuer name"));
    }
    if !is_name(name) {
        return Err(Error::bad_request("issuer name contained invalid characters"));
    }
    if issuers.iter().any(|issuer| issuer.name == name && issuer.public.trim() != public.trim()) {
        return Err(Error::bad_request("issuer name already in use"));
    }
    Ok(())
}

async fn make(cx: &Cx, name: &str, q: &Make) -> Result<Reply> {
    let has_keys = (!q.private_key.expose().is_empty(), !q.public_key.is_empty());
    if q.generate_signing_key == Some(true) && has_keys != (false, false) {
        return Err(Error::bad_request("public_key and private_key must not be set when generate_signing_key is set to true"));
    }
    let (private, public, origin) = match has_keys {
        (true, true) => {
            let (private, public) = bring(q)?;
            (private, public, Origin::Imported { rotation_allowed: false })
        }
        (false, false) if q.generate_signing_key == Some(false) => return Err(Error::bad_request("missing public_key")),
        (false, false) => {
            let kind = kind_of(&q.key_type, q.key_bits).map_err(failed)?;
            let private = generate(cx, kind).await?;
            let public = SshPublicKey::of(&private.public().map_err(Error::internal)?).map_err(Error::internal)?;
            (private, public, Origin::Generated)
        }
        _ => {
            return Err(Error::bad_request(
                "only one of public_key and private_key set; both must be set to use, or both must be blank to auto-generate",
            ));
        }
    };
    let line = public.line();
    let known = all(cx).await?;
    if let Some(there) = known.iter().find(|issuer| is_same_key(&issuer.public, &public)) {
        if q.set_default {
            cx.view.put(DEFAULT, &Default_ { id: there.id.clone() })?;
        }
        let warning = "An issuer with the provided public key already exists, returning the existing issuer";
        return Ok(Reply::data(there.show()).warn(warning));
    }
    let issuer = Issuer { id: new_id(cx), name: name.to_owned(), public: line };
    keep(cx, &issuer.id, &private, origin)?;
    cx.view.put(&format!("issuer/{}", issuer.id), &issuer)?;
    if q.set_default || default(cx).await?.is_none() {
        cx.view.put(DEFAULT, &Default_ { id: issuer.id.clone() })?;
    }
    Ok(Reply::data(issuer.show()))
}

fn is_same_key(line: &str, public: &SshPublicKey) -> bool {
    SshPublicKey::parse(line).is_ok_and(|known| known.blob() == public.blob())
}

fn bring(q: &Make) -> Result<(PrivateKey, SshPublicKey)> {
    let public = SshPublicKey::parse(&q.public_key)
        .map_err(|error| Error::bad_request(format!("could not parse public_key provided value: {error}")))?;
    let private = read_private(q.private_key.expose())
        .map_err(|error| Error::bad_request(format!("could not parse private_key provided value: {error}")))?;
    let own = SshPublicKey::of(&private.public().map_err(Error::internal)?).map_err(Error::internal)?;
    if own.blob() != public.blob() {
        return Err(Error::bad_request("public_key is not the public half of private_key"));
    }
    Ok((private, public))
}

/// The kind of a key to draw, by any of its names.
pub(super) fn kind_of(key_type: &str, bits: i64) -> Result<KeyKind, String> {
    match (key_type, bits) {
        ("rsa" | "ssh-rsa", 0 | 4096) => Ok(KeyKind::Rsa(4096)),
        ("rsa" | "ssh-rsa", 2048) => Ok(KeyKind::Rsa(2048)),
        ("rsa" | "ssh-rsa", 3072) => Ok(KeyKind::Rsa(3072)),
        ("rsa" | "ssh-rsa", bits) if bits < 2048 => {
            Err(format!("refusing to generate weak {key_type} key: {bits} bits < 2048 bits"))
        }
        ("rsa" | "ssh-rsa", bits) => Err(format!("unsupported length of {key_type} key: {bits}; 2048, 3072 or 4096 bits")),
        ("ec", 0 | 256) | ("ecdsa-sha2-nistp256", _) => Ok(KeyKind::P256),
        ("ec", 384) | ("ecdsa-sha2-nistp384", _) => Ok(KeyKind::P384),
        ("ec", 521) | ("ecdsa-sha2-nistp521", _) => Ok(KeyKind::P521),
        ("ec", bits) => Err(format!("unknown ECDSA key pair algorithm and bits: ec / {bits}")),
        ("ed25519" | "ssh-ed25519", _) => Ok(KeyKind::Ed25519),
        (other, _) => Err(format!("unknown ssh key pair algorithm: {other}")),
    }
}

/// A new key. RSA, which takes long, is drawn beside the async threads.
pub(super) async fn generate(cx: &Cx, kind: KeyKind) -> Result<PrivateKey> {
    let is_slow = matches!(kind, KeyKind::Rsa(_));
    let made = if is_slow { cx.compute(move || PrivateKey::generate(kind)).await? } else { PrivateKey::generate(kind) };
    made.map_err(Error::internal)
}

fn keep(cx: &Cx, id: &str, private: &PrivateKey, origin: Origin) -> Result<()> {
    let spec = Spec::ALL.into_iter().find(|spec| spec.kind() == Some(private.kind()));
    let spec = spec.ok_or_else(|| Error::bad_request("an issuer's RSA key must have 2048, 3072 or 4096 bits"))?;
    keyring(cx).take_in(id, spec, private, origin, cx.now()).map(drop)
}

async fn read_default(cx: Cx, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(find(&cx, "default").await?.show()))
}

async fn delete_all(cx: Cx, _: NoInput) -> Result<Reply> {
    let issuers = all(&cx).await?;
    for issuer in &issuers {
        remove(&cx, issuer).await?;
    }
    cx.view.delete(DEFAULT);
    let reply = Reply::empty();
    if issuers.is_empty() {
        return Ok(reply);
    }
    Ok(reply.warn(format!("Deleted {} issuers, including default issuer if configured.", issuers.len())))
}

async fn remove(cx: &Cx, issuer: &Issuer) -> Result<()> {
    let ring = keyring(cx);
    if let Some(key) = ring.find(&issuer.id).await? {
        ring.delete(&key).await?;
    }
    cx.view.delete(&format!("issuer/{}", issuer.id));
    Ok(())
}

async fn read_config(cx: Cx, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(Object::new().with("default", find(&cx, "default").await?.id)))
}

/// Say which issuer is the default.
#[derive(Request)]
struct WriteConfig {
    /// An issuer's id or name.
    #[field(default)]
    default: String,
}

async fn write_config(cx: Cx, q: WriteConfig) -> Result<Reply> {
    if q.default.is_empty() || q.default == "default" {
        return Err(Error::bad_request("invalid issuer specification; must be non-empty and can't be 'default'."));
    }
    let issuer = find(&cx, &q.default).await.map_err(|error| match error.kind() {
        coffer_types::Kind::BadRequest => failed(format!("error resolving issuer reference: {}", error.public())),
        _ => error,
    })?;
    let before = default(&cx).await?;
    cx.view.put(DEFAULT, &Default_ { id: issuer.id.clone() })?;
    let reply = Reply::data(Object::new().with("default", &*issuer.id));
    Ok(match before {
        Some(before) if before.id != issuer.id => reply.warn(format!(
            "Previous default ({}) has been updated with the issuer '{}' (resolved to {})",
            before.id, q.default, issuer.id
        )),
        _ => reply,
    })
}

async fn list(cx: Cx, _: NoInput) -> Result<Reply> {
    let default = default(&cx).await?.map(|issuer| issuer.id).unwrap_or_default();
    let (mut ids, mut details) = (Vec::new(), Object::new());
    for issuer in all(&cx).await? {
        let about = Object::new()
            .with("is_default", issuer.id == default)
            .with("issuer_name", issuer.name)
            .with("public_key", issuer.public);
        details.insert(&*issuer.id, coffer_types::Json::Object(about));
        ids.push(issuer.id);
    }
    Ok(Reply::list_with(ids, details))
}

/// Names an issuer.
#[derive(Request)]
struct Named {
    /// An issuer's id or name, or `default`.
    #[field(path)]
    issuer_ref: String,
}

async fn read(cx: Cx, q: Named) -> Result<Reply> {
    check_name(&q.issuer_ref)?;
    Ok(Reply::data(find(&cx, &q.issuer_ref).await?.show()))
}

/// Rename an issuer.
#[derive(Request)]
struct Rename {
    /// An issuer's id or name, or `default`.
    #[field(path)]
    issuer_ref: String,
    /// Its new name.
    issuer_name: Option<String>,
}

async fn rename(cx: Cx, q: Rename) -> Result<Reply> {
    check_name(&q.issuer_ref)?;
    let mut issuer = find(&cx, &q.issuer_ref).await?;
    let name = match q.issuer_name {
        Some(name) if name.is_empty() => return Err(Error::bad_request("expected non-empty issuer name")),
        Some(name) => name,
        None => String::new(),
    };
    if !name.is_empty() {
        check_new_name(&all(&cx).await?, &name, &issuer.public)?;
    }
    issuer.name = name;
    cx.view.put(&format!("issuer/{}", issuer.id), &issuer)?;
    Ok(Reply::data(issuer.show()))
}

async fn delete(cx: Cx, q: Named) -> Result<Reply> {
    check_name(&q.issuer_ref)?;
    let issuer = match find(&cx, &q.issuer_ref).await {
        Ok(issuer) => issuer,
        Err(error) if error.kind() == coffer_types::Kind::BadRequest => return Ok(Reply::empty()),
        Err(error) => return Err(error),
    };
    let was_default = default(&cx).await?.is_some_and(|default| default.id == issuer.id);
    remove(&cx, &issuer).await?;
    if !was_default {
        return Ok(Reply::empty());
    }
    cx.view.delete(DEFAULT);
    Ok(Reply::empty().warn(format!(
        "Deleted issuer {} (via issuer_ref {}); this was configured as the default issuer. Operations without an explicit issuer will \
         not work until a new default is configured.",
        issuer.id, q.issuer_ref
    )))
}

async fn public_key(cx: Cx, q: Named) -> Result<Reply> {
    check_name(&q.issuer_ref)?;
    Ok(Reply::raw("text/plain", find(&cx, &q.issuer_ref).await?.public.into_bytes()))
}

async fn default_public_key(cx: Cx, _: NoInput) -> Result<Reply> {
    Ok(Reply::raw("text/plain", find(&cx, "default").await?.public.into_bytes()))
}
