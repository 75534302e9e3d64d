//! With which credentials and where AWS is asked, and how long IAM users live.

use super::Aws;
use crate::remote;
use crate::username::Template;
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Kind, Result, Secret, Span};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const ROOT: &str = "config/root";
const LEASE: &str = "config/lease";

/// What a name may be made of.
pub(super) const FIELDS: &[&str] = &["Type", "DisplayName", "PolicyName", "RoleName"];

/// The names that the reference makes: at most 32 bytes for sessions of federated users, 64 for users.
pub(super) const DEFAULT_TEMPLATE: &str = r#"{{ if (eq .Type "STS") }}{{ printf "vault-%s-%s" (unix_time) (random 20) | truncate 32 }}{{ else }}{{ printf "vault-%s-%s-%s" (printf "%s-%s" (.DisplayName) (.PolicyName) | truncate 42) (unix_time) (random 20) | truncate 64 }}{{ end }}"#;

/// Stored in format 1 under `config/root`.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct Root {
    pub(super) access_key: String,
    pub(super) secret_key: Zeroizing<String>,
    pub(super) region: String,
    /// Without a slash at the end; empty for AWS's own.
    pub(super) iam_endpoint: String,
    pub(super) sts_endpoint: String,
    pub(super) sts_region: String,
    /// Below zero for our own number.
    pub(super) max_retries: i64,
    /// Empty for the default.
    pub(super) username_template: String,
    /// Keys of the engine's own user that a rotation replaced and that are still to be deleted.
    pub(super) retired: Vec<Retired>,
}

#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub(super) struct Retired {
    pub(super) user: String,
    pub(super) access_key: String,
}

impl Record for Root {
    const FORMAT: u8 = 1;
}

/// Stored in format 1 under `config/lease`; zero means the mount's own.
#[derive(Serialize, Deserialize, Default)]
pub(super) struct Lifetimes {
    pub(super) lease: Span,
    pub(super) lease_max: Span,
}

impl Record for Lifetimes {
    const FORMAT: u8 = 1;
}

/// Configure the credentials with which AWS is asked, and where.
#[derive(Request)]
pub(super) struct WriteRoot {
    /// The access key id.
    #[field(default)]
    access_key: String,
    /// The secret access key. It is never shown again.
    #[field(default = Secret::from(""))]
    secret_key: Secret<String>,
    /// The region; `us-east-1` without one.
    #[field(default)]
    region: String,
    /// The address of IAM, where it is not AWS's own.
    #[field(default)]
    iam_endpoint: String,
    /// The address of STS, where it is not AWS's own.
    #[field(default)]
    sts_endpoint: String,
    /// The region of STS, where it is another.
    #[field(default)]
    sts_region: String,
    /// How often a call that AWS failed to answer is repeated; -1 for our own number.
    #[field(default = -1)]
    max_retries: i64,
    /// The template of users' and sessions' names.
    #[field(default)]
    username_template: String,
    /// For identity tokens toward AWS, which are not built.
    #[field(default)]
    role_arn: String,
    /// For identity tokens toward AWS, which are not built.
    #[field(default)]
    identity_token_audience: String,
    /// Further addresses of STS, which are not built.
    #[field(default)]
    sts_fallback_endpoints: Vec<String>,
    /// Regions of the further addresses.
    #[field(default)]
    sts_fallback_regions: Vec<String>,
}

/// With which key and where AWS is asked.
#[derive(Response)]
pub(super) struct ShownRoot {
    /// The access key id.
    access_key: String,
    /// The region.
    region: String,
    /// The address of IAM, where it is not AWS's own.
    iam_endpoint: String,
    /// The address of STS, where it is not AWS's own.
    sts_endpoint: String,
    /// The region of STS, where it is another.
    sts_region: String,
    /// How often a call that AWS failed to answer is repeated.
    max_retries: i64,
    /// The template of users' and sessions' names.
    username_template: String,
}

