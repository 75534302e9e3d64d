//! Machines and identities of Azure. <https://developer.hashicorp.com/vault/api-docs/auth/azure>

use super::{check_choice, not_yet};
use crate::names::normal;
use crate::old_names::OldNames;
use crate::token::{TokenAsk, TokenParams, TokenShown};
use coffer_engine::{Ctx, Declare, Engine, Mount, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The method.
pub struct Azure;

const LOGIN: &str = "auth method azure: logs in once the azure dialect exists; its configuration and roles are kept";
const ENVIRONMENTS: [&str; 4] = ["AzurePublicCloud", "AzureUSGovernmentCloud", "AzureChinaCloud", "AzureGermanCloud"];

impl Engine for Azure {
    const KIND: &'static str = "azure";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs in machines and identities of Azure (configuration only, as yet).");
        d.at("config").about("The directory, and credentials to ask it.").read(read).write(write).exists(exists).delete(delete);
        d.at("rotate-root").about("Replaces the client's secret; waits for the azure dialect.").write(rotate);
        d.at("role").about("Lists roles.").list(list);
        d.at("role/{name}")
            .about("A role: whom it takes, and what tokens they get.")
            .read(read_role)
            .write(write_role)
            .exists(role_exists)
            .delete(delete_role);
        d.at("login").about("Logs in with a token of Azure; waits for the azure dialect.").public().write(login);
    }
}

async fn login(_: Ctx<Azure>, _: NoInput) -> Result<Reply<()>> {
    Err(not_yet(LOGIN))
}

async fn rotate(_: Ctx<Azure>, _: NoInput) -> Result<Reply<()>> {
    Err(not_yet("auth method azure: rotates its secret once the azure dialect exists"))
}

/// Stored in format 1 under `config`. Has no `Debug`: it holds a secret.
#[derive(Default, Serialize, Deserialize)]
struct Config {
    tenant_id: String,
    resource: String,
    environment: String,
    client_id: String,
    client_secret: Zeroizing<String>,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

/// Configure the method. What is left out stays as it is.
#[derive(Request)]
struct Write {
    /// The directory's id.
    tenant_id: Option<String>,
    /// What tokens must be made for: their audience.
    resource: Option<String>,
    /// "AzurePublicCloud", "AzureUSGovernmentCloud", "AzureChinaCloud" or "AzureGermanCloud".
    environment: Option<String>,
    /// The application that asks Azure.
    client_id: Option<String>,
    /// Its secret.
    client_secret: Option<Secret<String>>,
}

async fn write(cx: Ctx<Azure>, q: Write) -> Result<Reply<()>> {
    let mut config: Config = cx.view.get("config").await?.unwrap_or_default();
    for (given, kept) in [
        (q.tenant_id, &mut config.tenant_id),
        (q.resource, &mut config.resource),
        (q.environment, &mut config.environment),
        (q.client_id, &mut config.client_id),
    ] {
        if let Some(given) = given {
            *kept = given;
        }
    }
    if let Some(secret) = q.client_secret {
        config.client_secret = Zeroizing::new(secret.expose().clone());
    }
    if config.tenant_id.is_empty() || config.resource.is_empty() {
        return Err(Error::bad_request("tenant_id and resource are required"));
    }
    if !config.environment.is_empty() {
        check_choice("environment", &config.environment, &ENVIRONMENTS)?;
    }
    cx.view.put("config", &config)?;
    Ok(Reply::empty())
}

/// The configuration; its secret is not shown.
#[derive(Response)]
struct Shown {
    /// The directory's id.
    tenant_id: String,
    /// The audience of tokens.
    resource: String,
    /// Which of Azure's clouds.
    environment: String,
    /// The application that asks Azure.
    client_id: String,
}

async fn read(cx: Ctx<Azure>, _: NoInput) -> Result<Reply<Shown>> {
    let config: Config = cx.view.get("config").await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown {
        tenant_id: config.tenant_id,
        resource: config.resource,
        environment: config.environment,
        client_id: config.client_id,
    }))
}

