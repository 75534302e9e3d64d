//! `auth/token/create`, `create-orphan`, `create/{role}`.

use super::TokenEngine;
use super::roles::{self, Role};
use crate::identity::Identity;
use crate::identity::login::{Asserted, on_login};
use crate::live::Unsealed;
use crate::tokens::issue::{NewToken, add_identity, auth, bounded_ttl, issue, normal_policies};
use crate::tokens::record::{ROOT_POLICY, TokenRecord};
use coffer_crypto::random::Random;
use coffer_engine::{Ctx, Declare, Reply, Request, TokenKind};
use coffer_types::{Error, Kind, Operation, Result, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn declare(d: &mut Declare<TokenEngine>) {
    d.at("create").about("Create a token.").plain(PLAIN).write(create);
    d.at("create-orphan").about("Create a token without a parent.").sudo().plain(PLAIN).write(create_orphan);
    d.at("create/{role_name}").about("Create a token with a role.").plain(PLAIN).write(create_with_role);
}

const PLAIN: &[&str] = &[];

/// Create a token.
#[derive(Request)]
pub(super) struct Create {
    /// A text for the token instead of a random one; needs sudo.
    id: Option<String>,
    /// Policies; the caller's own where none are named.
    #[field(default)]
    policies: Vec<String>,
    /// Metadata for the audit log.
    #[field(default)]
    meta: BTreeMap<String, String>,
    /// Make it an orphan; needs sudo.
    #[field(default)]
    no_parent: bool,
    /// Leave the default policy out.
    #[field(default)]
    no_default_policy: bool,
    /// May it be renewed?
    #[field(default = true)]
    renewable: bool,
    /// How long it lives.
    ttl: Option<String>,
    /// The older name of ttl.
    lease: Option<String>,
    /// A limit that no renewal passes.
    explicit_max_ttl: Option<String>,
    /// Renewed by this, without a limit; needs sudo.
    period: Option<String>,
    /// A name for people.
    #[field(default)]
    display_name: String,
    /// How many calls it may make; 0 is any number.
    #[field(default)]
    num_uses: i64,
    /// `service` or `batch`.
    #[field(default, rename = "type")]
    kind: String,
    /// The entity alias that it acts as; with a role that allows it.
    #[field(default)]
    entity_alias: String,
}

/// Create a token with a role.
#[derive(Request)]
struct CreateWithRole {
    /// The role.
    #[field(path)]
    role_name: String,
    /// The fields of `create`.
    #[field(rest)]
    rest: coffer_types::Object,
}

async fn create(cx: Ctx<TokenEngine>, ask: Create) -> Result<Reply> {
    make(cx, ask, None, false).await
}

async fn create_orphan(cx: Ctx<TokenEngine>, ask: Create) -> Result<Reply> {
    make(cx, ask, None, true).await
}

async fn create_with_role(cx: Ctx<TokenEngine>, ask: CreateWithRole) -> Result<Reply> {
    let role = roles::get(&cx.view, &ask.role_name).await?;
    let role = role.ok_or_else(|| Error::bad_request(format!("unknown role {}", ask.role_name)))?;
    let fields = coffer_engine::Fields { body: ask.rest, ..coffer_engine::Fields::default() };
    let create = Create::read(&mut coffer_engine::RawFields { captures: Vec::new(), fields })?;
    make(cx, create, Some(role), false).await
}

fn span(text: Option<&str>, name: &str) -> Result<Span> {
    let span = Span::parse(text.unwrap_or_default())?;
    if span.is_negative() { Err(Error::bad_request(format!("{name} must be positive"))) } else { Ok(span) }
}

async fn make(cx: Ctx<TokenEngine>, ask: Create, role: Option<Role>, orphan: bool) -> Result<Reply> {
    let core = cx.engine.core()?;
    let live = cx.engine.live()?;
    let path = cx.call().map(|c| c.path.as_str().to_owned()).unwrap_or_default();
    let parent = parent(&cx).await?;
    if parent.kind == TokenKind::Batch {
        return Err(Error::bad_request("batch tokens cannot create more tokens"));
    }
    // At its last use the record says so by its expiry, no longer by its count.
    if parent.num_uses > 0 || parent.is_spent() {
        return Err(Error::bad_request("restricted use token cannot generate child tokens"));
    }
    crate::leases::end::room_for_a_child(&live.tokens, &cx.view, &parent).await?;
    let sudo = cx.host().has_sudo(Operation::Update, &path);
    let mut warnings = Vec::new();

    let kind = kind(&ask.kind, role.as_ref())?;
    let ttl = span(ask.ttl.as_deref().or(ask.lease.as_deref()), "ttl")?;
    let mut explicit_max = span(ask.explicit_max_ttl.as_deref(), "explicit_max_ttl")?;
    let mut period = span(ask.period.as_deref(), "period")?;
    let num_uses = u64::try_from(ask.num_uses).map_err(|_| Error::bad_request("number of uses cannot be negative"))?;
    if !ask.entity_alias.is_empty() {
        match &role {
            None => return Err(Error::bad_request("'entity_alias' is only allowed in combination with token role")),
            Some(role) if !role.allowed_entity_aliases.iter().any(|a| glob(a, &ask.entity_alias.to_lowercase())) => {
                return Err(Error::bad_request("invalid 'entity_alias' value"));
            }
            Some(_) => {}
        }
    }
    if let Some(id) = &ask.id {
        if !sudo {
            return Err(Error::bad_request("root or sudo privileges required to specify token id"));
        }
        if id.contains('.') {
            return Err(Error::bad_request("custom token ID cannot have the 's.' prefix, nor any '.'"));
        }
        if id.is_empty() || id.len() > 512 || id.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Error::bad_request("a custom token ID has 1 to 512 characters and no white space"));
        }
        warnings.push(
            "A custom token ID is only as hard to guess as its author made it; leave id out for one of 131 random bits."
                .to_owned(),
        );
    }
    if !period.is_zero() && !sudo && role.is_none() {
        return Err(Error::bad_request("root or sudo privileges required to create periodic token"));
    }

    let policies = match &role {
        Some(role) => role.policies(&ask.policies, ask.no_default_policy, &parent)?,
        None => policies(&ask, &parent, sudo)?,
    };
    if policies.iter().any(|p| p == crate::wrapping::POLICY) {
        return Err(Error::bad_request(format!("cannot assign policy {:?}", crate::wrapping::POLICY)));
    }
    let root = policies.iter().any(|p| p == ROOT_POLICY);
    if root && !parent.is_root() {
        return Err(Error::bad_request("root tokens may not be created without parent token being root"));
    }
    if root && kind == TokenKind::Batch {
        return Err(Error::bad_request("batch tokens cannot be root tokens"));
    }
    for policy in policies.iter().filter(|p| *p != ROOT_POLICY) {
        if !crate::policies::exists(&cx.view, policy).await? {
            warnings.push(format!("Policy {policy:?} does not exist"));
        }
    }

    let no_parent = orphan || ask.no_parent || role.as_ref().is_some_and(|r| r.orphan);
    if ask.no_parent && !orphan && !sudo && !role.as_ref().is_some_and(|r| r.orphan) {
        return Err(Error::bad_request("root or sudo privileges required to create orphan token"));
    }
    if let Some(role) = &role {
        if !role.token_period.is_zero() {
            period = role.token_period;
        }
        if !role.token_explicit_max_ttl.is_zero() {
            explicit_max =
                if explicit_max.is_zero() { role.token_explicit_max_ttl } else { explicit_max.min(role.token_explicit_max_ttl) };
        }
    }
    let mount = cx.mount();
    let (ttl, warning) = if !period.is_zero() {
        bounded_ttl(period, period, period, explicit_max)
    } else if root && ttl.is_zero() && explicit_max.is_zero() {
        (Span::ZERO, None)
    } else {
        bounded_ttl(ttl, mount.default_lease_ttl, mount.max_lease_ttl, explicit_max)
    };
    warnings.extend(warning);
    if root && !parent.expires.is_never() && ttl.is_zero() {
        return Err(Error::bad_request("expiring root tokens cannot create non-expiring root tokens"));
    }
    if kind == TokenKind::Batch && (num_uses > 0 || !period.is_zero() || !explicit_max.is_zero() || ask.id.is_some()) {
        return Err(Error::bad_request("batch tokens cannot have a use count, a period, an explicit max TTL or an id"));
    }
    let identity = match &*ask.entity_alias {
        "" if no_parent || parent.entity_id.is_empty() => None,
        "" => live.identities.get(&live.barrier, &parent.entity_id).await?,
        alias => Some(Arc::new(aliased(&cx, &live, &*core.random, alias).await?)),
    };
    let suffix = role.as_ref().map(|r| r.path_suffix.as_str()).filter(|s| !s.is_empty());
    let new = NewToken {
        id: ask.id,
        kind,
        policies,
        path: suffix.map_or_else(|| path.clone(), |s| format!("{path}/{s}")),
        display_name: display_name(&ask.display_name),
        meta: ask.meta,
        ttl,
        explicit_max_ttl: explicit_max,
        period,
        num_uses: role.as_ref().map_or(num_uses, |r| if r.token_num_uses > 0 { r.token_num_uses } else { num_uses }),
        parent: if no_parent { String::new() } else { parent.key.clone() },
        role: role.as_ref().map(|r| r.name.clone()).unwrap_or_default(),
        bound_cidrs: role.as_ref().map(|r| r.token_bound_cidrs.clone()).unwrap_or_default(),
        entity_id: identity.as_ref().map(|i| i.entity.id.clone()).unwrap_or_default(),
        renewable: ask.renewable && role.as_ref().is_none_or(|r| r.renewable) && !ttl.is_zero(),
        ..NewToken::default()
    };
    let (text, record) = issue(&live, &*core.random, &cx.view, new, cx.now()).await?;
    let mut auth = auth(text.expose(), &record, ttl.secs());
    if let Some(identity) = &identity {
        add_identity(&mut auth, identity);
    }
    Ok(Reply::auth(auth).warnings(warnings))
}

