//! Certificates of those who are no authority: with a new key (`issue`), or for a request that is signed (`sign`, `sign-verbatim`).

use super::allowed::{Allowed, Given};
use super::authority::{self, parse_csr};
use super::bundle::{Format, is_pkcs8};
use super::issuer::Use;
use super::role::{self, Role};
use super::signer::Signer;
use super::stored::Stored;
use super::urls::Urls;
use super::validity::{self, Limits, Validity};
use super::{Cx, Pki, constraints, keys, revoke, serial, subject, uses};
use coffer_crypto::pk::{KeyKind, PrivateKey};
use coffer_crypto::x509::{BasicConstraints, Certificate, Draft, Extensions, KeyUses, Names, Request as Csr, Subject, key_id};
use coffer_engine::{Declare, Reply, Request, Terms};
use coffer_types::{Error, Json, Object, Result, Span};
use std::sync::Arc;

pub(super) fn declare(d: &mut Declare<Pki>) {
    const PLAIN: &[&str] = &["common_name", "alt_names", "ip_sans", "uri_sans", "ttl", "format", "csr", "issuer_ref"];
    const ISSUE: &str = "Issues a certificate with a new key.";
    d.at("issue/{role}").about(ISSUE).plain(PLAIN).write(issue);
    d.at("issuer/{issuer_ref}/issue/{role}").about(ISSUE).plain(PLAIN).write(issue_by);
    const SIGN: &str = "Signs a request, held to a role.";
    d.at("sign/{role}").about(SIGN).plain(PLAIN).write(sign);
    d.at("issuer/{issuer_ref}/sign/{role}").about(SIGN).plain(PLAIN).write(sign_by);
}

/// What is asked of a certificate.
#[derive(Request)]
pub(super) struct Ask {
    /// The common name.
    #[field(default)]
    pub(super) common_name: String,
    #[field(flatten)]
    pub(super) names: subject::AskNames,
    /// The subject's serial number, which is not the certificate's.
    #[field(default)]
    pub(super) serial_number: String,
    /// User ids of the subject.
    #[field(default)]
    pub(super) user_ids: Vec<String>,
    #[field(flatten)]
    pub(super) validity: validity::Ask,
    /// `pem`, `der` or `pem_bundle`.
    #[field(default)]
    pub(super) format: String,
    /// `pkcs8` shows the key so.
    #[field(default)]
    pub(super) private_key_format: String,
    /// The chain ends before an authority that signed itself.
    #[field(default)]
    pub(super) remove_roots_from_chain: bool,
}

/// A certificate that was made.
pub(super) struct Made {
    pub(super) serial: [u8; 20],
    pub(super) validity: Validity,
    pub(super) der: Vec<u8>,
    pub(super) warnings: Vec<String>,
}

/// What stands in a certificate, once all of it was held to the role.
pub(super) struct Content {
    /// DER of the subject's name.
    pub(super) subject: Vec<u8>,
    /// SubjectPublicKeyInfo.
    pub(super) spki: Vec<u8>,
    pub(super) validity: Validity,
    /// Before the extensions that say who signed it.
    pub(super) first: Extensions,
    /// Behind them.
    pub(super) names: Names,
    pub(super) last: Extensions,
}

/// Issue a certificate with a new key.
#[derive(Request)]
struct Issue {
    /// The role.
    #[field(path)]
    role: String,
    #[field(flatten)]
    key: AskKey,
    #[field(flatten)]
    ask: Ask,
    /// Not used: the role names the issuer.
    #[field(default, rename = "issuer_ref")]
    _issuer_ref: String,
}

/// The kind of key, where the role leaves it open.
#[derive(Request)]
struct AskKey {
    /// `rsa`, `ec` or `ed25519`.
    #[field(default)]
    key_type: String,
    /// The length of the key; 0 for what is usual.
    #[field(default)]
    key_bits: i64,
}

async fn issue(cx: Cx, q: Issue) -> Result<Reply> {
    let role = known(&cx, &q.role).await?;
    let reference = role.issuer_ref.clone();
    with_new_key(&cx, &role, &reference, &q.key, q.ask).await
}

/// Issue a certificate with a new key by this issuer.
#[derive(Request)]
struct IssueBy {
    /// The issuer: its id, its name, or `default`.
    #[field(path)]
    issuer_ref: String,
    /// The role.
    #[field(path)]
    role: String,
    #[field(flatten)]
    key: AskKey,
    #[field(flatten)]
    ask: Ask,
}

