//! The engine by its routes.

use super::Pki;
use coffer_crypto::pk::{KeyKind, PrivateKey};
use coffer_crypto::x509::{
    BasicConstraints, Certificate, Extensions, KeyUses, Names, Oid, SignatureAlgorithm, Subject, client_path, pem, request,
};
use coffer_engine::Answer;
use coffer_engine::testing::{Bench, Failed};
use coffer_types::{Json, Kind, Operation, Span};

struct World(Bench);

impl World {
    fn new() -> Self {
        Self(Bench::new::<Pki>("pki/", &[]))
    }

    /// With a root of P-256 named `root`, until 2030.
    fn with_root() -> Self {
        let w = Self::new();
        w.post(
            "root/generate/internal",
            r#"{"common_name":"Root","key_type":"ec","issuer_name":"root","not_after":"2030-01-01T00:00:00Z"}"#,
        )
        .unwrap();
        w
    }

    fn post(&self, path: &str, body: &str) -> Result<Answer, Failed> {
        self.0.call(Operation::Update, path, body)
    }

    fn get(&self, path: &str) -> Result<Answer, Failed> {
        self.0.call(Operation::Read, path, "")
    }

    fn list(&self, path: &str) -> Vec<String> {
        let answer = self.0.call(Operation::List, path, "").unwrap();
        match answer.data.as_ref().and_then(|data| data.get("keys")) {
            Some(Json::Array(keys)) => keys.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        }
    }

    fn said(&self, path: &str, body: &str) -> String {
        self.post(path, body).map_or_else(|failed| failed.public, |_| "ok".to_owned())
    }

    fn role(&self, body: &str) {
        self.post("roles/r", body).unwrap();
    }

    fn issue(&self, body: &str) -> Result<Certificate, Failed> {
        self.post("issue/r", body).map(|answer| certificate(&answer))
    }
}

fn at(answer: &Answer, name: &str) -> String {
    match answer.data.as_ref().and_then(|data| data.get(name)) {
        Some(Json::String(text)) => text.as_str().to_owned(),
        other => format!("{other:?}"),
    }
}

