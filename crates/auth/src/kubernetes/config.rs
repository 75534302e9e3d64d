//! The cluster.

use super::Kubernetes;
use coffer_crypto::jws::PublicKey;
use coffer_engine::outside::{Roots, TlsClient};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const KEY: &str = "config";

#[derive(Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) host: String,
    pub(super) ca: String,
    pub(super) reviewer: Zeroizing<String>,
    pub(super) pem_keys: Vec<String>,
    pub(super) issuer: String,
    pub(super) any_issuer: bool,
    pub(super) no_pod: bool,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

impl Config {
    pub(super) async fn load(cx: &Ctx<Kubernetes>) -> Result<Self> {
        cx.view.get(KEY).await?.ok_or_else(|| Error::bad_request("could not load backend configuration"))
    }

    /// The address of the API server, without a slash at its end.
    pub(super) fn address(&self) -> String {
        let host = self.host.trim_end_matches('/');
        if host.contains("://") { host.to_owned() } else { format!("https://{host}") }
    }

    /// TLS to the API server, with the configured authority or the pod's.
    ///
    /// # Errors
    /// There is neither.
    pub(super) fn tls(&self, cx: &Ctx<Kubernetes>) -> Result<TlsClient> {
        let ca = if self.ca.is_empty() { cx.outside().pod()?.ca } else { self.ca.clone() };
        Ok(TlsClient { roots: Roots::Pem(ca), ..TlsClient::default() })
    }

    /// Who asks the API server: the configured reviewer, else the pod's own account. `None`: whoever logs in asks for itself.
    pub(super) fn reviewer(&self, cx: &Ctx<Kubernetes>) -> Option<Secret<String>> {
        if !self.reviewer.is_empty() {
            return Some(Secret::new(self.reviewer.to_string()));
        }
        if self.no_pod { None } else { cx.outside().pod().ok().map(|pod| pod.token) }
    }

    /// Keys that tokens are verified with here.
    ///
    /// # Errors
    /// One does not parse.
    pub(super) fn keys(&self) -> Result<Vec<PublicKey>> {
        self.pem_keys.iter().map(|pem| PublicKey::from_pem(pem).map_err(|e| Error::bad_request(e.to_string()))).collect()
    }
}

/// Configure the cluster. What is left out is empty.
#[derive(Request)]
pub(super) struct Write {
    /// Address of the API server.
    #[field(default)]
    kubernetes_host: String,
    /// Its authority, PEM; the pod's own if empty.
    #[field(default)]
    kubernetes_ca_cert: String,
    /// The token of who may review tokens; the pod's own if empty, else that of whoever logs in.
    #[field(default)]
    token_reviewer_jwt: String,
    /// Keys or certificates that tokens are verified with besides, PEM.
    #[field(default)]
    pem_keys: Vec<String>,
    /// The issuer that tokens must name, where it is looked at.
    #[field(default)]
    issuer: String,
    /// Do not look at a token's issuer.
    #[field(default = true)]
    disable_iss_validation: bool,
    /// Do not take the pod's own authority and token.
    #[field(default)]
    disable_local_ca_jwt: bool,
}

/// The cluster.
#[derive(Response)]
pub(super) struct Shown {
    /// Whether a token's issuer is not looked at.
    disable_iss_validation: bool,
    /// Whether the pod's own authority and token are not taken.
    disable_local_ca_jwt: bool,
    /// The issuer that tokens must name.
    issuer: String,
    /// The API server's authority.
    kubernetes_ca_cert: String,
    /// Address of the API server.
    kubernetes_host: String,
    /// Keys that tokens are verified with besides.
    pem_keys: Vec<String>,
    /// Whether a reviewer's token is configured.
    token_reviewer_jwt_set: bool,
}

pub(super) async fn read(cx: Ctx<Kubernetes>, _: NoInput) -> Result<Reply<Shown>> {
    let config: Config = cx.view.get(KEY).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown {
        disable_iss_validation: config.any_issuer,
        disable_local_ca_jwt: config.no_pod,
        issuer: config.issuer,
        kubernetes_ca_cert: config.ca,
        kubernetes_host: config.host,
        pem_keys: config.pem_keys,
        token_reviewer_jwt_set: !config.reviewer.is_empty(),
    }))
}

pub(super) async fn write(cx: Ctx<Kubernetes>, q: Write) -> Result<Reply<()>> {
    if q.kubernetes_host.trim().is_empty() {
        return Err(Error::bad_request("no host provided"));
    }
    if q.kubernetes_ca_cert.is_empty() {
        if q.disable_local_ca_jwt {
            return Err(Error::bad_request("kubernetes_ca_cert must be given when disable_local_ca_jwt is true"));
        }
        cx.outside().pod().map_err(|fault| Error::bad_request(format!("kubernetes_ca_cert is not given, and {fault}")))?;
    }
    let config = Config {
        host: q.kubernetes_host.trim().to_owned(),
        ca: q.kubernetes_ca_cert,
        reviewer: q.token_reviewer_jwt.into(),
        pem_keys: q.pem_keys,
        issuer: q.issuer,
        any_issuer: q.disable_iss_validation,
        no_pod: q.disable_local_ca_jwt,
    };
    config.keys()?;
    cx.view.put(KEY, &config)?;
    Ok(Reply::empty())
}
