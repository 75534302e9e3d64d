//! Roles: which kind of credentials, and what they may do.

use super::Aws;
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::json::parse;
use coffer_types::{Error, Name, Result, Span};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "snake_case")]
pub(super) enum CredentialType {
    IamUser,
    AssumedRole,
    FederationToken,
    SessionToken,
}

/// Stored in format 1 under `role/<name>`.
#[derive(Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) credential_type: CredentialType,
    pub(super) role_arns: Vec<String>,
    pub(super) policy_arns: Vec<String>,
    /// A JSON object without white space, or empty.
    pub(super) policy_document: String,
    pub(super) iam_groups: Vec<String>,
    pub(super) iam_tags: BTreeMap<String, String>,
    pub(super) user_path: String,
    pub(super) permissions_boundary_arn: String,
    /// Zero for what AWS and the mount say.
    pub(super) default_sts_ttl: Span,
    pub(super) max_sts_ttl: Span,
    pub(super) external_id: String,
    pub(super) session_tags: BTreeMap<String, String>,
    pub(super) mfa_serial_number: String,
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
    /// `iam_user`, `assumed_role`, `federation_token` or `session_token`.
    credential_type: Option<String>,
    /// The roles that may be assumed, for `assumed_role`.
    role_arns: Option<Vec<String>>,
    /// Managed policies: attached to a user, or narrowing a session.
    policy_arns: Option<Vec<String>>,
    /// A policy as JSON text: a user's own, or narrowing a session.
    policy_document: Option<String>,
    /// Groups that a user becomes a member of; a session is narrowed to what their members may.
    iam_groups: Option<Vec<String>>,
    /// Tags of a user.
    iam_tags: Option<BTreeMap<String, String>>,
    /// Path of a user, `/` at both ends.
    user_path: Option<String>,
    /// The managed policy that bounds a user.
    permissions_boundary_arn: Option<String>,
    /// How long a session lives where the caller does not say.
    default_sts_ttl: Option<Span>,
    /// How long a session lives at most.
    max_sts_ttl: Option<Span>,
    /// The external id to assume a role with.
    external_id: Option<String>,
    /// Tags of a session, for `assumed_role`.
    session_tags: Option<BTreeMap<String, String>>,
    /// The MFA device, for `session_token`.
    mfa_serial_number: Option<String>,
}

/// A role.
#[derive(Response)]
pub(super) struct Shown {
    /// The kind of credentials.
    credential_type: String,
    /// The roles that may be assumed.
    role_arns: Vec<String>,
    /// Managed policies.
    policy_arns: Vec<String>,
    /// A policy as JSON text.
    policy_document: String,
    /// Groups that a user becomes a member of.
    iam_groups: Vec<String>,
    /// Tags of a user.
    iam_tags: BTreeMap<String, String>,
    /// Path of a user.
    user_path: String,
    /// The managed policy that bounds a user.
    permissions_boundary_arn: String,
    /// How long a session lives where the caller does not say, in seconds.
    default_sts_ttl: Span,
    /// How long a session lives at most, in seconds.
    max_sts_ttl: Span,
    /// The external id to assume a role with.
    external_id: String,
    /// Tags of a session.
    session_tags: BTreeMap<String, String>,
    /// The MFA device.
    mfa_serial_number: String,
}

