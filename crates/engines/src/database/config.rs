//! `config/{name}`: connections. The password of one is written and never read.

use super::address::{self, Address, Mode};
use super::bundle::Bundle;
use super::plugin::{Manner, Plugin, scrub};
use super::{Database, Strings, failed, pending};
use crate::username::Template;
use coffer_engine::outside::{Fault, FaultKind, Protocol, Roots, Script, Target, Tls, TlsClient};
use coffer_engine::{Ctx, NoInput, Record, Reply, Request};
use coffer_types::{Error, Json, Kind, Name, Object, Result, Secret, Span, lenient};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::Zeroizing;

/// Connections at once where nothing says how many.
const MOST: usize = 4;
/// For one call to a database.
pub(super) const PATIENCE: Duration = Duration::from_secs(45);
/// Details that are never read.
const SECRETS: [&str; 6] = ["private_key", "tls_private_key", "tls_certificate_key", "client_key", "pem_bundle", "pem_json"];

/// A connection; stored in format 1 under `config/<name>`.
#[derive(Serialize, Deserialize)]
pub(super) struct Config {
    pub plugin_name: String,
    #[serde(default)]
    pub plugin_version: String,
    /// What is the plug-in's own, as it was written, without the password.
    pub details: Json,
    pub password: Zeroizing<String>,
    pub allowed_roles: Vec<String>,
    pub root_rotation_statements: Vec<String>,
    pub password_policy: String,
    /// Another with each change: connections of another are not used.
    pub revision: String,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

/// Names a connection.
#[derive(Request)]
pub(super) struct Named {
    /// Name of the connection.
    #[field(path)]
    name: Name,
}

/// Configure a connection to a database.
#[derive(Request)]
pub(super) struct Write {
    /// Name of the connection.
    #[field(path)]
    name: Name,
    /// Whose protocol it is: postgresql-database-plugin, mysql-database-plugin, redis-database-plugin, …
    plugin_name: Option<String>,
    /// Taken and of no effect: all plug-ins are of this program.
    plugin_version: Option<String>,
    /// Whether to try the connection before it is kept.
    #[field(default = true)]
    verify_connection: bool,
    /// The roles that may use it, with `*` as a wildcard.
    allowed_roles: Option<Vec<String>>,
    /// Statements that change the password of the connection's own account.
    root_rotation_statements: Option<Strings>,
    /// The policy of the passwords that are made here.
    password_policy: Option<String>,
    /// What the plug-in needs: connection_url, username, password, and more.
    #[field(rest)]
    details: Object,
}

/// List connections, or: name a plug-in.
#[derive(Request)]
pub(super) struct OfPlugin {
    /// Name of the plug-in.
    #[field(path)]
    plugin_name: String,
}

pub(super) async fn write(cx: Ctx<Database>, mut q: Write) -> Result<Reply<()>> {
    let before: Option<Config> = cx.view.get(&key(q.name.as_str())).await?;
    let mut config = before.unwrap_or_else(|| Config {
        plugin_name: String::new(),
        plugin_version: String::new(),
        details: Json::Object(Object::new()),
        password: Zeroizing::default(),
        allowed_roles: Vec::new(),
        root_rotation_statements: Vec::new(),
        password_policy: String::new(),
        revision: String::new(),
    });
    if let Some(name) = q.plugin_name.filter(|name| !name.is_empty()) {
        config.plugin_name = name;
    }
    if config.plugin_name.is_empty() {
        return Err(Error::bad_request("empty plugin name"));
    }
    if let Some(password) = q.details.remove("password") {
        config.password = Zeroizing::new(lenient::string(&password)?);
    }
    config.plugin_version = q.plugin_version.unwrap_or(config.plugin_version);
    config.allowed_roles = q.allowed_roles.unwrap_or(config.allowed_roles);
    config.root_rotation_statements = q.root_rotation_statements.map_or(config.root_rotation_statements, |s| s.0);
    config.password_policy = q.password_policy.unwrap_or(config.password_policy);
    let mut details = config.details.into_object().unwrap_or_default();
    for name in q.details.names().map(str::to_owned).collect::<Vec<_>>() {
        if let Some(value) = q.details.remove(&name) {
            details.insert(name, value);
        }
    }
    config.details = Json::Object(details);
    config.revision = super::token(&cx);

    if !cx.outside().database().speaks(config.plugin()?.protocol) {
        return Err(wrong(Kind::NotImplemented, not_built().public()));
    }
    let target = config.target(&cx, q.name.as_str()).map_err(|error| wrong(error.kind(), error.public()))?;
    if let Some(template) = config.text("username_template")? {
        Template::parse(&template, super::creds::FIELDS)
            .map_err(|error| wrong(Kind::BadRequest, &format!("unable to initialize username template: {}", error.public())))?;
    }
    config.manner().map_err(|error| wrong(error.kind(), error.public()))?;
    if q.verify_connection && !config.is_self_managed()? && !config.flag("skip_verification")? {
        let target = Target { pool: String::new(), ..target };
        if let Err(fault) = cx.outside().database().run(&target, Script::nothing()).await {
            let kind = if fault.kind == FaultKind::NotBuilt { Kind::NotImplemented } else { Kind::BadRequest };
            return Err(wrong(kind, &format!("error verifying connection: {}", scrub(&fault.text, &[&config.password]))));
        }
    }
    cx.view.put(&key(q.name.as_str()), &config)?;
    cx.outside().database().forget(&pool(&cx, q.name.as_str()));
    let mut reply = Reply::empty();
    if config.address()?.is_some_and(|address| address.password.is_written_out()) {
        reply = reply.warn(
            "Password found in connection_url, use a templated url to enable root rotation and prevent read access to password information.",
        );
    }
    Ok(reply)
}

fn wrong(kind: Kind, why: &str) -> Error {
    let kind = if matches!(kind, Kind::NotImplemented) { kind } else { Kind::BadRequest };
    Error::new(kind, format!("error creating database object: {why}"))
}

pub(super) async fn read(cx: Ctx<Database>, q: Named) -> Result<Reply> {
    let config: Config = cx.view.get(&key(q.name.as_str())).await?.ok_or_else(Error::not_found)?;
    let address = config.address()?;
    let mut shown = Object::new();
    for (name, value) in config.details.as_object().into_iter().flat_map(Object::iter) {
        match (name, value.as_str(), &address) {
            _ if SECRETS.contains(&name) => {}
            ("connection_url", Some(url), Some(address)) => {
                shown.insert(name, address::redacted(url, &address.password));
            }
            _ => {
                shown.insert(name, value.clone());
            }
        }
    }
    Ok(Reply::data(
        Object::new()
            .with("allowed_roles", config.allowed_roles)
            .with("connection_details", Json::Object(shown))
            .with("password_policy", config.password_policy)
            .with("plugin_name", config.plugin_name)
            .with("plugin_version", config.plugin_version)
            .with("root_credentials_rotate_statements", config.root_rotation_statements),
    ))
}

pub(super) async fn exists(cx: Ctx<Database>, q: Named) -> Result<bool> {
    cx.view.exists(&key(q.name.as_str())).await
}

pub(super) async fn delete(cx: Ctx<Database>, q: Named) -> Result<Reply<()>> {
    cx.view.delete(&key(q.name.as_str()));
    for note in pending::of_root(&cx, q.name.as_str()).await? {
        cx.view.delete(&note.key);
    }
    cx.outside().database().forget(&pool(&cx, q.name.as_str()));
    Ok(Reply::empty())
}

pub(super) async fn list(cx: Ctx<Database>, _: NoInput) -> Result<Reply> {
    Ok(Reply::list(cx.view.children("config/", None, usize::MAX).await?))
}

/// Ends the connections that are open, so that the next call opens new ones.
pub(super) async fn reset(cx: Ctx<Database>, q: Named) -> Result<Reply<()>> {
    find(&cx, q.name.as_str()).await?;
    cx.outside().database().forget(&pool(&cx, q.name.as_str()));
    Ok(Reply::empty())
}

/// The same for every connection of a plug-in.
pub(super) async fn reload(cx: Ctx<Database>, q: OfPlugin) -> Result<Reply> {
    let mut reset = Vec::new();
    for name in cx.view.children("config/", None, usize::MAX).await? {
        if find(&cx, &name).await?.plugin_name == q.plugin_name {
            cx.outside().database().forget(&pool(&cx, &name));
            reset.push(name);
        }
    }
    Ok(Reply::data(Object::new().with("connections", reset.clone()).with("count", reset.len())))
}

pub(super) fn key(name: &str) -> String {
    format!("config/{name}")
}

/// The name that connections are kept under.
pub(super) fn pool(cx: &Ctx<Database>, name: &str) -> String {
    format!("{}/{name}", cx.mount().uuid)
}

/// A connection that must be there.
pub(super) async fn find(cx: &Ctx<Database>, name: &str) -> Result<Config> {
    let config = cx.view.get(&key(name)).await?;
    config.ok_or_else(|| failed(format!("failed to find entry for connection with name: {name:?}")))
}

impl Config {
    /// A detail that is a text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        let value = self.details.as_object().and_then(|details| details.get(name)).filter(|value| !value.is_null());
        value.map(lenient::string).transpose().map(|text| text.filter(|text| !text.is_empty()))
    }

