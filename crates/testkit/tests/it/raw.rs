//! `sys/raw`: records as they stand, without the keys of keys, and only where the configuration lets it.

use coffer_core::CoreConfig;
use coffer_testkit::{Replied, Server, registry};

async fn server() -> Server {
    Server::ready(registry(), CoreConfig { raw_storage_endpoint: true, ..CoreConfig::default() }).await
}

async fn call(server: &Server, method: &str, path: &str, body: &str) -> Replied {
    server.call(method, path, &server.root, body).await
}

#[tokio::test]
async fn keys_of_keys_are_out_of_reach() {
    let server = server().await;
    for key in ["core/keyring", "core/root-key", "core/seal-config", "core/server-keys", "core/recovery-key"] {
        let by_field = format!(r#"{{"path":"{key}","value":"x"}}"#);
        for refused in [
            call(&server, "GET", &format!("sys/raw/{key}"), "").await,
            call(&server, "GET", &format!("sys/raw/{key}?encoding=base64"), "").await,
            call(&server, "GET", &format!("sys/raw?path={key}"), "").await,
            call(&server, "POST", &format!("sys/raw/{key}"), r#"{"value":"x"}"#).await,
            call(&server, "POST", "sys/raw", &by_field).await,
            call(&server, "DELETE", &format!("sys/raw/{key}"), "").await,
            call(&server, "DELETE", &format!("sys/raw?path={key}"), "").await,
        ] {
            assert_eq!((refused.status, refused.error()), (400, &*format!("cannot access \"{key}\"")), "{}", refused.text);
        }
    }
    for path in ["core//keyring", "/core/keyring", "core/./keyring", "x/../core/keyring", "core/keyring/", ""] {
        let refused = call(&server, "GET", &format!("sys/raw?path={path}"), "").await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.text);
    }
    // The server still opens with what it had.
    assert_eq!(call(&server, "POST", "sys/seal", "").await.status, 204);
    let opened = server.call("POST", "sys/unseal", "", &format!(r#"{{"key":"{}"}}"#, server.share)).await;
    assert_eq!((opened.status, opened.text.contains(r#""sealed":false"#)), (200, true), "{}", opened.text);
}

#[tokio::test]
async fn records_are_written_read_listed_and_removed() {
    let server = server().await;
    assert_eq!(call(&server, "POST", "sys/raw/x/y", r#"{"value":"abc"}"#).await.status, 204);
    assert_eq!(call(&server, "GET", "sys/raw/x/y", "").await.text_at("data/value"), "abc");
    assert_eq!(call(&server, "GET", "sys/raw/x/y?encoding=base64", "").await.text_at("data/value"), "YWJj");
    assert_eq!(call(&server, "POST", "sys/raw/x/z", r#"{"value":"/wA=","encoding":"base64"}"#).await.status, 204);
    let no_text = call(&server, "GET", "sys/raw/x/z", "").await;
    assert_eq!((no_text.status, no_text.error().contains("encoding=base64")), (400, true), "{}", no_text.text);
    assert_eq!(call(&server, "GET", "sys/raw/x/z?encoding=base64", "").await.text_at("data/value"), "/wA=");
    assert_eq!(call(&server, "POST", "sys/raw", r#"{"path":"x/w","value":"1"}"#).await.status, 204);
    assert_eq!(call(&server, "GET", "sys/raw?path=x/w", "").await.text_at("data/value"), "1");
    assert!(call(&server, "LIST", "sys/raw/x", "").await.text.contains(r#""keys":["w","y","z"]"#));
    assert!(call(&server, "LIST", "sys/raw/x?after=w&limit=1", "").await.text.contains(r#""keys":["y"]"#));
    assert!(call(&server, "LIST", "sys/raw", "").await.text.contains(r#""core/""#));
    for path in ["sys/raw/x/y", "sys/raw/x/y", "sys/raw/x/z", "sys/raw?path=x/w"] {
        assert_eq!(call(&server, "DELETE", path, "").await.status, 204, "{path}");
    }
    assert_eq!(call(&server, "GET", "sys/raw/x/y", "").await.status, 404);
    assert_eq!(call(&server, "LIST", "sys/raw/x", "").await.status, 404);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused() {
    let server = server().await;
    for (body, why) in [
        ("{}", "'value' of the record is missing"),
        (r#"{"value":"abc","encoding":"base64"}"#, "illegal base64 data"),
        (r#"{"value":"abc","encoding":"zip"}"#, "invalid encoding"),
        (r#"{"value":"abc","compression_type":"gzip"}"#, "invalid compression type"),
        (r#"{"value":["abc"]}"#, "field \"value\""),
    ] {
        let refused = call(&server, "POST", "sys/raw/x/y", body).await;
        assert_eq!((refused.status, refused.error().contains(why)), (400, true), "{body}: {}", refused.text);
    }
    assert_eq!(call(&server, "GET", "sys/raw/x/y?encoding=zip", "").await.status, 400);
    assert_eq!(call(&server, "GET", "sys/raw/x/y", "").await.status, 404, "nothing was written");
}

#[tokio::test]
async fn it_takes_sudo_and_the_configuration() {
    let server = server().await;
    let policy = r#"{"policy":"path \"sys/raw*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }"}"#;
    assert_eq!(call(&server, "PUT", "sys/policies/acl/nosudo", policy).await.status, 204);
    let made = call(&server, "POST", "auth/token/create", r#"{"policies":["nosudo"]}"#).await;
    let token = made.text_at("auth/client_token");
    for (method, path) in [("GET", "sys/raw/x"), ("LIST", "sys/raw"), ("POST", "sys/raw/x"), ("DELETE", "sys/raw?path=x")] {
        assert_eq!(server.call(method, path, token, r#"{"value":"x"}"#).await.status, 403, "{method} {path}");
    }
    let off = Server::ready(registry(), CoreConfig::default()).await;
    for (method, path) in [("GET", "sys/raw/x"), ("LIST", "sys/raw"), ("POST", "sys/raw/x"), ("DELETE", "sys/raw?path=x")] {
        let refused = off.call(method, path, &off.root, r#"{"value":"x"}"#).await;
        assert_eq!((refused.status, refused.error().contains("unsupported path")), (404, true), "{method} {path}");
    }
}
