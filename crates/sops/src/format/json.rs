//! JSON as the reference reads and writes it: keys in order and repeated where they are, integers of 64 bits exact, other numbers
//! floats, and the escapes of Go's encoder.

use zeroize::Zeroizing;

use super::{Format, Kind, Loaded, Patch, Patched};
use crate::error::{Error, Fault, Result};
use crate::format::{json_patch, json_read};
use crate::tree::{Branch, Element, Value};

/// JSON with an indent: spaces for each level, 0 for none and all on one line, -1 for a tab.
#[derive(Debug, Clone, Copy)]
pub struct Json {
    pub indent: i8,
}

impl Default for Json {
    fn default() -> Self {
        Self { indent: -1 }
    }
}

impl Format for Json {
    fn kind(&self) -> Kind {
        Kind::Json
    }

    fn load_plain(&self, source: &[u8]) -> Result<Vec<Branch>> {
        Ok(vec![json_read::read(source)?])
    }

    fn load_encrypted(&self, source: &[u8]) -> Result<Loaded> {
        let mut branch = json_read::read(source)?;
        let metadata = take_metadata(&mut branch)?;
        Ok(Loaded { documents: vec![branch], metadata })
    }

    fn emit(&self, documents: &[Branch], metadata: Option<&Branch>) -> Result<Zeroizing<Vec<u8>>> {
        let first = documents.first().ok_or_else(|| Error::new(Fault::NoDocument, "there is no document to write"))?;
        let mut out = Writer { out: Vec::new(), indent: unit(self.indent), compact: self.indent == 0, level: 0 };
        out.branch(first, metadata)?;
        out.out.push(b'\n');
        Ok(Zeroizing::new(out.out))
    }

    fn emit_value(&self, value: &Value) -> Result<Zeroizing<Vec<u8>>> {
        let mut out = Writer { out: Vec::new(), indent: unit(self.indent), compact: self.indent == 0, level: 0 };
        out.value(value)?;
        Ok(Zeroizing::new(out.out))
    }

    fn example(&self) -> Vec<Branch> {
        let mut branch = Branch::new();
        branch.push("hello", "Welcome to SOPS! Edit this file as you please!");
        branch.push("example_key", "example_value");
        let list = ["example_value1", "example_value2"].map(|text| Element::Value(text.into(), Default::default()));
        branch.push("example_array", Value::List(list.into()));
        branch.push("example_number", Value::Float(1234.56789));
        let booleans = [true, false].map(|flag| Element::Value(flag.into(), Default::default()));
        branch.push("example_booleans", Value::List(booleans.into()));
        vec![branch]
    }

    fn patch(&self, source: &[u8], patch: &Patch<'_>) -> Result<Option<Patched>> {
        json_patch::patch(source, patch)
    }
}

/// Takes what stands under `sops` out of a document.
pub(super) fn take_metadata(branch: &mut Branch) -> Result<Branch> {
    let at = branch.items.iter().position(|item| matches!(item, crate::tree::Item::Entry(entry) if entry.key.is("sops")));
    let missing =
        || Error::new(Fault::Generic, "sops metadata not found: the file is not encrypted, or its metadata were removed");
    let crate::tree::Item::Entry(entry) = branch.items.remove(at.ok_or_else(missing)?) else {
        return Err(missing());
    };
    match entry.value {
        Value::Map(metadata) => Ok(metadata),
        other => Err(Error::reading(entry.line.0, format!("what stands under sops must be a map, and is a {}", other.kind()))),
    }
}

fn unit(indent: i8) -> Vec<u8> {
    match usize::try_from(indent) {
        Ok(spaces) => vec![b' '; spaces],
        Err(_) => vec![b'\t'],
    }
}

/// Writes values as Go's encoder does.
pub(super) struct Writer {
    pub(super) out: Vec<u8>,
    pub(super) indent: Vec<u8>,
    pub(super) compact: bool,
    /// How deep what is written next stands.
    pub(super) level: usize,
}

impl Writer {
    fn branch(&mut self, branch: &Branch, metadata: Option<&Branch>) -> Result<()> {
        self.out.push(b'{');
        self.level += 1;
        let mut first = true;
        for entry in branch.entries() {
            self.separate(&mut first);
            self.key(entry.key.text());
            self.value(&entry.value)?;
        }
        if let Some(metadata) = metadata {
            self.separate(&mut first);
            self.key("sops");
            self.branch(metadata, None)?;
        }
        self.close(first, b'}');
        Ok(())
    }

    fn key(&mut self, key: &str) {
        quote(key, &mut self.out);
        self.out.extend_from_slice(if self.compact { b":" } else { b": " });
    }

    pub(super) fn value(&mut self, value: &Value) -> Result<()> {
        match value {
            Value::Map(branch) => self.branch(branch, None),
            Value::List(list) => {
                self.out.push(b'[');
                self.level += 1;
                let mut first = true;
                for element in list {
                    if let Element::Value(value, _) = element {
                        self.separate(&mut first);
                        self.value(value)?;
                    }
                }
                self.close(first, b']');
                Ok(())
            }
            leaf => write_leaf(leaf, &mut self.out),
        }
    }

