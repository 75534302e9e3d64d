//! Statuses of calls that leave out or contradict what they need, as the reference answers them.

use coffer_core::CoreConfig;
use coffer_testkit::{Server, registry};

#[tokio::test]
async fn as_the_reference() {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    for (method, path, body, status, why) in [
        ("POST", "sys/tools/hash", "{}", 200, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("POST", "sys/tools/hash", r#"{"input":"%"}"#, 400, "unable to decode input as base64"),
        ("POST", "sys/tools/hash/sha2-1", r#"{"input":""}"#, 400, "unsupported algorithm"),
        ("POST", "sys/plugins/reload/backend", "{}", 400, "plugin or mounts must be provided"),
        (
            "POST",
            "sys/plugins/reload/backend",
            r#"{"plugin":"kv","mounts":"a"}"#,
            400,
            "plugin and mounts cannot be set at the same time",
        ),
        ("POST", "sys/plugins/reload/backend", r#"{"plugin":"kv"}"#, 200, "reload_id"),
        ("PATCH", "sys/policies/acl/none", "{}", 400, "policy not found"),
    ] {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "" };
        let headers = [("X-Vault-Token", server.root.as_str()), ("Content-Type", content)];
        let replied = server.request(method, &format!("/v1/{path}"), &headers, body.as_bytes()).await;
        assert_eq!(replied.status, status, "{method} {path}: {}", replied.text);
        assert!(replied.text.contains(why), "{method} {path}: {}", replied.text);
    }
}
