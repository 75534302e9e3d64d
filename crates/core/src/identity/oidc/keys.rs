//! `identity/oidc/key/…`: keys that sign, by name. Each has the pair that signs, the next one, published before it signs so that
//! nobody has to ask for keys at the moment of a rotation, and the public halves of those before, for as long as what they
//! signed may be verified.

use super::{ALGORITHMS, IdentityEngine, ROOT};
use coffer_crypto::jws::{Algorithm, Signer};
use coffer_crypto::random::uuid;
use coffer_engine::view::Record;
use coffer_engine::{Ctx, Declare, NoInput, Reply, Request, Response};
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Name, Object, Result, Span, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub(super) const FOLDER: &str = "identity/oidc/key/";
/// There from the start, and never deleted.
pub(super) const DEFAULT: &str = "default";
const DAY: i64 = 24 * 3600;

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("oidc/key").about("List the keys that sign identity tokens.").list(list);
    d.at("oidc/key/{name}")
        .about("A key that signs identity tokens.")
        .plain(&["algorithm", "allowed_client_ids", "rotation_period", "verification_ttl"])
        .read(read)
        .write(write)
        .exists(exists)
        .delete(delete);
    d.at("oidc/key/{name}/rotate").about("Rotate a key now.").plain(&["verification_ttl"]).write(rotate);
}

/// As stored, format 1.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) algorithm: String,
    rotation_period: Span,
    pub(super) verification_ttl: Span,
    pub(super) allowed_client_ids: Vec<String>,
    /// None until a role or client uses the default key.
    signing: Option<Pair>,
    next: Option<Pair>,
    retired: Vec<Retired>,
    next_rotation: Timestamp,
}

impl Record for Key {
    const FORMAT: u8 = 1;
}

#[derive(Clone, Serialize, Deserialize)]
struct Pair {
    id: String,
    algorithm: String,
    /// PKCS#8, base64.
    private: Zeroizing<String>,
    /// The public half as a JSON web key.
    public: String,
}

/// A public half that only verifies.
#[derive(Clone, Serialize, Deserialize)]
struct Retired {
    id: String,
    public: String,
    until: Timestamp,
}

impl Default for Key {
    fn default() -> Self {
        Self {
            algorithm: "RS256".to_owned(),
            rotation_period: Span::from_secs(DAY),
            verification_ttl: Span::from_secs(DAY),
            allowed_client_ids: Vec::new(),
            signing: None,
            next: None,
            retired: Vec::new(),
            next_rotation: Timestamp::NEVER,
        }
    }
}

/// Name a key.
#[derive(Request)]
struct Named {
    /// Its name.
    #[field(path)]
    name: Name,
}

/// Create or change a key.
#[derive(Request)]
struct Write {
    /// Its name.
    #[field(path)]
    name: Name,
    /// RS256, RS384, RS512, ES256, ES384, ES512 or EdDSA.
    algorithm: Option<String>,
    /// How often it rotates.
    rotation_period: Option<Span>,
    /// How long what it signed can be verified after a rotation.
    verification_ttl: Option<Span>,
    /// The clients that it signs for; `*` for all.
    allowed_client_ids: Option<Vec<String>>,
}

/// Rotate a key.
#[derive(Request)]
struct Rotate {
    /// Its name.
    #[field(path)]
    name: Name,
    /// How long what the old key signed can be verified, instead of the key's own span.
    verification_ttl: Option<Span>,
}

/// A key, without its private half.
#[derive(Response)]
struct Shown {
    /// The algorithm.
    algorithm: String,
    /// The clients that it signs for.
    allowed_client_ids: Vec<String>,
    /// How often it rotates, in seconds.
    rotation_period: Span,
    /// How long what it signed can be verified after a rotation, in seconds.
    verification_ttl: Span,
}

/// A key by its name; the default one is there before it is stored.
pub(super) async fn load<E>(cx: &Ctx<E>, name: &str) -> Result<Option<Key>> {
    let found = cx.view.get(&format!("{FOLDER}{name}")).await?;
    let default = || (name == DEFAULT).then(|| Key { allowed_client_ids: vec!["*".to_owned()], ..Key::default() });
    Ok(found.or_else(default))
}

fn put<E>(cx: &Ctx<E>, name: &str, key: &Key) -> Result<()> {
    cx.view.put(&format!("{FOLDER}{name}"), key)
}

async fn list(cx: Ctx<IdentityEngine>, _: NoInput) -> Result<Reply> {
    let mut names = cx.view.children(FOLDER, None, usize::MAX).await?;
    if !names.iter().any(|name| name == DEFAULT) {
        names.push(DEFAULT.to_owned());
        names.sort();
    }
    Ok(Reply::list(names))
}

