//! Public keys: from PEM (keys and certificates) and from JSON web keys (RFC 7517).

use super::Algorithm;
use super::der::{BIT_STRING, Der, OID, SEQUENCE, key_of_certificate, pem};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, EcdsaVerificationAlgorithm,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object};
use std::fmt;

/// Keys of one set; more are refused, as each may cost a verification.
pub const MAX_KEYS: usize = 100;

/// A public key of a kind that we know.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point: 04, x, y.
    Ec {
        curve: Curve,
        point: Vec<u8>,
    },
    Ed25519([u8; 32]),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Curve {
    P256,
    P384,
    P521,
}

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

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED25519_OID: &[u8] = &[0x2b, 0x65, 0x70];

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    const fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Bytes of one coordinate.
    const fn width(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The one algorithm of RFC 7518 that goes with the curve, and how the library calls it.
    fn algorithm(self) -> (Algorithm, &'static EcdsaVerificationAlgorithm) {
        match self {
            Self::P256 => (Algorithm::Es256, &ECDSA_P256_SHA256_FIXED),
            Self::P384 => (Algorithm::Es384, &ECDSA_P384_SHA384_FIXED),
            Self::P521 => (Algorithm::Es512, &ECDSA_P521_SHA512_FIXED),
        }
    }
}

impl PublicKey {
    /// The first key of a PEM text: `PUBLIC KEY`, `RSA PUBLIC KEY` or `CERTIFICATE`.
    ///
    /// # Errors
    /// [`BadKey`]; a text with a private key in it is refused whatever else it holds.
    pub fn from_pem(text: &str) -> Result<Self, BadKey> {
        let blocks = pem(text).ok_or(BadKey::NoPem)?;
        if blocks.iter().any(|(label, _)| label.contains("PRIVATE KEY")) {
            return Err(BadKey::Private);
        }
        for (label, der) in &blocks {
            match *label {
                "PUBLIC KEY" => return Self::from_spki(der),
                "RSA PUBLIC KEY" => return Self::from_pkcs1(der),
                "CERTIFICATE" => return Self::from_spki(key_of_certificate(der).ok_or(BadKey::Unknown)?),
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
        let parts = || {
            let mut outer = Der(Der::only(der, SEQUENCE)?);
            let mut algorithm = Der(outer.take(SEQUENCE)?);
            let kind = algorithm.take(OID)?;
            // No unused bits.
            let bits = outer.take(BIT_STRING)?.strip_prefix(&[0])?;
            outer.0.is_empty().then_some((kind, algorithm, bits))
        };
        let (kind, mut parameters, bits) = parts().ok_or(BadKey::Unknown)?;
        match kind {
            RSA => Self::from_pkcs1(bits),
            EC => {
                let oid = Der::only(parameters.0, OID).ok_or(BadKey::Unknown)?;
                let curve = Curve::ALL.into_iter().find(|c| c.oid() == oid).ok_or(BadKey::Unknown)?;
                Self::ec(curve, bits.to_vec())
            }
            ED25519_OID if parameters.take(OID).is_none() => {
                bits.try_into().map(|key| Self(Kind::Ed25519(key))).map_err(|_| BadKey::Unknown)
            }
            _ => Err(BadKey::Unknown),
        }
    }

    fn from_pkcs1(der: &[u8]) -> Result<Self, BadKey> {
        let numbers = || {
            let mut numbers = Der(Der::only(der, SEQUENCE)?);
            let (n, e) = (numbers.positive()?, numbers.positive()?);
            numbers.0.is_empty().then_some((n.to_vec(), e.to_vec()))
        };
        let (n, e) = numbers().ok_or(BadKey::Unknown)?;
        Self::rsa(n, e)
    }

    pub(super) fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Self, BadKey> {
        let bits = n.len() * 8 - n.first().map_or(0, |b| b.leading_zeros() as usize).min(n.len() * 8);
        if !(2048..=8192).contains(&bits) {
            return Err(BadKey::Size);
        }
        // The library has the last word, once, here.
        RsaPublicKeyComponents { n: &n, e: &e }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).map_err(|_| BadKey::Unknown)?;
        Ok(Self(Kind::Rsa { n, e }))
    }

    fn ec(curve: Curve, point: Vec<u8>) -> Result<Self, BadKey> {
        if point.first() != Some(&4) || point.len() != 1 + 2 * curve.width() {
            return Err(BadKey::Unknown);
        }
        // A point that is not on the curve is refused here.
        ParsedPublicKey::new(curve.algorithm().1, &point).map_err(|_| BadKey::Unknown)?;
        Ok(Self(Kind::Ec { curve, point }))
    }

    /// A JSON web key. What it says of its private part, if it has one, is not read.
    ///
    /// # Errors
    /// [`BadKey::Unknown`] for other kinds, `oct` (shared keys) above all.
    pub fn from_jwk(jwk: &Object) -> Result<Self, BadKey> {
        let text = |name: &str| jwk.get(name).and_then(Json::as_str).ok_or(BadKey::Unknown);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).map_err(|_| BadKey::Unknown);
        match text("kty")? {
            "RSA" => {
                let unpadded = |digits: Vec<u8>| digits.into_iter().skip_while(|d| *d == 0).collect::<Vec<_>>();
                Self::rsa(unpadded(bytes("n")?), unpadded(bytes("e")?))
            }
            "EC" => {
                let crv = text("crv")?;
                let curve = Curve::ALL.into_iter().find(|c| c.name() == crv).ok_or(BadKey::Unknown)?;
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != curve.width() || y.len() != curve.width() {
                    return Err(BadKey::Unknown);
                }
                Self::ec(curve, [&[4], &x[..], &y[..]].concat())
            }
            "OKP" if text("crv")? == "Ed25519" => {
                bytes("x")?.try_into().map(|key| Self(Kind::Ed25519(key))).map_err(|_| BadKey::Unknown)
            }
            _ => Err(BadKey::Unknown),
        }
    }

