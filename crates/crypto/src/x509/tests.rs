//! Certificates, lists and replies that must be refused; a few that must not.

use super::testing::rcgen::{
    BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
    SanType, date_time_ymd,
};
use super::testing::{Answering, Party, authority, client, nonce_of, params};
use super::*;
use coffer_types::Timestamp;
use proptest::prelude::*;
use std::time::Duration;

/// 2026-11-23T12:00:00Z
const NOW: Timestamp = Timestamp::from_secs(1_795_435_200);

fn path(leaf: &Party, offered: &[&Party], anchors: &[&Party]) -> Result<usize, Untrusted> {
    let copy = |parties: &[&Party]| parties.iter().map(|p| p.certificate.clone()).collect::<Vec<_>>();
    client_path(&leaf.certificate, &copy(offered), &copy(anchors), NOW).map(|path| path.len())
}

#[test]
fn a_path_over_intermediates_ends_at_the_anchor() {
    let root = Party::authority("root");
    let middle = root.issue(authority("middle"));
    let leaf = middle.issue(client("leaf"));
    assert_eq!(path(&leaf, &[&middle], &[&root]), Ok(3));
    assert_eq!(path(&leaf, &[], &[&middle]), Ok(2), "an intermediate may be trusted by itself");
    assert_eq!(path(&leaf, &[], &[&root]), Err(Untrusted::Issuer), "the intermediate is missing");
    assert_eq!(path(&leaf, &[&middle], &[]), Err(Untrusted::Issuer));
}

#[test]
fn another_authority_of_the_same_name_is_another() {
    let (root, twin) = (Party::authority("root"), Party::authority("root"));
    assert!(path(&twin.issue(client("leaf")), &[], &[&root]).is_err());
    assert_eq!(path(&twin.issue(client("leaf")), &[], &[&root, &twin]), Ok(2));
    let middle = twin.issue(authority("middle"));
    assert!(path(&middle.issue(client("leaf")), &[&middle], &[&root]).is_err());
}

#[test]
fn nothing_is_trusted_out_of_its_time() {
    let root = Party::authority("root");
    let dated = |mut params: rcgen::CertificateParams, from, to| {
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        params
    };
    assert_eq!(path(&root.issue(dated(client("old"), 2020, 2026)), &[], &[&root]), Err(Untrusted::Time));
    assert_eq!(path(&root.issue(dated(client("new"), 2027, 2030)), &[], &[&root]), Err(Untrusted::Time));
    let middle = root.issue(dated(authority("middle"), 2020, 2026));
    assert_eq!(path(&middle.issue(client("leaf")), &[&middle], &[&root]), Err(Untrusted::Time));
    let expired = Party::root(dated(authority("expired"), 2020, 2026));
    assert!(path(&expired.issue(client("leaf")), &[], &[&expired]).is_err(), "an anchor ends too");
}

#[test]
fn only_authorities_sign() {
    let root = Party::authority("root");
    let plain = root.issue(params("plain"));
    assert!(path(&plain.issue(client("leaf")), &[&plain], &[&root]).is_err());
    let anchor = Party::root(params("plain"));
    assert!(path(&anchor.issue(client("leaf")), &[], &[&anchor]).is_err(), "an anchor without the flag");
    let mut no_signing = authority("lists only");
    no_signing.key_usages = vec![KeyUsagePurpose::CrlSign];
    let middle = root.issue(no_signing.clone());
    assert!(path(&middle.issue(client("leaf")), &[&middle], &[&root]).is_err());
    let anchor = Party::root(no_signing);
    assert!(path(&anchor.issue(client("leaf")), &[], &[&anchor]).is_err());
}

