//! The algorithms of RFC 7518 section 3.1 and RFC 8037 that verify with a public key.

use crate::digest::Algorithm as Digest;
use crate::pk::{KeyKind, Scheme};
use std::fmt;

/// A signature algorithm. `none` and the HMACs have no value here, so no key can be used with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    pub const ALL: [Self; 10] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::EdDsa,
    ];

    /// The name in a header's `alg`, which is case-sensitive.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// How it signs: RSASSA-PSS with a salt as long as the digest, ECDSA as `r || s` (RFC 7518 sections 3.3 to 3.5).
    pub(super) const fn scheme(self) -> Scheme {
        match self {
            Self::Rs256 => Scheme::Pkcs1(Digest::Sha256),
            Self::Rs384 => Scheme::Pkcs1(Digest::Sha384),
            Self::Rs512 => Scheme::Pkcs1(Digest::Sha512),
            Self::Ps256 => Scheme::Pss(Digest::Sha256),
            Self::Ps384 => Scheme::Pss(Digest::Sha384),
            Self::Ps512 => Scheme::Pss(Digest::Sha512),
            Self::Es256 => Scheme::EcdsaFixed(Digest::Sha256),
            Self::Es384 => Scheme::EcdsaFixed(Digest::Sha384),
            Self::Es512 => Scheme::EcdsaFixed(Digest::Sha512),
            Self::EdDsa => Scheme::Ed25519,
        }
    }

    /// The one kind of key that it is made for; of RSA 2048 bits stand for all.
    pub(super) const fn kind(self) -> KeyKind {
        match self {
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::Es512 => KeyKind::P521,
            Self::EdDsa => KeyKind::Ed25519,
            _ => KeyKind::Rsa(2048),
        }
    }

    pub(super) fn fits(self, kind: KeyKind) -> bool {
        kind == self.kind() || matches!((kind, self.kind()), (KeyKind::Rsa(_), KeyKind::Rsa(_)))
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_names_of_public_key_algorithms_are_known() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
            assert_eq!(Algorithm::parse(&algorithm.as_str().to_lowercase()), None);
        }
        for other in ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "ES256K", "RS1", "RSA-OAEP", "RS256 "] {
            assert_eq!(Algorithm::parse(other), None, "{other}");
        }
    }
}
