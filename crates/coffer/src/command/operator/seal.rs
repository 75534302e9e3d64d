//! `operator unseal` and `operator seal`.

use crate::cli::help::wrap;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::command::status;
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;

pub(super) const COMMANDS: &[&Command] = &[&UNSEAL, &SEAL];

static UNSEAL: Command = Command {
    path: "operator unseal",
    synopsis: "Provide a share of the unseal key",
    args: "[KEY]",
    about: "Provides one share; the server unseals when it has as many as the threshold. Without an argument the share is asked for, unseen: an argument stays in the shell's history.",
    examples: &[("Asked for:", "operator unseal"), ("Begin again:", "operator unseal -reset")],
    own: &[
        Flag::new("migrate", Kind::Switch, "The share is for moving to another seal."),
        Flag::new("reset", Kind::Switch, "Forget the shares that were provided so far."),
    ],
    output: Output::Format,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(unseal),
};

fn unseal(call: &Call<'_>) -> Outcome {
    let request = Request::put("sys/unseal").in_root_namespace();
    if call.on("reset") {
        let status = call
            .ask_json(&request.json(Object::new().with("reset", true)))
            .because(|| "Error resetting unseal process".into())?;
        return status::show(call, &status);
    }
    let key = match call.args.first() {
        Some(key) => zeroize::Zeroizing::new(key.trim().to_owned()),
        None => call.ask_hidden("Unseal Key (will be hidden): ").map_err(|why| {
            Failure::usage(wrap(
                &format!("An error occurred attempting to ask for an unseal key. The raw error message is shown below, but usually this is because you attempted to pipe a value into the unseal command or you are executing outside of a terminal (tty). You should run the unseal command from a terminal for maximum security. If this is not an option, the unseal key can be provided as the first argument to the unseal command. The raw error was: {why}"),
                0,
            ))
        })?,
    };
    let body = Object::new().with("key", key.trim()).with("reset", false).with("migrate", call.on("migrate"));
    let status = call.ask_json(&request.json(body)).because(|| "Error unsealing".into())?;
    status::show(call, &with_ha(call, status)?)
}

/// An unsealed server knows whether it is one of several.
fn with_ha(call: &Call<'_>, mut status: Json) -> Outcome<Json> {
    if let Json::Object(object) = &mut status {
        let mut ha = Json::from(false);
        if object.get("sealed").and_then(Json::as_bool) == Some(false) {
            // Just unsealed it may not know yet.
            if let Ok(leader) = call.ask_json(&Request::get("sys/leader").in_root_namespace().aside()) {
                ha = leader.get("ha_enabled").cloned().unwrap_or(ha);
            }
        }
        object.insert("ha_enabled", ha);
    }
    Ok(status)
}

static SEAL: Command = Command {
    path: "operator seal",
    synopsis: "Seal the server",
    args: "",
    about: "The server forgets its root key and answers nothing until it is unsealed again. Needs sudo on sys/seal.",
    examples: &[("Stop everything, now:", "operator seal")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(|call| {
        call.send(&Request::put("sys/seal").in_root_namespace()).because(|| "Error sealing".into())?;
        call.line(&format!("Success! {} is sealed.", call.context.product()));
        Ok(0)
    }),
};
