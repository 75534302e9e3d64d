//! Signing other authorities: their requests, and certificates that they signed themselves.

use super::bundle::Format;
use super::issuer::{LeafNotAfter, Use};
use super::root::AskAuthority;
use super::signer::Signer;
use super::stored::Stored;
use super::urls::Urls;
use super::validity::{self, Limits, Validity};
use super::{Cx, Pki, serial, subject};
use coffer_crypto::x509::{Certificate, Draft, Extensions, Request as Csr, key_id, pem_blocks};
use coffer_engine::{Declare, Reply, Request};
use coffer_types::{Error, Json, Object, Result, Span};

pub(super) fn declare(d: &mut Declare<Pki>) {
    const PLAIN: &[&str] = &["csr", "common_name", "alt_names", "ip_sans", "ttl", "certificate", "issuer_ref"];
    const SIGN: &str = "Signs the request of an authority below.";
    d.at("root/sign-intermediate").about(SIGN).plain(PLAIN).write(sign_intermediate);
    d.at("issuer/{issuer_ref}/sign-intermediate").about(SIGN).plain(PLAIN).write(sign_intermediate_by);
    const SELF: &str = "Signs the certificate of an authority that signed itself.";
    d.at("root/sign-self-issued").about(SELF).plain(PLAIN).sudo().write(sign_self_issued);
    d.at("issuer/{issuer_ref}/sign-self-issued").about(SELF).plain(PLAIN).sudo().write(sign_self_issued_by);
}

/// Sign the request of an authority below.
#[derive(Request)]
struct SignIntermediate {
    /// The issuer: its id, its name, or `default`.
    #[field(default = "default".to_owned())]
    issuer_ref: String,
    #[field(flatten)]
    what: AskIntermediate,
}

async fn sign_intermediate(cx: Cx, q: SignIntermediate) -> Result<Reply> {
    intermediate(&cx, &q.issuer_ref, q.what).await
}

/// Sign the request of an authority below by this issuer.
#[derive(Request)]
struct SignIntermediateBy {
    /// The issuer: its id, its name, or `default`.
    #[field(path)]
    issuer_ref: String,
    #[field(flatten)]
    what: AskIntermediate,
}

async fn sign_intermediate_by(cx: Cx, q: SignIntermediateBy) -> Result<Reply> {
    intermediate(&cx, &q.issuer_ref, q.what).await
}

/// What is asked of an authority below.
#[derive(Request)]
struct AskIntermediate {
    /// The request in PEM.
    #[field(default)]
    csr: String,
    #[field(flatten)]
    subject: subject::Ask,
    #[field(flatten)]
    validity: validity::Ask,
    /// How far before now it begins to be valid.
    #[field(default = Span::from_secs(30))]
    not_before_duration: Span,
    /// `pem`, `der` or `pem_bundle`.
    #[field(default)]
    format: String,
    /// Not used: there is no key to show.
    #[field(default, rename = "private_key_format")]
    _private_key_format: String,
    /// Not used: the issuer is named where it is taken in.
    #[field(default, rename = "issuer_name")]
    _issuer_name: String,
    /// Subject, names and extensions are those of the request.
    #[field(default)]
    use_csr_values: bool,
    /// The identifier of its key, in hexadecimal; else that of RFC 5280.
    #[field(default)]
    skid: String,
    /// Bits of the signature's digest: 256, 384, 512; 0 for what fits.
    #[field(default)]
    signature_bits: i64,
    /// RSASSA-PSS in place of PKCS #1 v1.5.
    #[field(default)]
    use_pss: bool,
    #[field(flatten)]
    authority: AskAuthority,
}

/// A request in PEM, in the words of the reference where it is none.
pub(super) fn parse_csr(text: &str) -> Result<Csr> {
    if text.is_empty() {
        return Err(Error::bad_request("\"csr\" is empty"));
    }
    if pem_blocks(text).map_or(true, |blocks| blocks.is_empty()) {
        return Err(Error::bad_request("csr contains no data"));
    }
    Csr::from_pem(text).map_err(|why| Error::bad_request(format!("certificate request could not be parsed: {why}")))
}

