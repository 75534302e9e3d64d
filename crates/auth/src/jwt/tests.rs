//! Logins with tokens, over a store in memory and an issuer in memory.

use super::Jwt;
use crate::fake::{Fake, down};
use coffer_crypto::jws::{Algorithm, Signer};
use coffer_engine::testing::{Bench, Failed, object, text};
use coffer_engine::{Answer, Login};
use coffer_types::{Json, Kind, Object, Operation, Span};
use std::sync::{Arc, OnceLock};

const ISSUER: &str = "https://issuer.example";

/// RSA keys take long to make: two for all tests.
fn keys() -> &'static [Signer; 2] {
    static KEYS: OnceLock<[Signer; 2]> = OnceLock::new();
    KEYS.get_or_init(|| [Signer::generate(Algorithm::Rs256).unwrap(), Signer::generate(Algorithm::Rs256).unwrap()])
}

fn jwks(keys: &[(&Signer, &str)]) -> Vec<u8> {
    let keys: Vec<Json> = keys.iter().map(|(key, name)| Json::Object(key.public_jwk(name).unwrap())).collect();
    Json::Object(Object::new().with("keys", keys)).to_bytes().to_vec()
}

/// An issuer with a description and a key set.
fn issuer(keys: Vec<u8>) -> Arc<Fake> {
    Fake::new(move |request| match request.url.strip_prefix(ISSUER) {
        Some("/.well-known/openid-configuration") => Ok((200, description())),
        Some("/keys") => Ok((200, keys.clone())),
        _ => Err(down()),
    })
}

fn description() -> Vec<u8> {
    format!(
        r#"{{"issuer":"{ISSUER}","jwks_uri":"{ISSUER}/keys","authorization_endpoint":"{ISSUER}/a","token_endpoint":"{ISSUER}/t"}}"#
    )
    .into_bytes()
}

struct Mount {
    bench: Bench,
    fake: Arc<Fake>,
}

impl Mount {
    fn new(config: &str) -> Self {
        Self::of(config, issuer(jwks(&[(&keys()[0], "k1")])))
    }

