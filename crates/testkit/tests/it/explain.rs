//! `sys/policies/explain` over the whole way.

use coffer_core::{CoreConfig, Registry};
use coffer_testkit::Server;
use coffer_types::Json;

async fn server() -> Server {
    let server = Server::ready(Registry::default(), CoreConfig::default()).await;
    let root = server.root.clone();
    for (name, text) in [
        ("app", "path \"cubbyhole/app\" { capabilities = [\"deny\"] }\npath \"sys/mounts\" { capabilities = [\"read\"] }"),
        ("audits", "path \"sys/audit\" { capabilities = [\"read\"] }"),
        ("auditor", "path \"sys/policies/explain\" { capabilities = [\"update\", \"sudo\"] }"),
    ] {
        let body = format!("{{\"policy\":{}}}", String::from_utf8_lossy(&Json::from(text).to_bytes()));
        assert_eq!(server.call("PUT", &format!("sys/policies/acl/{name}"), &root, &body).await.status, 204);
    }
    server
}

async fn token(server: &Server, policy: &str) -> (String, String) {
    let made = server.call("POST", "auth/token/create", &server.root, &format!(r#"{{"policies":["{policy}"]}}"#)).await;
    assert_eq!(made.status, 200, "{}", made.text);
    (made.text_at("auth/client_token").to_owned(), made.text_at("auth/accessor").to_owned())
}

#[tokio::test]
async fn ones_own_token_is_explained() {
    let server = server().await;
    let (app, _) = token(&server, "app").await;
    let said = server.call("POST", "sys/policies/explain", &app, r#"{"path":"cubbyhole/app","operation":"update"}"#).await;
    assert_eq!(said.status, 200, "{}", said.text);
    assert_eq!(said.body.at("data/allowed").and_then(Json::as_bool), Some(false));
    assert_eq!(said.text_at("data/rule"), "cubbyhole/app");
    assert_eq!(said.text_at("data/decided_by/0/policy"), "app");
    assert_eq!(said.text_at("data/others/0/path"), "cubbyhole/*");
    // The real call agrees, and so does one that is granted.
    assert_eq!(server.call("PUT", "cubbyhole/app", &app, r#"{"a":"b"}"#).await.status, 403);
    let said = server.call("POST", "sys/policies/explain", &app, r#"{"path":"cubbyhole/other","operation":"update"}"#).await;
    assert_eq!(said.body.at("data/allowed").and_then(Json::as_bool), Some(true));
    assert_eq!(said.text_at("data/granting_policies/0"), "default");
}

#[tokio::test]
async fn what_the_route_asks_for_is_part_of_it() {
    let server = server().await;
    let (audits, _) = token(&server, "audits").await;
    let said = server.call("POST", "sys/policies/explain", &audits, r#"{"path":"sys/audit"}"#).await;
    assert_eq!(said.body.at("data/allowed").and_then(Json::as_bool), Some(false), "{}", said.text);
    assert!(said.text_at("data/because").contains("sudo"), "{}", said.text);
    assert_eq!(server.call("GET", "sys/audit", &audits, "").await.status, 403);
    // A route that answers everyone does so whatever policies say.
    let said = server.call("POST", "sys/policies/explain", &audits, r#"{"path":"sys/wrapping/lookup"}"#).await;
    assert_eq!(said.body.at("data/allowed").and_then(Json::as_bool), Some(true), "{}", said.text);
}

#[tokio::test]
async fn others_need_sudo() {
    let server = server().await;
    let ((app, accessor), (auditor, _)) = (token(&server, "app").await, token(&server, "auditor").await);
    for whose in [format!(r#""token":"{app}""#), format!(r#""accessor":"{accessor}""#), r#""policies":["app"]"#.to_owned()] {
        let body = format!(r#"{{"path":"cubbyhole/app",{whose}}}"#);
        let said = server.call("POST", "sys/policies/explain", &auditor, &body).await;
        assert_eq!(said.status, 200, "{body} {}", said.text);
        assert_eq!(said.text_at("data/rule"), "cubbyhole/app", "{body}");
        // Without sudo: one's own token, and nothing of any other, were it only whether there is one.
        let refused = server.call("POST", "sys/policies/explain", &app, &body).await;
        let own = body.contains(&app);
        assert_eq!(refused.status, if own { 200 } else { 403 }, "{body} {}", refused.text);
    }
    let unknown = r#"{"path":"a","token":"s.nothing"}"#;
    assert_eq!(server.call("POST", "sys/policies/explain", &app, unknown).await.status, 403);
    assert_eq!(server.call("POST", "sys/policies/explain", &auditor, unknown).await.status, 400);
}

#[tokio::test]
async fn what_is_no_call_is_refused() {
    let server = server().await;
    for body in [
        "{}",
        r#"{"path":"a/../b"}"#,
        r#"{"path":"a//b"}"#,
        r#"{"path":"a","operation":"fly"}"#,
        r#"{"path":"a","parameters":[1]}"#,
        r#"{"path":"a","wrap_ttl":"x"}"#,
    ] {
        let said = server.call("POST", "sys/policies/explain", &server.root, body).await;
        assert_eq!(said.status, 400, "{body} {}", said.text);
    }
}
