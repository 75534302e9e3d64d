//! `identity/mfa/method…`: TOTP methods, and the keys that entities share with their authenticators.

use super::{IdentityEngine, Of};
use crate::identity::mfa::record::{Enforcements, Methods, forget_method, secret_key};
use crate::identity::mfa::{Method, TotpSecret};
use crate::tokens::engine::Page;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::totp::{Algorithm, Digits, base32};
use coffer_engine::{Ctx, Declare, Reply, Request, barcode};
use coffer_types::{Error, Kind, Object, Result, Span};
use zeroize::Zeroizing;

pub(super) fn declare(d: &mut Declare<IdentityEngine>) {
    d.at("mfa/method").about("List the methods of second factors.").list(list);
    d.at("mfa/method/{method_id}").about("A method of second factors by its id.").read(read);
    d.at("mfa/method/totp").about("Create or change a TOTP method, or list them.").plain(PLAIN).list(list).write(create);
    d.at("mfa/method/totp/{method_id}").about("A TOTP method.").plain(PLAIN).read(read).write(change).delete(delete);
    d.at("mfa/method/totp/generate").about("Make the caller a key for a TOTP method.").plain(&["method_id"]).write(generate);
    let admin: &[&str] = &["method_id", "entity_id"];
    d.at("mfa/method/totp/admin-generate").about("Make an entity a key for a TOTP method.").plain(admin).write(admin_generate);
    d.at("mfa/method/totp/admin-destroy").about("Take an entity's key for a TOTP method away.").plain(admin).write(admin_destroy);
    for (one, id) in [
        ("mfa/method/duo", "mfa/method/duo/{method_id}"),
        ("mfa/method/okta", "mfa/method/okta/{method_id}"),
        ("mfa/method/pingid", "mfa/method/pingid/{method_id}"),
    ] {
        let about = "A method of second factors that is not supported: totp is.";
        d.at(one).about(about).list(none).write(unsupported);
        d.at(id).about(about).read(missing).write(unsupported_one).delete(missing);
    }
}

const PLAIN: &[&str] = &["method_name", "issuer", "period", "algorithm"];
/// Methods are one record; nobody has this many.
const MAX_METHODS: usize = 256;

/// Create a TOTP method, or change the one of that name.
#[derive(Request)]
struct Create {
    /// Its name.
    #[field(default)]
    method_name: String,
    /// What authenticators show beside the code.
    #[field(default)]
    issuer: String,
    /// How long a code is good for.
    #[field(default = Span::from_secs(30))]
    period: Span,
    /// Bytes of new keys.
    #[field(default = 20)]
    key_size: i64,
    /// Pixels of the QR code of new keys; 0 for none.
    #[field(default = 200)]
    qr_size: i64,
    /// SHA1, SHA256 or SHA512.
    #[field(default = "SHA1".to_owned())]
    algorithm: String,
    /// 6 or 8.
    #[field(default = 6)]
    digits: i64,
    /// Steps before and after now whose codes are good: 0 or 1.
    #[field(default = 1)]
    skew: i64,
    /// How many wrong codes may follow one another before waiting begins.
    #[field(default = 5)]
    max_validation_attempts: i64,
}

/// Change a TOTP method: what is left out becomes what it is for a new one.
#[derive(Request)]
struct Change {
    /// Its id.
    #[field(path)]
    method_id: String,
    /// Its name; stays where it is left out.
    #[field(default)]
    method_name: String,
    /// What authenticators show beside the code.
    #[field(default)]
    issuer: String,
    /// How long a code is good for.
    #[field(default = Span::from_secs(30))]
    period: Span,
    /// Bytes of new keys.
    #[field(default = 20)]
    key_size: i64,
    /// Pixels of the QR code of new keys; 0 for none.
    #[field(default = 200)]
    qr_size: i64,
    /// SHA1, SHA256 or SHA512.
    #[field(default = "SHA1".to_owned())]
    algorithm: String,
    /// 6 or 8.
    #[field(default = 6)]
    digits: i64,
    /// Steps before and after now whose codes are good: 0 or 1.
    #[field(default = 1)]
    skew: i64,
    /// How many wrong codes may follow one another before waiting begins.
    #[field(default = 5)]
    max_validation_attempts: i64,
}

/// Name a method.
#[derive(Request)]
struct Id {
    /// Its id.
    #[field(path)]
    method_id: String,
}

/// Make the caller a key.
#[derive(Request)]
struct Generate {
    /// The method.
    #[field(default)]
    method_id: String,
}

/// Name an entity and a method.
#[derive(Request)]
struct Admin {
    /// The method.
    #[field(default)]
    method_id: String,
    /// The entity.
    #[field(default)]
    entity_id: String,
}

