//! Logins that must be refused, and a few that must not.

use super::Cert;
use crate::web::{Web, reply};
use coffer_crypto::x509::testing::rcgen::{CustomExtension, DnType, KeyPair, SanType, SerialNumber, date_time_ymd};
use coffer_crypto::x509::testing::{Answering, Party, authority, client, nonce_of, params};
use coffer_crypto::x509::{Certificate, Status};
use coffer_engine::testing::{Bench, Failed, text};
use coffer_engine::{ClientCertificate, Login, Outside};
use coffer_types::{Json, Kind, Object, Operation, Span};
use std::sync::{Arc, Mutex};

const UNTRUSTED: &str = "invalid certificate or no client certificate supplied";
const EXCLUDED: &str = "no chain matching all constraints could be found for this login certificate";

fn bench() -> Bench {
    Bench::new::<Cert>("auth/cert/", &[])
}

fn body(fields: &[(&str, &str)]) -> String {
    let object: Object = fields.iter().map(|(name, value)| ((*name).to_owned(), Json::string(*value))).collect();
    String::from_utf8_lossy(&Json::Object(object).to_bytes()).into_owned()
}

fn write(bench: &Bench, path: &str, fields: &[(&str, &str)]) -> Result<(), Failed> {
    bench.call(Operation::Update, path, &body(fields)).map(|_| ())
}

fn trust(bench: &Bench, role: &str, party: &Party, fields: &[(&str, &str)]) {
    let fields: Vec<_> = [("certificate", &*party.pem), ("token_policies", "dev")].iter().chain(fields).copied().collect();
    write(bench, &format!("certs/{role}"), &fields).unwrap();
}

fn show(bench: &mut Bench, leaf: &Party, others: &[&Party]) {
    let others = others.iter().map(|party| party.certificate.der().into()).collect();
    bench.remote.certificate = Some(Arc::new(ClientCertificate { leaf: leaf.certificate.der().into(), others }));
}

fn login(bench: &mut Bench, leaf: &Party, others: &[&Party]) -> Result<Box<Login>, Failed> {
    show(bench, leaf, others);
    bench.call(Operation::Update, "login", "").map(|answer| answer.login.unwrap())
}

fn refused(public: &str) -> Result<Box<Login>, Failed> {
    Err(Failed { kind: Kind::BadRequest, public: public.to_owned() })
}

fn same(got: &Result<Box<Login>, Failed>, want: &Result<Box<Login>, Failed>) -> bool {
    match (got, want) {
        (Err(got), Err(want)) => got == want,
        _ => false,
    }
}

macro_rules! assert_refused {
    ($got:expr, $text:expr $(, $note:expr)?) => {
        let got = $got;
        assert!(same(&got, &refused($text)), "{:?} {:?}", got.map(|login| login.policies), ($($note)?));
    };
}

#[test]
fn who_an_authority_vouches_for_logs_in() {
    let (mut bench, root) = (bench(), Party::authority("root"));
    trust(&bench, "web", &root, &[("token_ttl", "1h"), ("display_name", "shown")]);
    let middle = root.issue(authority("middle"));
    let leaf = middle.issue(client("leaf"));
    let made = login(&mut bench, &leaf, &[&middle]).unwrap();
    assert_eq!((&*made.alias, &*made.display_name, made.ttl), ("leaf", "shown", Span::from_secs(3600)));
    assert_eq!(made.policies, ["dev"]);
    assert_eq!(made.metadata["cert_name"], "web");
    assert_eq!(made.metadata["serial_number"], leaf.certificate.serial());
    assert!(made.alias_metadata.is_empty());
    assert_refused!(login(&mut bench, &leaf, &[]), UNTRUSTED, "the intermediate did not come along");
}

