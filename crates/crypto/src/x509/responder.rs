//! Answering OCSP requests (RFC 6960), with a nonce where one was sent (RFC 9654).

use super::certificate::{Certificate, extensions};
use super::der::{ENUMERATED, Malformed, OCTET_STRING, Reader, Result, SEQUENCE, constructed, primitive};
use super::list::Reason;
use super::oid::Oid;
use super::signature::{SignatureAlgorithm, split};
use super::write::Writer;
use crate::pk::{PkError, PrivateKey};
use aws_lc_rs::digest;
use coffer_types::Timestamp;

/// Certificates that one request may ask about.
const MOST: usize = 32;
/// Bytes of a nonce: RFC 9654 section 2.1 has clients send 32, older ones sent other lengths.
const LONGEST_NONCE: usize = 128;

const NONCE: Oid = Oid::of(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02]);
const NONCE_OID: &str = "1.3.6.1.5.5.7.48.1.2";
const BASIC: Oid = Oid::of(&[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01]);

/// What is asked of a responder. That someone signed it is not looked at: the answer is the same for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OcspRequest {
    /// At least one.
    pub asked: Vec<CertificateId>,
    /// The nonce's extension value as it was sent, which the answer repeats.
    nonce: Option<Box<[u8]>>,
}

/// A certificate, named by digests of its issuer's name and key and by its serial number (RFC 6960 section 4.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateId {
    /// With tag and length: the answer repeats it byte for byte.
    der: Box<[u8]>,
    /// `None` for a digest that is not known here: nobody's certificate.
    algorithm: Option<IdDigest>,
    name: Box<[u8]>,
    key: Box<[u8]>,
    serial: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdDigest {
    /// A name here, not a proof: RFC 5019 and most clients have no other.
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

impl OcspRequest {
    /// Reads DER, `application/ocsp-request`.
    ///
    /// # Errors
    /// Anything else; no certificate asked about, or more than 32; a critical extension that is not understood.
    pub fn from_der(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut outer = Reader::only(bytes, SEQUENCE, "OCSP request")?;
        let mut tbs = outer.inside(SEQUENCE)?;
        outer.optional(constructed(0))?;
        outer.end()?;
        if let Some(mut version) = tbs.optional_inside(constructed(0))? {
            if version.small()? != 0 {
                return Err(Malformed("OCSP request: version"));
            }
            version.end()?;
        }
        tbs.optional(constructed(1))?;
        let mut list = tbs.inside(SEQUENCE)?;
        let mut asked = Vec::new();
        while !list.is_empty() {
            let mut one = list.inside(SEQUENCE)?;
            asked.push(CertificateId::read(&mut one)?);
            if let Some(mut wrapped) = one.optional_inside(constructed(0))? {
                if extensions(wrapped.inside(SEQUENCE)?)?.iter().any(|extension| extension.critical) {
                    return Err(Malformed("OCSP request: a critical extension that is not understood"));
                }
                wrapped.end()?;
            }
            one.end()?;
            if asked.len() > MOST {
                return Err(Malformed("OCSP request: too many certificates"));
            }
        }
        if asked.is_empty() {
            return Err(Malformed("OCSP request: no certificate"));
        }
        let mut nonce = None;
        if let Some(mut wrapped) = tbs.optional_inside(constructed(2))? {
            for extension in extensions(wrapped.inside(SEQUENCE)?)? {
                if extension.oid == NONCE_OID {
                    if extension.value.is_empty() || extension.value.len() > LONGEST_NONCE {
                        return Err(Malformed("OCSP request: nonce"));
                    }
                    nonce = Some(extension.value);
                } else if extension.critical {
                    return Err(Malformed("OCSP request: a critical extension that is not understood"));
                }
            }
            wrapped.end()?;
        }
        tbs.end()?;
        Ok(Self { asked, nonce })
    }
}

impl CertificateId {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let whole = reader.element(SEQUENCE)?;
        let mut inner = Reader::new(whole.body, "certificate id");
        let mut algorithm = inner.inside(SEQUENCE)?;
        let algorithm = match &*algorithm.oid()? {
            "1.3.14.3.2.26" => Some(IdDigest::Sha1),
            "2.16.840.1.101.3.4.2.1" => Some(IdDigest::Sha256),
            "2.16.840.1.101.3.4.2.2" => Some(IdDigest::Sha384),
            "2.16.840.1.101.3.4.2.3" => Some(IdDigest::Sha512),
            _ => None,
        };
        let (name, key) = (inner.body(OCTET_STRING)?.into(), inner.body(OCTET_STRING)?.into());
        let serial: Box<[u8]> = inner.integer()?.into();
        inner.end()?;
        if serial.len() > 32 {
            return Err(Malformed("certificate id: serial number"));
        }
        Ok(Self { der: whole.whole.into(), algorithm, name, key, serial })
    }

    /// The serial number's bytes, two's complement.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Whether it names a certificate that this authority issued.
    pub fn is_by(&self, authority: &Certificate) -> bool {
        let Some(algorithm) = self.algorithm else { return false };
        let Ok((_, key)) = split(authority.spki()) else { return false };
        *self.name == *algorithm.of(authority.subject()) && *self.key == *algorithm.of(key)
    }
}