#[test]
fn paths_are_no_longer_than_they_may_be() {
    let of = |name: &str, length| {
        let mut params = authority(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        params
    };
    let root = Party::root(of("root", 0));
    let middle = root.issue(authority("middle"));
    assert!(path(&middle.issue(client("leaf")), &[&middle], &[&root]).is_err(), "of the anchor");
    assert_eq!(path(&root.issue(client("leaf")), &[], &[&root]), Ok(2));
    let root = Party::authority("root");
    let first = root.issue(of("first", 0));
    let second = first.issue(authority("second"));
    assert!(path(&second.issue(client("leaf")), &[&second, &first], &[&root]).is_err(), "of an intermediate");
}

#[test]
fn a_certificate_for_servers_is_not_for_clients() {
    let root = Party::authority("root");
    let mut server = params("server");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = root.issue(server.clone());
    assert_eq!(path(&leaf, &[], &[&root]), Err(Untrusted::Usage));
    assert_eq!(check_pinned(&leaf.certificate, NOW), Err(Untrusted::Usage));
    assert_eq!(path(&root.issue(params("anything")), &[], &[&root]), Ok(2));
    let mut anchor = authority("servers only");
    anchor.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let anchor = Party::root(anchor);
    assert!(path(&anchor.issue(client("leaf")), &[], &[&anchor]).is_err());
}

#[test]
fn what_is_critical_must_be_understood() {
    let root = Party::authority("root");
    let odd = |mut params: rcgen::CertificateParams| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
        params
    };
    let leaf = root.issue(odd(client("leaf")));
    assert_eq!(path(&leaf, &[], &[&root]), Err(Untrusted::Critical));
    assert_eq!(check_pinned(&leaf.certificate, NOW), Err(Untrusted::Critical));
    let middle = root.issue(odd(authority("middle")));
    assert!(path(&middle.issue(client("leaf")), &[&middle], &[&root]).is_err());
    // rcgen's own authority, from bytes that the library reads as an anchor whatever is critical in it.
    let anchor = Party::root(odd(authority("anchor")));
    assert!(path(&anchor.issue(client("leaf")), &[], &[&anchor]).is_err());
}

#[test]
fn names_outside_their_constraints_are_refused() {
    let mut bound = authority("bound");
    bound.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("good.example".to_owned())],
        excluded_subtrees: vec![GeneralSubtree::DnsName("bad.good.example".to_owned())],
    });
    let anchor = Party::root(bound.clone());
    let named = |name: &str| {
        let mut params = client("leaf");
        params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        params
    };
    assert_eq!(path(&anchor.issue(named("a.good.example")), &[], &[&anchor]), Ok(2));
    for name in ["a.evil.example", "bad.good.example", "x.bad.good.example", "notgood.example"] {
        assert_eq!(path(&anchor.issue(named(name)), &[], &[&anchor]), Err(Untrusted::Path), "{name}");
    }
    let root = Party::authority("root");
    let middle = root.issue(bound);
    assert!(path(&middle.issue(named("a.evil.example")), &[&middle], &[&root]).is_err());
}

#[test]
fn a_pinned_leaf_is_valid_and_for_clients() {
    let leaf = Party::authority("root").issue(client("leaf"));
    assert_eq!(check_pinned(&leaf.certificate, NOW), Ok(()));
    assert_eq!(check_pinned(&leaf.certificate, Timestamp::from_secs(1)), Err(Untrusted::Time));
    assert_eq!(check_pinned(&leaf.certificate, Timestamp::from_secs(9_000_000_000)), Err(Untrusted::Time));
}

#[test]
fn fields_read_as_they_were_written() {
    let mut made = client("the name");
    made.distinguished_name.push(rcgen::DnType::OrganizationalUnitName, "eng");
    made.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00]));
    made.subject_alt_names = vec![
        SanType::DnsName("a.example".try_into().unwrap()),
        SanType::Rfc822Name("a@example".try_into().unwrap()),
        SanType::URI("spiffe://a/b".try_into().unwrap()),
        SanType::IpAddress([10, 0, 0, 1].into()),
    ];
    made.custom_extensions.push(CustomExtension::from_oid_content(&[2, 1, 1, 1], vec![0x0c, 2, b'h', b'i']));
    let read = Party::authority("root").issue(made).certificate;
    assert_eq!((read.common_name(), read.organizational_units()), ("the name".to_owned(), vec!["eng".to_owned()]));
    assert_eq!(read.serial(), "18446744073709551616");
    let names = read.names();
    assert_eq!(
        (&*names.dns, &*names.email, &*names.uri, &*names.ip),
        (
            &["a.example".to_owned()][..],
            &["a@example".to_owned()][..],
            &["spiffe://a/b".to_owned()][..],
            &[[10, 0, 0, 1].into()][..]
        )
    );
    let extension = read.extensions().iter().find(|e| e.oid == "2.1.1.1").unwrap();
    assert_eq!(extension_text(&extension.value).as_deref(), Some("hi"));
    assert!(!read.is_authority() && !read.authority_key_id().is_empty());
    let pem = Party::authority("root");
    assert_eq!(Certificate::from_pem(&format!("text\n{}more\n{}", pem.pem, pem.pem)).unwrap().len(), 2);
    assert_eq!(Certificate::from_pem("no certificate"), Ok(Vec::new()));
    assert!(Certificate::from_pem("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n").is_err());
}

