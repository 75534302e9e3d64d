//! Where certificates say that their issuer, its lists and OCSP are: for the whole mount, or for one issuer.

use super::issuer::Issuer;
use super::{Cx, Pki, failed};
use coffer_engine::{Declare, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Result};
use serde::{Deserialize, Serialize};

/// Addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Urls {
    #[serde(default)]
    pub(super) issuing_certificates: Vec<String>,
    #[serde(default)]
    pub(super) crl_distribution_points: Vec<String>,
    #[serde(default)]
    pub(super) delta_crl_distribution_points: Vec<String>,
    #[serde(default)]
    pub(super) ocsp_servers: Vec<String>,
    /// `{{issuer_id}}`, `{{cluster_path}}` and `{{cluster_aia_path}}` are filled in.
    #[serde(default)]
    pub(super) enable_templating: bool,
}

impl Record for Urls {
    const FORMAT: u8 = 1;
}

/// Where this mount is reached from outside: what the templates put in.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Cluster {
    pub(super) path: String,
    pub(super) aia_path: String,
}

impl Record for Cluster {
    const FORMAT: u8 = 1;
}

impl Urls {
    pub(super) const fn is_empty(&self) -> bool {
        self.issuing_certificates.is_empty()
            && self.crl_distribution_points.is_empty()
            && self.delta_crl_distribution_points.is_empty()
            && self.ocsp_servers.is_empty()
    }

    /// The addresses that a certificate of this issuer names: its own, else the mount's, templates filled in.
    ///
    /// # Errors
    /// A template that can't be filled in, or does not make an address.
    pub(super) async fn of(cx: &Cx, issuer: &Issuer) -> Result<Self> {
        let urls = if issuer.urls.is_empty() {
            let shared: Option<std::sync::Arc<Self>> = cx.engine.parsed.get(&cx.view, "config/urls").await?;
            shared.map(|urls| (*urls).clone()).unwrap_or_default()
        } else {
            issuer.urls.clone()
        };
        if urls.enable_templating { urls.fill(cx, &issuer.id).await } else { Ok(urls) }
    }

    /// The same of the mount alone, for an issuer that is about to be.
    pub(super) async fn for_new(cx: &Cx, id: &str) -> Result<Self> {
        let urls = of_mount(cx).await?;
        if urls.enable_templating { urls.fill(cx, id).await } else { Ok(urls) }
    }

    async fn fill(mut self, cx: &Cx, id: &str) -> Result<Self> {
        let cluster = cluster(cx).await?;
        let places = [("issuer_id", id), ("cluster_path", &*cluster.path), ("cluster_aia_path", &*cluster.aia_path)];
        for list in [
            &mut self.issuing_certificates,
            &mut self.crl_distribution_points,
            &mut self.delta_crl_distribution_points,
            &mut self.ocsp_servers,
        ] {
            for url in list {
                *url = fill_one(url, &places)?;
            }
        }
        Ok(self)
    }

    /// Whether all are addresses; what can only be known later comes back as warnings.
    pub(super) async fn check(&self, cx: &Cx) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        for (field, list) in [
            ("issuing_certificates", &self.issuing_certificates),
            ("crl_distribution_points", &self.crl_distribution_points),
            ("delta_crl_distribution_points", &self.delta_crl_distribution_points),
            ("ocsp_servers", &self.ocsp_servers),
        ] {
            for url in list {
                if !self.enable_templating && !is_url(url) {
                    return Err(Error::bad_request(format!(
                        "invalid URL found in Authority Information Access (AIA) parameter {field}: {url}"
                    )));
                }
            }
        }
        if self.enable_templating
            && let Err(error) = self.clone().fill(cx, "empty-issuer-id").await
        {
            warnings.push(format!(
                "issuance may fail: {}\n\nConsider setting the cluster-local address if it is not already set.",
                error.public()
            ));
        }
        Ok(warnings)
    }
}

/// The filled-in template, an address.
fn fill_one(template: &str, places: &[(&str, &str)]) -> Result<String> {
    let mut out = String::with_capacity(template.len() + 40);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").ok_or_else(|| failed(format!("error templating URL {template}")))?;
        let value = places.iter().find(|(known, _)| *known == name.trim());
        let (_, value) = value.ok_or_else(|| failed(format!("error templating URL {template}: unknown variable")))?;
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    if is_url(&out) { Ok(out) } else { Err(failed(format!("error validating templated URL {template}: invalid URI"))) }
}

/// An absolute URL of printable ASCII, with a host (or a path, for `ldap:///…` and the like).
pub(super) fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let mut letters = scheme.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !rest.is_empty()
        && rest.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b))
}

pub(super) async fn of_mount(cx: &Cx) -> Result<Urls> {
    Ok(cx.view.get("config/urls").await?.unwrap_or_default())
}

pub(super) async fn cluster(cx: &Cx) -> Result<Cluster> {
    Ok(cx.view.get("config/cluster").await?.unwrap_or_default())
}

