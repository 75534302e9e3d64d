//! MongoDB, Cassandra and SQL Server: what is said to them, and what is not.

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
    target: Mutex<Option<Told>>,
}

/// Protocol, hosts, parameters, TLS.
type Told = (Protocol, Vec<(String, u16)>, Vec<(String, String)>, String);

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
    assert!(user.starts_with("v_obrien; __"), "{user}");
    let quoted = &user;
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
    fake.said();
    b.call(Operation::Update, "config/db", r#"{"username_template":"{{.DisplayName}}"}"#).unwrap();
    assert_eq!(
        refused(b.call(Operation::Read, "creds/app", "")).0,
        Kind::BadRequest,
        "Cassandra itself would trip over the quote"
    );
    assert!(fake.said().is_empty());
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

const SQL_SERVER: &str = r#"{"plugin_name":"mssql-database-plugin","connection_url":"sqlserver://{{username}}:{{password}}@h:7?database=app",
    "username":"admin","password":"canary-root","allowed_roles":"*"}"#;
const SQL_SERVER_ROLE: &str = r#"{"db_name":"db","creation_statements":"CREATE LOGIN [{{name}}] WITH PASSWORD = '{{password}}'; CREATE USER [{{name}}] FOR LOGIN [{{name}}]"}"#;

fn column(values: &[&str]) -> Result<Rows, Fault> {
    Ok(values.iter().map(|value| vec![Some((*value).to_owned())]).collect())
}

#[test]
fn a_login_of_sql_server() {
    let (mut b, fake) = bench(SQL_SERVER);
    let (protocol, hosts, _, tls) = fake.target.lock().unwrap().clone().unwrap();
    assert_eq!((protocol, hosts), (Protocol::SqlServer, vec![("h".to_owned(), 7)]));
    assert!(tls.starts_with("Offered") && tls.contains("only_tls12: true"), "{tls}");
    b.call(Operation::Update, "roles/app", SQL_SERVER_ROLE).unwrap();
    b.principal.as_mut().unwrap().display_name = "a]; DROP --'".into();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    let (user, password) = (text(&answer, "username").to_owned(), text(&answer, "password").to_owned());
    assert!(user.starts_with("v-a]; DROP --'-app-"), "{user}");
    let (name, quoted) = (user.replace(']', "]]"), user.replace('\'', "''"));
    assert_eq!(
        fake.said(),
        [
            format!("SELECT 1 FROM sys.server_principals WHERE name = N'{quoted}'"),
            format!("CREATE LOGIN [{name}] WITH PASSWORD = '{password}'"),
            format!("CREATE USER [{name}] FOR LOGIN [{name}]"),
        ]
    );
    let lease = answer.lease.unwrap();
    fake.answer([
        column(&["1"]),
        column(&[]),
        column(&["51", "5; x"]),
        fault(FaultKind::Refused),
        column(&["app", "o]'x"]),
        column(&["u'1"]),
        column(&[]),
        column(&[]),
    ]);
    b.revoke(&lease).unwrap();
    assert_eq!(
        fake.said()[1..],
        [
            format!("ALTER LOGIN [{name}] DISABLE"),
            format!("SELECT session_id FROM sys.dm_exec_sessions WHERE login_name = N'{quoted}'"),
            "KILL 51".to_owned(),
            "SELECT name FROM sys.databases WHERE state = 0 AND HAS_DBACCESS(name) = 1".to_owned(),
            format!("SELECT name FROM [app].sys.database_principals WHERE sid = SUSER_SID(N'{quoted}')"),
            "EXEC [app].sys.sp_executesql N'DROP USER [u''1]'".to_owned(),
            format!("SELECT name FROM [o]]'x].sys.database_principals WHERE sid = SUSER_SID(N'{quoted}')"),
            format!("DROP LOGIN [{name}]"),
        ]
    );
    b.revoke(&lease).unwrap();
    assert_eq!(fake.said().len(), 1, "it is gone: nothing to do");
    fake.answer([column(&["1"]), fault(FaultKind::Unreachable)]);
    assert!(b.revoke(&lease).is_err());
}

