//! The broker with real files: form, masking, and the rule that a line must stand before a call goes on.

mod canary;
mod faults;
mod golden;
mod remotes;
mod support;

use super::*;
use coffer_engine::reply::Answer;
use coffer_types::{Error, Json, Kind, Object, Operation};
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use support::*;

#[tokio::test]
async fn without_a_device_calls_pass() {
    let broker = broker();
    let call = call(Operation::Read, "secret/data/a");
    let opened = broker.begin(&entry(&call)).await.unwrap();
    broker.end(opened, Ok(&Answer::default())).await.unwrap();
    assert_eq!(broker.health(), Health::default());
    assert!(!broker.health().blocked());
}

#[tokio::test]
async fn both_lines_of_a_call_share_their_request() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    let mut call = call(Operation::Update, "secret/data/a");
    call.fields.body = object(r#"{"data":{"password":"hunter2"}}"#);
    let opened = broker.begin(&entry(&call)).await.unwrap();
    assert_eq!(log.lines().len(), 2, "the line of the request stands before the call is handled");
    let answer = Answer { data: Some(Object::new().with("version", 7)), ..Answer::default() };
    broker.end(opened, Ok(&answer)).await.unwrap();
    let lines = log.lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["request"]["path"], "sys/audit/test");
    assert_eq!((&lines[1]["type"], &lines[2]["type"]), (&"request".into(), &"response".into()));
    assert_eq!(lines[1]["auth"], lines[2]["auth"]);
    assert_eq!(lines[1]["request"], lines[2]["request"]);
    let hash = broker.hash("file", "hunter2").unwrap();
    assert_eq!(lines[1]["request"]["data"]["data"]["password"], hash);
    assert_eq!(lines[2]["response"]["data"]["version"], broker.hash("file/", "7").unwrap());
}

#[tokio::test]
async fn refusals_and_errors_are_written_without_their_texts() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    let call = call(Operation::Read, "sys/mounts");
    let denied = Error::denied();
    let mut refused = entry(&call);
    refused.decision = Some(Decision { allowed: false, granting: &[] });
    refused.error = Some(&denied);
    let opened = broker.begin(&refused).await.unwrap();
    broker.end(opened, Err(&denied)).await.unwrap();
    let opened = broker.begin(&entry(&call)).await.unwrap();
    broker.end(opened, Err(&Error::bad_request("no such thing: canary"))).await.unwrap();
    let opened = broker.begin(&entry(&call)).await.unwrap();
    broker.end(opened, Err(&Error::not_found())).await.unwrap();
    let lines = log.lines();
    for line in &lines[1..3] {
        assert_eq!(line["error"], "1 error occurred:\n\t* permission denied\n\n");
        assert_eq!(line["auth"]["policy_results"], serde_json::json!({"allowed": false}));
    }
    assert_eq!(lines[2]["response"]["data"]["error"], broker.hash("file", "permission denied").unwrap());
    assert_eq!(lines[4]["error"], "1 error occurred:\n\t* invalid request\n\n");
    assert_eq!(lines[4]["response"]["data"]["error"], broker.hash("file", "no such thing: canary").unwrap());
    assert!(lines[6].get("error").is_none() && lines[6]["response"].get("data").is_none(), "a miss is no error");
    assert!(!log.text().contains("canary"));
}

#[tokio::test]
async fn the_reference_s_refusals_of_devices() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    let salt = Salt::from_bytes([2; 32]);
    let enable = |path: &str, kind: &str, file: &str| {
        let options = if file.is_empty() { vec![] } else { vec![("file_path", file)] };
        let spec = spec(path, kind, &options);
        let (broker, salt) = (&broker, &salt);
        async move { broker.enable(spec, salt).await.unwrap_err().public().to_owned() }
    };
    assert_eq!(enable("file", "file", "/dev/null").await, "path already in use");
    assert_eq!(enable("file", "nope", "").await, "path already in use");
    assert_eq!(enable("file/a", "file", "").await, "path already in use");
    assert_eq!(enable("bad", "nope", "").await, "unknown backend type: \"nope\"");
    assert_eq!(enable("bad2", "file", "").await, "file_path is required");
    assert_eq!(broker.hash("none", "hello").unwrap_err().public(), "unknown audit backend \"none/\"");
    assert_eq!(broker.list().len(), 1);
    assert!(broker.disable("file").unwrap());
    assert!(!broker.disable("file").unwrap());
    assert!(broker.list().is_empty());
}

