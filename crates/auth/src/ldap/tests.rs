//! The method over a directory that the test makes up.

use super::*;
use coffer_engine::outside::{
    Directory, DirectoryServer, DirectorySession, Entry, Fault, FaultKind, Filter, Http, Nothing, Outside, Search,
};
use coffer_engine::testing::{Bench, Failed, text};
use coffer_engine::{Answer, BoxFuture};
use coffer_types::{Kind, Operation};
use std::sync::{Arc, Mutex};

/// Entries with their passwords, and a line for each question asked.
#[derive(Debug, Default)]
struct Made {
    entries: Mutex<Vec<(Entry, String)>>,
    asked: Arc<Mutex<Vec<String>>>,
    down: Mutex<bool>,
}

impl Outside for Made {
    fn http(&self) -> &dyn Http {
        &Nothing
    }
    fn directory(&self) -> &dyn Directory {
        self
    }
}

impl Directory for Made {
    fn connect<'a>(&'a self, to: &'a DirectoryServer) -> BoxFuture<'a, Result<Box<dyn DirectorySession>, Fault>> {
        self.asked.lock().unwrap().push(format!("connect {}", to.host));
        let down = *self.down.lock().unwrap() || to.host == "down";
        let session = Talk { entries: self.entries.lock().unwrap().clone(), asked: self.asked.clone() };
        Box::pin(async move {
            if down {
                Err(Fault::new(FaultKind::Unreachable, "down"))
            } else {
                Ok(Box::new(session) as Box<dyn DirectorySession>)
            }
        })
    }
}

struct Talk {
    entries: Vec<(Entry, String)>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Talk {
    fn note(&self, what: &str) {
        self.asked.lock().unwrap().push(what.to_owned());
    }
}

impl DirectorySession for Talk {
    fn bind<'a>(&'a mut self, dn: &'a str, password: &'a Secret<String>) -> BoxFuture<'a, Result<(), Fault>> {
        self.note(&format!("bind {}", if dn.len() > 60 { "nobody" } else { dn }));
        let fine = self.entries.iter().any(|(e, p)| e.dn.eq_ignore_ascii_case(dn) && !p.is_empty() && p == password.expose());
        Box::pin(async move { if fine { Ok(()) } else { Err(Fault::new(FaultKind::Credentials, "no")) } })
    }
    fn bind_anonymously(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        self.note("bind anonymously");
        Box::pin(async { Ok(()) })
    }
    fn search<'a>(&'a mut self, search: &'a Search) -> BoxFuture<'a, Result<Vec<Entry>, Fault>> {
        self.note(&format!("search {}", search.base));
        let found = self.entries.iter().map(|(e, _)| e.clone());
        let found = found.filter(|e| match search.scope {
            coffer_engine::outside::Scope::Base => e.dn == search.base,
            coffer_engine::outside::Scope::Subtree => e.dn.ends_with(&search.base),
        });
        let found: Vec<_> = found.filter(|e| holds(&search.filter, e)).collect();
        Box::pin(async move { Ok(found) })
    }
    fn replace_password<'a>(&'a mut self, dn: &'a str, _: &'a Secret<String>) -> BoxFuture<'a, Result<(), Fault>> {
        self.note(&format!("replace {dn}"));
        Box::pin(async { Ok(()) })
    }
}

fn holds(filter: &Filter, entry: &Entry) -> bool {
    match filter {
        Filter::And(all) => all.iter().all(|f| holds(f, entry)),
        Filter::Or(any) => any.iter().any(|f| holds(f, entry)),
        Filter::Not(f) => !holds(f, entry),
        Filter::Equal(a, v) => entry.values(a).any(|w| w.eq_ignore_ascii_case(v)),
        Filter::Present(a) => a == "objectClass" || entry.values(a).next().is_some(),
        other => panic!("{other:?}"),
    }
}

fn entry(dn: &str, password: &str, attributes: &[(&str, &[&str])]) -> (Entry, String) {
    let attributes =
        attributes.iter().map(|(n, vs)| ((*n).to_owned(), vs.iter().map(|v| v.as_bytes().to_vec()).collect())).collect();
    (Entry { dn: dn.into(), attributes }, password.into())
}

const CONFIG: &str = r#"{"url":"ldap://down, ldap://up","binddn":"cn=svc,dc=x","bindpass":"svc-pass","userdn":"ou=people,dc=x","userattr":"uid","groupdn":"ou=groups,dc=x"}"#;

