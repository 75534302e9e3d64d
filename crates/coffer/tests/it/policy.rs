//! Policies, written, formatted, tried out, explained.

use crate::fake::Fake;

#[test]
fn written_from_a_file_or_standard_input() {
    let fake = Fake::answering(&[("PUT /v1/sys/policies/acl/app", 204, "")]);
    std::fs::write(fake.home.path().join("p.hcl"), "path \"a\" {}").unwrap();
    assert_eq!(fake.run("policy write App p.hcl").out, "Success! Uploaded policy: app\n");
    assert_eq!(fake.asked()[0].body, r#"{"policy":"path \"a\" {}"}"#);
    assert_eq!(fake.run_with("policy write app -", "path \"b\" {}", &[]).code, 0);
    let ran = fake.run("policy write app none.hcl");
    assert_eq!(ran.code, 2);
    assert!(ran.err.starts_with("Error opening policy file: open none.hcl: no such file or directory"), "{}", ran.err);
}

#[test]
fn formatted_in_place_or_left_alone() {
    let fake = Fake::answering(&[]);
    let file = fake.home.path().join("p.hcl");
    std::fs::write(&file, "path   \"kv/*\" {\ncapabilities = [ \"create\" ]\n}\n").unwrap();
    assert_eq!(fake.run("policy fmt p.hcl").out, "Success! Formatted policy: p.hcl\n");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "path \"kv/*\" {\n  capabilities = [\"create\"]\n}\n");
    std::fs::write(&file, "path \"x\" {").unwrap();
    let ran = fake.run("policy fmt p.hcl");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.starts_with("failed to parse policy: At 1:12: object expected closing RBRACE got: EOF"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "path \"x\" {");
}

#[test]
fn tried_out_without_a_server() {
    let fake = Fake::answering(&[]);
    std::fs::write(fake.home.path().join("app.hcl"), "path \"secret/app/*\" { capabilities = [\"read\"] }\npath \"secret/data/open\" {\n  capabilities = [\"update\"]\n  denied_parameters = { ttl = [] }\n}\n").unwrap();
    std::fs::write(fake.home.path().join("deny.hcl"), "path \"secret/data/open\" { capabilities = [\"deny\"] }\n").unwrap();
    std::fs::write(fake.home.path().join("bad.hcl"), "path \"x\" { capabilities = [\"fly\"] }\n").unwrap();
    for (line, code, said) in [
        ("-path=secret/data/open -operation=update app.hcl", 0, "Allowed: update on secret/data/open"),
        ("-policy=app.hcl -path=secret/data/open -operation=read", 2, "Denied"),
        ("-path=secret/data/open -operation=update -data=ttl=1h app.hcl", 2, "ttl"),
        ("-path=secret/data/open -operation=update app.hcl deny.hcl", 2, "deny"),
        ("-path=secret/data/app/x app.hcl", 2, "lacks data/"),
        ("-path=secret/data/app/x -format=json app.hcl", 2, "\"allowed\": false"),
    ] {
        let ran = fake.run(&format!("policy test {line}"));
        assert_eq!(ran.code, code, "{line}: {}{}", ran.out, ran.err);
        assert!(ran.out.contains(said), "{line}: {}", ran.out);
    }
    for (line, said) in [
        ("-path=x bad.hcl", "bad.hcl: failed to parse policy"),
        ("-path=x none.hcl", "open none.hcl"),
        ("-path=x", "at least one policy file"),
        ("app.hcl", "Must specify the path"),
        ("-path=x -operation=fly app.hcl", "no operation \"fly\""),
    ] {
        let ran = fake.run(&format!("policy test {line}"));
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{line}");
        assert!(ran.err.contains(said), "{line}: {}", ran.err);
    }
    assert_eq!(fake.lines().len(), 0);
}

#[test]
fn explained_by_the_server() {
    let told = r#"{"data":{"allowed":false,"because":"no rule matches the path","rule":null,"decided_by":[],"granting_policies":[],"others":[{"policy":"app","path":"secret/app/*","line":1,"capabilities":["read"],"matches":false,"why":"it does not match"}],"others_left_out":0,"hints":["lacks data/"]}}"#;
    let fake = Fake::answering(&[("POST /v1/sys/policies/explain", 200, told)]);
    let ran = fake.run("policy explain -path=secret/data/app/x");
    assert_eq!(ran.code, 2);
    assert!(
        ran.out.starts_with("Denied: read on secret/data/app/x\nBecause no rule matches the path.\n")
            && ran.out.ends_with("Hint: lacks data/\n"),
        "{}",
        ran.out
    );
    assert_eq!(fake.asked()[0].body, r#"{"path":"secret/data/app/x","operation":"read"}"#);
    assert_eq!(fake.run("policy explain -path=x -policy=a -token=s.x").code, 1);
    assert_eq!(Fake::answering(&[]).run("policy explain -path=x").code, 2);
}
