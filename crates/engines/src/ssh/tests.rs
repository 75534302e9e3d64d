use super::Ssh;
use coffer_engine::testing::{Bench, Failed, text};
use coffer_types::{Json, Kind, Operation, Span};

fn vector(name: &str) -> String {
    let path = format!("{}/../../vectors/ssh/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn json(text: &str) -> String {
    String::from_utf8(Json::string(text).to_bytes().to_vec()).unwrap()
}

/// A mount with an Ed25519 issuer.
fn bench() -> Bench {
    let bench = Bench::new::<Ssh>("ssh/", &[]);
    bench.call(Operation::Update, "config/ca", r#"{"key_type":"ed25519"}"#).unwrap();
    bench
}

fn write(bench: &Bench, path: &str, body: &str) -> String {
    text(&bench.call(Operation::Update, path, body).unwrap_or_else(|failed| panic!("{path} {body}: {failed:?}")))
}

fn refused(bench: &Bench, path: &str, body: &str) -> String {
    match bench.call(Operation::Update, path, body) {
        Err(Failed { kind: Kind::BadRequest, public }) => public,
        Err(other) => panic!("{path} {body}: {other:?}"),
        Ok(answer) => panic!("{path} {body}: {}", text(&answer)),
    }
}

/// The fields of a certificate, from its line: read here by hand, so that the writer is not checked by itself.
#[derive(Debug, Default)]
struct Read {
    kind: u32,
    key_id: String,
    principals: Vec<String>,
    after: u64,
    before: u64,
    critical: Vec<(String, String)>,
    extensions: Vec<(String, String)>,
}

fn read(answer: &str) -> Read {
    use base64::Engine as _;
    let line = answer.split("\"signed_key\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let base64 = line.split(' ').nth(1).unwrap().trim_end_matches("\\n");
    let bytes = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    let mut rest = &bytes[..];
    fn number(rest: &mut &[u8], length: usize) -> u64 {
        let (taken, after) = rest.split_at(length);
        *rest = after;
        taken.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
    fn string<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
        let length = usize::try_from(number(rest, 4)).unwrap();
        let (taken, after) = rest.split_at(length);
        *rest = after;
        taken
    }
    fn owned(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }
    assert_eq!(string(&mut rest), b"ssh-ed25519-cert-v01@openssh.com");
    string(&mut rest);
    string(&mut rest);
    number(&mut rest, 8);
    let mut out = Read { kind: u32::try_from(number(&mut rest, 4)).unwrap(), ..Read::default() };
    out.key_id = owned(string(&mut rest));
    let mut principals = string(&mut rest);
    while !principals.is_empty() {
        out.principals.push(owned(string(&mut principals)));
    }
    (out.after, out.before) = (number(&mut rest, 8), number(&mut rest, 8));
    for list in [&mut out.critical, &mut out.extensions] {
        let mut options = string(&mut rest);
        while !options.is_empty() {
            let (name, mut value) = (string(&mut options), string(&mut options));
            let value = if value.is_empty() { String::new() } else { owned(string(&mut value)) };
            list.push((owned(name), value));
        }
    }
    out
}

/// Writes a role and asks it to sign; the role's fields and the wish's without their braces.
fn sign(bench: &Bench, role: &str, wish: &str) -> Result<Read, (Kind, String)> {
    write(bench, "roles/r", &format!(r#"{{"key_type":"ca",{role}}}"#));
    let comma = if wish.is_empty() { "" } else { "," };
    let body = format!(r#"{{"public_key":{}{comma}{wish}}}"#, json(&vector("ed25519.pub")));
    match bench.call(Operation::Update, "sign/r", &body) {
        Ok(answer) => Ok(read(&text(&answer))),
        Err(failed) => Err((failed.kind, failed.public)),
    }
}

#[track_caller]
fn no(bench: &Bench, role: &str, wish: &str, why: &str) {
    assert_eq!(sign(bench, role, wish).map(|read| read.principals), Err((Kind::BadRequest, why.to_owned())), "{role} {wish}");
}

const UNSAFE: &str =
    "refusing to issue unsafe, globally-valid certificate with no principals specified; set valid_principals or default_user";

#[test]
fn principals_are_named_and_allowed() {
    let bench = bench();
    const USER: &str = r#""allow_user_certificates":true"#;
    let none = "role is not configured to allow any principals";
    no(&bench, USER, r#""valid_principals":"u""#, none);
    no(&bench, &format!(r#"{USER},"default_user":"d""#), "", none);
    let ab = format!(r#"{USER},"allowed_users":"a,b""#);
    no(&bench, &ab, "", UNSAFE);
    no(&bench, &ab, r#""valid_principals":" , ""#, UNSAFE);
    no(&bench, &ab, r#""valid_principals":"a,c""#, "c is not a valid value for valid_principals");
    no(&bench, &ab, r#""valid_principals":"*""#, "* is not a valid value for valid_principals");
    no(&bench, &format!(r#"{ab},"default_user":"d""#), "", "d is not a valid value for valid_principals");
    // The reference gives this one to everyone who asks (CVE-2024-7594).
    let any = format!(r#"{USER},"allowed_users":"*""#);
    no(&bench, &any, "", UNSAFE);
    no(&bench, &any, r#""valid_principals":"a\nb""#, "a\nb is not a valid value for valid_principals");
    // One star among others is a name, not everyone.
    no(
        &bench,
        &format!(r#"{USER},"allowed_users":"a,*""#),
        r#""valid_principals":"root""#,
        "root is not a valid value for valid_principals",
    );
    let principals = |role: &str, wish: &str| sign(&bench, role, wish).unwrap().principals;
    assert_eq!(principals(&ab, r#""valid_principals":" a , b,a""#), ["a", "b"]);
    assert_eq!(principals(&any, r#""valid_principals":"x""#), ["x"]);
    assert_eq!(principals(&format!(r#"{any},"default_user":"d""#), ""), ["d"]);
    assert_eq!(principals(&format!(r#"{ab},"allow_empty_principals":true"#), ""), [""; 0]);
    no(
        &bench,
        &format!(r#"{ab},"allow_empty_principals":true"#),
        r#""valid_principals":"c""#,
        "c is not a valid value for valid_principals",
    );
}

#[test]
fn hosts_are_of_allowed_domains() {
    let bench = bench();
    let host = |more: &str| format!(r#""allow_host_certificates":true,"allowed_domains":"a.com,b"{more}"#);
    let ask = |name: &str| format!(r#""cert_type":"host","valid_principals":"{name}""#);
    for (more, name, fits) in [
        ("", "a.com", false),
        ("", "x.a.com", false),
        (r#","allow_bare_domains":true"#, "a.com", true),
        (r#","allow_bare_domains":true"#, "b", true),
        (r#","allow_bare_domains":true"#, "x.a.com", false),
        (r#","allow_subdomains":true"#, "x.a.com", true),
        (r#","allow_subdomains":true"#, "x.y.a.com", true),
        (r#","allow_subdomains":true"#, "a.com", false),
        (r#","allow_subdomains":true"#, "xa.com", false),
        (r#","allow_subdomains":true"#, "a.com.evil", false),
    ] {
        let got = sign(&bench, &host(more), &ask(name));
        assert_eq!(got.is_ok(), fits, "{more} {name}: {got:?}");
        if let Ok(read) = got {
            assert_eq!((read.kind, read.principals), (2, vec![name.to_owned()]));
        }
    }
    no(&bench, &host(""), r#""valid_principals":"b""#, "cert_type 'user' is not allowed by role");
    no(&bench, &host(""), r#""cert_type":"x""#, "cert_type must be either 'user' or 'host'");
    no(&bench, &host(""), r#""cert_type":"host""#, UNSAFE);
    no(&bench, r#""allow_user_certificates":true,"allowed_users":"*""#, &ask("x"), "cert_type 'host' is not allowed by role");
    // The default user is no host.
    no(&bench, &host(r#","default_user":"b","allow_bare_domains":true"#), r#""cert_type":"host""#, UNSAFE);
}

#[test]
fn times_ids_options_and_extensions_are_the_roles() {
    let bench = bench();
    let role = |more: &str| format!(r#""allow_user_certificates":true,"allowed_users":"*"{more}"#);
    let ask = |more: &str| format!(r#""valid_principals":"a"{more}"#);
    let now = u64::try_from(bench.now().secs()).unwrap();
    let span = |more: &str, wish: &str| {
        let read = sign(&bench, &role(more), &ask(wish)).unwrap();
        (now - read.after, read.before - now)
    };
    assert_eq!(span("", ""), (30, 2_764_800));
    assert_eq!(span(r#","ttl":"1h""#, ""), (30, 3600));
    assert_eq!(span(r#","ttl":"1h""#, r#","ttl":0"#), (30, 3600));
    assert_eq!(span(r#","ttl":"1h","max_ttl":"2h""#, r#","ttl":"2h""#), (30, 7200));
    assert_eq!(span(r#","max_ttl":"2h","not_before_duration":"10m""#, ""), (600, 7200));
    assert_eq!(span(r#","ttl":"9000h""#, ""), (30, 2_764_800));
    no(&bench, &role(""), &ask(r#","ttl":"40d""#), "ttl is larger than maximum allowed 2764800");
    no(&bench, &role(r#","max_ttl":"2h""#), &ask(r#","ttl":"3h""#), "ttl is larger than maximum allowed 7200");
    assert!(sign(&bench, &role(""), &ask(r#","ttl":"-1h""#)).is_err());

    no(&bench, &role(""), &ask(r#","key_id":"k""#), "setting key_id is not allowed by role");
    let hash = coffer_crypto::ssh::SshPublicKey::parse(&vector("ed25519.pub")).unwrap().fingerprint();
    let id = |more: &str, wish: &str| sign(&bench, &role(more), &ask(wish)).unwrap().key_id;
    assert_eq!(id("", ""), format!("vault-test-{hash}"));
    assert_eq!(id(r#","allow_user_key_ids":true"#, r#","key_id":"k""#), "k");
    assert!(sign(&bench, &role(r#","allow_user_key_ids":true"#), &ask(r#","key_id":"a\nb""#)).is_err());
    let format = r#","key_id_format":"é{{token_display_name}}-{{role_name}}-{{public_key_hash}}-{{nope}}{{""#;
    assert_eq!(id(format, ""), format!("étest-r-{hash}-{{{{nope}}}}{{{{"));

    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    no(&bench, &role(""), &ask(r#","extensions":{"permit-pty":""}"#), "extensions [permit-pty] are not on allowed list");
    no(
        &bench,
        &role(r#","allowed_extensions":"permit-pty""#),
        &ask(r#","extensions":{"permit-pty":"","foo":"x","bar":""}"#),
        "extensions [bar foo] are not on allowed list",
    );
    let extensions = |more: &str, wish: &str| sign(&bench, &role(more), &ask(wish)).unwrap().extensions;
    assert_eq!(extensions(r#","allowed_extensions":"*""#, r#","extensions":{"p":"","f":"x"}"#), [pair("f", "x"), pair("p", "")]);
    assert_eq!(extensions(r#","default_extensions":{"permit-pty":""}"#, ""), [pair("permit-pty", "")]);
    assert_eq!(
        extensions(r#","allowed_extensions":"a","default_extensions":{"b":""}"#, r#","extensions":{"a":""}"#),
        [pair("a", "")]
    );
    no(
        &bench,
        &role(r#","allowed_critical_options":"force-command""#),
        &ask(r#","critical_options":{"source-address":"::1"}"#),
        "critical options not on allowed list: [source-address]",
    );
    let options = |more: &str, wish: &str| sign(&bench, &role(more), &ask(wish)).unwrap().critical;
    assert_eq!(options(r#","default_critical_options":{"force-command":"y"}"#, ""), [pair("force-command", "y")]);
    assert_eq!(options("", r#","critical_options":{"force-command":"x"}"#), [pair("force-command", "x")]);
}

fn entity(bench: &mut Bench) {
    if let Some(principal) = &mut bench.principal {
        principal.entity_id = "e".into();
    }
    for (key, value) in [("ssh", "bob"), ("commas", "a,b"), ("star", "*"), ("empty", ""), ("line", "a\nb")] {
        bench.identify("e", &format!("identity.entity.metadata.{key}"), value);
    }
}

/// GHSA-59w7-v8rr-pr4p: values of metadata must not become lists or everyone.
#[test]
fn templates_are_filled_and_metacharacters_are_refused() {
    let mut bench = bench();
    let users = |list: &str, more: &str| {
        format!(r#""allow_user_certificates":true,"allowed_users_template":true,"allowed_users":"{list}"{more}"#)
    };
    let own = "{{identity.entity.metadata.ssh}}";
    // Without an entity what has a place is not there; what has none is.
    no(&bench, &users(own, ""), r#""valid_principals":"bob""#, "role is not configured to allow any principals");
    assert!(sign(&bench, &users(&format!("{own},bob"), ""), r#""valid_principals":"bob""#).is_ok());
    entity(&mut bench);
    assert!(sign(&bench, &users(own, ""), r#""valid_principals":"bob""#).is_ok());
    assert!(sign(&bench, &users(&format!("pre-{own}-post,z"), ""), r#""valid_principals":"pre-bob-post,z""#).is_ok());
    no(&bench, &users(own, ""), r#""valid_principals":"alice""#, "alice is not a valid value for valid_principals");
    for (key, why) in [
        ("none", "no value could be found for one of the template directives"),
        ("commas", "template substitution contains forbidden value: \",\""),
        ("star", "template substitution contains forbidden value: \"*\""),
        ("line", "template substitution contains forbidden value: \"\\n\""),
    ] {
        let list = format!("{{{{identity.entity.metadata.{key}}}}}");
        let why = format!("template '{list}' could not be rendered -> {why}");
        for name in ["a", "b", "*", "root"] {
            no(&bench, &users(&list, ""), &format!(r#""valid_principals":"{name}""#), &why);
        }
        // The default user is refused alike; of hosts the domain.
        let default =
            format!(r#""allow_user_certificates":true,"allowed_users":"*","default_user_template":true,"default_user":"{list}""#);
        let got = sign(&bench, &default, "").map(|read| read.principals);
        assert_eq!(got, Err((Kind::Internal, format!("1 error occurred:\n\t* {why}\n\n"))));
        let host = format!(
            r#""allow_host_certificates":true,"allowed_domains_template":true,"allow_subdomains":true,"allowed_domains":"{list}""#
        );
        no(&bench, &host, r#""cert_type":"host","valid_principals":"x.com""#, &why);
    }
    no(
        &bench,
        &users("{{identity.entity.metadata.empty}}", ""),
        r#""valid_principals":"a""#,
        "role is not configured to allow any principals",
    );
    let commas = users("{{identity.entity.metadata.commas}}", r#","allow_commas_in_identity_templates":true"#);
    assert_eq!(sign(&bench, &commas, r#""valid_principals":"b""#).unwrap().principals, ["b"]);
    // Even where a star may stand in a value it is a name, not everyone.
    let star = users("{{identity.entity.metadata.star}}", r#","allow_wildcards_in_identity_templates":true"#);
    no(&bench, &star, r#""valid_principals":"root""#, "root is not a valid value for valid_principals");

    let extensions = |text: &str| {
        let role = format!(
            r#""allow_user_certificates":true,"allowed_users":"*","default_extensions_template":true,"default_extensions":{{"l":"{text}","p":""}}"#
        );
        sign(&bench, &role, r#""valid_principals":"a""#).map(|read| read.extensions)
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(extensions(&format!("a-{own}-b")), Ok(vec![pair("l", "a-bob-b"), pair("p", "")]));
    assert!(extensions("{{nope}}").is_err());
}

#[test]
fn what_a_role_can_not_be_is_refused() {
    let bench = bench();
    for (body, why) in [
        ("{}", "missing key type"),
        (r#"{"key_type":"x"}"#, "invalid key type"),
        (r#"{"key_type":"dynamic"}"#, "dynamic key type roles are no longer supported"),
        (r#"{"key_type":"otp"}"#, "missing default user"),
        (r#"{"key_type":"ca"}"#, "Either 'allow_user_certificates' or 'allow_host_certificates' must be set to 'true'"),
        (
            r#"{"key_type":"ca","allow_user_certificates":true,"ttl":"2h","max_ttl":"1h"}"#,
            "\"ttl\" value must be less than \"max_ttl\" when both are specified",
        ),
        (
            r#"{"key_type":"ca","allow_user_certificates":true,"ttl":"-2h"}"#,
            "Field validation failed: error converting input for field \"ttl\": cannot provide negative value '-7200'",
        ),
        (
            r#"{"key_type":"ca","allow_user_certificates":true,"algorithm_signer":"ssh-rsa"}"#,
            "algorithm_signer \"ssh-rsa\" signs with SHA-1, which is not built: use rsa-sha2-256",
        ),
    ] {
        assert_eq!(refused(&bench, "roles/r", body), why, "{body}");
    }
    for body in [
        r#"{"key_type":"otp","default_user":"u","cidr_list":"x"}"#,
        r#"{"key_type":"otp","default_user":"u","cidr_list":"127.0.0.1"}"#,
        r#"{"key_type":"otp","default_user":"u","exclude_cidr_list":"10.0.0.0/33"}"#,
        r#"{"key_type":"ca","allow_user_certificates":true,"algorithm_signer":"x"}"#,
    ] {
        assert_eq!(bench.call(Operation::Update, "roles/r", body).err().map(|f| f.kind), Some(Kind::Internal), "{body}");
    }
    assert!(bench.call(Operation::Read, "roles/r", "").is_err());
    assert_eq!(refused(&bench, "sign/none", "{}"), "Unknown role: none");
    assert_eq!(refused(&bench, "issue/none", "{}"), "unknown role: none");
}

#[test]
fn keys_that_a_role_does_not_sign() {
    let bench = bench();
    let role = |lengths: &str| {
        let body = format!(r#"{{"key_type":"ca","allow_user_certificates":true,"allowed_users":"*"{lengths}}}"#);
        write(&bench, "roles/r", &body);
    };
    let sign = |key: &str| {
        let body = format!(r#"{{"valid_principals":"a","public_key":{}}}"#, json(key));
        bench.call(Operation::Update, "sign/r", &body).map(|_| ()).map_err(|failed| failed.public)
    };
    role("");
    for key in ["ed25519.pub", "rsa2048.pub", "ecdsa521.pub"] {
        assert_eq!(sign(&vector(key)), Ok(()), "{key}");
    }
    assert_eq!(sign(""), Err("missing public_key".to_owned()));
    assert_eq!(sign("ssh-ed25519 AAAA"), Err("failed to parse public_key as SSH key: ssh: short read".to_owned()));
    let weak = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC72dr6UK81BWsGSL/LwUnWaRQIKBtHCI23Ga5G3bJMY4kFNeIAQkdYxBKWNrBjHAzn6CcvpvedH6iKqYxVYstUnJKhgThEyvXjRd7401K9VszhwPXIBFaHpKXRQn6C7+p1dW3lwSeVRnEKO01qCXCL/GrHHuyDisLowGnTWu95Nw==";
    let size = |bits: u32| Err(format!("public_key failed to meet the key requirements: key is of an invalid size: {bits}"));
    let of_type = |name: &str| Err(format!("public_key failed to meet the key requirements: key of type {name} is not allowed"));
    assert_eq!(sign(weak), size(1024));
    role(r#","allowed_user_key_lengths":{"rsa":[1024]}"#);
    assert_eq!(sign(weak), Ok(()));
    assert_eq!(sign(&vector("rsa2048.pub")), size(2048));
    assert_eq!(sign(&vector("ed25519.pub")), of_type("ed25519"));
    role(r#","allowed_user_key_lengths":{"ssh-rsa":"2048, 3072","ed25519":0,"ec":384,"ecdsa-sha2-nistp521":0}"#);
    for key in ["ed25519.pub", "rsa2048.pub", "ecdsa384.pub", "ecdsa521.pub"] {
        assert_eq!(sign(&vector(key)), Ok(()), "{key}");
    }
    assert_eq!(sign(&vector("ecdsa256.pub")), size(256));
    role(r#","allowed_user_key_lengths":{"rsa":0}"#);
    assert_eq!(sign(&vector("rsa2048.pub")), size(2048));
    let why = refused(&bench, "issue/r", r#"{"valid_principals":"a","key_type":"ed25519"}"#);
    assert_eq!(why, "provided key_type value not in list of role's allowed_user_key_types");
    assert_eq!(refused(&bench, "issue/r", r#"{"key_type":"dsa"}"#), "unknown ssh key pair algorithm: dsa");
    assert_eq!(
        refused(&bench, "issue/r", r#"{"key_type":"rsa","key_bits":1024}"#),
        "refusing to generate weak rsa key: 1024 bits < 2048 bits"
    );
    let bad = r#"{"key_type":"ca","allow_user_certificates":true,"allowed_user_key_lengths":{"rsa":"x"}}"#;
    assert!(refused(&bench, "roles/r", bad).starts_with("error processing allowed_user_key_lengths: "));
}

#[test]
fn key_pairs_are_issued() {
    let bench = bench();
    write(&bench, "roles/r", r#"{"key_type":"ca","allow_user_certificates":true,"allowed_users":"*","ttl":"1h"}"#);
    for (body, first) in [
        (r#"{"valid_principals":"a","key_type":"ed25519"}"#, "-----BEGIN OPENSSH PRIVATE KEY-----"),
        (r#"{"valid_principals":"a","key_type":"ec","key_bits":384}"#, "-----BEGIN EC PRIVATE KEY-----"),
        (r#"{"valid_principals":"a","key_type":"rsa","key_bits":2048}"#, "-----BEGIN RSA PRIVATE KEY-----"),
    ] {
        let answer = bench.call(Operation::Update, "issue/r", body).unwrap();
        let data = answer.data.as_ref().unwrap();
        let pem = data.get("private_key").and_then(Json::as_str).unwrap();
        assert!(pem.starts_with(first), "{body}");
        let public = coffer_crypto::ssh::read_private(pem).unwrap().public().unwrap();
        let blob = coffer_crypto::ssh::SshPublicKey::of(&public).unwrap().blob().to_vec();
        // The certificate is on this very key.
        use base64::Engine as _;
        let line = data.get("signed_key").and_then(Json::as_str).unwrap();
        let signed = base64::engine::general_purpose::STANDARD.decode(line.trim().split(' ').nth(1).unwrap()).unwrap();
        let tail = &blob[blob.len() - 32..];
        assert!(signed.windows(tail.len()).any(|window| window == tail), "{body}");
    }
    assert_eq!(bench.computed(), 1, "RSA alone is drawn beside");
    // Nothing of it is kept.
    assert!(bench.keys().iter().all(|key| key.starts_with("issuer/")
        || key.starts_with("ring/")
        || key.starts_with("role/")
        || key == "config/default"));
}

#[test]
fn issuers_come_are_named_and_go() {
    let bench = Bench::new::<Ssh>("ssh/", &[]);
    let none = "no default issuer currently configured";
    for path in ["config/ca", "public_key", "config/issuers", "issuer/default", "issuer/default/public_key"] {
        let failed = bench.call(Operation::Read, path, "").err();
        assert_eq!(failed.map(|failed| failed.public).as_deref(), Some(none), "{path}");
    }
    for (body, why) in [
        (r#"{"generate_signing_key":false}"#.to_owned(), "missing public_key"),
        (
            r#"{"private_key":"x"}"#.to_owned(),
            "only one of public_key and private_key set; both must be set to use, or both must be blank to auto-generate",
        ),
        (
            r#"{"generate_signing_key":true,"private_key":"x","public_key":"y"}"#.to_owned(),
            "public_key and private_key must not be set when generate_signing_key is set to true",
        ),
        (
            format!(r#"{{"private_key":"x","public_key":{}}}"#, json(&vector("ed25519.pub"))),
            "could not parse private_key provided value: ssh: no key found",
        ),
        (
            format!(r#"{{"private_key":{},"public_key":{}}}"#, json(&vector("ed25519-passphrase")), json(&vector("ed25519.pub"))),
            "could not parse private_key provided value: ssh: this private key is passphrase protected",
        ),
        (
            format!(r#"{{"private_key":{},"public_key":{}}}"#, json(&vector("ed25519")), json(&vector("rsa2048.pub"))),
            "public_key is not the public half of private_key",
        ),
    ] {
        assert_eq!(refused(&bench, "config/ca", &body), why);
    }
    for body in [r#"{"key_type":"dsa"}"#, r#"{"key_type":"rsa","key_bits":1024}"#, r#"{"key_type":"ec","key_bits":1}"#] {
        assert_eq!(bench.call(Operation::Update, "config/ca", body).err().map(|f| f.kind), Some(Kind::Internal));
    }
    assert_eq!(bench.keys(), [""; 0]);

    let brought = format!(r#"{{"private_key":{},"public_key":{}}}"#, json(&vector("rsa2048")), json(&vector("rsa2048.pub")));
    write(&bench, "issuers/import/one", &brought);
    assert_eq!(
        text(&bench.call(Operation::Read, "issuer/one", "").unwrap()),
        text(&bench.call(Operation::Read, "config/ca", "").unwrap())
    );
    assert_eq!(refused(&bench, "issuers/import/one", r#"{"key_type":"ed25519"}"#), "issuer name already in use");
    assert_eq!(refused(&bench, "issuers/import/default", "{}"), "reserved keyword 'default' can not be used as issuer name");
    let two = write(&bench, "issuers/import/two", r#"{"key_type":"ed25519"}"#);
    assert!(two.contains(r#""issuer_name":"two""#));
    // The same key again is the same issuer.
    let again = bench.call(Operation::Update, "issuers/import", &brought).unwrap();
    assert!(text(&again).contains(r#""issuer_name":"one""#) && again.warnings.len() == 1);
    assert_eq!(refused(&bench, "issuer/two", r#"{"issuer_name":"one"}"#), "issuer name already in use");
    assert_eq!(refused(&bench, "issuer/two", r#"{"issuer_name":"a b"}"#), "issuer name contained invalid characters");
    assert_eq!(refused(&bench, "issuer/two", r#"{"issuer_name":""}"#), "expected non-empty issuer name");
    assert_eq!(refused(&bench, "issuer/none", "{}"), "unable to find issuer for reference: none");
    for body in ["{}", r#"{"default":"default"}"#] {
        assert_eq!(
            refused(&bench, "config/issuers", body),
            "invalid issuer specification; must be non-empty and can't be 'default'."
        );
    }
    assert!(bench.call(Operation::Update, "config/issuers", r#"{"default":"none"}"#).is_err());
    write(&bench, "config/issuers", r#"{"default":"two"}"#);
    // A role keeps to its issuer, whichever is the default.
    write(
        &bench,
        "roles/r",
        r#"{"key_type":"ca","allow_user_certificates":true,"allowed_users":"*","issuer_ref":"one","algorithm_signer":"rsa-sha2-512"}"#,
    );
    let body = format!(r#"{{"valid_principals":"a","public_key":{}}}"#, json(&vector("ed25519.pub")));
    assert!(bench.call(Operation::Update, "sign/r", &body).is_ok());
    let gone = bench.call(Operation::Delete, "issuer/two", "").unwrap();
    assert!(gone.warnings[0].contains("(via issuer_ref two); this was configured as the default issuer"));
    assert!(bench.call(Operation::Read, "public_key", "").is_err());
    // RSA's signature does not fit another issuer's key.
    write(&bench, "config/ca", r#"{"key_type":"ec","key_bits":521}"#);
    write(
        &bench,
        "roles/r",
        r#"{"key_type":"ca","allow_user_certificates":true,"allowed_users":"*","algorithm_signer":"rsa-sha2-512"}"#,
    );
    assert_eq!(bench.call(Operation::Update, "sign/r", &body).err().map(|f| f.kind), Some(Kind::Internal));
    assert_eq!(bench.call(Operation::Delete, "config/ca", "").unwrap().warnings.len(), 1);
    assert_eq!(bench.keys(), ["role/r"], "no key is left");
    assert_eq!(bench.call(Operation::Delete, "config/ca", "").unwrap().warnings.len(), 0);
}

#[test]
fn passwords_hold_once_and_for_their_hosts() {
    let bench = bench();
    write(
        &bench,
        "roles/o",
        r#"{"key_type":"otp","default_user":"u","cidr_list":"127.0.0.0/8,10.0.0.0/8","exclude_cidr_list":"10.1.0.0/16"}"#,
    );
    write(&bench, "roles/ca", r#"{"key_type":"ca","allow_user_certificates":true,"default_user":"u"}"#);
    let foreign = "Error validating IP: IP does not belong to role";
    for (path, body, why) in [
        ("creds/o", "{}", "Missing ip"),
        ("creds/o", r#"{"ip":"x"}"#, "Invalid IP \"x\""),
        ("creds/o", r#"{"ip":"127.0.0.1:22"}"#, "Invalid IP \"127.0.0.1:22\""),
        ("creds/o", r#"{"ip":"8.8.8.8"}"#, foreign),
        ("creds/o", r#"{"ip":"10.1.2.3"}"#, foreign),
        ("creds/o", r#"{"ip":"::1"}"#, foreign),
        ("creds/ca", r#"{"ip":"127.0.0.1"}"#, foreign),
        ("creds/none", r#"{"ip":"127.0.0.1"}"#, "Role \"none\" not found"),
        (
            "creds/o",
            r#"{"ip":"127.0.0.1","username":"v"}"#,
            "Username has to be either in allowed users list or has to be a default username",
        ),
        ("verify", "{}", "OTP not found"),
        ("verify", r#"{"otp":"bad"}"#, "OTP not found"),
        ("lookup", "{}", "Missing ip"),
        ("lookup", r#"{"ip":"x"}"#, "Invalid IP \"x\""),
        ("config/zeroaddress", "{}", "Missing roles"),
        ("config/zeroaddress", r#"{"roles":"none"}"#, "Role \"none\" does not exist"),
    ] {
        assert_eq!(refused(&bench, path, body), why, "{path} {body}");
    }
    assert_eq!(write(&bench, "verify", r#"{"otp":"verify-echo-request"}"#), r#"{"message":"verify-echo-response"}"#);
    let given = bench.call(Operation::Update, "creds/o", r#"{"ip":"127.0.0.1"}"#).unwrap();
    let key = given.data.as_ref().and_then(|data| data.get("key")).and_then(Json::as_str).unwrap().to_owned();
    assert!(bench.keys().iter().all(|stored| !stored.contains(&key)), "its digest alone is stored");
    assert_eq!(refused(&bench, "verify", &format!(r#"{{"otp":"{}"}}"#, key.to_uppercase())), "OTP not found");
    let verified = write(&bench, "verify", &format!(r#"{{"otp":"{key}"}}"#));
    assert_eq!(verified, r#"{"ip":"127.0.0.1","role_name":"o","username":"u"}"#);
    assert_eq!(refused(&bench, "verify", &format!(r#"{{"otp":"{key}"}}"#)), "OTP not found");
    // Its lease ends without it, and another's takes it away.
    bench.revoke(given.lease.as_ref().unwrap()).unwrap();
    let given = bench.call(Operation::Update, "creds/o", r#"{"ip":"10.0.0.1"}"#).unwrap();
    let key = given.data.as_ref().and_then(|data| data.get("key")).and_then(Json::as_str).unwrap().to_owned();
    bench.revoke(given.lease.as_ref().unwrap()).unwrap();
    assert_eq!(refused(&bench, "verify", &format!(r#"{{"otp":"{key}"}}"#)), "OTP not found");
    assert!(given.lease.as_ref().is_some_and(|lease| !lease.terms.renewable));

    write(&bench, "roles/z", r#"{"key_type":"otp","default_user":"u","allowed_users":"a,b","port":2222}"#);
    assert_eq!(refused(&bench, "creds/z", r#"{"ip":"9.9.9.9"}"#), foreign);
    write(&bench, "config/zeroaddress", r#"{"roles":"z"}"#);
    let given = write(&bench, "creds/z", r#"{"ip":"9.9.9.9","username":"b"}"#);
    assert!(given.contains(r#""port":2222,"username":"b""#), "{given}");
    assert_eq!(refused(&bench, "creds/z", r#"{"ip":"9.9.9.9","username":"c"}"#), "Username is not present is allowed users list");
    assert_eq!(write(&bench, "lookup", r#"{"ip":"10.2.0.1"}"#), r#"{"roles":["o","z"]}"#);
    assert_eq!(write(&bench, "lookup", r#"{"ip":"10.1.0.1"}"#), r#"{"roles":["z"]}"#);
    // A role of the same name later is not on the list.
    bench.call(Operation::Delete, "roles/z", "").unwrap();
    assert!(bench.call(Operation::Read, "config/zeroaddress", "").is_err());
    bench.pass(Span::from_secs(1));
    assert_eq!(write(&bench, "lookup", r#"{"ip":"9.9.9.9"}"#), r#"{"roles":[]}"#);
}
