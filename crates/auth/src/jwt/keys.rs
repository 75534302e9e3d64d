//! The keys of a token's issuer: fetched from its key set, kept for a bounded time, asked for again where one is missing.
//!
//! What is kept is a copy of what stands elsewhere, never the truth: one source a mount, ten minutes at most, gone with another
//! configuration. A token whose key is not in it asks the issuer again, but not more often than every ten seconds.

use super::config::tls;
use coffer_crypto::jws::{Algorithm, KeySet, Refused, Verified, verify};
use coffer_engine::outside::{Fault, FaultKind, Http, HttpReply, HttpRequest, Method};
use coffer_types::json::{Limits, parse};
use coffer_types::{Error, Json, Object, Result, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const KEPT_FOR: Duration = Duration::from_secs(600);
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// A provider that did not answer is left in peace, whoever calls: logins need no token.
const ASK_AFTER_FAILURE: Duration = Duration::from_secs(2);
/// For one document of a provider.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const DOCUMENT_LIMIT: usize = 512 * 1024;

/// Where keys are fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) url: String,
    /// The address is an issuer's, whose description says where its keys are.
    pub(crate) discovery: bool,
    /// Authorities, PEM; empty for the system's.
    pub(crate) ca: String,
    pub(crate) server_names: Vec<String>,
}

/// What an OpenID Connect provider says of itself.
/// <https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata>
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Provider {
    pub(crate) issuer: String,
    pub(crate) keys: String,
    pub(crate) authorization: String,
    pub(crate) token: String,
    pub(crate) device: Option<String>,
    pub(crate) userinfo: Option<String>,
}

/// What was fetched of one source.
#[derive(Default)]
pub(crate) struct Cache(Mutex<Option<Held>>);

struct Held {
    from: Remote,
    provider: Option<(Arc<Provider>, Timestamp)>,
    keys: Option<(Arc<KeySet>, Timestamp)>,
    /// The last attempt to fetch something failed, with this text for its client.
    failed: Option<(String, Timestamp)>,
}

impl Cache {
    /// Verifies a token with the keys of its issuer.
    ///
    /// # Errors
    /// The token is refused, or its issuer does not answer.
    pub(crate) async fn verify(
        &self,
        http: &dyn Http,
        remote: &Remote,
        token: &str,
        allowed: &[Algorithm],
        now: Timestamp,
    ) -> Result<Verified> {
        let (keys, fetched) = match self.kept_keys(remote, now) {
            Some(kept) => kept,
            None => (self.fetch_keys(http, remote, now).await?, now),
        };
        match verify(token, &keys, allowed) {
            // A new key, or an old name with a new key.
            Err(Refused::NoKey | Refused::Signature) if now.since(fetched) >= ASK_AGAIN_AFTER => {
                verify(token, &*self.fetch_keys(http, remote, now).await?, allowed).map_err(refused)
            }
            outcome => outcome.map_err(refused),
        }
    }

    /// What the provider says of itself.
    ///
    /// # Errors
    /// It does not answer, or with something else.
    pub(crate) async fn provider(&self, http: &dyn Http, remote: &Remote, now: Timestamp) -> Result<Arc<Provider>> {
        if let Some((provider, fetched)) = self.held(remote).as_ref().and_then(|held| held.provider.clone())
            && now.since(fetched) < KEPT_FOR
        {
            return Ok(provider);
        }
        self.asked_lately_in_vain(remote, now)?;
        let found = discover(http, remote).await.map(Arc::new);
        if let Some(held) = self.held(remote).as_mut() {
            held.failed = found.as_ref().err().map(|error| (error.public().to_owned(), now));
            if let Ok(provider) = &found {
                held.provider = Some((provider.clone(), now));
            }
        }
        found
    }

    /// The last failure again, while the one who failed is left in peace.
    fn asked_lately_in_vain(&self, remote: &Remote, now: Timestamp) -> Result<()> {
        match self.held(remote).as_ref().and_then(|held| held.failed.clone()) {
            Some((text, failed)) if now.since(failed) < ASK_AFTER_FAILURE => Err(Error::bad_request(text)),
            _ => Ok(()),
        }
    }

    fn kept_keys(&self, remote: &Remote, now: Timestamp) -> Option<(Arc<KeySet>, Timestamp)> {
        self.held(remote).as_ref()?.keys.clone().filter(|(_, fetched)| now.since(*fetched) < KEPT_FOR)
    }

    async fn fetch_keys(&self, http: &dyn Http, remote: &Remote, now: Timestamp) -> Result<Arc<KeySet>> {
        self.asked_lately_in_vain(remote, now)?;
        let fetched = self.fetch_keys_now(http, remote, now).await;
        if let Some(held) = self.held(remote).as_mut() {
            held.failed = fetched.as_ref().err().map(|error| (error.public().to_owned(), now));
            if let Ok(keys) = &fetched {
                held.keys = Some((keys.clone(), now));
            }
        }
        fetched
    }

    async fn fetch_keys_now(&self, http: &dyn Http, remote: &Remote, now: Timestamp) -> Result<Arc<KeySet>> {
        let url = if remote.discovery { self.provider(http, remote, now).await?.keys.clone() } else { remote.url.clone() };
        key_set(http, remote, &url).await.map(Arc::new)
    }

