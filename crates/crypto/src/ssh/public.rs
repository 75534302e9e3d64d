//! Public keys as `authorized_keys` and `*.pub` files have them.

use super::SshError;
use super::wire::{Reader, put_number, put_string};
use crate::digest::Algorithm;
use crate::pk::{KeyKind, PublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshPublicKey {
    kind: SshKeyKind,
    blob: Vec<u8>,
    comment: String,
}

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshKeyKind {
    /// With so many bits, 1024 to 8192.
    Rsa(u32),
    /// On one of NIST's curves.
    Ecdsa(KeyKind),
    Ed25519,
    /// Ed25519 in a security token.
    SkEd25519,
    /// P-256 in a security token.
    SkEcdsa,
}

impl SshKeyKind {
    /// The name in a key and before it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa(_) => "ssh-rsa",
            Self::Ecdsa(KeyKind::P384) => "ecdsa-sha2-nistp384",
            Self::Ecdsa(KeyKind::P521) => "ecdsa-sha2-nistp521",
            Self::Ecdsa(_) => "ecdsa-sha2-nistp256",
            Self::Ed25519 => "ssh-ed25519",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsa => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// The name of a certificate on such a key.
    pub const fn certificate_name(self) -> &'static str {
        match self {
            Self::Rsa(_) => "ssh-rsa-cert-v01@openssh.com",
            Self::Ecdsa(KeyKind::P384) => "ecdsa-sha2-nistp384-cert-v01@openssh.com",
            Self::Ecdsa(KeyKind::P521) => "ecdsa-sha2-nistp521-cert-v01@openssh.com",
            Self::Ecdsa(_) => "ecdsa-sha2-nistp256-cert-v01@openssh.com",
            Self::Ed25519 => "ssh-ed25519-cert-v01@openssh.com",
            Self::SkEd25519 => "sk-ssh-ed25519-cert-v01@openssh.com",
            Self::SkEcdsa => "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
        }
    }

    /// As OpenSSH counts them.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Rsa(bits) => bits,
            Self::Ecdsa(KeyKind::P384) => 384,
            Self::Ecdsa(KeyKind::P521) => 521,
            _ => 256,
        }
    }
}

