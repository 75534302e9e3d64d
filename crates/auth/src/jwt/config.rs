//! The configuration: where the keys of tokens come from, and who we are to an OpenID Connect provider.

use super::Method;
use super::keys::{self, Remote};
use coffer_crypto::jws::{Algorithm, PublicKey};
use coffer_engine::outside::{Roots, TlsClient};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Kind, Object, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

const KEY: &str = "config";

#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) jwks_url: String,
    pub(crate) jwks_ca_pem: String,
    pub(crate) discovery_url: String,
    pub(crate) discovery_ca_pem: String,
    pub(crate) pubkeys: Vec<String>,
    pub(crate) bound_issuer: String,
    pub(crate) supported_algs: Vec<String>,
    pub(crate) default_role: String,
    pub(crate) client_id: String,
    /// A secret: never shown, wiped when dropped.
    pub(crate) client_secret: zeroize::Zeroizing<String>,
    pub(crate) response_mode: String,
    pub(crate) response_types: Vec<String>,
    pub(crate) server_names: Vec<String>,
    pub(crate) namespace_in_state: bool,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

impl Config {
    /// The configuration; without one there is no login.
    ///
    /// # Errors
    /// In the words of the reference.
    pub(crate) async fn load<const O: bool>(cx: &Ctx<Method<O>>) -> Result<Self> {
        cx.view.get(KEY).await?.ok_or_else(|| Error::bad_request("could not load configuration"))
    }

    /// The algorithms that tokens may be signed with: all that the keys fit, unless some are named.
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        if self.supported_algs.is_empty() {
            return Algorithm::ALL.to_vec();
        }
        self.supported_algs.iter().filter_map(|name| Algorithm::parse(name)).collect()
    }

    /// Where the keys are fetched from; `None` where they stand in the configuration.
    pub(crate) fn remote(&self) -> Option<Remote> {
        let (url, discovery, ca) = match (&*self.jwks_url, &*self.discovery_url) {
            ("", "") => return None,
            ("", url) => (url, true, &self.discovery_ca_pem),
            (url, _) => (url, false, &self.jwks_ca_pem),
        };
        Some(Remote { url: url.to_owned(), discovery, ca: ca.clone(), server_names: self.server_names.clone() })
    }

    /// The keys that stand in the configuration.
    ///
    /// # Errors
    /// One does not parse.
    pub(crate) fn own_keys(&self) -> Result<Vec<PublicKey>> {
        let parse =
            |pem: &String| PublicKey::from_pem(pem).map_err(|e| Error::bad_request(format!("error parsing public key: {e}")));
        self.pubkeys.iter().map(parse).collect()
    }

    /// Whether logins through the browser are configured.
    pub(crate) fn has_browser(&self) -> bool {
        !self.discovery_url.is_empty() && !self.client_id.is_empty()
    }

    /// Whether the provider sends its answer as a form.
    pub(crate) fn form_post(&self) -> bool {
        self.response_mode == "form_post"
    }

    pub(crate) fn responds_with_id_token(&self) -> bool {
        self.response_types.iter().any(|t| t == "id_token")
    }

    fn check(&self) -> Result<()> {
        let bad = |text: String| Err(Error::bad_request(text));
        let sources = [!self.jwks_url.is_empty(), !self.discovery_url.is_empty(), !self.pubkeys.is_empty()];
        if sources.iter().filter(|s| **s).count() != 1 {
            return bad("exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set".to_owned());
        }
        if self.client_id.is_empty() != self.client_secret.is_empty() {
            return bad("both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC".to_owned());
        }
        if !self.client_id.is_empty() && self.discovery_url.is_empty() {
            return bad("'oidc_discovery_url' must be set for OIDC".to_owned());
        }
        if let Some(name) = self.supported_algs.iter().find(|name| Algorithm::parse(name).is_none()) {
            return bad(format!("invalid jwt_supported_algs: unsupported signing algorithm {name:?}"));
        }
        if !["", "query", "form_post"].contains(&&*self.response_mode) {
            return bad(format!("invalid response_mode: {:?}", self.response_mode));
        }
        if !self.response_types.iter().all(|t| t == "code" || t == "id_token") {
            return bad(format!("invalid response_types {:?}. 'code' and 'id_token' are allowed", self.response_types));
        }
        if self.responds_with_id_token() && !self.form_post() {
            return bad("query response_mode may not be used with an id_token response_type".to_owned());
        }
        self.own_keys().map(drop)
    }
}

/// TLS to a provider: its own authorities where some are given, else the system's.
pub(crate) fn tls(ca: &str, server_name: Option<&String>) -> TlsClient {
    let roots = if ca.is_empty() { Roots::System } else { Roots::Pem(ca.to_owned()) };
    TlsClient { roots, server_name: server_name.cloned(), ..TlsClient::default() }
}

