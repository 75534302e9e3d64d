//! Where AWS credentials come from, in the order of AWS's SDKs: a profile that was named, the environment, a web identity, the
//! profile's files (keys, a source profile with a role, a process), a container's or a machine's own; and the role of the key.

use super::Kms;
use super::aws::{AwsKey, refusal, signed};
use super::aws_profile::Profile;
use super::fault::{Fault, Result};
use super::web::{Ask, Said};
use coffer_types::{Json, Timestamp};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// What signs requests. Wiped on drop.
pub(super) struct Credentials {
    pub(super) key_id: String,
    pub(super) secret: Zeroizing<String>,
    pub(super) session_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.key_id)
    }
}

type Found = (Credentials, Option<Timestamp>);

/// A role may come from another profile's role, and so on; nobody needs more steps than this.
const MOST_ROLES: usize = 5;
/// Machines that are no EC2 instance have nobody at that address.
const METADATA: Duration = Duration::from_secs(1);

impl Kms {
    /// The credentials for this key: fetched once, then kept for as long as they hold.
    pub(super) async fn aws_credentials(&self, key: &AwsKey, profile: &Profile, region: &str) -> Result<Arc<Credentials>> {
        let name = format!("{}\n{}\n{region}", profile.name, key.role.as_deref().unwrap_or_default());
        if let Some(kept) = self.aws.get(&name, self.now()) {
            return Ok(kept);
        }
        let (mut found, mut until) = self.aws_chain(profile, key.profile.is_some(), region).await?;
        if let Some(role) = &key.role {
            let session = session_name("sops@", &hostname());
            (found, until) = self.assume(profile, &found, role, &session, None, region).await?;
        }
        Ok(self.aws.put(&name, found, until))
    }

    async fn aws_chain(&self, profile: &Profile, named: bool, region: &str) -> Result<Found> {
        if !named {
            if let Some(found) = self.aws_environment()? {
                return Ok((found, None));
            }
            if let (Some(file), Some(role)) = (self.env.raw("AWS_WEB_IDENTITY_TOKEN_FILE"), self.env.raw("AWS_ROLE_ARN")) {
                let session = self.env.raw("AWS_ROLE_SESSION_NAME");
                return self.web_identity(profile, &file, &role, session.as_deref(), region).await;
            }
        }
        if let Some(found) = self.aws_of_profile(profile, region, 0).await? {
            return Ok(found);
        }
        if let Some(found) = self.container().await? {
            return Ok(found);
        }
        self.instance(profile).await
    }

    fn aws_environment(&self) -> Result<Option<Credentials>> {
        let either = |one: &str, other: &str| self.env.raw(one).or_else(|| self.env.raw(other));
        let id = either("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY");
        let secret = either("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY");
        match (id, secret) {
            (Some(key_id), Some(secret)) => Ok(Some(Credentials {
                key_id,
                secret: Zeroizing::new(secret),
                session_token: self.env.raw("AWS_SESSION_TOKEN").map(Zeroizing::new),
            })),
            _ => Ok(None),
        }
    }

