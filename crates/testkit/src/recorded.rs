//! Replays recorded calls of the reference in process, and compares as `clients/replay_http.py` does on the wire: status,
//! every recorded field, its type, and its value where two recordings agreed.

use crate::{Replied, Server};
use coffer_types::Json;
use coffer_types::json::{Limits, parse};
use std::collections::BTreeMap;

/// One call that came out otherwise than recorded.
#[derive(Debug)]
pub struct Difference {
    pub group: String,
    pub call: String,
    pub what: Vec<String>,
}

/// What came of a replay.
#[derive(Default, Debug)]
pub struct Outcome {
    pub passed: usize,
    pub differences: Vec<Difference>,
}

/// Replays the groups of a recording, in order; later calls use what earlier replies gave.
///
/// # Panics
/// If the recording does not read.
#[allow(clippy::expect_used, reason = "a test's own recording")]
pub async fn replay(server: &Server, recording: &str, groups: &[&str], work: &str) -> Outcome {
    let mut names: BTreeMap<String, Json> = BTreeMap::new();
    names.insert("work".to_owned(), Json::from(work));
    let mut outcome = Outcome::default();
    for line in recording.lines() {
        let record = parse(line.as_bytes(), &Limits::NONE).expect("a recorded call");
        let text = |name: &str| record.get(name).and_then(Json::as_str).unwrap_or_default();
        if !groups.contains(&text("group")) || !have_all(&record) {
            continue;
        }
        let path = fill_text(text("path"), &names).replace(' ', "%20");
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in record.get("request_headers").and_then(Json::as_object).into_iter().flat_map(|o| o.iter()) {
            headers.push((name.to_owned(), fill_text(value.as_str().unwrap_or_default(), &names)));
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let body = match record.get("request_body") {
            None | Some(Json::Null) => String::new(),
            Some(Json::String(text)) => fill_text(text.as_str(), &names),
            Some(other) => String::from_utf8(fill(other, &names).to_bytes().to_vec()).expect("JSON is UTF-8"),
        };
        let replied = server.request(text("method"), &path, &headers, body.as_bytes()).await;
        // Later calls name this mount, which no reply was marked to be kept for.
        if let Some(accessor) = replied.body.get("userpass/").and_then(|m| m.get("accessor")) {
            names.insert("upacc".to_owned(), accessor.clone());
        }
        let mut what = Vec::new();
        compare(&record, &replied, &mut what);
        for (name, place) in record.get("save").and_then(Json::as_object).into_iter().flat_map(|o| o.iter()) {
            match place.as_str().and_then(|p| replied.body.at(p.trim_start_matches('/'))) {
                Some(value) => {
                    names.insert(name.to_owned(), value.clone());
                }
                None => what.push(format!("no {name} to go on with")),
            }
        }
        if what.is_empty() {
            outcome.passed += 1;
        } else {
            let seq = record.get("seq").and_then(Json::as_i64).unwrap_or_default();
            let call = format!("#{seq} {} {path}", text("method"));
            outcome.differences.push(Difference { group: text("group").to_owned(), call, what });
        }
    }
    outcome
}

/// Which of what a recorded call needs beyond this server's engines is there.
fn have_all(record: &Json) -> bool {
    let needs = record.get("needs").and_then(Json::as_array).unwrap_or_default();
    needs.iter().all(|n| matches!(n.as_str(), Some("identity" | "userpass" | "approle")))
}

fn compare(record: &Json, replied: &Replied, what: &mut Vec<String>) {
    let status = |name: &str| record.get(name).and_then(Json::as_i64);
    let got = i64::from(replied.status);
    if status("status") != Some(got) && status("hashicorp_status") != Some(got) {
        what.push(format!("status {:?} expected, {got}: {:.160}", status("status").unwrap_or_default(), replied.text));
        return;
    }
    if status("status") != Some(got) {
        return;
    }
    let loose: Vec<&str> =
        record.get("volatile").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str).collect();
    if let Some(want @ Json::Object(_)) = record.get("response") {
        differ(want, &replied.body, "", &loose, what);
    }
}

fn differ(want: &Json, got: &Json, path: &str, loose: &[&str], what: &mut Vec<String>) {
    let here = if path.is_empty() { "/" } else { path };
    let below = format!("{path}/*");
    if want.kind() != got.kind() {
        if !loose.contains(&here) {
            what.push(format!("{here}: {} expected, {} found", want.kind(), got.kind()));
        }
        return;
    }
    match (want, got) {
        (Json::Object(want), Json::Object(got)) => {
            if loose.contains(&below.as_str()) {
                return;
            }
            for (name, value) in want.iter() {
                let step = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                match got.get(name) {
                    None => what.push(format!("{step}: missing")),
                    Some(found) => differ(value, found, &step, loose, what),
                }
            }
        }
        (Json::Array(want), Json::Array(got)) => {
            if loose.contains(&below.as_str()) || loose.contains(&here) || path == "/errors" || path == "/warnings" {
                return;
            }
            if want.len() != got.len() {
                what.push(format!("{here}: {} items expected, {} found", want.len(), got.len()));
                return;
            }
            for (n, (a, b)) in want.iter().zip(got).enumerate() {
                differ(a, b, &format!("{path}/{n}"), loose, what);
            }
        }
        (Json::Number(a), Json::Number(b)) if near(a.as_str(), b.as_str(), path) => {}
        _ if want != got && !loose.contains(&here) => {
            let show = |j: &Json| String::from_utf8_lossy(&j.to_bytes()).into_owned();
            what.push(format!("{here}: {:.100} expected, {:.100} found", show(want), show(got)));
        }
        _ => {}
    }
}

/// Seconds that pass while a call runs, and a number that the reference has put through a float.
fn near(want: &str, got: &str, path: &str) -> bool {
    let (Ok(want), Ok(got)) = (want.parse::<f64>(), got.parse::<f64>()) else { return false };
    let time = path.ends_with("ttl") || path.ends_with("_duration");
    want.to_bits() == got.to_bits() || time && (want - got).abs() <= 5.0
}

fn fill_text(text: &str, names: &BTreeMap<String, Json>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        match after.split_once("}}") {
            Some((name, tail)) => {
                match names.get(name) {
                    Some(Json::String(value) | Json::Number(value)) => out.push_str(value.as_str()),
                    _ => out.push_str(&format!("{{{{{name}}}}}")),
                }
                rest = tail;
            }
            None => {
                out.push_str("{{");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn fill(value: &Json, names: &BTreeMap<String, Json>) -> Json {
    match value {
        Json::String(text) => {
            let whole = text.as_str().strip_prefix("{{").and_then(|t| t.strip_suffix("}}")).and_then(|name| names.get(name));
            whole.cloned().unwrap_or_else(|| Json::from(fill_text(text.as_str(), names)))
        }
        Json::Array(items) => Json::Array(items.iter().map(|item| fill(item, names)).collect()),
        Json::Object(object) => Json::Object(object.iter().map(|(name, value)| (name, fill(value, names))).collect()),
        other => other.clone(),
    }
}
