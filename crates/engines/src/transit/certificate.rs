//! Certificates of keys, and requests for them.

use super::{Cx, Transit, failed, keyring};
use crate::keyring::KeyRecord;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_crypto::pk::{PkError, PrivateKey, PublicKey};
use coffer_crypto::x509::{self, Certificate, Extensions, Request as Template, SignatureAlgorithm};
use coffer_engine::{Declare, Reply, Request};
use coffer_types::{Error, Object, Result};

pub(super) fn declare(d: &mut Declare<Transit>) {
    d.at("keys/{name}/csr").about("Makes a certificate request for a key.").write(csr);
    d.at("keys/{name}/set-certificate").about("Keeps a certificate and its issuers with a version of a key.").write(set);
}

/// A key that certificates can be of.
fn signing(key: Option<KeyRecord>, name: &str) -> Result<KeyRecord> {
    let key = key.ok_or_else(|| Error::bad_request(format!("key with provided name '{name}' not found")))?;
    if !key.spec.signs() {
        return Err(Error::bad_request(format!("key type '{}' does not support signing", key.spec.name())));
    }
    if key.derived {
        return Err(Error::bad_request("operation not supported for keys with derivation enabled"));
    }
    Ok(key)
}

/// The version that is asked for, 0 being the latest, if it is still in use.
fn live(key: &KeyRecord, asked: i64) -> Option<u32> {
    match u32::try_from(asked).ok()? {
        0 => Some(key.latest),
        number => (number >= key.min_decryption.max(key.min_available) && number <= key.latest).then_some(number),
    }
}

/// Make a certificate request.
#[derive(Request)]
struct Csr {
    /// The key's name.
    #[field(path)]
    name: String,
    /// The version that signs; 0 is the latest.
    #[field(default)]
    version: i64,
    /// A request as PEM, whose subject and extensions the new one takes over; without it both are empty.
    #[field(default)]
    csr: String,
}

async fn csr(cx: Cx, ask: Csr) -> Result<Reply> {
    let ring = keyring(&cx);
    let key = signing(ring.find(&ask.name).await?, &ask.name)?;
    let (subject, extensions) = template(&ask.csr)?;
    let refused = |why: &str| Error::bad_request(format!("could not create the csr: {why}"));
    let number = live(&key, ask.version).ok_or_else(|| refused("no such key version"))?;
    let material = ring.material(&key, number).await?;
    let private = material.private.as_ref().ok_or_else(|| refused("the private half of this key is not here"))?;
    let der = request(private, &subject, &extensions).map_err(|error| match error {
        PkError::Unsupported => refused("certificates of such keys are not supported"),
        other => Error::internal(other),
    })?;
    let shown = Object::new()
        .with("name", key.name.as_str())
        .with("type", key.spec.name())
        .with("csr", x509::pem("CERTIFICATE REQUEST", &der));
    Ok(Reply::data(shown))
}

/// Subject, as DER, and extensions of a request.
fn template(pem: &str) -> Result<(Vec<u8>, Extensions)> {
    // DER of the empty name.
    const NOBODY: [u8; 2] = [0x30, 0];
    let mut extensions = Extensions::default();
    if pem.is_empty() {
        return Ok((NOBODY.to_vec(), extensions));
    }
    let template = Template::from_pem(pem)
        .map_err(|what| Error::bad_request(format!("could not decode PEM CSR, or it does not verify: {what}")))?;
    for extension in template.extensions() {
        extensions.copy(extension);
    }
    Ok((template.subject().to_vec(), extensions))
}

fn request(key: &PrivateKey, subject: &[u8], extensions: &Extensions) -> std::result::Result<Vec<u8>, PkError> {
    // As long as the curve, and SHA-256 for RSA.
    let algorithm = SignatureAlgorithm::for_key(key.kind(), 0, false).ok_or(PkError::Unsupported)?;
    x509::request(subject, extensions, key, algorithm)
}

