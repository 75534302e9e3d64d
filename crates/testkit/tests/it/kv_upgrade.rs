//! A KV mount of version 1 becomes one of version 2 on a running server: readable before, between and after.

use coffer_core::CoreConfig;
use coffer_core::upkeep::Upkeep;
use coffer_testkit::{Server, registry};

/// More than one batch.
const SECRETS: usize = 300;

#[tokio::test]
async fn no_secret_is_missing_at_any_time() {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    let root = server.root.clone();
    let call = async |method: &str, path: &str, body: &str| server.call(method, path, &root, body).await;
    assert_eq!(call("POST", "sys/mounts/kv", r#"{"type":"kv","options":{"version":"1"}}"#).await.status, 204);
    for n in 0..SECRETS {
        assert_eq!(call("PUT", &format!("kv/app/{n}"), &format!(r#"{{"n":{n}.0}}"#)).await.status, 204);
    }
    let mut upkeep = Upkeep::default();
    upkeep.run(&server.core).await.unwrap();
    assert_eq!(call("GET", "kv/app/7", "").await.status, 200, "version 1 has nothing to keep up");

    let tuned = call("POST", "sys/mounts/kv/tune", r#"{"options":{"version":"2"}}"#).await;
    assert_eq!(tuned.status, 200, "{}", tuned.text);
    let readable = async |when: &str, from: usize| {
        for n in from..SECRETS {
            let read = call("GET", &format!("kv/data/app/{n}"), "").await;
            assert!(read.text.contains(&format!(r#""data":{{"n":{n}.0}}"#)), "{when}: {}", read.text);
        }
        let listed = call("LIST", "kv/metadata/app", "").await;
        assert_eq!(listed.body.at("data/keys").and_then(|k| k.as_array()).map(<[_]>::len), Some(SECRETS), "{when}");
    };
    readable("before", 0).await;
    // A write while the rest still stands in the old layout.
    let wrote = call("POST", "kv/data/app/0", r#"{"options":{"cas":1},"data":{"n":"new"}}"#).await;
    assert_eq!(wrote.body.at("data/version").and_then(coffer_types::Json::as_i64), Some(2), "{}", wrote.text);
    readable("between", 1).await;
    upkeep.run(&server.core).await.unwrap();
    readable("after", 1).await;
    let kept = call("GET", "kv/data/app/0?version=1", "").await;
    assert!(kept.text.contains(r#""data":{"n":0.0}"#), "{}", kept.text);
    upkeep.run(&server.core).await.unwrap();
    Upkeep::default().run(&server.core).await.unwrap();
    readable("again", 1).await;
    // A path of version 1 says what would be right.
    let hint = call("GET", "kv/app/7", "").await;
    assert_eq!(hint.status, 404);
    assert!(hint.text.contains("Invalid path for a versioned K/V secrets engine"), "{}", hint.text);
}