    /// What is held of this source; what is held of another one goes.
    fn held(&self, remote: &Remote) -> MutexGuard<'_, Option<Held>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_none_or(|held| held.from != *remote) {
            *held = Some(Held { from: remote.clone(), provider: None, keys: None, failed: None });
        }
        held
    }
}

/// Whether keys can be fetched now: for a configuration that is about to be written.
///
/// # Errors
/// Says which of the addresses does not answer rightly.
pub(crate) async fn check(http: &dyn Http, remote: &Remote) -> Result<()> {
    if remote.discovery { discover(http, remote).await.map(drop) } else { key_set(http, remote, &remote.url).await.map(drop) }
}

/// The token is the client's, and so is the fault.
fn refused(why: Refused) -> Error {
    match why {
        Refused::NotAllowed => {
            super::claims::invalid("invalid algorithm (alg) header parameter: token signed with unexpected algorithm")
        }
        Refused::NoKey | Refused::Unsupported => {
            super::claims::invalid("error verifying token signature: no known key successfully validated the token signature")
        }
        other => super::claims::invalid(&format!("error verifying token signature: {other}")),
    }
}

/// As [`Cache::verify`], with keys that stand in the configuration.
///
/// # Errors
/// The token is refused.
pub(crate) fn verify_with(keys: &KeySet, token: &str, allowed: &[Algorithm]) -> Result<Verified> {
    verify(token, keys, allowed).map_err(refused)
}

async fn discover(http: &dyn Http, remote: &Remote) -> Result<Provider> {
    let bad = |why: &str| Error::bad_request(format!("error checking oidc discovery URL: {why}"));
    let url = format!("{}/.well-known/openid-configuration", remote.url.trim_end_matches('/'));
    let document = get(http, remote, &url).await.map_err(|f| bad(&f.text).with_cause(f))?;
    let limits = Limits { depth: 16, string: 4096, strings: 5000, members: 500, items: 1000 };
    let document =
        parse(&document, &limits).ok().and_then(Json::into_object).ok_or_else(|| bad("the reply is no JSON object"))?;
    let provider = Provider::read(&document).map_err(bad)?;
    // A provider that speaks for another one is none (OpenID Connect Discovery 1.0, section 4.3).
    if provider.issuer.trim_end_matches('/') != remote.url.trim_end_matches('/') {
        return Err(bad("the provider names another issuer than the address that it was found at"));
    }
    Ok(provider)
}

impl Provider {
    fn read(document: &Object) -> Result<Self, &'static str> {
        let address = |name: &str| match document.get(name) {
            None => Ok(None),
            Some(Json::String(text)) if text.as_str().starts_with("https://") || text.as_str().starts_with("http://") => {
                Ok(Some(text.as_str().to_owned()))
            }
            Some(_) => Err("one of the provider's addresses is no http or https address"),
        };
        let needed = |name| {
            address(name)?.ok_or("the provider does not name all of issuer, jwks_uri, authorization_endpoint and token_endpoint")
        };
        Ok(Self {
            issuer: needed("issuer")?,
            keys: needed("jwks_uri")?,
            // Without these there is no login through the browser, but tokens verify all the same.
            authorization: address("authorization_endpoint")?.unwrap_or_default(),
            token: address("token_endpoint")?.unwrap_or_default(),
            device: address("device_authorization_endpoint")?,
            userinfo: address("userinfo_endpoint")?,
        })
    }
}

async fn key_set(http: &dyn Http, remote: &Remote, url: &str) -> Result<KeySet> {
    let bad = |why: &str| Error::bad_request(format!("error checking jwks URL: {why}"));
    let document = get(http, remote, url).await.map_err(|f| bad(&f.text).with_cause(f))?;
    let keys = KeySet::parse(&document).map_err(|e| bad(&e.to_string()))?;
    if keys.is_empty() { Err(bad("the key set holds no key that we know")) } else { Ok(keys) }
}

/// A document, from an address that answers 200 by itself: no redirect is followed.
async fn get(http: &dyn Http, remote: &Remote, url: &str) -> Result<coffer_types::secret::Bytes, Fault> {
    let reply = send(http, remote, || HttpRequest::new(Method::Get, url).header("accept", "application/json")).await?;
    if reply.status == 200 {
        return Ok(reply.body);
    }
    Err(Fault::new(FaultKind::Refused, format!("the address answered with status {}", reply.status)))
}

/// Asks under each name that the certificate may have, until one fits.
pub(crate) async fn send(http: &dyn Http, remote: &Remote, request: impl Fn() -> HttpRequest) -> Result<HttpReply, Fault> {
    let ask = |name: Option<&String>| {
        let mut request = request().tls(tls(&remote.ca, name));
        request.timeout = TIMEOUT;
        request.limit = DOCUMENT_LIMIT;
        http.send(request)
    };
    let mut names = remote.server_names.iter().take(8);
    let mut outcome = ask(names.next()).await;
    for name in names {
        if outcome.as_ref().is_err_and(|fault| fault.kind == FaultKind::Credentials) {
            outcome = ask(Some(name)).await;
        }
    }
    outcome
}
