//! Who may open an age file: keys, keys of plugins, SSH keys, and files of keys that a passphrase locks.

use super::callbacks::Person;
use super::ssh::SshKey;
use super::{file, recipient};
use crate::Ask;
use age::armor::ArmoredReader;
use age::secrecy::SecretString;
use age::{DecryptError, Decryptor};
use coffer_sops::{Error, Result};
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

type Unwrapped = Result<Option<Zeroizing<Vec<u8>>>>;

/// The most work that a passphrase may ask for: four times what age itself asks for. More would take minutes and gigabytes.
const MOST_WORK: u8 = 22;

pub(super) enum Identity {
    X25519(age::x25519::Identity),
    Plugin(age::plugin::Identity),
    Ssh(SshKey),
    /// An age file that holds identities, armored or not.
    Locked(LockedFile),
}

pub(super) struct LockedFile {
    /// For the question and for errors.
    name: String,
    bytes: Vec<u8>,
    /// What it held, once it was opened; or why it can't be.
    opened: Mutex<Option<Result<Arc<Vec<Identity>>, String>>>,
}

impl Identity {
    /// Whether a passphrase is needed.
    pub(super) fn is_locked(&self) -> bool {
        match self {
            Self::Locked(_) => true,
            Self::Ssh(key) => key.is_locked(),
            Self::X25519(_) | Self::Plugin(_) => false,
        }
    }

    /// The data key; nothing where the file is not for this identity.
    pub(super) fn unwrap(&self, enc: &str, ask: &Arc<dyn Ask>) -> Unwrapped {
        match self {
            Self::X25519(identity) => file::decrypt(enc, identity),
            Self::Plugin(identity) => {
                let name = identity.plugin().to_owned();
                let plugin = age::plugin::IdentityPluginV1::new(&name, std::slice::from_ref(identity), Person(ask.clone()));
                file::decrypt(enc, &plugin.map_err(|_| recipient::missing(&name))?)
            }
            Self::Ssh(key) => key.unwrap(enc, ask),
            Self::Locked(locked) => {
                let mut errors = Vec::new();
                for identity in locked.open(ask)?.iter() {
                    match identity.unwrap(enc, ask) {
                        Ok(None) => {}
                        Ok(found) => return Ok(found),
                        Err(error) => errors.push(error.message),
                    }
                }
                if errors.is_empty() { Ok(None) } else { Err(Error::generic(errors.join("; "))) }
            }
        }
    }
}

/// The identities in the content of a file, a variable, or what a command printed. `by_words`: several may stand on one line.
///
/// # Errors
/// With the place and the line, and nothing of the content.
pub(super) fn read(name: &str, bytes: Vec<u8>, by_words: bool) -> Result<Vec<Identity>, String> {
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"age-encryption") || start.starts_with(b"-----BEGIN AGE") {
        return Ok(vec![Identity::Locked(LockedFile { name: name.to_owned(), bytes, opened: Mutex::default() })]);
    }
    let text =
        Zeroizing::new(String::from_utf8(bytes).map_err(|_| format!("failed to parse '{name}' age identities: it is no text"))?);
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = if by_words { line.split_whitespace().collect() } else { vec![line.trim_end()] };
        for word in words {
            let identity =
                parse(word).map_err(|why| format!("failed to parse '{name}' age identities: line {}: {why}", number + 1))?;
            found.push(identity);
        }
    }
    Ok(found)
}

fn parse(text: &str) -> Result<Identity, &'static str> {
    if text.starts_with("AGE-SECRET-KEY-PQ-1") {
        return Err("identities of the post-quantum kind are not known to this version");
    }
    if text.starts_with("AGE-SECRET-KEY-1") {
        return text.parse().map(Identity::X25519).map_err(|_| "malformed secret key: mistyped or cut off");
    }
    if text.starts_with("AGE-PLUGIN-") {
        return text.parse().map(Identity::Plugin).map_err(|_| "malformed identity of a plugin: mistyped or cut off");
    }
    Err("unknown identity type: it begins neither with AGE-SECRET-KEY-1 nor with AGE-PLUGIN-")
}

impl LockedFile {
    /// Asks for the passphrase once; a wrong one is asked for no second time, since every file would ask again.
    fn open(&self, ask: &Arc<dyn Ask>) -> Result<Arc<Vec<Identity>>> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.get_or_insert_with(|| self.ask_and_open(ask).map(Arc::new)).clone().map_err(Error::generic)
    }

    fn ask_and_open(&self, ask: &Arc<dyn Ask>) -> Result<Vec<Identity>, String> {
        let failed = |e: &DecryptError| format!("'{}': failed to decrypt identity file: {}", self.name, file::decrypt_words(e));
        let decryptor = Decryptor::new(ArmoredReader::new(self.bytes.trim_ascii_start())).map_err(|e| failed(&e))?;
        if !decryptor.is_scrypt() {
            return Err(format!("'{}': the identity file is not locked with a passphrase but for other keys", self.name));
        }
        let question = format!("Enter passphrase for identity '{}':", self.name);
        let passphrase = ask.secret(&question).ok_or_else(|| {
            format!("'{}': could not read passphrase: there is no terminal, or the question was given up", self.name)
        })?;
        let mut identity = age::scrypt::Identity::new(SecretString::from(passphrase.as_str()));
        identity.set_max_work_factor(MOST_WORK);
        let reader = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|e| match e {
            DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys => {
                format!("'{}': incorrect passphrase", self.name)
            }
            other => failed(&other),
        })?;
        // Identity files are small; a larger one leaves a copy behind where it grows.
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
        reader.take(super::source::MOST).read_to_end(&mut bytes).map_err(|e| failed(&DecryptError::Io(e)))?;
        let found = read(&self.name, std::mem::take(&mut *bytes), false)?;
        if found.iter().any(|identity| matches!(identity, Identity::Locked(_))) {
            return Err(format!("'{}': the identity file holds another locked file", self.name));
        }
        Ok(found)
    }
}
