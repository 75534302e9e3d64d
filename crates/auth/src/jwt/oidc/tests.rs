//! The flows, with a provider in memory that signs with keys of its own.

use super::pending::MOST;
use crate::fake::{Fake, down, form};
use crate::jwt::Oidc;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_crypto::jws::{Algorithm, Signer};
use coffer_crypto::mac::sha256;
use coffer_engine::outside::HttpRequest;
use coffer_engine::testing::{Bench, Failed, object};
use coffer_engine::{Answer, Login};
use coffer_types::{Json, Kind, Object, Operation, Span};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

const ISSUER: &str = "https://id.example";
const BACK: &str = "http://localhost:8250/oidc/callback";

fn key() -> &'static Signer {
    static KEY: OnceLock<Signer> = OnceLock::new();
    KEY.get_or_init(|| Signer::generate(Algorithm::Rs256).unwrap())
}

/// What the provider knows.
#[derive(Default)]
struct Known {
    /// Code → challenge, nonce.
    codes: BTreeMap<String, (String, String)>,
    /// Over the claims of the next id tokens; null leaves one out.
    claims: String,
    /// In place of an answer of the token endpoint.
    says: Option<(u16, String)>,
    approved: bool,
    userinfo: String,
    now: i64,
}

struct Mount {
    bench: Bench,
    fake: Arc<Fake>,
    known: Arc<Mutex<Known>>,
}

impl Mount {
    fn new(role: &str) -> Self {
        Self::with(role, "")
    }