#[tokio::test]
async fn what_is_not_a_private_plain_log_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("precious"), "#!/bin/sh\necho precious\n").unwrap();
    std::fs::write(at("json"), "{\"time\":\"x\",\"type\":\"other\",\"request\":{}}\n").unwrap();
    std::fs::write(at("almost"), "{\"time\":\"2026-11-23T03:15:58Z\",\"type\":\"requested\",\"a").unwrap();
    std::fs::write(at("empty"), "").unwrap();
    symlink(at("empty"), at("link")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    std::fs::hard_link(at("empty"), at("twin")).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let broker = broker();
    for (name, why) in [
        ("precious", "not an audit log"),
        ("json", "not an audit log"),
        ("almost", "not an audit log"),
        ("link", "symbolic link"),
        ("dangling", "symbolic link"),
        ("twin", "hard link"),
        ("folder", "directory"),
        ("fifo", "regular file"),
        ("socket", "regular file"),
        ("missing/a.log", "No such file"),
        ("precious/a.log", "Not a directory"),
    ] {
        let error = broker.enable(spec("x", "file", &[("file_path", &at(name))]), &Salt::from_bytes([1; 32])).await.unwrap_err();
        assert!(error.public().contains(why), "{name}: {error}");
        assert_eq!(error.kind(), Kind::BadRequest);
    }
    for device in ["/dev/full", "/dev/null", "/dev/tty"] {
        broker.enable(spec("x", "file", &[("file_path", device)]), &Salt::from_bytes([1; 32])).await.unwrap_err();
    }
    drop(socket);
    assert_eq!(std::fs::read_to_string(at("precious")).unwrap(), "#!/bin/sh\necho precious\n");
    assert_eq!(std::fs::read_to_string(at("empty")).unwrap(), "");
    assert!(!std::path::Path::new(&at("nowhere")).exists());
    assert!(broker.list().is_empty());
}

#[tokio::test]
async fn an_older_log_is_continued_and_made_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let path = path.to_str().unwrap();
    // The reference's line, and one of newer servers that sort the members; then a line cut by a full disk.
    for first in [
        "{\"time\":\"2026-11-23T03:15:58.687635618Z\",\"type\":\"request\",\"auth\":{\"token_type\":\"default\"},\"request\":{\"id\":\"1\"}}\n",
        "{\"auth\":{},\"request\":{},\"time\":\"2026-11-23T03:15:58Z\",\"type\":\"response\"}\n",
        "{\"time\":\"2026-11-23T03:15:58.687635618Z\",\"type\":\"request\",\"auth\":{\"tok",
    ] {
        std::fs::write(path, first).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)).unwrap();
        let broker = broker();
        broker.enable(spec("file", "file", &[("file_path", path)]), &Salt::from_bytes([1; 32])).await.unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, 0o600);
        let text = std::fs::read_to_string(path).unwrap();
        let rest = text.strip_prefix(first.trim_end()).unwrap().strip_prefix('\n').unwrap();
        serde_json::from_str::<serde_json::Value>(rest).unwrap();
        assert_eq!(text.lines().count(), 2);
    }
}

#[tokio::test]
async fn modes_are_as_asked_whatever_the_umask() {
    let dir = tempfile::tempdir().unwrap();
    for (n, (option, want)) in [(None, 0o600), (Some("0640"), 0o640), (Some("0664"), 0o664)].into_iter().enumerate() {
        let path = dir.path().join(n.to_string());
        let path = path.to_str().unwrap();
        let mut options = vec![("file_path", path)];
        options.extend(option.map(|o| ("mode", o)));
        broker().enable(spec("file", "file", &options), &Salt::from_bytes([1; 32])).await.unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, want);
    }
}

