//! An issuer's own name constraints (RFC 5280 section 4.2.1.10), held before it signs: what it may not name would count nowhere.

use coffer_crypto::x509::{AddressRange, Certificate, Names, Subtrees};
use coffer_types::{Error, Result};
use std::net::IpAddr;

/// # Errors
/// A name that the issuer may not give.
pub(super) fn check(issuer: &Certificate, names: &Names) -> Result<()> {
    let constraints = issuer.name_constraints();
    if constraints.is_empty() {
        return Ok(());
    }
    let refused = |kind: &str, name: &dyn std::fmt::Display| {
        Err(Error::bad_request(format!("{kind} {name} is outside of the issuer's own name constraints")))
    };
    let (permitted, excluded) = (&constraints.permitted, &constraints.excluded);
    for name in &names.dns {
        if !allowed(&permitted.dns, &excluded.dns, |tree| host_within(name.trim_end_matches('.'), tree)) {
            return refused("name of a host", name);
        }
    }
    for name in &names.email {
        if !allowed(&permitted.email, &excluded.email, |tree| mail_within(name, tree)) {
            return refused("address of mail", name);
        }
    }
    for uri in &names.uri {
        if !allowed(&permitted.uri, &excluded.uri, |tree| uri_host(uri).is_some_and(|host| uri_within(host, tree))) {
            return refused("URI", uri);
        }
    }
    for ip in &names.ip {
        if !allowed_ip(permitted, excluded, *ip) {
            return refused("address", ip);
        }
    }
    Ok(())
}

fn allowed(permitted: &[String], excluded: &[String], within: impl Fn(&str) -> bool) -> bool {
    (permitted.is_empty() || permitted.iter().any(|tree| within(tree))) && !excluded.iter().any(|tree| within(tree))
}

/// The host itself or one below; `.example.com` has what is below alone.
fn host_within(host: &str, tree: &str) -> bool {
    let (host, tree) = (host.to_ascii_lowercase(), tree.to_ascii_lowercase());
    // `*.example.com` stands for names below: it is within only if all of them are.
    let host = host.strip_prefix("*.").map_or_else(|| host.clone(), |rest| format!("x.{rest}"));
    match tree.strip_prefix('.') {
        Some(_) => host.ends_with(&tree),
        None => tree.is_empty() || host == tree || host.ends_with(&format!(".{tree}")),
    }
}

/// One address, a host's addresses, or with a leading dot those of hosts below.
fn mail_within(mail: &str, tree: &str) -> bool {
    let Some((local, host)) = mail.rsplit_once('@') else { return false };
    match tree.rsplit_once('@') {
        Some((tree_local, tree_host)) => local == tree_local && host.eq_ignore_ascii_case(tree_host),
        None => uri_within(host, tree),
    }
}

/// A host exactly, or with a leading dot those below.
fn uri_within(host: &str, tree: &str) -> bool {
    if tree.starts_with('.') {
        host.to_ascii_lowercase().ends_with(&tree.to_ascii_lowercase())
    } else {
        host.eq_ignore_ascii_case(tree)
    }
}

fn uri_host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (!host.is_empty()).then_some(host)
}

fn allowed_ip(permitted: &Subtrees, excluded: &Subtrees, ip: IpAddr) -> bool {
    (permitted.ip.is_empty() || permitted.ip.iter().any(|range| ip_within(ip, range)))
        && !excluded.ip.iter().any(|range| ip_within(ip, range))
}

fn ip_within(ip: IpAddr, range: &AddressRange) -> bool {
    let same = |a: u128, b: u128, width: u8| range.prefix == 0 || (a ^ b) >> (width - range.prefix) == 0;
    match (ip, range.address) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_a_tree() {
        for (host, tree) in [
            ("a.example", "example"),
            ("example", "example"),
            ("A.Example", "example"),
            ("a.example", ".example"),
            ("*.a.example", "a.example"),
            ("*.example", ".example"),
        ] {
            assert!(host_within(host, tree), "{host} {tree}");
        }
        for (host, tree) in
            [("evilexample", "example"), ("example", ".example"), ("example.evil", "example"), ("example", "a.example")]
        {
            assert!(!host_within(host, tree), "{host} {tree}");
        }
        assert!(mail_within("a@b.example", ".example") && mail_within("a@example", "example") && mail_within("a@h", "a@h"));
        assert!(!mail_within("a@b.example", "example") && !mail_within("b@h", "a@h") && !mail_within("h", "h"));
        assert_eq!(uri_host("https://u:p@h.example:8/x@y"), Some("h.example"));
        assert_eq!(uri_host("urn:x"), None);
        let range = AddressRange { address: [10, 0, 0, 0].into(), prefix: 8 };
        assert!(ip_within([10, 255, 1, 1].into(), &range) && !ip_within([11, 0, 0, 0].into(), &range));
        assert!(!ip_within("::1".parse().unwrap(), &range));
    }
}
