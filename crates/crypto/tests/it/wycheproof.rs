//! Wycheproof's vectors, refusals above all: `vectors/wycheproof`.

use coffer_crypto::cipher::{Cipher, CipherKey};
use coffer_crypto::digest::Algorithm;
use coffer_crypto::mac::{hmac, hmac_sha1};
use coffer_crypto::pk::{KeyKind, Message, PrivateKey, PublicKey, RsaPadding, Scheme};
use coffer_crypto::{kdf, key_wrap};
use serde_json::Value;

/// The cases of a file, which must be as many as were put there.
fn cases(file: &str, count: usize) -> Vec<Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/wycheproof").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let cases: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(cases.len(), count, "{file}");
    cases
}

fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap_or_else(|| panic!("{name} in {case}"))
}

fn bytes(case: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(case, name)).unwrap_or_else(|e| panic!("{name} in {case}: {e}"))
}

fn ok(case: &Value) -> bool {
    case["ok"].as_bool().expect("a verdict")
}

fn digest(case: &Value) -> Algorithm {
    Algorithm::from_name(text(case, "digest")).unwrap_or_else(|| panic!("{case}"))
}

#[test]
fn aead() {
    for case in cases("aead.jsonl", 243) {
        let cipher = match text(&case, "algorithm") {
            "aes128-gcm" => Cipher::Aes128Gcm,
            "aes256-gcm" => Cipher::Aes256Gcm,
            "chacha20-poly1305" => Cipher::ChaCha20Poly1305,
            _ => Cipher::XChaCha20Poly1305,
        };
        let key = CipherKey::new(cipher, &bytes(&case, "key")).expect("a key");
        let (nonce, aad, plaintext) = (bytes(&case, "nonce"), bytes(&case, "aad"), bytes(&case, "plaintext"));
        let mut sealed = [nonce.clone(), bytes(&case, "sealed")].concat();
        let opened = key.open(&aad, &sealed);
        assert_eq!(opened.is_ok(), ok(&case), "{case}");
        assert_eq!(key.open_in_place(&aad, &mut sealed.clone()).is_ok(), ok(&case), "{case}");
        if ok(&case) {
            assert_eq!(*opened.expect("opens"), plaintext, "{case}");
            assert_eq!(key.seal(&nonce, &aad, &plaintext).expect("seals"), sealed, "{case}");
            sealed.pop();
            assert!(key.open(&aad, &sealed).is_err(), "{case}");
        }
    }
}

#[test]
fn signatures_on_curves() {
    for case in cases("ecc-signatures.jsonl", 186) {
        let scheme = match text(&case, "scheme") {
            "ecdsa" => Scheme::EcdsaAsn1(digest(&case)),
            "ecdsa-fixed" => Scheme::EcdsaFixed(digest(&case)),
            _ => Scheme::Ed25519,
        };
        let public = PublicKey::from_spki(&bytes(&case, "public")).expect("a key");
        let (message, signature) = (bytes(&case, "message"), bytes(&case, "signature"));
        assert_eq!(public.verify(scheme, Message::Whole(&message), &signature), Ok(ok(&case)), "{case}");
    }
}

#[test]
fn rsa_signatures() {
    for case in cases("rsa-signatures.jsonl", 105) {
        let algorithm = digest(&case);
        let schemes = match (text(&case, "scheme"), case["salt"].as_u64()) {
            ("pss", Some(salt)) => {
                let exact = Scheme::PssSalt(algorithm, usize::try_from(salt).expect("small"));
                // What is wrong by its salt's length alone is right where any is taken.
                if ok(&case) { vec![exact, Scheme::PssAnySalt(algorithm)] } else { vec![exact] }
            }
            _ => vec![Scheme::Pkcs1(algorithm)],
        };
        let public = PublicKey::from_spki(&bytes(&case, "public")).expect("a key");
        let (message, signature) = (bytes(&case, "message"), bytes(&case, "signature"));
        for scheme in schemes {
            assert_eq!(public.verify(scheme, Message::Whole(&message), &signature), Ok(ok(&case)), "{scheme:?} {case}");
        }
    }
}

#[test]
fn rsa_oaep() {
    for case in cases("rsa-oaep.jsonl", 54) {
        let padding = match text(&case, "digest") {
            "sha256" => RsaPadding::OaepSha256,
            "sha512" => RsaPadding::OaepSha512,
            _ => RsaPadding::OaepSha1,
        };
        let private = PrivateKey::from_pkcs8(&bytes(&case, "private")).expect("a key");
        let opened = private.decrypt(padding, &bytes(&case, "ciphertext"));
        assert_eq!(opened.is_ok(), ok(&case), "{case}");
        if let Ok(opened) = opened {
            assert_eq!(*opened, bytes(&case, "plaintext"), "{case}");
        }
    }
}