async fn issue_by(cx: Cx, q: IssueBy) -> Result<Reply> {
    let role = known(&cx, &q.role).await?;
    with_new_key(&cx, &role, &q.issuer_ref, &q.key, q.ask).await
}

pub(super) async fn known(cx: &Cx, name: &str) -> Result<Arc<Role>> {
    role::shared(cx, name).await?.ok_or_else(|| Error::bad_request(format!("unknown role: {name}")))
}

async fn with_new_key(cx: &Cx, role: &Role, reference: &str, key: &AskKey, ask: Ask) -> Result<Reply> {
    let format = Format::parse(&ask.format)?;
    let mut warnings = Vec::new();
    let asked = !key.key_type.is_empty() || key.key_bits != 0;
    let kind = if role.key_type == "any" {
        if key.key_type.is_empty() {
            return Err(Error::bad_request(
                "role key type \"any\" not allowed for issuing certificates without providing key_type and/or key_bits request \
                 parameters",
            ));
        }
        keys::kind_of(&key.key_type, key.key_bits)?
    } else {
        if asked {
            warnings.push("parameters key_type and key_bits ignored as role had specific values".to_owned());
        }
        keys::kind_of(&role.key_type, role.key_bits)?
    };
    let allowed = Allowed::of(cx, role).await?;
    if ask.common_name.is_empty() && role.require_cn {
        return Err(no_common_name());
    }
    let mut names = ask.names.read()?;
    if !ask.common_name.is_empty() && !ask.names.exclude_cn_from_sans {
        lead(&mut names, &ask.common_name)?;
    }
    hold(&allowed, &ask.common_name, &names, Given::ByApi, &ask)?;
    let validity = validity_of(cx, role, &ask.validity, &mut warnings)?;
    let signer = Signer::open(cx, reference, Use::Issuing).await?;
    let private = keys::generate(cx, kind).await?;
    let spki = private.spki().map_err(Error::internal)?;
    let subject = subject_of(role, &ask.common_name, &ask).to_der();
    let content = Content { subject, spki, validity, first: first_extensions(role)?, names, last: last_extensions(role)? };
    let made = certify(cx, &signer, role, content, warnings).await?;
    reply(cx, &signer, role, format, made, Some((private, is_pkcs8(&ask.private_key_format))), ask.remove_roots_from_chain).await
}

fn no_common_name() -> Error {
    Error::bad_request(
        "the common_name field is required, or must be provided in a CSR with \"use_csr_common_name\" set to true, unless \
         \"require_cn\" is set to false",
    )
}

/// Puts the common name before the others, once.
fn lead(names: &mut Names, common_name: &str) -> Result<()> {
    let mut own = Names::default();
    subject::add_host_or_mail(&mut own, common_name)?;
    for (list, own) in [(&mut names.dns, own.dns), (&mut names.email, own.email)] {
        list.retain(|name| !own.contains(name));
        list.splice(0..0, own);
    }
    Ok(())
}

/// All names held to the role.
fn hold(allowed: &Allowed<'_>, common_name: &str, names: &Names, given: Given, ask: &Ask) -> Result<()> {
    if !common_name.is_empty() {
        allowed.common_name(common_name)?;
    }
    // Whoever cuts a text at a control character would read another name.
    let texts = std::iter::once(common_name).chain([ask.serial_number.as_str()]).chain(ask.user_ids.iter().map(String::as_str));
    if texts.into_iter().any(|text| text.chars().any(char::is_control)) {
        return Err(Error::bad_request("the subject holds control characters"));
    }
    // The common name stands among the names too; what was said of it there need not be said again.
    let others = |list: &[String]| list.iter().filter(|name| *name != common_name).cloned().collect();
    let rest = Names { dns: others(&names.dns), email: others(&names.email), ..names.clone() };
    allowed.names(&rest, given)?;
    allowed.serial_number(&ask.serial_number)?;
    allowed.user_ids(&ask.user_ids)
}

/// Sign a request, held to a role.
#[derive(Request)]
struct Sign {
    /// The role.
    #[field(path)]
    role: String,
    /// The request in PEM.
    #[field(default)]
    csr: String,
    #[field(flatten)]
    ask: Ask,
    /// Not used: the role names the issuer.
    #[field(default, rename = "issuer_ref")]
    _issuer_ref: String,
}

