//! Whether a role allows the names that a certificate is to have, whoever names them: the caller or the request that is signed.

use super::role::Role;
use super::{Cx, hostname};
use coffer_crypto::x509::Names;
use coffer_types::{Cidr, Error, Result};
use std::net::IpAddr;

/// Where a name was given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Given {
    ByApi,
    ByCsr,
}

impl Given {
    const fn by(self) -> &'static str {
        match self {
            Self::ByApi => "via the API",
            Self::ByCsr => "via CSR",
        }
    }
}

/// A role's rules with the caller's identity filled in.
pub(super) struct Allowed<'r> {
    role: &'r Role,
    domains: Vec<String>,
    uris: Vec<String>,
}

impl<'r> Allowed<'r> {
    pub(super) async fn of(cx: &Cx, role: &'r Role) -> Result<Self> {
        let globs = role.allow_globs_in_identity_templates;
        let domains = filled(cx, &role.allowed_domains, role.allowed_domains_template, globs).await?;
        let uris = filled(cx, &role.allowed_uri_sans, role.allowed_uri_sans_template, globs).await?;
        Ok(Self { role, domains, uris })
    }

    /// # Errors
    /// A common name that the role does not allow, named.
    pub(super) fn common_name(&self, name: &str) -> Result<()> {
        let kinds = &self.role.cn_validations;
        if kinds.iter().any(|kind| kind == "disabled") {
            return Ok(());
        }
        let kind = if name.contains('@') { "email" } else { "hostname" };
        if self.name(name) && kinds.iter().any(|known| known == kind) {
            return Ok(());
        }
        Err(Error::bad_request(format!("common name {name} not allowed by this role")))
    }

    /// # Errors
    /// The first name that the role does not allow, named.
    pub(super) fn names(&self, names: &Names, given: Given) -> Result<()> {
        if let Some(bad) = names.dns.iter().find(|name| !self.name(name)) {
            return Err(Error::bad_request(format!("subject alternate name {bad} not allowed by this role")));
        }
        if let Some(bad) = names.email.iter().find(|name| !self.name(name)) {
            return Err(Error::bad_request(format!("email address {bad} not allowed by this role")));
        }
        if !names.ip.is_empty() && !self.role.allow_ip_sans {
            return Err(Error::bad_request(format!(
                "IP Subject Alternative Names are not allowed in this role, but was provided {}",
                given.by()
            )));
        }
        if let Some(bad) = names.ip.iter().find(|ip| !self.ip(**ip)) {
            return Err(Error::bad_request(format!("the IP address \"{bad}\" is not allowed in this role")));
        }
        if !names.uri.is_empty() && self.role.allowed_uri_sans.is_empty() {
            return Err(Error::bad_request(format!(
                "URI Subject Alternative Names are not allowed in this role, but were provided {}",
                given.by()
            )));
        }
        if names.uri.iter().any(|uri| !self.uris.iter().any(|pattern| glob(pattern, uri))) {
            return Err(Error::bad_request(format!(
                "URI Subject Alternative Names were provided {} which are not valid for this role",
                given.by()
            )));
        }
        self.others(names)
    }

    /// # Errors
    /// A user id that the role does not allow.
    pub(super) fn user_ids(&self, ids: &[String]) -> Result<()> {
        match ids.iter().find(|id| !self.role.allowed_user_ids.iter().any(|pattern| glob(pattern, id))) {
            Some(bad) => Err(Error::bad_request(format!("user_id {bad} is not allowed by this role"))),
            None => Ok(()),
        }
    }

    /// # Errors
    /// A serial number of the subject that the role does not allow.
    pub(super) fn serial_number(&self, number: &str) -> Result<()> {
        if number.is_empty() || self.role.allowed_serial_numbers.iter().any(|pattern| glob(pattern, number)) {
            return Ok(());
        }
        Err(Error::bad_request(format!("serial_number {number} not allowed by this role")))
    }

    fn others(&self, names: &Names) -> Result<()> {
        let allowed = &self.role.allowed_other_sans;
        if allowed.iter().any(|pattern| pattern == "*") {
            return Ok(());
        }
        for (oid, text) in &names.other {
            let mut known = false;
            let fits =
                allowed.iter().filter_map(|pattern| super::subject::parse_other(pattern).ok()).any(|(allowed, pattern)| {
                    known |= allowed == *oid;
                    allowed == *oid && glob(&pattern, text)
                });
            if !known {
                return Err(Error::bad_request(format!("other SAN OID {oid} not allowed by this role")));
            }
            if !fits {
                return Err(Error::bad_request(format!("other SAN {text} not allowed for OID {oid} by this role")));
            }
        }
        Ok(())
    }

