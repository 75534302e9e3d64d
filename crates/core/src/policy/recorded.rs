//! The decider against what a reference server answered (`vectors/policy`, recorded by `clients/record_policies.py`).

use std::sync::Arc;

use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Operation, Span, Timestamp};

use super::{Ask, Compiled, NoParameters, Policy, Reason, compile};

/// Calls `check` for each recorded set of policies.
fn for_sets(file: &str, mut check: impl FnMut(&Compiled, &Json)) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/policy").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut sets = 0;
    for line in text.lines() {
        let set = parse(line.as_bytes(), &Limits::NONE).expect("JSON");
        let policies = set.get("policies").and_then(Json::as_array).expect("a list");
        let policies: Vec<Arc<Policy>> = (0..)
            .zip(policies)
            .map(|(i, text)| Arc::new(Policy::parse(&format!("p{i}"), text.as_str().expect("text")).expect("reads")))
            .collect();
        check(&compile(&policies, &(), Timestamp::NEVER).expect("no root among them"), &set);
        sets += 1;
    }
    assert!(sets > 100, "only {sets} sets in {file}");
}

fn show(set: &Json) -> String {
    let policies = set.get("policies").and_then(Json::as_array).expect("a list");
    policies.iter().map(|text| format!("--\n{}", text.as_str().unwrap_or_default())).collect()
}

fn text(json: &Json) -> &str {
    json.as_str().expect("text")
}

#[test]
fn capabilities() {
    for_sets("capabilities.jsonl", |compiled, set| {
        for (path, words) in set.get("capabilities").and_then(Json::as_object).expect("an object").iter() {
            let mut words: Vec<&str> = words.as_array().expect("a list").iter().map(text).collect();
            words.sort_unstable();
            assert_eq!(compiled.capabilities(path), words, "{path} {}", show(set));
        }
    });
}

#[test]
fn operations() {
    for_sets("operations.jsonl", |compiled, set| {
        for ask in set.get("asks").and_then(Json::as_array).expect("a list") {
            let [operation, path, allowed] = ask.as_array().expect("a list") else { panic!("three values") };
            let operation = Operation::parse(text(operation)).expect("known");
            let verdict =
                compiled.decide(&Ask { operation, path: text(path), parameters: &NoParameters, wrap_ttl: None, sudo: false });
            assert_eq!(Some(verdict.allowed), allowed.as_bool(), "{operation} {} {}", text(path), show(set));
        }
    });
}

/// Fields, wrapping and pages. We may refuse what the reference lets pass for one reason only: a denied value that came in
/// another JSON type. We may let pass what it refuses for one only: it never finds a number in a list of allowed values.
#[test]
fn constraints() {
    let (mut asks, mut stricter, mut laxer) = (0, 0, 0);
    for_sets("constraints.jsonl", |compiled, set| {
        for ask in set.get("asks").and_then(Json::as_array).expect("a list") {
            let [operation, path, fields, wrap, allowed] = ask.as_array().expect("a list") else { panic!("five values") };
            let operation = Operation::parse(text(operation)).expect("known");
            let fields = fields.as_object().expect("an object");
            let wrap_ttl = wrap.as_i64().map(Span::from_secs);
            let verdict = compiled.decide(&Ask { operation, path: text(path), parameters: fields, wrap_ttl, sudo: false });
            asks += 1;
            let names: Vec<String> =
                fields.iter().map(|(k, v)| format!("{k}={}", String::from_utf8_lossy(&v.to_bytes()))).collect();
            let context = || format!("{operation} {names:?} wrap {wrap_ttl:?}: {:?} {}", verdict.reason, show(set));
            match (verdict.allowed, allowed.as_bool().expect("a boolean")) {
                (true, false) => {
                    let number = fields.iter().any(|(_, value)| matches!(value, Json::Number(_)));
                    assert!(number, "{}", context());
                    laxer += 1;
                }
                (false, true) => {
                    assert!(matches!(verdict.reason, Reason::DeniedParameter(_)), "{}", context());
                    stricter += 1;
                }
                _ => {}
            }
        }
    });
    assert!(stricter + laxer < asks / 20, "{stricter} stricter and {laxer} laxer of {asks}");
}