impl IdDigest {
    fn of(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }
}

/// What is said of one certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Good,
    Revoked { at: Timestamp, reason: Reason },
    Unknown,
}

/// A responder's answer to a request, to be signed by the issuer itself.
pub struct OcspAnswer<'a> {
    pub request: &'a OcspRequest,
    /// One for each that was asked about, in that order.
    pub said: &'a [Said],
    pub by: &'a Certificate,
    pub produced: Timestamp,
    /// When the next one is to be had; clients keep this one until then.
    pub next_update: Option<Timestamp>,
}

impl OcspAnswer<'_> {
    /// The answer, `application/ocsp-response`.
    ///
    /// # Errors
    /// [`PkError::Mismatch`] where the algorithm does not fit the key.
    pub fn sign(&self, key: &PrivateKey, algorithm: SignatureAlgorithm) -> Result<Vec<u8>, PkError> {
        let produced = self.produced.secs();
        let mut data = Writer::with_capacity(512);
        data.nest(SEQUENCE, |w| {
            w.put(constructed(1), self.by.subject());
            w.generalized(produced);
            w.nest(SEQUENCE, |w| {
                for (id, said) in self.request.asked.iter().zip(self.said) {
                    w.nest(SEQUENCE, |w| {
                        w.raw(&id.der);
                        said.write(w);
                        w.generalized(produced);
                        if let Some(next) = self.next_update {
                            w.nest(constructed(0), |w| w.generalized(next.secs()));
                        }
                    });
                }
            });
            if let Some(nonce) = &self.request.nonce {
                w.nest(constructed(1), |w| w.nest(SEQUENCE, |w| w.extension(&NONCE, false, |w| w.raw(nonce))));
            }
        });
        let basic = algorithm.sign(data.bytes(), key)?;
        let mut reply = Writer::with_capacity(basic.len() + 64);
        reply.nest(SEQUENCE, |w| {
            w.put(ENUMERATED, &[0]);
            w.nest(constructed(0), |w| {
                w.nest(SEQUENCE, |w| {
                    w.oid(&BASIC);
                    w.octets(&basic);
                });
            });
        });
        Ok(reply.finish())
    }
}

impl Said {
    fn write(self, w: &mut Writer) {
        match self {
            Self::Good => w.put(primitive(0), &[]),
            Self::Revoked { at, reason } => w.nest(constructed(1), |w| {
                w.generalized(at.secs());
                if reason != Reason::Unspecified {
                    w.nest(constructed(0), |w| w.put(ENUMERATED, &[reason.code()]));
                }
            }),
            Self::Unknown => w.put(primitive(2), &[]),
        }
    }
}

/// Why there is no answer (RFC 6960 section 4.2.1). Nobody signs that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OcspError {
    Malformed,
    Internal,
    TryLater,
    Unauthorized,
}

impl OcspError {
    /// The reply, `application/ocsp-response`.
    pub fn reply(self) -> Vec<u8> {
        let code = match self {
            Self::Malformed => 1,
            Self::Internal => 2,
            Self::TryLater => 3,
            Self::Unauthorized => 6,
        };
        let mut writer = Writer::default();
        writer.nest(SEQUENCE, |w| w.put(ENUMERATED, &[code]));
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::der::write;
    use super::super::testing::{Party, client};
    use super::super::{NoAnswer, Question, Status};
    use super::*;
    use crate::pk::PrivateKey;
    use proptest::prelude::*;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_secs(1_795_435_200);

    struct Scene {
        root: Party,
        leaf: Party,
    }

    impl Scene {
        fn new() -> Self {
            let root = Party::authority("root");
            let leaf = root.issue(client("leaf"));
            Self { root, leaf }
        }

        fn question(&self) -> Question<'_> {
            Question { certificate: &self.leaf.certificate, issuer: &self.root.certificate, also_trusted: &[], nonce: [9; 32] }
        }

        fn answer(&self, by: &Party, said: Said) -> Vec<u8> {
            let request = OcspRequest::from_der(&self.question().request().unwrap()).unwrap();
            assert!(request.asked[0].is_by(&self.root.certificate) && !request.asked[0].is_by(&self.leaf.certificate));
            assert_eq!(request.asked[0].serial(), self.leaf.certificate.serial_bytes());
            let key = PrivateKey::from_pkcs8(&by.key.serialize_der()).unwrap();
            let next_update = Some(NOW.plus(Duration::from_secs(3600)));
            let answer = OcspAnswer { request: &request, said: &[said], by: &by.certificate, produced: NOW, next_update };
            answer.sign(&key, SignatureAlgorithm::EcdsaSha256).unwrap()
        }

        fn heard(&self, reply: &[u8]) -> Result<Status, NoAnswer> {
            self.question().answer(reply, NOW, Duration::ZERO)
        }
    }

