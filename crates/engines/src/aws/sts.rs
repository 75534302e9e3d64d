//! STS: sessions, which end by themselves.

use super::Aws;
use super::config::Root;
use super::roles::{CredentialType, Role};
use super::wire::{Params, Service, call};
use coffer_engine::Ctx;
use coffer_types::{Error, Kind, Result, Secret, Span, Timestamp};

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
    params = params.with_some("Policy", &role.policy_document);
    for (n, arn) in (1..).zip(&role.policy_arns) {
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
