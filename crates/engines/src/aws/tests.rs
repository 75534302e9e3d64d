use super::Aws;
use crate::fake::{Asked, Fake, down, reply};
use coffer_engine::Answer;
use coffer_engine::outside::{Fault, FaultKind, HttpReply};
use coffer_engine::reply::LeaseAsk;
use coffer_engine::testing::{Bench, text};
use coffer_types::{Kind, Operation, Span, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

/// An AWS in memory.
#[derive(Default)]
struct State {
    users: BTreeMap<String, User>,
    made_keys: usize,
    /// Actions that are refused with this code.
    refuse: BTreeMap<&'static str, (u16, &'static str)>,
    /// The action at which the connection breaks, after it was done.
    lose: Option<&'static str>,
}

#[derive(Default, Debug, PartialEq, Eq)]
struct User {
    keys: BTreeSet<String>,
    attached: BTreeSet<String>,
    inline: BTreeMap<String, String>,
    groups: BTreeSet<String>,
    path: String,
}

#[derive(Clone, Default)]
struct Cloud(Arc<Mutex<State>>);

impl Cloud {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn users(&self) -> Vec<String> {
        self.state().users.keys().filter(|name| *name != "coffer").cloned().collect()
    }

    fn answer(&self, asked: &Asked) -> Result<HttpReply, Fault> {
        let form = form(&asked.body);
        let get = |name: &str| form.get(name).cloned().unwrap_or_default();
        let action = get("Action");
        let mut state = self.state();
        if let Some((status, code)) = state.refuse.get(action.as_str()) {
            return refuse(*status, code);
        }
        let user = get("UserName");
        let body = match action.as_str() {
            "GetUser" => "<User><UserName>coffer</UserName></User>".to_owned(),
            "CreateUser" if state.users.contains_key(&user) => return refuse(409, "EntityAlreadyExists"),
            "CreateUser" => {
                state.users.insert(user, User { path: get("Path"), ..User::default() });
                String::new()
            }
            "ListAttachedGroupPolicies" if get("GroupName") == "readers" => {
                members("AttachedPolicies", ["<PolicyArn>arn:aws:iam::1:policy/g</PolicyArn>".to_owned()].into_iter())
            }
            "ListGroupPolicies" if get("GroupName") == "readers" => members("PolicyNames", ["own".to_owned()].into_iter()),
            "ListAttachedGroupPolicies" | "ListGroupPolicies" => String::new(),
            "GetGroupPolicy" => format!(
                "<GroupName>readers</GroupName><PolicyDocument>{}</PolicyDocument>",
                crate::remote::escape(r#"{"Statement":{"Effect":"Allow"}}"#)
            ),
            "AssumeRole" => session("AssumedRoleUser"),
            "GetFederationToken" => session("FederatedUser"),
            "GetSessionToken" => session(""),
            _ => {
                state.made_keys += 1;
                let number = state.made_keys;
                let Some(known) = state.users.get_mut(&user) else { return refuse(404, "NoSuchEntity") };
                match action.as_str() {
                    "AddUserToGroup" => known.groups.insert(get("GroupName")).then(String::new),
                    "AttachUserPolicy" => known.attached.insert(get("PolicyArn")).then(String::new),
                    "PutUserPolicy" => known.inline.insert(get("PolicyName"), get("PolicyDocument")).is_none().then(String::new),
                    "CreateAccessKey" => {
                        let id = format!("AKIA{number:016}");
                        known.keys.insert(id.clone());
                        Some(format!("<AccessKey><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>secret/{number}</SecretAccessKey></AccessKey>"))
                    }
                    "ListAccessKeys" => Some(members("AccessKeyMetadata", known.keys.iter().map(|k| format!("<AccessKeyId>{k}</AccessKeyId>")))),
                    // One a page, so that pages are walked.
                    "ListAttachedUserPolicies" => {
                        let from = get("Marker");
                        let rest: Vec<_> = known.attached.iter().filter(|arn| **arn > from).collect();
                        let page = members("AttachedPolicies", rest.iter().take(1).map(|arn| format!("<PolicyArn>{arn}</PolicyArn>")));
                        let more = if rest.len() > 1 { format!("<IsTruncated>true</IsTruncated><Marker>{}</Marker>", rest[0]) } else { "<IsTruncated>false</IsTruncated>".into() };
                        Some(page + &more)
                    }
                    "ListUserPolicies" => Some(members("PolicyNames", known.inline.keys().cloned())),
                    "ListGroupsForUser" => Some(members("Groups", known.groups.iter().map(|g| format!("<GroupName>{g}</GroupName>")))),
                    "DeleteAccessKey" => known.keys.remove(&get("AccessKeyId")).then(String::new),
                    "DetachUserPolicy" => known.attached.remove(&get("PolicyArn")).then(String::new),
                    "DeleteUserPolicy" => known.inline.remove(&get("PolicyName")).map(|_| String::new()),
                    "RemoveUserFromGroup" => known.groups.remove(&get("GroupName")).then(String::new),
                    "DeleteUser" if known.keys.is_empty() && known.attached.is_empty() && known.inline.is_empty() && known.groups.is_empty() => {
                        state.users.remove(&user);
                        Some(String::new())
                    }
                    "DeleteUser" => return refuse(409, "DeleteConflict"),
                    other => panic!("{other} is not expected"),
                }
                .map_or_else(|| Err(refuse(404, "NoSuchEntity")), Ok)
                .unwrap_or_default()
            }
        };
        if state.lose == Some(action.as_str()) {
            return Err(Fault::new(FaultKind::Protocol, "the connection broke"));
        }
        reply(200, &format!("<{action}Response><{action}Result>{body}</{action}Result></{action}Response>"))
    }
}

fn members(list: &str, members: impl Iterator<Item = String>) -> String {
    format!("<{list}>{}</{list}>", members.map(|m| format!("<member>{m}</member>")).collect::<String>())
}

fn refuse(status: u16, code: &str) -> Result<HttpReply, Fault> {
    reply(
        status,
        &format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>canary</Message></Error></ErrorResponse>"),
    )
}

fn session(who: &str) -> String {
    // Half an hour after the bench's clock.
    let end = Timestamp::from_secs(1_795_404_202 + 1800).rfc3339();
    let who = if who.is_empty() { String::new() } else { format!("<{who}><Arn>arn:aws:sts::1:x/y</Arn></{who}>") };
    format!(
        "<Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>s/1</SecretAccessKey><SessionToken>t/1</SessionToken><Expiration>{end}</Expiration></Credentials>{who}"
    )
}

fn form(body: &str) -> BTreeMap<String, String> {
    let plain = |text: &str| {
        let mut out = Vec::new();
        let mut bytes = text.bytes();
        while let Some(b) = bytes.next() {
            if b == b'%' {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            } else {
                out.push(b);
            }
        }
        String::from_utf8(out).unwrap()
    };
    let mut form = BTreeMap::new();
    for pair in body.split('&') {
        let (name, value) = pair.split_once('=').unwrap();
        assert!(form.insert(plain(name), plain(value)).is_none(), "{name} twice");
    }
    form
}

const ROOT: &str = r#"{"access_key":"AKIAROOT","secret_key":"canary-secret","iam_endpoint":"http://127.0.0.1:5000","sts_endpoint":"http://127.0.0.1:5001"}"#;
const USER: &str = r#"{"credential_type":"iam_user","policy_arns":"arn:aws:iam::aws:policy/A,arn:aws:iam::aws:policy/B","policy_document":"{ \"Version\": \"2012-10-17\", \"Statement\": [] }","iam_groups":"readers","iam_tags":{"team":"a b"},"user_path":"/apps/"}"#;

fn bench() -> (Bench, Arc<Fake>, Cloud) {
    let cloud = Cloud::default();
    let inner = cloud.clone();
    let fake = Fake::new(move |asked| inner.answer(asked));
    let b = Bench::reaching::<Aws>("aws/", fake.clone());
    b.call(Operation::Update, "config/root", ROOT).unwrap();
    b.call(Operation::Update, "roles/user", USER).unwrap();
    b.call(
        Operation::Update,
        "roles/role",
        r#"{"credential_type":"assumed_role","role_arns":"arn:aws:iam::1:role/r","external_id":"e","session_tags":"k=v"}"#,
    )
    .unwrap();
    (b, fake, cloud)
}

fn field(answer: &Answer, name: &str) -> String {
    answer.data.as_ref().unwrap().get(name).and_then(|v| v.as_str()).unwrap_or_default().to_owned()
}

fn refused(b: &Bench, operation: Operation, path: &str, body: &str) -> (Kind, String) {
    let failed = b.call(operation, path, body).err().unwrap_or_else(|| panic!("{path} {body} was taken"));
    assert!(!failed.public.contains("canary"), "{}", failed.public);
    (failed.kind, failed.public)
}

fn notes(b: &Bench) -> usize {
    b.keys().iter().filter(|k| k.starts_with("intents/")).count()
}

fn make(b: &Bench) -> (Answer, LeaseAsk) {
    let mut answer = b.call(Operation::Read, "creds/user", "").unwrap();
    let lease = answer.lease.take().unwrap();
    (answer, lease)
}

#[test]
fn a_user_lives_with_its_lease() {
    let (b, fake, cloud) = bench();
    b.call(Operation::Update, "config/lease", r#"{"lease":"30m","lease_max":"12h"}"#).unwrap();
    let (answer, lease) = make(&b);
    let user = cloud.users().pop().unwrap();
    assert!(user.starts_with("vault-test-user-") && user.len() <= 64, "{user}");
    {
        let state = cloud.state();
        let made = &state.users[&user];
        assert_eq!(made.keys.iter().collect::<Vec<_>>(), [&field(&answer, "access_key")]);
        assert_eq!(made.attached.len(), 2);
        assert_eq!(made.inline, BTreeMap::from([("user".to_owned(), r#"{"Version":"2012-10-17","Statement":[]}"#.to_owned())]));
        assert_eq!((made.path.as_str(), made.groups.contains("readers")), ("/apps/", true));
    }
    assert!(field(&answer, "secret_key").starts_with("secret/"));
    assert!(answer.data.as_ref().unwrap().get("security_token").unwrap().is_null());
    let create = form(&fake.asked().iter().find(|a| a.body.contains("CreateUser")).unwrap().body);
    assert_eq!(
        (create["Tags.member.1.Key"].as_str(), create["Tags.member.1.Value"].as_str(), create["Version"].as_str()),
        ("team", "a b", "2010-05-08")
    );
    assert_eq!(notes(&b), 0);
    assert_eq!(
        (lease.terms.ttl, lease.terms.max_ttl, lease.terms.renewable),
        (Span::from_secs(1800), Span::from_secs(43_200), true)
    );
    assert!(!String::from_utf8_lossy(&lease.internal).contains("secret"));
    assert_eq!(b.renew(&lease).unwrap().ttl, Span::from_secs(1800));
    b.revoke(&lease).unwrap();
    assert!(cloud.users().is_empty());
    b.revoke(&lease).unwrap();
}

#[test]
fn every_request_is_signed_and_goes_to_the_configured_endpoint() {
    let (b, fake, _) = bench();
    make(&b);
    b.call(Operation::Update, "sts/role", "").unwrap();
    let asked = fake.asked();
    assert!(asked.len() >= 6);
    for asked in asked {
        let (url, service) =
            if asked.body.contains("AssumeRole") { ("http://127.0.0.1:5001/", "sts") } else { ("http://127.0.0.1:5000/", "iam") };
        assert_eq!((asked.method, asked.url.as_str()), ("POST", url));
        let signature = asked.header("authorization");
        assert!(
            signature.starts_with(&format!("AWS4-HMAC-SHA256 Credential=AKIAROOT/20261123/us-east-1/{service}/aws4_request, ")),
            "{signature}"
        );
        assert!(!asked.body.contains("canary-secret") && !signature.contains("canary-secret"));
    }
}

#[test]
fn a_crash_anywhere_leaves_no_user() {
    let (b, fake, cloud) = bench();
    b.call_and_crash(Operation::Read, "creds/user", "").unwrap();
    assert_eq!((cloud.users().len(), notes(&b)), (1, 1));
    fake.becomes(|_| down());
    assert_eq!((b.roll_back(), notes(&b)), (1, 1), "the note stays while AWS is away");
    let inner = cloud.clone();
    fake.becomes(move |asked| inner.answer(asked));
    assert_eq!((b.roll_back(), notes(&b), cloud.users().len()), (0, 0, 0));
    // The reply is lost after each step: nobody knows whether it was done.
    for step in ["CreateUser", "AddUserToGroup", "AttachUserPolicy", "PutUserPolicy", "CreateAccessKey"] {
        cloud.state().lose = Some(step);
        assert_eq!(refused(&b, Operation::Read, "creds/user", "").0, Kind::Upstream, "{step}");
        cloud.state().lose = None;
        assert_eq!(b.roll_back(), 0);
        assert_eq!((cloud.users().len(), notes(&b)), (0, 0), "{step}");
    }
}

#[test]
fn what_aws_refuses_half_way_is_taken_back_at_once() {
    let (b, _, cloud) = bench();
    for step in ["AddUserToGroup", "AttachUserPolicy", "PutUserPolicy", "CreateAccessKey"] {
        cloud.state().refuse.insert(step, (403, "AccessDenied"));
        let (kind, text) = refused(&b, Operation::Read, "creds/user", "");
        assert_eq!((kind, text), (Kind::Upstream, format!("AWS refused {step}: AccessDenied (status 403)")));
        assert_eq!((cloud.users().len(), notes(&b)), (0, 0), "{step}");
        cloud.state().refuse.clear();
    }
    cloud.state().refuse.insert("PutUserPolicy", (400, "MalformedPolicyDocument"));
    cloud.state().refuse.insert("DeleteUser", (403, "AccessDenied"));
    refused(&b, Operation::Read, "creds/user", "");
    assert_eq!((cloud.users().len(), notes(&b)), (1, 1), "what could not be taken back keeps its note");
    cloud.state().refuse.clear();
    assert_eq!((b.roll_back(), cloud.users().len()), (0, 0));
}

#[test]
fn a_user_who_was_there_before_is_not_taken_away() {
    let (b, _, cloud) = bench();
    cloud.state().refuse.insert("CreateUser", (409, "EntityAlreadyExists"));
    assert!(refused(&b, Operation::Read, "creds/user", "").1.contains("EntityAlreadyExists"));
    assert_eq!(notes(&b), 0, "nothing will be deleted under that name");
    let root = |template: &str| format!(r#"{{"access_key":"A","secret_key":"s","username_template":"{template}"}}"#);
    assert!(refused(&b, Operation::Update, "config/root", &root("admin")).1.contains("same name twice"));
    b.call(Operation::Update, "config/root", &root("{{ .RoleName }}-{{ random 80 }}")).unwrap();
    assert!(refused(&b, Operation::Read, "creds/user", "").1.contains("64 characters"));
}

#[test]
fn a_failed_revocation_can_be_tried_again() {
    let (b, _, cloud) = bench();
    let (_, lease) = make(&b);
    for step in ["ListAccessKeys", "DetachUserPolicy", "DeleteUserPolicy", "RemoveUserFromGroup", "DeleteUser"] {
        cloud.state().refuse.insert(step, (503, "ServiceUnavailable"));
        assert_eq!(b.revoke(&lease).err().map(|e| e.kind), Some(Kind::Upstream), "{step}");
        cloud.state().refuse.clear();
        if step != "ListAccessKeys" {
            assert!(cloud.state().users.values().all(|u| u.keys.is_empty()), "the key goes first");
        }
    }
    b.revoke(&lease).unwrap();
    assert!(cloud.users().is_empty());
}

#[test]
fn sessions() {
    let (b, fake, _) = bench();
    b.call(Operation::Update, "roles/fed", r#"{"credential_type":"federation_token","policy_document":"{\"Statement\":[]}"}"#)
        .unwrap();
    b.call(Operation::Update, "roles/ses", r#"{"credential_type":"session_token","mfa_serial_number":"arn:aws:iam::1:mfa/m"}"#)
        .unwrap();
    fake.asked();
    for (path, body, wanted) in [
        (
            "creds/role",
            "{}",
            vec![
                ("Action", "AssumeRole"),
                ("RoleArn", "arn:aws:iam::1:role/r"),
                ("DurationSeconds", "3600"),
                ("ExternalId", "e"),
                ("Tags.member.1.Key", "k"),
                ("Tags.member.1.Value", "v"),
            ],
        ),
        (
            "sts/role",
            r#"{"ttl":"15m","role_arn":"arn:aws:iam::1:role/r","role_session_name":"a b/c"}"#,
            vec![("DurationSeconds", "900"), ("RoleSessionName", "a_b_c")],
        ),
        ("creds/fed", "{}", vec![("Action", "GetFederationToken"), ("Policy", r#"{"Statement":[]}"#), ("Version", "2011-06-15")]),
        (
            "creds/ses",
            r#"{"mfa_code":"123456"}"#,
            vec![("Action", "GetSessionToken"), ("SerialNumber", "arn:aws:iam::1:mfa/m"), ("TokenCode", "123456")],
        ),
    ] {
        let answer = b.call(Operation::Update, path, body).unwrap();
        let sent = form(&fake.asked().pop().unwrap().body);
        for (name, value) in wanted {
            assert_eq!(sent.get(name).map(String::as_str), Some(value), "{path} {name}");
        }
        if path == "creds/fed" {
            assert!(sent["Name"].len() <= 32);
        }
        assert_eq!(
            (field(&answer, "access_key"), field(&answer, "security_token"), field(&answer, "session_token")),
            ("ASIA1".into(), "t/1".into(), "t/1".into())
        );
        assert_eq!(answer.data.as_ref().unwrap().get("arn").is_some(), path != "creds/ses");
        let lease = answer.lease.unwrap();
        assert_eq!((lease.terms.ttl, lease.terms.renewable), (Span::from_secs(1800), false), "the session's own end");
        assert!(b.renew(&lease).is_err());
        b.revoke(&lease).unwrap();
    }
    assert!(fake.asked().is_empty());
}

#[test]
fn sessions_are_narrowed_to_what_groups_may() {
    let (b, fake, cloud) = bench();
    let role = |more: &str| {
        format!(r#"{{"credential_type":"assumed_role","role_arns":"arn:aws:iam::1:role/r","iam_groups":"readers"{more}}}"#)
    };
    b.call(
        Operation::Update,
        "roles/grouped",
        &role(r#","policy_arns":"arn:aws:iam::1:policy/o","policy_document":"{\"Statement\":[{\"Effect\":\"Deny\"}]}""#),
    )
    .unwrap();
    b.call(Operation::Update, "creds/grouped", "").unwrap();
    let sent = form(&fake.asked().pop().unwrap().body);
    assert_eq!(sent["Policy"], r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny"},{"Effect":"Allow"}]}"#);
    assert_eq!(
        (sent["PolicyArns.member.1.arn"].as_str(), sent["PolicyArns.member.2.arn"].as_str()),
        ("arn:aws:iam::1:policy/o", "arn:aws:iam::1:policy/g")
    );
    b.call(
        Operation::Update,
        "roles/grouped",
        &role(r#","policy_arns":"","policy_document":"","iam_groups":"empty""#).replacen(r#""iam_groups":"readers","#, "", 1),
    )
    .unwrap();
    assert!(refused(&b, Operation::Update, "creds/grouped", "").1.contains("narrowed by nothing"));
    b.call(Operation::Update, "roles/grouped", r#"{"policy_document":"{\"Statement\":[]}"}"#).unwrap();
    assert!(refused(&b, Operation::Update, "creds/grouped", "").1.contains("narrowed by nothing"));
    assert!(fake.asked().iter().all(|a| !a.body.contains("AssumeRole")), "no wider session is asked for instead");
    b.call(Operation::Update, "roles/grouped", r#"{"iam_groups":"readers"}"#).unwrap();
    cloud.state().refuse.insert("GetGroupPolicy", (403, "AccessDenied"));
    assert!(refused(&b, Operation::Update, "creds/grouped", "").1.contains("AWS refused GetGroupPolicy: AccessDenied"));
    for broken in ["%7B", "%zz", "canary"] {
        let inner = cloud.clone();
        cloud.state().refuse.clear();
        fake.becomes(move |asked| {
            if asked.body.contains("GetGroupPolicy&") {
                return reply(200, &format!("<GetGroupPolicyResponse><GetGroupPolicyResult><PolicyDocument>{broken}</PolicyDocument></GetGroupPolicyResult></GetGroupPolicyResponse>"));
            }
            inner.answer(asked)
        });
        assert!(refused(&b, Operation::Update, "creds/grouped", "").1.contains("no policy"), "{broken}");
    }
}

#[test]
fn a_ttl_is_capped_with_a_warning() {
    let (b, fake, _) = bench();
    b.call(Operation::Update, "roles/role", r#"{"max_sts_ttl":"2h","default_sts_ttl":"1h"}"#).unwrap();
    fake.asked();
    let answer = b.call(Operation::Read, "creds/role?ttl=3h", "").unwrap();
    assert_eq!(form(&fake.asked().pop().unwrap().body)["DurationSeconds"], "7200");
    assert!(answer.warnings.iter().any(|w| w.contains("capped to 2h0m0s")));
}

#[test]
fn the_engines_own_key_is_rotated() {
    let (b, fake, cloud) = bench();
    cloud.state().users.insert("coffer".into(), User { keys: BTreeSet::from(["AKIAROOT".to_owned()]), ..User::default() });
    let rotated = field(&b.call(Operation::Update, "config/rotate-root", "").unwrap(), "access_key");
    assert_eq!(field(&b.call(Operation::Read, "config/root", "").unwrap(), "access_key"), rotated);
    assert_eq!((cloud.state().users["coffer"].keys.len(), notes(&b)), (2, 0), "the old one goes once the new one is kept");
    fake.becomes(|_| down());
    assert!(b.beat().is_err());
    let inner = cloud.clone();
    fake.becomes(move |asked| inner.answer(asked));
    fake.asked();
    b.beat().unwrap();
    assert!(fake.asked()[0].header("authorization").contains(&rotated), "with the new key");
    assert_eq!(cloud.state().users["coffer"].keys, BTreeSet::from([rotated.clone()]));
    b.beat().unwrap();
    assert!(fake.asked().is_empty(), "nothing is left to do");
    // A crash between the making of a key and its commit: the new one goes, the old one stays.
    b.call_and_crash(Operation::Update, "config/rotate-root", "").unwrap();
    assert_eq!(cloud.state().users["coffer"].keys.len(), 2);
    assert_eq!(refused(&b, Operation::Update, "config/rotate-root", "").0, Kind::BadRequest, "one at a time");
    assert_eq!((b.roll_back(), notes(&b)), (0, 0));
    assert_eq!(cloud.state().users["coffer"].keys, BTreeSet::from([rotated]));
}

#[test]
fn configuration_comes_back_without_the_secret() {
    let (b, _, _) = bench();
    assert_eq!(
        text(&b.call(Operation::Read, "config/root", "").unwrap()),
        r#"{"access_key":"AKIAROOT","region":"","iam_endpoint":"http://127.0.0.1:5000","sts_endpoint":"http://127.0.0.1:5001","sts_region":"","max_retries":-1,"username_template":""}"#
    );
    b.call(Operation::Update, "config/lease", r#"{"lease":"30m","lease_max":43200}"#).unwrap();
    assert_eq!(text(&b.call(Operation::Read, "config/lease", "").unwrap()), r#"{"lease":"30m0s","lease_max":"12h0m0s"}"#);
    let role = text(&b.call(Operation::Read, "roles/user", "").unwrap());
    assert!(
        role.contains(r#""credential_type":"iam_user""#)
            && role.contains(r#""policy_document":"{\"Version\":\"2012-10-17\",\"Statement\":[]}""#),
        "{role}"
    );
    assert_eq!(text(&b.call(Operation::List, "roles", "").unwrap()), r#"{"keys":["role","user"]}"#);
    b.call(Operation::Update, "roles/user", r#"{"user_path":""}"#).unwrap();
    let role = text(&b.call(Operation::Read, "roles/user", "").unwrap());
    assert!(role.contains(r#""user_path":"""#) && role.contains("readers"), "what is left out stays: {role}");
}

#[test]
fn refuses_what_makes_no_sense() {
    let (b, fake, _) = bench();
    b.call(
        Operation::Update,
        "roles/two",
        r#"{"credential_type":"assumed_role","role_arns":"arn:aws:iam::1:role/a,arn:aws:iam::1:role/b"}"#,
    )
    .unwrap();
    for (path, body, part) in [
        ("config/root", r#"{"access_key":"A"}"#, "both be given"),
        ("config/root", r#"{"access_key":"A B","secret_key":"canary"}"#, "access key id"),
        ("config/root", r#"{"access_key":"A","secret_key":"canary","region":"../x"}"#, "region"),
        ("config/root", r#"{"access_key":"A","secret_key":"canary","sts_region":"a.evil.org/"}"#, "sts_region"),
        ("config/root", r#"{"access_key":"A","secret_key":"canary","iam_endpoint":"iam"}"#, "iam_endpoint"),
        ("config/root", r#"{"access_key":"A","secret_key":"canary","sts_endpoint":"https://u:canary@h"}"#, "sts_endpoint"),
        ("config/root", r#"{"access_key":"A","secret_key":"canary","username_template":"{{.Nothing}}"}"#, "Nothing"),
        ("config/root", r#"{"access_key":"A","secret_key":"canary","role_arn":"arn:aws:iam::1:role/r"}"#, "not built"),
        ("config/root", r#"{"access_key":"A","secret_key":"canary","sts_fallback_endpoints":"https://a"}"#, "not built"),
        ("config/lease", r#"{"lease":"1h"}"#, "'lease_max' is a required parameter"),
        ("config/lease", r#"{"lease_max":"1h"}"#, "'lease' is a required parameter"),
        ("config/lease", r#"{"lease":"-1h","lease_max":"1h"}"#, "negative"),
        ("roles/x", "{}", "did not supply credential_type"),
        ("roles/x", r#"{"credential_type":"canary"}"#, "unrecognized credential_type"),
        ("roles/x", r#"{"credential_type":"iam_user"}"#, "needs policy_document"),
        ("roles/x", r#"{"credential_type":"federation_token"}"#, "needs policy_document"),
        ("roles/x", r#"{"credential_type":"assumed_role"}"#, "needs role_arns"),
        ("roles/x", r#"{"credential_type":"assumed_role","role_arns":"canary"}"#, "ARNs"),
        (
            "roles/x",
            r#"{"credential_type":"iam_user","policy_arns":"arn:aws:iam::1:policy/p","role_arns":"arn:aws:iam::1:role/r"}"#,
            "role_arns has no place",
        ),
        ("roles/x", r#"{"credential_type":"iam_user","policy_document":"canary"}"#, "cannot parse policy document"),
        ("roles/x", r#"{"credential_type":"iam_user","policy_document":"[]"}"#, "cannot parse policy document"),
        (
            "roles/x",
            r#"{"credential_type":"iam_user","policy_document":"{\"Statement\":[],\"Statement\":[]}"}"#,
            "cannot parse policy document",
        ),
        ("roles/x", r#"{"credential_type":"session_token","policy_arns":"arn:aws:iam::1:policy/p"}"#, "policy_arns has no place"),
        ("roles/x", r#"{"credential_type":"session_token","user_path":"/a/"}"#, "user_path has no place"),
        ("roles/x", r#"{"credential_type":"session_token","iam_groups":"g"}"#, "iam_groups has no place"),
        (
            "roles/x",
            r#"{"credential_type":"session_token","default_sts_ttl":"2h","max_sts_ttl":"1h"}"#,
            "greater than max_sts_ttl",
        ),
        ("roles/user", r#"{"user_path":"a"}"#, "user_path"),
        ("roles/user", r#"{"default_sts_ttl":"1h"}"#, "default_sts_ttl has no place"),
        ("roles/user", r#"{"credential_type":"assumed_role","role_arns":"arn:aws:iam::1:role/r"}"#, "has no place"),
        ("creds/none", "{}", "Role 'none' not found"),
        ("creds/user", r#"{"role_arn":"arn:aws:iam::1:role/r"}"#, "role_arn has no effect"),
        ("sts/user", r#"{"ttl":"1h"}"#, "ttl has no effect"),
        ("creds/role", r#"{"mfa_code":"123456"}"#, "mfa_code has no effect"),
        ("creds/role", r#"{"role_arn":"arn:aws:iam::1:role/canary"}"#, "not in allowed role arns"),
        ("creds/two", "{}", "unable to determine one"),
        ("creds/role", r#"{"ttl":"-5m"}"#, "negative"),
        ("creds/role", r#"{"ttl":"soon"}"#, "ttl"),
    ] {
        let (kind, text) = refused(&b, Operation::Update, path, body);
        assert!(matches!(kind, Kind::BadRequest | Kind::NotImplemented) && text.contains(part), "{body}: {text}");
    }
    assert!(fake.asked().is_empty(), "nothing was asked of AWS");
}

#[test]
fn refuses_what_is_no_answer() {
    let (b, fake, _) = bench();
    let late = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>a</AccessKeyId><SecretAccessKey>canary</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2020-01-01T00:00:00Z</Expiration></Credentials><AssumedRoleUser><Arn>a</Arn></AssumedRoleUser></AssumeRoleResult></AssumeRoleResponse>";
    for (status, body, part) in [
        (200, "canary", "no reply to it"),
        (200, "<html><body>canary</body></html>", "no reply to it"),
        (200, "", "no reply to it"),
        (200, r#"<!DOCTYPE a [<!ENTITY b "canary">]><AssumeRoleResponse/>"#, "no reply to it"),
        (200, "<CreateUserResponse/>", "no reply to it"),
        (200, "<AssumeRoleResponse/>", "no reply to it"),
        (200, late, "no end, or has ended"),
        (302, "", "no redirect is followed"),
        (
            403,
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>canary</Message></Error></ErrorResponse>",
            "AWS refused AssumeRole: AccessDenied (status 403)",
        ),
        (
            403,
            "<ErrorResponse><Error><Code>canary code with spaces</Code></Error></ErrorResponse>",
            "status 403 and no error of its protocol",
        ),
        (500, "canary", "status 500"),
    ] {
        fake.becomes(move |_| reply(status, body));
        let (kind, text) = refused(&b, Operation::Read, "creds/role", "");
        assert!(kind == Kind::Upstream && text.contains(part), "{body}: {text}");
    }
    fake.asked();
    fake.becomes(|_| reply(503, ""));
    refused(&b, Operation::Read, "creds/role", "");
    assert_eq!(fake.asked().len(), 3, "asked again, a bounded number of times");
    refused(&b, Operation::Read, "creds/user", "");
    assert_eq!(fake.asked().iter().filter(|a| a.body.contains("CreateUser&")).count(), 1, "what makes something is not repeated");
    fake.becomes(|_| Err(Fault::new(FaultKind::Protocol, "127.0.0.1: the reply is over 1048576 bytes")));
    assert_eq!(refused(&b, Operation::Read, "creds/role", "").0, Kind::Upstream);
    fake.becomes(|_| down());
    assert_eq!(refused(&b, Operation::Read, "creds/user", "").0, Kind::Upstream);
}

#[test]
fn without_a_configuration_nothing_is_asked() {
    let fake = Fake::new(|_| down());
    let b = Bench::reaching::<Aws>("aws/", fake.clone());
    assert_eq!(refused(&b, Operation::Read, "config/root", "").0, Kind::NotFound);
    assert_eq!(refused(&b, Operation::Read, "config/lease", "").0, Kind::NotFound);
    b.call(Operation::Update, "roles/user", USER).unwrap();
    for (operation, path) in [(Operation::Read, "creds/user"), (Operation::Update, "config/rotate-root")] {
        assert!(refused(&b, operation, path, "").1.contains("write config/root first"));
    }
    b.beat().unwrap();
    assert!(fake.asked().is_empty());
}
