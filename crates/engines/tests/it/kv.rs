//! What the recording does not show of KV: limits, time, other protocols' versions, upgrades, what a read costs.

use coffer_engine::Answer;
use coffer_engine::testing::{Bench, Failed, text};
use coffer_engines::kv::{V1, V2, upgrade};
use coffer_engines::records::{self, Expect, Payload, Put, Records, Shape};
use coffer_types::{Json, Kind, Operation, Span, Timestamp};
use std::collections::BTreeMap;

fn v2() -> Bench {
    Bench::new::<V2>("secret/", &[("version", "2")])
}

fn v1() -> Bench {
    Bench::new::<V1>("kv/", &[("version", "1")])
}

fn get(b: &Bench, path: &str) -> Result<Answer, Failed> {
    b.call(Operation::Read, path, "")
}

fn post(b: &Bench, path: &str, body: &str) -> Result<Answer, Failed> {
    b.call(Operation::Update, path, body)
}

fn at<'a>(answer: &'a Answer, path: &str) -> &'a Json {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let first = answer.data.as_ref().unwrap().get(first).unwrap();
    if rest.is_empty() { first } else { first.at(rest).unwrap() }
}

fn number(answer: &Answer, path: &str) -> i64 {
    at(answer, path).as_i64().unwrap()
}

fn versions(b: &Bench, name: &str) -> Vec<String> {
    let read = get(b, &format!("metadata/{name}")).unwrap();
    at(&read, "versions").as_object().unwrap().names().map(str::to_owned).collect()
}

fn refusal<T>(result: Result<T, Failed>) -> (Kind, String) {
    let failed = result.err().expect("a refusal");
    (failed.kind, failed.public)
}

