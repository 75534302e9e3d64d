//! Certificates: written and signed.

use super::wire::{put_number, put_string};
use super::{SshError, SshPublicKey};
use crate::digest::Algorithm;
use crate::pk::{KeyKind, Message, PkError, PrivateKey, Scheme};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

/// What is to be certified. Times are seconds since 1970.
pub struct Certificate<'a> {
    pub key: &'a SshPublicKey,
    /// Makes what is signed unforeseeable.
    pub nonce: [u8; 32],
    pub serial: u64,
    pub kind: CertificateKind,
    pub key_id: &'a str,
    /// Users or hosts. None at all means everyone.
    pub principals: &'a [String],
    pub valid_after: u64,
    pub valid_before: u64,
    pub critical_options: &'a BTreeMap<String, String>,
    pub extensions: &'a BTreeMap<String, String>,
}

/// Who a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateKind {
    User,
    Host,
}

/// How an authority signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    Ed25519,
    /// On the key's own curve, with the digest that belongs to it.
    Ecdsa,
    RsaSha256,
    RsaSha512,
}

impl Signature {
    /// What fits a key: of RSA the one with SHA-256.
    pub const fn usual(kind: KeyKind) -> Self {
        match kind {
            KeyKind::Rsa(_) => Self::RsaSha256,
            KeyKind::Ed25519 => Self::Ed25519,
            _ => Self::Ecdsa,
        }
    }

    const fn scheme(self, kind: KeyKind) -> Scheme {
        match (self, kind) {
            (Self::Ed25519, _) => Scheme::Ed25519,
            (Self::Ecdsa, KeyKind::P384) => Scheme::EcdsaFixed(Algorithm::Sha384),
            (Self::Ecdsa, KeyKind::P521) => Scheme::EcdsaFixed(Algorithm::Sha512),
            (Self::Ecdsa, _) => Scheme::EcdsaFixed(Algorithm::Sha256),
            (Self::RsaSha256, _) => Scheme::Pkcs1(Algorithm::Sha256),
            (Self::RsaSha512, _) => Scheme::Pkcs1(Algorithm::Sha512),
        }
    }
}

impl Certificate<'_> {
    /// The line of a `*-cert.pub` file, with its end, signed by an authority.
    ///
    /// # Errors
    /// [`PkError::Mismatch`] where the signature does not fit the authority's key.
    pub fn sign(&self, authority: &PrivateKey, signature: Signature) -> Result<String, PkError> {
        let public = SshPublicKey::of(&authority.public()?).map_err(|_: SshError| PkError::Malformed)?;
        let mut out = self.to_be_signed(&public);
        let made = authority.sign(signature.scheme(authority.kind()), Message::Whole(&out))?;
        let mut blob = Vec::with_capacity(made.len() + 32);
        match signature {
            Signature::RsaSha256 => put_string(&mut blob, b"rsa-sha2-256"),
            Signature::RsaSha512 => put_string(&mut blob, b"rsa-sha2-512"),
            _ => put_string(&mut blob, public.kind().name().as_bytes()),
        }
        if signature == Signature::Ecdsa {
            let (r, s) = made.split_at(made.len() / 2);
            let mut pair = Vec::with_capacity(made.len() + 16);
            put_number(&mut pair, r);
            put_number(&mut pair, s);
            put_string(&mut blob, &pair);
        } else {
            put_string(&mut blob, &made);
        }
        put_string(&mut out, &blob);
        Ok(format!("{} {}\n", self.key.kind().certificate_name(), STANDARD.encode(out)))
    }

    pub(super) fn to_be_signed(&self, authority: &SshPublicKey) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        put_string(&mut out, self.key.kind().certificate_name().as_bytes());
        put_string(&mut out, &self.nonce);
        out.extend_from_slice(self.key.numbers());
        out.extend_from_slice(&self.serial.to_be_bytes());
        out.extend_from_slice(&match self.kind {
            CertificateKind::User => [0, 0, 0, 1],
            CertificateKind::Host => [0, 0, 0, 2],
        });
        put_string(&mut out, self.key_id.as_bytes());
        let mut principals = Vec::new();
        for principal in self.principals {
            put_string(&mut principals, principal.as_bytes());
        }
        put_string(&mut out, &principals);
        out.extend_from_slice(&self.valid_after.to_be_bytes());
        out.extend_from_slice(&self.valid_before.to_be_bytes());
        put_string(&mut out, &options(self.critical_options));
        put_string(&mut out, &options(self.extensions));
        put_string(&mut out, b"");
        put_string(&mut out, authority.blob());
        out
    }
}

/// By name, as the format demands; a value is a string in a string, and none is none.
fn options(options: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in options {
        put_string(&mut out, name.as_bytes());
        let mut inner = Vec::new();
        if !value.is_empty() {
            put_string(&mut inner, value.as_bytes());
        }
        put_string(&mut out, &inner);
    }
    out
}
