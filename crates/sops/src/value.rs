//! One encrypted value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.
//!
//! The associated data of a value are the keys on the way to it, each followed by a colon; list positions are no part of it.

use std::collections::{HashMap, VecDeque};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::digest::Algorithm;
use coffer_crypto::random::Random;
use coffer_crypto::wide_gcm::{NONCE_BYTES, TAG_BYTES, WideGcmKey};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Fault, Result};
use crate::metadata::go_bool;
use crate::tree::{Comment, Text, Time, Value};

const START: &str = "ENC[AES256_GCM,data:";

/// The 32 bytes that encrypt a file's values.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    pub fn generate(random: &dyn Random) -> Self {
        Self(coffer_crypto::random::bytes(random))
    }

    /// Nothing if there are not 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What a value decrypts to: a leaf, or a comment.
#[derive(Debug, Clone, PartialEq)]
pub enum Opened {
    Value(Value),
    Comment(Text),
}

/// Encrypts and decrypts values under one data key.
pub struct Cipher<'a> {
    key: WideGcmKey,
    random: &'a dyn Random,
    stash: Option<Stash>,
}

/// The nonces of what was decrypted, by digest of type, place and plaintext, in order: what is encrypted again unchanged at its
/// place gets its nonce, and so its ciphertext, back. The one re-use of a nonce that is safe, since everything else is the same.
#[derive(Default)]
pub struct Stash(HashMap<[u8; 32], VecDeque<[u8; NONCE_BYTES]>>);

impl Stash {
    fn key(kind: &str, aad: &[u8], text: &[u8]) -> [u8; 32] {
        let length = (aad.len() as u64).to_be_bytes();
        let digest = Algorithm::Sha256.digest(&[kind.as_bytes(), &length, aad, text]);
        let mut out = [0; 32];
        out.copy_from_slice(&digest);
        out
    }
}

impl<'a> Cipher<'a> {
    pub fn new(key: &DataKey, random: &'a dyn Random) -> Self {
        Self { key: WideGcmKey::new(key.expose()), random, stash: None }
    }

    /// Keeps the nonces of all that is decrypted from now on.
    #[must_use]
    pub fn stashing(self) -> Self {
        self.with_stash(Stash::default())
    }

    /// Uses nonces that another cipher, which may have had another data key, kept.
    #[must_use]
    pub fn with_stash(mut self, stash: Stash) -> Self {
        self.stash = Some(stash);
        self
    }

    /// The nonces that are kept.
    pub fn into_stash(self) -> Stash {
        self.stash.unwrap_or_default()
    }

    /// Encrypts a leaf. The empty text stays what it is: it has nothing to hide and nothing that would prove it.
    ///
    /// # Errors
    /// `Fault::Encrypting` for what is no leaf, and null.
    pub fn encrypt(&mut self, value: &Value, aad: &[u8]) -> Result<Text> {
        let mut text =
            plain_bytes(value).ok_or_else(|| Error::new(Fault::Encrypting, format!("a {} cannot be encrypted", value.kind())))?;
        let kind = match value {
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Bool(_) => "bool",
            Value::Time(_) => "time",
            _ => "str",
        };
        Ok(self.seal(&mut text, kind, aad))
    }

    /// Encrypts a comment's text.
    pub fn encrypt_comment(&mut self, comment: &Comment, aad: &[u8]) -> Text {
        let mut text = Zeroizing::new(comment.text.as_bytes().to_vec());
        self.seal(&mut text, "comment", aad)
    }

    fn seal(&mut self, text: &mut Zeroizing<Vec<u8>>, kind: &str, aad: &[u8]) -> Text {
        if text.is_empty() {
            return Text::default();
        }
        let kept = self.stash.as_mut().and_then(|stash| stash.0.get_mut(&Stash::key(kind, aad, text))?.pop_front());
        let nonce = kept.unwrap_or_else(|| {
            let mut nonce = [0; NONCE_BYTES];
            self.random.fill(&mut nonce);
            nonce
        });
        let tag = self.key.seal(&nonce, aad, text);
        let mut out = String::with_capacity(START.len() + text.len().div_ceil(3) * 4 + 100);
        out.push_str(START);
        STANDARD.encode_string(&**text, &mut out);
        out.push_str(",iv:");
        STANDARD.encode_string(nonce, &mut out);
        out.push_str(",tag:");
        STANDARD.encode_string(tag, &mut out);
        out.push_str(",type:");
        out.push_str(kind);
        out.push(']');
        out.into()
    }