    fn separate(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.out.push(b',');
        }
        self.line();
    }

    fn close(&mut self, empty: bool, bracket: u8) {
        self.level -= 1;
        if !empty {
            self.line();
        }
        self.out.push(bracket);
    }

    fn line(&mut self) {
        if !self.compact {
            self.out.push(b'\n');
            for _ in 0..self.level {
                self.out.extend_from_slice(&self.indent);
            }
        }
    }
}

/// Writes a leaf's token.
///
/// # Errors
/// `Fault::Dumping` for what JSON can't say: infinite numbers, and lists and maps, which are no leaves.
pub(super) fn write_leaf(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Float(number) => out.extend_from_slice(float_text(*number)?.as_bytes()),
        Value::Text(text) => match text.as_str() {
            Some(text) => quote(text, out),
            // Go's encoder writes a byte that is no character as an escape, and the character U+FFFD itself as it is.
            None => {
                out.push(b'"');
                for chunk in text.as_bytes().utf8_chunks() {
                    escape(chunk.valid(), out);
                    chunk.invalid().iter().for_each(|_| out.extend_from_slice(b"\\ufffd"));
                }
                out.push(b'"');
            }
        },
        Value::Time(time) => quote(time.as_str(), out),
        Value::Bytes(bytes) => {
            use base64::Engine;
            quote(&Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(bytes.as_bytes())), out);
        }
        Value::Unsupported { text, .. } => out.extend_from_slice(text.as_bytes()),
        Value::List(_) | Value::Map(_) => return Err(Error::dumping(format!("a {} is no single value", value.kind()))),
    }
    Ok(())
}

/// Go's encoder: the shortest digits, with an exponent below 1e-6 and from 1e21 on.
fn float_text(number: f64) -> Result<String> {
    if !number.is_finite() {
        return Err(Error::dumping(format!(
            "Error marshaling to json: unsupported value: {}: JSON has no such number; choose another output type",
            crate::value::float_text(number)
        )));
    }
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        return Ok(if text.contains("e-") { text } else { text.replace('e', "e+") });
    }
    Ok(number.to_string())
}

/// A text between quotes, with the escapes of Go's encoder: those of HTML and of line separators too.
pub(super) fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape(text, out);
    out.push(b'"');
}

fn escape(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let (escape, length): (&[u8], usize) = match byte {
            b'"' => (b"\\\"", 1),
            b'\\' => (b"\\\\", 1),
            b'\n' => (b"\\n", 1),
            b'\r' => (b"\\r", 1),
            b'\t' => (b"\\t", 1),
            8 => (b"\\b", 1),
            12 => (b"\\f", 1),
            0..0x20 | b'<' | b'>' | b'&' => {
                out.extend_from_slice(&bytes[plain..at]);
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
                plain = at + 1;
                continue;
            }
            0xe2 if bytes[at..].starts_with("\u{2028}".as_bytes()) => (b"\\u2028", 3),
            0xe2 if bytes[at..].starts_with("\u{2029}".as_bytes()) => (b"\\u2029", 3),
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..at]);
        out.extend_from_slice(escape);
        plain = at + length;
    }
    out.extend_from_slice(&bytes[plain..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Text;

    fn emitted(source: &str) -> String {
        let documents = Json::default().load_plain(source.as_bytes()).unwrap();
        String::from_utf8(Json { indent: 0 }.emit(&documents, None).unwrap().to_vec()).unwrap()
    }

    #[test]
    fn numbers_and_texts_come_as_go_writes_them() {
        let source =
            r#"{"a":1.0,"b":1e3,"c":9223372036854775807,"d":9223372036854775808,"e":-0,"f":-0.0,"g":1e-7,"h":1E22,"a":1.10}"#;
        let written =
            r#"{"a":1,"b":1000,"c":9223372036854775807,"d":9223372036854776000,"e":0,"f":-0,"g":1e-7,"h":1e+22,"a":1.1}"#;
        assert_eq!(emitted(source).trim_end(), written);
        assert_eq!(
            emitted(r#"{"h":"<&>","u":"\u00e9\ud83d\udd10","s":"a\/b","n":"\u0000\b\f","l":"\u2028","bad":"\ud800x"} trailing"#)
                .trim_end(),
            "{\"h\":\"\\u003c\\u0026\\u003e\",\"u\":\"é🔐\",\"s\":\"a/b\",\"n\":\"\\u0000\\b\\f\",\"l\":\"\\u2028\",\"bad\":\"\u{fffd}x\"}"
        );
    }

    #[test]
    fn an_infinite_number_has_no_form() {
        let mut branch = Branch::new();
        branch.push("a", Value::Float(f64::INFINITY));
        assert_eq!(Json::default().emit(&[branch], None).unwrap_err().exit_code(), 4);
        assert_eq!(Json::default().emit(&[], None).unwrap_err().exit_code(), 92);
    }

    #[test]
    fn metadata_must_be_there_and_be_a_map() {
        assert_eq!(Json::default().load_encrypted(b"{}").unwrap_err().exit_code(), 1);
        assert_eq!(Json::default().load_encrypted(br#"{"sops":1}"#).unwrap_err().exit_code(), 2);
        let loaded = Json::default().load_encrypted(br#"{"a":1,"sops":{"mac":"x"},"b":2}"#).unwrap();
        assert_eq!(loaded.documents[0].entries().count(), 2);
        assert_eq!(loaded.metadata.get("mac").and_then(Value::as_text), Some(&Text::from("x")));
    }
}