async fn read(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply<Shown>> {
    let key = load(&cx, ask.name.as_str()).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown {
        algorithm: key.algorithm,
        allowed_client_ids: key.allowed_client_ids,
        rotation_period: key.rotation_period,
        verification_ttl: key.verification_ttl,
    }))
}

async fn exists(cx: Ctx<IdentityEngine>, ask: Named) -> Result<bool> {
    Ok(load(&cx, ask.name.as_str()).await?.is_some())
}

async fn write(cx: Ctx<IdentityEngine>, ask: Write) -> Result<Reply<()>> {
    let name = ask.name.as_str();
    let was = load(&cx, name).await?;
    let before = was.as_ref().map(|key| key.algorithm.clone());
    let mut key = was.unwrap_or_default();
    if let Some(algorithm) = ask.algorithm {
        if !ALGORITHMS.contains(&algorithm.as_str()) {
            return Err(Error::bad_request(format!("unknown signing algorithm {algorithm:?}")));
        }
        key.algorithm = algorithm;
    }
    key.rotation_period = ask.rotation_period.unwrap_or(key.rotation_period);
    key.verification_ttl = ask.verification_ttl.unwrap_or(key.verification_ttl);
    key.allowed_client_ids = ask.allowed_client_ids.unwrap_or(key.allowed_client_ids);
    if key.rotation_period.secs() < 60 {
        return Err(Error::bad_request("rotation_period must be at least one minute"));
    }
    key.check_ttl(key.verification_ttl)?;
    let longest = super::roles::longest_ttl(&cx, name).await?.max(super::clients::longest_ttl(&cx, name).await?);
    if key.verification_ttl < longest {
        return Err(Error::bad_request(
            "verification_ttl is shorter than the life of tokens of a role or client that uses the key",
        ));
    }
    match before {
        // Another algorithm signs from now on; what the old one signed is verified as long as it may be.
        Some(before) if before != key.algorithm => {
            key.retire(cx.now(), key.verification_ttl);
            key.next = None;
        }
        _ => {}
    }
    key.make_pairs(&cx).await?;
    key.next_rotation = cx.now().plus(key.rotation_period.duration());
    put(&cx, name, &key)?;
    Ok(Reply::empty())
}

async fn delete(cx: Ctx<IdentityEngine>, ask: Named) -> Result<Reply<()>> {
    let name = ask.name.as_str();
    if name == DEFAULT {
        return Err(Error::bad_request(format!("deletion of key {name:?} not allowed")));
    }
    let roles = super::roles::using(&cx, name).await?;
    if !roles.is_empty() {
        let roles = roles.join(", ");
        return Err(Error::bad_request(format!(
            "unable to delete key {name:?} because it is currently referenced by these roles: {roles}"
        )));
    }
    let clients = super::clients::using(&cx, name).await?;
    if !clients.is_empty() {
        let clients = clients.join(", ");
        return Err(Error::bad_request(format!(
            "unable to delete key {name:?} because it is currently referenced by these clients: {clients}"
        )));
    }
    cx.view.delete(&format!("{FOLDER}{name}"));
    Ok(Reply::empty())
}

async fn rotate(cx: Ctx<IdentityEngine>, ask: Rotate) -> Result<Reply<()>> {
    let name = ask.name.as_str();
    let mut key = load(&cx, name).await?.ok_or_else(|| Error::bad_request(format!("no named key found at {name:?}")))?;
    let ttl = ask.verification_ttl.unwrap_or(key.verification_ttl);
    if ttl.is_negative() {
        return Err(Error::bad_request("verification_ttl cannot be negative"));
    }
    key.rotate(&cx, ttl).await?;
    put(&cx, name, &key)?;
    Ok(Reply::empty())
}

/// Rotates what is due; see [`super::beat`].
pub(super) async fn rotate_due(cx: &Ctx<IdentityEngine>) -> Result<bool> {
    let now = cx.now();
    for name in cx.view.children(FOLDER, None, usize::MAX).await? {
        let Some(mut key) = load(cx, &name).await? else { continue };
        let due = !key.next_rotation.is_never() && key.next_rotation <= now && key.signing.is_some();
        let over = key.retired.iter().any(|old| old.until <= now);
        if due {
            key.rotate(cx, key.verification_ttl).await?;
        } else if over {
            key.retired.retain(|old| old.until > now);
        } else {
            continue;
        }
        put(cx, &name, &key)?;
        // One a transaction: making an RSA key takes a while.
        return Ok(true);
    }
    Ok(false)
}

/// The public halves of these keys, as a JSON web key set.
pub(super) async fn set<E>(cx: &Ctx<E>, names: &[String]) -> Result<Object> {
    let mut all = Vec::new();
    for name in names {
        if let Some(key) = load(cx, name).await? {
            all.extend(key.public(cx.now())?);
        }
    }
    Ok(Object::new().with("keys", Json::Array(all)))
}

