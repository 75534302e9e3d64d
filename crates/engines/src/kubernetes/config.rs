//! How to reach the API server, and as whom.

use super::Kubernetes;
use crate::remote;
use coffer_engine::outside::{Roots, TlsClient};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

const CONFIG: &str = "config";
/// The API server's name inside every cluster, which stands in its certificate.
const IN_CLUSTER: &str = "https://kubernetes.default.svc";

/// Stored in format 1 under `config`.
#[derive(Serialize, Deserialize, Default)]
struct Config {
    /// Without a slash at the end.
    host: String,
    /// PEM; empty for the pod's own, or for the system's authorities.
    ca_cert: String,
    /// Empty for the pod's own.
    jwt: Zeroizing<String>,
    disable_local_ca_jwt: bool,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

/// Where the API server is, and as whom it is asked: for one call.
pub(super) struct Cluster {
    pub(super) host: String,
    pub(super) token: Zeroizing<String>,
    /// PEM; nothing for the system's authorities.
    pub(super) ca: Option<String>,
}

impl Cluster {
    pub(super) fn tls(&self) -> TlsClient {
        TlsClient { roots: self.ca.clone().map_or(Roots::System, Roots::Pem), ..TlsClient::default() }
    }
}

/// Configure how to reach the API server; what is left out stays as it is.
#[derive(Request)]
pub(super) struct Write {
    /// The API server's address: `https://host:6443`. In a pod it may be left out: it is that of the pod's cluster.
    kubernetes_host: Option<String>,
    /// The authority of the API server's certificate, PEM.
    kubernetes_ca_cert: Option<String>,
    /// The token to ask with. It is never shown again.
    service_account_jwt: Option<Secret<String>>,
    /// Use nothing of the pod that this server may run in.
    disable_local_ca_jwt: Option<bool>,
}

/// How to reach the API server.
#[derive(Response)]
pub(super) struct Shown {
    /// Whether nothing of the pod that this server may run in is used.
    disable_local_ca_jwt: bool,
    /// The authority of the API server's certificate, PEM.
    kubernetes_ca_cert: String,
    /// The API server's address.
    kubernetes_host: String,
}

pub(super) async fn write(cx: Ctx<Kubernetes>, q: Write) -> Result<Reply<()>> {
    let mut config: Config = cx.view.get(CONFIG).await?.unwrap_or_default();
    if let Some(host) = q.kubernetes_host {
        config.host = remote::address("kubernetes_host", &host)?;
    }
    if let Some(ca) = q.kubernetes_ca_cert {
        if !ca.is_empty() && !ca.contains("-----BEGIN CERTIFICATE-----") {
            return Err(Error::bad_request("kubernetes_ca_cert holds no certificate in PEM"));
        }
        config.ca_cert = ca;
    }
    if let Some(jwt) = q.service_account_jwt {
        let jwt = jwt.expose().trim();
        if !jwt.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::bad_request("service_account_jwt has a character that a token can't have"));
        }
        config.jwt = Zeroizing::new(jwt.to_owned());
    }
    if let Some(disable) = q.disable_local_ca_jwt {
        config.disable_local_ca_jwt = disable;
    }
    if config.host.is_empty() {
        if config.disable_local_ca_jwt || cx.outside().pod().is_err() {
            return Err(Error::bad_request("kubernetes_host must be given: this server uses no pod's own, or runs in none"));
        }
        config.host = IN_CLUSTER.to_owned();
    }
    cx.view.put(CONFIG, &config)?;
    Ok(Reply::empty())
}

pub(super) async fn read(cx: Ctx<Kubernetes>, _: NoInput) -> Result<Reply<Shown>> {
    let config: Config = cx.view.get(CONFIG).await?.ok_or_else(Error::not_found)?;
    Ok(Reply::data(Shown {
        disable_local_ca_jwt: config.disable_local_ca_jwt,
        kubernetes_ca_cert: config.ca_cert,
        kubernetes_host: config.host,
    }))
}

pub(super) async fn delete(cx: Ctx<Kubernetes>, _: NoInput) -> Result<Reply<()>> {
    cx.view.delete(CONFIG);
    Ok(Reply::empty())
}

/// Check for the pod's own account.
pub(super) async fn check(cx: Ctx<Kubernetes>, _: NoInput) -> Result<Reply<()>> {
    cx.outside().pod()?;
    Ok(Reply::empty())
}

pub(super) async fn cluster(cx: &Ctx<Kubernetes>) -> Result<Cluster> {
    let config: Option<Config> = cx.view.get(CONFIG).await?;
    let config = config.ok_or_else(|| Error::bad_request("no cluster is configured: write config first"))?;
    let mut cluster = Cluster { host: config.host, token: config.jwt, ca: Some(config.ca_cert).filter(|ca| !ca.is_empty()) };
    if config.disable_local_ca_jwt {
        if cluster.token.is_empty() {
            return Err(Error::bad_request("no service_account_jwt is configured, and the pod's own is not to be used"));
        }
    } else if cluster.token.is_empty() || cluster.ca.is_none() {
        match cx.outside().pod() {
            Ok(pod) => {
                if cluster.token.is_empty() {
                    cluster.token = Zeroizing::new(pod.token.expose().clone());
                }
                cluster.ca = cluster.ca.or(Some(pod.ca));
            }
            Err(fault) if cluster.token.is_empty() => return Err(fault.into()),
            Err(_) => {}
        }
    }
    Ok(cluster)
}
