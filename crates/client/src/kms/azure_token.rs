//! Whose token Azure gets, in the order of Azure's SDKs (Azure Identity, "DefaultAzureCredential"): the environment's service principal,
//! a workload identity, a managed identity, the Azure CLI.

use super::Kms;
use super::fault::{Fault, Result};
use super::web::{Ask, Said, escape};
use crate::Environment;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use coffer_crypto::jws::{Algorithm, Signer};
use coffer_crypto::mac;
use coffer_crypto::pk::PrivateKey;
use coffer_types::json::{Limits, parse};
use coffer_types::{Json, Object, Secret, Timestamp};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::time::Duration;
use zeroize::Zeroizing;

type Token = (Secret<String>, Option<Timestamp>);

/// Only machines of Azure have somebody at that address.
const METADATA: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Environment,
    Workload,
    Managed,
    Cli,
}

impl Way {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Environment, "EnvironmentCredential"),
        (Self::Workload, "WorkloadIdentityCredential"),
        (Self::Managed, "ManagedIdentityCredential"),
        (Self::Cli, "AzureCLICredential"),
    ];

    /// Those that `AZURE_TOKEN_CREDENTIALS` names: `prod`, `dev`, or one by its name in any case.
    fn chosen(env: &Environment) -> Result<Vec<Self>> {
        const NAME: &str = "AZURE_TOKEN_CREDENTIALS";
        let all = Self::ALL.map(|(way, _)| way);
        match env.raw(NAME).as_deref().map(str::trim) {
            None => Ok(all.into()),
            Some("prod") => Ok(vec![Self::Environment, Self::Workload, Self::Managed]),
            Some("dev") => Ok(vec![Self::Cli]),
            Some(name) => match Self::ALL.iter().find(|(_, known)| known.eq_ignore_ascii_case(name)) {
                Some((way, _)) => Ok(vec![*way]),
                None => Err(Fault::setup(format!("{NAME}: {name:?} is not known here"))
                    .hint("Known are prod, dev, EnvironmentCredential, WorkloadIdentityCredential, ManagedIdentityCredential, AzureCLICredential")),
            },
        }
    }
}

impl Kms {
    /// A token for `resource`, such as `https://vault.azure.net`.
    pub(super) async fn azure_token(&self, resource: &str) -> Result<Token> {
        let mut absent = Vec::new();
        for way in Way::chosen(&self.env)? {
            let found = match way {
                Way::Environment => self.azure_environment(resource).await?,
                Way::Workload => self.azure_workload(resource).await?,
                Way::Managed => self.azure_managed(resource).await?,
                Way::Cli => self.azure_cli(resource).await?,
            };
            match found {
                Ok(token) => return Ok(token),
                Err(why) => absent.push(why),
            }
        }
        Err(Fault::setup(format!("Azure: there are no credentials: {}", absent.join("; ")))
            .hint("Log in with \"az login\", or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"))
    }

    /// A service principal with a secret or a certificate.
    async fn azure_environment(&self, resource: &str) -> Result<Result<Token, String>> {
        let (Some(tenant), Some(client)) = (self.env.raw("AZURE_TENANT_ID"), self.env.raw("AZURE_CLIENT_ID")) else {
            return Ok(Err("AZURE_TENANT_ID and AZURE_CLIENT_ID are not set".into()));
        };
        let url = self.azure_authority(&tenant)?;
        if let Some(secret) = self.env.raw("AZURE_CLIENT_SECRET").map(Zeroizing::new) {
            return self.azure_grant(resource, &url, &client, &[("client_secret", &secret)], Some(&secret)).await.map(Ok);
        }
        if let Some(file) = self.env.raw("AZURE_CLIENT_CERTIFICATE_PATH") {
            let assertion = self.azure_assertion(&file, &client, &url)?;
            return self.azure_grant(resource, &url, &client, &asserted(&assertion), Some(&assertion)).await.map(Ok);
        }
        Ok(Err("neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set".into()))
    }

