//! Keys: made, brought, listed, shown without their secret.

use super::code::Used;
use super::{Totp, check_name, uri};
use crate::keyring::SecretBytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::Zeroizing;
use coffer_crypto::totp::{self, Algorithm, Digits, base32};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response, barcode};
use coffer_types::{Error, Kind, Object, Result, Span};
use serde::{Deserialize, Serialize};

/// Stored in format 1 under `key/<name>`.
#[derive(Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) secret: SecretBytes,
    issuer: String,
    account: String,
    /// `SHA1`, `SHA256` or `SHA512`.
    algorithm: String,
    digits: u64,
    /// Seconds, one at least.
    pub(super) period: u64,
    /// How many steps off a code may be.
    pub(super) skew: u64,
}

impl Record for Key {
    const FORMAT: u8 = 1;
}

impl Key {
    /// For codes.
    pub(super) fn totp(&self) -> Result<totp::Totp<'_>> {
        let broken = || Error::internal("a stored key has an unknown algorithm or length");
        Ok(totp::Totp {
            key: &self.secret.0,
            algorithm: Algorithm::parse(&self.algorithm).ok_or_else(broken)?,
            digits: Digits::new(self.digits).ok_or_else(broken)?,
            period: self.period,
        })
    }
}

/// Names a key.
#[derive(Request)]
pub(super) struct Named {
    /// The key's name.
    #[field(path)]
    pub(super) name: String,
}

/// Make a key, or take one along.
#[derive(Request)]
pub(super) struct Write {
    /// The key's name.
    #[field(path)]
    name: String,
    /// Draw the key here instead of taking one along.
    #[field(default)]
    generate: bool,
    /// Show the drawn key once, as an address and a picture for authenticators.
    #[field(default = true)]
    exported: bool,
    /// Bytes of a drawn key.
    #[field(default = 20)]
    key_size: i64,
    /// A key that is there, as authenticators' address: `otpauth://totp/…`.
    #[field(default = coffer_types::Secret::from(""))]
    url: coffer_types::Secret<String>,
    /// A key that is there, in base32.
    #[field(default = coffer_types::Secret::from(""))]
    key: coffer_types::Secret<String>,
    /// Whose codes these are.
    #[field(default)]
    issuer: String,
    /// The account that the codes are for.
    #[field(default)]
    account_name: String,
    /// How long a code holds.
    #[field(default = Span::from_secs(30))]
    period: Span,
    /// SHA1, SHA256 or SHA512.
    #[field(default = "SHA1".to_owned())]
    algorithm: String,
    /// 6 or 8.
    #[field(default = 6)]
    digits: i64,
    /// How many periods a code may be early or late: 0 or 1.
    #[field(default = 1)]
    skew: i64,
    /// Pixels of the picture's side; 0 for no picture.
    #[field(default = 200)]
    qr_size: i64,
}