    /// Decrypts a value's text; the empty text is itself.
    ///
    /// # Errors
    /// `Fault::Decrypting`: no encrypted value, one of another key or place, or one of an unknown type.
    pub fn decrypt(&mut self, text: &Text, aad: &[u8]) -> Result<Opened> {
        if text.is_empty() {
            return Ok(Opened::Value(Value::Text(Text::default())));
        }
        let fault = |message: &str| Error::new(Fault::Decrypting, message);
        let parts = Parts::parse(text.as_bytes())
            .ok_or_else(|| fault("the value is not encrypted, and should be: encrypt it with `sops edit` or `sops set`"))?;
        let broken = || fault("the encrypted value is damaged: its data, iv or tag is not base64");
        let mut plain = Zeroizing::new(STANDARD.decode(parts.data).map_err(|_| broken())?);
        let nonce = STANDARD.decode(parts.iv).map_err(|_| broken())?;
        let tag: [u8; TAG_BYTES] = STANDARD.decode(parts.tag).ok().and_then(|tag| tag.try_into().ok()).ok_or_else(broken)?;
        self.key.open(&nonce, aad, &mut plain, &tag).map_err(|_| {
            fault("the encrypted value does not open here: it was changed, or belongs under another key or in another file")
        })?;
        let opened = typed(parts.kind, plain.clone())
            .ok_or_else(|| fault("the encrypted value has an unknown type, or is none of its type"))?;
        if let (Some(stash), Ok(nonce)) = (&mut self.stash, <[u8; NONCE_BYTES]>::try_from(nonce)) {
            let kind = std::str::from_utf8(parts.kind).unwrap_or_default();
            stash.0.entry(Stash::key(kind, aad, &plain)).or_default().push_back(nonce);
        }
        Ok(opened)
    }
}

/// Whether a text has the form of an encrypted value.
pub fn is_encrypted(text: &[u8]) -> bool {
    Parts::parse(text).is_some()
}

struct Parts<'a> {
    data: &'a [u8],
    iv: &'a [u8],
    tag: &'a [u8],
    kind: &'a [u8],
}

impl<'a> Parts<'a> {
    /// As sops' pattern has it: anchored at the start alone, on one line, up to the last bracket. What follows the bracket is not
    /// looked at. Base64 has no comma, so that the first place where a part could end is the only one.
    fn parse(text: &'a [u8]) -> Option<Self> {
        let line = text.split(|byte| *byte == b'\n').next()?;
        let line = &line[..line.iter().rposition(|byte| *byte == b']')?];
        let (data, rest) = cut(line.strip_prefix(START.as_bytes())?, b",iv:")?;
        let (iv, rest) = cut(rest, b",tag:")?;
        let (tag, kind) = cut(rest, b",type:")?;
        let full = [data, iv, tag, kind].iter().all(|part| !part.is_empty());
        full.then_some(Self { data, iv, tag, kind })
    }
}

fn cut<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let comma = text.iter().position(|byte| *byte == b',')?;
    let rest = text[comma..].strip_prefix(mark)?;
    Some((&text[..comma], rest))
}

fn typed(kind: &[u8], mut plain: Zeroizing<Vec<u8>>) -> Option<Opened> {
    let text = |plain: &[u8]| std::str::from_utf8(plain).ok().map(|text| Zeroizing::new(text.to_owned()));
    Some(Opened::Value(match kind {
        b"str" => Value::Text(plain.into()),
        b"int" => Value::Int(text(&plain)?.parse().ok()?),
        b"float" => Value::Float(go_float(&text(&plain)?)?),
        b"bool" => Value::Bool(go_bool(&plain)?),
        b"time" => Value::Time(Time::parse(&text(&plain)?)?),
        b"bytes" => Value::Bytes(plain.into()),
        b"comment" => return Some(Opened::Comment(plain.into())),
        _ => {
            plain.zeroize();
            return None;
        }
    }))
}

