//! People of an organization on GitHub. <https://developer.hashicorp.com/vault/api-docs/auth/github>
//!
//! A login shows a personal access token; GitHub says whose it is, and in which organizations and teams that person is. The token is
//! kept with the login, sealed like all data, since every renewal asks again.

mod api;
mod config;
mod login;
mod maps;
#[cfg(test)]
mod tests;

use coffer_engine::{Declare, Engine, Mount};
use coffer_types::Result;

/// The method.
pub struct GitHub;

impl Engine for GitHub {
    const KIND: &'static str = "github";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs in people of an organization on GitHub.");
        d.at("config").about("The organization, and what tokens its people get.").read(config::read).write(config::write);
        d.at("map/teams").about("Lists teams that have policies.").list(maps::list_teams).read(maps::list_teams);
        d.at("map/teams/{key}")
            .about("The policies of a team; those of \"default\" are everyone's.")
            .read(maps::read_team)
            .write(maps::write_team)
            .delete(maps::delete_team);
        d.at("map/users").about("Lists people who have policies.").list(maps::list_users).read(maps::list_users);
        d.at("map/users/{key}")
            .about("The policies of a person; those of \"default\" are everyone's.")
            .read(maps::read_user)
            .write(maps::write_user)
            .delete(maps::delete_user);
        d.at("login").about("Logs in with a personal access token.").public().write(login::login);
        d.renew_login(login::renew);
    }
}