    #[test]
    fn our_client_hears_what_our_responder_says() {
        let scene = Scene::new();
        let revoked = Said::Revoked { at: NOW, reason: Reason::KeyCompromise };
        for (said, status) in [(Said::Good, Status::Good), (revoked, Status::Revoked), (Said::Unknown, Status::Unknown)] {
            assert_eq!(scene.heard(&scene.answer(&scene.root, said)), Ok(status));
        }
        let twin = Party::authority("root");
        assert_eq!(scene.heard(&scene.answer(&twin, Said::Good)), Err(NoAnswer::Unsigned));
    }

    #[test]
    fn refusals_have_their_numbers() {
        let scene = Scene::new();
        for (error, code) in
            [(OcspError::Malformed, 1), (OcspError::Internal, 2), (OcspError::TryLater, 3), (OcspError::Unauthorized, 6)]
        {
            assert_eq!(scene.heard(&error.reply()), Err(NoAnswer::Refused(code)));
        }
    }

    /// `openssl ocsp -reqout` of the samples' certificate.
    #[test]
    fn what_openssl_asks_is_read() {
        let ca = Certificate::from_pem(include_str!("samples/ca.pem")).unwrap().pop().unwrap();
        let leaf = Certificate::from_pem(include_str!("samples/leaf.pem")).unwrap().pop().unwrap();
        for request in [&include_bytes!("samples/ask-sha1.der")[..], include_bytes!("samples/ask-sha256.der")] {
            let request = OcspRequest::from_der(request).unwrap();
            assert_eq!((request.asked.len(), request.nonce.is_some()), (1, false));
            assert!(request.asked[0].is_by(&ca) && !request.asked[0].is_by(&leaf));
            assert_eq!(request.asked[0].serial(), leaf.serial_bytes());
        }
        let two = OcspRequest::from_der(include_bytes!("samples/ask-nonce.der")).unwrap();
        assert_eq!((two.asked.len(), two.nonce.is_some()), (2, true));
        assert_eq!(two.asked[1].serial(), [1]);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let good = Scene::new().question().request().unwrap();
        assert!(OcspRequest::from_der(&good).is_ok());
        for length in 0..good.len() {
            assert!(OcspRequest::from_der(&good[..length]).is_err());
        }
        let id = OcspRequest::from_der(&good).unwrap().asked[0].der.to_vec();
        let asking = |count: usize| {
            let list = write(SEQUENCE, &write(SEQUENCE, &id).repeat(count));
            OcspRequest::from_der(&write(SEQUENCE, &write(SEQUENCE, &list))).map(|request| request.asked.len())
        };
        assert_eq!((asking(1), asking(32)), (Ok(1), Ok(32)));
        assert!(asking(0).is_err() && asking(33).is_err());
        let with = |oid: &Oid, critical: bool, value: &[u8]| {
            let list = write(SEQUENCE, &write(SEQUENCE, &id));
            let mut extension = Writer::default();
            extension.extension(oid, critical, |w| w.raw(value));
            let extensions = write(constructed(2), &write(SEQUENCE, extension.bytes()));
            OcspRequest::from_der(&write(SEQUENCE, &write(SEQUENCE, &[list, extensions].concat())))
        };
        let odd = Oid::of(&[0x55, 1]);
        assert!(with(&NONCE, false, &[7; 34]).is_ok() && with(&odd, false, &[7]).is_ok());
        assert!(with(&NONCE, false, &[7; 200]).is_err(), "a long nonce would be ours to sign");
        assert!(with(&odd, true, &[7]).is_err(), "critical and unknown");
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80), at in any::<prop::sample::Index>(), to in any::<u8>()) {
            drop(OcspRequest::from_der(&bytes));
            let mut good = include_bytes!("samples/ask-nonce.der").to_vec();
            let at = at.index(good.len());
            good[at] = to;
            drop(OcspRequest::from_der(&good));
        }
    }
}
