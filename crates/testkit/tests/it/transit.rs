//! Transit against combinations of parameters that nobody means, and keys under load.

use coffer_core::CoreConfig;
use coffer_testkit::{Server, registry};
use std::time::Duration;

const TYPES: [&str; 11] = [
    "aes128-gcm96",
    "aes256-gcm96",
    "chacha20-poly1305",
    "xchacha20-poly1305",
    "ed25519",
    "ecdsa-p256",
    "ecdsa-p384",
    "ecdsa-p521",
    "rsa-2048",
    "mldsa-44",
    "hmac",
];

async fn server() -> Server {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    assert_eq!(server.call("POST", "sys/mounts/transit", &server.root, r#"{"type":"transit"}"#).await.status, 204);
    server
}

/// GHSA-8w8f-r2xv-4q4j: a key of one type with the parameters of another ended the reference's process.
#[tokio::test]
async fn every_combination_of_type_and_parameter_is_answered() {
    let server = server().await;
    let call = |path: String, body: String| {
        let server = &server;
        async move {
            let replied = server.call("POST", &path, &server.root, &body).await;
            assert!([200, 400, 500].contains(&replied.status), "{path} {body}: {} {}", replied.status, replied.text);
            replied
        }
    };
    let mut made = Vec::new();
    for kind in TYPES {
        for flags in
            ["", r#","derived":true"#, r#","derived":true,"convergent_encryption":true"#, r#","convergent_encryption":true"#]
        {
            for size in ["", r#","key_size":32"#, r#","key_size":-1"#, r#","key_size":9999999999"#] {
                let name = format!("k{}", made.len());
                let body = format!(r#"{{"type":"{kind}","exportable":true,"allow_plaintext_backup":true{flags}{size}}}"#);
                if call(format!("transit/keys/{name}"), body).await.status == 200 {
                    made.push(name);
                }
            }
        }
    }
    assert!(made.len() >= 15, "{}", made.len());
    for name in &made {
        for context in ["", r#","context":"Yw==""#, r#","context":"!""#] {
            for body in [
                r#""plaintext":"YQ==""#,
                r#""plaintext":"YQ==","associated_data":"YQ==""#,
                r#""plaintext":"YQ==","key_version":-1"#,
                r#""plaintext":"YQ==","key_version":4294967297"#,
                r#""plaintext":"YQ==","nonce":"AAAAAAAAAAAAAAAA""#,
                r#""batch_input":[{},{"plaintext":1},{"plaintext":"YQ==","key_version":"x"}]"#,
                r#""batch_input":{}"#,
                r#""batch_input":[1]"#,
            ] {
                call(format!("transit/encrypt/{name}"), format!("{{{body}{context}}}")).await;
            }
            for text in [
                "",
                "vault:v1:",
                "vault:v1:AAAA",
                "vault:v0:AAAA",
                "vault:v:A",
                "vault:v99999999999:A",
                "v1:x",
                "vault:v1:\\u0000",
            ] {
                for path in ["decrypt", "rewrap"] {
                    call(format!("transit/{path}/{name}"), format!(r#"{{"ciphertext":"{text}"{context}}}"#)).await;
                }
                for field in ["signature", "hmac"] {
                    call(format!("transit/verify/{name}"), format!(r#"{{"input":"YQ==","{field}":"{text}"{context}}}"#)).await;
                }
            }
            for how in [
                "",
                r#","prehashed":true"#,
                r#","marshaling_algorithm":"jws""#,
                r#","signature_algorithm":"pkcs1v15""#,
                r#","salt_length":"hash""#,
                r#","salt_length":"20""#,
                r#","hash_algorithm":"sha3-224""#,
                r#","hash_algorithm":"none","prehashed":true,"signature_algorithm":"pkcs1v15""#,
            ] {
                call(format!("transit/sign/{name}"), format!(r#"{{"input":"YQ=="{context}{how}}}"#)).await;
                call(format!("transit/hmac/{name}"), format!(r#"{{"input":"YQ=="{context}{how}}}"#)).await;
            }
            for bits in ["128", "512", "0", "-1", "99999999999"] {
                call(format!("transit/datakey/plaintext/{name}"), format!(r#"{{"bits":{bits}{context}}}"#)).await;
            }
        }
    }
}

#[tokio::test]
async fn a_nonce_of_the_caller_is_not_taken() {
    let server = server().await;
    let root = &server.root;
    let body = r#"{"derived":true,"convergent_encryption":true}"#;
    assert_eq!(server.call("POST", "transit/keys/c", root, body).await.status, 200);
    let seal = |plaintext: &'static str, nonce: &'static str| {
        let body = format!(r#"{{"plaintext":"{plaintext}","context":"Yw==","nonce":"{nonce}"}}"#);
        let server = &server;
        async move { server.call("POST", "transit/encrypt/c", &server.root, &body).await.text_at("data/ciphertext").to_owned() }
    };
    let (a, b, c) =
        (seal("YQ==", "AAAAAAAAAAAAAAAA").await, seal("YQ==", "AAAAAAAAAAAAAAAB").await, seal("Yg==", "AAAAAAAAAAAAAAAA").await);
    assert_eq!(a, b, "the nonce given makes no difference");
    let nonce = |text: &str| text.trim_start_matches("vault:v1:")[..16].to_owned();
    assert_ne!(nonce(&a), nonce(&c), "two plaintexts never share one");
}

#[tokio::test]
async fn keys_rotate_by_themselves_and_old_ciphertexts_open() {
    let server = server().await;
    let root = &server.root;
    assert_eq!(server.call("POST", "transit/keys/auto", root, r#"{"auto_rotate_period":"1h"}"#).await.status, 200);
    let sealed =
        server.call("POST", "transit/encrypt/auto", root, r#"{"plaintext":"YQ=="}"#).await.text_at("data/ciphertext").to_owned();
    server.clock.advance(Duration::from_secs(3601));
    coffer_core::upkeep::Upkeep::default().beat_and_wait(&server.core).await.unwrap();
    let shown = server.call("GET", "transit/keys/auto", root, "").await;
    assert_eq!(shown.body.at("data/latest_version").and_then(coffer_types::Json::as_i64), Some(2), "{}", shown.text);
    let opened = server.call("POST", "transit/decrypt/auto", root, &format!(r#"{{"ciphertext":"{sealed}"}}"#)).await;
    assert_eq!(opened.text_at("data/plaintext"), "YQ==");
}

#[tokio::test]
async fn material_goes_out_only_of_what_is_exportable() {
    let server = server().await;
    let root = &server.root;
    for kind in TYPES {
        let size = if kind == "hmac" { r#","key_size":32"# } else { "" };
        assert_eq!(
            server.call("POST", &format!("transit/keys/{kind}"), root, &format!(r#"{{"type":"{kind}"{size}}}"#)).await.status,
            200
        );
        for what in ["encryption-key", "signing-key", "hmac-key"] {
            assert_eq!(server.call("GET", &format!("transit/export/{what}/{kind}"), root, "").await.status, 400, "{what} {kind}");
        }
        assert_eq!(server.call("GET", &format!("transit/backup/{kind}"), root, "").await.status, 500, "{kind}");
        assert_eq!(server.call("DELETE", &format!("transit/keys/{kind}"), root, "").await.status, 400, "{kind}");
        // What was allowed once stays so.
        let config = format!("transit/keys/{kind}/config");
        assert_eq!(server.call("POST", &config, root, r#"{"exportable":true,"allow_plaintext_backup":true}"#).await.status, 200);
        let kept = server.call("POST", &config, root, r#"{"exportable":false,"allow_plaintext_backup":false}"#).await;
        assert!(
            kept.text.contains(r#""exportable":true"#) && kept.text.contains(r#""allow_plaintext_backup":true"#),
            "{}",
            kept.text
        );
    }
}
