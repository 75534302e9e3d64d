//! Reading what was issued: single certificates, the default issuer's, lists in pages.

use super::bundle::trimmed;
use super::stored::{Revocation, Stored};
use super::{Cx, Page, Pki, issuer, keys, serial};
use coffer_crypto::pk::KeyKind;
use coffer_crypto::x509::{Certificate, pem};
use coffer_engine::{Declare, NoInput, Reply, Request};
use coffer_types::{Error, Json, Kind, Object, Result};

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("ca").about("The default issuer's certificate in DER.").public().read(ca);
    d.at("ca/pem").about("The default issuer's certificate in PEM.").public().read(ca_pem);
    d.at("ca_chain").about("The default issuer's chain in PEM.").public().read(ca_chain);
    d.at("cert/ca_chain").about("The default issuer's chain.").public().read(cert_ca_chain);
    d.at("cert/{serial}").about("A certificate.").public().read(read);
    d.at("cert/{serial}/raw").about("A certificate in DER.").public().read(read_raw);
    d.at("cert/{serial}/raw/pem").about("A certificate in PEM.").public().read(read_pem);
    d.at("certs").about("Lists the serial numbers of certificates.").list(list);
    d.at("certs/detailed").about("Lists certificates with what stands in them.").list(list_detailed);
    d.at("certs/unified-revoked").about("The same: all nodes share one store.").list(list_revoked);
    d.at("certs/revoked").about("Lists the serial numbers of certificates that were taken back.").list(list_revoked);
}

const DER: &str = "application/pkix-cert";
const PEM: &str = "application/pem-certificate-chain";

async fn ca(cx: Cx, _: NoInput) -> Result<Reply> {
    let found = issuer::find(&cx, "default").await?;
    Ok(Reply::raw(DER, found.map(|issuer| issuer.certificate.0).unwrap_or_default()))
}

async fn ca_pem(cx: Cx, _: NoInput) -> Result<Reply> {
    let found = issuer::find(&cx, "default").await?;
    Ok(Reply::raw(PEM, found.map(|issuer| trimmed(issuer.pem()).into_bytes()).unwrap_or_default()))
}

async fn ca_chain(cx: Cx, _: NoInput) -> Result<Reply> {
    let text = match issuer::find(&cx, "default").await? {
        Some(issuer) => trimmed(issuer.chain_pem(&cx).await?.concat()),
        None => String::new(),
    };
    Ok(Reply::raw(DER, text.into_bytes()))
}

fn no_default() -> Error {
    Error::bad_request(issuer::unknown("default"))
}

async fn cert_ca_chain(cx: Cx, _: NoInput) -> Result<Reply> {
    let issuer = issuer::find(&cx, "default").await?.ok_or_else(no_default)?;
    let chain = trimmed(issuer.chain_pem(&cx).await?.concat());
    let shown = Object::new()
        .with("ca_chain", chain.as_str())
        .with("certificate", chain)
        .with("revocation_time", 0)
        .with("revocation_time_rfc3339", "");
    Ok(Reply::data(shown))
}

/// Name a certificate.
#[derive(Request)]
struct Named {
    /// Its serial number, or `ca`.
    #[field(path)]
    serial: String,
}

/// A certificate, and when it was taken back.
struct Found {
    der: Vec<u8>,
    revocation: Option<Revocation>,
}

async fn find(cx: &Cx, serial: &str) -> Result<Option<Found>> {
    if serial == "ca" {
        let issuer = issuer::find(cx, "default").await?.ok_or_else(no_default)?;
        return Ok(Some(Found { der: issuer.certificate.0, revocation: None }));
    }
    let key = serial::parse(serial).ok_or_else(|| Error::new(Kind::NotFound, "unsupported path"))?;
    let revocation = Revocation::find(cx, &key).await?;
    if let Some(kept) = Stored::find(cx, &key).await? {
        return Ok(Some(Found { der: kept.der, revocation }));
    }
    Ok(revocation.map(|revocation| Found { der: revocation.certificate.0.clone(), revocation: Some(revocation) }))
}

