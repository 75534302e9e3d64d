//! Authorities, certificates, revocation lists and OCSP replies of tests, sound and unsound ones. Feature `testing`.
#![allow(clippy::expect_used, reason = "a test's own set-up")]

use super::der::{
    ENUMERATED, GENERALIZED_TIME, INTEGER, NULL, OCTET_STRING, OID, Reader, SEQUENCE, constructed, primitive, write,
};
use super::{Certificate, Status};
use aws_lc_rs::digest;
use coffer_types::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber, SigningKey, date_time_ymd,
};
use std::time::Duration;
use time::OffsetDateTime;

pub use rcgen;

/// A certificate with its key.
pub struct Party {
    pub params: CertificateParams,
    pub key: KeyPair,
    pub certificate: Certificate,
    pub pem: String,
}

/// Parameters of this common name, valid from 2020 to 2040.
pub fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

/// Those of an authority.
pub fn authority(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Those of a client.
pub fn client(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    params
}

impl Party {
    /// Signed by itself.
    pub fn root(params: CertificateParams) -> Self {
        Self::with_key(params, KeyPair::generate().expect("a key"))
    }

    /// Signed by itself with this key.
    pub fn with_key(params: CertificateParams, key: KeyPair) -> Self {
        let made = params.self_signed(&key).expect("a certificate");
        Self::of(params, key, &made)
    }

    /// An authority of this name.
    pub fn authority(name: &str) -> Self {
        Self::root(authority(name))
    }

    /// Signs a certificate with a new key.
    pub fn issue(&self, params: CertificateParams) -> Self {
        self.certify(params, KeyPair::generate().expect("a key"))
    }

    /// Signs a certificate for this key.
    pub fn certify(&self, params: CertificateParams, key: KeyPair) -> Self {
        let made = params.signed_by(&key, &self.issuer()).expect("a certificate");
        Self::of(params, key, &made)
    }

    /// A revocation list of these certificates; hours from `now`.
    pub fn list(&self, revoked: &[&Certificate], now: Timestamp, this_update: i64, next_update: i64) -> Vec<u8> {
        let at = |hours: i64| OffsetDateTime::from_unix_timestamp(now.secs() + hours * 3600).expect("a time");
        let revoked_certs = revoked.iter().map(|c| RevokedCertParams {
            serial_number: SerialNumber::from_slice(c.serial_bytes()),
            revocation_time: at(this_update),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: at(this_update),
            next_update: at(next_update),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer()).expect("a list").der().to_vec()
    }

    /// An OCSP reply of this party.
    pub fn answers(&self, reply: &Answering<'_>) -> Vec<u8> {
        let time = |at: Timestamp| {
            let at = OffsetDateTime::from_unix_timestamp(at.secs()).expect("a time");
            let text = format!(
                "{:04}{:02}{:02}{:02}{:02}{:02}Z",
                at.year(),
                u8::from(at.month()),
                at.day(),
                at.hour(),
                at.minute(),
                at.second()
            );
            write(GENERALIZED_TIME, text.as_bytes())
        };
        let status = match reply.status {
            Status::Good => write(primitive(0), &[]),
            Status::Revoked => write(constructed(1), &time(reply.this_update)),
            Status::Unknown => write(primitive(2), &[]),
        };
        let sha1 = |bytes: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
        let (_, key) = super::signature::split(reply.issuer.spki()).expect("a key");
        let id = [
            write(SEQUENCE, &[write(OID, &[0x2b, 0x0e, 0x03, 0x02, 0x1a]), write(NULL, &[])].concat()),
            write(OCTET_STRING, sha1(reply.issuer.subject()).as_ref()),
            write(OCTET_STRING, sha1(key).as_ref()),
            write(INTEGER, reply.subject.serial_bytes()),
        ];
        let mut single = [write(SEQUENCE, &id.concat()), status, time(reply.this_update)].concat();
        if let Some(next) = reply.next_update {
            single.extend(write(constructed(0), &time(next)));
        }
        let mut data = write(constructed(1), self.certificate.subject());
        data.extend(time(reply.this_update));
        data.extend(write(SEQUENCE, &write(SEQUENCE, &single)));
        if let Some(nonce) = reply.nonce {
            let oid = write(OID, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02]);
            let extension = write(SEQUENCE, &[oid, write(OCTET_STRING, &write(OCTET_STRING, nonce))].concat());
            data.extend(write(constructed(1), &write(SEQUENCE, &extension)));
        }
        let data = write(SEQUENCE, &data);
        let mut signature = vec![0];
        signature.extend(self.key.sign(&data).expect("a signature"));
        // ecdsa-with-SHA256
        let algorithm = write(SEQUENCE, &write(OID, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));
        let certificates: Vec<u8> = reply.certificates.iter().flat_map(|c| c.der().to_vec()).collect();
        let mut basic = [data, algorithm, write(super::der::BIT_STRING, &signature)].concat();
        if !certificates.is_empty() {
            basic.extend(write(constructed(0), &write(SEQUENCE, &certificates)));
        }
        let kind = write(OID, &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01]);
        let bytes = write(SEQUENCE, &[kind, write(OCTET_STRING, &write(SEQUENCE, &basic))].concat());
        write(SEQUENCE, &[write(ENUMERATED, &[0]), write(constructed(0), &bytes)].concat())
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    fn of(params: CertificateParams, key: KeyPair, made: &rcgen::Certificate) -> Self {
        let certificate = Certificate::from_der(made.der()).expect("a certificate of ours");
        Self { params, key, certificate, pem: made.pem() }
    }
}

/// What an OCSP reply says.
pub struct Answering<'a> {
    pub subject: &'a Certificate,
    pub issuer: &'a Certificate,
    pub status: Status,
    pub this_update: Timestamp,
    pub next_update: Option<Timestamp>,
    pub nonce: Option<&'a [u8]>,
    pub certificates: &'a [&'a Certificate],
}

impl<'a> Answering<'a> {
    /// Of this moment, for an hour.
    pub fn now(subject: &'a Certificate, issuer: &'a Certificate, status: Status, now: Timestamp) -> Self {
        let next_update = Some(now.plus(Duration::from_secs(3600)));
        Self { subject, issuer, status, this_update: now, next_update, nonce: None, certificates: &[] }
    }
}

/// The nonce of an OCSP request.
pub fn nonce_of(request: &[u8]) -> Option<Vec<u8>> {
    let mut outer = Reader::only(request, SEQUENCE, "request").ok()?;
    let mut tbs = outer.inside(SEQUENCE).ok()?;
    tbs.body(SEQUENCE).ok()?;
    let mut wrapped = tbs.inside(constructed(2)).ok()?;
    let mut list = wrapped.inside(SEQUENCE).ok()?;
    let mut one = list.inside(SEQUENCE).ok()?;
    one.oid().ok()?;
    let mut value = one.inside(OCTET_STRING).ok()?;
    value.body(OCTET_STRING).ok().map(<[u8]>::to_vec)
}