/// Go's `ParseFloat` as far as files have it: decimal, with `Inf` and `NaN` in any case.
fn go_float(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// What a leaf is before it is encrypted, and in the MAC; nothing for null, lists, maps and what can't be walked.
pub(crate) fn plain_bytes(value: &Value) -> Option<Zeroizing<Vec<u8>>> {
    Some(Zeroizing::new(match value {
        Value::Text(text) | Value::Bytes(text) => text.as_bytes().to_vec(),
        Value::Int(number) => number.to_string().into_bytes(),
        Value::Float(number) => float_text(*number).into_bytes(),
        Value::Bool(flag) => (if *flag { b"True".as_slice() } else { b"False" }).to_vec(),
        Value::Time(time) => time.as_str().as_bytes().to_vec(),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Unsupported { .. } => return None,
    }))
}

/// Go's `FormatFloat(x, 'f', -1, 64)`: shortest digits that read back, never an exponent.
pub(crate) fn float_text(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        String::from(if number > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        number.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_crypto::random::SeededRandom;
    use proptest::prelude::*;

    fn key() -> DataKey {
        DataKey::from_bytes(&[5; 32]).unwrap()
    }

    #[test]
    fn leaves_come_back_with_their_types() {
        let random = SeededRandom::for_tests_only(1);
        let mut cipher = Cipher::new(&key(), &random);
        let time = Time::parse("2023-01-02T03:04:05.6+02:00").unwrap();
        for value in [
            Value::from("text"),
            Value::from(""),
            Value::Int(i64::MIN),
            Value::Float(1e300),
            Value::Float(f64::INFINITY),
            Value::Float(-0.0),
            Value::Bool(true),
            Value::Bool(false),
            Value::Time(time),
            Value::Text(vec![0xff, 0, b'\n'].into()),
        ] {
            let sealed = cipher.encrypt(&value, b"a:").unwrap();
            assert_eq!(cipher.decrypt(&sealed, b"a:").unwrap(), Opened::Value(value.clone()), "{value:?}");
        }
        assert!(cipher.encrypt(&Value::Null, b"a:").is_err());
        let comment = cipher.encrypt_comment(&Comment::new(" c", 1), b":");
        assert_eq!(cipher.decrypt(&comment, b":").unwrap(), Opened::Comment(" c".into()));
    }

    #[test]
    fn floats_have_gos_form() {
        for (number, text) in [
            (1.0, "1"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (-0.0, "-0"),
            (2.5, "2.5"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(float_text(number), text);
        }
    }

    #[test]
    fn what_is_no_value_is_refused() {
        let random = SeededRandom::for_tests_only(1);
        let mut cipher = Cipher::new(&key(), &random);
        let good = cipher.encrypt(&"text".into(), b"a:").unwrap();
        let good = good.as_str().unwrap();
        let code =
            |text: &str, aad: &[u8]| Cipher::new(&key(), &random).decrypt(&text.into(), aad).map_err(|error| error.exit_code());
        assert_eq!(code(good, b"b:"), Err(25));
        for bad in [
            "plain",
            "ENC[",
            "ENC[AES256_GCM,data:,iv:,tag:,type:]",
            "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]",
            "1",
            "\n",
        ] {
            assert_eq!(code(bad, b"a:"), Err(25), "{bad}");
        }
        for kind in ["type:int]", "type:float]", "type:bool]", "type:time]", "type:x]", "type:str]]"] {
            assert_eq!(code(&good.replace("type:str]", kind), b"a:"), Err(25), "{kind}");
        }
        assert_eq!(code(&format!(" {good}"), b"a:"), Err(25));
        // As the reference has it, what follows is not looked at, and `bytes` (on which it panics) is known.
        assert!(code(&format!("{good}, and more"), b"a:").is_ok());
        assert_eq!(code(&good.replace("type:str]", "type:bytes]"), b"a:"), Ok(Opened::Value(Value::Bytes("text".into()))));
    }

    #[test]
    fn what_is_unchanged_keeps_its_ciphertext() {
        let random = SeededRandom::for_tests_only(1);
        let mut first = Cipher::new(&key(), &random).stashing();
        let one = first.encrypt(&"same".into(), b"a:").unwrap();
        let two = first.encrypt(&"same".into(), b"a:").unwrap();
        assert!(one != two);
        for sealed in [&one, &two] {
            first.decrypt(sealed, b"a:").unwrap();
        }
        let mut again = Cipher::new(&key(), &random).with_stash(first.into_stash());
        assert!(again.encrypt(&"same".into(), b"b:").unwrap() != one);
        assert!(again.encrypt(&"same".into(), b"a:").unwrap() == one);
        assert!(again.encrypt(&"same".into(), b"a:").unwrap() == two);
        assert!(again.encrypt(&"same".into(), b"a:").unwrap() != two);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(ENC\\[AES256_GCM,data:[A-Za-z0-9=+/]{0,9},iv:[A-Za-z0-9=+/]{0,45},tag:[A-Za-z0-9=+/]{0,25},type:[a-z]{0,5}\\]?.?)|.*") {
            let random = SeededRandom::for_tests_only(1);
            let _unused = Cipher::new(&key(), &random).decrypt(&text.into(), b":").is_ok();
        }
    }
}
