//! Roles for programs: a role id says who, a secret id proves it.
//! <https://developer.hashicorp.com/vault/api-docs/auth/approle>; how it is stored: docs/design/approle.md.

mod login;
mod parts;
mod role;
mod secret_id;
mod secret_ids;
mod store;
mod sweep;

use coffer_engine::{Declare, Engine, Mount};
use coffer_types::Result;

/// The auth method `approle`.
pub struct AppRole;

impl Engine for AppRole {
    const KIND: &'static str = "approle";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs programs in with the id of a role and one of its secret ids.");
        d.at("login").about("Logs in with a role id and a secret id.").public().write(login::login);
        d.at("tidy/secret-id").about("Removes expired secret ids at once; they go by themselves besides.").write(sweep::tidy);
        role::declare(d);
        parts::declare(d);
        secret_ids::declare(d);
        d.renew_login(login::renew);
        d.beat(sweep::beat);
    }
}

#[cfg(test)]
mod tests;
