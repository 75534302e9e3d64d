//! Key-value secrets: version 1 keeps one value a name, version 2 keeps versions, on the records kernel.
//!
//! Layout below a mount's view:
//!
//! ```text
//! v1/<name>        version 1: one byte of format, then the JSON object as it was sent
//! config           version 2: the mount's settings
//! meta/…, ver/…    version 2: the kernel's (see records)
//! upgrade          there once a mount of version 1 began to be one of version 2
//! ```
//!
//! Version 2 takes a value under `v1/` for the first version of that name until [`upgrade::batch`] (or the first
//! change of the name) has made it one; so an upgrade has no moment at which a secret is missing.

mod custom;
mod field;
mod merge;
pub mod upgrade;
mod v1;
mod v2;

pub use v1::V1;
pub use v2::V2;

use coffer_types::{Error, Result};

/// Where version 1 keeps its values.
const V1_ROOT: &str = "v1/";
/// Format of a value of version 1; its first byte.
const V1_FORMAT: u8 = 1;

fn v1_key(name: &str) -> String {
    format!("{V1_ROOT}{name}")
}

fn v1_json(stored: &[u8]) -> Result<&[u8]> {
    match stored.split_first() {
        Some((&V1_FORMAT, json)) => Ok(json),
        _ => Err(Error::internal("a stored value of version 1 has an unknown format")),
    }
}

/// The name that a write is for: a folder has no value.
fn writable(path: &str) -> Result<&str> {
    if path.is_empty() || path.ends_with('/') {
        return Err(Error::bad_request("cannot write to a path ending in '/'"));
    }
    Ok(path)
}

/// The folder that a list is of: empty, or with a trailing slash.
fn folder(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    }
}
