//! People of an Okta organization. <https://developer.hashicorp.com/vault/api-docs/auth/okta>
//!
//! Okta checks name and password, and a second factor where it wants one; its groups, and those that are kept here, give policies.
//! A password is never kept: a renewal asks Okta by the configuration's own token whether the person is still active.

mod api;
mod config;
mod login;
mod people;
#[cfg(test)]
mod tests;

use coffer_engine::{Declare, Engine, Mount};
use coffer_types::Result;

/// The method.
pub struct Okta;

impl Engine for Okta {
    const KIND: &'static str = "okta";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs in people of an Okta organization.");
        d.at("config")
            .about("The organization, and what tokens its people get.")
            .read(config::read)
            .write(config::write)
            .exists(config::exists);
        d.at("users").about("Lists people who have groups or policies here.").list(people::list_users);
        d.at("users/{name}")
            .about("Groups and policies of a person, besides those of Okta's groups.")
            .read(people::read_user)
            .write(people::write_user)
            .delete(people::delete_user);
        d.at("groups").about("Lists groups that have policies.").list(people::list_groups);
        d.at("groups/{name}")
            .about("The policies of a group.")
            .read(people::read_group)
            .write(people::write_group)
            .delete(people::delete_group);
        d.at("login/{username}").about("Logs in with name and password.").public().write(login::login);
        d.at("verify/{nonce}")
            .about("The number to choose on the phone, while a login waits for it.")
            .public()
            .read(login::verify);
        d.renew_login(login::renew);
    }
}
