//! `sign-verbatim`: a request signed as it is, but for what makes an authority.

use super::authority::parse_csr;
use super::bundle::Format;
use super::issuer::Use;
use super::leaf::{Ask, Content, certify, known, reply, validity_of};
use super::role::Role;
use super::signer::Signer;
use super::{Cx, Pki, uses};
use coffer_crypto::x509::{BasicConstraints, Extensions, KeyUses, Request as Csr};
use coffer_engine::{Declare, Reply, Request};
use coffer_types::Result;

pub(super) fn declare(d: &mut Declare<Pki>) {
    const PLAIN: &[&str] = &["common_name", "alt_names", "ip_sans", "uri_sans", "ttl", "format", "csr", "issuer_ref", "role"];
    const VERBATIM: &str = "Signs a request as it is, but for what makes an authority.";
    d.at("sign-verbatim").about(VERBATIM).plain(PLAIN).write(verbatim);
    d.at("sign-verbatim/{role}").about(VERBATIM).plain(PLAIN).write(verbatim_role);
    d.at("issuer/{issuer_ref}/sign-verbatim").about(VERBATIM).plain(PLAIN).write(verbatim_by);
    d.at("issuer/{issuer_ref}/sign-verbatim/{role}").about(VERBATIM).plain(PLAIN).write(verbatim_by_role);
}

/// What `sign-verbatim` takes besides.
#[derive(Request)]
struct AskVerbatim {
    /// The request in PEM.
    #[field(default)]
    csr: String,
    #[field(flatten)]
    ask: Ask,
    /// Uses of the key, where the request names none.
    key_usage: Option<Vec<String>>,
    /// Extended uses of the key, where the request names none.
    #[field(default)]
    ext_key_usage: Vec<String>,
    /// The same by their OIDs.
    #[field(default)]
    ext_key_usage_oids: Vec<String>,
    /// Bits of the signature's digest: 256, 384, 512; 0 for what fits.
    #[field(default)]
    signature_bits: i64,
    /// RSASSA-PSS in place of PKCS #1 v1.5.
    #[field(default)]
    use_pss: bool,
    /// The certificate says that it is not an authority's.
    #[field(default)]
    basic_constraints_valid_for_non_ca: bool,
}

/// Sign a request as it is.
#[derive(Request)]
struct Verbatim {
    /// A role, for lifetimes and leases alone.
    #[field(default)]
    role: String,
    /// The issuer: its id, its name, or `default`.
    #[field(default)]
    issuer_ref: String,
    #[field(flatten)]
    what: AskVerbatim,
}

async fn verbatim(cx: Cx, q: Verbatim) -> Result<Reply> {
    as_it_is(&cx, &q.role, &q.issuer_ref, q.what).await
}

/// Sign a request as it is, with a role's lifetimes.
#[derive(Request)]
struct VerbatimRole {
    /// A role, for lifetimes and leases alone.
    #[field(path)]
    role: String,
    /// The issuer: its id, its name, or `default`.
    #[field(default)]
    issuer_ref: String,
    #[field(flatten)]
    what: AskVerbatim,
}

async fn verbatim_role(cx: Cx, q: VerbatimRole) -> Result<Reply> {
    as_it_is(&cx, &q.role, &q.issuer_ref, q.what).await
}

/// Sign a request as it is by this issuer.
#[derive(Request)]
struct VerbatimBy {
    /// The issuer: its id, its name, or `default`.
    #[field(path)]
    issuer_ref: String,
    /// A role, for lifetimes and leases alone.
    #[field(default)]
    role: String,
    #[field(flatten)]
    what: AskVerbatim,
}

async fn verbatim_by(cx: Cx, q: VerbatimBy) -> Result<Reply> {
    as_it_is(&cx, &q.role, &q.issuer_ref, q.what).await
}

/// Sign a request as it is by this issuer, with a role's lifetimes.
#[derive(Request)]
struct VerbatimByRole {
    /// The issuer: its id, its name, or `default`.
    #[field(path)]
    issuer_ref: String,
    /// A role, for lifetimes and leases alone.
    #[field(path)]
    role: String,
    #[field(flatten)]
    what: AskVerbatim,
}

