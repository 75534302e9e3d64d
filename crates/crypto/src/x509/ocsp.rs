//! Asking whether a certificate is revoked: OCSP (RFC 6960) with a nonce (RFC 9654) that a responder may leave out.

use super::certificate::{Certificate, extensions};
use super::der::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, Malformed, NULL, OCTET_STRING, OID, Reader, Result, SEQUENCE, constructed, primitive,
    write,
};
use super::signature::{Signed, split};
use aws_lc_rs::digest;
use coffer_types::Timestamp;
use std::fmt;
use std::time::Duration;

/// What a responder says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Good,
    Revoked,
    /// The responder does not know it.
    Unknown,
}

/// Why a reply is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    Malformed(&'static str),
    /// The responder refused: 1 malformed request, 2 internal error, 3 try later, 5 signature required, 6 unauthorised.
    Refused(u8),
    /// Nobody who may speak for the issuer signed it.
    Unsigned,
    /// It is about another certificate, or answers another question.
    Other,
    /// It is from the future, or too old.
    Stale,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(what) => write!(f, "the OCSP reply does not parse ({what})"),
            Self::Refused(status) => write!(f, "the OCSP responder refused with status {status}"),
            Self::Unsigned => f.write_str("the OCSP reply is not signed by who may speak for the issuer"),
            Self::Other => f.write_str("the OCSP reply is not about this certificate"),
            Self::Stale => f.write_str("the OCSP reply is out of date"),
        }
    }
}

impl std::error::Error for NoAnswer {}

impl From<Malformed> for NoAnswer {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.0)
    }
}

/// One question about one certificate.
pub struct Question<'c> {
    pub certificate: &'c Certificate,
    pub issuer: &'c Certificate,
    /// Certificates that may sign replies, or sign who signs them, besides the issuer.
    pub also_trusted: &'c [Certificate],
    pub nonce: [u8; 32],
}

const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const NONCE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];
const BASIC: &str = "1.3.6.1.5.5.7.48.1.1";

/// How far clocks may differ.
const SKEW: Duration = Duration::from_secs(300);

/// How old a reply may be that does not say when the next one comes.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

impl Question<'_> {
    /// The request, `application/ocsp-request`.
    ///
    /// # Errors
    /// The issuer's key can't be read.
    pub fn request(&self) -> Result<Vec<u8>, Malformed> {
        let id = write(SEQUENCE, &self.certificate_id()?);
        let requests = write(SEQUENCE, &write(SEQUENCE, &id));
        let nonce = write(OCTET_STRING, &self.nonce);
        let extension = write(SEQUENCE, &[write(OID, NONCE), write(OCTET_STRING, &nonce)].concat());
        let extensions = write(constructed(2), &write(SEQUENCE, &extension));
        Ok(write(SEQUENCE, &write(SEQUENCE, &[requests, extensions].concat())))
    }

    /// What the reply says. `max_age` bounds how old it may be besides what it says itself; zero does not.
    ///
    /// # Errors
    /// It says nothing that counts.
    pub fn answer(&self, reply: &[u8], now: Timestamp, max_age: Duration) -> Result<Status, NoAnswer> {
        let basic = unwrap_reply(reply)?;
        let mut outer = Reader::only(basic, SEQUENCE, "basic response")?;
        let signed = Signed::read(&mut outer)?;
        let certificates = match outer.optional_inside(constructed(0))? {
            Some(mut wrapped) => {
                let list = certificates(wrapped.inside(SEQUENCE)?)?;
                wrapped.end()?;
                list
            }
            None => Vec::new(),
        };
        outer.end()?;
        let mut data = Reader::only(&signed.content, SEQUENCE, "response data")?;
        if let Some(mut version) = data.optional_inside(constructed(0))? {
            if version.small()? != 0 {
                return Err(NoAnswer::Malformed("version"));
            }
            version.end()?;
        }
        let responder = data.any()?;
        self.check_signer(&signed, Responder::read(responder.tag, responder.body)?, &certificates, now)?;
        data.time()?;
        let mut singles = data.inside(SEQUENCE)?;
        if let Some(mut wrapped) = data.optional_inside(constructed(1))? {
            self.check_nonce(wrapped.inside(SEQUENCE)?)?;
            wrapped.end()?;
        }
        data.end()?;
        let id = self.certificate_id()?;
        let mut found = None;
        while !singles.is_empty() {
            let mut single = singles.inside(SEQUENCE)?;
            if !same_id(single.body(SEQUENCE)?, &id)? {
                continue;
            }
            let status = read_single(&mut single, now, max_age)?;
            // Two answers about one certificate: the worse counts.
            found = match (found, status) {
                (Some(Status::Revoked), _) | (_, Status::Revoked) => Some(Status::Revoked),
                (Some(Status::Unknown), _) | (_, Status::Unknown) => Some(Status::Unknown),
                _ => Some(Status::Good),
            };
        }
        found.ok_or(NoAnswer::Other)
    }

    /// The body of a CertID: digests of the issuer's name and key, and the serial number.
    fn certificate_id(&self) -> Result<Vec<u8>> {
        let (_, key) = split(self.issuer.spki())?;
        let sha1 = |bytes: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
        let algorithm = write(SEQUENCE, &[write(OID, SHA1), write(NULL, &[])].concat());
        Ok([
            algorithm,
            write(OCTET_STRING, sha1(self.certificate.issuer()).as_ref()),
            write(OCTET_STRING, sha1(key).as_ref()),
            write(INTEGER, self.certificate.serial_bytes()),
        ]
        .concat())
    }

    /// The issuer itself, who it named by a certificate for this use, or whom the configuration trusts for it.
    fn check_signer(
        &self,
        signed: &Signed,
        responder: Responder<'_>,
        certificates: &[Certificate],
        now: Timestamp,
    ) -> Result<(), NoAnswer> {
        let is_it = |candidate: &Certificate| responder.is(candidate) && signed.is_by(candidate.spki());
        if is_it(self.issuer) || self.also_trusted.iter().any(|c| c.is_valid_at(now) && is_it(c)) {
            return Ok(());
        }
        let named = |candidate: &&Certificate| {
            let by = |authority: &Certificate| authority.subject() == candidate.issuer() && authority.signed(candidate);
            let sound = candidate.is_valid_at(now) && candidate.is_for_ocsp() && candidate.unknown_critical().is_none();
            sound
                && (by(self.issuer) || self.also_trusted.iter().any(|c| c.is_valid_at(now) && c.may_sign_certificates() && by(c)))
        };
        if certificates.iter().filter(named).any(is_it) { Ok(()) } else { Err(NoAnswer::Unsigned) }
    }

    fn check_nonce(&self, list: Reader<'_>) -> Result<(), NoAnswer> {
        for extension in extensions(list)? {
            if extension.oid == "1.3.6.1.5.5.7.48.1.2" {
                // Some responders give the nonce back without its own wrapping.
                let wrapped = write(OCTET_STRING, &self.nonce);
                if *extension.value != *wrapped && *extension.value != self.nonce {
                    return Err(NoAnswer::Other);
                }
            } else if extension.critical {
                return Err(NoAnswer::Malformed("a critical extension that is not understood"));
            }
        }
        Ok(())
    }
}

