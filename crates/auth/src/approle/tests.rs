//! The work of a login, known or not, and refusals. What depends on addresses and on calls at the same time stands in testkit.

use super::AppRole;
use coffer_engine::Login;
use coffer_engine::testing::{Bench, Failed, object, text};
use coffer_types::Operation::{Delete, List, Read, Update};
use coffer_types::{Kind, Span};

const ROLE: &str = r#"{"token_policies":"app","token_ttl":"20m","secret_id_num_uses":3,"secret_id_ttl":"10m"}"#;

fn bench() -> Bench {
    let bench = Bench::new::<AppRole>("auth/approle/", &[]);
    bench.call(Update, "role/Web", ROLE).unwrap();
    bench.call(Update, "role/web/role-id", r#"{"role_id":"web-id"}"#).unwrap();
    bench
}

fn custom(bench: &Bench, role: &str, secret_id: &str, more: &str) {
    let body = format!(r#"{{"secret_id":"{secret_id}"{more}}}"#);
    bench.call(Update, &format!("role/{role}/custom-secret-id"), &body).unwrap();
}

fn login(bench: &Bench, role_id: &str, secret_id: &str) -> Result<Login, (Kind, String)> {
    let body = format!(r#"{{"role_id":"{role_id}","secret_id":"{secret_id}"}}"#);
    let answer = bench.call(Update, "login", &body).map_err(|e| (e.kind, e.public))?;
    Ok(*answer.login.unwrap())
}

fn refused() -> (Kind, String) {
    (Kind::BadRequest, "invalid role or secret ID".to_owned())
}

#[test]
fn a_login_carries_the_roles_terms_and_the_secret_ids_metadata() {
    let bench = bench();
    custom(&bench, "web", "s", r#","metadata":"{\"env\":\"dev\"}""#);
    let login = login(&bench, "web-id", "s").unwrap();
    assert_eq!((login.alias.as_str(), login.display_name.as_str(), login.ttl.secs()), ("web-id", "", 1200));
    let meta: Vec<_> = login.metadata.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(meta, [("env", "dev"), ("role_name", "web")]);
    assert_eq!(login.alias_metadata, login.metadata);
}

#[test]
fn role_ids_that_exist_and_those_that_do_not_take_the_same_work_and_words() {
    let bench = bench();
    custom(&bench, "web", "s", "");
    let mut seen = Vec::new();
    for role_id in ["web-id", "no-such-id"] {
        let reads = bench.reads();
        let refused = login(&bench, role_id, "wrong").unwrap_err();
        let missing = bench.call(Update, "login", &format!(r#"{{"role_id":"{role_id}"}}"#)).map(|_| ()).unwrap_err();
        seen.push((refused, missing.public, bench.reads() - reads));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!((seen[0].0.clone(), seen[0].1.as_str()), (refused(), "missing secret_id"));
    assert_eq!(bench.failed_logins().into_iter().collect::<Vec<_>>(), [("no-such-id".to_owned(), 1), ("web-id".to_owned(), 1)]);
}

#[test]
fn a_login_without_a_limit_writes_nothing() {
    let bench = bench();
    bench.call(Update, "role/free", r#"{"role_id":"free-id"}"#).unwrap();
    custom(&bench, "free", "s", "");
    let before: Vec<_> = bench.keys().into_iter().map(|k| (bench.stored(&k), k)).collect();
    let reads = bench.reads();
    login(&bench, "free-id", "s").unwrap();
    assert_eq!(bench.reads() - reads, 5, "key, index, nothing, role, secret id");
    let after: Vec<_> = bench.keys().into_iter().map(|k| (bench.stored(&k), k)).collect();
    assert!(before == after);
}

#[test]
fn no_secret_id_and_no_role_id_stands_in_the_store() {
    let bench = bench();
    custom(&bench, "web", "canary-secret", "");
    let made = bench.call(Update, "role/web/secret-id", "").unwrap();
    let secret_id = made.data.unwrap().get("secret_id").unwrap().as_str().unwrap().to_owned();
    for key in bench.keys() {
        let value = bench.stored(&key).unwrap();
        for secret in ["canary-secret", &secret_id] {
            assert!(!key.contains(secret) && !value.windows(secret.len()).any(|w| w == secret.as_bytes()), "{key}");
        }
        assert!(!key.contains("web-id"), "{key}");
    }
}

#[test]
fn uses_are_counted_down_and_the_last_takes_all_of_it_away() {
    let bench = bench();
    custom(&bench, "web", "s", "");
    let accessors = || bench.keys().iter().filter(|k| k.starts_with("accessor/")).count();
    for left in [2, 1] {
        login(&bench, "web-id", "s").unwrap();
        let shown = text(&bench.call(Update, "role/web/secret-id/lookup", r#"{"secret_id":"s"}"#).unwrap());
        assert!(shown.contains(&format!(r#""secret_id_num_uses":{left}"#)), "{shown}");
    }
    assert_eq!(accessors(), 1);
    login(&bench, "web-id", "s").unwrap();
    assert_eq!(login(&bench, "web-id", "s").unwrap_err(), refused());
    assert_eq!(accessors(), 0);
    assert!(!bench.keys().iter().any(|k| k.starts_with("secret/") || k.starts_with("time/")));
}

#[test]
fn an_expired_secret_id_is_refused_at_once_and_removed_by_the_beat() {
    let bench = bench();
    custom(&bench, "web", "s", "");
    custom(&bench, "web", "shorter", r#","ttl":"1m""#);
    let beat = || while bench.within(|view, inner| bench.engine.beat(view, inner).unwrap()).unwrap() {};
    let secret_ids = || bench.keys().iter().filter(|k| k.starts_with("secret/")).count();
    bench.pass(Span::from_secs(60));
    assert_eq!(login(&bench, "web-id", "shorter").unwrap_err(), refused());
    assert!(bench.call(Update, "role/web/secret-id/lookup", r#"{"secret_id":"shorter"}"#).unwrap().data.is_none());
    login(&bench, "web-id", "s").unwrap();
    bench.pass(Span::from_secs(1));
    beat();
    assert_eq!(secret_ids(), 1);
    bench.pass(Span::from_secs(600));
    assert_eq!(bench.call(Update, "tidy/secret-id", "").unwrap().status, Some(202));
    assert!(!bench.keys().iter().any(|k| k.starts_with("secret/") || k.starts_with("time/") || k.starts_with("accessor/")));
}

#[test]
fn what_belongs_to_a_role_goes_with_it_and_does_not_come_back() {
    let bench = bench();
    for n in 0..300 {
        custom(&bench, "web", &format!("s{n}"), "");
    }
    bench.call(Delete, "role/WEB", "").unwrap();
    assert_eq!(login(&bench, "web-id", "s0").unwrap_err(), refused());
    bench.call(Update, "role/web", r#"{"role_id":"web-id"}"#).unwrap();
    assert_eq!(login(&bench, "web-id", "s0").unwrap_err(), refused());
    assert!(bench.call(List, "role/web/secret-id", "").unwrap().data.is_none());
    let mut batches = 0;
    while bench.within(|view, inner| bench.engine.beat(view, inner).unwrap()).unwrap() {
        batches += 1;
    }
    assert!((3..10).contains(&batches), "{batches} batches of a bounded size");
    let left = |k: &&String| ["secret/", "time/", "accessor/", "gone/"].iter().any(|p| k.starts_with(p));
    assert_eq!(bench.keys().iter().filter(left).count(), 0);
}

#[test]
fn a_role_id_is_one_roles_alone() {
    let bench = bench();
    let taken =
        |r: Result<_, Failed>| r.map(|_: coffer_engine::Answer| ()).unwrap_err().public.contains("role_id already in use");
    assert!(taken(bench.call(Update, "role/other", r#"{"role_id":"web-id"}"#)));
    assert!(bench.call(Read, "role/other", "").is_err());
    bench.call(Update, "role/other", "{}").unwrap();
    assert!(taken(bench.call(Update, "role/other/role-id", r#"{"role_id":"web-id"}"#)));
    // One that is given up is free again, and leads nowhere.
    custom(&bench, "web", "s", "");
    bench.call(Update, "role/web/role-id", r#"{"role_id":"new-id"}"#).unwrap();
    assert_eq!(login(&bench, "web-id", "s").unwrap_err(), refused());
    login(&bench, "new-id", "s").unwrap();
    bench.call(Update, "role/other/role-id", r#"{"role_id":"web-id"}"#).unwrap();
    // A secret id is good for its own role alone.
    assert_eq!(login(&bench, "web-id", "s").unwrap_err(), refused());
}

#[test]
fn what_can_not_be_is_refused() {
    let bench = bench();
    custom(&bench, "web", "there", "");
    for (path, body, word) in [
        ("login", "{}", "missing role_id"),
        ("role/new", r#"{"bind_secret_id":false}"#, "at least one constraint"),
        ("role/new", r#"{"role_id":""}"#, "role_id"),
        ("role/new", r#"{"secret_id_num_uses":-1}"#, "negative"),
        ("role/new", r#"{"secret_id_ttl":"-1s"}"#, "negative"),
        ("role/new", r#"{"secret_id_bound_cidrs":"nowhere"}"#, "CIDR"),
        ("role/new", r#"{"token_bound_cidrs":"nowhere"}"#, "network"),
        ("role/new", r#"{"token_ttl":"2h","token_max_ttl":"1h"}"#, "token_max_ttl"),
        ("role/new", r#"{"token_policies":"ROOT"}"#, "root"),
        ("role/web", r#"{"local_secret_ids":true}"#, "creation"),
        ("role/web/bind-secret-id", r#"{"bind_secret_id":false}"#, "at least one constraint"),
        ("role/web/secret-id-ttl", "{}", "missing secret_id_ttl"),
        ("role/web/policies", "{}", "missing token_policies"),
        ("role/web/period", "{}", "missing period"),
        ("role/web/role-id", "{}", "missing role_id"),
        ("role/none/policies", r#"{"policies":"a"}"#, "unsupported path"),
        ("role/none/secret-id", "", "does not exist"),
        ("role/none/secret-id/lookup", r#"{"secret_id":"x"}"#, "does not exist"),
        ("role/web/secret-id", r#"{"metadata":"word"}"#, "metadata"),
        ("role/web/secret-id", r#"{"num_uses":-1}"#, "negative"),
        ("role/web/secret-id", r#"{"num_uses":0}"#, "higher"),
        ("role/web/secret-id", r#"{"num_uses":4}"#, "higher"),
        ("role/web/secret-id", r#"{"ttl":"0"}"#, "longer"),
        ("role/web/secret-id", r#"{"ttl":"1h"}"#, "longer"),
        ("role/web/secret-id", r#"{"cidr_list":"10.0.0.1"}"#, "CIDR"),
        ("role/web/custom-secret-id", "{}", "missing secret_id"),
        ("role/web/custom-secret-id", r#"{"secret_id":"there"}"#, "already registered"),
        ("role/web/secret-id/lookup", "{}", "missing secret_id"),
        ("role/web/secret-id/destroy", "{}", "missing secret_id"),
        ("role/web/secret-id-accessor/lookup", "{}", "missing secret_id_accessor"),
        ("role/web/secret-id-accessor/destroy", r#"{"secret_id_accessor":"bad"}"#, "failed to find accessor"),
    ] {
        let error = bench.call(Update, path, body).map(|_| ()).unwrap_err();
        assert!(error.public.contains(word), "{path} {body}: {}", error.public);
    }
    assert!(bench.call(Read, "role/new", "").is_err(), "nothing half made");
    let missing = bench.call(Update, "role/web/secret-id-accessor/lookup", r#"{"secret_id_accessor":"a/b"}"#).unwrap();
    assert_eq!(missing.status, Some(404));
}

#[test]
fn networks_of_secret_ids_lie_inside_the_roles() {
    let bench = bench();
    bench.call(Update, "role/n", r#"{"secret_id_bound_cidrs":"10.0.0.0/8","token_bound_cidrs":"10.1.0.0/16"}"#).unwrap();
    for bad in [r#"{"cidr_list":"11.0.0.0/8"}"#, r#"{"cidr_list":"0.0.0.0/0"}"#, r#"{"token_bound_cidrs":"10.2.0.0/16"}"#] {
        assert!(bench.call(Update, "role/n/secret-id", bad).is_err(), "{bad}");
    }
    bench.call(Update, "role/n/secret-id", r#"{"cidr_list":"10.2.0.0/16","token_bound_cidrs":"10.1.2.0/24"}"#).unwrap();
}

#[test]
fn each_part_is_written_read_and_put_back() {
    let bench = bench();
    bench.call(Update, "role/p", r#"{"secret_id_bound_cidrs":"10.0.0.0/8"}"#).unwrap();
    for (part, field, written, read, reset) in [
        ("bind-secret-id", "bind_secret_id", "false", "false", "true"),
        ("secret-id-bound-cidrs", "secret_id_bound_cidrs", r#"["10.0.0.0/8"]"#, r#"["10.0.0.0/8"]"#, "null"),
        ("bound-cidr-list", "bound_cidr_list", r#"["10.0.0.0/8"]"#, r#"["10.0.0.0/8"]"#, "null"),
        ("token-bound-cidrs", "token_bound_cidrs", r#"["10.0.0.1/32"]"#, r#"["10.0.0.1"]"#, "null"),
        ("secret-id-num-uses", "secret_id_num_uses", "5", "5", "0"),
        ("secret-id-ttl", "secret_id_ttl", r#""5m""#, "300", "0"),
        ("token-num-uses", "token_num_uses", "5", "5", "0"),
        ("token-ttl", "token_ttl", "60", "60", "0"),
        ("token-max-ttl", "token_max_ttl", "600", "600", "0"),
        ("policies", "token_policies", r#"["a","b"]"#, r#"["a","b"]"#, "[]"),
        ("period", "token_period", "60", "60", "0"),
    ] {
        let path = format!("role/p/{part}");
        bench.call(Update, &path, &format!(r#"{{"{field}":{written}}}"#)).unwrap();
        assert_eq!(text(&bench.call(Read, &path, "").unwrap()), format!(r#"{{"{field}":{read}}}"#));
        bench.call(Delete, &path, "").unwrap();
        assert_eq!(text(&bench.call(Read, &path, "").unwrap()), format!(r#"{{"{field}":{reset}}}"#));
        assert!(bench.call(Read, &path.replace("/p/", "/none/"), "").is_err());
        bench.call(Delete, &path.replace("/p/", "/none/"), "").unwrap();
    }
    for (part, older, newer) in [("policies", "policies", "token_policies"), ("period", "period", "token_period")] {
        bench.call(Update, &format!("role/p/{part}"), &format!(r#"{{"{older}":"7"}}"#)).unwrap();
        let shown = object(&text(&bench.call(Read, "role/p", "").unwrap()));
        assert!(shown.get(older).is_some() && shown.get(older) == shown.get(newer), "{part}");
    }
}

#[test]
fn a_renewal_asks_whether_the_role_still_stands() {
    let bench = bench();
    custom(&bench, "web", "s", "");
    let made = login(&bench, "web-id", "s").unwrap();
    let renew = || bench.within(|view, inner| bench.engine.renew_login(made.clone(), view, inner).unwrap());
    bench.call(Update, "role/web", r#"{"token_ttl":"5m","token_period":"1m"}"#).unwrap();
    let renewed = renew().unwrap();
    assert_eq!((renewed.ttl.secs(), renewed.period.secs()), (300, 60));
    bench.call(Delete, "role/web", "").unwrap();
    assert!(renew().unwrap_err().public.contains("does not exist during renewal"));
}