#[test]
fn nobody_else_does() {
    let (mut bench, root, twin) = (bench(), Party::authority("root"), Party::authority("root"));
    assert_refused!(login(&mut bench, &root.issue(client("leaf")), &[]), UNTRUSTED, "no role at all");
    trust(&bench, "web", &root, &[]);
    bench.remote.certificate = None;
    let none = bench.call(Operation::Update, "login", "").map(|_| Box::default());
    assert_refused!(none, "no client certificate found");
    for (leaf, others) in [
        (twin.issue(client("leaf")), vec![]),
        (twin.issue(client("leaf")), vec![&twin]),
        (Party::root(client("leaf")), vec![&root]),
        (twin.issue(authority("root")).issue(client("leaf")), vec![&twin, &root]),
    ] {
        assert!(login(&mut bench, &leaf, &others).is_err_and(|e| e.kind == Kind::BadRequest));
    }
    bench.remote.certificate = Some(Arc::new(ClientCertificate { leaf: b"garbage".as_slice().into(), others: Vec::new() }));
    assert_refused!(bench.call(Operation::Update, "login", "").map(|_| Box::default()), UNTRUSTED);
}

#[test]
fn a_certificate_out_of_its_time_or_use_is_told_so() {
    let (mut bench, root) = (bench(), Party::authority("root"));
    trust(&bench, "web", &root, &[]);
    let mut old = client("old");
    old.not_after = date_time_ymd(2026, 1, 1);
    let mut server = params("server");
    server.extended_key_usages = vec![coffer_crypto::x509::testing::rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let verify = "failed to verify client's certificate: ";
    let time = format!("{verify}it, or an authority above it, has expired or is not yet valid");
    assert_refused!(login(&mut bench, &root.issue(old), &[]), &time);
    assert_refused!(login(&mut bench, &root.issue(server), &[]), &format!("{verify}it is not for client authentication"));
    let leaf = root.issue(client("leaf"));
    assert!(login(&mut bench, &leaf, &[]).is_ok());
    bench.pass(Span::from_secs(20 * 365 * 24 * 3600));
    assert_refused!(login(&mut bench, &leaf, &[]), &time, "by the clock of the call");
}

#[test]
fn a_leaf_that_is_trusted_is_trusted_byte_for_byte() {
    let (mut bench, root) = (bench(), Party::authority("root"));
    let mut made = client("leaf");
    made.serial_number = Some(SerialNumber::from(77u64));
    let leaf = root.issue(made.clone());
    trust(&bench, "one", &leaf, &[]);
    assert_eq!(login(&mut bench, &leaf, &[]).unwrap().metadata["cert_name"], "one");
    assert_refused!(login(&mut bench, &root.issue(made.clone()), &[]), UNTRUSTED, "same serial and names, other key");
    let key = KeyPair::from_pem(&leaf.key.serialize_pem()).unwrap();
    made.serial_number = Some(SerialNumber::from(78u64));
    assert_refused!(login(&mut bench, &root.certify(made, key), &[]), UNTRUSTED, "same key, other serial");
    assert_refused!(login(&mut bench, &root.issue(client("other")), &[&leaf]), UNTRUSTED, "sent along only");
    let by_leaf = leaf.issue(client("below"));
    assert!(login(&mut bench, &by_leaf, &[&leaf]).is_err(), "it is no authority");
    let mut ended = client("ended");
    ended.not_after = date_time_ymd(2026, 1, 1);
    let ended = root.issue(ended);
    trust(&bench, "ended", &ended, &[]);
    assert!(login(&mut bench, &ended, &[]).is_err_and(|e| e.public.contains("expired")));
}

#[test]
fn a_role_takes_whom_its_patterns_match() {
    let (mut bench, root) = (bench(), Party::authority("root"));
    let mut made = client("web.example.com");
    made.distinguished_name.push(DnType::OrganizationalUnitName, "eng");
    made.subject_alt_names = vec![
        SanType::DnsName("www.example.com".try_into().unwrap()),
        SanType::Rfc822Name("ops@example.com".try_into().unwrap()),
        SanType::URI("spiffe://example/web".try_into().unwrap()),
    ];
    made.custom_extensions.push(CustomExtension::from_oid_content(&[2, 1, 1, 1], vec![0x0c, 2, b'h', b'i']));
    let leaf = root.issue(made);
    let patterns = |field: &'static str, good: [&'static str; 2], bad: [&'static str; 2]| (field, good, bad);
    for (field, good, bad) in [
        patterns("allowed_names", ["web.*", "x,ops@example.com"], ["*.org", "spiffe://*"]),
        patterns("allowed_common_names", ["web.example.com", "*"], ["www.*", "WEB.*"]),
        patterns("allowed_dns_sans", ["www.*", "*.example.com"], ["web.*", "example.com"]),
        patterns("allowed_email_sans", ["ops@*", "*@example.com"], ["*@example.org", "ops"]),
        patterns("allowed_uri_sans", ["spiffe://*", "*/web"], ["spiffe://example", "https://*"]),
        patterns("allowed_organizational_units", ["eng", "ops,eng"], ["ops", "en"]),
        patterns("required_extensions", ["2.1.1.1:h*", "2.1.1.1:hi,hex:2.1.1.1:0C02*"], ["2.1.1.1:x", "2.1.1.1:hi,2.1.1.2:*"]),
    ] {
        for pattern in good {
            trust(&bench, "web", &root, &[(field, pattern)]);
            assert!(login(&mut bench, &leaf, &[]).is_ok(), "{field} {pattern}");
        }
        for pattern in bad {
            trust(&bench, "web", &root, &[(field, pattern)]);
            assert_refused!(login(&mut bench, &leaf, &[]), EXCLUDED, (field, pattern));
        }
        trust(&bench, "web", &root, &[(field, "")]);
    }
    trust(&bench, "web", &root, &[("allowed_metadata_extensions", "2.1.1.1,1.2.3")]);
    let metadata = login(&mut bench, &leaf, &[]).unwrap().metadata;
    assert_eq!((metadata["2-1-1-1"].as_str(), metadata.get("1-2-3")), ("hi", None));
}

#[test]
fn the_first_role_that_takes_it_counts_or_the_one_that_is_named() {
    let (mut bench, root) = (bench(), Party::authority("root"));
    trust(&bench, "a", &root, &[("allowed_common_names", "other")]);
    trust(&bench, "B", &root, &[]);
    trust(&bench, "c", &root, &[]);
    let leaf = root.issue(client("leaf"));
    assert_eq!(login(&mut bench, &leaf, &[]).unwrap().metadata["cert_name"], "b");
    let named = |name: &str| bench.call(Operation::Update, "login", &body(&[("name", name)])).map(|a| a.login.unwrap());
    assert_eq!(named("C").unwrap().metadata["cert_name"], "c");
    assert_refused!(named("a"), EXCLUDED);
    assert_refused!(named("none"), UNTRUSTED);
}

#[test]
fn a_role_may_be_bound_to_networks() {
    let (mut bench, root) = (bench(), Party::authority("root"));
    trust(&bench, "web", &root, &[("token_bound_cidrs", "10.0.0.0/8")]);
    let leaf = root.issue(client("leaf"));
    bench.remote.ip = Some([11, 0, 0, 1].into());
    assert!(login(&mut bench, &leaf, &[]).is_err_and(|e| e.kind == Kind::Denied));
    bench.remote.ip = Some([10, 0, 0, 1].into());
    assert!(login(&mut bench, &leaf, &[]).is_ok());
}

#[test]
fn a_token_is_bound_to_its_certificate() {
    let (mut bench, root) = (bench(), Party::authority("root"));
    trust(&bench, "web", &root, &[("token_ttl", "1h")]);
    let (one, two) = (root.issue(client("same")), root.issue(client("same")));
    let made = login(&mut bench, &one, &[]).unwrap();
    trust(&bench, "web", &root, &[("token_ttl", "2h")]);
    assert_eq!(bench.renew_login(&made).unwrap().ttl, Span::from_secs(7200), "by the role as it is now");
    show(&mut bench, &two, &[]);
    assert_eq!(bench.renew_login(&made).unwrap_err().public, UNTRUSTED, "another that would log in too");
    bench.remote.certificate = None;
    assert_eq!(bench.renew_login(&made).unwrap_err().public, "no client certificate found");
    show(&mut bench, &one, &[]);
    trust(&bench, "web", &root, &[("allowed_common_names", "other")]);
    assert_eq!(bench.renew_login(&made).unwrap_err().public, EXCLUDED, "the role takes it no more");
    trust(&bench, "web", &root, &[("allowed_common_names", ""), ("token_policies", "more")]);
    assert_eq!(bench.renew_login(&made).unwrap_err().public, "policies have changed, not renewing");
    trust(&bench, "web", &root, &[]);
    let list = root.list(&[&one.certificate], bench.now(), -1, 1);
    write(&bench, "crls/one", &[("crl", &pem(&list))]).unwrap();
    assert_eq!(bench.renew_login(&made).unwrap_err().public, EXCLUDED, "revoked since");
    bench.call(Operation::Delete, "crls/one", "").unwrap();
    assert!(bench.renew_login(&made).is_ok());
    bench.remote.certificate = None;
    write(&bench, "config", &[("disable_binding", "true")]).unwrap();
    assert!(bench.renew_login(&made).is_ok(), "where the configuration says so");
    bench.call(Operation::Delete, "certs/web", "").unwrap();
    assert_eq!(bench.renew_login(&made).unwrap_err().kind, Kind::NotFound);
}

fn pem(list: &[u8]) -> String {
    use base64::Engine as _;
    format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", base64::engine::general_purpose::STANDARD.encode(list))
}

#[test]
fn what_a_list_revokes_is_refused() {
    let (mut bench, root) = (bench(), Party::authority("root"));
    trust(&bench, "web", &root, &[]);
    let middle = root.issue(authority("middle"));
    let (bad, good) = (root.issue(client("bad")), root.issue(client("good")));
    let below = middle.issue(client("below"));
    write(&bench, "crls/one", &[("crl", &pem(&root.list(&[&bad.certificate], bench.now(), -1, 1)))]).unwrap();
    assert_refused!(login(&mut bench, &bad, &[]), EXCLUDED);
    assert!(login(&mut bench, &good, &[]).is_ok());
    assert!(login(&mut bench, &below, &[&middle]).is_ok());
    let shown = bench.call(Operation::Read, "crls/ONE", "").unwrap();
    assert!(text(&shown).contains(&bad.certificate.serial()));
    write(&bench, "crls/two", &[("crl", &pem(&root.list(&[&middle.certificate], bench.now(), -1, 1)))]).unwrap();
    assert_refused!(login(&mut bench, &below, &[&middle]), EXCLUDED, "the authority between");
    trust(&bench, "pinned", &bad, &[]);
    let named = bench_login_named(&mut bench, &bad, "pinned");
    assert_refused!(named, EXCLUDED, "trusted by itself, and revoked all the same");
}

fn bench_login_named(bench: &mut Bench, leaf: &Party, name: &str) -> Result<Box<Login>, Failed> {
    show(bench, leaf, &[]);
    bench.call(Operation::Update, "login", &body(&[("name", name)])).map(|a| a.login.unwrap())
}

#[test]
fn a_list_that_can_not_be_relied_on_refuses() {
    let (mut bench, root, twin) = (bench(), Party::authority("root"), Party::authority("root"));
    let good = root.issue(client("good"));
    // Before any role has its issuer nobody can tell that it is forged.
    write(&bench, "crls/forged", &[("crl", &pem(&twin.list(&[], bench.now(), -1, 1)))]).unwrap();
    trust(&bench, "web", &root, &[]);
    let failed = login(&mut bench, &good, &[]).unwrap_err();
    assert_eq!(failed.kind, Kind::Upstream, "{failed:?}");
    let again = write(&bench, "crls/forged", &[("crl", &pem(&twin.list(&[], bench.now(), -1, 1)))]).unwrap_err();
    assert_eq!(again.public, "the CRL is not signed by the authority that it names");
    bench.call(Operation::Delete, "crls/forged", "").unwrap();
    assert!(login(&mut bench, &good, &[]).is_ok());
    write(&bench, "crls/real", &[("crl", &pem(&root.list(&[], bench.now(), -1, 1)))]).unwrap();
    assert!(login(&mut bench, &good, &[]).is_ok());
    bench.pass(Span::from_secs(2 * 3600));
    let failed = login(&mut bench, &good, &[]).unwrap_err();
    assert_eq!((failed.kind, failed.public.contains("out of date")), (Kind::Upstream, true));
    let other = Party::authority("other");
    trust(&bench, "other", &other, &[]);
    assert!(login(&mut bench, &other.issue(client("good")), &[]).is_ok(), "a list of another issuer is none of its business");
    for garbage in ["garbage", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", &root.pem] {
        assert!(write(&bench, "crls/x", &[("crl", garbage)]).unwrap_err().public.starts_with("failed to parse CRL"));
    }
    for fields in [&[][..], &[("crl", "")], &[("crl", "a"), ("url", "http://b")], &[("url", "file:///etc/passwd")]] {
        assert!(write(&bench, "crls/x", fields).is_err_and(|e| e.kind == Kind::BadRequest));
    }
    assert!(bench.call(Operation::Read, "crls/none", "").is_err_and(|e| e.public == "no such CRL none"));
}

#[test]
fn a_list_is_fetched_again_when_its_time_is_over() {
    let root = Arc::new(Party::authority("root"));
    let served: Arc<Mutex<Option<Vec<u8>>>> = Arc::default();
    let serving = served.clone();
    let web = Web::new(move |_| serving.lock().unwrap().as_ref().map(|list| reply(200, list)));
    let outside: Arc<dyn Outside> = web.clone();
    let mut bench = Bench::reaching::<Cert>("auth/cert/", outside);
    trust(&bench, "web", &root, &[]);
    let leaf = root.issue(client("leaf"));
    let set = |list: Option<Vec<u8>>| *served.lock().unwrap() = list;
    let url = [("url", "http://lists/one")];
    assert!(write(&bench, "crls/one", &url).is_err_and(|e| e.kind == Kind::Upstream), "nobody is there");
    set(Some(b"garbage".to_vec()));
    assert!(write(&bench, "crls/one", &url).is_err());
    set(Some(root.list(&[], bench.now(), -1, 1)));
    write(&bench, "crls/one", &url).unwrap();
    assert!(text(&bench.call(Operation::Read, "crls/one", "").unwrap()).contains("http://lists/one"));
    web.asked();
    assert!(login(&mut bench, &leaf, &[]).is_ok());
    assert!(web.asked().is_empty(), "it is not out of date");
    bench.pass(Span::from_secs(2 * 3600));
    set(None);
    assert!(login(&mut bench, &leaf, &[]).is_err_and(|e| e.kind == Kind::Upstream), "neither new nor old");
    set(Some(Party::authority("root").list(&[], bench.now(), -1, 1)));
    assert!(login(&mut bench, &leaf, &[]).is_err(), "forged");
    set(Some(root.list(&[], bench.now(), -1, 1)));
    assert!(login(&mut bench, &leaf, &[]).is_ok());
    web.asked();
    assert!(login(&mut bench, &leaf, &[]).is_ok());
    assert!(web.asked().is_empty(), "what was fetched is kept");
    bench.pass(Span::from_secs(2 * 3600));
    set(Some(root.list(&[&leaf.certificate], bench.now(), -1, 1)));
    assert_refused!(login(&mut bench, &leaf, &[]), EXCLUDED);
}

/// A responder for one leaf: what it says is up to the test.
struct Responder {
    bench: Bench,
    web: Arc<Web>,
    root: Arc<Party>,
    leaf: Arc<Party>,
}

impl Responder {
    fn new(says: impl Fn(&Party, &Certificate, &[u8], &str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let root = Arc::new(Party::authority("root"));
        let leaf = Arc::new(root.issue(client("leaf")));
        let (issuer, subject) = (root.clone(), leaf.clone());
        let web = Web::new(move |request| {
            let nonce = nonce_of(&request.body).unwrap_or_default();
            says(&issuer, &subject.certificate, &nonce, &request.url).map(|body| reply(200, body))
        });
        let outside: Arc<dyn Outside> = web.clone();
        let bench = Bench::reaching::<Cert>("auth/cert/", outside);
        Self { bench, web, root, leaf }
    }

    fn saying(status: Status) -> Self {
        Self::new(move |root, leaf, nonce, _| Some(root.answers(&said(root, leaf, status, nonce))))
    }

    fn login(&mut self, fields: &[(&str, &str)]) -> Result<Box<Login>, Failed> {
        let asks: Vec<_> = [("ocsp_enabled", "true"), ("ocsp_servers_override", "http://a"), ("ocsp_max_retries", "0")]
            .into_iter()
            .chain(fields.iter().copied())
            .collect();
        trust(&self.bench, "web", &self.root, &asks);
        let leaf = self.leaf.clone();
        login(&mut self.bench, &leaf, &[])
    }
}

/// 2026-11-23T03:23:22Z: where a bench's clock stands.
fn said<'a>(root: &'a Party, leaf: &'a Certificate, status: Status, nonce: &'a [u8]) -> Answering<'a> {
    let now = coffer_types::Timestamp::from_secs(1_795_404_202);
    Answering { nonce: Some(nonce), ..Answering::now(leaf, &root.certificate, status, now) }
}

