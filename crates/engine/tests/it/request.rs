//! Typed requests: where fields come from, what they take, what is said when they do not.

use coffer_engine::testing::{Bench, object, text};
use coffer_engine::{Ctx, Declare, Engine, FieldKind, Fields, Mount, Reply, Request, Response, Source};
use coffer_types::{Kind, Name, Object, Operation, Result, Secret, Span};
use std::collections::BTreeMap;

struct Shop;

impl Engine for Shop {
    const KIND: &'static str = "shop";
    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }
    fn declare(d: &mut Declare<Self>) {
        d.at("order/{id}").write(order).read(look);
        d.at("free/{id}").write(free);
    }
}

/// Order things.
///
/// More words, that are not the one line of help.
#[derive(Request)]
struct Order {
    /// Which order.
    #[field(path)]
    id: Name,
    /// How many.
    count: i64,
    /// Rush it.
    #[field(default)]
    rush: bool,
    #[field(default = Span::from_secs(60))]
    within: Span,
    #[field(rename = "type")]
    kind: Option<String>,
    #[field(query)]
    dry: Option<bool>,
    code: Option<Secret<String>>,
    tags: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    extra: Option<Object>,
    small: Option<u8>,
}

#[derive(Response)]
struct Ordered {
    id: String,
    count: i64,
    rush: bool,
    within: Span,
    #[field(rename = "type")]
    kind: Option<String>,
    dry: Option<bool>,
    code: Option<Secret<String>>,
    tags: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
    extra: Option<Object>,
    small: Option<u8>,
}

async fn order(_: Ctx<Shop>, q: Order) -> Result<Reply<Ordered>> {
    Ok(Reply::data(Ordered {
        id: q.id.to_string(),
        count: q.count,
        rush: q.rush,
        within: q.within,
        kind: q.kind,
        dry: q.dry,
        code: q.code,
        tags: q.tags,
        labels: q.labels,
        extra: q.extra,
        small: q.small,
    }))
}

/// Look at an order.
#[derive(Request)]
struct Look {
    #[field(path)]
    id: String,
    /// How deep.
    #[field(query)]
    depth: Option<i64>,
}

async fn look(_: Ctx<Shop>, q: Look) -> Result<Reply> {
    Ok(Reply::data(Object::new().with("id", q.id).with("depth", q.depth)))
}

/// Keep what comes.
#[derive(Request)]
struct Free {
    #[field(path)]
    id: String,
    #[field(rest)]
    all: Object,
}

async fn free(_: Ctx<Shop>, q: Free) -> Result<Reply> {
    Ok(Reply::data(Object::new().with("id", q.id).with("all", q.all)))
}

fn bench() -> Bench {
    Bench::new::<Shop>("shop/", &[])
}

fn update(path: &str, body: &str) -> String {
    bench().call(Operation::Update, path, body).map_or_else(|failed| failed.public, |answer| text(&answer))
}

