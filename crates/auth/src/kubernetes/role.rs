//! Roles: which service accounts may log in, and what that gives.

use super::Kubernetes;
use super::selector::Selector;
use crate::jwt::claims::glob;
use crate::old_names::{OldNames, is_role_name};
use crate::token::{TokenAsk, TokenParams, TokenShown};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Kind, Object, Result};
use serde::{Deserialize, Serialize};

/// What names the alias of a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AliasSource {
    /// The account's uid: another account of the same name is someone else.
    #[default]
    Uid,
    /// `namespace/name`.
    Name,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) names: Vec<String>,
    pub(super) namespaces: Vec<String>,
    pub(super) namespace_selector: String,
    pub(super) audience: String,
    pub(super) alias: AliasSource,
    pub(super) token: TokenParams,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

impl Role {
    pub(super) async fn load(cx: &Ctx<Kubernetes>, name: &str) -> Result<Option<Self>> {
        cx.view.get(&key(name)).await
    }

    pub(super) fn takes_name(&self, name: &str) -> bool {
        self.names.iter().any(|bound| glob(bound, name))
    }

    /// Whether the namespace is among those that are named; a selector may take it all the same.
    pub(super) fn takes_namespace(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|bound| glob(bound, namespace))
    }

    fn check(&self) -> Result<()> {
        let bad = |text: &'static str| Err(Error::bad_request(text));
        if self.names.is_empty() {
            return bad("\"bound_service_account_names\" can not be empty");
        }
        if self.namespaces.is_empty() && self.namespace_selector.is_empty() {
            return bad(
                "\"bound_service_account_namespaces\" can not be empty if \"bound_service_account_namespace_selector\" is not set",
            );
        }
        let mixed = |list: &[String]| list.len() > 1 && list.iter().any(|bound| bound == "*");
        if mixed(&self.names) || mixed(&self.namespaces) {
            return bad("can not mix \"*\" with values");
        }
        if !self.namespace_selector.is_empty() && Selector::parse(&self.namespace_selector).is_none() {
            return bad("invalid \"bound_service_account_namespace_selector\" configured");
        }
        Ok(())
    }
}

/// Name a role.
#[derive(Request)]
pub(super) struct Named {
    /// Name of the role.
    #[field(path)]
    name: String,
}

/// Write a role. What is left out stays as it is.
#[derive(Request)]
pub(super) struct Write {
    /// Name of the role.
    #[field(path)]
    name: String,
    /// Names of service accounts; "*" stands for any text.
    bound_service_account_names: Option<Vec<String>>,
    /// Namespaces; "*" stands for any text.
    bound_service_account_namespaces: Option<Vec<String>>,
    /// A label selector, as a JSON object; namespaces that it selects are taken too.
    bound_service_account_namespace_selector: Option<String>,
    /// The audience that a token must name.
    audience: Option<String>,
    /// "serviceaccount_uid" or "serviceaccount_name".
    alias_name_source: Option<String>,
    #[field(flatten)]
    token: TokenAsk,
    #[field(flatten)]
    old: OldNames,
}

/// A role.
#[derive(Response)]
pub(super) struct Shown {
    /// "serviceaccount_uid" or "serviceaccount_name".
    alias_name_source: String,
    /// Names of service accounts.
    bound_service_account_names: Vec<String>,
    /// A label selector of namespaces.
    bound_service_account_namespace_selector: String,
    /// Namespaces.
    bound_service_account_namespaces: Option<Vec<String>>,
    #[field(flatten)]
    token: TokenShown,
}

pub(super) async fn list(cx: Ctx<Kubernetes>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", None, usize::MAX).await?))
}

pub(super) async fn exists(cx: Ctx<Kubernetes>, q: Named) -> Result<bool> {
    cx.view.exists(&key(&named(&q.name)?)).await
}

pub(super) async fn read(cx: Ctx<Kubernetes>, q: Named) -> Result<Reply<Object>> {
    let role = Role::load(&cx, &named(&q.name)?).await?.ok_or_else(Error::not_found)?;
    let shown = Shown {
        alias_name_source: if role.alias == AliasSource::Uid { "serviceaccount_uid" } else { "serviceaccount_name" }.to_owned(),
        bound_service_account_names: role.names,
        bound_service_account_namespace_selector: role.namespace_selector,
        bound_service_account_namespaces: (!role.namespaces.is_empty()).then_some(role.namespaces),
        token: role.token.shown(),
    };
    let mut data = shown.into_object();
    if !role.audience.is_empty() {
        data.insert("audience", role.audience);
    }
    Ok(Reply::data(data))
}

pub(super) async fn write(cx: Ctx<Kubernetes>, q: Write) -> Result<Reply<()>> {
    let name = named(&q.name)?;
    let mut role = Role::load(&cx, &name).await?.unwrap_or_default();
    if let Some(names) = q.bound_service_account_names {
        role.names = names;
    }
    if let Some(namespaces) = q.bound_service_account_namespaces {
        role.namespaces = namespaces;
    }
    if let Some(selector) = q.bound_service_account_namespace_selector {
        role.namespace_selector = selector;
    }
    if let Some(audience) = q.audience {
        role.audience = audience;
    }
    if let Some(source) = q.alias_name_source {
        role.alias = match source.as_str() {
            "" | "serviceaccount_uid" => AliasSource::Uid,
            "serviceaccount_name" => AliasSource::Name,
            _ => {
                return Err(Error::bad_request(
                    "invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name",
                ));
            }
        };
    }
    role.token.update(q.old.under(q.token)?)?;
    role.check()?;
    cx.view.put(&key(&name), &role)?;
    Ok(Reply::empty())
}

pub(super) async fn delete(cx: Ctx<Kubernetes>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&named(&q.name)?));
    Ok(Reply::empty())
}

fn key(name: &str) -> String {
    format!("role/{}", name.to_lowercase())
}

fn named(name: &str) -> Result<String> {
    if is_role_name(name) {
        return Ok(name.to_lowercase());
    }
    Err(Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n"))
}