pub(super) async fn write(cx: Ctx<Aws>, q: Write) -> Result<Reply<()>> {
    let before: Option<Role> = cx.view.get(&key(&q.name)).await?;
    let credential_type = match (&q.credential_type, &before) {
        (Some(text), _) => CredentialType::parse(text)?,
        (None, Some(before)) => before.credential_type,
        (None, None) => {
            return Err(Error::bad_request(format!("did not supply credential_type; it is one of {}", CredentialType::WORDS)));
        }
    };
    let mut role = before.unwrap_or_else(|| Role::new(credential_type));
    role.credential_type = credential_type;
    let set = |place: &mut String, given: Option<String>| *place = given.unwrap_or_else(|| std::mem::take(place));
    set(&mut role.user_path, q.user_path);
    set(&mut role.permissions_boundary_arn, q.permissions_boundary_arn);
    set(&mut role.external_id, q.external_id);
    set(&mut role.mfa_serial_number, q.mfa_serial_number);
    if let Some(text) = q.policy_document {
        role.policy_document = policy(&text)?;
    }
    for (place, given) in
        [(&mut role.role_arns, q.role_arns), (&mut role.policy_arns, q.policy_arns), (&mut role.iam_groups, q.iam_groups)]
    {
        if let Some(given) = given {
            *place = given;
        }
    }
    for (place, given) in [(&mut role.iam_tags, q.iam_tags), (&mut role.session_tags, q.session_tags)] {
        if let Some(given) = given {
            *place = given;
        }
    }
    for (place, given) in [(&mut role.default_sts_ttl, q.default_sts_ttl), (&mut role.max_sts_ttl, q.max_sts_ttl)] {
        if let Some(given) = given {
            *place = given;
        }
    }
    role.check()?;
    cx.view.put(&key(&q.name), &role)?;
    Ok(Reply::empty())
}

/// A policy without white space; AWS says the rest of what is wrong with it when it is used.
fn policy(text: &str) -> Result<String> {
    if text.trim().is_empty() {
        return Ok(String::new());
    }
    let wrong = || Error::bad_request("cannot parse policy document: it must be a JSON object with a Statement");
    let document = parse(text.as_bytes(), &super::iam::POLICY).map_err(|_| wrong())?;
    if document.get("Statement").is_none() {
        return Err(wrong());
    }
    String::from_utf8(document.to_bytes().to_vec()).map_err(|_| wrong())
}

impl CredentialType {
    const WORDS: &'static str = "iam_user, assumed_role, federation_token, session_token";

    fn parse(text: &str) -> Result<Self> {
        match text {
            "iam_user" => Ok(Self::IamUser),
            "assumed_role" => Ok(Self::AssumedRole),
            "federation_token" => Ok(Self::FederationToken),
            "session_token" => Ok(Self::SessionToken),
            _ => Err(Error::bad_request(format!("unrecognized credential_type; it is one of {}", Self::WORDS))),
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::IamUser => "iam_user",
            Self::AssumedRole => "assumed_role",
            Self::FederationToken => "federation_token",
            Self::SessionToken => "session_token",
        }
    }
}

impl Role {
    fn new(credential_type: CredentialType) -> Self {
        Self {
            credential_type,
            role_arns: Vec::new(),
            policy_arns: Vec::new(),
            policy_document: String::new(),
            iam_groups: Vec::new(),
            iam_tags: BTreeMap::new(),
            user_path: String::new(),
            permissions_boundary_arn: String::new(),
            default_sts_ttl: Span::ZERO,
            max_sts_ttl: Span::ZERO,
            external_id: String::new(),
            session_tags: BTreeMap::new(),
            mfa_serial_number: String::new(),
        }
    }