#[test]
fn a_certificate_is_read_whole() {
    let good = Party::authority("root").certificate;
    let mut more = good.der().to_vec();
    more.push(0);
    assert!(Certificate::from_der(&more).is_err());
    for length in 0..good.der().len() {
        assert!(Certificate::from_der(&good.der()[..length]).is_err());
    }
}

#[test]
fn a_revocation_list_is_its_issuers_and_of_its_time() {
    let (root, twin) = (Party::authority("root"), Party::authority("root"));
    let (bad, good) = (root.issue(client("bad")), root.issue(client("good")));
    let list = |by: &Party, from, to| RevocationList::from_der(&by.list(&[&bad.certificate], NOW, from, to)).unwrap();
    let made = list(&root, -1, 1);
    assert!(made.is_by(&root.certificate) && made.is_current(NOW));
    assert!(made.lists(&bad.certificate) && !made.lists(&good.certificate));
    assert_eq!(made.serials(), [bad.certificate.serial()]);
    assert!(!list(&twin, -1, 1).is_by(&root.certificate), "forged under the same name");
    assert!(!list(&root, -3, -1).is_current(NOW), "stale");
    assert!(!list(&root, 1, 3).is_current(NOW), "from the future");
    let mut no_lists = authority("root");
    no_lists.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::from_pem(&root.key.serialize_pem()).unwrap();
    let made_for = no_lists.self_signed(&key).unwrap();
    assert!(!made.is_by(&Certificate::from_der(made_for.der()).unwrap()), "its issuer may not sign lists");
    let mut broken = made.der().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert!(RevocationList::from_der(&broken).is_ok_and(|list| !list.is_by(&root.certificate)));
    assert!(RevocationList::from_either(b"garbage").is_err());
    assert!(RevocationList::from_der(root.certificate.der()).is_err());
    assert!(Certificate::from_der(made.der()).is_err());
}

#[test]
fn a_list_for_a_part_is_not_taken_for_whole() {
    let root = Party::authority("root");
    let at = time::OffsetDateTime::from_unix_timestamp(NOW.secs()).unwrap();
    let params = rcgen::CertificateRevocationListParams {
        this_update: at,
        next_update: at + Duration::from_secs(3600),
        crl_number: 1u64.into(),
        issuing_distribution_point: Some(rcgen::CrlIssuingDistributionPoint {
            distribution_point: rcgen::CrlDistributionPoint { uris: vec!["http://a/b".to_owned()] },
            scope: Some(rcgen::CrlScope::CaCertsOnly),
        }),
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let made = params.signed_by(&rcgen::Issuer::from_params(&root.params, &root.key)).unwrap();
    assert!(RevocationList::from_der(made.der()).is_err());
}

#[test]
fn keys_of_every_kind_that_is_known_sign() {
    use super::testing::rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, PKCS_RSA_SHA384, PKCS_RSA_SHA512};
    for algorithm in [&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384, &PKCS_RSA_SHA256, &PKCS_RSA_SHA384, &PKCS_RSA_SHA512] {
        let root = Party::with_key(authority("root"), KeyPair::generate_for(algorithm).unwrap());
        let twin = Party::with_key(authority("root"), KeyPair::generate_for(algorithm).unwrap());
        let leaf = root.issue(client("leaf"));
        assert_eq!(path(&leaf, &[], &[&root]), Ok(2), "{algorithm:?}");
        assert!(path(&leaf, &[], &[&twin]).is_err(), "{algorithm:?}");
        let list = RevocationList::from_der(&root.list(&[&leaf.certificate], NOW, -1, 1)).unwrap();
        assert!(list.is_by(&root.certificate) && !list.is_by(&twin.certificate), "{algorithm:?}");
    }
}

struct Asked {
    root: Party,
    leaf: Party,
}

