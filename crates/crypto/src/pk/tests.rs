#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const KINDS: [KeyKind; 8] = [
    KeyKind::Rsa(2048),
    KeyKind::P256,
    KeyKind::P384,
    KeyKind::P521,
    KeyKind::Ed25519,
    KeyKind::MlDsa44,
    KeyKind::MlDsa65,
    KeyKind::MlDsa87,
];
const EVERY: [Algorithm; 8] = Algorithm::ALL;

fn schemes(kind: KeyKind) -> Vec<Scheme> {
    match kind {
        KeyKind::Rsa(_) => EVERY.into_iter().flat_map(|a| [Scheme::Pkcs1(a), Scheme::Pss(a), Scheme::PssAnySalt(a)]).collect(),
        KeyKind::Ed25519 => vec![Scheme::Ed25519],
        KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => vec![Scheme::MlDsa],
        _ => EVERY.into_iter().flat_map(|a| [Scheme::EcdsaAsn1(a), Scheme::EcdsaFixed(a)]).collect(),
    }
}

#[test]
fn what_a_key_signs_its_public_half_checks_after_a_trip_through_every_form() {
    for kind in KINDS {
        let made = PrivateKey::generate(kind).unwrap();
        assert_eq!(made.kind(), kind);
        let public = made.public().unwrap();
        let public = PublicKey::from_pem(&public.to_pem()).unwrap();
        assert_eq!(public.kind(), kind);
        for key in [
            PrivateKey::from_pkcs8(&made.to_pkcs8().unwrap()).unwrap(),
            PrivateKey::from_pem(&made.to_traditional_pem().unwrap()).unwrap(),
            PrivateKey::from_pem(&made.to_pkcs8_pem().unwrap()).unwrap(),
        ] {
            assert_eq!(key.public().unwrap(), public);
            for scheme in schemes(kind) {
                let signature = key.sign(scheme, Message::Whole(b"m")).unwrap();
                assert_eq!(public.verify(scheme, Message::Whole(b"m"), &signature), Ok(true), "{scheme:?}");
                assert_eq!(public.verify(scheme, Message::Whole(b"n"), &signature), Ok(false), "{scheme:?}");
                assert_eq!(public.verify(scheme, Message::Whole(b"m"), &signature[1..]), Ok(false), "{scheme:?}");
                assert_eq!(public.verify(scheme, Message::Whole(b"m"), &[]), Ok(false), "{scheme:?}");
                let mut changed = signature.clone();
                changed[signature.len() / 2] ^= 1;
                assert_eq!(public.verify(scheme, Message::Whole(b"m"), &changed), Ok(false), "{scheme:?}");
            }
        }
    }
}

#[test]
fn a_digest_stands_for_its_message() {
    let key = PrivateKey::generate(KeyKind::P256).unwrap();
    let public = key.public().unwrap();
    for algorithm in EVERY {
        let digest = algorithm.digest(&[b"m"]);
        let scheme = Scheme::EcdsaAsn1(algorithm);
        let signature = key.sign(scheme, Message::Digest(&digest)).unwrap();
        assert_eq!(public.verify(scheme, Message::Whole(b"m"), &signature), Ok(true));
        assert_eq!(key.sign(scheme, Message::Digest(&[])), Err(PkError::Mismatch));
        // A longer one counts with its first bytes, a shorter one is the same number.
        let (short, long) = ([1u8, 2], [0u8; 30].iter().chain(&[1, 2]).copied().collect::<Vec<_>>());
        let signature = key.sign(scheme, Message::Digest(&short)).unwrap();
        assert_eq!(public.verify(scheme, Message::Digest(&long), &signature), Ok(true));
    }
    let rsa = PrivateKey::generate(KeyKind::Rsa(2048)).unwrap();
    assert_eq!(rsa.sign(Scheme::Pss(Algorithm::Sha256), Message::Digest(&[7; 31])), Err(PkError::Mismatch));
    let ed = PrivateKey::generate(KeyKind::Ed25519).unwrap();
    assert_eq!(ed.sign(Scheme::Ed25519, Message::Digest(&[0; 64])), Err(PkError::Mismatch));
    let lattice = PrivateKey::generate(KeyKind::MlDsa44).unwrap();
    assert_eq!(lattice.sign(Scheme::MlDsa, Message::Digest(&[0; 64])), Err(PkError::Mismatch));
    assert_eq!(lattice.public().unwrap().verify(Scheme::MlDsa, Message::Digest(&[0; 64]), &[]), Err(PkError::Mismatch));
}

