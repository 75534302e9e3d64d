use super::*;
use coffer_engine::outside::{self, Line, Outside, Rows, Script, Target};
use coffer_engine::testing::{Bench, Failed};
use coffer_engine::{BoxFuture, reply::Answer};
use coffer_types::{Operation, Span};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// A database of accounts and passwords that reads just the statements of these tests.
#[derive(Debug, Default)]
struct Fake {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    accounts: BTreeMap<String, String>,
    said: Vec<String>,
    /// What the next calls are answered with, instead of being done.
    faults: Vec<Fault>,
    /// Done, but the answer never comes.
    lost: u32,
    /// The next statement that is refused finds every made account gone.
    vanishes: bool,
    logins: u32,
}

impl Fake {
    fn with(accounts: &[(&str, &str)]) -> Arc<Self> {
        let fake = Self::default();
        fake.state.lock().unwrap().accounts = accounts.iter().map(|(u, p)| ((*u).to_owned(), (*p).to_owned())).collect();
        Arc::new(fake)
    }

    fn fail(&self, kind: FaultKind, text: &str) {
        self.state.lock().unwrap().faults.push(Fault::new(kind, text.to_owned()));
    }

    fn lose(&self) {
        self.state.lock().unwrap().lost = 1;
    }

    fn password(&self, user: &str) -> Option<String> {
        self.state.lock().unwrap().accounts.get(user).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.state.lock().unwrap().accounts.keys().cloned().collect()
    }

    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().said)
    }

    fn answer(&self, target: &Target, script: &Script) -> Result<Vec<Rows>, Fault> {
        let mut state = self.state.lock().unwrap();
        if state.accounts.get(&target.user) != Some(target.password.expose()) {
            return Err(Fault::new(FaultKind::Credentials, "password authentication failed"));
        }
        state.logins += 1;
        let mut rows = Vec::new();
        for line in &script.lines {
            let text = match line {
                Line::Statement(text) => text.expose().clone(),
                Line::Command(words) => words.iter().map(|word| word.expose().as_str()).collect::<Vec<_>>().join(" "),
            };
            state.said.push(text.clone());
            let quoted = |mark: char| text.split(mark).nth(1).unwrap_or_default().to_owned();
            if !text.starts_with("SELECT")
                && !text.starts_with("WITH")
                && let Some(fault) = state.faults.pop()
            {
                if state.vanishes {
                    state.accounts.retain(|name, _| !name.starts_with("v-"));
                }
                return Err(fault);
            }
            let mut found = Rows::new();
            if text.starts_with("CREATE ROLE") || text.starts_with("ALTER ROLE") && text.contains("PASSWORD") {
                state.accounts.insert(quoted('"'), quoted('\''));
            } else if text.starts_with("DROP ROLE") {
                state.accounts.remove(&quoted('"'));
            } else if text.starts_with("SELECT 1 FROM pg_catalog.pg_roles") && state.accounts.contains_key(&quoted('\'')) {
                found.push(vec![Some("1".to_owned())]);
            }
            rows.push(found);
        }
        if state.lost > 0 && script.atomic {
            state.lost -= 1;
            return Err(Fault::new(FaultKind::Unreachable, "the connection broke"));
        }
        Ok(rows)
    }
}

impl Outside for Fake {
    fn http(&self) -> &dyn outside::Http {
        &outside::Nothing
    }
    fn database(&self) -> &dyn outside::Database {
        self
    }
}

impl outside::Database for Fake {
    fn run<'a>(&'a self, target: &'a Target, script: Script) -> BoxFuture<'a, Result<Vec<Rows>, Fault>> {
        Box::pin(async move { self.answer(target, &script) })
    }
    fn forget(&self, _: &str) {}
    fn speaks(&self, protocol: outside::Protocol) -> bool {
        protocol != outside::Protocol::SqlServer
    }
}

const CONFIG: &str = r#"{"plugin_name":"postgresql-database-plugin","connection_url":"postgresql://{{username}}:{{password}}@h/d",
    "username":"admin","password":"canary-root","allowed_roles":"app*,st*"}"#;