    /// A detail that is a list, or a text with commas between.
    fn texts(&self, name: &str) -> Result<Vec<String>> {
        let value = self.details.as_object().and_then(|details| details.get(name)).filter(|value| !value.is_null());
        let texts = match value {
            Some(Json::Array(items)) => items.iter().map(lenient::string).collect::<Result<Vec<_>>>()?,
            Some(other) => lenient::string(other)?.split(',').map(str::to_owned).collect(),
            None => Vec::new(),
        };
        Ok(texts.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect())
    }

    fn flag(&self, name: &str) -> Result<bool> {
        let value = self.details.as_object().and_then(|details| details.get(name)).filter(|value| !value.is_null());
        value.map_or(Ok(false), lenient::bool)
    }

    fn number(&self, name: &str) -> Result<Option<usize>> {
        let value = self.details.as_object().and_then(|details| details.get(name)).filter(|value| !value.is_null());
        Ok(value.map(lenient::int).transpose()?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0))
    }

    pub(super) fn username(&self) -> Result<String> {
        Ok(self.text("username")?.unwrap_or_default())
    }

    /// Whether accounts change their own passwords, with no account of the connection's own.
    pub(super) fn is_self_managed(&self) -> Result<bool> {
        self.flag("self_managed")
    }

    pub(super) fn plugin(&self) -> Result<Plugin> {
        Plugin::named(&self.plugin_name).ok_or_else(|| {
            Error::bad_request(format!("invalid database version: plugin not found in the catalog: {}", self.plugin_name))
        })
    }

    /// How accounts are made by this connection.
    pub(super) fn manner(&self) -> Result<Manner> {
        match self.plugin()?.protocol {
            Protocol::MongoDb => {}
            Protocol::SqlServer => return Ok(Manner { contained: self.flag("contained_db")?, ..Manner::default() }),
            _ => return Ok(Manner::default()),
        }
        // The connection's own account is in admin, others in the database that the address names, as in the reference.
        let home = match self.address()? {
            Some(address) => address.database.fill("", &Secret::from(""), false).map_err(Error::bad_request)?.expose().clone(),
            None => String::new(),
        };
        let home = if home.is_empty() { super::mongodb::USUAL.to_owned() } else { home };
        let write_concern = self.text("write_concern")?.map(|text| super::mongodb::concern(&text)).transpose()?;
        Ok(Manner { write_concern, home, ..Manner::default() })
    }

    /// The address, where the plug-in has one in a text.
    fn address(&self) -> Result<Option<Address>> {
        let parse = match self.plugin()?.protocol {
            Protocol::PostgreSql => address::postgres,
            Protocol::MySql => address::mysql,
            Protocol::MongoDb => address::mongodb,
            Protocol::SqlServer => address::sqlserver,
            _ => return Ok(None),
        };
        let url = self.text("connection_url")?.ok_or_else(|| Error::bad_request("connection_url cannot be empty"))?;
        parse(&url).map(Some).map_err(|why| Error::bad_request(format!("connection_url is not understood: {why}")))
    }

    /// Whom to ask, as the connection's own account.
    pub(super) fn target(&self, cx: &Ctx<Database>, name: &str) -> Result<Target> {
        self.target_as(cx, name, &self.username()?, &Secret::new(self.password.to_string()))
    }

    /// Whom to ask, as an account of which no connection is kept.
    pub(super) fn target_of(&self, cx: &Ctx<Database>, user: &str, password: &Secret<String>) -> Result<Target> {
        Ok(Target { pool: String::new(), ..self.target_as(cx, "", user, password)? })
    }

    pub(super) fn target_as(&self, cx: &Ctx<Database>, name: &str, user: &str, password: &Secret<String>) -> Result<Target> {
        let protocol = self.plugin()?.protocol;
        let bad = |why: String| Error::bad_request(why);
        let most = self.number("max_open_connections")?.unwrap_or(MOST);
        let mut target = Target {
            protocol,
            hosts: Vec::new(),
            database: String::new(),
            user: user.to_owned(),
            password: password.duplicate(),
            tls: Tls::Off,
            parameters: Vec::new(),
            pool: pool(cx, name),
            revision: self.revision.clone(),
            most,
            idle: self.number("max_idle_connections")?.unwrap_or(most).min(most),
            lifetime: self.text("max_connection_lifetime")?.map_or(Ok(Span::ZERO), |text| Span::parse(&text))?.duration(),
            timeout: PATIENCE,
        };
        let mode = match self.address()? {
            Some(address) => {
                let escaped = self.flag("disable_escaping")?;
                let fill = |piece: &address::Piece| piece.fill(user, password, escaped);
                if !address.user.is_empty() {
                    target.user = fill(&address.user).map_err(bad)?.expose().clone();
                }
                if !address.password.is_empty() {
                    target.password = fill(&address.password).map_err(bad)?;
                }
                target.database = fill(&address.database).map_err(bad)?.expose().clone();
                for (name, value) in &address.parameters {
                    target.parameters.push((name.clone(), fill(value).map_err(bad)?.expose().clone()));
                }
                target.hosts = address.hosts;
                if let Some(timeout) = address.connect_timeout {
                    target.timeout = target.timeout.min(timeout.max(Duration::from_secs(1)) + Duration::from_secs(15));
                }
                address.tls
            }
            None => {
                let missing = |name: &str| Error::bad_request(format!("{name} cannot be empty"));
                match protocol {
                    Protocol::Redis => {
                        let host = self.text("host")?.ok_or_else(|| missing("host"))?;
                        let port = self.number("port")?.ok_or_else(|| missing("port"))?;
                        let port = u16::try_from(port).map_err(|_| Error::bad_request("port is no port number"))?;
                        if user.is_empty() {
                            return Err(missing("username"));
                        }
                        if password.expose().is_empty() {
                            return Err(missing("password"));
                        }
                        target.hosts = vec![(host, port)];
                    }
                    Protocol::Cassandra => {
                        let hosts = self.texts("hosts")?;
                        if hosts.is_empty() {
                            return Err(missing("hosts"));
                        }
                        if user.is_empty() {
                            return Err(missing("username"));
                        }
                        if password.expose().is_empty() {
                            return Err(missing("password"));
                        }
                        let port = match self.number("port")? {
                            Some(port) => u16::try_from(port).map_err(|_| Error::bad_request("port is no port number"))?,
                            None => 9042,
                        };
                        let hosts = hosts.iter().map(|host| address::host_and_port(host, port)).collect::<Result<_, _>>();
                        target.hosts = hosts.map_err(|why| Error::bad_request(format!("hosts is not understood: {why}")))?;
                        for name in ["consistency", "protocol_version"] {
                            target.parameters.extend(self.text(name)?.map(|value| (name.to_owned(), value)));
                        }
                        if let Some(timeout) = self.text("connect_timeout")?.map(|text| Span::parse(&text)).transpose()? {
                            target.timeout = target.timeout.min(timeout.duration().max(Duration::from_secs(1)));
                        }
                    }
                    _ => return Err(not_built()),
                }
                let asked = self.flag("tls")? || protocol == Protocol::Cassandra && self.bundle()?.is_some();
                if asked { Mode::Verified } else { Mode::Off }
            }
        };
        target.tls = self.tls(mode, protocol)?;
        if let (Protocol::SqlServer, Tls::On(settings) | Tls::Offered(settings)) = (protocol, &mut target.tls) {
            let named = |name: &str| target.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
            // Inside of its protocol TLS ends with 1.2.
            settings.only_tls12 = named("encrypt").is_none();
            settings.server_name = settings.server_name.take().or(named("server name"));
        }
        Ok(target)
    }

    /// Cassandra's certificates in one text: `pem_bundle`, or the JSON of the PKI engine in `pem_json`.
    fn bundle(&self) -> Result<Option<Bundle>> {
        let bundle = match (self.text("pem_bundle")?, self.text("pem_json")?) {
            (Some(_), Some(_)) => return Err(Error::bad_request("cannot specify both pem_json and pem_bundle")),
            (Some(text), None) => Bundle::of_pem(&text),
            (None, Some(text)) => Bundle::of_json(&text),
            (None, None) => return Ok(None),
        };
        bundle.map(Some).ok_or_else(|| Error::bad_request("pem_bundle or pem_json holds no certificate that could be used"))
    }

    fn tls(&self, mode: Mode, protocol: Protocol) -> Result<Tls> {
        if protocol == Protocol::Cassandra
            && let Some(bundle) = self.bundle()?
        {
            return Ok(Tls::On(TlsClient {
                roots: bundle.authority.map_or(Roots::System, Roots::Pem),
                identity: bundle.identity,
                server_name: self.text("tls_server_name")?,
                skip_verify: self.flag("insecure_tls")?,
                ..TlsClient::default()
            }));
        }
        let authority = match self.text("tls_ca")? {
            Some(pem) => Some(pem),
            None => self.text("ca_cert")?,
        };
        let identity = match (self.text("tls_certificate")?, self.text("private_key")?.or(self.text("tls_private_key")?)) {
            (Some(certificate), Some(key)) => Some((certificate, Secret::new(key))),
            (None, None) => self.text("tls_certificate_key")?.map(|both| (both.clone(), Secret::new(both))),
            _ => return Err(Error::bad_request("tls_certificate and private_key go together")),
        };
        let mysql = protocol == Protocol::MySql && (authority.is_some() || identity.is_some());
        let skip = self.flag("tls_skip_verify")? || self.flag("insecure_tls")?;
        let verifies = matches!(mode, Mode::Verified) || authority.is_some();
        let settings = TlsClient {
            roots: authority.map_or(Roots::System, Roots::Pem),
            identity,
            server_name: self.text("tls_server_name")?,
            skip_verify: skip || !verifies,
            ..TlsClient::default()
        };
        Ok(match mode {
            Mode::Off if mysql => Tls::On(settings),
            Mode::Off => Tls::Off,
            Mode::Offered => Tls::Offered(settings),
            Mode::Required | Mode::Verified => Tls::On(settings),
        })
    }
}

fn not_built() -> Error {
    Fault::new(FaultKind::NotBuilt, "this program is built without a client for that database").into()
}
