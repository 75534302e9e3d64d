//! The auth methods: each turns a proof into a [`Login`](coffer_engine::Login), one folder each. The pipeline makes the
//! token. A method knows nothing of tokens, entities or policies besides their names.

mod again;
pub mod approle;
pub mod cert;
pub mod clouds;
#[cfg(test)]
mod fake;
pub mod github;
pub mod jwt;
pub mod kubernetes;
pub mod ldap;
mod names;
pub mod okta;
mod old_names;
pub mod radius;
pub mod token;
pub mod userpass;
#[cfg(test)]
mod web;

use coffer_types::{Error, Kind};

/// A mistake of the caller's that Vault's methods answer with 500, and clients' tests expect so.
fn as_vault_500(text: impl std::fmt::Display) -> Error {
    Error::new(Kind::Internal, format!("1 error occurred:\n\t* {text}\n\n"))
}

/// A field and its older name: the newer wins, and what was set by the older is read back by it.
fn older<T: Clone + Default>(newer: &mut Option<T>, older: Option<T>, kept: &mut T) {
    if newer.is_some() {
        *kept = T::default();
    } else if let Some(value) = older {
        kept.clone_from(&value);
        *newer = Some(value);
    }
}
