//! What is asked of GitHub. <https://docs.github.com/en/rest>

use super::GitHub;
use super::config::Config;
use coffer_engine::Ctx;
use coffer_engine::outside::{HttpRequest, Method};
use coffer_types::{Error, Kind, Result, Secret};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const GITHUB: &str = "https://api.github.com";

/// As many as GitHub gives on one page, and as many pages as are looked at.
const PAGE: usize = 100;
const PAGES: usize = 50;

/// GitHub, asked with one person's token or with none.
pub(super) struct Api<'c> {
    cx: &'c Ctx<GitHub>,
    base: &'c str,
    token: Option<&'c Secret<String>>,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) login: String,
}

#[derive(Deserialize)]
pub(super) struct Organization {
    pub(super) id: i64,
    pub(super) login: String,
}

#[derive(Deserialize)]
pub(super) struct Team {
    pub(super) name: String,
    #[serde(default)]
    pub(super) slug: String,
    pub(super) organization: Organization,
}

impl<'c> Api<'c> {
    /// # Errors
    /// A token that can't be one; it is not sent.
    pub(super) fn new(cx: &'c Ctx<GitHub>, config: &'c Config, token: Option<&'c Secret<String>>) -> Result<Self> {
        if token.is_some_and(|token| token.expose().is_empty() || !token.expose().bytes().all(|b| b.is_ascii_graphic())) {
            return Err(refused());
        }
        Ok(Self { cx, base: if config.base_url.is_empty() { GITHUB } else { &config.base_url }, token })
    }

    pub(super) async fn organization_id(&self, name: &str) -> Result<i64> {
        self.get::<Organization>(&format!("orgs/{name}")).await.map(|organization| organization.id)
    }

    pub(super) async fn user(&self) -> Result<User> {
        self.get("user").await
    }

    pub(super) async fn organizations(&self) -> Result<Vec<Organization>> {
        self.all("user/orgs").await
    }

    pub(super) async fn teams(&self) -> Result<Vec<Team>> {
        self.all("user/teams").await
    }

    async fn all<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>> {
        let mut all = Vec::new();
        for page in 1..=PAGES {
            let next: Vec<T> = self.get(&format!("{path}?per_page={PAGE}&page={page}")).await?;
            let last = next.len() < PAGE;
            all.extend(next);
            if last {
                return Ok(all);
            }
        }
        Err(Error::new(Kind::Upstream, "GitHub has more pages of organizations or teams than are looked at"))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let mut request = HttpRequest::new(Method::Get, format!("{}/{path}", self.base))
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", "2022-11-28");
        if let Some(token) = self.token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        request.limit = 4 << 20;
        let reply = self.cx.outside().http().send(request).await?;
        match reply.status {
            200 => serde_json::from_slice(&reply.body)
                .map_err(|e| Error::new(Kind::Upstream, "GitHub's answer is not understood").with_cause(e)),
            401 => Err(refused()),
            status => Err(Error::new(Kind::Upstream, format!("GitHub answered with status {status}"))),
        }
    }
}

fn refused() -> Error {
    Error::bad_request("GitHub does not accept this token")
}
