//! The metadata of an encrypted file: what stands under `sops`.
//!
//! Reading is weak, as sops' is: any order, unknown keys ignored, numbers and booleans as texts too. Writing is in alphabetical
//! order with empty entries left out.

use std::collections::BTreeMap;

use coffer_types::Timestamp;

use crate::error::{Error, Result};
use crate::keys::{KeyId, KeyKind, MasterKey};
use crate::tree::{Branch, Element, Line, Value};

/// The suffix of keys whose values stay plain where nothing else was said.
pub const DEFAULT_UNENCRYPTED_SUFFIX: &str = "_unencrypted";

/// What is known about an encrypted file besides its documents.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    /// One group: each key wraps the data key. Several: each key of group i wraps share i of it.
    pub groups: Vec<Vec<MasterKey>>,
    /// How many groups it takes; 0 where it isn't said.
    pub shamir_threshold: u8,
    pub selector: Option<Selector>,
    pub mac_only_encrypted: bool,
    /// In whole seconds.
    pub last_modified: Timestamp,
    /// The encrypted MAC.
    pub mac: String,
    /// The version of sops that the file claims.
    pub version: String,
    /// Ours, which sops ignores (and drops when it writes): the encrypted digest over structure, types, nulls and plain keys.
    pub digest: String,
    /// Ours: the encrypted spellings that decrypting can't know, for files whose formatting is kept.
    pub spellings: String,
}

/// Which values are encrypted. A file has one at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    UnencryptedSuffix(String),
    EncryptedSuffix(String),
    UnencryptedRegex(String),
    EncryptedRegex(String),
    UnencryptedCommentRegex(String),
    EncryptedCommentRegex(String),
}

impl Selector {
    /// The names in metadata, rules and (with `-`) flags.
    pub const NAMES: [&'static str; 6] = [
        "unencrypted_suffix",
        "encrypted_suffix",
        "unencrypted_regex",
        "encrypted_regex",
        "unencrypted_comment_regex",
        "encrypted_comment_regex",
    ];

    /// The selector called `name` in metadata.
    pub fn new(name: &str, text: &str) -> Option<Self> {
        let make = match name {
            "unencrypted_suffix" => Self::UnencryptedSuffix,
            "encrypted_suffix" => Self::EncryptedSuffix,
            "unencrypted_regex" => Self::UnencryptedRegex,
            "encrypted_regex" => Self::EncryptedRegex,
            "unencrypted_comment_regex" => Self::UnencryptedCommentRegex,
            "encrypted_comment_regex" => Self::EncryptedCommentRegex,
            _ => return None,
        };
        Some(make(text.to_owned()))
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnencryptedSuffix(_) => "unencrypted_suffix",
            Self::EncryptedSuffix(_) => "encrypted_suffix",
            Self::UnencryptedRegex(_) => "unencrypted_regex",
            Self::EncryptedRegex(_) => "encrypted_regex",
            Self::UnencryptedCommentRegex(_) => "unencrypted_comment_regex",
            Self::EncryptedCommentRegex(_) => "encrypted_comment_regex",
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Self::UnencryptedSuffix(text)
            | Self::EncryptedSuffix(text)
            | Self::UnencryptedRegex(text)
            | Self::EncryptedRegex(text)
            | Self::UnencryptedCommentRegex(text)
            | Self::EncryptedCommentRegex(text) => text,
        }
    }

    /// The one selector among named texts, of which empty ones don't count.
    ///
    /// # Errors
    /// More than one.
    pub fn one_of<'a>(named: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Option<Self>> {
        let mut found = None;
        for (name, text) in named {
            if text.is_empty() {
                continue;
            }
            if found.is_some() {
                return Err(Error::generic(
                    "cannot use more than one of encrypted_suffix, unencrypted_suffix, encrypted_regex, unencrypted_regex, \
                     encrypted_comment_regex, or unencrypted_comment_regex in the same file",
                ));
            }
            found = Self::new(name, text);
        }
        Ok(found)
    }
}

