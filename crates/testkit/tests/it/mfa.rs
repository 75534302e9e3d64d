//! Second factors at login: who owes one, what is right, and that nothing is right twice.

use super::identity::Stage;
use coffer_crypto::totp::{Algorithm, Digits, Totp};
use coffer_testkit::Replied;
use coffer_types::Json;
use std::time::Duration;

/// What an authenticator makes of the URL of a key.
struct App {
    key: Vec<u8>,
    algorithm: Algorithm,
    digits: Digits,
    period: u64,
}

impl App {
    fn scan(url: &str) -> Self {
        let field = |name: &str| url.split(['?', '&']).find_map(|f| f.strip_prefix(name)).unwrap();
        let (mut key, mut bits, mut word) = (Vec::new(), 0, 0u32);
        for c in field("secret=").bytes() {
            let value = if c.is_ascii_uppercase() { c - b'A' } else { c - b'2' + 26 };
            (word, bits) = ((word << 5) | u32::from(value), bits + 5);
            if bits >= 8 {
                bits -= 8;
                key.push(u8::try_from((word >> bits) & 0xff).unwrap());
            }
        }
        Self {
            key,
            algorithm: Algorithm::parse(field("algorithm=")).unwrap(),
            digits: Digits::new(field("digits=").parse().unwrap()).unwrap(),
            period: field("period=").parse().unwrap(),
        }
    }

    /// The code so many steps from now.
    fn code(&self, s: &Stage, away: i64) -> String {
        use coffer_types::Clock;
        let totp = Totp { key: &self.key, algorithm: self.algorithm, digits: self.digits, period: self.period };
        let step = totp.step(s.server.clock.now().secs()).checked_add_signed(away).unwrap();
        self.digits.show(totp.code(step))
    }
}

async fn method(s: &Stage, body: &str) -> String {
    s.ok("POST", "identity/mfa/method/totp", body).await.text_at("data/method_id").to_owned()
}