/// Configure the method. What is left out is empty.
#[derive(Request)]
pub(crate) struct Write {
    /// Address of a JSON web key set.
    #[field(default)]
    jwks_url: String,
    /// Authorities for jwks_url, PEM; the system's if empty.
    #[field(default)]
    jwks_ca_pem: String,
    /// Address of an OpenID Connect issuer, without "/.well-known/openid-configuration".
    #[field(default)]
    oidc_discovery_url: String,
    /// Authorities for oidc_discovery_url, PEM; the system's if empty.
    #[field(default)]
    oidc_discovery_ca_pem: String,
    /// Public keys or certificates, PEM.
    #[field(default)]
    jwt_validation_pubkeys: Vec<String>,
    /// The issuer that a token must name.
    #[field(default)]
    bound_issuer: String,
    /// Algorithms that tokens may be signed with; all that we know if empty.
    #[field(default)]
    jwt_supported_algs: Vec<String>,
    /// The role of logins that name none.
    #[field(default)]
    default_role: String,
    /// Who we are to the provider.
    #[field(default)]
    oidc_client_id: String,
    /// What we prove it with.
    #[field(default)]
    oidc_client_secret: String,
    /// "query" or "form_post": how the provider sends its answer.
    #[field(default)]
    oidc_response_mode: String,
    /// "code", "id_token": what the provider answers with.
    #[field(default)]
    oidc_response_types: Vec<String>,
    /// Names to accept in the provider's certificate in place of its address's.
    #[field(default)]
    override_allowed_server_names: Vec<String>,
    /// Pass a namespace in the state.
    #[field(default = true)]
    namespace_in_state: bool,
    /// Settings of particular providers; none are known.
    #[field(default)]
    provider_config: Object,
    /// Only warn where the keys can't be fetched now.
    #[field(default)]
    skip_jwks_validation: bool,
}

/// The configuration.
#[derive(Response)]
pub(crate) struct Shown {
    /// The issuer that a token must name.
    bound_issuer: String,
    /// The role of logins that name none.
    default_role: String,
    /// Authorities for jwks_url.
    jwks_ca_pem: String,
    /// Address of a JSON web key set.
    jwks_url: String,
    /// Algorithms that tokens may be signed with.
    jwt_supported_algs: Vec<String>,
    /// Public keys or certificates.
    jwt_validation_pubkeys: Vec<String>,
    /// Whether a namespace is passed in the state.
    namespace_in_state: bool,
    /// Who we are to the provider.
    oidc_client_id: String,
    /// Authorities for oidc_discovery_url.
    oidc_discovery_ca_pem: String,
    /// Address of the OpenID Connect issuer.
    oidc_discovery_url: String,
    /// How the provider sends its answer.
    oidc_response_mode: String,
    /// What the provider answers with.
    oidc_response_types: Vec<String>,
    /// Names to accept in the provider's certificate.
    override_allowed_server_names: Vec<String>,
    /// Settings of particular providers.
    provider_config: Object,
    /// "valid", or "invalid" where the keys can't be fetched.
    status: String,
}

pub(crate) async fn read<const O: bool>(cx: Ctx<Method<O>>, _: NoInput) -> Result<Reply<Shown>> {
    let config: Config = cx.view.get(KEY).await?.ok_or_else(Error::not_found)?;
    let reached = match config.remote() {
        // What the reference checks here too: a set's address by itself is not asked.
        Some(remote) if remote.discovery => cx.engine.keys.provider(cx.outside().http(), &remote, cx.now()).await.map(drop),
        _ => Ok(()),
    };
    let (status, warning) = match reached {
        Ok(()) => ("valid", None),
        Err(error) => ("invalid", Some(error.public().to_owned())),
    };
    let reply = Reply::data(Shown {
        bound_issuer: config.bound_issuer,
        default_role: config.default_role,
        jwks_ca_pem: config.jwks_ca_pem,
        jwks_url: config.jwks_url,
        jwt_supported_algs: config.supported_algs,
        jwt_validation_pubkeys: config.pubkeys,
        namespace_in_state: config.namespace_in_state,
        oidc_client_id: config.client_id,
        oidc_discovery_ca_pem: config.discovery_ca_pem,
        oidc_discovery_url: config.discovery_url,
        oidc_response_mode: config.response_mode,
        oidc_response_types: config.response_types,
        override_allowed_server_names: config.server_names,
        provider_config: Object::new(),
        status: status.to_owned(),
    });
    Ok(reply.warnings(warning))
}

pub(crate) async fn write<const O: bool>(cx: Ctx<Method<O>>, q: Write) -> Result<Reply> {
    if !q.provider_config.is_empty() {
        let known = ["azure", "gsuite", "ibmisam", "secureauth", "kerberos"];
        return Err(match q.provider_config.get("provider").and_then(|p| p.as_str()) {
            None => Error::bad_request("invalid provider_config: 'provider' field not found in provider_config"),
            Some(name) if known.contains(&name) => {
                Error::new(Kind::NotImplemented, "provider_config: settings of particular providers are not implemented")
            }
            Some(_) => Error::bad_request("invalid provider_config: the provider is not among the custom providers"),
        });
    }
    let config = Config {
        jwks_url: q.jwks_url,
        jwks_ca_pem: q.jwks_ca_pem,
        discovery_url: q.oidc_discovery_url,
        discovery_ca_pem: q.oidc_discovery_ca_pem,
        pubkeys: q.jwt_validation_pubkeys,
        bound_issuer: q.bound_issuer,
        supported_algs: q.jwt_supported_algs,
        default_role: q.default_role.to_lowercase(),
        client_id: q.oidc_client_id,
        client_secret: q.oidc_client_secret.into(),
        response_mode: q.oidc_response_mode,
        response_types: q.oidc_response_types,
        server_names: q.override_allowed_server_names,
        namespace_in_state: q.namespace_in_state,
    };
    config.check()?;
    let mut warning = None;
    if let Some(remote) = config.remote() {
        let asked = keys::check(cx.outside().http(), &remote).await;
        warning = match asked {
            Err(error) if !q.skip_jwks_validation => return Err(error),
            Err(error) => Some(error.public().to_owned()),
            Ok(()) => None,
        };
    }
    cx.view.put(KEY, &config)?;
    // As the reference: 200 with the warning, 204 without.
    Ok(if warning.is_some() { Reply::empty().status(200).warnings(warning) } else { Reply::empty() })
}