#[test]
fn ocsp_decides() {
    assert!(Responder::saying(Status::Good).login(&[]).is_ok());
    assert_refused!(Responder::saying(Status::Revoked).login(&[]), EXCLUDED);
    assert_refused!(Responder::saying(Status::Unknown).login(&[]), EXCLUDED);
    for answer in [None, Some(b"garbage".to_vec()), Some(b"\x30\x03\x0a\x01\x06".to_vec())] {
        assert_refused!(Responder::new(move |_, _, _, _| answer.clone()).login(&[]), EXCLUDED);
    }
    let mut replayed = Responder::new(|root, leaf, _, _| Some(root.answers(&said(root, leaf, Status::Good, &[1; 32]))));
    assert_refused!(replayed.login(&[]), EXCLUDED, "an answer to another question");
    let mut stranger = Responder::new(|_, leaf, nonce, _| {
        let other = Party::authority("root");
        Some(other.answers(&said(&other, leaf, Status::Good, nonce)))
    });
    assert_refused!(stranger.login(&[]), EXCLUDED);
    let mut nowhere = Responder::saying(Status::Good);
    assert_refused!(nowhere.login(&[("ocsp_servers_override", "")]), EXCLUDED, "the certificate names no server");
    assert!(nowhere.web.asked().is_empty());
}