    /// What a field says must make sense for the role's kind: one that has no effect there is refused, not forgotten.
    fn check(&self) -> Result<()> {
        use CredentialType::{AssumedRole, FederationToken, IamUser, SessionToken};
        let kind = self.credential_type;
        let belongs: [(&str, bool, &[CredentialType]); 12] = [
            ("iam_groups", self.iam_groups.is_empty(), &[IamUser, AssumedRole, FederationToken]),
            ("role_arns", self.role_arns.is_empty(), &[AssumedRole]),
            ("external_id", self.external_id.is_empty(), &[AssumedRole]),
            ("session_tags", self.session_tags.is_empty(), &[AssumedRole]),
            ("user_path", self.user_path.is_empty(), &[IamUser]),
            ("permissions_boundary_arn", self.permissions_boundary_arn.is_empty(), &[IamUser]),
            ("iam_tags", self.iam_tags.is_empty(), &[IamUser]),
            ("mfa_serial_number", self.mfa_serial_number.is_empty(), &[SessionToken]),
            ("policy_arns", self.policy_arns.is_empty(), &[IamUser, AssumedRole, FederationToken]),
            ("policy_document", self.policy_document.is_empty(), &[IamUser, AssumedRole, FederationToken]),
            ("default_sts_ttl", self.default_sts_ttl.is_zero(), &[AssumedRole, FederationToken, SessionToken]),
            ("max_sts_ttl", self.max_sts_ttl.is_zero(), &[AssumedRole, FederationToken, SessionToken]),
        ];
        for (field, empty, kinds) in belongs {
            if !empty && !kinds.contains(&kind) {
                let kinds = kinds.iter().map(|k| k.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Error::bad_request(format!(
                    "{field} has no place in a role of credential_type {}: only in {kinds}",
                    kind.as_str()
                )));
            }
        }
        if kind == AssumedRole && self.role_arns.is_empty() {
            return Err(Error::bad_request("credential_type assumed_role needs role_arns"));
        }
        // Without a policy a federated user would have all that the engine's own credentials may.
        if matches!(kind, IamUser | FederationToken)
            && self.policy_arns.is_empty()
            && self.policy_document.is_empty()
            && self.iam_groups.is_empty()
        {
            return Err(Error::bad_request(format!(
                "credential_type {} needs policy_document, policy_arns or iam_groups",
                kind.as_str()
            )));
        }
        let arns =
            self.role_arns.iter().map(|arn| ("role_arns", arn)).chain(self.policy_arns.iter().map(|arn| ("policy_arns", arn)));
        let boundary =
            Some(&self.permissions_boundary_arn).filter(|arn| !arn.is_empty()).map(|arn| ("permissions_boundary_arn", arn));
        for (field, arn) in arns.chain(boundary) {
            if !is_arn(arn) {
                return Err(Error::bad_request(format!("{field} must hold ARNs, like arn:aws:iam::123456789012:role/name")));
            }
        }
        let path = self.user_path.as_bytes();
        let path_fits = path.is_empty()
            || (path.starts_with(b"/")
                && path.ends_with(b"/")
                && path.len() <= 512
                && path.iter().all(|b| (0x21..0x7f).contains(b)));
        if !path_fits {
            return Err(Error::bad_request(
                "user_path must begin and end with '/' and hold printable ASCII only, 512 characters at most",
            ));
        }
        if self.default_sts_ttl.is_negative() || self.max_sts_ttl.is_negative() {
            return Err(Error::bad_request("default_sts_ttl and max_sts_ttl must not be negative"));
        }
        if !self.max_sts_ttl.is_zero() && self.default_sts_ttl > self.max_sts_ttl {
            return Err(Error::bad_request("default_sts_ttl must not be greater than max_sts_ttl"));
        }
        Ok(())
    }
}

/// `arn:partition:service:region:account:resource`
fn is_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    text.len() <= 2048
        && text.bytes().all(|b| b.is_ascii_graphic())
        && matches!(parts.as_slice(), ["arn", partition, service, _, _, resource] if !partition.is_empty() && !service.is_empty() && !resource.is_empty())
}

pub(super) async fn read(cx: Ctx<Aws>, q: Named) -> Result<Reply<Shown>> {
    let role: Role = find(&cx, &q.name).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown {
        credential_type: role.credential_type.as_str().to_owned(),
        role_arns: role.role_arns,
        policy_arns: role.policy_arns,
        policy_document: role.policy_document,
        iam_groups: role.iam_groups,
        iam_tags: role.iam_tags,
        user_path: role.user_path,
        permissions_boundary_arn: role.permissions_boundary_arn,
        default_sts_ttl: role.default_sts_ttl,
        max_sts_ttl: role.max_sts_ttl,
        external_id: role.external_id,
        session_tags: role.session_tags,
        mfa_serial_number: role.mfa_serial_number,
    }))
}

pub(super) async fn delete(cx: Ctx<Aws>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(&q.name));
    Ok(Reply::empty())
}

pub(super) async fn list(cx: Ctx<Aws>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("role/", None, usize::MAX).await?))
}

pub(super) async fn find(cx: &Ctx<Aws>, name: &Name) -> Result<Option<Role>> {
    cx.view.get(&key(name)).await
}

fn key(name: &Name) -> String {
    format!("role/{name}")
}
