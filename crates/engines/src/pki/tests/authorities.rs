//! Roots, intermediates, keys and imports.

use super::*;

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
