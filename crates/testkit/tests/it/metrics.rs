//! `sys/metrics`, `sys/in-flight-req`, `sys/loggers`: who may ask, and what comes back.

use coffer_core::CoreConfig;
use coffer_core::process::Process;
use coffer_engine::ListenerTraits;
use coffer_testkit::{Server, registry};
use coffer_types::Result;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::Level;

/// A process with a log that writes nothing.
#[derive(Debug, Default)]
struct Quiet(Mutex<BTreeMap<String, Level>>);

impl Process for Quiet {
    fn prometheus(&self) -> Option<String> {
        Some("# TYPE vault_core_unsealed gauge\nvault_core_unsealed 1\n".to_owned())
    }

    fn level(&self, logger: &str) -> Level {
        self.0.lock().get(logger).copied().unwrap_or(Level::INFO)
    }

    fn set_level(&self, logger: Option<&str>, level: Option<Level>) -> Result<()> {
        let mut levels = self.0.lock();
        for known in coffer_core::process::LOGGERS.into_iter().filter(|l| logger.is_none_or(|one| one == *l)) {
            levels.insert(known.to_owned(), level.unwrap_or(Level::INFO));
        }
        Ok(())
    }
}

async fn server() -> Server {
    Server::ready(registry(), CoreConfig { process: Arc::new(Quiet::default()), ..CoreConfig::default() }).await
}