    /// What the profile itself says; nothing where it says nothing.
    fn aws_of_profile<'a>(
        &'a self,
        profile: &'a Profile,
        region: &'a str,
        depth: usize,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Option<Found>>> + Send + 'a>> {
        Box::pin(async move {
            if depth > MOST_ROLES {
                return Err(Fault::setup(format!("AWS: the profile {:?} leads through too many source profiles", profile.name)));
            }
            if let (Some(file), Some(role)) = (profile.get("web_identity_token_file"), profile.get("role_arn")) {
                return self.web_identity(profile, file, role, profile.get("role_session_name"), region).await.map(Some);
            }
            if let Some(role) = profile.get("role_arn") {
                let (source, _) = match (profile.get("source_profile"), profile.get("credential_source")) {
                    (Some(name), _) if name == profile.name => keys_of(profile).map(|keys| (keys, None)),
                    (Some(name), _) => self.aws_of_profile(&Profile::load(&self.env, Some(name))?, region, depth + 1).await?,
                    (None, Some("Environment")) => self.aws_environment()?.map(|keys| (keys, None)),
                    (None, Some("EcsContainer")) => self.container().await?,
                    (None, Some("Ec2InstanceMetadata")) => Some(self.instance(profile).await?),
                    (None, _) => None,
                }
                .ok_or_else(|| {
                    Fault::setup(format!(
                        "AWS: the profile {:?} has a role_arn, and neither its source_profile nor its credential_source gives credentials",
                        profile.name
                    ))
                })?;
                if profile.get("mfa_serial").is_some() {
                    return Err(Fault::setup(format!("AWS: the profile {:?} asks for a second factor, which can't be asked for here", profile.name))
                        .hint("Get a session with the AWS command line and pass it in AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"));
                }
                let session = profile.get("role_session_name").map_or_else(|| session_name("sops@", &hostname()), str::to_owned);
                return self.assume(profile, &source, role, &session, profile.get("external_id"), region).await.map(Some);
            }
            if let Some(keys) = keys_of(profile) {
                return Ok(Some((keys, None)));
            }
            if let Some(command) = profile.get("credential_process") {
                return process(command).await.map(Some);
            }
            if profile.get("sso_session").is_some() || profile.get("sso_start_url").is_some() {
                return Err(Fault::setup(format!("AWS: the profile {:?} logs in through IAM Identity Center, which is not built here", profile.name))
                    .hint("Run \"aws configure export-credentials --format env\" and pass what it prints in the environment, or make that command the profile's credential_process"));
            }
            Ok(None)
        })
    }

    /// `sts:AssumeRole`, signed with what there is.
    async fn assume(
        &self,
        profile: &Profile,
        source: &Credentials,
        role: &str,
        session: &str,
        external_id: Option<&str>,
        region: &str,
    ) -> Result<Found> {
        let url = format!("{}/", profile.endpoint(&self.env, "sts", region)?);
        let mut fields =
            vec![("Action", "AssumeRole"), ("RoleArn", role), ("RoleSessionName", session), ("Version", "2011-06-15")];
        fields.extend(external_id.map(|id| ("ExternalId", id)));
        let ask = Ask::new("POST", url).tls(profile.tls(&self.env)).form(&fields);
        let ask = signed(ask, source, "sts", region, self.now());
        let said = self.web().ask(&ask).await?;
        if !said.is_good() {
            return Err(refusal(&format!("AWS STS: the role {role:?} can't be assumed"), &ask, &said));
        }
        of_sts(&ask, &said)
    }

    /// `sts:AssumeRoleWithWebIdentity`: the token is the proof, nothing is signed.
    async fn web_identity(
        &self,
        profile: &Profile,
        file: &str,
        role: &str,
        session: Option<&str>,
        region: &str,
    ) -> Result<Found> {
        let token = std::fs::read_to_string(file)
            .map(Zeroizing::new)
            .map_err(|e| Fault::setup(format!("AWS: the web identity token {file}: {e}")))?;
        let session = session.map_or_else(|| session_name("sops@", &hostname()), str::to_owned);
        let url = format!("{}/", profile.endpoint(&self.env, "sts", region)?);
        let ask = Ask::new("POST", url).tls(profile.tls(&self.env)).form(&[
            ("Action", "AssumeRoleWithWebIdentity"),
            ("RoleArn", role),
            ("RoleSessionName", &session),
            ("Version", "2011-06-15"),
            ("WebIdentityToken", token.trim()),
        ]);
        let said = self.web().ask(&ask).await?;
        if !said.is_good() {
            return Err(refusal(&format!("AWS STS: the role {role:?} can't be assumed with the web identity"), &ask, &said));
        }
        of_sts(&ask, &said)
    }

    /// The credentials endpoint of ECS and EKS.
    async fn container(&self) -> Result<Option<Found>> {
        let url =
            match (self.env.raw("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), self.env.raw("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
                (Some(path), _) => format!("http://169.254.170.2{path}"),
                (None, Some(url)) => url,
                (None, None) => return Ok(None),
            };
        if !may_hold_credentials(&url) {
            return Err(Fault::setup(
                "AWS: AWS_CONTAINER_CREDENTIALS_FULL_URI must be https, or an address of this machine or of the container service",
            ));
        }
        let token = match self.env.raw("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(
                std::fs::read_to_string(&file)
                    .map(|text| Zeroizing::new(text.trim().to_owned()))
                    .map_err(|e| Fault::setup(format!("AWS: AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE {file}: {e}")))?,
            ),
            None => self.env.raw("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Zeroizing::new),
        };
        let mut ask = Ask::new("GET", url);
        if let Some(token) = token {
            ask = ask.secret_header("authorization", token.as_str());
        }
        let said = self.web().ask(&ask).await?;
        if !said.is_good() {
            return Err(Fault::refused(format!("AWS: the container's credentials: {} answered {}", ask.place(), said.status)));
        }
        of_metadata(&ask, &said).map(Some)
    }

    /// The instance metadata service, version 2 (Amazon EC2 User Guide, "Use IMDSv2").
    async fn instance(&self, profile: &Profile) -> Result<Found> {
        let none = |why: &str| {
            Fault::setup(format!("AWS: there are no credentials for the profile {:?}{why}", profile.name)).hint(
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write a profile into ~/.aws/credentials, or log in and pass AWS_PROFILE",
            )
        };
        if self.env.raw("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(none(""));
        }
        let base = self.env.raw("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| "http://169.254.169.254".to_owned());
        let base = base.trim_end_matches('/');
        let ask = Ask::new("PUT", format!("{base}/latest/api/token"))
            .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
            .once_within(METADATA);
        let said = match self.web().ask(&ask).await {
            Ok(said) if said.is_good() => said,
            _ => return Err(none(", and this machine is no EC2 instance with a role")),
        };
        let token = Zeroizing::new(String::from_utf8_lossy(&said.body).into_owned());
        let get =
            |path: String| Ask::new("GET", format!("{base}{path}")).secret_header("x-aws-ec2-metadata-token", token.as_str());
        let list = get("/latest/meta-data/iam/security-credentials/".to_owned());
        let said = self.web().ask(&list).await?;
        let role = String::from_utf8_lossy(&said.body).lines().next().unwrap_or_default().trim().to_owned();
        if !said.is_good() || role.is_empty() {
            return Err(none(", and this EC2 instance has no role"));
        }
        let ask = get(format!("/latest/meta-data/iam/security-credentials/{}", super::web::escape(&role)));
        let said = self.web().ask(&ask).await?;
        if !said.is_good() {
            return Err(Fault::refused(format!("AWS: the instance's role {role:?}: {} answered {}", ask.place(), said.status)));
        }
        of_metadata(&ask, &said)
    }
}

fn keys_of(profile: &Profile) -> Option<Credentials> {
    Some(Credentials {
        key_id: profile.get("aws_access_key_id")?.to_owned(),
        secret: Zeroizing::new(profile.get("aws_secret_access_key")?.to_owned()),
        session_token: profile.get("aws_session_token").map(|token| Zeroizing::new(token.to_owned())),
    })
}

/// `credential_process`: its standard output is JSON (AWS SDKs and Tools Reference Guide, "Process credential provider").
async fn process(command: &str) -> Result<Found> {
    let command = command.to_owned();
    let run = move || std::process::Command::new("/bin/sh").arg("-c").arg(&command).stdin(std::process::Stdio::null()).output();
    let out = tokio::task::spawn_blocking(run)
        .await
        .map_err(|_| Fault::setup("AWS: credential_process broke off"))?
        .map_err(|e| Fault::setup(format!("AWS: credential_process can't be started: {e}")))?;
    let stdout = Zeroizing::new(out.stdout);
    if !out.status.success() {
        return Err(Fault::setup(format!("AWS: credential_process failed: {}", out.status)));
    }
    let json = coffer_types::json::parse(&stdout, &coffer_types::json::Limits::NONE)
        .map_err(|_| Fault::setup("AWS: credential_process printed what is no JSON"))?;
    credentials_of(&json, "SessionToken")
        .ok_or_else(|| Fault::setup("AWS: credential_process printed no AccessKeyId and SecretAccessKey"))
}

fn of_metadata(ask: &Ask, said: &Said) -> Result<Found> {
    said.json()
        .and_then(|json| credentials_of(&json, "Token"))
        .ok_or_else(|| Fault::protocol(format!("AWS: {} answered without credentials", ask.place())))
}

fn credentials_of(json: &Json, token: &str) -> Option<Found> {
    let text = |name: &str| json.get(name)?.as_str().filter(|text| !text.is_empty());
    let found = Credentials {
        key_id: text("AccessKeyId")?.to_owned(),
        secret: Zeroizing::new(text("SecretAccessKey")?.to_owned()),
        session_token: text(token).map(|token| Zeroizing::new(token.to_owned())),
    };
    Some((found, text("Expiration").and_then(Timestamp::parse_rfc3339)))
}

/// `<Credentials>` of an answer by STS.
fn of_sts(ask: &Ask, said: &Said) -> Result<Found> {
    let wrong = || Fault::protocol(format!("AWS STS: {} answered without credentials", ask.place()));
    let text = std::str::from_utf8(&said.body).map_err(|_| wrong())?;
    let document = roxmltree::Document::parse(text).map_err(|_| wrong())?;
    let outer = document.descendants().find(|node| node.tag_name().name() == "Credentials").ok_or_else(wrong)?;
    let inner = |name: &str| outer.children().find(|node| node.tag_name().name() == name)?.text().filter(|text| !text.is_empty());
    let found = Credentials {
        key_id: inner("AccessKeyId").ok_or_else(wrong)?.to_owned(),
        secret: Zeroizing::new(inner("SecretAccessKey").ok_or_else(wrong)?.to_owned()),
        session_token: inner("SessionToken").map(|token| Zeroizing::new(token.to_owned())),
    };
    Ok((found, inner("Expiration").and_then(Timestamp::parse_rfc3339)))
}

/// Plain HTTP only to this machine and to the addresses that the container services fix.
fn may_hold_credentials(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let known = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost"];
    match scheme {
        "https" => true,
        "http" => known.contains(&host) || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        _ => false,
    }
}

/// What AWS takes as the name of a session: at most 64 characters of some kinds.
fn session_name(prefix: &str, host: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '=' | ',' | '.' | '@' | '-' | '_' | '+');
    prefix.chars().chain(host.chars().filter(fits)).take(64).collect()
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
#[path = "aws_credentials_tests.rs"]
mod tests;
