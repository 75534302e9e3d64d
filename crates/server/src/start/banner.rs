//! What a starting server tells the person before it.

use super::certificate::DevCertificate;
use super::open::FirstKeys;
use super::plan::Plan;
use super::solo::Places;
use crate::config::{Bind, Listener, StorageKind};
use coffer_core::Mode;
use coffer_types::Span;
use coffer_types::version::{API_LEVEL, COFFER};
use std::fmt::Write as _;
use std::path::Path;

/// `==> … server configuration:` and what was made of it, names right-aligned.
pub(super) fn configuration(plan: &Plan, addresses: &[String]) -> String {
    let config = &plan.config;
    let mut rows = vec![("Api Address".to_owned(), plan.api_addr())];
    if let Some(address) = &config.cluster_addr {
        rows.push(("Cluster Address".to_owned(), address.clone()));
    }
    for (n, (listener, address)) in config.listener.iter().zip(addresses).enumerate() {
        rows.push((format!("Listener {}", n + 1), describe(listener, address, config.default_max_request_duration)));
    }
    rows.push(("Log Level".to_owned(), config.log_level.as_str().to_owned()));
    let storage = match config.storage.as_ref().map(|storage| &storage.kind) {
        Some(StorageKind::Embedded { path, .. }) => format!("embedded (path: {:?})", path.display().to_string()),
        Some(StorageKind::Memory) | None => "inmem".to_owned(),
    };
    rows.push(("Storage".to_owned(), storage));
    for device in &config.audit {
        rows.push(("Audit".to_owned(), format!("{} at {}", device.kind, device.path)));
    }
    rows.push(("Version".to_owned(), format!("Coffer v{COFFER}, API level v{API_LEVEL}")));
    let mut out = String::from("\n==> Coffer server configuration:\n\n");
    for (name, value) in rows {
        writeln!(out, "{name:>24}: {value}").unwrap_or_default();
    }
    out.push_str("\n==> Coffer server started! Log data will stream in below:\n\n");
    out
}

fn describe(listener: &Listener, address: &str, max_duration: Span) -> String {
    let kind = if matches!(listener.bind, Bind::Unix(_)) { "unix" } else { "tcp" };
    let tls = if listener.tls().is_some() { "enabled" } else { "disabled" };
    let duration = listener.keys.max_request_duration.unwrap_or(max_duration);
    let size = listener.max_body().map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    format!(
        "{kind} (addr: {address:?}, max_request_duration: {:?}, max_request_size: {size:?}, tls: {tls:?})",
        duration.to_string()
    )
}

/// The closing lines of `-dev`: how to connect, the unseal key and the root token.
pub(super) fn dev(
    plan: &Plan,
    address: &str,
    first: &FirstKeys,
    certificate: Option<&DevCertificate>,
    stored: Option<&Path>,
) -> String {
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let mut out = String::from(
        "WARNING! dev mode is enabled! Everything is kept in memory and is gone when the\n\
         server stops; it starts unsealed with a single unseal key.\n",
    );
    if let Some(path) = stored {
        writeln!(out, "The root token is in {} for the command line to use.", path.display()).unwrap_or_default();
    }
    if plan.dev.as_ref().is_some_and(|dev| dev.no_store_token) {
        out.push_str("The root token was not stored: log in with it, or set VAULT_TOKEN.\n");
    }
    write!(out, "\nYou may need to set the following environment variables:\n\n    $ export VAULT_ADDR='{scheme}://{address}'\n")
        .unwrap_or_default();
    if let Some(certificate) = certificate {
        writeln!(out, "    $ export VAULT_CACERT='{}'", certificate.authority.display()).unwrap_or_default();
    }
    out.push_str("\nThe unseal key and the root token, should you want to seal and unseal or to log\nin again:\n\n");
    write!(out, "Unseal Key: {}\nRoot Token: {}\n", first.key.expose(), first.root_token.expose()).unwrap_or_default();
    out.push_str("\nDevelopment mode should NOT be used in production installations!\n\n");
    out
}

/// How to connect to a server without configuration.
pub(super) fn solo(places: &Places, address: &str) -> String {
    let mut out = format!(
        "Data:       {}\nSeal key:   {} (back it up, elsewhere than the data: without it they can't be read)\nAudit log:  {}\n\n    $ export VAULT_ADDR='http://{address}'\n\n",
        places.data.display(),
        places.seal_key.display(),
        places.audit.display(),
    );
    if places.key_beside_data() {
        out.push_str("WARNING! The seal key lies inside the data directory: whoever copies the one has the other.\n\n");
    }
    out
}

/// The keys of a first start, on a terminal.
pub(super) fn shown_once(first: &FirstKeys) -> String {
    format!(
        "The server was initialised. These are shown once, and nobody can show them again:\n\n\
         Recovery Key: {}\nRoot Token: {}\n\n\
         The recovery key makes a new root token (operator generate-root) when this one is revoked.\n\n",
        first.key.expose(),
        first.root_token.expose()
    )
}

/// Where the keys of a first start were left, without a terminal.
pub(super) fn left(token: &Path, key: &Path) -> String {
    format!(
        "The server was initialised. Only you may read these files; take them away when you have read them:\n\n\
         Root token:   {}\nRecovery key: {}\n\n",
        token.display(),
        key.display()
    )
}

/// Whether there is anything to say beyond the configuration.
pub(super) fn needs_operator(mode: Mode, sealed: bool, initialized: bool) -> Option<&'static str> {
    match (mode, initialized, sealed) {
        (Mode::Configured, false, _) => Some("The server is not initialised: coffer operator init\n\n"),
        (Mode::Configured, true, true) => Some("The server is sealed: coffer operator unseal\n\n"),
        _ => None,
    }
}