#[test]
fn numbers_come_back_as_they_were_sent() {
    let b = v2();
    let data = r#"{"big":12345678901234567890,"f":1.10,"e":1e3,"z":-0.0,"deep":[{"n":0.1000}]}"#;
    post(&b, "data/n", &format!(r#"{{"data":{data}}}"#)).unwrap();
    let shown = at(&get(&b, "data/n").unwrap(), "data").to_bytes().to_vec();
    assert_eq!(String::from_utf8(shown).unwrap(), data);
    b.call(Operation::Patch, "data/n", r#"{"data":{"more":1.50}}"#).unwrap();
    let shown = at(&get(&b, "data/n").unwrap(), "data").to_bytes().to_vec();
    assert_eq!(String::from_utf8(shown).unwrap(), data.replace("]}", r#"],"more":1.50}"#));
    let b = v1();
    post(&b, "n", data).unwrap();
    assert_eq!(text(&get(&b, "n").unwrap()), data);
}

#[test]
fn a_read_takes_two_reads_of_the_store() {
    let b = v2();
    for _ in 0..12 {
        post(&b, "data/app/x", r#"{"data":{"a":1}}"#).unwrap();
    }
    let before = b.reads();
    get(&b, "data/app/x").unwrap();
    assert_eq!(b.reads() - before, 2);
}

#[test]
fn keeps_the_larger_number_of_versions() {
    for (mount, secret, kept) in [(0, 0, 10), (5, 2, 5), (2, 5, 5), (0, 1, 1), (3, 0, 3)] {
        let b = v2();
        post(&b, "config", &format!(r#"{{"max_versions":{mount}}}"#)).unwrap();
        post(&b, "metadata/a", &format!(r#"{{"max_versions":{secret}}}"#)).unwrap();
        for _ in 0..12 {
            post(&b, "data/a", r#"{"data":{}}"#).unwrap();
        }
        assert_eq!(versions(&b, "a").len(), kept, "{mount} {secret}");
        assert_eq!(b.keys().iter().filter(|k| k.starts_with("ver/")).count(), kept);
    }
    assert_eq!(refusal(post(&v2(), "config", r#"{"max_versions":-1}"#)).0, Kind::BadRequest);
    assert_eq!(refusal(post(&v2(), "metadata/a", r#"{"max_versions":-1}"#)).0, Kind::BadRequest);
}

#[test]
fn the_shorter_time_deletes() {
    for (mount, secret, after) in [
        ("1h", "2h", Some(3600)),
        ("1h", "30m", Some(1800)),
        ("1h", "0", Some(3600)),
        ("0", "5m", Some(300)),
        ("-1s", "5m", None),
        ("0", "0", None),
    ] {
        let b = v2();
        post(&b, "config", &format!(r#"{{"delete_version_after":"{mount}"}}"#)).unwrap();
        post(&b, "metadata/a", &format!(r#"{{"delete_version_after":"{secret}"}}"#)).unwrap();
        let wrote = post(&b, "data/a", r#"{"data":{"a":1}}"#).unwrap();
        let want = after.map_or_else(String::new, |secs| b.now().plus(Span::from_secs(secs).duration()).rfc3339());
        assert_eq!(at(&wrote, "deletion_time").as_str().unwrap(), want, "{mount} {secret}");
        if let Some(secs) = after {
            b.pass(Span::from_secs(secs - 1));
            assert!(get(&b, "data/a").unwrap().status.is_none());
            b.pass(Span::from_secs(1));
            let gone = get(&b, "data/a").unwrap();
            assert_eq!((gone.status, at(&gone, "data").is_null()), (Some(404), true));
            // Brought back, it lives as long again.
            post(&b, "undelete/a", r#"{"versions":[1]}"#).unwrap();
            assert!(get(&b, "data/a").unwrap().status.is_none());
            b.pass(Span::from_secs(secs));
            assert_eq!(get(&b, "data/a").unwrap().status, Some(404));
        }
    }
    assert_eq!(refusal(post(&v2(), "metadata/a", r#"{"delete_version_after":"-5s"}"#)).0, Kind::BadRequest);
}

#[test]
fn cas_is_held() {
    let b = v2();
    let mismatch = (Kind::Precondition, "check-and-set parameter did not match the current version".to_owned());
    let cas = |cas: &str| post(&b, "data/a", &format!(r#"{{"options":{{"cas":{cas}}},"data":{{"a":1}}}}"#));
    assert_eq!(refusal(cas("1")), mismatch);
    assert!(cas("0").is_ok());
    assert!(cas("\"1\"").is_ok());
    for wrong in ["0", "1", "3", "-1", "null", "\"\"", "true"] {
        assert_eq!(refusal(cas(wrong)), mismatch, "{wrong}");
    }
    for malformed in ["1.0", "[]", "{}", "\"x\"", "99999999999999999999"] {
        assert_eq!(refusal(cas(malformed)).1, "error parsing check-and-set parameter", "{malformed}");
    }
    post(&b, "metadata/a", r#"{"cas_required":true}"#).unwrap();
    let required = "check-and-set parameter required for this call";
    assert_eq!(refusal(post(&b, "data/a", r#"{"data":{}}"#)).1, required);
    assert_eq!(refusal(b.call(Operation::Patch, "data/a", r#"{"data":{}}"#)).1, required);
    assert!(b.call(Operation::Patch, "data/a", r#"{"options":{"cas":2},"data":{}}"#).is_ok());
    post(&b, "config", r#"{"cas_required":true}"#).unwrap();
    assert_eq!(refusal(post(&b, "data/b", r#"{"data":{}}"#)).1, required);
}

#[test]
fn metadata_cas_is_held() {
    let b = v2();
    let write = |body: &str| post(&b, "metadata/a", body);
    assert_eq!(refusal(write(r#"{"metadata_cas":9,"max_versions":3}"#)).1, "metadata_cas must be 0 when creating new metadata");
    write(r#"{"metadata_cas":0,"max_versions":3}"#).unwrap();
    for (operation, cas) in [(Operation::Update, 0), (Operation::Update, 2), (Operation::Patch, 0), (Operation::Patch, -1)] {
        let body = format!(r#"{{"metadata_cas":{cas},"max_versions":4}}"#);
        let refused = refusal(b.call(operation, "metadata/a", &body)).1;
        assert_eq!(refused, "metadata check-and-set parameter does not match the current version");
    }
    write(r#"{"metadata_cas":1,"metadata_cas_required":true}"#).unwrap();
    assert_eq!(refusal(write(r#"{"max_versions":4}"#)).1, "metadata check-and-set parameter required for this call");
    post(&b, "config", r#"{"metadata_cas_required":true}"#).unwrap();
    assert_eq!(refusal(post(&b, "metadata/new", r#"{"max_versions":4}"#)).0, Kind::BadRequest);
    assert_eq!(number(&get(&b, "metadata/a").unwrap(), "current_metadata_version"), 2);
    // What sets nothing changes nothing.
    post(&b, "metadata/none", "{}").unwrap();
    assert_eq!(refusal(get(&b, "metadata/none")).0, Kind::NotFound);
}

#[test]
fn patching_metadata_sets_back_with_null() {
    let b = v2();
    let body = r#"{"max_versions":3,"cas_required":true,"delete_version_after":"1h","custom_metadata":{"a":"1","b":"2"}}"#;
    post(&b, "metadata/a", body).unwrap();
    let body = r#"{"max_versions":null,"cas_required":null,"delete_version_after":"0s","custom_metadata":{"a":null,"c":"3"}}"#;
    b.call(Operation::Patch, "metadata/a", body).unwrap();
    let read = get(&b, "metadata/a").unwrap();
    assert_eq!((number(&read, "max_versions"), at(&read, "cas_required").as_bool()), (0, Some(false)));
    assert_eq!(at(&read, "delete_version_after").as_str(), Some("0s"));
    assert_eq!(String::from_utf8(at(&read, "custom_metadata").to_bytes().to_vec()).unwrap(), r#"{"b":"2","c":"3"}"#);
    b.call(Operation::Patch, "metadata/a", r#"{"custom_metadata":null}"#).unwrap();
    assert!(at(&get(&b, "metadata/a").unwrap(), "custom_metadata").is_null());
    for bad in [
        r#"{"custom_metadata":{"x":""}}"#,
        r#"{"custom_metadata":"x"}"#,
        r#"{"max_versions":"x"}"#,
        r#"{"delete_version_after":-1}"#,
    ] {
        assert_eq!(refusal(b.call(Operation::Patch, "metadata/a", bad)).0, Kind::BadRequest, "{bad}");
    }
}

#[test]
fn a_name_may_be_a_secret_and_a_folder() {
    let b = v2();
    for name in ["a", "a/b", "a/b/c", "ü/€ x", "a-b", "meta", "ver/x", "config"] {
        post(&b, &format!("data/{name}"), &format!(r#"{{"data":{{"is":"{name}"}}}}"#)).unwrap();
    }
    for name in ["a", "a/b", "a/b/c", "ü/€ x", "a-b", "meta", "ver/x", "config"] {
        assert_eq!(at(&get(&b, &format!("data/{name}")).unwrap(), "data/is").as_str(), Some(name));
    }
    let list = |path: &str| text(&b.call(Operation::List, path, "").unwrap());
    assert_eq!(list("metadata/"), r#"{"keys":["a","a-b","a/","config","meta","ver/","ü/"]}"#);
    assert_eq!(list("metadata/a"), r#"{"keys":["b","b/"]}"#);
    assert_eq!(list("metadata?limit=2&after=a"), r#"{"keys":["a-b","a/"]}"#);
    assert_eq!(list("metadata?limit=-1&after=meta"), r#"{"keys":["ver/","ü/"]}"#);
    assert_eq!(b.call(Operation::List, "metadata?after=z", "").unwrap().status, None);
    assert_eq!(b.call(Operation::List, "metadata/a/b?after=c", "").unwrap().status, Some(404));
    assert_eq!(refusal(b.call(Operation::List, "metadata?limit=x", "")).0, Kind::BadRequest);
    b.call(Operation::Delete, "metadata/a", "").unwrap();
    assert_eq!(list("metadata/a"), r#"{"keys":["b","b/"]}"#);
}

#[test]
fn a_scan_shows_only_what_could_be_listed() {
    for (mut b, data, route) in [(v2(), "data/", "metadata/"), (v1(), "", "")] {
        for name in ["x", "open/a", "open/deep/b", "closed/c", "closed/open/d"] {
            post(&b, &format!("{data}{name}"), r#"{"data":{"a":1}}"#).unwrap();
        }
        let scan = |b: &Bench, path: &str| text(&b.call(Operation::Scan, &format!("{route}{path}"), "").unwrap());
        assert_eq!(scan(&b, ""), r#"{"keys":["x","open/a","open/deep/b","closed/c","closed/open/d"]}"#);
        assert_eq!(scan(&b, "open"), r#"{"keys":["a","deep/b"]}"#);
        assert_eq!(scan(&b, "?limit=2"), r#"{"keys":["x","open/a"]}"#);
        assert_eq!(scan(&b, "?limit=2&after=open/a"), r#"{"keys":["open/deep/b","closed/c"]}"#);
        assert_eq!(scan(&b, "none"), "{}");
        let closed = format!("{}{route}closed/", b.mount.path);
        b.refuse(Operation::List, &closed);
        assert!(scan(&b, "").contains("closed/c"), "scan itself is enough");
        b.refuse(Operation::Scan, &closed);
        assert_eq!(scan(&b, ""), r#"{"keys":["x","open/a","open/deep/b","closed/open/d"]}"#);
        b.principal = None;
    }
}

#[test]
fn details_are_listed_by_name() {
    let b = v2();
    for name in ["f/a", "f/b/c"] {
        post(&b, &format!("data/{name}"), r#"{"data":{"a":1}}"#).unwrap();
    }
    let listed = b.call(Operation::List, "detailed-metadata/f", "").unwrap();
    assert_eq!(at(&listed, "keys").as_array().unwrap().len(), 2);
    assert_eq!(number(&listed, "key_info/a/current_version"), 1);
    // A folder's entry: the secret of the same name, if there is one.
    let folder = |listed: &Answer| at(listed, "key_info").as_object().unwrap().get("b/").unwrap().as_object().unwrap().len();
    assert_eq!(folder(&listed), 0);
    post(&b, "data/f/b", r#"{"data":{"a":1}}"#).unwrap();
    assert!(folder(&b.call(Operation::List, "detailed-metadata/f", "").unwrap()) > 0);
    let scanned = b.call(Operation::Scan, "detailed-metadata/f", "").unwrap();
    assert_eq!(at(&scanned, "key_info").as_object().unwrap().names().collect::<Vec<_>>(), ["a", "b", "b/c"]);
    assert_eq!(refusal(get(&b, "detailed-metadata/f/a")).0, Kind::Unsupported);
}

#[test]
fn subkeys_show_no_value() {
    let b = v2();
    let data = r#"{"a":{"b":{"c":"canary"},"e":{}},"l":[{"x":"canary"}],"n":7}"#;
    post(&b, "data/a", &format!(r#"{{"data":{data}}}"#)).unwrap();
    for (query, shown) in [
        ("", r#"{"a":{"b":{"c":null},"e":null},"l":null,"n":null}"#),
        ("?depth=1", r#"{"a":null,"l":null,"n":null}"#),
        ("?depth=2", r#"{"a":{"b":null,"e":null},"l":null,"n":null}"#),
        ("?depth=-3", r#"{"a":{"b":{"c":null},"e":null},"l":null,"n":null}"#),
    ] {
        let read = get(&b, &format!("subkeys/a{query}")).unwrap();
        assert_eq!(String::from_utf8(at(&read, "subkeys").to_bytes().to_vec()).unwrap(), shown);
    }
    b.call(Operation::Delete, "data/a", "").unwrap();
    let deleted = get(&b, "subkeys/a").unwrap();
    assert_eq!((deleted.status, at(&deleted, "subkeys").is_null()), (Some(404), true));
    assert_eq!(refusal(get(&b, "subkeys/a?version=2")).0, Kind::NotFound);
}

#[test]
fn refuses_what_is_no_write() {
    let b = v2();
    post(&b, "data/a", r#"{"data":{"a":1}}"#).unwrap();
    for (operation, path, body) in [
        (Operation::Update, "data/a/", r#"{"data":{}}"#),
        (Operation::Update, "data/", r#"{"data":{}}"#),
        (Operation::Patch, "data/a/", r#"{"data":{}}"#),
        (Operation::Update, "metadata/a/", r#"{"max_versions":1}"#),
        (Operation::Update, "delete/a/", r#"{"versions":[1]}"#),
        (Operation::Update, "data/a", r#"{"data":"x"}"#),
        (Operation::Update, "data/a", r#"{"data":[1]}"#),
        (Operation::Update, "data/a", r#"{"data":{},"options":"x"}"#),
        (Operation::Update, "data/a", "{}"),
        (Operation::Patch, "data/a", "{}"),
        (Operation::Update, "delete/a", "{}"),
        (Operation::Update, "undelete/a", r#"{"versions":[]}"#),
        (Operation::Update, "destroy/a", r#"{"versions":["x"]}"#),
        (Operation::Read, "data/a?version=x", ""),
    ] {
        assert_eq!(refusal(b.call(operation, path, body)).0, Kind::BadRequest, "{operation} {path} {body}");
    }
    for (operation, path) in [
        (Operation::List, "data/a"),
        (Operation::Read, "delete/a"),
        (Operation::Delete, "config"),
        (Operation::Update, "subkeys/a"),
    ] {
        assert_eq!(refusal(b.call(operation, path, "{}")).0, Kind::Unsupported, "{operation} {path}");
    }
    assert_eq!(versions(&b, "a"), ["1"]);
    // Nothing there, nothing to do.
    for path in ["delete/none", "undelete/none", "destroy/none"] {
        post(&b, path, r#"{"versions":[1,-1,99]}"#).unwrap();
    }
    b.call(Operation::Delete, "data/none", "").unwrap();
    assert_eq!(refusal(get(&b, "metadata/none")).0, Kind::NotFound);
}

#[test]
fn says_what_a_path_of_version_1_should_be() {
    let b = v2();
    for (operation, path, says) in [
        (Operation::Read, "app/x", "kv get"),
        (Operation::Update, "app/x", "kv put"),
        (Operation::Delete, "app/x", "kv delete"),
        (Operation::List, "", "kv list"),
        (Operation::Read, "metadata", "Non-listing"),
        (Operation::Update, "data", "Non-listing"),
    ] {
        let answer = b.call(operation, path, "{}").unwrap();
        assert_eq!(answer.status, Some(404));
        assert!(answer.data.is_none() && answer.warnings[0].contains(says), "{:?}", answer.warnings);
    }
}

#[test]
fn warns_of_what_it_does_not_know() {
    let b = v2();
    let wrote = post(&b, "data/a", r#"{"data":{"a":1},"zzz":1,"bogus":2,"path":"x","version":3}"#).unwrap();
    assert_eq!(
        wrote.warnings,
        [
            "Endpoint ignored these unrecognized parameters: [bogus zzz]",
            "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [path]",
        ]
    );
    assert!(post(&b, "metadata/a", r#"{"max_versions":2,"bogus":1}"#).unwrap().warnings.is_empty());
}

/// Versions that another protocol wrote: shown by their projection, its labels and its schedule respected.
#[test]
fn shows_what_others_wrote() {
    let b = v2();
    let put = |name: &'static str, shape, bytes: &'static [u8], current| {
        b.within(async |view, inner| {
            let records = Records::new(&view, inner.now);
            let mut record = match records.load(name).await? {
                Some(record) => record,
                None => {
                    let mut id = [0; 16];
                    inner.host.fill_random(&mut id);
                    records.create(id)
                }
            };
            let put = Put {
                payload: Payload { shape, bytes: bytes.to_vec().into() },
                expect: Expect::Anything,
                native_id: None,
                current,
                labels: if current { Vec::new() } else { vec![records::PENDING.to_owned()] },
                keep: 10,
                deletes_at: Timestamp::NEVER,
                attrs: BTreeMap::new(),
            };
            records.put(name, &mut record, put).await.map(drop).map_err(|_| coffer_types::Error::not_found())
        })
        .unwrap();
    };
    put("object", Shape::Text, br#"{"user":"x"}"#, true);
    put("text", Shape::Text, b"hunter2", true);
    put("binary", Shape::Binary, b"\x00\xff\x10", true);
    for (name, data, shape) in [
        ("object", r#"{"user":"x"}"#, "text"),
        ("text", r#"{"value":"hunter2"}"#, "text"),
        ("binary", r#"{"value":"AP8Q"}"#, "binary"),
    ] {
        let read = get(&b, &format!("data/{name}")).unwrap();
        assert_eq!(String::from_utf8(at(&read, "data").to_bytes().to_vec()).unwrap(), data);
        assert_eq!(at(&read, "metadata/shape").as_str(), Some(shape));
    }
    put("text", Shape::Text, b"next", false);
    let read = get(&b, "data/text").unwrap();
    assert_eq!((number(&read, "metadata/version"), at(&read, "data/value").as_str()), (1, Some("hunter2")));
    let wrote = post(&b, "data/text", r#"{"options":{"cas":1},"data":{"v":3}}"#).unwrap();
    assert_eq!(number(&wrote, "version"), 3);
    // A patch of text makes it a map.
    b.call(Operation::Patch, "data/object", r#"{"data":{"port":1}}"#).unwrap();
    let read = get(&b, "data/object").unwrap();
    assert_eq!(String::from_utf8(at(&read, "data").to_bytes().to_vec()).unwrap(), r#"{"user":"x","port":1}"#);
    assert!(read.data.as_ref().unwrap().get("metadata").unwrap().get("shape").is_none());
    // A deletion that another protocol scheduled binds here.
    b.within(async |view, inner| {
        let records = Records::new(&view, inner.now);
        let mut record = records.load("text").await?.unwrap();
        let day = inner.now.plus(Span::from_secs(86_400).duration());
        records.schedule_delete("text", &mut record, day).map_err(|_| coffer_types::Error::not_found())
    })
    .unwrap();
    assert_eq!(refusal(get(&b, "data/text")).0, Kind::NotFound);
    let scheduled = (Kind::BadRequest, "the deletion of this secret is scheduled: restore it first".to_owned());
    assert_eq!(refusal(post(&b, "data/text", r#"{"data":{}}"#)), scheduled);
    assert_eq!(refusal(b.call(Operation::Delete, "metadata/text", "")), scheduled);
    assert_eq!(refusal(post(&b, "destroy/text", r#"{"versions":[1]}"#)), scheduled);
}

#[test]
fn version_1_says_how_long_to_keep() {
    let b = v1();
    for (body, secs) in [
        (r#"{"a":1}"#, 2_764_800),
        (r#"{"ttl":"1h"}"#, 3600),
        (r#"{"ttl":30}"#, 30),
        (r#"{"ttl":"30"}"#, 30),
        (r#"{"ttl":"2d"}"#, 172_800),
        (r#"{"ttl":"bogus"}"#, 2_764_800),
        (r#"{"ttl":1.5}"#, 2_764_800),
        (r#"{"ttl":[1]}"#, 2_764_800),
        (r#"{"ttl":null}"#, 0),
        (r#"{"ttl":-5}"#, -5),
        (r#"{"lease":"10m"}"#, 600),
        (r#"{"lease":"10m","ttl":"20m"}"#, 1200),
    ] {
        post(&b, "a", body).unwrap();
        let read = get(&b, "a").unwrap();
        assert_eq!(read.leased.as_ref().unwrap().seconds, secs, "{body}");
        assert_eq!(text(&read), body);
        assert!(read.lease.is_none());
    }
}

#[test]
fn version_1_refuses() {
    let b = v1();
    for (operation, path, body, kind) in [
        (Operation::Update, "a", "{}", Kind::BadRequest),
        (Operation::Update, "a/", r#"{"a":1}"#, Kind::BadRequest),
        (Operation::Update, "", r#"{"a":1}"#, Kind::BadRequest),
        (Operation::Read, "", "", Kind::NotFound),
        (Operation::Read, "a/", "", Kind::NotFound),
        (Operation::Patch, "a", r#"{"a":1}"#, Kind::Unsupported),
    ] {
        assert_eq!(refusal(b.call(operation, path, body)).0, kind, "{operation} {path}");
    }
    // Names of fields are data here, not fields.
    post(&b, "a", r#"{"path":"x","after":"q","limit":3}"#).unwrap();
    assert_eq!(text(&get(&b, "a").unwrap()), r#"{"path":"x","after":"q","limit":3}"#);
}

/// A mount of version 1 with these secrets, as version 2 finds it.
fn upgraded(names: &[&str]) -> Bench {
    let mut b = v1();
    for name in names {
        post(&b, name, &format!(r#"{{"is":"{name}","n":1.10}}"#)).unwrap();
    }
    b.become_engine::<V2>();
    b
}

fn batch(b: &Bench, limit: usize) -> bool {
    b.within(async |view, inner| upgrade::batch(&view, inner.now, |out| inner.host.fill_random(out), limit).await).unwrap()
}

#[test]
fn an_upgrade_has_no_moment_without_a_secret() {
    let names = ["a", "a/b", "a/b/c", "ü €", "z"];
    let b = upgraded(&names);
    let all_there = |when: &str| {
        for name in names {
            let read = get(&b, &format!("data/{name}")).unwrap();
            assert_eq!(at(&read, "data/is").as_str(), Some(name), "{when}");
            assert_eq!(String::from_utf8(at(&read, "data").at("n").unwrap().to_bytes().to_vec()).unwrap(), "1.10");
            assert_eq!(number(&read, "metadata/version"), 1);
            let metadata = get(&b, &format!("metadata/{name}")).unwrap();
            assert_eq!(number(&metadata, "current_version"), 1);
        }
        assert_eq!(text(&b.call(Operation::List, "metadata/", "").unwrap()), r#"{"keys":["a","a/","z","ü €"]}"#, "{when}");
        let scan = text(&b.call(Operation::Scan, "metadata/", "").unwrap());
        assert_eq!(scan, r#"{"keys":["a","z","ü €","a/b","a/b/c"]}"#, "{when}");
    };
    all_there("before");
    assert!(batch(&b, 2));
    all_there("between");
    assert!(batch(&b, 2));
    assert!(!batch(&b, 2));
    all_there("after");
    assert!(!b.keys().iter().any(|k| k.starts_with("v1/")), "{:?}", b.keys());
    assert!(!batch(&b, 2), "again is harmless");
    all_there("again");
}

#[test]
fn changes_during_an_upgrade_stay() {
    let b = upgraded(&["a", "b", "c", "d", "e"]);
    post(&b, "data/a", r#"{"options":{"cas":1},"data":{"is":"new"}}"#).unwrap();
    b.call(Operation::Patch, "data/b", r#"{"data":{"more":1}}"#).unwrap();
    b.call(Operation::Delete, "data/c", "").unwrap();
    b.call(Operation::Delete, "metadata/d", "").unwrap();
    post(&b, "metadata/e", r#"{"max_versions":3}"#).unwrap();
    assert_eq!(refusal(post(&b, "data/e", r#"{"options":{"cas":0},"data":{}}"#)).0, Kind::Precondition);
    let check = || {
        let a = get(&b, "data/a").unwrap();
        assert_eq!((number(&a, "metadata/version"), at(&a, "data/is").as_str()), (2, Some("new")));
        assert_eq!(at(&get(&b, "data/a?version=1").unwrap(), "data/is").as_str(), Some("a"));
        assert_eq!(at(&get(&b, "data/b").unwrap(), "data/is").as_str(), Some("b"));
        assert_eq!(get(&b, "data/c").unwrap().status, Some(404));
        assert_eq!(refusal(get(&b, "data/d")).0, Kind::NotFound);
        assert_eq!(at(&get(&b, "data/e").unwrap(), "data/is").as_str(), Some("e"));
    };
    check();
    while batch(&b, 1) {}
    check();
}

#[test]
fn version_1_writes_nothing_once_an_upgrade_began() {
    let mut b = upgraded(&["a"]);
    batch(&b, 10);
    b.become_engine::<V1>();
    assert_eq!(refusal(post(&b, "a", r#"{"x":1}"#)).0, Kind::Unavailable);
    assert_eq!(refusal(b.call(Operation::Delete, "a", "")).0, Kind::Unavailable);
}