/// The public half that has this id, whichever key it is of.
pub(super) async fn public_by_id<E>(cx: &Ctx<E>, id: &str) -> Result<Option<Json>> {
    let names = cx.view.children(FOLDER, None, usize::MAX).await?;
    let set = set(cx, &names).await?;
    let keys = set.get("keys").and_then(Json::as_array).unwrap_or_default();
    Ok(keys.iter().find(|key| key.at("kid").and_then(Json::as_str) == Some(id)).cloned())
}

impl Key {
    pub(super) fn check_ttl(&self, verification_ttl: Span) -> Result<()> {
        if verification_ttl.is_negative() || verification_ttl.secs() > self.rotation_period.secs().saturating_mul(10) {
            return Err(Error::bad_request("verification_ttl cannot be longer than 10x rotation_period"));
        }
        Ok(())
    }

    pub(super) fn allows(&self, client_id: &str) -> bool {
        self.allowed_client_ids.iter().any(|id| id == "*" || id == client_id)
    }

    /// Makes the pairs of the default key, once something is to be signed with it.
    pub(super) async fn prepare(&mut self, cx: &Ctx<IdentityEngine>, name: &str) -> Result<()> {
        if self.signing.is_none() {
            self.make_pairs(cx).await?;
            self.next_rotation = cx.now().plus(self.rotation_period.duration());
            put(cx, name, self)?;
        }
        Ok(())
    }

    /// A signed token of these claims.
    pub(super) async fn sign(&mut self, cx: &Ctx<IdentityEngine>, name: &str, claims: Object) -> Result<String> {
        self.prepare(cx, name).await?;
        let pair = self.signing.as_ref().ok_or_else(|| Error::internal("a key without a pair"))?;
        let signer = pair.signer()?;
        let id = pair.id.clone();
        cx.compute(move || signer.token(&id, claims)).await?.map_err(Error::internal)
    }

    async fn rotate(&mut self, cx: &Ctx<IdentityEngine>, verification_ttl: Span) -> Result<()> {
        let now = cx.now();
        self.retired.retain(|old| old.until > now);
        self.retire(now, verification_ttl);
        // What was announced signs next, unless the algorithm has changed since.
        self.signing = self.next.take().filter(|next| next.algorithm == self.algorithm);
        self.make_pairs(cx).await?;
        self.next_rotation = now.plus(self.rotation_period.duration());
        Ok(())
    }

    fn retire(&mut self, now: Timestamp, verification_ttl: Span) {
        if let Some(pair) = self.signing.take() {
            let until = now.plus(verification_ttl.duration());
            self.retired.push(Retired { id: pair.id.clone(), public: pair.public.clone(), until });
        }
    }

    async fn make_pairs(&mut self, cx: &Ctx<IdentityEngine>) -> Result<()> {
        for place in [&mut self.signing, &mut self.next] {
            if place.is_none() {
                *place = Some(Pair::make(cx, &self.algorithm).await?);
            }
        }
        Ok(())
    }

    fn public(&self, now: Timestamp) -> Result<Vec<Json>> {
        let pairs = self.signing.iter().chain(&self.next).map(|pair| pair.public.as_str());
        let retired = self.retired.iter().filter(|old| old.until > now).map(|old| old.public.as_str());
        let read = |text: &str| parse(text.as_bytes(), &Limits::NONE).map_err(Error::internal);
        pairs.chain(retired).map(read).collect()
    }
}

impl Pair {
    async fn make(cx: &Ctx<IdentityEngine>, algorithm: &str) -> Result<Self> {
        use base64::Engine as _;
        let core = cx.engine.core()?;
        let id = uuid(&*core.random);
        let kind = Algorithm::parse(algorithm).ok_or_else(|| Error::internal("an algorithm that there is not"))?;
        let signer = cx.compute(move || Signer::generate(kind)).await?.map_err(Error::internal)?;
        let private = signer.to_pkcs8().map_err(Error::internal)?;
        let public = signer.public_jwk(&id).map_err(Error::internal)?;
        Ok(Self {
            private: Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&*private)),
            public: String::from_utf8_lossy(&Json::Object(public).to_bytes()).into_owned(),
            algorithm: algorithm.to_owned(),
            id,
        })
    }

    fn signer(&self) -> Result<Signer> {
        use base64::Engine as _;
        let der =
            base64::engine::general_purpose::STANDARD.decode(&*self.private).map_err(Error::internal).map(Zeroizing::new)?;
        let algorithm = Algorithm::parse(&self.algorithm).ok_or_else(|| Error::internal("an algorithm that there is not"))?;
        Signer::from_pkcs8(algorithm, &der).map_err(Error::internal)
    }
}

/// The folder of names below this room's root.
pub(super) fn folder(what: &str) -> String {
    format!("{ROOT}{what}/")
}
