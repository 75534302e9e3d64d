//! Credentials: what kinds there are and how each is made.

use super::{Database, certificate, failed};
use crate::username::HostRandom;
use coffer_crypto::pk::{KeyKind, PrivateKey};
use coffer_crypto::random::below;
use coffer_engine::Ctx;
use coffer_engine::outside::Protocol;
use coffer_types::{Error, Json, Object, Result, Secret};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Characters of a password that no policy makes: at least one of each kind.
const KINDS: [&str; 4] = ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", "-"];
/// Their number.
const LENGTH: usize = 20;

/// What a role hands out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    #[default]
    Password,
    RsaPrivateKey,
    ClientCertificate,
}

impl Kind {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text {
            "password" => Ok(Self::Password),
            "rsa_private_key" => Ok(Self::RsaPrivateKey),
            "client_certificate" => Ok(Self::ClientCertificate),
            _ => Err(Error::bad_request(format!("invalid credential_type {text:?}"))),
        }
    }

    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::RsaPrivateKey => "rsa_private_key",
            Self::ClientCertificate => "client_certificate",
        }
    }

    /// The settings with what stands in for those left out.
    pub(super) fn settings(&self, mut given: BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        let wrong = |why: String| Error::bad_request(format!("credential_config validation failed: {why}"));
        let among = |given: &mut BTreeMap<String, String>, name: &str, usual: Option<&str>, good: &[&str]| -> Result<()> {
            let value = given.get(name).filter(|v| !v.is_empty()).cloned().or(usual.map(str::to_owned));
            match value {
                Some(value) if good.contains(&value.as_str()) => {
                    given.insert(name.to_owned(), value);
                    Ok(())
                }
                Some(value) => Err(wrong(format!("invalid {name}: {value}"))),
                None => Err(wrong(format!("invalid {name}"))),
            }
        };
        let known: &[&str] = match self {
            Self::Password => &["password_policy"],
            Self::RsaPrivateKey => {
                among(&mut given, "key_bits", Some("2048"), &["2048", "3072", "4096"])?;
                among(&mut given, "format", Some("pkcs8"), &["pkcs8"])?;
                &["key_bits", "format"]
            }
            Self::ClientCertificate => {
                let bits: &[&str] = match given.get("key_type").map(String::as_str) {
                    Some("rsa") => &["2048", "3072", "4096"],
                    Some("ec") => &["256", "384", "521"],
                    // Whatever is given means nothing.
                    _ => {
                        given.insert("key_bits".to_owned(), "0".to_owned());
                        &["0"]
                    }
                };
                if given.get("key_bits").is_some_and(|bits| bits == "0") {
                    given.remove("key_bits");
                }
                let usual = bits.first().copied();
                let fits = given.get("key_bits").is_none_or(|given| given.is_empty() || bits.contains(&given.as_str()));
                if !fits {
                    return Err(wrong("invalid key_bits".to_owned()));
                }
                among(&mut given, "key_bits", usual, bits)?;
                if given.get("signature_bits").is_some_and(|bits| bits == "0") {
                    given.remove("signature_bits");
                }
                among(&mut given, "signature_bits", Some("256"), &["256", "384", "512"])?;
                certificate::check(&given).map_err(wrong)?;
                &["common_name_template", "ca_cert", "ca_private_key", "key_type", "key_bits", "signature_bits"]
            }
        };
        given.retain(|name, _| known.contains(&name.as_str()));
        Ok(given)
    }

    /// Whether the database can be told of such a credential: a key only by a statement that says `{{public_key}}`, and passwords alone
    /// where there are no statements.
    pub(super) fn must_suit(&self, protocol: Protocol, statements: &[String]) -> Result<()> {
        let says = |text: &str| text.contains("{{public_key}}");
        let said = |s: &String| says(s) || super::statement::list(s).is_some_and(|list| list.iter().any(|s| says(s)));
        match (self, protocol) {
            (Self::Password, _) => Ok(()),
            (other, Protocol::Redis | Protocol::MongoDb) => {
                Err(Error::bad_request(format!("unsupported credential_type: {:?}", other.as_str())))
            }
            (Self::RsaPrivateKey, _) if !statements.iter().any(said) => Err(Error::bad_request(format!(
                "unsupported credential_type: {:?}: no statement says {{{{public_key}}}}",
                self.as_str()
            ))),
            _ => Ok(()),
        }
    }
}

/// What a login is proven with.
pub(super) enum Credential {
    Password(Secret<String>),
    /// PEM, PKCS#8 and SubjectPublicKeyInfo.
    Key {
        private: Secret<String>,
        public: String,
    },
    /// PEM; the subject as text (RFC 4514).
    Certificate {
        certificate: String,
        private: Secret<String>,
        kind: &'static str,
        subject: String,
    },
}