    fn ip(&self, ip: IpAddr) -> bool {
        let networks = &self.role.allowed_ip_sans_cidr;
        networks.is_empty() || networks.iter().filter_map(|network| Cidr::parse(network)).any(|network| network.contains(ip))
    }

    /// One name of a host, or address of mail.
    fn name(&self, name: &str) -> bool {
        let role = self.role;
        let (host, is_mail) = match name.rsplit_once('@') {
            Some((local, host)) if is_local(local) => (host, true),
            Some(_) => return false,
            None => (name, false),
        };
        let is_wildcard = host.contains('*');
        let mut below = host;
        if is_wildcard {
            // A name with a star is a whole leftmost label's, and no mail's. Where hosts are not enforced it may be any text.
            match hostname::wildcard(host) {
                Some((_, rest)) if !is_mail && role.allow_wildcard_certificates => below = rest,
                _ if !role.enforce_hostnames && role.allow_any_name && role.allow_wildcard_certificates => {}
                _ => return false,
            }
        }
        if role.enforce_hostnames
            && !hostname::to_ascii(below).is_some_and(|host| hostname::is_host(&host) && !host.contains('*'))
        {
            return false;
        }
        if role.allow_any_name || role.allow_localhost && matches!(host, "localhost" | "localdomain") {
            return true;
        }
        self.domains.iter().filter(|domain| !domain.is_empty()).any(|domain| {
            let bare =
                role.allow_bare_domains && (name.eq_ignore_ascii_case(domain) || is_mail && host.eq_ignore_ascii_case(domain));
            let ends = below.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.') && rest.len() > 1);
            let sub = role.allow_subdomains && (ends || is_wildcard && below == domain);
            let globbed = role.allow_glob_domains && domain.contains('*') && glob(domain, name);
            bare || sub || globbed
        })
    }
}

/// What stands before the `@` of an address without quotes (RFC 5321 section 4.1.2).
fn is_local(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic() && !b"\"(),:;<>@[]\\".contains(&b))
}

/// The list with identity templates filled in. What can't be filled in is left out: it allows nothing.
async fn filled(cx: &Cx, list: &[String], templates: bool, globs: bool) -> Result<Vec<String>> {
    if !templates {
        return Ok(list.to_vec());
    }
    let mut out = Vec::new();
    for text in list {
        if !text.contains("{{") {
            out.push(text.clone());
            continue;
        }
        // A value that could widen the pattern fills nothing (security row 5). In a name of a host neither `@` nor a space is one.
        out.extend(cx.fill_identity(text, globs).await?);
    }
    Ok(out)
}

