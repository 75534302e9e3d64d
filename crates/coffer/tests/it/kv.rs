//! Reading and writing secrets.

use crate::fake::Fake;

const MOUNT: (&str, u16, &str) =
    ("GET /v1/sys/internal/ui/mounts/secret/app", 200, r#"{"data":{"path":"secret/","options":{"version":"2"}}}"#);
const VERSION: &str = r#"{"request_id":"r","lease_id":"","lease_duration":0,"renewable":false,"data":{"data":{"n":12345678901234567890,"f":1.10,"b":"two","a":"<x>"},"metadata":{"created_time":"2026-11-23T03:15:12Z","custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}},"warnings":null}"#;

fn server() -> Fake {
    Fake::answering(&[
        MOUNT,
        ("GET /v1/secret/data/app", 200, VERSION),
        ("PUT /v1/secret/data/app", 200, r#"{"data":{"version":2,"created_time":"t"}}"#),
    ])
}

#[test]
fn get_shows_the_path_of_the_api_the_metadata_and_the_data() {
    let fake = server();
    let ran = fake.run("kv get secret/app");
    let want = "= Secret Path =\nsecret/data/app\n\n======= Metadata =======\nKey                Value\n---                -----\ncreated_time       2026-11-23T03:15:12Z\ncustom_metadata    <nil>\ndeletion_time      n/a\ndestroyed          false\nversion            1\n\n== Data ==\nKey    Value\n---    -----\na      <x>\nb      two\nf      1.10\nn      12345678901234567890\n";
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, want, ""));
    assert_eq!(fake.lines(), ["GET /v1/sys/internal/ui/mounts/secret/app", "GET /v1/secret/data/app"]);
    let asked = &fake.asked()[1];
    assert_eq!((asked.header("x-vault-token"), asked.header("x-vault-request")), (Some("s.own"), Some("true")));
}

#[test]
fn numbers_come_out_as_they_came_in() {
    for (line, want) in [("kv get -field=n secret/app", "12345678901234567890"), ("kv get -field=f secret/app", "1.10")] {
        assert_eq!(server().run(line).out, want);
    }
    let out = server().run("kv get -format=json secret/app").out;
    assert!(
        out.contains("\"n\": 12345678901234567890") && out.contains("\"f\": 1.10") && out.contains("\\u003cx\\u003e"),
        "{out}"
    );
    let out = server().run("kv get -format=yaml secret/app").out;
    assert!(out.contains("    \"n\": 12345678901234567890\n") && out.contains("    f: 1.10\n"), "{out}");
}

#[test]
fn a_field_that_is_not_there_is_named_with_those_that_are() {
    let ran = server().run("kv get -field=nope secret/app");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("Field \"nope\" not present in map") && ran.err.contains("There are: "), "{}", ran.err);
}

#[test]
fn what_is_not_there_is_exit_2() {
    let fake = Fake::answering(&[MOUNT]);
    let ran = fake.run("kv get secret/app");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.trim()), (2, "", "No value found at secret/data/app"));
    let fake = Fake::answering(&[MOUNT]);
    let ran = fake.run("kv list -format=json secret/app");
    assert_eq!((ran.code, ran.out.as_str()), (2, "{}\n"));
}

#[test]
fn a_deleted_version_shows_its_metadata() {
    let body = VERSION.replace(r#"{"n":12345678901234567890,"f":1.10,"b":"two","a":"<x>"}"#, "null");
    let fake = Fake::answering(&[MOUNT, ("GET /v1/secret/data/app", 404, &body)]);
    let ran = fake.run("kv get secret/app");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("destroyed          false") && !ran.out.contains("== Data =="), "{}", ran.out);
}