async fn key(s: &Stage, method: &str, entity: &str) -> App {
    let body = format!(r#"{{"method_id":"{method}","entity_id":"{entity}"}}"#);
    App::scan(s.ok("POST", "identity/mfa/method/totp/admin-generate", &body).await.text_at("data/url"))
}

async fn enforce(s: &Stage, name: &str, body: &str) {
    s.ok("POST", &format!("identity/mfa/login-enforcement/{name}"), body).await;
}

/// The id of a login that waits.
async fn begin(s: &Stage, mount: &str, claim: &str) -> String {
    let asked = s.try_login(mount, claim).await;
    assert_eq!((asked.status, asked.text_at("auth/client_token")), (200, ""), "{}", asked.text);
    let id = asked.text_at("auth/mfa_requirement/mfa_request_id").to_owned();
    assert_eq!(id.len(), 36, "{}", asked.text);
    id
}

async fn validate(s: &Stage, request: &str, method: &str, code: &str) -> Replied {
    let body = format!(r#"{{"mfa_request_id":"{request}","mfa_payload":{{"{method}":["{code}"]}}}}"#);
    s.server.call("POST", "sys/mfa/validate", "", &body).await
}

async fn at_once(s: &Stage, mount: &str, claim: &str, factors: &[&str]) -> Replied {
    let headers: Vec<(&str, &str)> = factors.iter().map(|f| ("X-Vault-MFA", *f)).collect();
    s.server.request("POST", &format!("/v1/auth/{mount}/login"), &headers, claim.as_bytes()).await
}

const BOB: &str = r#"{"alias":"bob"}"#;

/// A stage with a method that bob's logins by `auth/one/` need, and bob's authenticator.
async fn with_bob(settings: &str) -> (Stage, String, String, App) {
    let s = Stage::new().await;
    let (_, bob) = s.login("one", BOB).await;
    let method = method(&s, settings).await;
    let app = key(&s, &method, &bob).await;
    enforce(&s, "all", &format!(r#"{{"mfa_method_ids":["{method}"],"auth_method_accessors":["{}"]}}"#, s.one)).await;
    (s, bob, method, app)
}

#[tokio::test]
async fn a_login_in_two_halves() {
    let (s, bob, method, app) = with_bob(r#"{"issuer":"Coffer","method_name":"app"}"#).await;
    let asked = s.try_login("one", r#"{"alias":"bob","policies":["p"]}"#).await;
    let choice = asked.body.at("auth/mfa_requirement/mfa_constraints/all/any/0").unwrap();
    assert_eq!(
        (choice.at("id").and_then(Json::as_str), choice.at("type").and_then(Json::as_str)),
        (Some(&*method), Some("totp"))
    );
    assert_eq!(choice.at("uses_passcode").and_then(Json::as_bool), Some(true));
    assert!(asked.text_at("warnings/0").contains("subject to MFA validation"));
    let id = asked.text_at("auth/mfa_requirement/mfa_request_id").to_owned();
    for (code, why) in [("", "incorrect"), ("12345", "incorrect"), ("abcdef", "incorrect"), (&*app.code(&s, 9), "incorrect")] {
        let refused = validate(&s, &id, &method, code).await;
        assert!(refused.status == 403 && refused.error().contains(why), "{code} {}", refused.text);
        assert!(!refused.text.contains("token"), "{}", refused.text);
    }
    let code = app.code(&s, 0);
    let done = validate(&s, &id, &method, &format!("{} {}", &code[..3], &code[3..])).await;
    assert_eq!((done.status, done.text_at("auth/entity_id")), (200, &*bob), "{}", done.text);
    assert!(done.text.contains(r#""policies":["default","p"]"#), "{}", done.text);
    let token = done.text_at("auth/client_token").to_owned();
    let shown = s.server.call("GET", "auth/token/lookup-self", &token, "").await;
    assert_eq!((shown.text_at("data/path"), shown.text_at("data/display_name")), ("auth/one/login", "one-bob"));
    // Once.
    assert_eq!(validate(&s, &id, &method, &app.code(&s, 1)).await.error(), "invalid request ID");
    // A mount that no enforcement concerns asks for nothing.
    s.login("two", BOB).await;
}

#[tokio::test]
async fn no_code_is_good_twice_however_it_is_written() {
    let (s, _, method, app) = with_bob(r#"{"issuer":"Coffer"}"#).await;
    let code = app.code(&s, 0);
    let first = begin(&s, "one", BOB).await;
    assert_eq!(validate(&s, &first, &method, &code).await.status, 200);
    for same in [code.clone(), format!(" {code}"), format!("{} {}", &code[..1], &code[1..]), format!("passcode={code}")] {
        let id = begin(&s, "one", BOB).await;
        assert_eq!(validate(&s, &id, &method, &same).await.status, 403, "{same:?}");
    }
    assert_eq!(at_once(&s, "one", BOB, &[&format!("{method}:{code}")]).await.status, 403);
    s.server.clock.advance(Duration::from_secs(60));
    // Two calls with one code at once: one of them.
    let (a, b) = (begin(&s, "one", BOB).await, begin(&s, "one", BOB).await);
    let code = app.code(&s, 0);
    let (a, b) = tokio::join!(validate(&s, &a, &method, &code), validate(&s, &b, &method, &code));
    assert_eq!(a.status.min(b.status), 200);
    assert_eq!(a.status.max(b.status), 403);
    // And one request with two codes at once: one token.
    let id = begin(&s, "one", BOB).await;
    let (a, b) = (app.code(&s, -1), app.code(&s, 1));
    let (a, b) = tokio::join!(validate(&s, &id, &method, &a), validate(&s, &id, &method, &b));
    assert_eq!(a.status.min(b.status), 200);
    assert!(a.status.max(b.status) >= 400, "{} {}", a.text, b.text);
}

#[tokio::test]
async fn guesses_run_out() {
    let (s, _, method, app) = with_bob(r#"{"issuer":"Coffer","max_validation_attempts":3}"#).await;
    let id = begin(&s, "one", BOB).await;
    for _ in 0..3 {
        assert!(validate(&s, &id, &method, "000000").await.error().contains("not supplied or incorrect"));
    }
    let right = app.code(&s, 0);
    let refused = validate(&s, &id, &method, &right).await;
    assert!(refused.status == 403 && refused.error().contains("attempts"), "{}", refused.text);
    // Another request, or the other way of asking, is no way around.
    let other = begin(&s, "one", BOB).await;
    assert_eq!(validate(&s, &other, &method, &right).await.status, 403);
    assert_eq!(at_once(&s, "one", BOB, &[&format!("{method}:{right}")]).await.status, 403);
    s.server.clock.advance(Duration::from_secs(31));
    assert_eq!(validate(&s, &id, &method, &app.code(&s, 0)).await.status, 200);
    // A hundred at once are as many as are allowed.
    s.server.clock.advance(Duration::from_secs(60));
    let id = begin(&s, "one", BOB).await;
    let mut looked_at = 0;
    for refused in futures(&s, &id, &method, 100).await {
        assert_eq!(refused.status, 403);
        looked_at += usize::from(refused.error().contains("not supplied or incorrect"));
    }
    assert_eq!(looked_at, 3);
}

async fn futures(s: &Stage, id: &str, method: &str, times: usize) -> Vec<Replied> {
    let mut replies = Vec::new();
    for _ in 0..times / 4 {
        let v = || validate(s, id, method, "111111");
        let (a, b, c, d) = tokio::join!(v(), v(), v(), v());
        replies.extend([a, b, c, d]);
    }
    replies
}

#[tokio::test]
async fn factors_may_come_along() {
    let (s, _, method, app) = with_bob(r#"{"issuer":"Coffer","method_name":"app"}"#).await;
    for factors in
        [vec![format!("{method}:000000")], vec![method.clone()], vec!["other:123456".to_owned()], vec![String::from(":")]]
    {
        let factors: Vec<&str> = factors.iter().map(String::as_str).collect();
        let refused = at_once(&s, "one", BOB, &factors).await;
        assert_eq!((refused.status, refused.error()), (403, "permission denied"), "{factors:?}");
    }
    let done = at_once(&s, "one", BOB, &[&format!("{method}:{}", app.code(&s, 0))]).await;
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(done.body.at("auth/mfa_requirement"), Some(&Json::Null));
    let done = at_once(&s, "one", BOB, &[&format!("app:{}", app.code(&s, 1))]).await;
    assert_eq!(done.status, 200, "by the method's name: {}", done.text);
}

#[tokio::test]
async fn each_enforcement_wants_its_own() {
    let (s, bob, first, app) = with_bob(r#"{"issuer":"Coffer"}"#).await;
    let second = method(&s, r#"{"issuer":"Coffer","algorithm":"SHA512","digits":8,"period":"1m","qr_size":0}"#).await;
    let other = key(&s, &second, &bob).await;
    let group = s.ok("POST", "identity/group", &format!(r#"{{"name":"g","member_entity_ids":["{bob}"]}}"#)).await;
    let group = group.text_at("data/id").to_owned();
    enforce(&s, "grp", &format!(r#"{{"mfa_method_ids":["{second}"],"identity_group_ids":["{group}"]}}"#)).await;
    enforce(&s, "either", &format!(r#"{{"mfa_method_ids":["{first}","{second}"],"identity_entity_ids":["{bob}"]}}"#)).await;
    let id = begin(&s, "one", BOB).await;
    let refused = validate(&s, &id, &first, &app.code(&s, 0)).await;
    assert!(refused.status == 403 && refused.error().contains("grp"), "{}", refused.text);
    // What was right before the refusal is not used up by it, and one code serves two enforcements.
    let body = format!(
        r#"{{"mfa_request_id":"{id}","mfa_payload":{{"{first}":["{}"],"{second}":["{}"]}}}}"#,
        app.code(&s, 0),
        other.code(&s, 0)
    );
    let done = s.server.call("POST", "sys/mfa/validate", "", &body).await;
    assert_eq!(done.status, 200, "{}", done.text);
    // The group's enforcement concerns its members by whatever mount.
    s.ok("DELETE", "identity/mfa/login-enforcement/either", "").await;
    s.login("two", r#"{"alias":"carol"}"#).await;
    s.ok("POST", "identity/entity-alias", &format!(r#"{{"name":"bob","mount_accessor":"{}","canonical_id":"{bob}"}}"#, s.two))
        .await;
    begin(&s, "two", BOB).await;
}

#[tokio::test]
async fn waiting_logins_end() {
    let (s, bob, method, app) = with_bob(r#"{"issuer":"Coffer"}"#).await;
    let waiting = async || s.records().await.iter().filter(|(k, _)| k.starts_with("identity/mfa/login")).count();
    let id = begin(&s, "one", BOB).await;
    assert_eq!(waiting().await, 2);
    s.server.clock.advance(Duration::from_secs(301));
    assert_eq!(validate(&s, &id, &method, &app.code(&s, 0)).await.error(), "invalid request ID");
    let mut upkeep = coffer_core::upkeep::Upkeep::default();
    upkeep.beat_and_wait(&s.server.core).await.unwrap();
    assert_eq!(waiting().await, 0, "what has ended is taken away");
    let id = begin(&s, "one", BOB).await;
    upkeep.beat_and_wait(&s.server.core).await.unwrap();
    assert_eq!(waiting().await, 2, "and nothing else");
    // Disabled meanwhile.
    s.ok("POST", &format!("identity/entity/id/{bob}"), r#"{"disabled":true}"#).await;
    assert_eq!(validate(&s, &id, &method, &app.code(&s, 0)).await.status, 403);
    s.ok("POST", &format!("identity/entity/id/{bob}"), r#"{"disabled":false}"#).await;
    // The mount goes: so do the logins by it.
    s.ok("DELETE", "sys/auth/one", "").await;
    assert_eq!(validate(&s, &id, &method, &app.code(&s, 0)).await.error(), "invalid request ID");
}

#[tokio::test]
async fn who_has_no_key_or_no_name_does_not_get_in() {
    let (s, _, method, _) = with_bob(r#"{"issuer":"Coffer"}"#).await;
    let id = begin(&s, "one", r#"{"alias":"eve"}"#).await;
    let refused = validate(&s, &id, &method, "123456").await;
    assert!(refused.status == 403 && refused.error().contains("not present"), "{}", refused.text);
    let nameless = s.try_login("one", "{}").await;
    assert_eq!((nameless.status, nameless.error()), (403, "permission denied"));
    for (body, status, why) in [
        ("{}".to_owned(), 400, "missing request ID"),
        (r#"{"mfa_request_id":"x","mfa_payload":{}}"#.to_owned(), 400, "invalid request ID"),
        (format!(r#"{{"mfa_request_id":"{id}","mfa_payload":{{"{method}":"123456"}}}}"#), 400, "invalid mfa payload"),
        (format!(r#"{{"mfa_request_id":"{id}","mfa_payload":{{"{method}":[1]}}}}"#), 400, "invalid mfa payload"),
        (format!(r#"{{"mfa_request_id":"{id}","mfa_payload":"x"}}"#), 400, "invalid mfa payload"),
    ] {
        let refused = s.server.call("POST", "sys/mfa/validate", "", &body).await;
        assert_eq!((refused.status, refused.error()), (status, why), "{body}");
    }
    assert_eq!(s.server.call("POST", "sys/mfa/validate", "", &format!(r#"{{"mfa_request_id":"{id}"}}"#)).await.status, 403);
}

#[tokio::test]
async fn keys_are_given_once_and_go_with_their_owners() {
    let (s, bob, method, _) = with_bob(r#"{"issuer":"A Name/x","method_name":"app"}"#).await;
    let admin = |entity: &str| format!(r#"{{"method_id":"{method}","entity_id":"{entity}"}}"#);
    let again = s.ok("POST", "identity/mfa/method/totp/admin-generate", &admin(&bob)).await;
    assert!(again.text_at("warnings/0").contains("already has a secret") && !again.text.contains("otpauth"), "{}", again.text);
    let eve = s.ok("POST", "identity/entity", r#"{"name":"eve"}"#).await.text_at("data/id").to_owned();
    let made = s.ok("POST", "identity/mfa/method/totp/admin-generate", &admin(&eve)).await;
    let url = made.text_at("data/url");
    assert!(url.starts_with(&format!(
        "otpauth://totp/A%20Name%2Fx:{eve}?algorithm=SHA1&digits=6&issuer=A%20Name%2Fx&period=30&secret="
    )));
    assert!(made.text_at("data/barcode").starts_with("iVBORw0KGgo"), "a PNG in base64");
    for body in [
        admin("nope"),
        r#"{"entity_id":"x"}"#.into(),
        r#"{"method_id":"x"}"#.into(),
        format!(r#"{{"method_id":"x","entity_id":"{eve}"}}"#),
    ] {
        for path in ["admin-generate", "admin-destroy"] {
            assert_eq!(s.root("POST", &format!("identity/mfa/method/totp/{path}"), &body).await.status, 400, "{body}");
        }
    }
    assert_eq!(
        s.root("POST", "identity/mfa/method/totp/generate", &format!(r#"{{"method_id":"{method}"}}"#)).await.error(),
        "missing entityID"
    );
    let secrets = async || s.records().await.iter().filter(|(k, _)| k.starts_with("identity/mfa/secret/")).count();
    assert_eq!(secrets().await, 2);
    // Merging wants to be told which key stays.
    let merge = |force: bool| format!(r#"{{"from_entity_ids":["{eve}"],"to_entity_id":"{bob}","force":{force}}}"#);
    assert_eq!(s.root("POST", "identity/entity/merge", &merge(false)).await.status, 400);
    s.ok("POST", "identity/entity/merge", &merge(true)).await;
    assert_eq!(secrets().await, 1);
    let refused = s.root("DELETE", &format!("identity/mfa/method/totp/{method}"), "").await;
    assert!(refused.status == 400 && refused.error().contains("still used by an enforcement"), "{}", refused.text);
    s.ok("DELETE", &format!("identity/entity/id/{bob}"), "").await;
    assert_eq!(secrets().await, 0);
    s.ok("DELETE", "identity/mfa/login-enforcement/all", "").await;
    s.ok("DELETE", &format!("identity/mfa/method/totp/{method}"), "").await;
    assert_eq!(s.root("GET", &format!("identity/mfa/method/{method}"), "").await.status, 404);
    s.login("one", BOB).await;
}

#[tokio::test]
async fn methods_and_enforcements_are_checked() {
    let s = Stage::new().await;
    for (body, why) in [
        ("{}", "issuer must be set"),
        (r#"{"issuer":"x","period":0}"#, "period must be greater than zero"),
        (r#"{"issuer":"x","algorithm":"MD5"}"#, "unrecognized algorithm"),
        (r#"{"issuer":"x","digits":7}"#, "digits can only be 6 or 8"),
        (r#"{"issuer":"x","key_size":0}"#, "key_size must be greater than zero"),
        (r#"{"issuer":"x","skew":2}"#, "skew must be 0 or 1"),
        (r#"{"issuer":"x","skew":-1}"#, "skew must be 0 or 1"),
        (r#"{"issuer":"x","max_validation_attempts":-1}"#, "max_validation_attempts must be greater than zero"),
    ] {
        let refused = s.root("POST", "identity/mfa/method/totp", body).await;
        assert_eq!((refused.status, refused.error()), (400, why), "{body}");
    }
    let method = method(&s, r#"{"issuer":"x","method_name":"m"}"#).await;
    let same = s.ok("POST", "identity/mfa/method/totp", r#"{"issuer":"y","method_name":"m"}"#).await;
    assert_eq!(same.text_at("data/method_id"), method);
    assert_eq!(s.ok("GET", &format!("identity/mfa/method/totp/{method}"), "").await.text_at("data/issuer"), "y");
    for (body, why) in [
        ("{}".to_owned(), "missing method ids"),
        (
            format!(r#"{{"mfa_method_ids":["{method}"]}}"#),
            "One of auth_method_accessors, auth_method_types, identity_group_ids, identity_entity_ids must be specified",
        ),
        (
            format!(r#"{{"mfa_method_ids":["x"],"auth_method_types":"claims","auth_method_accessors":"{}"}}"#, s.one),
            "one of the provided method ids doesn't exist",
        ),
        (
            format!(r#"{{"mfa_method_ids":["{method}"],"auth_method_types":"x"}}"#),
            "one of the auth method types provided is invalid",
        ),
        (
            format!(r#"{{"mfa_method_ids":["{method}"],"auth_method_accessors":"x"}}"#),
            "one of the auth method accessors provided is invalid",
        ),
        (
            format!(r#"{{"mfa_method_ids":["{method}"],"identity_entity_ids":"x"}}"#),
            "one of the provided entity ids doesn't exist",
        ),
        (format!(r#"{{"mfa_method_ids":["{method}"],"identity_group_ids":"x"}}"#), "one of the provided group ids doesn't exist"),
    ] {
        let refused = s.root("POST", "identity/mfa/login-enforcement/e", &body).await;
        assert_eq!((refused.status, refused.error()), (400, why), "{body}");
    }
    enforce(&s, "e", &format!(r#"{{"mfa_method_ids":["{method}"],"auth_method_types":"claims"}}"#)).await;
    assert_eq!(s.ok("LIST", "identity/mfa/login-enforcement", "").await.text_at("data/keys/0"), "e");
    begin(&s, "two", BOB).await;
    for kind in ["duo", "okta", "pingid"] {
        assert_eq!(s.root("POST", &format!("identity/mfa/method/{kind}"), r#"{"x":"y"}"#).await.status, 501);
        assert_eq!(s.root("LIST", &format!("identity/mfa/method/{kind}"), "").await.status, 404);
        assert_eq!(s.root("GET", &format!("identity/mfa/method/{kind}/{method}"), "").await.status, 404);
    }
}

#[tokio::test]
async fn what_waits_is_not_wrapped() {
    let (s, _, method, app) = with_bob(r#"{"issuer":"Coffer"}"#).await;
    let wrap = [("X-Vault-Wrap-TTL", "60")];
    let asked = s.server.request("POST", "/v1/auth/one/login", &wrap, BOB.as_bytes()).await;
    let id = asked.text_at("auth/mfa_requirement/mfa_request_id").to_owned();
    assert_eq!((asked.status, id.len()), (200, 36), "{}", asked.text);
    let body = format!(r#"{{"mfa_request_id":"{id}","mfa_payload":{{"{method}":["{}"]}}}}"#, app.code(&s, 0));
    let wrapped = s.server.request("POST", "/v1/sys/mfa/validate", &wrap, body.as_bytes()).await;
    assert!(wrapped.status == 200 && wrapped.text_at("wrap_info/token").starts_with("hvs."), "{}", wrapped.text);
}
