//! Transit: encryption, signatures and MACs with keys that stay here. The API of Vault's engine of that name
//! (<https://developer.hashicorp.com/vault/api-docs/secret/transit>) over the [keyring](crate::keyring).
//!
//! What is absent: nonces of the caller's, even for convergent keys; SHA-1.

mod agree;
mod batch;
mod certificate;
mod cipher;
mod create;
mod datakey;
mod keys;
mod show;
mod sign;
mod tools;
mod transfer;

use crate::keyring::{KeyRecord, Keyring, Materials};
use coffer_engine::view::Record;
use coffer_engine::{Ctx, Declare, Engine, Mount};
use coffer_types::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The engine.
#[derive(Default)]
pub struct Transit {
    materials: Arc<Materials>,
}

impl Engine for Transit {
    const KIND: &'static str = "transit";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self::default())
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Encrypts, signs and derives with keys that never leave it unless they are exportable.");
        create::declare(d);
        certificate::declare(d);
        agree::declare(d);
        keys::declare(d);
        cipher::declare(d);
        datakey::declare(d);
        sign::declare(d);
        tools::declare(d);
        transfer::declare(d);
    }
}

type Cx = Ctx<Transit>;

fn keyring(cx: &Cx) -> Keyring {
    Keyring::new(cx.view.clone(), cx.engine.materials.clone())
}

/// A key for use: it is there and not put away.
async fn usable(ring: &Keyring, name: &str, missing: &'static str) -> Result<KeyRecord> {
    let key = ring.find(name).await?.ok_or_else(|| Error::bad_request(missing))?;
    if key.soft_deleted {
        return Err(Error::bad_request("refusing to use soft-deleted key"));
    }
    Ok(key)
}

/// A key's name: letters, digits, `_`, inside also `-` and `.`.
fn check_name(name: &str) -> Result<()> {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let edge = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fits = name.chars().all(inner) && name.starts_with(edge) && name.ends_with(edge) && name.len() <= 255;
    if fits { Ok(()) } else { Err(Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n")) }
}

/// Settings of the whole mount.
#[derive(Default, Serialize, Deserialize)]
struct Settings {
    /// Encrypting with a key that is not there does not make it.
    #[serde(default)]
    disable_upsert: bool,
    #[serde(default)]
    cache_size: i64,
}

impl Record for Settings {
    const FORMAT: u8 = 1;
}

async fn settings(cx: &Cx) -> Result<Settings> {
    Ok(cx.view.get("settings").await?.unwrap_or_default())
}

/// What the reference takes for its own fault (500) though the caller's input is wrong; clients know it so.
fn failed(text: &str) -> Error {
    Error::new(Kind::Internal, format!("1 error occurred:\n\t* {text}\n\n"))
}