#[test]
fn ocsp_fails_open_only_where_told() {
    let open = [("ocsp_fail_open", "true")];
    assert!(Responder::new(|_, _, _, _| None).login(&open).is_ok());
    assert!(Responder::saying(Status::Unknown).login(&open).is_ok());
    assert_refused!(Responder::saying(Status::Revoked).login(&open), EXCLUDED, "that is an answer");
}

#[test]
fn a_silent_responder_is_asked_again_and_the_next_one_too() {
    let servers = ("ocsp_servers_override", "http://a,http://b");
    let of_b = |root: &Party, leaf: &Certificate, nonce: &[u8], url: &str| {
        url.contains("//b").then(|| root.answers(&said(root, leaf, Status::Good, nonce)))
    };
    let mut one = Responder::new(of_b);
    assert!(one.login(&[servers, ("ocsp_max_retries", "2")]).is_ok());
    assert_eq!(one.web.asked(), ["POST http://a", "POST http://a", "POST http://a", "POST http://b"]);
    assert_refused!(one.login(&[servers, ("ocsp_query_all_servers", "true")]), EXCLUDED, "all must say so");
    let mut all = Responder::saying(Status::Good);
    assert!(all.login(&[servers, ("ocsp_query_all_servers", "true")]).is_ok());
    assert_eq!(all.web.asked().len(), 2);
    let mut differ = Responder::new(|root, leaf, nonce, url| {
        let status = if url.contains("//b") { Status::Revoked } else { Status::Good };
        Some(root.answers(&said(root, leaf, status, nonce)))
    });
    assert_refused!(differ.login(&[servers, ("ocsp_query_all_servers", "true")]), EXCLUDED);
}

