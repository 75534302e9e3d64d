//! From a client's certificate to one that is trusted.
//!
//! Building the path, its signatures, validity, name constraints, unknown critical extensions and the extended key usage of what
//! lies below the anchor are rustls-webpki's. What it takes for granted of an anchor is checked here: that it is an authority that
//! may sign, is valid now, is for clients, and how far it may reach.

use super::certificate::Certificate;
use super::signature::ALGORITHMS;
use coffer_types::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::fmt;
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

/// Why a certificate is not trusted. Shows nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// It, or what lies between it and the anchor, is not valid at this time.
    Time,
    /// It is not for clients.
    Usage,
    /// It has a critical extension that is not understood.
    Critical,
    /// No path leads to an anchor.
    Issuer,
    /// A path leads there, and something on it may not be.
    Path,
    /// It can't be read.
    Malformed,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Time => "a certificate has expired or is not yet valid",
            Self::Usage => "the certificate is not for client authentication",
            Self::Critical => "the certificate has a critical extension that is not understood",
            Self::Issuer => "the certificate was signed by an unknown authority",
            Self::Path => "an authority above the certificate may not sign it",
            Self::Malformed => "the certificate does not parse",
        })
    }
}

impl std::error::Error for Untrusted {}

/// The certificates from the leaf to the anchor, both included.
///
/// # Errors
/// No anchor reaches the leaf; the reason is that of the anchor that came nearest.
pub fn client_path<'c>(
    leaf: &'c Certificate,
    offered: &'c [Certificate],
    anchors: &'c [Certificate],
    now: Timestamp,
) -> Result<Vec<&'c Certificate>, Untrusted> {
    let mut why = Untrusted::Issuer;
    for anchor in anchors {
        match path_to(leaf, offered, anchor, now) {
            Ok(path) => return Ok(path),
            Err(Untrusted::Issuer) => {}
            Err(other) => why = other,
        }
    }
    Err(why)
}

/// For a leaf that is trusted by itself, byte for byte: it must be valid now, for clients, and understood.
///
/// # Errors
/// It is not.
pub fn check_pinned(leaf: &Certificate, now: Timestamp) -> Result<(), Untrusted> {
    if !leaf.is_valid_at(now) {
        return Err(Untrusted::Time);
    }
    if !leaf.may_be_a_clients() {
        return Err(Untrusted::Usage);
    }
    if leaf.unknown_critical().is_some() {
        return Err(Untrusted::Critical);
    }
    Ok(())
}

fn path_to<'c>(
    leaf: &'c Certificate,
    offered: &'c [Certificate],
    anchor: &'c Certificate,
    now: Timestamp,
) -> Result<Vec<&'c Certificate>, Untrusted> {
    let anchor_der = CertificateDer::from(anchor.der());
    let trusted = [webpki::anchor_from_trusted_cert(&anchor_der).map_err(|_| Untrusted::Malformed)?];
    let between: Vec<CertificateDer<'_>> = offered.iter().map(|c| CertificateDer::from(c.der())).collect();
    let leaf_der = CertificateDer::from(leaf.der());
    let end = EndEntityCert::try_from(&leaf_der).map_err(|error| reason(&error))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.secs()).unwrap_or(0)));
    let named = |path: &VerifiedPath<'_>| -> Option<Vec<&'c Certificate>> {
        path.intermediate_certificates().map(|used| offered.iter().find(|c| c.der() == used.der().as_ref())).collect()
    };
    let check = |path: &VerifiedPath<'_>| {
        let used = named(path).ok_or(webpki::Error::UnknownIssuer)?;
        check_authorities(&used, anchor, now)
    };
    let found = end.verify_for_usage(ALGORITHMS, &trusted, &between, time, KeyUsage::client_auth(), None, Some(&check));
    let found = found.map_err(|error| reason(&error))?;
    let used = named(&found).ok_or(Untrusted::Issuer)?;
    Ok(std::iter::once(leaf).chain(used).chain(std::iter::once(anchor)).collect())
}

/// What is left to check of those who signed: `between` from the leaf's issuer upwards.
fn check_authorities(between: &[&Certificate], anchor: &Certificate, now: Timestamp) -> Result<(), webpki::Error> {
    if between.iter().any(|c| !c.may_sign_certificates()) || !anchor.may_sign_certificates() {
        return Err(webpki::Error::EndEntityUsedAsCa);
    }
    if !anchor.is_valid_at(now) {
        return Err(webpki::Error::UnknownIssuer);
    }
    if !anchor.may_be_a_clients() || anchor.unknown_critical().is_some() {
        return Err(webpki::Error::UnsupportedCriticalExtension);
    }
    let below = between.iter().filter(|c| !c.is_self_issued()).count();
    match anchor.path_length() {
        Some(most) if below > usize::try_from(most).unwrap_or(usize::MAX) => Err(webpki::Error::PathLenConstraintViolated),
        _ => Ok(()),
    }
}

fn reason(error: &webpki::Error) -> Untrusted {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } | Error::InvalidCertValidity => Untrusted::Time,
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => Untrusted::Usage,
        Error::UnsupportedCriticalExtension => Untrusted::Critical,
        Error::UnknownIssuer => Untrusted::Issuer,
        Error::BadDer
        | Error::BadDerTime
        | Error::TrailingData(_)
        | Error::UnsupportedCertVersion
        | Error::InvalidSerialNumber
        | Error::ExtensionValueInvalid
        | Error::MalformedExtensions => Untrusted::Malformed,
        _ => Untrusted::Path,
    }
}
