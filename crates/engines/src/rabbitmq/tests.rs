use super::RabbitMq;
use crate::fake::{Asked, Fake, down, reply};
use coffer_engine::testing::{Bench, text};
use coffer_types::{Kind, Operation, Span};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const ADMIN: &str = r#"{"name":"admin","tags":["administrator"]}"#;

/// Users by their escaped name, with how often each was touched.
type Users = Arc<Mutex<BTreeMap<String, usize>>>;

fn broker(users: Users) -> impl Fn(&Asked) -> Result<coffer_engine::outside::HttpReply, coffer_engine::outside::Fault> {
    move |asked| {
        let mut users = users.lock().unwrap();
        let parts: Vec<&str> = asked.path().split('/').collect();
        match (asked.method, &parts[2..]) {
            ("GET", ["whoami"]) => reply(200, ADMIN),
            ("GET", ["users", name]) if users.contains_key(*name) => reply(200, "{}"),
            ("GET", ["users", _]) => reply(404, r#"{"error":"Object Not Found","reason":"Not Found"}"#),
            ("PUT", ["users", name]) => {
                users.insert((*name).to_owned(), 1);
                reply(201, "")
            }
            ("PUT", ["permissions" | "topic-permissions", _, name]) => match users.get_mut(*name) {
                Some(touched) => {
                    *touched += 1;
                    reply(204, "")
                }
                None => reply(400, r#"{"error":"bad_request","reason":"no such user canary"}"#),
            },
            ("DELETE", ["users", name]) => match users.remove(*name) {
                Some(_) => reply(204, ""),
                None => reply(404, r#"{"error":"Object Not Found","reason":"Not Found"}"#),
            },
            _ => reply(404, "<html>"),
        }
    }
}

fn bench() -> (Bench, Arc<Fake>, Users) {
    let users = Users::default();
    let fake = Fake::new(broker(users.clone()));
    let b = Bench::reaching::<RabbitMq>("rabbitmq/", fake.clone());
    b.call(
        Operation::Update,
        "config/connection",
        r#"{"connection_uri":"http://127.0.0.1:15672/","username":"admin","password":"canary-pw"}"#,
    )
    .unwrap();
    let role = r#"{"tags":"monitoring","vhosts":"{\"/\":{\"configure\":\"a\",\"write\":\"b\",\"read\":\"c\"}}","vhost_topics":"{\"/\":{\"amq.topic\":{\"write\":\"d\",\"read\":\"e\"}}}"}"#;
    b.call(Operation::Update, "roles/app", role).unwrap();
    fake.asked();
    (b, fake, users)
}

fn refused(b: &Bench, operation: Operation, path: &str, body: &str) -> (Kind, String) {
    let failed = b.call(operation, path, body).err().unwrap_or_else(|| panic!("{path} {body} was taken"));
    assert!(!failed.public.contains("canary"), "{}", failed.public);
    (failed.kind, failed.public)
}

#[test]
fn a_user_lives_with_its_lease() {
    let (b, fake, users) = bench();
    b.call(Operation::Update, "config/lease", r#"{"ttl":"1h","max_ttl":"2h"}"#).unwrap();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    let data = answer.data.as_ref().unwrap();
    let user = data.get("username").unwrap().as_str().unwrap().to_owned();
    let password = data.get("password").unwrap().as_str().unwrap().to_owned();
    assert!(user.starts_with("test-") && password.len() == 36, "{user}");
    let asked = fake.asked();
    let lines: Vec<String> = asked.iter().map(|a| format!("{} {} {}", a.method, a.path(), a.body)).collect();
    assert_eq!(
        lines,
        [
            format!("GET /api/users/{user} "),
            format!(r#"PUT /api/users/{user} {{"password":"{password}","tags":"monitoring"}}"#),
            format!(r#"PUT /api/permissions/%2F/{user} {{"configure":"a","write":"b","read":"c"}}"#),
            format!(r#"PUT /api/topic-permissions/%2F/{user} {{"exchange":"amq.topic","write":"d","read":"e"}}"#),
        ]
    );
    assert!(
        asked
            .iter()
            .all(|a| a.header("authorization") == "Basic YWRtaW46Y2FuYXJ5LXB3" && a.url.starts_with("http://127.0.0.1:15672/"))
    );
    let lease = answer.lease.unwrap();
    assert_eq!(
        (lease.terms.ttl, lease.terms.max_ttl, lease.terms.renewable),
        (Span::from_secs(3600), Span::from_secs(7200), true)
    );
    assert!(!String::from_utf8_lossy(&lease.internal).contains(&password));
    assert_eq!(b.renew(&lease).unwrap().ttl, Span::from_secs(3600));
    b.revoke(&lease).unwrap();
    assert!(users.lock().unwrap().is_empty());
    b.revoke(&lease).unwrap();
    assert!(b.keys().iter().all(|k| !k.starts_with("intents/")));
}

#[test]
fn a_crash_leaves_no_user() {
    let (b, fake, users) = bench();
    b.call_and_crash(Operation::Read, "creds/app", "").unwrap();
    assert_eq!(users.lock().unwrap().len(), 1);
    fake.becomes(|_| down());
    assert_eq!(b.roll_back(), 1, "the note stays while the broker is down");
    fake.becomes(broker(users.clone()));
    assert_eq!(b.roll_back(), 0);
    assert!(users.lock().unwrap().is_empty());
}

#[test]
fn what_was_half_made_is_taken_away() {
    let (b, fake, users) = bench();
    let whole = broker(users.clone());
    fake.becomes(move |asked| {
        if asked.path().starts_with("/api/permissions/") { reply(403, r#"{"error":"access_refused"}"#) } else { whole(asked) }
    });
    let (kind, text) = refused(&b, Operation::Read, "creds/app", "");
    assert_eq!(
        (kind, text.as_str()),
        (Kind::Upstream, "the user's permissions could not be made: RabbitMQ answered status 403 (access_refused)")
    );
    assert_eq!(users.lock().unwrap().len(), 1);
    assert_eq!(b.roll_back(), 0);
    assert!(users.lock().unwrap().is_empty());
}

#[test]
fn names_cannot_leave_their_segment() {
    let (b, fake, _) = bench();
    b.call(
        Operation::Update,
        "config/connection",
        r#"{"connection_uri":"http://127.0.0.1:15672","username":"a","password":"p","verify_connection":false,"username_template":"../{{.RoleName}}/x?y#z{{ random 1 }}"}"#,
    )
    .unwrap();
    b.call(Operation::Update, "roles/app", r#"{"vhosts":"{\"../../x?\":{\"read\":\"r\"}}"}"#).unwrap();
    fake.asked();
    b.call(Operation::Read, "creds/app", "").unwrap();
    let paths: Vec<String> = fake.asked().iter().map(|a| a.path()[..a.path().len() - 1].to_owned()).collect();
    assert_eq!(
        paths,
        [
            "/api/users/..%2Fapp%2Fx%3Fy%23z",
            "/api/users/..%2Fapp%2Fx%3Fy%23z",
            "/api/permissions/..%2F..%2Fx%3F/..%2Fapp%2Fx%3Fy%23z"
        ]
    );
}

#[test]
fn roles_and_lifetimes_come_back() {
    let (b, _, _) = bench();
    assert_eq!(
        text(&b.call(Operation::Read, "roles/app", "").unwrap()),
        r#"{"tags":"monitoring","vhosts":{"/":{"configure":"a","read":"c","write":"b"}},"vhost_topics":{"/":{"amq.topic":{"read":"e","write":"d"}}}}"#
    );
    assert_eq!(text(&b.call(Operation::List, "roles", "").unwrap()), r#"{"keys":["app"]}"#);
    assert_eq!(refused(&b, Operation::Read, "config/lease", "").0, Kind::NotFound);
    b.call(Operation::Update, "config/lease", r#"{"ttl":60,"max_ttl":"120"}"#).unwrap();
    assert_eq!(text(&b.call(Operation::Read, "config/lease", "").unwrap()), r#"{"ttl":60,"max_ttl":120}"#);
    b.call(Operation::Delete, "roles/app", "").unwrap();
    assert_eq!(refused(&b, Operation::Read, "roles/app", "").0, Kind::NotFound);
    b.call(Operation::Update, "roles/tags", r#"{"tags":"x"}"#).unwrap();
    assert_eq!(text(&b.call(Operation::Read, "roles/tags", "").unwrap()), r#"{"tags":"x","vhosts":null,"vhost_topics":null}"#);
}

#[test]
fn refuses() {
    let (b, fake, users) = bench();
    for (path, body, part) in [
        ("config/connection", "{}", "missing connection_uri"),
        ("config/connection", r#"{"connection_uri":"http://a"}"#, "missing username"),
        ("config/connection", r#"{"connection_uri":"http://a","username":"u"}"#, "missing password"),
        ("config/connection", r#"{"connection_uri":"amqp://a","username":"u","password":"p"}"#, "only http"),
        ("config/connection", r#"{"connection_uri":"http://u:canary@a","username":"u","password":"p"}"#, "user's name"),
        (
            "config/connection",
            r#"{"connection_uri":"http://a","username":"u","password":"p","username_template":"{{"}"#,
            "template",
        ),
        (
            "config/connection",
            r#"{"connection_uri":"http://a","username":"u","password":"p","username_template":"{{.Nothing}}"}"#,
            "Nothing",
        ),
        ("config/lease", r#"{"ttl":"-1s"}"#, "negative"),
        ("roles/r", "{}", "both tags and vhosts not specified"),
        ("roles/r", r#"{"vhosts":"canary"}"#, "failed to unmarshal vhosts"),
        ("roles/r", r#"{"vhosts":"{\"/\":{\"configure\":3}}"}"#, "failed to unmarshal vhosts"),
        ("roles/r", r#"{"vhosts":"[]"}"#, "failed to unmarshal vhosts"),
        ("roles/r", r#"{"tags":"x","vhost_topics":"{\"/\":{\"amq\":3}}"}"#, "failed to unmarshal vhost_topics"),
        ("roles/r", r#"{"vhosts":{"/":{}}}"#, "vhosts"),
    ] {
        let (kind, text) = refused(&b, Operation::Update, path, body);
        assert!(kind == Kind::BadRequest && text.contains(part), "{body}: {text}");
    }
    assert_eq!(refused(&b, Operation::Read, "creds/none", "").1, "unknown role: none");
    assert!(fake.asked().is_empty() && users.lock().unwrap().is_empty());
    let connection = r#"{"connection_uri":"http://a","username":"u","password":"canary"}"#;
    for (status, body, part) in [
        (401, r#"{"error":"not_authorised","reason":"canary"}"#, "status 401 (not_authorised)"),
        (302, "", "no redirect"),
        (200, "<html>canary", "no JSON"),
        (200, r#"{"name":"u","tags":["management"]}"#, "administrator"),
        (200, "{}", "administrator"),
        (500, r#"{"error":"canary with spaces"}"#, "status 500"),
    ] {
        fake.becomes(move |_| reply(status, body));
        let (_, text) = refused(&b, Operation::Update, "config/connection", connection);
        assert!(text.contains(part), "{text}");
    }
    fake.becomes(|_| down());
    assert_eq!(refused(&b, Operation::Update, "config/connection", connection).0, Kind::Upstream);
    assert_eq!(refused(&b, Operation::Read, "creds/app", "").0, Kind::Upstream);
}

#[test]
fn a_user_who_was_there_before_is_neither_changed_nor_taken_away() {
    let (b, fake, users) = bench();
    let whole = broker(users.clone());
    fake.becomes(move |asked| if asked.method == "GET" { reply(200, "{}") } else { whole(asked) });
    assert!(refused(&b, Operation::Read, "creds/app", "").1.contains("already"));
    assert!(users.lock().unwrap().is_empty() && b.keys().iter().all(|k| !k.starts_with("intents/")));
    let fixed =
        r#"{"connection_uri":"http://a","username":"u","password":"p","verify_connection":false,"username_template":"admin"}"#;
    assert!(refused(&b, Operation::Update, "config/connection", fixed).1.contains("same name twice"));
}

#[test]
fn a_404_of_something_else_is_no_proof_that_the_user_is_gone() {
    let (b, fake, users) = bench();
    let lease = b.call(Operation::Read, "creds/app", "").unwrap().lease.unwrap();
    fake.becomes(|_| reply(404, "<html>no such page"));
    assert_eq!(b.revoke(&lease).err().unwrap().kind, Kind::Upstream);
    fake.becomes(broker(users.clone()));
    b.revoke(&lease).unwrap();
}

#[test]
fn without_a_connection_nothing_is_asked() {
    let fake = Fake::new(|_| down());
    let b = Bench::reaching::<RabbitMq>("rabbitmq/", fake.clone());
    b.call(Operation::Update, "roles/app", r#"{"tags":"x"}"#).unwrap();
    assert_eq!(refused(&b, Operation::Read, "creds/app", "").0, Kind::BadRequest);
    assert!(fake.asked().is_empty());
}