/// The identity that a token is to act as: of the alias on the token store's own mount, made where there is none.
async fn aliased(cx: &Ctx<TokenEngine>, live: &Unsealed, random: &dyn Random, alias: &str) -> Result<Identity> {
    let (accessor, store) = (&cx.mount().accessor, &live.identities.store);
    let asserted = Asserted { accessor, local: false, alias, metadata: None, groups: None };
    let entity = on_login(store, &cx.view, random, &asserted, cx.now()).await.map_err(|error| match error.kind() {
        Kind::Denied => Error::new(Kind::Denied, "entity from given entity alias is disabled"),
        _ => error,
    })?;
    Identity::load(store, &cx.view, entity).await
}

/// The caller's own record, as it is in this transaction.
async fn parent(cx: &Ctx<TokenEngine>) -> Result<TokenRecord> {
    let text = super::own_text(cx)?.to_owned();
    super::find(cx, &text).await?.ok_or_else(Error::denied)
}

fn kind(asked: &str, role: Option<&Role>) -> Result<TokenKind> {
    let asked = match asked {
        "" | "default" => None,
        "service" => Some(TokenKind::Service),
        "batch" => Some(TokenKind::Batch),
        _ => return Err(Error::bad_request("invalid 'token_type' value")),
    };
    Ok(match role.map(|r| r.token_type.as_str()) {
        Some("service") => TokenKind::Service,
        Some("batch") => TokenKind::Batch,
        Some("default-batch") => asked.unwrap_or(TokenKind::Batch),
        _ => asked.unwrap_or_default(),
    })
}

