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

/// A password for a host is let through once too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_hosts_with_one_password_one_lets_in() {
    let server = Arc::new(Server::ready(registry(), CoreConfig::default()).await);
    assert_eq!(server.call("POST", "sys/mounts/ssh", &server.root, r#"{"type":"ssh"}"#).await.status, 204);
    let role = r#"{"key_type":"otp","default_user":"u","cidr_list":"127.0.0.0/8"}"#;
    assert_eq!(server.call("POST", "ssh/roles/o", &server.root, role).await.status, 204);
    let given = server.call("POST", "ssh/creds/o", &server.root, r#"{"ip":"127.0.0.1"}"#).await;
    assert!(given.text_at("lease_id").starts_with("ssh/creds/o/"), "{}", given.text);
    let body = format!(r#"{{"otp":"{}"}}"#, given.text_at("data/key"));
    let mut asking = Vec::new();
    for _ in 0..20 {
        let (server, body) = (server.clone(), body.clone());
        asking.push(tokio::spawn(async move { server.call("POST", "ssh/verify", "", &body).await.status }));
    }
    let mut statuses = Vec::new();
    for asked in asking {
        statuses.push(asked.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200].as_slice(), &[400; 19]].concat());
    // Its lease ends all the same.
    let lease = format!(r#"{{"lease_id":"{}","sync":true}}"#, given.text_at("lease_id"));
    assert_eq!(server.call("POST", "sys/leases/revoke", &server.root, &lease).await.status, 204);
}