async fn read(cx: Cx, ask: Named) -> Result<Reply> {
    let found = find(&cx, &ask.serial).await?.ok_or_else(Error::not_found)?;
    let mut shown = Object::new().with("certificate", trimmed(pem("CERTIFICATE", &found.der)));
    match &found.revocation {
        None => {
            shown.insert("revocation_time", 0);
            shown.insert("revocation_time_rfc3339", "");
        }
        Some(revocation) => {
            shown.insert("issuer_id", revocation.issuer.as_str());
            shown.insert("revocation_time", revocation.revoked.secs());
            shown.insert("revocation_time_rfc3339", revocation.revoked.rfc3339());
        }
    }
    Ok(Reply::data(shown))
}

/// As the bare forms have it: nothing where no issuer is the default one.
async fn find_bare(cx: &Cx, serial: &str) -> Result<Option<Found>> {
    if serial == "ca" && issuer::find(cx, "default").await?.is_none() {
        return Ok(None);
    }
    find(cx, serial).await
}

async fn read_raw(cx: Cx, ask: Named) -> Result<Reply> {
    let found = find_bare(&cx, &ask.serial).await?;
    Ok(Reply::raw(DER, found.map(|found| found.der).unwrap_or_default()))
}

async fn read_pem(cx: Cx, ask: Named) -> Result<Reply> {
    let found = find_bare(&cx, &ask.serial).await?;
    Ok(Reply::raw(PEM, found.map(|found| trimmed(pem("CERTIFICATE", &found.der)).into_bytes()).unwrap_or_default()))
}

/// The key after which a page begins. What is no serial number is compared as text, as names are.
fn after(ask: &Page) -> Option<String> {
    let bare: String = ask.after.chars().filter(|c| !matches!(c, ':' | '-')).collect();
    (!bare.is_empty()).then(|| serial::parse(&ask.after).unwrap_or(bare))
}

fn shown(keys: &[String]) -> Vec<String> {
    keys.iter().map(|key| serial::show_key(key)).collect()
}

async fn list(cx: Cx, ask: Page) -> Result<Reply> {
    let keys = Stored::page(&cx, after(&ask).as_deref(), ask.limit()).await?;
    Ok(Reply::list(shown(&keys)))
}

async fn list_revoked(cx: Cx, ask: Page) -> Result<Reply> {
    let keys = Revocation::page(&cx, after(&ask).as_deref(), ask.limit()).await?;
    Ok(Reply::list(shown(&keys)))
}

async fn list_detailed(cx: Cx, ask: Page) -> Result<Reply> {
    let keys = Stored::page(&cx, after(&ask).as_deref(), ask.limit()).await?;
    let mut info = Object::new();
    for key in &keys {
        if let Some(kept) = Stored::find(&cx, key).await? {
            let certificate = Certificate::from_der(&kept.der).map_err(Error::internal)?;
            info.insert(serial::show_key(key), Json::Object(details(&certificate)));
        }
    }
    Ok(Reply::list_with(shown(&keys), info))
}

fn details(certificate: &Certificate) -> Object {
    let kind = certificate.public_key().ok().map(|key| key.kind());
    let bits = match kind {
        Some(KeyKind::Rsa(bits)) => i64::from(bits),
        Some(KeyKind::P256) => 256,
        Some(KeyKind::P384) => 384,
        Some(KeyKind::P521) => 521,
        _ => 0,
    };
    let names = &certificate.names().dns;
    let names = if names.is_empty() { Json::Null } else { Json::from(names.clone()) };
    Object::new()
        .with("common_name", certificate.common_name())
        .with("dns_names", names)
        .with("issuer", certificate.issuer_text())
        .with("key_bits", bits)
        .with("key_type", kind.map_or("", keys::type_name))
        .with("not_after", super::validity::show(certificate.not_after_secs()))
        .with("not_before", super::validity::show(certificate.not_before_secs()))
}
