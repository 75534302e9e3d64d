//! Who an age file is for: `age1…`, `age1<plugin>1…`, `ssh-ed25519 …`, `ssh-rsa …`.

use super::callbacks::Person;
use crate::Ask;
use coffer_sops::{Error, Result};
use std::sync::Arc;

pub(super) enum Recipient {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
    Plugin(age::plugin::Recipient),
}

/// Whether this is a recipient that can be encrypted for.
///
/// # Errors
/// What is wrong with it.
pub fn check(text: &str) -> Result<()> {
    parse(text).map(drop)
}

pub(super) fn parse(text: &str) -> Result<Recipient> {
    let text = text.trim();
    if text.starts_with("age1pq1") {
        return Err(Error::generic(format!(
            "the recipient {} is of the post-quantum kind, which this version does not have: use one that begins with age1 and has no pq",
            short(text)
        )));
    }
    let key = |why: &dyn std::fmt::Display| {
        Error::generic(format!("failed to parse input as Bech32-encoded age public key: {}: {why}", short(text)))
    };
    if let Some(rest) = text.strip_prefix("age1") {
        return if rest.contains('1') {
            text.parse().map(Recipient::Plugin).map_err(|why: &str| {
                Error::generic(format!("failed to parse input as age key from age plugin: {}: {why}", short(text)))
            })
        } else {
            text.parse().map(Recipient::X25519).map_err(|why: &str| key(&why))
        };
    }
    if text.starts_with("ssh-") {
        return text.parse().map(Recipient::Ssh).map_err(|why| {
            let why = match why {
                age::ssh::ParseRecipientKeyError::Ignore => "no SSH key of the kind ssh-ed25519 or ssh-rsa".to_owned(),
                age::ssh::ParseRecipientKeyError::Invalid(why) => why.to_owned(),
                age::ssh::ParseRecipientKeyError::RsaModulusTooLarge => "the RSA key is too large".to_owned(),
                age::ssh::ParseRecipientKeyError::RsaModulusTooSmall => "the RSA key is shorter than 2048 bits".to_owned(),
                age::ssh::ParseRecipientKeyError::Unsupported(kind) => format!("keys of the kind {kind} can't be encrypted for"),
                other => format!("{other:?}"),
            };
            Error::generic(format!("failed to parse input as age-ssh public key: {}: {why}", short(text)))
        });
    }
    if text.starts_with("AGE-SECRET-KEY-") || text.starts_with("AGE-PLUGIN-") {
        return Err(Error::generic(
            "a secret age identity stands where a recipient belongs; give its public key, which begins with age1",
        ));
    }
    Err(Error::generic(format!("failed to parse input, unknown recipient type: {:?}", short(text))))
}

pub(super) fn with<T>(
    recipient: &Recipient,
    ask: &Arc<dyn Ask>,
    each: impl FnOnce(&dyn age::Recipient) -> Result<T>,
) -> Result<T> {
    match recipient {
        Recipient::X25519(recipient) => each(recipient),
        Recipient::Ssh(recipient) => each(recipient),
        Recipient::Plugin(recipient) => {
            let name = recipient.plugin().to_owned();
            let plugin = age::plugin::RecipientPluginV1::new(&name, std::slice::from_ref(recipient), &[], Person(ask.clone()));
            each(&plugin.map_err(|_| missing(&name))?)
        }
    }
}

/// The error for a plugin that is not installed.
pub(super) fn missing(name: &str) -> Error {
    Error::generic(format!("the program age-plugin-{name} is not on the PATH; install that plugin of age"))
}

/// Enough to know it by; a mistyped line may be anything.
fn short(text: &str) -> String {
    let mut out: String = text.chars().take(40).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().count() > 40 {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_recipient() {
        for text in [
            "age1elgjcq9cc720va5327ctgwcqqyczee8dnuprrq0zuxwngr4ctcnqvlmwly",
            "  age1elgjcq9cc720va5327ctgwcqqyczee8dnuprrq0zuxwngr4ctcnqvlmwly\n",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDfn9gh4RIjy1SkXOz8Ps/vGfXoeEv0YZEN8kCVMfD5j coffer-test",
        ] {
            check(text).unwrap();
        }
        for (text, want) in [
            ("", "unknown recipient type"),
            ("garbage", "unknown recipient type"),
            ("age1", "Bech32"),
            ("age1elgjcq9cc720va5327ctgwcqqyczee8dnuprrq0zuxwngr4ctcnqvlmwlz", "Bech32"),
            ("age1pq1abc", "post-quantum"),
            ("age1x1abc", "plugin"),
            ("ssh-ed25519 AAAA", "age-ssh"),
            ("ssh-dss AAAAB3NzaC1kc3M=", "age-ssh"),
            ("AGE-SECRET-KEY-15FV757canary", "stands where a recipient belongs"),
        ] {
            let error = check(text).unwrap_err();
            assert!(error.message.contains(want) && !error.message.contains("canary"), "{text}: {error}");
        }
    }
}
