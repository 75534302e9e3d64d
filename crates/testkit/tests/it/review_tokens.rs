//! Tokens and leases at their edges: the last use, an expiry that nobody has cleared away yet, batch tokens.

use coffer_core::CoreConfig;
use coffer_core::leases::expire::expire_due;
use coffer_testkit::engines::{Accounts, MemoryDatabase};
use coffer_testkit::{Replied, Server, registry};
use coffer_types::Json;
use std::time::Duration;

async fn server() -> Server {
    let engines = registry().engine::<Accounts>().expect("sound declarations");
    Server::ready(engines, CoreConfig::default()).await
}

async fn make(server: &Server, token: &str, body: &str) -> Replied {
    let made = server.call("POST", "auth/token/create", token, body).await;
    assert_eq!(made.status, 200, "{}", made.text);
    made
}

fn text(made: &Replied) -> String {
    made.text_at("auth/client_token").to_owned()
}

#[tokio::test]
async fn the_last_use_of_a_token_makes_no_other() {
    let server = server().await;
    let policy = r#"{"policy":"path \"auth/token/*\" { capabilities = [\"create\", \"update\", \"sudo\"] }"}"#;
    server.call("PUT", "sys/policies/acl/maker", &server.root, policy).await;
    for (path, body) in [("create-orphan", "{}"), ("create", r#"{"no_parent":true}"#), ("create", "{}")] {
        let once = text(&make(&server, &server.root, r#"{"policies":["maker"],"num_uses":1}"#).await);
        let refused = server.call("POST", &format!("auth/token/{path}"), &once, body).await;
        assert_eq!(refused.status, 400, "{path} {body}: {}", refused.text);
    }
}

#[tokio::test]
async fn an_expired_token_is_not_brought_back_by_its_accessor() {
    let server = server().await;
    let made = make(&server, &server.root, r#"{"policies":["default"],"ttl":"1m"}"#).await;
    let accessor = format!(r#"{{"accessor":"{}"}}"#, made.text_at("auth/accessor"));
    let on = format!(r#"{{"accessor":"{}","paths":["a"]}}"#, made.text_at("auth/accessor"));
    server.clock.advance(Duration::from_secs(61));
    // Nothing has cleared it away yet.
    for (path, body) in
        [("auth/token/renew-accessor", &accessor), ("auth/token/lookup-accessor", &accessor), ("sys/capabilities-accessor", &on)]
    {
        let refused = server.call("POST", path, &server.root, body).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.text);
    }
    assert_eq!(server.call("GET", "auth/token/lookup-self", &text(&made), "").await.status, 403);
}

#[tokio::test]
async fn a_batch_token_ends_with_its_parent_to_the_second() {
    let server = server().await;
    let parent = text(&make(&server, &server.root, r#"{"policies":["root"],"ttl":"1m"}"#).await);
    let batch = text(&make(&server, &parent, r#"{"policies":["default"],"type":"batch","ttl":"1h"}"#).await);
    assert_eq!(server.call("GET", "auth/token/lookup-self", &batch, "").await.status, 200);
    server.clock.advance(Duration::from_secs(61));
    assert_eq!(server.call("GET", "auth/token/lookup-self", &batch, "").await.status, 403);
}

#[tokio::test]
async fn leases_of_a_batch_token_end_with_it_or_its_parent() {
    let server = server().await;
    let database = MemoryDatabase::named("review-batch");
    let body = r#"{"type":"accounts","options":{"database":"review-batch"}}"#;
    assert_eq!(server.call("POST", "sys/mounts/db", &server.root, body).await.status, 204);
    assert_eq!(server.call("POST", "db/roles/app", &server.root, r#"{"ttl":"1h"}"#).await.status, 204);
    let policy = r#"{"policy":"path \"db/creds/app\" { capabilities = [\"read\"] }"}"#;
    assert_eq!(server.call("PUT", "sys/policies/acl/app", &server.root, policy).await.status, 204);
    let parent = text(&make(&server, &server.root, r#"{"policies":["root"],"ttl":"2h"}"#).await);
    let batch = text(&make(&server, &parent, r#"{"policies":["app"],"type":"batch","ttl":"10m"}"#).await);

    let leased = server.call("GET", "db/creds/app", &batch, "").await;
    assert_eq!(leased.body.at("lease_duration").and_then(Json::as_i64), Some(600), "{}", leased.text);
    let renew = format!(r#"{{"lease_id":"{}","increment":3600}}"#, leased.text_at("lease_id"));
    let renewed = server.call("POST", "sys/leases/renew", &server.root, &renew).await;
    assert_eq!(renewed.body.at("lease_duration").and_then(Json::as_i64), Some(600), "{}", renewed.text);

    assert_eq!(database.accounts().len(), 1);
    assert_eq!(server.call("POST", "auth/token/revoke-self", &parent, "").await.status, 204);
    expire_due(&server.core).await.unwrap();
    assert!(database.accounts().is_empty());
}

#[tokio::test]
async fn a_policy_never_ends_before_it_begins_and_never_by_a_time_that_means_never() {
    let server = server().await;
    let write = |more: &str| format!(r#"{{"policy":"path \"a\" {{ capabilities = [\"read\"] }}",{more}}}"#);
    let refused = server.call("PUT", "sys/policies/acl/p", &server.root, &write(r#""ttl":"-5m""#)).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    // The epoch is how records say never.
    let past = write(r#""expiration":"1970-01-01T00:00:00Z""#);
    assert_eq!(server.call("PUT", "sys/policies/acl/p", &server.root, &past).await.status, 204);
    let held = text(&make(&server, &server.root, r#"{"policies":["p"]}"#).await);
    assert_eq!(server.call("GET", "a", &held, "").await.status, 403);
}
