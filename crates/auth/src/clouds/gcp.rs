//! Service accounts and machines of Google Cloud. <https://developer.hashicorp.com/vault/api-docs/auth/gcp>

use super::{check_choice, check_metadata, new_id, not_yet};
use crate::names::{normal, set};
use crate::old_names::OldNames;
use crate::token::{TokenAsk, TokenParams};
use coffer_engine::{Ctx, Declare, Engine, Mount, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Json, Object, Result, Secret, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The method.
pub struct Gcp;

const LOGIN: &str = "auth method gcp: logs in once the gcp dialect exists; its configuration and roles are kept";
const ENDPOINTS: [&str; 4] = ["api", "iam", "crm", "compute"];
const IAM_METADATA: [&str; 4] = ["project_id", "role", "service_account_id", "service_account_email"];
const GCE_METADATA: [&str; 9] = [
    "instance_creation_timestamp",
    "instance_id",
    "instance_name",
    "project_id",
    "project_number",
    "role",
    "service_account_id",
    "service_account_email",
    "zone",
];
const LONGEST_JWT: Span = Span::from_secs(3600);

impl Engine for Gcp {
    const KIND: &'static str = "gcp";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs in service accounts and machines of Google Cloud (configuration only, as yet).");
        d.at("config").about("Credentials to ask Google, and how identities are named.").read(read).write(write).exists(exists);
        d.at("roles").about("Lists roles.").list(list);
        d.at("role").about("Lists roles.").list(list);
        d.at("role/{name}")
            .about("A role: whom it takes, and what tokens they get.")
            .read(read_role)
            .write(write_role)
            .exists(role_exists)
            .delete(delete_role);
        d.at("role/{name}/service-accounts").about("Adds and removes service accounts of an iam role.").write(service_accounts);
        d.at("role/{name}/labels").about("Adds and removes labels of a gce role.").write(labels);
        d.at("login").about("Logs in with a token of Google; waits for the gcp dialect.").public().write(login);
    }
}

async fn login(_: Ctx<Gcp>, _: NoInput) -> Result<Reply<()>> {
    Err(not_yet(LOGIN))
}

/// Stored in format 1 under `config`. Has no `Debug`: it holds a private key.
#[derive(Serialize, Deserialize)]
struct Config {
    credentials: Option<Credentials>,
    iam_alias: String,
    iam_metadata: Vec<String>,
    gce_alias: String,
    gce_metadata: Vec<String>,
    endpoints: BTreeMap<String, String>,
}