    fn with(role: &str, config: &str) -> Self {
        let known = Arc::new(Mutex::new(Known { claims: "{}".into(), ..Known::default() }));
        let provider = known.clone();
        let fake = Fake::new(move |request| answer(&mut provider.lock().unwrap(), request));
        let mount = Self { bench: Bench::reaching::<Oidc>("auth/oidc/", fake.clone()), fake, known };
        mount.known().now = mount.bench.now().secs();
        mount.write(
            "config",
            &format!(r#"{{"oidc_discovery_url":"{ISSUER}","oidc_client_id":"me","oidc_client_secret":"canary-secret","default_role":"r"{config}}}"#),
        );
        mount.write("role/r", &format!(r#"{{"user_claim":"sub","allowed_redirect_uris":"{BACK}"{role}}}"#));
        mount
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    fn write(&self, path: &str, body: &str) {
        assert!(self.bench.call(Operation::Update, path, body).is_ok(), "{path} {body}");
    }

    fn begin(&self) -> Begun {
        let body = format!(r#"{{"redirect_uri":"{BACK}","client_nonce":"word"}}"#);
        let data = self.bench.call(Operation::Update, "oidc/auth_url", &body).unwrap().data.unwrap();
        let text = |name: &str| data.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let url = text("auth_url");
        let query: BTreeMap<String, String> = url
            .split_once('?')
            .map(|(_, query)| query.split('&').filter_map(|p| p.split_once('=')).map(|(n, v)| (n.into(), v.into())).collect())
            .unwrap_or_default();
        Begun { query, url, state: text("state"), interval: text("poll_interval") }
    }

    /// The person says yes at the provider: the code.
    fn approve(&self, begun: &Begun) -> String {
        let mut known = self.known();
        let code = format!("code-{}", known.codes.len());
        known.codes.insert(code.clone(), (begun.query["code_challenge"].clone(), begun.query["nonce"].clone()));
        code
    }

    fn back(&self, operation: Operation, fields: &[(&str, &str)]) -> Result<Answer, Failed> {
        let body = fields.iter().fold(Object::new(), |body, (name, value)| body.with(*name, *value));
        self.bench.call(operation, "oidc/callback", std::str::from_utf8(&Json::Object(body).to_bytes()).unwrap())
    }

    /// The usual end of a login in client mode.
    fn end(&self, begun: &Begun, code: &str) -> Result<Login, String> {
        outcome(self.back(Operation::Read, &[("state", begun.state()), ("code", code), ("client_nonce", "word")]))
    }

    fn poll(&self, state: &str, word: &str) -> Result<Login, String> {
        let body = format!(r#"{{"state":"{state}","client_nonce":"{word}"}}"#);
        outcome(self.bench.call(Operation::Update, "oidc/poll", &body))
    }
}

struct Begun {
    url: String,
    query: BTreeMap<String, String>,
    state: String,
    interval: String,
}

impl Begun {
    fn state(&self) -> &str {
        &self.query["state"]
    }
}

/// The login, or what was said instead; a failure that commits is one too.
fn outcome(answer: Result<Answer, Failed>) -> Result<Login, String> {
    match answer {
        Err(failed) => Err(failed.public),
        Ok(answer) => answer.login.map(|login| *login).ok_or_else(|| {
            assert_eq!(answer.status, Some(400));
            let errors = answer.data.as_ref().and_then(|data| data.get("errors")).and_then(Json::as_array).unwrap();
            errors[0].as_str().unwrap().to_owned()
        }),
    }
}

/// The page of an answer.
fn html(answer: Result<Answer, Failed>) -> (u16, String) {
    let answer = answer.unwrap();
    assert!(answer.login.is_none());
    let policy = answer.headers.iter().find(|(name, _)| *name == "content-security-policy").map(|(_, v)| v.clone()).unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
    (answer.status.unwrap(), String::from_utf8(answer.raw.unwrap().body).unwrap())
}

fn answer(known: &mut Known, request: &HttpRequest) -> Result<(u16, Vec<u8>), coffer_engine::outside::Fault> {
    let json = |status: u16, text: String| Ok((status, text.into_bytes()));
    match request.url.strip_prefix(ISSUER) {
        Some("/.well-known/openid-configuration") => {
            let userinfo =
                if known.userinfo.is_empty() { String::new() } else { format!(r#","userinfo_endpoint":"{ISSUER}/me""#) };
            json(
                200,
                format!(
                    r#"{{"issuer":"{ISSUER}","jwks_uri":"{ISSUER}/keys","authorization_endpoint":"{ISSUER}/authorize",
                    "token_endpoint":"{ISSUER}/token","device_authorization_endpoint":"{ISSUER}/device"{userinfo}}}"#
                ),
            )
        }
        Some("/keys") => {
            let keys = vec![Json::Object(key().public_jwk("k").unwrap())];
            Ok((200, Json::Object(Object::new().with("keys", keys)).to_bytes().to_vec()))
        }
        Some("/me") => json(200, known.userinfo.clone()),
        Some("/device") => json(
            200,
            format!(r#"{{"device_code":"dev","user_code":"U","verification_uri":"{ISSUER}/who","interval":7,"expires_in":60}}"#),
        ),
        Some("/token") => {
            let basic = request.headers.iter().find(|(n, _)| n == "authorization").map(|(_, v)| v.expose().clone());
            assert_eq!(basic.as_deref(), Some("Basic bWU6Y2FuYXJ5LXNlY3JldA=="), "me:canary-secret");
            if let Some((status, text)) = known.says.clone() {
                return json(status, text);
            }
            if form(request, "device_code").is_some() {
                if !known.approved {
                    return json(400, r#"{"error":"authorization_pending"}"#.into());
                }
                return tokens(known, None);
            }
            assert_eq!(form(request, "redirect_uri"), Some("http%3A%2F%2Flocalhost%3A8250%2Foidc%2Fcallback"));
            let verifier = form(request, "code_verifier").unwrap_or_default();
            // A code is good once, and for who knows its verifier.
            match form(request, "code").and_then(|code| known.codes.remove(code)) {
                Some((challenge, nonce)) if URL_SAFE_NO_PAD.encode(sha256(&[verifier.as_bytes()])) == challenge => {
                    tokens(known, Some(&nonce))
                }
                _ => json(400, r#"{"error":"invalid_grant","error_description":"canary-description"}"#.into()),
            }
        }
        _ => Err(down()),
    }
}

fn id_token(known: &Known, nonce: Option<&str>) -> String {
    let mut claims = Object::new()
        .with("iss", ISSUER)
        .with("sub", "bob")
        .with("aud", "me")
        .with("iat", known.now)
        .with("exp", known.now + 300);
    if let Some(nonce) = nonce {
        claims.insert("nonce", nonce);
    }
    for (name, value) in object(&known.claims) {
        claims.insert(name, value);
    }
    key().token("k", claims).unwrap()
}

fn tokens(known: &Known, nonce: Option<&str>) -> Result<(u16, Vec<u8>), coffer_engine::outside::Fault> {
    let id = id_token(known, nonce);
    Ok((200, format!(r#"{{"access_token":"acc","token_type":"Bearer","id_token":"{id}"}}"#).into_bytes()))
}

const LOST: &str = "login failed. Expired or missing OAuth state.";

#[test]
fn a_person_logs_in_and_the_state_is_used() {
    let mount = Mount::new(r#","groups_claim":"g","oidc_scopes":"email,openid","token_policies":"p","max_age":60"#);
    mount.known().claims = format!(r#"{{"g":["x"],"auth_time":{}}}"#, mount.bench.now().secs() - 59);
    let begun = mount.begin();
    assert!(begun.url.starts_with(&format!("{ISSUER}/authorize?client_id=me&code_challenge=")), "{}", begun.url);
    for (name, value) in
        [("scope", "openid+email"), ("response_type", "code"), ("code_challenge_method", "S256"), ("max_age", "60")]
    {
        assert_eq!(begun.query[name], value);
    }
    assert!(begun.state.is_empty() && begun.interval.is_empty(), "only for those who poll");
    let code = mount.approve(&begun);
    let login = mount.end(&begun, &code).unwrap();
    assert_eq!((&*login.alias, login.policies.join(","), login.group_aliases.join(",")), ("bob", "p".into(), "x".into()));
    assert_eq!(mount.end(&begun, &code).unwrap_err(), LOST);
    assert!(!mount.bench.keys().iter().any(|key| key.starts_with("pending/")));
}

#[test]
fn a_state_is_used_up_by_whatever_happens() {
    let mount = Mount::new("");
    let after = |begun: &Begun| {
        let code = mount.approve(begun);
        mount.end(begun, &code).unwrap_err()
    };
    for (fields, said) in [
        (vec![("error", "access_denied"), ("error_description", "<b>")], "login failed. access_denied"),
        (vec![("error", "<script>canary")], "login failed. the provider refused"),
        (vec![("client_nonce", "word")], "login failed. No code or id_token received."),
        (vec![("code", "code-0"), ("client_nonce", "other")], "invalid client_nonce"),
        (vec![("code", "code-0")], "invalid client_nonce"),
        (vec![("code", "none"), ("client_nonce", "word")], "login failed. the provider gave no token: invalid_grant"),
        (vec![("id_token", "a.b.c"), ("client_nonce", "word")], "login failed. an id_token was not asked for"),
        (vec![("code", "x"), ("confirmation", "y"), ("client_nonce", "word")], "login failed. unexpected answer"),
    ] {
        let begun = mount.begin();
        let mut sent = vec![("state", begun.state())];
        sent.extend(fields);
        assert_eq!(outcome(mount.back(Operation::Read, &sent)).unwrap_err(), said);
        assert_eq!(after(&begun), LOST);
    }
    for state in ["", "x", "st_", "st_zz_a", "st_-1_a", "st_ffffffffffffffffff_a", "st_6a_a/../../config", "st_6b_a"] {
        let sent = [("state", state), ("code", "c"), ("client_nonce", "word")];
        assert_eq!(outcome(mount.back(Operation::Read, &sent)).unwrap_err(), LOST, "{state}");
        assert_eq!(mount.poll(state, "word").unwrap_err(), LOST, "{state}");
    }
}

#[test]
fn a_state_ends_by_itself() {
    let mount = Mount::new("");
    let begun = mount.begin();
    let code = mount.approve(&begun);
    mount.bench.pass(Span::from_secs(301));
    assert_eq!(mount.end(&begun, &code).unwrap_err(), LOST);
}

#[test]
fn strangers_do_not_fill_the_store() {
    let mount = Mount::new("");
    for _ in 0..MOST {
        mount.begin();
    }
    let body = format!(r#"{{"redirect_uri":"{BACK}"}}"#);
    mount.fake.asked();
    let failed = mount.bench.call(Operation::Update, "oidc/auth_url", &body).err().unwrap();
    assert_eq!(failed.kind, Kind::TooMany);
    assert!(mount.fake.asked().is_empty());
    let pending = |mount: &Mount| mount.bench.keys().iter().filter(|key| key.starts_with("pending/")).count();
    assert_eq!(pending(&mount), MOST);
    // When they have ended there is room again, and what has ended goes.
    mount.bench.pass(Span::from_secs(302));
    mount.begin();
    assert!(pending(&mount) < MOST - 90);
}

/// The second members over the first ones.
fn overlaid(first: &str, second: &str) -> String {
    let mut claims = object(&format!("{{{first}}}"));
    for (name, value) in object(&format!("{{{second}}}")) {
        claims.insert(name, value);
    }
    String::from_utf8(Json::Object(claims).to_bytes().to_vec()).unwrap()
}

#[test]
fn id_tokens_that_do_not_hold_are_refused() {
    let mount = Mount::new(r#","max_age":60"#);
    let now = mount.bench.now().secs();
    let good = format!(r#""auth_time":{now}"#);
    let attempt = |claims: &str| {
        mount.known().claims = claims.to_owned();
        let begun = mount.begin();
        let code = mount.approve(&begun);
        mount.end(&begun, &code)
    };
    attempt(&format!(r#"{{{good},"aud":["me","x"],"azp":"me"}}"#)).unwrap();
    for (claims, why) in [
        (r#""nonce":"other""#, "nonce"),
        (r#""nonce":null"#, "nonce"),
        (r#""aud":"you""#, "audience"),
        (r#""aud":["you","he"],"azp":"me""#, "audience"),
        (r#""aud":["me","x"]"#, "azp"),
        (r#""azp":"you""#, "azp"),
        (r#""azp":5"#, "azp"),
        (r#""aud":null"#, "audience"),
        (r#""iss":"https://evil.example""#, "issuer"),
        (r#""iss":null"#, "issuer"),
        (r#""exp":5"#, "expired"),
        (r#""exp":null"#, "exp is missing"),
        (r#""iat":null"#, "iat is missing"),
        (r#""sub":null"#, "not found in token"),
        (r#""sub":7"#, "subject"),
        (r#""auth_time":5"#, "max age"),
        (r#""auth_time":null"#, "auth_time"),
    ] {
        let said = attempt(&overlaid(&good, claims)).unwrap_err();
        assert!(said.contains(why) && said.starts_with("login failed."), "{claims}: {said}");
    }
    // Signed by someone else, or with nothing.
    let other = Signer::generate(Algorithm::Es256).unwrap();
    let forged = other.token("k", object(r#"{"sub":"bob"}"#)).unwrap();
    for id in [forged, "eyJhbGciOiJub25lIn0.e30.".into(), String::new()] {
        mount.known().says = Some((200, format!(r#"{{"id_token":"{id}"}}"#)));
        assert!(attempt("{}").is_err());
    }
    for (status, text, why) in [
        (401, r#"{"error":"invalid_client","error_description":"canary-description"}"#, "invalid_client"),
        (200, r#"{"error":"canary-error <b>"}"#, "the provider refused"),
        (500, "canary-text", "status 500"),
        (302, "", "status 302"),
        (200, "[]", "no JSON object"),
        (200, "{}", "no id_token"),
    ] {
        mount.known().says = Some((status, text.to_owned()));
        let said = attempt("{}").unwrap_err();
        assert!(said.contains(why) && !said.contains("canary"), "{said}");
    }
}

#[test]
fn the_providers_page_adds_and_never_changes() {
    let mount = Mount::new(r#","groups_claim":"g""#);
    let attempt = |userinfo: &str| {
        mount.known().userinfo = userinfo.to_owned();
        mount.bench.pass(Span::from_secs(601));
        mount.known().now = mount.bench.now().secs();
        let begun = mount.begin();
        let code = mount.approve(&begun);
        mount.end(&begun, &code)
    };
    let login = attempt(r#"{"sub":"bob","g":["x"],"aud":"other","iss":"other"}"#).unwrap();
    assert_eq!((login.group_aliases.join(","), &*login.alias), ("x".into(), "bob"));
    for bad in [r#"{"sub":"eve","g":["x"]}"#, r#"{"g":["x"]}"#, "[]", r#"{"sub":"bob"}"#] {
        assert!(attempt(bad).is_err(), "{bad}");
    }
}

#[test]
fn only_addresses_of_the_role_are_sent_to() {
    let mount = Mount::new("");
    let ask = |body: &str| {
        mount
            .bench
            .call(Operation::Update, "oidc/auth_url", body)
            .map(|a| a.data.unwrap().get("auth_url").and_then(Json::as_str).unwrap().to_owned())
    };
    assert_eq!(ask(r#"{"redirect_uri":"https://evil.example/"}"#).unwrap(), "");
    assert_eq!(ask("{}").err().unwrap().public, "missing redirect_uri");
    assert!(ask(r#"{"role":"none","redirect_uri":"x"}"#).err().unwrap().public.contains("could not be found"));
    mount.write(
        "role/j",
        r#"{"role_type":"jwt","user_claim":"sub","bound_audiences":"a","allowed_redirect_uris":"http://localhost/x"}"#,
    );
    assert_eq!(ask(r#"{"role":"j","redirect_uri":"http://localhost/x"}"#).unwrap(), "");
    mount.fake.answers(|_| Err(down()));
    mount.bench.pass(Span::from_secs(700));
    mount.fake.asked();
    for _ in 0..3 {
        assert_eq!(ask(&format!(r#"{{"redirect_uri":"{BACK}"}}"#)).unwrap(), "");
    }
    assert_eq!(mount.fake.asked().len(), 1, "a provider that is down is left in peace");
    mount.write("config", &format!(r#"{{"oidc_discovery_url":"{ISSUER}","skip_jwks_validation":true}}"#));
    assert!(ask(r#"{"role":"r","redirect_uri":"x"}"#).err().unwrap().public.contains("not configured"));
}

#[test]
fn a_form_waits_for_the_client_that_began() {
    let mount = Mount::with("", r#","oidc_response_mode":"form_post","oidc_response_types":"id_token""#);
    let begun = mount.begin();
    assert_eq!((&*begun.query["response_mode"], &*begun.query["response_type"]), ("form_post", "id_token"));
    let id = id_token(&mount.known(), Some(&begun.query["nonce"]));
    let (status, page) = html(mount.back(Operation::Update, &[("state", begun.state()), ("id_token", &id)]));
    assert!(status == 200 && !page.contains(&id));
    assert_eq!(mount.end(&begun, "").unwrap().alias, "bob");
    assert_eq!(mount.end(&begun, "").unwrap_err(), LOST);
    // Without the client's word nobody gets it, and then nobody at all.
    let begun = mount.begin();
    let id = id_token(&mount.known(), Some(&begun.query["nonce"]));
    html(mount.back(Operation::Update, &[("state", begun.state()), ("id_token", &id)]));
    assert_eq!(outcome(mount.back(Operation::Read, &[("state", begun.state())])).unwrap_err(), "invalid client_nonce");
    assert_eq!(mount.end(&begun, "").unwrap_err(), LOST);
    // A token of another login is not this one's.
    let begun = mount.begin();
    let id = id_token(&mount.known(), Some("n_other"));
    html(mount.back(Operation::Update, &[("state", begun.state()), ("id_token", &id)]));
    assert!(mount.end(&begun, "").unwrap_err().contains("nonce"));
}

/// The hidden word of the page that asks for a yes.
fn word(page: &str) -> String {
    page.split_once("name=\"confirmation\" value=\"").unwrap().1.split('"').next().unwrap().to_owned()
}

#[test]
fn in_direct_mode_the_person_is_asked() {
    let mount = Mount::new(r#","callback_mode":"direct""#);
    let begun = mount.begin();
    assert_eq!((&*begun.state, &*begun.interval), (begun.state(), "5"));
    assert_eq!(mount.poll(&begun.state, "word").unwrap_err(), "authorization_pending");
    let code = mount.approve(&begun);
    mount.fake.asked();
    let (status, page) = html(mount.back(Operation::Read, &[("state", &begun.state), ("code", &code)]));
    assert!(status == 200 && page.contains("this machine") && page.contains("<b>r</b>"), "{page}");
    // Whose browser it is has not said yes: nothing was asked of the provider, and nothing is given out.
    assert!(!mount.fake.asked().iter().any(|url| url.ends_with("/token")));
    assert_eq!(mount.poll(&begun.state, "word").unwrap_err(), "authorization_pending");
    let (status, page) = html(mount.back(Operation::Update, &[("state", &begun.state), ("confirmation", &word(&page))]));
    assert!(status == 200 && page.contains("Logged in"), "{page}");
    assert_eq!(mount.poll(&begun.state, "word").unwrap().alias, "bob");
    assert_eq!(mount.poll(&begun.state, "word").unwrap_err(), LOST);
}

#[test]
fn in_direct_mode_a_fixed_session_leads_nowhere() {
    let mount = Mount::new(r#","callback_mode":"direct""#);
    // A guessed yes, a yes before the question, a second answer: each ends the login.
    for sent in [vec![("confirmation", "guess")], vec![("code", "code-9")]] {
        let begun = mount.begin();
        let code = mount.approve(&begun);
        html(mount.back(Operation::Read, &[("state", &begun.state), ("code", &code)]));
        let mut fields = vec![("state", begun.state.as_str())];
        fields.extend(sent);
        assert_eq!(html(mount.back(Operation::Update, &fields)).0, 400);
        assert_eq!(mount.poll(&begun.state, "word").unwrap_err(), LOST);
    }
    let begun = mount.begin();
    let (status, _) = html(mount.back(Operation::Update, &[("state", &begun.state), ("confirmation", "x"), ("code", "c")]));
    assert_eq!((status, &*mount.poll(&begun.state, "word").unwrap_err()), (400, LOST));
    // A stranger's poll ends it too, and gets nothing.
    let begun = mount.begin();
    let code = mount.approve(&begun);
    let (_, page) = html(mount.back(Operation::Read, &[("state", &begun.state), ("code", &code)]));
    html(mount.back(Operation::Update, &[("state", &begun.state), ("confirmation", &word(&page))]));
    assert_eq!(mount.poll(&begun.state, "other").unwrap_err(), "invalid client_nonce");
    assert_eq!(mount.poll(&begun.state, "word").unwrap_err(), LOST);
    // What the provider says went wrong stands there as text.
    let begun = mount.begin();
    let hostile = "<script>alert(1)</script>";
    let (status, page) =
        html(mount.back(Operation::Read, &[("state", &begun.state), ("error", "access_denied"), ("error_description", hostile)]));
    assert!(status == 400 && page.contains("access_denied") && page.contains("alert(1)") && !page.contains("<script"), "{page}");
    // No word of the client's own, no direct mode.
    let body = format!(r#"{{"redirect_uri":"{BACK}"}}"#);
    assert_eq!(mount.bench.call(Operation::Update, "oidc/auth_url", &body).err().unwrap().public, "missing client_nonce");
}

#[test]
fn the_question_can_be_left_out() {
    let mount = Mount::new(r#","callback_mode":"direct","oidc_disable_confirmation":true"#);
    let begun = mount.begin();
    let code = mount.approve(&begun);
    html(mount.back(Operation::Read, &[("state", &begun.state), ("code", &code)]));
    assert_eq!(mount.poll(&begun.state, "word").unwrap().alias, "bob");
}

#[test]
fn a_device_waits_for_its_person() {
    let mount = Mount::new(r#","callback_mode":"device""#);
    let begun = mount.begin();
    assert_eq!((&*begun.url, &*begun.interval), ("https://id.example/who", "7"));
    assert_eq!(mount.poll(&begun.state, "word").unwrap_err(), "authorization_pending");
    // No browser comes back with it.
    assert_eq!(outcome(mount.back(Operation::Read, &[("state", &begun.state), ("code", "c")])).unwrap_err(), LOST);
    mount.known().approved = true;
    assert_eq!(mount.poll(&begun.state, "word").unwrap().alias, "bob");
    assert_eq!(mount.poll(&begun.state, "word").unwrap_err(), LOST);
    let begun = mount.begin();
    mount.known().says = Some((400, r#"{"error":"access_denied"}"#.into()));
    assert!(mount.poll(&begun.state, "word").unwrap_err().contains("access_denied"));
    assert_eq!(mount.poll(&begun.state, "word").unwrap_err(), LOST);
    let begun = mount.begin();
    assert_eq!(mount.poll(&begun.state, "other").unwrap_err(), "invalid client_nonce");
    assert_eq!(mount.poll(&begun.state, "word").unwrap_err(), LOST);
}

#[test]
fn what_is_stored_names_no_state() {
    let mount = Mount::new("");
    let begun = mount.begin();
    let random = begun.state().rsplit('_').next().unwrap().to_owned();
    assert!(mount.bench.keys().iter().all(|key| !key.contains(&random)));
}
