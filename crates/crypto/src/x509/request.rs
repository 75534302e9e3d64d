//! Certificate requests: PKCS #10 (RFC 2986).

use super::certificate::{Extension, basic_constraints, extended_key_usage, extensions};
use super::der::{Malformed, Reader, Result, SEQUENCE, SET, constructed};
use super::extensions::{BasicConstraints, Extensions, KeyUses, Names};
use super::signature::{SignatureAlgorithm, Signed};
use super::write::Writer;
use super::{Oid, Subject};
use crate::pk::{PkError, PrivateKey, PublicKey};
use std::fmt;

/// A request that was read whole and whose signature its own key made: who sent it holds the key, and nothing more is known.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    der: Box<[u8]>,
    subject: Box<[u8]>,
    name: Subject,
    key: PublicKey,
    extensions: Vec<Extension>,
    names: Names,
    key_uses: Option<KeyUses>,
    extended: Vec<String>,
    constraints: Option<BasicConstraints>,
}

/// extensionRequest of PKCS #9.
const EXTENSION_REQUEST: Oid = Oid::of(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14]);

impl Request {
    /// Reads DER.
    ///
    /// # Errors
    /// Anything else, a key or a signature of a kind that is not known here, a signature that is not its key's.
    pub fn from_der(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut outer = Reader::only(bytes, SEQUENCE, "certificate request")?;
        let signed = Signed::read(&mut outer)?;
        outer.end()?;
        let mut info = Reader::only(&signed.content, SEQUENCE, "certificate request")?;
        if info.small()? != 0 {
            return Err(Malformed("certificate request: version"));
        }
        let subject: Box<[u8]> = info.element(SEQUENCE)?.whole.into();
        let name = Subject::from_der(&subject)?;
        let spki = info.element(SEQUENCE)?.whole;
        let key = PublicKey::from_spki(spki).map_err(|_| Malformed("certificate request: public key"))?;
        // RFC 2986 has the attributes always there; OpenSSL and others leave them out where there are none.
        let asked = match info.optional_inside(constructed(0))? {
            Some(attributes) => requested(attributes)?,
            None => Vec::new(),
        };
        info.end()?;
        if !signed.is_by(spki) {
            return Err(Malformed("certificate request: signature"));
        }
        let mut request = Self {
            der: bytes.into(),
            subject,
            name,
            key,
            extensions: Vec::new(),
            names: Names::default(),
            key_uses: None,
            extended: Vec::new(),
            constraints: None,
        };
        for extension in &asked {
            match extension.oid.as_str() {
                "2.5.29.15" => request.key_uses = Some(KeyUses::read(&extension.value)?),
                "2.5.29.17" => request.names = Names::read(&extension.value)?,
                "2.5.29.19" => request.constraints = Some(basic_constraints(&extension.value)?),
                "2.5.29.37" => request.extended = extended_key_usage(&extension.value)?,
                _ => {}
            }
        }
        request.extensions = asked;
        Ok(request)
    }

    /// Reads the one request of a PEM text (`CERTIFICATE REQUEST`, or `NEW CERTIFICATE REQUEST` as older tools write).
    ///
    /// # Errors
    /// As [`Request::from_der`]; none or more than one.
    pub fn from_pem(text: &str) -> Result<Self, Malformed> {
        let blocks = super::pem_blocks(text)?;
        let [(label, der)] = &*blocks else { return Err(Malformed("PEM: it is not one block")) };
        if label != "CERTIFICATE REQUEST" && label != "NEW CERTIFICATE REQUEST" {
            return Err(Malformed("PEM: it is no certificate request"));
        }
        Self::from_der(der)
    }

    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// DER of the subject's name.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }

    /// The subject's name as fields.
    pub fn name(&self) -> &Subject {
        &self.name
    }

    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// All extensions that it asks for.
    pub fn extensions(&self) -> &[Extension] {
        &self.extensions
    }

    /// The alternative names that it asks for.
    pub fn names(&self) -> &Names {
        &self.names
    }

    pub fn key_uses(&self) -> Option<KeyUses> {
        self.key_uses
    }

    /// Extended key uses, dotted.
    pub fn extended_key_usage(&self) -> &[String] {
        &self.extended
    }

    pub fn basic_constraints(&self) -> Option<BasicConstraints> {
        self.constraints
    }
}

/// Names only its length.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} bytes)", self.der.len())
    }
}

/// DER of a request for `subject` (DER of a name), signed by its own key.
///
/// # Errors
/// [`PkError::Mismatch`] where the algorithm does not fit the key.
pub fn request(
    subject: &[u8],
    extensions: &Extensions,
    key: &PrivateKey,
    algorithm: SignatureAlgorithm,
) -> Result<Vec<u8>, PkError> {
    let public = key.public()?;
    let mut writer = Writer::with_capacity(256);
    writer.nest(SEQUENCE, |w| {
        w.small(0);
        w.raw(subject);
        w.raw(public.spki());
        w.nest(constructed(0), |w| {
            if !extensions.is_empty() {
                w.nest(SEQUENCE, |w| {
                    w.oid(&EXTENSION_REQUEST);
                    w.nest(SET, |w| w.put(SEQUENCE, extensions.bytes()));
                });
            }
        });
    });
    algorithm.sign(writer.bytes(), key)
}

/// The extensions among the attributes. Others, such as a challenge password, mean nothing here.
fn requested(mut attributes: Reader<'_>) -> Result<Vec<Extension>> {
    let mut found = None;
    while !attributes.is_empty() {
        let mut attribute = attributes.inside(SEQUENCE)?;
        let kind = attribute.identifier()?;
        let mut values = attribute.inside(SET)?;
        attribute.end()?;
        if kind == EXTENSION_REQUEST {
            let list = extensions(values.inside(SEQUENCE)?)?;
            values.end()?;
            if found.replace(list).is_some() {
                return Err(Malformed("certificate request: extensions twice"));
            }
        }
    }
    Ok(found.unwrap_or_default())
}