/// Whether the text fits the pattern, in which each `*` stands for any text.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let parts: Vec<&str> = parts.collect();
    let Some((last, inner)) = parts.split_last() else { return false };
    let mut rest = rest;
    for part in inner {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by(role: &Role) -> Allowed<'_> {
        Allowed { role, domains: role.allowed_domains.clone(), uris: role.allowed_uri_sans.clone() }
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn domains_hold_their_names() {
        let role = Role { allowed_domains: list(&["example.com", "x.org"]), allow_subdomains: true, ..Role::default() };
        let allowed = by(&role);
        for good in [
            "a.example.com",
            "a.b.example.com",
            "*.example.com",
            "*.a.example.com",
            "w*.example.com",
            "a@b.example.com",
            "localhost",
            "bücher.example.com",
        ] {
            assert!(allowed.name(good), "{good}");
        }
        for bad in [
            "example.com",
            "a@example.com",
            "evilexample.com",
            "a.example.com.evil.org",
            "A.EXAMPLE.com",
            ".example.com",
            "a..example.com",
            "a b.example.com",
            "a\0.example.com",
            "a_b.example.com",
            "*.*.example.com",
            "a.*.example.com",
            "*example.com",
            "*",
            "@a.example.com",
            "a@b@a.example.com",
            "*@a.example.com.evil",
            "a@*.example.com",
            "a.localhost",
            "",
        ] {
            assert!(!allowed.name(bad), "{bad}");
        }
    }

    #[test]
    fn each_permission_stands_alone() {
        let domains = list(&["example.com"]);
        let none = Role { allowed_domains: domains.clone(), ..Role::default() };
        assert!(!by(&none).name("example.com") && !by(&none).name("a.example.com"));
        let bare = Role { allowed_domains: domains.clone(), allow_bare_domains: true, allow_localhost: false, ..Role::default() };
        assert!(by(&bare).name("example.com") && by(&bare).name("Example.COM") && by(&bare).name("a@example.com"));
        assert!(!by(&bare).name("localhost") && !by(&bare).name("*.example.com") && !by(&bare).name("a.example.com"));
        let no_stars = Role { allow_any_name: true, allow_wildcard_certificates: false, ..Role::default() };
        assert!(by(&no_stars).name("a") && !by(&no_stars).name("*.a.com") && !by(&no_stars).name("a b"));
        let any = Role { allow_any_name: true, enforce_hostnames: false, ..Role::default() };
        assert!(by(&any).name("a b") && by(&any).name("a*b") && !by(&any).name("a@b@c"));
        let globs = Role { allowed_domains: list(&["ftp*.example.com"]), allow_glob_domains: true, ..Role::default() };
        assert!(
            by(&globs).name("ftp1.example.com") && !by(&globs).name("ftp1.evil.com") && !by(&globs).name("ftp.x/.example.com")
        );
    }

    #[test]
    fn other_kinds_of_names() {
        let role = Role {
            allow_any_name: true,
            allowed_ip_sans_cidr: list(&["10.0.0.0/8"]),
            allowed_uri_sans: list(&["spiffe://a/*"]),
            allowed_other_sans: list(&["1.2.3;UTF8:x*"]),
            allowed_user_ids: list(&["u*"]),
            allowed_serial_numbers: list(&["1*"]),
            ..Role::default()
        };
        let allowed = by(&role);
        let oid = |text| coffer_crypto::x509::Oid::parse(text).unwrap();
        let good = Names {
            ip: vec![[10, 1, 1, 1].into()],
            uri: list(&["spiffe://a/b"]),
            other: vec![(oid("1.2.3"), "xy".to_owned())],
            ..Names::default()
        };
        assert!(allowed.names(&good, Given::ByCsr).is_ok());
        let said =
            |names: Names| allowed.names(&names, Given::ByCsr).err().map(|error| error.public().to_owned()).unwrap_or_default();
        assert_eq!(
            said(Names { ip: vec![[11, 1, 1, 1].into()], ..Names::default() }),
            "the IP address \"11.1.1.1\" is not allowed in this role"
        );
        assert_eq!(
            said(Names { uri: list(&["spiffe://b/"]), ..Names::default() }),
            "URI Subject Alternative Names were provided via CSR which are not valid for this role"
        );
        assert_eq!(
            said(Names { other: vec![(oid("1.2.3"), "y".to_owned())], ..Names::default() }),
            "other SAN y not allowed for OID 1.2.3 by this role"
        );
        assert_eq!(
            said(Names { other: vec![(oid("1.2.4"), "x".to_owned())], ..Names::default() }),
            "other SAN OID 1.2.4 not allowed by this role"
        );
        assert_eq!(said(Names { email: list(&["a.b@c"]), dns: list(&["ok"]), ..Names::default() }), "");
        for bad in ["a b@c", "a\0@c", "\"a\"@c", "@c", "a@"] {
            assert_eq!(
                said(Names { email: list(&[bad]), ..Names::default() }),
                format!("email address {bad} not allowed by this role")
            );
        }
        assert!(allowed.user_ids(&list(&["u1"])).is_ok() && allowed.user_ids(&list(&["u1", "v"])).is_err());
        assert!(allowed.serial_number("12").is_ok() && allowed.serial_number("").is_ok() && allowed.serial_number("2").is_err());
        let closed = Role { allow_ip_sans: false, ..Role::default() };
        let ip = Names { ip: vec![[10, 1, 1, 1].into()], ..Names::default() };
        assert!(by(&closed).names(&ip, Given::ByApi).is_err());
        assert!(by(&closed).names(&Names { uri: list(&["a:b"]), ..Names::default() }, Given::ByApi).is_err());
    }

    #[test]
    fn patterns() {
        for (pattern, text) in [("*", ""), ("a*", "a"), ("*a*b", "xaxxb"), ("a", "a"), ("", ""), ("a*a", "aa"), ("**", "x")] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", "ab"), ("a*a", "a"), ("*a", "b"), ("a*b*c", "acb"), ("A*", "a")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn what_a_star_stands_for_is_any_text(a in "[a-c]{0,4}", b in "[a-c]{0,4}", middle in "[a-c*]{0,6}") {
            let text = format!("{a}{middle}{b}");
            let pattern = format!("{a}*{b}");
            prop_assert!(glob(&pattern, &text));
        }
    }
}
