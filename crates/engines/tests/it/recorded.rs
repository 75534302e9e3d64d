//! Replays recorded calls (clients/golden/vault-http.jsonl) of the groups kv1, kv2 and cubbyhole through the engines
//! alone, and a thousand random calls on KV mounts that were put to the reference (OpenBao 2.7.2) the same way
//! (clients/golden/vault-kv-random.jsonl: names that are also folders, wrong types, stale check-and-sets, pruning). What a server answers before or after an engine (policies, redirects, malformed JSON, media types, help)
//! is left to the replay against a whole server.

use coffer_engine::call::Fields;
use coffer_engine::testing::{Bench, Failed, service_principal};
use coffer_engine::{Answer, Engine};
use coffer_engines::cubbyhole::Cubbyhole;
use coffer_engines::kv::{V1, V2};
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Kind, Operation, Span};

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/golden/vault-http.jsonl");
const RANDOM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/golden/vault-kv-random.jsonl");

#[test]
fn kv_version_1() {
    replay::<V1>(RECORDING, "kv1", "kv1/", 16);
}

#[test]
fn kv_version_2() {
    replay::<V2>(RECORDING, "kv2", "secret/", 71);
}

#[test]
fn random_calls() {
    replay::<V1>(RANDOM, "kv1", "kv1/", 150);
    replay::<V2>(RANDOM, "kv2", "secret/", 700);
}

#[test]
fn cubbyhole() {
    replay::<Cubbyhole>(RECORDING, "cubbyhole", "cubbyhole/", 7);
}

/// `at_least` keeps the test from passing because nothing was replayed.
fn replay<E: Engine>(recording: &str, group: &str, mount: &str, at_least: usize) {
    let recording = std::fs::read_to_string(recording).unwrap();
    let mut bench = Bench::new::<E>(mount, &[]);
    let mut played = 0;
    let mut wrong = Vec::new();
    for line in recording.lines() {
        let record = parse(line.as_bytes(), &Limits::NONE).unwrap();
        let text = |name: &str| record.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let path = text("path");
        let Some(path) = path.strip_prefix(&format!("/v1/{}", mount.trim_end_matches('/'))) else { continue };
        if text("group") != group || not_an_engines(&record) {
            continue;
        }
        played += 1;
        bench.pass(Span(7_000_001));
        bench.principal = Some(match record.at("request_headers/X-Vault-Token").and_then(Json::as_str) {
            Some("{{t1}}") => service_principal("cubby-t1"),
            Some("{{tb}}") => {
                let mut batch = service_principal("");
                batch.cubbyhole = None;
                batch
            }
            _ => service_principal("cubby-root"),
        });
        let path = decoded(path.trim_start_matches('/'));
        let (operation, path) = operation(&text("method"), &path);
        let body = record.get("request_body").and_then(|b| b.clone().into_object()).unwrap_or_default();
        let answer = bench.send(operation, &path, Fields { body, ..Fields::default() });
        for fault in differences(&record, answer) {
            wrong.push(format!("#{} {} {path}: {fault}", record.get("seq").and_then(Json::as_i64).unwrap(), text("method")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(played >= at_least, "{played} calls of {group} were replayed, at least {at_least} expected");
}

/// Calls that another layer answers.
fn not_an_engines(record: &Json) -> bool {
    let text = |name: &str| record.get(name).and_then(Json::as_str).unwrap_or_default();
    let (method, path) = (text("method"), text("path"));
    let status = record.get("status").and_then(Json::as_i64).unwrap();
    let malformed = !text("request_body").is_empty();
    let no_media_type = method == "PATCH" && record.at("request_headers/Content-Type").is_none();
    matches!(status, 403 | 307)
        || malformed
        || no_media_type
        || method == "OPTIONS"
        || path.contains("help=1")
        || path.contains("/sys/")
}

fn operation(method: &str, path: &str) -> (Operation, String) {
    let operation = match method {
        "GET" => Operation::Read,
        "LIST" => Operation::List,
        "SCAN" => Operation::Scan,
        "PATCH" => Operation::Patch,
        "DELETE" => Operation::Delete,
        "POST" | "PUT" => Operation::Update,
        other => panic!("{other}"),
    };
    match path.split_once("?list=true") {
        Some((path, rest)) => (Operation::List, format!("{path}?{rest}")),
        None => (operation, path.to_owned()),
    }
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn differences(record: &Json, answer: Result<Answer, Failed>) -> Vec<String> {
    let status = record.get("status").and_then(Json::as_i64).unwrap();
    let got = match &answer {
        Ok(answer) => i64::from(answer.status.unwrap_or(if answer.data.is_some() { 200 } else { 204 })),
        Err(failed) => match failed.kind {
            Kind::BadRequest | Kind::Precondition => 400,
            Kind::NotFound => 404,
            Kind::Unsupported => 405,
            other => panic!("{other:?}: {}", failed.public),
        },
    };
    if status != got {
        return vec![format!("status {status} expected, {got} found: {:?}", answer.err())];
    }
    let mut faults = Vec::new();
    let response = record.get("response").unwrap();
    let volatile: Vec<&str> = record.get("volatile").and_then(Json::as_array).unwrap().iter().filter_map(Json::as_str).collect();
    match answer {
        Ok(answer) => {
            let data = answer.data.map_or(Json::Null, Json::Object);
            if let Some(want) = response.get("data") {
                compare(want, &data, "/data", &volatile, &mut faults);
            }
            let warned = response.get("warnings").is_some_and(|w| !w.is_null());
            if warned == answer.warnings.is_empty() {
                faults.push(format!("warnings: {:?}", answer.warnings));
            }
            let lease = answer.leased.map_or(0, |l| l.seconds);
            if response.get("lease_duration").and_then(Json::as_i64).is_some_and(|want| want != lease) {
                faults.push(format!("lease_duration {lease}"));
            }
        }
        // A miss says nothing; every other refusal says something.
        Err(failed) => {
            let said = response.get("errors").and_then(Json::as_array).is_some_and(|e| !e.is_empty());
            if said == failed.public.is_empty() {
                faults.push(format!("error {:?}", failed.public));
            }
        }
    }
    faults
}

/// Every recorded field is there, of the recorded type, with the recorded value where it does not vary.
fn compare(want: &Json, got: &Json, at: &str, volatile: &[&str], faults: &mut Vec<String>) {
    match (want, got) {
        (Json::Object(want), Json::Object(got)) => {
            for (name, want) in want.iter() {
                let at = format!("{at}/{name}");
                match got.get(name) {
                    Some(got) => compare(want, got, &at, volatile, faults),
                    None => faults.push(format!("{at} is missing")),
                }
            }
        }
        (Json::Array(want), Json::Array(got)) if want.len() == got.len() => {
            for (n, (want, got)) in want.iter().zip(got).enumerate() {
                compare(want, got, &format!("{at}/{n}"), volatile, faults);
            }
        }
        _ if want.kind() != got.kind() => faults.push(format!("{at}: {} expected, {} found", want.kind(), got.kind())),
        _ if want == got || volatile.contains(&at) => {}
        _ => faults.push(format!("{at} differs: {:?} {:?}", want.as_str(), got.as_str())),
    }
}
