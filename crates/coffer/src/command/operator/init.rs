//! `operator init`: a new server gets its keys.

use super::quorum::{pgp_key, pgp_keys};
use crate::cli::help::wrap;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, Format};
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;

pub(super) const COMMANDS: &[&Command] = &[&INIT];

static INIT: Command = Command {
    path: "operator init",
    synopsis: "Initialise a new server",
    args: "",
    about: "Makes the root key of a server that has none, splits it into shares for several people, and prints the shares and a root token. They are printed once and never again: keep them apart and safe.",
    examples: &[
        ("Five shares, of which any three unseal:", "operator init"),
        ("Has it been done:", "operator init -status"),
        ("One share, for a server of one's own:", "operator init -key-shares=1 -key-threshold=1"),
    ],
    own: &[
        Flag::new("key-shares", Kind::Int, "How many shares there are; 5 where it is not given.").alias(&["n"]),
        Flag::new("key-threshold", Kind::Int, "How many of them unseal; 3 where it is not given.").alias(&["t"]),
        Flag::new(
            "pgp-keys",
            Kind::List,
            "Files of public PGP keys, one a share, to which the shares are encrypted. With commas between them.",
        ),
        Flag::new("recovery-pgp-keys", Kind::List, "As -pgp-keys, for recovery keys."),
        Flag::new("recovery-shares", Kind::Int, "With auto-unseal: how many recovery shares there are; 5 where it is not given."),
        Flag::new("recovery-threshold", Kind::Int, "With auto-unseal: how many of them recover; 3 where it is not given."),
        Flag::new("root-token-pgp-key", Kind::Text, "File of a public PGP key to which the root token is encrypted."),
        Flag::new("status", Kind::Switch, "Only say whether it has been done: exit code 0 if so, 2 if not."),
    ],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(run),
};

fn run(call: &Call<'_>) -> Outcome {
    if call.on("status") {
        return status(call);
    }
    let seal =
        call.ask_json(&Request::get("sys/seal-status").in_root_namespace().aside()).because(|| "Error initializing".into())?;
    let recovery = seal.get("recovery_seal").and_then(Json::as_bool).unwrap_or(false);
    let count = |flag: &str, otherwise: i64| if call.given(flag) { call.int(flag) } else { otherwise };
    // Where the seal opens itself there are no shares of its key, only of the recovery key.
    let (shares, threshold) = if recovery { (0, 0) } else { (5, 3) };
    let (recovery_shares, recovery_threshold) = if recovery { (5, 3) } else { (0, 0) };
    let keys = |flag: &str| pgp_keys(call, flag).map(|keys| if keys.is_empty() { Json::Null } else { Json::from(keys) });
    let root_key = match call.text("root-token-pgp-key") {
        "" => String::new(),
        file => pgp_key("root-token-pgp-key", file)?,
    };
    let body = Object::new()
        .with("secret_shares", count("key-shares", shares))
        .with("secret_threshold", count("key-threshold", threshold))
        .with("pgp_keys", keys("pgp-keys")?)
        .with("recovery_shares", count("recovery-shares", recovery_shares))
        .with("recovery_threshold", count("recovery-threshold", recovery_threshold))
        .with("recovery_pgp_keys", keys("recovery-pgp-keys")?)
        .with("root_token_pgp_key", root_key);
    let made = call
        .ask_json(&Request::put("sys/init").json(body.clone()).in_root_namespace())
        .because(|| "Error initializing".into())?;
    show(call, &made, &body)
}

fn status(call: &Call<'_>) -> Outcome {
    let found = call.ask_json(&Request::get("sys/init").in_root_namespace()).because(|| "Error checking init status".into())?;
    let done = found.get("initialized").and_then(Json::as_bool).unwrap_or(false);
    if call.format()? == Format::Table {
        call.line(&format!("{} is {}initialized", call.context.product(), if done { "" } else { "not " }));
    } else {
        output::value(call, &Json::from(done), |_| Vec::new())?;
    }
    Ok(if done { 0 } else { 2 })
}

fn show(call: &Call<'_>, made: &Json, asked: &Object) -> Outcome {
    let list = |name: &str| made.get(name).and_then(Json::as_array).unwrap_or_default();
    let asked = |name: &str| asked.get(name).and_then(Json::as_i64).unwrap_or_default();
    let (keys, recovery) = (list("keys_base64"), list("recovery_keys_base64"));
    let token = made.get("root_token").and_then(Json::as_str).unwrap_or_default();
    if call.format()? != Format::Table {
        let shown = Object::new()
            .with("unseal_keys_b64", keys.to_vec())
            .with("unseal_keys_hex", list("keys").to_vec())
            .with("unseal_shares", asked("secret_shares"))
            .with("unseal_threshold", asked("secret_threshold"))
            .with("recovery_keys_b64", recovery.to_vec())
            .with("recovery_keys_hex", list("recovery_keys").to_vec())
            .with("recovery_keys_shares", asked("recovery_shares"))
            .with("recovery_keys_threshold", asked("recovery_threshold"))
            .with("root_token", token);
        return output::value(call, &Json::Object(shown), |_| Vec::new());
    }
    if keys.is_empty() && recovery.is_empty() && token.is_empty() {
        return Err(Failure::server("Error initializing: the server answered with neither keys nor a token"));
    }
    let (product, program) = (call.context.product(), &call.context.program);
    for (what, keys) in [("Unseal", keys), ("Recovery", recovery)] {
        for (i, key) in keys.iter().enumerate() {
            call.line(&format!("{what} Key {}: {}", i + 1, key.as_str().unwrap_or_default()));
        }
    }
    call.line(&format!("\nInitial Root Token: {token}\n"));
    let (shares, threshold) = (asked("secret_shares"), asked("secret_threshold"));
    if keys.is_empty() {
        call.line("Success! The server is initialized");
        if !recovery.is_empty() {
            let (shares, threshold) = (asked("recovery_shares"), asked("recovery_threshold"));
            call.line(&format!("\n{}", wrap(&format!("Recovery key initialized with {shares} key shares and a key threshold of {threshold}. Please securely distribute the key shares printed above."), 0)));
        }
        return Ok(0);
    }
    call.line(&format!(
        "{product} initialized with {shares} key shares and a key threshold of {threshold}. Please securely\n\
         distribute the key shares printed above. When the {product} is re-sealed,\n\
         restarted, or stopped, you must supply at least {threshold} of these keys to unseal it\n\
         before it can start servicing requests.\n\n\
         {product} does not store the generated root key. Without at least {threshold} keys to\n\
         reconstruct the root key, {product} will remain permanently sealed!\n\n\
         It is possible to generate new unseal keys, provided you have a quorum\n\
         of existing unseal keys shares. See \"{program} operator rotate-keys\" for more\n\
         information."
    ));
    call.note(&format!("\nNext: run \"{program} operator unseal\" {threshold} times, each time with another of these keys, then \"{program} login\"."));
    Ok(0)
}
