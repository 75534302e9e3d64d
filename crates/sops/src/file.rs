//! A whole file: encrypted, decrypted, and written again, in the style that keeps its formatting or in the reference's.

use coffer_crypto::random::Random;
use coffer_types::Timestamp;
use zeroize::Zeroizing;

use crate::error::{Error, Fault, Result};
use crate::format::{Format, Kind, Patch, Spellings};
use crate::groups;
use crate::keys::{KeyKind, KeyService};
use crate::metadata::Metadata;
use crate::tree::{Branch, Element, Item, Value};
use crate::value::{Cipher, DataKey, Opened, Stash, is_encrypted};
use crate::walk::{self, Rule};

/// The version of sops that files written here claim: the one whose format they have.
pub const VERSION: &str = "3.13.3";

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// The source's formatting stays, where its format allows it.
    #[default]
    Kept,
    /// As sops' own emitters write it, byte for byte.
    Reference,
}

/// What a run is given from outside: chance, and the time.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    pub random: &'a dyn Random,
    pub now: Timestamp,
}

/// An encrypted file that was read and decrypted.
pub struct Document {
    pub documents: Vec<Branch>,
    pub metadata: Metadata,
    pub data_key: DataKey,
    /// The nonces of its values, so that what stays the same keeps its ciphertext.
    pub stash: Stash,
    /// Lines of comments that should be encrypted and are not.
    pub plain_comments: Vec<u32>,
}

/// Encrypts a file. `metadata` says groups, selector and the like; its keys are wrapped, its MAC and times are made here.
///
/// # Errors
/// Those of reading; `Fault::AlreadyEncrypted`, `Fault::NoDocument`; those of the walk and of wrapping.
pub fn encrypt(
    source: &[u8],
    format: &dyn Format,
    output: &dyn Format,
    mut metadata: Metadata,
    service: &dyn KeyService,
    style: Style,
    given: Given<'_>,
) -> Result<Zeroizing<Vec<u8>>> {
    let documents = format.load_plain(source)?;
    check_plain(format, &documents)?;
    metadata.version = VERSION.to_owned();
    rule_of(format.kind(), &mut metadata).check()?;
    let data_key = DataKey::generate(given.random);
    groups::wrap(&mut metadata, &data_key, service, given.random, given.now)?;
    let source = (style == Style::Kept && format.kind() == output.kind()).then_some(source);
    seal(documents, metadata, &data_key, Stash::default(), source, output, given)
}

/// Encrypts documents under a data key that is wrapped already, and writes them: over `source`, the plain or encrypted file as it
/// stands, or from nothing.
///
/// # Errors
/// Those of the walk and of writing.
pub fn seal(
    mut documents: Vec<Branch>,
    mut metadata: Metadata,
    data_key: &DataKey,
    stash: Stash,
    source: Option<&[u8]>,
    output: &dyn Format,
    given: Given<'_>,
) -> Result<Zeroizing<Vec<u8>>> {
    let rule = Rule::new(metadata.selector.as_ref(), metadata.mac_only_encrypted);
    let mut cipher = Cipher::new(data_key, given.random).with_stash(stash);
    let mac = walk::encrypt(&mut documents, &rule, &mut cipher)?;
    metadata.last_modified = Timestamp::from_secs(given.now.secs());
    metadata.spellings.clear();
    metadata.mac = seal_text(&mut cipher, &mac, metadata.last_modified.rfc3339_secs().as_bytes())?;
    if let Some(source) = source {
        let spellings = Spellings::new();
        let patch = |metadata: &Branch| {
            output.patch(source, &Patch { documents: &documents, metadata: Some(metadata), spellings: &spellings })
        };
        if let Some(mut made) = patch(&metadata.write())? {
            if !made.lost.is_empty() {
                let text = write_spellings(&made.lost);
                metadata.spellings = seal_text(&mut cipher, &text, SPELLINGS_PLACE)?;
                if let Some(again) = patch(&metadata.write())? {
                    made = again;
                }
            }
            return Ok(made.bytes);
        }
    }
    documents.iter_mut().for_each(comments_as_elements);
    output.emit(&documents, Some(&metadata.write()))
}

/// The reference writes an encrypted comment of a list as an element; decrypting makes a comment of it again.
fn comments_as_elements(branch: &mut Branch) {
    fn within(value: &mut Value) {
        match value {
            Value::Map(branch) => comments_as_elements(branch),
            Value::List(list) => {
                for element in list {
                    match element {
                        Element::Value(value, _) => within(value),
                        Element::Comment(comment) if is_encrypted(comment.text.as_bytes()) => {
                            *element = Element::Value(Value::Text(std::mem::take(&mut comment.text)), comment.line);
                        }
                        Element::Comment(_) => {}
                    }
                }
            }
            _ => {}
        }
    }
    for item in &mut branch.items {
        if let Item::Entry(entry) = item {
            within(&mut entry.value);
        }
    }
}