impl Asked {
    fn new() -> Self {
        let root = Party::authority("root");
        let leaf = root.issue(client("leaf"));
        Self { root, leaf }
    }

    fn question(&self) -> Question<'_> {
        Question { certificate: &self.leaf.certificate, issuer: &self.root.certificate, also_trusted: &[], nonce: [7; 32] }
    }

    fn said(&self, status: Status) -> Answering<'_> {
        Answering::now(&self.leaf.certificate, &self.root.certificate, status, NOW)
    }

    fn heard(&self, reply: &[u8]) -> Result<Status, NoAnswer> {
        self.question().answer(reply, NOW, Duration::ZERO)
    }
}

#[test]
fn an_issuers_reply_counts() {
    let asked = Asked::new();
    for status in [Status::Good, Status::Revoked, Status::Unknown] {
        assert_eq!(asked.heard(&asked.root.answers(&asked.said(status))), Ok(status));
    }
    let request = asked.question().request().unwrap();
    assert_eq!(nonce_of(&request).as_deref(), Some(&[7; 32][..]));
    let reply = asked.root.answers(&Answering { nonce: Some(&[7; 32]), ..asked.said(Status::Good) });
    assert_eq!(asked.heard(&reply), Ok(Status::Good));
}

#[test]
fn another_ones_reply_does_not() {
    let asked = Asked::new();
    let twin = Party::authority("root");
    assert_eq!(asked.heard(&twin.answers(&asked.said(Status::Good))), Err(NoAnswer::Unsigned));
    let with = |by: &Party| by.answers(&Answering { certificates: &[&by.certificate], ..asked.said(Status::Good) });
    assert_eq!(asked.heard(&with(&twin)), Err(NoAnswer::Unsigned));
    assert_eq!(asked.heard(&with(&asked.root.issue(client("no responder")))), Err(NoAnswer::Unsigned), "without the usage");
    assert_eq!(asked.heard(&with(&asked.leaf)), Err(NoAnswer::Unsigned), "a leaf about itself");
    let mut responder = params("responder");
    responder.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
    assert_eq!(asked.heard(&with(&asked.root.issue(responder.clone()))), Ok(Status::Good), "who the issuer named");
    assert_eq!(asked.heard(&with(&twin.issue(responder.clone()))), Err(NoAnswer::Unsigned), "whom another named");
    responder.not_after = date_time_ymd(2025, 1, 1);
    assert_eq!(asked.heard(&with(&asked.root.issue(responder))), Err(NoAnswer::Unsigned), "no longer");
}

#[test]
fn the_configuration_may_trust_other_responders() {
    let asked = Asked::new();
    let other = Party::authority("responders");
    let reply = other.answers(&asked.said(Status::Good));
    assert_eq!(asked.heard(&reply), Err(NoAnswer::Unsigned));
    let also = [other.certificate.clone()];
    let question = Question { also_trusted: &also, ..asked.question() };
    assert_eq!(question.answer(&reply, NOW, Duration::ZERO), Ok(Status::Good));
}

#[test]
fn a_reply_about_something_else_does_not_count() {
    let asked = Asked::new();
    let other = asked.root.issue(client("other"));
    let about = |subject, issuer| asked.root.answers(&Answering { subject, issuer, ..asked.said(Status::Good) });
    assert_eq!(asked.heard(&about(&other.certificate, &asked.root.certificate)), Err(NoAnswer::Other));
    let twin = Party::authority("root");
    assert_eq!(asked.heard(&about(&asked.leaf.certificate, &twin.certificate)), Err(NoAnswer::Other), "same name, other key");
    let reply = asked.root.answers(&Answering { nonce: Some(&[8; 32]), ..asked.said(Status::Good) });
    assert_eq!(asked.heard(&reply), Err(NoAnswer::Other), "to another question");
}

