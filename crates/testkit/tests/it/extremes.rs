//! The engine API's extremes on a whole server: policies, commits, leases, the clock and audit around the small engines.

use coffer_core::leases::expire::{expire_due, roll_back_intents};
use coffer_core::{CoreConfig, Registry};
use coffer_engine::{Answer, Call, Credential, Fields, Remote};
use coffer_testkit::engines::{Accounts, Certificates, MemoryDatabase, Secrets};
use coffer_testkit::{Server, registry};
use coffer_types::json::{Limits, parse};
use coffer_types::{Dialect, Error, Json, Kind, Operation, Path};
use std::sync::Arc;
use std::time::Duration;

async fn server() -> Server {
    let engines = registry()
        .engine::<Certificates>()
        .and_then(Registry::engine::<Accounts>)
        .and_then(Registry::engine::<Secrets>)
        .expect("sound declarations");
    Server::ready(engines, CoreConfig::default()).await
}

/// A server with the small engines.
struct Fixture(Server);

impl Fixture {
    async fn new() -> Self {
        Self(server().await)
    }

    async fn root(&self, method: &str, path: &str, body: &str) -> coffer_testkit::Replied {
        self.0.call(method, path, &self.0.root, body).await
    }

    /// Mounts an engine.
    async fn mount(&self, path: &str, body: &str) {
        let mounted = self.root("POST", &format!("sys/mounts/{path}"), body).await;
        assert_eq!(mounted.status, 204, "{}", mounted.text);
    }

