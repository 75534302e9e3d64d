//! The table: every command of the program, one file a group; those of `operator` have a table of their own.

mod agent;
mod audit;
mod auth;
mod basic;
mod data;
mod debug;
mod kv;
mod kv_metadata;
mod kv_path;
mod lease;
mod login;
mod login_oidc;
mod misc;
mod mounts;
mod namespace;
pub(crate) mod operator;
mod pki;
mod pki_health;
mod plugin;
mod policy;
mod policy_explain;
mod secrets;
mod server;
mod ssh;
mod ssh_helper;
mod ssh_words;
mod status;
mod token;
pub(crate) mod version;

use crate::cli::Command;

pub(crate) const COMMANDS: &[&[&Command]] = &[
    agent::COMMANDS,
    audit::COMMANDS,
    auth::COMMANDS,
    basic::COMMANDS,
    debug::COMMANDS,
    kv::COMMANDS,
    kv_metadata::COMMANDS,
    lease::COMMANDS,
    login::COMMANDS,
    misc::COMMANDS,
    namespace::COMMANDS,
    pki::COMMANDS,
    plugin::COMMANDS,
    policy::COMMANDS,
    policy_explain::COMMANDS,
    secrets::COMMANDS,
    server::COMMANDS,
    ssh::COMMANDS,
    ssh_helper::COMMANDS,
    status::COMMANDS,
    token::COMMANDS,
    version::COMMANDS,
];
