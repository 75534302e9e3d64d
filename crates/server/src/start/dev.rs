//! `coffer server -dev`: in memory, unsealed, with a token that the command line already has.

use super::plan::first;
use super::{StartError, local};
use coffer_core::Core;
use coffer_types::{Object, Operation, Secret};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What belongs to `-dev`.
#[derive(Debug, Default)]
pub struct DevOptions {
    /// `-dev-root-token-id`, `VAULT_DEV_ROOT_TOKEN_ID`: the root token; made up where it is not given.
    pub root_token_id: Option<Secret<String>>,
    /// `-dev-listen-address`, `VAULT_DEV_LISTEN_ADDRESS`.
    pub listen_address: Option<String>,
    /// `-dev-tls`: TLS under a certificate made for it.
    pub tls: bool,
    /// `-dev-tls-cert-dir`: where certificate and authority go.
    pub tls_cert_dir: Option<PathBuf>,
    /// `-dev-tls-san`: further names of the certificate.
    pub tls_san: Vec<String>,
    /// `-dev-no-store-token`: do not leave the root token for later commands.
    pub no_store_token: bool,
    /// `-dev-cluster-json`: where addresses and token go, for tests.
    pub cluster_json: Option<PathBuf>,
}

impl DevOptions {
    /// What flags leave open, the environment says.
    pub(super) fn fill_from_environment(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        if self.root_token_id.is_none() {
            self.root_token_id = first(variable, "DEV_ROOT_TOKEN_ID").map(Secret::from);
        }
        if self.listen_address.is_none() {
            self.listen_address = first(variable, "DEV_LISTEN_ADDRESS");
        }
    }
}

/// Brings an initialised dev server to where a person can begin: the wished root token, and kv-v2 at `secret/`.
pub(super) async fn furnish(
    core: &Arc<Core>,
    first_token: Secret<String>,
    wished: Option<&Secret<String>>,
) -> Result<Secret<String>, StartError> {
    let token = match wished {
        None => first_token,
        Some(wished) => {
            let ask = Object::new()
                .with("id", wished.expose().as_str())
                .with("policies", vec!["root"])
                .with("no_parent", true)
                .with("no_default_policy", true)
                .with("display_name", "root");
            let step = "the root token of -dev-root-token-id could not be made";
            local::call(core, &first_token, Operation::Update, "auth/token/create", ask).await.map_err(StartError::core(step))?;
            let step = "the first root token could not be revoked";
            local::call(core, &first_token, Operation::Update, "auth/token/revoke-self", Object::new())
                .await
                .map_err(StartError::core(step))?;
            wished.duplicate()
        }
    };
    mount_kv(core, &token).await?;
    Ok(token)
}

/// kv-v2 at `secret/`: where every first example writes.
pub(super) async fn mount_kv(core: &Arc<Core>, token: &Secret<String>) -> Result<(), StartError> {
    let mount = Object::new()
        .with("type", "kv")
        .with("description", "key/value secret storage")
        .with("options", Object::new().with("version", "2"));
    local::call(core, token, Operation::Update, "sys/mounts/secret", mount)
        .await
        .map_err(StartError::core("secret/ could not be mounted"))?;
    Ok(())
}

/// Leaves the token where the command line looks for it: `~/.vault-token`, replacing what was there.
pub(super) fn store_token(home: &Path, token: &Secret<String>) -> io::Result<PathBuf> {
    let path = home.join(".vault-token");
    let unfinished = home.join(format!(".vault-token.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    let written = io::Write::write_all(&mut file, token.expose().as_bytes()).and_then(|()| std::fs::rename(&unfinished, &path));
    if written.is_err() {
        // The first error is the one to tell; a leftover is private and harmless.
        std::fs::remove_file(&unfinished).unwrap_or_default();
    }
    written.map(|()| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn the_token_is_left_private_and_replaces_an_older_one() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(".vault-token"), "old and readable").unwrap();
        let path = store_token(home.path(), &"new".into()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
        assert!(store_token(&home.path().join("none"), &"x".into()).is_err());
    }
}
