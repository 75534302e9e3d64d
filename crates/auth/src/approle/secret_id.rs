//! A secret id's making: what may be asked of it, and what it comes to.

use super::role::{networks, not_negative};
use super::store::{Role, SecretId};
use coffer_types::json::{Limits, parse};
use coffer_types::{Cidr, Error, Result, Span, Timestamp, lenient};
use std::collections::BTreeMap;

/// What is asked of a new secret id.
pub(super) struct Wanted {
    pub metadata: Option<String>,
    pub cidr_list: Vec<String>,
    pub token_bound_cidrs: Vec<String>,
    pub num_uses: Option<i64>,
    pub ttl: Option<Span>,
}

impl Wanted {
    /// The record, where the role allows what is asked.
    pub(super) fn record(self, role: &Role, accessor: String, max_ttl: Span, now: Timestamp) -> Result<SecretId> {
        if !role.bind_secret_id {
            return Err(Error::bad_request("bind_secret_id is not set on the role"));
        }
        let ttl = self.ttl(role)?.min(max_ttl);
        let num_uses = self.num_uses(role)?;
        let cidr_list = within("the secret ID", networks(self.cidr_list)?, &role.secret_id_bound_cidrs)?;
        let token_bound_cidrs = within("the token", networks(self.token_bound_cidrs)?, &role.token.bound_cidrs)?;
        Ok(SecretId {
            accessor,
            created: now,
            expires: if ttl.is_zero() { Timestamp::NEVER } else { now.plus(ttl.duration()) },
            updated: now,
            ttl,
            num_uses,
            metadata: metadata(self.metadata.as_deref().unwrap_or_default())?,
            cidr_list,
            token_bound_cidrs,
        })
    }

    fn num_uses(&self, role: &Role) -> Result<u64> {
        let Some(asked) = self.num_uses else { return Ok(role.secret_id_num_uses) };
        let asked = u64::try_from(asked).map_err(|_| Error::bad_request("num_uses cannot be negative"))?;
        let most = role.secret_id_num_uses;
        if most > 0 && (asked == 0 || asked > most) {
            return Err(Error::bad_request("num_uses cannot be higher than the role's secret_id_num_uses"));
        }
        Ok(asked)
    }

    fn ttl(&self, role: &Role) -> Result<Span> {
        let Some(asked) = self.ttl else { return Ok(role.secret_id_ttl) };
        let (asked, most) = (not_negative(asked)?, role.secret_id_ttl);
        if !most.is_zero() && (asked.is_zero() || asked > most) {
            return Err(Error::bad_request("ttl cannot be longer than the role's secret_id_ttl"));
        }
        Ok(asked)
    }
}

/// Networks that lie inside the role's, where the role has any.
fn within(whose: &str, cidrs: Vec<String>, of_role: &[String]) -> Result<Vec<String>> {
    let outer: Vec<Cidr> = of_role.iter().filter_map(|c| Cidr::parse(c)).collect();
    let inside = |c: &String| Cidr::parse(c).is_some_and(|c| outer.iter().any(|o| o.covers(&c)));
    if of_role.is_empty() || cidrs.iter().all(inside) {
        return Ok(cidrs);
    }
    Err(crate::as_vault_500(format!(
        "failed to verify subset relationship between CIDR blocks on the role {of_role:?} and CIDR blocks on {whose} {cidrs:?}"
    )))
}

/// Metadata as a JSON object of strings, or as `name=value,name=value`; as it is, or in base64.
fn metadata(text: &str) -> Result<BTreeMap<String, String>> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(BTreeMap::new());
    }
    if let Some(pairs) = pairs(text)? {
        return Ok(pairs);
    }
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().map(pairs).transpose()?.flatten() {
        Some(pairs) => Ok(pairs),
        None => Err(Error::bad_request("failed to parse metadata: neither a JSON object of strings nor name=value pairs")),
    }
}

fn pairs(text: &str) -> Result<Option<BTreeMap<String, String>>> {
    if text.starts_with('{') {
        let object = parse(text.as_bytes(), &Limits::NONE).ok();
        let Some(object) = object else { return Ok(None) };
        let map = lenient::map(&object).map_err(|_| Error::bad_request("failed to parse metadata: not an object"))?;
        let strings = map.iter().map(|(name, value)| value.as_str().map(|v| (name.to_owned(), v.to_owned())));
        return match strings.collect::<Option<_>>() {
            Some(pairs) => Ok(Some(pairs)),
            None => Err(Error::bad_request("failed to parse metadata: values must be strings")),
        };
    }
    let split = text.split(',').map(|pair| pair.split_once('=').map(|(n, v)| (n.trim().to_owned(), v.trim().to_owned())));
    let found: Option<BTreeMap<String, String>> = split.collect();
    Ok(found.filter(|pairs| pairs.keys().all(|name| !name.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_in_its_forms() {
        let want: BTreeMap<String, String> = [("a".to_owned(), "b".to_owned())].into();
        for text in [r#"{"a":"b"}"#, "a=b", " a = b ", "eyJhIjoiYiJ9"] {
            assert_eq!(metadata(text).unwrap(), want, "{text}");
        }
        assert!(metadata("").unwrap().is_empty());
        for bad in ["word", r#"{"a":1}"#, r#"{"a":"b""#, "=b", "a=b,c", "[1]"] {
            assert!(metadata(bad).is_err(), "{bad}");
        }
    }
}
