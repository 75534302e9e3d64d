//! Roles: whose tokens are given, where, and for how long.

use super::Kubernetes;
use super::rules;
use super::selector::Selector;
use crate::username::Template;
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Name, Result, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a name may be made of.
pub(super) const FIELDS: &[&str] = &["DisplayName", "RoleName"];

/// Stored in format 1 under `role/<name>`.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Role {
    /// `*` for all.
    pub(super) namespaces: Vec<String>,
    /// A label selector of namespaces, or empty.
    pub(super) namespace_selector: String,
    pub(super) service_account_name: String,
    pub(super) kubernetes_role_name: String,
    pub(super) generated_role_rules: String,
    /// Whether the role of the cluster is a ClusterRole.
    pub(super) is_cluster_role: bool,
    /// Empty for the default.
    pub(super) name_template: String,
    pub(super) token_default_audiences: Option<Vec<String>>,
    pub(super) token_default_ttl: Span,
    pub(super) token_max_ttl: Span,
    pub(super) extra_labels: Option<BTreeMap<String, String>>,
    pub(super) extra_annotations: Option<BTreeMap<String, String>>,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

/// Names a role.
#[derive(Request)]
pub(super) struct Named {
    /// Name of the role.
    #[field(path)]
    name: Name,
}

/// Write a role; what is left out stays as it is.
#[derive(Request)]
pub(super) struct Write {
    /// Name of the role.
    #[field(path)]
    name: Name,
    /// The namespaces in which tokens may be given; `*` for all.
    allowed_kubernetes_namespaces: Option<Vec<String>>,
    /// A label selector, JSON or YAML, of namespaces in which tokens may be given too.
    allowed_kubernetes_namespace_selector: Option<String>,
    /// The service account whose tokens are given.
    service_account_name: Option<String>,
    /// The role of the cluster to which a service account made for the lease is bound.
    kubernetes_role_name: Option<String>,
    /// The rules of a role made for the lease, JSON or YAML: `{"rules": […]}`.
    generated_role_rules: Option<String>,
    /// `Role` or `ClusterRole`.
    kubernetes_role_type: Option<String>,
    /// The template of names of what is made for the lease.
    name_template: Option<String>,
    /// Audiences of tokens where the caller names none.
    token_default_audiences: Option<Vec<String>>,
    /// How long tokens live where the caller does not say.
    token_default_ttl: Option<Span>,
    /// How long tokens live at most.
    token_max_ttl: Option<Span>,
    /// Labels of what is made for the lease.
    extra_labels: Option<BTreeMap<String, String>>,
    /// Annotations of what is made for the lease.
    extra_annotations: Option<BTreeMap<String, String>>,
}

/// A role.
#[derive(Response)]
pub(super) struct Shown {
    /// A label selector of namespaces.
    allowed_kubernetes_namespace_selector: String,
    /// The namespaces in which tokens may be given.
    allowed_kubernetes_namespaces: Option<Vec<String>>,
    /// Annotations of what is made for the lease.
    extra_annotations: Option<BTreeMap<String, String>>,
    /// Labels of what is made for the lease.
    extra_labels: Option<BTreeMap<String, String>>,
    /// The rules of a role made for the lease.
    generated_role_rules: String,
    /// The role of the cluster to which a service account is bound.
    kubernetes_role_name: String,
    /// `Role` or `ClusterRole`.
    kubernetes_role_type: String,
    /// Name of the role.
    name: String,
    /// The template of names of what is made for the lease.
    name_template: String,
    /// The service account whose tokens are given.
    service_account_name: String,
    /// Audiences of tokens where the caller names none.
    token_default_audiences: Option<Vec<String>>,
    /// How long tokens live where the caller does not say, in seconds.
    token_default_ttl: Span,
    /// How long tokens live at most, in seconds.
    token_max_ttl: Span,
}

pub(super) async fn write(cx: Ctx<Kubernetes>, q: Write) -> Result<Reply<()>> {
    let mut role: Role = find(&cx, &q.name).await?.unwrap_or_default();
    for (place, given) in [
        (&mut role.namespace_selector, q.allowed_kubernetes_namespace_selector),
        (&mut role.service_account_name, q.service_account_name),
        (&mut role.kubernetes_role_name, q.kubernetes_role_name),
        (&mut role.generated_role_rules, q.generated_role_rules),
        (&mut role.name_template, q.name_template),
    ] {
        if let Some(given) = given {
            *place = given;
        }
    }
    for (place, given) in [(&mut role.token_default_ttl, q.token_default_ttl), (&mut role.token_max_ttl, q.token_max_ttl)] {
        if let Some(given) = given {
            *place = given;
        }
    }
    if let Some(namespaces) = q.allowed_kubernetes_namespaces {
        role.namespaces = namespaces;
    }
    if let Some(kind) = q.kubernetes_role_type {
        role.is_cluster_role = match kind.to_ascii_lowercase().as_str() {
            "" | "role" => false,
            "clusterrole" => true,
            _ => return Err(Error::bad_request("kubernetes_role_type must be either 'Role' or 'ClusterRole'")),
        };
    }
    role.token_default_audiences = q.token_default_audiences.or(role.token_default_audiences);
    role.extra_labels = q.extra_labels.or(role.extra_labels);
    role.extra_annotations = q.extra_annotations.or(role.extra_annotations);
    role.check()?;
    cx.view.put(&key(&q.name), &role)?;
    Ok(Reply::empty())
}

