//! Tokens: the published examples, and refusals of our own (`vectors/crypto/jws.jsonl`).

use coffer_crypto::jws::{
    Algorithm, BadKey, Header, KeySet, MAX_KEYS, MAX_TOKEN_BYTES, PublicKey, Refused, SignError, Signer, peek, verify,
};
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object};

#[allow(clippy::unwrap_used, reason = "a test's own set")]
fn set_of(jwks: Vec<Json>) -> KeySet {
    let text = Json::Object(Object::new().with("keys", jwks)).to_bytes();
    KeySet::parse(&text).unwrap()
}

fn outcome(token: &str, keys: &KeySet) -> &'static str {
    match verify(token, keys, &Algorithm::ALL) {
        Ok(verified) => {
            assert_eq!(peek(token).map(|u| u.claims), Ok(verified.claims));
            "ok"
        }
        Err(refused) => match refused {
            Refused::TooLong => "too long",
            Refused::Parts => "parts",
            Refused::Encoding => "encoding",
            Refused::Header => "header",
            Refused::Unsupported => "unsupported",
            Refused::NotAllowed => "not allowed",
            Refused::Critical => "critical",
            Refused::NoKey => "no key",
            Refused::Signature => "signature",
            Refused::Claims => "claims",
        },
    }
}

#[test]
fn the_vectors_are_taken_and_refused_as_they_say() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/crypto/jws.jsonl");
    let (mut good, mut bad) = (0, 0);
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let case = parse(line.as_bytes(), &Limits::NONE).unwrap();
        let text = |name: &str| case.get(name).and_then(Json::as_str).unwrap_or_default();
        let keys = match case.get("jwk") {
            Some(jwk) => set_of(vec![jwk.clone()]),
            None => KeySet::of_keys([PublicKey::from_pem(text("pem")).unwrap()]),
        };
        assert_eq!(outcome(text("token"), &keys), text("expect"), "{}", text("name"));
        // Whatever the key is, beside it no other one makes the token good.
        if text("expect") != "ok" {
            bad += 1;
            let other = Signer::generate(Algorithm::Es256).unwrap().public_key().unwrap();
            assert_ne!(outcome(text("token"), &KeySet::of_keys([other])), "ok", "{}", text("name"));
        } else {
            good += 1;
        }
    }
    assert!(good >= 20 && bad > 2 * good, "{good} good, {bad} bad");
}

#[test]
fn every_algorithm_signs_what_its_public_half_verifies_and_nothing_else_does() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::generate(algorithm).unwrap();
        let again = Signer::from_pkcs8(algorithm, &signer.to_pkcs8().unwrap()).unwrap();
        assert_eq!(signer.public_key().unwrap(), again.public_key().unwrap());
        let token = again.token("k-1", Object::new().with("sub", "a")).unwrap();
        let keys = set_of(vec![Json::Object(signer.public_jwk("k-1").unwrap())]);
        let verified = verify(&token, &keys, &[algorithm]).unwrap();
        let header = Header { algorithm, key_id: Some("k-1".into()), kind: Some("JWT".into()) };
        assert_eq!((verified.header, verified.claims.get("sub").and_then(Json::as_str)), (header, Some("a")));

        let others: Vec<_> = Algorithm::ALL.into_iter().filter(|a| *a != algorithm).collect();
        assert_eq!(verify(&token, &keys, &others).err(), Some(Refused::NotAllowed));
        for other in others {
            assert!(!signer.public_key().unwrap().verify(other, b"m", &signer.sign(b"m").unwrap()), "{algorithm} as {other}");
        }
        let same_kid = set_of(vec![Json::Object(Signer::generate(algorithm).unwrap().public_jwk("k-1").unwrap())]);
        assert_eq!(verify(&token, &same_kid, &[algorithm]).err(), Some(Refused::Signature));
        // Two keys under one name: the right one is found.
        let both = vec![
            Json::Object(Signer::generate(algorithm).unwrap().public_jwk("k-1").unwrap()),
            Json::Object(signer.public_jwk("k-1").unwrap()),
        ];
        assert!(verify(&token, &set_of(both), &[algorithm]).is_ok());
    }
}

