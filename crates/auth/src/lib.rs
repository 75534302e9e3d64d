//! The auth methods: each turns a proof into a [`Login`](coffer_engine::Login), one folder each. The pipeline makes the
//! token. A method knows nothing of tokens, entities or policies besides their names.

mod again;
pub mod cert;
#[cfg(test)]
mod fake;
pub mod github;
pub mod jwt;
mod names;
pub mod okta;
mod old_names;
pub mod token;
#[cfg(test)]
mod web;
