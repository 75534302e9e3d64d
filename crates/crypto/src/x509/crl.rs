//! Certificate revocation lists (RFC 5280 section 5): whole ones of one issuer. Delta lists, indirect lists and lists of a part
//! of an issuer's certificates say so in critical extensions, and are refused rather than taken for whole.

use super::certificate::{Certificate, decimal, extensions};
use super::der::{GENERALIZED_TIME, INTEGER, Malformed, Reader, Result, SEQUENCE, UTC_TIME, constructed};
use super::signature::Signed;
use coffer_types::Timestamp;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use std::collections::HashSet;

/// A revocation list. That its issuer signed it is a question of its own: [`RevocationList::is_by`].
pub struct RevocationList {
    der: Box<[u8]>,
    signed: Signed,
    issuer: Box<[u8]>,
    this_update: Timestamp,
    next_update: Option<Timestamp>,
    revoked: HashSet<Box<[u8]>>,
}

impl RevocationList {
    /// Reads DER.
    ///
    /// # Errors
    /// Anything else, and any critical extension.
    pub fn from_der(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut outer = Reader::only(bytes, SEQUENCE, "revocation list")?;
        let signed = Signed::read(&mut outer)?;
        outer.end()?;
        let mut tbs = Reader::only(&signed.content, SEQUENCE, "revocation list")?;
        if tbs.next_is(INTEGER) && tbs.small()? != 1 {
            return Err(Malformed("revocation list: only version 2 is known"));
        }
        if *tbs.body(SEQUENCE)? != *signed.algorithm {
            return Err(Malformed("revocation list: signature algorithm"));
        }
        let issuer = tbs.element(SEQUENCE)?.whole.into();
        let this_update = tbs.time()?;
        let timed = tbs.next_is(UTC_TIME) || tbs.next_is(GENERALIZED_TIME);
        let next_update = if timed { Some(tbs.time()?) } else { None };
        let mut revoked = HashSet::new();
        if let Some(mut list) = tbs.optional_inside(SEQUENCE)? {
            while !list.is_empty() {
                let mut one = list.inside(SEQUENCE)?;
                let serial: Box<[u8]> = one.integer()?.into();
                one.time()?;
                if let Some(inner) = one.optional_inside(SEQUENCE)? {
                    refuse_critical(inner)?;
                }
                one.end()?;
                revoked.insert(serial);
            }
        }
        if let Some(mut wrapped) = tbs.optional_inside(constructed(0))? {
            refuse_critical(wrapped.inside(SEQUENCE)?)?;
            wrapped.end()?;
        }
        tbs.end()?;
        Ok(Self { der: bytes.into(), signed: signed.clone(), issuer, this_update, next_update, revoked })
    }

    /// From when and until when a list speaks, of whatever kind it is: a delta list or one of a part as well. Nothing else of it
    /// is checked.
    ///
    /// # Errors
    /// What is no revocation list, in PEM or DER.
    pub fn times(bytes: &[u8]) -> Result<(Timestamp, Option<Timestamp>), Malformed> {
        let pem;
        let der = if bytes.first() == Some(&SEQUENCE) {
            bytes
        } else {
            pem = CertificateRevocationListDer::from_pem_slice(bytes).map_err(|_| Malformed("revocation list"))?;
            &pem
        };
        let mut outer = Reader::only(der, SEQUENCE, "revocation list")?;
        let signed = Signed::read(&mut outer)?;
        let mut tbs = Reader::only(&signed.content, SEQUENCE, "revocation list")?;
        if tbs.next_is(INTEGER) {
            tbs.small()?;
        }
        tbs.body(SEQUENCE)?;
        tbs.element(SEQUENCE)?;
        let from = tbs.time()?;
        let timed = tbs.next_is(UTC_TIME) || tbs.next_is(GENERALIZED_TIME);
        Ok((from, if timed { Some(tbs.time()?) } else { None }))
    }

    /// Reads PEM or DER, as they are uploaded and downloaded.
    ///
    /// # Errors
    /// As [`RevocationList::from_der`].
    pub fn from_either(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.first() == Some(&SEQUENCE) {
            return Self::from_der(bytes);
        }
        let der = CertificateRevocationListDer::from_pem_slice(bytes).map_err(|_| Malformed("revocation list"))?;
        Self::from_der(&der)
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// DER of the issuer's name.
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// Whether this authority issued it: by name, by signature, and as one that may.
    pub fn is_by(&self, authority: &Certificate) -> bool {
        authority.subject() == &*self.issuer && authority.may_sign_lists() && self.signed.is_by(authority.spki())
    }

    /// Whether it speaks of this time: a list from the future or one whose successor is due does not.
    pub fn is_current(&self, now: Timestamp) -> bool {
        self.this_update <= now && self.next_update.is_none_or(|next| now <= next)
    }

    pub fn next_update(&self) -> Option<Timestamp> {
        self.next_update
    }

    /// Whether it lists this certificate's serial number.
    pub fn lists(&self, certificate: &Certificate) -> bool {
        self.revoked.contains(certificate.serial_bytes())
    }

    /// The serial numbers in decimal, sorted.
    pub fn serials(&self) -> Vec<String> {
        let mut serials: Vec<String> = self.revoked.iter().map(|bytes| decimal(bytes)).collect();
        serials.sort_unstable();
        serials
    }
}

fn refuse_critical(list: Reader<'_>) -> Result<()> {
    if extensions(list)?.iter().any(|extension| extension.critical) {
        return Err(Malformed("revocation list: it is for a part only, or has a critical extension that is not understood"));
    }
    Ok(())
}