/// Who says that it signed.
enum Responder<'a> {
    /// DER of a name.
    Name(&'a [u8]),
    /// SHA-1 of a key.
    Key(&'a [u8]),
}

impl<'a> Responder<'a> {
    fn read(tag: u8, body: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(body, "responder");
        let this = if tag == constructed(1) {
            Self::Name(reader.element(SEQUENCE)?.whole)
        } else if tag == constructed(2) {
            Self::Key(reader.body(OCTET_STRING)?)
        } else {
            return Err(Malformed("responder"));
        };
        reader.end()?;
        Ok(this)
    }

    fn is(&self, certificate: &Certificate) -> bool {
        match self {
            Self::Name(name) => *name == certificate.subject(),
            Self::Key(hash) => split(certificate.spki())
                .is_ok_and(|(_, key)| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key).as_ref() == *hash),
        }
    }
}

/// The BasicOCSPResponse inside an OCSPResponse.
fn unwrap_reply(reply: &[u8]) -> Result<&[u8], NoAnswer> {
    let mut outer = Reader::only(reply, SEQUENCE, "reply")?;
    match outer.body(ENUMERATED)? {
        [0] => {}
        [status] => return Err(NoAnswer::Refused(*status)),
        _ => return Err(NoAnswer::Malformed("status")),
    }
    let mut wrapped = outer.inside(constructed(0))?;
    outer.end()?;
    let mut bytes = wrapped.inside(SEQUENCE)?;
    wrapped.end()?;
    if bytes.oid()? != BASIC {
        return Err(NoAnswer::Malformed("response type"));
    }
    let basic = bytes.body(OCTET_STRING)?;
    bytes.end()?;
    Ok(basic)
}

fn certificates(mut list: Reader<'_>) -> Result<Vec<Certificate>> {
    let mut found = Vec::new();
    while !list.is_empty() {
        // One that can't be read can't sign either; how many there are is bounded by the reply's size.
        found.extend(Certificate::from_der(list.element(SEQUENCE)?.whole));
        if found.len() > 16 {
            return Err(Malformed("too many certificates"));
        }
    }
    Ok(found)
}

/// Whether a CertID names what was asked for; the parameters of its digest may be NULL or left out.
fn same_id(theirs: &[u8], ours: &[u8]) -> Result<bool> {
    let read = |bytes| {
        let mut reader = Reader::new(bytes, "certificate id");
        let mut algorithm = reader.inside(SEQUENCE)?;
        let oid = algorithm.body(OID)?;
        let rest = (reader.body(OCTET_STRING)?, reader.body(OCTET_STRING)?, reader.integer()?);
        reader.end()?;
        Ok((oid, rest))
    };
    Ok(read(theirs)? == read(ours)?)
}

fn read_single(single: &mut Reader<'_>, now: Timestamp, max_age: Duration) -> Result<Status, NoAnswer> {
    let status = single.any()?;
    let status = match status.tag {
        tag if tag == primitive(0) && status.body.is_empty() => Status::Good,
        tag if tag == constructed(1) => Status::Revoked,
        tag if tag == primitive(2) && status.body.is_empty() => Status::Unknown,
        _ => return Err(NoAnswer::Malformed("certificate status")),
    };
    let this_update = single.time()?;
    let next_update = match single.optional_inside(constructed(0))? {
        Some(mut wrapped) if wrapped.next_is(GENERALIZED_TIME) => {
            let time = wrapped.time()?;
            wrapped.end()?;
            Some(time)
        }
        Some(_) => return Err(NoAnswer::Malformed("next update")),
        None => None,
    };
    if let Some(mut wrapped) = single.optional_inside(constructed(1))? {
        if extensions(wrapped.inside(SEQUENCE)?)?.iter().any(|extension| extension.critical) {
            return Err(NoAnswer::Malformed("a critical extension that is not understood"));
        }
        wrapped.end()?;
    }
    single.end()?;
    let age = now.since(this_update);
    let late = match next_update {
        Some(next) => next.plus(SKEW) < now,
        None => age > LONGEST,
    };
    if this_update > now.plus(SKEW) || late || !max_age.is_zero() && age > max_age {
        return Err(NoAnswer::Stale);
    }
    Ok(status)
}
