//! `config/acme`, and the keys of external account bindings.

use super::super::{Cx, Pki, failed, urls};
use super::Ask;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coffer_engine::{Declare, NoInput, Record, Reply, Request};
use coffer_types::{Error, Json, Object, Result};
use serde::{Deserialize, Serialize};

/// `config/acme`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Config {
    pub(super) enabled: bool,
    pub(super) allowed_issuers: Vec<String>,
    pub(super) allowed_roles: Vec<String>,
    pub(super) allow_role_ext_key_usage: bool,
    pub(super) default_directory_policy: String,
    pub(super) eab_policy: String,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: false,
            allowed_issuers: vec!["*".to_owned()],
            allowed_roles: vec!["*".to_owned()],
            allow_role_ext_key_usage: false,
            default_directory_policy: "sign-verbatim".to_owned(),
            eab_policy: "not-required".to_owned(),
        }
    }
}

impl Config {
    pub(super) async fn load(cx: &Cx) -> Result<Self> {
        Ok(cx.view.get("config/acme").await?.unwrap_or_default())
    }

    fn show(&self) -> Object {
        Object::new()
            .with("allow_role_ext_key_usage", self.allow_role_ext_key_usage)
            .with("allowed_issuers", self.allowed_issuers.clone())
            .with("allowed_roles", self.allowed_roles.clone())
            .with("default_directory_policy", self.default_directory_policy.as_str())
            .with("dns_resolver", "")
            .with("eab_policy", self.eab_policy.as_str())
            .with("enabled", self.enabled)
    }
}

/// The key of one external account binding, base64url as clients are given it.
#[derive(Serialize, Deserialize)]
pub(super) struct Binding {
    pub(super) key: String,
    pub(super) directory: String,
    pub(super) created: String,
}

impl Record for Binding {
    const FORMAT: u8 = 1;
}

pub(super) fn declare(d: &mut Declare<Pki>) {
    d.at("config/acme")
        .about("Says who may get certificates over ACME, and how.")
        .plain(&[
            "enabled",
            "allowed_issuers",
            "allowed_roles",
            "allow_role_ext_key_usage",
            "default_directory_policy",
            "dns_resolver",
            "eab_policy",
        ])
        .read(read)
        .write(write);
    d.at("eab").about("Lists the keys of external account bindings that nobody used yet.").list(list);
    d.at("eab/{key_id}").about("Deletes the key of an external account binding.").delete(delete);
}

async fn read(cx: Cx, _: NoInput) -> Result<Reply> {
    Ok(Reply::data(Config::load(&cx).await?.show()))
}

/// Say who may get certificates over ACME.
#[derive(Request)]
struct Write {
    /// Whether there is an ACME server.
    enabled: Option<bool>,
    /// Issuers that may be named in a path; `*` for all.
    allowed_issuers: Option<Vec<String>>,
    /// Roles that may be named in a path; `*` for all.
    allowed_roles: Option<Vec<String>>,
    /// Whether certificates have the extended uses of their role, not those of a server alone.
    allow_role_ext_key_usage: Option<bool>,
    /// What the directory without a role does: `sign-verbatim`, `forbid` or `role:<name>`.
    default_directory_policy: Option<String>,
    /// The resolver of DNS challenges, which are not there: empty.
    dns_resolver: Option<String>,
    /// `not-required`, `new-account-required` or `always-required`.
    eab_policy: Option<String>,
}

async fn write(cx: Cx, q: Write) -> Result<Reply> {
    let mut config = Config::load(&cx).await?;
    if q.dns_resolver.is_some_and(|resolver| !resolver.is_empty()) {
        return Err(Error::new(
            coffer_types::Kind::NotImplemented,
            "a resolver of its own is not built: names are looked up as the system does",
        ));
    }
    config.enabled = q.enabled.unwrap_or(config.enabled);
    config.allow_role_ext_key_usage = q.allow_role_ext_key_usage.unwrap_or(config.allow_role_ext_key_usage);
    for (name, given, kept) in [
        ("allowed_issuers", q.allowed_issuers, &mut config.allowed_issuers),
        ("allowed_roles", q.allowed_roles, &mut config.allowed_roles),
    ] {
        let Some(given) = given else { continue };
        if given.is_empty() {
            return Err(Error::bad_request(format!("must specify a non-zero length {name}, or \"*\" for all")));
        }
        *kept = given;
    }
    if let Some(policy) = q.default_directory_policy {
        if policy != "sign-verbatim" && policy != "forbid" {
            let name = policy.strip_prefix("role:").filter(|name| !name.is_empty());
            let name =
                name.ok_or_else(|| Error::bad_request(format!("string {policy:?} not a valid Default Directory Policy")))?;
            if super::super::role::find(&cx, name).await?.is_none() {
                return Err(Error::bad_request(format!("default directory policy role {name:?} does not exist")));
            }
        }
        config.default_directory_policy = policy;
    }
    if let Some(policy) = q.eab_policy {
        if !["not-required", "new-account-required", "always-required"].contains(&policy.as_str()) {
            return Err(Error::bad_request(format!("string {policy:?} not a valid EAB policy")));
        }
        config.eab_policy = policy;
    }
    if config.enabled && urls::cluster(&cx).await?.path.is_empty() {
        return Err(failed("ACME feature requires local cluster 'path' field configuration to be set"));
    }
    cx.view.put("config/acme", &config)?;
    Ok(Reply::data(config.show()))
}

async fn list(cx: Cx, _: NoInput) -> Result<Reply> {
    let ids = cx.view.children("acme/eab/", None, usize::MAX).await?;
    let mut info = Object::new();
    for id in &ids {
        if let Some(binding) = cx.view.get::<Binding>(&format!("acme/eab/{id}")).await? {
            let about = Object::new()
                .with("acme_directory", format!("{}/directory", binding.directory))
                .with("created_on", binding.created)
                .with("key_type", "hs");
            info.insert(id.clone(), Json::Object(about));
        }
    }
    Ok(Reply::list_with(ids, info))
}

/// Name the key of a binding.
#[derive(Request)]
struct Named {
    /// Its id.
    #[field(path)]
    key_id: String,
}

async fn delete(cx: Cx, ask: Named) -> Result<Reply> {
    let key = format!("acme/eab/{}", ask.key_id);
    if !cx.view.exists(&key).await? {
        return Ok(Reply::empty().warn("no key id found to delete belonging to the id"));
    }
    cx.view.delete(&key);
    Ok(Reply::empty())
}

/// `…/acme/new-eab`: a key for one new account of this directory.
pub(super) async fn new_binding(cx: Cx, ask: Ask) -> Result<Reply> {
    let directory = ask.directory();
    let mut secret = zeroize::Zeroizing::new([0u8; 32]);
    cx.fill_random(&mut *secret);
    // Twelve letters of the prefix are nine whole bytes of base64url: the key is all of them.
    let binding =
        Binding { key: format!("vault-eab-0-{}", URL_SAFE_NO_PAD.encode(*secret)), directory, created: cx.now().rfc3339_secs() };
    let id = super::super::new_id(&cx);
    cx.view.put(&format!("acme/eab/{id}"), &binding)?;
    let shown = Object::new()
        .with("acme_directory", format!("{}/directory", binding.directory))
        .with("created_on", binding.created)
        .with("id", id)
        .with("key", binding.key)
        .with("key_type", "hs");
    Ok(Reply::data(shown))
}