async fn sign(cx: Cx, q: Sign) -> Result<Reply> {
    let role = known(&cx, &q.role).await?;
    let reference = role.issuer_ref.clone();
    signed(&cx, &role, &reference, &q.csr, &q.ask).await
}

/// Sign a request by this issuer, held to a role.
#[derive(Request)]
struct SignBy {
    /// The issuer: its id, its name, or `default`.
    #[field(path)]
    issuer_ref: String,
    /// The role.
    #[field(path)]
    role: String,
    /// The request in PEM.
    #[field(default)]
    csr: String,
    #[field(flatten)]
    ask: Ask,
}

async fn sign_by(cx: Cx, q: SignBy) -> Result<Reply> {
    let role = known(&cx, &q.role).await?;
    signed(&cx, &role, &q.issuer_ref, &q.csr, &q.ask).await
}

async fn signed(cx: &Cx, role: &Role, reference: &str, csr: &str, ask: &Ask) -> Result<Reply> {
    let format = Format::parse(&ask.format)?;
    let signer = Signer::open(cx, reference, Use::Issuing).await?;
    let csr = parse_csr(csr)?;
    let made = sign_request(cx, &signer, role, &csr, ask).await?;
    reply(cx, &signer, role, format, made, None, ask.remove_roots_from_chain).await
}

/// A certificate for a request, all of it held to the role: what `sign/<role>` does, and whoever proves names in another way.
pub(super) async fn sign_request(cx: &Cx, signer: &Signer, role: &Role, csr: &Csr, ask: &Ask) -> Result<Made> {
    let mut warnings = Vec::new();
    check_key(role, csr.key().kind())?;
    if csr.basic_constraints().is_some() {
        warnings.push("specified CSR contained a Basic Constraints extension that was ignored during issuance".to_owned());
    }
    let mut common_name = ask.common_name.clone();
    if role.use_csr_common_name {
        if !ask.common_name.is_empty() {
            warnings.push(
                "the common_name field was provided but the role is set with \"use_csr_common_name\" set to true".to_owned(),
            );
        }
        if !csr.name().common_name.is_empty() {
            common_name.clone_from(&csr.name().common_name);
        }
    }
    if common_name.is_empty() && role.require_cn {
        return Err(no_common_name());
    }
    let (mut names, given) = if role.use_csr_sans {
        if !ask.names.alt_names.is_empty() {
            warnings.push("the alt_names field was provided but the role is set with \"use_csr_sans\" set to true".to_owned());
        }
        (csr.names().clone(), Given::ByCsr)
    } else {
        (ask.names.read()?, Given::ByApi)
    };
    if !common_name.is_empty() && !ask.names.exclude_cn_from_sans {
        match given {
            Given::ByCsr => subject::add_host_or_mail(&mut names, &common_name)?,
            Given::ByApi => lead(&mut names, &common_name)?,
        }
    }
    let allowed = Allowed::of(cx, role).await?;
    hold(&allowed, &common_name, &names, given, ask)?;
    let validity = validity_of(cx, role, &ask.validity, &mut warnings)?;
    let content = Content {
        subject: subject_of(role, &common_name, ask).to_der(),
        spki: csr.key().spki().to_vec(),
        validity,
        first: first_extensions(role)?,
        names,
        last: last_extensions(role)?,
    };
    certify(cx, signer, role, content, warnings).await
}

fn check_key(role: &Role, kind: KeyKind) -> Result<()> {
    if role.key_type == "any" {
        return Ok(());
    }
    if keys::type_name(kind) != role.key_type {
        return Err(Error::bad_request(format!("role requires keys of type {}", role.key_type)));
    }
    let bits = match kind {
        KeyKind::Rsa(bits) => i64::from(bits),
        KeyKind::P256 => 256,
        KeyKind::P384 => 384,
        KeyKind::P521 => 521,
        KeyKind::Ed25519 | KeyKind::MlDsa44 | KeyKind::MlDsa65 | KeyKind::MlDsa87 => return Ok(()),
    };
    if bits < role.key_bits {
        return Err(Error::bad_request(format!(
            "role requires a minimum of a {}-bit key, but CSR's key is {bits} bits",
            role.key_bits
        )));
    }
    Ok(())
}