impl Metadata {
    /// Reads what stands under `sops`.
    ///
    /// # Errors
    /// `Fault::Reading` for an entry of the wrong kind, a time that is none, two selectors; `Fault::Generic` without any key.
    pub fn read(branch: &Branch) -> Result<Self> {
        let fields = Fields(branch);
        let mut groups = Vec::new();
        let flat = read_group(&fields)?;
        if flat.is_empty() {
            for (i, group) in fields.list("key_groups")?.into_iter().enumerate() {
                let group = group.as_map().ok_or_else(|| wrong(&format!("key_groups[{i}]"), "a map", group))?;
                groups.push(read_group(&Fields(group))?);
            }
            if groups.is_empty() {
                return Err(Error::generic("No keys found in file"));
            }
        } else {
            groups.push(flat);
        }
        let mut texts = Vec::new();
        for name in Selector::NAMES {
            texts.push((name, fields.text(name)?));
        }
        let selector = Selector::one_of(texts.iter().map(|(name, text)| (*name, text.as_str())))?
            .unwrap_or_else(|| Selector::UnencryptedSuffix(DEFAULT_UNENCRYPTED_SUFFIX.to_owned()));
        let modified = fields.text("lastmodified")?;
        let last_modified = Timestamp::parse_rfc3339(&modified)
            .map(|at| Timestamp::from_secs(at.secs()))
            .ok_or_else(|| Error::reading(0, format!("sops.lastmodified is {modified:?}: it must be a time in RFC 3339")))?;
        Ok(Self {
            groups,
            shamir_threshold: fields.threshold()?,
            selector: Some(selector),
            mac_only_encrypted: fields.flag("mac_only_encrypted")?,
            last_modified,
            mac: fields.text("mac")?,
            version: fields.text("version")?,
            digest: fields.text("coffer_digest")?,
            spellings: fields.text("coffer_spellings")?,
        })
    }

    /// The entries to write under `sops`, in alphabetical order.
    pub fn write(&self) -> Branch {
        let mut entries: BTreeMap<&str, Value> = BTreeMap::new();
        if let [group] = &self.groups[..] {
            write_group(group, &mut entries);
        } else if !self.groups.is_empty() {
            let groups = self.groups.iter().map(|group| {
                let mut entries = BTreeMap::from([("age", Value::List(Vec::new())), ("hc_vault", Value::List(Vec::new()))]);
                write_group(group, &mut entries);
                Value::Map(branch_of(entries))
            });
            entries.insert("key_groups", Value::List(groups.map(|group| Element::Value(group, Line(0))).collect()));
        }
        if self.shamir_threshold != 0 {
            entries.insert("shamir_threshold", Value::Int(self.shamir_threshold.into()));
        }
        if let Some(selector) = &self.selector {
            entries.insert(selector.name(), selector.text().into());
        }
        if self.mac_only_encrypted {
            entries.insert("mac_only_encrypted", Value::Bool(true));
        }
        for (name, text) in [
            ("coffer_digest", &self.digest),
            ("coffer_spellings", &self.spellings),
            ("mac", &self.mac),
            ("version", &self.version),
        ] {
            if !text.is_empty() {
                entries.insert(name, text.as_str().into());
            }
        }
        entries.insert("lastmodified", self.last_modified.rfc3339_secs().into());
        branch_of(entries)
    }

    /// The keys of all groups.
    pub fn keys(&self) -> impl Iterator<Item = &MasterKey> {
        self.groups.iter().flatten()
    }
}

fn branch_of(entries: BTreeMap<&str, Value>) -> Branch {
    let mut branch = Branch::new();
    for (key, value) in entries {
        branch.push(key, value);
    }
    branch
}

/// The keys of one group in sops' order of kinds.
fn read_group(fields: &Fields<'_>) -> Result<Vec<MasterKey>> {
    let mut keys = Vec::new();
    for kind in KeyKind::ALL {
        for (i, value) in fields.list(kind.name())?.into_iter().enumerate() {
            let place = || format!("{}[{i}]", kind.name());
            let key = Fields(value.as_map().ok_or_else(|| wrong(&place(), "a map", value))?);
            keys.push(read_key(kind, &key)?);
        }
    }
    Ok(keys)
}

fn read_key(kind: KeyKind, key: &Fields<'_>) -> Result<MasterKey> {
    let id = match kind {
        KeyKind::Age => KeyId::Age { recipient: key.text("recipient")? },
        KeyKind::Pgp => KeyId::Pgp { fingerprint: key.text("fp")? },
        KeyKind::Kms => KeyId::Kms {
            arn: key.text("arn")?,
            role: key.text("role")?,
            context: key.texts("context")?,
            profile: key.text("aws_profile")?,
        },
        KeyKind::GcpKms => KeyId::GcpKms { resource_id: key.text("resource_id")? },
        KeyKind::AzureKv => {
            KeyId::AzureKv { vault_url: key.text("vault_url")?, name: key.text("name")?, version: key.text("version")? }
        }
        KeyKind::HcVault => KeyId::HcVault {
            address: key.text("vault_address")?,
            engine_path: key.text("engine_path")?,
            key_name: key.text("key_name")?,
        },
        KeyKind::HcKms => KeyId::HcKms { key_id: key.text("key_id")? },
    };
    let created = match kind {
        KeyKind::Age => None,
        _ => {
            let text = key.text("created_at")?;
            Some(Timestamp::parse_rfc3339(&text).ok_or_else(|| {
                Error::reading(
                    0,
                    format!("created_at of the {} key {id} is {text:?}: it must be a time in RFC 3339", kind.name()),
                )
            })?)
        }
    };
    Ok(MasterKey { id, enc: key.text("enc")?, created })
}

