//! Who a certificate is for. A certificate that names nobody holds for everyone (CVE-2024-7594), so somebody must be named unless the
//! role says otherwise.

use super::role::{Role, items};
use super::{Cx, failed};
use coffer_crypto::ssh::CertificateKind;
use coffer_engine::template::has_places;
use coffer_types::{Error, Result};

/// The users or hosts that a certificate names: those of the call, else the role's default.
///
/// # Errors
/// Who is not allowed by the role, and nobody.
pub(super) async fn choose(cx: &Cx, role: &Role, kind: CertificateKind, asked: &str) -> Result<Vec<String>> {
    let default;
    let wanted = if asked.trim().is_empty() && kind == CertificateKind::User {
        default = default_user(cx, role).await?;
        &default
    } else {
        asked
    };
    let mut principals: Vec<String> = items(wanted).map(str::to_owned).collect();
    let mut seen = std::collections::BTreeSet::new();
    principals.retain(|principal| seen.insert(principal.clone()));
    if principals.is_empty() && role.allow_empty_principals {
        return Ok(principals);
    }
    let (list, is_template) = match kind {
        CertificateKind::User => (&role.allowed_users, role.allowed_users_template),
        CertificateKind::Host => (&role.allowed_domains, role.allowed_domains_template),
    };
    let allowed = if is_template { filled_list(cx, role, list).await? } else { list.clone() };
    if items(&allowed).next().is_none() {
        return Err(Error::bad_request("role is not configured to allow any principals"));
    }
    if principals.is_empty() {
        return Err(Error::bad_request(
            "refusing to issue unsafe, globally-valid certificate with no principals specified; set valid_principals or default_user",
        ));
    }
    for principal in &principals {
        // `*` is everyone only where the role's author wrote it so, never out of a template.
        let is_any = list.trim() == "*";
        let is_allowed = is_any
            || match kind {
                CertificateKind::User => items(&allowed).any(|user| user == principal),
                CertificateKind::Host => items(&allowed).any(|domain| is_host_of(role, domain, principal)),
            };
        if !is_allowed || principal.chars().any(char::is_control) {
            return Err(Error::bad_request(format!("{principal} is not a valid value for valid_principals")));
        }
    }
    Ok(principals)
}

fn is_host_of(role: &Role, domain: &str, host: &str) -> bool {
    let is_below = || host.strip_suffix(domain).is_some_and(|before| before.ends_with('.'));
    role.allow_bare_domains && host == domain || role.allow_subdomains && is_below()
}

async fn default_user(cx: &Cx, role: &Role) -> Result<String> {
    if !role.default_user_template || !has_places(&role.default_user) {
        return Ok(role.default_user.clone());
    }
    let filled = cx.fill_template(&role.default_user, &forbidden(role)).await?;
    filled.map_err(|why| failed(format!("template '{}' could not be rendered -> {why}", role.default_user)))
}

/// Who is no entity is allowed what has no place to fill.
async fn filled_list(cx: &Cx, role: &Role, list: &str) -> Result<String> {
    if !cx.has_entity() {
        return Ok(items(list).filter(|item| !has_places(item)).collect::<Vec<_>>().join(","));
    }
    let filled = cx.fill_template(list, &forbidden(role)).await?;
    filled.map_err(|why| Error::bad_request(format!("template '{list}' could not be rendered -> {why}")))
}

/// What would make several of one, or any.
fn forbidden(role: &Role) -> Vec<char> {
    let mut forbidden = Vec::new();
    if !role.allow_commas {
        forbidden.push(',');
    }
    if !role.allow_wildcards {
        forbidden.push('*');
    }
    forbidden
}
