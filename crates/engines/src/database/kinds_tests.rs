//! MongoDB and Cassandra: what is said to them, and what is not.

use super::*;
use coffer_engine::outside::{self, Line, Outside, Protocol, Rows, Script, Target};
use coffer_engine::testing::{Bench, Failed};
use coffer_engine::{BoxFuture, reply::Answer};
use coffer_types::Operation;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Writes down what it is told and whom it is told as; answers as it is bidden, else with nothing.
#[derive(Debug, Default)]
struct Fake {
    said: Mutex<Vec<String>>,
    answers: Mutex<VecDeque<Result<Rows, Fault>>>,
    target: Mutex<Option<(Protocol, Vec<(String, u16)>, Vec<(String, String)>, String)>>,
}

impl Fake {
    fn said(&self) -> Vec<String> {
        std::mem::take(&mut self.said.lock().unwrap())
    }

    fn answer(&self, answers: impl IntoIterator<Item = Result<Rows, Fault>>) {
        self.answers.lock().unwrap().extend(answers);
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
        Box::pin(async move {
            let tls = format!("{:?}", target.tls);
            *self.target.lock().unwrap() = Some((target.protocol, target.hosts.clone(), target.parameters.clone(), tls));
            let mut rows = Vec::new();
            for line in &script.lines {
                self.said.lock().unwrap().push(match line {
                    Line::Statement(text) => text.expose().clone(),
                    Line::Command(words) => words.iter().map(|word| word.expose().as_str()).collect::<Vec<_>>().join(" "),
                });
                rows.push(self.answers.lock().unwrap().pop_front().unwrap_or(Ok(Rows::new()))?);
            }
            Ok(rows)
        })
    }
    fn forget(&self, _: &str) {}
}

const MONGO: &str = r#"{"plugin_name":"mongodb-database-plugin","connection_url":"mongodb://{{username}}:{{password}}@h/app",
    "username":"admin","password":"canary-root","allowed_roles":"*","write_concern":"{\"wmode\":\"majority\",\"wtimeout\":5000}"}"#;
const MONGO_ROLE: &str = r#"{"db_name":"db","creation_statements":"{\"db\":\"app\",\"roles\":[{\"role\":\"read\"}]}","revocation_statements":"{\"db\":\"app\"}"}"#;
const CASSANDRA: &str = r#"{"plugin_name":"cassandra-database-plugin","hosts":"a, b:1","port":9999,"username":"admin","password":"canary-root",
    "allowed_roles":"*","protocol_version":3,"consistency":"ONE"}"#;

fn bench(config: &str) -> (Bench, Arc<Fake>) {
    let fake = Arc::new(Fake::default());
    let bench = Bench::reaching::<Database>("database/", fake.clone());
    bench.call(Operation::Update, "config/db", config).unwrap();
    (bench, fake)
}

fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.data.as_ref().unwrap().get(name).unwrap().as_str().unwrap()
}

fn refused(outcome: Result<Answer, Failed>) -> (Kind, String) {
    let failed = outcome.err().expect("a refusal");
    (failed.kind, failed.public)
}

fn fault<T>(kind: FaultKind) -> Result<T, Fault> {
    Err(Fault::new(kind, "no"))
}

fn notes(bench: &Bench) -> usize {
    bench.keys().iter().filter(|key| key.starts_with("intents/")).count()
}

