//! What a line shows of a value: HMACs of leaves, names of members as they are.

use coffer_crypto::mac::HmacKey;
use coffer_types::{Json, Object, json};
use zeroize::Zeroizing;

/// Leaves of one `data` that are masked one by one. What comes after them is masked as a whole, so that a body
/// of many short items cannot blow up into a line forty times its size.
const MAX_LEAVES: usize = 50_000;

/// How one device masks.
pub(super) struct Mask<'k> {
    pub(super) key: &'k HmacKey,
    /// `log_raw`: nothing is masked.
    pub(super) raw: bool,
    /// `hmac_accessor`.
    pub(super) accessors: bool,
}

impl Mask<'_> {
    /// A secret text, quoted.
    pub(super) fn text(&self, text: &str, out: &mut Vec<u8>) {
        if self.raw { quote(text, out) } else { self.bytes(text.as_bytes(), out) }
    }

    pub(super) fn accessor(&self, accessor: &str, out: &mut Vec<u8>) {
        if self.accessors { self.text(accessor, out) } else { quote(accessor, out) }
    }

    /// The HMAC of `bytes`, quoted; never the bytes.
    pub(super) fn bytes(&self, bytes: &[u8], out: &mut Vec<u8>) {
        out.push(b'"');
        hash(self.key, bytes, out);
        out.push(b'"');
    }

    /// An object's members; those named in `clear` are shown whole.
    pub(super) fn object<C: AsRef<str>>(&self, object: &Object, clear: &[C], out: &mut Vec<u8>) {
        let mut left = MAX_LEAVES;
        self.members(object, clear, &mut left, out);
    }

    /// One member of an object, by itself.
    pub(super) fn field<C: AsRef<str>>(&self, name: &str, value: &Json, clear: &[C], out: &mut Vec<u8>) {
        let mut left = MAX_LEAVES;
        if clear.iter().any(|c| c.as_ref() == name) { show(value, out) } else { self.walk(value, &mut left, out) }
    }

    fn members<C: AsRef<str>>(&self, object: &Object, clear: &[C], left: &mut usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (n, (name, member)) in object.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            if *left == 0 && !self.raw {
                out.extend_from_slice(b"\"(rest)\":");
                self.rest(object.iter().skip(n).map(|(_, member)| member), out);
                break;
            }
            *left = left.saturating_sub(1);
            quote(name, out);
            out.push(b':');
            if clear.iter().any(|c| c.as_ref() == name) { show(member, out) } else { self.walk(member, left, out) }
        }
        out.push(b'}');
    }

    fn walk(&self, value: &Json, left: &mut usize, out: &mut Vec<u8>) {
        match value {
            Json::Null => out.extend_from_slice(b"null"),
            _ if self.raw => show(value, out),
            Json::Bool(true) => self.bytes(b"true", out),
            Json::Bool(false) => self.bytes(b"false", out),
            Json::Number(text) | Json::String(text) => self.bytes(text.as_str().as_bytes(), out),
            Json::Array(items) => {
                out.push(b'[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    if *left == 0 {
                        self.rest(items[n..].iter(), out);
                        break;
                    }
                    *left -= 1;
                    self.walk(item, left, out);
                }
                out.push(b']');
            }
            Json::Object(object) => self.members::<&str>(object, &[], left, out),
        }
    }

    /// One HMAC for all that is left, over the text of an array of it.
    fn rest<'j>(&self, values: impl Iterator<Item = &'j Json>, out: &mut Vec<u8>) {
        let mut text = Zeroizing::new(vec![b'[']);
        for (n, value) in values.enumerate() {
            if n > 0 {
                text.push(b',');
            }
            json::write(value, &mut text);
        }
        text.push(b']');
        self.bytes(&text, out);
    }
}

/// `hmac-sha256:` and 64 hexadecimal digits.
pub(super) fn hash(key: &HmacKey, bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = *b"hmac-sha256:0000000000000000000000000000000000000000000000000000000000000000";
    for (pair, byte) in text[12..].chunks_exact_mut(2).zip(key.tag(bytes)) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text);
}

/// A value as it is, for what is no secret.
fn show(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::String(text) => quote(text.as_str(), out),
        Json::Array(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                show(item, out);
            }
            out.push(b']');
        }
        Json::Object(object) => {
            out.push(b'{');
            for (n, (name, member)) in object.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                quote(name, out);
                out.push(b':');
                show(member, out);
            }
            out.push(b'}');
        }
        plain => json::write(plain, out),
    }
}

