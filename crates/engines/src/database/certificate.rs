//! Client certificates that roles hand out: each a key of its own, signed by the authority in the role's `credential_config`.

use super::credential::Credential;
use super::{Database, failed};
use crate::username::{HostRandom, Source, Template};
use coffer_crypto::pk::{KeyKind, PrivateKey};
use coffer_crypto::random::Random;
use coffer_crypto::x509::{Certificate, Draft, Extensions, KeyUses, Oid, SignatureAlgorithm, Subject, key_id, pem};
use coffer_engine::Ctx;
use coffer_types::{Error, Result, Secret, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// What the template of common names may speak of; `Username`, the account's name, is Coffer's own.
const FIELDS: &[&str] = &["DisplayName", "RoleName", "Username"];
/// So much before its making a certificate is good already: clocks differ.
const EARLY: Duration = Duration::from_secs(30);
/// The longest common name that X.520 allows.
const LONGEST_NAME: usize = 64;
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";

/// Whom a certificate is for.
pub(super) struct Holder<'a> {
    pub display: &'a str,
    pub role: &'a str,
    pub username: &'a str,
}

/// The settings, read.
struct Issuing {
    name: Template,
    kind: KeyKind,
    authority: Certificate,
    key: PrivateKey,
    algorithm: SignatureAlgorithm,
}

/// Whether certificates can be made by these settings, which hold what stands in for those left out.
///
/// # Errors
/// What is missing, or what does not fit.
pub(super) fn check(settings: &BTreeMap<String, String>) -> Result<(), String> {
    Issuing::read(settings).map(|_| ())
}

impl Issuing {
    fn read(settings: &BTreeMap<String, String>) -> Result<Self, String> {
        let given = |name: &str| settings.get(name).map(String::as_str).filter(|value| !value.is_empty());
        let needed = |name: &str| given(name).ok_or_else(|| format!("missing required {name}"));
        let name = needed("common_name_template")?;
        let kind = match (given("key_type"), given("key_bits")) {
            (Some("rsa"), Some("2048") | None) => KeyKind::Rsa(2048),
            (Some("rsa"), Some("3072")) => KeyKind::Rsa(3072),
            (Some("rsa"), Some("4096")) => KeyKind::Rsa(4096),
            (Some("ec"), Some("256") | None) => KeyKind::P256,
            (Some("ec"), Some("384")) => KeyKind::P384,
            (Some("ec"), Some("521")) => KeyKind::P521,
            (Some("ed25519"), _) => KeyKind::Ed25519,
            (Some("rsa" | "ec"), _) => return Err("invalid key_bits".to_owned()),
            _ => return Err("invalid key_type".to_owned()),
        };
        let authority = needed("ca_cert")?;
        let key = needed("ca_private_key")?;
        let name = Template::parse(name, FIELDS).map_err(|error| format!("failed to create template: {}", error.public()))?;
        let authority = Certificate::from_pem(authority).ok().and_then(|found| found.into_iter().next());
        let authority = authority.ok_or("ca_cert is no certificate in PEM")?;
        let key = PrivateKey::from_pem(key).map_err(|_| "ca_private_key is no private key in PEM")?;
        if !key.public().is_ok_and(|public| public.spki() == authority.spki()) {
            return Err("ca_private_key is not the key of ca_cert".to_owned());
        }
        if !authority.may_sign_certificates() {
            return Err("ca_cert may not sign certificates".to_owned());
        }
        let bits = given("signature_bits").unwrap_or("0").parse().ok();
        let algorithm = bits.and_then(|bits| SignatureAlgorithm::for_key(key.kind(), bits, false));
        let algorithm = algorithm.ok_or("invalid signature_bits")?;
        Ok(Self { name, kind, authority, key, algorithm })
    }
}

