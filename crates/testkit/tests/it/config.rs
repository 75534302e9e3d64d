//! `sys/config/…`: audited request headers, origins, headers of the user interface, the configuration without secrets.

use coffer_core::CoreConfig;
use coffer_testkit::{Replied, Server, registry};

const HEADERS: &str = "sys/config/auditing/request-headers";
const CORS: &str = "sys/config/cors";
const UI: &str = "sys/config/ui/headers";

async fn server() -> Server {
    let sanitized = r#"{"api_addr":"http://127.0.0.1:8200","storage":{"type":"inmem"}}"#.into();
    Server::ready(registry(), CoreConfig { allow_api_audit: true, sanitized, ..CoreConfig::default() }).await
}

async fn get(server: &Server, path: &str) -> Replied {
    server.call("GET", path, &server.root, "").await
}

async fn post(server: &Server, path: &str, body: &str) -> Replied {
    server.call("POST", path, &server.root, body).await
}

async fn delete(server: &Server, path: &str) -> u16 {
    server.call("DELETE", path, &server.root, "").await.status
}

#[tokio::test]
async fn audited_headers_are_kept_by_their_names_in_lower_case() {
    let server = server().await;
    assert!(get(&server, HEADERS).await.text.contains(r#"{"headers":{},"#));
    assert_eq!(post(&server, &format!("{HEADERS}/X-One"), "{}").await.status, 204);
    assert_eq!(post(&server, &format!("{HEADERS}/X-Two"), r#"{"hmac":true}"#).await.status, 204);
    let all = get(&server, HEADERS).await;
    assert!(all.text.contains(r#""data":{"headers":{"x-one":{"hmac":false},"x-two":{"hmac":true}}}"#), "{}", all.text);
    let one = get(&server, &format!("{HEADERS}/x-TWO")).await;
    assert!(one.text.starts_with(r#"{"x-two":{"hmac":true},"#), "{}", one.text);
    assert_eq!(delete(&server, &format!("{HEADERS}/X-two")).await, 204);
    assert_eq!(delete(&server, &format!("{HEADERS}/x-none")).await, 204);
    let none = get(&server, &format!("{HEADERS}/x-two")).await;
    assert_eq!((none.status, none.error()), (400, "Could not find header in config"));
}

#[tokio::test]
async fn headers_that_are_none_or_carry_secrets_are_refused() {
    let server = server().await;
    for (name, body) in [
        ("X-One", r#"{"hmac":"y"}"#),
        ("X%20One", "{}"),
        ("X:One", "{}"),
        ("X%22", "{}"),
        ("X-Vault-Token", "{}"),
        ("authorization", r#"{"hmac":false}"#),
        ("Cookie", "{}"),
        (&*"x".repeat(257), "{}"),
    ] {
        let refused = post(&server, &format!("{HEADERS}/{name}"), body).await;
        assert_eq!(refused.status, 400, "{name}: {}", refused.text);
    }
    assert!(get(&server, HEADERS).await.text.contains(r#"{"headers":{},"#));
    for n in 0..128 {
        assert_eq!(post(&server, &format!("{HEADERS}/x-{n}"), "{}").await.status, 204);
    }
    assert_eq!(post(&server, &format!("{HEADERS}/x-128"), "{}").await.status, 400);
    assert_eq!(post(&server, &format!("{HEADERS}/x-7"), r#"{"hmac":true}"#).await.status, 204);
}

#[tokio::test]
async fn audit_lines_show_the_headers_also_after_an_unseal() {
    let server = server().await;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.log");
    let device = format!(r#"{{"type":"file","options":{{"file_path":"{}"}}}}"#, log.display());
    assert_eq!(post(&server, "sys/audit/file", &device).await.status, 204);
    let call = async |mark: &str| {
        let headers = [("X-Vault-Token", server.root.as_str()), ("X-Shown", mark), ("X-Masked", mark), ("X-Other", mark)];
        assert_eq!(server.request("GET", "/v1/sys/mounts", &headers, b"").await.status, 200);
        let lines = std::fs::read_to_string(&log).unwrap();
        lines.lines().rfind(|l| l.contains(r#""type":"request""#)).unwrap().to_owned()
    };
    let before = call("early").await;
    assert!(!before.contains("early") && !before.contains("x-masked"), "{before}");
    assert_eq!(post(&server, &format!("{HEADERS}/X-Shown"), "{}").await.status, 204);
    assert_eq!(post(&server, &format!("{HEADERS}/X-Masked"), r#"{"hmac":true}"#).await.status, 204);
    let shows = |line: &str, mark: &str| {
        assert!(line.contains(&format!(r#""x-shown":["{mark}"]"#)), "{line}");
        assert!(line.contains(r#""x-masked":["hmac-sha256:"#), "{line}");
        assert!(!line.contains("x-other"), "{line}");
        assert_eq!(line.matches(mark).count(), 1, "{line}");
    };
    shows(&call("before").await, "before");
    assert_eq!(post(&server, "sys/seal", "").await.status, 204);
    assert_eq!(post(&server, "sys/unseal", &format!(r#"{{"key":"{}"}}"#, server.share)).await.status, 200);
    shows(&call("after").await, "after");
    assert_eq!(delete(&server, &format!("{HEADERS}/x-shown")).await, 204);
    assert!(!call("gone").await.contains("gone"));
}

#[tokio::test]
async fn origins_are_allowed_and_taken_back() {
    let server = server().await;
    assert!(get(&server, CORS).await.text.contains(r#""data":{"enabled":false}"#));
    assert!(server.core.cors().is_none());
    let body = r#"{"allowed_origins":"https://a.example,https://b.example","allowed_headers":["X-A","x-vault-token"]}"#;
    assert_eq!(post(&server, CORS, body).await.status, 204);
    let read = get(&server, CORS).await;
    assert!(read.text.contains(r#""allowed_origins":["https://a.example","https://b.example"]"#), "{}", read.text);
    assert!(read.text.contains(r#""X-Vault-Policy-Override","X-A"],"#), "{}", read.text);
    let in_force = server.core.cors().unwrap();
    assert_eq!(in_force.origins, ["https://a.example", "https://b.example"]);
    assert_eq!(post(&server, "sys/seal", "").await.status, 204);
    assert!(server.core.cors().is_none());
    assert_eq!(post(&server, "sys/unseal", &format!(r#"{{"key":"{}"}}"#, server.share)).await.status, 200);
    assert_eq!(server.core.cors(), Some(in_force));
    assert_eq!(post(&server, CORS, r#"{"allowed_origins":"*","enable":false}"#).await.status, 204);
    assert!(server.core.cors().is_none());
    assert_eq!(post(&server, CORS, r#"{"allowed_origins":"*"}"#).await.status, 204);
    assert_eq!(delete(&server, CORS).await, 204);
    assert!(get(&server, CORS).await.text.contains(r#""data":{"enabled":false}"#));
}

#[tokio::test]
async fn origins_that_make_no_sense_are_refused() {
    let server = server().await;
    for (body, status, why) in [
        ("{}", 400, "at least one origin or the wildcard must be provided"),
        (r#"{"enable":true}"#, 400, "at least one origin"),
        (r#"{"allowed_origins":["https://a.example","*"]}"#, 400, "must be the only value"),
        (r#"{"allowed_origins":["https://a.example\r\nX: y"]}"#, 400, "an origin is like"),
        (r#"{"allowed_origins":["a b"]}"#, 400, "an origin is like"),
        (r#"{"allowed_origins":"*","allowed_headers":["X A"]}"#, 400, "no name of a header"),
        (r#"{"allowed_origins":"*","allowed_headers":["X\r\nA"]}"#, 400, "no name of a header"),
        (r#"{"allowed_origins":"*","allow_credentials":true}"#, 501, "not supported"),
    ] {
        let refused = post(&server, CORS, body).await;
        assert_eq!(refused.status, status, "{body}: {}", refused.text);
        assert!(refused.error().contains(why), "{body}: {}", refused.text);
    }
    assert!(server.core.cors().is_none());
}

#[tokio::test]
async fn headers_of_the_user_interface() {
    let server = server().await;
    assert_eq!(server.call("LIST", UI, &server.root, "").await.status, 404);
    assert_eq!(get(&server, &format!("{UI}/X-Custom")).await.status, 404);
    for (name, body, why) in [
        ("X-Custom", "{}", "header and values must be specified"),
        ("X-Custom", r#"{"values":[]}"#, "header and values must be specified"),
        ("x-vault-foo", r#"{"values":["a"]}"#, "X-Vault headers cannot be set"),
        ("X%20Custom", r#"{"values":["a"]}"#, "no name of a header"),
        ("X-Custom", r#"{"values":["a\r\nSet-Cookie: x"]}"#, "printable ASCII"),
    ] {
        let refused = post(&server, &format!("{UI}/{name}"), body).await;
        assert_eq!((refused.status, refused.error().contains(why)), (400, true), "{body}: {}", refused.text);
    }
    assert_eq!(post(&server, &format!("{UI}/x-custom"), r#"{"values":["a","b"]}"#).await.status, 200);
    let policy = post(&server, &format!("{UI}/Content-Security-Policy"), r#"{"values":["default-src 'none'"]}"#).await;
    assert!(policy.text_at("warnings/0").contains("Content-Security-Policy"), "{}", policy.text);
    assert_eq!(get(&server, &format!("{UI}/X-CUSTOM")).await.text_at("data/value"), "a");
    let all = get(&server, &format!("{UI}/X-Custom?multivalue=true")).await;
    assert!(all.text.contains(r#""data":{"values":["a","b"]}"#), "{}", all.text);
    let listed = server.call("LIST", UI, &server.root, "").await;
    assert!(listed.text.contains(r#""keys":["Content-Security-Policy","X-Custom"]"#), "{}", listed.text);
    assert_eq!(delete(&server, &format!("{UI}/X-Custom")).await, 204);
    assert_eq!(delete(&server, &format!("{UI}/X-Custom")).await, 204);
    assert_eq!(get(&server, &format!("{UI}/X-Custom")).await.status, 404);
}

#[tokio::test]
async fn the_configuration_is_shown_and_not_reloaded_over_the_api() {
    let server = server().await;
    let state = get(&server, "sys/config/state/sanitized").await;
    assert_eq!((state.text_at("data/api_addr"), state.text_at("data/storage/type")), ("http://127.0.0.1:8200", "inmem"));
    for subsystem in ["license", "log", "nope"] {
        let refused = post(&server, &format!("sys/config/reload/{subsystem}"), "{}").await;
        assert_eq!(refused.status, 404, "{}", refused.text);
        assert!(refused.error().contains("unsupported path"), "{}", refused.text);
    }
}
