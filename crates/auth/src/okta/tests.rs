//! An Okta in memory.

use super::Okta;
use crate::web::{Web, reply};
use coffer_engine::outside::{HttpReply, Method};
use coffer_engine::testing::{Bench, Failed, text};
use coffer_engine::{Login, Outside};
use coffer_types::{Kind, Operation, Span};
use std::sync::{Arc, Mutex};

/// What Okta says to whoever has the password `right`.
#[derive(Clone)]
struct State {
    status: &'static str,
    factors: &'static str,
    /// How the phone answers, one after the other.
    phone: Vec<&'static str>,
    user: &'static str,
    groups: Vec<&'static str>,
    /// The `Link` header of the first page of groups.
    link: &'static str,
    /// Happens while the login waits for the phone.
    meanwhile: Option<Arc<dyn Fn() + Send + Sync>>,
}

const PUSH: &str = r#"{"id":"push1","factorType":"push","provider":"OKTA"}"#;
const CODES: &str = r#"{"id":"code1","factorType":"token:software:totp","provider":"GOOGLE"}"#;

impl Default for State {
    fn default() -> Self {
        Self {
            status: "SUCCESS",
            factors: "",
            phone: Vec::new(),
            user: "ACTIVE",
            groups: vec!["Everyone", "Site Reliability"],
            link: "",
            meanwhile: None,
        }
    }
}

struct World {
    bench: Arc<Bench>,
    web: Arc<Web>,
    state: Arc<Mutex<State>>,
}