/// A new key and its certificate, good until `end` or until the authority's own end.
pub(super) async fn issue(
    cx: &Ctx<Database>,
    settings: &BTreeMap<String, String>,
    holder: &Holder<'_>,
    end: Timestamp,
) -> Result<Credential> {
    let issuing = Issuing::read(settings).map_err(|why| failed(format!("failed to generate client certificate: {why}")))?;
    if !issuing.authority.is_valid_at(cx.now()) {
        return Err(failed("failed to generate client certificate: ca_cert has ended, or has not begun"));
    }
    let fields = [("DisplayName", holder.display), ("RoleName", holder.role), ("Username", holder.username)];
    let random = HostRandom(cx);
    let common_name = issuing.name.render(&fields, &Source { now: cx.now(), random: &random })?;
    if common_name.is_empty() || common_name.chars().count() > LONGEST_NAME || common_name.chars().any(char::is_control) {
        return Err(Error::bad_request(format!(
            "the certificate's common name must have 1 to {LONGEST_NAME} characters, none of them a control character"
        )));
    }
    let mut serial = [0; 20];
    random.fill(&mut serial);
    // Above zero, and of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let not_before = cx.now().secs().saturating_sub(i64::try_from(EARLY.as_secs()).unwrap_or(0));
    let not_after = end.secs().min(issuing.authority.not_after_secs());
    let subject = Subject { common_name: common_name.clone(), ..Subject::default() }.to_der();
    let made = cx.compute(move || sign(&issuing, &serial, &subject, not_before, not_after)).await?;
    let (key, certificate) = made.map_err(|why| failed(format!("failed to generate client certificate: {why}")))?;
    let kind = match key.kind() {
        KeyKind::Rsa(_) => "rsa",
        KeyKind::Ed25519 => "ed25519",
        _ => "ec",
    };
    let private = key.to_traditional_pem().map_err(Error::internal)?;
    Ok(Credential::Certificate {
        certificate: pem("CERTIFICATE", &certificate).trim_end().to_owned(),
        private: Secret::new(private.trim_end().to_owned()),
        kind,
        subject: format!("CN={}", escaped(&common_name)),
    })
}

fn sign(
    issuing: &Issuing,
    serial: &[u8],
    subject: &[u8],
    not_before: i64,
    not_after: i64,
) -> Result<(PrivateKey, Vec<u8>), coffer_crypto::pk::PkError> {
    use coffer_crypto::pk::PkError;
    let key = PrivateKey::generate(issuing.kind)?;
    let public = key.public()?;
    let mut extensions = Extensions::default();
    extensions.key_usage(KeyUses::DIGITAL_SIGNATURE | KeyUses::KEY_ENCIPHERMENT | KeyUses::KEY_AGREEMENT);
    extensions.extended_key_usage(&Oid::parse(CLIENT_AUTH).into_iter().collect::<Vec<_>>());
    extensions.subject_key_id(&key_id(public.spki()).map_err(|_| PkError::Failed)?);
    match issuing.authority.subject_key_id_bytes() {
        Some(id) => extensions.authority_key_id(id),
        None => extensions.authority_key_id(&key_id(issuing.authority.spki()).map_err(|_| PkError::Failed)?),
    }
    let draft = Draft {
        serial,
        issuer: issuing.authority.subject(),
        subject,
        not_before,
        not_after,
        spki: public.spki(),
        extensions: &extensions,
    };
    let certificate = draft.sign(&issuing.key, issuing.algorithm)?;
    Ok((key, certificate))
}

/// A value of a distinguished name as text (RFC 4514 section 2.4).
fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::new();
    for (place, c) in value.chars().enumerate() {
        let edge = c == ' ' && (place == 0 || place == last) || c == '#' && place == 0;
        if edge || matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_text() {
        assert_eq!(escaped("app"), "app");
        assert_eq!(escaped(" a,b=\"c\" "), "\\ a\\,b\\=\\\"c\\\"\\ ");
        assert_eq!(escaped("#1"), "\\#1");
    }
}