pub(super) async fn write(cx: Ctx<Totp>, q: Write) -> Result<Reply> {
    check_name(&q.name)?;
    let refuse = |text: &'static str| Err(Error::bad_request(text));
    if q.period.is_negative() {
        return Err(Error::bad_request(format!(
            "Field validation failed: error converting input for field \"period\": cannot provide negative value '{}'",
            q.period.secs()
        )));
    }
    if q.generate {
        if !q.key.expose().is_empty() {
            return refuse("a key should not be passed if generate is true");
        }
        if !q.url.expose().is_empty() {
            return refuse("a url should not be passed if generate is true");
        }
    }
    let given = uri::Given {
        secret: Zeroizing::new(q.key.expose().clone()),
        issuer: q.issuer,
        account: q.account_name,
        algorithm: q.algorithm,
        digits: q.digits,
        period: q.period.secs(),
    };
    let given = if q.url.expose().is_empty() { given } else { uri::read(q.url.expose(), given).map_err(Error::bad_request)? };
    let Some(algorithm) = Algorithm::parse(&given.algorithm) else { return refuse("the algorithm value is not valid") };
    let digits = u64::try_from(given.digits).ok().and_then(|digits| Digits::new(digits).map(|_| digits));
    let Some(digits) = digits else { return refuse("the digits value can only be 6 or 8") };
    let Some(period) = u64::try_from(given.period).ok().filter(|period| *period > 0) else {
        return refuse("the period value must be greater than zero");
    };
    let Ok(skew @ 0..=1) = u64::try_from(q.skew) else { return refuse("the skew value must be 0 or 1") };
    let Ok(width) = usize::try_from(q.qr_size) else { return refuse("the qr_size value must be greater than or equal to zero") };
    let secret = if q.generate {
        if given.account.is_empty() {
            return refuse("the account_name value is required for generated keys");
        }
        if given.issuer.is_empty() {
            return refuse("the issuer value is required for generated keys");
        }
        let size = match usize::try_from(q.key_size) {
            Ok(size @ 1..=MAX_KEY) => size,
            Ok(0) | Err(_) => return refuse("the key_size value must be greater than zero"),
            Ok(_) => return refuse("the key_size value must be at most 1024"),
        };
        let mut secret = Zeroizing::new(vec![0; size]);
        cx.fill_random(&mut secret);
        secret
    } else {
        if given.secret.is_empty() {
            return refuse("the key value is required");
        }
        uri::from_base32(&given.secret)
            .map_err(|place| Error::bad_request(format!("invalid key value: illegal base32 data at input byte {place}")))?
    };
    let key = Key {
        secret: SecretBytes(secret),
        issuer: given.issuer,
        account: given.account,
        algorithm: algorithm.as_str().to_owned(),
        digits,
        period,
        skew,
    };
    let reply = if q.generate && q.exported { Reply::data(shown_once(&key, width)?) } else { Reply::empty() };
    forget_uses_of_another(&cx, &q.name, &key).await?;
    cx.view.put(&format!("key/{}", q.name), &key)?;
    Ok(reply)
}

/// HMAC's keys need no more than a digest's block; who brings more is let, up to here.
const MAX_KEY: usize = 1024;

/// Steps count from a key's period, so another key's mean nothing; the same key brought again keeps what was used of it.
async fn forget_uses_of_another(cx: &Ctx<Totp>, name: &str, key: &Key) -> Result<()> {
    let before: Option<Key> = cx.view.get(&format!("key/{name}")).await?;
    if before.is_none_or(|before| *before.secret.0 != *key.secret.0 || before.period != key.period) {
        cx.view.delete(&Used::place(name));
    }
    Ok(())
}

fn shown_once(key: &Key, width: usize) -> Result<Object> {
    let url = Zeroizing::new(uri::write(
        &key.issuer,
        &key.account,
        &key.algorithm,
        key.digits,
        key.period,
        &Zeroizing::new(base32(&key.secret.0)),
    ));
    let mut out = Object::new();
    if width > 0 {
        let picture = barcode::png(&url, width).ok_or_else(|| {
            let why = "failed to generate QR code image: the picture is too small for the code, or larger than 2000 pixels";
            Error::new(Kind::Internal, format!("1 error occurred:\n\t* {why}\n\n"))
        })?;
        out.insert("barcode", STANDARD.encode(Zeroizing::new(picture)));
    }
    out.insert("url", url.as_str());
    Ok(out)
}

/// A key without its secret.
#[derive(Response)]
pub(super) struct Shown {
    /// The account that the codes are for.
    account_name: String,
    /// SHA1, SHA256 or SHA512.
    algorithm: String,
    /// 6 or 8.
    digits: u64,
    /// Whose codes these are.
    issuer: String,
    /// Seconds that a code holds.
    period: u64,
}

pub(super) async fn read(cx: Ctx<Totp>, q: Named) -> Result<Reply<Shown>> {
    check_name(&q.name)?;
    let key = find(&cx, &q.name).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown {
        account_name: key.account,
        algorithm: key.algorithm,
        digits: key.digits,
        issuer: key.issuer,
        period: key.period,
    }))
}

pub(super) async fn delete(cx: Ctx<Totp>, q: Named) -> Result<Reply<()>> {
    check_name(&q.name)?;
    cx.view.delete(&format!("key/{}", q.name));
    cx.view.delete(&Used::place(&q.name));
    Ok(Reply::empty())
}

pub(super) async fn list(cx: Ctx<Totp>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("key/", None, usize::MAX).await?))
}

pub(super) async fn find(cx: &Ctx<Totp>, name: &str) -> Result<Option<Key>> {
    cx.view.get(&format!("key/{name}")).await
}
