//! `operator`: what the people who run the server do.

mod checks;
mod cluster;
mod diagnose;
mod generate_root;
mod init;
mod keys;
mod quorum;
mod rekey;
mod seal;

use crate::cli::{Arity, Command, Output, Run};

pub(crate) const COMMANDS: &[&[&Command]] = &[
    &[&OPERATOR],
    cluster::COMMANDS,
    diagnose::COMMANDS,
    generate_root::COMMANDS,
    init::COMMANDS,
    keys::COMMANDS,
    rekey::COMMANDS,
    seal::COMMANDS,
];

static OPERATOR: Command = Command {
    path: "operator",
    synopsis: "Run the server: initialise, unseal, rotate, diagnose",
    args: "",
    about: "Commands for those who run the server. Most ask for a share of the unseal key or for sudo.",
    examples: &[
        ("A new server:", "operator init"),
        ("Provide one share of the unseal key:", "operator unseal"),
        ("Is this configuration good:", "operator diagnose -config=/etc/coffer"),
    ],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};