impl SshPublicKey {
    /// Reads a line `TYPE BASE64 COMMENT`, or the base64 alone.
    ///
    /// # Errors
    /// [`SshError`], also for certificates.
    pub fn parse(line: &str) -> Result<Self, SshError> {
        let line = line.trim();
        let (first, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
        let (text, comment, named) = if rest.is_empty() {
            (first, "", None)
        } else {
            let rest = rest.trim_start();
            let (text, comment) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
            (text, comment.trim(), Some(first))
        };
        if comment.chars().any(char::is_control) {
            return Err(SshError::Malformed);
        }
        let blob = STANDARD.decode(text).map_err(|error| match error {
            base64::DecodeError::InvalidByte(place, _) | base64::DecodeError::InvalidLastSymbol(place, _) => {
                SshError::Base64(place)
            }
            _ => SshError::Base64(0),
        })?;
        let key = Self { comment: comment.to_owned(), ..Self::from_blob(&blob)? };
        match named {
            Some(named) if named != key.kind.name() => Err(SshError::Malformed),
            _ => Ok(key),
        }
    }

    /// Reads the structure inside the base64.
    ///
    /// # Errors
    /// [`SshError`].
    pub fn from_blob(blob: &[u8]) -> Result<Self, SshError> {
        let mut reader = Reader(blob);
        let kind = match reader.string()? {
            b"ssh-rsa" => {
                let (exponent, modulus) = (reader.positive()?, reader.positive()?);
                rsa(modulus, exponent)?
            }
            b"ssh-ed25519" => {
                ed25519(reader.string()?)?;
                SshKeyKind::Ed25519
            }
            b"ecdsa-sha2-nistp256" => SshKeyKind::Ecdsa(ecdsa(&mut reader, b"nistp256", KeyKind::P256, 32)?),
            b"ecdsa-sha2-nistp384" => SshKeyKind::Ecdsa(ecdsa(&mut reader, b"nistp384", KeyKind::P384, 48)?),
            b"ecdsa-sha2-nistp521" => SshKeyKind::Ecdsa(ecdsa(&mut reader, b"nistp521", KeyKind::P521, 66)?),
            b"sk-ssh-ed25519@openssh.com" => {
                ed25519(reader.string()?)?;
                reader.string()?;
                SshKeyKind::SkEd25519
            }
            b"sk-ecdsa-sha2-nistp256@openssh.com" => {
                ecdsa(&mut reader, b"nistp256", KeyKind::P256, 32)?;
                reader.string()?;
                SshKeyKind::SkEcdsa
            }
            _ => return Err(SshError::Algorithm),
        };
        reader.end()?;
        Ok(Self { kind, blob: blob.to_vec(), comment: String::new() })
    }

    /// A key of this server's in OpenSSH's form.
    ///
    /// # Errors
    /// [`SshError::Malformed`] for what [`PublicKey`] should not hold.
    pub fn of(key: &PublicKey) -> Result<Self, SshError> {
        let mut blob = Vec::new();
        match key.kind() {
            KeyKind::Rsa(_) => {
                let (modulus, exponent) = key.rsa_parts().ok_or(SshError::Malformed)?;
                put_string(&mut blob, b"ssh-rsa");
                put_number(&mut blob, exponent);
                put_number(&mut blob, modulus);
            }
            KeyKind::Ed25519 => {
                put_string(&mut blob, b"ssh-ed25519");
                put_string(&mut blob, key.bits());
            }
            curve => {
                let name = SshKeyKind::Ecdsa(curve).name();
                put_string(&mut blob, name.as_bytes());
                put_string(&mut blob, name.trim_start_matches("ecdsa-sha2-").as_bytes());
                put_string(&mut blob, key.bits());
            }
        }
        Self::from_blob(&blob)
    }

    pub const fn kind(&self) -> SshKeyKind {
        self.kind
    }

    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    /// What stands behind the name of the kind: the same in a certificate behind its nonce.
    pub(super) fn numbers(&self) -> &[u8] {
        &self.blob[4 + self.kind.name().len()..]
    }

    /// SHA-256 of the key in hex, as key ids name it.
    pub fn fingerprint(&self) -> String {
        Algorithm::Sha256.digest(&[&self.blob]).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The line of a `*.pub` file, with its end.
    pub fn line(&self) -> String {
        let space = if self.comment.is_empty() { "" } else { " " };
        format!("{} {}{space}{}\n", self.kind.name(), STANDARD.encode(&self.blob), self.comment)
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<SshKeyKind, SshError> {
    let leading = modulus.first().map_or(0, |first| first.leading_zeros());
    let bits = u32::try_from(modulus.len() * 8).map_err(|_| SshError::Malformed)?.saturating_sub(leading);
    let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    if !(1024..=8192).contains(&bits) || !is_odd(modulus) || !is_odd(exponent) || exponent == [1] {
        return Err(SshError::Malformed);
    }
    // The library looks at no smaller ones.
    if bits >= 2048 {
        PublicKey::from_rsa(modulus, exponent).map_err(|_| SshError::Malformed)?;
    }
    Ok(SshKeyKind::Rsa(bits))
}

fn ed25519(bytes: &[u8]) -> Result<(), SshError> {
    PublicKey::from_ed25519(bytes).map(|_| ()).map_err(|_| SshError::Malformed)
}

fn ecdsa(reader: &mut Reader<'_>, curve: &[u8], kind: KeyKind, length: usize) -> Result<KeyKind, SshError> {
    let (named, point) = (reader.string()?, reader.string()?);
    let [4, numbers @ ..] = point else { return Err(SshError::Malformed) };
    if named != curve || numbers.len() != 2 * length {
        return Err(SshError::Malformed);
    }
    let (x, y) = numbers.split_at(length);
    PublicKey::from_ec(kind, x, y).map_err(|_| SshError::Malformed)?;
    Ok(kind)
}
