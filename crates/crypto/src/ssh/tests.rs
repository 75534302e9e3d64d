use super::wire::{Reader, put_number, put_string};
use super::*;
use crate::digest::Algorithm;
use crate::pk::{KeyKind, Message, PrivateKey, PublicKey, Scheme};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

fn file(name: &str) -> String {
    let path = format!("{}/../../vectors/ssh/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

const KEYS: [&str; 5] = ["ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa2048"];

#[test]
fn files_of_ssh_keygen_read_and_are_written_as_they_were() {
    for name in KEYS {
        let line = file(&format!("{name}.pub"));
        let public = SshPublicKey::parse(&line).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(public.line(), line);
        let private = read_private(&file(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(SshPublicKey::of(&private.public().unwrap()).unwrap().blob(), public.blob(), "{name}");
        // PKCS#8, PKCS#1 and SEC1 are private keys too, and the bare base64 a public one.
        for pem in [private.to_pkcs8_pem().unwrap(), private.to_traditional_pem().unwrap()] {
            assert_eq!(read_private(&pem).unwrap().to_pkcs8().unwrap(), private.to_pkcs8().unwrap(), "{name}");
        }
        assert_eq!(SshPublicKey::parse(&STANDARD.encode(public.blob())).unwrap().blob(), public.blob());
    }
    let key = read_private(&file("ed25519")).unwrap();
    let again = read_private(&write_ed25519(&key, 7).unwrap()).unwrap();
    assert_eq!(again.to_pkcs8().unwrap(), key.to_pkcs8().unwrap());
    assert!(write_ed25519(&read_private(&file("rsa2048")).unwrap(), 7).is_err());
}

#[test]
fn what_is_no_public_key_is_refused() {
    let good = file("ed25519.pub");
    let base64 = good.split(' ').nth(1).unwrap();
    for (line, why) in [
        ("", SshError::Short),
        ("xx", SshError::Short),
        ("x!", SshError::Base64(1)),
        ("ssh-ed25519 AAAA", SshError::Short),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIhpqQ==", SshError::Short),
        ("ssh-dss AAAAB3NzaC1kc3MAAAAA", SshError::Algorithm),
        (&*format!("ssh-rsa {base64}"), SshError::Malformed),
        (&*format!("ssh-ed25519 {base64} a\nb"), SshError::Malformed),
        // A certificate is no key.
        (CERTIFICATE, SshError::Algorithm),
    ] {
        let got = SshPublicKey::parse(line);
        let got = got.map(|key| key.line()).unwrap_err();
        // What base64 the library finds fault with at which place is its own; that it does is ours.
        assert!(got == why || matches!((got, line), (SshError::Base64(_), "xx")), "{line}: {got:?}");
    }
    for name in KEYS {
        let blob = SshPublicKey::parse(&file(&format!("{name}.pub"))).unwrap().blob().to_vec();
        for length in 0..blob.len() {
            assert!(SshPublicKey::from_blob(&blob[..length]).is_err(), "{name} cut at {length}");
        }
        assert!(SshPublicKey::from_blob(&[&blob[..], &[0]].concat()).is_err(), "{name} and more");
    }
    // A point that is not on its curve, the point of another curve, an even modulus, a tiny one, a negative one.
    let mut off = SshPublicKey::parse(&file("ecdsa256.pub")).unwrap().blob().to_vec();
    *off.last_mut().unwrap() ^= 1;
    assert!(SshPublicKey::from_blob(&off).is_err());
    let rsa = |exponent: &[u8], modulus: &[u8]| {
        let mut blob = Vec::new();
        put_string(&mut blob, b"ssh-rsa");
        put_string(&mut blob, exponent);
        put_string(&mut blob, modulus);
        SshPublicKey::from_blob(&blob).map(|key| key.kind())
    };
    let odd = [&[0x7fu8][..], &[0xff; 127]].concat();
    assert_eq!(rsa(&[1, 0, 1], &[&[0][..], &[0xff; 128]].concat()), Ok(SshKeyKind::Rsa(1024)));
    for (exponent, modulus) in [
        (&[1u8, 0, 1][..], odd.clone()),
        (&[1, 0, 1], [&[0][..], &[0xff; 127], &[0xfe]].concat()),
        (&[1, 0, 1], vec![0xff; 128]),
        (&[1, 0, 1], [&[0, 0][..], &[0xff; 128]].concat()),
        (&[1, 0, 1], [&[0][..], &[0xff; 2048]].concat()),
        (&[1], [&[0][..], &[0xff; 128]].concat()),
        (&[2], [&[0][..], &[0xff; 128]].concat()),
        (&[], [&[0][..], &[0xff; 128]].concat()),
    ] {
        assert!(rsa(exponent, &modulus).is_err(), "{exponent:?} {}", modulus.len());
    }
}

#[test]
fn what_is_no_private_key_is_refused() {
    assert_eq!(read_private("").unwrap_err(), SshError::NoKey);
    assert_eq!(read_private("x").unwrap_err(), SshError::NoKey);
    assert_eq!(read_private(&file("ed25519.pub")).unwrap_err(), SshError::NoKey);
    assert_eq!(read_private(&file("ed25519-passphrase")).unwrap_err(), SshError::Protected);
    let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    assert_eq!(read_private(encrypted).unwrap_err(), SshError::Protected);
    for name in KEYS {
        let whole = pem::parse(file(name)).unwrap().into_contents();
        for length in (0..whole.len()).step_by(7) {
            let cut = pem::encode(&pem::Pem::new("OPENSSH PRIVATE KEY", &whole[..length]));
            assert!(read_private(&cut).is_err(), "{name} cut at {length}");
        }
        // A byte of the check, of the public half, of the padding.
        let ends = [whole.len() - 1, 60, 100];
        for place in ends {
            let mut other = whole.clone();
            other[place] ^= 1;
            let other = pem::encode(&pem::Pem::new("OPENSSH PRIVATE KEY", other));
            let read = read_private(&other).map(|key| SshPublicKey::of(&key.public().unwrap()).unwrap().line());
            let own = SshPublicKey::parse(&file(&format!("{name}.pub"))).unwrap();
            // The comment is no part of the key.
            assert!(read.is_err() || read == Ok(SshPublicKey::from_blob(own.blob()).unwrap().line()), "{name} {place}");
        }
    }
}

/// What the reference's engine signed, with its authority's key.
const AUTHORITY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJU69uFZeM6Fhe7boQLIYC1jwrJOXf9oynItiv5drZm0";
const CERTIFICATE: &str = "ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAIIGNdHw8j6eDK8mGI2FyvFX+L6HIngh65AX93GSFDusXAAAAIHTwhVYz7sB4ZkW5mXv0Gk0dFJ1YzVdY0mYQvT8mP1Qk3VfGMe9qXUYAAAABAAAAS3ZhdWx0LXJvb3QtNjAxMjdhNjc1Y2JkY2MxYzNiMjEwNzY1ODhiNjNmNGY2NDY0ZDJiY2M5MzY5ZTUxMzhjMDBhNjA4MjY4MGY0MwAAAAUAAAABdQAAAABrA7GcAAAAAGsDv8oAAAAAAAAAAAAAAAAAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIJU69uFZeM6Fhe7boQLIYC1jwrJOXf9oynItiv5drZm0AAAAUwAAAAtzc2gtZWQyNTUxOQAAAEDVqfi5rXgEHxileHJ/LAEQFpv/aVQXgXhaFxzu1oQucmlieXZrxvGbQTW9sbzRzdbwV/Gs+srMyP3cSccann4H";

#[test]
fn the_references_certificate_comes_out_the_same() {
    let authority = SshPublicKey::parse(AUTHORITY).unwrap();
    let key =
        SshPublicKey::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHTwhVYz7sB4ZkW5mXv0Gk0dFJ1YzVdY0mYQvT8mP1Qk u@h").unwrap();
    let whole = STANDARD.decode(CERTIFICATE.split(' ').nth(1).unwrap()).unwrap();
    let mut reader = Reader(&whole);
    reader.string().unwrap();
    let nonce: [u8; 32] = reader.string().unwrap().try_into().unwrap();
    let key_id = format!("vault-root-{}", key.fingerprint());
    let certificate = Certificate {
        key: &key,
        nonce,
        serial: 0xdd57_c631_ef6a_5d46,
        kind: CertificateKind::User,
        key_id: &key_id,
        principals: &["u".to_owned()],
        valid_after: 0x6b03_b19c,
        valid_before: 0x6b03_bfca,
        critical_options: &BTreeMap::new(),
        extensions: &BTreeMap::new(),
    };
    let signed = certificate.to_be_signed(&authority);
    assert_eq!(whole[..signed.len()], signed);
    let mut rest = Reader(&whole[signed.len()..]);
    let mut signature = Reader(rest.string().unwrap());
    assert_eq!(signature.string().unwrap(), b"ssh-ed25519");
    let public = PublicKey::from_ed25519(&authority.blob()[19..]).unwrap();
    assert!(public.verify(Scheme::Ed25519, Message::Whole(&signed), signature.string().unwrap()).unwrap());
}

#[test]
fn every_authority_signs_every_key() {
    let options = BTreeMap::from([("b".to_owned(), "v".to_owned()), ("a".to_owned(), String::new())]);
    for authority in KEYS {
        let authority = read_private(&file(authority)).unwrap();
        let signatures = match authority.kind() {
            KeyKind::Rsa(_) => vec![Signature::RsaSha256, Signature::RsaSha512],
            kind => vec![Signature::usual(kind)],
        };
        for key in KEYS {
            let key = SshPublicKey::parse(&file(&format!("{key}.pub"))).unwrap();
            for signature in &signatures {
                let certificate = Certificate {
                    key: &key,
                    nonce: [7; 32],
                    serial: 1,
                    kind: CertificateKind::Host,
                    key_id: "id",
                    principals: &["a".to_owned(), "b".to_owned()],
                    valid_after: 1,
                    valid_before: 2,
                    critical_options: &options,
                    extensions: &options,
                };
                let line = certificate.sign(&authority, *signature).unwrap();
                let whole = STANDARD.decode(line.trim().split(' ').nth(1).unwrap()).unwrap();
                let public = SshPublicKey::of(&authority.public().unwrap()).unwrap();
                let signed = certificate.to_be_signed(&public);
                assert_eq!(whole[..signed.len()], signed);
                assert!(verifies(&authority, &signed, &whole[signed.len()..]));
                assert!(!verifies(&authority, &signed[1..], &whole[signed.len()..]));
            }
        }
    }
    let rsa = read_private(&file("rsa2048")).unwrap();
    let ed25519 = read_private(&file("ed25519")).unwrap();
    let key = SshPublicKey::parse(&file("ed25519.pub")).unwrap();
    let certificate = Certificate {
        key: &key,
        nonce: [0; 32],
        serial: 0,
        kind: CertificateKind::User,
        key_id: "",
        principals: &[],
        valid_after: 0,
        valid_before: 0,
        critical_options: &BTreeMap::new(),
        extensions: &BTreeMap::new(),
    };
    assert!(certificate.sign(&rsa, Signature::Ed25519).is_err());
    assert!(certificate.sign(&rsa, Signature::Ecdsa).is_err());
    assert!(certificate.sign(&ed25519, Signature::RsaSha256).is_err());
}

fn verifies(authority: &PrivateKey, signed: &[u8], signature: &[u8]) -> bool {
    let mut outer = Reader(signature);
    let mut inner = Reader(outer.string().unwrap());
    outer.end().unwrap();
    let (name, bytes) = (inner.string().unwrap(), inner.string().unwrap());
    let digest = match authority.kind() {
        KeyKind::P384 => Algorithm::Sha384,
        KeyKind::P521 => Algorithm::Sha512,
        _ if name == b"rsa-sha2-512" => Algorithm::Sha512,
        _ => Algorithm::Sha256,
    };
    let public = authority.public().unwrap();
    let (scheme, bytes) = match authority.kind() {
        KeyKind::Ed25519 => (Scheme::Ed25519, bytes.to_vec()),
        KeyKind::Rsa(_) => (Scheme::Pkcs1(digest), bytes.to_vec()),
        kind => {
            let mut pair = Reader(bytes);
            let length = match kind {
                KeyKind::P256 => 32,
                KeyKind::P384 => 48,
                _ => 66,
            };
            let mut fixed = Vec::new();
            for _ in 0..2 {
                let number = pair.positive().unwrap();
                fixed.extend(vec![0; length - number.len()]);
                fixed.extend(number);
            }
            (Scheme::EcdsaFixed(digest), fixed)
        }
    };
    public.verify(scheme, Message::Whole(signed), &bytes).unwrap()
}

/// A security token's key: Ed25519, with the name of its application.
#[test]
fn keys_of_security_tokens_are_certified_with_their_application() {
    let ed25519 = SshPublicKey::parse(&file("ed25519.pub")).unwrap();
    let mut blob = Vec::new();
    put_string(&mut blob, b"sk-ssh-ed25519@openssh.com");
    put_string(&mut blob, &ed25519.blob()[19..]);
    put_string(&mut blob, b"ssh:");
    let key = SshPublicKey::from_blob(&blob).unwrap();
    assert_eq!(key.kind(), SshKeyKind::SkEd25519);
    assert!(key.numbers().ends_with(b"\0\0\0\x04ssh:"));
    let mut number = Vec::new();
    put_number(&mut number, &[0, 0x80]);
    assert_eq!(number, [0, 0, 0, 2, 0, 0x80]);
}