fn write_group(keys: &[MasterKey], entries: &mut BTreeMap<&str, Value>) {
    for kind in KeyKind::ALL {
        let list: Vec<Element> = keys
            .iter()
            .filter(|key| key.id.kind() == kind)
            .map(|key| Element::Value(Value::Map(branch_of(write_key(key))), Line(0)))
            .collect();
        if !list.is_empty() {
            entries.insert(kind.name(), Value::List(list));
        }
    }
}

fn write_key(key: &MasterKey) -> BTreeMap<&str, Value> {
    let mut out: BTreeMap<&str, Value> = BTreeMap::from([("enc", key.enc.as_str().into())]);
    if let Some(created) = key.created {
        out.insert("created_at", created.rfc3339_secs().into());
    }
    match &key.id {
        KeyId::Age { recipient } => {
            out.insert("recipient", recipient.as_str().into());
        }
        KeyId::Pgp { fingerprint } => {
            out.insert("fp", fingerprint.as_str().into());
        }
        KeyId::Kms { arn, role, context, profile } => {
            out.insert("arn", arn.as_str().into());
            out.insert("aws_profile", profile.as_str().into());
            if !role.is_empty() {
                out.insert("role", role.as_str().into());
            }
            if !context.is_empty() {
                let context = context.iter().map(|(key, value)| (key.as_str(), value.as_str().into())).collect();
                out.insert("context", Value::Map(branch_of(context)));
            }
        }
        KeyId::GcpKms { resource_id } => {
            out.insert("resource_id", resource_id.as_str().into());
        }
        KeyId::AzureKv { vault_url, name, version } => {
            out.insert("vault_url", vault_url.as_str().into());
            out.insert("name", name.as_str().into());
            out.insert("version", version.as_str().into());
        }
        KeyId::HcVault { address, engine_path, key_name } => {
            out.insert("vault_address", address.as_str().into());
            out.insert("engine_path", engine_path.as_str().into());
            out.insert("key_name", key_name.as_str().into());
        }
        KeyId::HcKms { key_id } => {
            out.insert("key_id", key_id.as_str().into());
        }
    }
    out
}

/// Entries, weakly typed.
struct Fields<'a>(&'a Branch);

impl<'a> Fields<'a> {
    /// A text; numbers and booleans as Go's weak decoding writes them; nothing and null are empty.
    fn text(&self, name: &str) -> Result<String> {
        match self.0.get(name) {
            None => Ok(String::new()),
            Some(value) => weak_text(value).ok_or_else(|| wrong(name, "a text", value)),
        }
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::Int(number)) => Ok(*number != 0),
            Some(Value::Text(text)) if text.is_empty() => Ok(false),
            Some(value) => {
                value.as_text().and_then(|text| go_bool(text.as_bytes())).ok_or_else(|| wrong(name, "true or false", value))
            }
        }
    }

    fn threshold(&self) -> Result<u8> {
        let name = "shamir_threshold";
        let number = match self.0.get(name) {
            None | Some(Value::Null) => Some(0),
            Some(Value::Int(number)) => Some(*number),
            Some(Value::Bool(flag)) => Some((*flag).into()),
            Some(Value::Float(number)) if number.fract() == 0.0 => Some(*number as i64),
            Some(Value::Text(text)) if text.is_empty() => Some(0),
            Some(Value::Text(text)) => text.as_str().and_then(|text| text.parse().ok()),
            Some(_) => None,
        };
        number
            .and_then(|number| u8::try_from(number).ok())
            .ok_or_else(|| Error::reading(0, "sops.shamir_threshold must be a number from 0 to 255"))
    }

    /// The elements of a list, without comments; nothing and null are empty, and a map is a list of one, as Go's weak decoding has it.
    fn list(&self, name: &str) -> Result<Vec<&'a Value>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::List(list)) => Ok(list
                .iter()
                .filter_map(|element| match element {
                    Element::Value(value, _) => Some(value),
                    Element::Comment(_) => None,
                })
                .collect()),
            Some(Value::Map(branch)) if branch.entries().next().is_none() => Ok(Vec::new()),
            Some(value @ Value::Map(_)) => Ok(vec![value]),
            Some(Value::Text(text)) if text.is_empty() => Ok(Vec::new()),
            Some(value) => Err(wrong(name, "a list", value)),
        }
    }

    fn texts(&self, name: &str) -> Result<BTreeMap<String, String>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(BTreeMap::new()),
            Some(Value::Map(branch)) => branch
                .entries()
                .map(|entry| {
                    let text = weak_text(&entry.value).ok_or_else(|| wrong(name, "a map of texts", &entry.value))?;
                    Ok((entry.key.text().to_owned(), text))
                })
                .collect(),
            Some(value) => Err(wrong(name, "a map of texts", value)),
        }
    }
}