#[test]
fn a_private_key_of_another_kind_does_not_sign() {
    let rsa = Signer::generate(Algorithm::Rs256).unwrap().to_pkcs8().unwrap();
    let p256 = Signer::generate(Algorithm::Es256).unwrap().to_pkcs8().unwrap();
    let ed = Signer::generate(Algorithm::EdDsa).unwrap().to_pkcs8().unwrap();
    for (algorithm, der) in [
        (Algorithm::Es256, &rsa),
        (Algorithm::EdDsa, &rsa),
        (Algorithm::Es384, &p256),
        (Algorithm::Es512, &p256),
        (Algorithm::Rs256, &p256),
        (Algorithm::Ps512, &ed),
        (Algorithm::Es256, &ed),
    ] {
        assert_eq!(Signer::from_pkcs8(algorithm, der).err(), Some(SignError::Malformed), "{algorithm}");
    }
    assert_eq!(Signer::from_pkcs8(Algorithm::Rs256, &rsa[..rsa.len() - 1]).err(), Some(SignError::Malformed));
    assert_eq!(format!("{:?}", Signer::from_pkcs8(Algorithm::Ps384, &rsa).unwrap()), "Signer(PS384)");
}

#[test]
fn a_token_is_not_read_beyond_its_limit() {
    let signer = Signer::generate(Algorithm::EdDsa).unwrap();
    let keys = KeySet::of_keys([signer.public_key().unwrap()]);
    let token = |bytes: usize| signer.token("", Object::new().with("pad", "x".repeat(bytes))).unwrap();
    assert!(verify(&token(48_000), &keys, &Algorithm::ALL).is_ok());
    let long = token(MAX_TOKEN_BYTES);
    assert_eq!(verify(&long, &keys, &Algorithm::ALL).err(), Some(Refused::TooLong));
    assert_eq!(peek(&long).err(), Some(Refused::TooLong));
}

#[test]
fn sets_are_bounded_and_what_they_hold_besides_keys_is_left_out() {
    let jwk = Json::Object(Signer::generate(Algorithm::Es256).unwrap().public_jwk("a").unwrap());
    let many = |n: usize| Json::Object(Object::new().with("keys", vec![jwk.clone(); n])).to_bytes();
    assert!(KeySet::parse(&many(MAX_KEYS)).is_ok());
    assert_eq!(KeySet::parse(&many(MAX_KEYS + 1)).err(), Some(BadKey::NoSet));
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]"#, r#"{"keys":[],"keys":[]}"#] {
        assert_eq!(KeySet::parse(bad.as_bytes()).err(), Some(BadKey::NoSet), "{bad}");
    }
    let mixed = r#"{"keys":[5,{},{"kty":"oct","k":"c2VjcmV0"},{"kty":"EC","crv":"secp256k1","x":"","y":""},{"kty":"new"}]}"#;
    assert!(KeySet::parse(mixed.as_bytes()).unwrap().is_empty());
}

#[test]
fn texts_that_are_no_public_key_are_refused() {
    for (text, fault) in [
        ("", BadKey::NoPem),
        ("x", BadKey::NoPem),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", BadKey::Unknown),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", BadKey::Unknown),
        ("-----BEGIN PUBLIC KEY-----\nAAAA", BadKey::NoPem),
        ("-----BEGIN OTHER-----\nAAAA\n-----END OTHER-----", BadKey::NoPem),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", BadKey::Private),
    ] {
        assert_eq!(PublicKey::from_pem(text).err(), Some(fault), "{text}");
    }
}

#[test]
fn nothing_of_a_token_stands_in_a_refusal() {
    let signer = Signer::generate(Algorithm::EdDsa).unwrap();
    let header = Object::new().with("alg", "canary-alg").with("kid", "canary-kid");
    let token = signer.token_with(header, br#"{"sub":"canary-sub"}"#).unwrap();
    let refused = verify(&token, &KeySet::default(), &Algorithm::ALL).unwrap_err();
    assert!(!format!("{refused} {refused:?}").contains("canary"));
    let unverified = peek(&token).unwrap();
    assert!(!format!("{unverified:?}").contains("canary"));
}