    /// A token of Kubernetes stands for a service principal.
    async fn azure_workload(&self, resource: &str) -> Result<Result<Token, String>> {
        let (Some(tenant), Some(client), Some(file)) =
            (self.env.raw("AZURE_TENANT_ID"), self.env.raw("AZURE_CLIENT_ID"), self.env.raw("AZURE_FEDERATED_TOKEN_FILE"))
        else {
            return Ok(Err("AZURE_FEDERATED_TOKEN_FILE is not set".into()));
        };
        let assertion = std::fs::read_to_string(&file)
            .map(|text| Zeroizing::new(text.trim().to_owned()))
            .map_err(|e| Fault::setup(format!("AZURE_FEDERATED_TOKEN_FILE: {file}: {e}")))?;
        let url = self.azure_authority(&tenant)?;
        self.azure_grant(resource, &url, &client, &asserted(&assertion), Some(&assertion)).await.map(Ok)
    }

    /// The identity of an App Service, of an Arc machine's like, or of a virtual machine (IMDS).
    async fn azure_managed(&self, resource: &str) -> Result<Result<Token, String>> {
        let client = self.env.raw("AZURE_CLIENT_ID").map(|id| format!("&client_id={}", escape(&id))).unwrap_or_default();
        let resource = escape(resource);
        let ask = match (self.env.raw("IDENTITY_ENDPOINT"), self.env.raw("IDENTITY_HEADER")) {
            (Some(endpoint), Some(header)) => {
                let join = if endpoint.contains('?') { '&' } else { '?' };
                Ask::new("GET", format!("{endpoint}{join}api-version=2019-08-01&resource={resource}{client}"))
                    .secret_header("x-identity-header", header)
            }
            _ => {
                let host =
                    self.env.raw("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| "http://169.254.169.254".to_owned());
                let host = host.trim_end_matches('/');
                Ask::new(
                    "GET",
                    format!("{host}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={resource}{client}"),
                )
                .header("metadata", "true")
                .once_within(METADATA)
            }
        };
        match self.web().ask(&ask).await {
            Ok(said) if said.is_good() => self.azure_said(&ask, &said).map(Ok),
            Ok(said) => Ok(Err(format!("the managed identity's {}", refusal(&ask, &said)))),
            Err(_) => Ok(Err("no managed identity answers on this machine".into())),
        }
    }

    /// `az account get-access-token`.
    async fn azure_cli(&self, resource: &str) -> Result<Result<Token, String>> {
        let mut command = std::process::Command::new("az");
        command.args(["account", "get-access-token", "-o", "json", "--resource", resource]).stdin(std::process::Stdio::null());
        if let Environment::Fixed(_) = self.env {
            command.env("PATH", self.env.raw("PATH").unwrap_or_default());
        }
        let out = match tokio::task::spawn_blocking(move || command.output()).await {
            Ok(Ok(out)) => out,
            _ => return Ok(Err("the Azure CLI (az) is not installed".into())),
        };
        let stdout = Zeroizing::new(out.stdout);
        if !out.status.success() {
            return Ok(Err(format!("az account get-access-token failed ({}); is somebody logged in?", out.status)));
        }
        let wrong = || Fault::protocol("Azure: az account get-access-token printed no token");
        let json = parse(&stdout, &Limits::NONE).map_err(|_| wrong())?;
        let token = json.get("accessToken").and_then(Json::as_str).filter(|token| !token.is_empty()).ok_or_else(wrong)?;
        let until = json.get("expires_on").and_then(Json::as_i64).map(Timestamp::from_secs);
        // Older programs name local time only; such a token is used once.
        Ok(Ok((Secret::from(token), Some(until.unwrap_or(self.now())))))
    }

    /// The token endpoint of a tenant.
    fn azure_authority(&self, tenant: &str) -> Result<String> {
        if tenant.is_empty() || !tenant.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')) {
            return Err(Fault::setup(format!("AZURE_TENANT_ID: {tenant:?} is no tenant")));
        }
        let host = self.env.raw("AZURE_AUTHORITY_HOST").unwrap_or_else(|| "https://login.microsoftonline.com".to_owned());
        Ok(format!("{}/{tenant}/oauth2/v2.0/token", host.trim_end_matches('/')))
    }

