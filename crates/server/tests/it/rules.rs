//! What a listener's stanza says of who may call and what comes back.

use crate::standin::start;
use coffer_core::settings::Cors;
use coffer_server::config::Speaks;
use std::collections::BTreeMap;

#[tokio::test]
async fn forwarded_addresses_count_only_from_proxies() {
    let server = start(|l| l.keys.x_forwarded_for_authorized_addrs = vec!["127.0.0.0/8".to_owned()]).await;
    let ask = |value: &str| format!("GET /v1/a HTTP/1.1\r\nHost: h\r\n{value}\r\n");
    assert_eq!(server.ask(&ask("X-Forwarded-For: 203.0.113.5\r\n")).await.json()["data"]["ip"], "203.0.113.5");
    assert_eq!(server.ask(&ask("")).await.status, 400);
    assert_eq!(server.ask(&ask("X-Forwarded-For: nonsense\r\n")).await.status, 400);
    let stranger = start(|l| l.keys.x_forwarded_for_authorized_addrs = vec!["10.0.0.0/8".to_owned()]).await;
    assert_eq!(stranger.ask(&ask("X-Forwarded-For: 203.0.113.5\r\n")).await.status, 400);
    let deaf = start(|_| {}).await;
    assert_eq!(deaf.ask(&ask("X-Forwarded-For: 203.0.113.5\r\n")).await.json()["data"]["ip"], "127.0.0.1");
}

#[tokio::test]
async fn configured_headers_are_added_and_reloaded() {
    let headers = |status: &str, value: &str| {
        let row = BTreeMap::from([("X-Custom".to_owned(), vec![value.to_owned()])]);
        BTreeMap::from([(status.to_owned(), row)])
    };
    let mut server = start(|l| l.keys.custom_response_headers = headers("4xx", "old")).await;
    assert_eq!(server.get("/v1/denied").await.header("x-custom"), Some("old"));
    assert_eq!(server.get("/nothing").await.header("x-custom"), Some("old"));
    assert_eq!(server.get("/v1/a").await.header("x-custom"), None);
    server.listener.keys.custom_response_headers = headers("default", "new");
    assert!(server.wire.reload(std::slice::from_ref(&server.listener)).is_empty());
    assert_eq!(server.get("/v1/a").await.header("x-custom"), Some("new"));
}

#[tokio::test]
async fn a_request_header_can_be_demanded() {
    let server = start(|l| l.keys.require_request_header = true).await;
    assert_eq!(server.get("/v1/a").await.status, 412);
    assert_eq!(server.ask("GET /v1/a HTTP/1.1\r\nHost: h\r\nX-Vault-Request: yes\r\n\r\n").await.status, 412);
    assert_eq!(server.ask("GET /v1/a HTTP/1.1\r\nHost: h\r\nX-Vault-Request: true\r\n\r\n").await.status, 200);
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn browsers_of_other_origins_are_kept_out_or_let_in() {
    let closed = start(|_| {}).await;
    let ask =
        |method: &str, more: &str| format!("{method} /v1/a HTTP/1.1\r\nHost: h\r\nOrigin: https://ui.example\r\n{more}\r\n");
    assert_eq!(closed.ask(&ask("GET", "")).await.header("access-control-allow-origin"), None);
    let open = start(|l| {
        l.keys.cors_enabled = true;
        l.keys.cors_allowed_origins = vec!["https://ui.example".to_owned()];
    })
    .await;
    let reply = open.ask(&ask("GET", "")).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("https://ui.example")));
    let reply = open.ask(&ask("OPTIONS", "Access-Control-Request-Method: PUT\r\n")).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, Some("https://ui.example")));
    let stranger = open.ask("GET /v1/a HTTP/1.1\r\nHost: h\r\nOrigin: https://evil.example\r\n\r\n").await;
    assert_eq!((stranger.status, stranger.header("access-control-allow-origin")), (403, None));
    assert_eq!(open.calls(), 1);

    // What was allowed over the API holds for listeners that say nothing of origins, and for no other.
    let of_api = |origin: &str| Some(std::sync::Arc::new(Cors { origins: vec![origin.to_owned()], headers: Vec::new() }));
    for server in [&closed, &open] {
        *server.core.cors.lock().unwrap() = of_api("https://other.example");
    }
    let other = "GET /v1/a HTTP/1.1\r\nHost: h\r\nOrigin: https://other.example\r\n\r\n";
    let reply = closed.ask(other).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("https://other.example")));
    assert_eq!(closed.ask(&ask("GET", "")).await.status, 403);
    assert_eq!(closed.get("/v1/a").await.status, 200, "no page of any origin");
    assert_eq!(open.ask(other).await.status, 403);
}

#[tokio::test]
async fn metrics_are_alone_or_away() {
    let only = start(|l| {
        l.keys.telemetry.metrics_only = true;
        l.keys.telemetry.unauthenticated_metrics_access = true;
    })
    .await;
    assert_eq!(only.get("/v1/sys/metrics").await.json()["data"]["metrics"], true);
    assert_eq!(only.get("/v1/sys/health").await.status, 404);
    let away = start(|l| l.keys.telemetry.disallow_metrics = true).await;
    assert_eq!(away.get("/v1/sys/metrics").await.status, 404);
    assert_eq!(away.get("/v1/a").await.json()["data"]["metrics"], false);
}

#[tokio::test]
async fn other_dialects_say_that_they_are_not_built() {
    let server = start(|_| {}).await;
    let reply =
        server.ask("POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: TrentService.Encrypt\r\nContent-Length: 2\r\n\r\n{}").await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.json()["__type"], "UnknownOperationException");
    assert_eq!(server.get("/secrets/a?api-version=7.4").await.status, 501);
    assert_eq!(server.get("/v1/projects/p/secrets").await.json()["error"]["status"], "UNIMPLEMENTED");
    let vault = start(|l| l.keys.dialects = vec![Speaks::Vault]).await;
    assert_eq!(vault.get("/v1/projects/p/secrets").await.json()["data"]["path"], "projects/p/secrets");
    let aws = start(|l| l.keys.dialects = vec![Speaks::Aws]).await;
    assert_eq!(aws.get("/v1/sys/health").await.status, 404);
    assert_eq!(server.calls() + aws.calls(), 0);
}
