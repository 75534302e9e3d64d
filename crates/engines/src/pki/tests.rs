//! The engine by its routes.

use super::Pki;
use coffer_engine::testing::Bench;
use coffer_types::{Json, Operation};

fn bench() -> Bench {
    Bench::new::<Pki>("pki/", &[])
}

fn write(b: &Bench, path: &str, body: &str) -> Result<coffer_engine::Answer, coffer_engine::testing::Failed> {
    b.call(Operation::Update, path, body)
}

fn at(answer: &coffer_engine::Answer, name: &str) -> String {
    match answer.data.as_ref().and_then(|data| data.get(name)) {
        Some(Json::String(text)) => text.as_str().to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_root_is_its_own_issuer() {
    let b = bench();
    let made = write(&b, "root/generate/internal", r#"{"common_name":"Root","key_type":"ec","issuer_name":"root"}"#).unwrap();
    let certificate = coffer_crypto::x509::Certificate::from_pem(&at(&made, "certificate")).unwrap().remove(0);
    assert!(certificate.is_self_signed() && certificate.may_sign_certificates());
    assert_eq!(certificate.common_name(), "Root");
    let read = b.call(Operation::Read, "issuer/root", "").unwrap();
    assert_eq!(at(&read, "issuer_id"), at(&made, "issuer_id"));
}