impl Credential {
    /// What no error may repeat.
    pub(super) const fn secret(&self) -> &Secret<String> {
        match self {
            Self::Password(secret) | Self::Key { private: secret, .. } | Self::Certificate { private: secret, .. } => secret,
        }
    }

    pub(super) fn password(&self) -> Option<&Secret<String>> {
        if let Self::Password(password) = self { Some(password) } else { None }
    }

    /// What a statement may say of it.
    pub(super) fn value(&self) -> (&'static str, &str) {
        match self {
            Self::Password(password) => ("password", password.expose()),
            Self::Key { public, .. } => ("public_key", public),
            Self::Certificate { subject, .. } => ("subject", subject),
        }
    }

    /// Adds what the caller gets.
    pub(super) fn show(&self, shown: &mut Object) {
        match self {
            Self::Password(password) => {
                shown.insert("password", password.expose().as_str());
            }
            Self::Key { private, .. } => {
                shown.insert("rsa_private_key", private.expose().as_str());
            }
            Self::Certificate { certificate, private, kind, .. } => {
                shown.insert("client_certificate", certificate.as_str());
                shown.insert("private_key", private.expose().as_str());
                shown.insert("private_key_type", *kind);
            }
        }
    }
}

/// A new RSA key.
pub(super) async fn key(cx: &Ctx<Database>, settings: &BTreeMap<String, String>) -> Result<Credential> {
    let bits = settings.get("key_bits").and_then(|bits| bits.parse().ok()).unwrap_or(2048);
    let made = cx.compute(move || {
        let key = PrivateKey::generate(KeyKind::Rsa(bits))?;
        Ok::<_, coffer_crypto::pk::PkError>((key.to_pkcs8_pem()?, key.public()?.to_pem()))
    });
    let (private, public) = made.await?.map_err(Error::internal)?;
    Ok(Credential::Key { private: Secret::new(private.to_string()), public })
}

/// Settings as they may be read: numbers as numbers, no private key.
pub(super) fn show(settings: &BTreeMap<String, String>) -> Option<Object> {
    let shown: Object = settings
        .iter()
        .filter(|(name, _)| *name != "ca_private_key")
        .map(|(name, value)| match value.parse::<i64>() {
            Ok(number) if name.ends_with("_bits") => (name.clone(), Json::from(number)),
            _ => (name.clone(), Json::from(value.as_str())),
        })
        .collect();
    (!shown.is_empty()).then_some(shown)
}

/// A password: by the role's policy, the connection's, or none.
pub(super) async fn password(cx: &Ctx<Database>, settings: &BTreeMap<String, String>, policy: &str) -> Result<Secret<String>> {
    let policy = settings.get("password_policy").map_or(policy, String::as_str);
    if policy.is_empty() {
        return Ok(usual(cx));
    }
    match cx.host().password(policy).await {
        Ok(password) if password.expose().contains('\0') => Err(failed("failed to generate password: it holds a zero byte")),
        Ok(password) => Ok(password),
        Err(error) => Err(failed(format!("failed to generate password: {}", error.public()))),
    }
}

fn usual(cx: &Ctx<Database>) -> Secret<String> {
    let random = HostRandom(cx);
    let all: String = KINDS.concat();
    let all = all.as_bytes();
    let count = u32::try_from(all.len()).unwrap_or(1);
    loop {
        let password = Secret::init_with(|text: &mut String| {
            text.reserve(LENGTH);
            (0..LENGTH).for_each(|_| text.push(char::from(all[below(&random, count) as usize])));
        });
        if KINDS.iter().all(|kind| password.expose().contains(|c| kind.contains(c))) {
            return password;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(kind: &Kind, given: &[(&str, &str)]) -> Result<BTreeMap<String, String>> {
        kind.settings(given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn settings_of_each_kind() {
        let rsa = settings(&Kind::RsaPrivateKey, &[("bogus", "1")]).unwrap();
        assert_eq!(rsa.into_iter().collect::<Vec<_>>(), [("format".into(), "pkcs8".into()), ("key_bits".into(), "2048".into())]);
        assert!(settings(&Kind::RsaPrivateKey, &[("key_bits", "1024")]).is_err());
        assert!(settings(&Kind::Password, &[]).unwrap().is_empty());
        assert!(Kind::parse("nope").is_err());
        for kind in [Kind::Password, Kind::RsaPrivateKey, Kind::ClientCertificate] {
            assert_eq!(Kind::parse(kind.as_str()).unwrap(), kind);
        }
    }

    #[test]
    fn a_private_key_is_never_shown() {
        let shown =
            show(&BTreeMap::from([("ca_private_key".into(), "canary".into()), ("key_bits".into(), "2048".into())])).unwrap();
        assert_eq!(String::from_utf8_lossy(&Json::Object(shown).to_bytes()), r#"{"key_bits":2048}"#);
    }
}