/// What is said where no address is set.
pub(super) const NONE: &str = "This mount hasn't configured any authority information access (AIA) fields; this may make it harder for \
                               systems to find missing certificates in the chain or to validate revocation status of certificates. \
                               Consider updating /config/urls or the newly generated issuer with this information.";

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("config/urls")
        .about("Where certificates say that their issuer, its lists and OCSP are.")
        .plain(&[
            "issuing_certificates",
            "crl_distribution_points",
            "delta_crl_distribution_points",
            "ocsp_servers",
            "enable_templating",
        ])
        .read(read)
        .write(write);
    d.at("config/cluster")
        .about("Where this mount is reached from outside.")
        .plain(&["path", "aia_path"])
        .read(read_cluster)
        .write(write_cluster);
}

/// Addresses.
#[derive(Response)]
struct Shown {
    /// Where lists are.
    crl_distribution_points: Vec<String>,
    /// Where delta lists are.
    delta_crl_distribution_points: Vec<String>,
    /// Whether addresses are templates.
    enable_templating: bool,
    /// Where the issuer's certificate is.
    issuing_certificates: Vec<String>,
    /// Where OCSP answers.
    ocsp_servers: Vec<String>,
}

fn show(urls: Urls) -> Reply<Shown> {
    Reply::data(Shown {
        crl_distribution_points: urls.crl_distribution_points,
        delta_crl_distribution_points: urls.delta_crl_distribution_points,
        enable_templating: urls.enable_templating,
        issuing_certificates: urls.issuing_certificates,
        ocsp_servers: urls.ocsp_servers,
    })
}

async fn read(cx: Cx, _: NoInput) -> Result<Reply<Shown>> {
    Ok(show(of_mount(&cx).await?))
}

/// Write the addresses; what is left out stays.
#[derive(Request)]
struct Write {
    /// Where the issuer's certificate is.
    issuing_certificates: Option<Vec<String>>,
    /// Where lists are.
    crl_distribution_points: Option<Vec<String>>,
    /// Where delta lists are.
    delta_crl_distribution_points: Option<Vec<String>>,
    /// Where OCSP answers.
    ocsp_servers: Option<Vec<String>>,
    /// Whether addresses are templates with `{{issuer_id}}`, `{{cluster_path}}` and `{{cluster_aia_path}}`.
    enable_templating: Option<bool>,
}

async fn write(cx: Cx, ask: Write) -> Result<Reply<Shown>> {
    let old = of_mount(&cx).await?;
    let urls = Urls {
        issuing_certificates: ask.issuing_certificates.unwrap_or(old.issuing_certificates),
        crl_distribution_points: ask.crl_distribution_points.unwrap_or(old.crl_distribution_points),
        delta_crl_distribution_points: ask.delta_crl_distribution_points.unwrap_or(old.delta_crl_distribution_points),
        ocsp_servers: ask.ocsp_servers.unwrap_or(old.ocsp_servers),
        enable_templating: ask.enable_templating.unwrap_or(old.enable_templating),
    };
    let warnings = urls.check(&cx).await?;
    cx.view.put("config/urls", &urls)?;
    Ok(warnings.into_iter().fold(show(urls), Reply::warn))
}

/// Where this mount is reached from outside.
#[derive(Response)]
struct ShownCluster {
    /// The mount's API, for ACME and OCSP.
    path: String,
    /// Where its certificates and lists are.
    aia_path: String,
}

async fn read_cluster(cx: Cx, _: NoInput) -> Result<Reply<ShownCluster>> {
    let Cluster { path, aia_path } = cluster(&cx).await?;
    Ok(Reply::data(ShownCluster { path, aia_path }))
}

/// Say where this mount is reached from outside; what is left out stays.
#[derive(Request)]
struct WriteCluster {
    /// The mount's API: `https://vault.example.com/v1/pki`.
    path: Option<String>,
    /// Where its certificates and lists are.
    aia_path: Option<String>,
}

async fn write_cluster(cx: Cx, ask: WriteCluster) -> Result<Reply<ShownCluster>> {
    let old = cluster(&cx).await?;
    for (name, given) in [("path", &ask.path), ("aia_path", &ask.aia_path)] {
        if given.as_ref().is_some_and(|url| !url.is_empty() && !is_url(url)) {
            return Err(failed(format!("invalid, non-URL {name} given to cluster: {}", given.as_deref().unwrap_or(""))));
        }
    }
    let new = Cluster { path: ask.path.unwrap_or(old.path), aia_path: ask.aia_path.unwrap_or(old.aia_path) };
    cx.view.put("config/cluster", &new)?;
    Ok(Reply::data(ShownCluster { path: new.path, aia_path: new.aia_path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["http://a/b", "https://[::1]:8200/v1/pki", "ldap:///cn=a,dc=b?x"] {
            assert!(is_url(good), "{good}");
        }
        for bad in ["", "not a url", "a/b", "http://", "http://a b", "://a", "1http://a", "http://ä/", "http://{{issuer_id}}/"] {
            assert!(!is_url(bad), "{bad}");
        }
    }

    #[test]
    fn templates() {
        let places = [("issuer_id", "7"), ("cluster_path", "")];
        assert_eq!(fill_one("http://a/{{issuer_id}}/{{ issuer_id }}", &places).ok().as_deref(), Some("http://a/7/7"));
        for bad in ["http://a/{{x}}", "http://a/{{issuer_id", "{{cluster_path}}/ca", "a{{issuer_id}}"] {
            assert!(fill_one(bad, &places).is_err(), "{bad}");
        }
    }
}