#[test]
fn schemes_of_other_keys_are_refused() {
    for kind in KINDS {
        let key = PrivateKey::generate(kind).unwrap();
        for other in KINDS {
            if schemes(kind) != schemes(other) {
                let scheme = schemes(other)[0];
                assert_eq!(key.sign(scheme, Message::Whole(b"m")), Err(PkError::Mismatch), "{kind:?} {scheme:?}");
                assert_eq!(key.public().unwrap().verify(scheme, Message::Whole(b"m"), &[1; 64]), Err(PkError::Mismatch));
            }
        }
        if !matches!(kind, KeyKind::Rsa(_)) {
            assert_eq!(key.decrypt(RsaPadding::OaepSha256, &[0; 256]).err(), Some(PkError::Mismatch));
            assert_eq!(key.public().unwrap().encrypt(RsaPadding::OaepSha256, b"m").err(), Some(PkError::Mismatch));
        }
    }
    assert_eq!(PrivateKey::generate(KeyKind::Rsa(1024)).err(), Some(PkError::Unsupported));
}

#[test]
fn two_keys_of_one_curve_make_one_secret() {
    let curves = [(KeyKind::P256, 32), (KeyKind::P384, 48), (KeyKind::P521, 66)];
    for (kind, length) in curves {
        let (a, b) = (PrivateKey::generate(kind).unwrap(), PrivateKey::generate(kind).unwrap());
        let secret = a.agree(&b.public().unwrap()).unwrap();
        assert_eq!((secret.len(), &secret), (length, &b.agree(&a.public().unwrap()).unwrap()));
        assert_ne!(secret, a.agree(&a.public().unwrap()).unwrap());
        for other in KINDS.into_iter().filter(|other| *other != kind) {
            let other = PrivateKey::generate(other).unwrap();
            assert_eq!(a.agree(&other.public().unwrap()).err(), Some(PkError::Mismatch));
            assert_eq!(other.agree(&a.public().unwrap()).err(), Some(PkError::Mismatch));
        }
    }
    let ed = PrivateKey::generate(KeyKind::Ed25519).unwrap();
    assert_eq!(ed.agree(&ed.public().unwrap()).err(), Some(PkError::Mismatch), "Ed25519 signs only");
}

#[test]
fn an_ml_dsa_key_is_its_seed() {
    for (kind, public_bytes, signature_bytes) in
        [(KeyKind::MlDsa44, 1312, 2420), (KeyKind::MlDsa65, 1952, 3309), (KeyKind::MlDsa87, 2592, 4627)]
    {
        let key = PrivateKey::from_ml_dsa_seed(kind, &[7; 32]).unwrap();
        assert_eq!(key.ml_dsa_seed().unwrap().to_vec(), [7; 32]);
        let public = key.public().unwrap();
        assert_eq!(public.bits().len(), public_bytes);
        assert_eq!(PublicKey::from_ml_dsa(kind, public.bits()).unwrap(), public);
        assert_eq!(key.sign(Scheme::MlDsa, Message::Whole(b"m")).unwrap().len(), signature_bytes);
        let again = PrivateKey::from_pkcs8(&key.to_pkcs8().unwrap()).unwrap();
        assert_eq!((again.kind(), again.public().unwrap()), (kind, public.clone()));
        for length in [0, 31, 33, 64] {
            assert_eq!(PrivateKey::from_ml_dsa_seed(kind, &vec![7; length]).err(), Some(PkError::Malformed));
        }
        assert_eq!(PublicKey::from_ml_dsa(kind, &public.bits()[1..]).err(), Some(PkError::Malformed));
        let other = if kind == KeyKind::MlDsa44 { KeyKind::MlDsa65 } else { KeyKind::MlDsa44 };
        assert_eq!(PublicKey::from_ml_dsa(other, public.bits()).err(), Some(PkError::Malformed));
        let document = key.to_pkcs8().unwrap();
        for cut in 0..document.len() {
            assert!(PrivateKey::from_pkcs8(&document[..cut]).is_err(), "{cut}");
        }
    }
    assert_eq!(PrivateKey::from_ml_dsa_seed(KeyKind::P256, &[7; 32]).err(), Some(PkError::Mismatch));
    assert_eq!(PrivateKey::generate(KeyKind::P256).unwrap().ml_dsa_seed().err(), Some(PkError::Mismatch));
}

