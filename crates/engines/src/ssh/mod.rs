//! SSH: certificates for users and hosts, and passwords that hold once. The API of Vault's engine of that name
//! (<https://developer.hashicorp.com/vault/api-docs/secret/ssh>); formats and decisions: docs/design/ssh.md.
//!
//! Layout below the mount's view: `issuer/<id>` an [`Issuer`](issuer::Issuer), its private key in the [keyring](crate::keyring) below
//! `ring/`, `config/default` the default issuer's id; `role/<name>` a [`Role`](role::Role); `otp/<SHA-256>` an
//! [`Otp`](otp::Otp); `config/zeroaddress` the roles that any address may use.

mod issue;
mod issuer;
mod lengths;
mod otp;
mod principals;
mod role;
mod sign;

use crate::keyring::{Keyring, Materials};
use coffer_engine::{Ctx, Declare, Engine, Mount};
use coffer_types::{Error, Kind, Result};
use std::sync::Arc;

/// The engine.
#[derive(Default)]
pub struct Ssh {
    materials: Arc<Materials>,
}

impl Engine for Ssh {
    const KIND: &'static str = "ssh";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self::default())
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Signs SSH keys of users and hosts, and gives passwords for SSH that hold once.");
        issuer::declare(d);
        role::declare(d);
        sign::declare(d);
        issue::declare(d);
        otp::declare(d);
    }
}

type Cx = Ctx<Ssh>;

fn keyring(cx: &Cx) -> Keyring {
    Keyring::new(cx.view.below("ring/"), cx.engine.materials.clone())
}

/// A random UUID.
fn new_id(cx: &Cx) -> String {
    coffer_crypto::random::uuid(&crate::username::HostRandom(cx))
}

/// What the reference takes for its own fault (500) though the caller's input is wrong; clients know it so.
fn failed(text: impl std::fmt::Display) -> Error {
    Error::new(Kind::Internal, format!("1 error occurred:\n\t* {text}\n\n"))
}

/// A name of a role or an issuer: letters, digits, `_`, inside also `-` and `.`.
fn is_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let edge = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(inner) && name.starts_with(edge) && name.ends_with(edge) && name.len() <= 255
}

/// In a path a name that is none is a path that is not there.
fn check_name(name: &str) -> Result<()> {
    if is_name(name) { Ok(()) } else { Err(Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n")) }
}

fn not_negative(field: &str, span: coffer_types::Span) -> Result<()> {
    if span.is_negative() {
        let seconds = span.secs();
        return Err(Error::bad_request(format!(
            "Field validation failed: error converting input for field {field:?}: cannot provide negative value '{seconds}'"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