fn bench(config: &str) -> (Bench, Arc<Made>) {
    let made = Arc::new(Made::default());
    *made.entries.lock().unwrap() = vec![
        entry("cn=svc,dc=x", "svc-pass", &[]),
        entry("uid=alice,ou=people,dc=x", "wonder", &[("uid", &["Alice"])]),
        entry("uid=bob,ou=people,dc=x", "builder", &[("uid", &["bob"])]),
        entry("uid=twin,ou=people,dc=x", "one", &[("uid", &["two"])]),
        entry("uid=two,ou=people,dc=x", "two", &[("uid", &["two"])]),
        entry("cn=Admins,ou=groups,dc=x", "", &[("cn", &["Admins"]), ("member", &["uid=alice,ou=people,dc=x"])]),
        entry("cn=x,ou=groups,dc=x", "", &[("cn", &["cn=admins"]), ("member", &["uid=bob,ou=people,dc=x"])]),
    ];
    let bench = Bench::reaching::<Ldap>("auth/ldap/", made.clone());
    bench.call(Operation::Update, "config", config).unwrap();
    bench.call(Operation::Update, "groups/ADMINS", r#"{"policies":"admin-policy"}"#).unwrap();
    bench.call(Operation::Update, "users/bob", r#"{"policies":"bobs","groups":"local"}"#).unwrap();
    made.asked.lock().unwrap().clear();
    (bench, made)
}

fn log_in(bench: &Bench, name: &str, password: &str) -> Result<Answer, Failed> {
    let body = serde_json::json!({ "password": password }).to_string();
    bench.call(Operation::Update, &format!("login/{name}"), &body)
}

#[test]
fn a_person_gets_the_policies_of_their_groups() {
    let (bench, _) = bench(CONFIG);
    let login = log_in(&bench, "ALICE", "wonder").unwrap().login.unwrap();
    assert_eq!(
        (login.alias.as_str(), &*login.policies, &*login.group_aliases),
        ("alice", &["admin-policy".to_owned()][..], &["admins".to_owned()][..])
    );
    assert!(login.renewable && !format!("{login:?}").contains("wonder"));
    let login = log_in(&bench, "bob", "builder").unwrap().login.unwrap();
    // A group that looks like the name of another is not the other.
    assert_eq!(
        (&*login.policies, &*login.group_aliases),
        (&["bobs".to_owned()][..], &["cn=admins".to_owned(), "local".to_owned()][..])
    );
}

#[test]
fn whoever_is_refused_reads_the_same_and_costs_the_same() {
    let (bench, made) = bench(CONFIG);
    let mut questions = Vec::new();
    for (name, password) in
        [("alice", "wrong"), ("nobody", "wonder"), ("two", "two"), ("*", "wonder"), ("alice)(uid=*", "wonder")]
    {
        let failed = log_in(&bench, name, password).err().unwrap();
        assert_eq!(
            failed,
            Failed { kind: Kind::BadRequest, public: "ldap operation failed: failed to bind as user".into() },
            "{name}"
        );
        questions.push(std::mem::take(&mut *made.asked.lock().unwrap()).len());
    }
    assert!(questions.iter().all(|n| *n == questions[0]), "{questions:?}");
}

#[test]
fn an_empty_password_or_an_odd_name_never_reaches_a_bind() {
    let (bench, made) = bench(CONFIG);
    bench.call(Operation::Update, "config", r#"{"deny_null_bind":false}"#).unwrap();
    made.entries.lock().unwrap().push(entry("uid=null,ou=people,dc=x", "", &[("uid", &["null"])]));
    for (name, password) in [("alice", ""), ("null", ""), (" alice", "wonder"), ("alice ", "wonder"), ("al\u{200b}ice", "wonder")]
    {
        assert!(log_in(&bench, name, password).is_err(), "{name:?}");
        assert!(!made.asked.lock().unwrap().iter().any(|q| q.starts_with("bind")), "{name:?}");
    }
}

#[test]
fn a_direct_bind_escapes_the_name() {
    let (bench, made) = bench(r#"{"url":"ldap://up","userdn":"ou=people,dc=x","userattr":"uid"}"#);
    let login = log_in(&bench, "alice", "wonder").unwrap().login.unwrap();
    assert_eq!((login.alias.as_str(), login.renewable), ("alice", false));
    made.asked.lock().unwrap().clear();
    assert!(log_in(&bench, "alice,ou=people,dc=x", "wonder").is_err());
    assert!(made.asked.lock().unwrap().contains(&"bind uid=alice\\,ou\\=people\\,dc\\=x,ou=people,dc=x".to_owned()));
}

#[test]
fn a_directory_that_is_down_is_said() {
    let (bench, made) = bench(CONFIG);
    log_in(&bench, "bob", "builder").unwrap();
    assert_eq!(made.asked.lock().unwrap()[..2], ["connect down".to_owned(), "connect up".to_owned()]);
    *made.down.lock().unwrap() = true;
    assert_eq!(log_in(&bench, "bob", "builder").err().unwrap().kind, Kind::Upstream);
    *made.down.lock().unwrap() = false;
    bench.call(Operation::Update, "config", r#"{"bindpass":"other"}"#).unwrap();
    let failed = log_in(&bench, "bob", "builder").err().unwrap();
    assert_eq!((failed.kind, failed.public.as_str()), (Kind::Upstream, "the directory does not take binddn and bindpass"));
}

#[test]
fn nobody_is_locked_out_by_a_directory_that_is_down_and_guessers_are() {
    let (mut bench, made) = bench(CONFIG);
    let lockout = coffer_engine::Lockout { threshold: 5, ..coffer_engine::Lockout::default() };
    Arc::get_mut(&mut bench.mount).unwrap().lockout = lockout;
    *made.down.lock().unwrap() = true;
    for _ in 0..20 {
        assert!(log_in(&bench, "bob", "builder").is_err());
    }
    *made.down.lock().unwrap() = false;
    log_in(&bench, "bob", "builder").unwrap();
    for _ in 0..20 {
        assert!(log_in(&bench, "Bob", "guess").is_err());
    }
    assert_eq!(log_in(&bench, "bob", "builder").err().unwrap().kind, Kind::Denied);
    log_in(&bench, "alice", "wonder").unwrap();
}

#[test]
fn a_renewal_looks_again() {
    let (bench, made) = bench(CONFIG);
    let login = *log_in(&bench, "alice", "wonder").unwrap().login.unwrap();
    let renewed = bench.renew_login(&login).unwrap();
    assert_eq!(renewed.policies, login.policies);
    // Another entry of that name is another person.
    let kept = made.entries.lock().unwrap().clone();
    made.entries.lock().unwrap()[1].0.dn = "uid=alice,ou=more,ou=people,dc=x".into();
    assert!(bench.renew_login(&login).is_err());
    made.entries.lock().unwrap().remove(1);
    assert!(bench.renew_login(&login).is_err());
    *made.entries.lock().unwrap() = kept;
    bench.call(Operation::Update, "groups/admins", r#"{"policies":"other"}"#).unwrap();
    assert_eq!(bench.renew_login(&login).err().unwrap().public, "policies have changed, not renewing");
}

#[test]
fn secrets_are_not_shown_and_stay_when_left_out() {
    let (bench, _) = bench(CONFIG);
    bench.call(Operation::Update, "config", r#"{"starttls":true}"#).unwrap();
    let shown = text(&bench.call(Operation::Read, "config", "").unwrap());
    assert!(!shown.contains("svc-pass") && !shown.contains("bindpass") && shown.contains("\"starttls\":true"), "{shown}");
    log_in(&bench, "bob", "builder").unwrap();
}

#[test]
fn what_could_not_work_is_refused_when_it_is_written() {
    let (bench, _) = bench(CONFIG);
    for bad in [
        r#"{"url":"http://x"}"#,
        r#"{"url":"ldap://"}"#,
        r#"{"url":"ldap://a:99999"}"#,
        r#"{"url":"ldap://a/dc=x??sub"}"#,
        r#"{"userfilter":"(uid={{.Username}}"}"#,
        r#"{"userfilter":"(uid={{.UserDN}})"}"#,
        r#"{"groupfilter":"member={{.UserDN}}"}"#,
        r#"{"userattr":"uid)(x"}"#,
        r#"{"userattr":""}"#,
        r#"{"tls_min_version":"tls13"}"#,
        r#"{"tls_max_version":"tls11"}"#,
        r#"{"dereference_aliases":"sometimes"}"#,
        r#"{"client_tls_cert":"x"}"#,
        r#"{"upndomain":"a)(b"}"#,
        r#"{"request_timeout":0}"#,
        r#"{"token_policies":"root"}"#,
    ] {
        assert_eq!(bench.call(Operation::Update, "config", bad).err().map(|f| f.kind), Some(Kind::BadRequest), "{bad}");
    }
    log_in(&bench, "bob", "builder").unwrap();
    for path in ["users/x", "groups/x"] {
        assert!(bench.call(Operation::Update, path, r#"{"policies":"a, Root"}"#).is_err());
    }
}

#[test]
fn a_rotation_that_ended_halfway_locks_nobody_out() {
    let (bench, made) = bench(CONFIG);
    bench.call(Operation::Update, "config", r#"{"password_policy":"any"}"#).unwrap();
    // The directory knows the new password, the commit never came.
    bench.call_and_crash(Operation::Update, "config/rotate-root", "").unwrap();
    made.entries.lock().unwrap()[0].1 = "generated".into();
    log_in(&bench, "bob", "builder").unwrap();
    bench.call(Operation::Update, "config/rotate-root", "").unwrap();
    log_in(&bench, "bob", "builder").unwrap();
    assert!(bench.call(Operation::Update, "config", r#"{"bindpass":"other"}"#).is_ok());
    assert!(log_in(&bench, "bob", "builder").is_err());
}

#[test]
fn without_a_configuration_nobody_logs_in() {
    let bench = Bench::new::<Ldap>("auth/ldap/", &[]);
    assert_eq!(log_in(&bench, "a", "b").err().unwrap().public, "ldap backend not configured");
    assert!(bench.call(Operation::Update, "config/rotate-root", "").is_err());
}
