//! Any file: a text under the one key `data`, encrypted as JSON.

use zeroize::Zeroizing;

use super::json::Json;
use super::{Format, Kind, Loaded};
use crate::error::{Error, Result};
use crate::tree::{Branch, Value};

/// The binary format, with the indent of the JSON that it is encrypted as (see [`Json`]).
#[derive(Debug, Clone, Copy, Default)]
pub struct Binary {
    pub json: Json,
}

impl Format for Binary {
    fn kind(&self) -> Kind {
        Kind::Binary
    }

    fn load_plain(&self, source: &[u8]) -> Result<Vec<Branch>> {
        let mut branch = Branch::new();
        branch.push("data", Value::Text(source.to_vec().into()));
        Ok(vec![branch])
    }

    fn load_encrypted(&self, source: &[u8]) -> Result<Loaded> {
        self.json.load_encrypted(source)
    }

    fn holds_metadata(&self, documents: &[Branch]) -> bool {
        // What was encrypted in this format is JSON with metadata.
        let data = documents.first().and_then(|branch| branch.get("data")).and_then(Value::as_text);
        data.is_some_and(|data| {
            data.as_bytes().trim_ascii_start().starts_with(b"{") && self.json.load_encrypted(data.as_bytes()).is_ok()
        })
    }

    fn emit(&self, documents: &[Branch], metadata: Option<&Branch>) -> Result<Zeroizing<Vec<u8>>> {
        if metadata.is_some() {
            return self.json.emit(documents, metadata);
        }
        match documents.first().and_then(|branch| branch.get("data")) {
            Some(Value::Text(data) | Value::Bytes(data)) => Ok(Zeroizing::new(data.as_bytes().to_vec())),
            _ => Err(Error::dumping(
                "error emitting binary store: no binary data found in tree\n\nThis is likely not an encrypted binary file? \
                 If not, use --output-type to select the correct output type.",
            )),
        }
    }

    fn emit_value(&self, _: &Value) -> Result<Zeroizing<Vec<u8>>> {
        Err(Error::dumping("Binary files are not structured and extracting values from them is not possible"))
    }

    fn example(&self) -> Vec<Branch> {
        let mut branch = Branch::new();
        branch.push("data", "Welcome to SOPS! Edit this file as you please!");
        vec![branch]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        let source: Vec<u8> = (0..=255).collect();
        for source in [&source[..], b"", b"text\n"] {
            let documents = Binary::default().load_plain(source).unwrap();
            assert_eq!(Binary::default().emit(&documents, None).unwrap().as_slice(), source);
        }
    }

    #[test]
    fn what_has_no_data_is_refused() {
        let mut branch = Branch::new();
        branch.push("data", 1);
        assert_eq!(Binary::default().emit(&[branch], None).unwrap_err().exit_code(), 4);
        assert_eq!(Binary::default().emit(&[], None).unwrap_err().exit_code(), 4);
        assert_eq!(Binary::default().emit_value(&Value::Null).unwrap_err().exit_code(), 4);
    }
}