/// The key file of a service account, as Google gives it out.
#[derive(Serialize, Deserialize)]
struct Credentials {
    client_email: String,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    private_key_id: String,
    private_key: Zeroizing<String>,
    #[serde(default)]
    project_id: String,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

impl Default for Config {
    fn default() -> Self {
        let default = || vec!["default".to_owned()];
        Self {
            credentials: None,
            iam_alias: "role_id".to_owned(),
            iam_metadata: default(),
            gce_alias: "role_id".to_owned(),
            gce_metadata: default(),
            endpoints: BTreeMap::new(),
        }
    }
}

/// Configure the method. What is left out stays as it is.
#[derive(Request)]
struct Write {
    /// The key file of a service account, JSON as a text; empty for none.
    credentials: Option<Secret<String>>,
    /// What names an identity of an iam role: "role_id" or "unique_id".
    iam_alias: Option<String>,
    /// Metadata of an iam role's tokens.
    iam_metadata: Option<Vec<String>>,
    /// What names an identity of a gce role: "role_id" or "instance_id".
    gce_alias: Option<String>,
    /// Metadata of a gce role's tokens.
    gce_metadata: Option<Vec<String>>,
    /// Addresses of one's own for Google's services: api, iam, crm, compute.
    custom_endpoint: Option<BTreeMap<String, String>>,
}

async fn write(cx: Ctx<Gcp>, q: Write) -> Result<Reply<()>> {
    let mut config: Config = cx.view.get("config").await?.unwrap_or_default();
    if let Some(text) = q.credentials {
        config.credentials = match text.expose().trim() {
            "" => None,
            // What does not parse is not repeated: it may be a key.
            text => Some(
                serde_json::from_str(text).map_err(|_| Error::bad_request("error reading google credentials from given JSON"))?,
            ),
        };
    }
    config.iam_alias = q.iam_alias.unwrap_or(config.iam_alias);
    config.gce_alias = q.gce_alias.unwrap_or(config.gce_alias);
    config.iam_metadata = q.iam_metadata.unwrap_or(config.iam_metadata);
    config.gce_metadata = q.gce_metadata.unwrap_or(config.gce_metadata);
    config.endpoints = q.custom_endpoint.unwrap_or(config.endpoints);
    check_choice("iam_alias", &config.iam_alias, &["unique_id", "role_id"])?;
    check_choice("gce_alias", &config.gce_alias, &["instance_id", "role_id"])?;
    check_metadata("iam_metadata", &config.iam_metadata, &IAM_METADATA)?;
    check_metadata("gce_metadata", &config.gce_metadata, &GCE_METADATA)?;
    for (name, address) in &config.endpoints {
        check_choice("custom_endpoint", name, &ENDPOINTS)?;
        if address.is_empty() || address.chars().any(char::is_whitespace) {
            return Err(Error::bad_request("custom_endpoint: an address is empty or has spaces"));
        }
    }
    cx.view.put("config", &config)?;
    Ok(Reply::empty())
}

async fn read(cx: Ctx<Gcp>, _: NoInput) -> Result<Reply> {
    let config: Config = cx.view.get("config").await?.ok_or_else(Error::not_found)?;
    let mut shown = Object::new();
    if let Some(credentials) = config.credentials {
        shown = shown
            .with("client_email", credentials.client_email)
            .with("client_id", credentials.client_id)
            .with("private_key_id", credentials.private_key_id)
            .with("project_id", credentials.project_id);
    }
    let endpoints: Object = config.endpoints.into_iter().map(|(name, address)| (name, Json::from(address))).collect();
    shown = shown
        .with("iam_alias", config.iam_alias)
        .with("iam_metadata", config.iam_metadata)
        .with("gce_alias", config.gce_alias)
        .with("gce_metadata", config.gce_metadata)
        .with("custom_endpoint", Json::Object(endpoints));
    Ok(Reply::data(shown))
}

async fn exists(cx: Ctx<Gcp>, _: NoInput) -> Result<bool> {
    cx.view.exists("config").await
}

/// Stored in format 1 under `role/<name>`.
#[derive(Serialize, Deserialize)]
struct Role {
    id: String,
    kind: RoleKind,
    service_accounts: Vec<String>,
    projects: Vec<String>,
    add_group_aliases: bool,
    token: TokenParams,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum RoleKind {
    Iam { max_jwt_exp: Span, allow_gce_inference: bool },
    Gce { zones: Vec<String>, regions: Vec<String>, instance_groups: Vec<String>, labels: BTreeMap<String, String> },
}

/// Names a role.
#[derive(Request)]
struct Named {
    /// The role.
    #[field(path)]
    name: String,
}

fn key(name: &str) -> Result<String> {
    Ok(format!("role/{}", normal(name)?))
}

/// Write a role. What is left out stays as it is.
#[derive(Request)]
struct WriteRole {
    /// The role.
    #[field(path)]
    name: String,
    /// "iam" for service accounts, "gce" for machines. It can't be changed.
    #[field(rename = "type")]
    kind: Option<String>,
    /// Service accounts of which it must be one, by email or id; "*" is any. An iam role needs some.
    bound_service_accounts: Option<Vec<String>>,
    /// Projects of which it must belong to one.
    bound_projects: Option<Vec<String>>,
    /// Make the project and what lies above it groups.
    add_group_aliases: Option<bool>,
    /// How far ahead a token may end, at most an hour (iam).
    max_jwt_exp: Option<Span>,
    /// Let machines log in as the service account of theirs (iam).
    allow_gce_inference: Option<bool>,
    /// Zones of which it must be in one (gce).
    bound_zones: Option<Vec<String>>,
    /// Regions of which it must be in one (gce).
    bound_regions: Option<Vec<String>>,
    /// Instance groups of which it must be in one (gce); needs zones or regions.
    bound_instance_groups: Option<Vec<String>>,
    /// Labels that it must have, "key:value" (gce).
    bound_labels: Option<Vec<String>>,
    #[field(flatten)]
    old: OldNames,
    #[field(flatten)]
    token: TokenAsk,
}

async fn write_role(cx: Ctx<Gcp>, q: WriteRole) -> Result<Reply<()>> {
    let key = key(&q.name)?;
    let mut role = match (cx.view.get::<Role>(&key).await?, q.kind.as_deref()) {
        (Some(role), None) => role,
        (Some(role), Some(kind)) if kind == role.kind.name() => role,
        (Some(_), Some(_)) => return Err(Error::bad_request("role type cannot be changed for an existing role")),
        (None, kind) => Role {
            id: new_id(&cx),
            kind: RoleKind::new(kind.unwrap_or_default())?,
            service_accounts: Vec::new(),
            projects: Vec::new(),
            add_group_aliases: false,
            token: TokenParams::default(),
        },
    };
    let strange = match role.kind {
        RoleKind::Iam { .. } => [
            ("bound_zones", q.bound_zones.is_some()),
            ("bound_regions", q.bound_regions.is_some()),
            ("bound_instance_groups", q.bound_instance_groups.is_some()),
            ("bound_labels", q.bound_labels.is_some()),
        ]
        .into_iter()
        .find(|(_, given)| *given),
        RoleKind::Gce { .. } => {
            [("max_jwt_exp", q.max_jwt_exp.is_some()), ("allow_gce_inference", q.allow_gce_inference.is_some())]
                .into_iter()
                .find(|(_, given)| *given)
        }
    };
    if let Some((field, _)) = strange {
        return Err(Error::bad_request(format!("{field} is not a field of a role of type {}", role.kind.name())));
    }
    match &mut role.kind {
        RoleKind::Iam { max_jwt_exp, allow_gce_inference } => {
            *max_jwt_exp = q.max_jwt_exp.unwrap_or(*max_jwt_exp);
            *allow_gce_inference = q.allow_gce_inference.unwrap_or(*allow_gce_inference);
            if max_jwt_exp.is_negative() || max_jwt_exp.is_zero() || *max_jwt_exp > LONGEST_JWT {
                return Err(Error::bad_request("max_jwt_exp must be more than nothing and at most an hour"));
            }
        }
        RoleKind::Gce { zones, regions, instance_groups, labels } => {
            *zones = q.bound_zones.map_or(std::mem::take(zones), set);
            *regions = q.bound_regions.map_or(std::mem::take(regions), set);
            *instance_groups = q.bound_instance_groups.map_or(std::mem::take(instance_groups), set);
            if let Some(given) = q.bound_labels {
                *labels = given.iter().map(|label| read_label(label)).collect::<Result<_>>()?;
            }
            if !instance_groups.is_empty() && zones.is_empty() && regions.is_empty() {
                return Err(Error::bad_request("bound_instance_groups needs bound_zones or bound_regions"));
            }
        }
    }
    role.service_accounts = q.bound_service_accounts.map_or(role.service_accounts, set);
    role.projects = q.bound_projects.map_or(role.projects, set);
    role.add_group_aliases = q.add_group_aliases.unwrap_or(role.add_group_aliases);
    role.token.update(q.old.under(q.token)?)?;
    role.check()?;
    cx.view.put(&key, &role)?;
    Ok(Reply::empty())
}

impl RoleKind {
    fn new(name: &str) -> Result<Self> {
        match name {
            "iam" => Ok(Self::Iam { max_jwt_exp: Span::from_secs(900), allow_gce_inference: true }),
            "gce" => Ok(Self::Gce { zones: vec![], regions: vec![], instance_groups: vec![], labels: BTreeMap::new() }),
            "" => Err(Error::bad_request("role type must be provided for a new role")),
            _ => Err(Error::bad_request("role type must be iam or gce")),
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Iam { .. } => "iam",
            Self::Gce { .. } => "gce",
        }
    }
}

impl Role {
    fn check(&self) -> Result<()> {
        if matches!(self.kind, RoleKind::Iam { .. }) && self.service_accounts.is_empty() {
            return Err(Error::bad_request("IAM role type must have at least one service account"));
        }
        Ok(())
    }
}

fn read_label(text: &str) -> Result<(String, String)> {
    let pair = text.split_once(':').map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()));
    pair.filter(|(key, _)| !key.is_empty()).ok_or_else(|| Error::bad_request("labels must be like key:value"))
}

