//! The auth methods of three clouds: aws, azure, gcp. Their configuration and roles are kept, checked and shown; a login needs the
//! cloud's own protocol (signed requests, tokens of its issuers), which is not built yet, and says so.

pub mod aws;
pub mod azure;
pub mod gcp;
#[cfg(test)]
mod tests;

use coffer_types::{Error, Kind, Result};

/// The answer of what waits for a cloud's protocol.
fn not_yet(what: &'static str) -> Error {
    Error::new(Kind::NotImplemented, what)
}

/// An address of one's own for a service, or none.
fn check_endpoint(name: &str, url: &str) -> Result<()> {
    if url.is_empty() || url.starts_with("https://") || url.starts_with("http://") {
        return Ok(());
    }
    Err(Error::bad_request(format!("{name} must begin with https:// or http://")))
}

/// The fields of metadata that are asked for: `default` stands for the default ones, and must stand alone.
fn check_metadata(name: &str, asked: &[String], known: &[&str]) -> Result<()> {
    let alone = asked.len() == 1 && asked[0] == "default";
    if alone || asked.iter().all(|field| known.contains(&field.as_str())) {
        return Ok(());
    }
    Err(Error::bad_request(format!("{name}: each must be one of {}, or \"default\" alone", known.join(", "))))
}

/// One of these words.
fn check_choice(name: &str, value: &str, known: &[&str]) -> Result<()> {
    if known.contains(&value) { Ok(()) } else { Err(Error::bad_request(format!("{name} must be one of {}", known.join(", ")))) }
}

/// Sixteen random bytes as an id: 8-4-4-4-12 hexadecimal digits.
fn new_id<E>(cx: &coffer_engine::Ctx<E>) -> String {
    let mut bytes = [0; 16];
    cx.fill_random(&mut bytes);
    (bytes[6], bytes[8]) = (bytes[6] & 0x0f | 0x40, bytes[8] & 0x3f | 0x80);
    let digits = hex::encode(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}
