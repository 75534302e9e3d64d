//! Secrets planted everywhere where a call or an answer can carry one: none of them is in a line.

use super::support::*;
use crate::audit::*;
use coffer_engine::reply::{Answer, Auth, RawAnswer, WrapInfo};
use coffer_engine::{Credential, TokenKind};
use coffer_types::{Error, Json, Kind, Object, Operation, Secret};
use proptest::prelude::*;
use serde_json::Value;

/// Stands in every planted text; as digits in every planted number.
const WORD: &str = "kanari";
const DIGITS: &str = "7731904";

fn leaf() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        "[0-9]{0,3}".prop_map(|n| Json::from(format!("1{n}{DIGITS}").parse::<i64>().unwrap())),
        any::<String>().prop_map(|s| Json::from(format!("{s}{WORD}{s}"))),
        Just(Json::from("")),
    ]
}

fn value() -> impl Strategy<Value = Json> {
    leaf().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|m| Json::Object(m.into_iter().collect())),
        ]
    })
}

fn members() -> impl Strategy<Value = Object> {
    prop::collection::vec((any::<String>(), value()), 0..5).prop_map(|m| m.into_iter().collect())
}

/// What becomes of a call. `Answer` itself can't be printed.
#[derive(Clone, Debug)]
enum Fate {
    Data(Object),
    Auth,
    Wrap,
    Raw,
    Error(Kind),
}

fn fate() -> impl Strategy<Value = Fate> {
    let kinds = vec![Kind::BadRequest, Kind::Denied, Kind::NotFound, Kind::Upstream, Kind::Internal];
    prop_oneof![
        members().prop_map(Fate::Data),
        Just(Fate::Auth),
        Just(Fate::Wrap),
        Just(Fate::Raw),
        prop::sample::select(kinds).prop_map(Fate::Error),
    ]
}

fn outcome(fate: Fate) -> Result<Answer, Error> {
    let secret = || Secret::from(WORD);
    let answer = Answer::default();
    Ok(match fate {
        Fate::Data(data) => Answer { data: Some(data), ..answer },
        Fate::Auth => {
            let auth = Auth {
                client_token: secret(),
                accessor: WORD.to_owned(),
                policies: vec!["p".to_owned()],
                token_policies: Vec::new(),
                identity_policies: Vec::new(),
                metadata: None,
                lease_duration: 60,
                renewable: false,
                entity_id: String::new(),
                kind: TokenKind::Batch,
                orphan: true,
                num_uses: 3,
                display_name: "d".to_owned(),
            };
            Answer { auth: Some(Box::new(auth)), ..answer }
        }
        Fate::Wrap => {
            let wrap = WrapInfo {
                token: secret(),
                accessor: WORD.to_owned(),
                ttl: 60,
                creation_time: "2026-11-23T03:15:58Z".to_owned(),
                creation_path: "secret/data/a".to_owned(),
                wrapped_accessor: WORD.to_owned(),
            };
            Answer { wrap: Some(wrap), ..answer }
        }
        Fate::Raw => {
            let raw = RawAnswer { content_type: "text/plain", body: format!("{WORD} {DIGITS}").into_bytes() };
            Answer { raw: Some(raw), ..answer }
        }
        Fate::Error(kind) => return Err(Error::new(kind, format!("{WORD} was {DIGITS}")).with_cause(WORD)),
    })
}

/// Every leaf below `value` is null or an HMAC.
fn masked(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.len() == 76 && text.starts_with("hmac-sha256:"),
        Value::Array(items) => items.iter().all(masked),
        Value::Object(members) => members.values().all(masked),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_planted_secret_is_in_a_line(
        body in members(),
        query in prop::collection::btree_map("[a-z]{1,8}", any::<String>().prop_map(|s| format!("{s}{WORD}")), 0..3),
        raw in prop::option::of(Just(format!("{WORD}{DIGITS}").into_bytes())),
        operation in prop::sample::select(Operation::ALL.to_vec()),
        fate in fate(),
        wrong_token in any::<bool>(),
    ) {
        let outcome = outcome(fate);
        let log = Log::new();
        let texts = in_runtime(async {
            let broker = log.broker(&[("elide_list_responses", "true")]).await;
            broker.set_headers([("authorization".into(), true)].into());
            let mut call = call(operation, "secret/data/a");
            call.credential = Credential::Token(Secret::from(format!("hvs.{WORD}")));
            call.fields.body = body;
            call.fields.query = query.iter().map(|(k, v)| (k.as_str().into(), v.as_str().into())).collect();
            call.fields.raw = raw;
            call.headers = vec![("authorization".into(), WORD.into()), ("cookie".into(), WORD.into())];
            let mut entry = entry(&call);
            if wrong_token {
                entry.token = None;
                entry.decision = Some(Decision { allowed: false, granting: &[] });
            }
            entry.error = outcome.as_ref().err();
            let opened = broker.begin(&entry).await.unwrap();
            broker.end(opened, outcome.as_ref()).await.unwrap();
            log.text()
        });
        // Names are shown; the generator may make one that holds the word only by a miracle.
        prop_assert!(!texts.contains(WORD));
        prop_assert!(!texts.contains(DIGITS));
        let lines = log.lines();
        prop_assert_eq!(lines.len(), 3);
        for line in &lines {
            prop_assert!(line["request"].get("data").is_none_or(masked));
            let mut data = line["response"]["data"].clone();
            if let Some(members) = data.as_object_mut() {
                // Raw answers and counts of lists are ours to say.
                for name in ["http_content_type", "http_status_code", "keys", "key_info"] {
                    members.remove(name);
                }
            }
            prop_assert!(masked(&data), "{data}");
        }
    }

    /// Whatever stands in the members that are shown as they are.
    #[test]
    fn a_line_is_one_line_of_json(
        texts in prop::collection::vec(any::<String>(), 8),
        odd in prop::sample::select(vec!["\u{0}", "\n", "\r", "\u{85}", "\u{2028}", "\u{2029}", "\u{1b}[2J", "\u{9b}", "\"", "\\", "\u{fffd}", "\u{10ffff}"]),
    ) {
        let log = Log::new();
        let with = |n: usize| format!("{}{odd}{}", texts[n], texts[n]);
        in_runtime(async {
            let broker = log.broker(&[]).await;
            broker.set_headers([(with(0).into(), false)].into());
            let mut call = call(Operation::Update, "secret/data/a\u{2028}\u{202e}");
            call.id = with(1).into();
            call.verb = Some(with(2).into());
            call.headers = vec![(with(0).to_ascii_lowercase().into(), with(3).into())];
            call.fields.body.insert(with(4), with(5));
            let granting: [Box<str>; 1] = [with(6).into()];
            let metadata = [(with(6), with(7))].into();
            let mut entry = entry(&call);
            entry.decision = Some(Decision { allowed: true, granting: &granting });
            entry.token = entry.token.map(|t| TokenInfo { metadata: &metadata, ..t });
            let opened = broker.begin(&entry).await.unwrap();
            let answer = Answer { warnings: vec![with(7)], ..Answer::default() };
            broker.end(opened, Ok(&answer)).await.unwrap();
        });
        let breaks = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{2028}' | '\u{2029}');
        prop_assert!(!log.text().contains(breaks));
        let lines = log.lines();
        prop_assert_eq!(lines.len(), 3);
        prop_assert_eq!(&lines[1]["request"]["verb"], &Value::from(with(2)));
        prop_assert_eq!(&lines[2]["auth"]["metadata"][with(6)], &Value::from(with(7)));
        prop_assert_eq!(&lines[2]["response"]["warnings"][0], &Value::from(with(7)));
    }
}
