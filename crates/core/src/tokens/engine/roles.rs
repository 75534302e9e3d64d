//! Token roles: what tokens made through them are and may be.

use super::TokenEngine;
use super::create::glob;
use crate::tokens::issue::normal_policies;
use crate::tokens::record::{ROLES, ROOT_POLICY, TokenRecord};
use coffer_engine::view::{Record, View};
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Object, Result, Span};
use serde::{Deserialize, Serialize};

pub(super) fn declare(d: &mut Declare<TokenEngine>) {
    d.at("roles").about("List the roles.").list(list);
    d.at("roles/{role_name}")
        .about("A role: what tokens made with it are.")
        .read(read)
        .write(write)
        .exists(exists)
        .delete(delete);
}

/// A role.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Role {
    pub name: String,
    pub allowed_policies: Vec<String>,
    pub disallowed_policies: Vec<String>,
    pub allowed_policies_glob: Vec<String>,
    pub disallowed_policies_glob: Vec<String>,
    pub orphan: bool,
    pub path_suffix: String,
    pub renewable: bool,
    pub token_period: Span,
    pub token_explicit_max_ttl: Span,
    pub token_no_default_policy: bool,
    pub token_type: String,
    pub token_bound_cidrs: Vec<String>,
    pub token_num_uses: u64,
    pub allowed_entity_aliases: Vec<String>,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

impl Role {
    /// The policies of a token made with this role, or why not.
    pub(super) fn policies(&self, asked: &[String], no_default: bool, parent: &TokenRecord) -> Result<Vec<String>> {
        let with_default = !no_default && !self.token_no_default_policy;
        let lists = !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty();
        let denies = !self.disallowed_policies.is_empty() || !self.disallowed_policies_glob.is_empty();
        if lists {
            let wanted = if asked.is_empty() { self.allowed_policies.clone() } else { asked.to_vec() };
            let wanted = normal_policies(wanted, with_default);
            let allowed = |p: &String| {
                p == "default" && with_default
                    || self.allowed_policies.contains(p)
                    || self.allowed_policies_glob.iter().any(|g| glob(g, p))
            };
            if let Some(other) = wanted.iter().find(|p| !allowed(p)) {
                let message = format!(
                    "token policies ({wanted:?}) must be subset of the role's allowed policies ({:?}) or glob policies ({:?}); {other:?} is not",
                    self.allowed_policies, self.allowed_policies_glob
                );
                return Err(Error::bad_request(message));
            }
            return self.refuse_denied(wanted);
        }
        if denies {
            let wanted = if asked.is_empty() { parent.policies.clone() } else { asked.to_vec() };
            return self.refuse_denied(normal_policies(wanted, with_default));
        }
        if asked.is_empty() {
            return Ok(normal_policies(&parent.policies, with_default));
        }
        let wanted = normal_policies(asked, with_default);
        let has = |p: &String| p == "default" || parent.policies.contains(p);
        if parent.is_root() || wanted.iter().all(has) {
            Ok(wanted)
        } else {
            Err(Error::bad_request("child policies must be subset of parent"))
        }
    }

    fn refuse_denied(&self, wanted: Vec<String>) -> Result<Vec<String>> {
        let denied =
            |p: &&String| self.disallowed_policies.contains(p) || self.disallowed_policies_glob.iter().any(|g| glob(g, p));
        match wanted.iter().find(denied) {
            Some(policy) => Err(Error::bad_request(format!("token policy {policy:?} is disallowed by this role"))),
            None => Ok(wanted),
        }
    }
}

pub(super) async fn get(view: &View, name: &str) -> Result<Option<Role>> {
    view.get(&format!("{ROLES}{name}")).await
}

/// One page of a list.
#[derive(Request)]
pub(crate) struct Page {
    /// Names after this one.
    #[field(query)]
    after: Option<String>,
    /// At most so many.
    #[field(query)]
    limit: Option<i64>,
}

