//! Public keys: from PEM (keys and certificates) and from JSON web keys (RFC 7517).

use super::Algorithm;
use crate::pk::{self, KeyKind, Message, PkError};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object};
use std::fmt;

/// Keys of one set; more are refused, as each may cost a verification.
pub const MAX_KEYS: usize = 100;

/// A public key of a kind that we know.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(pk::PublicKey);

/// Why something is no key. Says nothing of what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKey {
    /// Neither a PEM public key nor a PEM certificate.
    NoPem,
    /// The text holds a private key, which must not be where a public one is kept.
    Private,
    /// No key of a kind that we know, or broken.
    Unknown,
    /// RSA of less than 2048 or more than 8192 bits.
    Size,
    /// A key set that is no JSON object with `keys`, or with too many of them.
    NoSet,
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPem => "data does not contain any valid public keys",
            Self::Private => "a private key was given where a public key belongs",
            Self::Unknown => "the key is broken, or neither RSA, ECDSA on P-256, P-384 or P-521, nor Ed25519",
            Self::Size => "an RSA key must have between 2048 and 8192 bits",
            Self::NoSet => "not a JSON web key set with at most 100 keys",
        })
    }
}

impl std::error::Error for BadKey {}

impl From<PkError> for BadKey {
    fn from(error: PkError) -> Self {
        if error == PkError::Size { Self::Size } else { Self::Unknown }
    }
}

/// The curves of RFC 7518 section 6.2.1.1, and the bytes of one coordinate.
const CURVES: [(KeyKind, &str, usize); 3] =
    [(KeyKind::P256, "P-256", 32), (KeyKind::P384, "P-384", 48), (KeyKind::P521, "P-521", 66)];

impl PublicKey {
    /// The first key of a PEM text: `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`, whose key alone is looked at: it was given by an
    /// administrator, the certificate is its wrapping.
    ///
    /// # Errors
    /// [`BadKey`]; a text with a private key in it is refused whatever else it holds.
    pub fn from_pem(text: &str) -> Result<Self, BadKey> {
        let blocks = pem::parse_many(text).map_err(|_| BadKey::NoPem)?;
        if blocks.iter().any(|block| block.tag().contains("PRIVATE KEY")) {
            return Err(BadKey::Private);
        }
        for block in &blocks {
            match block.tag() {
                "PUBLIC KEY" => return Self::from_spki(block.contents()),
                "RSA PUBLIC KEY" => return Ok(Self(pk::PublicKey::from_pkcs1(block.contents())?)),
                "CERTIFICATE" => return Ok(Self(pk::PublicKey::of_certificate(block.contents())?)),
                _ => {}
            }
        }
        Err(BadKey::NoPem)
    }

    /// A DER SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7, RFC 8410).
    ///
    /// # Errors
    /// [`BadKey::Unknown`], [`BadKey::Size`].
    pub fn from_spki(der: &[u8]) -> Result<Self, BadKey> {
        Ok(Self(pk::PublicKey::from_spki(der)?))
    }

