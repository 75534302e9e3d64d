//! Logins with signed tokens of another issuer (`jwt`), and through a browser with OpenID Connect (`oidc`): two kinds of one method.
//! <https://developer.hashicorp.com/vault/api-docs/auth/jwt>
//!
//! A token is verified in `coffer_crypto::jws`; here is what must be true of its claims ([`claims`]), where an issuer's
//! keys come from ([`keys`]), and the ways through the browser ([`oidc`]).

pub(crate) mod claims;
mod config;
mod keys;
mod login;
mod oidc;
mod role;

use coffer_engine::{Ctx, Declare, Engine, Mount, Reply};
use coffer_types::{Error, Kind, Result};

/// The method; `OIDC` only says which of its two names it has.
pub struct Method<const OIDC: bool> {
    keys: keys::Cache,
}

pub type Jwt = Method<false>;
pub type Oidc = Method<true>;

impl<const OIDC: bool> Engine for Method<OIDC> {
    const KIND: &'static str = if OIDC { "oidc" } else { "jwt" };

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self { keys: keys::Cache::default() })
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs in with JSON web tokens, and through OpenID Connect.");
        d.at("config").about("Whose tokens are taken, and how their keys are known.").read(config::read).write(config::write);
        d.at("role").about("Lists the roles.").list(role::list);
        d.at("role/{name}")
            .about("What must stand in a token, and what a login with it gives.")
            .read(role::read)
            .write(role::write)
            .exists(role::exists)
            .delete(role::delete);
        d.at("login").about("Logs in with a token.").public().write(login::login);
        d.at("oidc/auth_url").about("Begins a login through the browser.").public().write(oidc::auth_url);
        d.at("oidc/callback")
            .about("Where the provider sends the browser back to.")
            .public()
            .read(oidc::callback)
            .write(oidc::callback);
        d.at("oidc/poll").about("Asks whether a login through the browser is done.").public().write(oidc::poll);
        d.renew_login(login::renew);
        d.otherwise(otherwise);
    }
}

async fn otherwise<const OIDC: bool>(_: Ctx<Method<OIDC>>, path: String) -> Result<Reply> {
    if path.starts_with("cel/") {
        return Err(Error::new(Kind::NotImplemented, "roles written in CEL are not implemented"));
    }
    Err(Error::new(Kind::NotFound, "1 error occurred:\n\t* unsupported path\n\n"))
}

#[cfg(test)]
mod tests;