async fn exists(cx: Ctx<Azure>, _: NoInput) -> Result<bool> {
    cx.view.exists("config").await
}

async fn delete(cx: Ctx<Azure>, _: NoInput) -> Result<Reply<()>> {
    cx.view.delete("config");
    Ok(Reply::empty())
}

/// Stored in format 1 under `role/<name>`.
#[derive(Default, Serialize, Deserialize)]
struct Role {
    service_principal_ids: Vec<String>,
    group_ids: Vec<String>,
    locations: Vec<String>,
    subscription_ids: Vec<String>,
    resource_groups: Vec<String>,
    scale_sets: Vec<String>,
    token: TokenParams,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

/// Names a role.
#[derive(Request)]
struct Named {
    /// The role.
    #[field(path)]
    name: String,
}

impl Named {
    fn key(&self) -> Result<String> {
        Ok(format!("role/{}", normal(&self.name)?))
    }
}

/// Write a role. What is left out stays as it is.
#[derive(Request)]
struct WriteRole {
    /// The role.
    #[field(path)]
    name: String,
    /// Service principals of which it must be one.
    bound_service_principal_ids: Option<Vec<String>>,
    /// Groups of which it must be in one.
    bound_group_ids: Option<Vec<String>>,
    /// Locations of which it must be in one.
    bound_locations: Option<Vec<String>>,
    /// Subscriptions of which it must belong to one.
    bound_subscription_ids: Option<Vec<String>>,
    /// Resource groups of which it must be in one.
    bound_resource_groups: Option<Vec<String>>,
    /// Scale sets of which it must be in one.
    bound_scale_sets: Option<Vec<String>>,
    #[field(flatten)]
    old: OldNames,
    #[field(flatten)]
    token: TokenAsk,
}

async fn write_role(cx: Ctx<Azure>, q: WriteRole) -> Result<Reply<()>> {
    let key = Named { name: q.name }.key()?;
    let mut role: Role = cx.view.get(&key).await?.unwrap_or_default();
    for (given, kept) in [
        (q.bound_service_principal_ids, &mut role.service_principal_ids),
        (q.bound_group_ids, &mut role.group_ids),
        (q.bound_locations, &mut role.locations),
        (q.bound_subscription_ids, &mut role.subscription_ids),
        (q.bound_resource_groups, &mut role.resource_groups),
        (q.bound_scale_sets, &mut role.scale_sets),
    ] {
        if let Some(given) = given {
            *kept = given;
        }
    }
    role.token.update(q.old.under(q.token)?)?;
    cx.view.put(&key, &role)?;
    Ok(Reply::empty())
}

/// A role.
#[derive(Response)]
struct RoleShown {
    /// Service principals.
    bound_service_principal_ids: Vec<String>,
    /// Groups.
    bound_group_ids: Vec<String>,
    /// Locations.
    bound_locations: Vec<String>,
    /// Subscriptions.
    bound_subscription_ids: Vec<String>,
    /// Resource groups.
    bound_resource_groups: Vec<String>,
    /// Scale sets.
    bound_scale_sets: Vec<String>,
    #[field(flatten)]
    token: TokenShown,
}

async fn read_role(cx: Ctx<Azure>, q: Named) -> Result<Reply<RoleShown>> {
    let role: Role = cx.view.get(&q.key()?).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(RoleShown {
        bound_service_principal_ids: role.service_principal_ids,
        bound_group_ids: role.group_ids,
        bound_locations: role.locations,
        bound_subscription_ids: role.subscription_ids,
        bound_resource_groups: role.resource_groups,
        bound_scale_sets: role.scale_sets,
        token: role.token.shown(),
    }))
}

async fn role_exists(cx: Ctx<Azure>, q: Named) -> Result<bool> {
    cx.view.exists(&q.key()?).await
}

async fn delete_role(cx: Ctx<Azure>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&q.key()?);
    Ok(Reply::empty())
}

async fn list(cx: Ctx<Azure>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", None, usize::MAX).await?))
}
