//! PKI in the whole server: templates filled by a real identity, leases that take certificates back, policies on its paths.

use coffer_core::CoreConfig;
use coffer_testkit::{Server, registry};

async fn ok(server: &Server, method: &str, path: &str, body: &str) {
    let reply = server.call(method, path, &server.root, body).await;
    assert!(reply.status < 300, "{method} {path}: {}", reply.text);
}

/// With a root on `pki/`.
async fn stage() -> Server {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    ok(&server, "POST", "sys/mounts/pki", r#"{"type":"pki","config":{"max_lease_ttl":"8760h"}}"#).await;
    ok(&server, "POST", "pki/root/generate/internal", r#"{"common_name":"Root","key_type":"ec","ttl":"8000h"}"#).await;
    server
}

#[tokio::test]
async fn a_callers_name_fills_a_role_and_widens_nothing() {
    let server = stage().await;
    let role = r#"{"allowed_domains":"{{identity.entity.name}}.example.com","allowed_domains_template":true,"allow_bare_domains":true,
        "allow_glob_domains":true,"allow_subdomains":true,"key_type":"ec","ttl":"1h"}"#;
    ok(&server, "POST", "pki/roles/own", role).await;
    ok(&server, "POST", "sys/auth/userpass", r#"{"type":"userpass"}"#).await;
    ok(&server, "PUT", "sys/policies/acl/own", r#"{"policy":"path \"pki/issue/own\" { capabilities = [\"update\"] }"}"#).await;
    ok(&server, "POST", "auth/userpass/users/a", r#"{"password":"p","token_policies":"own"}"#).await;
    let login = server.call("POST", "auth/userpass/login/a", "", r#"{"password":"p"}"#).await;
    let (token, entity) = (login.text_at("auth/client_token").to_owned(), login.text_at("auth/entity_id").to_owned());
    let issue =
        async |name: &str| server.call("POST", "pki/issue/own", &token, &format!(r#"{{"common_name":"{name}"}}"#)).await.status;
    ok(&server, "POST", &format!("identity/entity/id/{entity}"), r#"{"name":"alice"}"#).await;
    assert_eq!(issue("alice.example.com").await, 200);
    assert_eq!(issue("www.alice.example.com").await, 200);
    for other in ["bob.example.com", "example.com", "xalice.example.com", "{{identity.entity.name}}.example.com"] {
        assert_eq!(issue(other).await, 400, "{other}");
    }
    for hostile in ["*", "x*", "a,bob", "a/b", "{{x}}"] {
        ok(&server, "POST", &format!("identity/entity/id/{entity}"), &format!(r#"{{"name":"{hostile}"}}"#)).await;
        for name in ["bob.example.com", "a.bob.example.com", "x.example.com", "alice.example.com"] {
            assert_eq!(issue(name).await, 400, "{hostile} {name}");
        }
    }
    // Root has no identity.
    let root = server.call("POST", "pki/issue/own", &server.root, r#"{"common_name":"alice.example.com"}"#).await;
    assert_eq!(root.status, 400, "{}", root.text);
    // The policy is for one role.
    assert_eq!(server.call("POST", "pki/sign-verbatim", &token, "{}").await.status, 403);
}

#[tokio::test]
async fn the_end_of_a_lease_takes_its_certificate_back() {
    let server = stage().await;
    ok(&server, "POST", "pki/roles/leased", r#"{"allow_any_name":true,"key_type":"ec","generate_lease":true,"ttl":"1h"}"#).await;
    let issued = server.call("POST", "pki/issue/leased", &server.root, r#"{"common_name":"a"}"#).await;
    let (lease, serial) = (issued.text_at("lease_id").to_owned(), issued.text_at("data/serial_number").to_owned());
    assert!(lease.starts_with("pki/issue/leased/"), "{}", issued.text);
    assert_eq!(server.call("LIST", "pki/certs/revoked", &server.root, "").await.status, 404);
    ok(&server, "PUT", "sys/leases/revoke", &format!(r#"{{"lease_id":"{lease}","sync":true}}"#)).await;
    let revoked = server.call("LIST", "pki/certs/revoked", &server.root, "").await;
    assert!(revoked.text.contains(&serial), "{}", revoked.text);
    let shown = server.call("GET", &format!("pki/cert/{serial}"), "", "").await;
    assert!(!shown.text.contains("\"revocation_time\":0"), "{}", shown.text);
}