    /// The members of a JSON web key that make the key: `kty` and what goes with it.
    pub fn to_jwk(&self) -> Object {
        let b64 = |bytes: &[u8]| Json::from(URL_SAFE_NO_PAD.encode(bytes));
        match &self.0 {
            Kind::Rsa { n, e } => Object::new().with("kty", "RSA").with("n", b64(n)).with("e", b64(e)),
            Kind::Ec { curve, point } => {
                let (x, y) = point[1..].split_at(curve.width());
                Object::new().with("kty", "EC").with("crv", curve.name()).with("x", b64(x)).with("y", b64(y))
            }
            Kind::Ed25519(key) => Object::new().with("kty", "OKP").with("crv", "Ed25519").with("x", b64(key)),
        }
    }

    /// Whether signatures of this algorithm can be this key's at all.
    pub fn fits(&self, algorithm: Algorithm) -> bool {
        match &self.0 {
            Kind::Rsa { .. } => matches!(
                algorithm,
                Algorithm::Rs256 | Algorithm::Rs384 | Algorithm::Rs512 | Algorithm::Ps256 | Algorithm::Ps384 | Algorithm::Ps512
            ),
            Kind::Ec { curve, .. } => curve.algorithm().0 == algorithm,
            Kind::Ed25519(_) => algorithm == Algorithm::EdDsa,
        }
    }

    /// Whether this is the key's signature of `message`; never, where the algorithm does not fit.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Kind::Rsa { n, e } => {
                let parameters = match algorithm {
                    Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            Kind::Ec { curve, point } => {
                let (fitting, library) = curve.algorithm();
                fitting == algorithm && UnparsedPublicKey::new(library, point).verify(message, signature).is_ok()
            }
            Kind::Ed25519(key) => {
                algorithm == Algorithm::EdDsa && UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
            }
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Rsa { n, .. } => write!(f, "RSA key of {} bytes", n.len()),
            Kind::Ec { curve, .. } => write!(f, "ECDSA key on {}", curve.name()),
            Kind::Ed25519(_) => f.write_str("Ed25519 key"),
        }
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
