//! STS: sessions, which end by themselves.

use super::config::Root;
use super::roles::{CredentialType, Role};
use super::wire::{Params, Service, call};
use super::{Aws, iam};
use coffer_engine::Ctx;
use coffer_types::json::parse;
use coffer_types::{Error, Json, Kind, Object, Result, Secret, Span, Timestamp};

/// What a session is asked with.
pub(super) struct Ask<'a> {
    /// For an assumed role: which.
    pub(super) role_arn: &'a str,
    /// The session's or the federated user's name.
    pub(super) name: &'a str,
    pub(super) ttl: Span,
    pub(super) mfa_code: &'a str,
}

pub(super) struct Session {
    pub(super) access_key: String,
    pub(super) secret_key: Secret<String>,
    pub(super) token: Secret<String>,
    /// Who the session is; nothing where STS does not say.
    pub(super) arn: Option<String>,
    /// From now to its end.
    pub(super) left: Span,
}

/// The managed policies and the one policy to which a session is narrowed: the role's own and those of its groups, all statements in one.
async fn narrowing(cx: &Ctx<Aws>, root: &Root, role: &Role) -> Result<(Vec<String>, String)> {
    let mut arns = role.policy_arns.clone();
    if role.iam_groups.is_empty() {
        return Ok((arns, role.policy_document.clone()));
    }
    let (managed, mut documents) = iam::group_policies(cx, root, &role.iam_groups).await?;
    for arn in managed {
        if !arns.contains(&arn) {
            arns.push(arn);
        }
    }
    if !role.policy_document.is_empty() {
        let own = parse(role.policy_document.as_bytes(), &iam::POLICY);
        documents.insert(0, own.map_err(|_| Error::internal("the stored policy does not parse"))?);
    }
    let mut statements = Vec::new();
    for document in &documents {
        match document.get("Statement") {
            Some(Json::Array(several)) => statements.extend(several.iter().cloned()),
            Some(one @ Json::Object(_)) => statements.push(one.clone()),
            _ => return Err(Error::new(Kind::Upstream, "a policy of the role's groups has no statements")),
        }
    }
    // Without any policy a session would have all that it could: what narrows by nothing is refused, not widened.
    if statements.is_empty() && arns.is_empty() {
        return Err(Error::bad_request("the role's groups have no policies: the session would be narrowed by nothing"));
    }
    if statements.is_empty() {
        return Ok((arns, String::new()));
    }
    let whole = Json::Object(Object::new().with("Version", "2012-10-17").with("Statement", statements));
    Ok((arns, String::from_utf8_lossy(&whole.to_bytes()).into_owned()))
}

/// # Errors
/// Upstream: AWS refused, or answered with what is no session that lives.
pub(super) async fn session(cx: &Ctx<Aws>, root: &Root, role: &Role, ask: Ask<'_>) -> Result<Session> {
    let mut params = Params::new().with("DurationSeconds", ask.ttl.secs().to_string());
    let (action, who) = match role.credential_type {
        CredentialType::AssumedRole => {
            params =
                params.with("RoleArn", ask.role_arn).with("RoleSessionName", ask.name).with_some("ExternalId", &role.external_id);
            for (n, (key, value)) in (1..).zip(&role.session_tags) {
                params = params
                    .with(&format!("Tags.member.{n}.Key"), key.as_str())
                    .with(&format!("Tags.member.{n}.Value"), value.as_str());
            }
            ("AssumeRole", Some("AssumedRoleUser"))
        }
        CredentialType::FederationToken => {
            params = params.with("Name", ask.name);
            ("GetFederationToken", Some("FederatedUser"))
        }
        CredentialType::SessionToken => {
            params = params.with_some("SerialNumber", &role.mfa_serial_number).with_some("TokenCode", ask.mfa_code);
            ("GetSessionToken", None)
        }
        CredentialType::IamUser => return Err(Error::internal("an IAM user is no session")),
    };
    let (arns, policy) = narrowing(cx, root, role).await?;
    params = params.with_some("Policy", &policy);
    for (n, arn) in (1..).zip(&arns) {
        params = params.with(&format!("PolicyArns.member.{n}.arn"), arn.as_str());
    }
    let now = cx.now();
    let session = call(cx, root, Service::Sts, action, params, |r| {
        let made = r.one("Credentials")?;
        let end = Timestamp::parse_rfc3339(made.text("Expiration")?).filter(|end| *end > now);
        let end = end.ok_or_else(|| Error::new(Kind::Upstream, "AWS answered with a session that has no end, or has ended"))?;
        Ok(Session {
            access_key: made.text("AccessKeyId")?.to_owned(),
            secret_key: Secret::from(made.text("SecretAccessKey")?),
            token: Secret::from(made.text("SessionToken")?),
            arn: who.map(|who| r.one(who)?.text("Arn").map(str::to_owned)).transpose()?,
            left: Span::from_secs(end.secs() - now.secs()),
        })
    })
    .await?;
    Ok(session)
}
