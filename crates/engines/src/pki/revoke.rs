//! Taking certificates back.

use super::issuer::{self, Issuer, Named, Use};
use super::stored::{Revocation, Stored};
use super::{Cx, Pki, failed, serial};
use crate::keyring::PublicBytes;
use coffer_crypto::pk::PrivateKey;
use coffer_crypto::x509::{Certificate, pem_blocks};
use coffer_engine::{Declare, LeaseKind, Record, Reply, Request};
use coffer_types::json::Text;
use coffer_types::{Error, Object, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// The lease of a certificate: its end revokes it.
#[derive(Serialize, Deserialize)]
pub(super) struct Lease {
    /// As the store's keys have it.
    pub(super) serial: String,
}

impl Record for Lease {
    const FORMAT: u8 = 1;
}

impl LeaseKind for Lease {
    const NAME: &'static str = "certificate";
}

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("revoke").about("Takes a certificate back.").plain(&["serial_number", "certificate"]).write(revoke);
    d.at("revoke-with-key")
        .about("Takes a certificate back for whoever has its key.")
        .plain(&["serial_number", "certificate"])
        .write(revoke_with_key);
    d.at("issuer/{issuer_ref}/revoke").about("Takes an issuer back.").write(revoke_issuer);
    d.lease::<Lease>().revoke(end_lease);
}

/// Take a certificate back.
#[derive(Request)]
struct Ask {
    /// Its serial number.
    #[field(default)]
    serial_number: String,
    /// The certificate in PEM, for one that was not kept.
    #[field(default)]
    certificate: String,
}

async fn revoke(cx: Cx, ask: Ask) -> Result<Reply> {
    let found = find(&cx, &ask).await?;
    show(take_back(&cx, found).await?)
}

/// Take a certificate back by its key.
#[derive(Request)]
struct AskWithKey {
    #[field(flatten)]
    which: Ask,
    /// Its private key in PEM.
    #[field(default)]
    private_key: Text,
}

async fn revoke_with_key(cx: Cx, ask: AskWithKey) -> Result<Reply> {
    let text = ask.private_key.as_str();
    if text.is_empty() {
        return Err(Error::bad_request("Must have private key to revoke via the /revoke-with-key path."));
    }
    if text.len() < 64 {
        return Err(Error::bad_request(
            "Provided data for private_key was too short; perhaps a path was passed to the API rather than the contents of a PEM file?",
        ));
    }
    let key =
        PrivateKey::from_pem(text).map_err(|why| Error::bad_request(format!("failed to parse provided private key: {why}")))?;
    let found = find(&cx, &ask.which).await?;
    if key.public().map_err(Error::internal)?.spki() != found.certificate.spki() {
        return Err(failed("provided private key does not match certificate's public key"));
    }
    show(take_back(&cx, found).await?)
}

fn show(revocation: Revocation) -> Result<Reply> {
    let shown = Object::new()
        .with("revocation_time", revocation.revoked.secs())
        .with("revocation_time_rfc3339", revocation.revoked.rfc3339())
        .with("state", "revoked");
    Ok(Reply::data(shown))
}

/// A certificate that is to be taken back.
struct Found {
    serial: String,
    certificate: Certificate,
    /// The issuer's id; empty where it is not known.
    issuer: String,
}

async fn find(cx: &Cx, ask: &Ask) -> Result<Found> {
    match (ask.serial_number.as_str(), ask.certificate.as_str()) {
        ("", "") => Err(Error::bad_request("The serial number or certificate to revoke must be provided.")),
        (_, "") => {
            let missing = || Error::bad_request(format!("certificate with serial {} not found.", ask.serial_number));
            let serial = serial::parse(&ask.serial_number).ok_or_else(missing)?;
            stored(cx, &serial).await?.ok_or_else(missing)
        }
        ("", text) => given(cx, text).await,
        _ => Err(Error::bad_request("Must provide either the certificate or the serial to revoke; not both.")),
    }
}

async fn stored(cx: &Cx, serial: &str) -> Result<Option<Found>> {
    let (der, issuer) = match Stored::find(cx, serial).await? {
        Some(stored) => (stored.der, stored.issuer),
        None => match Revocation::find(cx, serial).await? {
            Some(revoked) => (revoked.certificate.0, revoked.issuer),
            None => return Ok(None),
        },
    };
    let certificate = Certificate::from_der(&der).map_err(Error::internal)?;
    Ok(Some(Found { serial: serial.to_owned(), certificate, issuer }))
}