#[test]
fn rsa_encrypts_and_decrypts() {
    let key = PrivateKey::generate(KeyKind::Rsa(2048)).unwrap();
    let public = key.public().unwrap();
    for (padding, most) in [(RsaPadding::OaepSha256, 190), (RsaPadding::OaepSha1, 214), (RsaPadding::Pkcs1, 245)] {
        for length in [0, 1, most] {
            let sealed = public.encrypt(padding, &vec![7; length]).unwrap();
            assert_eq!(key.decrypt(padding, &sealed).unwrap().to_vec(), vec![7; length]);
        }
        assert_eq!(public.encrypt(padding, &vec![7; most + 1]).err(), Some(PkError::Refused));
    }
    let sealed = public.encrypt(RsaPadding::OaepSha256, b"m").unwrap();
    assert_eq!(key.decrypt(RsaPadding::OaepSha1, &sealed).err(), Some(PkError::Refused));
    assert_eq!(key.decrypt(RsaPadding::OaepSha256, &sealed[1..]).err(), Some(PkError::Refused));
    assert_eq!(
        PrivateKey::generate(KeyKind::Rsa(2048)).unwrap().decrypt(RsaPadding::OaepSha256, &sealed).err(),
        Some(PkError::Refused)
    );
}

/// Signatures that OpenSSL made, RSA-PSS with salts of several lengths among them.
#[test]
fn signatures_of_another_hand() {
    let text = include_str!("../../../../vectors/pk/openssl-signatures.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let message = vectors["message"].as_str().unwrap().as_bytes();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 49);
    for case in cases {
        let text = |name: &str| case[name].as_str().unwrap();
        let algorithm = match text("digest") {
            "sha224" => Algorithm::Sha224,
            "sha384" => Algorithm::Sha384,
            "sha512" => Algorithm::Sha512,
            "sha3-256" => Algorithm::Sha3_256,
            "sha3-512" => Algorithm::Sha3_512,
            _ => Algorithm::Sha256,
        };
        let scheme = match text("scheme") {
            "pkcs1" => Scheme::Pkcs1(algorithm),
            "pss" => Scheme::PssAnySalt(algorithm),
            "ecdsa" => Scheme::EcdsaAsn1(algorithm),
            _ => Scheme::Ed25519,
        };
        let public = PublicKey::from_pem(text("public")).unwrap();
        let signature = STANDARD.decode(text("signature")).unwrap();
        assert_eq!(public.verify(scheme, Message::Whole(message), &signature), Ok(true), "{case}");
        assert_eq!(public.verify(scheme, Message::Whole(b"another"), &signature), Ok(false), "{case}");
    }
}

#[test]
fn keys_of_their_numbers() {
    let rsa = PrivateKey::generate(KeyKind::Rsa(2048)).unwrap().public().unwrap();
    let (modulus, exponent) = rsa.rsa_parts().unwrap();
    assert_eq!((modulus.len(), exponent), (256, &[1, 0, 1][..]));
    assert_eq!(PublicKey::from_rsa(modulus, exponent).unwrap(), rsa);
    for (kind, length) in [(KeyKind::P256, 32), (KeyKind::P384, 48), (KeyKind::P521, 66)] {
        let key = PrivateKey::generate(kind).unwrap().public().unwrap();
        let (x, y) = key.bits()[1..].split_at(length);
        assert_eq!(PublicKey::from_ec(kind, x, y).unwrap(), key);
        let mut off_the_curve = y.to_vec();
        off_the_curve[3] ^= 1;
        assert_eq!(PublicKey::from_ec(kind, x, &off_the_curve).err(), Some(PkError::Malformed));
        assert_eq!(PublicKey::from_ec(kind, &x[1..], y).err(), Some(PkError::Malformed));
    }
    let ed = PrivateKey::generate(KeyKind::Ed25519).unwrap();
    let both = ed.ed25519_bytes().unwrap();
    assert_eq!(PublicKey::from_ed25519(&both[32..]).unwrap(), ed.public().unwrap());
    assert_eq!(PrivateKey::from_ed25519_seed(&both[..32]).unwrap().public().unwrap(), ed.public().unwrap());
    assert_eq!(PublicKey::from_ed25519(&both[33..]).err(), Some(PkError::Malformed));
}

#[test]
fn other_bytes_are_no_key() {
    let good = PrivateKey::generate(KeyKind::P256).unwrap();
    let (private, public) = (good.to_pkcs8().unwrap(), good.public().unwrap());
    for bad in [&b""[..], b"key", &private[..private.len() - 1], &[0x30; 300], &[0x30, 0x80]] {
        assert!(PrivateKey::from_der(bad).is_err());
        assert!(PublicKey::from_spki(bad).is_err());
    }
    let mut longer = public.spki().to_vec();
    longer.push(0);
    assert!(PublicKey::from_spki(&longer).is_err());
    for cut in 0..public.spki().len() {
        assert!(PublicKey::from_spki(&public.spki()[..cut]).is_err(), "{cut}");
    }
    assert!(PublicKey::from_pem(&good.to_pkcs8_pem().unwrap()).is_err());
    assert!(PrivateKey::from_pem(&public.to_pem()).is_err());
    let small = PublicKey::from_rsa(&[0xc1; 128], &[1, 0, 1]);
    assert_eq!(small.err(), Some(PkError::Size), "1024 bits");
}