#[test]
fn roles_that_can_not_be_are_refused() {
    let (bench, root) = (bench(), Party::authority("root"));
    let leaf = root.issue(client("leaf"));
    let server = root.issue(params("no use"));
    let mixed = format!("{}{}", root.pem, leaf.pem);
    for fields in [
        &[][..],
        &[("certificate", "")],
        &[("certificate", "garbage")],
        &[("certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")],
        &[("certificate", &server.pem)],
        &[("certificate", &mixed)],
        &[("certificate", &root.pem), ("required_extensions", "1.2.3")],
        &[("certificate", &root.pem), ("allowed_metadata_extensions", "x")],
        &[("certificate", &root.pem), ("ocsp_ca_certificates", "garbage")],
        &[("certificate", &root.pem), ("ocsp_servers_override", "ftp://a")],
        &[("certificate", &root.pem), ("ocsp_max_retries", "1000")],
        &[("certificate", &root.pem), ("ocsp_this_update_max_age", "-1s")],
        &[("certificate", &root.pem), ("token_policies", "root")],
    ] {
        let failed = write(&bench, "certs/x", fields).unwrap_err();
        assert!(failed.kind == Kind::BadRequest && !failed.public.contains("AAAA"), "{failed:?}");
        assert!(bench.keys().is_empty());
    }
    assert!(write(&bench, "config", &[("ocsp_cache_size", "1")]).is_err());
    assert!(bench.call(Operation::Read, "certs/none", "").is_err_and(|e| e.kind == Kind::NotFound));
}

#[test]
fn a_role_reads_as_it_was_written_and_keeps_what_is_left_out() {
    let (bench, root) = (bench(), Party::authority("root"));
    trust(&bench, "Web", &root, &[("allowed_names", "a,b"), ("policies", "old"), ("lease", "60"), ("bound_cidrs", "10.0.0.0/8")]);
    let read = || text(&bench.call(Operation::Read, "certs/web", "").unwrap());
    let shown = read();
    for part in [
        r#""allowed_names":["a","b"]"#,
        r#""allowed_dns_sans":null"#,
        r#""display_name":"web""#,
        r#""token_policies":["dev"]"#,
        r#""ttl":60"#,
        r#""token_ttl":60"#,
        r#""bound_cidrs":["10.0.0.0/8"]"#,
        r#""ocsp_max_retries":4"#,
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!shown.contains(r#""policies""#), "the new name won");
    write(&bench, "certs/web", &[("display_name", "d")]).unwrap();
    assert_eq!(read(), shown.replace(r#""display_name":"web""#, r#""display_name":"d""#));
    assert_eq!(text(&bench.call(Operation::List, "certs", "").unwrap()), r#"{"keys":["web"]}"#);
}
