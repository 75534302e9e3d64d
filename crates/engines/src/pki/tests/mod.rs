//! The engine by its routes.

use super::Pki;
use coffer_crypto::pk::{KeyKind, PrivateKey};
use coffer_crypto::x509::{
    BasicConstraints, Certificate, Extensions, KeyUses, Names, Oid, SignatureAlgorithm, Subject, client_path, pem, request,
};
use coffer_engine::Answer;
use coffer_engine::testing::{Bench, Failed};
use coffer_types::{Json, Kind, Operation, Span};

mod authorities;
mod leaves;
mod life;
mod lists;

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