#[test]
fn a_login_of_mongodb() {
    let (mut b, fake) = bench(MONGO);
    b.call(Operation::Update, "roles/app", MONGO_ROLE).unwrap();
    b.principal.as_mut().unwrap().display_name = r#"a","roles":["root"]"#.into();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    let (user, password) = (text(&answer, "username").to_owned(), text(&answer, "password").to_owned());
    let name = String::from_utf8_lossy(&Json::string(user.as_str()).to_bytes()).into_owned();
    assert!(user.starts_with(r#"v-a","roles":["ro-app-"#), "{user}");
    let concern = r#""writeConcern":{"w":"majority","wtimeout":5000}}"#;
    assert_eq!(
        fake.said(),
        [
            format!(r#"app {{"usersInfo":{name}}}"#),
            format!(r#"app {{"createUser":{name},"pwd":"{password}","roles":["read"],{concern}"#),
        ]
    );
    let lease = answer.lease.unwrap();
    b.renew(&lease).unwrap();
    assert!(fake.said().is_empty(), "there is nothing to renew");
    b.revoke(&lease).unwrap();
    assert_eq!(fake.said(), [format!(r#"app {{"dropUser":{name},{concern}"#)]);
    fake.answer([fault(FaultKind::Absent)]);
    b.revoke(&lease).unwrap();
    fake.answer([fault(FaultKind::Refused)]);
    assert!(b.revoke(&lease).is_err());
    assert_eq!(notes(&b), 0);
}

#[test]
fn passwords_of_mongodb() {
    let (b, fake) = bench(MONGO);
    b.call(Operation::Update, "rotate-root/db", "").unwrap();
    let said = fake.said();
    assert!(said[0].starts_with(r#"admin {"updateUser":"admin","pwd":""#), "{said:?}");
    b.call(Operation::Update, "static-roles/st", r#"{"db_name":"db","username":"job","rotation_period":"60s"}"#).unwrap();
    let said = fake.said();
    assert!(said[0].starts_with(r#"app {"updateUser":"job","pwd":""#), "{said:?}");
}

#[test]
fn refuses_of_mongodb() {
    let (b, fake) = bench(MONGO);
    let creds = |role: &str| {
        b.call(Operation::Update, "roles/app", &format!(r#"{{"db_name":"db","creation_statements":{role}}}"#)).unwrap();
        refused(b.call(Operation::Read, "creds/app", ""))
    };
    assert!(creds("[]").1.contains("empty creation statements"));
    assert!(creds(r#""db.createUser({})""#).0 == Kind::BadRequest);
    assert_eq!(creds(r#""{\"db\":\"app\"}""#), (Kind::BadRequest, "roles array is required in creation statement".into()));
    fake.said();
    // It is there already; we may not look, and it is; the answer never comes.
    fake.answer([Ok(vec![vec![Some("x".into())]])]);
    assert!(creds(r#""{\"roles\":[\"read\"]}""#).1.contains("is there already"));
    fake.answer([fault(FaultKind::Refused), fault(FaultKind::Refused)]);
    assert_eq!((creds(r#""{\"roles\":[\"read\"]}""#).0, notes(&b)), (Kind::Upstream, 0));
    assert_eq!(fake.said().len(), 3, "nothing was removed that may be another's");
    fake.answer([Ok(Rows::new()), fault(FaultKind::Unreachable)]);
    assert_eq!((creds(r#""{\"roles\":[\"read\"]}""#).0, notes(&b)), (Kind::Upstream, 1));
    assert_eq!((b.roll_back(), notes(&b)), (0, 0));
    assert!(fake.said().last().unwrap().starts_with(r#"admin {"dropUser":"v-"#));
    b.call(Operation::Update, "roles/app", r#"{"credential_type":"rsa_private_key"}"#).unwrap();
    assert!(refused(b.call(Operation::Read, "creds/app", "")).1.contains("unsupported credential_type"));
    for body in [
        r#"{"plugin_name":"mongodb-database-plugin"}"#,
        r#"{"plugin_name":"mongodb-database-plugin","connection_url":"h:27017"}"#,
        r#"{"plugin_name":"mongodb-database-plugin","connection_url":"mongodb+srv://h/"}"#,
        r#"{"plugin_name":"mongodb-database-plugin","connection_url":"mongodb://h/","write_concern":"majority"}"#,
    ] {
        assert_eq!(refused(b.call(Operation::Update, "config/new", body)).0, Kind::BadRequest, "{body}");
    }
}

#[test]
fn a_login_of_cassandra() {
    let (mut b, fake) = bench(CASSANDRA);
    let parameters = [("consistency".to_owned(), "ONE".to_owned()), ("protocol_version".to_owned(), "3".to_owned())];
    let hosts = [("a".to_owned(), 9999), ("b".to_owned(), 1)];
    assert_eq!(
        fake.target.lock().unwrap().clone(),
        Some((Protocol::Cassandra, hosts.to_vec(), parameters.to_vec(), "Off".into()))
    );
    b.call(Operation::Update, "roles/app", r#"{"db_name":"db"}"#).unwrap();
    b.principal.as_mut().unwrap().display_name = "O'Brien; --".into();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    let (user, password) = (text(&answer, "username").to_owned(), text(&answer, "password").to_owned());
    assert!(user.starts_with("v_o'brien; __"), "{user}");
    let quoted = user.replace('\'', "''");
    assert_eq!(
        fake.said(),
        [
            format!("LIST ROLES OF '{quoted}' NORECURSIVE"),
            format!("CREATE USER '{quoted}' WITH PASSWORD '{password}' NOSUPERUSER"),
        ]
    );
    let lease = answer.lease.unwrap();
    b.revoke(&lease).unwrap();
    assert_eq!(fake.said(), [format!("DROP USER IF EXISTS '{quoted}'")]);
    b.call(Operation::Update, "rotate-root/db", "").unwrap();
    assert!(fake.said()[0].starts_with("ALTER USER 'admin' WITH PASSWORD '"));
    b.call(Operation::Update, "roles/app", r#"{"creation_statements":"CREATE ROLE x; GRANT SELECT ON a.b TO {{username}};"}"#)
        .unwrap();
    let (kind, why) = refused(b.call(Operation::Read, "creds/app", ""));
    assert!(kind == Kind::BadRequest && why.contains("outside of quotes"), "{why}");
}

#[test]
fn what_cassandra_made_of_half_a_role_is_taken_back() {
    let (b, fake) = bench(CASSANDRA);
    let role = r#"{"db_name":"db","creation_statements":"CREATE ROLE '{{name}}'; GRANT SELECT ON a.b TO '{{name}}'"}"#;
    b.call(Operation::Update, "roles/app", role).unwrap();
    fake.answer([fault(FaultKind::Refused), Ok(Rows::new()), fault(FaultKind::Absent)]);
    assert_eq!((refused(b.call(Operation::Read, "creds/app", "")).0, notes(&b)), (Kind::Upstream, 0));
    assert!(fake.said().last().unwrap().starts_with("DROP USER IF EXISTS 'v_"));
    fake.answer([Ok(Rows::new()), fault(FaultKind::Refused)]);
    assert_eq!((refused(b.call(Operation::Read, "creds/app", "")).0, notes(&b)), (Kind::Upstream, 0));
    assert_eq!(fake.said().len(), 2, "the first was refused: nothing is there that is ours");
}

#[test]
fn refuses_of_cassandra() {
    let (b, fake) = bench(CASSANDRA);
    for more in [
        r#""hosts":"""#,
        r#""hosts":"a:port""#,
        r#""username":"""#,
        r#""password":"""#,
        r#""port":70000"#,
        r#""pem_bundle":"x""#,
        r#""pem_bundle":"x","pem_json":"{}""#,
    ] {
        let kind = b.call(Operation::Update, "config/db", &format!("{{{more}}}")).err().map(|failed| failed.kind);
        assert_eq!(kind, Some(Kind::BadRequest), "{more}");
    }
    b.call(Operation::Update, "config/db", r#"{"tls":true,"insecure_tls":true}"#).unwrap();
    assert!(fake.target.lock().unwrap().as_ref().unwrap().3.starts_with("On"));
}
