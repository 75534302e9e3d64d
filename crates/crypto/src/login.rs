//! What databases ask of a client that logs in: the arithmetic of SCRAM-SHA-256 ([RFC 5802](https://www.rfc-editor.org/rfc/rfc5802),
//! [7677](https://www.rfc-editor.org/rfc/rfc7677)), and the SHA-1 of `mysql_native_password`,
//! which is too weak for anything else and is used for nothing else here.

use crate::mac::{HmacKey, sha256};
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use aws_lc_rs::rsa::{OAEP_SHA1_MGF1SHA1, OaepPublicEncryptingKey, PublicEncryptingKey};
use zeroize::Zeroizing;

/// The most rounds that a server may ask for: more is an attempt to keep us busy.
pub const MAX_ROUNDS: u32 = 1_000_000;

/// What a password becomes by a server's salt and rounds: proves the client and checks the server.
pub struct Scram {
    client_key: Zeroizing<[u8; 32]>,
    server_key: Zeroizing<[u8; 32]>,
}

impl Scram {
    /// `None` for rounds of zero or over [`MAX_ROUNDS`].
    pub fn new(password: &[u8], salt: &[u8], rounds: u32) -> Option<Self> {
        if rounds == 0 || rounds > MAX_ROUNDS {
            return None;
        }
        let key = HmacKey::new(password);
        let mut last = Zeroizing::new(key.tag_parts(&[salt, &[0, 0, 0, 1]]));
        let mut salted = last.clone();
        for _ in 1..rounds {
            last = Zeroizing::new(key.tag(&*last));
            salted.iter_mut().zip(last.iter()).for_each(|(s, l)| *s ^= l);
        }
        let salted = HmacKey::new(&*salted);
        Some(Self {
            client_key: Zeroizing::new(salted.tag(b"Client Key")),
            server_key: Zeroizing::new(salted.tag(b"Server Key")),
        })
    }

    /// The client's proof over the messages so far.
    pub fn proof(&self, messages: &[u8]) -> [u8; 32] {
        let signature = HmacKey::new(&sha256(&[&*self.client_key])).tag(messages);
        let mut proof = *self.client_key;
        proof.iter_mut().zip(signature).for_each(|(p, s)| *p ^= s);
        proof
    }

    /// Whether the server knows the password too.
    pub fn server_is_genuine(&self, messages: &[u8], signature: &[u8]) -> bool {
        HmacKey::new(&*self.server_key).verify(messages, signature)
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
