//! Roles: `role/{role}`.

use super::Aws;
use crate::clouds::{check_choice, new_id};
use crate::names::{normal, set};
use crate::old_names::OldNames;
use crate::token::{TokenAsk, TokenParams, TokenShown};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result};
use serde::{Deserialize, Serialize};

/// Stored in format 1 under `role/<name>`.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Role {
    id: String,
    auth_type: String,
    ami_ids: Vec<String>,
    account_ids: Vec<String>,
    regions: Vec<String>,
    vpc_ids: Vec<String>,
    subnet_ids: Vec<String>,
    role_arns: Vec<String>,
    profile_arns: Vec<String>,
    instance_ids: Vec<String>,
    principal_arns: Vec<String>,
    /// Key of the tag that a machine must have; empty if none.
    pub(super) role_tag: String,
    inferred_entity_type: String,
    inferred_aws_region: String,
    resolve_aws_unique_ids: bool,
    allow_instance_migration: bool,
    disallow_reauthentication: bool,
    pub(super) token: TokenParams,
}

impl Record for Role {
    const FORMAT: u8 = 1;
}

const IAM: &str = "iam";
const EC2: &str = "ec2";

/// Names a role.
#[derive(Request)]
pub(super) struct Named {
    /// The role; upper and lower case are the same.
    #[field(path)]
    role: String,
}

pub(super) fn key(name: &str) -> Result<String> {
    Ok(format!("role/{}", normal(name)?))
}

/// Write a role. What is left out stays as it is.
#[derive(Request)]
pub(super) struct Write {
    /// The role; upper and lower case are the same.
    #[field(path)]
    role: String,
    /// "iam" for principals, "ec2" for machines. It can't be changed.
    auth_type: Option<String>,
    /// Images of which a machine must run one.
    bound_ami_id: Option<Vec<String>>,
    /// Accounts of which a machine must be in one.
    bound_account_id: Option<Vec<String>>,
    /// Regions of which a machine must be in one.
    bound_region: Option<Vec<String>>,
    /// VPCs of which a machine must be in one.
    bound_vpc_id: Option<Vec<String>>,
    /// Subnets of which a machine must be in one.
    bound_subnet_id: Option<Vec<String>>,
    /// Roles of which a machine must have one; "*" at the end is any text.
    bound_iam_role_arn: Option<Vec<String>>,
    /// Instance profiles of which a machine must have one; "*" at the end is any text.
    bound_iam_instance_profile_arn: Option<Vec<String>>,
    /// Machines of which it must be one.
    bound_ec2_instance_id: Option<Vec<String>>,
    /// Principals of which it must be one; "*" at the end is any text.
    bound_iam_principal_arn: Option<Vec<String>>,
    /// Key of the tag that a machine must have (ec2).
    role_tag: Option<String>,
    /// "ec2_instance": take the machine behind a principal (iam).
    inferred_entity_type: Option<String>,
    /// Where to look for that machine (iam).
    inferred_aws_region: Option<String>,
    /// Bind to the unique ids of principals instead of their names (iam).
    resolve_aws_unique_ids: Option<bool>,
    /// Take a machine that has moved (ec2).
    allow_instance_migration: Option<bool>,
    /// One token a machine (ec2).
    disallow_reauthentication: Option<bool>,
    #[field(flatten)]
    old: OldNames,
    #[field(flatten)]
    token: TokenAsk,
}

pub(super) async fn write(cx: Ctx<Aws>, q: Write) -> Result<Reply<()>> {
    let key = key(&q.role)?;
    let mut role = match cx.view.get::<Role>(&key).await? {
        Some(role) if q.auth_type.as_ref().is_some_and(|kind| *kind != role.auth_type) => {
            return Err(Error::bad_request("auth_type cannot be changed for an existing role"));
        }
        Some(role) if role.resolve_aws_unique_ids && q.resolve_aws_unique_ids == Some(false) => {
            return Err(Error::bad_request("changing resolve_aws_unique_ids from true to false is not allowed"));
        }
        Some(role) => role,
        None => {
            let auth_type = q.auth_type.unwrap_or_else(|| IAM.to_owned());
            check_choice("auth_type", &auth_type, &[IAM, EC2])?;
            Role { id: new_id(&cx), resolve_aws_unique_ids: auth_type == IAM, auth_type, ..Role::default() }
        }
    };
    for (given, kept) in [
        (q.bound_ami_id, &mut role.ami_ids),
        (q.bound_account_id, &mut role.account_ids),
        (q.bound_region, &mut role.regions),
        (q.bound_vpc_id, &mut role.vpc_ids),
        (q.bound_subnet_id, &mut role.subnet_ids),
        (q.bound_iam_role_arn, &mut role.role_arns),
        (q.bound_iam_instance_profile_arn, &mut role.profile_arns),
        (q.bound_ec2_instance_id, &mut role.instance_ids),
        (q.bound_iam_principal_arn, &mut role.principal_arns),
    ] {
        if let Some(given) = given {
            *kept = set(given);
        }
    }
    role.role_tag = q.role_tag.unwrap_or(role.role_tag);
    role.inferred_entity_type = q.inferred_entity_type.unwrap_or(role.inferred_entity_type);
    role.inferred_aws_region = q.inferred_aws_region.unwrap_or(role.inferred_aws_region);
    role.resolve_aws_unique_ids = q.resolve_aws_unique_ids.unwrap_or(role.resolve_aws_unique_ids);
    role.allow_instance_migration = q.allow_instance_migration.unwrap_or(role.allow_instance_migration);
    role.disallow_reauthentication = q.disallow_reauthentication.unwrap_or(role.disallow_reauthentication);
    role.token.update(q.old.under(q.token)?)?;
    role.check()?;
    cx.view.put(&key, &role)?;
    Ok(Reply::empty())
}

