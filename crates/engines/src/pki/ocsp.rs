//! The mount's OCSP responder (RFC 6960): each issuer answers for itself, with its own key.

use super::crl::Config;
use super::issuer::{self, Issuer, Use};
use super::signer::Signer;
use super::stored::Revocation;
use super::{Cx, Pki, serial};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use coffer_crypto::x509::{CertificateId, OcspAnswer, OcspError, OcspRequest, Reason, Said};
use coffer_engine::{Declare, NoInput, Reply, Request};
use coffer_types::Result;

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("ocsp").about("Says whether certificates were taken back: OCSP.").public().raw_body().write(post);
    d.at("ocsp/{req...}").about("Says whether a certificate was taken back: OCSP over GET.").public().read(get);
}

const TYPE: &str = "application/ocsp-response";
/// RFC 5019 section 5 bounds requests at 255 bytes; those with long nonces and several certificates are some thousands.
const LONGEST: usize = 2048;

/// Clients leave the padding out or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

async fn post(cx: Cx, _: NoInput) -> Result<Reply> {
    let body = cx.call().and_then(|call| call.fields.raw.clone()).unwrap_or_default();
    answer(&cx, &body).await
}

/// Ask about a certificate.
#[derive(Request)]
struct Get {
    /// The request in base64.
    #[field(path)]
    req: String,
}

async fn get(cx: Cx, ask: Get) -> Result<Reply> {
    match BASE64.decode(&ask.req) {
        Ok(bytes) => answer(&cx, &bytes).await,
        Err(_) => Ok(refusal(OcspError::Malformed)),
    }
}

fn refusal(error: OcspError) -> Reply {
    let status = match error {
        OcspError::Malformed => 400,
        OcspError::Internal | OcspError::TryLater => 500,
        OcspError::Unauthorized => 401,
    };
    Reply::raw(TYPE, error.reply()).status(status)
}

async fn answer(cx: &Cx, bytes: &[u8]) -> Result<Reply> {
    let config = Config::load(cx).await?;
    let Some(expiry) = config.ocsp_expiry() else { return Ok(refusal(OcspError::Unauthorized)) };
    if bytes.len() > LONGEST {
        return Ok(refusal(OcspError::Malformed));
    }
    let Ok(request) = OcspRequest::from_der(bytes) else { return Ok(refusal(OcspError::Malformed)) };
    // The issuer of the first one signs; what is asked of others' certificates besides is not known to it.
    let mut signer: Option<Issuer> = None;
    for issuer in issuer::all(cx).await? {
        if issuer.usage.contains(Use::OcspSigning) && !issuer.key_id.is_empty() && request.asked[0].is_by(&*issuer.parsed(cx)?) {
            signer = Some(issuer);
            break;
        }
    }
    let known = signer.is_some();
    let signer = match signer {
        Some(issuer) => Some(issuer),
        None => issuer::find(cx, "default").await?.filter(|i| i.usage.contains(Use::OcspSigning) && !i.key_id.is_empty()),
    };
    let Some(issuer) = signer else { return Ok(refusal(OcspError::Unauthorized)) };
    let signer = Signer::of(cx, issuer.into(), Use::OcspSigning).await?;
    let mut said = Vec::with_capacity(request.asked.len());
    for id in &request.asked {
        said.push(if known && id.is_by(&signer.certificate) { status(cx, id, &signer).await? } else { Said::Unknown });
    }
    let produced = coffer_types::Timestamp::from_secs(cx.now().secs());
    let next_update = (!expiry.is_zero()).then(|| produced.plus(expiry.duration()));
    let algorithm =
        signer.issuer.revocation_algorithm().filter(|a| a.fits(signer.kind())).unwrap_or_else(|| signer.algorithm(0, false));
    let by = signer.certificate.clone();
    let reply = signer
        .sign(cx, move |key| OcspAnswer { request: &request, said: &said, by: &by, produced, next_update }.sign(key, algorithm))
        .await?;
    Ok(Reply::raw(TYPE, reply))
}

/// A certificate that is not kept is good until it is taken back: roles may issue without keeping.
async fn status(cx: &Cx, id: &CertificateId, signer: &Signer) -> Result<Said> {
    let found = Revocation::find(cx, &serial::key(id.serial())).await?;
    let Some(found) = found else { return Ok(Said::Good) };
    let same = match issuer::by_id(cx, &found.issuer).await? {
        Some(issuer) => id.is_by(&*issuer.parsed(cx)?),
        None => found.issuer == signer.issuer.id,
    };
    Ok(if same { Said::Revoked { at: found.revoked, reason: Reason::Unspecified } } else { Said::Good })
}
