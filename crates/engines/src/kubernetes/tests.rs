use super::Kubernetes;
use crate::fake::{Asked, Fake, down, reply};
use coffer_engine::Answer;
use coffer_engine::outside::{Fault, HttpReply};
use coffer_engine::testing::{Bench, object, text};
use coffer_types::{Json, Kind, Operation, Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

const NOW: i64 = 1_795_404_202;
const RULES: &str = r#""generated_role_rules":"rules:\n- apiGroups: ['']\n  resources: [pods]\n  verbs: [get]\n""#;

#[derive(Default)]
struct State {
    /// What was made: path with name.
    there: BTreeSet<String>,
    labels: BTreeMap<&'static str, &'static str>,
    /// Part of a path, and what is said to whatever is made or removed there.
    refuse: Option<(&'static str, u16, &'static str)>,
    /// What is made at such a path is made, and the connection breaks.
    lose: Option<&'static str>,
}

#[derive(Clone, Default)]
struct Cluster(Arc<Mutex<State>>);

impl Cluster {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn there(&self) -> Vec<String> {
        self.state().there.iter().cloned().collect()
    }

    fn answer(&self, asked: &Asked) -> Result<HttpReply, Fault> {
        let mut state = self.state();
        let path = asked.path();
        if asked.method != "GET"
            && let Some((_, status, reason)) = state.refuse.filter(|(part, ..)| path.contains(part))
        {
            return status_document(status, reason);
        }
        match asked.method {
            "GET" => {
                let name = path.rsplit('/').next().unwrap();
                let labels: Vec<String> = state.labels.iter().map(|(k, v)| format!(r#""{k}":"{v}""#)).collect();
                reply(200, &format!(r#"{{"kind":"Namespace","metadata":{{"name":"{name}","labels":{{{}}}}}}}"#, labels.join(",")))
            }
            "POST" if path.ends_with("/token") => {
                let seconds = object(&asked.body).get("spec").unwrap().get("expirationSeconds").unwrap().as_i64().unwrap();
                let end = Timestamp::from_secs(NOW + seconds).rfc3339();
                reply(
                    201,
                    &format!(r#"{{"kind":"TokenRequest","status":{{"token":"ey.canary.x","expirationTimestamp":"{end}"}}}}"#),
                )
            }
            "POST" => {
                let body = object(&asked.body);
                let name = body.get("metadata").unwrap().get("name").unwrap().as_str().unwrap().to_owned();
                if !state.there.insert(format!("{path}/{name}")) {
                    return status_document(409, "AlreadyExists");
                }
                if state.lose.is_some_and(|part| path.contains(part)) {
                    return down();
                }
                reply(201, &asked.body)
            }
            "DELETE" if state.there.remove(path) => reply(200, "{}"),
            "DELETE" => status_document(404, "NotFound"),
            other => panic!("{other}"),
        }
    }
}

fn status_document(status: u16, reason: &str) -> Result<HttpReply, Fault> {
    reply(
        status,
        &format!(
            r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"canary","reason":"{reason}","code":{status}}}"#
        ),
    )
}

fn bench() -> (Bench, Arc<Fake>, Cluster) {
    let cluster = Cluster::default();
    let inner = cluster.clone();
    let fake = Fake::new(move |asked| inner.answer(asked));
    let b = Bench::reaching::<Kubernetes>("kubernetes/", fake.clone());
    put(
        &b,
        "config",
        r#"{"kubernetes_host":"https://127.0.0.1:6443/","service_account_jwt":"canary-jwt","disable_local_ca_jwt":true}"#,
    );
    put(&b, "roles/sa", r#"{"allowed_kubernetes_namespaces":"default,x","service_account_name":"app"}"#);
    put(
        &b,
        "roles/bound",
        r#"{"allowed_kubernetes_namespaces":"*","kubernetes_role_name":"edit","kubernetes_role_type":"clusterrole","extra_labels":{"a":"b"},"extra_annotations":"c=d"}"#,
    );
    put(&b, "roles/own", &format!(r#"{{"allowed_kubernetes_namespaces":"x",{RULES}}}"#));
    put(&b, "roles/ownc", &format!(r#"{{"allowed_kubernetes_namespaces":"*",{RULES},"kubernetes_role_type":"ClusterRole"}}"#));
    (b, fake, cluster)
}

fn put(b: &Bench, path: &str, body: &str) {
    b.call(Operation::Update, path, body).unwrap();
}

fn refused(b: &Bench, operation: Operation, path: &str, body: &str) -> (Kind, String) {
    let failed = b.call(operation, path, body).err().unwrap_or_else(|| panic!("{path} {body} was taken"));
    assert!(!failed.public.contains("canary"), "{}", failed.public);
    (failed.kind, failed.public)
}

fn field(answer: &Answer, name: &str) -> String {
    answer.data.as_ref().unwrap().get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
}

fn notes(b: &Bench) -> usize {
    b.keys().iter().filter(|k| k.starts_with("intents/")).count()
}

#[test]
fn a_token_of_an_account_that_is_there() {
    let (b, fake, cluster) = bench();
    let answer = b.call(Operation::Update, "creds/sa", r#"{"kubernetes_namespace":"x","ttl":"30m","audiences":"a,b"}"#).unwrap();
    let asked = fake.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].url, "https://127.0.0.1:6443/api/v1/namespaces/x/serviceaccounts/app/token");
    assert_eq!(asked[0].header("authorization"), "Bearer canary-jwt");
    assert_eq!(
        asked[0].body,
        r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":1800,"audiences":["a","b"]}}"#
    );
    assert_eq!((field(&answer, "service_account_name"), field(&answer, "service_account_namespace")), ("app".into(), "x".into()));
    assert_eq!(field(&answer, "service_account_token"), "ey.canary.x");
    let lease = answer.lease.unwrap();
    assert_eq!((lease.terms.ttl, lease.terms.renewable), (Span::from_secs(1800), false));
    assert!(b.renew(&lease).is_err());
    b.revoke(&lease).unwrap();
    assert!(fake.asked().is_empty() && cluster.there().is_empty(), "what was there before stays");
}

#[test]
fn what_is_made_lives_with_its_lease() {
    let (b, fake, cluster) = bench();
    const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
    for (role, body, made, kind) in [
        (
            "bound",
            r#"{"kubernetes_namespace":"x"}"#,
            vec!["/api/v1/namespaces/x/serviceaccounts", "/namespaces/x/rolebindings"],
            "ClusterRole",
        ),
        (
            "bound",
            r#"{"kubernetes_namespace":"x","cluster_role_binding":true}"#,
            vec!["/api/v1/namespaces/x/serviceaccounts", "/clusterrolebindings"],
            "ClusterRole",
        ),
        ("own", "{}", vec!["/api/v1/namespaces/x/serviceaccounts", "/namespaces/x/rolebindings", "/namespaces/x/roles"], "Role"),
        (
            "ownc",
            r#"{"kubernetes_namespace":"x","cluster_role_binding":true}"#,
            vec!["/api/v1/namespaces/x/serviceaccounts", "/clusterrolebindings", "/clusterroles"],
            "ClusterRole",
        ),
    ] {
        fake.asked();
        let answer = b.call(Operation::Update, &format!("creds/{role}"), body).unwrap();
        let name = field(&answer, "service_account_name");
        assert!(name.starts_with(&format!("v-test-{role}-{NOW}-")) && name.len() <= 62, "{name}");
        let wanted: BTreeSet<String> = made
            .iter()
            .map(|p| if p.starts_with("/api/") { format!("{p}/{name}") } else { format!("{RBAC}{p}/{name}") })
            .collect();
        assert_eq!(cluster.state().there, wanted, "{role} {body}");
        let asked = fake.asked();
        let binding = object(&asked.iter().find(|a| a.path().ends_with("bindings")).unwrap().body);
        let reference = binding.get("roleRef").unwrap();
        assert_eq!(reference.get("kind").and_then(Json::as_str), Some(kind));
        assert_eq!(reference.get("name").and_then(Json::as_str), Some(if role == "bound" { "edit" } else { &name }));
        assert_eq!(binding.get("subjects").unwrap().as_array().unwrap()[0].get("namespace").and_then(Json::as_str), Some("x"));
        if role == "bound" {
            let metadata = binding.get("metadata").unwrap();
            assert_eq!(metadata.get("labels").unwrap().get("a").and_then(Json::as_str), Some("b"));
            assert_eq!(metadata.get("annotations").unwrap().get("c").and_then(Json::as_str), Some("d"));
        } else {
            let made_role = object(&asked[0].body);
            assert_eq!(
                String::from_utf8_lossy(&made_role.get("rules").unwrap().to_bytes()),
                r#"[{"apiGroups":[""],"resources":["pods"],"verbs":["get"]}]"#
            );
        }
        assert_eq!(notes(&b), 0);
        let lease = answer.lease.unwrap();
        assert!(!String::from_utf8_lossy(&lease.internal).contains("canary"));
        b.revoke(&lease).unwrap();
        assert!(cluster.there().is_empty());
        assert!(fake.asked()[0].path().contains("/serviceaccounts/"), "the account goes first, and its tokens with it");
        b.revoke(&lease).unwrap();
    }
}

#[test]
fn a_crash_anywhere_leaves_nothing() {
    let (b, fake, cluster) = bench();
    b.call_and_crash(Operation::Update, "creds/own", "").unwrap();
    assert_eq!((cluster.there().len(), notes(&b)), (3, 1));
    fake.becomes(|_| down());
    assert_eq!((b.roll_back(), notes(&b)), (1, 1));
    let inner = cluster.clone();
    fake.becomes(move |asked| inner.answer(asked));
    assert_eq!((b.roll_back(), notes(&b), cluster.there().len()), (0, 0, 0));
    for part in ["/roles", "/rolebindings", "/serviceaccounts"] {
        cluster.state().lose = Some(part);
        refused(&b, Operation::Update, "creds/own", "");
        assert_eq!((cluster.there().len(), notes(&b)), (0, 0), "{part}: taken back at once, also what may or may not be there");
        cluster.state().lose = None;
    }
}

#[test]
fn what_is_refused_half_way_is_taken_back() {
    let (b, _, cluster) = bench();
    for (part, what) in [
        ("/roles", "make the role"),
        ("/rolebindings", "make the role binding"),
        ("/serviceaccounts", "make the service account"),
    ] {
        cluster.state().refuse = Some((part, 403, "Forbidden"));
        let (kind, text) = refused(&b, Operation::Update, "creds/own", "");
        assert_eq!((kind, text), (Kind::Upstream, format!("Kubernetes refused to {what} (Forbidden, status 403)")));
        cluster.state().refuse = None;
        b.roll_back();
        assert_eq!((cluster.there().len(), notes(&b)), (0, 0), "{part}");
    }
    cluster.state().refuse = Some(("/token", 403, "Forbidden"));
    refused(&b, Operation::Update, "creds/own", "");
    assert_eq!((cluster.there().len(), notes(&b)), (0, 0));
}

#[test]
fn what_was_there_before_is_not_taken_away() {
    let (b, _, cluster) = bench();
    cluster.state().refuse = Some(("/serviceaccounts", 409, "AlreadyExists"));
    assert!(refused(&b, Operation::Update, "creds/own", "").1.contains("AlreadyExists"));
    cluster.state().refuse = None;
    assert_eq!((cluster.there().len(), notes(&b)), (0, 0), "nothing will be removed under that name");
    let fixed = r#"{"allowed_kubernetes_namespaces":"*","kubernetes_role_name":"r","name_template":"admin"}"#;
    assert!(refused(&b, Operation::Update, "roles/fixed", fixed).1.contains("same name twice"));
}

#[test]
fn a_failed_revocation_can_be_tried_again() {
    let (b, fake, cluster) = bench();
    let lease = b.call(Operation::Update, "creds/own", "").unwrap().lease.unwrap();
    for part in ["/serviceaccounts", "/rolebindings", "/roles"] {
        cluster.state().refuse = Some((part, 500, "InternalError"));
        assert_eq!(b.revoke(&lease).err().map(|e| e.kind), Some(Kind::Upstream));
    }
    cluster.state().refuse = None;
    fake.becomes(|_| reply(404, "<html>no such page"));
    assert!(b.revoke(&lease).is_err(), "a 404 of something else is no proof");
    let inner = cluster.clone();
    fake.becomes(move |asked| inner.answer(asked));
    b.revoke(&lease).unwrap();
    assert!(cluster.there().is_empty());
}

#[test]
fn namespaces_are_held_to_the_role() {
    let (b, fake, cluster) = bench();
    put(
        &b,
        "roles/sel",
        r#"{"allowed_kubernetes_namespaces":"x","allowed_kubernetes_namespace_selector":"matchLabels:\n  team: a\n","service_account_name":"app"}"#,
    );
    b.call(Operation::Update, "creds/own", "{}").unwrap();
    for (role, namespace, part) in [
        ("sa", "", "is required"),
        ("bound", "", "is required"),
        ("sel", "", "is required"),
        ("sa", "y", "is not present"),
        ("own", "y", "is not present"),
        ("sel", "y", "is not present"),
        ("bound", "../../x", "no name of a namespace"),
        ("bound", "a/b", "no name of a namespace"),
        ("bound", "A", "no name of a namespace"),
        ("bound", "a?x=y", "no name of a namespace"),
        ("bound", "*", "no name of a namespace"),
        ("bound", "kube.system", "no name of a namespace"),
    ] {
        let (kind, text) =
            refused(&b, Operation::Update, &format!("creds/{role}"), &format!(r#"{{"kubernetes_namespace":"{namespace}"}}"#));
        assert!(kind == Kind::BadRequest && text.contains(part), "{namespace}: {text}");
    }
    fake.asked();
    cluster.state().labels.insert("team", "a");
    b.call(Operation::Update, "creds/sel", r#"{"kubernetes_namespace":"y"}"#).unwrap();
    assert_eq!(fake.asked()[0].path(), "/api/v1/namespaces/y");
    fake.becomes(|_| reply(200, r#"{"kind":"Namespace","metadata":{"name":"other","labels":{"team":"a"}}}"#));
    assert_eq!(refused(&b, Operation::Update, "creds/sel", r#"{"kubernetes_namespace":"y"}"#).0, Kind::Upstream);
}

#[test]
fn lifetimes() {
    let (b, fake, _) = bench();
    put(&b, "roles/sa", r#"{"token_default_ttl":"20m","token_max_ttl":"1h"}"#);
    for (body, seconds, warned) in [
        (r#"{"kubernetes_namespace":"x"}"#, 1200, false),
        (r#"{"kubernetes_namespace":"x","ttl":"40m"}"#, 2400, false),
        (r#"{"kubernetes_namespace":"x","ttl":"3h"}"#, 3600, true),
    ] {
        fake.asked();
        let answer = b.call(Operation::Update, "creds/sa", body).unwrap();
        assert!(fake.asked()[0].body.contains(&format!(r#""expirationSeconds":{seconds}"#)), "{body}");
        assert_eq!(answer.lease.unwrap().terms.ttl, Span::from_secs(seconds));
        assert_eq!(answer.warnings.iter().any(|w| w.contains("capped")), warned, "{body}");
    }
}

#[test]
fn in_a_pod_its_own_account_is_used_unless_told_otherwise() {
    const PEM: &str = "-----BEGIN CERTIFICATE-----";
    let cluster = Cluster::default();
    let inner = cluster.clone();
    let fake = Fake::new(move |asked| inner.answer(asked));
    let b = Bench::reaching::<Kubernetes>("kubernetes/", fake.clone());
    put(&b, "roles/sa", r#"{"allowed_kubernetes_namespaces":"x","service_account_name":"app"}"#);
    let asked_with = || {
        b.call(Operation::Update, "creds/sa", "").unwrap();
        let asked = fake.asked().pop().unwrap();
        (asked.url.split("/api").next().unwrap().to_owned(), asked.header("authorization").to_owned(), asked.pem)
    };
    assert_eq!(refused(&b, Operation::Update, "config", "{}").0, Kind::BadRequest);
    put(&b, "config", r#"{"kubernetes_host":"https://h"}"#);
    assert_eq!(refused(&b, Operation::Update, "creds/sa", "").0, Kind::BadRequest, "no token anywhere");
    put(&b, "config", r#"{"service_account_jwt":"given"}"#);
    assert_eq!(asked_with(), ("https://h".into(), "Bearer given".into(), String::new()));
    fake.in_pod("pods", PEM);
    b.call(Operation::Read, "check", "").unwrap();
    assert_eq!(asked_with(), ("https://h".into(), "Bearer given".into(), PEM.into()));
    put(&b, "config", r#"{"service_account_jwt":""}"#);
    assert_eq!(asked_with(), ("https://h".into(), "Bearer pods".into(), PEM.into()));
    fake.in_pod("renewed", PEM);
    assert_eq!(asked_with().1, "Bearer renewed", "it is read anew");
    put(&b, "config", &format!(r#"{{"kubernetes_ca_cert":"{PEM} other"}}"#));
    assert_eq!(asked_with().2, format!("{PEM} other"));
    put(&b, "config", r#"{"disable_local_ca_jwt":true}"#);
    assert!(refused(&b, Operation::Update, "creds/sa", "").1.contains("not to be used"));
    b.call(Operation::Delete, "config", "").unwrap();
    put(&b, "config", "{}");
    assert_eq!(asked_with(), ("https://kubernetes.default.svc".into(), "Bearer renewed".into(), PEM.into()));
}

#[test]
fn configuration_comes_back_without_the_token() {
    let (b, _, _) = bench();
    put(&b, "config", r#"{"kubernetes_ca_cert":"-----BEGIN CERTIFICATE-----\nx"}"#);
    assert_eq!(
        text(&b.call(Operation::Read, "config", "").unwrap()),
        r#"{"disable_local_ca_jwt":true,"kubernetes_ca_cert":"-----BEGIN CERTIFICATE-----\nx","kubernetes_host":"https://127.0.0.1:6443"}"#
    );
    assert_eq!(
        text(&b.call(Operation::Read, "roles/sa", "").unwrap()),
        r#"{"allowed_kubernetes_namespace_selector":"","allowed_kubernetes_namespaces":["default","x"],"extra_annotations":null,"extra_labels":null,"generated_role_rules":"","kubernetes_role_name":"","kubernetes_role_type":"Role","name":"sa","name_template":"","service_account_name":"app","token_default_audiences":null,"token_default_ttl":0,"token_max_ttl":0}"#
    );
    assert_eq!(text(&b.call(Operation::List, "roles", "").unwrap()), r#"{"keys":["bound","own","ownc","sa"]}"#);
    b.call(Operation::Delete, "roles/sa", "").unwrap();
    assert_eq!(refused(&b, Operation::Read, "roles/sa", "").0, Kind::NotFound);
    b.call(Operation::Delete, "config", "").unwrap();
    assert_eq!(refused(&b, Operation::Read, "config", "").0, Kind::NotFound);
    assert!(refused(&b, Operation::Update, "creds/own", "").1.contains("write config first"));
    assert_eq!(refused(&b, Operation::Read, "check", "").0, Kind::BadRequest);
}

#[test]
fn refuses() {
    let (b, fake, _) = bench();
    for (path, body, part) in [
        ("config", r#"{"kubernetes_host":""}"#, "kubernetes_host"),
        ("config", r#"{"kubernetes_host":"127.0.0.1"}"#, "kubernetes_host"),
        ("config", r#"{"kubernetes_host":"https://u:canary@h"}"#, "kubernetes_host"),
        ("config", r#"{"kubernetes_ca_cert":"zz"}"#, "no certificate"),
        ("config", r#"{"service_account_jwt":"canary\r\nX-Evil: 1"}"#, "service_account_jwt"),
        ("roles/r", "{}", "one (at least) of allowed_kubernetes_namespaces"),
        ("roles/r", r#"{"service_account_name":"sa"}"#, "one (at least) of"),
        ("roles/r", r#"{"allowed_kubernetes_namespaces":"*"}"#, "one (and only one) of"),
        (
            "roles/r",
            r#"{"allowed_kubernetes_namespaces":"*","service_account_name":"a","kubernetes_role_name":"b"}"#,
            "one (and only one) of",
        ),
        ("roles/r", r#"{"allowed_kubernetes_namespaces":"a/b","service_account_name":"a"}"#, "names of namespaces"),
        ("roles/r", r#"{"allowed_kubernetes_namespaces":"*","service_account_name":"../x"}"#, "no name of a service account"),
        ("roles/r", r#"{"allowed_kubernetes_namespaces":"*","kubernetes_role_name":"../x"}"#, "no name of a role"),
        (
            "roles/r",
            r#"{"allowed_kubernetes_namespaces":"*","service_account_name":"a","kubernetes_role_type":"zz"}"#,
            "either 'Role' or 'ClusterRole'",
        ),
        (
            "roles/r",
            r#"{"allowed_kubernetes_namespaces":"*","service_account_name":"a","token_default_ttl":"2h","token_max_ttl":"1h"}"#,
            "token_default_ttl 2h0m0s cannot be greater than token_max_ttl 1h0m0s",
        ),
        (
            "roles/r",
            r#"{"allowed_kubernetes_namespaces":"*","generated_role_rules":"zz"}"#,
            "failed to parse 'generated_role_rules'",
        ),
        (
            "roles/r",
            r#"{"allowed_kubernetes_namespace_selector":"zz","service_account_name":"a"}"#,
            "failed to parse 'allowed_kubernetes_namespace_selector'",
        ),
        ("roles/r", &format!(r#"{{"allowed_kubernetes_namespaces":"*",{RULES},"name_template":"{{{{"}}"#), "template"),
        ("creds/none", r#"{"kubernetes_namespace":"x"}"#, "role 'none' does not exist"),
        ("creds/sa", r#"{"kubernetes_namespace":"x","cluster_role_binding":true}"#, "a ClusterRoleBinding cannot ref a Role"),
        ("creds/own", r#"{"ttl":"-5m"}"#, "negative"),
    ] {
        let (kind, text) = refused(&b, Operation::Update, path, body);
        assert!(kind == Kind::BadRequest && text.contains(part), "{body}: {text}");
    }
    put(
        &b,
        "roles/upper",
        &format!(r#"{{"allowed_kubernetes_namespaces":"x",{RULES},"name_template":"{{{{.RoleName}}}}_{{{{random 4}}}}"}}"#),
    );
    assert!(refused(&b, Operation::Update, "creds/upper", "").1.contains("does not take"));
    assert!(fake.asked().is_empty());
    for (status, body, part) in [
        (200, "canary", "no JSON"),
        (200, "{}", "no token that lives"),
        (201, r#"{"status":{"token":"a","expirationTimestamp":"2020-01-01T00:00:00Z"}}"#, "no token that lives"),
        (201, r#"{"status":{"token":"a b","expirationTimestamp":"2099-01-01T00:00:00Z"}}"#, "no token that lives"),
        (
            401,
            r#"{"kind":"Status","reason":"Unauthorized","message":"canary"}"#,
            "(Unauthorized, status 401): it does not know the token",
        ),
        (403, r#"{"kind":"Status","reason":"canary with spaces"}"#, "(status 403)"),
        (302, "", "no redirect"),
    ] {
        fake.becomes(move |_| reply(status, body));
        let (kind, text) = refused(&b, Operation::Update, "creds/sa", r#"{"kubernetes_namespace":"x"}"#);
        assert!(kind == Kind::Upstream && text.contains(part), "{body}: {text}");
    }
    fake.becomes(|_| down());
    assert_eq!(refused(&b, Operation::Update, "creds/own", "").0, Kind::Upstream);
}