#[test]
fn reads_leniently_and_fills_in() {
    assert_eq!(
        update("order/a-1", r#"{"count":"3"}"#),
        r#"{"id":"a-1","count":3,"rush":false,"within":60,"type":null,"dry":null,"code":null,"tags":null,"labels":null,"extra":null,"small":null}"#
    );
    let body = r#"{"count":3.0,"rush":"true","within":"1h","type":"x","code":"s","tags":"a, b","labels":["k=v"],"extra":{"n":1.10},"small":255}"#;
    assert_eq!(
        update("order/a-1?dry=1", body),
        r#"{"id":"a-1","count":3,"rush":true,"within":3600,"type":"x","dry":true,"code":"s","tags":["a","b"],"labels":{"k":"v"},"extra":{"n":1.10},"small":255}"#
    );
}

#[test]
fn null_is_absence_where_absence_is_allowed() {
    let b = bench();
    let answer = b.call(Operation::Update, "order/a", r#"{"count":1,"type":null,"extra":null}"#).unwrap();
    assert!(answer.data.unwrap().get("type").unwrap().is_null());
    // hvac sends null for every parameter that its caller did not give.
    assert_eq!(
        update("order/a", r#"{"count":1,"rush":null,"within":null,"tags":null,"labels":null,"small":null,"code":null}"#),
        update("order/a", r#"{"count":1}"#)
    );
}

#[test]
fn errors_name_the_field_and_never_the_value() {
    for (path, body, says) in [
        ("order/a", "{}", "missing required field \"count\""),
        ("order/a", r#"{"count":"canary"}"#, "field \"count\": cannot parse value as 'int'"),
        ("order/a", r#"{"count":[]}"#, "field \"count\": expected type 'int'"),
        ("order/a", r#"{"count":null}"#, "field \"count\""),
        ("order/a", r#"{"count":1.5}"#, "field \"count\""),
        ("order/a", r#"{"count":1,"rush":"canary"}"#, "field \"rush\""),
        ("order/a", r#"{"count":1,"within":"canar"}"#, "field \"within\""),
        ("order/a", r#"{"count":1,"type":{}}"#, "field \"type\": expected type 'string'"),
        ("order/a", r#"{"count":1,"code":["canary"]}"#, "field \"code\""),
        ("order/a", r#"{"count":1,"tags":{}}"#, "field \"tags\""),
        ("order/a", r#"{"count":1,"labels":["canary"]}"#, "field \"labels\""),
        ("order/a", r#"{"count":1,"extra":"canary"}"#, "field \"extra\": expected type 'map[string]interface {}'"),
        ("order/a", r#"{"count":1,"small":256}"#, "field \"small\": the number is out of range"),
        ("order/a", r#"{"count":1,"small":-1}"#, "field \"small\": the number is out of range"),
        ("order/a?dry=canary", r#"{"count":1}"#, "field \"dry\""),
        ("order/-bad-", r#"{"count":1}"#, "field \"id\""),
    ] {
        let failed = bench().call(Operation::Update, path, body).err().expect(body);
        assert_eq!(failed.kind, Kind::BadRequest, "{body}");
        assert!(failed.public.contains(says), "{body}: {}", failed.public);
        assert!(!failed.public.contains("canary"), "{}", failed.public);
    }
}

#[test]
fn the_path_wins_and_clients_are_told() {
    let b = bench();
    let answer = b.call(Operation::Update, "order/mine", r#"{"count":1,"id":"other"}"#).unwrap();
    assert_eq!(answer.data.as_ref().unwrap().get("id").unwrap().as_str(), Some("mine"));
    assert_eq!(
        answer.warnings,
        ["Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [id]"]
    );
}

#[test]
fn unknown_fields_are_named_but_for_those_of_the_same_path() {
    let b = bench();
    let body = r#"{"count":1,"zebra":1,"apple":2,"depth":3}"#;
    let answer = b.call(Operation::Update, "order/a?apple=1&pear=2", body).unwrap();
    assert_eq!(answer.warnings, ["Endpoint ignored these unrecognized parameters: [apple pear zebra]"]);
    let answer = b.call(Operation::Read, "order/a?count=1&depth=2", "").unwrap();
    assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
    assert_eq!(text(&answer), r#"{"id":"a","depth":2}"#);
}

#[test]
fn body_and_query_stand_in_for_one_another() {
    assert!(update("order/a?count=7", "{}").contains("\"count\":7"));
    assert!(update("order/a?count=7", r#"{"count":8}"#).contains("\"count\":8"));
    assert!(update("order/a", r#"{"count":1,"dry":true}"#).contains("\"dry\":true"));
    assert!(update("order/a?dry=false", r#"{"count":1,"dry":true}"#).contains("\"dry\":false"));
}

#[test]
fn the_rest_is_the_whole_body_and_nothing_else() {
    let b = bench();
    let answer = b.call(Operation::Update, "free/a?x=1", r#"{"id":"b","n":1.0}"#).unwrap();
    assert_eq!(text(&answer), r#"{"id":"a","all":{"id":"b","n":1.0}}"#);
    assert_eq!(answer.warnings, ["Endpoint ignored these unrecognized parameters: [x]"]);
}

#[test]
fn a_field_of_the_query_may_stand_in_the_body() {
    let fields = Fields { body: object(r#"{"depth":9}"#), ..Fields::default() };
    let answer = bench().send(Operation::Read, "order/a", fields).unwrap();
    assert_eq!(text(&answer), r#"{"id":"a","depth":9}"#);
}

#[test]
fn the_declaration_says_what_it_takes() {
    let fields = Order::fields();
    let field = |name: &str| fields.iter().find(|f| f.name == name).unwrap();
    assert_eq!(Order::ABOUT, "Order things.");
    assert_eq!((field("id").source, field("id").required, field("id").help), (Source::Path, true, "Which order."));
    assert_eq!((field("count").kind, field("count").required), (FieldKind::Integer, true));
    assert_eq!((field("rush").required, field("within").required, field("type").required), (false, false, false));
    assert_eq!(
        (field("within").kind, field("dry").source, field("labels").kind),
        (FieldKind::Seconds, Source::Query, FieldKind::Map)
    );
    assert_eq!(Ordered::fields().len(), 11);
}
