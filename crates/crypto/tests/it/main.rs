//! The published vectors under `vectors/crypto`, refusals included.

mod jws;
mod wycheproof;

use std::collections::BTreeMap;
use std::sync::Mutex;

use coffer_crypto::aead::{Aes256GcmKey, OpenError};
use coffer_crypto::digest::Algorithm;
use coffer_crypto::jwt::Es512Key;
use coffer_crypto::mac::HmacKey;
use coffer_crypto::random::Random;
use coffer_crypto::{kdf, shamir};

type Case = BTreeMap<String, String>;

/// Reads a file of cases; fails the test when it is missing or has none, so that no vector is skipped in silence.
fn cases(file: &str) -> Vec<Case> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/crypto").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cases: Vec<Case> = text
        .split("\n\n")
        .map(|block| {
            block
                .lines()
                .filter(|line| !line.trim().is_empty())
                .map(|line| match line.strip_prefix('#') {
                    Some(name) => ("name".to_owned(), name.trim().to_owned()),
                    None => {
                        let (field, value) = line.split_once('=').unwrap_or_else(|| panic!("{file}: {line}"));
                        (field.trim().to_owned(), value.trim().to_owned())
                    }
                })
                .collect()
        })
        .filter(|case: &Case| !case.is_empty())
        .collect();
    assert!(cases.iter().any(refused) || matches!(file, "hkdf-sha256.txt" | "digest.txt"), "{file}");
    cases
}

fn refused(case: &Case) -> bool {
    case.get("refused").is_some_and(|value| value == "true")
}

fn bytes(case: &Case, field: &str) -> Vec<u8> {
    hex::decode(&case[field]).unwrap_or_else(|e| panic!("{field} in {case:?}: {e}"))
}

/// Yields the nonce of the vector and nothing more.
struct Once(Mutex<Option<Vec<u8>>>);

impl Random for Once {
    fn fill(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.0.lock().expect("not poisoned").take().expect("drawn once"));
    }
}

#[test]
fn aes_256_gcm() {
    for case in cases("aes-256-gcm.txt") {
        let key = Aes256GcmKey::new(&bytes(&case, "key").try_into().expect("32 bytes"));
        let (aad, sealed) = (bytes(&case, "aad"), bytes(&case, "sealed"));
        if refused(&case) {
            assert_eq!(key.open(&aad, &sealed), Err(OpenError), "{case:?}");
        } else {
            let plaintext = bytes(&case, "plaintext");
            let nonce = Once(Mutex::new(Some(bytes(&case, "nonce"))));
            assert_eq!(key.seal(&nonce, &aad, &plaintext), sealed, "{case:?}");
            assert_eq!(*key.open(&aad, &sealed).expect("opens"), plaintext, "{case:?}");
        }
    }
}

#[test]
fn hmac_sha256() {
    for case in cases("hmac-sha256.txt") {
        let key = HmacKey::new(&bytes(&case, "key"));
        let (data, tag) = (bytes(&case, "data"), bytes(&case, "tag"));
        assert_eq!(key.verify(&data, &tag), !refused(&case), "{case:?}");
        assert_eq!(key.tag(&data).as_slice() == tag, !refused(&case), "{case:?}");
    }
}

#[test]
fn hkdf_sha256() {
    for case in cases("hkdf-sha256.txt") {
        let okm = bytes(&case, "okm");
        let mut out = vec![0; okm.len()];
        kdf::derive(&bytes(&case, "salt"), &bytes(&case, "secret"), &bytes(&case, "info"), &mut out).expect("short");
        assert_eq!(out, okm, "{case:?}");
    }
}

#[test]
fn digests() {
    for case in cases("digest.txt") {
        let algorithm = Algorithm::from_name(&case["algorithm_text"]).expect("known");
        assert_eq!(algorithm.digest(&[&bytes(&case, "data")]), bytes(&case, "digest"), "{case:?}");
    }
}

#[test]
fn shamir_shares_of_the_reference() {
    for case in cases("shamir.txt") {
        let shares: Vec<Vec<u8>> = case["shares"].split(' ').map(|share| hex::decode(share).expect("hex")).collect();
        if refused(&case) {
            assert!(shamir::combine(&shares).is_err(), "{case:?}");
            continue;
        }
        let threshold: usize = case["threshold_text"].parse().expect("a number");
        for subset in 0u32..1 << shares.len() {
            let chosen: Vec<&Vec<u8>> =
                shares.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 1).map(|(_, share)| share).collect();
            if chosen.len() >= threshold {
                assert_eq!(*shamir::combine(&chosen).expect("joins"), bytes(&case, "secret"), "{case:?}");
            }
        }
    }
}

#[test]
fn es512() {
    for case in cases("es512.txt") {
        let key = Es512Key::from_pkcs8(&bytes(&case, "pkcs8")).expect("a key");
        let verdict = key.verify(case["message_text"].as_bytes(), &bytes(&case, "signature"));
        assert_eq!(verdict, !refused(&case), "{case:?}");
    }
}
