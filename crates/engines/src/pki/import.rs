//! Taking in authorities' certificates and keys from PEM.

use super::issuer::Issuer;
use super::keys::{self, Key};
use super::{Cx, Pki, chain, issuer, new_id, serial, stored::Stored, urls};
use crate::keyring::Origin;
use coffer_crypto::pk::PrivateKey;
use coffer_crypto::x509::{Certificate, pem, pem_blocks};
use coffer_engine::{Declare, Reply, Request};
use coffer_types::json::Text;
use coffer_types::{Error, Json, Object, Result};

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("issuers/import/bundle").about("Takes in issuers' certificates and keys.").write(bundle);
    d.at("issuers/import/cert").about("Takes in issuers' certificates.").write(certificates_only);
    d.at("config/ca").about("Takes in issuers' certificates and keys.").write(bundle);
    d.at("intermediate/set-signed")
        .about("Takes in the certificate that an authority above gave.")
        .plain(&["certificate"])
        .write(signed);
}

/// Take in issuers' certificates and keys.
#[derive(Request)]
struct Bundle {
    /// Certificates and private keys in PEM, in any order.
    #[field(default)]
    pem_bundle: Text,
}

async fn bundle(cx: Cx, ask: Bundle) -> Result<Reply> {
    take(&cx, ask.pem_bundle.as_str(), true).await
}

/// Take in issuers' certificates.
#[derive(Request)]
struct Certificates {
    /// Certificates in PEM.
    #[field(default)]
    pem_bundle: Text,
}

async fn certificates_only(cx: Cx, ask: Certificates) -> Result<Reply> {
    take(&cx, ask.pem_bundle.as_str(), false).await
}

/// Take in the certificate that an authority above gave.
#[derive(Request)]
struct Signed {
    /// The certificate, and others of its chain, in PEM.
    #[field(default)]
    certificate: Text,
}

async fn signed(cx: Cx, ask: Signed) -> Result<Reply> {
    take(&cx, ask.certificate.as_str(), true).await
}

/// The keys and certificates of a PEM text.
///
/// # Errors
/// A text too short to be any, blocks of other kinds, what does not parse.
pub(super) fn parse(text: &str) -> Result<(Vec<PrivateKey>, Vec<Certificate>)> {
    if text.len() < 75 {
        return Err(Error::bad_request(
            "provided data for import was too short; perhaps a path was passed to the API rather than the contents of a PEM file",
        ));
    }
    let blocks = pem_blocks(text).map_err(|_| Error::bad_request("error when parsing block 1: invalid PEM data"))?;
    if blocks.is_empty() {
        return Err(Error::bad_request("error when parsing block 1: invalid PEM data"));
    }
    let (mut keys, mut certificates) = (Vec::new(), Vec::new());
    for (label, der) in blocks {
        if label.ends_with("PRIVATE KEY") {
            let at = keys.len();
            let key = PrivateKey::from_der(&der);
            keys.push(key.map_err(|why| Error::bad_request(format!("Error parsing key {at}: {why}")))?);
        } else if label == "CERTIFICATE" || label == "X509 CERTIFICATE" || label == "TRUSTED CERTIFICATE" {
            let at = certificates.len();
            let read = Certificate::from_der(&der);
            let read = read.map_err(|why| Error::bad_request(format!("Error parsing issuer {at}: {why}")))?;
            if !read.is_authority() {
                return Err(Error::bad_request(format!(
                    "Error parsing issuer {at}: Refusing to import non-CA certificate\n{}",
                    pem("CERTIFICATE", &der)
                )));
            }
            certificates.push(read);
        } else if label != "EC PARAMETERS" {
            return Err(Error::bad_request("the PEM bundle has a block that is neither a certificate nor a private key"));
        }
    }
    Ok((keys, certificates))
}

async fn take(cx: &Cx, text: &str, with_keys: bool) -> Result<Reply> {
    if text.is_empty() {
        return Err(Error::bad_request("'pem_bundle' and 'certificate' parameters were empty"));
    }
    let (keys, certificates) = parse(text)?;
    if !with_keys && !keys.is_empty() {
        return Err(Error::bad_request(
            "private keys found in the PEM bundle but not allowed by the path; use /issuers/import/bundle",
        ));
    }
    let mut came = Came::default();
    for private in &keys {
        let (key, known) = keys::keep(cx, private, "", Origin::Imported { rotation_allowed: false }).await?;
        came.key(cx, &key, known).await?;
    }
    for certificate in certificates {
        let (issuer, known) = keep(cx, certificate, "", new_id(cx)).await?;
        came.issuer(issuer, known);
    }
    chain::rebuild(cx).await?;
    let addresses = urls::of_mount(cx).await?;
    let reply = Reply::data(came.show());
    Ok(if addresses.is_empty() { reply.warn(urls::NONE) } else { reply })
}

/// Keeps an authority's certificate as an issuer, and among the certificates.
pub(super) async fn keep(cx: &Cx, certificate: Certificate, name: &str, id: String) -> Result<(Issuer, bool)> {
    let (serial, not_after) = (serial::key(certificate.serial_bytes()), certificate.not_after_secs());
    let signs_itself = certificate.is_self_issued();
    let (issuer, known) = issuer::keep(cx, certificate, name, id).await?;
    if !known && Stored::find(cx, &serial).await?.is_none() {
        // Whose list would name it: its own authority's, if that one is here.
        let above = if signs_itself { None } else { super::revoke::signer_of(cx, &*issuer.parsed(cx)?).await? };
        let by = above.map(|above| above.id).or_else(|| signs_itself.then(|| issuer.id.clone())).unwrap_or_default();
        Stored::put(cx, &serial, &by, not_after, &issuer.certificate.0);
    }
    Ok((issuer, known))
}

/// What an import brought.
#[derive(Default)]
struct Came {
    issuers: Vec<(Issuer, bool)>,
    keys: Vec<(String, bool)>,
}

impl Came {
    async fn key(&mut self, cx: &Cx, key: &Key, known: bool) -> Result<()> {
        if !self.keys.iter().any(|(id, _)| *id == key.id) {
            self.keys.push((key.id.clone(), known));
        }
        issuer::adopt(cx, key).await
    }

    fn issuer(&mut self, issuer: Issuer, known: bool) {
        if !self.issuers.iter().any(|(other, _)| other.id == issuer.id) {
            self.issuers.push((issuer, known));
        }
    }

    fn show(self) -> Object {
        let list = |ids: Vec<String>| if ids.is_empty() { Json::Null } else { Json::from(ids) };
        let issuers = |known: bool| {
            let ids = self.issuers.iter().filter(|(_, was)| *was == known).map(|(issuer, _)| issuer.id.clone());
            list(ids.collect())
        };
        let keys = |known: bool| list(self.keys.iter().filter(|(_, was)| *was == known).map(|(id, _)| id.clone()).collect());
        let mapping = self.issuers.iter().map(|(issuer, _)| (issuer.id.clone(), Json::from(issuer.key_id.as_str())));
        Object::new()
            .with("existing_issuers", issuers(true))
            .with("existing_keys", keys(true))
            .with("imported_issuers", issuers(false))
            .with("imported_keys", keys(false))
            .with("mapping", Json::Object(mapping.collect()))
    }
}
