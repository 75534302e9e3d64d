//! One-time passwords by the clock (RFC 6238): codes for accounts elsewhere, and codes that are checked here. The API of Vault's engine
//! of that name (<https://developer.hashicorp.com/vault/api-docs/secret/totp>).
//!
//! Layout below the mount's view: `key/<name>` a [`Key`](key::Key), `used/<name>` the steps whose codes were taken
//! ([`Used`](code::Used)). A code is taken once: checking it reads and writes that record, so of calls at the same time one commits and
//! the others are run again and find it used.

mod code;
mod key;
mod uri;

use coffer_engine::{Declare, Engine, Mount};
use coffer_types::{Error, Kind, Result};

/// The engine.
pub struct Totp;

impl Engine for Totp {
    const KIND: &'static str = "totp";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Makes and checks one-time passwords by the clock.");
        d.at("keys").about("Lists keys.").list(key::list);
        d.at("keys/{name}")
            .about("A key: drawn here, or brought along.")
            .plain(&["generate", "exported", "algorithm", "digits", "period", "skew", "qr_size", "key_size"])
            .read(key::read)
            .write(key::write)
            .delete(key::delete);
        d.at("code/{name}").about("A key's code now; whether a code is right.").read(code::now).write(code::check);
    }
}

/// A key's name: letters, digits, `_`, inside also `-`, `.` and `@`.
fn check_name(name: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    let edge = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fits = name.chars().all(inner) && name.starts_with(edge) && name.ends_with(edge) && name.len() <= 255;
    if fits { Ok(()) } else { Err(Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n")) }
}

#[cfg(test)]
mod tests;
