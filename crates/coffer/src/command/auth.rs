//! `auth`: the ways to log in, enabled, changed, moved and taken away.

use super::mounts::{self, DETAILED, ENABLE, Sort, TUNE};
use crate::cli::call::{sanitize, with_slash};
use crate::cli::{Arity, Because, Call, Command, Failure, Outcome, Output, Run};
use coffer_client::Request;
use coffer_types::Json;

pub(crate) const COMMANDS: &[&Command] = &[&AUTH, &ENABLE_IT, &DISABLE, &LIST, &HELP, &TUNE_IT, &MOVE];

static AUTH: Command = Command {
    path: "auth",
    synopsis: "Enable, change and list auth methods",
    args: "",
    about: "An auth method turns a proof (a password, a certificate, a Kubernetes token) into a token. \"login\" uses them.",
    examples: &[("See what is enabled:", "auth list"), ("Let people log in by name and password:", "auth enable userpass")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static ENABLE_IT: Command = Command {
    path: "auth enable",
    synopsis: "Enable an auth method",
    args: "TYPE",
    about: "Enables a method of this type, at the path of the same name below auth/ unless -path says otherwise.",
    examples: &[("Names and passwords:", "auth enable userpass"), ("AppRole at auth/ci/:", "auth enable -path=ci approle")],
    own: ENABLE,
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(enable),
};

fn enable(call: &Call<'_>) -> Outcome {
    let (path, kind) = mounts::enable(call, Sort::Auth)?;
    let what = if call.arg(0) == "plugin" { format!("{kind} plugin") } else { format!("{kind} auth method") };
    call.line(&format!("Success! Enabled {what} at: {path}"));
    Ok(0)
}

static DISABLE: Command = Command {
    path: "auth disable",
    synopsis: "Disable an auth method and revoke its tokens",
    args: "PATH",
    about: "Removes the method at this path. Every token that came from it is revoked at once.",
    examples: &[("Remove the method at userpass/:", "auth disable userpass/")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let path = mounts::disable(call, Sort::Auth)?;
        call.line(&format!("Success! Disabled the auth method (if it existed) at: {path}"));
        Ok(0)
    }),
};

static LIST: Command = Command {
    path: "auth list",
    synopsis: "List auth methods",
    args: "",
    about: "Lists the methods that are enabled. A time of \"system\" is the server's own.",
    examples: &[("See what is enabled:", "auth list"), ("With times and versions:", "auth list -detailed")],
    own: DETAILED,
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(|call| mounts::list(call, Sort::Auth)),
};

static HELP: Command = Command {
    path: "auth help",
    synopsis: "Say how to log in with an auth method",
    args: "TYPE|PATH",
    about: "Prints how \"login\" is called for a type of method; for the path of an enabled one, what the server says of it.",
    examples: &[
        ("How to log in with a name and a password:", "auth help userpass"),
        ("What stands at auth/ci/:", "auth help ci/"),
    ],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(help),
};

fn help(call: &Call<'_>) -> Outcome {
    let name = sanitize(call.arg(0));
    if let Some(method) = super::login::method(&name) {
        call.line(&method.help(&call.context.program));
        return Ok(0);
    }
    let listed = call.ask_data(&Request::get("sys/auth")).because(|| "Error listing auth methods".into())?;
    let kind = listed.get(&with_slash(&name)).and_then(|m| m.get("type")).and_then(Json::as_str);
    let Some(kind) = kind else {
        return Err(Failure::usage(format!("Error getting help for {name}: no auth method of that type or at that path"))
            .hint(format!("\"{} auth list\" shows those that are enabled.", call.context.program)));
    };
    if let Some(method) = super::login::method(kind) {
        call.line(&method.help(&call.context.program));
        return Ok(0);
    }
    let found = call
        .ask_json(&Request::get(format!("auth/{name}")).query("help", "1"))
        .because(|| format!("Error retrieving help for {name}"))?;
    call.line(found.get("help").and_then(Json::as_str).unwrap_or_default());
    Ok(0)
}

static TUNE_IT: Command = Command {
    path: "auth tune",
    synopsis: "Change the settings of an auth method",
    args: "PATH",
    about: "Changes the settings given of the method at this path and leaves the others.",
    examples: &[("Let its tokens live ten minutes:", "auth tune -default-lease-ttl=10m userpass/")],
    own: TUNE,
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let path = with_slash(&mounts::tune(call, Sort::Auth)?);
        call.line(&format!("Success! Tuned the auth method at: {path}"));
        Ok(0)
    }),
};

static MOVE: Command = Command {
    path: "auth move",
    synopsis: "Move an auth method to another path",
    args: "SOURCE DESTINATION",
    about: "Moves a method with its settings to another path and waits until it is there. Its tokens are revoked. Both paths are written from the root, with auth/ before them.",
    examples: &[("Move approle/ to ci/:", "auth move auth/approle/ auth/ci/")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(2),
    run: Run::Call(|call| mounts::remount(call, Sort::Auth)),
};
