//! SSH private keys as age identities: OpenSSH's form and, for RSA, PEM.

use super::file;
use crate::Ask;
use age::DecryptError;
use age::secrecy::SecretString;
use age::ssh::Identity;
use age_core::format::{FileKey, Stanza};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use coffer_crypto::mac::sha256;
use coffer_sops::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

pub(super) struct SshKey {
    /// For the question and for errors.
    name: String,
    key: Identity,
    /// By which files name a locked key: so that no passphrase is asked for in vain.
    tag: Option<String>,
    opened: Mutex<Option<Result<Identity, String>>>,
}

impl SshKey {
    /// Reads a private key file. `name` is its place.
    pub(super) fn read(name: &str, bytes: &[u8], may_be_locked: bool) -> Result<Self, String> {
        // The reader wants whole lines.
        let mut text = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
        text.extend(bytes.trim_ascii().iter().filter(|byte| **byte != b'\r'));
        text.push(b'\n');
        let malformed = |why: &str| format!("malformed SSH identity in '{name}': {why}");
        let key =
            Identity::from_buffer(text.as_slice(), Some(name.to_owned())).map_err(|_| malformed("no private key of OpenSSH"))?;
        let tag = match &key {
            Identity::Unencrypted(_) => None,
            Identity::Encrypted(_) if may_be_locked => {
                Some(tag_of(&text).ok_or_else(|| malformed("its public half can't be read"))?)
            }
            Identity::Encrypted(_) => {
                return Err(format!("the SSH key in '{name}' is locked with a passphrase, which is not supported there"));
            }
            Identity::Unsupported(_) => {
                return Err(malformed(
                    "keys of this kind, or locked in this way, can't be used; it must be ssh-ed25519 or ssh-rsa in OpenSSH's form",
                ));
            }
        };
        Ok(Self { name: name.to_owned(), key, tag, opened: Mutex::default() })
    }

    pub(super) const fn is_locked(&self) -> bool {
        self.tag.is_some()
    }

    pub(super) fn unwrap(&self, enc: &str, ask: &Arc<dyn Ask>) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(tag) = &self.tag else { return file::decrypt(enc, &self.key) };
        let attempt = Attempt { key: self, tag, ask, failed: Mutex::default() };
        let outcome = file::decrypt(enc, &attempt);
        match attempt.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(why) => Err(Error::generic(why)),
            None => outcome,
        }
    }

    /// Asks for the passphrase once.
    fn open(&self, ask: &Arc<dyn Ask>) -> Result<Identity, String> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let open = || {
            let Identity::Encrypted(key) = &self.key else { return Ok(self.key.clone()) };
            let passphrase = ask.secret(&format!("Enter passphrase for \"{}\":", self.name)).ok_or_else(|| {
                format!("could not read passphrase for '{}': there is no terminal, or the question was given up", self.name)
            })?;
            let key = key.decrypt(SecretString::from(passphrase.as_str()));
            key.map(Identity::from).map_err(|_| format!("'{}': incorrect passphrase", self.name))
        };
        opened.get_or_insert_with(open).clone()
    }
}

/// A locked key against one file: it is opened when the file names it.
struct Attempt<'a> {
    key: &'a SshKey,
    tag: &'a str,
    ask: &'a Arc<dyn Ask>,
    failed: Mutex<Option<String>>,
}

impl age::Identity for Attempt<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        let is_for_us =
            matches!(stanza.tag.as_str(), "ssh-ed25519" | "ssh-rsa") && stanza.args.first().is_some_and(|tag| tag == self.tag);
        if !is_for_us {
            return None;
        }
        match self.key.open(self.ask) {
            Ok(key) => key.unwrap_stanza(stanza),
            Err(why) => {
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                Some(Err(DecryptError::KeyDecryptionFailed))
            }
        }
    }
}

/// The tag of a key in age files: the start of the digest of its public half, which stands in the clear in OpenSSH's form
/// (PROTOCOL.key: a magic text, cipher, KDF, its options, the number of keys, the public key).
fn tag_of(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let body: Zeroizing<String> = Zeroizing::new(text.lines().filter(|line| !line.starts_with("-----")).collect());
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(body.as_bytes()).ok()?);
    let mut rest = bytes.strip_prefix(b"openssh-key-v1\0")?;
    for _ in 0..3 {
        (_, rest) = string(rest)?;
    }
    let (public, _) = string(rest.get(4..)?)?;
    Some(BASE64_STANDARD_NO_PAD.encode(&sha256(&[public])[..4]))
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_at_checked(4)?;
    rest.split_at_checked(u32::from_be_bytes(length.try_into().ok()?) as usize)
}
