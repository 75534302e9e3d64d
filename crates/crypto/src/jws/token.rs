//! Reading and verifying one token.

use super::{Algorithm, KeySet};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object};
use std::fmt;
use zeroize::Zeroizing;

/// The longest token that is looked at. Those of clouds with hundreds of groups have some 20,000 bytes.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// No padding, and no bits behind the last byte: a token has one spelling.
pub(super) const STRICT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

const LIMITS: Limits = Limits { depth: 16, string: MAX_TOKEN_BYTES, strings: 5000, members: 1000, items: 2000 };

/// What a token's protected header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub algorithm: Algorithm,
    pub key_id: Option<String>,
    /// `typ`, as it stands.
    pub kind: Option<String>,
}

/// A token whose signature holds.
#[derive(Debug)]
pub struct Verified {
    pub header: Header,
    /// The payload: a JSON object without a name that stands twice.
    pub claims: Object,
}

/// The claims of a token that nobody has verified: to find out whom to ask, never to decide on.
#[derive(Debug)]
pub struct Unverified {
    pub header: Option<Header>,
    pub claims: Object,
}

/// Why a token is refused. Holds nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    TooLong,
    /// Not three parts.
    Parts,
    /// A part that is no base64url as RFC 7515 has it: without padding, without surplus bits.
    Encoding,
    /// A header that is no JSON object, or one of its members has the wrong type.
    Header,
    /// `none`, an HMAC, or a name that we do not know.
    Unsupported,
    /// An algorithm that we know and the caller does not take.
    NotAllowed,
    /// `crit` (RFC 7515 section 4.1.11): it demands extensions, and we have none.
    Critical,
    /// No key answers to the header's `kid` and fits its `alg`.
    NoKey,
    /// No key verifies the signature.
    Signature,
    /// A payload that is no JSON object, or has a name twice.
    Claims,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "the token is longer than 65536 bytes",
            Self::Parts => "a token has three parts, separated by dots",
            Self::Encoding => "a part of the token is no base64url",
            Self::Header => "the token's header does not read",
            Self::Unsupported => "the token's signing algorithm is not supported",
            Self::NotAllowed => "token signed with unexpected algorithm",
            Self::Critical => "the token's header demands extensions that are not supported",
            Self::NoKey => "no known key fits the token's header",
            Self::Signature => "no known key successfully validated the token signature",
            Self::Claims => "the token's claims do not read",
        })
    }
}

impl std::error::Error for Refused {}

/// Verifies a token and gives its claims. `allowed` names the algorithms that the caller takes.
///
/// # Errors
/// [`Refused`]; the header is judged before any key is tried, and claims are read only once the signature holds.
pub fn verify(token: &str, keys: &KeySet, allowed: &[Algorithm]) -> Result<Verified, Refused> {
    let parts = Parts::split(token)?;
    let header = parts.header()?;
    if !allowed.contains(&header.algorithm) {
        return Err(Refused::NotAllowed);
    }
    let signature = STRICT.decode(parts.signature).map_err(|_| Refused::Encoding)?;
    if !keys.knows(header.key_id.as_deref(), header.algorithm) {
        return Err(Refused::NoKey);
    }
    let message = parts.signed.as_bytes();
    let mut candidates = keys.candidates(header.key_id.as_deref(), header.algorithm);
    if !candidates.any(|key| key.verify(header.algorithm, message, &signature)) {
        return Err(Refused::Signature);
    }
    drop(candidates);
    Ok(Verified { claims: parts.claims()?, header })
}

/// Reads a token without verifying it; for what asks someone else whether the token is good.
///
/// # Errors
/// As [`verify`], but for what concerns keys. A header that [`verify`] would refuse leaves `header` empty.
pub fn peek(token: &str) -> Result<Unverified, Refused> {
    let parts = Parts::split(token)?;
    Ok(Unverified { header: parts.header().ok(), claims: parts.claims()? })
}

/// The three parts, still encoded.
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    /// `header.claims`, which is what was signed.
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, Refused> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Refused::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refused::Parts)?;
        let (header, claims) = signed.split_once('.').ok_or(Refused::Parts)?;
        if claims.contains('.') {
            return Err(Refused::Parts);
        }
        Ok(Self { header, claims, signature, signed })
    }

    fn header(&self) -> Result<Header, Refused> {
        let object = object(self.header).map_err(|e| if e == Refused::Claims { Refused::Header } else { e })?;
        if object.contains("crit") {
            return Err(Refused::Critical);
        }
        let text = |name: &str| match object.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(|t| Some(t.to_owned())).ok_or(Refused::Header),
        };
        let algorithm = Algorithm::parse(&text("alg")?.ok_or(Refused::Header)?).ok_or(Refused::Unsupported)?;
        Ok(Header { algorithm, key_id: text("kid")?, kind: text("typ")? })
    }

    fn claims(&self) -> Result<Object, Refused> {
        object(self.claims)
    }
}

pub(super) fn object(part: &str) -> Result<Object, Refused> {
    let bytes = Zeroizing::new(STRICT.decode(part).map_err(|_| Refused::Encoding)?);
    parse(&bytes, &LIMITS).ok().and_then(Json::into_object).ok_or(Refused::Claims)
}