#[test]
fn a_reply_has_its_time() {
    let asked = Asked::new();
    let hours = |hours: i64| Timestamp::from_secs(NOW.secs() + hours * 3600);
    let said = |this: i64, next: Option<i64>| {
        asked.root.answers(&Answering { this_update: hours(this), next_update: next.map(hours), ..asked.said(Status::Good) })
    };
    assert_eq!(asked.heard(&said(-3, Some(-1))), Err(NoAnswer::Stale));
    assert_eq!(asked.heard(&said(1, Some(2))), Err(NoAnswer::Stale));
    assert_eq!(asked.heard(&said(-2, None)), Ok(Status::Good));
    assert_eq!(asked.heard(&said(-25, None)), Err(NoAnswer::Stale));
    let aged = |max: u64| asked.question().answer(&said(-3, Some(1)), NOW, Duration::from_secs(max * 3600));
    assert_eq!((aged(4), aged(2)), (Ok(Status::Good), Err(NoAnswer::Stale)));
}

#[test]
fn a_reply_that_is_none() {
    let asked = Asked::new();
    assert_eq!(asked.heard(b"\x30\x03\x0a\x01\x03"), Err(NoAnswer::Refused(3)));
    for garbage in [&b""[..], b"garbage", b"\x30\x00", b"\x30\x03\x0a\x01\x00"] {
        assert!(matches!(asked.heard(garbage), Err(NoAnswer::Malformed(_))));
    }
    let good = asked.root.answers(&asked.said(Status::Good));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x01;
        assert_ne!(asked.heard(&bad), Ok(Status::Good), "byte {at}");
        assert!(asked.heard(&good[..at]).is_err());
    }
}

/// As `openssl req -x509` and `openssl x509 -req` wrote them, with `openssl ca -gencrl`'s list: P-256, in the forms of OpenSSL 3.
#[test]
fn what_openssl_writes_is_read() {
    let ca = Certificate::from_pem(include_str!("samples/ca.pem")).unwrap().pop().unwrap();
    let leaf = Certificate::from_pem(include_str!("samples/leaf.pem")).unwrap().pop().unwrap();
    let list = RevocationList::from_either(include_bytes!("samples/revoked.crl")).unwrap();
    assert!(ca.is_authority() && !leaf.is_authority());
    assert_eq!(leaf.common_name(), "cert.example.com");
    assert_eq!(leaf.organizational_units(), ["eng", "ops"]);
    assert_eq!(leaf.serial(), "600533613458555558289272251282861682376612426867");
    assert_eq!(leaf.names().email, ["a@example.com"]);
    assert!(list.is_by(&ca) && list.lists(&leaf) && !list.lists(&ca));
    let now = Timestamp::from_secs(ca.not_after().secs() - 15 * 24 * 3600);
    assert_eq!(client_path(&leaf, &[], &[ca], now).map(|path| path.len()), Ok(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Bytes changed, taken out or put in: never a panic, and never a certificate or list that the issuer's signature still covers.
    #[test]
    fn mutated_bytes_never_panic(edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..6)) {
        thread_local! {
            static SAMPLES: (Asked, Vec<u8>, Vec<u8>) = {
                let asked = Asked::new();
                let list = asked.root.list(&[&asked.leaf.certificate], NOW, -1, 1);
                let reply = asked.root.answers(&asked.said(Status::Good));
                (asked, list, reply)
            };
        }
        SAMPLES.with(|(asked, list, reply)| {
            let mutate = |bytes: &[u8]| {
                let mut bytes = bytes.to_vec();
                for (index, value, kind) in &edits {
                    let at = index.index(bytes.len());
                    match kind {
                        0 => bytes[at] = *value,
                        1 => drop(bytes.remove(at)),
                        _ => bytes.insert(at, *value),
                    }
                }
                bytes
            };
            let der = mutate(asked.leaf.certificate.der());
            if let Ok(read) = Certificate::from_der(&der)
                && der != asked.leaf.certificate.der()
            {
                drop((read.common_name(), read.serial(), read.organizational_units(), check_pinned(&read, NOW)));
                let anchors = [asked.root.certificate.clone()];
                prop_assert!(client_path(&read, &anchors, &anchors, NOW).is_err());
                prop_assert!(client_path(&asked.leaf.certificate, std::slice::from_ref(&read), std::slice::from_ref(&read), NOW).is_err());
            }
            let der = mutate(list);
            if let Ok(read) = RevocationList::from_der(&der) && der != *list {
                drop(read.serials());
                prop_assert!(!read.is_by(&asked.root.certificate));
            }
            let der = mutate(reply);
            prop_assert!(der == *reply || asked.heard(&der) != Ok(Status::Good));
            Ok(())
        })?;
    }
}
