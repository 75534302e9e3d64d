//! One X.509 certificate (RFC 5280 section 4), read strictly and whole.

use super::der::{self, Malformed, OCTET_STRING, OID, Reader, Result, SEQUENCE, SET, constructed, primitive};
use super::extensions::{BasicConstraints, KeyUses, NameConstraints, Names};
use super::signature::{SignatureAlgorithm, Signed, split};
use super::{Oid, Subject};
use crate::pk::{PkError, PublicKey};
use coffer_types::Timestamp;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;

/// A certificate of version 3.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Box<[u8]>,
    pub(super) signed: Signed,
    /// Two's complement, as it stands.
    serial: Box<[u8]>,
    /// Whole DER of the names.
    issuer: Box<[u8]>,
    subject: Box<[u8]>,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
    spki: Box<[u8]>,
    extensions: Vec<Extension>,
    known: Known,
}

/// An extension as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// `2.5.29.17`
    pub oid: String,
    pub critical: bool,
    /// DER of the value.
    pub value: Box<[u8]>,
}

impl Extension {
    /// The same as a type.
    pub fn identifier(&self) -> Option<Oid> {
        Oid::parse(&self.oid)
    }
}

/// What the extensions that are known here say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    authority: Option<BasicConstraints>,
    key_usage: Option<KeyUses>,
    extended: Option<Vec<String>>,
    names: Names,
    constraints: NameConstraints,
    subject_key_id: Option<Box<[u8]>>,
    authority_key_id: Option<Box<[u8]>>,
    ocsp: Vec<String>,
}

const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";
const ANY_EXTENDED: &str = "2.5.29.37.0";

impl Certificate {
    /// Reads DER.
    ///
    /// # Errors
    /// Anything that RFC 5280 or DER does not have, an extension twice, a byte left over, versions before 3.
    pub fn from_der(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut outer = Reader::only(bytes, SEQUENCE, "certificate")?;
        let signed = Signed::read(&mut outer)?;
        outer.end()?;
        let mut tbs = Reader::only(&signed.content, SEQUENCE, "certificate")?;
        let mut version = tbs.inside(constructed(0)).map_err(|_| Malformed("certificate: only version 3 is taken"))?;
        if version.small()? != 2 {
            return Err(Malformed("certificate: only version 3 is taken"));
        }
        version.end()?;
        let serial: Box<[u8]> = tbs.integer()?.into();
        if serial.len() > 32 {
            return Err(Malformed("certificate: serial number"));
        }
        // The algorithm stands twice; what is signed must say the same.
        if *tbs.body(SEQUENCE)? != *signed.algorithm {
            return Err(Malformed("certificate: signature algorithm"));
        }
        let issuer = tbs.element(SEQUENCE)?.whole.into();
        let mut validity = tbs.inside(SEQUENCE)?;
        let (not_before, not_after) = (validity.seconds()?, validity.seconds()?);
        validity.end()?;
        let subject = tbs.element(SEQUENCE)?.whole.into();
        let spki: Box<[u8]> = tbs.element(SEQUENCE)?.whole.into();
        split(&spki)?;
        tbs.optional(primitive(1))?;
        tbs.optional(primitive(2))?;
        let extensions = match tbs.optional_inside(constructed(3))? {
            Some(mut wrapped) => {
                let list = extensions(wrapped.inside(SEQUENCE)?)?;
                wrapped.end()?;
                list
            }
            None => Vec::new(),
        };
        tbs.end()?;
        let known = Known::of(&extensions)?;
        Ok(Self {
            der: bytes.into(),
            signed: signed.clone(),
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            spki,
            extensions,
            known,
        })
    }

    /// All certificates of a PEM text, in its order; text between them is passed over.
    ///
    /// # Errors
    /// Broken PEM, or a certificate that [`Certificate::from_der`] refuses. No certificate at all is an empty list.
    pub fn from_pem(text: &str) -> Result<Vec<Self>, Malformed> {
        CertificateDer::pem_slice_iter(text.as_bytes())
            .map(|found| found.map_err(|_| Malformed("PEM")).and_then(|der| Self::from_der(&der)))
            .collect()
    }