async fn token(server: &Server, name: &str, policy: &str) -> String {
    let body = format!(r#"{{"policy":"{}"}}"#, policy.replace('"', "\\\""));
    assert_eq!(server.call("PUT", &format!("sys/policies/acl/{name}"), &server.root, &body).await.status, 204);
    let body = format!(r#"{{"policies":["{name}"]}}"#);
    server.call("POST", "auth/token/create", &server.root, &body).await.text_at("auth/client_token").to_owned()
}

#[tokio::test]
async fn without_a_right_there_is_nothing_to_see_unless_the_listener_says_so() {
    let mut server = server().await;
    let wrong = token(&server, "wrong", r#"path "sys/mounts" { capabilities = ["read"] }"#).await;
    let denied = token(&server, "denied", r#"path "sys/*" { capabilities = ["deny"] }"#).await;
    let update = token(&server, "update", r#"path "sys/*" { capabilities = ["update", "list"] }"#).await;
    let right = token(&server, "right", r#"path "sys/+" { capabilities = ["read"] }"#).await;
    for path in ["sys/metrics", "sys/metrics?format=prometheus", "sys/in-flight-req"] {
        for token in ["", "hvs.none", &wrong, &denied, &update] {
            let refused = server.call("GET", path, token, "").await;
            assert_eq!((refused.status, refused.error()), (403, "permission denied"), "{path} {token}");
        }
        assert_eq!(server.call("GET", path, &right, "").await.status, 200, "{path}");
        assert_eq!(server.call("POST", path, &server.root, "").await.status, 405, "{path}");
    }
    let traits = |metrics, in_flight| {
        Arc::new(ListenerTraits { unauthed_metrics: metrics, unauthed_in_flight: in_flight, ..ListenerTraits::default() })
    };
    server.listener = traits(true, false);
    assert_eq!(server.call("GET", "sys/metrics", "", "").await.status, 200);
    assert_eq!(server.call("GET", "sys/in-flight-req", "", "").await.status, 403);
    server.listener = traits(false, true);
    assert_eq!(server.call("GET", "sys/metrics", "", "").await.status, 403);
    assert_eq!(server.call("GET", "sys/in-flight-req", "", "").await.status, 200);
}

#[tokio::test]
async fn metrics_in_both_forms() {
    let server = server().await;
    assert_eq!(server.call("GET", "sys/metrics?format=nope", &server.root, "").await.status, 400);
    let text = server.call("GET", "sys/metrics?format=prometheus", &server.root, "").await;
    assert_eq!(text.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(text.text, "# TYPE vault_core_unsealed gauge\nvault_core_unsealed 1\n");
    let rule = r#"{"rate":1,"path":"cubbyhole","interval":"1h"}"#;
    assert_eq!(server.call("POST", "sys/quotas/rate-limit/c", &server.root, rule).await.status, 204);
    for status in [404, 429, 429] {
        assert_eq!(server.call("GET", "cubbyhole/x", &server.root, "").await.status, status);
    }
    let json = server.call("GET", "sys/metrics", &server.root, "").await;
    assert_eq!(json.text_at("Timestamp"), "2026-11-23 12:00:00 +0000 UTC");
    for part in [
        r#"{"Name":"vault.core.unsealed","Value":1,"Labels":{}}"#,
        // The call that asks.
        r#"{"Name":"vault.core.in_flight_requests","Value":1,"Labels":{}}"#,
        r#"{"Name":"vault.core.mount_table.num_entries","Value":1,"Labels":{"type":"auth"}}"#,
        r#"{"Name":"vault.quota.rate_limit.violation","Count":2,"Sum":2,"Labels":{}}"#,
        r#"{"Name":"vault.core.handle_request","Count":6,"Sum":6,"Labels":{"operation":"read"}}"#,
    ] {
        assert!(json.text.contains(part), "{part}: {}", json.text);
    }
    let without = Server::ready(registry(), CoreConfig::default()).await;
    let refused = without.call("GET", "sys/metrics?format=prometheus", &without.root, "").await;
    assert_eq!((refused.status, refused.error()), (400, "prometheus is not enabled"));
}

#[tokio::test]
async fn calls_are_in_flight_until_they_end() {
    let server = server().await;
    let shown = server.call("GET", "sys/in-flight-req", &server.root, "").await;
    for part in [
        r#""start_time":"2026-11-23T12:00:00Z","client_remote_address":"127.0.0.1:40000""#,
        r#""request_path":"/v1/sys/in-flight-req","request_method":"GET""#,
    ] {
        assert!(shown.text.contains(part), "{}", shown.text);
    }
    assert_eq!(shown.text.matches("start_time").count(), 1, "only itself: {}", shown.text);
    assert!(!shown.text.contains(&server.root));
    for _ in 0..3 {
        assert_eq!(server.call("GET", "sys/nothing", "", "").await.status, 403);
    }
    assert!(server.core.in_flight.calls().is_empty(), "refused calls end too");
}

#[tokio::test]
async fn levels_are_set_for_one_or_all_and_taken_back() {
    let server = server().await;
    let call = async |method: &str, path: &str, body: &str| server.call(method, path, &server.root, body).await;
    for (path, body, why) in [
        ("sys/loggers", "{}", "level is required"),
        ("sys/loggers", r#"{"level":"loud"}"#, "invalid level provided: unknown log level"),
        ("sys/loggers", r#"{"level":["info"]}"#, "field \"level\""),
        ("sys/loggers/core", "{}", "level is required"),
        ("sys/loggers/core", r#"{"level":"off"}"#, "invalid level provided"),
        ("sys/loggers/none", r#"{"level":"debug"}"#, "logger \"none\" not found"),
    ] {
        let refused = call("POST", path, body).await;
        assert_eq!((refused.status, refused.error().contains(why)), (400, true), "{path} {body}: {}", refused.text);
    }
    assert_eq!(call("DELETE", "sys/loggers/none", "").await.status, 400);
    assert!(call("GET", "sys/loggers/none", "").await.text.contains(r#""data":{}"#));
    assert_eq!(call("POST", "sys/loggers/core", r#"{"level":"WARNING"}"#).await.status, 204);
    assert!(call("GET", "sys/loggers/core", "").await.text.contains(r#""data":{"core":"warn"}"#));
    assert_eq!(call("GET", "sys/loggers", "").await.text_at("data/audit"), "info");
    assert_eq!(call("DELETE", "sys/loggers/core", "").await.status, 204);
    assert_eq!(call("POST", "sys/loggers", r#"{"level":"trace"}"#).await.status, 204);
    let all = call("GET", "sys/loggers", "").await;
    assert_eq!((all.text_at("data/core"), all.text_at("data/storage")), ("trace", "trace"));
    assert_eq!(call("DELETE", "sys/loggers", "").await.status, 204);
    assert_eq!(call("GET", "sys/loggers", "").await.text_at("data/core"), "info");

    let without = Server::ready(registry(), CoreConfig::default()).await;
    assert_eq!(without.call("POST", "sys/loggers", &without.root, r#"{"level":"trace"}"#).await.status, 501);
}
