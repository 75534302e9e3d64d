//! Lists, revocation, leases and tidying.

use super::*;

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