#[test]
fn contained_databases_and_passwords_of_sql_server() {
    let (b, fake) = bench(SQL_SERVER);
    b.call(Operation::Update, "rotate-root/db", "").unwrap();
    assert!(fake.said()[0].starts_with("ALTER LOGIN [admin] WITH PASSWORD = N'"));
    b.call(Operation::Update, "config/db", r#"{"contained_db":true,"verify_connection":false}"#).unwrap();
    let role = r#"{"db_name":"db","creation_statements":"CREATE USER [{{name}}] WITH PASSWORD = '{{password}}'"}"#;
    b.call(Operation::Update, "roles/app", role).unwrap();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    assert!(fake.said()[0].starts_with("SELECT 1 FROM sys.database_principals WHERE name = N'v-"));
    fake.answer([column(&["1"])]);
    b.revoke(answer.lease.as_ref().unwrap()).unwrap();
    assert_eq!(fake.said()[1], format!("DROP USER [{}]", text(&answer, "username")));
    b.call(Operation::Update, "static-roles/st", r#"{"db_name":"db","username":"jo]b","rotation_period":"60s"}"#).unwrap();
    assert!(fake.said()[0].starts_with("ALTER USER [jo]]b] WITH PASSWORD = N'"));
}

#[test]
fn refuses_of_sql_server() {
    let (b, fake) = bench(SQL_SERVER);
    b.call(Operation::Update, "roles/app", r#"{"db_name":"db"}"#).unwrap();
    assert!(refused(b.call(Operation::Read, "creds/app", "")).1.contains("empty creation statements"));
    b.call(Operation::Update, "roles/app", SQL_SERVER_ROLE).unwrap();
    fake.answer([column(&[]), column(&[]), fault(FaultKind::Refused)]);
    assert_eq!((refused(b.call(Operation::Read, "creds/app", "")).0, notes(&b)), (Kind::Upstream, 0));
    fake.answer([column(&["1"])]);
    assert!(refused(b.call(Operation::Read, "creds/app", "")).1.contains("is there already"));
    let long = format!(r#"{{"username_template":"{}"}}"#, "x".repeat(129));
    b.call(Operation::Update, "config/db", &long).unwrap();
    assert_eq!(refused(b.call(Operation::Read, "creds/app", "")).0, Kind::BadRequest);
    for body in [
        r#"{"plugin_name":"mssql-database-plugin"}"#,
        r#"{"plugin_name":"mssql-database-plugin","connection_url":"sqlserver://h/instance"}"#,
        r#"{"plugin_name":"mssql-database-plugin","connection_url":"sqlserver://h","contained_db":"maybe"}"#,
    ] {
        assert_eq!(refused(b.call(Operation::Update, "config/new", body)).0, Kind::BadRequest, "{body}");
    }
}

const POSTGRES: &str = r#"{"plugin_name":"postgresql-database-plugin","connection_url":"postgresql://{{username}}:{{password}}@h/d",
    "username":"admin","password":"canary-root","allowed_roles":"*"}"#;

#[test]
fn keys_are_handed_out_and_their_public_half_told() {
    let (b, fake) = bench(POSTGRES);
    let role = r#"{"db_name":"db","credential_type":"rsa_private_key","creation_statements":"CREATE ROLE \"{{name}}\"; INSERT INTO keys VALUES ('{{public_key}}')"}"#;
    b.call(Operation::Update, "roles/app", role).unwrap();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    let data = answer.data.as_ref().unwrap();
    assert_eq!(data.names().collect::<Vec<_>>(), ["rsa_private_key", "username"]);
    let pem = text(&answer, "rsa_private_key");
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "PKCS#8");
    let public = coffer_crypto::pk::PrivateKey::from_pem(pem).unwrap().public().unwrap();
    assert_eq!(fake.said().last(), Some(&format!("INSERT INTO keys VALUES ('{}')", public.to_pem())));
    // A key that no statement tells the database of would be good for nothing.
    b.call(Operation::Update, "roles/app", r#"{"creation_statements":"CREATE ROLE \"{{name}}\""}"#).unwrap();
    let (kind, why) = refused(b.call(Operation::Read, "creds/app", ""));
    assert!(kind == Kind::BadRequest && why.starts_with("unsupported credential_type: \"rsa_private_key\""), "{why}");
    b.call(Operation::Update, "roles/app", r#"{"creation_statements":"CREATE ROLE {{name}} '{{public_key}}' '{{password}}'"}"#)
        .unwrap();
    assert_eq!(refused(b.call(Operation::Read, "creds/app", "")).0, Kind::BadRequest);
    for settings in [r#"{"key_bits":"1024"}"#, r#"{"format":"pkcs1"}"#] {
        let body = format!(r#"{{"credential_type":"rsa_private_key","credential_config":{settings}}}"#);
        assert_eq!(refused(b.call(Operation::Update, "roles/app", &body)).0, Kind::BadRequest, "{settings}");
    }
}

#[test]
fn keys_of_static_roles() {
    let (b, fake) = bench(POSTGRES);
    let role = |more: &str| {
        format!(r#"{{"db_name":"db","username":"job","rotation_period":"60s","credential_type":"rsa_private_key"{more}}}"#)
    };
    let statements = r#","rotation_statements":"UPDATE keys SET key = '{{public_key}}' WHERE name = '{{name}}'""#;
    for more in ["", r#","rotation_statements":"SELECT 1""#, &format!(r#"{statements},"second_username":"job2""#)] {
        assert_eq!(refused(b.call(Operation::Update, "static-roles/st", &role(more))).0, Kind::BadRequest, "{more}");
    }
    fake.answer([fault(FaultKind::Refused)]);
    assert_eq!(refused(b.call(Operation::Update, "static-roles/st", &role(statements))).0, Kind::Upstream);
    let pending = || b.keys().iter().filter(|key| key.starts_with("pending/")).count();
    assert_eq!(pending(), 0, "it happened together or not at all");
    fake.said();
    b.call(Operation::Update, "static-roles/st", &role(statements)).unwrap();
    let public = |answer: &Answer| {
        coffer_crypto::pk::PrivateKey::from_pem(text(answer, "rsa_private_key")).unwrap().public().unwrap().to_pem()
    };
    let first = b.call(Operation::Read, "static-creds/st", "").unwrap();
    assert_eq!(fake.said(), [format!("UPDATE keys SET key = '{}' WHERE name = 'job'", public(&first))]);
    assert!(first.data.as_ref().unwrap().get("password").is_none());
    b.call(Operation::Update, "rotate-role/st", "").unwrap();
    let second = b.call(Operation::Read, "static-creds/st", "").unwrap();
    assert_ne!(public(&first), public(&second));
    assert_eq!((fake.said(), pending()), (vec![format!("UPDATE keys SET key = '{}' WHERE name = 'job'", public(&second))], 0));
    let certificate = role("").replace("rsa_private_key", "client_certificate");
    assert_eq!(refused(b.call(Operation::Update, "static-roles/c", &certificate)).0, Kind::BadRequest);
}

/// An authority made with the certificates of this program's own; `ends` in seconds since 1970.
fn authority(ends: i64, is_authority: bool) -> (String, String) {
    use coffer_crypto::pk::{KeyKind, PrivateKey};
    use coffer_crypto::x509::{BasicConstraints, Draft, Extensions, KeyUses, SignatureAlgorithm, Subject, pem};
    let key = PrivateKey::generate(KeyKind::P256).unwrap();
    let name = Subject { common_name: "Databases".into(), ..Subject::default() }.to_der();
    let mut extensions = Extensions::default();
    extensions.key_usage(if is_authority { KeyUses::CERT_SIGN } else { KeyUses::DIGITAL_SIGNATURE });
    extensions.basic_constraints(BasicConstraints { authority: is_authority, path_length: None });
    let public = key.public().unwrap();
    let draft = Draft {
        serial: &[1],
        issuer: &name,
        subject: &name,
        not_before: 0,
        not_after: ends,
        spki: public.spki(),
        extensions: &extensions,
    };
    let der = draft.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap();
    (pem("CERTIFICATE", &der), key.to_pkcs8_pem().unwrap().to_string())
}

fn certificate_role(ca: &(String, String), more: &[(&str, &str)]) -> String {
    let mut settings = coffer_types::Object::new()
        .with("ca_cert", ca.0.as_str())
        .with("ca_private_key", ca.1.as_str())
        .with("key_type", "ec")
        .with("common_name_template", "{{.Username}}");
    for (name, value) in more {
        settings.insert(*name, *value);
    }
    let role = coffer_types::Object::new()
        .with("db_name", "db")
        .with("credential_type", "client_certificate")
        .with("creation_statements", "CREATE USER '{{name}}' REQUIRE SUBJECT '{{subject}}'")
        .with("default_ttl", "1h")
        .with("credential_config", Json::Object(settings));
    String::from_utf8(Json::Object(role).to_bytes().to_vec()).unwrap()
}

#[test]
fn certificates_are_handed_out_and_end_with_their_lease() {
    use coffer_crypto::pk::PrivateKey;
    use coffer_crypto::x509::Certificate;
    let (b, fake) = bench(POSTGRES);
    let ca = authority(4_000_000_000, true);
    let root = Certificate::from_pem(&ca.0).unwrap().remove(0);
    for (kind, more) in
        [("ec", vec![]), ("rsa", vec![("key_type", "rsa")]), ("ed25519", vec![("key_type", "ed25519"), ("key_bits", "7")])]
    {
        b.call(Operation::Update, "roles/app", &certificate_role(&ca, &more)).unwrap();
        let answer = b.call(Operation::Read, "creds/app", "").unwrap();
        let names: Vec<_> = answer.data.as_ref().unwrap().names().collect();
        assert_eq!(names, ["client_certificate", "private_key", "private_key_type", "username"]);
        let user = text(&answer, "username");
        let made = Certificate::from_pem(text(&answer, "client_certificate")).unwrap().remove(0);
        let key = PrivateKey::from_pem(text(&answer, "private_key")).unwrap();
        assert!(root.signed(&made) && made.is_for_clients() && !made.is_authority());
        assert_eq!(
            (made.common_name().as_str(), made.spki(), text(&answer, "private_key_type")),
            (user, key.public().unwrap().spki(), kind)
        );
        let lease = answer.lease.as_ref().unwrap().terms.ttl.secs();
        assert_eq!((lease, made.not_after_secs() - made.not_before_secs()), (3600, 3600 + 5 + 30));
        assert_eq!(fake.said().last(), Some(&format!("CREATE USER '{user}' REQUIRE SUBJECT 'CN={user}'")));
    }
    // Never longer than the authority.
    let short = authority(b.now().secs() + 60, true);
    b.call(Operation::Update, "roles/app", &certificate_role(&short, &[])).unwrap();
    let answer = b.call(Operation::Read, "creds/app", "").unwrap();
    let made = Certificate::from_pem(text(&answer, "client_certificate")).unwrap().remove(0);
    assert_eq!(made.not_after_secs(), b.now().secs() + 60);
    b.pass(coffer_types::Span::from_secs(120));
    assert!(refused(b.call(Operation::Read, "creds/app", "")).1.contains("ca_cert has ended"));
    let shown = coffer_engine::testing::text(&b.call(Operation::Read, "roles/app", "").unwrap());
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
}

#[test]
fn refuses_settings_of_certificates() {
    let (b, fake) = bench(POSTGRES);
    let (ca, other) = (authority(4_000_000_000, true), authority(4_000_000_000, true));
    let leaf = authority(4_000_000_000, false);
    for (more, said) in [
        (vec![("common_name_template", "")], "missing required common_name_template"),
        (vec![("common_name_template", "{{bad")], "failed to create template"),
        (vec![("key_type", "dsa")], "invalid key_type"),
        (vec![("key_bits", "111")], "invalid key_bits"),
        (vec![("key_type", "rsa"), ("key_bits", "1024")], "invalid key_bits"),
        (vec![("signature_bits", "9")], "invalid signature_bits"),
        (vec![("ca_cert", "")], "missing required ca_cert"),
        (vec![("ca_private_key", "")], "missing required ca_private_key"),
        (vec![("ca_cert", "zz")], "no certificate in PEM"),
        (vec![("ca_private_key", "canary")], "no private key in PEM"),
        (vec![("ca_private_key", other.1.as_str())], "not the key of ca_cert"),
        (vec![("ca_cert", leaf.0.as_str()), ("ca_private_key", leaf.1.as_str())], "may not sign certificates"),
    ] {
        let (kind, why) = refused(b.call(Operation::Update, "roles/app", &certificate_role(&ca, &more)));
        assert!(kind == Kind::BadRequest && why.contains(said) && !why.contains("canary"), "{said}: {why}");
    }
    let long = certificate_role(&ca, &[("common_name_template", "{{random 65}}")]);
    b.call(Operation::Update, "roles/app", &long).unwrap();
    assert_eq!(refused(b.call(Operation::Read, "creds/app", "")).0, Kind::BadRequest);
    assert!(fake.said().is_empty());
}