/// Without a role: the caller's own policies, or some of them; any with sudo.
fn policies(ask: &Create, parent: &TokenRecord, sudo: bool) -> Result<Vec<String>> {
    if ask.policies.is_empty() {
        return Ok(normal_policies(&parent.policies, !ask.no_default_policy));
    }
    let wanted = normal_policies(&ask.policies, !ask.no_default_policy);
    let has = |policy: &String| policy == "default" || parent.policies.contains(policy);
    if !sudo && !parent.is_root() && !wanted.iter().all(has) {
        return Err(Error::bad_request("child policies must be subset of parent"));
    }
    Ok(wanted)
}

/// `token-Web-App`: what is not a letter, a digit or a dash becomes a dash.
fn display_name(asked: &str) -> String {
    if asked.is_empty() {
        return "token".to_owned();
    }
    let clean: String = asked.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    format!("token-{}", clean.trim_end_matches('-'))
}

/// A pattern with `*` anywhere.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return text.is_empty() };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_globs() {
        assert_eq!(display_name("Web App"), "token-Web-App");
        assert_eq!(display_name(""), "token");
        for (pattern, text, yes) in [
            ("a*", "abc", true),
            ("*", "", true),
            ("a*c", "abc", true),
            ("a*c", "abd", false),
            ("a", "ab", false),
            ("*b*", "abc", true),
            ("a*b*c", "ac", false),
        ] {
            assert_eq!(glob(pattern, text), yes, "{pattern} {text}");
        }
    }
}
