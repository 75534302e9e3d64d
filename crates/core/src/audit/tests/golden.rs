//! Each line that the reference wrote, written again by us from what it shows: the same members in the same
//! order, the same values, HMACs where it has HMACs. What differs on purpose is listed here.

use super::support::*;
use crate::audit::*;
use coffer_engine::reply::{Answer, Auth};
use coffer_engine::{Credential, MountClass, Principal, Remote, TokenKind};
use coffer_types::{Error, Json, Operation, Secret, Span, Timestamp, json};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../clients/golden/vault-audit.jsonl");

#[tokio::test]
async fn every_recorded_line_is_written_again() {
    let text = std::fs::read_to_string(RECORDED).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() >= 20);
    for (n, line) in lines.into_iter().enumerate() {
        let recorded = json::parse(line.as_bytes(), &json::Limits::NONE).unwrap();
        let ours = rewrite(&recorded).await;
        let mut differences = Vec::new();
        compare(&recorded, &ours, "", &mut differences);
        assert_eq!(differences, Vec::<String>::new(), "line {}:\n{}\n{line}", n + 1, String::from_utf8_lossy(&ours.to_bytes()));
    }
}

/// Reads the call out of a recorded line and has it written.
async fn rewrite(recorded: &Json) -> Json {
    let log = Log::new();
    let broker = log.broker(&[]).await;
    let response = text(recorded, "type") == "response";
    if text(recorded, "request/path") == "sys/audit/test" {
        return last(&log);
    }
    let mut call = call(Operation::parse(text(recorded, "request/operation")).unwrap(), text(recorded, "request/path"));
    call.id = text(recorded, "request/id").into();
    call.credential = Credential::Token(Secret::from(text(recorded, "request/client_token")));
    call.fields.body = recorded.at("request/data").and_then(Json::as_object).cloned().unwrap_or_default();
    let ip = text(recorded, "request/remote_address").parse().unwrap();
    let port = u16::try_from(recorded.at("request/remote_port").and_then(Json::as_i64).unwrap()).unwrap();
    call.remote = Remote { ip: Some(ip), port, certificate: None };

    let strings = |path: &str| -> Vec<String> {
        let items = recorded.at(path).and_then(Json::as_array).unwrap_or_default();
        items.iter().map(|p| p.as_str().unwrap().to_owned()).collect()
    };
    let principal = Principal {
        entity_id: "".into(),
        display_name: text(recorded, "auth/display_name").into(),
        policies: strings("auth/policies").iter().map(|p| p.as_str().into()).collect::<Vec<Box<str>>>().into(),
        accessor: text(recorded, "auth/accessor").into(),
        kind: TokenKind::Service,
        cubbyhole: None,
        token_key: "".into(),
        root: false,
    };
    let metadata = recorded.at("auth/metadata").and_then(Json::as_object).cloned().unwrap_or_default();
    let metadata = metadata.iter().map(|(k, v)| (k.to_owned(), v.as_str().unwrap().to_owned())).collect();
    let granting: Vec<Box<str>> = recorded
        .at("auth/policy_results/granting_policies")
        .and_then(Json::as_array)
        .unwrap_or_default()
        .iter()
        .map(|p| text(p, "name").into())
        .collect();
    let token_policies = strings("auth/token_policies");
    let refused = (!text(recorded, "error").is_empty()).then(|| match text(recorded, "error") {
        "1 error occurred:\n\t* permission denied\n\n" => Error::denied(),
        _ => Error::bad_request("what the client reads"),
    });
    let entry = Entry {
        call: &call,
        operation: call.operation,
        mount: Some(MountInfo {
            point: text(recorded, "request/mount_point"),
            kind: text(recorded, "request/mount_type"),
            accessor: text(recorded, "request/mount_accessor"),
            class: if text(recorded, "request/mount_class") == "auth" { MountClass::Auth } else { MountClass::Engine },
            version: text(recorded, "request/mount_running_version"),
            clear_request: &[],
            clear_response: &[],
        }),
        token: Some(TokenInfo {
            principal: &principal,
            token_policies: &token_policies,
            identity_policies: &[],
            metadata: &metadata,
            ttl: Span::from_secs(recorded.at("auth/token_ttl").and_then(Json::as_i64).unwrap_or(0)),
            issued: Timestamp::parse_rfc3339(text(recorded, "auth/token_issue_time")).unwrap(),
            remaining_uses: None,
        }),
        decision: Some(Decision {
            allowed: recorded.at("auth/policy_results/allowed").and_then(Json::as_bool).unwrap(),
            granting: &granting,
        }),
        error: refused.as_ref().filter(|_| !response),
        plain: &[],
    };
    let opened = broker.begin(&entry).await.unwrap();
    if response {
        match recorded.at("response/data/error").map(|_| refused.unwrap_or_else(|| Error::bad_request("what the client reads"))) {
            Some(error) => broker.end(opened, Err(&error)).await.unwrap(),
            None => broker.end(opened, Ok(&answer(recorded))).await.unwrap(),
        }
    }
    last(&log)
}