async fn read_role(cx: Ctx<Gcp>, q: Named) -> Result<Reply> {
    let role: Role = cx.view.get(&key(&q.name)?).await?.ok_or_else(Error::not_found)?;
    let mut shown = role
        .token
        .shown()
        .into_object()
        .with("role_id", role.id)
        .with("type", role.kind.name())
        .with("bound_service_accounts", role.service_accounts)
        .with("bound_projects", role.projects)
        .with("add_group_aliases", role.add_group_aliases);
    shown = match role.kind {
        RoleKind::Iam { max_jwt_exp, allow_gce_inference } => {
            shown.with("max_jwt_exp", max_jwt_exp.secs()).with("allow_gce_inference", allow_gce_inference)
        }
        RoleKind::Gce { zones, regions, instance_groups, labels } => {
            let labels: Object = labels.into_iter().map(|(key, value)| (key, Json::from(value))).collect();
            shown
                .with("bound_zones", zones)
                .with("bound_regions", regions)
                .with("bound_instance_groups", instance_groups)
                .with("bound_labels", Json::Object(labels))
        }
    };
    Ok(Reply::data(shown))
}

async fn role_exists(cx: Ctx<Gcp>, q: Named) -> Result<bool> {
    cx.view.exists(&key(&q.name)?).await
}

