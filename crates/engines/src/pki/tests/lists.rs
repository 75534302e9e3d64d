//! Revocation lists and OCSP, by the mount's routes. What is made is read by crypto's own readers.

use super::*;
use coffer_crypto::x509::{NoAnswer, Question, RevocationList, Status};
use coffer_engine::Fields;
use std::time::Duration;

fn body(answer: Answer) -> Vec<u8> {
    answer.raw.unwrap().body
}

impl World {
    fn root(&self) -> Certificate {
        Certificate::from_der(&body(self.get("ca").unwrap())).unwrap()
    }

    fn crl(&self, path: &str) -> RevocationList {
        RevocationList::from_either(&body(self.get(path).unwrap())).unwrap()
    }

    /// The number of the default issuer's list: its extension's value stands behind the OID 2.5.29.20.
    fn number(&self, path: &str) -> u8 {
        let der = body(self.get(path).unwrap());
        let oid = [6, 3, 0x55, 0x1d, 0x14];
        let at = der.windows(oid.len()).position(|window| window == oid).unwrap();
        der[at + oid.len() + 4]
    }

    fn leaf(&self) -> Certificate {
        self.role(r#"{"allow_any_name":true,"key_type":"ec","enforce_hostnames":false}"#);
        self.issue(r#"{"common_name":"a.example"}"#).unwrap()
    }

    fn revoke(&self, certificate: &Certificate) {
        self.post("revoke", &format!(r#"{{"certificate":{}}}"#, quoted(&pem("CERTIFICATE", certificate.der())))).unwrap();
    }

    fn ask(&self, certificate: &Certificate, issuer: &Certificate) -> Result<Status, NoAnswer> {
        let question = Question { certificate, issuer, also_trusted: &[], nonce: [5; 32] };
        let fields = Fields { raw: Some(question.request().unwrap()), ..Fields::default() };
        let reply = self.0.send(Operation::Update, "ocsp", fields).unwrap();
        question.answer(&body(reply), self.0.now(), Duration::ZERO)
    }
}

#[test]
fn a_list_names_what_was_taken_back_at_once() {
    let w = World::with_root();
    let (root, bad, good) = (w.root(), w.leaf(), w.leaf());
    assert!(w.crl("crl").is_by(&root) && w.crl("crl").serials().is_empty());
    let first = w.number("crl");
    w.revoke(&bad);
    for path in ["crl", "crl/pem", "issuer/root/crl/der", "issuer/root/crl/pem"] {
        let list = w.crl(path);
        assert!(list.is_by(&root) && list.lists(&bad) && !list.lists(&good), "{path}");
        assert!(list.is_current(w.0.now()));
    }
    assert_eq!(w.number("crl"), first + 1, "one revocation, one list, whoever reads it");
    w.get("crl/rotate").unwrap();
    assert_eq!(w.number("crl"), first + 2);
    assert!(at(&w.get("cert/crl").unwrap(), "certificate").starts_with("-----BEGIN X509 CRL-----\n"));
    assert!(at(&w.get("issuer/root/crl").unwrap(), "crl").starts_with("-----BEGIN X509 CRL-----\n"));
}

#[test]
fn the_beat_makes_what_is_due_and_renews_what_ends() {
    let w = World::with_root();
    let bad = w.leaf();
    w.get("crl").unwrap();
    w.revoke(&bad);
    w.0.beat().unwrap();
    let number = w.number("crl");
    w.0.beat().unwrap();
    assert_eq!(w.number("crl"), number, "nothing is due");
    w.post("config/crl", r#"{"auto_rebuild":true,"expiry":"10h","auto_rebuild_grace_period":"1h"}"#).unwrap();
    w.0.beat().unwrap();
    let number = w.number("crl");
    let late = w.leaf();
    w.revoke(&late);
    w.0.beat().unwrap();
    assert!(!w.crl("crl").lists(&late), "the clock makes lists now, not revocations");
    w.0.pass(Span::from_secs(9 * 3600 + 60));
    w.0.beat().unwrap();
    assert_eq!(w.number("crl"), number + 1);
    assert!(w.crl("crl").lists(&late));
}

#[test]
fn a_delta_says_what_came_since() {
    let w = World::with_root();
    w.post("config/crl", r#"{"auto_rebuild":true,"enable_delta":true}"#).unwrap();
    let bad = w.leaf();
    w.0.beat().unwrap();
    assert!(RevocationList::from_either(&body(w.get("crl/delta").unwrap())).is_err(), "no delta is taken for a whole list");
    let empty = body(w.get("crl/delta").unwrap()).len();
    w.revoke(&bad);
    w.0.pass(Span::from_secs(16 * 60));
    w.0.beat().unwrap();
    let delta = body(w.get("issuer/root/crl/delta/der").unwrap());
    assert!(delta.len() > empty && delta.windows(20).any(|window| bad.serial_bytes().ends_with(window)));
    assert!(w.number("crl/delta") > w.number("crl"), "one row of numbers");
    assert!(!w.crl("crl").lists(&bad));
}

#[test]
fn a_disabled_list_names_nobody() {
    let w = World::with_root();
    let bad = w.leaf();
    w.revoke(&bad);
    w.post("config/crl", r#"{"disable":true}"#).unwrap();
    assert!(w.crl("crl").serials().is_empty());
    w.post("config/crl", r#"{"disable":false}"#).unwrap();
    assert!(w.crl("crl").lists(&bad));
}

#[test]
fn settings_that_contradict_themselves_are_refused() {
    let w = World::with_root();
    for (body, why) in [
        (r#"{"expiry":"bogus"}"#, "given expiry could not be decoded: time: invalid duration \"bogus\""),
        (r#"{"ocsp_expiry":"-1h"}"#, "ocsp_expiry must be greater than or equal to 0 got: -1h0m0s"),
        (
            r#"{"auto_rebuild":true,"auto_rebuild_grace_period":"80h"}"#,
            "CRL auto-rebuilding grace period (80h) must be strictly shorter than CRL expiry (72h) value when auto-rebuilding of CRLs is enabled",
        ),
        (
            r#"{"enable_delta":true,"delta_rebuild_interval":"80h"}"#,
            "CRL delta rebuild window (80h) must be strictly shorter than CRL expiry (72h) value when delta CRLs are enabled",
        ),
    ] {
        assert_eq!(w.said("config/crl", body), why);
    }
    assert_ne!(w.said("config/crl", r#"{"enable_delta":true}"#), "ok", "deltas of lists that each revocation makes");
    assert_eq!(at(&w.get("config/crl").unwrap(), "expiry"), "72h", "what is refused leaves nothing");
    assert!(w.get("issuer/nope/crl").is_err());
    let none = World::new();
    assert!(body(none.get("crl").unwrap()).is_empty() && none.get("cert/crl").is_err());
}

#[test]
fn the_responder_says_what_is_known() {
    let w = World::with_root();
    let (root, bad, good) = (w.root(), w.leaf(), w.leaf());
    w.revoke(&bad);
    assert_eq!(w.ask(&good, &root), Ok(Status::Good));
    assert_eq!(w.ask(&bad, &root), Ok(Status::Revoked));
    // The same serial numbers under an issuer that is not of this mount.
    let other = World::with_root();
    assert_eq!(w.ask(&other.leaf(), &other.root()), Err(NoAnswer::Unsigned), "not for others to speak for");
    let garbage = w.0.send(Operation::Update, "ocsp", Fields { raw: Some(vec![1, 2, 3]), ..Fields::default() }).unwrap();
    assert_eq!((garbage.status, body(garbage)), (Some(400), vec![0x30, 3, 10, 1, 1]));
    let long = w.0.send(Operation::Update, "ocsp", Fields { raw: Some(vec![0x30; 4000]), ..Fields::default() }).unwrap();
    assert_eq!(long.status, Some(400));
    assert_eq!(w.get("ocsp/!!!").unwrap().status, Some(400));
    w.post("config/crl", r#"{"ocsp_disable":true}"#).unwrap();
    assert_eq!(w.ask(&good, &root), Err(NoAnswer::Refused(6)));
}
