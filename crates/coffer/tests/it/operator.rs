//! Initialising, unsealing, new keys, root tokens, status.

use crate::fake::Fake;

const SEALED: &str = r#"{"type":"shamir","initialized":true,"sealed":true,"t":2,"n":3,"progress":1,"nonce":"x","version":"1.19.5","migration":false,"recovery_seal":false,"storage_type":"inmem"}"#;
const UNSEALED: &str = r#"{"type":"shamir","initialized":true,"sealed":false,"t":2,"n":3,"progress":0,"nonce":"","version":"1.19.5","migration":false,"cluster_name":"c","cluster_id":"i","recovery_seal":false,"storage_type":"inmem"}"#;

#[test]
fn status_tells_by_its_code() {
    let fake = Fake::answering(&[("GET /v1/sys/seal-status", 200, SEALED)]);
    let ran = fake.run("status");
    assert_eq!(ran.code, 2);
    assert!(ran.out.contains("Unseal Progress    1/2\n"), "{}", ran.out);
    let fake =
        Fake::answering(&[("GET /v1/sys/seal-status", 200, UNSEALED), ("GET /v1/sys/leader", 200, r#"{"ha_enabled":false}"#)]);
    let ran = fake.run("status");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("Cluster Name    c\n") && ran.out.ends_with("HA Enabled      false\n"), "{}", ran.out);
    assert_eq!(fake.run("status -field=sealed").out, "false");
    assert_eq!(fake.run("status -field=nope").code, 1);
    let fake = Fake::answering(&[("GET /v1/sys/seal-status", 500, r#"{"errors":["internal error"]}"#)]);
    assert_eq!(fake.run("status").code, 2);
}

#[test]
fn init_prints_the_shares_and_what_comes_next() {
    let made = r#"{"keys":["aa","bb"],"keys_base64":["qg==","uw=="],"root_token":"s.root"}"#;
    let fake = Fake::answering(&[("GET /v1/sys/seal-status", 200, SEALED), ("PUT /v1/sys/init", 200, made)]);
    let ran = fake.run("operator init -n 2 -t 2");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("Unseal Key 1: qg==\nUnseal Key 2: uw==\n\nInitial Root Token: s.root\n\nCoffer initialized with 2 key shares and a key threshold of 2."), "{}", ran.out);
    assert!(ran.err.contains("coffer operator unseal"), "{}", ran.err);
    assert!(fake.asked()[1].body.starts_with(r#"{"secret_shares":2,"secret_threshold":2,"pgp_keys":null,"#));
    let json = fake.run("operator init -format=json -n 2 -t 2").out;
    assert!(json.contains("\"unseal_keys_hex\": [\n    \"aa\"") && json.contains("\"unseal_threshold\": 2"), "{json}");
}

#[test]
fn init_with_a_seal_that_opens_itself_asks_for_recovery_shares() {
    let seal = SEALED.replace("\"recovery_seal\":false", "\"recovery_seal\":true");
    let fake = Fake::answering(&[
        ("GET /v1/sys/seal-status", 200, &seal),
        ("PUT /v1/sys/init", 200, r#"{"recovery_keys_base64":["qg=="],"root_token":"s.root"}"#),
    ]);
    let ran = fake.run("operator init");
    assert!(ran.out.starts_with("Recovery Key 1: qg==\n"), "{}", ran.out);
    assert!(
        fake.asked()[1].body.contains(r#""secret_shares":0,"secret_threshold":0"#)
            && fake.asked()[1].body.contains(r#""recovery_shares":5,"recovery_threshold":3"#)
    );
}

#[test]
fn init_refuses_keys_that_are_not_there_before_it_asks_for_anything() {
    let fake = Fake::answering(&[("GET /v1/sys/seal-status", 200, SEALED)]);
    for line in ["operator init -pgp-keys=/none", "operator init -pgp-keys=keybase:somebody"] {
        assert_eq!(fake.run(line).code, 1, "{line}");
    }
    assert!(fake.lines().iter().all(|l| !l.contains("sys/init")));
    let fake = Fake::answering(&[("GET /v1/sys/init", 200, r#"{"initialized":false}"#)]);
    let ran = fake.run("operator init -status");
    assert_eq!((ran.code, ran.out.as_str()), (2, "Coffer is not initialized\n"));
}

#[test]
fn a_share_is_never_asked_for_through_a_pipe() {
    let fake = Fake::answering(&[]);
    let ran = fake.run_with("operator unseal", "share\n", &[]);
    assert_eq!((ran.code, ran.out.as_str()), (1, "Unseal Key (will be hidden): \n"));
    assert!(ran.err.contains("not a terminal"), "{}", ran.err);
    assert_eq!(fake.lines().len(), 0);
    let fake = Fake::answering(&[("PUT /v1/sys/unseal", 200, SEALED)]);
    assert_eq!(fake.run("operator unseal share").code, 0);
    assert_eq!(fake.asked()[0].body, r#"{"key":"share","reset":false,"migrate":false}"#);
}

#[test]
fn a_root_token_is_decoded_here() {
    let fake = Fake::answering(&[]);
    let ran = fake.run("operator generate-root -decode=KmICDBcbGi8lGjA0LB5WZBkZDxZeBnMkPBc -otp=YLnidhyJhPqgZjfUxUmwfp2BlS");
    assert_eq!((ran.code, ran.out.as_str(), fake.lines().len()), (0, "s.lessceMJASvt01aLba8vAfPD", 0));
    for (line, said) in
        [("operator generate-root -decode=abc -otp=def", "2 != 3"), ("operator generate-root -decode=abc", "Missing otp")]
    {
        let ran = fake.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{line}");
        assert!(ran.err.contains(said), "{}", ran.err);
    }
}

#[test]
fn a_one_time_password_is_as_long_as_the_server_wants_and_new_each_time() {
    let attempt = r#"{"started":false,"nonce":"","progress":0,"required":2,"complete":false,"otp_length":28}"#;
    let fake = Fake::answering(&[("GET /v1/sys/generate-root/attempt", 200, attempt)]);
    let (one, two) = (fake.run("operator generate-root -generate-otp").out, fake.run("operator generate-root -generate-otp").out);
    assert!(one.len() == 28 && two.len() == 28 && one != two && one.chars().all(|c| c.is_ascii_alphanumeric()), "{one} {two}");
    let ran = fake.run("operator generate-root share");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("No root generation is in progress"), "{}", ran.err);
}

#[test]
fn where_the_open_path_is_turned_off_the_other_is_taken() {
    let fake = Fake::answering(&[
        ("GET /v1/sys/generate-root/attempt", 405, r#"{"errors":["unsupported operation"]}"#),
        (
            "GET /v1/sys/generate-root-token/attempt",
            200,
            r#"{"started":false,"progress":0,"required":1,"complete":false,"otp_length":26}"#,
        ),
    ]);
    assert_eq!(fake.run("operator generate-root -status").code, 0);
}

#[test]
fn shares_come_with_the_nonce() {
    let begun = r#"{"started":true,"nonce":"n1","progress":0,"required":1,"t":1,"n":1}"#;
    let fake = Fake::answering(&[
        ("GET /v1/sys/rotate/root/init", 200, begun),
        ("POST /v1/sys/rotate/root/update", 200, r#"{"complete":true,"keys_base64":["qg=="],"nonce":"n1"}"#),
    ]);
    let ran = fake.run("operator rotate-keys share");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("Missing nonce value"), "{}", ran.err);
    let ran = fake.run("operator rotate-keys -nonce=n1 share");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.starts_with("\nKey 1: qg==\n\nOperation nonce: n1\n"), "{}", ran.out);
    assert_eq!(fake.asked().last().unwrap().body, r#"{"key":"share","nonce":"n1"}"#);
}

#[test]
fn diagnose_and_validate_tell_by_their_codes() {
    let fake = Fake::answering(&[]);
    let folder = fake.home.path();
    std::fs::write(
        folder.join("good.hcl"),
        "storage \"inmem\" {}\nlistener \"tcp\" {\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}\n",
    )
    .unwrap();
    std::fs::write(folder.join("bad.hcl"), "storage \"inmem\" {\n").unwrap();
    std::fs::write(folder.join("tls.hcl"), "storage \"inmem\" {}\nlistener \"tcp\" {\n  address = \"127.0.0.1:0\"\n  tls_cert_file = \"/none/c.pem\"\n  tls_key_file = \"/none/k.pem\"\n}\n").unwrap();
    for (line, codes, said) in [
        ("operator diagnose", &[0, 2][..], "Without Configuration"),
        ("operator diagnose -data=data -seal-key=data/seal.key", &[1], "inside the data's directory"),
        ("operator diagnose -config=none.hcl", &[4], "no such file or directory"),
        ("operator diagnose -config=bad.hcl", &[4], "[ failure ]"),
        ("operator diagnose -config=tls.hcl", &[1, 4], "/none/"),
        ("operator diagnose -config=good.hcl -skip=nonsense", &[1], ""),
        ("operator validate-config", &[3], ""),
        ("operator validate-config -config=bad.hcl", &[1], "[ failure ]"),
        ("operator validate-config -config=good.hcl", &[0], "[ success ]"),
    ] {
        let ran = fake.run(line);
        assert!(codes.contains(&ran.code), "{line}: {} {}{}", ran.code, ran.out, ran.err);
        assert!(ran.out.contains(said), "{line}: {}", ran.out);
    }
    let ran = fake.run("operator diagnose -config=good.hcl");
    assert!(ran.code == 2 && ran.out.contains("[ warning ] Memory"), "{}", ran.out);
}

#[test]
fn a_rotation_that_is_to_be_verified_shows_how_far_that_is() {
    let fake = Fake::answering(&[
        ("GET /v1/sys/rotate/root/verify", 200, r#"{"data":{"nonce":"v1","started":true,"t":2,"n":3,"progress":1}}"#),
        ("GET /v1/sys/rotate/root/init", 200, r#"{"data":{"n":0,"required":1,"started":false,"t":0}}"#),
    ]);
    let out = fake.run("operator rotate-keys -status -verify").out;
    assert!(out.contains("Verification Nonce       v1\n") && out.contains("Verification Progress    1/2\n"), "{out}");
    let out = fake.run("operator rotate-keys -status -format=json").out;
    assert!(
        out.starts_with("{\n  \"nonce\": \"\",\n  \"started\": false,") && out.contains("\"pgp_fingerprints\": null"),
        "{out}"
    );
}