fn weak_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => String::new(),
        Value::Bool(flag) => String::from(if *flag { "1" } else { "0" }),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) | Value::Bytes(text) => text.lossy().to_string(),
        Value::Time(time) => time.as_str().to_owned(),
        Value::Unsupported { text, .. } => text.clone(),
        Value::List(_) | Value::Map(_) => return None,
    })
}

/// Go's `strconv.ParseBool`.
pub(crate) fn go_bool(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Some(false),
        _ => None,
    }
}

fn wrong(name: &str, right: &str, found: &Value) -> Error {
    Error::reading(0, format!("sops.{name} must be {right}, and is a {}", found.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Metadata {
        let at = Timestamp::from_secs(1_700_000_000);
        let key = |id| MasterKey { id, enc: "wrapped".into(), created: Some(at) };
        let age = MasterKey { created: None, ..key(KeyId::Age { recipient: "age1x".into() }) };
        Metadata {
            groups: vec![vec![
                key(KeyId::kms("arn:aws:kms:x:1:key/k", BTreeMap::from([("a".into(), "b".into())]), "")),
                key(KeyId::GcpKms { resource_id: "projects/p".into() }),
                key(KeyId::hckms("r:u").unwrap()),
                key(KeyId::azure_kv("https://h/keys/k/v").unwrap()),
                key(KeyId::hc_vault("http://h/v1/transit/keys/k").unwrap()),
                key(KeyId::pgp("ABCD")),
                age,
            ]],
            shamir_threshold: 0,
            selector: Some(Selector::EncryptedRegex("^data$".into())),
            mac_only_encrypted: true,
            last_modified: at,
            mac: "ENC[…]".into(),
            version: "3.13.3".into(),
            digest: "d".into(),
            spellings: String::new(),
        }
    }

    #[test]
    fn what_is_written_reads_back_in_one_group_and_in_several() {
        let mut metadata = full();
        assert_eq!(Metadata::read(&metadata.write()).unwrap(), metadata);
        metadata.groups.push(vec![MasterKey::new(KeyId::Age { recipient: "age1y".into() })]);
        metadata.shamir_threshold = 2;
        let written = metadata.write();
        assert_eq!(Metadata::read(&written).unwrap(), metadata);
        assert!(written.get("age").is_none());
        let names: Vec<&str> = written.entries().map(|entry| entry.key.text()).collect();
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn texts_stand_for_numbers_and_booleans() {
        let mut branch = full().write();
        *branch.get_mut("mac_only_encrypted").unwrap() = "true".into();
        branch.push("shamir_threshold", "2");
        branch.push("unknown", Value::List(Vec::new()));
        let read = Metadata::read(&branch).unwrap();
        assert_eq!((read.mac_only_encrypted, read.shamir_threshold), (true, 2));
    }

    #[test]
    fn what_is_malformed_is_refused() {
        let change = |name: &str, value: Value| {
            let mut branch = full().write();
            match branch.get_mut(name) {
                Some(old) => *old = value,
                None => branch.push(name, value),
            }
            Metadata::read(&branch).unwrap_err().exit_code()
        };
        assert_eq!(change("age", "x".into()), 2);
        assert_eq!(change("age", Value::List(vec![Element::Value(Value::Int(1), Line(0))])), 2);
        assert_eq!(change("lastmodified", "yesterday".into()), 2);
        assert_eq!(change("lastmodified", Value::Null), 2);
        assert_eq!(change("mac_only_encrypted", "maybe".into()), 2);
        assert_eq!(change("mac", Value::List(Vec::new())), 2);
        assert_eq!(change("shamir_threshold", Value::Int(-1)), 2);
        assert_eq!(change("shamir_threshold", "many".into()), 2);
        assert_eq!(change("encrypted_suffix", "x".into()), 1);
        let keyless = Metadata { groups: Vec::new(), ..full() };
        assert_eq!(Metadata::read(&keyless.write()).unwrap_err().exit_code(), 1);
    }
}