/// Keep a certificate with a key.
#[derive(Request)]
struct Set {
    /// The key's name.
    #[field(path)]
    name: String,
    /// The version that the certificate is for; 0 is the latest.
    #[field(default)]
    version: i64,
    /// Certificates as PEM, the key's own first, an authority's last.
    #[field(default)]
    certificate_chain: String,
}

async fn set(cx: Cx, ask: Set) -> Result<Reply> {
    let ring = keyring(&cx);
    let key = signing(ring.find(&ask.name).await?, &ask.name)?;
    let certificates = read(&ask.certificate_chain)?;
    let refused = |why: &str| Error::bad_request(format!("failed to persist certificate chain: {why}"));
    let number = live(&key, ask.version).ok_or_else(|| refused("no such key version"))?;
    let [leaf, issuers @ ..] = certificates.as_slice() else {
        return Err(Error::bad_request("provided certificate chain did not contain any valid PEM encoded certificate"));
    };
    if leaf.authority {
        return Err(refused("certificate in the first element is not a valid leaf certificate"));
    }
    if issuers.last().is_some_and(|last| !last.authority) {
        return Err(refused("certificate in the last element is not a valid CA certificate"));
    }
    let mut version = ring.version(&key, number).await?;
    if leaf.spki != version.public.0 {
        return Err(failed(
            "failed to persist certificate chain: leaf certificate public key does not match the selected key version",
        ));
    }
    version.chain = as_text(&certificates);
    ring.put(&key, number, &version)?;
    let shown = Object::new()
        .with("name", key.name.as_str())
        .with("type", key.spec.name())
        .with("certificate_chain", ask.certificate_chain.as_str());
    Ok(Reply::data(shown))
}

/// The certificates of a text, which must hold nothing else from the first one on.
fn read(text: &str) -> Result<Vec<Link>> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END CERTIFICATE-----";
    let undecodable = || Error::bad_request("could not decode a PEM block in the certificate chain");
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let blocks = text.match_indices(BEGIN).count();
    let behind = text.rfind(END).map(|at| &text[at + END.len()..]).ok_or_else(undecodable)?;
    let found = x509::pem_blocks(text).map_err(|_| undecodable())?;
    // What is no certificate, a private key above all, has no place here.
    if found.len() != blocks || found.iter().any(|(label, _)| label != "CERTIFICATE") || !behind.trim().is_empty() {
        return Err(undecodable());
    }
    let unread = || Error::bad_request("could not parse a certificate in the certificate chain: it is no X.509 certificate");
    found.iter().map(|(_, der)| Link::read(der).ok_or_else(unread)).collect()
}

/// A certificate of a chain. Those of version 1, which some tools still make, have no extensions and so are no authority's.
pub(super) struct Link {
    der: Vec<u8>,
    spki: Vec<u8>,
    authority: bool,
}

impl Link {
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        if let Ok(certificate) = Certificate::from_der(der) {
            let (spki, authority) = (certificate.spki().to_vec(), certificate.is_authority());
            return Some(Self { der: der.to_vec(), spki, authority });
        }
        // SEQUENCE { SEQUENCE { …: the version stands first as [0], but for version 1, where the serial number does.
        let inside = |bytes: &[u8]| -> Option<Vec<u8>> {
            let [0x30, length, rest @ ..] = bytes else { return None };
            let longer = if length & 0x80 == 0 { 0 } else { usize::from(length & 0x7f) };
            rest.get(longer..).map(<[u8]>::to_vec)
        };
        let first = inside(der).and_then(|certificate| inside(&certificate))?.first().copied()?;
        let public = PublicKey::of_certificate(der).ok().filter(|_| first == 0x02)?;
        Some(Self { der: der.to_vec(), spki: public.spki().to_vec(), authority: false })
    }
}

/// PEM of all of them, without a newline at the end.
pub(super) fn as_text(certificates: &[Link]) -> String {
    let mut out = String::new();
    for certificate in certificates {
        let body = STANDARD.encode(&certificate.der);
        out.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = body.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(64));
            out.push_str(line);
            out.push('\n');
            rest = after;
        }
        out.push_str("-----END CERTIFICATE-----\n");
    }
    out.truncate(out.trim_end().len());
    out
}
