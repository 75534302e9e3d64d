//! Tables, JSON, YAML, one field, and requests shown instead of sent.

use crate::fake::Fake;

const MOUNTS: (&str, u16, &str) = (
    "GET /v1/sys/mounts",
    200,
    r#"{"request_id":"r","data":{"sys/":{"type":"system","accessor":"system_1","description":"d","config":{"default_lease_ttl":0,"max_lease_ttl":0,"force_no_cache":false},"options":null,"local":false,"uuid":"u"},"kv/":{"type":"kv","accessor":"kv_1","description":"","config":{"default_lease_ttl":1800,"max_lease_ttl":0},"options":{"version":"2"},"local":true,"uuid":"v"}}}"#,
);

#[test]
fn engines_in_every_format() {
    let fake = Fake::answering(&[MOUNTS]);
    assert_eq!(
        fake.run("secrets list").out,
        "Path    Type      Accessor    Description\n----    ----      --------    -----------\nkv/     kv        kv_1        n/a\nsys/    system    system_1    d\n"
    );
    let detailed = fake.run("secrets list -detailed").out;
    let row = detailed.lines().find(|l| l.starts_with("kv/")).unwrap();
    assert!(row.contains("1800") && row.contains("system") && row.contains("local") && row.contains("map[version:2]"), "{row}");
    let json = fake.run("secrets list -format=json").out;
    assert!(json.starts_with("{\n  \"kv/\": {\n    \"uuid\": \"v\",\n    \"type\": \"kv\""), "{json}");
    assert!(!json.contains("request_id"), "the envelope is no mount");
    assert!(fake.run("secrets list -format=yaml").out.starts_with("kv/:\n  accessor: kv_1\n"));
    assert_eq!(fake.run_with("secrets list", "", &[("VAULT_FORMAT", "json")]).out, json, "the environment names a format too");
    let pretty = fake.run("secrets list -format=pretty");
    assert_eq!(pretty.code, 1);
}

#[test]
fn raw_is_the_body_as_it_is() {
    let fake = Fake::answering(&[("GET /v1/sys/raw-thing", 200, "{\"data\" : {\"x\":1}}\n")]);
    assert_eq!(fake.run("read -format=raw sys/raw-thing").out, "{\"data\" : {\"x\":1}}\n");
}

#[test]
fn warnings_go_to_standard_error() {
    let fake = Fake::answering(&[(
        "PUT /v1/x/y",
        200,
        r#"{"data":{"a":1},"warnings":["a long warning that says what was ignored and why that is so, in more words than fit on one line"]}"#,
    )]);
    let ran = fake.run("write x/y a=1");
    assert_eq!(ran.out, "Key    Value\n---    -----\na      1\n");
    assert!(
        ran.err.starts_with("WARNING! The following warnings were returned from Coffer:\n\n  * a long warning"),
        "{}",
        ran.err
    );
}

#[test]
fn shown_as_curl_nothing_is_sent() {
    let fake = Fake::answering(&[]);
    let ran = fake.run("write -output-curl-string -wrap-ttl=5m -namespace=ns1 secret/data/x a=it's");
    let want = format!(
        "curl -X PUT -H \"X-Vault-Request: true\" -H \"X-Vault-Token: $(coffer print token)\" -H \"X-Vault-Namespace: ns1/\" -H \"X-Vault-Wrap-TTL: 5m0s\" -d '{{\"a\":\"it'\"'\"'s\"}}' \"{}/v1/secret/data/x\"\n",
        fake.address
    );
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, want.as_str(), ""));
    let ran = fake.run("delete -output-policy secret/data/x");
    assert_eq!((ran.code, ran.out.as_str()), (0, "path \"secret/data/x\" {\n  capabilities = [\"delete\"]\n}\n"));
    assert_eq!(fake.lines(), Vec::<String>::new());
}

#[test]
fn wrapped_answers_show_their_token() {
    let wrap = r#"{"wrap_info":{"token":"s.wrap","accessor":"a","ttl":60,"creation_time":"2026-11-23T03:15:22.1Z","creation_path":"x/y"}}"#;
    let fake = Fake::answering(&[("GET /v1/x/y", 200, wrap)]);
    let ran = fake.run("read -wrap-ttl=60s x/y");
    assert!(
        ran.out.contains("wrapping_token:                  s.wrap\n")
            && ran.out.contains("wrapping_token_ttl:              1m\n"),
        "{}",
        ran.out
    );
    assert_eq!(fake.asked()[0].header("x-vault-wrap-ttl"), Some("1m0s"));
    assert_eq!(fake.run("read -wrap-ttl=60s -field=wrapping_token x/y").out, "s.wrap");
}

#[test]
fn a_lease_without_an_identifier_is_an_interval() {
    let fake = Fake::answering(&[
        ("GET /v1/kv1/a", 200, r#"{"lease_duration":2764800,"data":{"x":"1"}}"#),
        (
            "GET /v1/db/creds/a",
            200,
            r#"{"lease_id":"db/creds/a/1","lease_duration":3600,"renewable":true,"data":{"ttl":90,"username":"u"}}"#,
        ),
    ]);
    assert!(fake.run("read kv1/a").out.contains("refresh_interval    768h\n"));
    let out = fake.run("read db/creds/a").out;
    assert!(
        out.contains("lease_id           db/creds/a/1\n")
            && out.contains("lease_renewable    true\n")
            && out.contains("ttl                1m30s\n"),
        "{out}"
    );
}

#[test]
fn an_answer_that_is_no_json_says_so() {
    let fake = Fake::answering(&[("GET /v1/x", 200, "<html>hello</html>"), ("GET /v1/y", 502, "<html>bad gateway</html>")]);
    let ran = fake.run("read x");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("not JSON"), "{}", ran.err);
    let ran = fake.run("read y");
    assert!(ran.err.contains("Code: 502. Raw Message:\n\n<html>bad gateway</html>"), "{}", ran.err);
}
