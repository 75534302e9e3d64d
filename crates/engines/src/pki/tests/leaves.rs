//! What is issued and signed, and what is not.

use super::*;

#[test]
fn a_leaf_verifies_and_says_what_the_role_says() {
    let w = World::with_root();
    w.post(
        "config/urls",
        r#"{"issuing_certificates":"http://a/ca","crl_distribution_points":"http://a/crl","ocsp_servers":"http://a/ocsp"}"#,
    )
    .unwrap();
    w.role(r#"{"allowed_domains":"example.com","allow_subdomains":true,"key_type":"ec","ou":"x","max_ttl":"72h"}"#);
    let answer = w
        .post("issue/r", r#"{"common_name":"a.example.com","alt_names":"b.example.com","ip_sans":"10.0.0.1","ttl":"1h"}"#)
        .unwrap();
    let leaf = certificate(&answer);
    let root = certificate(&w.get("cert/ca").unwrap());
    assert_eq!(client_path(&leaf, &[], std::slice::from_ref(&root), w.0.now()).map(|path| path.len()), Ok(2));
    assert_eq!(leaf.names().dns, ["a.example.com", "b.example.com"]);
    assert_eq!(leaf.organizational_units(), ["x"]);
    assert!(!leaf.is_authority() && !leaf.may_sign_certificates());
    assert_eq!(leaf.key_uses(), Some(KeyUses::DIGITAL_SIGNATURE | KeyUses::KEY_AGREEMENT | KeyUses::KEY_ENCIPHERMENT));
    assert_eq!(leaf.ocsp_servers(), ["http://a/ocsp"]);
    assert_eq!(leaf.authority_key_id_bytes(), root.subject_key_id_bytes());
    assert_eq!(leaf.not_after_secs() - w.0.now().secs(), 3600);
    assert_eq!(w.0.now().secs() - leaf.not_before_secs(), 30);
    let key = PrivateKey::from_pem(&at(&answer, "private_key")).unwrap();
    assert_eq!(key.public().unwrap().spki(), leaf.spki());
    let serial = at(&answer, "serial_number");
    assert!(w.list("certs").contains(&serial));
    assert_eq!(at(&w.get(&format!("cert/{serial}")).unwrap(), "certificate"), at(&answer, "certificate"));
    let dashed = serial.replace(':', "-");
    assert_eq!(at(&w.get(&format!("cert/{dashed}")).unwrap(), "certificate"), at(&answer, "certificate"));
}

#[test]
fn requests_are_held_to_the_role_like_the_callers_own_words() {
    let w = World::with_root();
    w.role(r#"{"allowed_domains":"example.com","allow_subdomains":true,"key_type":"ec","allowed_ip_sans_cidr":"10.0.0.0/8"}"#);
    let sign = |csr: String| w.said("sign/r", &format!(r#"{{"csr":{csr}}}"#));
    assert_eq!(sign(csr("a.example.com", |_| ())), "ok");
    assert_eq!(sign(csr("evil.com", |_| ())), "common name evil.com not allowed by this role");
    let with = |names: Names| csr("a.example.com", |e| e.alternative_names(&names, false));
    assert_eq!(sign(with(names(&["evil.com"]))), "subject alternate name evil.com not allowed by this role");
    assert_eq!(sign(with(Names { ip: vec![[10, 9, 8, 7].into()], ..names(&["b.example.com"]) })), "ok");
    assert_eq!(
        sign(with(Names { ip: vec![[11, 9, 8, 7].into()], ..Names::default() })),
        "the IP address \"11.9.8.7\" is not allowed in this role"
    );
    assert_eq!(
        sign(with(Names { uri: vec!["spiffe://x".to_owned()], ..Names::default() })),
        "URI Subject Alternative Names are not allowed in this role, but were provided via CSR"
    );
    assert_eq!(
        sign(with(Names { email: vec!["a@evil.com".to_owned()], ..Names::default() })),
        "email address a@evil.com not allowed by this role"
    );
    let other = (Oid::parse("1.2.3").unwrap(), "x".to_owned());
    assert_eq!(sign(with(Names { other: vec![other], ..Names::default() })), "other SAN OID 1.2.3 not allowed by this role");
    for (csr, why) in [(r#""""#, "\"csr\" is empty"), (r#""junk""#, "csr contains no data")] {
        assert_eq!(sign(csr.to_owned()), why);
    }
    let rsa = PrivateKey::generate(KeyKind::Rsa(2048)).unwrap();
    let name = Subject { common_name: "a.example.com".to_owned(), ..Subject::default() };
    let der = request(&name.to_der(), &Extensions::default(), &rsa, SignatureAlgorithm::RsaSha256).unwrap();
    assert_eq!(sign(quoted(&pem("CERTIFICATE REQUEST", &der))), "role requires keys of type ec");
    let mut forged = der;
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(sign(quoted(&pem("CERTIFICATE REQUEST", &forged))).starts_with("certificate request could not be parsed"));
}

#[test]
fn a_request_makes_no_authority() {
    let w = World::with_root();
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    let asking = csr("a.example.com", |e| {
        e.basic_constraints(BasicConstraints { authority: true, path_length: None });
        e.key_usage(KeyUses::CERT_SIGN | KeyUses::CRL_SIGN | KeyUses::DIGITAL_SIGNATURE);
        e.alternative_names(&names(&["a.example.com"]), false);
        e.other(&Oid::parse("1.2.3.4").unwrap(), false, &[0x05, 0x00]);
    });
    for path in [
        "sign/r",
        "sign-verbatim",
        "sign-verbatim/r",
        "issuer/root/sign-verbatim",
        "issuer/root/sign-verbatim/r",
        "issuer/root/sign/r",
    ] {
        let answer = w.post(path, &format!(r#"{{"csr":{asking}}}"#)).unwrap();
        let made = certificate(&answer);
        assert!(!made.is_authority(), "{path}");
        let uses = made.key_uses().unwrap();
        assert!(!uses.contains(KeyUses::CERT_SIGN) && !uses.contains(KeyUses::CRL_SIGN), "{path}");
        assert!(answer.warnings.iter().any(|warning| warning.contains("Basic Constraints")), "{path}");
        let copied = made.extensions().iter().any(|e| e.oid == "1.2.3.4");
        assert_eq!(copied, path.contains("verbatim"), "{path}");
        assert_eq!(made.subject_name().unwrap().organization.is_empty(), !path.contains("verbatim"), "{path}");
    }
    w.role(r#"{"allow_any_name":true,"key_type":"ec","key_usage":["CertSign","DigitalSignature"]}"#);
    let uses = w.issue(r#"{"common_name":"a"}"#).unwrap().key_uses().unwrap();
    assert!(!uses.contains(KeyUses::CERT_SIGN) && uses.contains(KeyUses::DIGITAL_SIGNATURE));
}

#[test]
fn a_leaf_ends_with_its_issuer_as_that_one_wants() {
    let w = World::new();
    w.post("root/generate/internal", r#"{"common_name":"R","key_type":"ec","issuer_name":"root","ttl":"700h"}"#).unwrap();
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    let root = certificate(&w.get("cert/ca").unwrap());
    assert!(
        w.said("issue/r", r#"{"common_name":"a","ttl":"701h"}"#)
            .starts_with("cannot satisfy request, as TTL would result in notAfter of ")
    );
    w.post("issuer/root", r#"{"issuer_name":"root","leaf_not_after_behavior":"truncate"}"#).unwrap();
    assert_eq!(w.issue(r#"{"common_name":"a","ttl":"701h"}"#).unwrap().not_after_secs(), root.not_after_secs());
    w.post("issuer/root", r#"{"issuer_name":"root","leaf_not_after_behavior":"permit"}"#).unwrap();
    assert!(w.issue(r#"{"common_name":"a","ttl":"701h"}"#).unwrap().not_after_secs() > root.not_after_secs());
    assert!(
        w.said("issuer/root", r#"{"leaf_not_after_behavior":"x"}"#)
            .starts_with("Unknown value for field `leaf_not_after_behavior`.")
    );
}

#[test]
fn times_stay_within_their_bounds() {
    let w = World::with_root();
    let cases = [
        (
            r#"{"not_after_bound":"forbid"}"#,
            r#"{"common_name":"a","not_after":"2026-11-24T00:00:00Z"}"#,
            "not_after_bound is set to forbid. not_after cannot be provided.",
        ),
        (
            r#"{"not_before_bound":"forbid"}"#,
            r#"{"common_name":"a","not_before":"2026-11-01T00:00:00Z"}"#,
            "not_before_bound is set to forbid. not_before cannot be provided.",
        ),
        (
            r#"{"not_before_bound":"duration"}"#,
            r#"{"common_name":"a","not_before":"2026-11-01T00:00:00Z"}"#,
            "not_before_bound is set to duration. Cannot satisfy request as it would result in notBefore of 2026-11-01T00:00:00Z that is older than the allowed not_before_duration of 30s",
        ),
        (
            r#"{"not_after_bound":"ttl-limited","max_ttl":"1h"}"#,
            r#"{"common_name":"a","not_after":"2026-12-01T00:00:00Z"}"#,
            "not_after_bound is set to ttl-limited. Cannot satisfy request as that would result in notAfter of 2026-12-01T00:00:00Z that is beyond the TTL of 1h0m0s",
        ),
        (
            r#"{"not_after_bound":"2026-11-24T00:00:00Z"}"#,
            r#"{"common_name":"a","not_after":"2026-12-01T00:00:00Z"}"#,
            "not_after_bound is set to 2026-11-24T00:00:00Z. Cannot satisfy request as that would result in notAfter of 2026-12-01T00:00:00Z that is beyond the maximum timestamp of 2026-11-24T00:00:00Z",
        ),
        (
            r#"{}"#,
            r#"{"common_name":"a","not_before":"2027-01-01T00:00:00Z","not_after":"2026-12-01T00:00:00Z"}"#,
            "The certificate's Not Before (2027-01-01T00:00:00Z) is later than the certificate's Not After (2026-12-01T00:00:00Z)",
        ),
    ];
    for (role, body, why) in cases {
        let mut role = role.to_owned();
        role.insert_str(1, r#""allow_any_name":true,"key_type":"ec""#);
        let role = role.replace(r#""ec""not"#, r#""ec","not"#);
        w.role(&role);
        assert_eq!(w.said("issue/r", body), why, "{role}");
    }
    w.role(r#"{"allow_any_name":true,"key_type":"ec","max_ttl":"1h"}"#);
    let answer = w.post("issue/r", r#"{"common_name":"a","ttl":"2h"}"#).unwrap();
    assert_eq!(answer.warnings, ["TTL \"2h0m0s\" is longer than permitted maxTTL \"1h0m0s\", so maxTTL is being used"]);
    assert_eq!(certificate(&answer).not_after_secs() - w.0.now().secs(), 3600);
}

#[test]
fn roles_refuse_what_makes_no_sense() {
    let w = World::with_root();
    for (body, why) in [
        (r#"{"key_type":"nope"}"#, "unknown key type nope"),
        (r#"{"key_type":"rsa","key_bits":1024}"#, "RSA keys < 2048 bits are unsafe and not supported: got 1024"),
        (r#"{"ttl":"10h","max_ttl":"1h"}"#, "\"ttl\" value must be less than \"max_ttl\" value"),
        (r#"{"ext_key_usage_oids":"x"}"#, "\"x\" could not be parsed as a valid oid for an extended key usage"),
        (r#"{"allowed_ip_sans_cidr":"x"}"#, "error parsing allowed_ip_sans_cidr: invalid CIDR address: x"),
        (r#"{"allowed_other_sans":"x"}"#, "error parsing allowed_other_sans: expected a semicolon in other SAN \"x\""),
        (r#"{"cn_validations":"x"}"#, "1 error occurred:\n\t* cn_validations value incorrect: unknown type: `x`\n\n"),
        (
            r#"{"not_before_bound":"x"}"#,
            "Unknown value for field `not_before_bound`. Possible values are `permit` `duration` or `forbid`",
        ),
    ] {
        assert_eq!(w.said("roles/x", body), why, "{body}");
    }
    for bad in [
        r#"{"policy_identifiers":"x"}"#,
        r#"{"policy_identifiers":"[{\"oid\":\"y\"}]"}"#,
        r#"{"ttl":"-1h"}"#,
        r#"{"not_after_bound":"x"}"#,
    ] {
        assert_ne!(w.said("roles/x", bad), "ok", "{bad}");
    }
    assert_eq!(w.get("roles/x").err().map(|failed| failed.kind), Some(Kind::NotFound));
    w.post("roles/x", r#"{"policy_identifiers":"[{\"oid\":\"1.2.3\",\"cps\":\"http://x\",\"notice\":\"N\"}]","no_store":true,"generate_lease":true}"#).unwrap();
    let answer = w.0.call(Operation::Patch, "roles/x", r#"{"ttl":"1h"}"#).unwrap();
    assert!(
        matches!(answer.data.as_ref().and_then(|data| data.get("policy_identifiers")), Some(Json::Array(list)) if list.len() == 1)
    );
    assert!(matches!(answer.data.as_ref().and_then(|data| data.get("no_store")), Some(Json::Bool(true))));
    assert_eq!(w.said("issue/none", "{}"), "unknown role: none");
    assert_eq!(w.list("roles"), ["x"]);
}

#[test]
fn templates_name_the_caller() {
    let w = World::with_root();
    w.role(r#"{"allowed_domains":"{{identity.entity.name}}.example.com,{{x}}.example.com","allowed_domains_template":true,"allow_bare_domains":true,"key_type":"ec"}"#);
    assert_eq!(w.said("issue/r", r#"{"common_name":"alice.example.com"}"#), "ok");
    for bad in ["bob.example.com", "{{x}}.example.com", ".example.com"] {
        assert_ne!(w.said("issue/r", &format!(r#"{{"common_name":"{bad}"}}"#)), "ok");
    }
}

#[test]
fn names_that_read_in_two_ways_are_refused() {
    let w = World::with_root();
    w.role(r#"{"allowed_domains":"example.com","allow_subdomains":true,"enforce_hostnames":false,"key_type":"ec","allowed_user_ids":"*","allowed_uri_sans":"*"}"#);
    for bad in [
        r#"{"common_name":"evil.com\u0000.example.com"}"#,
        r#"{"common_name":"a\nb.example.com"}"#,
        r#"{"common_name":"a.example.com","user_ids":"a\u0000b"}"#,
        r#"{"common_name":"a b@c.example.com"}"#,
        r#"{"common_name":"a@b@c.example.com"}"#,
    ] {
        assert_ne!(w.said("issue/r", bad), "ok", "{bad}");
    }
    let with = |names: Names| csr("a.example.com", |e| e.alternative_names(&names, false));
    for hidden in [
        names(&["evil.com\0.example.com"]),
        names(&["b.example.com."]),
        names(&[""]),
        names(&["a b.example.com"]),
        Names { email: vec!["a\0@b.example.com".to_owned()], ..Names::default() },
        Names { uri: vec!["no uri".to_owned()], ..Names::default() },
    ] {
        let body = format!(r#"{{"csr":{}}}"#, with(hidden.clone()));
        assert_ne!(w.said("sign/r", &body), "ok", "{hidden:?}");
        assert_eq!(w.said("sign-verbatim", &body) == "ok", hidden.dns == ["b.example.com."], "{hidden:?}");
    }
}
