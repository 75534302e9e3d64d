//! Taking a certificate back (RFC 8555 section 7.6): by the account that it was made for, or by the certificate's own key.

use super::super::stored::{Revocation, Stored};
use super::super::{Cx, read_text, serial};
use super::problem::{Problem, Stop};
use super::{Body, Outcome, Verified};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_crypto::x509::{Certificate, Reason};
use coffer_types::{Json, Result};

pub(super) async fn revoke(cx: &Cx, verified: &Verified) -> Result<Outcome, Stop> {
    let payload = verified.required()?;
    let der = payload.get("certificate").and_then(Json::as_str).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let certificate =
        der.and_then(|der| Certificate::from_der(&der).ok()).ok_or_else(|| Problem::malformed("no certificate is named"))?;
    if let Some(reason) = payload.get("reason") {
        let code = String::from_utf8_lossy(&reason.to_bytes()).parse::<u8>().ok();
        if code.and_then(Reason::from_code).is_none() {
            return Err(Problem::new("badRevocationReason", "the reason is none that there is").into());
        }
    }
    let serial = serial::key(certificate.serial_bytes());
    let kept = Stored::find(cx, &serial).await?.filter(|kept| kept.der == certificate.der());
    if kept.is_none() {
        return Err(Problem::malformed("the certificate is not of this mount").into());
    }
    let owner = match &verified.account {
        Some((id, _)) => read_text(cx, &format!("acme/cert/{serial}")).await?.as_ref() == Some(id),
        None => verified.key.spki() == certificate.spki(),
    };
    if !owner {
        return Err(Problem::unauthorized("the certificate is not the account's").into());
    }
    if Revocation::find(cx, &serial).await?.is_some() {
        return Err(Problem::new("alreadyRevoked", "the certificate was taken back before").into());
    }
    super::super::revoke::by_serial(cx, &serial).await?;
    Ok(Outcome { status: 200, body: Body::Nothing, location: None, up: None })
}