    /// The client credentials grant (RFC 6749 section 4.4) with some proof.
    async fn azure_grant(
        &self,
        resource: &str,
        url: &str,
        client: &str,
        proof: &[(&str, &str)],
        secret: Option<&str>,
    ) -> Result<Token> {
        let scope = format!("{resource}/.default");
        let mut fields = vec![("grant_type", "client_credentials"), ("client_id", client), ("scope", &*scope)];
        fields.extend_from_slice(proof);
        let ask = Ask::new("POST", url).form(&fields);
        let ask = if let Some(secret) = secret { ask.secret(secret) } else { ask };
        let said = self.web().ask(&ask).await?;
        if !said.is_good() {
            return Err(Fault::refused(format!("Azure: no token for the client {client:?}: {}", refusal(&ask, &said))).hint(
                "Is the client known in this tenant, and its secret, certificate or federated token right and not too old?",
            ));
        }
        self.azure_said(&ask, &said)
    }

    /// A statement signed with the certificate's key (Microsoft identity platform, "certificate credentials").
    fn azure_assertion(&self, file: &str, client: &str, audience: &str) -> Result<Zeroizing<String>> {
        let wrong = |why: &str| Fault::setup(format!("AZURE_CLIENT_CERTIFICATE_PATH: {file}: {why}"));
        let text = std::fs::read_to_string(file).map(Zeroizing::new).map_err(|e| wrong(&e.to_string()))?;
        let certificate = CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| wrong("no certificate in PEM"))?;
        let start = text.find("-----BEGIN").and_then(|_| {
            text.match_indices("-----BEGIN").find(|(at, _)| {
                text[*at..].starts_with("-----BEGIN PRIVATE KEY") || text[*at..].starts_with("-----BEGIN RSA PRIVATE KEY")
            })
        });
        let (start, _) = start.ok_or_else(|| wrong("no unencrypted private key in PEM"))?;
        let key = PrivateKey::from_pem(&text[start..])
            .and_then(|key| key.to_pkcs8())
            .map_err(|_| wrong("the private key is not understood"))?;
        let signer = Signer::from_pkcs8(Algorithm::Ps256, &key).map_err(|_| wrong("the private key is not RSA"))?;
        let thumbprint = mac::sha256(&[&certificate]);
        let now = self.now().secs();
        let header = Object::new()
            .with("alg", "PS256")
            .with("typ", "JWT")
            .with("x5t#S256", BASE64_URL_SAFE_NO_PAD.encode(thumbprint).as_str());
        // The time makes it unique enough for the ten minutes that it holds.
        let claims = Object::new()
            .with("aud", audience)
            .with("iss", client)
            .with("sub", client)
            .with("jti", format!("{client}-{}", self.now().0).as_str())
            .with("nbf", now)
            .with("exp", now + 600);
        let made = signer.token_with(header, &Json::Object(claims).to_bytes());
        made.map(Zeroizing::new).map_err(|_| wrong("the private key can't sign"))
    }

    fn azure_said(&self, ask: &Ask, said: &Said) -> Result<Token> {
        let token = said.text(ask, "access_token")?;
        let json = said.json().unwrap_or_default();
        // Managed identities write numbers as texts.
        let number = |name: &str| json.get(name).and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
        let until = number("expires_on").map(Timestamp::from_secs).or_else(|| {
            let secs = u64::try_from(number("expires_in")?).ok()?;
            Some(self.now().plus(Duration::from_secs(secs)))
        });
        Ok((Secret::from(token.as_str()), Some(until.unwrap_or(self.now()))))
    }
}

fn asserted(assertion: &str) -> [(&'static str, &str); 2] {
    [("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), ("client_assertion", assertion)]
}

/// `{"error","error_description"}`
fn refusal(ask: &Ask, said: &Said) -> String {
    let json = said.json().unwrap_or_default();
    let text =
        |name: &str| json.get(name).and_then(Json::as_str).map(|text| format!(": {}", ask.words(text))).unwrap_or_default();
    format!("{} answered {}{}{}", ask.place(), said.status, text("error"), text("error_description"))
}