#[test]
fn put_sends_fields_files_and_standard_input() {
    let fake = server();
    std::fs::write(fake.home.path().join("value"), "from file").unwrap();
    let ran = fake.run_with("kv put -cas=0 secret/app b=two a=@value c=- d=\\@plain b=three", "from stdin", &[]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        fake.asked()[1].body,
        r#"{"data":{"a":"from file","b":["two","three"],"c":"from stdin","d":"@plain"},"options":{"cas":0}}"#
    );
    let fake = server();
    assert_eq!(fake.run_with("kv put secret/app -", r#"{"n":12345678901234567890,"o":{"z":1.0}}"#, &[]).code, 0);
    assert_eq!(fake.asked()[1].body, r#"{"data":{"n":12345678901234567890,"o":{"z":1.0}},"options":{}}"#);
}

#[test]
fn put_refuses_what_is_no_data() {
    for (line, stdin, said) in [
        ("kv put secret/app", "", "Must supply data"),
        ("kv put secret/app -", "[1]", "a JSON object expected"),
        ("kv put secret/app -", r#"{"a":1,"a":2}"#, "twice"),
        ("kv put secret/app -", r#"{"a":1"#, "no JSON object"),
        ("kv put secret/app @none.json", "", "no such file or directory"),
    ] {
        let fake = server();
        let ran = fake.run_with(line, stdin, &[]);
        assert_eq!((ran.code, fake.lines().len()), (1, 0), "{line}");
        assert!(ran.err.contains(said), "{line}: {}", ran.err);
    }
}

#[test]
fn a_refusal_of_the_server_is_shown_in_its_words() {
    let fake = Fake::answering(&[
        MOUNT,
        ("PUT /v1/secret/data/app", 400, r#"{"errors":["check-and-set parameter did not match the current version"]}"#),
    ]);
    let ran = fake.run("kv put -cas=1 secret/app a=2");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    let want = format!(
        "Error writing data to secret/data/app: Error making API request.\n\nURL: PUT {}/v1/secret/data/app\nCode: 400. Errors:\n\n* check-and-set parameter did not match the current version\n",
        fake.address
    );
    assert_eq!(ran.err, want);
}

#[test]
fn patch_takes_the_longer_way_only_where_patching_is_not_allowed() {
    let denied = r#"{"errors":["permission denied"]}"#;
    let fake = Fake::answering(&[
        MOUNT,
        ("PATCH /v1/secret/data/app", 403, denied),
        ("GET /v1/secret/data/app", 200, VERSION),
        ("PUT /v1/secret/data/app", 200, r#"{"data":{"version":2}}"#),
    ]);
    assert_eq!(fake.run("kv patch -remove-data=f secret/app b=3").code, 0);
    assert_eq!(fake.asked()[1].header("content-type"), Some("application/merge-patch+json"));
    assert_eq!(fake.asked()[1].body, r#"{"data":{"b":"3","f":null}}"#);
    assert_eq!(fake.asked()[3].body, r#"{"data":{"a":"<x>","b":"3","n":12345678901234567890},"options":{"cas":1}}"#);
    let fake = Fake::answering(&[MOUNT, ("PATCH /v1/secret/data/app", 403, denied)]);
    assert_eq!(fake.run("kv patch -method=patch secret/app b=3").code, 2);
    assert_eq!(fake.lines().len(), 2, "asked for plainly, there is no other way");
}

#[test]
fn rollback_checks_against_the_newest_version() {
    let old = VERSION.replace("\"version\":1", "\"version\":3");
    let fake = Fake::answering(&[
        MOUNT,
        ("GET /v1/secret/data/app", 200, &old),
        ("GET /v1/secret/data/app?version=1", 200, VERSION),
        ("PUT /v1/secret/data/app", 200, r#"{"data":{"version":4}}"#),
    ]);
    assert_eq!(fake.run("kv rollback -version=1 secret/app").code, 0);
    assert!(fake.asked()[3].body.ends_with(r#""options":{"cas":3}}"#), "{}", fake.asked()[3].body);
    let ran = Fake::answering(&[MOUNT, ("GET /v1/secret/data/app", 200, &old)]).run("kv rollback -version=9 secret/app");
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("Version 9"), "{}", ran.err);
}

#[test]
fn an_engine_without_versions_has_no_metadata() {
    let mount = ("GET /v1/sys/internal/ui/mounts/kv1/a", 200, r#"{"data":{"path":"kv1/","options":{"version":"1"}}}"#);
    let fake = Fake::answering(&[mount, ("GET /v1/kv1/a", 200, r#"{"lease_duration":2764800,"data":{"x":"1"}}"#)]);
    assert_eq!(fake.run("kv get kv1/a").out, "== Data ==\nKey    Value\n---    -----\nx      1\n");
    for (line, code) in [
        ("kv metadata get kv1/a", 1),
        ("kv undelete -versions=1 kv1/a", 1),
        ("kv rollback -version=1 kv1/a", 2),
        ("kv delete -versions=1 kv1/a", 1),
    ] {
        let fake = Fake::answering(&[mount]);
        assert_eq!((fake.run(line).code, fake.lines().len()), (code, 1), "{line}");
    }
}
