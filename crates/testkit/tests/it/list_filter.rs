//! Lists that show only what the caller may read: `list_scan_response_keys_filter_path`. The answer is the reference's.

use coffer_core::CoreConfig;
use coffer_testkit::{Server, registry};
use coffer_types::Json;

const POLICY: &str = r#"
path "fk/*" { capabilities = ["list"] list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}" }
path "fk/" { capabilities = ["list"] list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}" }
path "fk/a" { capabilities = ["read"] }
path "fk/b" { capabilities = ["create"] }
path "fk/hid/*" { capabilities = ["read"] }
"#;

#[tokio::test]
async fn a_key_shows_if_it_can_be_read_and_a_folder_if_it_can_be_listed() {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    let root = server.root.clone();
    let mounted = server.call("POST", "sys/mounts/fk", &root, r#"{"type":"kv"}"#).await;
    assert_eq!(mounted.status, 204, "{}", mounted.text);
    for path in ["fk/a", "fk/b", "fk/sub/c", "fk/hid/d"] {
        assert_eq!(server.call("PUT", path, &root, r#"{"x":"y"}"#).await.status, 204);
    }
    let body = format!("{{\"policy\":{}}}", String::from_utf8_lossy(&Json::from(POLICY).to_bytes()));
    assert_eq!(server.call("PUT", "sys/policies/acl/f", &root, &body).await.status, 204);
    let made = server.call("POST", "auth/token/create", &root, r#"{"policies":["f"],"no_default_policy":true}"#).await;
    for path in ["fk", "fk/"] {
        let list = server.call("LIST", path, made.text_at("auth/client_token"), "").await;
        let keys = list.body.at("data/keys").map(|keys| String::from_utf8_lossy(&keys.to_bytes()).into_owned());
        assert_eq!(keys.as_deref(), Some(r#"["a","sub/"]"#), "{path} {}", list.text);
    }
}