    /// A JSON web key. What it says of its private part, if it has one, is not read.
    ///
    /// # Errors
    /// [`BadKey::Unknown`] for other kinds, `oct` (shared keys) above all.
    pub fn from_jwk(jwk: &Object) -> Result<Self, BadKey> {
        let text = |name: &str| jwk.get(name).and_then(Json::as_str).ok_or(BadKey::Unknown);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).map_err(|_| BadKey::Unknown);
        Ok(Self(match text("kty")? {
            "RSA" => pk::PublicKey::from_rsa(&bytes("n")?, &bytes("e")?)?,
            "EC" => {
                let crv = text("crv")?;
                let (kind, ..) = CURVES.into_iter().find(|(_, name, _)| *name == crv).ok_or(BadKey::Unknown)?;
                pk::PublicKey::from_ec(kind, &bytes("x")?, &bytes("y")?)?
            }
            "OKP" if text("crv")? == "Ed25519" => pk::PublicKey::from_ed25519(&bytes("x")?)?,
            _ => return Err(BadKey::Unknown),
        }))
    }

    /// The members of a JSON web key that make the key: `kty` and what goes with it.
    pub fn to_jwk(&self) -> Object {
        let b64 = |bytes: &[u8]| Json::from(URL_SAFE_NO_PAD.encode(bytes));
        if let Some((n, e)) = self.0.rsa_parts() {
            return Object::new().with("kty", "RSA").with("n", b64(n)).with("e", b64(e));
        }
        match CURVES.into_iter().find(|(kind, ..)| *kind == self.0.kind()) {
            Some((_, crv, width)) => {
                // An uncompressed point: 04, x, y.
                let (x, y) = self.0.bits().get(1..).unwrap_or_default().split_at_checked(width).unwrap_or_default();
                Object::new().with("kty", "EC").with("crv", crv).with("x", b64(x)).with("y", b64(y))
            }
            None => Object::new().with("kty", "OKP").with("crv", "Ed25519").with("x", b64(self.0.bits())),
        }
    }

    /// DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        self.0.spki()
    }

    /// Its name by RFC 7638: SHA-256 of the members that make the key, in base64url.
    pub fn thumbprint(&self) -> String {
        // The RFC's form: the members by name, nothing between them. All are base64url or names without anything to escape.
        let jwk = self.to_jwk();
        let mut members: Vec<String> =
            jwk.iter().map(|(name, value)| format!("\"{name}\":\"{}\"", value.as_str().unwrap_or_default())).collect();
        members.sort_unstable();
        let canonical = format!("{{{}}}", members.join(","));
        URL_SAFE_NO_PAD.encode(crate::digest::Algorithm::Sha256.digest(&[canonical.as_bytes()]))
    }

    /// Whether signatures of this algorithm can be this key's at all.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        algorithm.fits(self.0.kind())
    }

    /// Whether this is the key's signature of `message`; never, where the algorithm does not fit.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        self.fits(algorithm) && self.0.verify(algorithm.scheme(), Message::Whole(message), signature) == Ok(true)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?})", self.0.kind())
    }
}

/// Keys that tokens of one issuer are verified with.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<SetKey>,
}

#[derive(Clone, Debug)]
struct SetKey {
    /// `None` for a key that answers to every name: one from PEM.
    name: Option<Box<str>>,
    /// Keys of a JSON set without `kid` are tried only where the token names none.
    from_set: bool,
    /// The one algorithm that its set allows it.
    only: Option<Algorithm>,
    key: PublicKey,
}

impl KeySet {
    /// Keys without names, tried for every token.
    pub fn of_keys(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        let keys = keys.into_iter().map(|key| SetKey { name: None, from_set: false, only: None, key }).collect();
        Self { keys }
    }

    /// A JSON web key set (RFC 7517 section 5). Keys of a kind that we do not know, for encryption, for an algorithm that does not fit
    /// or broken are left out, as that section asks.
    ///
    /// # Errors
    /// [`BadKey::NoSet`].
    pub fn parse(text: &[u8]) -> Result<Self, BadKey> {
        let limits = Limits { depth: 8, string: 64 * 1024, strings: 10_000, members: 100, items: 1000 };
        let set = parse(text, &limits).map_err(|_| BadKey::NoSet)?;
        let keys = set.get("keys").and_then(Json::as_array).ok_or(BadKey::NoSet)?;
        if keys.len() > MAX_KEYS {
            return Err(BadKey::NoSet);
        }
        Ok(Self { keys: keys.iter().filter_map(Json::as_object).filter_map(SetKey::read).collect() })
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys that a header's name and algorithm may mean.
    pub(super) fn candidates(&self, name: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &PublicKey> {
        self.keys
            .iter()
            .filter(move |k| !k.from_set || name.is_none() || k.name.as_deref() == name)
            .filter(move |k| k.only.is_none_or(|only| only == algorithm) && k.key.fits(algorithm))
            .map(|k| &k.key)
    }

    /// Whether a token with this header could be verified by a key of this set: a miss asks the issuer again.
    pub fn knows(&self, name: Option<&str>, algorithm: Algorithm) -> bool {
        self.candidates(name, algorithm).next().is_some()
    }
}

impl SetKey {
    fn read(jwk: &Object) -> Option<Self> {
        let text = |name: &str| jwk.get(name).map(|v| v.as_str().ok_or(()));
        if text("use").is_some_and(|u| u != Ok("sig")) {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops")
            && !operations.as_array()?.iter().any(|o| o.as_str() == Some("verify"))
        {
            return None;
        }
        let only = match text("alg") {
            None => None,
            Some(name) => Some(Algorithm::parse(name.ok()?)?),
        };
        let name = match text("kid") {
            None => None,
            Some(name) => Some(name.ok()?.into()),
        };
        let key = PublicKey::from_jwk(jwk).ok()?;
        only.is_none_or(|only| key.fits(only)).then_some(Self { name, from_set: true, only, key })
    }
}
