//! `sys/policies/acl`, its older form `sys/policy`, and `sys/policies/password`.

use super::Sys;
use crate::policies::{ACL, PASSWORD, PolicyText, find};
use crate::policy::Policy;
use crate::policy::password::PasswordPolicy;
use crate::tokens::engine::Page;
use crate::tokens::record::ROOT_POLICY;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use coffer_engine::{Ctx, Declare, Reply, Request};
use coffer_types::{Error, Kind, Object, Result, Span, Timestamp};
use std::collections::BTreeSet;

pub(super) fn declare(d: &mut Declare<Sys>) {
    d.at("policy").about("The policies, in the older form.").read(list_old).list(list_old);
    d.at("policy/{name...}").about("A policy, in the older form.").plain(PLAIN).read(read_old).write(write).delete(delete);
    d.at("policies/acl").about("The policies.").list(list);
    d.at("policies/acl/{name...}").about("A policy.").plain(PLAIN).read(read).write(write).patch(patch).delete(delete);
    d.at("policies/detailed/acl").about("The policies with their details.").list(list_detailed);
    d.at("policies/password").about("The password policies.").list(list_password);
    d.at("policies/password/{name}")
        .about("A password policy.")
        .read(read_password)
        .write(write_password)
        .delete(delete_password);
    d.at("policies/password/{name}/generate").about("A password by this policy.").read(generate_password);
}

const PLAIN: &[&str] = &["cas", "cas_required", "ttl", "expiration"];

/// A policy by its name.
#[derive(Request)]
struct Named {
    /// The name.
    #[field(path)]
    name: String,
}

/// Write a policy.
#[derive(Request)]
struct Write {
    /// The name.
    #[field(path)]
    name: String,
    /// The policy, in HCL or JSON, or that in base64.
    #[field(default)]
    policy: String,
    /// The older name of policy.
    #[field(default)]
    rules: String,
    /// Write only if this is the version that stands there; -1 or 0 for none.
    cas: Option<i64>,
    /// From now on `cas` must be given.
    cas_required: Option<bool>,
    /// It stops granting then.
    expiration: Option<String>,
    /// It stops granting after this.
    ttl: Option<Span>,
    /// Identity values may have wildcards.
    allow_wildcards_in_identity_templates: Option<bool>,
    /// Identity values may have slashes.
    allow_slashes_in_identity_templates: Option<bool>,
}

/// Names are compared in lower case, without spaces around them.
fn normal(name: &str) -> Result<String> {
    let name = name.trim().trim_end_matches('/').to_lowercase();
    if name.is_empty() { Err(Error::bad_request("policy name must be specified")) } else { Ok(name) }
}

async fn names(cx: &Ctx<Sys>) -> Result<Vec<String>> {
    let mut names: BTreeSet<String> =
        cx.view.keys(ACL, None, usize::MAX).await?.into_iter().map(|k| k[ACL.len()..].to_owned()).collect();
    names.extend(["default".to_owned(), ROOT_POLICY.to_owned()]);
    Ok(names.into_iter().collect())
}

async fn list(cx: Ctx<Sys>, page: Page) -> Result<Reply> {
    let all = names(&cx).await?.into_iter().filter(|n| page.after().is_none_or(|a| n.as_str() > a));
    Ok(Reply::list(all.take(page.limit()).collect()))
}

async fn list_old(cx: Ctx<Sys>, page: Page) -> Result<Reply> {
    let all: Vec<String> =
        names(&cx).await?.into_iter().filter(|n| page.after().is_none_or(|a| n.as_str() > a)).take(page.limit()).collect();
    Ok(Reply::data(Object::new().with("keys", all.clone()).with("policies", all)).mirrored())
}

async fn list_detailed(cx: Ctx<Sys>, page: Page) -> Result<Reply> {
    let names: Vec<String> =
        names(&cx).await?.into_iter().filter(|n| page.after().is_none_or(|a| n.as_str() > a)).take(page.limit()).collect();
    let mut info = Object::new();
    for name in &names {
        if let Some(found) = find(&cx.view, name).await? {
            info.insert(name.as_str(), show(name, &found, "policy"));
        }
    }
    Ok(Reply::list_with(names, info))
}

fn show(name: &str, policy: &PolicyText, text: &'static str) -> Object {
    let mut shown = Object::new()
        .with("allow_slashes_in_identity_templates", policy.allow_slashes)
        .with("allow_wildcards_in_identity_templates", policy.allow_wildcards)
        .with("cas_required", policy.cas_required);
    if !policy.expires.is_never() {
        shown.insert("expiration", policy.expires.rfc3339());
    }
    if !policy.modified.is_never() {
        shown.insert("modified", policy.modified.rfc3339());
    }
    shown.with("name", name).with(text, policy.text.as_str()).with("version", policy.version)
}

async fn found(cx: &Ctx<Sys>, name: &str) -> Result<(String, PolicyText)> {
    let name = normal(name)?;
    let policy = find(&cx.view, &name).await?.ok_or_else(Error::not_found)?;
    Ok((name, policy))
}

async fn read(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let (name, policy) = found(&cx, &ask.name).await?;
    Ok(Reply::data(show(&name, &policy, "policy")))
}

async fn read_old(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let (name, policy) = found(&cx, &ask.name).await?;
    Ok(Reply::data(show(&name, &policy, "rules")).mirrored())
}

