//! Transit's certificates, keys by agreement, forms of export and ML-DSA keys; refusals first.

use coffer_core::CoreConfig;
use coffer_crypto::pk::{KeyKind, PrivateKey};
use coffer_crypto::x509::testing::{Party, client};
use coffer_crypto::x509::{Certificate, Request};
use coffer_testkit::{Server, registry};
use coffer_types::Json;

async fn server() -> Server {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    assert_eq!(server.call("POST", "sys/mounts/transit", &server.root, r#"{"type":"transit"}"#).await.status, 204);
    server
}

async fn key(server: &Server, name: &str, fields: &str) {
    let made = server.call("POST", &format!("transit/keys/{name}"), &server.root, &format!("{{{fields}}}")).await;
    assert_eq!(made.status, 200, "{name}: {}", made.text);
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

fn pem(label: &str, der: &[u8]) -> String {
    coffer_crypto::x509::pem(label, der)
}

#[tokio::test]
async fn requests_are_of_the_key_and_broken_templates_are_refused() {
    let server = server().await;
    let root = &server.root;
    for (name, kind) in [
        ("p256", "ecdsa-p256"),
        ("p384", "ecdsa-p384"),
        ("p521", "ecdsa-p521"),
        ("ed", "ed25519"),
        ("rsa", "rsa-2048"),
        ("ml44", "mldsa-44"),
        ("ml65", "mldsa-65"),
        ("ml87", "mldsa-87"),
    ] {
        key(&server, name, &format!(r#""type":"{kind}""#)).await;
        let made = server.call("POST", &format!("transit/keys/{name}/csr"), root, "{}").await;
        assert_eq!(made.status, 200, "{}", made.text);
        // Reading it checks the signature.
        let request = Request::from_pem(made.text_at("data/csr")).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(request.subject(), [0x30, 0]);
        let shown = server.call("GET", &format!("transit/keys/{name}"), root, "").await;
        if name.starts_with('p') || name == "rsa" {
            assert_eq!(shown.text_at("data/keys/1/public_key"), request.key().to_pem(), "{name}");
        }
    }
    let template = server.call("POST", "transit/keys/rsa/csr", root, "{}").await.text_at("data/csr").to_owned();
    let der = Request::from_pem(&template).expect("a request").der().to_vec();
    let mut changed = der.clone();
    *changed.last_mut().expect("bytes") ^= 1;
    let mut longer = der.clone();
    longer.push(0);
    let bad = [
        "x".to_owned(),
        template.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
        format!("{template}{template}"),
        pem("CERTIFICATE REQUEST", &[]),
        pem("CERTIFICATE REQUEST", &changed),
        pem("CERTIFICATE REQUEST", &longer),
        pem("CERTIFICATE REQUEST", &der[..der.len() - 1]),
        pem("CERTIFICATE REQUEST", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
        pem("CERTIFICATE REQUEST", &[0x30; 3000]),
    ];
    for bad in bad {
        let body = format!(r#"{{"csr":{}}}"#, quoted(&bad));
        assert_eq!(server.call("POST", "transit/keys/p256/csr", root, &body).await.status, 400, "{bad}");
    }
    for version in ["9", "-1", "4294967297"] {
        let body = format!(r#"{{"version":{version}}}"#);
        assert_eq!(server.call("POST", "transit/keys/p256/csr", root, &body).await.status, 400, "{version}");
    }
    key(&server, "aes", "").await;
    key(&server, "derived", r#""type":"ed25519","derived":true"#).await;
    for name in ["aes", "derived", "nobody"] {
        for path in ["csr", "set-certificate"] {
            let refused = server.call("POST", &format!("transit/keys/{name}/{path}"), root, "{}").await;
            assert_eq!(refused.status, 400, "{name} {path}");
        }
    }
}

#[tokio::test]
async fn a_chain_stands_with_the_version_that_it_certifies() {
    let server = server().await;
    let root = &server.root;
    let ca = Party::authority("an authority");
    let leaf = ca.issue(client("a leaf"));
    let other = ca.issue(client("another"));
    // The leaf's key is brought to transit by way of a backup's form: here, as an imported public half.
    let text = |certificate: &Certificate| pem("CERTIFICATE", certificate.der());
    let public = coffer_crypto::pk::PublicKey::from_spki(leaf.certificate.spki()).expect("a key").to_pem();
    let import = format!(r#"{{"type":"ecdsa-p256","public_key":{}}}"#, quoted(&public));
    assert_eq!(server.call("POST", "transit/keys/k/import", root, &import).await.status, 204);
    let set = |chain: String, more: &'static str| {
        let body = format!(r#"{{"certificate_chain":{}{more}}}"#, quoted(&chain));
        let server = &server;
        async move { server.call("POST", "transit/keys/k/set-certificate", &server.root, &body).await }
    };
    let (leaf, other, ca) = (text(&leaf.certificate), text(&other.certificate), text(&ca.certificate));
    let private = PrivateKey::generate(KeyKind::P256).expect("a key").to_pkcs8_pem().expect("PEM");
    for (chain, status) in [
        (String::new(), 400),
        ("x".to_owned(), 400),
        (format!("{leaf}x"), 400),
        (ca.clone(), 400),
        (format!("{ca}{leaf}"), 400),
        (format!("{leaf}{leaf}"), 400),
        (format!("{leaf}{}", *private), 400),
        (format!("{leaf}{}{ca}", *private), 400),
        (pem("CERTIFICATE", &[]), 400),
        (pem("CERTIFICATE", &[0x30, 3, 2, 1, 0]), 400),
        (pem("CERTIFICATE", &[0x30; 4000]), 400),
        (other, 500),
    ] {
        let refused = set(chain.clone(), "").await;
        assert_eq!(refused.status, status, "{chain}: {}", refused.text);
        assert!(!refused.text.contains("PRIVATE"), "{}", refused.text);
    }
    for version in [r#","version":2"#, r#","version":-1"#] {
        assert_eq!(set(leaf.clone(), version).await.status, 400);
    }
    let exported = || server.call("GET", "transit/export/certificate-chain/k", root, "");
    assert_eq!(exported().await.status, 500, "none yet");
    let kept = set(format!("{leaf}\n{ca}"), "").await;
    assert_eq!(kept.status, 200, "{}", kept.text);
    let whole = format!("{leaf}{ca}");
    assert_eq!(exported().await.text_at("data/keys/1"), whole.trim_end());
    let shown = server.call("GET", "transit/keys/k", root, "").await;
    assert_eq!(shown.text_at("data/keys/1/certificate_chain"), whole.trim_end());
    // A later one takes its place.
    assert_eq!(set(leaf.clone(), r#","version":1"#).await.status, 200);
    assert_eq!(exported().await.text_at("data/keys/1"), leaf.trim_end());
}

#[tokio::test]
async fn two_parties_agree_on_a_key() {
    let server = server().await;
    let root = &server.root;
    for (base, kind) in [("p256", KeyKind::P256), ("p384", KeyKind::P384), ("p521", KeyKind::P521)] {
        key(&server, base, &format!(r#""type":"ecdsa-{base}""#)).await;
        let peer = PrivateKey::generate(kind).expect("a key");
        let ours = server.call("GET", &format!("transit/keys/{base}"), root, "").await;
        let ours = coffer_crypto::pk::PublicKey::from_pem(ours.text_at("data/keys/1/public_key")).expect("a key");
        let secret = peer.agree(&ours).expect("agrees");
        let theirs = quoted(&peer.public().expect("a half").to_pem());
        for (cipher, length) in
            [("aes128-gcm96", 16), ("aes256-gcm96", 32), ("chacha20-poly1305", 32), ("xchacha20-poly1305", 32)]
        {
            let body = format!(r#"{{"base_key_name":"{base}","peer_public_key":{theirs},"derived_key_type":"{cipher}"}}"#);
            let name = format!("{base}-{cipher}");
            assert_eq!(server.call("POST", &format!("transit/derive-key/{name}"), root, &body).await.status, 204);
            let config = format!("transit/keys/{name}/config");
            assert_eq!(server.call("POST", &config, root, r#"{"exportable":true}"#).await.status, 200);
            let shown = server.call("GET", &format!("transit/export/encryption-key/{name}"), root, "").await;
            let mut expected = vec![0; length];
            coffer_crypto::kdf::derive(&[], &secret, &[], &mut expected).expect("short");
            use base64::Engine as _;
            assert_eq!(shown.text_at("data/keys/1"), base64::engine::general_purpose::STANDARD.encode(expected), "{name}");
        }
        // Again makes a version; another type's key is left as it is.
        let body = format!(r#"{{"base_key_name":"{base}","peer_public_key":{theirs}}}"#);
        let again = format!("transit/derive-key/{base}-aes256-gcm96");
        assert_eq!(server.call("POST", &again, root, &body).await.status, 204);
        let shown = server.call("GET", &format!("transit/keys/{base}-aes256-gcm96"), root, "").await;
        assert_eq!(shown.body.at("data/latest_version").and_then(Json::as_i64), Some(2));
        for there in [format!("{base}-aes128-gcm96"), base.to_owned()] {
            assert_eq!(server.call("POST", &format!("transit/derive-key/{there}"), root, &body).await.status, 500, "{there}");
        }
    }
    let half = |kind| quoted(&PrivateKey::generate(kind).expect("a key").public().expect("a half").to_pem());
    let (good, other, ed) = (half(KeyKind::P256), half(KeyKind::P384), half(KeyKind::Ed25519));
    key(&server, "aes", "").await;
    key(&server, "ed", r#""type":"ed25519""#).await;
    for (fields, status) in [
        (String::new(), 400),
        (r#""base_key_name":"p256""#.to_owned(), 400),
        (format!(r#""base_key_name":"nobody","peer_public_key":{good}"#), 400),
        (format!(r#""base_key_name":"aes","peer_public_key":{good}"#), 400),
        (format!(r#""base_key_name":"ed","peer_public_key":{ed}"#), 400),
        (format!(r#""base_key_name":"p256","peer_public_key":{good},"key_derivation_algorithm":"hkdf""#), 400),
        (format!(r#""base_key_name":"p256","peer_public_key":{good},"derived_key_type":"ed25519""#), 400),
        (format!(r#""base_key_name":"p256","peer_public_key":{good},"derived_key_type":"x""#), 400),
        (format!(r#""base_key_name":"p256","peer_public_key":{good},"base_key_version":2"#), 500),
        (format!(r#""base_key_name":"p256","peer_public_key":{good},"base_key_version":-1"#), 500),
        (format!(r#""base_key_name":"p256","peer_public_key":{good},"base_key_version":99999999999"#), 500),
        (format!(r#""base_key_name":"p256","peer_public_key":{other}"#), 500),
        (format!(r#""base_key_name":"p256","peer_public_key":{ed}"#), 500),
        (r#""base_key_name":"p256","peer_public_key":"x""#.to_owned(), 500),
        (
            r#""base_key_name":"p256","peer_public_key":"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n""#
                .to_owned(),
            500,
        ),
    ] {
        let refused = server.call("POST", "transit/derive-key/new", root, &format!("{{{fields}}}")).await;
        assert_eq!(refused.status, status, "{fields}: {}", refused.text);
    }
    assert_eq!(server.call("GET", "transit/keys/new", root, "").await.status, 404, "nothing was made");
}

#[tokio::test]
async fn every_form_of_export_fits_its_kind_or_is_refused() {
    let server = server().await;
    let root = &server.root;
    for (kind, own, what) in [
        ("rsa-2048", "rsa_pem", "signing-key"),
        ("ecdsa-p256", "pem", "signing-key"),
        ("ed25519", "raw", "signing-key"),
        ("mldsa-44", "raw", "signing-key"),
        ("aes256-gcm96", "bytes", "encryption-key"),
    ] {
        key(&server, kind, &format!(r#""type":"{kind}","exportable":true"#)).await;
        for (form, fine) in
            [("", true), ("raw", own == "raw" || own == "bytes"), ("der", own != "bytes"), ("pem", own != "bytes"), ("x", false)]
        {
            let path = format!("transit/export/{what}/{kind}?format={form}");
            let shown = server.call("GET", &path, root, "").await;
            let status = if fine {
                200
            } else if form == "x" {
                400
            } else {
                500
            };
            assert_eq!(shown.status, status, "{kind} {form}: {}", shown.text);
            if fine && form == "pem" {
                let private = PrivateKey::from_pem(shown.text_at("data/keys/1")).expect("a key");
                let public = format!("transit/export/public-key/{kind}?format=pem");
                let public = server.call("GET", &public, root, "").await;
                let public = coffer_crypto::pk::PublicKey::from_pem(public.text_at("data/keys/1")).expect("a key");
                assert_eq!(private.public().expect("a half"), public, "{kind}");
            }
        }
        for (form, status) in [("", 200), ("raw", 200), ("der", 500), ("pem", 500)] {
            let path = format!("transit/export/hmac-key/{kind}?format={form}");
            assert_eq!(server.call("GET", &path, root, "").await.status, status, "{kind} {form}");
        }
    }
}

#[tokio::test]
async fn rsa_signs_with_every_digest_and_salt_that_fit() {
    let server = server().await;
    let root = &server.root;
    key(&server, "rsa", r#""type":"rsa-2048""#).await;
    key(&server, "ec", r#""type":"ecdsa-p256""#).await;
    let verify = |signature: String, how: String, input: &'static str| {
        let body = format!(r#"{{"input":"{input}","signature":"{signature}"{how}}}"#);
        let server = &server;
        async move {
            let replied = server.call("POST", "transit/verify/rsa", &server.root, &body).await;
            (replied.status, replied.body.at("data/valid").and_then(Json::as_bool))
        }
    };
    let mut ways: Vec<String> = Vec::new();
    for digest in ["sha2-224", "sha2-256", "sha2-384", "sha2-512", "sha3-224", "sha3-256", "sha3-384", "sha3-512"] {
        ways.push(format!(r#","hash_algorithm":"{digest}","signature_algorithm":"pkcs1v15""#));
        for salt in ["auto", "hash", "0", "17"] {
            ways.push(format!(r#","hash_algorithm":"{digest}","salt_length":"{salt}""#));
        }
    }
    ways.push(r#","hash_algorithm":"none","prehashed":true,"signature_algorithm":"pkcs1v15""#.to_owned());
    for how in ways {
        let made = server.call("POST", "transit/sign/rsa", root, &format!(r#"{{"input":"YQ=="{how}}}"#)).await;
        assert_eq!(made.status, 200, "{how}: {}", made.text);
        let signature = made.text_at("data/signature").to_owned();
        assert_eq!(verify(signature.clone(), how.clone(), "YQ==").await, (200, Some(true)), "{how}");
        assert_eq!(verify(signature.clone(), how.clone(), "Yg==").await, (200, Some(false)), "{how}");
        if how.contains(r#""17""#) {
            let other = how.replace("17", "18");
            assert_eq!(verify(signature, other, "YQ==").await, (200, Some(false)), "{how}");
        }
    }
    for (how, status) in [
        (r#","hash_algorithm":"none""#, 400),
        (r#","hash_algorithm":"none","prehashed":true"#, 400),
        (r#","hash_algorithm":"none","signature_algorithm":"pkcs1v15""#, 400),
        (r#","hash_algorithm":"sha1""#, 400),
        (r#","hash_algorithm":"mldsa-mu""#, 400),
        (r#","hash_algorithm":"mldsa-mu","prehashed":true"#, 400),
        (r#","signature_algorithm":"x""#, 500),
        (r#","salt_length":"-2""#, 400),
        (r#","salt_length":"223""#, 500),
        (r#","salt_length":"9223372036854775807""#, 500),
        (r#","salt_length":"99999999999999999999""#, 400),
        (r#","salt_length":"x""#, 400),
        (r#","prehashed":true,"hash_algorithm":"sha3-512""#, 500),
    ] {
        let refused = server.call("POST", "transit/sign/rsa", root, &format!(r#"{{"input":"YQ=="{how}}}"#)).await;
        assert_eq!(refused.status, status, "{how}: {}", refused.text);
    }
    // ECDSA signs a value of any length as it is given.
    let none = r#"{"input":"YQ==","hash_algorithm":"none","prehashed":true,"signature_algorithm":"pkcs1v15"}"#;
    assert_eq!(server.call("POST", "transit/sign/ec", root, none).await.status, 200);
}

#[tokio::test]
async fn batches_say_item_by_item_what_failed() {
    let server = server().await;
    let root = &server.root;
    key(&server, "aes", "").await;
    key(&server, "ed", r#""type":"ed25519""#).await;
    let items = |replied: &coffer_testkit::Replied| {
        replied.body.at("data/batch_results").and_then(Json::as_array).map(<[Json]>::to_vec).unwrap_or_default()
    };
    for (path, body, status) in [
        // Encrypting and decrypting have a status for what failed in part.
        ("encrypt/aes", r#""batch_input":[{"plaintext":"YQ=="},{"plaintext":"!"}]"#, 400),
        ("encrypt/aes", r#""batch_input":[{"plaintext":"YQ=="},{"plaintext":"!"}],"partial_failure_response_code":207"#, 207),
        ("encrypt/aes", r#""batch_input":[{"plaintext":"!"},{"plaintext":"!"}],"partial_failure_response_code":207"#, 400),
        ("decrypt/aes", r#""batch_input":[{"ciphertext":"vault:v1:AAAA"},{"ciphertext":"x"}]"#, 400),
        // The others only say it in the items.
        ("rewrap/aes", r#""batch_input":[{"ciphertext":"vault:v1:AAAA"},{"ciphertext":"x"}]"#, 200),
        ("sign/ed", r#""batch_input":[{"input":"YQ=="},{"input":"!"}]"#, 200),
        ("hmac/ed", r#""batch_input":[{"input":"YQ=="},{}]"#, 200),
        ("verify/ed", r#""batch_input":[{"input":"YQ==","signature":"x"},{"input":"YQ==","signature":"vault:v0:AAAA"}]"#, 200),
    ] {
        let replied = server.call("POST", &format!("transit/{path}"), root, &format!("{{{body}}}")).await;
        assert_eq!(replied.status, status, "{path} {body}: {}", replied.text);
        let items = items(&replied);
        assert_eq!(items.len(), 2, "{}", replied.text);
        assert!(items[1].get("error").is_some(), "{}", replied.text);
    }
    // A batch that does not read fails whole, and makes no key.
    for body in [
        r#""batch_input":{}"#,
        r#""batch_input":"x""#,
        r#""batch_input":[1]"#,
        r#""batch_input":[{"plaintext":"YQ=="},{}]"#,
        r#""batch_input":[{"plaintext":"YQ==","key_version":"x"}]"#,
        r#""batch_input":[{"plaintext":"YQ==","reference":7}]"#,
        r#""batch_input":[{"plaintext":7}]"#,
    ] {
        let replied = server.call("POST", "transit/encrypt/new", root, &format!("{{{body}}}")).await;
        assert_eq!(replied.status, 500, "{body}: {}", replied.text);
    }
    assert_eq!(server.call("GET", "transit/keys/new", root, "").await.status, 404);
    for (body, name) in [
        (r#""batch_input":[{"input":"YQ=="}]"#, "ed"),
        (r#""batch_input":[{"input":"YQ==","signature":"x"},{"input":"YQ==","hmac":"x"}]"#, "ed"),
        (r#""batch_input":[{"input":"YQ==","signature":"x"}]"#, "aes"),
    ] {
        let replied = server.call("POST", &format!("transit/verify/{name}"), root, &format!("{{{body}}}")).await;
        assert_eq!(replied.status, 400, "{body}: {}", replied.text);
    }
    // A thousand of a hundred kinds of ruin, and one that is whole.
    let sealed = server.call("POST", "transit/encrypt/aes", root, r#"{"plaintext":"Y2FuYXJ5LXBsYWludGV4dA=="}"#).await;
    let sealed = sealed.text_at("data/ciphertext").to_owned();
    let cut = |length: usize| format!(r#"{{"ciphertext":"{}"}}"#, &sealed[..length.min(sealed.len())]);
    let many: Vec<String> = (0..1000).map(|n| cut(n % (sealed.len() + 1))).chain([cut(sealed.len())]).collect();
    let body = format!(r#"{{"batch_input":[{}],"partial_failure_response_code":202}}"#, many.join(","));
    let replied = server.call("POST", "transit/decrypt/aes", root, &body).await;
    assert_eq!(replied.status, 202);
    for (n, item) in items(&replied).iter().enumerate() {
        let whole = n == 1000 || n % (sealed.len() + 1) == sealed.len();
        let expected = if whole { "Y2FuYXJ5LXBsYWludGV4dA==" } else { "" };
        assert_eq!(item.get("plaintext").and_then(Json::as_str), Some(expected), "{n}");
        assert_eq!(item.get("error").is_none(), whole, "{n}");
    }
}
