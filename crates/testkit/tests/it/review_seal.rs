//! What the seal's ceremonies leave behind, and who may touch them.

use coffer_core::CoreConfig;
use coffer_testkit::{Server, registry};
use coffer_types::Json;

async fn server() -> Server {
    Server::ready(registry(), CoreConfig::default()).await
}

async fn reopen(server: &Server) {
    assert_eq!(server.call("PUT", "sys/seal", &server.root, "").await.status, 204);
    let open = server.call("PUT", "sys/unseal", "", &format!(r#"{{"key":"{}"}}"#, server.share)).await;
    assert_eq!(open.status, 200, "{}", open.text);
}

#[tokio::test]
async fn a_seal_forgets_the_shares_and_keys_of_what_was_under_way() {
    let server = server().await;
    let begun =
        server.call("PUT", "sys/rekey/init", "", r#"{"secret_shares":3,"secret_threshold":2,"require_verification":true}"#).await;
    let share = format!(r#"{{"key":"{}","nonce":"{}"}}"#, server.share, begun.text_at("nonce"));
    // From here on the whole unseal key, the old one and the new one, waits for the verification.
    let given = server.call("PUT", "sys/rekey/update", "", &share).await;
    assert!(!given.text_at("verification_nonce").is_empty(), "{}", given.text);
    assert_eq!(server.call("PUT", "sys/generate-root/attempt", "", "{}").await.status, 200);
    reopen(&server).await;
    for path in ["sys/rekey/init", "sys/generate-root/attempt"] {
        let status = server.call("GET", path, "", "").await;
        assert_eq!(status.body.at("started").and_then(Json::as_bool), Some(false), "{path}: {}", status.text);
    }
    assert_eq!(server.call("GET", "sys/rekey/verify", "", "").await.status, 400);
}

#[tokio::test]
async fn without_a_token_nobody_starts_or_cancels_a_ceremony() {
    let mut server = server().await;
    server.listener = std::sync::Arc::default();
    let made = server.call("POST", "auth/token/create", &server.root, r#"{"policies":["default"]}"#).await;
    let limited = made.text_at("auth/client_token").to_owned();
    let begin = r#"{"secret_shares":1,"secret_threshold":1}"#;
    let root = server.root.clone();
    assert_eq!(server.call("PUT", "sys/rekey/init", &root, begin).await.status, 200);
    assert_eq!(server.call("PUT", "sys/generate-root/attempt", &root, "{}").await.status, 200);
    let key = format!(r#"{{"key":"{}","nonce":"x"}}"#, server.share);
    for token in ["", limited.as_str(), "hvs.nobody"] {
        for (method, path, body) in [
            ("PUT", "sys/rekey/init", begin),
            ("DELETE", "sys/rekey/init", ""),
            ("GET", "sys/rekey/init", ""),
            ("PUT", "sys/rekey/update", &key),
            ("PUT", "sys/rekey/verify", &key),
            ("DELETE", "sys/rekey/verify", ""),
            ("DELETE", "sys/rekey-recovery-key/init", ""),
            ("PUT", "sys/rekey-recovery-key/update", &key),
            ("PUT", "sys/generate-root/attempt", "{}"),
            ("DELETE", "sys/generate-root/attempt", ""),
            ("GET", "sys/generate-root/attempt", ""),
            ("DELETE", "sys/generate-root", ""),
            ("PUT", "sys/generate-root/update", &key),
        ] {
            let refused = server.call(method, path, token, body).await;
            assert_eq!(refused.status, 405, "{method} {path} with {token:?}: {}", refused.text);
        }
        for path in ["sys/rotate/root/init", "sys/rotate/recovery/init", "sys/generate-root-token/attempt"] {
            for (method, body) in [("GET", ""), ("PUT", begin), ("DELETE", "")] {
                let refused = server.call(method, path, token, body).await;
                assert_eq!(refused.status, 403, "{method} {path} with {token:?}: {}", refused.text);
            }
        }
    }
    for path in ["sys/rekey/init", "sys/generate-root/attempt"] {
        let status = server.call("GET", path, &root, "").await;
        assert_eq!(status.body.at("started").and_then(Json::as_bool), Some(true), "{path}: {}", status.text);
    }
}

#[tokio::test]
async fn one_of_many_who_initialise_at_once_does() {
    let server = std::sync::Arc::new(Server::sealed(registry(), CoreConfig::default()).await);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(
                async move { server.call("PUT", "sys/init", "", r#"{"secret_shares":1,"secret_threshold":1}"#).await.status },
            )
        })
        .collect();
    let mut done = 0;
    for task in tasks {
        match task.await.unwrap() {
            200 => done += 1,
            other => assert_eq!(other, 400),
        }
    }
    assert_eq!(done, 1);
}
