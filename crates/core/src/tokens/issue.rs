//! Making tokens. Every token of the server comes through [`issue`], so every rule on what a token may be stands here.

use super::record::{ROOT_POLICY, TokenRecord, new_accessor, new_token};
use crate::identity::Identity;
use crate::leases;
use crate::live::Live;
use coffer_crypto::random::{self, Random};
use coffer_engine::reply::Auth;
use coffer_engine::view::View;
use coffer_engine::{Login, TokenKind};
use coffer_types::{Error, Result, Secret, Span, Timestamp};
use std::collections::BTreeMap;

/// What a new token is to be.
#[derive(Clone, Debug, Default)]
pub struct NewToken {
    /// A text of the caller's choice; only `auth/token/create` by a principal with sudo gives one.
    pub id: Option<String>,
    pub kind: TokenKind,
    /// Normalised by [`normal_policies`].
    pub policies: Vec<String>,
    pub path: String,
    pub display_name: String,
    pub meta: BTreeMap<String, String>,
    /// Zero never ends: root tokens only.
    pub ttl: Span,
    pub explicit_max_ttl: Span,
    pub period: Span,
    pub num_uses: u64,
    /// The key of the parent; empty for an orphan.
    pub parent: String,
    pub role: String,
    pub bound_cidrs: Vec<String>,
    pub entity_id: String,
    pub renewable: bool,
    pub login: Option<Login>,
    pub mount_accessor: String,
    pub wrapping: bool,
}

/// Names of policies as they are compared and stored: trimmed, lower case, sorted, each once, `default` added unless it
/// is not wanted or `root` is there. One place, so that ` Root` can't be anything but `root` (CVE-2025-5999).
pub fn normal_policies(names: impl IntoIterator<Item = impl AsRef<str>>, with_default: bool) -> Vec<String> {
    let mut policies: Vec<String> =
        names.into_iter().map(|n| n.as_ref().trim().to_lowercase()).filter(|n| !n.is_empty()).collect();
    if policies.iter().any(|p| p == ROOT_POLICY) {
        return vec![ROOT_POLICY.to_owned()];
    }
    if with_default {
        policies.push("default".to_owned());
    }
    policies.sort_unstable();
    policies.dedup();
    policies
}

/// Makes a token in this transaction: its record, its accessor, its lease.
pub async fn issue(
    live: &Live,
    random: &dyn Random,
    view: &View,
    new: NewToken,
    now: Timestamp,
) -> Result<(Secret<String>, TokenRecord)> {
    if new.ttl.is_zero() && !new.policies.iter().any(|p| p == ROOT_POLICY) {
        return Err(Error::internal("a token that is not root's must end"));
    }
    let service = new.kind == TokenKind::Service;
    let role = login_role(&new);
    let own_text = new.id.is_some() && service;
    let text = new.id.map_or_else(|| new_token(random), Secret::new);
    let key = if service { live.tokens.key(text.expose()) } else { String::new() };
    // A text of our own making is new; who brings one may name a token that is there.
    if own_text {
        if live.tokens.get_key(view, &key).await?.is_some() {
            return Err(Error::bad_request("cannot create a token with a duplicate ID"));
        }
        leases::end::refuse_ending(view, &key).await?;
    }
    let record = TokenRecord {
        accessor: if service { new_accessor(random) } else { String::new() },
        kind: new.kind,
        policies: new.policies,
        path: new.path,
        display_name: new.display_name,
        meta: new.meta,
        created: now,
        ttl: new.ttl,
        expires: if new.ttl.is_zero() { Timestamp::NEVER } else { now.plus(new.ttl.duration()) },
        last_renewed: Timestamp::NEVER,
        explicit_max_ttl: new.explicit_max_ttl,
        period: new.period,
        num_uses: new.num_uses,
        parent: new.parent,
        role: new.role,
        bound_cidrs: new.bound_cidrs,
        entity_id: new.entity_id,
        renewable: new.renewable && service,
        cubbyhole: if service && !new.wrapping { random::uuid(random) } else { String::new() },
        // What only a renewal asks need not be carried by who can't renew.
        login: new.login.filter(|_| service),
        mount_accessor: new.mount_accessor,
        wrapping: new.wrapping,
        marked: true,
        key,
    };
    if !service {
        live.leases.refuse_if_full(live, &record.path, &role).await?;
        return Ok((live.batch.seal(&record, random)?, record));
    }
    leases::end::depends(view, &record.parent).await?;
    live.tokens.put(view, &record)?;
    if !record.expires.is_never() {
        leases::register_token(live, view, &record, &role).await?;
    }
    Ok((text, record))
}