/// A JSON string on one line, whatever is in it: besides what RFC 8259 §7 wants escaped, every control
/// character of C1, DEL and U+2028/2029 are, because log shippers break lines at some of them and
/// terminals obey others.
pub(super) fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let width = match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f => 1,
            0xc2 if bytes.get(at + 1).is_some_and(|b| *b < 0xa0) => 2,
            0xe2 if bytes.get(at + 1) == Some(&0x80) && bytes.get(at + 2).is_some_and(|b| b & 0xfe == 0xa8) => 3,
            _ => {
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[from..at]);
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let point = match width {
                    1 => u32::from(byte),
                    2 => u32::from(bytes[at + 1]),
                    _ => 0x2000 | u32::from(bytes[at + 2] & 0x3f),
                };
                out.extend_from_slice(format!("\\u{point:04x}").as_bytes());
            }
        }
        at += width;
        from = at;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(text: &str, raw: bool) -> String {
        let key = HmacKey::new(b"salt");
        let value = json::parse(text.as_bytes(), &json::Limits::NONE).unwrap();
        let mut out = Vec::new();
        Mask { key: &key, raw, accessors: true }.field::<&str>("", &value, &[], &mut out);
        String::from_utf8(out).unwrap()
    }

    fn hashed(text: &str) -> String {
        let mut out = Vec::new();
        hash(&HmacKey::new(b"salt"), text.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn leaves_of_every_kind_are_masked_and_names_and_nulls_are_not() {
        let h = hashed;
        assert_eq!(
            masked(r#"{"s":"x","e":"","n":1.10,"t":true,"f":false,"z":null,"a":["y",[2,{}]],"o":{}}"#, false),
            format!(
                r#"{{"s":"{}","e":"{}","n":"{}","t":"{}","f":"{}","z":null,"a":["{}",["{}",{{}}]],"o":{{}}}}"#,
                h("x"),
                h(""),
                h("1.10"),
                h("true"),
                h("false"),
                h("y"),
                h("2")
            )
        );
    }

    /// RFC 2104 with a key of ours, computed by `openssl dgst -sha256 -hmac salt`.
    #[test]
    fn the_hash_is_hmac_sha256() {
        assert_eq!(hashed("hello"), "hmac-sha256:86a81c3023136e5ef95a5545563804237182a5e2fafb5fd44adb958873182f48");
    }

    #[test]
    fn raw_shows_everything() {
        let text = r#"{"s":"x\u0000","n":1.10,"a":[true,null]}"#;
        assert_eq!(masked(text, true), text);
    }

    #[test]
    fn a_flood_of_short_items_is_folded() {
        let text = format!("[{}1]", "1,".repeat(3 * MAX_LEAVES));
        let line = masked(&text, false);
        assert!(line.len() < 80 * MAX_LEAVES, "{}", line.len());
        let nested = format!("[{}[\"canary\"]]", "{\"k\":1},".repeat(2 * MAX_LEAVES));
        let wide = format!("{{{}\"z\":1}}", (0..2 * MAX_LEAVES).map(|n| format!("\"{n}\":1,")).collect::<String>());
        for text in [nested, wide] {
            let line = masked(&text, false);
            assert!(line.len() < 100 * MAX_LEAVES, "{}", line.len());
            assert!(!line.contains("canary"));
            serde_json::from_str::<serde_json::Value>(&line).unwrap();
        }
    }

    #[test]
    fn what_breaks_lines_or_moves_terminals_is_escaped() {
        let mut out = Vec::new();
        quote("a\"\\\n\r\t\u{0}\u{1b}\u{7f}\u{80}\u{85}\u{9b}\u{9f}\u{a0}é\u{2028}\u{2029}\u{202a}\u{27}ü", &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"a\\\"\\\\\\n\\r\\t\\u0000\\u001b\\u007f\\u0080\\u0085\\u009b\\u009f\u{a0}é\\u2028\\u2029\u{202a}'ü\""
        );
    }

    proptest! {
        #[test]
        fn a_quoted_text_reads_back(text in any::<String>()) {
            let mut out = Vec::new();
            quote(&text, &mut out);
            let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            prop_assert!(!std::str::from_utf8(&out).unwrap().contains(breaks));
            let back = json::parse(&out, &json::Limits::NONE).unwrap();
            prop_assert_eq!(back.as_str(), Some(text.as_str()));
        }
    }
}