async fn verbatim_by_role(cx: Cx, q: VerbatimByRole) -> Result<Reply> {
    as_it_is(&cx, &q.role, &q.issuer_ref, q.what).await
}

async fn as_it_is(cx: &Cx, role_name: &str, reference: &str, q: AskVerbatim) -> Result<Reply> {
    let format = Format::parse(&q.ask.format)?;
    let mut role = Role::verbatim();
    if !role_name.is_empty() {
        let named = known(cx, role_name).await?;
        role.ttl = named.ttl;
        role.max_ttl = named.max_ttl;
        role.not_before_duration = named.not_before_duration;
        role.generate_lease = named.generate_lease;
        role.no_store = named.no_store;
        role.issuer_ref.clone_from(&named.issuer_ref);
    }
    role.key_usage = q.key_usage.unwrap_or(role.key_usage);
    role.ext_key_usage = q.ext_key_usage;
    role.ext_key_usage_oids = q.ext_key_usage_oids;
    role.signature_bits = q.signature_bits;
    role.use_pss = q.use_pss;
    role.basic_constraints_valid_for_non_ca = q.basic_constraints_valid_for_non_ca;
    let csr = parse_csr(&q.csr)?;
    let reference = if reference.is_empty() { role.issuer_ref.clone() } else { reference.to_owned() };
    let signer = Signer::open(cx, &reference, Use::Issuing).await?;
    let mut warnings = Vec::new();
    if csr.basic_constraints().is_some() {
        warnings.push("specified CSR contained a Basic Constraints extension that was ignored during issuance".to_owned());
    }
    let ignored = [
        (!q.ask.common_name.is_empty(), "common_name", "use_csr_common_name"),
        (!q.ask.names.alt_names.is_empty(), "alt_names", "use_csr_sans"),
    ];
    for (_, field, setting) in ignored.iter().filter(|(given, ..)| *given) {
        warnings.push(format!("the {field} field was provided but the role is set with \"{setting}\" set to true"));
    }
    let validity = validity_of(cx, &role, &q.ask.validity, &mut warnings)?;
    let content = Content {
        subject: csr.subject().to_vec(),
        spki: csr.key().spki().to_vec(),
        validity,
        first: verbatim_first(&role, &csr, &mut warnings),
        names: csr.names().clone(),
        last: verbatim_last(&role, &csr),
    };
    let made = certify(cx, &signer, &role, content, warnings).await?;
    reply(cx, &signer, &role, format, made, None, q.ask.remove_roots_from_chain).await
}

/// Uses of the key as the request names them, but those of authorities.
fn verbatim_first(role: &Role, csr: &Csr, warnings: &mut Vec<String>) -> Extensions {
    let mut extensions = Extensions::default();
    let asked = csr.key_uses().unwrap_or_else(|| uses::key_uses(&role.key_usage));
    let kept = asked.without(KeyUses::CERT_SIGN | KeyUses::CRL_SIGN);
    if kept != asked {
        warnings.push("uses of the key that only an authority has were left out: signing certificates and lists".to_owned());
    }
    if !kept.is_empty() {
        extensions.key_usage(kept);
    }
    let named = uses::extended(&[], csr.extended_key_usage());
    let extended = if named.is_empty() { uses::extended(&role.ext_key_usage, &role.ext_key_usage_oids) } else { named };
    extensions.extended_key_usage(&extended);
    if role.basic_constraints_valid_for_non_ca {
        extensions.basic_constraints(BasicConstraints::default());
    }
    extensions
}

/// What the request asks for besides, without what is made here and what only an authority has.
fn verbatim_last(_: &Role, csr: &Csr) -> Extensions {
    const NOT_COPIED: [&str; 12] = [
        "2.5.29.14",
        "2.5.29.15",
        "2.5.29.17",
        "2.5.29.19",
        "2.5.29.30",
        "2.5.29.31",
        "2.5.29.35",
        "2.5.29.36",
        "2.5.29.37",
        "2.5.29.46",
        "2.5.29.54",
        "1.3.6.1.5.5.7.1.1",
    ];
    let mut extensions = Extensions::default();
    csr.extensions().iter().filter(|e| !NOT_COPIED.contains(&e.oid.as_str())).for_each(|e| extensions.copy(e));
    extensions
}
