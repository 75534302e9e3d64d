//! Logging in, the kept token, and what is done with tokens.

use crate::fake::Fake;

const SELF: (&str, u16, &str) = (
    "GET /v1/auth/token/lookup-self",
    200,
    r#"{"data":{"accessor":"acc","policies":["root"],"ttl":0,"renewable":false,"meta":null}}"#,
);
const LOGGED_IN: &str = r#"{"auth":{"client_token":"s.new","accessor":"acc","policies":["app","default"],"token_policies":["app","default"],"metadata":{"username":"bob"},"lease_duration":600,"renewable":true}}"#;

fn kept(fake: &Fake) -> Option<String> {
    std::fs::read_to_string(fake.home.path().join(".vault-token")).ok()
}

#[test]
fn a_token_that_works_is_kept_and_used() {
    let fake = Fake::answering(&[SELF, ("GET /v1/x", 200, r#"{"data":{"a":1}}"#)]);
    let ran = fake.run_with("login -", "s.typed\n", &[("VAULT_TOKEN", "")]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("token                s.typed\n") && ran.out.contains("token_duration       ∞\n"), "{}", ran.out);
    assert_eq!(kept(&fake).as_deref(), Some("s.typed"));
    assert_eq!(fake.run_with("print token", "", &[("VAULT_TOKEN", "")]).out, "s.typed\n");
    assert_eq!(fake.run_with("read x", "", &[("VAULT_TOKEN", "")]).code, 0);
    assert_eq!(fake.asked().last().unwrap().header("x-vault-token"), Some("s.typed"));
}

#[test]
fn a_token_that_does_not_work_is_not_kept() {
    let fake = Fake::answering(&[("GET /v1/auth/token/lookup-self", 403, r#"{"errors":["permission denied"]}"#)]);
    let ran = fake.run("login s.bad");
    assert_eq!((ran.code, ran.out.as_str(), kept(&fake)), (2, "", None));
    assert!(ran.err.starts_with("Error authenticating: error looking up token: Error making API request."), "{}", ran.err);
    assert!(!ran.err.contains("s.bad"));
}

#[test]
fn nothing_is_kept_where_nothing_shall_be() {
    for line in ["login -no-store s.typed", "login -token-only s.typed"] {
        let fake = Fake::answering(&[SELF]);
        let ran = fake.run(line);
        assert_eq!((ran.code, kept(&fake)), (0, None), "{line}");
    }
    assert_eq!(Fake::answering(&[SELF]).run("login -token-only s.typed").out, "s.typed");
    let fake = Fake::answering(&[SELF]);
    let ran = fake.run("login -no-print s.typed");
    assert_eq!((ran.out.as_str(), kept(&fake).as_deref()), ("", Some("s.typed")));
    assert!(ran.err.contains("VAULT_TOKEN environment"), "the variable would win: {}", ran.err);
}

#[test]
fn methods_prove_without_a_token() {
    let fake = Fake::answering(&[("PUT /v1/auth/people/login/bob", 200, LOGGED_IN)]);
    let ran = fake.run_with("login -method=userpass -path=people username=bob password=-", "pw", &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let asked = &fake.asked()[0];
    assert_eq!((asked.body.as_str(), asked.header("x-vault-token")), (r#"{"password":"pw"}"#, None));
    assert!(ran.out.contains("token_meta_username    bob\n"), "{}", ran.out);
    assert_eq!(kept(&fake).as_deref(), Some("s.new"));
    let fake = Fake::answering(&[("PUT /v1/auth/approle/login", 200, LOGGED_IN)]);
    assert_eq!(fake.run("login -method=approle -field=token role_id=r secret_id=s").out, "s.new");
    assert_eq!(fake.asked()[0].body, r#"{"role_id":"r","secret_id":"s"}"#);
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    for (line, said) in [
        ("login", "not a terminal"),
        ("login -method=userpass username=bob", "not a terminal"),
        ("login -non-interactive", "-non-interactive"),
        ("login -method=userpass password=x", "'username' must be specified"),
    ] {
        let fake = Fake::answering(&[SELF]);
        let ran = fake.run(line);
        assert_eq!((ran.code, fake.lines().len()), (2, 0), "{line}");
        assert!(ran.err.contains(said), "{line}: {}", ran.err);
    }
}

#[test]
fn no_token_is_said_to_be_the_reason() {
    let fake = Fake::answering(&[("GET /v1/x", 403, r#"{"errors":["permission denied"]}"#)]);
    assert!(fake.run_with("read x", "", &[("VAULT_TOKEN", "")]).err.contains("No token was sent. Log in with \"coffer login\""));
    assert!(!fake.run("read x").err.contains("No token was sent"));
}

#[test]
fn create_sends_what_was_given() {
    let fake =
        Fake::answering(&[("POST /v1/auth/token/create", 200, LOGGED_IN), ("POST /v1/auth/token/create/ci", 200, LOGGED_IN)]);
    assert_eq!(fake.run("token create -policy=app -policy=ops -ttl=90 -metadata=a=b -orphan -use-limit=5").code, 0);
    assert_eq!(
        fake.asked()[0].body,
        r#"{"policies":["app","ops"],"meta":{"a":"b"},"ttl":"1m30s","explicit_max_ttl":"0s","period":"0s","no_parent":true,"display_name":"","num_uses":5,"renewable":true,"type":"service","entity_alias":""}"#
    );
    assert_eq!(fake.run("token create -role=ci -type=batch").code, 0);
    assert!(fake.asked()[1].body.contains(r#""renewable":false,"type":"batch""#));
}

#[test]
fn which_path_each_way_to_name_a_token_takes() {
    for (line, asked, body) in [
        ("token lookup s.x", "POST /v1/auth/token/lookup", r#"{"token":"s.x"}"#),
        ("token lookup -accessor a", "POST /v1/auth/token/lookup-accessor", r#"{"accessor":"a"}"#),
        ("token renew -increment=1h", "PUT /v1/auth/token/renew-self", r#"{"increment":3600}"#),
        ("token revoke s.x", "PUT /v1/auth/token/revoke", r#"{"token":"s.x"}"#),
        ("token revoke -mode=orphan s.x", "PUT /v1/auth/token/revoke-orphan", r#"{"token":"s.x"}"#),
        ("token revoke -self", "PUT /v1/auth/token/revoke-self", ""),
        ("lease revoke -prefix db/creds", "PUT /v1/sys/leases/revoke-prefix/db/creds", r#"{"sync":false}"#),
        ("lease renew -increment=1h db/creds/1", "PUT /v1/sys/leases/renew", r#"{"increment":3600,"lease_id":"db/creds/1"}"#),
    ] {
        let fake = Fake::answering(&[]);
        fake.run(line);
        assert_eq!((fake.asked()[0].line.as_str(), fake.asked()[0].body.as_str()), (asked, body), "{line}");
    }
}

#[test]
fn an_unwrap_without_a_token_of_ones_own_uses_the_wrapping_one() {
    let fake = Fake::answering(&[("PUT /v1/sys/wrapping/unwrap", 200, r#"{"data":{"a":"b"}}"#)]);
    assert_eq!(fake.run_with("unwrap s.wrap", "", &[("VAULT_TOKEN", "")]).code, 0);
    assert_eq!(fake.asked()[0].header("x-vault-token"), Some("s.wrap"));
    assert_eq!(fake.run("unwrap s.wrap").code, 0);
    assert_eq!(
        (fake.asked()[1].header("x-vault-token"), fake.asked()[1].body.as_str()),
        (Some("s.own"), r#"{"token":"s.wrap"}"#)
    );
}
