//! The walk over a tree: which values are encrypted, and the MAC over all of them.
//!
//! Depth first in the order of the file, document by document. The MAC is SHA-512 over the plaintext of every leaf; comments, nulls, keys
//! and structure are no part of it.

use coffer_crypto::digest::Sha512;
use regex::Regex;

use crate::error::{Error, Fault, Result};
use crate::go_regex;
use crate::metadata::Selector;
use crate::tree::{Branch, Comment, Element, Item, Key, Value};
use crate::value::{Cipher, Opened, plain_bytes};

/// What a MAC over encrypted values alone starts with: SHA-256 of "sops".
const ENCRYPTED_ONLY: [u8; 32] = [
    0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b, 0x0b, 0x97, 0x5b, 0x3b, 0xf4,
    0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
];

/// What decides about values, its expression compiled once.
#[derive(Debug)]
pub struct Rule {
    test: Test,
    mac_only_encrypted: bool,
}

#[derive(Debug)]
enum Test {
    All,
    Suffix { text: String, encrypts: bool },
    Key { regex: Option<Regex>, encrypts: bool },
    Comment { regex: Option<Regex>, encrypts: bool },
}

impl Rule {
    /// An expression that Go refuses never matches, as in the reference; [`Rule::check`] tells before a file is encrypted by it.
    pub fn new(selector: Option<&Selector>, mac_only_encrypted: bool) -> Self {
        let test = match selector {
            None => Test::All,
            Some(Selector::UnencryptedSuffix(text)) => Test::Suffix { text: text.clone(), encrypts: false },
            Some(Selector::EncryptedSuffix(text)) => Test::Suffix { text: text.clone(), encrypts: true },
            Some(Selector::UnencryptedRegex(text)) => Test::Key { regex: go_regex::compile(text), encrypts: false },
            Some(Selector::EncryptedRegex(text)) => Test::Key { regex: go_regex::compile(text), encrypts: true },
            Some(Selector::UnencryptedCommentRegex(text)) => Test::Comment { regex: go_regex::compile(text), encrypts: false },
            Some(Selector::EncryptedCommentRegex(text)) => Test::Comment { regex: go_regex::compile(text), encrypts: true },
        };
        Self { test, mac_only_encrypted }
    }

    /// # Errors
    /// `Fault::Generic` for an expression that can't match because it is malformed: with it a file would stay plain unnoticed.
    pub fn check(&self) -> Result<()> {
        match self.test {
            Test::Key { regex: None, .. } | Test::Comment { regex: None, .. } => Err(Error::generic(
                "the regular expression that selects values is malformed and would never match: mend it in the flags or in .sops.yaml",
            )),
            _ => Ok(()),
        }
    }

    fn key_hits(&self, key: &str) -> bool {
        match &self.test {
            Test::Suffix { text, .. } => key.ends_with(text.as_str()),
            Test::Key { regex: Some(regex), .. } => regex.is_match(key),
            _ => false,
        }
    }

    fn comment_hits(&self, comment: &Comment) -> bool {
        match &self.test {
            Test::Comment { regex: Some(regex), .. } => regex.is_match(&comment.text.lossy()),
            _ => false,
        }
    }

    fn encrypts(&self, hit: bool) -> bool {
        match self.test {
            Test::All => true,
            Test::Suffix { encrypts, .. } | Test::Key { encrypts, .. } | Test::Comment { encrypts, .. } => hit == encrypts,
        }
    }
}

/// Encrypts documents in place. Gives the MAC.
///
/// # Errors
/// `Fault::Encrypting`: a key that is no text, a leaf that can't be walked, an encrypted comment that would be taken for a plain one.
pub fn encrypt(documents: &mut [Branch], rule: &Rule, cipher: &mut Cipher<'_>) -> Result<String> {
    let mut work = Encrypting { rule, cipher };
    walk(documents, rule, &mut work)
}

/// What decrypting gives besides the documents.
#[derive(Debug)]
pub struct Decrypted {
    /// The MAC over what was decrypted.
    pub mac: String,
    /// Lines (0: unknown) of comments that should be encrypted and are not, or do not open: kept as they are, as the reference does.
    pub plain_comments: Vec<u32>,
}

/// Decrypts documents in place.
///
/// # Errors
/// `Fault::Decrypting`, with the line of the value.
pub fn decrypt(documents: &mut [Branch], rule: &Rule, cipher: &mut Cipher<'_>) -> Result<Decrypted> {
    let mut work = Decrypting { rule, cipher, plain_comments: Vec::new() };
    let mac = walk(documents, rule, &mut work)?;
    Ok(Decrypted { mac, plain_comments: work.plain_comments })
}

/// The MAC of documents that are plain.
///
/// # Errors
/// Those of [`encrypt`].
pub fn mac(documents: &mut [Branch], rule: &Rule) -> Result<String> {
    walk(documents, rule, &mut Looking { rule })
}

