//! Client certificates. <https://developer.hashicorp.com/vault/api-docs/auth/cert>
//!
//! The TLS handshake proved that the caller holds a certificate's key; whom the certificate stands for is decided here. A role trusts
//! authorities, or one certificate by itself, byte for byte. What the trust rests on is in docs/design/cert.md.

mod constraints;
mod lists;
mod login;
mod ocsp;
mod roles;
#[cfg(test)]
mod tests;

use coffer_engine::{Ctx, Declare, Engine, Mount, NoInput, Record, Reply, Request, Response};
use coffer_types::{Error, Name, Result};
use serde::{Deserialize, Serialize};

/// The method.
pub struct Cert;

impl Engine for Cert {
    const KIND: &'static str = "cert";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs in with a TLS client certificate.");
        d.at("config").about("Settings of all roles.").read(read).write(write);
        d.at("certs").about("Lists roles.").list(roles::list);
        d.at("certs/{name}")
            .about("A role: the certificates that it trusts, whom it takes, and what tokens they get.")
            .read(roles::read)
            .write(roles::write)
            .delete(roles::delete);
        d.at("crls").about("Lists revocation lists.").list(lists::list);
        d.at("crls/{name}")
            .about("A list of revoked certificates, uploaded or fetched.")
            .read(lists::read)
            .write(lists::write)
            .delete(lists::delete);
        d.at("login").about("Logs in with the certificate of the connection.").public().plain(&["name"]).write(login::login);
        d.renew_login(login::renew);
    }
}

/// Stored in format 1 under `config`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Config {
    disable_binding: bool,
    enable_identity_alias_metadata: bool,
    ocsp_cache_size: u64,
    role_cache_size: i64,
    enable_metadata_on_failures: bool,
}

impl Record for Config {
    const FORMAT: u8 = 1;
}

impl Config {
    async fn load(cx: &Ctx<Cert>) -> Result<Self> {
        Ok(cx.view.get("config").await?.unwrap_or_default())
    }
}

/// Change settings.
#[derive(Request)]
struct Write {
    /// Renew tokens without asking for the certificate that logged in.
    disable_binding: Option<bool>,
    /// Put the certificate's details into the alias's metadata too.
    enable_identity_alias_metadata: Option<bool>,
    /// How many OCSP answers to keep, 2 to 100000. Taken and shown; every login asks afresh.
    ocsp_cache_size: Option<u64>,
    /// How many roles to keep in memory. Taken and shown; the server's own cache of values is what counts.
    role_cache_size: Option<i64>,
    /// Taken and shown; failures show nothing of a certificate.
    enable_metadata_on_failures: Option<bool>,
}

/// The settings.
#[derive(Response)]
struct Shown {
    /// Whether tokens are renewed without their certificate.
    disable_binding: bool,
    /// Whether aliases have the certificate's details.
    enable_identity_alias_metadata: bool,
    /// How many OCSP answers to keep.
    ocsp_cache_size: u64,
    /// How many roles to keep in memory.
    role_cache_size: i64,
    /// Whether failures show metadata.
    enable_metadata_on_failures: bool,
}

async fn read(cx: Ctx<Cert>, _: NoInput) -> Result<Reply<Shown>> {
    let config = Config::load(&cx).await?;
    Ok(Reply::data(Shown {
        disable_binding: config.disable_binding,
        enable_identity_alias_metadata: config.enable_identity_alias_metadata,
        ocsp_cache_size: config.ocsp_cache_size,
        role_cache_size: config.role_cache_size,
        enable_metadata_on_failures: config.enable_metadata_on_failures,
    }))
}

async fn write(cx: Ctx<Cert>, q: Write) -> Result<Reply<()>> {
    let mut config = Config::load(&cx).await?;
    if let Some(size) = q.ocsp_cache_size {
        if !(2..=100_000).contains(&size) {
            return Err(Error::bad_request("invalid cache size, must be >= 2 and <= 100000"));
        }
        config.ocsp_cache_size = size;
    }
    if let Some(size) = q.role_cache_size {
        if size < -1 {
            return Err(Error::bad_request("invalid role cache size, must be >= -1"));
        }
        config.role_cache_size = size;
    }
    config.disable_binding = q.disable_binding.unwrap_or(config.disable_binding);
    config.enable_identity_alias_metadata = q.enable_identity_alias_metadata.unwrap_or(config.enable_identity_alias_metadata);
    config.enable_metadata_on_failures = q.enable_metadata_on_failures.unwrap_or(config.enable_metadata_on_failures);
    cx.view.put("config", &config)?;
    Ok(Reply::empty())
}

/// Names a role or a list; upper and lower case are the same.
#[derive(Request)]
struct Named {
    /// The name.
    #[field(path)]
    name: Name,
}

impl Named {
    fn normal(&self) -> String {
        self.name.as_str().to_lowercase()
    }
}