#[tokio::test]
async fn a_deleted_file_loses_no_line() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    for round in 0..3 {
        std::fs::remove_file(&log.path).unwrap();
        let call = call(Operation::Read, &format!("secret/{round}"));
        let opened = broker.begin(&entry(&call)).await.unwrap();
        broker.end(opened, Ok(&Answer::default())).await.unwrap();
        let lines = log.lines();
        assert_eq!(lines.len(), 2, "round {round}");
        assert_eq!(lines[0]["request"]["path"], format!("secret/{round}"));
        assert_eq!(std::fs::metadata(&log.path).unwrap().mode() & 0o7777, 0o600);
    }
}

#[tokio::test]
async fn a_renamed_file_is_followed_by_a_new_one() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    let old = format!("{}.1", log.path);
    std::fs::rename(&log.path, &old).unwrap();
    // SIGHUP: at once.
    broker.reopen().await.unwrap();
    write_one(&broker).await.unwrap();
    assert_eq!(log.lines().len(), 2);
    assert_eq!(std::fs::read_to_string(&old).unwrap().lines().count(), 1);
    // Without a signal: within a second.
    std::fs::rename(&log.path, &old).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    write_one(&broker).await.unwrap();
    assert_eq!(log.lines().len(), 2);
}

#[tokio::test]
async fn a_link_put_in_the_place_of_the_log_stops_calls() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    let victim = log.dir.path().join("victim");
    std::fs::write(&victim, "").unwrap();
    std::fs::remove_file(&log.path).unwrap();
    symlink(&victim, &log.path).unwrap();
    let call = call(Operation::Read, "secret/a");
    let opened = broker.begin(&entry(&call)).await;
    let refused: Error = opened.err().unwrap().into();
    assert_eq!(refused.kind(), Kind::Unavailable);
    let health = broker.health();
    assert!(health.blocked());
    assert!(health.failing[0].1.contains("symbolic link"), "{health:?}");
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "");
    // It heals by itself.
    std::fs::remove_file(&log.path).unwrap();
    write_one(&broker).await.unwrap();
    assert_eq!(broker.health().failing, []);
}

#[tokio::test]
async fn one_device_that_writes_is_enough() {
    let (good, bad) = (Log::new(), Log::new());
    let broker = good.broker(&[]).await;
    broker.enable(spec("other", "file", &[("file_path", &bad.path)]), &Salt::from_bytes([9; 32])).await.unwrap();
    write_one(&broker).await.unwrap();
    assert_eq!((good.lines().len(), bad.lines().len()), (3, 3));
    let hashes = [good.lines()[1]["auth"]["client_token"].clone(), bad.lines()[1]["auth"]["client_token"].clone()];
    assert_ne!(hashes[0], hashes[1], "each device has its own salt");
    std::fs::remove_file(&bad.path).unwrap();
    std::fs::create_dir(&bad.path).unwrap();
    write_one(&broker).await.unwrap();
    let health = broker.health();
    assert_eq!((health.devices, health.failing.len(), health.blocked()), (2, 1, false));
    assert_eq!(health.failing[0].0, "other/");
}

#[tokio::test]
async fn a_stored_device_that_does_not_open_still_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later/audit.log");
    let broker = broker();
    broker.restore(spec("file", "file", &[("file_path", path.to_str().unwrap())]), &Salt::from_bytes([1; 32])).unwrap();
    assert!(broker.health().blocked());
    assert!(write_one(&broker).await.is_err());
    std::fs::create_dir(dir.path().join("later")).unwrap();
    write_one(&broker).await.unwrap();
    assert!(!broker.health().blocked());
}

#[tokio::test]
async fn handlers_and_unseals_may_run_twice() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    let device = || spec("file", "file", &[("file_path", &log.path)]);
    broker.enable(device(), &Salt::from_bytes([3; 32])).await.unwrap();
    let third = broker.hash("file", "x").unwrap();
    broker.restore(device(), &Salt::from_bytes([4; 32])).unwrap();
    assert_ne!(broker.hash("file", "x").unwrap(), third, "the last salt is the one that is stored");
    assert_eq!((broker.list().len(), log.lines().len()), (1, 1));
    // What is not the same is in the way.
    let other = spec("file", "file", &[("file_path", &log.path), ("log_raw", "true")]);
    assert_eq!(broker.enable(other, &Salt::from_bytes([5; 32])).await.unwrap_err().public(), "path already in use");
    let twin = spec("twin", "file", &[("file_path", &log.path)]);
    assert!(broker.enable(twin, &Salt::from_bytes([5; 32])).await.unwrap_err().public().contains("file/"));
}