fn answer(state: &mut State, method: Method, path: &str, body: &str) -> HttpReply {
    let transaction = |status: &str, rest: &str, factors: &str| {
        reply(
            200,
            format!(
                r#"{{"status":"{status}","stateToken":"st"{rest},"_embedded":{{"user":{{"id":"u1"}},"factors":[{factors}]}}}}"#
            ),
        )
    };
    match (method, path) {
        (Method::Post, "authn") if body == r#"{"password":"right","username":"bob"}"# => {
            transaction(state.status, "", state.factors)
        }
        (Method::Post, "authn") => reply(401, r#"{"errorCode":"E0000004"}"#),
        (Method::Post, "authn/factors/code1/verify") if body.contains(r#""passCode":"123456""#) => transaction("SUCCESS", "", ""),
        (Method::Post, "authn/factors/code1/verify") => reply(403, r#"{"errorCode":"E0000068"}"#),
        (Method::Post, "authn/factors/push1/verify") => {
            let now = if state.phone.len() > 1 { state.phone.remove(0) } else { state.phone[0] };
            match now {
                "SUCCESS" => {
                    state.meanwhile.iter().for_each(|happens| happens());
                    transaction("SUCCESS", "", "")
                }
                "NUMBER" => reply(
                    200,
                    r#"{"status":"MFA_CHALLENGE","stateToken":"st","factorResult":"WAITING",
                        "_embedded":{"factor":{"id":"push1","_embedded":{"challenge":{"correctAnswer":73}}}}}"#,
                ),
                result => transaction("MFA_CHALLENGE", &format!(r#","factorResult":"{result}""#), ""),
            }
        }
        (Method::Get, "users/u1") if state.user.is_empty() => reply(404, "{}"),
        (Method::Get, "users/u1") => reply(200, format!(r#"{{"id":"u1","status":"{}"}}"#, state.user)),
        (Method::Get, "users/u1/groups") => {
            let groups: Vec<String> = state.groups.iter().map(|g| format!(r#"{{"profile":{{"name":"{g}"}}}}"#)).collect();
            let mut page = reply(200, format!("[{}]", groups.join(",")));
            page.headers.push(("link".to_owned(), "<https://acme.okta.com/api/v1/x>; rel=\"self\"".to_owned()));
            page.headers.extend((!state.link.is_empty()).then(|| ("link".to_owned(), state.link.to_owned())));
            page
        }
        (Method::Get, "users/u1/groups?after=2") => reply(200, r#"[{"profile":{"name":"second page"}}]"#),
        _ => reply(404, "{}"),
    }
}

fn world() -> World {
    let state: Arc<Mutex<State>> = Arc::default();
    let asked = state.clone();
    let web = Web::new(move |request| {
        let path = request.url.strip_prefix("https://acme.okta.com/api/v1/")?;
        let token = request.headers.iter().find(|(name, _)| name == "authorization").map(|(_, value)| value.expose().as_str());
        if request.method == Method::Get && token != Some("SSWS api") {
            return Some(reply(401, "{}"));
        }
        let body = String::from_utf8_lossy(&request.body).into_owned();
        Some(answer(&mut asked.lock().unwrap(), request.method, path, &body))
    });
    let outside: Arc<dyn Outside> = web.clone();
    let bench = Arc::new(Bench::reaching::<Okta>("auth/okta/", outside));
    let world = World { bench, web, state };
    world.write("config", r#"{"org_name":"acme","api_token":"api","token_ttl":"1h"}"#).unwrap();
    world.write("groups/site reliability", r#"{"policies":"sre"}"#).unwrap();
    world.write("groups/here", r#"{"policies":"of-here"}"#).unwrap();
    world.write("users/BOB", r#"{"groups":"Here","policies":"own"}"#).unwrap();
    world
}

impl World {
    fn with(status: &'static str, change: impl FnOnce(&mut State)) -> Self {
        let world = world();
        world.set(|state| {
            state.status = status;
            change(state);
        });
        world
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    fn write(&self, path: &str, body: &str) -> Result<(), Failed> {
        self.bench.call(Operation::Update, path, body).map(|_| ())
    }

    fn login(&self, name: &str, body: &str) -> Result<Box<Login>, Failed> {
        self.bench.call(Operation::Update, &format!("login/{name}"), body).map(|answer| answer.login.unwrap())
    }

    fn right(&self) -> Result<Box<Login>, Failed> {
        self.login("bob", r#"{"password":"right"}"#)
    }
}

const FAILED: &str = "okta auth failed";

#[test]
fn a_person_gets_the_policies_of_groups_there_and_here() {
    let world = world();
    let made = world.login(" BOB ", r#"{"password":"right"}"#).unwrap();
    assert_eq!(made.policies, ["of-here", "own", "sre"]);
    assert_eq!((&*made.alias, &*made.metadata["username"], made.ttl), ("bob", "bob", Span::from_secs(3600)));
    assert_eq!(made.metadata["policies"], "of-here,own,sre");
    assert_eq!(made.group_aliases, ["Everyone", "Here", "Site Reliability"]);
    assert!(made.internal.values().all(|value| !value.contains("right")), "no password is kept");
}

#[test]
fn nobody_else_does() {
    let world = world();
    for (name, body) in [("bob", r#"{"password":"wrong"}"#), ("nobody", r#"{"password":"right"}"#)] {
        let refused = world.login(name, body).unwrap_err();
        assert_eq!((refused.kind, &*refused.public), (Kind::BadRequest, FAILED));
    }
    assert_eq!(world.login("bob", "{}").unwrap_err().public, "missing password");
    assert!(world.login("%20", r#"{"password":"right"}"#).is_err());
    let unset = Bench::new::<Okta>("auth/okta/", &[]);
    assert!(
        unset.call(Operation::Update, "login/bob", r#"{"password":"x"}"#).is_err_and(|e| e.public.contains("not configured"))
    );
}

#[test]
fn spellings_of_a_name_are_counted_as_one() {
    let world = world();
    for name in ["bob", "Bob", " bob", "BOB ", "bOb"] {
        world.login(name, r#"{"password":"wrong"}"#).unwrap_err();
    }
    assert_eq!(world.bench.failed_logins(), [("bob".to_owned(), 5)].into());
}

#[test]
fn what_okta_wants_besides_is_no_login() {
    for status in ["LOCKED_OUT", "PASSWORD_EXPIRED", "MFA_ENROLL", "MFA_ENROLL_ACTIVATE", "RECOVERY", "SOMETHING_NEW"] {
        let refused = World::with(status, |_| {}).right().unwrap_err();
        assert!(refused.kind == Kind::BadRequest && refused.public.starts_with(FAILED), "{status}");
    }
    assert!(World::with("PASSWORD_WARN", |_| {}).right().is_ok());
    for (status, goes) in [("MFA_REQUIRED", true), ("MFA_ENROLL", true), ("PASSWORD_EXPIRED", true), ("LOCKED_OUT", false)] {
        let world = World::with(status, |_| {});
        world.write("config", r#"{"bypass_okta_mfa":true}"#).unwrap();
        assert_eq!(world.right().is_ok(), goes, "{status} where the second factor is passed over");
    }
}

#[test]
fn one_time_codes() {
    let world = World::with("MFA_REQUIRED", |state| state.factors = CODES);
    let with = |code: &str, provider: &str| {
        world.login("bob", &format!(r#"{{"password":"right","totp":"{code}","provider":"{provider}"}}"#))
    };
    assert!(with("123456", "").is_ok());
    assert!(with("123456", "google").is_ok());
    assert_eq!(with("000000", "GOOGLE").unwrap_err().public, FAILED);
    assert!(with("123456", "OKTA").unwrap_err().public.contains("no one-time codes"));
    assert!(with("123456", "yubico").unwrap_err().public.contains("provider must be"));
    assert!(world.right().unwrap_err().public.contains("a second factor is needed"), "no phone is set up");
}

#[test]
fn the_phone_is_waited_for() {
    let asks = |phone: Vec<&'static str>| {
        World::with("MFA_REQUIRED", |state| {
            state.factors = PUSH;
            state.phone = phone;
        })
    };
    let world = asks(vec!["WAITING", "WAITING", "SUCCESS"]);
    let before = world.bench.now();
    assert!(world.right().is_ok());
    assert_eq!(world.bench.now().since(before).as_secs(), 2);
    for end in ["REJECTED", "TIMEOUT", "CANCELLED"] {
        assert_eq!(asks(vec!["WAITING", end]).right().unwrap_err().public, FAILED);
    }
    let world = asks(vec!["WAITING"]);
    assert_eq!(world.right().unwrap_err().public, FAILED, "nobody looks at it");
    assert!(world.web.asked().len() < 100);
}

#[test]
fn the_number_is_told_to_who_knows_the_nonce() {
    let world = World::with("MFA_REQUIRED", |state| {
        state.factors = PUSH;
        state.phone = vec!["NUMBER", "SUCCESS"];
    });
    assert!(world.right().unwrap_err().public.contains("a nonce is needed"));
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (bench, sees) = (world.bench.clone(), seen.clone());
    let meanwhile = move || {
        for nonce in ["n-1", "n-2"] {
            let shown = bench.call(Operation::Read, &format!("verify/{nonce}"), "");
            sees.lock().unwrap().push(shown.map_or_else(|e| format!("{:?}", e.kind), |answer| text(&answer)));
        }
    };
    world.set(|state| {
        state.phone = vec!["NUMBER", "NUMBER", "SUCCESS"];
        state.meanwhile = Some(Arc::new(meanwhile));
    });
    assert!(world.login("bob", r#"{"password":"right","nonce":"n-1"}"#).is_ok());
    assert_eq!(*seen.lock().unwrap(), [r#"{"correct_answer":73}"#, "NotFound"]);
    assert!(world.bench.call(Operation::Read, "verify/n-1", "").is_err_and(|e| e.kind == Kind::NotFound), "only while it waits");
    assert!(world.bench.keys().iter().all(|key| !key.starts_with("nonce/")));
    assert!(world.bench.call(Operation::Read, "verify/n-2", "").is_err_and(|e| e.kind == Kind::NotFound));
    assert!(world.login("bob", r#"{"password":"right","nonce":"a/b"}"#).is_err());
}

#[test]
fn groups_come_in_pages_from_okta_alone() {
    let world = World::with("SUCCESS", |state| {
        state.link = r#"<https://acme.okta.com/api/v1/users/u1/groups?after=2>; rel="next""#;
    });
    assert!(world.right().unwrap().group_aliases.contains(&"second page".to_owned()));
    world.set(|state| state.link = r#"<https://acme.okta.com.evil.example/api/v1/users/u1/groups?after=2>; rel="next""#);
    assert_eq!(world.right().unwrap_err().kind, Kind::Upstream);
    world.set(|state| state.link = r#"<https://acme.okta.com/api/v1/users/u1/groups>; rel="next""#);
    assert_eq!(world.right().unwrap_err().kind, Kind::Upstream, "round and round");
    assert!(world.web.asked().len() < 100);
}

#[test]
fn a_renewal_asks_again() {
    let world = world();
    let made = world.right().unwrap();
    world.write("config", r#"{"token_ttl":"2h"}"#).unwrap();
    assert_eq!(world.bench.renew_login(&made).unwrap().ttl, Span::from_secs(7200));
    for gone in ["SUSPENDED", "DEPROVISIONED", "LOCKED_OUT", ""] {
        world.set(|state| state.user = gone);
        assert_eq!(world.bench.renew_login(&made).unwrap_err().public, FAILED, "{gone}");
    }
    world.set(|state| {
        state.user = "ACTIVE";
        state.groups = vec!["Everyone"];
    });
    assert_eq!(world.bench.renew_login(&made).unwrap_err().public, "policies have changed, not renewing");
    world.write("config", r#"{"api_token":"other"}"#).unwrap();
    assert_eq!(world.bench.renew_login(&made).unwrap_err().kind, Kind::Upstream, "Okta does not know us");
}

#[test]
fn without_a_token_for_the_api_groups_are_those_kept_here() {
    let world = world();
    world.write("config", r#"{"api_token":""}"#).unwrap();
    let made = world.right().unwrap();
    assert_eq!(made.policies, ["of-here", "own"]);
    assert!(world.bench.renew_login(&made).is_ok());
}

#[test]
fn the_configuration_is_checked_and_does_not_show_its_token() {
    let world = world();
    let shown = text(&world.bench.call(Operation::Read, "config", "").unwrap());
    assert!(shown.contains(r#""org_name":"acme""#) && !shown.contains("api_token") && !shown.contains("\"api\""), "{shown}");
    for body in [
        r#"{"org_name":"a.evil.example/x"}"#,
        r#"{"org_name":"a@b"}"#,
        r#"{"base_url":"https://okta.com"}"#,
        r#"{"base_url":"okta.com/x"}"#,
        r#"{"base_url":"okta..com"}"#,
        r#"{"api_token":"a\r\nb"}"#,
        r#"{"token_policies":"root"}"#,
    ] {
        assert!(world.write("config", body).is_err_and(|e| e.kind == Kind::BadRequest), "{body}");
    }
    assert!(world.write("users/x", r#"{"policies":"Root "}"#).is_err());
    assert!(world.write("groups/x", r#"{"policies":"root"}"#).is_err());
    let unset = Bench::new::<Okta>("auth/okta/", &[]);
    assert!(unset.call(Operation::Update, "config", "{}").is_err());
    assert!(unset.call(Operation::Read, "config", "").is_err_and(|e| e.kind == Kind::NotFound));
    assert_eq!(text(&world.bench.call(Operation::Read, "users/Bob", "").unwrap()), r#"{"groups":["Here"],"policies":["own"]}"#);
    assert_eq!(text(&world.bench.call(Operation::List, "groups", "").unwrap()), r#"{"keys":["here","site reliability"]}"#);
}