/// Reads and decrypts a file, and holds its MAC against its content.
///
/// # Errors
/// Those of reading; `Fault::NoDataKey`; `Fault::Decrypting`; `Fault::MacMismatch` unless `ignore_mac`.
pub fn open(
    source: &[u8],
    format: &dyn Format,
    service: &dyn KeyService,
    order: &[KeyKind],
    random: &dyn Random,
    ignore_mac: bool,
) -> Result<Document> {
    let loaded = format.load_encrypted(source)?;
    let mut metadata = Metadata::read(&loaded.metadata)?;
    let data_key = groups::unwrap(&metadata, service, order)?;
    let rule = rule_of(format.kind(), &mut metadata);
    let mut documents = loaded.documents;
    let mut cipher = Cipher::new(&data_key, random).stashing();
    let decrypted = walk::decrypt(&mut documents, &rule, &mut cipher)?;
    if !ignore_mac {
        check_mac(&metadata, &decrypted.mac, &data_key, random)?;
    }
    Ok(Document { documents, metadata, data_key, stash: cipher.into_stash(), plain_comments: decrypted.plain_comments })
}

impl Document {
    /// The decrypted file: over `source` where its formatting is kept.
    ///
    /// # Errors
    /// Those of writing.
    pub fn emit(&self, source: Option<&[u8]>, output: &dyn Format, random: &dyn Random) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(source) = source {
            let spellings = self.spellings(random);
            if let Some(made) =
                output.patch(source, &Patch { documents: &self.documents, metadata: None, spellings: &spellings })?
            {
                return Ok(made.bytes);
            }
        }
        output.emit(&self.documents, None)
    }

    /// The spellings that the file keeps; none if it keeps none, or they were changed: they are a matter of looks alone.
    fn spellings(&self, random: &dyn Random) -> Spellings {
        let opened = Cipher::new(&self.data_key, random).decrypt(&self.metadata.spellings.as_str().into(), SPELLINGS_PLACE);
        match opened {
            Ok(Opened::Value(Value::Text(text))) => read_spellings(&text.lossy()),
            _ => Spellings::new(),
        }
    }
}

/// What decides in a file of this kind. A binary file has one value, and no selector.
pub fn rule_of(kind: Kind, metadata: &mut Metadata) -> Rule {
    if kind == Kind::Binary {
        metadata.selector = None;
        metadata.mac_only_encrypted = false;
    }
    Rule::new(metadata.selector.as_ref(), metadata.mac_only_encrypted)
}

/// # Errors
/// `Fault::NoDocument`, `Fault::AlreadyEncrypted`.
pub fn check_plain(format: &dyn Format, documents: &[Branch]) -> Result<()> {
    if documents.is_empty() {
        return Err(Error::new(Fault::NoDocument, "File cannot be completely empty, it must contain at least one document"));
    }
    if format.holds_metadata(documents) {
        return Err(Error::new(
            Fault::AlreadyEncrypted,
            "The file has a top-level entry `sops` (in flat formats: entries that start with `sops_`), which is where the metadata of an \
             encrypted file stand. If it is encrypted already, change it with `sops edit`; if not, rename that entry.",
        ));
    }
    Ok(())
}

fn check_mac(metadata: &Metadata, computed: &str, data_key: &DataKey, random: &dyn Random) -> Result<()> {
    let fault = |message: String| Error::new(Fault::MacMismatch, message);
    let place = metadata.last_modified.rfc3339_secs();
    let kept = match Cipher::new(data_key, random).decrypt(&metadata.mac.as_str().into(), place.as_bytes()) {
        Ok(Opened::Value(Value::Text(text))) => text,
        Ok(_) => return Err(fault("Cannot decrypt MAC: it is no text".to_owned())),
        Err(error) => return Err(fault(format!("Cannot decrypt MAC: {}", error.message))),
    };
    let kept = kept.lossy();
    if *kept == computed {
        return Ok(());
    }
    let shown = if kept.is_empty() { "no MAC" } else { &kept };
    Err(fault(format!(
        "MAC mismatch. File has {shown}, computed {computed}. The file was changed without its key; to look at it all the same use --ignore-mac"
    )))
}

fn seal_text(cipher: &mut Cipher<'_>, text: &str, place: &[u8]) -> Result<String> {
    let sealed = cipher.encrypt(&text.into(), place)?;
    Ok(sealed.as_str().unwrap_or_default().to_owned())
}

/// No value of a file can have this place: a colon would follow it.
const SPELLINGS_PLACE: &[u8] = b"coffer_spellings";

/// `number length:token` for each, so that a token can hold anything.
fn write_spellings(spellings: &Spellings) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::new());
    for (number, token) in spellings {
        out.push_str(&format!("{number} {}:", token.len()));
        out.push_str(token);
    }
    out
}

fn read_spellings(text: &str) -> Spellings {
    let mut out = Spellings::new();
    let mut rest = text;
    while let Some((number, after)) = rest.split_once(' ') {
        let parsed = after.split_once(':').and_then(|(length, after)| {
            let length = length.parse().ok()?;
            Some((number.parse().ok()?, after.get(..length)?, after.get(length..)?))
        });
        let Some((number, token, after)) = parsed else { break };
        out.insert(number, Zeroizing::new(token.to_owned()));
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_read_back_whatever_they_hold() {
        let spellings = Spellings::from([(0, Zeroizing::new("1.0".to_owned())), (7, Zeroizing::new("3 2:é\n".to_owned()))]);
        assert!(read_spellings(&write_spellings(&spellings)) == spellings);
        for broken in ["", "x", "1 2", "1 9:a", "x 1:a", "1 1:é"] {
            assert!(read_spellings(broken).is_empty(), "{broken}");
        }
    }
}