async fn create(cx: Ctx<IdentityEngine>, ask: Create) -> Result<Reply> {
    let of = Of::new(cx)?;
    let mut methods = Methods::read(&of.cx.view).await?;
    let known = methods.0.iter().position(|m| !ask.method_name.is_empty() && m.name == ask.method_name);
    let id = known.map_or_else(|| of.new_id(), |at| methods.0[at].id.clone());
    let method = checked(ask, id)?;
    let shown = Object::new().with("method_id", method.id.as_str());
    match known {
        Some(at) => methods.0[at] = method,
        None if methods.0.len() >= MAX_METHODS => return Err(Error::bad_request("there are too many MFA methods")),
        None => methods.0.push(method),
    }
    methods.write(&of.cx.view)?;
    Ok(Reply::data(shown))
}

async fn change(cx: Ctx<IdentityEngine>, ask: Change) -> Result<Reply> {
    let mut methods = Methods::read(&cx.view).await?;
    let at = methods.0.iter().position(|m| m.id == ask.method_id).ok_or_else(Error::not_found)?;
    let Change {
        method_id,
        mut method_name,
        issuer,
        period,
        key_size,
        qr_size,
        algorithm,
        digits,
        skew,
        max_validation_attempts,
    } = ask;
    if method_name.is_empty() {
        method_name.clone_from(&methods.0[at].name);
    }
    let create = Create { method_name, issuer, period, key_size, qr_size, algorithm, digits, skew, max_validation_attempts };
    let method = checked(create, method_id)?;
    if !method.name.is_empty() && methods.0.iter().any(|m| m.id != method.id && m.name == method.name) {
        let text = format!("a login MFA method configuration with the method name {} already exists", method.name);
        return Err(Error::bad_request(text));
    }
    methods.0[at] = method;
    methods.write(&cx.view)?;
    Ok(Reply::empty())
}

fn checked(ask: Create, id: String) -> Result<Method> {
    let refuse = |why: &'static str| Err(Error::bad_request(why));
    if ask.issuer.is_empty() {
        return refuse("issuer must be set");
    }
    let Some(period) = u64::try_from(ask.period.secs()).ok().filter(|p| *p > 0) else {
        return refuse("period must be greater than zero");
    };
    if period > 86_400 {
        return refuse("period must be at most a day");
    }
    let Some(key_size) = u64::try_from(ask.key_size).ok().filter(|k| *k > 0) else {
        return refuse("key_size must be greater than zero");
    };
    if key_size > 256 {
        return refuse("key_size must be at most 256");
    }
    if Algorithm::parse(&ask.algorithm).is_none() {
        return refuse("unrecognized algorithm");
    }
    let Some(digits) = u64::try_from(ask.digits).ok().filter(|d| Digits::new(*d).is_some()) else {
        return refuse("digits can only be 6 or 8");
    };
    let Some(skew) = u64::try_from(ask.skew).ok().filter(|s| *s <= 1) else { return refuse("skew must be 0 or 1") };
    let Some(max_attempts) = u64::try_from(ask.max_validation_attempts).ok().filter(|a| *a > 0) else {
        return refuse("max_validation_attempts must be greater than zero");
    };
    let widest = barcode::MAX_WIDTH as u64;
    let Some(qr_size) = u64::try_from(ask.qr_size).ok().filter(|q| *q <= widest) else {
        return refuse("qr_size must be 0, or the width of a picture of at most 2000 pixels");
    };
    let (name, issuer, algorithm) = (ask.method_name, ask.issuer, ask.algorithm);
    Ok(Method { id, name, issuer, period, key_size, qr_size, algorithm, digits, skew, max_attempts })
}

async fn read(cx: Ctx<IdentityEngine>, ask: Id) -> Result<Reply> {
    let methods = Methods::read(&cx.view).await?;
    Ok(Reply::data(methods.by_id(&ask.method_id).ok_or_else(Error::not_found)?.show()))
}

async fn list(cx: Ctx<IdentityEngine>, page: Page) -> Result<Reply> {
    let mut methods = Methods::read(&cx.view).await?.0;
    methods.sort_by(|a, b| a.id.cmp(&b.id));
    methods.retain(|m| page.after().is_none_or(|after| *m.id > *after));
    methods.truncate(page.limit());
    let info = methods.iter().map(|m| (m.id.as_str(), m.show())).collect::<Object>();
    Ok(Reply::list_with(methods.into_iter().map(|m| m.id).collect(), info))
}