    fn of(config: &str, fake: Arc<Fake>) -> Self {
        let mount = Self { bench: Bench::reaching::<Jwt>("auth/jwt/", fake.clone()), fake };
        mount.write("config", config);
        mount.write("role/r", r#"{"role_type":"jwt","user_claim":"sub","bound_audiences":"a","token_policies":"p"}"#);
        mount
    }

    fn write(&self, path: &str, body: &str) {
        self.bench.call(Operation::Update, path, body).unwrap();
    }

    fn role(&self, more: &str) {
        self.bench.call(Operation::Delete, "role/r", "").unwrap();
        self.write("role/r", &format!(r#"{{"role_type":"jwt","user_claim":"sub","bound_audiences":"a"{more}}}"#));
    }

    fn login(&self, token: &str) -> Result<Login, Failed> {
        let body = Object::new().with("role", "r").with("jwt", token);
        let answer = self.call("login", body)?;
        Ok(*answer.login.unwrap())
    }

    fn call(&self, path: &str, body: Object) -> Result<Answer, Failed> {
        self.bench.call(Operation::Update, path, std::str::from_utf8(&Json::Object(body).to_bytes()).unwrap())
    }

    /// Claims that the role of the start takes, with others instead or besides; null leaves one out.
    fn claims(&self, other: &str) -> Object {
        let now = self.bench.now().secs();
        let mut claims = Object::new()
            .with("iss", ISSUER)
            .with("sub", "bob")
            .with("aud", "a")
            .with("iat", now)
            .with("nbf", now)
            .with("exp", now + 300);
        for (name, value) in object(other) {
            claims.insert(name, value);
        }
        claims
    }

    fn token(&self, other: &str) -> String {
        keys()[0].token("k1", self.claims(other)).unwrap()
    }

    fn refused(&self, token: &str) -> String {
        let failed = self.login(token).err().unwrap();
        assert_eq!(failed.kind, Kind::BadRequest, "{}", failed.public);
        failed.public
    }
}

fn by_jwks() -> Mount {
    Mount::new(&format!(r#"{{"jwks_url":"{ISSUER}/keys","bound_issuer":"{ISSUER}"}}"#))
}

#[test]
fn a_login_says_who_it_is() {
    let mount = by_jwks();
    mount.role(r#","groups_claim":"/g/in","claim_mappings":{"email":"mail","none":"x"},"token_policies":"p,q","token_ttl":60"#);
    let login = mount.login(&mount.token(r#"{"aud":["z","a"],"g":{"in":["x","y"]},"email":"b@example"}"#)).unwrap();
    assert_eq!((&*login.display_name, &*login.alias), ("bob", "bob"));
    assert_eq!((login.policies.join(","), login.group_aliases.join(","), login.ttl.secs()), ("p,q".into(), "x,y".into(), 60));
    let metadata: Vec<_> = login.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(metadata, ["mail=b@example", "role=r"]);
    assert_eq!(login.alias_metadata, login.metadata);
}

#[test]
fn tokens_that_do_not_hold_are_refused() {
    let mount = by_jwks();
    assert!(mount.login(&mount.token("{}")).is_ok());
    for (claims, why) in [
        (r#"{"aud":"b"}"#, "audience"),
        (r#"{"aud":null}"#, "audience"),
        (r#"{"exp":1}"#, "expired"),
        (r#"{"nbf":99999999999}"#, "not yet valid"),
        (r#"{"iat":99999999999}"#, "in the future"),
        (r#"{"exp":null,"nbf":null,"iat":null}"#, "no issued at"),
        (r#"{"iss":"https://other.example"}"#, "issuer"),
        (r#"{"iss":null}"#, "issuer"),
        (r#"{"iss":["https://issuer.example"]}"#, "issuer"),
        (r#"{"sub":null}"#, "not found in token"),
        (r#"{"sub":5}"#, "subject"),
        (r#"{"sub":""}"#, "empty"),
    ] {
        let said = mount.refused(&mount.token(claims));
        assert!(said.contains(why), "{claims}: {said}");
    }
    let good = mount.token("{}");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (_, claims) = signed.split_once('.').unwrap();
    for (token, why) in [
        (String::new(), "missing token"),
        ("x".into(), "three parts"),
        (good[..good.len() - 1].into(), "base64url"),
        (format!("{signed}."), "signature"),
        (format!("eyJhbGciOiJub25lIn0.{claims}."), "signature"),
        (format!("eyJhbGciOiJIUzI1NiJ9.{claims}.{signature}"), "signature"),
        ("x".repeat(70_000), "longer"),
        (keys()[1].token("k1", mount.claims("{}")).unwrap(), "signature"),
        (keys()[1].token("k2", mount.claims("{}")).unwrap(), "signature"),
        (keys()[0].token_with(object(r#"{"crit":["x"]}"#), b"{}").unwrap(), "extensions"),
        (keys()[0].token_with(Object::new(), br#"{"sub":"a","sub":"b"}"#).unwrap(), "claims"),
    ] {
        let said = mount.refused(&token);
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[test]
fn what_a_role_binds_must_be_there() {
    let mount = by_jwks();
    mount.role(r#","bound_subject":"alice""#);
    assert!(mount.refused(&mount.token("{}")).contains("subject"));
    mount.role(r#","bound_claims":{"/a/b":["x","y"],"n":7}"#);
    assert!(mount.login(&mount.token(r#"{"a":{"b":["q","y"]},"n":7}"#)).is_ok());
    for claims in ["{}", r#"{"a":{"b":"x"}}"#, r#"{"a":{"b":"x"},"n":"7"}"#, r#"{"a":{"b":{"x":1}},"n":7}"#, r#"{"a":"x","n":7}"#]
    {
        let said = mount.refused(&mount.token(claims));
        assert!(said.contains("error validating claims"), "{said}");
    }
    mount.role(r#","groups_claim":"g""#);
    assert!(mount.refused(&mount.token("{}")).contains("groups"));
    mount.role(r#","token_bound_cidrs":"10.0.0.0/8""#);
    assert_eq!(mount.login(&mount.token("{}")).err().unwrap().kind, Kind::Denied, "from nowhere");
    mount.role(r#","token_policies":"t-{{.team}},fixed","token_policies_template_claims":true"#);
    assert_eq!(mount.login(&mount.token(r#"{"team":"red"}"#)).unwrap().policies, ["t-red", "fixed"]);
    assert_eq!(mount.login(&mount.token(r#"{"team":"*"}"#)).unwrap().policies, ["fixed"]);
    let none = mount.call("login", object(r#"{"jwt":"x"}"#)).err().unwrap();
    assert_eq!(none.public, "missing role");
    let other = mount.call("login", object(r#"{"jwt":"x","role":"other"}"#)).err().unwrap();
    assert_eq!(other.public, "role \"other\" could not be found");
    mount.write("role/o", r#"{"user_claim":"sub","allowed_redirect_uris":"http://localhost/cb"}"#);
    let body = Object::new().with("role", "o").with("jwt", mount.token("{}"));
    assert_eq!(mount.call("login", body).err().unwrap().public, "role with oidc role_type is not allowed");
}

#[test]
fn algorithms_are_those_of_the_configuration() {
    let mount = Mount::new(&format!(r#"{{"jwks_url":"{ISSUER}/keys","jwt_supported_algs":"ES256,RS512"}}"#));
    assert!(mount.refused(&mount.token("{}")).contains("unexpected algorithm"));
    let failed = mount.call("config", object(&format!(r#"{{"jwks_url":"{ISSUER}/keys","jwt_supported_algs":"HS256"}}"#)));
    assert!(failed.err().unwrap().public.contains("unsupported signing algorithm"));
}

#[test]
fn keys_are_kept_and_asked_for_again() {
    let mount = by_jwks();
    mount.fake.asked();
    for _ in 0..3 {
        mount.login(&mount.token("{}")).unwrap();
    }
    assert_eq!(mount.fake.asked().len(), 1, "one fetch serves all");
    // A key that the set does not have: asked again, but not at once, and not for each.
    let new = keys()[1].token("k2", mount.claims("{}")).unwrap();
    mount.refused(&new);
    assert_eq!(mount.fake.asked().len(), 0);
    mount.bench.pass(Span::from_secs(11));
    for _ in 0..5 {
        mount.refused(&keys()[1].token("k2", mount.claims("{}")).unwrap());
    }
    assert_eq!(mount.fake.asked().len(), 1);
    // The issuer has changed its keys: the new one is found, the old one is gone.
    mount.fake.answers(|_| Ok((200, jwks(&[(&keys()[1], "k2")]))));
    mount.bench.pass(Span::from_secs(11));
    mount.login(&keys()[1].token("k2", mount.claims("{}")).unwrap()).unwrap();
    mount.refused(&mount.token("{}"));
    // No key outlives its time.
    mount.fake.answers(|_| Err(down()));
    mount.bench.pass(Span::from_secs(601));
    let said = mount.refused(&keys()[1].token("k2", mount.claims("{}")).unwrap());
    assert!(said.contains("connection refused"), "{said}");
    // An issuer that is down is not asked for each login.
    mount.fake.asked();
    mount.refused(&keys()[1].token("k2", mount.claims("{}")).unwrap());
    assert_eq!(mount.fake.asked().len(), 0);
    // Another configuration keeps nothing of the old one.
    mount.fake.answers(|_| Ok((200, jwks(&[(&keys()[0], "k1")]))));
    mount.write("config", r#"{"jwks_url":"https://other.example/keys"}"#);
    mount.login(&mount.token("{}")).unwrap();
}

#[test]
fn an_issuer_is_found_by_its_description() {
    let mount = Mount::new(&format!(r#"{{"oidc_discovery_url":"{ISSUER}/"}}"#));
    mount.login(&mount.token("{}")).unwrap();
    let status = |mount: &Mount| {
        let answer = mount.bench.call(Operation::Read, "config", "").unwrap();
        (answer.data.unwrap().get("status").and_then(Json::as_str).unwrap_or_default().to_owned(), answer.warnings.len())
    };
    assert_eq!(status(&mount), ("valid".into(), 0));
    let config = format!(r#"{{"oidc_discovery_url":"{ISSUER}"}}"#);
    for (document, why) in [
        ("[]".to_owned(), "no JSON object"),
        (r#"{"issuer":"https://issuer.example"}"#.to_owned(), "does not name all"),
        (
            String::from_utf8(description()).unwrap().replace(r#""issuer":"https://issuer"#, r#""issuer":"https://evil"#),
            "another issuer",
        ),
        (
            String::from_utf8(description()).unwrap().replace("https://issuer.example/keys", "file:///etc/passwd"),
            "no http or https",
        ),
    ] {
        let document = document.into_bytes();
        mount.fake.answers(move |_| Ok((200, document.clone())));
        let failed = mount.call("config", object(&config)).err().unwrap();
        assert!(failed.public.contains(why), "{}", failed.public);
    }
    for status in [204, 301, 302, 401, 404, 500] {
        mount.fake.answers(move |_| Ok((status, description())));
        let failed = mount.call("config", object(&config)).err().unwrap();
        assert!(failed.public.contains(&format!("status {status}")), "{}", failed.public);
    }
    mount.fake.answers(|_| Ok((200, vec![b' '; 600_000])));
    assert!(mount.call("config", object(&config)).err().unwrap().public.contains("too large"));
    mount.fake.answers(|_| Err(down()));
    let answer = mount.call("config", object(&config.replace('}', r#","skip_jwks_validation":true}"#))).unwrap();
    assert_eq!((answer.status, answer.warnings.len()), (Some(200), 1));
    mount.bench.pass(Span::from_secs(700));
    assert_eq!(status(&mount), ("invalid".into(), 1));
}

#[test]
fn configurations_that_can_not_be_are_refused() {
    let mount = by_jwks();
    let pem =
        "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\\n-----END PUBLIC KEY-----";
    mount.write("config", &format!(r#"{{"jwt_validation_pubkeys":["{pem}"]}}"#));
    for bad in [
        "{}".to_owned(),
        r#"{"bound_issuer":"x"}"#.to_owned(),
        format!(r#"{{"jwt_validation_pubkeys":["{pem}"],"jwks_url":"{ISSUER}/keys"}}"#),
        r#"{"jwt_validation_pubkeys":["x"]}"#.to_owned(),
        format!(r#"{{"jwt_validation_pubkeys":["{pem}"],"oidc_client_id":"a"}}"#),
        format!(r#"{{"jwt_validation_pubkeys":["{pem}"],"oidc_client_id":"a","oidc_client_secret":"b"}}"#),
        format!(r#"{{"jwt_validation_pubkeys":["{pem}"],"oidc_response_mode":"q"}}"#),
        format!(r#"{{"jwt_validation_pubkeys":["{pem}"],"oidc_response_types":"q"}}"#),
        format!(r#"{{"jwt_validation_pubkeys":["{pem}"],"oidc_response_types":"id_token","oidc_response_mode":"query"}}"#),
        format!(r#"{{"jwt_validation_pubkeys":["{pem}"],"provider_config":{{"a":"b"}}}}"#),
        format!(r#"{{"jwt_validation_pubkeys":["{pem}"],"provider_config":{{"provider":"zzz"}}}}"#),
        format!(r#"{{"jwt_validation_pubkeys":["{pem}"],"jwt_supported_algs":"none"}}"#),
    ] {
        assert_eq!(mount.call("config", object(&bad)).err().unwrap().kind, Kind::BadRequest, "{bad}");
    }
    let role = |body: &str| mount.call("role/x", object(body)).map(drop).map_err(|f| f.public);
    for bad in [
        "{}",
        r#"{"role_type":"jwt","user_claim":"sub"}"#,
        r#"{"role_type":"q","user_claim":"sub"}"#,
        r#"{"user_claim":"sub"}"#,
        r#"{"role_type":"jwt","user_claim":"sub","bound_claims":{"a":5},"bound_claims_type":"glob"}"#,
        r#"{"role_type":"jwt","user_claim":"sub","bound_audiences":"a","bound_claims_type":"re"}"#,
        r#"{"role_type":"jwt","user_claim":"sub","bound_audiences":"a","claim_mappings":{"a":"role"}}"#,
        r#"{"role_type":"jwt","user_claim":"sub","bound_audiences":"a","claim_mappings":{"a":"x","b":"x"}}"#,
        r#"{"role_type":"jwt","user_claim":"sub","bound_audiences":"a","oauth2_metadata":"id_token"}"#,
        r#"{"role_type":"jwt","user_claim":"sub","bound_audiences":"a","ttl":60,"max_ttl":30}"#,
        r#"{"role_type":"jwt","user_claim":"sub","bound_audiences":"a","token_policies":"root"}"#,
        r#"{"user_claim":"sub","allowed_redirect_uris":"x","callback_mode":"zz"}"#,
    ] {
        assert!(role(bad).is_err(), "{bad}");
    }
    assert_eq!(mount.bench.call(Operation::Update, "role/-x", "{}").err().unwrap().kind, Kind::NotFound);
    assert_eq!(mount.bench.call(Operation::Update, "cel/role/x", "{}").err().unwrap().kind, Kind::NotImplemented);
    role(r#"{"user_claim":"sub","callback_mode":"device","policies":"old","num_uses":3}"#).unwrap();
    let shown = text(&mount.bench.call(Operation::Read, "role/X", "").unwrap());
    // Another write leaves what it does not name, but for the two kinds.
    role(r#"{"allowed_redirect_uris":"http://localhost/x"}"#).unwrap();
    let again = text(&mount.bench.call(Operation::Read, "role/X", "").unwrap());
    assert!(again.contains(r#""callback_mode":"client""#) && again.contains(r#""user_claim":"sub""#), "{again}");
    assert!(shown.contains(r#""token_policies":["old"]"#) && shown.contains(r#""bound_claims":null"#), "{shown}");
}

#[test]
fn a_renewal_needs_its_role() {
    let mount = by_jwks();
    let login = mount.login(&mount.token("{}")).unwrap();
    mount.role(r#","token_ttl":5,"token_max_ttl":50"#);
    let renew = |login: Login| mount.bench.within(|view, inner| mount.bench.engine.renew_login(login, view, inner).unwrap());
    let renewed = renew(login.clone()).unwrap();
    assert_eq!((renewed.ttl.secs(), renewed.max_ttl.secs()), (5, 50));
    mount.bench.call(Operation::Delete, "role/r", "").unwrap();
    assert!(renew(login).is_err());
}

#[test]
fn neither_a_token_nor_a_secret_stands_in_an_answer() {
    let mount = by_jwks();
    let canary = keys()[1].token("canary-kid", mount.claims(r#"{"sub":"canary-sub","iss":"canary-iss"}"#)).unwrap();
    let said = mount.refused(&canary);
    assert!(!said.contains("canary") && !canary.split('.').any(|part| said.contains(part)), "{said}");
    let secret = r#","oidc_client_id":"me","oidc_client_secret":"canary-secret"}"#;
    mount.write("config", &format!(r#"{{"oidc_discovery_url":"{ISSUER}"{secret}"#));
    let shown = text(&mount.bench.call(Operation::Read, "config", "").unwrap());
    assert!(shown.contains(r#""oidc_client_id":"me""#) && !shown.contains("canary"), "{shown}");
}
