//! Whom a role takes among those that it trusts.

use crate::jwt::claims::glob;
use coffer_crypto::x509::{Certificate, extension_text};
use coffer_types::{Error, Result};
use serde::{Deserialize, Serialize};

/// Patterns of what a certificate must say; a list that is not there or empty asks for nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Allowed {
    pub(super) names: Option<Vec<String>>,
    pub(super) common_names: Option<Vec<String>>,
    pub(super) dns_sans: Option<Vec<String>>,
    pub(super) email_sans: Option<Vec<String>>,
    pub(super) uri_sans: Option<Vec<String>>,
    pub(super) organizational_units: Option<Vec<String>>,
    pub(super) extensions: Option<Vec<String>>,
}

/// An extension that must be there.
struct Wanted<'a> {
    oid: &'a str,
    pattern: &'a str,
    /// Of the DER in hexadecimal, instead of the text.
    hex: bool,
}

impl Allowed {
    /// # Errors
    /// A required extension that can't be read.
    pub(super) fn check(&self) -> Result<()> {
        if self.extensions.iter().flatten().any(|text| Wanted::read(text).is_none()) {
            return Err(Error::bad_request("required_extensions: each must be like 1.2.3.4:pattern or hex:1.2.3.4:pattern"));
        }
        Ok(())
    }

    /// Whether this leaf is one of them.
    pub(super) fn takes(&self, leaf: &Certificate) -> bool {
        let names = leaf.names();
        let common = [leaf.common_name()];
        let any_name = || common.iter().chain(&names.dns).chain(&names.email);
        one_of(self.names.as_deref(), any_name())
            && one_of(self.common_names.as_deref(), common.iter())
            && one_of(self.dns_sans.as_deref(), names.dns.iter())
            && one_of(self.email_sans.as_deref(), names.email.iter())
            && one_of(self.uri_sans.as_deref(), names.uri.iter())
            && one_of(self.organizational_units.as_deref(), leaf.organizational_units().iter())
            && self.extensions.iter().flatten().all(|text| Wanted::read(text).is_some_and(|wanted| wanted.is_in(leaf)))
    }
}

fn one_of<'n>(patterns: Option<&[String]>, names: impl Iterator<Item = &'n String> + Clone) -> bool {
    let Some(patterns) = patterns.filter(|patterns| !patterns.is_empty()) else { return true };
    patterns.iter().any(|pattern| names.clone().any(|name| glob(pattern, name)))
}

impl<'a> Wanted<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (text, hex) = text.strip_prefix("hex:").map_or((text, false), |rest| (rest, true));
        let (oid, pattern) = text.split_once(':')?;
        is_oid(oid).then_some(Self { oid, pattern, hex })
    }

    fn is_in(&self, leaf: &Certificate) -> bool {
        leaf.extensions().iter().filter(|extension| extension.oid == self.oid).any(|extension| {
            if self.hex {
                glob(&self.pattern.to_ascii_lowercase(), &hex::encode(&extension.value))
            } else {
                extension_text(&extension.value).is_some_and(|text| glob(self.pattern, &text))
            }
        })
    }
}

/// `1.2.3`
pub(super) fn is_oid(text: &str) -> bool {
    text.split('.').count() > 1 && text.split('.').all(|arc| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text) in [
            ("", ""),
            ("a", "a"),
            ("*", ""),
            ("*", "x"),
            ("a*", "a"),
            ("*a", "ba"),
            ("a*c", "abc"),
            ("*b*", "abc"),
            ("a**c", "ac"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", "A"),
            ("a", "ab"),
            ("*a", "ab"),
            ("a*a", "a"),
            ("a?c", "abc"),
            ("*.example.com", "example.com"),
            ("*.example.com", "a.example.com.evil"),
            ("a*bc*c", "abc"),
        ] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn required_extensions_have_a_form() {
        for good in ["1.2.3:", "1.2.3:*", "1.2:a:b", "hex:1.2.3:0c*"] {
            assert!(Allowed { extensions: Some(vec![good.to_owned()]), ..Allowed::default() }.check().is_ok());
        }
        for bad in ["", "1.2.3", "x:y", "1..2:a", "hex:1.2.3", "oct:1.2.3:4", "1.2.:a"] {
            assert!(Allowed { extensions: Some(vec![bad.to_owned()]), ..Allowed::default() }.check().is_err(), "{bad}");
        }
    }
}
