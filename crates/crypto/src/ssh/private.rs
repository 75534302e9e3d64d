//! Private keys in files: OpenSSH's own form, and the PEM forms that it reads too.

use super::wire::{Reader, put_string};
use super::{SshError, SshPublicKey};
use crate::pk::{KeyKind, PrivateKey, PublicKey, RsaNumbers};
use zeroize::Zeroizing;

const MAGIC: &[u8] = b"openssh-key-v1\0";

/// Reads the first private key of a file: OpenSSH's form, PKCS#8, PKCS#1 or SEC1, none under a passphrase.
///
/// # Errors
/// [`SshError`].
pub fn read_private(text: &str) -> Result<PrivateKey, SshError> {
    let blocks = pem::parse_many(text).map_err(|_| SshError::NoKey)?;
    let block = blocks.into_iter().find(|block| block.tag().ends_with("PRIVATE KEY")).ok_or(SshError::NoKey)?;
    if block.tag() == "ENCRYPTED PRIVATE KEY" || block.headers().get("DEK-Info").is_some() {
        return Err(SshError::Protected);
    }
    let is_openssh = block.tag() == "OPENSSH PRIVATE KEY";
    let document = Zeroizing::new(block.into_contents());
    if is_openssh { openssh(&document) } else { PrivateKey::from_der(&document).map_err(|_| SshError::Malformed) }
}

/// An Ed25519 key in OpenSSH's form. `check` is any number; equal in both its places it shows that the key was opened rightly.
///
/// # Errors
/// [`SshError::Malformed`] for other kinds.
pub fn write_ed25519(key: &PrivateKey, check: u32) -> Result<Zeroizing<String>, SshError> {
    let pair = key.ed25519_bytes().map_err(|_| SshError::Malformed)?;
    let public = SshPublicKey::of(&key.public().map_err(|_| SshError::Malformed)?)?;
    let mut inner = Zeroizing::new(Vec::with_capacity(256));
    inner.extend_from_slice(&check.to_be_bytes());
    inner.extend_from_slice(&check.to_be_bytes());
    inner.extend_from_slice(public.blob());
    put_string(&mut inner, &pair);
    put_string(&mut inner, b"");
    for byte in 1u8..=8 {
        if inner.len() % 8 == 0 {
            break;
        }
        inner.push(byte);
    }
    let mut out = Zeroizing::new(Vec::with_capacity(512));
    out.extend_from_slice(MAGIC);
    put_string(&mut out, b"none");
    put_string(&mut out, b"none");
    put_string(&mut out, b"");
    out.extend_from_slice(&1u32.to_be_bytes());
    put_string(&mut out, public.blob());
    put_string(&mut out, &inner);
    Ok(crate::pk::pem("OPENSSH PRIVATE KEY", &out))
}

fn openssh(document: &[u8]) -> Result<PrivateKey, SshError> {
    let mut outer = Reader(document.strip_prefix(MAGIC).ok_or(SshError::NoKey)?);
    let (cipher, kdf, _) = (outer.string()?, outer.string()?, outer.string()?);
    if cipher != b"none" || kdf != b"none" {
        return Err(SshError::Protected);
    }
    if outer.u32()? != 1 {
        return Err(SshError::Malformed);
    }
    let public = SshPublicKey::from_blob(outer.string()?)?;
    let mut inner = Reader(outer.string()?);
    outer.end()?;
    if inner.u32()? != inner.u32()? {
        return Err(SshError::Malformed);
    }
    let key = numbers(&mut inner)?;
    inner.string()?;
    let padded = inner.0.iter().zip(1u8..).all(|(byte, expected)| *byte == expected);
    let its_own = key.public().ok().and_then(|key| SshPublicKey::of(&key).ok());
    if !padded || its_own.is_none_or(|own| own.blob() != public.blob()) {
        return Err(SshError::Malformed);
    }
    Ok(key)
}

fn numbers(inner: &mut Reader<'_>) -> Result<PrivateKey, SshError> {
    let broken = |_| SshError::Malformed;
    match inner.string()? {
        b"ssh-ed25519" => {
            let (_, pair) = (inner.string()?, inner.string()?);
            PrivateKey::from_ed25519_seed(pair.get(..32).ok_or(SshError::Short)?).map_err(broken)
        }
        b"ssh-rsa" => {
            let (modulus, public, private) = (inner.positive()?, inner.positive()?, inner.positive()?);
            let (_, p, q) = (inner.positive()?, inner.positive()?, inner.positive()?);
            PrivateKey::from_rsa(&RsaNumbers {
                modulus: modulus.to_vec(),
                public_exponent: public.to_vec(),
                private_exponent: Zeroizing::new(private.to_vec()),
                primes: [Zeroizing::new(p.to_vec()), Zeroizing::new(q.to_vec())],
            })
            .map_err(broken)
        }
        name @ (b"ecdsa-sha2-nistp256" | b"ecdsa-sha2-nistp384" | b"ecdsa-sha2-nistp521") => {
            let (kind, length) = match name {
                b"ecdsa-sha2-nistp256" => (KeyKind::P256, 32),
                b"ecdsa-sha2-nistp384" => (KeyKind::P384, 48),
                _ => (KeyKind::P521, 66),
            };
            let (_, point) = (inner.string()?, inner.string()?);
            let [4, numbers @ ..] = point else { return Err(SshError::Malformed) };
            let (x, y) = numbers.split_at_checked(length).ok_or(SshError::Short)?;
            let public = PublicKey::from_ec(kind, x, y).map_err(broken)?;
            PrivateKey::from_ec(kind, inner.positive()?, &public).map_err(broken)
        }
        _ => Err(SshError::Algorithm),
    }
}