#[tokio::test]
async fn a_stanza_that_takes_a_stored_device_s_place_does_not_keep_the_barrier_shut() {
    let log = Log::new();
    let broker = broker_with(vec![spec("main", "file", &[("file_path", &log.path)])]);
    let elsewhere = log.dir.path().join("b.log");
    for (path, file) in [("main", elsewhere.to_str().unwrap()), ("old", &log.path)] {
        broker.restore(spec(path, "file", &[("file_path", file)]), &Salt::from_bytes([1; 32])).unwrap();
    }
    let listed = broker.list();
    assert_eq!((listed.len(), listed[0].origin), (1, Origin::Configuration));
    assert!(!elsewhere.exists());
}

#[tokio::test]
async fn devices_of_the_configuration_stay_and_forget_their_salts() {
    let (own, other) = (Log::new(), Log::new());
    let broker = broker_with(vec![spec("main", "file", &[("file_path", &own.path)])]);
    broker.enable(spec("api", "file", &[("file_path", &other.path)]), &Salt::from_bytes([1; 32])).await.unwrap();
    assert!(broker.disable("main").unwrap_err().public().contains("configuration"));
    broker.set_salt("main/", &Salt::from_bytes([1; 32]));
    assert_eq!(broker.hash("main", "x").unwrap(), broker.hash("api", "x").unwrap());
    let known = broker.hash("main", "x").unwrap();
    broker.seal();
    assert_eq!(broker.list().len(), 1);
    assert_ne!(broker.hash("main", "x").unwrap(), known);
}

