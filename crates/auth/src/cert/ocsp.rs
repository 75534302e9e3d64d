//! Asking by OCSP whether the leaf is revoked. No answer is a refusal, unless the role says otherwise.

use super::Cert;
use super::roles::Ocsp;
use coffer_crypto::x509::{Certificate, Question, Status};
use coffer_engine::Ctx;
use coffer_engine::outside::{FaultKind, HttpRequest, Method};
use coffer_types::{Error, Result};
use std::time::Duration;

/// The longest that one server is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest reply, in bytes.
const LARGEST: usize = 256 << 10;

/// Whether the leaf may log in as far as OCSP goes.
///
/// # Errors
/// Only of the server itself.
pub(super) async fn admits(cx: &Ctx<Cert>, ocsp: &Ocsp, leaf: &Certificate, issuer: Option<&Certificate>) -> Result<bool> {
    if !ocsp.enabled {
        return Ok(true);
    }
    let Some(issuer) = issuer else { return Ok(ocsp.fail_open) };
    let also_trusted =
        Certificate::from_pem(&ocsp.authorities).map_err(|e| Error::internal("ocsp_ca_certificates").with_cause(e))?;
    let servers = ocsp.servers.as_deref().filter(|servers| !servers.is_empty()).unwrap_or(leaf.ocsp_servers());
    let mut good = 0;
    for server in servers {
        let mut nonce = [0; 32];
        cx.fill_random(&mut nonce);
        let question = Question { certificate: leaf, issuer, also_trusted: &also_trusted, nonce };
        match ask(cx, ocsp, server, &question).await {
            Some(Status::Revoked) => return Ok(false),
            Some(Status::Good) if ocsp.query_all => good += 1,
            Some(Status::Good) => return Ok(true),
            Some(Status::Unknown) | None => {}
        }
    }
    let all_good = ocsp.query_all && good > 0 && good == servers.len();
    Ok(all_good || ocsp.fail_open)
}

/// What one server says; nothing where it says nothing that counts.
async fn ask(cx: &Ctx<Cert>, ocsp: &Ocsp, server: &str, question: &Question<'_>) -> Option<Status> {
    if !super::lists::is_http(server) {
        return None;
    }
    let body = question.request().ok()?;
    for _ in 0..=ocsp.retries {
        let mut request = HttpRequest::new(Method::Post, server).body("application/ocsp-request", body.clone());
        (request.timeout, request.limit) = (PATIENCE, LARGEST);
        match cx.outside().http().send(request).await {
            Ok(reply) if reply.status == 200 => return question.answer(&reply.body, cx.now(), ocsp.max_age.duration()).ok(),
            Ok(reply) if reply.status >= 500 => {}
            Err(fault) if fault.kind == FaultKind::Unreachable => {}
            Ok(_) | Err(_) => return None,
        }
    }
    None
}