const ROLE: &str = r#"{"db_name":"pg","creation_statements":"CREATE ROLE \"{{name}}\" PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'","default_ttl":"1h","max_ttl":"24h"}"#;

fn bench() -> (Bench, Arc<Fake>) {
    let fake = Fake::with(&[("admin", "canary-root"), ("job", "first")]);
    let bench = Bench::reaching::<Database>("database/", fake.clone());
    bench.call(Operation::Update, "config/pg", CONFIG).unwrap();
    bench.call(Operation::Update, "roles/app", ROLE).unwrap();
    fake.said();
    (bench, fake)
}

fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.data.as_ref().unwrap().get(name).unwrap().as_str().unwrap()
}

fn refused(outcome: Result<Answer, Failed>) -> (Kind, String) {
    let failed = outcome.err().expect("a refusal");
    (failed.kind, failed.public)
}

fn notes(bench: &Bench, folder: &str) -> usize {
    bench.keys().iter().filter(|key| key.starts_with(folder)).count()
}

#[test]
fn patterns_of_allowed_roles() {
    for (pattern, name, good) in [
        ("*", "a", true),
        ("a*", "ab", true),
        ("*b", "ab", true),
        ("a*c*e", "abcde", true),
        ("a*b", "a", false),
        ("ab*ab", "ab", false),
        ("a", "ab", false),
        ("", "a", false),
        ("a*c*e", "ace ", false),
    ] {
        assert_eq!(fits(pattern, name), good, "{pattern} {name}");
    }
}

#[test]
fn a_login_lives_with_its_lease() {
    let (b, fake) = bench();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    let (user, password) = (text(&answer, "username").to_owned(), text(&answer, "password").to_owned());
    assert!(user.starts_with("v-test-app-"), "{user}");
    assert_eq!(fake.password(&user), Some(password));
    assert_eq!(notes(&b, "intents/"), 0, "the note goes with the commit of the lease");
    assert!(fake.said()[1].contains("VALID UNTIL '2026-11-23 04:23:27+0000'"), "an hour and five seconds");
    let lease = answer.lease.unwrap();
    assert_eq!(
        (lease.terms.ttl, lease.terms.max_ttl, lease.terms.renewable),
        (Span::from_secs(3600), Span::from_secs(86_400), true)
    );
    b.pass(Span::from_secs(600));
    b.renew(&lease).unwrap();
    assert_eq!(fake.said(), [format!("ALTER ROLE \"{user}\" VALID UNTIL '2026-11-23 04:33:27+0000'")]);
    b.revoke(&lease).unwrap();
    b.revoke(&lease).unwrap();
    assert_eq!(fake.names(), ["admin", "job"]);
}

#[test]
fn a_crash_after_the_account_was_made_leaves_none() {
    let (b, fake) = bench();
    b.call_and_crash(Operation::Read, "creds/app", "").unwrap();
    assert_eq!((fake.names().len(), notes(&b, "intents/")), (3, 1));
    fake.fail(FaultKind::Refused, "not now");
    assert_eq!(b.roll_back(), 1, "tried again until it is done");
    assert_eq!(b.roll_back(), 0);
    assert_eq!((fake.names().len(), notes(&b, "intents/")), (2, 0));
}

#[test]
fn an_account_that_may_have_been_made_is_taken_back_later() {
    let (b, fake) = bench();
    fake.lose();
    let (kind, why) = refused(b.call(Operation::Read, "creds/app", ""));
    assert_eq!(
        (kind, why.as_str()),
        (Kind::Upstream, "1 error occurred:\n\t* failed to make the account: the connection broke\n\n")
    );
    assert_eq!((fake.names().len(), notes(&b, "intents/")), (3, 1), "nobody knows: the note stays");
    assert_eq!(b.roll_back(), 0);
    assert_eq!((fake.names().len(), notes(&b, "intents/")), (2, 0));
}