fn answer(recorded: &Json) -> Answer {
    let list = |path: &str| -> Vec<String> {
        let items = recorded.at(path).and_then(Json::as_array).unwrap_or_default();
        items.iter().map(|p| p.as_str().unwrap().to_owned()).collect()
    };
    let auth = recorded.at("response/auth").map(|auth| {
        Box::new(Auth {
            client_token: Secret::from(text(auth, "client_token")),
            accessor: text(auth, "accessor").to_owned(),
            policies: list("response/auth/policies"),
            token_policies: list("response/auth/token_policies"),
            identity_policies: Vec::new(),
            metadata: None,
            lease_duration: auth.get("token_ttl").and_then(Json::as_i64).unwrap_or(0),
            renewable: true,
            entity_id: String::new(),
            kind: TokenKind::Service,
            orphan: false,
            num_uses: 0,
            display_name: text(auth, "display_name").to_owned(),
        })
    });
    Answer { auth, data: recorded.at("response/data").and_then(Json::as_object).cloned(), ..Answer::default() }
}

/// Ours may mask more below `data`; the time and, for one call, the reason are ours; the rest is the same.
fn compare(recorded: &Json, ours: &Json, at: &str, out: &mut Vec<String>) {
    match (recorded, ours) {
        (Json::Object(theirs), Json::Object(own)) => {
            let mut names: Vec<&str> = own.names().collect();
            // The reference gives no reason beside the masked text of some errors; we always do.
            if at.is_empty() && own.contains("error") && !theirs.contains("error") {
                names.retain(|n| *n != "error");
                assert!(text(recorded, "request/path").starts_with("sys/audit-hash/none"), "no other call is let off");
            }
            if names != theirs.names().collect::<Vec<_>>() {
                out.push(format!("{at}: {names:?} for {:?}", theirs.names().collect::<Vec<_>>()));
                return;
            }
            for (name, theirs) in theirs.iter() {
                compare(theirs, own.get(name).unwrap(), &format!("{at}/{name}"), out);
            }
        }
        (Json::Array(theirs), Json::Array(own)) if theirs.len() == own.len() => {
            theirs.iter().zip(own).for_each(|(theirs, own)| compare(theirs, own, at, out));
        }
        (Json::Array(_) | Json::Object(_), _) | (_, Json::Array(_) | Json::Object(_)) => out.push(format!("{at}: the shape")),
        (Json::Null, own) if own.is_null() => {}
        _ if at == "/time" => assert!(Timestamp::parse_rfc3339(ours.as_str().unwrap()).is_some()),
        // A new device's own id.
        _ if at == "/request/id" && recorded.as_str().map(str::len) == ours.as_str().map(str::len) => {}
        (theirs, own) if hashed(theirs) || at.contains("/data/") => {
            out.extend((!hashed(own)).then(|| format!("{at}: is not masked")));
        }
        (theirs, own) if theirs != own => out.push(format!("{at}: the value")),
        _ => {}
    }
}

fn hashed(value: &Json) -> bool {
    let hex = value.as_str().and_then(|s| s.strip_prefix("hmac-sha256:"));
    hex.is_some_and(|h| h.len() == 64 && h.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
}

fn text<'j>(value: &'j Json, path: &str) -> &'j str {
    value.at(path).and_then(Json::as_str).unwrap_or("")
}

fn last(log: &Log) -> Json {
    let text = log.text();
    json::parse(text.lines().next_back().unwrap().as_bytes(), &json::Limits::NONE).unwrap()
}

#[test]
fn the_comparison_sees_differences() {
    let object = |text: &str| json::parse(text.as_bytes(), &json::Limits::NONE).unwrap();
    let masked = format!("\"hmac-sha256:{}\"", "0".repeat(64));
    for (theirs, ours) in [
        (r#"{"a":1}"#.to_owned(), r#"{"a":2}"#.to_owned()),
        (r#"{"a":1,"b":2}"#.to_owned(), r#"{"b":2,"a":1}"#.to_owned()),
        (r#"{"a":{}}"#.to_owned(), r#"{"a":[]}"#.to_owned()),
        (format!("{{\"a\":{masked}}}"), r#"{"a":"clear"}"#.to_owned()),
        (r#"{"data":{"a":1}}"#.to_owned(), r#"{"data":{"a":1}}"#.to_owned()),
        (r#"{"a":[1,2]}"#.to_owned(), r#"{"a":[1]}"#.to_owned()),
    ] {
        let mut found = Vec::new();
        compare(&object(&theirs), &object(&ours), "", &mut found);
        assert_eq!(found.len(), 1, "{theirs} {ours}");
    }
}
