//! Limits on the number of leases: exact with any number of calls at once and over a restart, and never in the way of root.

use crate::leases::{ALL, Bounded, creds, database, finish, on, post, restarted, token};
use coffer_testkit::Server;
use coffer_types::Json;
use std::sync::Arc;

async fn limit(server: &Server, name: &str, body: &str) {
    let written = post(server, &format!("sys/quotas/lease-count/{name}"), body).await;
    assert_eq!(written.status, 204, "{}", written.text);
}

async fn counter(server: &Server, name: &str) -> i64 {
    let read = server.call("GET", &format!("sys/quotas/lease-count/{name}"), &server.root, "").await;
    read.body.at("data/counter").and_then(Json::as_i64).unwrap()
}

async fn ask(server: &Server, path: &str) -> u16 {
    server.call("GET", path, &server.root, "").await.status
}

#[tokio::test]
async fn a_limit_reads_as_it_was_written_and_nonsense_is_refused() {
    let server = on(Bounded::new()).await;
    database(&server, "quota-read").await;
    let read = server.call("GET", "sys/quotas/lease-count/default", &server.root, "").await;
    let data = r#""data":{"counter":0,"inheritable":true,"max_leases":2000000,"name":"default","path":"","role":"","type":"lease-count"}"#;
    assert!(read.text.contains(data), "{}", read.text);
    limit(&server, "d", r#"{"path":"db","max_leases":"7","role":"app"}"#).await;
    let read = server.call("GET", "sys/quotas/lease-count/d", &server.root, "").await;
    let data =
        r#""data":{"counter":0,"inheritable":false,"max_leases":7,"name":"d","path":"db/","role":"app","type":"lease-count"}"#;
    assert!(read.text.contains(data), "{}", read.text);
    let listed = server.call("LIST", "sys/quotas/lease-count", &server.root, "").await;
    assert!(listed.text.contains(r#""keys":["d","default"]"#), "{}", listed.text);
    for (name, body) in [
        ("x", r#"{"path":"db"}"#),
        ("x", r#"{"path":"db","max_leases":0}"#),
        ("x", r#"{"path":"db","max_leases":-1}"#),
        ("x", r#"{"path":"db","max_leases":"many"}"#),
        ("x", r#"{"path":"nowhere","max_leases":1}"#),
        ("x", r#"{"path":"db","role":"app","max_leases":1}"#),
        ("x", r#"{"role":"app","max_leases":1}"#),
        ("x", r#"{"type":"rate-limit","path":"db/creds","max_leases":1}"#),
        ("default", r#"{"path":"db/","max_leases":1}"#),
        ("default", r#"{"max_leases":-1}"#),
    ] {
        let refused = post(&server, &format!("sys/quotas/lease-count/{name}"), body).await;
        assert_eq!(refused.status, 400, "{name} {body}: {}", refused.text);
    }
    assert_eq!(ask(&server, "sys/quotas/lease-count/none").await, 404);
    assert_eq!(server.call("DELETE", "sys/quotas/lease-count/d", &server.root, "").await.status, 204);
    assert_eq!(ask(&server, "sys/quotas/lease-count/d").await, 404);
    assert_eq!(server.call("DELETE", "sys/quotas/lease-count/default", &server.root, "").await.status, 204);
    assert_eq!(ask(&server, "sys/quotas/lease-count/default").await, 200, "every server has it");
}

#[tokio::test]
async fn one_lease_too_many_is_refused_with_the_way_out_and_leaves_nothing_outside() {
    let server = on(Bounded::new()).await;
    let database = database(&server, "quota-full").await;
    creds(&server, &server.root).await;
    limit(&server, "few", r#"{"path":"db/","max_leases":3}"#).await;
    assert_eq!(counter(&server, "few").await, 1, "what was there counts");
    let lease = creds(&server, &server.root).await.text_at("lease_id").to_owned();
    creds(&server, &server.root).await;
    let refused = server.call("GET", "db/creds/app", &server.root, "").await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    for part in ["db/creds/app", "lease count quota exceeded", "\"few\"", "sys/quotas/lease-count/few", "3"] {
        assert!(refused.error().contains(part), "{part}: {}", refused.text);
    }
    assert_eq!(database.accounts().len(), 4, "the account was made before there was a lease to refuse");
    coffer_core::leases::expire::roll_back_finished(&server.core).await.unwrap();
    assert_eq!(database.accounts().len(), 3, "its effect outside is undone at once");
    // What ends makes room, whether by itself or because the limit is raised.
    assert_eq!(post(&server, "sys/leases/revoke", &format!(r#"{{"lease_id":"{lease}","sync":true}}"#)).await.status, 204);
    creds(&server, &server.root).await;
    assert_eq!(ask(&server, "db/creds/app").await, 429);
    limit(&server, "few", r#"{"path":"db/","max_leases":4}"#).await;
    creds(&server, &server.root).await;
    assert_eq!((ask(&server, "db/creds/app").await, counter(&server, "few").await), (429, 4));
    assert_eq!(post(&server, "sys/leases/revoke-prefix/db", r#"{"sync":true}"#).await.status, 204);
    assert_eq!(counter(&server, "few").await, 0);
    coffer_core::leases::expire::roll_back_finished(&server.core).await.unwrap();
    assert!(database.accounts().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_no_more_get_through_than_fit_also_after_a_restart() {
    let server = Arc::new(on(Bounded::new()).await);
    database(&server, "quota-many").await;
    limit(&server, "ten", r#"{"path":"db/creds/app","max_leases":10}"#).await;
    let asked = async |server: &Arc<Server>| {
        let tasks: Vec<_> = (0..32)
            .map(|_| {
                let server = server.clone();
                tokio::spawn(async move { ask(&server, "db/creds/app").await })
            })
            .collect();
        let mut granted = 0;
        for task in tasks {
            match task.await.unwrap() {
                200 => granted += 1,
                status => assert_eq!(status, 429),
            }
        }
        granted
    };
    assert_eq!(asked(&server).await, 10);
    limit(&server, "ten", r#"{"path":"db/creds/app","max_leases":14}"#).await;
    // Nothing is counted yet after a start: the first to ask wait until it is.
    let server = Arc::new(restarted(Arc::into_inner(server).unwrap()).await);
    assert_eq!((asked(&server).await, counter(&server, "ten").await), (4, 14));
}

#[tokio::test]
async fn tokens_count_root_is_let_in_and_batch_tokens_are_not() {
    let server = on(Bounded::new()).await;
    let held = token(&server, &server.root, ALL).await;
    let tree = r#"{"policies":["default"],"ttl":"1h"}"#;
    for _ in 0..3 {
        token(&server, &held, tree).await;
    }
    limit(&server, "default", r#"{"max_leases":4}"#).await;
    assert_eq!(counter(&server, "default").await, 4);
    for body in [tree, r#"{"type":"batch","policies":["default"],"ttl":"1h"}"#] {
        let refused = post(&server, "auth/token/create", body).await;
        assert_eq!(refused.status, 429, "{}", refused.text);
    }
    let admin = token(&server, &server.root, ALL).await;
    assert_eq!(counter(&server, "default").await, 5);
    assert_eq!(server.call("POST", "auth/token/revoke", &admin, &format!(r#"{{"token":"{held}"}}"#)).await.status, 204);
    finish(&server).await;
    assert_eq!(counter(&server, "default").await, 1, "a tree that ends is no longer counted");
    token(&server, &server.root, tree).await;
    limit(&server, "default", r#"{"max_leases":0}"#).await;
    let read = server.call("GET", "sys/quotas/lease-count/default", &server.root, "").await;
    assert!(read.text.contains(r#""counter":null"#), "{}", read.text);
}

#[tokio::test]
async fn the_narrowest_rule_refuses_and_roles_have_their_own() {
    let server = on(Bounded::new()).await;
    database(&server, "quota-roles").await;
    assert_eq!(post(&server, "db/roles/other", "{}").await.status, 204);
    limit(&server, "mount", r#"{"path":"db","max_leases":1}"#).await;
    limit(&server, "role", r#"{"path":"db","role":"app","max_leases":2}"#).await;
    for (path, status) in [("db/creds/app", 200), ("db/creds/app", 200), ("db/creds/app", 429), ("db/creds/other", 429)] {
        assert_eq!(ask(&server, path).await, status, "{path}");
    }
    assert_eq!((counter(&server, "mount").await, counter(&server, "role").await), (2, 2));
    // The rule goes with its mount to another path, and away with it.
    assert_eq!(post(&server, "sys/remount", r#"{"from":"db","to":"data"}"#).await.status, 200);
    assert_eq!(counter(&server, "role").await, 0);
    for status in [200, 200, 429] {
        assert_eq!(ask(&server, "data/creds/app").await, status);
    }
    assert_eq!(server.call("DELETE", "sys/mounts/data", &server.root, "").await.status, 204);
    assert_eq!(ask(&server, "sys/quotas/lease-count/role").await, 404);
}