/// The role that a token is asked of, as limits on leases name it: the one that the auth method says in its metadata, else
/// the token role, else the last name of the path (`auth/userpass/login/bob`).
fn login_role(new: &NewToken) -> String {
    let said = new.login.as_ref().and_then(|l| l.metadata.get("role_name").or_else(|| l.metadata.get("role")));
    let named = said.or(Some(&new.role)).filter(|r| !r.is_empty()).cloned();
    named.unwrap_or_else(|| new.path.rsplit('/').next().unwrap_or_default().to_owned())
}

/// The `auth` of a reply for a token.
pub fn auth(text: &str, record: &TokenRecord, seconds: i64) -> Auth {
    Auth {
        client_token: Secret::from(text),
        accessor: record.accessor.clone(),
        policies: record.policies.clone(),
        token_policies: record.policies.clone(),
        identity_policies: Vec::new(),
        metadata: (!record.meta.is_empty()).then(|| record.meta.clone()),
        lease_duration: seconds,
        renewable: record.renewable,
        entity_id: record.entity_id.clone(),
        kind: record.kind,
        orphan: record.is_orphan(),
        num_uses: record.num_uses,
        display_name: record.display_name.clone(),
    }
}

/// Shows in the `auth` of a reply what the token's identity adds to its policies.
pub fn add_identity(auth: &mut Auth, identity: &Identity) {
    if auth.token_policies.iter().any(|p| p == ROOT_POLICY) {
        return;
    }
    auth.identity_policies.clone_from(&identity.policies);
    auth.policies.extend(identity.policies.iter().cloned());
    auth.policies.sort_unstable();
    auth.policies.dedup();
}

/// What a TTL comes to: the default where none was asked, never over the maximum. With the warning that the cap
/// deserves.
pub fn bounded_ttl(asked: Span, default: Span, max: Span, explicit_max: Span) -> (Span, Option<String>) {
    let limit = if explicit_max.is_zero() { max } else { explicit_max.min(max) };
    let wanted = if asked.is_zero() { default } else { asked };
    if wanted <= limit {
        return (wanted, None);
    }
    let warning = (!asked.is_zero()).then(|| {
        format!(
            "TTL of \"{}\" exceeded the effective max_ttl of \"{}\"; TTL value is capped accordingly",
            short(asked),
            short(limit)
        )
    });
    (limit, warning)
}

/// As Vault shortens durations in messages: `10m0s` is `10m`, `1h0m0s` is `1h`.
fn short(span: Span) -> String {
    let text = span.to_string();
    let text = if text.ends_with("m0s") { &text[..text.len() - 2] } else { &text };
    if text.ends_with("h0m") { text[..text.len() - 2].to_owned() } else { text.to_owned() }
}

/// The expiry after a renewal: at most the explicit maximum from creation, the mount's maximum, a whole period
/// for a periodic token. `None` where nothing is left.
pub fn renewed(record: &TokenRecord, increment: Span, default: Span, max: Span, now: Timestamp) -> (Span, Vec<String>) {
    let mut warnings = Vec::new();
    let wanted = if !record.period.is_zero() {
        record.period
    } else if increment.is_zero() {
        if record.ttl.is_zero() { default } else { record.ttl }
    } else {
        increment
    };
    let mut limits = Vec::new();
    if record.period.is_zero() {
        limits.push(record.created.plus(max.duration()));
    }
    if !record.explicit_max_ttl.is_zero() {
        limits.push(record.created.plus(record.explicit_max_ttl.duration()));
    }
    let end = now.plus(wanted.duration());
    let allowed = limits.into_iter().fold(end, Timestamp::min);
    if allowed < end {
        warnings.push(format!("TTL of {:?} exceeded the effective max_ttl; TTL value is capped accordingly", short(wanted)));
    }
    let left = i64::try_from(allowed.since(now).as_nanos()).unwrap_or(i64::MAX);
    (Span(left), warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_policies_are_normal() {
        assert_eq!(normal_policies([" App", "app", "B", ""], true), ["app", "b", "default"]);
        assert_eq!(normal_policies(["app"], false), ["app"]);
        for root in ["root", " Root", "ROOT\t"] {
            assert_eq!(normal_policies([root, "app"], true), ["root"], "{root:?}");
        }
    }

    #[test]
    fn ttls_are_bounded() {
        let s = Span::from_secs;
        assert_eq!(bounded_ttl(s(0), s(100), s(200), s(0)), (s(100), None));
        assert_eq!(bounded_ttl(s(0), s(100), s(50), s(0)), (s(50), None));
        let (ttl, warning) = bounded_ttl(s(600), s(100), s(5000), s(300));
        assert_eq!(ttl, s(300));
        assert_eq!(warning.unwrap(), "TTL of \"10m\" exceeded the effective max_ttl of \"5m\"; TTL value is capped accordingly");
        assert_eq!(short(s(3600)), "1h");
        assert_eq!(short(s(5400)), "1h30m");
        assert_eq!(short(s(61)), "1m1s");
    }
}
