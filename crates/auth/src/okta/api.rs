//! What is asked of Okta. <https://developer.okta.com/docs/reference/api/authn/>, <https://developer.okta.com/docs/reference/api/users/>

use super::Okta;
use super::config::Config;
use coffer_engine::Ctx;
use coffer_engine::outside::{HttpReply, HttpRequest, Method};
use coffer_types::{Error, Kind, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use zeroize::Zeroizing;

/// As many pages of groups as are looked at; Okta gives up to 200 on one.
const PAGES: usize = 50;

pub(super) struct Api<'c> {
    cx: &'c Ctx<Okta>,
    config: &'c Config,
    address: String,
}

/// Where a login stands. Has no `Debug`: the state's token is as good as a password for a while.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Transaction {
    pub(super) status: String,
    #[serde(default)]
    pub(super) state_token: String,
    /// Of a challenge: `WAITING`, `REJECTED`, `TIMEOUT`.
    #[serde(default)]
    pub(super) factor_result: String,
    #[serde(default, rename = "_embedded")]
    pub(super) embedded: Embedded,
}

#[derive(Default, Deserialize)]
pub(super) struct Embedded {
    pub(super) user: Option<User>,
    #[serde(default)]
    pub(super) factors: Vec<Factor>,
    /// Of a challenge under way.
    pub(super) factor: Option<Factor>,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) id: String,
    /// Only in a user's own record: `ACTIVE`, `SUSPENDED`, `DEPROVISIONED`, …
    #[serde(default)]
    pub(super) status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Factor {
    pub(super) id: String,
    #[serde(default)]
    pub(super) factor_type: String,
    #[serde(default)]
    pub(super) provider: String,
    #[serde(default, rename = "_embedded")]
    embedded: FactorEmbedded,
}

#[derive(Default, Deserialize)]
struct FactorEmbedded {
    challenge: Option<Challenge>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Challenge {
    correct_answer: Option<i64>,
}

impl Factor {
    /// The number that is right, where one is to be chosen on the phone.
    pub(super) fn number(&self) -> Option<i64> {
        self.embedded.challenge.as_ref()?.correct_answer
    }
}

#[derive(Deserialize)]
struct Group {
    profile: Profile,
}

#[derive(Deserialize)]
struct Profile {
    name: String,
}

impl<'c> Api<'c> {
    pub(super) fn new(cx: &'c Ctx<Okta>, config: &'c Config) -> Self {
        Self { cx, config, address: config.address() }
    }

    /// Begins a login; nothing where Okta does not accept name and password.
    pub(super) async fn authenticate(&self, name: &str, password: &str) -> Result<Option<Transaction>> {
        self.post("authn", &json!({ "username": name, "password": password })).await
    }

    /// Uses a factor, or asks how its challenge stands. Nothing where Okta does not accept the code.
    pub(super) async fn factor(&self, state: &str, factor: &str, code: Option<&str>) -> Result<Option<Transaction>> {
        let mut body = json!({ "stateToken": state });
        if let Some(code) = code {
            body["passCode"] = code.into();
        }
        self.post(&format!("authn/factors/{}/verify", id(factor)?), &body).await
    }

    /// Whether a person may still log in, by the API's token.
    pub(super) async fn is_active(&self, user: &str) -> Result<bool> {
        let reply = self.get(&format!("{}/api/v1/users/{}", self.address, id(user)?)).await?;
        match reply.status {
            404 => Ok(false),
            _ => Ok(matches!(read::<User>(&reply)?.status.as_str(), "ACTIVE" | "PASSWORD_EXPIRED" | "RECOVERY")),
        }
    }

    /// The names of a person's groups, by the API's token.
    pub(super) async fn groups(&self, user: &str) -> Result<Vec<String>> {
        let mut groups = Vec::new();
        let mut next = Some(format!("{}/api/v1/users/{}/groups", self.address, id(user)?));
        for _ in 0..PAGES {
            let Some(url) = next else { return Ok(groups) };
            let reply = self.get(&url).await?;
            groups.extend(read::<Vec<Group>>(&reply)?.into_iter().map(|group| group.profile.name));
            next = self.next_page(&reply)?;
        }
        Err(Error::new(Kind::Upstream, "Okta has more pages of groups than are looked at"))
    }

    /// Where the `Link` header says that it goes on: only at the same address, which gets our token.
    fn next_page(&self, reply: &HttpReply) -> Result<Option<String>> {
        let links = reply.headers.iter().filter(|(name, _)| name == "link").flat_map(|(_, value)| value.split(','));
        let Some(link) = links.map(str::trim).find(|link| link.contains("rel=\"next\"")) else { return Ok(None) };
        let url = link.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(url, _)| url).unwrap_or_default();
        if url.starts_with(&format!("{}/", self.address)) {
            Ok(Some(url.to_owned()))
        } else {
            Err(Error::new(Kind::Upstream, "Okta's next page is somewhere else"))
        }
    }

    async fn get(&self, url: &str) -> Result<HttpReply> {
        let request = HttpRequest::new(Method::Get, url)
            .header("accept", "application/json")
            .header("authorization", format!("SSWS {}", *self.config.api_token));
        Ok(self.cx.outside().http().send(request).await?)
    }

    async fn post(&self, path: &str, body: &serde_json::Value) -> Result<Option<Transaction>> {
        let bytes = Zeroizing::new(serde_json::to_vec(body).map_err(|e| Error::internal("a request").with_cause(e))?);
        let request = HttpRequest::new(Method::Post, format!("{}/api/v1/{path}", self.address))
            .header("accept", "application/json")
            .body("application/json", bytes);
        let reply = self.cx.outside().http().send(request).await?;
        if matches!(reply.status, 401 | 403) { Ok(None) } else { read(&reply).map(Some) }
    }
}

fn read<T: DeserializeOwned>(reply: &HttpReply) -> Result<T> {
    if reply.status != 200 {
        return Err(Error::new(Kind::Upstream, format!("Okta answered with status {}", reply.status)));
    }
    serde_json::from_slice(&reply.body).map_err(|e| Error::new(Kind::Upstream, "Okta's answer is not understood").with_cause(e))
}

/// An id of Okta's as a segment of a path.
fn id(text: &str) -> Result<&str> {
    let sound =
        !text.is_empty() && text.len() <= 128 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if sound { Ok(text) } else { Err(Error::new(Kind::Upstream, "Okta's answer has an id that is none")) }
}
