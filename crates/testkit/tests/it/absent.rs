//! What Vault's API names and this server does not have: each path is answered, and says so.

use coffer_core::CoreConfig;
use coffer_testkit::{Server, registry};

#[tokio::test]
async fn what_is_not_there_says_so() {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    for (method, path, body, status, why) in [
        ("LIST", "sys/external-keys/configs", "", 404, ""),
        ("GET", "sys/external-keys/configs/x", "", 501, "external keys are not supported"),
        ("POST", "sys/external-keys/configs/x/keys/k", "{}", 501, "external keys are not supported"),
        ("LIST", "sys/external-keys/configs/x/keys", "", 404, ""),
        ("LIST", "sys/workflows/manage", "", 404, ""),
        ("GET", "sys/workflows/manage/x", "", 404, ""),
        ("POST", "sys/workflows/manage/x/y", "{}", 501, "workflows are not supported"),
        ("POST", "sys/workflows/execute/x", "{}", 501, "workflows are not supported"),
        ("POST", "sys/control-group/request", "{}", 400, "missing accessor"),
        ("POST", "sys/control-group/authorize", r#"{"accessor":"x"}"#, 400, "invalid accessor"),
        ("POST", "sys/mfa/validate", "{}", 400, "missing request ID"),
        ("POST", "sys/mfa/validate", r#"{"mfa_request_id":"x","mfa_payload":{}}"#, 400, "invalid request ID"),
        ("GET", "sys/pprof", "", 501, "profiles are not served"),
        ("GET", "sys/pprof/heap", "", 501, "profiles are not served"),
        ("GET", "sys/monitor?log_level=loud", "", 400, "unknown log level"),
        ("GET", "sys/monitor?log_level=debug", "", 501, "the log is not sent over the API"),
        ("POST", "sys/locked-users/a/unlock/b", "", 204, ""),
        ("LIST", "sys/namespaces", "", 404, ""),
        ("SCAN", "sys/namespaces", "", 404, ""),
        ("GET", "sys/namespaces/x", "", 404, ""),
        ("GET", "sys/namespaces/x/seal-status", "", 404, ""),
        ("POST", "sys/namespaces/x", "{}", 501, "namespaces are not supported"),
        ("POST", "sys/namespaces/api-lock/lock", "", 501, "namespaces are not supported"),
        ("POST", "sys/namespaces/api-lock/unlock/x", "", 501, "namespaces are not supported"),
        ("GET", "sys/internal/inspect/router/root", "", 404, "unsupported path"),
        ("GET", "sys/internal/inspect/request", "", 404, "unsupported path"),
    ] {
        let replied = server.call(method, path, &server.root, body).await;
        assert_eq!(replied.status, status, "{method} {path}: {}", replied.text);
        assert!(replied.error().contains(why), "{method} {path}: {}", replied.text);
    }
    let gone = server.call("DELETE", "sys/namespaces/x", &server.root, "").await;
    assert_eq!((gone.status, gone.text_at("warnings/0")), (200, "requested namespace does not exist"));
    let locked = server.call("GET", "sys/locked-users?mount_accessor=x", &server.root, "").await;
    let data = r#""data":{"by_namespace":[{"namespace_id":"root","namespace_path":"","counts":0,"mount_accessors":[{"mount_accessor":"x","counts":0,"alias_identifiers":null}]}],"total":0}"#;
    assert!(locked.text.contains(data), "{}", locked.text);
}

#[tokio::test]
async fn the_router_is_shown_where_the_configuration_lets_it() {
    let config = CoreConfig { introspection_endpoint: true, ..CoreConfig::default() };
    let server = Server::ready(registry(), config).await;
    let shown = server.call("GET", "sys/internal/inspect/router/root", &server.root, "").await;
    assert!(shown.text.contains(r#""mount_path":"sys/","mount_type":"system""#), "{}", shown.text);
    for (path, token, status) in [
        ("sys/internal/inspect/router/nope", server.root.as_str(), 404),
        ("sys/internal/inspect/request", server.root.as_str(), 501),
        ("sys/internal/inspect/router/root", "", 403),
    ] {
        assert_eq!(server.call("GET", path, token, "").await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_new_root_token_is_decoded_without_a_token() {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    for (body, why) in [
        ("{}", "provided 'encoded_token' or 'otp' is empty"),
        (r#"{"encoded_token":"abc"}"#, "provided 'encoded_token' or 'otp' is empty"),
        (r#"{"encoded_token":"","otp":"abcd"}"#, "provided 'encoded_token' or 'otp' is empty"),
        (r#"{"encoded_token":"abc","otp":"x"}"#, "length of byte slices is not equivalent: 2 != 1"),
        (r#"{"encoded_token":"!!!","otp":"xyz"}"#, "illegal base64 data"),
        (r#"{"encoded_token":"AAAA","otp":"abcd"}"#, "length of byte slices is not equivalent: 3 != 4"),
        (r#"{"encoded_token":"////","otp":"abc"}"#, "do not belong together"),
    ] {
        let refused = server.call("POST", "sys/decode-token", "", body).await;
        assert_eq!((refused.status, refused.error().contains(why)), (400, true), "{body}: {}", refused.text);
    }
    let decoded = server.call("POST", "sys/decode-token", "", r#"{"encoded_token":"AAAA","otp":"abc"}"#).await;
    assert_eq!((decoded.status, decoded.text_at("data/token")), (200, "abc"));
}