    /// The whole certificate: what is compared where one is trusted by itself.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the whole certificate, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        hex(&crate::digest::Algorithm::Sha256.digest(&[&self.der]), "")
    }

    /// The serial number in decimal.
    pub fn serial(&self) -> String {
        decimal(&self.serial)
    }

    /// The serial number's bytes, two's complement.
    pub fn serial_bytes(&self) -> &[u8] {
        &self.serial
    }

    /// DER of the issuer's name.
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }

    /// DER of the subject's name.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// DER of the SubjectPublicKeyInfo.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The subject's common name, the last one if it has several; empty if none.
    pub fn common_name(&self) -> String {
        self.subject_texts("2.5.4.3").pop().unwrap_or_default()
    }

    /// The subject's organizational units.
    pub fn organizational_units(&self) -> Vec<String> {
        self.subject_texts("2.5.4.11")
    }

    /// The issuer's name for people, in the form of RFC 4514: `CN=a,O=b`.
    pub fn issuer_text(&self) -> String {
        Subject::from_der(&self.issuer).map(|name| name.to_string()).unwrap_or_default()
    }

    pub fn names(&self) -> &Names {
        &self.known.names
    }

    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// `ab:cd:…`, empty if there is none.
    pub fn subject_key_id(&self) -> String {
        self.known.subject_key_id.as_deref().map(|id| hex(id, ":")).unwrap_or_default()
    }

    /// `ab:cd:…`, empty if there is none.
    pub fn authority_key_id(&self) -> String {
        self.known.authority_key_id.as_deref().map(|id| hex(id, ":")).unwrap_or_default()
    }

    /// Where its issuer answers OCSP.
    pub fn ocsp_servers(&self) -> &[String] {
        &self.known.ocsp
    }

    /// Whether it says that it is an authority.
    pub fn is_authority(&self) -> bool {
        self.known.authority.is_some_and(|constraints| constraints.authority)
    }

    /// How many authorities may follow below it; nothing if it does not say.
    pub fn path_length(&self) -> Option<u32> {
        self.known.authority.and_then(|constraints| constraints.path_length)
    }

    /// What its key may be used for; nothing if it does not say.
    pub fn key_uses(&self) -> Option<KeyUses> {
        self.known.key_usage
    }

    /// The extended uses of its key, dotted; nothing if it does not say.
    pub fn extended_key_usage(&self) -> Option<&[String]> {
        self.known.extended.as_deref()
    }

    pub fn name_constraints(&self) -> &NameConstraints {
        &self.known.constraints
    }

    pub fn may_sign_certificates(&self) -> bool {
        self.is_authority() && self.known.key_usage.is_none_or(|uses| uses.contains(KeyUses::CERT_SIGN))
    }

    pub fn may_sign_lists(&self) -> bool {
        self.known.key_usage.is_none_or(|uses| uses.contains(KeyUses::CRL_SIGN))
    }

    /// Whether it may be a client's, or a client's issuer's: it does not say what else it is for, or says this too.
    pub(super) fn may_be_a_clients(&self) -> bool {
        self.known.extended.as_ref().is_none_or(|uses| uses.iter().any(|oid| oid == CLIENT_AUTH || oid == ANY_EXTENDED))
    }

    /// Whether it says that it is for clients; silence is no.
    pub fn is_for_clients(&self) -> bool {
        self.known.extended.is_some() && self.may_be_a_clients()
    }

    /// Whether it says that it signs OCSP replies for its issuer; silence is no.
    pub(super) fn is_for_ocsp(&self) -> bool {
        self.known.extended.as_ref().is_some_and(|uses| uses.iter().any(|oid| oid == OCSP_SIGNING))
    }

    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now.secs() && now.secs() <= self.not_after
    }

    pub fn not_after(&self) -> Timestamp {
        Timestamp::from_secs(self.not_after)
    }

    /// From when it is valid, in seconds since 1970.
    pub fn not_before_secs(&self) -> i64 {
        self.not_before
    }

    /// Until when it is valid, in seconds since 1970: a year that [`Timestamp`] can't say among them.
    pub fn not_after_secs(&self) -> i64 {
        self.not_after
    }

    /// Whether subject and issuer have the same name.
    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether its own key signed it.
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued() && self.signed(self)
    }

    /// The subject's name as fields.
    ///
    /// # Errors
    /// An attribute that is no text.
    pub fn subject_name(&self) -> Result<Subject, Malformed> {
        Subject::from_der(&self.subject)
    }

    /// # Errors
    /// A key of a kind or size that is not known here.
    pub fn public_key(&self) -> Result<PublicKey, PkError> {
        PublicKey::from_spki(&self.spki)
    }

    /// The algorithm of the issuer's signature; nothing if it is not known here.
    pub fn signature_algorithm(&self) -> Option<SignatureAlgorithm> {
        SignatureAlgorithm::from_identifier(&self.signed.algorithm)
    }

    /// The bytes of the subject key identifier.
    pub fn subject_key_id_bytes(&self) -> Option<&[u8]> {
        self.known.subject_key_id.as_deref()
    }

    /// The bytes of the authority key identifier.
    pub fn authority_key_id_bytes(&self) -> Option<&[u8]> {
        self.known.authority_key_id.as_deref()
    }

    pub fn to_pem(&self) -> String {
        super::pem("CERTIFICATE", &self.der)
    }

    /// A critical extension that nothing here understands, by its OID.
    pub(super) fn unknown_critical(&self) -> Option<&str> {
        self.extensions.iter().find(|e| e.critical && !KNOWN.contains(&e.oid.as_str())).map(|e| e.oid.as_str())
    }

    /// Whether this certificate's key signed `other`.
    pub fn signed(&self, other: &Self) -> bool {
        other.signed.is_by(&self.spki)
    }

    fn subject_texts(&self, oid: &str) -> Vec<String> {
        name_texts(&self.subject, oid).unwrap_or_default()
    }
}

/// Names only the subject's fingerprint: certificates are public, but long.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.fingerprint())
    }
}

