//! What a request says of a certificate's subject, and the names in it.

use super::{failed, hostname};
use coffer_crypto::x509::{Names, Oid, Subject};
use coffer_engine::Request;
use coffer_types::{Error, Result};
use std::net::IpAddr;

/// The subject of an authority's certificate.
#[derive(Request)]
pub(super) struct Ask {
    /// The common name.
    #[field(default)]
    pub(super) common_name: String,
    #[field(flatten)]
    pub(super) names: AskNames,
    /// Organizational units.
    #[field(default)]
    ou: Vec<String>,
    /// Organizations.
    #[field(default)]
    organization: Vec<String>,
    /// Countries.
    #[field(default)]
    country: Vec<String>,
    /// Localities.
    #[field(default)]
    locality: Vec<String>,
    /// Provinces.
    #[field(default)]
    province: Vec<String>,
    /// Street addresses.
    #[field(default)]
    street_address: Vec<String>,
    /// Postal codes.
    #[field(default)]
    postal_code: Vec<String>,
    /// The subject's serial number, which is not the certificate's.
    #[field(default)]
    serial_number: String,
}

/// Alternative names.
#[derive(Request)]
pub(super) struct AskNames {
    /// Names of hosts and addresses of mail, between commas.
    #[field(default)]
    pub(super) alt_names: String,
    /// IP addresses.
    #[field(default)]
    pub(super) ip_sans: Vec<String>,
    /// URIs.
    #[field(default)]
    pub(super) uri_sans: Vec<String>,
    /// Names of other kinds: `<OID>;UTF8:<text>`.
    #[field(default)]
    pub(super) other_sans: Vec<String>,
    /// The common name is not an alternative name too.
    #[field(default)]
    pub(super) exclude_cn_from_sans: bool,
}

impl Ask {
    pub(super) fn subject(&self) -> Subject {
        Subject {
            country: unique(&self.country),
            organization: unique(&self.organization),
            unit: unique(&self.ou),
            locality: unique(&self.locality),
            province: unique(&self.province),
            street: unique(&self.street_address),
            postal_code: unique(&self.postal_code),
            common_name: self.common_name.clone(),
            serial_number: self.serial_number.clone(),
            ..Subject::default()
        }
    }

    /// The alternative names of an authority: any.
    pub(super) fn names(&self) -> Result<Names> {
        let mut names = self.names.read()?;
        if !self.names.exclude_cn_from_sans {
            add_host_or_mail(&mut names, &self.common_name)?;
        }
        Ok(names)
    }
}

impl AskNames {
    /// The names as they are asked for; what is neither a host's name nor an address of mail among `alt_names` is left out, as the
    /// reference leaves it out.
    ///
    /// # Errors
    /// What is no IP address, URI or other name.
    pub(super) fn read(&self) -> Result<Names> {
        let mut names = Names::default();
        for name in self.alt_names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            add_host_or_mail(&mut names, name)?;
        }
        for text in self.ip_sans.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            let ip: IpAddr =
                text.parse().map_err(|_| Error::bad_request(format!("the value {text:?} is not a valid IP address")))?;
            push(&mut names.ip, ip);
        }
        for uri in self.uri_sans.iter().filter(|uri| !uri.is_empty()) {
            if !is_uri(uri) {
                return Err(Error::bad_request(format!("the provided URI Subject Alternative Name {uri:?} is not a valid URI")));
            }
            push(&mut names.uri, uri.clone());
        }
        for text in self.other_sans.iter().filter(|text| !text.is_empty()) {
            let other =
                parse_other(text).map_err(|why| Error::bad_request(format!("could not parse requested other SAN: {why}")))?;
            push(&mut names.other, other);
        }
        Ok(names)
    }
}

/// Adds a host's name (converted from Unicode) or an address of mail, once; other texts are no such names.
pub(super) fn add_host_or_mail(names: &mut Names, name: &str) -> Result<()> {
    if name.contains('@') {
        // An IA5String holds ASCII alone.
        if !name.is_ascii() {
            return Err(failed("an address of mail holds characters that a certificate can't"));
        }
        push(&mut names.email, name.to_owned());
    } else if let Some(host) = hostname::to_ascii(name).filter(|host| hostname::is_host(host)) {
        push(&mut names.dns, host);
    }
    Ok(())
}

/// `<OID>;UTF8:<text>`, or why it is none.
pub(super) fn parse_other(text: &str) -> std::result::Result<(Oid, String), String> {
    let (oid, rest) = text.split_once(';').ok_or_else(|| format!("expected a semicolon in other SAN {text:?}"))?;
    let (kind, value) = rest.split_once(':').ok_or_else(|| format!("expected a colon in other SAN {text:?}"))?;
    if !kind.eq_ignore_ascii_case("utf8") && !kind.eq_ignore_ascii_case("utf-8") {
        return Err(format!("only UTF8 other SANs are supported; found non-supported type in other SAN {text:?}"));
    }
    let oid = Oid::parse(oid).ok_or_else(|| format!("value {oid:?} is not a valid OID"))?;
    Ok((oid, value.to_owned()))
}

/// An absolute URI of printable ASCII.
pub(super) fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let mut letters = scheme.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_graphic())
}

pub(super) fn push<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

/// Without what stands there twice or is empty, sorted, as the reference has them.
pub(super) fn unique(values: &[String]) -> Vec<String> {
    let mut values: Vec<String> = values.iter().filter(|value| !value.is_empty()).cloned().collect();
    values.sort_unstable();
    values.dedup();
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names() {
        let (oid, text) = parse_other("1.3.6.1.4.1.311.20.2.3;UTF8:a;b:c").unwrap();
        assert_eq!((oid.to_string().as_str(), text.as_str()), ("1.3.6.1.4.1.311.20.2.3", "a;b:c"));
        for bad in ["", "x", "1.2.3", "1.2.3;UTF8", "1.2.3;IA5:x", "1;UTF8:x", "a;UTF8:x"] {
            assert!(parse_other(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn uris() {
        for good in ["spiffe://a/b", "urn:x", "https://h/?a=%20"] {
            assert!(is_uri(good), "{good}");
        }
        for bad in ["", ":x", "x", "a b://c", "http://ä", "x:", "1a:b", "http://a b"] {
            assert!(!is_uri(bad), "{bad}");
        }
    }

    #[test]
    fn texts_that_are_no_names_are_left_out() {
        let mut names = Names::default();
        for name in ["Root CA", "a.example", "a.example", "x@y", "b..c", "*.w.example"] {
            add_host_or_mail(&mut names, name).unwrap();
        }
        assert_eq!((names.dns, names.email), (vec!["a.example".to_owned(), "*.w.example".to_owned()], vec!["x@y".to_owned()]));
        assert!(add_host_or_mail(&mut Names::default(), "ä@y").is_err());
    }
}
