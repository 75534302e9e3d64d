//! The writer: compact, members in their order.

use super::{Json, Object};

/// Appends the text of `value`.
pub fn write(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        Json::Number(digits) => out.extend_from_slice(digits.as_str().as_bytes()),
        Json::String(text) => write_string(text.as_str(), out),
        Json::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write(item, out);
            }
            out.push(b']');
        }
        Json::Object(object) => write_object(object, out),
    }
}

/// How many bytes stand in front of the first that a string cannot hold as it is: a quote, a backslash, a control character. Most
/// strings have none, and long ones (base64 above all) are gone through 32 bytes at a time, which compilers do at once.
pub(super) fn plain_run(bytes: &[u8]) -> usize {
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<32>() {
        if chunk.iter().fold(false, |any, byte| any | special(byte)) {
            break;
        }
        at += 32;
    }
    bytes[at..].iter().position(special).map_or(bytes.len(), |found| at + found)
}

/// Room enough for the text of `value`: a buffer of this capacity does not grow while it is written, so no
/// half-written copy of a secret is left behind by a reallocation.
pub fn size_bound(value: &Json) -> usize {
    match value {
        Json::Null | Json::Bool(_) => 5,
        Json::Number(digits) => digits.as_str().len(),
        Json::String(text) => string_size_bound(text.as_str()),
        Json::Array(items) => 2 + items.iter().map(|item| 1 + size_bound(item)).sum::<usize>(),
        Json::Object(object) => object_size_bound(object),
    }
}

/// [`size_bound`] of an object.
pub fn object_size_bound(object: &Object) -> usize {
    2 + object.iter().map(|(name, member)| 2 + string_size_bound(name) + size_bound(member)).sum::<usize>()
}

/// [`size_bound`] of a string.
pub fn string_size_bound(text: &str) -> usize {
    let rest = &text.as_bytes()[plain_run(text.as_bytes())..];
    let escaped = rest.iter().filter(|b| **b < 0x20 || **b == b'"' || **b == b'\\').count();
    2 + text.len() + 5 * escaped
}

/// Appends the text of `object`.
pub fn write_object(object: &Object, out: &mut Vec<u8>) {
    out.push(b'{');
    for (n, (name, member)) in object.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        write(member, out);
    }
    out.push(b'}');
}

/// Appends `text` in double quotes, escaping only what must be (RFC 8259 §7).
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate().skip(plain_run(bytes)) {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..=0x1f => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[from..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_run_ends_at_the_first_special_byte_wherever_it_stands() {
        for length in 0..100 {
            let plain = vec![b'a'; length];
            assert_eq!(plain_run(&plain), length);
            for at in 0..length {
                for special in [b'"', b'\\', 0, 0x1f] {
                    let mut bytes = plain.clone();
                    bytes[at] = special;
                    assert_eq!(plain_run(&bytes), at);
                    let text = String::from_utf8(bytes).unwrap_or_default();
                    let mut out = Vec::new();
                    write_string(&text, &mut out);
                    assert!(out.len() <= string_size_bound(&text));
                    assert_eq!(serde_json::from_slice::<String>(&out).ok(), Some(text));
                }
            }
        }
    }
}