async fn delete(cx: Ctx<IdentityEngine>, ask: Id) -> Result<Reply> {
    let mut methods = Methods::read(&cx.view).await?;
    if methods.by_id(&ask.method_id).is_none() {
        return Err(Error::not_found());
    }
    if let Some(user) = Enforcements::read(&cx.view).await?.0.iter().find(|e| e.methods.contains(&ask.method_id)) {
        let text = format!("methodID is still used by an enforcement configuration with ID: {}", user.id);
        return Err(Error::bad_request(text));
    }
    methods.0.retain(|m| m.id != ask.method_id);
    methods.write(&cx.view)?;
    forget_method(&cx.view, &ask.method_id).await?;
    Ok(Reply::empty())
}

async fn generate(cx: Ctx<IdentityEngine>, ask: Generate) -> Result<Reply> {
    let entity = cx.principal().map(|p| p.entity_id.to_string()).unwrap_or_default();
    admin_generate(cx, Admin { method_id: ask.method_id, entity_id: entity }).await
}

/// The method and the entity, if they are there.
async fn named(of: &Of, ask: &Admin) -> Result<(Method, String)> {
    if ask.method_id.is_empty() {
        return Err(Error::bad_request("missing method ID"));
    }
    if ask.entity_id.is_empty() {
        return Err(Error::bad_request("missing entityID"));
    }
    let methods = Methods::read(&of.cx.view).await?;
    let method = methods.by_id(&ask.method_id).cloned();
    let method =
        method.ok_or_else(|| Error::bad_request(format!("configuration for method ID {:?} does not exist", ask.method_id)))?;
    let entity = of.store().entity(&of.cx.view, &ask.entity_id).await?;
    let entity = entity.ok_or_else(|| Error::bad_request("invalid entity ID"))?;
    Ok((method, entity.id))
}

async fn admin_generate(cx: Ctx<IdentityEngine>, ask: Admin) -> Result<Reply> {
    let of = Of::new(cx)?;
    let (method, entity) = named(&of, &ask).await?;
    let place = secret_key(&method.id, &entity);
    if of.cx.view.exists(&place).await? {
        // Nobody who holds a token learns the key that is there, or replaces it.
        let warning = format!("Entity already has a secret for MFA method {:?}", method.name);
        return Ok(Reply::empty().status(200).warn(warning));
    }
    let mut key = Zeroizing::new(vec![0u8; usize::try_from(method.key_size).unwrap_or(20)]);
    of.core.random.fill(&mut key);
    of.cx.view.put(&place, &TotpSecret::new(&method, &key, of.cx.now()))?;
    let url = Zeroizing::new(format!(
        "otpauth://totp/{}:{entity}?algorithm={}&digits={}&issuer={}&period={}&secret={}",
        escaped(&method.issuer),
        method.algorithm,
        method.digits,
        escaped(&method.issuer),
        method.period,
        &*Zeroizing::new(base32(&key)),
    ));
    let width = usize::try_from(method.qr_size).unwrap_or(0);
    let picture = if width == 0 { None } else { barcode::png(&url, width) };
    let picture = picture.map(Zeroizing::new).map(|p| STANDARD.encode(&*p)).unwrap_or_default();
    Ok(Reply::data(Object::new().with("barcode", picture).with("url", url.as_str())))
}

/// As a URI has it (RFC 3986).
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

async fn admin_destroy(cx: Ctx<IdentityEngine>, ask: Admin) -> Result<Reply> {
    let of = Of::new(cx)?;
    let (method, entity) = named(&of, &ask).await?;
    of.cx.view.delete(&secret_key(&method.id, &entity));
    Ok(Reply::empty())
}

/// Fields of a method that is not supported.
#[derive(Request)]
struct Anything {
    /// Whatever it has.
    #[field(rest, rename = "rest")]
    _rest: Object,
}

/// Fields of a method that is not supported, and its id.
#[derive(Request)]
struct AnythingOf {
    /// Its id.
    #[field(path, rename = "method_id")]
    _method_id: String,
    /// Whatever it has.
    #[field(rest, rename = "rest")]
    _rest: Object,
}

async fn none(_cx: Ctx<IdentityEngine>, _: Page) -> Result<Reply> {
    Ok(Reply::list(Vec::new()))
}

async fn missing(_cx: Ctx<IdentityEngine>, _: Id) -> Result<Reply> {
    Err(Error::not_found())
}

async fn unsupported(_cx: Ctx<IdentityEngine>, _: Anything) -> Result<Reply> {
    Err(Error::new(Kind::NotImplemented, "this type of MFA method is not supported: totp is"))
}

async fn unsupported_one(cx: Ctx<IdentityEngine>, _: AnythingOf) -> Result<Reply> {
    unsupported(cx, Anything { _rest: Object::new() }).await
}