/// A certificate that was not kept: an issuer of this mount must have signed it.
async fn given(cx: &Cx, text: &str) -> Result<Found> {
    if text.len() < 75 {
        return Err(failed(
            "provided certificate data was too short; perhaps a path was passed to the API rather than the contents of a PEM file",
        ));
    }
    let blocks = pem_blocks(text).unwrap_or_default();
    let (_, der) = blocks.first().ok_or_else(|| failed("certificate contains no PEM data"))?;
    if blocks.len() > 1 {
        return Err(failed("certificate contains more than one PEM block"));
    }
    let certificate = Certificate::from_der(der).map_err(|why| failed(format!("certificate could not be parsed: {why}")))?;
    let serial = serial::key(certificate.serial_bytes());
    if let Some(kept) = Stored::find(cx, &serial).await? {
        if kept.der != certificate.der() {
            return Err(failed("certificate has the serial number of another one that is kept here"));
        }
        return Ok(Found { serial, certificate, issuer: kept.issuer });
    }
    let signers = issuer::all(cx).await?;
    for issuer in &signers {
        let parsed = issuer.parsed(cx)?;
        if parsed.subject() == certificate.issuer() && parsed.signed(&certificate) {
            return Ok(Found { serial, certificate, issuer: issuer.id.clone() });
        }
    }
    Err(failed(
        "unable to verify signature on presented cert from any present issuer in this mount; certificates from previous CAs will need \
         to have their issuing CA and key re-imported if revocation is necessary",
    ))
}

/// Takes back a certificate that is kept here, by the store's form of its serial number.
pub(super) async fn by_serial(cx: &Cx, serial: &str) -> Result<()> {
    let found = stored(cx, serial).await?.ok_or_else(Error::not_found)?;
    take_back(cx, found).await.map(|_| ())
}

/// The one way to a revocation. Of one that was there before, the first time stands.
async fn take_back(cx: &Cx, found: Found) -> Result<Revocation> {
    if let Some(known) = Revocation::find(cx, &found.serial).await? {
        return Ok(known);
    }
    if let Some(own) = issuer::by_certificate(cx, found.certificate.der()).await?
        && (own.id == found.issuer || found.certificate.is_self_signed())
    {
        return Err(Error::bad_request(format!("adding issuer (id: {}) to its own CRL is not allowed", own.id)));
    }
    record(cx, found.serial, &found.certificate, found.issuer, cx.now()).await
}

async fn record(cx: &Cx, serial: String, certificate: &Certificate, issuer: String, at: Timestamp) -> Result<Revocation> {
    // An issuer's own certificate is kept under its own name: whoever signed it has it on the list.
    let issuer = match issuer::by_id(cx, &issuer).await? {
        Some(known) if known.parsed(cx)?.signed(certificate) => issuer,
        _ => signer_of(cx, certificate).await?.map(|known| known.id).unwrap_or_default(),
    };
    let revocation = Revocation {
        serial,
        issuer,
        revoked: at,
        not_after: certificate.not_after_secs(),
        certificate: PublicBytes(certificate.der().to_vec()),
    };
    revocation.put(cx)?;
    super::crl::revoked(cx, &revocation.issuer).await?;
    Ok(revocation)
}

/// The issuer of this mount that signed a certificate.
pub(super) async fn signer_of(cx: &Cx, certificate: &Certificate) -> Result<Option<Issuer>> {
    for issuer in issuer::all(cx).await? {
        let parsed = issuer.parsed(cx)?;
        if parsed.subject() == certificate.issuer() && parsed.signed(certificate) {
            return Ok(Some(issuer));
        }
    }
    Ok(None)
}

async fn end_lease(cx: Cx, lease: Lease) -> Result<()> {
    // What was tidied away has ended by itself.
    let Some(found) = stored(&cx, &lease.serial).await? else { return Ok(()) };
    if found.certificate.not_after_secs() <= cx.now().secs() {
        return Ok(());
    }
    take_back(&cx, found).await.map(|_| ())
}

async fn revoke_issuer(cx: Cx, ask: Named) -> Result<Reply> {
    let mut own = issuer::named(&cx, &ask.issuer_ref).await?;
    if own.revoked.is_some() {
        return Ok(Reply::data(issuer::show(&cx, &own).await?));
    }
    own.revoked = Some(cx.now());
    own.usage = own.usage.without(Use::Issuing);
    own.modified = cx.now();
    own.save(&cx)?;
    let mut warnings = Vec::new();
    let certificate = own.parsed(&cx)?;
    if certificate.is_self_signed() {
        warnings.push(
            "This issuer is a self-signed (potentially root) certificate. This means it may not be considered revoked if there is not \
             an external, cross-signed variant of this certificate. This issuer's serial number will not appear on its own CRL.",
        );
    }
    match signer_of(&cx, &certificate).await? {
        Some(parent) if parent.id != own.id => {
            let serial = serial::key(certificate.serial_bytes());
            if Revocation::find(&cx, &serial).await?.is_none() {
                record(&cx, serial, &certificate, parent.id, cx.now()).await?;
            }
        }
        _ => warnings.push(
            "This issuer lacks another parent issuer within the mount. This means it will not appear on any other CRLs and may not be \
             considered revoked by clients. Consider adding this issuer to its issuer's CRL as well if it is not self-signed.",
        ),
    }
    if super::config::issuers(&cx).await?.default == own.id {
        warnings.push(
            "This issuer is currently configured as the default issuer for this mount; operations such as certificate issuance may not \
             work until a new default issuer is selected.",
        );
    }
    let shown = issuer::show(&cx, &own).await?;
    Ok(warnings.into_iter().fold(Reply::data(shown), Reply::warn))
}
