//! What databases ask of a client that logs in: the arithmetic of SCRAM-SHA-256 and -1 ([RFC 5802](https://www.rfc-editor.org/rfc/rfc5802),
//! [7677](https://www.rfc-editor.org/rfc/rfc7677)), and the SHA-1 of `mysql_native_password`,
//! which is too weak for anything else and is used for nothing else here.

use crate::mac::sha256;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use zeroize::Zeroizing;

/// The most rounds that a server may ask for: more is an attempt to keep us busy.
pub const MAX_ROUNDS: u32 = 1_000_000;

/// Which digest SCRAM goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramHash {
    /// SCRAM-SHA-1, which older servers of MongoDB want; HMAC with it is not broken.
    Sha1,
    Sha256,
}

impl ScramHash {
    fn tag(self, key: &hmac::Key, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
        let mut context = hmac::Context::with_key(key);
        parts.iter().for_each(|part| context.update(part));
        Zeroizing::new(context.sign().as_ref().to_vec())
    }

    fn key(self, bytes: &[u8]) -> hmac::Key {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::Key::new(algorithm, bytes)
    }

    fn digest(self, bytes: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Sha1 => sha1(&[bytes]).to_vec(),
            Self::Sha256 => sha256(&[bytes]).to_vec(),
        })
    }
}

/// What a password becomes by a server's salt and rounds: proves the client and checks the server.
pub struct Scram {
    hash: ScramHash,
    client_key: Zeroizing<Vec<u8>>,
    server_key: Zeroizing<Vec<u8>>,
}

impl Scram {
    /// SCRAM-SHA-256. `None` for rounds of zero or over [`MAX_ROUNDS`].
    pub fn new(password: &[u8], salt: &[u8], rounds: u32) -> Option<Self> {
        Self::with(ScramHash::Sha256, password, salt, rounds)
    }

    /// The same with either digest.
    pub fn with(hash: ScramHash, password: &[u8], salt: &[u8], rounds: u32) -> Option<Self> {
        if rounds == 0 || rounds > MAX_ROUNDS {
            return None;
        }
        let key = hash.key(password);
        let mut last = hash.tag(&key, &[salt, &[0, 0, 0, 1]]);
        let mut salted = last.clone();
        for _ in 1..rounds {
            last = hash.tag(&key, &[&last]);
            salted.iter_mut().zip(last.iter()).for_each(|(s, l)| *s ^= l);
        }
        let salted = hash.key(&salted);
        Some(Self { hash, client_key: hash.tag(&salted, &[b"Client Key"]), server_key: hash.tag(&salted, &[b"Server Key"]) })
    }

    /// The client's proof over the messages so far: as many bytes as the digest has.
    pub fn proof(&self, messages: &[u8]) -> Vec<u8> {
        let stored = self.hash.digest(&self.client_key);
        let signature = self.hash.tag(&self.hash.key(&stored), &[messages]);
        self.client_key.iter().zip(signature.iter()).map(|(key, signature)| key ^ signature).collect()
    }

    /// Whether the server knows the password too.
    pub fn server_is_genuine(&self, messages: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.hash.key(&self.server_key), messages, signature).is_ok()
    }
}

pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 20];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// RSA-OAEP with SHA-1 under a server's public key (SPKI, DER): how `caching_sha2_password` sends a password without TLS. `None` if
/// that is no such key.
pub fn rsa_oaep_sha1(spki: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
    let key = OaepPublicEncryptingKey::new(PublicEncryptingKey::from_der(spki).ok()?).ok()?;
    let mut out = vec![0; key.ciphertext_size()];
    let length = key.encrypt(&OAEP_SHA1_MGF1SHA1, plain, &mut out, None).ok()?.len();
    out.truncate(length);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scram_of_rfc_7677() {
        let salt = [0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81];
        let messages = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let scram = Scram::new(b"pencil", &salt, 4096).unwrap();
        assert_eq!(hex::encode(scram.proof(messages)), "747cdb65aa56224e2352137e52d7bdcad6a0f738df30782caa69a2cfb0277554");
        let signature = hex::decode("eabae24d1062db75a9451ff0b6ea7e98c8546549ff741e672d3251b2397de46e").unwrap();
        assert!(scram.server_is_genuine(messages, &signature));
    }

    #[test]
    fn scram_of_rfc_5802() {
        let salt = hex::decode("4125c247e43ab1e93c6dff76").unwrap();
        let messages = b"n=user,r=fyko+d2lbbFgONRv9qkxdawL,\
            r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,\
            c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
        let scram = Scram::with(ScramHash::Sha1, b"pencil", &salt, 4096).unwrap();
        assert_eq!(hex::encode(scram.proof(messages)), "bf45fcbf7073d93d022466c94321745fe1c8e13b");
        let signature = hex::decode("ae617da6a57c4bbb2e0286568dae1d251905b0a4").unwrap();
        assert!(scram.server_is_genuine(messages, &signature));
        assert!(!scram.server_is_genuine(messages, &signature[..19]));
    }

    #[test]
    fn scram_refuses() {
        assert!(Scram::new(b"p", b"salt", 0).is_none());
        assert!(Scram::new(b"p", b"salt", u32::MAX).is_none());
        let scram = Scram::new(b"p", b"salt", 10).unwrap();
        assert!(!scram.server_is_genuine(b"m", &[0; 32]));
        assert!(!scram.server_is_genuine(b"m", &[]));
    }

    #[test]
    fn digests_of_the_rfcs() {
        assert_eq!(hex::encode(sha1(&[b"a", b"bc"])), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }

    #[test]
    fn what_is_no_key_encrypts_nothing() {
        assert!(rsa_oaep_sha1(b"no key", b"x").is_none());
    }
}