async fn write(cx: Ctx<Sys>, ask: Write) -> Result<Reply> {
    let old_field = ask.policy.is_empty() && !ask.rules.is_empty();
    let text = if old_field { ask.rules.clone() } else { ask.policy.clone() };
    if text.is_empty() {
        return Err(Error::bad_request("'policy' parameter not supplied or empty"));
    }
    store(&cx, ask, Some(text)).await?;
    let reply = Reply::empty();
    Ok(if old_field { reply.status(200).warn("'rules' is deprecated, please use 'policy' instead") } else { reply })
}

async fn patch(cx: Ctx<Sys>, ask: Write) -> Result<Reply> {
    if find(&cx.view, &normal(&ask.name)?).await?.is_none() {
        return Err(Error::bad_request("policy not found"));
    }
    let text = (!ask.policy.is_empty()).then(|| ask.policy.clone());
    store(&cx, ask, text).await?;
    Ok(Reply::empty())
}

async fn store(cx: &Ctx<Sys>, ask: Write, text: Option<String>) -> Result<()> {
    let name = normal(&ask.name)?;
    if name == ROOT_POLICY || name == crate::wrapping::POLICY {
        return Err(Error::bad_request(format!("cannot update {name:?} policy")));
    }
    if name.chars().any(char::is_control) || name.len() > 512 {
        return Err(Error::bad_request("a policy's name has at most 512 bytes and no control characters"));
    }
    let mut policy = find(&cx.view, &name).await?.unwrap_or_default();
    if ask.cas.is_none() && policy.cas_required {
        return Err(Error::bad_request("check-and-set parameter required for this call"));
    }
    if ask.cas.is_some_and(|cas| cas.max(0) != policy.version) {
        return Err(Error::new(Kind::Precondition, "check-and-set parameter did not match the current version"));
    }
    if let Some(text) = text {
        policy.text = plain_text(text);
    }
    Policy::parse(&name, &policy.text).map_err(|e| Error::bad_request(format!("failed to parse policy: {e}")))?;
    policy.cas_required = ask.cas_required.unwrap_or(policy.cas_required);
    policy.allow_wildcards = ask.allow_wildcards_in_identity_templates.unwrap_or(policy.allow_wildcards);
    policy.allow_slashes = ask.allow_slashes_in_identity_templates.unwrap_or(policy.allow_slashes);
    if let Some(ttl) = ask.ttl {
        if ttl.is_negative() {
            return Err(Error::bad_request("ttl cannot be negative"));
        }
        policy.expires = if ttl.is_zero() { Timestamp::NEVER } else { cx.now().plus(ttl.duration()) };
    }
    if let Some(expiration) = ask.expiration.filter(|e| !e.is_empty()) {
        let fault = || Error::bad_request("expiration must be a time like 2030-01-02T03:04:05Z");
        // The epoch itself is how a record says never.
        policy.expires = Timestamp::parse_rfc3339(&expiration).ok_or_else(fault)?.max(Timestamp(1));
    }
    policy.version += 1;
    policy.modified = cx.now();
    cx.view.put(&format!("{ACL}{name}"), &policy)
}

/// Base64, where that is what it is.
fn plain_text(text: String) -> String {
    STANDARD.decode(&text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
}

async fn delete(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let name = normal(&ask.name)?;
    if name == "default" || name == ROOT_POLICY || name == crate::wrapping::POLICY {
        return Err(Error::bad_request(format!("cannot delete {name} policy")));
    }
    cx.view.delete(&format!("{ACL}{name}"));
    Ok(Reply::empty())
}

/// Write a password policy.
#[derive(Request)]
struct WritePassword {
    /// The name.
    #[field(path)]
    name: String,
    /// The policy, or that in base64.
    #[field(default)]
    policy: String,
}

async fn list_password(cx: Ctx<Sys>, page: Page) -> Result<Reply> {
    Ok(Reply::list(cx.view.children(PASSWORD, page.after(), page.limit()).await?))
}

fn unknown() -> Error {
    Error::new(Kind::NotFound, "1 error occurred:\n\t* policy does not exist\n\n")
}

async fn read_password(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let found = cx.view.get::<PolicyText>(&format!("{PASSWORD}{}", ask.name)).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Object::new().with("policy", found.text)))
}

async fn write_password(cx: Ctx<Sys>, ask: WritePassword) -> Result<Reply> {
    if ask.policy.is_empty() {
        return Err(Error::bad_request("missing policy"));
    }
    let text = plain_text(ask.policy);
    PasswordPolicy::parse(&text)
        .map_err(|e| Error::bad_request(format!("1 error occurred:\n\t* invalid password policy: {e}\n\n")))?;
    cx.view
        .put(&format!("{PASSWORD}{}", ask.name), &PolicyText { text, modified: cx.now(), version: 1, ..PolicyText::default() })?;
    Ok(Reply::empty())
}

async fn delete_password(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    cx.view.delete(&format!("{PASSWORD}{}", ask.name));
    Ok(Reply::empty())
}

async fn generate_password(cx: Ctx<Sys>, ask: Named) -> Result<Reply> {
    let core = cx.engine.core()?;
    let found = cx.view.get::<PolicyText>(&format!("{PASSWORD}{}", ask.name)).await?.ok_or_else(unknown)?;
    let policy = PasswordPolicy::parse(&found.text)
        .map_err(|e| Error::internal(format!("a stored password policy does not parse: {e}")))?;
    Ok(Reply::data(Object::new().with("password", policy.generate(&*core.random).expose().as_str())))
}