impl Role {
    /// No constraint that the role's type would not look at, and at least one that it does.
    fn check(&self) -> Result<()> {
        let bad = |text: &'static str| Err(Error::bad_request(text));
        let of_machines = [
            &self.ami_ids,
            &self.account_ids,
            &self.regions,
            &self.vpc_ids,
            &self.subnet_ids,
            &self.role_arns,
            &self.profile_arns,
            &self.instance_ids,
        ];
        let binds_machines = of_machines.iter().any(|list| !list.is_empty());
        let binds_principals = !self.principal_arns.is_empty();
        let infers = !self.inferred_entity_type.is_empty();
        if self.role_tag.len() > 127 || self.role_tag.contains(':') {
            return bad("role_tag must be a tag's key: at most 127 characters, without ':'");
        }
        if self.allow_instance_migration && self.disallow_reauthentication {
            return bad("cannot specify both disallow_reauthentication and allow_instance_migration");
        }
        if self.auth_type == EC2 {
            if binds_principals || infers || !self.inferred_aws_region.is_empty() {
                return bad("bound_iam_principal_arn and inferred_… are for roles of auth_type iam");
            }
            if !binds_machines && self.role_tag.is_empty() {
                return bad("at least one bound parameter should be specified on the role");
            }
            return Ok(());
        }
        if !self.role_tag.is_empty() || self.allow_instance_migration || self.disallow_reauthentication {
            return bad("role_tag, allow_instance_migration and disallow_reauthentication are for roles of auth_type ec2");
        }
        if infers {
            check_choice("inferred_entity_type", &self.inferred_entity_type, &["ec2_instance"])?;
        }
        if infers == self.inferred_aws_region.is_empty() {
            return bad("inferred_entity_type and inferred_aws_region go together");
        }
        if binds_machines && !infers {
            return bad("constraints of machines need inferred_entity_type on a role of auth_type iam");
        }
        if !binds_machines && !binds_principals {
            return bad("at least one bound parameter should be specified on the role");
        }
        if self
            .principal_arns
            .iter()
            .chain(&self.role_arns)
            .chain(&self.profile_arns)
            .any(|arn| !arn.starts_with("arn:") && arn != "*")
        {
            return bad("an ARN begins with \"arn:\"");
        }
        Ok(())
    }
}

/// A role.
#[derive(Response)]
pub(super) struct Shown {
    /// The role's own id.
    role_id: String,
    /// "iam" or "ec2".
    auth_type: String,
    /// Images.
    bound_ami_id: Vec<String>,
    /// Accounts.
    bound_account_id: Vec<String>,
    /// Regions.
    bound_region: Vec<String>,
    /// VPCs.
    bound_vpc_id: Vec<String>,
    /// Subnets.
    bound_subnet_id: Vec<String>,
    /// Roles of machines.
    bound_iam_role_arn: Vec<String>,
    /// Instance profiles.
    bound_iam_instance_profile_arn: Vec<String>,
    /// Machines.
    bound_ec2_instance_id: Vec<String>,
    /// Principals.
    bound_iam_principal_arn: Vec<String>,
    /// Key of the tag.
    role_tag: String,
    /// What is inferred.
    inferred_entity_type: String,
    /// Where it is looked for.
    inferred_aws_region: String,
    /// Whether unique ids bind.
    resolve_aws_unique_ids: bool,
    /// Whether a machine may have moved.
    allow_instance_migration: bool,
    /// Whether a machine gets one token.
    disallow_reauthentication: bool,
    #[field(flatten)]
    token: TokenShown,
}

pub(super) async fn read(cx: Ctx<Aws>, q: Named) -> Result<Reply<Shown>> {
    let role: Role = cx.view.get(&key(&q.role)?).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown {
        role_id: role.id,
        auth_type: role.auth_type,
        bound_ami_id: role.ami_ids,
        bound_account_id: role.account_ids,
        bound_region: role.regions,
        bound_vpc_id: role.vpc_ids,
        bound_subnet_id: role.subnet_ids,
        bound_iam_role_arn: role.role_arns,
        bound_iam_instance_profile_arn: role.profile_arns,
        bound_ec2_instance_id: role.instance_ids,
        bound_iam_principal_arn: role.principal_arns,
        role_tag: role.role_tag,
        inferred_entity_type: role.inferred_entity_type,
        inferred_aws_region: role.inferred_aws_region,
        resolve_aws_unique_ids: role.resolve_aws_unique_ids,
        allow_instance_migration: role.allow_instance_migration,
        disallow_reauthentication: role.disallow_reauthentication,
        token: role.token.shown(),
    }))
}

pub(super) async fn exists(cx: Ctx<Aws>, q: Named) -> Result<bool> {
    cx.view.exists(&key(&q.role)?).await
}

pub(super) async fn delete(cx: Ctx<Aws>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&q.role)?);
    Ok(Reply::empty())
}

pub(super) async fn list(cx: Ctx<Aws>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", None, usize::MAX).await?))
}