async fn delete_role(cx: Ctx<Gcp>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&q.name)?);
    Ok(Reply::empty())
}

async fn list(cx: Ctx<Gcp>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", None, usize::MAX).await?))
}

/// Add and remove.
#[derive(Request)]
struct Edit {
    /// The role.
    #[field(path)]
    name: String,
    /// What to add.
    #[field(default)]
    add: Vec<String>,
    /// What to remove.
    #[field(default)]
    remove: Vec<String>,
}

async fn edited(cx: &Ctx<Gcp>, q: &Edit) -> Result<(String, Role)> {
    if q.add.is_empty() && q.remove.is_empty() {
        return Err(Error::bad_request("must provide at least one value to add or remove"));
    }
    let key = key(&q.name)?;
    let role = cx.view.get::<Role>(&key).await?.ok_or_else(|| Error::bad_request("role not found"))?;
    Ok((key, role))
}

async fn service_accounts(cx: Ctx<Gcp>, q: Edit) -> Result<Reply<()>> {
    let (key, mut role) = edited(&cx, &q).await?;
    if !matches!(role.kind, RoleKind::Iam { .. }) {
        return Err(Error::bad_request("cannot add service accounts to a role that is not of type iam"));
    }
    role.service_accounts = set(role.service_accounts.into_iter().filter(|account| !q.remove.contains(account)).chain(q.add));
    role.check()?;
    cx.view.put(&key, &role)?;
    Ok(Reply::empty())
}

async fn labels(cx: Ctx<Gcp>, q: Edit) -> Result<Reply<()>> {
    let (key, mut role) = edited(&cx, &q).await?;
    let RoleKind::Gce { labels, .. } = &mut role.kind else {
        return Err(Error::bad_request("cannot add labels to a role that is not of type gce"));
    };
    for label in &q.add {
        labels.extend([read_label(label)?]);
    }
    labels.retain(|key, _| !q.remove.contains(key));
    cx.view.put(&key, &role)?;
    Ok(Reply::empty())
}
