//! The table: every command of the program, one file a group.

mod agent;
mod audit;
mod auth;
mod basic;
mod data;
mod kv;
mod kv_metadata;
mod kv_path;
mod lease;
mod login;
mod mounts;
mod policy;
mod secrets;
mod server;
mod status;
mod token;
pub(crate) mod version;

use crate::cli::Command;

pub(crate) const COMMANDS: &[&[&Command]] = &[
    agent::COMMANDS,
    audit::COMMANDS,
    auth::COMMANDS,
    basic::COMMANDS,
    kv::COMMANDS,
    kv_metadata::COMMANDS,
    lease::COMMANDS,
    login::COMMANDS,
    policy::COMMANDS,
    secrets::COMMANDS,
    server::COMMANDS,
    status::COMMANDS,
    token::COMMANDS,
    version::COMMANDS,
];