/// The subject's name: the role's fields, and what was asked for.
fn subject_of(role: &Role, common_name: &str, ask: &Ask) -> Subject {
    Subject {
        country: subject::unique(&role.country),
        organization: subject::unique(&role.organization),
        unit: subject::unique(&role.ou),
        locality: subject::unique(&role.locality),
        province: subject::unique(&role.province),
        street: subject::unique(&role.street_address),
        postal_code: subject::unique(&role.postal_code),
        common_name: common_name.to_owned(),
        serial_number: ask.serial_number.clone(),
        user_ids: ask.user_ids.clone(),
        ..Subject::default()
    }
}

fn first_extensions(role: &Role) -> Result<Extensions> {
    let mut extensions = Extensions::default();
    // A role may say so, but only an authority signs certificates (RFC 5280 section 4.2.1.3).
    let usage = uses::key_uses(&role.key_usage).without(KeyUses::CERT_SIGN | KeyUses::CRL_SIGN);
    if !usage.is_empty() {
        extensions.key_usage(usage);
    }
    let flags = [
        (role.server_flag, uses::SERVER_AUTH),
        (role.client_flag, uses::CLIENT_AUTH),
        (role.code_signing_flag, uses::CODE_SIGNING),
        (role.email_protection_flag, uses::EMAIL_PROTECTION),
    ];
    let mut extended: Vec<_> = flags.into_iter().filter(|(set, _)| *set).map(|(_, oid)| oid).collect();
    uses::extended(&role.ext_key_usage, &role.ext_key_usage_oids).into_iter().for_each(|oid| subject::push(&mut extended, oid));
    extensions.extended_key_usage(&extended);
    if role.basic_constraints_valid_for_non_ca {
        extensions.basic_constraints(BasicConstraints::default());
    }
    Ok(extensions)
}

fn last_extensions(role: &Role) -> Result<Extensions> {
    let mut extensions = Extensions::default();
    extensions.policies(&role.policies()?);
    Ok(extensions)
}

pub(super) fn validity_of(cx: &Cx, role: &Role, ask: &validity::Ask, warnings: &mut Vec<String>) -> Result<Validity> {
    let (after, before) = (role.not_after_bound.as_str(), role.not_before_bound.as_str());
    if after == "forbid" && !ask.not_after.is_empty() {
        return Err(Error::bad_request("not_after_bound is set to forbid. not_after cannot be provided."));
    }
    if before == "forbid" && !ask.not_before.is_empty() {
        return Err(Error::bad_request("not_before_bound is set to forbid. not_before cannot be provided."));
    }
    if !ask.ttl.is_zero() && !role.not_after.is_empty() {
        return Err(Error::bad_request(
            "Either ttl or not_after should be provided. Both should not be provided in the same request.",
        ));
    }
    let limits = Limits {
        ttl: role.ttl,
        max_ttl: role.max_ttl,
        not_after: &role.not_after,
        not_before: &role.not_before,
        not_before_duration: role.not_before_duration,
    };
    let validity = Validity::of(cx, ask, &limits, warnings)?;
    if before == "duration" {
        let earliest = cx.now().secs().saturating_sub(role.not_before_duration.secs());
        if validity.not_before < earliest {
            return Err(Error::bad_request(format!(
                "not_before_bound is set to duration. Cannot satisfy request as it would result in notBefore of {} that is older than \
                 the allowed not_before_duration of {}",
                validity::show(validity.not_before),
                role.not_before_duration
            )));
        }
    }
    let too_late = |what: String| {
        let end = validity::show(validity.not_after);
        Err(Error::bad_request(format!(
            "not_after_bound is set to {after}. Cannot satisfy request as that would result in notAfter of {end} that is beyond the {what}"
        )))
    };
    match after {
        "" | "permit" | "forbid" => {}
        "ttl-limited" => {
            let longest = [role.max_ttl, cx.mount().max_lease_ttl].into_iter().find(|span| !span.is_zero()).unwrap_or(Span::ZERO);
            if validity.not_after > cx.now().plus(longest.duration()).secs() {
                return too_late(format!("TTL of {longest}"));
            }
        }
        time if validity.not_after > validity::instant(time)? => return too_late(format!("maximum timestamp of {time}")),
        _ => {}
    }
    Ok(validity)
}

