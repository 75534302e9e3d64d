//! Every recorded call of Vault's API: each request becomes a call, or the refusal that was recorded, and each
//! reply, taken apart into an answer, is rendered as it was.

use coffer_dialects::vault::{BodyLimits, DecodeContext, Refusal, Rendering, decode, encode};
use coffer_engine::reply::{Answer, Auth, Leased, WrapInfo};
use coffer_engine::{Remote, TokenKind};
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Kind, Object, Secret};
use http::{Method, Request};
use serde_json::Value;
use std::sync::Arc;

const ENVELOPE: [&str; 8] = ["request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth"];

fn records() -> Vec<Value> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/golden/vault-http.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Names in double braces stand for what an earlier reply gave.
fn fill(text: &str) -> String {
    text.replace("{{", "x").replace("}}", "x").replace(' ', "%20")
}

#[test]
fn requests_become_calls_or_the_recorded_refusal() {
    let (mut calls, mut refusals) = (0, 0);
    for record in records() {
        let what = format!("#{} {} {}", record["seq"], record["method"], record["path"]);
        let mut request =
            Request::builder().method(record["method"].as_str().unwrap()).uri(fill(record["path"].as_str().unwrap()));
        for (name, value) in record["request_headers"].as_object().unwrap() {
            request = request.header(name, value.as_str().unwrap());
        }
        let body = match &record["request_body"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let parts = request.body(()).unwrap().into_parts().0;
        let remote = Remote { ip: None, port: 0, certificate: None };
        let cx = DecodeContext { id: "0".into(), remote, listener: Arc::default(), limits: &BodyLimits::default() };
        match decode(&parts, body.as_bytes(), cx) {
            Ok(_) => {
                calls += 1;
                assert_ne!(record["status"], 307, "{what}");
            }
            Err(refusal) => {
                refusals += 1;
                let redirect = matches!(refusal, Refusal::Redirect { .. });
                let response = refusal.into_response(&parts.method);
                assert_eq!(record["status"], response.status().as_u16(), "{what}");
                assert_eq!(response.headers()["cache-control"], "no-store");
                if let Some(location) = record["response_headers"]["location"].as_str() {
                    assert_eq!(response.headers()["location"], location, "{what}");
                    assert_eq!(record["response"].as_str().unwrap().as_bytes(), response.body().as_ref());
                }
                assert_eq!(redirect, record["status"] == 307, "{what}");
            }
        }
    }
    assert!(calls > 650 && refusals >= 12, "{calls} {refusals}");
}

fn ours(value: &Value) -> Json {
    parse(value.to_string().as_bytes(), &Limits::NONE).unwrap()
}

fn object(value: &Value) -> Option<Object> {
    ours(value).into_object()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn auth(value: &Value) -> Option<Box<Auth>> {
    value.as_object()?;
    let metadata = value["metadata"].as_object().map(|m| m.iter().map(|(k, v)| (k.clone(), text(v))).collect());
    Some(Box::new(Auth {
        client_token: Secret::new(text(&value["client_token"])),
        accessor: text(&value["accessor"]),
        policies: texts(&value["policies"]),
        token_policies: texts(&value["token_policies"]),
        identity_policies: texts(&value["identity_policies"]),
        metadata,
        lease_duration: value["lease_duration"].as_i64().unwrap(),
        renewable: value["renewable"].as_bool().unwrap(),
        entity_id: text(&value["entity_id"]),
        kind: if value["token_type"] == "batch" { TokenKind::Batch } else { TokenKind::Service },
        orphan: value["orphan"].as_bool().unwrap(),
        num_uses: value["num_uses"].as_u64().unwrap(),
        display_name: String::new(),
    }))
}

fn wrap(value: &Value) -> Option<WrapInfo> {
    value.as_object()?;
    Some(WrapInfo {
        token: Secret::new(text(&value["token"])),
        accessor: text(&value["accessor"]),
        ttl: value["ttl"].as_i64().unwrap(),
        creation_time: text(&value["creation_time"]),
        creation_path: text(&value["creation_path"]),
        wrapped_accessor: text(&value["wrapped_accessor"]),
    })
}

fn kind(status: u64) -> Option<Kind> {
    [
        Kind::BadRequest,
        Kind::Denied,
        Kind::NotFound,
        Kind::Unsupported,
        Kind::TooMany,
        Kind::Sealed,
        Kind::NotImplemented,
        Kind::Upstream,
        Kind::Internal,
    ]
    .into_iter()
    .find(|kind| u64::from(coffer_dialects::vault::status(*kind).as_u16()) == status)
}

#[test]
fn answers_are_rendered_as_recorded() {
    let (mut envelopes, mut bare, mut errors, mut empty) = (0, 0, 0, 0);
    for record in records() {
        let what = format!("#{} {} {}", record["seq"], record["method"], record["path"]);
        let recorded = &record["response"];
        let status = record["status"].as_u64().unwrap();
        let id = text(&recorded["request_id"]);
        let head = record["method"] == Method::HEAD.as_str();
        let mut answer = Answer { status: Some(u16::try_from(status).unwrap()), ..Answer::default() };
        let result = if let Some(members) = recorded.as_object() {
            if members.contains_key("wrap_info") {
                envelopes += 1;
                answer.data = object(&recorded["data"]);
                answer.mirrored = members.len() > ENVELOPE.len();
                if answer.mirrored && members.keys().any(|k| !ENVELOPE.contains(&&**k) && recorded["data"].get(k).is_none()) {
                    continue; // One reply of the reference has more on top than in its data.
                }
                answer.warnings = texts(&recorded["warnings"]);
                answer.auth = auth(&recorded["auth"]);
                answer.wrap = wrap(&recorded["wrap_info"]);
                answer.leased = Some(Leased {
                    id: text(&recorded["lease_id"]),
                    seconds: recorded["lease_duration"].as_i64().unwrap(),
                    renewable: recorded["renewable"].as_bool().unwrap(),
                });
                Ok(answer)
            } else if members.contains_key("errors") {
                errors += 1;
                let kind = kind(status).unwrap_or_else(|| panic!("{what}: no kind for {status}"));
                Err(Error::new(kind, recorded["errors"].get(0).map(text).unwrap_or_default()))
            } else {
                bare += 1;
                answer.data = object(recorded);
                answer.bare = true;
                Ok(answer)
            }
        } else if status == 204 {
            empty += 1;
            Ok(Answer::default())
        } else {
            continue;
        };
        let response = encode(result, Rendering { id: &id, head });
        assert_eq!(u64::from(response.status().as_u16()), status, "{what}");
        if status == 204 || head {
            assert!(response.body().is_empty(), "{what}");
        } else {
            let rendered: Value = serde_json::from_slice(response.body()).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(&rendered, recorded, "{what}");
            assert_eq!(
                record["response_headers"]["content-type"],
                response.headers()["content-type"].to_str().unwrap(),
                "{what}"
            );
        }
    }
    assert!(envelopes > 250 && bare > 20 && errors > 100 && empty > 50, "{envelopes} {bare} {errors} {empty}");
}