#[test]
fn macs() {
    for case in cases("hmac.jsonl", 144) {
        let (key, message, tag) = (bytes(&case, "key"), bytes(&case, "message"), bytes(&case, "tag"));
        let made = if text(&case, "digest") == "sha1" { hmac_sha1(&key, &message) } else { hmac(digest(&case), &key, &message) };
        assert_eq!(made == tag, ok(&case), "{case}");
    }
}

#[test]
fn derived_keys() {
    for case in cases("hkdf-sha256.jsonl", 18) {
        let size = usize::try_from(case["size"].as_u64().expect("a size")).expect("small");
        let mut out = vec![0; size];
        let made = kdf::derive(&bytes(&case, "salt"), &bytes(&case, "ikm"), &bytes(&case, "info"), &mut out);
        assert_eq!(made.is_ok(), ok(&case), "{case}");
        if ok(&case) {
            assert_eq!(out, bytes(&case, "okm"), "{case}");
        }
    }
}

#[test]
fn wrapped_keys() {
    for case in cases("aes256-kwp.jsonl", 34) {
        let kek: [u8; 32] = bytes(&case, "key").try_into().expect("32 bytes");
        let opened = key_wrap::unwrap(&kek, &bytes(&case, "wrapped"));
        assert_eq!(opened.is_ok(), ok(&case), "{case}");
        if let Ok(opened) = opened {
            assert_eq!(*opened, bytes(&case, "plaintext"), "{case}");
            assert_eq!(key_wrap::wrap(&kek, &opened).expect("wraps"), bytes(&case, "wrapped"), "{case}");
        }
    }
}

#[test]
fn agreement() {
    for case in cases("ecdh.jsonl", 119) {
        // SEC1: SEQUENCE { 1, OCTET STRING, [0] { OID } }.
        let (length, curve): (usize, &[u8]) = match text(&case, "curve") {
            "P-256" => (32, &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7]),
            "P-384" => (48, &[0x06, 5, 0x2b, 0x81, 4, 0, 0x22]),
            _ => (66, &[0x06, 5, 0x2b, 0x81, 4, 0, 0x23]),
        };
        let given = bytes(&case, "private");
        let digits = &given[given.iter().position(|byte| *byte != 0).expect("no zero")..];
        let mut scalar = vec![0; length - digits.len()];
        scalar.extend_from_slice(digits);
        let short = |n: usize| u8::try_from(n).expect("short");
        let body = [&[2, 1, 1, 4, short(length)][..], &scalar, &[0xa0, short(curve.len())], curve].concat();
        let private = PrivateKey::from_der(&[&[0x30, short(body.len())][..], &body].concat()).expect("a key");
        let secret = PublicKey::from_spki(&bytes(&case, "public")).and_then(|peer| private.agree(&peer));
        assert_eq!(secret.is_ok(), ok(&case), "{case}: {:?}", secret.err());
        if let Ok(secret) = secret {
            assert_eq!(*secret, bytes(&case, "shared"), "{case}");
        }
    }
}

#[test]
fn ml_dsa() {
    let all = cases("ml-dsa.jsonl", ML_DSA);
    assert_eq!(all.iter().filter(|case| case.get("seed").is_some()).count(), 3);
    for case in all {
        let kind = match text(&case, "kind") {
            "mldsa-44" => KeyKind::MlDsa44,
            "mldsa-65" => KeyKind::MlDsa65,
            _ => KeyKind::MlDsa87,
        };
        let public = PublicKey::from_ml_dsa(kind, &bytes(&case, "public"));
        if case.get("seed").is_some() {
            let key = PrivateKey::from_ml_dsa_seed(kind, &bytes(&case, "seed")).expect("a key");
            assert_eq!(key.public().expect("a half"), public.expect("a key"), "{kind:?}");
            continue;
        }
        let (message, signature) = (bytes(&case, "message"), bytes(&case, "signature"));
        let valid = public.and_then(|public| public.verify(Scheme::MlDsa, Message::Whole(&message), &signature));
        assert_eq!(valid.unwrap_or(false), ok(&case), "{kind:?} case {}", case["tc"]);
    }
}

/// Cases of ML-DSA.
const ML_DSA: usize = 24;