/// The extensions that are understood: critical ones besides these are refused. Name constraints are checked with the chain.
const KNOWN: [&str; 9] =
    ["2.5.29.14", "2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.30", "2.5.29.31", "2.5.29.35", "2.5.29.37", "1.3.6.1.5.5.7.1.1"];

impl Known {
    fn of(extensions: &[Extension]) -> Result<Self> {
        let mut known = Self::default();
        for extension in extensions {
            let value = &*extension.value;
            match extension.oid.as_str() {
                "2.5.29.14" => {
                    let mut reader = Reader::new(value, "subject key identifier");
                    known.subject_key_id = Some(reader.body(OCTET_STRING)?.into());
                    reader.end()?;
                }
                "2.5.29.15" => known.key_usage = Some(KeyUses::read(value)?),
                "2.5.29.17" => known.names = Names::read(value)?,
                "2.5.29.30" => known.constraints = NameConstraints::read(value)?,
                "2.5.29.19" => known.authority = Some(basic_constraints(value)?),
                "2.5.29.35" => {
                    let mut inner = Reader::only(value, SEQUENCE, "authority key identifier")?;
                    known.authority_key_id = inner.optional(primitive(0))?.map(Into::into);
                }
                "2.5.29.37" => known.extended = Some(extended_key_usage(value)?),
                "1.3.6.1.5.5.7.1.1" => known.ocsp = ocsp_servers(value)?,
                _ => {}
            }
        }
        Ok(known)
    }
}

/// `SEQUENCE OF Extension`, each OID once.
pub(super) fn extensions(mut list: Reader<'_>) -> Result<Vec<Extension>> {
    let mut found: Vec<Extension> = Vec::new();
    while !list.is_empty() {
        let mut one = list.inside(SEQUENCE)?;
        let oid = one.oid()?;
        let critical = if one.next_is(der::BOOLEAN) { one.boolean()? } else { false };
        let value = one.body(OCTET_STRING)?.into();
        one.end()?;
        if found.iter().any(|e| e.oid == oid) {
            return Err(Malformed("extensions: one stands twice"));
        }
        found.push(Extension { oid, critical, value });
    }
    Ok(found)
}

pub(super) fn basic_constraints(value: &[u8]) -> Result<BasicConstraints> {
    let mut inner = Reader::only(value, SEQUENCE, "basic constraints")?;
    let authority = if inner.next_is(der::BOOLEAN) { inner.boolean()? } else { false };
    let path_length = if inner.is_empty() { None } else { Some(inner.small()?) };
    inner.end()?;
    Ok(BasicConstraints { authority, path_length })
}

pub(super) fn extended_key_usage(value: &[u8]) -> Result<Vec<String>> {
    let mut inner = Reader::only(value, SEQUENCE, "extended key usage")?;
    let mut uses = Vec::new();
    while !inner.is_empty() {
        uses.push(inner.oid()?);
    }
    Ok(uses)
}

fn ocsp_servers(value: &[u8]) -> Result<Vec<String>> {
    let mut inner = Reader::only(value, SEQUENCE, "authority information access")?;
    let mut servers = Vec::new();
    while !inner.is_empty() {
        let mut one = inner.inside(SEQUENCE)?;
        let method = one.oid()?;
        let place = one.any()?;
        one.end()?;
        if method == "1.3.6.1.5.5.7.48.1" && place.tag == primitive(6) {
            let text = std::str::from_utf8(place.body).map_err(|_| Malformed("authority information access"))?;
            servers.push(text.to_owned());
        }
    }
    Ok(servers)
}

/// The texts of one kind of attribute in a name.
fn name_texts(name: &[u8], oid: &str) -> Result<Vec<String>> {
    let mut parts = Reader::only(name, SEQUENCE, "name")?;
    let mut found = Vec::new();
    while !parts.is_empty() {
        let mut set = parts.inside(SET)?;
        while !set.is_empty() {
            let mut pair = set.inside(SEQUENCE)?;
            let is_it = pair.next_is(OID) && pair.oid()? == oid;
            let value = pair.any()?;
            if is_it {
                found.extend(der::text(&value));
            }
        }
    }
    Ok(found)
}

/// The text of an extension's value where it is one string.
pub fn extension_text(value: &[u8]) -> Option<String> {
    let mut reader = Reader::new(value, "extension");
    let element = reader.any().ok()?;
    reader.end().ok()?;
    der::text(&element)
}

fn hex(bytes: &[u8], between: &str) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(between)
}

/// An integer's bytes, two's complement, in decimal.
pub(super) fn decimal(bytes: &[u8]) -> String {
    let negative = bytes.first().is_some_and(|b| *b >= 0x80);
    let mut magnitude = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            let (sum, over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (sum, over);
        }
    }
    // Decimal digits, the least first.
    let mut digits = vec![0u8];
    for byte in magnitude {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            (*digit, carry) = ((carry % 10) as u8, carry / 10);
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    let text: String = digits.iter().rev().map(|d| char::from(b'0' + d)).collect();
    if negative { format!("-{text}") } else { text }
}