/// Tells of every leaf and comment of plain documents whether the rule encrypts it, in the order of the walk: for checks.
///
/// # Errors
/// Those of [`encrypt`].
pub fn inspect(documents: &mut [Branch], rule: &Rule, look: &mut dyn FnMut(&Place<'_>, &Leaf<'_>, bool)) -> Result<()> {
    walk(documents, rule, &mut Inspecting { rule, look }).map(|_| ())
}

/// A leaf or a comment, for [`inspect`].
pub enum Leaf<'a> {
    Value(&'a Value),
    Comment(&'a Comment),
}

/// Where the walk stands.
#[derive(Debug)]
pub struct Place<'a> {
    /// The keys on the way here, each followed by a colon.
    pub aad: &'a [u8],
    pub line: u32,
}

/// What is done with leaves. `hit`: a key on the way, or a comment that is active, is what the selector looks for.
trait Work {
    const FAULT: Fault;
    /// Changes the leaf; what is left in it afterwards need not be a value of the same kind. Gives what it was a comment's text of, if it was one.
    fn value(&mut self, value: &mut Value, place: &Place<'_>, hit: bool, mac: &mut Mac) -> Result<Option<Comment>>;
    fn comment(&mut self, comment: &mut Comment, place: &Place<'_>, hit: bool) -> Result<()>;
}

struct Mac(Sha512);

impl Mac {
    fn add(&mut self, value: &Value) {
        // Texts are most of a file: not copied.
        match value {
            Value::Text(text) | Value::Bytes(text) => self.0.update(text.as_bytes()),
            other => self.0.update(&plain_bytes(other).unwrap_or_default()),
        }
    }
}

fn walk<W: Work>(documents: &mut [Branch], rule: &Rule, work: &mut W) -> Result<String> {
    let mut mac = Mac(Sha512::new());
    if rule.mac_only_encrypted {
        mac.0.update(&ENCRYPTED_ONLY);
    }
    let mut walker = Walker { rule, work, mac, aad: Vec::new() };
    for branch in documents {
        walker.branch(branch, false).map_err(|error| error.as_fault(W::FAULT))?;
    }
    let digest = walker.mac.0.finish();
    Ok(digest.iter().map(|byte| format!("{byte:02X}")).collect())
}

struct Walker<'a, W> {
    rule: &'a Rule,
    work: &'a mut W,
    mac: Mac,
    aad: Vec<u8>,
}

impl<W: Work> Walker<'_, W> {
    /// `hit` is what holds for the whole branch; `active` what its latest comments add.
    fn branch(&mut self, branch: &mut Branch, hit: bool) -> Result<()> {
        let mut active = false;
        for item in &mut branch.items {
            match item {
                Item::Comment(comment) => active |= self.comment(comment, hit || active)?,
                Item::Entry(entry) => {
                    let line = entry.line.0;
                    let Key::Text(key) = &entry.key else {
                        let Key::Other { text, kind } = &entry.key else { continue };
                        return Err(Error::new(
                            W::FAULT,
                            format!("the key {text} is no text (type {kind}), and only texts can be keys: put it in quotes"),
                        )
                        .at(line));
                    };
                    let length = self.aad.len();
                    self.aad.extend_from_slice(key.as_bytes());
                    self.aad.push(b':');
                    let hit = hit || active || self.rule.key_hits(key);
                    if let Some(comment) = self.value(&mut entry.value, line, hit)? {
                        // The encrypted text of a comment in the place of a value: the reference would write a comment there and
                        // fail to; the text is all that can be kept.
                        entry.value = Value::Text(comment.text);
                    }
                    self.aad.truncate(length);
                    active = false;
                }
            }
        }
        Ok(())
    }

