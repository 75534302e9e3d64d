//! The forms in which a key's material is exported.

use super::super::failed;
use crate::keyring::{Spec, VersionRecord};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::pk::{PrivateKey, PublicKey};
use coffer_types::json::Text;
use coffer_types::{Error, Result};

/// What `format` asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// PEM of RSA (PKCS#1) and EC (SEC1) keys, base64 of the bytes of others.
    Usual,
    /// Base64 of the bytes.
    Raw,
    /// Base64 of PKCS#8 or SubjectPublicKeyInfo.
    Der,
    /// PEM of the same.
    Pem,
}

impl Form {
    pub(super) fn named(name: &str) -> Result<Self> {
        match name {
            "" => Ok(Self::Usual),
            "raw" => Ok(Self::Raw),
            "der" => Ok(Self::Der),
            "pem" => Ok(Self::Pem),
            _ => Err(Error::bad_request(format!("invalid format: {name}"))),
        }
    }

    /// Of a symmetric key or an HMAC's.
    pub(super) fn of_bytes(self, secret: &[u8]) -> Result<Text> {
        match self {
            Self::Usual | Self::Raw => Ok(Text::new(STANDARD.encode(secret))),
            Self::Der | Self::Pem => Err(failed("unknown format for HMAC key; supported values are `` or `raw`")),
        }
    }

    /// Of a key's whole.
    pub(super) fn of_private(self, spec: Spec, version: &VersionRecord) -> Result<Text> {
        let secret = &version.secret.0;
        if spec.kind().is_none() {
            return self.of_bytes(secret);
        }
        if secret.is_empty() {
            return Err(Error::bad_request("the private half of this key is not here"));
        }
        self.has(spec)?;
        let private = PrivateKey::from_pkcs8(secret).map_err(Error::internal)?;
        let text = match self {
            Self::Der => STANDARD.encode(&*private.to_pkcs8().map_err(Error::internal)?),
            Self::Pem => ended(spec, &private.to_pkcs8_pem().map_err(Error::internal)?),
            _ if spec == Spec::Ed25519 => STANDARD.encode(&*private.ed25519_bytes().map_err(Error::internal)?),
            _ if spec.is_ml_dsa() => STANDARD.encode(&*private.ml_dsa_seed().map_err(Error::internal)?),
            _ => ended(spec, &private.to_traditional_pem().map_err(Error::internal)?),
        };
        Ok(Text::new(text))
    }

    /// Of its public half.
    pub(super) fn of_public(self, spec: Spec, version: &VersionRecord) -> Result<Text> {
        self.has(spec)?;
        // A derived key has no public half of use, but for this.
        let public = match version.public.0.as_slice() {
            [] => PrivateKey::from_pkcs8(&version.secret.0).and_then(|private| private.public()),
            spki => PublicKey::from_spki(spki),
        };
        let public = public.map_err(Error::internal)?;
        Ok(Text::new(match self {
            Self::Der => STANDARD.encode(public.spki()),
            Self::Pem => ended(spec, &public.to_pem()),
            _ if spec.hashes_itself() => STANDARD.encode(public.bits()),
            _ => ended(spec, &public.to_pem()),
        }))
    }

    /// RSA and EC keys have no bytes of their own.
    fn has(self, spec: Spec) -> Result<()> {
        if self != Self::Raw || spec.hashes_itself() {
            return Ok(());
        }
        let what = if spec.is_rsa() { "rsa" } else { "ec" };
        Err(failed(&format!("unknown key format for {what} key; supported values are ``, `der`, or `pem`")))
    }
}

/// The reference ends RSA's PEM with a newline, and no other's.
fn ended(spec: Spec, pem: &str) -> String {
    if spec.is_rsa() { pem.to_owned() } else { pem.trim_end().to_owned() }
}
