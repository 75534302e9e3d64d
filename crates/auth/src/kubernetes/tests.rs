//! Logins against what a real API server answered (`vectors/kubernetes`), and against what none should.

use super::Kubernetes;
use crate::fake::{Fake, down};
use coffer_crypto::jws::{Algorithm, Signer};
use coffer_engine::Login;
use coffer_engine::outside::{Fault, HttpRequest};
use coffer_engine::testing::{Bench, Failed, object, text};
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Kind, Object, Operation, Span};
use std::sync::{Arc, OnceLock};

const HOST: &str = "https://kube.example:6443";
const REVIEW: &str = "https://kube.example:6443/apis/authentication.k8s.io/v1/tokenreviews";

fn key() -> &'static Signer {
    static KEY: OnceLock<Signer> = OnceLock::new();
    KEY.get_or_init(|| Signer::generate(Algorithm::Es256).unwrap())
}

struct Mount {
    bench: Bench,
    fake: Arc<Fake>,
}

type Answer = Result<(u16, Vec<u8>), Fault>;

impl Mount {
    /// A mount over an API server that answers this, and a role for `app` in `ns1`.
    fn new(answer: impl Fn(&HttpRequest) -> Answer + Send + Sync + 'static) -> Self {
        let fake = Fake::new(answer);
        let mount = Self { bench: Bench::reaching::<Kubernetes>("auth/kubernetes/", fake.clone()), fake };
        mount.config(r#","token_reviewer_jwt":"canary-reviewer""#);
        mount.role(r#","bound_service_account_namespaces":"ns1""#);
        mount
    }

    fn good() -> Self {
        Self::new(|_| good("{}"))
    }

    fn write(&self, path: &str, body: &str) -> Result<(), Failed> {
        self.bench.call(Operation::Update, path, body).map(drop)
    }

    fn config(&self, more: &str) {
        self.write("config", &format!(r#"{{"kubernetes_host":"{HOST}","kubernetes_ca_cert":"ca"{more}}}"#)).unwrap();
    }

    fn role(&self, more: &str) {
        self.bench.call(Operation::Delete, "role/r", "").map(drop).unwrap();
        self.write(
            "role/r",
            &format!(
                r#"{{{}"token_policies":"p"{more}}}"#,
                if more.contains("account_names\"") { "" } else { r#""bound_service_account_names":"app","# }
            ),
        )
        .unwrap();
    }

    fn login(&self, token: &str) -> Result<Login, Failed> {
        let body = Object::new().with("role", "r").with("jwt", token);
        let body = Json::Object(body).to_bytes();
        let answer = self.bench.call(Operation::Update, "login", std::str::from_utf8(&body).unwrap())?;
        Ok(*answer.login.unwrap())
    }

    /// What is said to who may not log in.
    fn denied(&self, token: &str) -> String {
        let failed = self.login(token).unwrap_err();
        assert_eq!(failed.kind, Kind::Denied, "{}", failed.public);
        assert!(!failed.public.contains("canary"), "{}", failed.public);
        failed.public
    }

    /// A token as Kubernetes makes them now, with other claims over it; null leaves one out.
    fn token(&self, other: &str) -> String {
        let now = self.bench.now().secs();
        let mut claims = object(&format!(
            r#"{{"aud":["https://kubernetes.default.svc"],"iss":"https://kubernetes.default.svc","iat":{now},"nbf":{now},"exp":{},
            "sub":"system:serviceaccount:ns1:app","kubernetes.io":{{"namespace":"ns1","serviceaccount":{{"name":"app","uid":"u-1"}}}}}}"#,
            now + 3600
        ));
        for (name, value) in object(other) {
            claims.insert(name, value);
        }
        key().token("k", claims).unwrap()
    }
}

/// A review that says yes to `app` in `ns1`, with other members of its status over it.
fn good(other: &str) -> Answer {
    let mut status = object(
        r#"{"authenticated":true,"audiences":["https://kubernetes.default.svc"],
        "user":{"username":"system:serviceaccount:ns1:app","uid":"u-1","groups":["system:serviceaccounts"]}}"#,
    );
    for (name, value) in object(other) {
        status.insert(name, value);
    }
    let review = Object::new().with("kind", "TokenReview").with("status", Json::Object(status));
    Ok((201, Json::Object(review).to_bytes().to_vec()))
}

fn bearer(request: &HttpRequest) -> String {
    let found = request.headers.iter().find(|(name, _)| name == "authorization");
    found.map(|(_, value)| value.expose().clone()).unwrap_or_default()
}

#[test]
fn what_a_real_server_answered_is_understood() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/kubernetes/token-reviews.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let cases: Vec<Json> = text.lines().map(|line| parse(line.as_bytes(), &Limits::NONE).unwrap()).collect();
    let mut seen = Vec::new();
    for case in cases.iter().filter(|case| case.get("audiences").is_some()) {
        let name = case.get("name").and_then(Json::as_str).unwrap();
        let status = u16::try_from(case.get("status").and_then(Json::as_i64).unwrap()).unwrap();
        let reply = case.get("reply").unwrap().to_bytes().to_vec();
        let mount = Mount::new(move |_| Ok((status, reply.clone())));
        let audience = case.at("audiences/0").and_then(Json::as_str).unwrap_or_default();
        mount.role(&format!(
            r#","bound_service_account_names":"app,gone","bound_service_account_namespaces":"ns1","audience":"{audience}""#
        ));
        let token = match case.get("claims").and_then(Json::as_object) {
            Some(claims) => {
                let issued = claims.get("iat").and_then(Json::as_i64).unwrap();
                mount.bench.pass(Span::from_secs(issued + 5 - mount.bench.now().secs()));
                key().token("k", claims.clone()).unwrap()
            }
            None => "garbage".to_owned(),
        };
        match mount.login(&token) {
            Ok(login) => {
                let uid = case.at("reply/status/user/uid").and_then(Json::as_str).unwrap();
                assert_eq!((&*login.alias, &*login.display_name), (uid, "ns1-app"));
                seen.push(name);
            }
            Err(failed) => assert_eq!(failed.kind, Kind::Denied, "{name}"),
        }
    }
    assert_eq!(seen, ["good", "good with its audience", "other audience bound"]);

    let of = |name: &str| cases.iter().find(|case| case.get("name").and_then(Json::as_str) == Some(name)).unwrap().clone();
    for (name, taken) in [("namespace", true), ("namespace missing", false), ("namespace forbidden", false)] {
        let case = of(name);
        let status = u16::try_from(case.get("status").and_then(Json::as_i64).unwrap()).unwrap();
        let reply = case.get("reply").unwrap().to_bytes().to_vec();
        let mount = Mount::new(move |request| if request.url == REVIEW { good("{}") } else { Ok((status, reply.clone())) });
        mount.role(r#","bound_service_account_namespace_selector":"{\"matchLabels\":{\"team\":\"a\"}}""#);
        assert_eq!(mount.login(&mount.token("{}")).is_ok(), taken, "{name}");
    }
}

#[test]
fn a_login_says_whose_account_it_is() {
    let mount = Mount::good();
    let login = mount.login(&mount.token("{}")).unwrap();
    assert_eq!((&*login.alias, &*login.display_name, login.policies.join(",")), ("u-1", "ns1-app", "p".into()));
    let metadata: Vec<_> = login.metadata.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(
        metadata,
        [
            "role=r",
            "service_account_name=app",
            "service_account_namespace=ns1",
            "service_account_secret_name=",
            "service_account_uid=u-1"
        ]
    );
    assert!(!login.alias_metadata.contains_key("role"));
    mount.role(r#","bound_service_account_namespaces":"ns1","alias_name_source":"serviceaccount_name""#);
    assert_eq!(mount.login(&mount.token("{}")).unwrap().alias, "ns1/app");
    // An old token: no times, no audience, a secret.
    let old = object(
        r#"{"iss":"kubernetes/serviceaccount","kubernetes.io/serviceaccount/namespace":"ns1",
        "kubernetes.io/serviceaccount/secret.name":"s","kubernetes.io/serviceaccount/service-account.name":"app",
        "kubernetes.io/serviceaccount/service-account.uid":"u-1"}"#,
    );
    let login = mount.login(&key().token("k", old).unwrap()).unwrap();
    assert_eq!(login.metadata["service_account_secret_name"], "s");
}

#[test]
fn what_the_server_says_decides() {
    let mount = Mount::good();
    mount.login(&mount.token("{}")).unwrap();
    for status in [
        r#"{"authenticated":false}"#,
        r#"{"authenticated":"true"}"#,
        r#"{"authenticated":null}"#,
        r#"{"error":"canary-error"}"#,
        r#"{"user":null}"#,
        r#"{"user":{"username":"system:serviceaccount:ns2:app","uid":"u-1"}}"#,
        r#"{"user":{"username":"system:serviceaccount:ns1:other","uid":"u-1"}}"#,
        r#"{"user":{"username":"admin","uid":"u-1"}}"#,
        r#"{"user":{"username":"system:serviceaccount:ns1:app","uid":"u-2"}}"#,
        r#"{"user":{"username":"system:serviceaccount:ns1:app"}}"#,
        r#"{"audiences":null}"#,
        r#"{"audiences":["other"]}"#,
        r#"{"audiences":"https://kubernetes.default.svc"}"#,
    ] {
        mount.fake.answers(move |_| good(status));
        assert_eq!(mount.denied(&mount.token("{}")), "permission denied", "{status}");
    }
    for (status, body) in [
        (401, "canary"),
        (403, "{}"),
        (500, "canary"),
        (302, ""),
        (204, ""),
        (201, "canary"),
        (201, "[]"),
        (201, "{}"),
        (201, r#"{"kind":"Status","status":{"authenticated":true}}"#),
        (201, r#"{"kind":"TokenReview"}"#),
        (201, r#"{"kind":"TokenReview","status":{"authenticated":true},"status":{}}"#),
    ] {
        mount.fake.answers(move |_| Ok((status, body.as_bytes().to_vec())));
        assert_eq!(mount.denied(&mount.token("{}")), "permission denied", "{status} {body}");
    }
    mount.fake.answers(|_| Ok((201, vec![b' '; (1 << 20) + 1])));
    assert_eq!(mount.denied(&mount.token("{}")), "permission denied", "huge");
    mount.fake.answers(|_| Err(down()));
    assert_eq!(mount.denied(&mount.token("{}")), "permission denied", "down");
}

#[test]
fn what_could_never_log_in_is_not_asked_about() {
    let mount = Mount::good();
    let account = |namespace: &str, name: &str, uid: &str| {
        format!(r#"{{"kubernetes.io":{{"namespace":"{namespace}","serviceaccount":{{"name":"{name}","uid":"{uid}"}}}}}}"#)
    };
    let good = mount.token("{}");
    let claims = good.split('.').nth(1).unwrap();
    let mut cases = vec![
        (mount.token(r#"{"exp":5}"#), "invalid expiration time (exp) claim: token is expired"),
        (mount.token(r#"{"nbf":99999999999}"#), "invalid not before (nbf) claim: token not yet valid"),
        (mount.token(&account("ns2", "app", "u-1")), "namespace not authorized"),
        (mount.token(&account("ns1", "other", "u-1")), "service account name not authorized"),
        (mount.token(r#"{"aud":5}"#), "permission denied"),
        (format!("eyJhbGciOiJub25lIn0.{claims}."), "permission denied"),
        (format!("eyJhbGciOiJIUzI1NiJ9.{claims}.AAAA"), "permission denied"),
        ("garbage".into(), "permission denied"),
        ("a.b.c".into(), "permission denied"),
        ("x".repeat(70_000), "permission denied"),
    ];
    for (namespace, name, uid) in [
        ("ns1", "app", ""),
        ("ns1/../kube-system", "app", "u-1"),
        ("NS1", "app", "u-1"),
        ("", "app", "u-1"),
        ("ns1", "app:x", "u-1"),
    ] {
        cases.push((mount.token(&account(namespace, name, uid)), "permission denied"));
    }
    cases.push((mount.token(r#"{"kubernetes.io":null}"#), "permission denied"));
    for (token, said) in cases {
        assert_eq!(mount.denied(&token), said);
    }
    mount.role(r#","bound_service_account_namespaces":"ns1","audience":"vault""#);
    assert!(mount.denied(&good).contains("audience"));
    assert!(mount.denied(&mount.token(r#"{"aud":null}"#)).contains("audience"));
    assert!(mount.fake.asked().is_empty());
    // With the role's audience it is that one which is asked for.
    mount.fake.answers(|request| {
        assert!(String::from_utf8_lossy(&request.body).contains(r#""audiences":["vault"]"#));
        self::good(r#"{"audiences":["vault"]}"#)
    });
    mount.login(&mount.token(r#"{"aud":"vault"}"#)).unwrap();
    mount.role(r#","bound_service_account_namespaces":"ns1","token_bound_cidrs":"10.0.0.0/8""#);
    assert_eq!(mount.denied(&good), "permission denied", "from nowhere");
}

#[test]
fn names_are_bound_by_globs_and_selectors() {
    let mount = Mount::good();
    for (bound, taken) in [
        (r#","bound_service_account_names":"a*p,x","bound_service_account_namespaces":"ns*""#, true),
        (r#","bound_service_account_names":"*","bound_service_account_namespaces":"*""#, true),
        (r#","bound_service_account_names":"a?p","bound_service_account_namespaces":"*""#, false),
        (r#","bound_service_account_names":"APP","bound_service_account_namespaces":"*""#, false),
        (r#","bound_service_account_names":"ap","bound_service_account_namespaces":"*""#, false),
        (r#","bound_service_account_namespaces":"ns""#, false),
    ] {
        let body = format!("{{{}}}", &bound[1..]);
        mount.bench.call(Operation::Delete, "role/r", "").map(drop).unwrap();
        let whole =
            if bound.contains("account_names\"") { body } else { body.replace('{', r#"{"bound_service_account_names":"app","#) };
        mount.write("role/r", &whole).unwrap();
        assert_eq!(mount.login(&mount.token("{}")).is_ok(), taken, "{bound}");
    }
    // A selector needs someone who may ask, and is asked only about who is known.
    mount.role(r#","bound_service_account_namespace_selector":"{\"matchLabels\":{\"team\":\"a\"}}""#);
    let labelled = |team: &'static str| {
        move |request: &HttpRequest| {
            if request.url == REVIEW {
                return good("{}");
            }
            assert_eq!(
                (&*request.url, &*bearer(request)),
                ("https://kube.example:6443/api/v1/namespaces/ns1", "Bearer canary-reviewer")
            );
            Ok((200, format!(r#"{{"metadata":{{"name":"ns1","labels":{{"team":"{team}"}}}}}}"#).into_bytes()))
        }
    };
    mount.fake.answers(labelled("a"));
    mount.login(&mount.token("{}")).unwrap();
    mount.fake.answers(labelled("b"));
    assert_eq!(mount.denied(&mount.token("{}")), "namespace not authorized");
    mount.fake.answers(|request| {
        if request.url == REVIEW {
            good("{}")
        } else {
            Ok((200, br#"{"metadata":{"name":"other","labels":{"team":"a"}}}"#.to_vec()))
        }
    });
    assert_eq!(mount.denied(&mount.token("{}")), "namespace not authorized");
    mount.fake.asked();
    mount.fake.answers(|_| good(r#"{"authenticated":false}"#));
    assert_eq!(mount.denied(&mount.token("{}")), "permission denied");
    assert_eq!(mount.fake.asked(), [REVIEW]);
    mount.fake.answers(labelled("a"));
    mount.config(r#","disable_local_ca_jwt":true"#);
    assert_eq!(mount.denied(&mount.token("{}")), "namespace not authorized", "nobody may ask");
}

#[test]
fn signatures_are_verified_where_there_are_keys() {
    let mount = Mount::good();
    let jwk = key().public_jwk("k").unwrap();
    let pem = pem(&jwk);
    mount.config(&format!(r#","pem_keys":"{pem}""#));
    mount.login(&mount.token("{}")).unwrap();
    mount.fake.asked();
    let other = Signer::generate(Algorithm::Es256).unwrap();
    let claims = coffer_crypto::jws::peek(&mount.token("{}")).unwrap().claims;
    assert_eq!(mount.denied(&other.token("k", claims).unwrap()), "permission denied");
    let good = mount.token("{}");
    assert_eq!(mount.denied(&good[..good.len() - 4]), "permission denied");
    assert!(mount.fake.asked().is_empty(), "a forged token is not asked about");
    // A good signature alone is not enough: the account may be gone.
    mount.fake.answers(|_| self::good(r#"{"authenticated":false}"#));
    assert_eq!(mount.denied(&good), "permission denied");
    mount.config(&format!(r#","pem_keys":"{pem}","disable_iss_validation":false,"issuer":"me""#));
    assert_eq!(mount.denied(&good), "invalid issuer (iss) claim");
}

/// A P-256 key of a JSON web key, as PEM in a JSON text.
fn pem(jwk: &Object) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    let mut der = hex::decode("3059301306072a8648ce3d020106082a8648ce3d03010703420004").unwrap();
    for name in ["x", "y"] {
        der.extend(URL_SAFE_NO_PAD.decode(jwk.get(name).and_then(Json::as_str).unwrap()).unwrap());
    }
    format!("-----BEGIN PUBLIC KEY-----\\n{}\\n-----END PUBLIC KEY-----", STANDARD.encode(der))
}

#[test]
fn who_asks_is_the_reviewer_or_who_logs_in() {
    let mount = Mount::new(|request| {
        assert_eq!(bearer(request), "Bearer canary-reviewer");
        good("{}")
    });
    mount.login(&mount.token("{}")).unwrap();
    let token = mount.token("{}");
    let own = token.clone();
    mount.fake.answers(move |request| {
        assert_eq!(bearer(request), format!("Bearer {own}"));
        good("{}")
    });
    mount.config(r#","disable_local_ca_jwt":true"#);
    mount.login(&token).unwrap();
}

#[test]
fn what_can_not_be_is_refused() {
    let mount = Mount::good();
    for bad in [
        "{}",
        r#"{"kubernetes_host":" "}"#,
        r#"{"kubernetes_host":"https://k"}"#,
        r#"{"kubernetes_host":"https://k","disable_local_ca_jwt":true}"#,
        r#"{"kubernetes_host":"https://k","kubernetes_ca_cert":"x","pem_keys":"x"}"#,
    ] {
        assert_eq!(mount.write("config", bad).unwrap_err().kind, Kind::BadRequest, "{bad}");
    }
    for bad in [
        "{}",
        r#"{"bound_service_account_names":"a"}"#,
        r#"{"bound_service_account_names":"","bound_service_account_namespaces":"a"}"#,
        r#"{"bound_service_account_names":"*,a","bound_service_account_namespaces":"a"}"#,
        r#"{"bound_service_account_names":"a","bound_service_account_namespaces":"a,*"}"#,
        r#"{"bound_service_account_names":"a","bound_service_account_namespaces":"a","alias_name_source":"x"}"#,
        r#"{"bound_service_account_names":"a","bound_service_account_namespace_selector":"zz{"}"#,
        r#"{"bound_service_account_names":"a","bound_service_account_namespaces":"a","policies":"root"}"#,
    ] {
        assert_eq!(mount.write("role/x", bad).unwrap_err().kind, Kind::BadRequest, "{bad}");
    }
    for (body, said) in [
        (r#"{"jwt":"x"}"#, "missing role"),
        (r#"{"role":"r"}"#, "missing jwt"),
        (r#"{"role":"none","jwt":"x"}"#, "invalid role name \"none\""),
    ] {
        assert_eq!(mount.write("login", body).unwrap_err(), Failed { kind: Kind::BadRequest, public: said.to_owned() });
    }
    let shown = |path: &str| text(&mount.bench.call(Operation::Read, path, "").unwrap());
    let config = shown("config");
    assert!(config.contains(r#""token_reviewer_jwt_set":true"#) && !config.contains("canary"), "{config}");
    assert!(!shown("role/R").contains("\"audience\""));
    mount.role(r#","bound_service_account_namespaces":"ns1","audience":"a""#);
    assert!(shown("role/r").contains(r#""audience":"a""#));
}

#[test]
fn a_renewal_needs_its_role() {
    let mount = Mount::good();
    let login = mount.login(&mount.token("{}")).unwrap();
    let renew = |login: Login| mount.bench.within(|view, inner| mount.bench.engine.renew_login(login, view, inner).unwrap());
    mount.role(r#","bound_service_account_namespaces":"other","token_ttl":5"#);
    assert_eq!(renew(login.clone()).unwrap().ttl.secs(), 5);
    mount.bench.call(Operation::Delete, "role/r", "").map(drop).unwrap();
    assert!(renew(login).is_err());
}