async fn intermediate(cx: &Cx, reference: &str, ask: AskIntermediate) -> Result<Reply> {
    let format = Format::parse(&ask.format)?;
    let signer = Signer::open(cx, reference, Use::Issuing).await?;
    let csr = parse_csr(&ask.csr)?;
    let mut warnings = Vec::new();
    let limits = Limits { not_before_duration: ask.not_before_duration, ..Limits::default() };
    let validity = Validity::of(cx, &ask.validity, &limits, &mut warnings)?;
    // An authority may outlive its issuer where it is trusted by itself too; a leaf's rule holds where the issuer says so.
    let validity = match signer.issuer.leaf_not_after {
        LeafNotAfter::Truncate => validity.within(&signer.certificate, LeafNotAfter::Truncate)?,
        _ => validity,
    };
    if validity.not_after > signer.certificate.not_after_secs() {
        warnings.push(
            "The expiration time for the signed certificate is after the CA's expiration time. If the new certificate is not treated as \
             a root, validation paths with the certificate past the issuing CA's expiration time will fail."
                .to_owned(),
        );
    }
    let path_length = below(&signer.certificate, ask.authority.path_length()?)?;
    if path_length == Some(0) {
        warnings.push(
            "Max path length of the signed certificate is zero. This certificate cannot be used to issue intermediate CA certificates."
                .to_owned(),
        );
    }
    let skid = subject_key_id(&ask.skid, csr.key().spki())?;
    let (name, names) = if ask.use_csr_values {
        (csr.subject().to_vec(), csr.names().clone())
    } else {
        let mut with = ask.subject.subject();
        if with.common_name.is_empty() {
            with.common_name.clone_from(&csr.name().common_name);
        }
        let mut names = ask.subject.names()?;
        if ask.subject.common_name.is_empty() && !ask.subject.names.exclude_cn_from_sans {
            subject::add_host_or_mail(&mut names, &with.common_name)?;
        }
        (with.to_der(), names)
    };
    super::constraints::check(&signer.certificate, &names)?;
    let urls = Urls::of(cx, &signer.issuer).await?;
    if urls.is_empty() {
        warnings.push(super::urls::NONE.to_owned());
    }
    let mut extensions = ask.authority.begin(path_length);
    extensions.subject_key_id(&skid);
    finish(&mut extensions, &signer, &urls)?;
    extensions.alternative_names(&names, name == [0x30, 0]);
    extensions.name_constraints(&ask.authority.constraints()?);
    extensions.crl_points(&urls.crl_distribution_points);
    extensions.freshest_crl(&urls.delta_crl_distribution_points);
    if ask.use_csr_values {
        copy_others(&mut extensions, &csr);
    }
    let (serial, spki) = (serial::new(cx), csr.key().spki().to_vec());
    let algorithm = signer.algorithm(ask.signature_bits, ask.use_pss);
    let issuer_name = signer.certificate.subject().to_vec();
    let der = signer
        .sign(cx, move |private| {
            let draft = Draft {
                serial: &serial,
                issuer: &issuer_name,
                subject: &name,
                not_before: validity.not_before,
                not_after: validity.not_after,
                spki: &spki,
                extensions: &extensions,
            };
            draft.sign(private, algorithm)
        })
        .await?;
    Stored::put(cx, &serial::key(&serial), &signer.issuer.id, validity.not_after, &der);
    let above = signer.issuer.chain_der(cx).await?;
    let chain: Vec<String> = std::iter::once(&der).chain(&above).map(|der| format.certificate(der)).collect();
    let shown = Object::new()
        .with("ca_chain", chain)
        .with("certificate", Json::String(format.whole("CERTIFICATE", &der, None, &above)?))
        .with("expiration", validity.not_after)
        .with("issuing_ca", format.certificate(&signer.issuer.certificate.0))
        .with("serial_number", serial::show(&serial));
    Ok(warnings.into_iter().fold(Reply::data(shown), Reply::warn))
}

/// How many authorities may follow below one that this issuer signs.
///
/// # Errors
/// None may be below the issuer, or fewer than are asked for (RFC 5280 section 4.2.1.9).
fn below(issuer: &Certificate, asked: Option<u32>) -> Result<Option<u32>> {
    let Some(most) = issuer.path_length() else { return Ok(asked) };
    let Some(left) = most.checked_sub(1) else {
        return Err(Error::bad_request("the issuer's path length is zero: it may not sign another authority"));
    };
    match asked {
        None => Ok(Some(left)),
        Some(asked) if asked <= left => Ok(Some(asked)),
        Some(asked) => {
            Err(Error::bad_request(format!("max_path_length {asked} is more than the issuer's own path length leaves: {left}")))
        }
    }
}

fn subject_key_id(text: &str, spki: &[u8]) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(key_id(spki).map_err(Error::internal)?.to_vec());
    }
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | '-' | ' ')).collect();
    let fits = !digits.is_empty() && digits.len().is_multiple_of(2) && digits.len() <= 128;
    if !fits || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(Error::bad_request("cannot parse requested SKID value as hex"));
    }
    let pairs = digits.as_bytes().chunks_exact(2).filter_map(|pair| std::str::from_utf8(pair).ok());
    Ok(pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect())
}

/// Who signed it, and where that one is.
pub(super) fn finish(extensions: &mut Extensions, signer: &Signer, urls: &Urls) -> Result<()> {
    match signer.certificate.subject_key_id_bytes() {
        Some(id) => extensions.authority_key_id(id),
        None => extensions.authority_key_id(&key_id(signer.certificate.spki()).map_err(Error::internal)?),
    }
    extensions.authority_access(&urls.ocsp_servers, &urls.issuing_certificates);
    Ok(())
}