impl Page {
    pub(crate) fn after(&self) -> Option<&str> {
        self.after.as_deref().filter(|a| !a.is_empty())
    }

    pub(crate) fn limit(&self) -> usize {
        self.asked().unwrap_or(usize::MAX)
    }

    /// The limit, if one was asked for.
    pub(crate) fn asked(&self) -> Option<usize> {
        self.limit.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0)
    }
}

/// The role's name.
#[derive(Request)]
struct Named {
    /// The role.
    #[field(path)]
    role_name: String,
}

/// Create or change a role.
#[derive(Request)]
struct Write {
    /// The role.
    #[field(path)]
    role_name: String,
    /// Policies that tokens may have.
    allowed_policies: Option<Vec<String>>,
    /// Policies that they may not have.
    disallowed_policies: Option<Vec<String>>,
    /// Patterns of policies that they may have.
    allowed_policies_glob: Option<Vec<String>>,
    /// Patterns of policies that they may not have.
    disallowed_policies_glob: Option<Vec<String>>,
    /// Tokens are orphans.
    orphan: Option<bool>,
    /// Appended to the path under which tokens are recorded.
    path_suffix: Option<String>,
    /// Tokens may be renewed.
    renewable: Option<bool>,
    /// The older name of token_period.
    period: Option<Span>,
    /// Tokens are periodic, with this period.
    token_period: Option<Span>,
    /// The older name of token_explicit_max_ttl.
    explicit_max_ttl: Option<Span>,
    /// A limit that no renewal passes.
    token_explicit_max_ttl: Option<Span>,
    /// Leave the default policy out.
    token_no_default_policy: Option<bool>,
    /// `service`, `batch`, `default-service` or `default-batch`.
    token_type: Option<String>,
    /// The older name of token_bound_cidrs.
    bound_cidrs: Option<Vec<String>>,
    /// Networks from which tokens may be used.
    token_bound_cidrs: Option<Vec<String>>,
    /// How many calls tokens may make.
    token_num_uses: Option<u64>,
    /// Entity aliases that tokens may act as, patterns allowed.
    allowed_entity_aliases: Option<Vec<String>>,
}

async fn list(cx: Ctx<TokenEngine>, page: Page) -> Result<Reply> {
    Ok(Reply::list(cx.view.children(ROLES, page.after(), page.limit()).await?))
}

async fn exists(cx: Ctx<TokenEngine>, ask: Named) -> Result<bool> {
    cx.view.exists(&format!("{ROLES}{}", ask.role_name)).await
}

async fn read(cx: Ctx<TokenEngine>, ask: Named) -> Result<Reply> {
    let role = get(&cx.view, &ask.role_name).await?.ok_or_else(Error::not_found)?;
    let mut shown = Object::new()
        .with("allowed_entity_aliases", (!role.allowed_entity_aliases.is_empty()).then_some(role.allowed_entity_aliases))
        .with("allowed_policies", role.allowed_policies)
        .with("allowed_policies_glob", role.allowed_policies_glob)
        .with("disallowed_policies", role.disallowed_policies)
        .with("disallowed_policies_glob", role.disallowed_policies_glob)
        .with("explicit_max_ttl", 0)
        .with("name", role.name)
        .with("orphan", role.orphan)
        .with("path_suffix", role.path_suffix)
        .with("period", 0)
        .with("renewable", role.renewable)
        .with("token_explicit_max_ttl", role.token_explicit_max_ttl.secs())
        .with("token_no_default_policy", role.token_no_default_policy)
        .with("token_period", role.token_period.secs())
        .with("token_type", role.token_type);
    if !role.token_bound_cidrs.is_empty() {
        shown.insert("token_bound_cidrs", role.token_bound_cidrs);
    }
    if role.token_num_uses > 0 {
        shown.insert("token_num_uses", role.token_num_uses);
    }
    Ok(Reply::data(shown))
}