impl Role {
    fn check(&self) -> Result<()> {
        let bad = |text: &'static str| Err(Error::bad_request(text));
        if self.namespaces.is_empty() && self.namespace_selector.is_empty() {
            return bad("one (at least) of allowed_kubernetes_namespaces or allowed_kubernetes_namespace_selector must be set");
        }
        let given = [&self.service_account_name, &self.kubernetes_role_name, &self.generated_role_rules];
        if given.iter().filter(|text| !text.is_empty()).count() != 1 {
            return bad("one (and only one) of service_account_name, kubernetes_role_name or generated_role_rules must be set");
        }
        if self.namespaces.iter().any(|n| n != "*" && !is_label(n)) {
            return bad("allowed_kubernetes_namespaces must hold names of namespaces, or '*'");
        }
        if !self.namespace_selector.is_empty() && Selector::parse(&self.namespace_selector).is_none() {
            return bad("failed to parse 'allowed_kubernetes_namespace_selector' as k8s.io/api/meta/v1/LabelSelector object");
        }
        if !self.service_account_name.is_empty() && !is_subdomain(&self.service_account_name) {
            return bad("service_account_name is no name of a service account");
        }
        // Roles may have any name that can be one segment of a path: `system:node`.
        let role = &self.kubernetes_role_name;
        if matches!(role.as_str(), "." | "..") || role.contains(['/', '%']) || role.len() > 253 || role.contains(char::is_control)
        {
            return bad("kubernetes_role_name is no name of a role");
        }
        if !self.generated_role_rules.is_empty() && rules::parse(&self.generated_role_rules).is_none() {
            return bad("failed to parse 'generated_role_rules' as k8s.io/api/rbac/v1/Policy object");
        }
        if self.token_default_ttl.is_negative() || self.token_max_ttl.is_negative() {
            return bad("token_default_ttl and token_max_ttl must not be negative");
        }
        if !self.token_max_ttl.is_zero() && self.token_default_ttl > self.token_max_ttl {
            return Err(Error::bad_request(format!(
                "token_default_ttl {} cannot be greater than token_max_ttl {}",
                self.token_default_ttl, self.token_max_ttl
            )));
        }
        if !self.name_template.is_empty() {
            Template::parse_distinct(&self.name_template, FIELDS)?;
        }
        Ok(())
    }

    pub(super) const fn kind(&self) -> &'static str {
        if self.is_cluster_role { "ClusterRole" } else { "Role" }
    }
}

/// RFC 1123: a namespace's name.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63 && !text.contains('.') && is_subdomain(text)
}

/// RFC 1123: a service account's name.
pub(super) fn is_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

pub(super) async fn read(cx: Ctx<Kubernetes>, q: Named) -> Result<Reply<Shown>> {
    let role = find(&cx, &q.name).await?.ok_or_else(Error::not_found)?;
    let kubernetes_role_type = role.kind().to_owned();
    Ok(Reply::data(Shown {
        allowed_kubernetes_namespace_selector: role.namespace_selector,
        allowed_kubernetes_namespaces: Some(role.namespaces).filter(|n| !n.is_empty()),
        extra_annotations: role.extra_annotations,
        extra_labels: role.extra_labels,
        generated_role_rules: role.generated_role_rules,
        kubernetes_role_name: role.kubernetes_role_name,
        kubernetes_role_type,
        name: q.name.to_string(),
        name_template: role.name_template,
        service_account_name: role.service_account_name,
        token_default_audiences: role.token_default_audiences,
        token_default_ttl: role.token_default_ttl,
        token_max_ttl: role.token_max_ttl,
    }))
}

pub(super) async fn exists(cx: Ctx<Kubernetes>, q: Named) -> Result<bool> {
    cx.view.exists(&key(&q.name)).await
}

pub(super) async fn delete(cx: Ctx<Kubernetes>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&q.name));
    Ok(Reply::empty())
}

pub(super) async fn list(cx: Ctx<Kubernetes>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", None, usize::MAX).await?))
}

pub(super) async fn find(cx: &Ctx<Kubernetes>, name: &Name) -> Result<Option<Role>> {
    cx.view.get(&key(name)).await
}

fn key(name: &Name) -> String {
    format!("role/{name}")
}
