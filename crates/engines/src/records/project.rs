//! One value, seen by every dialect: total and explicit. What a dialect can't show fails by name
//! ([`NotRepresentable`]); nothing is guessed from the content except that a text which is a JSON object is a map.
//!
//! | written as | as a KV map | as text | as text or binary | as bytes |
//! | --- | --- | --- | --- | --- |
//! | map | itself | its JSON | text | its JSON |
//! | text, a JSON object | its members | itself | text | UTF-8 |
//! | other text | `{"value": text}` | itself | text | UTF-8 |
//! | binary | `{"value": base64}` | – | binary | itself |
//!
//! vectors/records/projections.txt is this table with examples.

use super::model::{Payload, Shape};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_types::json::{Limits, Text, parse};
use coffer_types::{Error, Json, Object, secret};
use zeroize::Zeroizing;

/// The protocol has no form for this value: binary where only text can stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotRepresentable;

/// For protocols that tell text from binary.
#[derive(Debug, PartialEq, Eq)]
pub enum Value<'p> {
    Text(&'p str),
    Binary(&'p [u8]),
}

/// The member under which a value that is no map stands in one.
const VALUE: &str = "value";

/// From a KV map; `null` stands for a map that was written as `null`.
pub fn from_map(map: &Json) -> Payload {
    Payload { shape: Shape::Json, bytes: map.to_bytes() }
}

/// From text: Secrets Manager's `SecretString`, Key Vault's value.
pub fn from_text(text: &Text) -> Payload {
    Payload { shape: Shape::Text, bytes: Zeroizing::new(text.as_str().as_bytes().to_vec()) }
}

/// From bytes. `may_be_text` is for protocols that have bytes only (Secret Manager): what is UTF-8 is text, so that
/// the others can show it; the bytes come back the same either way.
pub fn from_bytes(bytes: secret::Bytes, may_be_text: bool) -> Payload {
    let shape = if may_be_text && std::str::from_utf8(&bytes).is_ok() { Shape::Text } else { Shape::Binary };
    Payload { shape, bytes }
}

/// As a KV map. Always possible; fails only on a corrupt record.
pub fn to_map(shape: Shape, bytes: &[u8]) -> Result<Json, Error> {
    match shape {
        // The parser's faults tell positions, never the text.
        Shape::Json => parse(bytes, &Limits::NONE).map_err(Error::internal),
        Shape::Text => {
            let text = utf8(bytes)?;
            if text.trim_start().starts_with('{')
                && let Ok(map @ Json::Object(_)) = parse(bytes, &Limits::NONE)
            {
                return Ok(map);
            }
            Ok(Object::new().with(VALUE, text).into())
        }
        Shape::Binary => Ok(Object::new().with(VALUE, STANDARD.encode(bytes)).into()),
    }
}

/// As text.
pub fn to_text(shape: Shape, bytes: &[u8]) -> Result<Result<&str, NotRepresentable>, Error> {
    match shape {
        Shape::Json | Shape::Text => utf8(bytes).map(Ok),
        Shape::Binary => Ok(Err(NotRepresentable)),
    }
}

/// As text or binary, whichever it is.
pub fn to_value(shape: Shape, bytes: &[u8]) -> Result<Value<'_>, Error> {
    match shape {
        Shape::Json | Shape::Text => utf8(bytes).map(Value::Text),
        Shape::Binary => Ok(Value::Binary(bytes)),
    }
}

/// As bytes.
pub const fn to_bytes(_: Shape, bytes: &[u8]) -> &[u8] {
    bytes
}

fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::internal("a stored text is not UTF-8"))
}
