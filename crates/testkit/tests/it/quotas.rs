//! Rate limits: what may be written, which rule counts, and what a client over the limit sees.

use coffer_core::CoreConfig;
use coffer_testkit::{Replied, Server, registry};
use std::time::Duration;

const OVER: &str = "rate limit quota exceeded";

async fn server() -> Server {
    let config = CoreConfig { allow_api_audit: true, ..CoreConfig::default() };
    let server = Server::ready(registry(), config).await;
    let body = r#"{"type":"kv","options":{"version":"2"}}"#;
    assert_eq!(server.call("POST", "sys/mounts/secret", &server.root, body).await.status, 204);
    server
}

async fn write(server: &Server, name: &str, body: &str) -> Replied {
    server.call("POST", &format!("sys/quotas/rate-limit/{name}"), &server.root, body).await
}

async fn get(server: &Server, path: &str) -> u16 {
    server.call("GET", path, &server.root, "").await.status
}

#[tokio::test]
async fn a_rule_reads_as_it_was_written() {
    let server = server().await;
    assert_eq!(server.call("LIST", "sys/quotas/rate-limit", &server.root, "").await.status, 404);
    assert_eq!(write(&server, "all", r#"{"rate":2000.5}"#).await.status, 204);
    let mount = r#"{"rate":"2000","path":"/secret","interval":"1m","block_interval":"10s"}"#;
    assert_eq!(write(&server, "mount", mount).await.status, 204);
    let read = server.call("GET", "sys/quotas/rate-limit/all", &server.root, "").await;
    let data = r#""data":{"block_interval":0,"inheritable":true,"interval":1,"name":"all","path":"","rate":2000.5,"role":"","type":"rate-limit"}"#;
    assert!(read.text.contains(data), "{}", read.text);
    let read = server.call("GET", "sys/quotas/rate-limit/mount", &server.root, "").await;
    let data = r#""data":{"block_interval":10,"inheritable":false,"interval":60,"name":"mount","path":"secret/","rate":2000,"role":"","type":"rate-limit"}"#;
    assert!(read.text.contains(data), "{}", read.text);
    let listed = server.call("LIST", "sys/quotas/rate-limit", &server.root, "").await;
    assert!(listed.text.contains(r#""keys":["all","mount"]"#), "{}", listed.text);
    assert_eq!(server.call("DELETE", "sys/quotas/rate-limit/mount", &server.root, "").await.status, 204);
    assert_eq!(server.call("DELETE", "sys/quotas/rate-limit/mount", &server.root, "").await.status, 204);
    assert_eq!(get(&server, "sys/quotas/rate-limit/mount").await, 404);
}

#[tokio::test]
async fn rules_that_make_no_sense_are_refused() {
    let server = server().await;
    assert_eq!(write(&server, "a", r#"{"rate":2000}"#).await.status, 204);
    for (body, why) in [
        ("{}", "'rate' is invalid"),
        (r#"{"rate":0}"#, "'rate' is invalid"),
        (r#"{"rate":-1}"#, "'rate' is invalid"),
        (r#"{"rate":"nan"}"#, "'rate' is invalid"),
        (r#"{"rate":"inf"}"#, "'rate' is invalid"),
        (r#"{"rate":1e300}"#, "'rate' is invalid"),
        (r#"{"rate":"x"}"#, "error converting input for field \"rate\""),
        (r#"{"rate":[1]}"#, "error converting input for field \"rate\""),
        (r#"{"rate":5}"#, "quota rule with similar properties exists under the name \"a\""),
        (r#"{"rate":5,"path":"/"}"#, "quota rule with similar properties exists under the name \"a\""),
        (r#"{"rate":5,"path":"nowhere"}"#, "invalid mount path \"nowhere/\""),
        (r#"{"rate":5,"path":"secre"}"#, "invalid mount path \"secre/\""),
        (r#"{"rate":5,"path":"secret/*/x"}"#, "one '*', at its end"),
        (r#"{"rate":5,"path":"secret/**"}"#, "one '*', at its end"),
        (r#"{"rate":5,"path":"secret","interval":-1}"#, "cannot provide negative value"),
        (r#"{"rate":5,"path":"secret","block_interval":"-1s"}"#, "cannot provide negative value"),
        (r#"{"rate":5,"path":"secret","interval":"9000h"}"#, "longer than a year"),
        (r#"{"rate":5,"path":"secret","interval":"soon"}"#, "field \"interval\""),
        (r#"{"rate":5,"path":"secret","type":"lease-count"}"#, "rate-limit"),
        (r#"{"rate":5,"path":"secret","role":"x"}"#, "is not a valid auth method"),
        (r#"{"rate":5,"path":"auth/token","role":"x"}"#, "does not support use with role-based quotas"),
        (r#"{"rate":5,"role":"x"}"#, "needs the path of an auth method"),
    ] {
        let refused = write(&server, "b", body).await;
        assert_eq!(refused.status, 400, "{body}: {}", refused.text);
        assert!(refused.error().contains(why), "{body}: {}", refused.text);
    }
    assert_eq!(get(&server, "sys/quotas/rate-limit/b").await, 404, "nothing was stored");
    assert_eq!(write(&server, "a", r#"{"rate":2001}"#).await.status, 204, "a rule may be written again");
    for body in [r#"{"rate_limit_exempt_paths":{"a":1}}"#, r#"{"enable_rate_limit_audit_logging":"x"}"#] {
        assert_eq!(server.call("POST", "sys/quotas/config", &server.root, body).await.status, 400, "{body}");
    }
}

#[tokio::test]
async fn a_client_over_the_limit_waits_until_a_token_comes_back() {
    let server = server().await;
    assert_eq!(write(&server, "s", r#"{"rate":2,"path":"secret","interval":"10s"}"#).await.status, 204);
    assert_eq!(get(&server, "secret/data/x").await, 404);
    assert_eq!(get(&server, "secret/data/x").await, 404);
    let over = server.call("GET", "secret/data/x", &server.root, "").await;
    assert_eq!((over.status, over.error()), (429, "request path \"secret/data/x\": rate limit quota exceeded"));
    let over = server.call("LIST", "secret/metadata", "", "").await;
    assert_eq!((over.status, over.error()), (429, "request path \"secret/metadata/\": rate limit quota exceeded"));
    let over = server.call("POST", "secret/data/x", &server.root, r#"{"data":{}}"#).await;
    assert_eq!(over.status, 429, "{}", over.text);
    assert_eq!(get(&server, "sys/mounts").await, 200, "elsewhere it does not count");
    server.clock.advance(Duration::from_millis(5_001));
    assert_eq!(get(&server, "secret/data/x").await, 404, "the refused write left nothing");
    assert_eq!(get(&server, "secret/data/x").await, 429);
}

#[tokio::test]
async fn other_rules_leave_a_count_alone_and_the_rule_itself_begins_anew() {
    let server = server().await;
    assert_eq!(write(&server, "s", r#"{"rate":1,"path":"secret","interval":"1h"}"#).await.status, 204);
    assert_eq!(get(&server, "secret/data/x").await, 404);
    assert_eq!(write(&server, "other", r#"{"rate":1000,"path":"cubbyhole"}"#).await.status, 204);
    assert_eq!(get(&server, "secret/data/x").await, 429);
    assert_eq!(write(&server, "s", r#"{"rate":2,"path":"secret","interval":"1h"}"#).await.status, 204);
    assert_eq!(get(&server, "secret/data/x").await, 404);
    assert_eq!(server.call("DELETE", "sys/quotas/rate-limit/s", &server.root, "").await.status, 204);
    for _ in 0..5 {
        assert_eq!(get(&server, "secret/data/x").await, 404);
    }
}

#[tokio::test]
async fn who_is_locked_out_gets_back_in_over_the_exempt_paths() {
    let server = server().await;
    assert_eq!(write(&server, "all", r#"{"rate":1,"interval":"1h"}"#).await.status, 204);
    assert_eq!(get(&server, "sys/mounts").await, 200);
    assert_eq!(get(&server, "sys/mounts").await, 429);
    assert_eq!(get(&server, "sys/quotas/config").await, 429);
    assert_eq!(get(&server, "sys/leader").await, 429);
    for _ in 0..3 {
        assert_eq!(get(&server, "sys/health").await, 200);
        assert_eq!(get(&server, "sys/seal-status").await, 200);
        assert_eq!(get(&server, "sys/generate-root/attempt").await, 200);
    }
}

#[tokio::test]
async fn rules_hold_after_a_seal_and_an_unseal() {
    let server = server().await;
    assert_eq!(write(&server, "s", r#"{"rate":1,"path":"secret","interval":"1h"}"#).await.status, 204);
    assert_eq!(server.call("POST", "sys/seal", &server.root, "").await.status, 204);
    assert_eq!(get(&server, "secret/data/x").await, 503);
    let body = format!(r#"{{"key":"{}"}}"#, server.share);
    assert_eq!(server.call("POST", "sys/unseal", "", &body).await.status, 200);
    assert_eq!(get(&server, "secret/data/x").await, 404);
    assert_eq!(get(&server, "secret/data/x").await, 429);
}

#[tokio::test]
async fn rules_follow_their_mount() {
    let server = server().await;
    assert_eq!(write(&server, "m", r#"{"rate":1,"path":"secret","interval":"1h"}"#).await.status, 204);
    assert_eq!(write(&server, "p", r#"{"rate":1,"path":"secret/data/*","interval":"1h"}"#).await.status, 204);
    let moved = server.call("POST", "sys/remount", &server.root, r#"{"from":"secret","to":"moved"}"#).await;
    assert_eq!(moved.status, 200, "{}", moved.text);
    assert_eq!(server.call("GET", "sys/quotas/rate-limit/m", &server.root, "").await.text_at("data/path"), "moved/");
    assert_eq!(server.call("GET", "sys/quotas/rate-limit/p", &server.root, "").await.text_at("data/path"), "moved/data/*");
    assert_eq!(get(&server, "moved/data/x").await, 404);
    assert_eq!(get(&server, "moved/data/x").await, 429);
    assert_eq!(server.call("DELETE", "sys/mounts/moved", &server.root, "").await.status, 204);
    assert_eq!(server.call("LIST", "sys/quotas/rate-limit", &server.root, "").await.status, 404);
}

#[tokio::test]
async fn the_configuration_says_what_is_exempt_shown_and_audited() {
    let server = server().await;
    let read = server.call("GET", "sys/quotas/config", &server.root, "").await;
    assert!(read.text.contains(r#""enable_rate_limit_audit_logging":false,"enable_rate_limit_response_headers":false"#));
    assert!(read.text.contains(r#""sys/health","sys/seal-status","sys/unseal"]"#), "{}", read.text);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.log");
    let device = format!(r#"{{"type":"file","options":{{"file_path":"{}"}}}}"#, log.display());
    assert_eq!(server.call("POST", "sys/audit/file", &server.root, &device).await.status, 204);

    assert_eq!(write(&server, "s", r#"{"rate":1,"path":"secret","interval":"90s"}"#).await.status, 204);
    assert_eq!(get(&server, "secret/data/first").await, 404);
    assert_eq!(get(&server, "secret/data/unheard").await, 429);
    let config = r#"{"rate_limit_exempt_paths":["secret/config"],"enable_rate_limit_response_headers":true,"enable_rate_limit_audit_logging":true}"#;
    assert_eq!(server.call("POST", "sys/quotas/config", &server.root, config).await.status, 204);
    let over = server.call("GET", "secret/data/heard", &server.root, "").await;
    assert_eq!(
        (over.status, over.text.as_str()),
        (429, "{\"errors\":[\"request path \\\"secret/data/heard\\\": rate limit quota exceeded\"]}\n")
    );
    let header = |name: &str| over.headers.get(name).map(|v| v.to_str().unwrap());
    assert_eq!((header("retry-after"), header("x-ratelimit-limit")), (Some("90"), Some("1")));
    assert_eq!(header("x-ratelimit-remaining"), Some("0"));
    let exempt = server.call("GET", "secret/config", &server.root, "").await;
    assert_eq!(exempt.status, 200, "{}", exempt.text);
    assert!(exempt.headers.get("x-ratelimit-limit").is_none());
    let lines = std::fs::read_to_string(&log).unwrap();
    assert!(!lines.contains("unheard"), "refused before lines were wanted");
    let heard: Vec<&str> = lines.lines().filter(|l| l.contains("secret/data/heard")).collect();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert!(heard.iter().all(|l| l.contains(OVER)), "{heard:?}");
    assert!(!lines.contains(&server.root));

    // What is not said goes back to off; the exempt paths stay.
    assert_eq!(server.call("POST", "sys/quotas/config", &server.root, "{}").await.status, 204);
    let read = server.call("GET", "sys/quotas/config", &server.root, "").await;
    assert!(read.text.contains(r#""rate_limit_exempt_paths":["secret/config"]"#), "{}", read.text);
    assert!(read.text.contains(r#""enable_rate_limit_response_headers":false"#));
}