    /// A token with this policy.
    async fn token(&self, policy: &str) -> String {
        let body = Json::from(coffer_types::Object::new().with("policy", policy)).to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(self.root("PUT", "sys/policies/acl/narrow", &body).await.status, 204);
        let made = self.root("POST", "auth/token/create", r#"{"policies":["narrow"],"ttl":"1h"}"#).await;
        assert_eq!(made.status, 200, "{}", made.text);
        made.text_at("auth/client_token").to_owned()
    }

    /// A verb, as a dialect without paths will call it.
    async fn verb(&self, token: &str, verb: &str, body: &str) -> Result<Answer, Error> {
        let credential = if token.is_empty() { Credential::None } else { Credential::Token(token.into()) };
        let body = parse(body.as_bytes(), &Limits::NONE).unwrap().into_object().unwrap();
        let call = Call {
            id: "00000000-0000-0000-0000-000000000001".into(),
            dialect: Dialect::Aws,
            credential,
            operation: Operation::Update,
            path: Path::parse("secret/").unwrap(),
            verb: Some(verb.into()),
            fields: Fields { body, ..Fields::default() },
            wrap: None,
            remote: Remote { ip: None, port: 0, certificate: None },
            listener: Arc::default(),
            headers: Vec::new(),
        };
        self.0.core.serve(call).await
    }
}

#[tokio::test]
async fn certificates_answer_anyone_in_their_own_form() {
    let f = Fixture::new().await;
    f.mount("pki", r#"{"type":"certificates"}"#).await;
    assert_eq!(f.root("POST", "pki/issue/web", r#"{"serial":1}"#).await.status, 200);
    let ca = f.0.request("GET", "/v1/pki/ca", &[], b"").await;
    assert_eq!((ca.status, ca.text.as_bytes()), (200, &[0x30, 0x03, 0x02, 0x01, 0x00][..]));
    for (path, certificate) in [("pki/cert/ca", "3003020100"), ("pki/cert/01", "3003020101")] {
        let read = f.0.call("GET", path, "", "").await;
        assert_eq!((read.status, read.text_at("data/certificate")), (200, certificate), "{}", read.text);
    }
    for (method, path) in
        [("LIST", "pki/certs"), ("POST", "pki/issue/web"), ("POST", "pki/import"), ("POST", "pki/ca"), ("DELETE", "pki/cert/01")]
    {
        let refused = f.0.call(method, path, "", "").await;
        assert_eq!(refused.status, 403, "{method} {path}: {}", refused.text);
    }
}

#[tokio::test]
async fn an_account_ends_with_its_lease() {
    let f = Fixture::new().await;
    let database = MemoryDatabase::named("ends-with-its-lease");
    f.mount("db", r#"{"type":"accounts","options":{"database":"ends-with-its-lease"}}"#).await;
    assert_eq!(f.root("POST", "db/roles/app", r#"{"ttl":"10m","max_ttl":"1h"}"#).await.status, 204);
    let made = f.root("GET", "db/creds/app", "").await;
    assert_eq!((made.status, made.body.at("lease_duration").and_then(Json::as_i64)), (200, Some(600)), "{}", made.text);
    let lease = made.text_at("lease_id").to_owned();
    assert!(lease.starts_with("db/creds/app/"), "{lease}");
    let user = made.text_at("data/username").to_owned();
    let renewed = f.root("POST", "sys/leases/renew", &format!(r#"{{"lease_id":"{lease}"}}"#)).await;
    assert_eq!((renewed.status, database.accounts()[&user]), (200, 1), "{}", renewed.text);

    // Its time comes; the database is away for the first tries.
    f.0.clock.advance(Duration::from_secs(601));
    database.fail(1);
    expire_due(&f.0.core).await.unwrap();
    assert_eq!(database.accounts().len(), 1, "the database did not answer");
    f.0.clock.advance(Duration::from_secs(60));
    expire_due(&f.0.core).await.unwrap();
    assert!(database.accounts().is_empty());
    let gone = f.root("POST", "sys/leases/lookup", &format!(r#"{{"lease_id":"{lease}"}}"#)).await;
    assert_eq!(gone.status, 400, "{}", gone.text);
}

#[tokio::test]
async fn revoking_a_lease_or_its_token_takes_the_account_away() {
    let f = Fixture::new().await;
    let database = MemoryDatabase::named("revoking");
    f.mount("db", r#"{"type":"accounts","options":{"database":"revoking"}}"#).await;
    assert_eq!(f.root("POST", "db/roles/app", "{}").await.status, 204);
    let lease = f.root("GET", "db/creds/app", "").await.text_at("lease_id").to_owned();
    let revoked = f.root("PUT", "sys/leases/revoke", &format!(r#"{{"lease_id":"{lease}"}}"#)).await;
    assert_eq!(revoked.status, 202, "{lease}: {}", revoked.text);
    expire_due(&f.0.core).await.unwrap();
    assert!(database.accounts().is_empty());
    // The token that asked for it ends, and so does the account.
    let token = f.token(r#"path "db/creds/app" { capabilities = ["read"] }"#).await;
    assert_eq!(f.0.call("GET", "db/creds/app", &token, "").await.status, 200);
    assert_eq!(f.0.call("GET", "db/roles/app", &token, "").await.status, 403);
    assert_eq!(database.accounts().len(), 1);
    assert_eq!(f.root("POST", "auth/token/revoke", &format!(r#"{{"token":"{token}"}}"#)).await.status, 204);
    expire_due(&f.0.core).await.unwrap();
    assert!(database.accounts().is_empty());
}

#[tokio::test]
async fn what_a_failed_call_left_outside_is_rolled_back() {
    let f = Fixture::new().await;
    let database = MemoryDatabase::named("rolled-back");
    f.mount("db", r#"{"type":"accounts","options":{"database":"rolled-back"}}"#).await;
    assert_eq!(f.root("POST", "db/roles/app", "{}").await.status, 204);
    database.fail(1);
    let failed = f.root("GET", "db/creds/app", "").await;
    assert!(failed.status >= 500, "{}", failed.text);
    // The note outlives the failed call, whose own writes are gone; too young notes may belong to a call that runs.
    let notes = async || {
        let live = f.0.core.unsealed().unwrap();
        let router = live.router.load_full();
        let mounted = router.all().find(|m| &*m.mount.path == "db/").unwrap().clone();
        live.view().keys(&mounted.intents, None, 10).await.unwrap().len()
    };
    assert_eq!(notes().await, 1);
    roll_back_intents(&f.0.core).await.unwrap();
    assert_eq!(notes().await, 1);
    f.0.clock.advance(Duration::from_secs(61));
    database.fail(1);
    roll_back_intents(&f.0.core).await.unwrap();
    assert_eq!(notes().await, 1, "the database did not answer");
    roll_back_intents(&f.0.core).await.unwrap();
    assert_eq!(notes().await, 0);
    assert!(database.accounts().is_empty());
}

#[tokio::test]
async fn a_verb_is_decided_on_the_resource_that_it_names() {
    let f = Fixture::new().await;
    f.mount("secret", r#"{"type":"secrets"}"#).await;
    let root = f.0.root.clone();
    for name in ["prod/x", "other"] {
        f.verb(&root, "CreateSecret", &format!(r#"{{"Name":"{name}","SecretString":"{name}!"}}"#)).await.unwrap();
    }
    let token = f.token(r#"path "secret/data/prod/*" { capabilities = ["read"] }"#).await;
    let read = f.verb(&token, "GetSecretValue", r#"{"SecretId":"prod/x"}"#).await.unwrap();
    assert_eq!(read.data.unwrap().get("SecretString").and_then(Json::as_str), Some("prod/x!"));
    for (token, verb, body) in [
        (&*token, "GetSecretValue", r#"{"SecretId":"other"}"#),
        (&*token, "PutSecretValue", r#"{"SecretId":"prod/x","SecretString":"no"}"#),
        (&*token, "DeleteSecret", r#"{"SecretId":"prod/x"}"#),
        (&*token, "CreateSecret", r#"{"Name":"prod/y","SecretString":"no"}"#),
        (&*token, "BatchGetSecretValue", r#"{"SecretIdList":["prod/x","other"]}"#),
        (&*token, "BatchGetSecretValue", r#"{"SecretIdList":[]}"#),
        ("", "GetSecretValue", r#"{"SecretId":"prod/x"}"#),
        ("hvs.nothing", "GetSecretValue", r#"{"SecretId":"prod/x"}"#),
    ] {
        let refused = f.verb(token, verb, body).await.err().map(|e| e.kind());
        assert_eq!(refused, Some(Kind::Denied), "{verb} {body}");
    }
    let after = f.verb(&root, "GetSecretValue", r#"{"SecretId":"prod/x"}"#).await.unwrap();
    assert_eq!(after.data.unwrap().get("SecretString").and_then(Json::as_str), Some("prod/x!"));
}

#[tokio::test]
async fn a_scan_shows_what_the_policy_lets_list() {
    let f = Fixture::new().await;
    f.mount("secret", r#"{"type":"kv","options":{"version":"2"}}"#).await;
    for name in ["top", "open/a", "open/deep/b", "closed/c", "closed/deep/d"] {
        assert_eq!(f.root("POST", &format!("secret/data/{name}"), r#"{"data":{}}"#).await.status, 200);
    }
    let policy = r#"
        path "secret/metadata" { capabilities = ["scan", "list"] }
        path "secret/metadata/" { capabilities = ["scan", "list"] }
        path "secret/metadata/open/*" { capabilities = ["list"] }
        path "secret/metadata/closed/*" { capabilities = ["read"] }
        path "secret/metadata/closed/deep/*" { capabilities = ["deny"] }
    "#;
    let token = f.token(policy).await;
    let seen = f.0.call("SCAN", "secret/metadata/", &token, "").await;
    assert_eq!(seen.status, 200, "{}", seen.text);
    let keys = String::from_utf8(seen.body.at("data/keys").unwrap().to_bytes().to_vec()).unwrap();
    assert_eq!(keys, r#"["top","open/a","open/deep/b"]"#);
    let all = f.root("SCAN", "secret/metadata/", "").await;
    assert_eq!(all.body.at("data/keys").and_then(Json::as_array).map(<[_]>::len), Some(5));
}
