//! A code is taken once, however many ask at the same time.

use coffer_core::CoreConfig;
use coffer_testkit::{Server, registry};
use coffer_types::Json;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_at_once_one_is_let_through() {
    let server = Arc::new(Server::ready(registry(), CoreConfig::default()).await);
    assert_eq!(server.call("POST", "sys/mounts/totp", &server.root, r#"{"type":"totp"}"#).await.status, 204);
    let key = r#"{"key":"JBSWY3DPEHPK3PXP"}"#;
    assert_eq!(server.call("POST", "totp/keys/k", &server.root, key).await.status, 204);
    for _ in 0..3 {
        let code = server.call("GET", "totp/code/k", &server.root, "").await.text_at("data/code").to_owned();
        let mut asking = Vec::new();
        for _ in 0..50 {
            let (server, code) = (server.clone(), code.clone());
            asking.push(tokio::spawn(async move {
                let body = format!(r#"{{"code":"{code}"}}"#);
                let replied = server.call("POST", "totp/code/k", &server.root, &body).await;
                match replied.status {
                    200 => {
                        assert_eq!(replied.body.at("data/valid").and_then(Json::as_bool), Some(true));
                        1
                    }
                    400 => {
                        assert!(replied.error().starts_with("code already used"), "{}", replied.text);
                        0
                    }
                    _ => panic!("{}", replied.text),
                }
            }));
        }
        let mut passed = 0;
        for asked in asking {
            passed += asked.await.unwrap();
        }
        assert_eq!(passed, 1);
        // The used code does not become another's: the next step has its own.
        server.clock.advance(Duration::from_secs(30));
    }
}
