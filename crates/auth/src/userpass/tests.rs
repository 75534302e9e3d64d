//! Refusals, and the work that they take.

use super::Userpass;
use coffer_engine::testing::Bench;
use coffer_engine::{Lockout, Login, Mount};
use coffer_types::Kind;
use coffer_types::Operation::{Delete, List, Read, Update};
use std::sync::Arc;

fn bench() -> Bench {
    let bench = Bench::new::<Userpass>("auth/userpass/", &[]);
    bench.call(Update, "users/Bob", r#"{"password":"pw1","token_policies":"app","token_ttl":"20m"}"#).unwrap();
    bench
}

fn login(bench: &Bench, name: &str, password: &str) -> Result<Login, (Kind, String)> {
    let body = format!(r#"{{"password":"{password}"}}"#);
    let answer = bench.call(Update, &format!("login/{name}"), &body).map_err(|e| (e.kind, e.public))?;
    Ok(*answer.login.unwrap())
}

#[test]
fn a_user_logs_in_by_any_writing_of_the_name() {
    let bench = bench();
    for name in ["bob", "BOB", "Bob"] {
        let login = login(&bench, name, "pw1").unwrap();
        assert_eq!((login.alias.as_str(), login.display_name.as_str()), ("bob", "bob"), "{name}");
        assert_eq!((login.ttl.secs(), &*login.policies, &*login.metadata["username"]), (1200, &["app".to_owned()][..], "bob"));
    }
}

#[test]
fn unknown_users_cost_what_known_ones_cost_and_get_the_same_words() {
    let bench = bench();
    let mut seen = Vec::new();
    for name in ["bob", "nobody"] {
        let (reads, computed) = (bench.reads(), bench.computed());
        let refused = login(&bench, name, "wrong").unwrap_err();
        seen.push((refused, bench.reads() - reads, bench.computed() - computed));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], ((Kind::BadRequest, "invalid username or password".to_owned()), 1, 1));
}

#[test]
fn failures_count_by_the_one_form_of_a_name_known_or_not() {
    let mut bench = bench();
    let mount = Mount { lockout: Lockout { threshold: 3, ..Lockout::default() }, ..(*bench.mount).clone() };
    bench.mount = Arc::new(mount);
    for name in ["bob", "nobody"] {
        for written in [name.to_owned(), name.to_uppercase(), name.replace('o', "O")] {
            assert_eq!(login(&bench, &written, "wrong").unwrap_err().0, Kind::BadRequest);
        }
        let computed = bench.computed();
        assert_eq!(login(&bench, name, "pw1").unwrap_err(), (Kind::Denied, "permission denied".to_owned()));
        assert_eq!(bench.computed(), computed, "a locked name is refused before its password is looked at");
    }
    assert_eq!(bench.failed_logins().into_iter().collect::<Vec<_>>(), [("bob".to_owned(), 3), ("nobody".to_owned(), 3)]);
}

#[test]
fn a_login_that_holds_forgets_what_failed_before() {
    let bench = bench();
    login(&bench, "bob", "wrong").unwrap_err();
    assert_eq!(bench.failed_logins()["bob"], 1);
    login(&bench, "bob", "pw1").unwrap();
    assert!(bench.failed_logins().is_empty());
}

#[test]
fn what_can_not_be_written_is_refused() {
    let bench = bench();
    let long = "x".repeat(73);
    for (path, body) in [
        ("users/new", "{}".to_owned()),
        ("users/new", r#"{"password":""}"#.to_owned()),
        (
            "users/new",
            r#"{"password":"a","password_hash":"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}"#.to_owned(),
        ),
        ("users/new", r#"{"password_hash":"plain"}"#.to_owned()),
        ("users/new", format!(r#"{{"password":"{long}"}}"#)),
        ("users/new", r#"{"password":"a","token_type":"paper"}"#.to_owned()),
        ("users/new", r#"{"password":"a","bound_cidrs":"nowhere"}"#.to_owned()),
        ("users/new", r#"{"password":"a","policies":"Root"}"#.to_owned()),
        ("users/bob/password", "{}".to_owned()),
        ("login/bob", "{}".to_owned()),
        ("login/ bob", r#"{"password":"pw1"}"#.to_owned()),
        ("login/bob ", r#"{"password":"pw1"}"#.to_owned()),
    ] {
        let error = bench.call(Update, path, &body).map(|_| ()).unwrap_err();
        assert_eq!(error.kind, Kind::BadRequest, "{path} {body}");
        assert!(!error.public.contains(&long), "{path}");
    }
    for path in ["users/nobody/password", "users/nobody/policies"] {
        assert!(bench.call(Update, path, r#"{"password":"a"}"#).is_err(), "{path}");
    }
    assert!(bench.call(Read, "users/new", "").is_err());
}

#[test]
fn a_hash_made_elsewhere_logs_in() {
    let bench = bench();
    bench.call(Update, "users/u", r#"{"password_hash":"$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}"#).unwrap();
    login(&bench, "u", "U*U").unwrap();
    login(&bench, "u", "u*u").unwrap_err();
}

#[test]
fn older_names_of_fields_are_read_back_until_the_newer_are_written() {
    let bench = bench();
    bench
        .call(Update, "users/o", r#"{"password":"a","policies":"p","ttl":"1m","max_ttl":"1h","bound_cidrs":"10.0.0.0/8"}"#)
        .unwrap();
    let shown = bench.call(Read, "users/O", "").unwrap().data.unwrap();
    for (older, newer) in
        [("policies", "token_policies"), ("ttl", "token_ttl"), ("max_ttl", "token_max_ttl"), ("bound_cidrs", "token_bound_cidrs")]
    {
        assert!(shown.get(older).is_some() && shown.get(older) == shown.get(newer), "{older}");
    }
    assert!(shown.get("password").is_none() && shown.get("hash").is_none());
    bench.call(Update, "users/o/policies", r#"{"token_policies":["q"]}"#).unwrap();
    assert!(bench.call(Read, "users/o", "").unwrap().data.unwrap().get("policies").is_none());
    // From no address at all nobody logs in who is bound to a network.
    assert_eq!(login(&bench, "o", "a").unwrap_err().0, Kind::Denied);
}

#[test]
fn a_renewal_asks_whether_the_user_still_stands() {
    let bench = bench();
    let made = login(&bench, "bob", "pw1").unwrap();
    let renew = || bench.within(|view, inner| bench.engine.renew_login(made.clone(), view, inner).unwrap()).map_err(|e| e.kind);
    assert_eq!(renew().unwrap().ttl.secs(), 1200);
    bench.call(Update, "users/bob", r#"{"token_ttl":"5m"}"#).unwrap();
    assert_eq!(renew().unwrap().ttl.secs(), 300);
    bench.call(Update, "users/bob/policies", r#"{"token_policies":"app,more"}"#).unwrap();
    assert_eq!(renew().unwrap_err(), Kind::BadRequest);
    bench.call(Update, "users/bob/policies", r#"{"token_policies":" App"}"#).unwrap();
    renew().unwrap();
    bench.call(Delete, "users/bob", "").unwrap();
    assert_eq!(renew().unwrap_err(), Kind::NotFound);
    assert!(bench.call(List, "users", "").unwrap().status == Some(404));
}
