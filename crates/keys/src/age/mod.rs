//! age keys: a data key is an armored age file (age-encryption.org/v1) with one recipient.

mod callbacks;
mod file;
mod identity;
mod recipient;
mod source;
mod ssh;

use crate::Ask;
use coffer_client::Environment;
use coffer_sops::{Error, Result};
use source::{Loaded, Source};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

pub use recipient::check as check_recipient;

/// Identities of every source that sops knows, each read once.
pub(crate) struct Age {
    env: Environment,
    ask: Arc<dyn Ask>,
    /// By source, and for commands by recipient too: they are told which one is wanted.
    loaded: Mutex<BTreeMap<(Source, String), Arc<Loaded>>>,
}

impl Age {
    pub(crate) fn new(env: Environment, ask: Arc<dyn Ask>) -> Self {
        Self { env, ask, loaded: Mutex::default() }
    }

    /// Encrypts for one recipient.
    pub(crate) fn wrap(&self, recipient: &str, data_key: &[u8]) -> Result<String> {
        let parsed = recipient::parse(recipient)?;
        recipient::with(&parsed, &self.ask, |recipient| file::encrypt(recipient, data_key))
    }

    /// Decrypts with the first identity that fits, those that need a passphrase last.
    pub(crate) fn unwrap(&self, recipient: &str, enc: &str) -> Result<Zeroizing<Vec<u8>>> {
        // A damaged file is damaged whatever identity there is.
        file::check(enc)?;
        let mut report = Report::default();
        let mut locked = Vec::new();
        for source in Source::ALL {
            let loaded = self.load(source, recipient);
            match &*loaded {
                Loaded::Absent(place) => report.absent.push(place.clone()),
                Loaded::Failed(why) => report.errors.push(why.clone()),
                Loaded::Found(found) if found.is_empty() => report.absent.push(source.place(&self.env)),
                Loaded::Found(found) => {
                    for identity in found.iter().filter(|identity| !identity.is_locked()) {
                        if let Some(data_key) = report.attempt(identity.unwrap(enc, &self.ask)) {
                            return Ok(data_key);
                        }
                    }
                    locked.push(loaded);
                }
            }
        }
        let found = locked.iter().filter_map(|loaded| if let Loaded::Found(found) = &**loaded { Some(found) } else { None });
        for identity in found.flatten().filter(|identity| identity.is_locked()) {
            if let Some(data_key) = report.attempt(identity.unwrap(enc, &self.ask)) {
                return Ok(data_key);
            }
        }
        Err(report.error())
    }

    fn load(&self, source: Source, recipient: &str) -> Arc<Loaded> {
        let name = (source, if source.is_command() { recipient.to_owned() } else { String::new() });
        // Held while it is read, so that no file is read and no command run twice.
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.entry(name).or_insert_with(|| Arc::new(source.load(&self.env, recipient))).clone()
    }
}

/// What was tried, for the error.
#[derive(Default)]
struct Report {
    tried: usize,
    errors: Vec<String>,
    absent: Vec<String>,
}

impl Report {
    fn attempt(&mut self, outcome: Result<Option<Zeroizing<Vec<u8>>>>) -> Option<Zeroizing<Vec<u8>>> {
        self.tried += 1;
        match outcome {
            Ok(found) => found,
            Err(error) => {
                self.errors.push(error.message);
                None
            }
        }
    }

    fn error(self) -> Error {
        let mut text = match self.tried {
            0 => "failed to load age identities".to_owned(),
            1 => "the one age identity that is here is not for this data key".to_owned(),
            n => format!("none of the {n} age identities that are here is for this data key"),
        };
        if !self.errors.is_empty() {
            text.push_str(". Errors while loading age identities: ");
            text.push_str(&self.errors.join("; "));
        }
        if !self.absent.is_empty() {
            let quoted: Vec<String> = self.absent.iter().map(|place| format!("'{place}'")).collect();
            let (last, rest) = quoted.split_last().map_or(("", &[][..]), |(last, rest)| (last.as_str(), rest));
            text.push_str(&match rest {
                [] => format!(". Did not find keys in location {last}."),
                [one] => format!(". Did not find keys in locations {one} and {last}."),
                many => format!(". Did not find keys in locations {}, and {last}.", many.join(", ")),
            });
        }
        Error::generic(text)
    }
}

#[cfg(test)]
mod tests;