/// The extensions of a request that are not made here anyway.
fn copy_others(extensions: &mut Extensions, csr: &Csr) {
    const MADE: [&str; 10] = [
        "2.5.29.14",
        "2.5.29.15",
        "2.5.29.17",
        "2.5.29.19",
        "2.5.29.30",
        "2.5.29.31",
        "2.5.29.35",
        "2.5.29.37",
        "2.5.29.46",
        "1.3.6.1.5.5.7.1.1",
    ];
    csr.extensions().iter().filter(|e| !MADE.contains(&e.oid.as_str())).for_each(|e| extensions.copy(e));
}

/// Sign the certificate of an authority that signed itself.
#[derive(Request)]
struct SignSelfIssued {
    /// The issuer: its id, its name, or `default`.
    #[field(default = "default".to_owned())]
    issuer_ref: String,
    #[field(flatten)]
    what: AskSelfIssued,
}

async fn sign_self_issued(cx: Cx, q: SignSelfIssued) -> Result<Reply> {
    self_issued(&cx, &q.issuer_ref, q.what).await
}

/// Sign the certificate of an authority that signed itself by this issuer.
#[derive(Request)]
struct SignSelfIssuedBy {
    /// The issuer: its id, its name, or `default`.
    #[field(path)]
    issuer_ref: String,
    #[field(flatten)]
    what: AskSelfIssued,
}

async fn sign_self_issued_by(cx: Cx, q: SignSelfIssuedBy) -> Result<Reply> {
    self_issued(&cx, &q.issuer_ref, q.what).await
}

/// Which certificate, and how strictly.
#[derive(Request)]
struct AskSelfIssued {
    /// The certificate in PEM.
    #[field(default)]
    certificate: String,
    /// Its algorithm of signatures must be one that the issuer has.
    #[field(default)]
    require_matching_certificate_algorithms: bool,
}

async fn self_issued(cx: &Cx, reference: &str, ask: AskSelfIssued) -> Result<Reply> {
    let blocks = pem_blocks(&ask.certificate).unwrap_or_default();
    let (_, der) = blocks.first().ok_or_else(|| Error::bad_request("certificate could not be PEM-decoded"))?;
    if blocks.len() > 1 {
        return Err(Error::bad_request("one and only one certificate should be provided"));
    }
    let given =
        Certificate::from_der(der).map_err(|why| Error::bad_request(format!("certificate could not be parsed: {why}")))?;
    if !given.is_authority() {
        return Err(Error::bad_request("given certificate is not a CA certificate"));
    }
    if !given.is_self_issued() || !given.is_self_signed() {
        return Err(Error::bad_request("given certificate is not self-issued"));
    }
    let signer = Signer::open(cx, reference, Use::Issuing).await?;
    let algorithm = match given.signature_algorithm() {
        Some(algorithm) if algorithm.fits(signer.kind()) => algorithm,
        _ if ask.require_matching_certificate_algorithms => {
            return Err(Error::bad_request(
                "the certificate's algorithm of signatures is none that the issuer's key has, and they must match",
            ));
        }
        _ => signer.algorithm(0, false),
    };
    // RFC 5280 section 4.2.1.9 holds for it as for any authority below.
    let path_length = below(&signer.certificate, given.path_length())?;
    if given.path_length().is_none() && path_length.is_some() {
        return Err(Error::bad_request("the issuer's path length is limited, and the certificate's is not"));
    }
    super::constraints::check(&signer.certificate, given.names())?;
    let urls = Urls::of(cx, &signer.issuer).await?;
    let mut extensions = Extensions::default();
    const REPLACED: [&str; 4] = ["2.5.29.31", "2.5.29.35", "2.5.29.46", "1.3.6.1.5.5.7.1.1"];
    given.extensions().iter().filter(|e| !REPLACED.contains(&e.oid.as_str())).for_each(|e| extensions.copy(e));
    finish(&mut extensions, &signer, &urls)?;
    extensions.crl_points(&urls.crl_distribution_points);
    extensions.freshest_crl(&urls.delta_crl_distribution_points);
    let issuer_name = signer.certificate.subject().to_vec();
    let der = signer
        .sign(cx, move |private| {
            let draft = Draft {
                serial: given.serial_bytes(),
                issuer: &issuer_name,
                subject: given.subject(),
                not_before: given.not_before_secs(),
                not_after: given.not_after_secs(),
                spki: given.spki(),
                extensions: &extensions,
            };
            draft.sign(private, algorithm)
        })
        .await?;
    let shown = Object::new()
        .with("certificate", Format::Pem.certificate(&der))
        .with("issuing_ca", Format::Pem.certificate(&signer.issuer.certificate.0));
    Ok(Reply::data(shown))
}