fn certificate(answer: &Answer) -> Certificate {
    Certificate::from_pem(&at(answer, "certificate")).unwrap().remove(0)
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// A request in PEM, quoted for JSON.
fn csr(name: &str, add: impl FnOnce(&mut Extensions)) -> String {
    let key = PrivateKey::generate(KeyKind::P256).unwrap();
    let mut extensions = Extensions::default();
    add(&mut extensions);
    let name = Subject { common_name: name.to_owned(), organization: vec!["evil".to_owned()], ..Subject::default() };
    quoted(&pem("CERTIFICATE REQUEST", &request(&name.to_der(), &extensions, &key, SignatureAlgorithm::EcdsaSha256).unwrap()))
}

fn names(dns: &[&str]) -> Names {
    Names { dns: dns.iter().map(|name| (*name).to_owned()).collect(), ..Names::default() }
}

#[test]
fn a_root_is_its_own_issuer() {
    let w = World::new();
    let made = w.post("root/generate/internal", r#"{"common_name":"Root","key_type":"ec","issuer_name":"root"}"#).unwrap();
    let made_certificate = certificate(&made);
    assert!(made_certificate.is_self_signed() && made_certificate.may_sign_certificates());
    assert_eq!(made_certificate.common_name(), "Root");
    let read = w.get("issuer/root").unwrap();
    assert_eq!(at(&read, "issuer_id"), at(&made, "issuer_id"));
    assert_eq!(at(&w.get("config/issuers").unwrap(), "default"), at(&made, "issuer_id"));
    assert_eq!(at(&w.get("config/keys").unwrap(), "default"), at(&made, "key_id"));
    assert!(!at(&made, "certificate").contains("PRIVATE"));
    assert_eq!(at(&made, "private_key"), "None");
}

#[test]
fn what_is_wrong_with_a_root_is_said() {
    let w = World::with_root();
    for (body, why) in [
        (r#"{"key_type":"bogus"}"#, "unknown key type bogus"),
        (r#"{"key_type":"rsa","key_bits":1024}"#, "RSA keys < 2048 bits are unsafe and not supported: got 1024"),
        (r#"{"key_type":"ec","key_bits":100}"#, "unsupported bit length for EC key: 100"),
        (r#"{"key_type":"ec","issuer_name":"root"}"#, "issuer name already in use"),
        (r#"{"key_type":"ec","issuer_name":"default"}"#, "reserved keyword 'default' can not be used as issuer name"),
        (r#"{"key_type":"ec","issuer_name":"a b"}"#, "issuer name contained invalid characters"),
        (r#"{"key_type":"ec","key_name":"../x"}"#, "key name contained invalid characters"),
        (r#"{"key_type":"ec","format":"x"}"#, "the \"format\" path parameter must be \"pem\", \"der\", or \"pem_bundle\""),
        (r#"{"key_type":"ec","ip_sans":"x"}"#, "the value \"x\" is not a valid IP address"),
        (r#"{"key_type":"ec","uri_sans":":x"}"#, "the provided URI Subject Alternative Name \":x\" is not a valid URI"),
        (r#"{"key_type":"ec","other_sans":"x"}"#, "could not parse requested other SAN: expected a semicolon in other SAN \"x\""),
        (
            r#"{"key_type":"ec","ttl":"1h","not_after":"2030-01-01T00:00:00Z"}"#,
            "Either ttl or not_after should be provided. Both should not be provided in the same request.",
        ),
    ] {
        assert_eq!(w.said("root/generate/internal", body), why, "{body}");
    }
    assert!(w.said("root/generate/internal", r#"{"key_type":"ec","permitted_dns_domains":"a b"}"#).contains("a b"));
    assert!(w.said("root/generate/internal", r#"{"key_type":"ec","max_path_length":-2}"#).contains("MaxPathLen"));
    assert_eq!(
        w.said("root/generate/bogus", "{}"),
        "the \"exported\" path parameter must be \"internal\", \"existing\", exported\" or \"kms\""
    );
    assert_eq!(
        w.said("root/generate/existing", r#"{"key_ref":"nope"}"#),
        "failed to lookup public key from existing key: unable to find PKI key for reference: nope"
    );
    assert_eq!(w.list("issuers").len(), 1, "nothing half made");
    assert_eq!(w.list("keys").len(), 1, "nothing half made");
}

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
fn path_length_and_name_constraints_hold_before_the_signature() {
    let w = World::new();
    w.post(
        "root/generate/internal",
        r#"{"common_name":"Root","key_type":"ec","max_path_length":1,"permitted_dns_domains":"example.com","excluded_dns_domains":"bad.example.com","permitted_ip_ranges":"10.0.0.0/8"}"#,
    )
    .unwrap();
    let root = certificate(&w.get("cert/ca").unwrap());
    assert_eq!((root.path_length(), root.name_constraints().permitted.dns.len()), (Some(1), 1));
    let below =
        w.post("intermediate/generate/internal", r#"{"common_name":"Int","key_type":"ec","exclude_cn_from_sans":true}"#).unwrap();
    let asking = quoted(&at(&below, "csr"));
    assert!(w.said("root/sign-intermediate", &format!(r#"{{"csr":{asking},"max_path_length":1}}"#)).contains("path length"));
    let body = format!(r#"{{"csr":{asking},"common_name":"Int CA","ttl":"10h"}}"#);
    let signed = w.post("root/sign-intermediate", &body).unwrap();
    assert_eq!(certificate(&signed).path_length(), Some(0), "one less than above it");
    let taken =
        w.post("intermediate/set-signed", &format!(r#"{{"certificate":{}}}"#, quoted(&at(&signed, "certificate")))).unwrap();
    let Some(Json::Array(ids)) = taken.data.as_ref().and_then(|data| data.get("imported_issuers")) else { panic!("no issuer") };
    let id = ids[0].as_str().unwrap();
    let again = w.said(&format!("issuer/{id}/sign-intermediate"), &body);
    assert_eq!(again, "the issuer's path length is zero: it may not sign another authority");
    w.role(r#"{"allow_any_name":true,"key_type":"ec","enforce_hostnames":false,"allowed_uri_sans":"*"}"#);
    for good in [r#"{"common_name":"a.example.com"}"#, r#"{"common_name":"example.com","ip_sans":"10.1.1.1"}"#] {
        assert_eq!(w.said("issue/r", good), "ok", "{good}");
    }
    for bad in [
        r#"{"common_name":"a.evil.com"}"#,
        r#"{"common_name":"bad.example.com"}"#,
        r#"{"common_name":"x.bad.example.com"}"#,
        r#"{"common_name":"a.example.com","alt_names":"b.evil.com"}"#,
        r#"{"common_name":"a.example.com","ip_sans":"11.1.1.1"}"#,
    ] {
        assert!(w.said("issue/r", bad).contains("name constraints"), "{bad}");
    }
    let hidden = csr("a.example.com", |e| e.alternative_names(&names(&["evil.com"]), false));
    assert!(w.said("sign-verbatim", &format!(r#"{{"csr":{hidden}}}"#)).contains("name constraints"));
}

#[test]
fn an_intermediate_has_its_chain() {
    let w = World::with_root();
    let below = w.post("intermediate/generate/internal", r#"{"common_name":"Int CA","key_type":"ec"}"#).unwrap();
    let body = format!(r#"{{"csr":{},"common_name":"Int CA","ttl":"100h"}}"#, quoted(&at(&below, "csr")));
    let signed = w.post("root/sign-intermediate", &body).unwrap();
    let body = format!(r#"{{"certificate":{}}}"#, quoted(&at(&signed, "certificate")));
    w.post("intermediate/set-signed", &body).unwrap();
    let issuers = w.list("issuers");
    assert_eq!(issuers.len(), 2);
    let root = at(&w.get("issuer/root").unwrap(), "issuer_id");
    let id = issuers.into_iter().find(|id| *id != root).unwrap();
    w.post(&format!("issuer/{id}"), r#"{"issuer_name":"int"}"#).unwrap();
    w.role(r#"{"allow_any_name":true,"key_type":"ec","issuer_ref":"int"}"#);
    let answer = w.post("issue/r", r#"{"common_name":"a","ttl":"1h"}"#).unwrap();
    let Some(Json::Array(chain)) = answer.data.as_ref().and_then(|data| data.get("ca_chain")) else { panic!("no chain") };
    let chain: Vec<Certificate> =
        chain.iter().map(|pem| Certificate::from_pem(pem.as_str().unwrap()).unwrap().remove(0)).collect();
    assert_eq!(chain.iter().map(Certificate::common_name).collect::<Vec<_>>(), ["Int CA", "Root"]);
    assert_eq!(client_path(&certificate(&answer), &chain[..1], &chain[1..], w.0.now()).map(|path| path.len()), Ok(3));
    let short = w.post("issue/r", r#"{"common_name":"a","ttl":"1h","remove_roots_from_chain":true}"#).unwrap();
    let Some(Json::Array(chain)) = short.data.as_ref().and_then(|data| data.get("ca_chain")) else { panic!("no chain") };
    assert_eq!(chain.len(), 1);
    // It goes with its issuer, and stays with what is kept by hand.
    w.post("issuer/int", r#"{"issuer_name":"int","manual_chain":"self"}"#).unwrap();
    let Some(Json::Array(chain)) = w.get("issuer/int").unwrap().data.and_then(|data| data.get("ca_chain").cloned()) else {
        panic!("no chain")
    };
    assert_eq!(chain.len(), 1);
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
fn what_is_not_stored_is_not_there_and_can_be_taken_back() {
    let w = World::with_root();
    w.role(r#"{"allow_any_name":true,"key_type":"ec","no_store":true}"#);
    let answer = w.post("issue/r", r#"{"common_name":"a","ttl":"1h"}"#).unwrap();
    let serial = at(&answer, "serial_number");
    assert_eq!(w.list("certs").len(), 1, "the root alone");
    assert_eq!(
        w.said("revoke", &format!(r#"{{"serial_number":"{serial}"}}"#)),
        format!("certificate with serial {serial} not found.")
    );
    let whole = quoted(&at(&answer, "certificate"));
    assert_eq!(w.said("revoke", &format!(r#"{{"certificate":{whole}}}"#)), "ok");
    assert_eq!(w.list("certs/revoked"), [serial]);
}

#[test]
fn revocation_happens_once_and_only_to_ones_own() {
    let w = World::with_root();
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    let answer = w.post("issue/r", r#"{"common_name":"a","ttl":"1h"}"#).unwrap();
    let other = w.post("issue/r", r#"{"common_name":"b","ttl":"1h"}"#).unwrap();
    let (serial, key) = (at(&answer, "serial_number"), quoted(&at(&answer, "private_key")));
    let wrong = quoted(&at(&other, "private_key"));
    for (path, body, why) in [
        ("revoke", "{}".to_owned(), "The serial number or certificate to revoke must be provided."),
        ("revoke", r#"{"serial_number":"00:11"}"#.to_owned(), "certificate with serial 00:11 not found."),
        ("revoke", r#"{"serial_number":"../x"}"#.to_owned(), "certificate with serial ../x not found."),
        (
            "revoke-with-key",
            format!(r#"{{"serial_number":"{serial}"}}"#),
            "Must have private key to revoke via the /revoke-with-key path.",
        ),
        (
            "revoke-with-key",
            format!(r#"{{"serial_number":"{serial}","private_key":{wrong}}}"#),
            "1 error occurred:\n\t* provided private key does not match certificate's public key\n\n",
        ),
    ] {
        assert_eq!(w.said(path, &body), why);
    }
    assert!(w.list("certs/revoked").is_empty());
    let first = w.post("revoke-with-key", &format!(r#"{{"serial_number":"{serial}","private_key":{key}}}"#)).unwrap();
    w.0.pass(Span::from_secs(60));
    let second = w.post("revoke", &format!(r#"{{"serial_number":"{serial}"}}"#)).unwrap();
    assert_eq!(at(&first, "revocation_time_rfc3339"), at(&second, "revocation_time_rfc3339"), "the first time stands");
    let shown = w.get(&format!("cert/{serial}")).unwrap();
    assert_eq!(at(&shown, "revocation_time_rfc3339"), at(&first, "revocation_time_rfc3339"));
    let root = w.list("certs").into_iter().find(|s| *s != serial && *s != at(&other, "serial_number")).unwrap();
    assert!(w.said("revoke", &format!(r#"{{"serial_number":"{root}"}}"#)).contains("to its own CRL is not allowed"));
    let stranger = World::with_root();
    stranger.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    // The bench's randomness is the same in every world: some more, so that the serial number is another one.
    (0..5).for_each(|_| drop(stranger.issue(r#"{"common_name":"a","ttl":"1h"}"#).unwrap()));
    let theirs = quoted(&at(&stranger.post("issue/r", r#"{"common_name":"a","ttl":"1h"}"#).unwrap(), "certificate"));
    assert!(w.said("revoke", &format!(r#"{{"certificate":{theirs}}}"#)).contains("unable to verify signature on presented cert"));
}

#[test]
fn a_lease_takes_its_certificate_back() {
    let w = World::with_root();
    w.role(r#"{"allow_any_name":true,"key_type":"ec","generate_lease":true}"#);
    let answer = w.post("issue/r", r#"{"common_name":"a","ttl":"1h"}"#).unwrap();
    let lease = answer.lease.as_ref().unwrap();
    assert_eq!((lease.terms.ttl, lease.terms.renewable), (Span::from_secs(3600), false));
    w.0.revoke(lease).unwrap();
    w.0.revoke(lease).unwrap();
    assert_eq!(w.list("certs/revoked"), [at(&answer, "serial_number")]);
    w.role(r#"{"allow_any_name":true,"key_type":"ec","generate_lease":true,"no_store":true}"#);
    assert!(w.post("issue/r", r#"{"common_name":"a","ttl":"1h"}"#).unwrap().lease.is_none());
}

#[test]
fn an_issuer_that_was_taken_back_issues_no_more() {
    let w = World::with_root();
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    let answer = w.post("issuer/root/revoke", "{}").unwrap();
    assert_eq!(answer.warnings.len(), 3);
    let refused = w.post("issue/r", r#"{"common_name":"a"}"#).err().unwrap();
    assert!(refused.public.contains("requested usage issuing-certificates"), "{}", refused.public);
    assert!(w.said("issuer/root", r#"{"usage":"issuing-certificates"}"#).starts_with("This issuer was revoked"));
}

#[test]
fn uses_of_an_issuer_hold() {
    let w = World::with_root();
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    w.post("issuer/root", r#"{"issuer_name":"root","usage":"read-only,crl-signing"}"#).unwrap();
    let csr = csr("a", |_| ());
    for path in ["issue/r", "sign/r", "sign-verbatim", "root/sign-intermediate", "issuer/root/issue/r"] {
        let said = w.said(path, &format!(r#"{{"common_name":"a","csr":{csr}}}"#));
        assert!(said.contains("only had usage crl-signing,read-only"), "{path}: {said}");
    }
    assert!(w.said("issuer/root", r#"{"usage":"x"}"#).starts_with("Unable to parse specified usages: [x]"));
}

#[test]
fn keys_are_named_kept_and_shown_once() {
    let w = World::new();
    let made = w.post("keys/generate/exported", r#"{"key_type":"ec","key_name":"k"}"#).unwrap();
    let pem = quoted(&at(&made, "private_key"));
    let again = w.post("keys/import", &format!(r#"{{"pem_bundle":{pem},"key_name":"other"}}"#)).unwrap();
    assert_eq!((at(&again, "key_id"), again.warnings.len()), (at(&made, "key_id"), 1));
    assert_eq!(at(&w.get("key/k").unwrap(), "key_type"), "ec");
    assert_eq!(at(&w.get("key/k").unwrap(), "private_key"), "None");
    assert_eq!(w.said("keys/generate/internal", r#"{"key_type":"ec","key_name":"k"}"#), "key name already in use");
    for bad in ["", "junk", "x"] {
        assert!(w.said("keys/import", &format!(r#"{{"pem_bundle":"{bad}"}}"#)).contains("too short"));
    }
    let root = w.post("root/generate/existing", r#"{"common_name":"R","key_ref":"k"}"#).unwrap();
    assert_eq!(
        w.0.call(Operation::Delete, "key/k", "").err().unwrap().public,
        format!("Failed to Delete Key.  Key in Use by Issuer: {}", at(&root, "issuer_id"))
    );
    w.post("key/k", r#"{"key_name":"renamed"}"#).unwrap();
    assert_eq!(w.get("key/k").err().unwrap().kind, Kind::Internal);
    assert_eq!(w.post("key/renamed", "{}").unwrap().warnings.len(), 1);
}

#[test]
fn imports_bring_authorities_alone() {
    let w = World::with_root();
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    let leaf = quoted(&format!("{}\n", at(&w.post("issue/r", r#"{"common_name":"a","ttl":"1h"}"#).unwrap(), "certificate")));
    assert!(
        w.said("issuers/import/bundle", &format!(r#"{{"pem_bundle":{leaf}}}"#))
            .starts_with("Error parsing issuer 0: Refusing to import non-CA certificate")
    );
    let other = World::new();
    let made = other.post("root/generate/exported", r#"{"common_name":"O","key_type":"ec"}"#).unwrap();
    let (cert, key) = (at(&made, "certificate"), at(&made, "private_key"));
    assert!(
        w.said("issuers/import/cert", &format!(r#"{{"pem_bundle":{}}}"#, quoted(&format!("{cert}\n{key}"))))
            .contains("private keys found")
    );
    // The certificate first, the key later: they find each other.
    w.post("issuers/import/cert", &format!(r#"{{"pem_bundle":{}}}"#, quoted(&cert))).unwrap();
    w.post("keys/import", &format!(r#"{{"pem_bundle":{}}}"#, quoted(&key))).unwrap();
    let id =
        w.list("issuers").into_iter().find(|id| at(&w.get(&format!("issuer/{id}")).unwrap(), "issuer_name").is_empty()).unwrap();
    assert_ne!(at(&w.get(&format!("issuer/{id}")).unwrap(), "key_id"), "");
    assert_eq!(w.said(&format!("issuer/{id}/issue/r"), r#"{"common_name":"a","ttl":"1h"}"#), "ok");
    assert_eq!(w.said("config/ca", "{}"), "'pem_bundle' and 'certificate' parameters were empty");
    assert!(w.said("config/ca", &format!(r#"{{"pem_bundle":"{}"}}"#, "x".repeat(200))).contains("invalid PEM data"));
}

#[test]
fn others_roots_are_signed_only_if_they_are_some() {
    let w = World::with_root();
    let other = World::new();
    let made = other.post("root/generate/internal", r#"{"common_name":"Other","key_type":"ec"}"#).unwrap();
    let signed = w.post("root/sign-self-issued", &format!(r#"{{"certificate":{}}}"#, quoted(&at(&made, "certificate")))).unwrap();
    let (root, crossed) = (certificate(&w.get("cert/ca").unwrap()), certificate(&signed));
    assert!(root.signed(&crossed));
    assert_eq!((crossed.spki(), crossed.subject()), (certificate(&made).spki(), certificate(&made).subject()));
    assert_eq!(crossed.issuer(), root.subject());
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    let leaf = quoted(&at(&w.post("issue/r", r#"{"common_name":"a","ttl":"1h"}"#).unwrap(), "certificate"));
    assert_eq!(
        w.said("root/sign-self-issued", &format!(r#"{{"certificate":{leaf}}}"#)),
        "given certificate is not a CA certificate"
    );
    assert_eq!(w.said("root/sign-self-issued", r#"{"certificate":"x"}"#), "certificate could not be PEM-decoded");
}

#[test]
fn lists_come_in_pages() {
    let w = World::with_root();
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    for _ in 0..6 {
        w.issue(r#"{"common_name":"a","ttl":"1h"}"#).unwrap();
    }
    let all = w.list("certs");
    assert_eq!(all.len(), 7);
    let page = |after: &str, limit: usize| {
        let answer = w.0.call(Operation::List, "certs", &format!(r#"{{"after":"{after}","limit":{limit}}}"#)).unwrap();
        match answer.data.as_ref().and_then(|data| data.get("keys")) {
            Some(Json::Array(keys)) => keys.iter().filter_map(|key| key.as_str().map(str::to_owned)).collect(),
            _ => Vec::new(),
        }
    };
    assert_eq!(page("", 3), all[..3]);
    assert_eq!(page(&all[2], 3), all[3..6]);
    assert_eq!(page(&all[5].replace(':', "-"), 3), all[6..]);
    assert_eq!(page(&all[6], 3), Vec::<String>::new());
    let detailed = w.0.call(Operation::List, "certs/detailed", r#"{"limit":2}"#).unwrap();
    assert!(matches!(detailed.data.as_ref().and_then(|data| data.get("key_info")), Some(Json::Object(info)) if info.len() == 2));
}

#[test]
fn what_has_ended_is_tidied_away_in_pages() {
    let w = World::with_root();
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    for _ in 0..5 {
        w.issue(r#"{"common_name":"a","ttl":"1h"}"#).unwrap();
    }
    let serial = at(&w.post("issue/r", r#"{"common_name":"a","ttl":"1h"}"#).unwrap(), "serial_number");
    w.post("revoke", &format!(r#"{{"serial_number":"{serial}"}}"#)).unwrap();
    let tidy = r#"{"tidy_cert_store":true,"tidy_revoked_certs":true,"safety_buffer":"1h","page_size":2}"#;
    w.post("tidy", tidy).unwrap();
    w.0.beat().unwrap();
    assert_eq!((w.list("certs").len(), w.list("certs/revoked").len()), (7, 1), "nothing has ended yet");
    w.0.pass(Span::from_secs(3 * 3600));
    assert_eq!(w.post("tidy", tidy).unwrap().status, Some(202));
    assert_eq!(at(&w.get("tidy-status").unwrap(), "state"), "Running");
    assert!(coffer_engine::testing::text(&w.post("tidy", tidy).unwrap()).contains("already in progress"));
    w.0.beat().unwrap();
    assert_eq!(at(&w.get("tidy-status").unwrap(), "state"), "Finished");
    assert_eq!((w.list("certs").len(), w.list("certs/revoked").len()), (1, 0));
    assert_eq!(w.said("tidy", r#"{"safety_buffer":0,"tidy_cert_store":true}"#), "safety_buffer must be greater than zero");
    assert!(
        w.said("config/auto-tidy", r#"{"enabled":true}"#).starts_with("Auto-tidy enabled but no tidy operations were requested.")
    );
}

#[test]
fn the_clock_tidies_too() {
    let w = World::with_root();
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    w.issue(r#"{"common_name":"a","ttl":"1h"}"#).unwrap();
    w.0.beat().unwrap();
    w.post("config/auto-tidy", r#"{"enabled":true,"tidy_cert_store":true,"safety_buffer":"1s","interval_duration":"24h"}"#)
        .unwrap();
    w.0.beat().unwrap();
    assert_eq!(w.list("certs").len(), 2);
    w.0.pass(Span::from_secs(2 * 3600));
    w.0.beat().unwrap();
    assert_eq!(w.list("certs").len(), 2, "not yet due again");
    w.0.pass(Span::from_secs(24 * 3600));
    w.0.beat().unwrap();
    assert_eq!(w.list("certs").len(), 1);
}

#[test]
fn rsa_takes_its_time_beside_the_others() {
    let w = World::new();
    w.post("root/generate/internal", r#"{"common_name":"R","key_type":"rsa","use_pss":true}"#).unwrap();
    let before = w.0.computed();
    assert_eq!(certificate(&w.get("cert/ca").unwrap()).signature_algorithm(), Some(SignatureAlgorithm::RsaPssSha256));
    w.role(r#"{"allow_any_name":true,"key_type":"ec","signature_bits":512,"use_pss":true}"#);
    let leaf = w.issue(r#"{"common_name":"a","ttl":"1h"}"#).unwrap();
    assert_eq!(leaf.signature_algorithm(), Some(SignatureAlgorithm::RsaPssSha512));
    assert_eq!(w.0.computed(), before + 1, "the signature, and no key of P-256");
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

#[test]
fn an_authority_whose_key_may_not_sign_does_not() {
    let key = PrivateKey::generate(KeyKind::P256).unwrap();
    let public = key.public().unwrap();
    let name = Subject { common_name: "no signer".to_owned(), ..Subject::default() }.to_der();
    let mut extensions = Extensions::default();
    extensions.key_usage(KeyUses::DIGITAL_SIGNATURE);
    extensions.basic_constraints(BasicConstraints { authority: true, path_length: None });
    let draft = coffer_crypto::x509::Draft {
        serial: &[7],
        issuer: &name,
        subject: &name,
        not_before: 0,
        not_after: coffer_crypto::x509::LAST_SECOND,
        spki: public.spki(),
        extensions: &extensions,
    };
    let made = pem("CERTIFICATE", &draft.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap());
    let w = World::new();
    w.post("config/ca", &format!(r#"{{"pem_bundle":{}}}"#, quoted(&(made + &key.to_pkcs8_pem().unwrap())))).unwrap();
    w.role(r#"{"allow_any_name":true,"key_type":"ec"}"#);
    assert!(w.said("issue/r", r#"{"common_name":"a"}"#).contains("requested usage issuing-certificates"));
    let said = w.said("issuer/default", r#"{"usage":"issuing-certificates"}"#);
    assert_eq!(said, "ok");
    assert!(w.said("issue/r", r#"{"common_name":"a"}"#).contains("does not allow issuing-certificates"));
}

#[test]
fn an_intermediate_is_taken_back_by_its_issuer() {
    let w = World::with_root();
    let below = w.post("intermediate/generate/internal", r#"{"common_name":"Int CA","key_type":"ec"}"#).unwrap();
    let signed = w.post("root/sign-intermediate", &format!(r#"{{"csr":{},"ttl":"100h"}}"#, quoted(&at(&below, "csr")))).unwrap();
    w.post("intermediate/set-signed", &format!(r#"{{"certificate":{}}}"#, quoted(&at(&signed, "certificate")))).unwrap();
    let serial = at(&signed, "serial_number");
    assert_eq!(w.said("revoke", &format!(r#"{{"serial_number":"{serial}"}}"#)), "ok");
    let root = at(&w.get("issuer/root").unwrap(), "issuer_id");
    assert_eq!(at(&w.get(&format!("cert/{serial}")).unwrap(), "issuer_id"), root);
}