#[tokio::test]
async fn a_bad_stanza_is_an_error_at_the_start() {
    for options in [vec![], vec![("file_path", "/nonexistent/a.log")], vec![("file_path", "/dev/full")]] {
        assert!(try_broker(vec![spec("main", "file", &options)]).is_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lines_of_many_tasks_never_mix() {
    let log = Log::new();
    let broker = std::sync::Arc::new(log.broker(&[]).await);
    let mut tasks = Vec::new();
    for task in 0..64 {
        let broker = std::sync::Arc::clone(&broker);
        tasks.push(tokio::spawn(async move {
            for n in 0..20 {
                let mut call = call(Operation::Update, &format!("secret/{task}/{n}"));
                call.fields.body.insert("pad", "x".repeat(task * 100));
                let opened = broker.begin(&entry(&call)).await.unwrap();
                broker.end(opened, Ok(&Answer::default())).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut seen: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in &log.lines()[1..] {
        let path = line["request"]["path"].as_str().unwrap().to_owned();
        seen.entry(path).or_default().push(line["type"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen.len(), 64 * 20);
    assert!(seen.values().all(|types| types == &["request", "response"]));
}

/// Whatever happens to the other devices: a call that began with a device ends in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_devices_come_and_go() {
    let (log, other) = (Log::new(), Log::new());
    let broker = std::sync::Arc::new(log.broker(&[]).await);
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let broker = std::sync::Arc::clone(&broker);
        tasks.push(tokio::spawn(async move {
            for _ in 0..50 {
                write_one(&broker).await.unwrap();
            }
        }));
    }
    for _ in 0..20 {
        let device = spec("other", "file", &[("file_path", &other.path)]);
        broker.enable(device, &Salt::from_bytes([1; 32])).await.unwrap();
        broker.reopen().await.unwrap();
        tokio::task::yield_now().await;
        assert!(broker.disable("other/").unwrap());
    }
    for task in tasks {
        task.await.unwrap();
    }
    let count = |lines: &[serde_json::Value], kind: &str| lines.iter().filter(|l| l["type"] == kind).count();
    let lines = log.lines();
    assert_eq!((count(&lines, "request"), count(&lines, "response")), (401, 400));
    // Twenty test lines, and both lines of each call that found the device there.
    let lines = other.lines();
    assert_eq!(count(&lines, "request") - 20, count(&lines, "response"));
}

#[tokio::test]
async fn options_change_what_is_shown() {
    let log = Log::new();
    let broker = log.broker(&[("log_raw", "true"), ("elide_list_responses", "true")]).await;
    let call = call(Operation::List, "secret/metadata/");
    let opened = broker.begin(&entry(&call)).await.unwrap();
    let data = object(r#"{"keys":["a","b"],"key_info":{"a":{},"b":{}},"other":1.50}"#);
    broker.end(opened, Ok(&Answer { data: Some(data), ..Answer::default() })).await.unwrap();
    let lines = log.lines();
    assert_eq!(lines[1]["auth"]["client_token"], TOKEN);
    assert!(log.text().contains(r#""data":{"keys":2,"key_info":2,"other":1.50}"#));

    let log = Log::new();
    let broker = log.broker(&[("hmac_accessor", "false")]).await;
    write_one(&broker).await.unwrap();
    let line = &log.lines()[1];
    assert_eq!((&line["auth"]["accessor"], &line["request"]["client_token_accessor"]), (&ACCESSOR.into(), &ACCESSOR.into()));
    assert_ne!(line["auth"]["client_token"], TOKEN);
}

#[tokio::test]
async fn what_routes_and_mounts_declare_is_shown_and_nothing_below_it_by_chance() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    let mut call = call(Operation::Update, "secret/data/a");
    call.fields.body = object(r#"{"name":"web","shown":{"deep":[1]},"secret":{"name":"s1","shown":"s2"}}"#);
    let (request, response) = (["shown".to_owned()], ["kept".to_owned()]);
    let mut told = entry(&call);
    told.plain = &["name"];
    told.mount = told.mount.map(|m| MountInfo { clear_request: &request, clear_response: &response, ..m });
    let opened = broker.begin(&told).await.unwrap();
    let data = object(r#"{"kept":"k","name":"n"}"#);
    broker.end(opened, Ok(&Answer { data: Some(data), ..Answer::default() })).await.unwrap();
    let h = |text: &str| broker.hash("file", text).unwrap();
    let lines = log.lines();
    assert_eq!(
        lines[1]["request"]["data"],
        serde_json::json!({"name": "web", "shown": {"deep": [1]}, "secret": {"name": h("s1"), "shown": h("s2")}})
    );
    assert_eq!(lines[2]["response"]["data"], serde_json::json!({"kept": "k", "name": h("n")}));
}

#[tokio::test]
async fn query_raw_bodies_headers_and_wrapping_have_their_places() {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    broker.set_headers([("X-Trace".into(), false), ("x-key".into(), true), ("x-none".into(), false)].into());
    let mut call = call(Operation::Update, "pki/ca");
    call.fields.query.insert("version".into(), "2".into());
    call.fields.query.insert("both".into(), "q".into());
    call.fields.body = object(r#"{"both":1}"#);
    call.fields.raw = Some(b"\x30\x82canary".to_vec());
    call.headers = vec![("x-trace".into(), "t1".into()), ("x-key".into(), "canary".into()), ("x-trace".into(), "t2".into())];
    call.wrap = Some(coffer_engine::WrapAsk { ttl: coffer_types::Span::from_secs(60), jwt: false });
    let opened = broker.begin(&entry(&call)).await.unwrap();
    let raw = coffer_engine::reply::RawAnswer { content_type: "application/pkix-cert", body: b"canary".to_vec() };
    broker.end(opened, Ok(&Answer { raw: Some(raw), ..Answer::default() })).await.unwrap();
    let h = |text: &str| Json::from(broker.hash("file", text).unwrap()).as_str().unwrap().to_owned();
    let lines = log.lines();
    let request = &lines[1]["request"];
    assert_eq!(request["data"]["version"], h("2"));
    assert_eq!(request["data"]["both"], serde_json::json!([h("q"), h("1")]));
    assert!(request["data"]["http_raw_body"].as_str().unwrap().starts_with("hmac-sha256:"));
    assert_eq!(request["headers"], serde_json::json!({"x-trace": ["t1", "t2"], "x-key": [h("canary")]}));
    assert_eq!(request["wrap_ttl"], 60);
    assert_eq!(
        lines[2]["response"]["data"],
        serde_json::json!({"http_content_type": "application/pkix-cert", "http_raw_body": h("canary"), "http_status_code": 200})
    );
    assert!(!log.text().contains("canary"));
}