#[test]
fn a_statement_that_is_refused_leaves_nothing_and_tells_no_password() {
    let (b, fake) = bench();
    fake.fail(FaultKind::Refused, "ERROR: permission denied, password canary-root (SQLSTATE 42501)");
    let (kind, why) = refused(b.call(Operation::Read, "creds/app", ""));
    assert_eq!(kind, Kind::Upstream);
    assert!(why.contains("42501") && !why.contains("canary"), "{why}");
    assert_eq!((fake.names().len(), notes(&b, "intents/")), (2, 0));
}

#[test]
fn an_account_that_is_there_is_neither_handed_out_nor_removed() {
    let (b, fake) = bench();
    b.call(Operation::Update, "config/pg", r#"{"username_template":"{{.RoleName}}"}"#).unwrap();
    let first = b.call(Operation::Read, "creds/app", "").unwrap();
    let (_, why) = refused(b.call(Operation::Read, "creds/app", ""));
    assert!(why.contains("is there already"), "{why}");
    assert_eq!(fake.password("app").as_deref(), Some(text(&first, "password")));
    assert_eq!((b.roll_back(), notes(&b, "intents/")), (0, 0));
    assert!(fake.password("app").is_some());
}

#[test]
fn what_a_role_says_is_said_also_without_an_account() {
    let (b, fake) = bench();
    b.call(Operation::Update, "roles/app", r#"{"creation_statements":"INSERT INTO users VALUES ('{{name}}')","revocation_statements":"DELETE FROM users WHERE name = '{{name}}'"}"#)
        .unwrap();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    let lease = answer.lease.as_ref().unwrap();
    fake.said();
    for kind in [FaultKind::Refused, FaultKind::Unreachable] {
        fake.fail(kind, "no");
        assert!(b.revoke(lease).is_err(), "an error stays one");
    }
    b.revoke(lease).unwrap();
    assert_eq!(fake.said().last(), Some(&format!("DELETE FROM users WHERE name = '{}'", text(&answer, "username"))));
    fake.fail(FaultKind::Absent, "no such role");
    b.revoke(lease).unwrap();
}

#[test]
fn what_another_call_removes_at_the_same_time_is_removed() {
    let (b, fake) = bench();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    fake.fail(FaultKind::Absent, "ERROR: role does not exist (SQLSTATE 42704)");
    fake.fail(FaultKind::Absent, "ERROR: role does not exist (SQLSTATE 42704)");
    let lease = answer.lease.as_ref().unwrap();
    assert!(b.revoke(lease).is_err(), "the role is there still, so something else is absent");
    fake.state.lock().unwrap().vanishes = true;
    b.revoke(lease).unwrap();
}

#[test]
fn refuses_logins() {
    let (b, fake) = bench();
    assert_eq!(refused(b.call(Operation::Read, "creds/none", "")), (Kind::BadRequest, "unknown role: none".into()));
    b.call(Operation::Update, "roles/other", ROLE).unwrap();
    assert!(refused(b.call(Operation::Read, "creds/other", "")).1.contains("\"other\" is not an allowed role"));
    b.call(Operation::Update, "roles/app2", r#"{"db_name":"nodb"}"#).unwrap();
    assert!(
        refused(b.call(Operation::Read, "creds/app2", "")).1.contains("failed to find entry for connection with name: \"nodb\"")
    );
    b.call(Operation::Update, "roles/app2", r#"{"db_name":"pg"}"#).unwrap();
    assert!(refused(b.call(Operation::Read, "creds/app2", "")).1.contains("empty creation statements"));
    b.call(Operation::Update, "roles/app2", r#"{"creation_statements":"x","credential_type":"rsa_private_key"}"#).unwrap();
    assert_eq!(refused(b.call(Operation::Read, "creds/app2", "")).0, Kind::BadRequest);
    b.call(Operation::Update, "roles/app3", r#"{"db_name":"pg","creation_statements":"CREATE ROLE {{name}}"}"#).unwrap();
    assert_eq!(refused(b.call(Operation::Read, "creds/app3", "")).0, Kind::BadRequest, "a name outside of quotes");
    assert_eq!((fake.names().len(), notes(&b, "intents/")), (2, 0));
    assert!(fake.said().iter().all(|said| !said.contains("CREATE")));
    for (path, body) in [
        ("roles/new", "{}"),
        ("roles/new", r#"{"db_name":"pg","default_ttl":"-1h"}"#),
        ("roles/new", r#"{"db_name":"pg","credential_type":"nope"}"#),
        ("config/new", "{}"),
        ("config/new", r#"{"plugin_name":"nope"}"#),
        ("config/new", r#"{"plugin_name":"postgresql-database-plugin"}"#),
        ("config/new", r#"{"plugin_name":"postgresql-database-plugin","connection_url":"garbage"}"#),
        ("config/new", r#"{"plugin_name":"redis-database-plugin","host":"h"}"#),
        ("config/pg", r#"{"username_template":"{{bad"}"#),
        ("config/pg", r#"{"password":"wrong"}"#),
    ] {
        assert_eq!(refused(b.call(Operation::Update, path, body)).0, Kind::BadRequest, "{path} {body}");
    }
    let not_built = r#"{"plugin_name":"mssql-database-plugin","connection_url":"sqlserver://h","verify_connection":false}"#;
    assert_eq!(refused(b.call(Operation::Update, "config/new", not_built)).0, Kind::NotImplemented);
}

#[test]
fn hostile_display_names_stay_names() {
    let (mut b, fake) = bench();
    b.principal.as_mut().unwrap().display_name = "a\"; DROP ROLE admin; --".into();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    let said: Vec<_> = fake.said().into_iter().filter(|said| !said.starts_with("SELECT 1")).collect();
    assert_eq!(said.len(), 1, "one statement: {said:?}");
    assert!(said[0].starts_with("CREATE ROLE \"v-a\"\"; DROP-app-"), "{}", said[0]);
    assert!(text(&answer, "username").starts_with("v-a\"; DROP-app-"));
    b.principal.as_mut().unwrap().display_name = "a\nb".into();
    assert_eq!(refused(b.call(Operation::Read, "creds/app", "")).0, Kind::BadRequest);
}

#[test]
fn nothing_that_is_read_holds_a_password() {
    let (b, _) = bench();
    b.call(Operation::Update, "config/pg", r#"{"connection_url":"postgresql://admin:canary-root@h/d"}"#).unwrap();
    let shown = coffer_engine::testing::text(&b.call(Operation::Read, "config/pg", "").unwrap());
    assert!(!shown.contains("canary") && shown.contains("postgresql://admin:xxxxx@h/d"), "{shown}");
    let answer = b.call_and_crash(Operation::Read, "creds/app", "").unwrap();
    let password = text(&answer, "password").to_owned();
    let lease = answer.lease.unwrap().internal;
    let note = b.keys().into_iter().find(|key| key.starts_with("intents/")).unwrap();
    for stored in [&b.stored(&note).unwrap()[..], &lease[..]] {
        assert!(!String::from_utf8_lossy(stored).contains(&password));
    }
}

#[test]
fn the_root_password_changes_and_a_crash_does_not_lock_out() {
    let (b, fake) = bench();
    b.call(Operation::Update, "rotate-root/pg", "").unwrap();
    let second = fake.password("admin").unwrap();
    assert!(second != "canary-root" && notes(&b, "pending/") == 0);
    b.call(Operation::Read, "creds/app", "").unwrap();

    b.call_and_crash(Operation::Update, "rotate-root/pg", "").unwrap();
    assert!(fake.password("admin").unwrap() != second && notes(&b, "pending/") == 1);
    b.call(Operation::Read, "creds/app", "").unwrap();
    b.beat().unwrap();
    assert_eq!(notes(&b, "pending/"), 1, "the call may run still");
    b.pass(Span::from_secs(200));
    b.beat().unwrap();
    assert_eq!(notes(&b, "pending/"), 0);
    b.call(Operation::Read, "creds/app", "").unwrap();

    fake.fail(FaultKind::Refused, "no");
    assert_eq!(refused(b.call(Operation::Update, "rotate-root/pg", "")).0, Kind::Upstream);
    assert_eq!(notes(&b, "pending/"), 0, "it surely does not know the new one");
    b.call(Operation::Read, "creds/app", "").unwrap();
    assert_eq!(refused(b.call(Operation::Update, "rotate-root/none", "")).0, Kind::Upstream);
}

const STATIC: &str = r#"{"db_name":"pg","username":"job","rotation_period":"60s"}"#;

#[test]
fn a_password_changes_by_the_clock() {
    let (b, fake) = bench();
    b.call(Operation::Update, "static-roles/st", STATIC).unwrap();
    let first = fake.password("job").unwrap();
    let shown = b.call(Operation::Read, "static-creds/st", "").unwrap();
    assert_eq!((text(&shown, "password"), text(&shown, "username")), (first.as_str(), "job"));
    b.pass(Span::from_secs(59));
    b.beat().unwrap();
    assert_eq!(fake.password("job").unwrap(), first);
    b.pass(Span::from_secs(1));
    b.beat().unwrap();
    let second = fake.password("job").unwrap();
    assert_ne!(second, first);
    assert_eq!(text(&b.call(Operation::Read, "static-creds/st", "").unwrap(), "password"), second);
    assert_eq!((notes(&b, "due/"), notes(&b, "pending/")), (1, 0));

    fake.fail(FaultKind::Unreachable, "down");
    b.pass(Span::from_secs(60));
    b.beat().unwrap();
    let shown = b.call(Operation::Read, "static-roles/st", "").unwrap();
    assert!(text(&shown, "rotation_error").contains("down"));
    b.pass(Span::from_secs(10));
    b.beat().unwrap();
    assert_ne!(fake.password("job").unwrap(), second, "tried again after ten seconds");
    assert!(b.call(Operation::Read, "static-roles/st", "").unwrap().data.unwrap().get("rotation_error").is_none());

    b.call(Operation::Delete, "static-roles/st", "").unwrap();
    assert_eq!((notes(&b, "due/"), notes(&b, "pending/"), notes(&b, "static-role/")), (0, 0, 0));
    assert!(fake.password("job").is_some(), "the account stays");
}

#[test]
fn a_crash_in_a_change_is_found_out() {
    let (b, fake) = bench();
    b.call(Operation::Update, "static-roles/st", STATIC).unwrap();
    let first = fake.password("job").unwrap();
    b.call_and_crash(Operation::Update, "rotate-role/st", "").unwrap();
    let second = fake.password("job").unwrap();
    assert_ne!(first, second);
    assert_eq!(text(&b.call(Operation::Read, "static-creds/st", "").unwrap(), "password"), second, "by trying");
    b.call(Operation::Update, "rotate-role/st", "").unwrap();
    let third = fake.password("job").unwrap();
    assert_eq!(text(&b.call(Operation::Read, "static-creds/st", "").unwrap(), "password"), third);
    assert_eq!(notes(&b, "pending/"), 0);
}

#[test]
fn schedules_and_their_windows() {
    let (b, fake) = bench();
    // The clock stands at 03:23:22.
    let role = r#"{"db_name":"pg","username":"job","rotation_schedule":"0 4 * * *","rotation_window":"1h"}"#;
    b.call(Operation::Update, "static-roles/st", role).unwrap();
    let first = fake.password("job").unwrap();
    b.pass(Span::from_secs(36 * 60));
    b.beat().unwrap();
    assert_eq!(fake.password("job").unwrap(), first);
    b.pass(Span::from_secs(60));
    b.beat().unwrap();
    let second = fake.password("job").unwrap();
    assert_ne!(second, first, "at four");
    b.pass(Span::from_secs(26 * 3600));
    b.beat().unwrap();
    assert_eq!(fake.password("job").unwrap(), second, "two hours late is past the window");
    b.pass(Span::from_secs(22 * 3600));
    b.beat().unwrap();
    assert_ne!(fake.password("job").unwrap(), second, "the day after");
}

#[test]
fn two_accounts_take_turns() {
    let (b, fake) = bench();
    fake.state.lock().unwrap().accounts.insert("job2".into(), "x".into());
    let role = r#"{"db_name":"pg","username":"job","second_username":"job2","rotation_period":"60s"}"#;
    b.call(Operation::Update, "static-roles/st", role).unwrap();
    let first = b.call(Operation::Read, "static-creds/st", "").unwrap();
    assert_eq!(text(&first, "username"), "job");
    b.call(Operation::Update, "rotate-role/st", "").unwrap();
    let second = b.call(Operation::Read, "static-creds/st", "").unwrap();
    assert_eq!(text(&second, "username"), "job2");
    assert_eq!(fake.password("job").as_deref(), Some(text(&first, "password")), "what was handed out works still");
    assert_eq!(fake.password("job2").as_deref(), Some(text(&second, "password")));
}

#[test]
fn accounts_that_change_their_own_password() {
    let (b, fake) = bench();
    let config = r#"{"plugin_name":"postgresql-database-plugin","connection_url":"postgresql://{{username}}:{{password}}@h/d","self_managed":true,"allowed_roles":"*"}"#;
    b.call(Operation::Update, "config/own", config).unwrap();
    let role = |more: &str| format!(r#"{{"db_name":"own","username":"job","rotation_period":"60s"{more}}}"#);
    assert_eq!(refused(b.call(Operation::Update, "static-roles/st", &role(""))).0, Kind::BadRequest);
    b.call(Operation::Update, "static-roles/st", &role(r#","self_managed_password":"first""#)).unwrap();
    assert_ne!(fake.password("job").unwrap(), "first");
    b.call_and_crash(Operation::Update, "rotate-role/st", "").unwrap();
    b.call(Operation::Update, "rotate-role/st", "").unwrap();
    let shown = b.call(Operation::Read, "static-creds/st", "").unwrap();
    assert_eq!(fake.password("job").as_deref(), Some(text(&shown, "password")));
}

#[test]
fn refuses_static_roles() {
    let (b, fake) = bench();
    for body in [
        "{}",
        r#"{"db_name":"pg"}"#,
        r#"{"db_name":"pg","username":"job"}"#,
        r#"{"db_name":"pg","username":"job","rotation_period":"4s"}"#,
        r#"{"db_name":"pg","username":"job","rotation_period":"60s","rotation_schedule":"* * * * *"}"#,
        r#"{"db_name":"pg","username":"job","rotation_schedule":"* * * *"}"#,
        r#"{"db_name":"pg","username":"job","rotation_schedule":"0 0 * * *","rotation_window":"10m"}"#,
        r#"{"db_name":"pg","username":"job","rotation_period":"60s","rotation_window":"2h"}"#,
        r#"{"db_name":"pg","username":"job","second_username":"job","rotation_period":"60s"}"#,
        r#"{"db_name":"pg","username":"a\nb","rotation_period":"60s"}"#,
        r#"{"db_name":"pg","username":"job","rotation_period":"60s","credential_type":"rsa_private_key"}"#,
    ] {
        assert_eq!(refused(b.call(Operation::Update, "static-roles/st", body)).0, Kind::BadRequest, "{body}");
    }
    assert_eq!(refused(b.call(Operation::Update, "static-roles/no", STATIC)).0, Kind::Upstream, "not allowed");
    assert_eq!(refused(b.call(Operation::Update, "static-roles/app", STATIC)).1, "Role and Static Role names must be unique");
    assert_eq!(refused(b.call(Operation::Update, "rotate-role/none", "")).1, "no static role found for role name");
    assert_eq!(refused(b.call(Operation::Read, "static-creds/none", "")).1, "unknown role: none");
    fake.fail(FaultKind::Refused, "role \"job\" does not exist");
    assert_eq!(refused(b.call(Operation::Update, "static-roles/st", STATIC)).0, Kind::Upstream);
    assert_eq!(b.call(Operation::Read, "static-roles/st", "").err().map(|e| e.kind), Some(Kind::NotFound));
    assert_eq!((notes(&b, "pending/"), notes(&b, "due/")), (0, 0));
    b.call(Operation::Update, "static-roles/st", STATIC).unwrap();
    assert_eq!(refused(b.call(Operation::Update, "roles/st", ROLE)).1, "Role and Static Role names must be unique");
    let other = r#"{"username":"other"}"#;
    assert_eq!(refused(b.call(Operation::Update, "static-roles/st", other)).1, "cannot update static account username");
}
