//! Kubernetes: writing `creds/{role}` gives a token of a service account, under a lease: of one that is there, of one made for the lease
//! and bound to a role that is there, or of one made together with a role of its own.
//!
//! Paths and replies are those of [Vault's API](https://developer.hashicorp.com/vault/api-docs/secret/kubernetes); the wire is the
//! published [Kubernetes API](https://kubernetes.io/docs/reference/kubernetes-api/) in JSON. The note of what is made is durable before
//! anything is, and goes with the commit of the lease, so that no crash leaves an account that nothing takes away.

mod config;
mod creds;
mod roles;
mod rules;
mod selector;
mod wire;

use coffer_engine::{Declare, Engine, Mount};
use coffer_types::Result;

pub struct Kubernetes;

impl Engine for Kubernetes {
    const KIND: &'static str = "kubernetes";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Gives tokens of Kubernetes service accounts, for a while.");
        d.at("config").about("Says how to reach the API server.").read(config::read).write(config::write).delete(config::delete);
        d.at("check").about("Says whether this server runs in a pod whose own account it can use.").read(config::check);
        d.at("roles").about("Lists roles.").list(roles::list);
        d.at("roles/{name}")
            .about("Reads and writes a role.")
            .read(roles::read)
            .write(roles::write)
            .exists(roles::exists)
            .delete(roles::delete);
        d.at("creds/{name}").about("Gives a token of a role.").write(creds::generate);
        d.lease::<creds::Account>().revoke(creds::revoke);
        d.intent(creds::roll_back);
    }
}

#[cfg(test)]
mod tests;