async fn write(cx: Ctx<TokenEngine>, ask: Write) -> Result<Reply> {
    let fresh =
        || Role { name: ask.role_name.clone(), renewable: true, token_type: "default-service".to_owned(), ..Role::default() };
    let mut role = get(&cx.view, &ask.role_name).await?.unwrap_or_else(fresh);
    let normal = |names: Vec<String>| if names.is_empty() { names } else { normal_policies(names, false) };
    if let Some(names) = ask.allowed_policies {
        role.allowed_policies = normal(names);
    }
    if let Some(names) = ask.disallowed_policies {
        role.disallowed_policies = normal(names);
    }
    if let Some(names) = ask.allowed_policies_glob {
        role.allowed_policies_glob = normal(names);
    }
    if let Some(names) = ask.disallowed_policies_glob {
        role.disallowed_policies_glob = normal(names);
    }
    // A pattern may cover root, but no role hands it out to who is not root: `make` refuses that.
    if role.allowed_policies.iter().any(|p| p == ROOT_POLICY) && !cx.principal().is_some_and(|p| p.root) {
        return Err(Error::bad_request("only root may let a role make root tokens"));
    }
    role.orphan = ask.orphan.unwrap_or(role.orphan);
    role.renewable = ask.renewable.unwrap_or(role.renewable);
    if let Some(suffix) = ask.path_suffix {
        let clean = suffix.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
            && !suffix.contains("..")
            && !suffix.contains("//");
        if !clean {
            return Err(Error::bad_request(
                "given role path suffix contains invalid characters; must be letters, digits, '-', '_', '.'",
            ));
        }
        role.path_suffix = suffix;
    }
    let positive = |span: Option<Span>, name: &str| match span {
        Some(span) if span.is_negative() => Err(Error::bad_request(format!("{name:?} cannot be negative"))),
        other => Ok(other),
    };
    role.token_period = positive(ask.token_period.or(ask.period), "token_period")?.unwrap_or(role.token_period);
    role.token_explicit_max_ttl = positive(ask.token_explicit_max_ttl.or(ask.explicit_max_ttl), "token_explicit_max_ttl")?
        .unwrap_or(role.token_explicit_max_ttl);
    role.token_no_default_policy = ask.token_no_default_policy.unwrap_or(role.token_no_default_policy);
    if let Some(kind) = ask.token_type {
        role.token_type = match kind.as_str() {
            "" | "default" => "default-service".to_owned(),
            "service" | "batch" | "default-service" | "default-batch" => kind,
            _ => return Err(Error::bad_request("invalid 'token_type' value")),
        };
    }
    if let Some(cidrs) = ask.token_bound_cidrs.or(ask.bound_cidrs) {
        if cidrs.iter().any(|c| coffer_types::Cidr::parse(c).is_none()) {
            return Err(Error::bad_request("error parsing bound CIDRs: each must be an address or a network like 10.0.0.0/8"));
        }
        role.token_bound_cidrs = cidrs;
    }
    role.token_num_uses = ask.token_num_uses.unwrap_or(role.token_num_uses);
    if let Some(aliases) = ask.allowed_entity_aliases {
        role.allowed_entity_aliases = aliases.into_iter().map(|a| a.to_lowercase()).collect();
    }
    if role.token_type == "batch"
        && (!role.token_period.is_zero() || !role.token_explicit_max_ttl.is_zero() || role.token_num_uses > 0)
    {
        return Err(Error::bad_request(
            "'token_type' cannot be 'batch' when role is set to generate periodic, use-limited or explicitly bounded tokens",
        ));
    }
    cx.view.put(&format!("{ROLES}{}", role.name), &role)?;
    Ok(Reply::empty())
}

async fn delete(cx: Ctx<TokenEngine>, ask: Named) -> Result<Reply> {
    cx.view.delete(&format!("{ROLES}{}", ask.role_name));
    Ok(Reply::empty())
}
