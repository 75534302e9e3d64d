//! Logins of Kubernetes service accounts: a pod shows its token, the cluster says whose it is.
//! <https://developer.hashicorp.com/vault/api-docs/auth/kubernetes>
//!
//! What a token says by itself only sorts out what need not be asked; who logs in is what the API server's TokenReview answers, and
//! both must say the same. With `pem_keys` the signature is verified here as well, before anything is asked.

mod account;
mod config;
mod login;
mod review;
mod role;
mod selector;

use coffer_engine::{Declare, Engine, Mount};
use coffer_types::Result;

pub struct Kubernetes;

impl Engine for Kubernetes {
    const KIND: &'static str = "kubernetes";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs in with the tokens of Kubernetes service accounts.");
        d.at("config").about("Which cluster is asked, and as whom.").read(config::read).write(config::write);
        d.at("role").about("Lists the roles.").list(role::list);
        d.at("role/{name}")
            .about("Which service accounts may log in, and what that gives.")
            .read(role::read)
            .write(role::write)
            .exists(role::exists)
            .delete(role::delete);
        d.at("login").about("Logs in with a service account's token.").public().write(login::login);
        d.renew_login(login::renew);
    }
}

#[cfg(test)]
mod tests;
