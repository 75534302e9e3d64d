//! approle, userpass and lockout through the whole server: what depends on addresses, on calls at the same time, and on
//! what a login leaves in the store.

use coffer_core::CoreConfig;
use coffer_core::lockout::{Partial, Settings};
use coffer_testkit::{Replied, Server, registry};
use coffer_types::Json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

async fn server() -> Server {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    for kind in ["approle", "userpass"] {
        ok(&server, "POST", &format!("sys/auth/{kind}"), &format!(r#"{{"type":"{kind}"}}"#)).await;
    }
    server
}

async fn ok(server: &Server, method: &str, path: &str, body: &str) -> Replied {
    let replied = server.call(method, path, &server.root, body).await;
    assert!(replied.status < 300, "{path}: {}", replied.text);
    replied
}

/// A role with a role id of its own name, and a secret id `s`.
async fn role(server: &Server, name: &str, role: &str, secret_id: &str) {
    ok(server, "POST", &format!("auth/approle/role/{name}"), role).await;
    ok(server, "POST", &format!("auth/approle/role/{name}/role-id"), &format!(r#"{{"role_id":"{name}"}}"#)).await;
    ok(server, "POST", &format!("auth/approle/role/{name}/custom-secret-id"), secret_id).await;
}

async fn approle(server: &Server, role_id: &str, secret_id: &str) -> Replied {
    server.call("POST", "auth/approle/login", "", &format!(r#"{{"role_id":"{role_id}","secret_id":"{secret_id}"}}"#)).await
}

async fn userpass(server: &Server, name: &str, password: &str) -> Replied {
    server.call("POST", &format!("auth/userpass/login/{name}"), "", &format!(r#"{{"password":"{password}"}}"#)).await
}

async fn keys(server: &Server) -> BTreeSet<Vec<u8>> {
    let snapshot = server.store.snapshot();
    snapshot.list(b"", None, usize::MAX).await.unwrap().iter().map(|k| k.as_bytes().to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_fifty_logins_at_once_with_one_use_one_wins() {
    let server = Arc::new(server().await);
    role(&server, "once", "{}", r#"{"secret_id":"s","num_uses":1}"#).await;
    role(&server, "ten", "{}", r#"{"secret_id":"s","num_uses":10}"#).await;
    for (name, wins) in [("once", 1), ("ten", 10)] {
        // Failures of those that come too late must not lock the others out here.
        ok(&server, "POST", "sys/auth/approle/tune", r#"{"user_lockout_config":{"lockout_disable":true}}"#).await;
        let logins: Vec<_> = (0..50)
            .map(|_| {
                let server = server.clone();
                tokio::spawn(async move { approle(&server, name, "s").await.status })
            })
            .collect();
        let mut won = 0;
        for login in logins {
            match login.await.unwrap() {
                200 => won += 1,
                status => assert_eq!(status, 400),
            }
        }
        assert_eq!(won, wins, "{name}");
    }
}

#[tokio::test]
async fn a_login_writes_its_token_and_nothing_else() {
    let server = server().await;
    role(&server, "app", r#"{"token_policies":"app"}"#, r#"{"secret_id":"s"}"#).await;
    approle(&server, "app", "s").await;
    let before = keys(&server).await;
    let replied = approle(&server, "app", "s").await;
    assert_eq!(replied.status, 200, "{}", replied.text);
    let after = keys(&server).await;
    let new: Vec<String> = after.difference(&before).map(|k| String::from_utf8_lossy(k).into_owned()).collect();
    let of = |prefix: &str| new.iter().filter(|k| k.starts_with(prefix)).count();
    // The token, its accessor, its lease and that in the index by time.
    assert_eq!((of("token/id/"), of("token/accessor/"), new.len() <= 4), (1, 1, true), "{new:?}");
    assert!(before.is_subset(&after));
}

#[tokio::test]
async fn networks_bind_logins_and_tokens() {
    let server = server().await;
    role(&server, "far", r#"{"secret_id_bound_cidrs":"10.0.0.0/8"}"#, r#"{"secret_id":"s"}"#).await;
    role(&server, "far-id", "{}", r#"{"secret_id":"s","cidr_list":"10.0.0.0/8","num_uses":2}"#).await;
    role(&server, "far-token", r#"{"token_bound_cidrs":"10.0.0.0/8"}"#, r#"{"secret_id":"s"}"#).await;
    role(&server, "near", r#"{"secret_id_bound_cidrs":"127.0.0.0/8","token_strictly_bind_ip":true}"#, r#"{"secret_id":"s"}"#)
        .await;
    for name in ["far", "far-id"] {
        let replied = approle(&server, name, "s").await;
        assert_eq!(replied.status, 400);
        assert!(replied.error().contains("unauthorized"), "{}", replied.text);
    }
    // A login from elsewhere takes no use.
    let left = ok(&server, "POST", "auth/approle/role/far-id/secret-id/lookup", r#"{"secret_id":"s"}"#).await;
    assert_eq!(left.body.at("data/secret_id_num_uses").and_then(Json::as_i64), Some(2));
    let token = approle(&server, "far-token", "s").await.text_at("auth/client_token").to_owned();
    assert_eq!(server.call("GET", "auth/token/lookup-self", &token, "").await.status, 403);
    let token = approle(&server, "near", "s").await.text_at("auth/client_token").to_owned();
    let own = server.call("GET", "auth/token/lookup-self", &token, "").await;
    assert_eq!(own.text_at("data/bound_cidrs/0"), "127.0.0.1", "{}", own.text);
}

#[tokio::test]
async fn a_secret_id_comes_wrapped_and_is_good_once_unwrapped() {
    let server = server().await;
    role(&server, "app", "{}", r#"{"secret_id":"s"}"#).await;
    let headers = [("X-Vault-Token", server.root.as_str()), ("X-Vault-Wrap-TTL", "60s")];
    let wrapped = server.request("POST", "/v1/auth/approle/role/app/secret-id", &headers, b"{}").await;
    let token = wrapped.text_at("wrap_info/token").to_owned();
    assert!(!token.is_empty() && wrapped.text_at("data/secret_id").is_empty(), "{}", wrapped.text);
    assert!(!wrapped.text_at("wrap_info/wrapped_accessor").is_empty(), "{}", wrapped.text);
    let opened = server.call("POST", "sys/wrapping/unwrap", &token, "").await;
    assert_eq!(approle(&server, "app", opened.text_at("data/secret_id")).await.status, 200, "{}", opened.text);
    assert_ne!(server.call("POST", "sys/wrapping/unwrap", &token, "").await.status, 200);
}

#[tokio::test]
async fn a_locked_name_is_listed_unlocked_and_free_again_after_its_time() {
    let server = server().await;
    ok(&server, "POST", "auth/userpass/users/bob", r#"{"password":"right"}"#).await;
    for name in ["bob", "nobody"] {
        for written in [name.to_uppercase(), name.to_owned(), name.to_owned(), name.to_owned(), name.to_owned()] {
            let refused = userpass(&server, &written, "wrong").await;
            assert_eq!((refused.status, refused.error()), (400, "invalid username or password"), "{name}");
        }
        let refused = userpass(&server, name, "right").await;
        assert_eq!((refused.status, refused.error()), (403, "permission denied"), "{name}");
    }
    let locked = ok(&server, "GET", "sys/locked-users", "").await;
    assert_eq!(locked.body.at("data/total").and_then(Json::as_i64), Some(2), "{}", locked.text);
    let accessor = locked.text_at("data/by_namespace/0/mount_accessors/0/mount_accessor").to_owned();
    assert_eq!(locked.text_at("data/by_namespace/0/mount_accessors/0/alias_identifiers/0"), "bob");
    ok(&server, "POST", &format!("sys/locked-users/{accessor}/unlock/Bob"), "").await;
    assert_eq!(userpass(&server, "bob", "right").await.status, 200);
    assert_eq!(userpass(&server, "nobody", "x").await.status, 403);
    server.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(userpass(&server, "nobody", "x").await.status, 400);
    let none = ok(&server, "GET", &format!("sys/locked-users?mount_accessor={accessor}"), "").await;
    assert_eq!(none.body.at("data/total").and_then(Json::as_i64), Some(0), "{}", none.text);
}

/// Guesses that run at the same time are no way around the count: one that ends after the lock fell tells nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn guesses_at_once_tell_no_more_than_the_threshold() {
    let config = CoreConfig { lockout: Settings([("all".to_owned(), partial(3))].into()), ..CoreConfig::default() };
    let server = Server::ready(registry(), config).await;
    ok(&server, "POST", "sys/auth/userpass", r#"{"type":"userpass"}"#).await;
    ok(&server, "POST", "auth/userpass/users/bob", r#"{"password":"right"}"#).await;
    let server = Arc::new(server);
    let guesses: Vec<_> = (0..20)
        .map(|_| {
            let server = server.clone();
            tokio::spawn(async move { userpass(&server, "bob", "wrong").await.status })
        })
        .collect();
    for guess in guesses {
        assert!(matches!(guess.await.unwrap(), 400 | 403));
    }
    assert_eq!(userpass(&server, "bob", "right").await.status, 403);
}

fn partial(threshold: u32) -> Partial {
    Partial { threshold: Some(threshold), ..Partial::default() }
}

#[tokio::test]
async fn a_mount_is_tuned_and_others_are_not_locked() {
    let server = server().await;
    role(&server, "app", "{}", r#"{"secret_id":"s"}"#).await;
    ok(&server, "POST", "sys/auth/approle/tune", r#"{"user_lockout_config":{"lockout_threshold":"2","lockout_duration":"1m"}}"#)
        .await;
    let tuned = ok(&server, "GET", "sys/auth/approle/tune", "").await;
    assert_eq!(tuned.body.at("data/user_lockout_threshold").and_then(Json::as_i64), Some(2), "{}", tuned.text);
    assert_eq!(tuned.body.at("data/user_lockout_duration").and_then(Json::as_i64), Some(60), "{}", tuned.text);
    let same = ok(&server, "GET", "sys/mounts/auth/approle/tune", "").await;
    assert_eq!(same.body.at("data"), tuned.body.at("data"));
    ok(&server, "POST", "sys/mounts/auth/approle/tune", r#"{"default_lease_ttl":"10m"}"#).await;
    for _ in 0..2 {
        assert_eq!(approle(&server, "app", "wrong").await.status, 400);
    }
    assert_eq!(approle(&server, "app", "s").await.status, 403);
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(approle(&server, "app", "s").await.status, 200);
    let refused =
        server.call("POST", "sys/auth/token/tune", &server.root, r#"{"user_lockout_config":{"lockout_threshold":"2"}}"#).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let bad =
        server.call("POST", "sys/auth/approle/tune", &server.root, r#"{"user_lockout_config":{"lockout_threshold":"-3"}}"#).await;
    assert_eq!(bad.status, 400, "{}", bad.text);
}

#[tokio::test]
async fn a_token_is_renewed_while_its_login_stands() {
    let server = server().await;
    ok(&server, "POST", "auth/userpass/users/bob", r#"{"password":"pw","token_ttl":"20m","token_policies":"app"}"#).await;
    let token = userpass(&server, "bob", "pw").await.text_at("auth/client_token").to_owned();
    let renew = async || server.call("POST", "auth/token/renew-self", &token, "{}").await;
    let renewed = renew().await;
    assert_eq!(renewed.body.at("auth/lease_duration").and_then(Json::as_i64), Some(1200), "{}", renewed.text);
    ok(&server, "POST", "auth/userpass/users/bob", r#"{"token_ttl":"5m"}"#).await;
    assert_eq!(renew().await.body.at("auth/lease_duration").and_then(Json::as_i64), Some(300));
    ok(&server, "POST", "auth/userpass/users/bob/policies", r#"{"token_policies":"more"}"#).await;
    assert_eq!(renew().await.status, 400);
    ok(&server, "DELETE", "auth/userpass/users/bob", "").await;
    let gone = renew().await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    // No longer life came of it.
    server.clock.advance(Duration::from_secs(301));
    assert_eq!(server.call("GET", "auth/token/lookup-self", &token, "").await.status, 403);
}

#[tokio::test]
async fn a_mounts_kind_of_token_holds_where_the_role_says_none() {
    let server = server().await;
    role(&server, "open", "{}", r#"{"secret_id":"s"}"#).await;
    role(&server, "service", r#"{"token_type":"service"}"#, r#"{"secret_id":"s"}"#).await;
    role(&server, "counted", r#"{"token_num_uses":5}"#, r#"{"secret_id":"s"}"#).await;
    for (tuned, kinds) in [
        ("default-service", ["service", "service", "service"]),
        ("default-batch", ["batch", "service", "service"]),
        ("service", ["service", "service", "service"]),
    ] {
        ok(&server, "POST", "sys/auth/approle/tune", &format!(r#"{{"token_type":"{tuned}"}}"#)).await;
        for (name, kind) in ["open", "service", "counted"].into_iter().zip(kinds) {
            assert_eq!(approle(&server, name, "s").await.text_at("auth/token_type"), kind, "{tuned} {name}");
        }
    }
}