/// Names that no one reads in another way: a request can hold any bytes where names stand.
fn check_form(names: &Names) -> Result<()> {
    let host = |name: &String| {
        !name.is_empty() && name.len() <= 253 && name.bytes().all(|b| b.is_ascii_graphic() && !b"/:@[]".contains(&b))
    };
    let mail = |name: &String| name.split_once('@').is_some_and(|(local, host)| !local.is_empty() && !host.is_empty());
    let graphic = |name: &String| name.bytes().all(|b| b.is_ascii_graphic());
    let bad = names.dns.iter().find(|name| !host(name));
    let bad = bad.or_else(|| names.email.iter().find(|name| !mail(name) || !graphic(name)));
    match bad.or_else(|| names.uri.iter().find(|uri| !subject::is_uri(uri))) {
        Some(bad) => Err(Error::bad_request(format!("{bad:?} is no name that a certificate can have"))),
        None => Ok(()),
    }
}

/// Signs and, unless the role says otherwise, keeps a certificate. The one function that does, for whoever asks.
pub(super) async fn certify(cx: &Cx, signer: &Signer, role: &Role, content: Content, warnings: Vec<String>) -> Result<Made> {
    check_form(&content.names)?;
    constraints::check(&signer.certificate, &content.names)?;
    let validity = content.validity.within(&signer.certificate, signer.issuer.leaf_not_after)?;
    let urls = Urls::of(cx, &signer.issuer).await?;
    let mut extensions = content.first;
    extensions.subject_key_id(&key_id(&content.spki).map_err(Error::internal)?);
    authority::finish(&mut extensions, signer, &urls)?;
    extensions.alternative_names(&content.names, content.subject == [0x30, 0]);
    extensions.crl_points(&urls.crl_distribution_points);
    extensions.freshest_crl(&urls.delta_crl_distribution_points);
    extensions.append(&content.last);
    let serial = serial::new(cx);
    let algorithm = signer.algorithm(role.signature_bits, role.use_pss);
    let certificate = signer.certificate.clone();
    let (subject, spki) = (content.subject, content.spki);
    let der = signer
        .sign(cx, move |private| {
            let draft = Draft {
                serial: &serial,
                issuer: certificate.subject(),
                subject: &subject,
                not_before: validity.not_before,
                not_after: validity.not_after,
                spki: &spki,
                extensions: &extensions,
            };
            draft.sign(private, algorithm)
        })
        .await?;
    if !role.no_store {
        Stored::put(cx, &serial::key(&serial), &signer.issuer.id, validity.not_after, &der);
    }
    Ok(Made { serial, validity, der, warnings })
}

/// What the caller gets: the certificate, its chain, its key; with a lease if the role says so.
pub(super) async fn reply(
    cx: &Cx,
    signer: &Signer,
    role: &Role,
    format: Format,
    made: Made,
    key: Option<(PrivateKey, bool)>,
    no_roots: bool,
) -> Result<Reply> {
    let mut chain = signer.issuer.chain_der(cx).await?;
    if no_roots {
        let mut kept = Vec::new();
        for der in chain {
            if !Certificate::from_der(&der).map_err(Error::internal)?.is_self_issued() {
                kept.push(der);
            }
        }
        chain = kept;
    }
    let private = key.as_ref().map(|(private, _)| private);
    let mut shown = Object::new();
    if !chain.is_empty() {
        shown.insert("ca_chain", chain.iter().map(|der| format.certificate(der)).collect::<Vec<_>>());
    }
    shown = shown
        .with("certificate", Json::String(format.whole("CERTIFICATE", &made.der, private, &chain)?))
        .with("expiration", made.validity.not_after)
        .with("issuing_ca", format.certificate(&signer.issuer.certificate.0))
        .with("not_before", made.validity.not_before);
    if let Some((private, pkcs8)) = &key {
        shown.insert("private_key", Json::String(format.private_key(private, *pkcs8)?));
        shown.insert("private_key_type", keys::type_name(private.kind()));
    }
    shown.insert("serial_number", serial::show(&made.serial));
    let reply = if role.generate_lease && !role.no_store {
        let left = Span::from_secs(made.validity.not_after.saturating_sub(cx.now().secs()).max(1));
        let lease = revoke::Lease { serial: serial::key(&made.serial) };
        Reply::leased(shown, &lease, Terms { ttl: left, max_ttl: left, renewable: false })?
    } else {
        Reply::data(shown)
    };
    Ok(made.warnings.into_iter().fold(reply, Reply::warn))
}
