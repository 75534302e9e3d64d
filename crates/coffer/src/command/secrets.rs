//! `secrets`: engines, enabled, changed, moved and taken away.

use super::mounts::{self, DETAILED, ENABLE, Sort, TUNE};
use crate::cli::call::with_slash;
use crate::cli::{Arity, Call, Command, Outcome, Output, Run};

pub(crate) const COMMANDS: &[&Command] = &[&SECRETS, &ENABLE_IT, &DISABLE, &LIST, &TUNE_IT, &MOVE];

static SECRETS: Command = Command {
    path: "secrets",
    synopsis: "Enable, change and list secrets engines",
    args: "",
    about: "An engine answers every path that begins with the path it was enabled at.",
    examples: &[
        ("See what is enabled:", "secrets list"),
        ("Enable versioned secrets at apps/:", "secrets enable -path=apps -version=2 kv"),
    ],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static ENABLE_IT: Command = Command {
    path: "secrets enable",
    synopsis: "Enable a secrets engine",
    args: "TYPE",
    about: "Enables an engine of this type, at the path of the same name unless -path says otherwise.",
    examples: &[
        ("Versioned secrets at apps/:", "secrets enable -path=apps -version=2 kv"),
        ("Certificates that may live ten years:", "secrets enable -max-lease-ttl=87600h pki"),
    ],
    own: ENABLE,
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(enable),
};

fn enable(call: &Call<'_>) -> Outcome {
    let (path, kind) = mounts::enable(call, Sort::Secrets)?;
    let what = if call.arg(0) == "plugin" { format!("{kind} plugin") } else { format!("{kind} secrets engine") };
    call.line(&format!("Success! Enabled the {what} at: {path}"));
    Ok(0)
}

static DISABLE: Command = Command {
    path: "secrets disable",
    synopsis: "Disable a secrets engine and remove its data",
    args: "PATH",
    about: "Revokes all leases of the engine at this path and removes all its data, for ever.",
    examples: &[("Remove the engine at apps/:", "secrets disable apps/")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let path = mounts::disable(call, Sort::Secrets)?;
        call.line(&format!("Success! Disabled the secrets engine (if it existed) at: {path}"));
        Ok(0)
    }),
};

static LIST: Command = Command {
    path: "secrets list",
    synopsis: "List secrets engines",
    args: "",
    about: "Lists the engines that are enabled. A time of \"system\" is the server's own.",
    examples: &[("See what is enabled:", "secrets list"), ("With times and versions:", "secrets list -detailed")],
    own: DETAILED,
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(|call| mounts::list(call, Sort::Secrets)),
};

static TUNE_IT: Command = Command {
    path: "secrets tune",
    synopsis: "Change the settings of a secrets engine",
    args: "PATH",
    about: "Changes the settings given of the engine at this path and leaves the others.",
    examples: &[("Let leases live three days:", "secrets tune -default-lease-ttl=72h apps/")],
    own: TUNE,
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let path = with_slash(&mounts::tune(call, Sort::Secrets)?);
        call.line(&format!("Success! Tuned the secrets engine at: {path}"));
        Ok(0)
    }),
};

static MOVE: Command = Command {
    path: "secrets move",
    synopsis: "Move a secrets engine to another path",
    args: "SOURCE DESTINATION",
    about: "Moves an engine with its data to another path and waits until it is there. Its leases are revoked.",
    examples: &[("Move apps/ to services/:", "secrets move apps/ services/")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(2),
    run: Run::Call(|call| mounts::remount(call, Sort::Secrets)),
};
