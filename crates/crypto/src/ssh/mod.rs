//! OpenSSH's forms of keys and certificates: `authorized_keys` lines (RFC 4253 section 6.6, RFC 5656, RFC 8709), private key files
//! ([PROTOCOL.key](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.key)), keys of security tokens
//! ([PROTOCOL.u2f](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.u2f)) and certificates
//! ([PROTOCOL.certkeys](https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.certkeys)).
//!
//! What is absent: DSA, which OpenSSH has dropped; RSA signatures with SHA-1; private keys under a passphrase.

mod certificate;
mod private;
mod public;
mod wire;

pub use certificate::{Certificate, CertificateKind, Signature};
pub use private::{read_private, write_ed25519};
pub use public::{SshKeyKind, SshPublicKey};

use std::fmt;

/// Why a key could not be read. Says nothing of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshError {
    /// No base64, from this byte on.
    Base64(usize),
    /// The structure ends too early.
    Short,
    /// A kind of key that is not known here.
    Algorithm,
    /// The structure does not hold together, or the numbers make no key.
    Malformed,
    /// The file holds no private key.
    NoKey,
    /// The private key is under a passphrase.
    Protected,
}

impl fmt::Display for SshError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base64(place) => write!(f, "illegal base64 data at input byte {place}"),
            Self::Short => f.write_str("ssh: short read"),
            Self::Algorithm => f.write_str("ssh: unknown key algorithm"),
            Self::Malformed => f.write_str("ssh: the key does not hold together"),
            Self::NoKey => f.write_str("ssh: no key found"),
            Self::Protected => f.write_str("ssh: this private key is passphrase protected"),
        }
    }
}

impl std::error::Error for SshError {}

#[cfg(test)]
mod tests;
