//! Tokens: what ends with what, and what is refused.

use coffer_core::CoreConfig;
use coffer_core::leases::expire::expire_due;
use coffer_testkit::{Replied, Server, registry};
use std::time::Duration;

async fn server() -> Server {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    let kv = r#"{"type":"kv","options":{"version":"2"}}"#;
    assert_eq!(server.call("POST", "sys/mounts/secret", &server.root, kv).await.status, 204);
    server
}

async fn make(server: &Server, token: &str, body: &str) -> (String, String) {
    let made = server.call("POST", "auth/token/create", token, body).await;
    assert_eq!(made.status, 200, "{}", made.text);
    (made.text_at("auth/client_token").to_owned(), made.text_at("auth/accessor").to_owned())
}

async fn lives(server: &Server, token: &str) -> bool {
    server.call("GET", "auth/token/lookup-self", token, "").await.status == 200
}

#[tokio::test]
async fn a_tree_ends_with_its_root_and_orphans_live_on() {
    let server = server().await;
    let policy = r#"{"policy":"path \"auth/token/*\" { capabilities = [\"update\", \"sudo\"] }"}"#;
    server.call("PUT", "sys/policies/acl/maker", &server.root, policy).await;
    let (top, _) = make(&server, &server.root, r#"{"policies":["maker"]}"#).await;
    let (child, accessor) = make(&server, &top, "{}").await;
    let (grandchild, _) = make(&server, &child, "{}").await;
    let (orphan, _) = make(&server, &child, r#"{"no_parent":true}"#).await;
    assert_eq!(server.call("PUT", "cubbyhole/x", &grandchild, r#"{"a":"1"}"#).await.status, 204);
    assert_eq!(
        server.call("POST", "auth/token/revoke-accessor", &server.root, &format!(r#"{{"accessor":"{accessor}"}}"#)).await.status,
        204
    );
    assert!(lives(&server, &top).await);
    assert!(!lives(&server, &child).await);
    assert!(!lives(&server, &grandchild).await);
    assert!(lives(&server, &orphan).await);
}

#[tokio::test]
async fn revoke_orphan_keeps_the_children() {
    let server = server().await;
    let (parent, _) = make(&server, &server.root, "{}").await;
    let (child, _) = make(&server, &parent, r#"{"policies":["default"]}"#).await;
    let revoked = server.call("POST", "auth/token/revoke-orphan", &server.root, &format!(r#"{{"token":"{parent}"}}"#)).await;
    assert_eq!(revoked.status, 204, "{}", revoked.text);
    assert!(!lives(&server, &parent).await);
    let shown = server.call("GET", "auth/token/lookup-self", &child, "").await;
    assert_eq!(shown.body.at("data/orphan").and_then(coffer_types::Json::as_bool), Some(true), "{}", shown.text);
}

#[tokio::test]
async fn the_clock_ends_tokens_and_the_index_clears_them_away() {
    let server = server().await;
    let (token, accessor) = make(&server, &server.root, r#"{"policies":["default"],"ttl":"1m"}"#).await;
    assert!(lives(&server, &token).await);
    server.clock.advance(Duration::from_secs(61));
    assert!(!lives(&server, &token).await, "before the expirer has run");
    assert!(expire_due(&server.core).await.unwrap() >= 1);
    let lookup =
        server.call("POST", "auth/token/lookup-accessor", &server.root, &format!(r#"{{"accessor":"{accessor}"}}"#)).await;
    assert_eq!(lookup.status, 400);
    assert_eq!(expire_due(&server.core).await.unwrap(), 0, "nothing is left in the index");
}

#[tokio::test]
async fn renewing_keeps_to_every_limit() {
    let server = server().await;
    let (token, _) = make(&server, &server.root, r#"{"policies":["default"],"ttl":"10m","explicit_max_ttl":"15m"}"#).await;
    server.clock.advance(Duration::from_secs(9 * 60));
    let renewed = server.call("POST", "auth/token/renew-self", &token, r#"{"increment":"1h"}"#).await;
    assert_eq!(renewed.body.at("auth/lease_duration").and_then(coffer_types::Json::as_i64), Some(6 * 60), "{}", renewed.text);
    assert!(renewed.text_at("warnings/0").contains("capped"), "{}", renewed.text);
    let (periodic, _) = make(&server, &server.root, r#"{"policies":["default"],"period":"1h"}"#).await;
    for _ in 0..50 {
        server.clock.advance(Duration::from_secs(50 * 60));
        assert_eq!(server.call("POST", "auth/token/renew-self", &periodic, "{}").await.status, 200);
    }
    let (fixed, _) = make(&server, &server.root, r#"{"policies":["default"],"ttl":"1h","renewable":false}"#).await;
    let refused = server.call("POST", "auth/token/renew-self", &fixed, "{}").await;
    assert_eq!((refused.status, refused.error()), (400, "lease is not renewable"));
}

#[tokio::test]
async fn uses_are_counted_also_when_the_call_is_refused() {
    let server = server().await;
    let (token, _) = make(&server, &server.root, r#"{"policies":["default"],"num_uses":3}"#).await;
    assert_eq!(server.call("GET", "secret/data/x", &token, "").await.status, 403);
    assert_eq!(server.call("GET", "secret/data/x", &token, "").await.status, 403);
    let last = server.call("GET", "auth/token/lookup-self", &token, "").await;
    assert_eq!(last.status, 200);
    assert!(!lives(&server, &token).await);
}

#[tokio::test]
async fn two_calls_at_once_do_not_share_one_use() {
    let server = std::sync::Arc::new(server().await);
    for _ in 0..20 {
        let (token, _) = make(&server, &server.root, r#"{"policies":["default"],"num_uses":1}"#).await;
        let both = (0..8).map(|_| {
            let (server, token) = (server.clone(), token.clone());
            tokio::spawn(async move { lives(&server, &token).await })
        });
        let mut let_in = 0;
        for one in both.collect::<Vec<_>>() {
            let_in += usize::from(one.await.unwrap());
        }
        assert_eq!(let_in, 1);
    }
}

#[tokio::test]
async fn a_batch_token_is_nowhere_and_ends_with_its_parent() {
    let server = server().await;
    let (parent, _) = make(&server, &server.root, "{}").await;
    let (batch, accessor) = make(&server, &parent, r#"{"policies":["default"],"type":"batch","ttl":"5m"}"#).await;
    assert!(batch.starts_with("hvb.") && accessor.is_empty());
    assert!(lives(&server, &batch).await);
    for (path, body) in [
        ("auth/token/create", "{}"),
        ("cubbyhole/x", r#"{"a":"b"}"#),
        ("auth/token/renew-self", "{}"),
        ("auth/token/revoke-self", "{}"),
    ] {
        let refused = server.call("POST", path, &batch, body).await;
        assert!(matches!(refused.status, 400 | 403), "{path}: {}", refused.text);
    }
    for bent in [format!("{batch}A"), batch.replacen("hvb.", "hvs.", 1), batch[..batch.len() - 2].to_owned()] {
        assert!(!lives(&server, &bent).await, "{bent}");
    }
    server.call("POST", "auth/token/revoke", &server.root, &format!(r#"{{"token":"{parent}"}}"#)).await;
    assert!(!lives(&server, &batch).await);
}

#[tokio::test]
async fn nobody_gets_root_but_from_root() {
    let server = server().await;
    let policy =
        r#"{"policy":"path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"sudo\"] }"}"#;
    server.call("PUT", "sys/policies/acl/all", &server.root, policy).await;
    let (all, _) = make(&server, &server.root, r#"{"policies":["all"]}"#).await;
    for name in ["root", " Root", "ROOT ", "root\\t"] {
        let refused = server.call("POST", "auth/token/create", &all, &format!(r#"{{"policies":["{name}"]}}"#)).await;
        assert_eq!(refused.status, 400, "{name}: {}", refused.text);
        let role = format!(r#"{{"allowed_policies":["{name}"]}}"#);
        let refused = server.call("POST", "auth/token/roles/r", &all, &role).await;
        assert_eq!(refused.status, 400, "{name}: {}", refused.text);
    }
    let glob = server.call("POST", "auth/token/roles/g", &all, r#"{"allowed_policies_glob":["*"]}"#).await;
    assert_eq!(glob.status, 204);
    let refused = server.call("POST", "auth/token/create/g", &all, r#"{"policies":["root"]}"#).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for policy in ["root", "ROOT", "response-wrapping"] {
        let refused = server
            .call("PUT", &format!("sys/policies/acl/{policy}"), &all, r#"{"policy":"path \"a\" { capabilities = [\"read\"] }"}"#)
            .await;
        assert_eq!(refused.status, 400, "{policy}: {}", refused.text);
    }
}

#[tokio::test]
async fn a_role_binds_networks() {
    let server = server().await;
    let role = |cidr: &str| format!(r#"{{"allowed_policies":["default"],"token_bound_cidrs":["{cidr}"],"orphan":true}}"#);
    for (name, cidr, good) in [("here", "127.0.0.0/8", true), ("there", "10.0.0.0/8", false)] {
        assert_eq!(server.call("POST", &format!("auth/token/roles/{name}"), &server.root, &role(cidr)).await.status, 204);
        let made = server.call("POST", &format!("auth/token/create/{name}"), &server.root, "{}").await;
        assert_eq!(lives(&server, made.text_at("auth/client_token")).await, good, "{cidr}");
    }
    let refused = server.call("POST", "auth/token/roles/bad", &server.root, &role("10.0.0.0/99")).await;
    assert_eq!(refused.status, 400);
}

fn wrapped(replied: &Replied) -> String {
    assert_eq!(replied.status, 200, "{}", replied.text);
    replied.text_at("wrap_info/token").to_owned()
}

#[tokio::test]
async fn a_wrapping_token_opens_once_and_does_nothing_else() {
    let server = server().await;
    let root = server.root.clone();
    server.call("POST", "secret/data/x", &root, r#"{"data":{"n":12345678901234567890}}"#).await;
    let wrap = |format: &'static str| {
        let headers = [("X-Vault-Token", root.as_str()), ("X-Vault-Wrap-TTL", "60s"), ("X-Vault-Wrap-Format", format)];
        let server = &server;
        async move { wrapped(&server.request("GET", "/v1/secret/data/x", &headers, b"").await) }
    };
    for format in ["", "jwt"] {
        let token = wrap(format).await;
        assert_eq!(token.split('.').count(), if format.is_empty() { 2 } else { 3 });
        let body = format!(r#"{{"token":"{token}"}}"#);
        assert_eq!(server.call("POST", "sys/wrapping/lookup", "", &body).await.text_at("data/creation_path"), "secret/data/x");
        let opened = server.call("POST", "sys/wrapping/unwrap", &token, "").await;
        assert!(opened.text.contains("12345678901234567890"), "{}", opened.text);
        assert_eq!(server.call("POST", "sys/wrapping/unwrap", &token, "").await.status, 400);
        assert_eq!(server.call("POST", "sys/wrapping/unwrap", "", &body).await.status, 400);
    }
    let token = wrap("").await;
    assert_eq!(server.call("GET", "secret/data/x", &token, "").await.status, 403);
    assert_eq!(server.call("POST", "sys/wrapping/unwrap", &token, "").await.status, 400, "the refused call was its one use");
    let bent = format!("{}A", wrap("jwt").await);
    assert_eq!(server.call("POST", "sys/wrapping/unwrap", &bent, "").await.status, 400);
    let late = wrap("").await;
    server.clock.advance(Duration::from_secs(61));
    assert_eq!(server.call("POST", "sys/wrapping/unwrap", &late, "").await.status, 400);
}

#[tokio::test]
async fn a_wrapped_login_ends_like_any_other() {
    let server = server().await;
    let headers = [("X-Vault-Token", server.root.as_str()), ("X-Vault-Wrap-TTL", "60")];
    let token = wrapped(&server.request("POST", "/v1/auth/token/create", &headers, br#"{"policies":["default"]}"#).await);
    let opened = server.call("POST", "sys/wrapping/unwrap", &token, "").await;
    assert!(lives(&server, opened.text_at("auth/client_token")).await, "{}", opened.text);
}

#[tokio::test]
async fn bytes_are_taken_only_where_a_route_takes_them() {
    let server = server().await;
    let headers = [("X-Vault-Token", server.root.as_str()), ("Content-Type", "application/pkix-cert")];
    for path in ["/v1/secret/data/x", "/v1/auth/token/create", "/v1/cubbyhole/x", "/v1/sys/policies/acl/x"] {
        let refused = server.request("POST", path, &headers, b"\x30\x82canary").await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.text);
        assert!(!refused.text.contains("canary"), "{}", refused.text);
    }
}

#[tokio::test]
async fn health_codes_are_status_codes() {
    let server = server().await;
    for (query, status) in
        [("activecode=299", 299), ("activecode=150", 400), ("activecode=600", 400), ("sealedcode=x", 400), ("", 200)]
    {
        assert_eq!(server.call("GET", &format!("sys/health?{query}"), "", "").await.status, status, "{query}");
    }
}
