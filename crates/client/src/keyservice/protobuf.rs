//! The messages, in the protobuf encoding (protobuf.dev, "Encoding"): fields of texts, bytes and messages, one map.
//!
//! ```text
//! EncryptRequest  { Key key = 1; bytes plaintext = 2; }    EncryptResponse { bytes ciphertext = 1; }
//! DecryptRequest  { Key key = 1; bytes ciphertext = 2; }   DecryptResponse { bytes plaintext = 1; }
//! Key { oneof { KmsKey 1; PgpKey 2; GcpKmsKey 3; AzureKeyVaultKey 4; VaultKey 5; AgeKey 6; HckmsKey 7; } }
//! KmsKey { arn 1; role 2; map<string, string> context 3; aws_profile 4; }   PgpKey { fingerprint 1; }
//! GcpKmsKey { resource_id 1; }   AzureKeyVaultKey { vault_url 1; name 2; version 3; }
//! VaultKey { vault_address 1; engine_path 2; key_name 3; }   AgeKey { recipient 1; }   HckmsKey { key_id 1; }
//! ```

use super::{Code, Key, Status};
use crate::kms::{AwsKey, AzureKey, GcpKey, HuaweiKey, RemoteKey, VaultKey};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// `EncryptRequest` and `DecryptRequest`, which differ by name alone.
pub(super) fn request(key: &Key, payload: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut inner = Vec::new();
    let (number, fields) = fields(key);
    put(&mut inner, number, &fields);
    // Room for both from the start: a buffer that grows would leave the payload behind.
    let mut out = Zeroizing::new(Vec::with_capacity(inner.len() + payload.len() + 32));
    put(&mut out, 1, &inner);
    if !payload.is_empty() {
        put(&mut out, 2, payload);
    }
    out
}

/// `EncryptResponse` and `DecryptResponse`.
pub(super) fn response(payload: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(payload.len() + 16));
    if !payload.is_empty() {
        put(&mut out, 1, payload);
    }
    out
}

/// The key and the payload of a request.
pub(super) fn read_request(bytes: &[u8]) -> Result<(Key, Zeroizing<Vec<u8>>), Status> {
    let (mut key, mut payload) = (None, Zeroizing::default());
    for field in Fields(bytes) {
        match field? {
            (1, inner) => key = read_key(inner)?.or(key),
            (2, value) => payload = Zeroizing::new(value.to_vec()),
            _ => {}
        }
    }
    let key = key.ok_or_else(|| Status::new(Code::NotFound, "Must provide a key"))?;
    Ok((key, payload))
}