    fn list(&mut self, list: &mut [Element], hit: bool) -> Result<()> {
        let mut active = false;
        for element in list {
            match element {
                Element::Comment(comment) => active |= self.comment(comment, hit || active)?,
                Element::Value(value, line) => {
                    let line = *line;
                    match self.value(value, line.0, hit || active)? {
                        Some(mut comment) => {
                            comment.line = line;
                            active |= self.rule.comment_hits(&comment);
                            *element = Element::Comment(comment);
                        }
                        None => active = false,
                    }
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, value: &mut Value, line: u32, hit: bool) -> Result<Option<Comment>> {
        match value {
            Value::Map(branch) => self.branch(branch, hit).map(|()| None),
            Value::List(list) => self.list(list, hit).map(|()| None),
            Value::Null => Ok(None),
            Value::Unsupported { text, kind } => Err(Error::new(
                W::FAULT,
                format!("{text} cannot be encrypted: it is of type {kind}; put it in quotes to make it a text"),
            )
            .at(line)),
            leaf => {
                let place = Place { aad: &self.aad, line };
                self.work.value(leaf, &place, hit, &mut self.mac).map_err(|error| error.at(line))
            }
        }
    }

    /// Gives whether the comment is one that the selector looks for. To leave values plain it counts for itself too; to encrypt
    /// them it doesn't, so that it stays readable.
    fn comment(&mut self, comment: &mut Comment, hit: bool) -> Result<bool> {
        let own = self.rule.comment_hits(comment);
        let counts = own && matches!(self.rule.test, Test::Comment { encrypts: false, .. });
        let line = comment.line.0;
        // In a document of its own, the path to a comment is empty and its place is a colon all the same.
        let place = Place { aad: if self.aad.is_empty() { b":" } else { &self.aad }, line };
        self.work.comment(comment, &place, hit || counts).map_err(|error| error.at(line))?;
        Ok(own)
    }
}

struct Encrypting<'a, 'b> {
    rule: &'a Rule,
    cipher: &'a mut Cipher<'b>,
}

impl Work for Encrypting<'_, '_> {
    const FAULT: Fault = Fault::Encrypting;

    fn value(&mut self, value: &mut Value, place: &Place<'_>, hit: bool, mac: &mut Mac) -> Result<Option<Comment>> {
        let encrypts = self.rule.encrypts(hit);
        if encrypts || !self.rule.mac_only_encrypted {
            mac.add(value);
        }
        if encrypts {
            *value = Value::Text(self.cipher.encrypt(value, place.aad)?);
        }
        Ok(None)
    }

    fn comment(&mut self, comment: &mut Comment, place: &Place<'_>, hit: bool) -> Result<()> {
        if !self.rule.encrypts(hit) {
            return Ok(());
        }
        comment.text = self.cipher.encrypt_comment(comment, place.aad);
        if self.rule.comment_hits(comment) && matches!(self.rule.test, Test::Comment { encrypts: false, .. }) {
            return Err(Error::new(
                Self::FAULT,
                "an encrypted comment matches unencrypted_comment_regex, so that the file could not be decrypted: make the expression narrower",
            ));
        }
        Ok(())
    }
}

struct Decrypting<'a, 'b> {
    rule: &'a Rule,
    cipher: &'a mut Cipher<'b>,
    plain_comments: Vec<u32>,
}

impl Work for Decrypting<'_, '_> {
    const FAULT: Fault = Fault::Decrypting;

    fn value(&mut self, value: &mut Value, place: &Place<'_>, hit: bool, mac: &mut Mac) -> Result<Option<Comment>> {
        let encrypts = self.rule.encrypts(hit);
        if encrypts {
            let Value::Text(text) = value else {
                return Err(Error::new(
                    Self::FAULT,
                    format!(
                        "the value is a {} and not encrypted, and should be: encrypt it with `sops edit` or `sops set`",
                        value.kind()
                    ),
                ));
            };
            match self.cipher.decrypt(text, place.aad)? {
                Opened::Value(opened) => *value = opened,
                Opened::Comment(text) => return Ok(Some(Comment::new(text, place.line))),
            }
        }
        if encrypts || !self.rule.mac_only_encrypted {
            mac.add(value);
        }
        Ok(None)
    }

    fn comment(&mut self, comment: &mut Comment, place: &Place<'_>, hit: bool) -> Result<()> {
        if self.rule.encrypts(hit) && !comment.text.is_empty() {
            match self.cipher.decrypt(&comment.text, place.aad) {
                Ok(Opened::Comment(text)) => {
                    comment.text = text;
                    // As the reference has it: what was encrypted beside a value is decrypted above it.
                    comment.inline = false;
                }
                Ok(Opened::Value(_)) | Err(_) => self.plain_comments.push(place.line),
            }
        }
        Ok(())
    }
}

struct Looking<'a> {
    rule: &'a Rule,
}

impl Work for Looking<'_> {
    const FAULT: Fault = Fault::Encrypting;

    fn value(&mut self, value: &mut Value, _: &Place<'_>, hit: bool, mac: &mut Mac) -> Result<Option<Comment>> {
        if self.rule.encrypts(hit) || !self.rule.mac_only_encrypted {
            mac.add(value);
        }
        Ok(None)
    }

    fn comment(&mut self, _: &mut Comment, _: &Place<'_>, _: bool) -> Result<()> {
        Ok(())
    }
}

struct Inspecting<'a, 'b> {
    rule: &'a Rule,
    look: &'b mut dyn FnMut(&Place<'_>, &Leaf<'_>, bool),
}

impl Work for Inspecting<'_, '_> {
    const FAULT: Fault = Fault::Encrypting;

    fn value(&mut self, value: &mut Value, place: &Place<'_>, hit: bool, _: &mut Mac) -> Result<Option<Comment>> {
        (self.look)(place, &Leaf::Value(value), self.rule.encrypts(hit));
        Ok(None)
    }

    fn comment(&mut self, comment: &mut Comment, place: &Place<'_>, hit: bool) -> Result<()> {
        (self.look)(place, &Leaf::Comment(comment), self.rule.encrypts(hit));
        Ok(())
    }
}