pub(super) async fn write_root(cx: Ctx<Aws>, q: WriteRoot) -> Result<Reply<()>> {
    if !q.role_arn.is_empty() || !q.identity_token_audience.is_empty() {
        return Err(Error::new(
            Kind::NotImplemented,
            "role_arn and identity_token_audience (identity tokens toward AWS) are not built: give access_key and secret_key",
        ));
    }
    if !q.sts_fallback_endpoints.is_empty() || !q.sts_fallback_regions.is_empty() {
        return Err(Error::new(
            Kind::NotImplemented,
            "sts_fallback_endpoints and sts_fallback_regions are not built: AWS is asked at exactly one address",
        ));
    }
    if q.access_key.is_empty() || q.secret_key.expose().is_empty() {
        return Err(Error::bad_request("access_key and secret_key must both be given: credentials are taken from nowhere else"));
    }
    if !q.access_key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || q.access_key.len() > 128 {
        return Err(Error::bad_request("access_key is no access key id: letters and digits only"));
    }
    for (name, region) in [("region", &q.region), ("sts_region", &q.sts_region)] {
        if !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') || region.len() > 64 {
            return Err(Error::bad_request(format!("{name} is no region: it has the form us-east-1")));
        }
    }
    if !q.username_template.is_empty() {
        Template::parse_distinct(&q.username_template, FIELDS)?;
    }
    let address = |field, text: &str| if text.is_empty() { Ok(String::new()) } else { remote::address(field, text) };
    let before: Option<Root> = cx.view.get(ROOT).await?;
    let root = Root {
        access_key: q.access_key,
        secret_key: Zeroizing::new(q.secret_key.expose().clone()),
        region: q.region,
        iam_endpoint: address("iam_endpoint", &q.iam_endpoint)?,
        sts_endpoint: address("sts_endpoint", &q.sts_endpoint)?,
        sts_region: q.sts_region,
        max_retries: q.max_retries,
        username_template: q.username_template,
        retired: before.map(|b| b.retired).unwrap_or_default(),
    };
    put_root(&cx, &root)?;
    Ok(Reply::empty())
}

pub(super) async fn read_root(cx: Ctx<Aws>, _: NoInput) -> Result<Reply<ShownRoot>> {
    let root: Root = cx.view.get(ROOT).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(ShownRoot {
        access_key: root.access_key,
        region: root.region,
        iam_endpoint: root.iam_endpoint,
        sts_endpoint: root.sts_endpoint,
        sts_region: root.sts_region,
        max_retries: root.max_retries,
        username_template: root.username_template,
    }))
}

pub(super) async fn root(cx: &Ctx<Aws>) -> Result<Root> {
    find_root(cx).await?.ok_or_else(|| Error::bad_request("no credentials for AWS are configured: write config/root first"))
}

pub(super) async fn find_root(cx: &Ctx<Aws>) -> Result<Option<Root>> {
    cx.view.get(ROOT).await
}

pub(super) fn put_root(cx: &Ctx<Aws>, root: &Root) -> Result<()> {
    cx.view.put(ROOT, root)
}

/// Configure how long IAM users live.
#[derive(Request)]
pub(super) struct WriteLease {
    /// How long a user lives without renewal.
    lease: Option<Span>,
    /// How long renewals may keep a user.
    lease_max: Option<Span>,
}

/// How long IAM users live.
#[derive(Response)]
pub(super) struct Lease {
    /// Without renewal.
    lease: String,
    /// With all renewals.
    lease_max: String,
}

pub(super) async fn write_lease(cx: Ctx<Aws>, q: WriteLease) -> Result<Reply<()>> {
    let lease = q.lease.ok_or_else(|| Error::bad_request("'lease' is a required parameter"))?;
    let lease_max = q.lease_max.ok_or_else(|| Error::bad_request("'lease_max' is a required parameter"))?;
    if lease.is_negative() || lease_max.is_negative() {
        return Err(Error::bad_request("'lease' and 'lease_max' must not be negative"));
    }
    cx.view.put(LEASE, &Lifetimes { lease, lease_max })?;
    Ok(Reply::empty())
}

pub(super) async fn read_lease(cx: Ctx<Aws>, _: NoInput) -> Result<Reply<Lease>> {
    let lease: Lifetimes = cx.view.get(LEASE).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Lease { lease: lease.lease.to_string(), lease_max: lease.lease_max.to_string() }))
}

pub(super) async fn lifetimes(cx: &Ctx<Aws>) -> Result<Lifetimes> {
    Ok(cx.view.get(LEASE).await?.unwrap_or_default())
}