/// The payload of a response.
pub(super) fn read_response(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Status> {
    let mut payload = Zeroizing::default();
    for field in Fields(bytes) {
        if let (1, value) = field? {
            payload = Zeroizing::new(value.to_vec());
        }
    }
    Ok(payload)
}

fn fields(key: &Key) -> (u32, Vec<u8>) {
    let texts = |values: &[&str]| {
        let mut out = Vec::new();
        for (number, value) in (1..).zip(values).filter(|(_, value)| !value.is_empty()) {
            put(&mut out, number, value.as_bytes());
        }
        out
    };
    match key {
        Key::Remote(RemoteKey::Aws(key)) => {
            let mut out = texts(&[&key.arn, key.role.as_deref().unwrap_or_default()]);
            for (name, value) in &key.context {
                put(&mut out, 3, &texts(&[name, value]));
            }
            if let Some(profile) = key.profile.as_deref().filter(|profile| !profile.is_empty()) {
                put(&mut out, 4, profile.as_bytes());
            }
            (1, out)
        }
        Key::Pgp(fingerprint) => (2, texts(&[fingerprint])),
        Key::Remote(RemoteKey::Gcp(key)) => (3, texts(&[&key.resource])),
        Key::Remote(RemoteKey::Azure(key)) => (4, texts(&[&key.vault_url, &key.name, &key.version])),
        Key::Remote(RemoteKey::Vault(key)) => (5, texts(&[&key.address, &key.engine, &key.name])),
        Key::Age(recipient) => (6, texts(&[recipient])),
        Key::Remote(RemoteKey::Huawei(key)) => (7, texts(&[&format!("{}:{}", key.region, key.id)])),
    }
}

/// Nothing for a kind that is not known here.
fn read_key(bytes: &[u8]) -> Result<Option<Key>, Status> {
    let mut key = None;
    for field in Fields(bytes) {
        let (number, inner) = field?;
        let [one, two, three] = [1, 2, 3].map(|n| text(inner, n));
        key = Some(match number {
            1 => {
                let optional = |text: String| (!text.is_empty()).then_some(text);
                let mut context = BTreeMap::new();
                for field in Fields(inner) {
                    if let (3, entry) = field? {
                        context.insert(text(entry, 1)?, text(entry, 2)?);
                    }
                }
                Key::Remote(RemoteKey::Aws(AwsKey {
                    arn: one?,
                    role: optional(two?),
                    profile: optional(text(inner, 4)?),
                    context,
                }))
            }
            2 => Key::Pgp(one?),
            3 => Key::Remote(RemoteKey::Gcp(GcpKey { resource: one? })),
            4 => Key::Remote(RemoteKey::Azure(AzureKey { vault_url: one?, name: two?, version: three? })),
            5 => Key::Remote(RemoteKey::Vault(VaultKey { address: one?, engine: two?, name: three? })),
            6 => Key::Age(one?),
            7 => {
                let id = one?;
                let (region, id) = id.split_once(':').ok_or_else(|| malformed("a key of Huawei's KMS is region:uuid"))?;
                Key::Remote(RemoteKey::Huawei(HuaweiKey { region: region.to_owned(), id: id.to_owned() }))
            }
            _ => return Err(Status::new(Code::NotFound, "Unknown key type")),
        });
    }
    Ok(key)
}

/// The last value of a text field; empty where it is absent, as protobuf has it. The map of field 3 is no text, and not asked for as
/// one where it stands.
fn text(bytes: &[u8], number: u32) -> Result<String, Status> {
    let mut found = &b""[..];
    for field in Fields(bytes) {
        match field? {
            (n, value) if n == number => found = value,
            _ => {}
        }
    }
    String::from_utf8(found.to_vec()).map_err(|_| malformed("a text is no UTF-8"))
}

fn malformed(why: &str) -> Status {
    Status::new(Code::InvalidArgument, format!("malformed message: {why}"))
}

/// One field of length and bytes (wire type 2).
fn put(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    varint(out, u64::from(number << 3 | 2));
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The low seven bits and the mark that more follow.
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The fields of wire type 2, in order; others are skipped, as unknown fields are.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64, Status> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or_else(|| malformed("it ends within a number"))?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(malformed("a number is too long"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Status> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.0.len());
        let (value, rest) = self.0.split_at(length.ok_or_else(|| malformed("a field is longer than the message"))?);
        self.0 = rest;
        Ok(value)
    }

    fn field(&mut self) -> Result<Option<(u32, &'a [u8])>, Status> {
        while !self.0.is_empty() {
            let tag = self.varint()?;
            let number =
                u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or_else(|| malformed("a field has no number"))?;
            match tag & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => {
                    let length = self.varint()?;
                    return Ok(Some((number, self.take(length)?)));
                }
                5 => drop(self.take(4)?),
                _ => return Err(malformed("a field has a type that is not known")),
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, &'a [u8]), Status>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.field().transpose();
        if let Some(Err(_)) = &found {
            self.0 = &[];
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Key> {
        let aws = AwsKey {
            arn: "arn:aws:kms:r:1:key/k".into(),
            role: Some("arn:aws:iam::1:role/r".into()),
            profile: Some("dev".into()),
            context: [("a".to_owned(), "b".to_owned()), ("c".to_owned(), String::new())].into(),
        };
        vec![
            Key::Remote(RemoteKey::Aws(aws)),
            Key::Remote(RemoteKey::Aws(AwsKey { arn: "x".into(), ..AwsKey::default() })),
            Key::Pgp("ABCD".into()),
            Key::Remote(RemoteKey::Gcp(GcpKey { resource: "projects/p".into() })),
            Key::Remote(RemoteKey::Azure(AzureKey { vault_url: "https://v".into(), name: "n".into(), version: String::new() })),
            Key::Remote(RemoteKey::Vault(VaultKey { address: "http://h".into(), engine: "transit".into(), name: "k".into() })),
            Key::Age("age1x".into()),
            Key::Remote(RemoteKey::Huawei(HuaweiKey { region: "r".into(), id: "u".into() })),
        ]
    }

    #[test]
    fn every_kind_comes_back() {
        for key in all() {
            let payload = vec![7; 300];
            assert_eq!(read_request(&request(&key, &payload)).unwrap(), (key.clone(), Zeroizing::new(payload)));
            assert_eq!(read_request(&request(&key, b"")).unwrap().1.len(), 0);
        }
        assert_eq!(&**read_response(&response(b"data")).unwrap(), b"data");
        assert_eq!(read_response(b"").unwrap().len(), 0);
    }

    #[test]
    fn the_bytes_are_protobufs() {
        // protoc --encode=EncryptRequest of key { age_key { recipient: "ab" } } plaintext: "xy"
        assert_eq!(request(&Key::Age("ab".into()), b"xy").as_slice(), b"\x0a\x06\x32\x04\x0a\x02ab\x12\x02xy");
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        let mut bytes = b"\x18\x96\x01\x21ABCDEFGH\x2dABCD\x7a\x01z".to_vec();
        bytes.extend_from_slice(&request(&Key::Age("ab".into()), b"xy"));
        assert_eq!(read_request(&bytes).unwrap().0, Key::Age("ab".into()));
    }

    #[test]
    fn what_is_malformed_is_refused_and_never_a_panic() {
        for (bytes, code) in [
            (&b""[..], Code::NotFound),
            (b"\x0a\x00", Code::NotFound),
            (b"\x0a\x02\x42\x00", Code::NotFound),
            (b"\x0a\x05\x32", Code::InvalidArgument),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", Code::InvalidArgument),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Code::InvalidArgument),
            (b"\x0b", Code::InvalidArgument),
            (b"\x02\x00", Code::InvalidArgument),
            (b"\x0a\x05\x32\x03\x0a\x01\xff", Code::InvalidArgument),
            (b"\x0a\x05\x3a\x03\x0a\x01x", Code::InvalidArgument),
        ] {
            assert_eq!(read_request(bytes).unwrap_err().code, code, "{bytes:?}");
        }
        // Every piece of a whole message, and every message with one byte changed.
        let whole = request(&all()[0], b"payload");
        for end in 0..whole.len() {
            drop(read_request(&whole[..end]));
            let mut changed = whole.clone();
            changed[end] ^= 0xa5;
            drop(read_request(&changed));
        }
    }
}
