//! Many writers at once: check-and-set lets one through, no version is lost, and an upgrade loses no write.

use coffer_core::CoreConfig;
use coffer_core::upkeep::Upkeep;
use coffer_testkit::{Server, registry};
use coffer_types::Json;
use std::sync::Arc;

const WRITERS: usize = 16;

async fn server(version: &str) -> Arc<Server> {
    let server = Server::ready(registry(), CoreConfig::default()).await;
    let body = format!(r#"{{"type":"kv","options":{{"version":"{version}"}}}}"#);
    assert_eq!(server.call("POST", "sys/mounts/kv", &server.root, &body).await.status, 204);
    Arc::new(server)
}

fn version(read: &coffer_testkit::Replied, place: &str) -> i64 {
    read.body.at(place).and_then(Json::as_i64).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_and_set_lets_one_through() {
    let server = server("2").await;
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let server = server.clone();
        writers.push(tokio::spawn(async move {
            let mut won = 0;
            for _ in 0..8 {
                let read = server.call("GET", "kv/data/a", &server.root, "").await;
                let seen = version(&read, "data/metadata/version");
                let body = format!(r#"{{"options":{{"cas":{seen}}},"data":{{"by":{writer}}}}}"#);
                let wrote = server.call("POST", "kv/data/a", &server.root, &body).await;
                match wrote.status {
                    200 => {
                        assert_eq!(version(&wrote, "data/version"), seen + 1);
                        won += 1;
                    }
                    400 => assert!(wrote.error().contains("check-and-set"), "{}", wrote.text),
                    _ => panic!("{}", wrote.text),
                }
            }
            won
        }));
    }
    let mut won = 0;
    for writer in writers {
        won += writer.await.unwrap();
    }
    let read = server.call("GET", "kv/data/a", &server.root, "").await;
    assert_eq!(version(&read, "data/metadata/version"), won);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_is_a_version() {
    let server = server("2").await;
    let config = server.call("POST", "kv/config", &server.root, r#"{"max_versions":1000}"#).await;
    assert_eq!(config.status, 204);
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let server = server.clone();
        writers.push(tokio::spawn(async move {
            let mut versions = Vec::new();
            for n in 0..6 {
                let body = format!(r#"{{"data":{{"by":"{writer}-{n}"}}}}"#);
                let wrote = server.call("POST", "kv/data/a", &server.root, &body).await;
                assert_eq!(wrote.status, 200, "{}", wrote.text);
                versions.push((version(&wrote, "data/version"), format!("{writer}-{n}")));
            }
            versions
        }));
    }
    let mut all = Vec::new();
    for writer in writers {
        all.extend(writer.await.unwrap());
    }
    all.sort();
    for (n, (seq, by)) in all.iter().enumerate() {
        assert_eq!(*seq, i64::try_from(n).unwrap() + 1);
        let read = server.call("GET", &format!("kv/data/a?version={seq}"), &server.root, "").await;
        assert_eq!(read.text_at("data/data/by"), by);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_loses_no_write() {
    let server = server("1").await;
    let root = server.root.clone();
    let names: Vec<String> = (0..200).map(|n| format!("{}/{n}", n % 7)).collect();
    for name in &names {
        assert_eq!(server.call("PUT", &format!("kv/{name}"), &root, r#"{"v":1}"#).await.status, 204);
    }
    assert_eq!(server.call("POST", "sys/mounts/kv/tune", &root, r#"{"options":{"version":"2"}}"#).await.status, 200);
    let writing = {
        let (server, names) = (server.clone(), names.clone());
        tokio::spawn(async move {
            for name in names.iter().rev() {
                let wrote = server
                    .call("POST", &format!("kv/data/{name}"), &server.root, r#"{"options":{"cas":1},"data":{"v":2}}"#)
                    .await;
                assert_eq!((wrote.status, version(&wrote, "data/version")), (200, 2), "{name}: {}", wrote.text);
            }
        })
    };
    Upkeep::default().run(&server.core).await.unwrap();
    writing.await.unwrap();
    Upkeep::default().run(&server.core).await.unwrap();
    for name in &names {
        for (seq, v) in [(1, "1"), (2, "2")] {
            let read = server.call("GET", &format!("kv/data/{name}?version={seq}"), &root, "").await;
            assert!(read.text.contains(&format!(r#""data":{{"v":{v}}}"#)), "{name}: {}", read.text);
        }
    }
}
