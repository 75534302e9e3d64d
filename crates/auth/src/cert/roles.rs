//! Roles: `certs/{name}`.

use super::{Cert, Named, constraints};
use crate::token::{TokenAsk, TokenParams};
use coffer_crypto::x509::Certificate;
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Name, Object, Result, Span};
use serde::{Deserialize, Serialize};

/// Stored in format 1 under `cert/<name>`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Role {
    /// PEM as it was given.
    pub(super) certificate: String,
    pub(super) display_name: String,
    pub(super) allowed: constraints::Allowed,
    pub(super) allowed_metadata_extensions: Option<Vec<String>>,
    pub(super) ocsp: Ocsp,
    pub(super) token: TokenParams,
    /// The old names under which parameters of tokens were last written: they are shown again under these.
    old: Old,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Ocsp {
    pub(super) enabled: bool,
    /// PEM.
    pub(super) authorities: String,
    pub(super) servers: Option<Vec<String>>,
    pub(super) fail_open: bool,
    pub(super) query_all: bool,
    pub(super) max_age: Span,
    pub(super) retries: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Old {
    bound_cidrs: bool,
    policies: bool,
    ttl: bool,
    max_ttl: bool,
    period: bool,
}

/// What a role trusts.
pub(super) enum Trust {
    /// Whoever these vouch for.
    Authorities(Vec<Certificate>),
    /// The first, and nobody else; the others are what it came with.
    Itself(Vec<Certificate>),
}

impl Role {
    pub(super) fn trust(&self) -> Result<Trust> {
        let found =
            Certificate::from_pem(&self.certificate).map_err(|e| Error::internal("a role's certificate").with_cause(e))?;
        match found.first() {
            None => Err(Error::internal("a role without a certificate")),
            Some(first) if first.is_authority() => Ok(Trust::Authorities(found)),
            Some(_) => Ok(Trust::Itself(found)),
        }
    }

    pub(super) fn certificates(&self) -> Result<Vec<Certificate>> {
        self.trust().map(|trust| match trust {
            Trust::Authorities(all) | Trust::Itself(all) => all,
        })
    }
}

pub(super) async fn load(cx: &Ctx<Cert>, name: &str) -> Result<Option<Role>> {
    cx.view.get(&format!("cert/{name}")).await
}

pub(super) async fn names(cx: &Ctx<Cert>) -> Result<Vec<String>> {
    cx.view.children("cert/", None, usize::MAX).await
}

/// Write a role. What is left out stays as it is.
#[derive(Request)]
pub(super) struct Write {
    /// Name of the role.
    #[field(path)]
    name: Name,
    /// The certificate that is trusted, PEM: an authority with others if need be, or a client's own.
    certificate: Option<String>,
    /// Name in the token's display name; the role's own if empty.
    display_name: Option<String>,
    /// Patterns of which one must match the common name, a DNS name or an email address.
    allowed_names: Option<Vec<String>>,
    /// Patterns of which one must match the common name.
    allowed_common_names: Option<Vec<String>>,
    /// Patterns of which one must match a DNS name.
    allowed_dns_sans: Option<Vec<String>>,
    /// Patterns of which one must match an email address.
    allowed_email_sans: Option<Vec<String>>,
    /// Patterns of which one must match a URI.
    allowed_uri_sans: Option<Vec<String>>,
    /// Patterns of which one must match an organizational unit.
    allowed_organizational_units: Option<Vec<String>>,
    /// Extensions that must all be there: "oid:pattern", or "hex:oid:pattern" for its DER in hexadecimal.
    required_extensions: Option<Vec<String>>,
    /// OIDs of extensions whose text goes into the token's metadata.
    allowed_metadata_extensions: Option<Vec<String>>,
    /// Ask by OCSP whether the certificate is revoked.
    ocsp_enabled: Option<bool>,
    /// Further certificates that may sign OCSP replies, PEM.
    ocsp_ca_certificates: Option<String>,
    /// Ask these servers instead of those that the certificate names.
    ocsp_servers_override: Option<Vec<String>>,
    /// Log in although OCSP gave no answer.
    ocsp_fail_open: Option<bool>,
    /// Ask all servers; all must say that it is good.
    ocsp_query_all_servers: Option<bool>,
    /// The oldest reply that counts, whatever it says itself; 0 leaves it to the reply.
    ocsp_this_update_max_age: Option<Span>,
    /// How often to ask a server again that does not answer.
    ocsp_max_retries: Option<u32>,
    /// Old name of token_policies.
    policies: Option<Vec<String>>,
    /// Old name of token_ttl.
    ttl: Option<Span>,
    /// Older name of token_ttl, in seconds.
    lease: Option<i64>,
    /// Old name of token_max_ttl.
    max_ttl: Option<Span>,
    /// Old name of token_period.
    period: Option<Span>,
    /// Old name of token_bound_cidrs.
    bound_cidrs: Option<Vec<String>>,
    #[field(flatten)]
    token: TokenAsk,
}

pub(super) async fn write(cx: Ctx<Cert>, q: Write) -> Result<Reply<()>> {
    let name = q.name.as_str().to_lowercase();
    let mut role =
        load(&cx, &name).await?.unwrap_or_else(|| Role { ocsp: Ocsp { retries: 4, ..Ocsp::default() }, ..Role::default() });
    let mut token = q.token;
    for (old, new, shown) in [
        (q.policies, &mut token.token_policies, &mut role.old.policies),
        (q.bound_cidrs, &mut token.token_bound_cidrs, &mut role.old.bound_cidrs),
    ] {
        take_old(old, new, shown);
    }
    let ttl = q.ttl.or_else(|| q.lease.map(Span::from_secs));
    take_old(ttl, &mut token.token_ttl, &mut role.old.ttl);
    take_old(q.max_ttl, &mut token.token_max_ttl, &mut role.old.max_ttl);
    take_old(q.period, &mut token.token_period, &mut role.old.period);
    role.token.update(token)?;
    if let Some(pem) = q.certificate {
        role.certificate = pem;
    }
    check_certificate(&role.certificate)?;
    role.display_name = q.display_name.unwrap_or(role.display_name);
    let allowed = &mut role.allowed;
    for (given, kept) in [
        (q.allowed_names, &mut allowed.names),
        (q.allowed_common_names, &mut allowed.common_names),
        (q.allowed_dns_sans, &mut allowed.dns_sans),
        (q.allowed_email_sans, &mut allowed.email_sans),
        (q.allowed_uri_sans, &mut allowed.uri_sans),
        (q.allowed_organizational_units, &mut allowed.organizational_units),
        (q.required_extensions, &mut allowed.extensions),
        (q.allowed_metadata_extensions, &mut role.allowed_metadata_extensions),
    ] {
        if given.is_some() {
            *kept = given;
        }
    }
    allowed.check()?;
    if role.allowed_metadata_extensions.iter().flatten().any(|oid| !constraints::is_oid(oid)) {
        return Err(Error::bad_request("allowed_metadata_extensions: each must be an OID like 1.2.3.4"));
    }
    let ocsp = &mut role.ocsp;
    ocsp.enabled = q.ocsp_enabled.unwrap_or(ocsp.enabled);
    ocsp.fail_open = q.ocsp_fail_open.unwrap_or(ocsp.fail_open);
    ocsp.query_all = q.ocsp_query_all_servers.unwrap_or(ocsp.query_all);
    ocsp.servers = q.ocsp_servers_override.or(ocsp.servers.take());
    ocsp.max_age = q.ocsp_this_update_max_age.unwrap_or(ocsp.max_age);
    ocsp.retries = q.ocsp_max_retries.unwrap_or(ocsp.retries);
    if ocsp.max_age.is_negative() {
        return Err(Error::bad_request("ocsp_this_update_max_age must not be negative"));
    }
    if ocsp.retries > 10 {
        return Err(Error::bad_request("ocsp_max_retries must be at most 10"));
    }
    if ocsp.servers.iter().flatten().any(|server| !super::lists::is_http(server)) {
        return Err(Error::bad_request("ocsp_servers_override: each must begin with http:// or https://"));
    }
    if let Some(pem) = q.ocsp_ca_certificates {
        let found = Certificate::from_pem(&pem);
        if !pem.trim().is_empty() && !found.is_ok_and(|found| !found.is_empty()) {
            return Err(Error::bad_request("failed to parse ocsp_ca_certificates"));
        }
        ocsp.authorities = pem;
    }
    cx.view.put(&format!("cert/{name}"), &role)?;
    Ok(Reply::empty())
}

/// A parameter by its old name counts where the new one was not given; whichever came last is how it is shown.
fn take_old<T>(old: Option<T>, new: &mut Option<T>, shown: &mut bool) {
    if new.is_some() {
        *shown = false;
    } else if old.is_some() {
        (*new, *shown) = (old, true);
    }
}

fn check_certificate(pem: &str) -> Result<()> {
    let bad = |text| Err(Error::bad_request(text));
    let Ok(found) = Certificate::from_pem(pem) else { return bad("failed to parse certificate") };
    let Some(first) = found.first() else { return bad("failed to parse certificate") };
    if first.is_authority() {
        if found.iter().any(|certificate| !certificate.is_authority()) {
            return bad("certificate: the first is an authority, so all must be");
        }
    } else if !first.is_for_clients() {
        return bad("nonCA certificates should have TLS client authentication set as an extended key usage");
    }
    Ok(())
}

/// A role.
#[derive(Response)]
pub(super) struct Shown {
    /// Patterns for the common name, DNS names and email addresses.
    allowed_names: Option<Vec<String>>,
    /// Patterns for the common name.
    allowed_common_names: Option<Vec<String>>,
    /// Patterns for DNS names.
    allowed_dns_sans: Option<Vec<String>>,
    /// Patterns for email addresses.
    allowed_email_sans: Option<Vec<String>>,
    /// Patterns for URIs.
    allowed_uri_sans: Option<Vec<String>>,
    /// Patterns for organizational units.
    allowed_organizational_units: Option<Vec<String>>,
    /// Extensions whose text goes into the metadata.
    allowed_metadata_extensions: Option<Vec<String>>,
    /// Extensions that must be there.
    required_extensions: Option<Vec<String>>,
    /// What is trusted, PEM.
    certificate: String,
    /// The name in the token's display name.
    display_name: String,
    /// Further certificates that may sign OCSP replies.
    ocsp_ca_certificates: String,
    /// Whether OCSP is asked.
    ocsp_enabled: bool,
    /// Whether a login goes on without an answer.
    ocsp_fail_open: bool,
    /// Whether all servers are asked.
    ocsp_query_all_servers: bool,
    /// Servers that are asked instead of the certificate's.
    ocsp_servers_override: Option<Vec<String>>,
    /// The oldest reply that counts, in seconds.
    ocsp_this_update_max_age: Span,
    /// How often a silent server is asked again.
    ocsp_max_retries: u32,
    #[field(flatten)]
    token: crate::token::TokenShown,
}

pub(super) async fn read(cx: Ctx<Cert>, q: Named) -> Result<Reply> {
    let name = q.normal();
    let role = load(&cx, &name).await?.ok_or_else(Error::not_found)?;
    let token = role.token.shown();
    let old = role.old;
    let mut also = Object::new();
    if old.policies {
        also = also.with("policies", token.token_policies.clone());
    }
    if old.bound_cidrs {
        also = also.with("bound_cidrs", token.token_bound_cidrs.clone());
    }
    for (is, name, span) in [
        (old.ttl, "ttl", token.token_ttl),
        (old.max_ttl, "max_ttl", token.token_max_ttl),
        (old.period, "period", token.token_period),
    ] {
        if is {
            also = also.with(name, span.secs());
        }
    }
    let shown = Shown {
        allowed_names: role.allowed.names,
        allowed_common_names: role.allowed.common_names,
        allowed_dns_sans: role.allowed.dns_sans,
        allowed_email_sans: role.allowed.email_sans,
        allowed_uri_sans: role.allowed.uri_sans,
        allowed_organizational_units: role.allowed.organizational_units,
        allowed_metadata_extensions: role.allowed_metadata_extensions,
        required_extensions: role.allowed.extensions,
        certificate: role.certificate,
        display_name: if role.display_name.is_empty() { name } else { role.display_name },
        ocsp_ca_certificates: role.ocsp.authorities,
        ocsp_enabled: role.ocsp.enabled,
        ocsp_fail_open: role.ocsp.fail_open,
        ocsp_query_all_servers: role.ocsp.query_all,
        ocsp_servers_override: role.ocsp.servers,
        ocsp_this_update_max_age: role.ocsp.max_age,
        ocsp_max_retries: role.ocsp.retries,
        token,
    };
    Ok(Reply::data(shown.into_object().into_iter().chain(also).collect()))
}

pub(super) async fn list(cx: Ctx<Cert>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(names(&cx).await?))
}

pub(super) async fn delete(cx: Ctx<Cert>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&format!("cert/{}", q.normal()));
    Ok(Reply::empty())
}
