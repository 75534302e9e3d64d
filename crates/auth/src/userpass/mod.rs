//! Names and passwords that the server itself keeps.
//! <https://developer.hashicorp.com/vault/api-docs/auth/userpass>

mod login;
mod users;

use coffer_crypto::password::PasswordHash;
use coffer_engine::{Ctx, Declare, Engine, Mount, Record};
use coffer_types::{Error, Name, Result, Span};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::token::TokenParams;

/// The auth method `userpass`.
pub struct Userpass;

impl Engine for Userpass {
    const KIND: &'static str = "userpass";

    fn open(_: &Mount) -> Result<Self> {
        Ok(Self)
    }

    fn declare(d: &mut Declare<Self>) {
        d.about("Logs people in with a name and a password that this mount keeps.");
        d.at("users").about("Lists the names of users.").list(users::list);
        d.at("users/{username}")
            .about("Reads, writes and deletes a user.")
            .read(users::read)
            .write(users::write)
            .exists(users::exists)
            .delete(users::delete);
        d.at("users/{username}/password").about("Changes a user's password.").write(users::password);
        d.at("users/{username}/policies").about("Changes the policies of a user's tokens.").write(users::policies);
        d.at("login/{username}").about("Logs a user in.").public().write(login::login);
        d.renew_login(login::renew);
    }
}

/// A user as stored, under [`key`].
#[derive(Clone, Serialize, Deserialize)]
struct User {
    /// bcrypt, in text form.
    hash: Zeroizing<String>,
    token: TokenParams,
    /// What older clients set by the names of older fields, and read by these.
    #[serde(default)]
    legacy: Legacy,
}

/// Values of the fields `policies`, `ttl`, `max_ttl` and `bound_cidrs`, which do what the `token_` fields do.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Legacy {
    policies: Vec<String>,
    ttl: Span,
    max_ttl: Span,
    bound_cidrs: Vec<String>,
}

impl Record for User {
    const FORMAT: u8 = 1;
}

impl User {
    fn hash(&self) -> Result<PasswordHash> {
        PasswordHash::parse(&self.hash).ok_or_else(|| Error::internal("a stored password hash does not read"))
    }
}

/// The one form of a user's name, before anything is done with it: `" Bob"` is `bob` to storage, lockout and alias.
fn normal(name: &Name) -> Result<String> {
    let name = name.as_str().trim().to_lowercase();
    if name.is_empty() { Err(Error::bad_request("missing username")) } else { Ok(name) }
}

fn key(name: &str) -> String {
    format!("user/{name}")
}

async fn find(cx: &Ctx<Userpass>, name: &str) -> Result<Option<User>> {
    cx.view.get(&key(name)).await
}

#[cfg(test)]
mod tests;
