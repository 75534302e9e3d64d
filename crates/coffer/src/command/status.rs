//! `status`: sealed or not, in words and in the exit code.

use crate::cli::{Arity, Because, Call, Command, Outcome, Output, Run};
use crate::output::{self, alone, go, table};
use coffer_client::Request;
use coffer_types::{Json, Object};

pub(crate) const COMMANDS: &[&Command] = &[&STATUS];

static STATUS: Command = Command {
    path: "status",
    synopsis: "Print whether the server is sealed",
    args: "",
    about: "Prints the state of the server: initialised or not, sealed or not, how far unsealing has come. Needs no token.\n\nThe exit code is 0 when it is unsealed, 2 when it is sealed or not initialised, 1 when the command is wrong.",
    examples: &[
        ("Ask the server that the environment names:", "status"),
        ("Ask another, for a program to read:", "status -address=https://127.0.0.1:8200 -format=json"),
    ],
    own: &[],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(run),
};

fn run(call: &Call<'_>) -> Outcome {
    let status = seal_status(call)?;
    show(call, &status)?;
    Ok(if status.get("sealed").and_then(Json::as_bool).unwrap_or(true) { 2 } else { 0 })
}

/// The seal's status, with whether the server is one of several.
fn seal_status(call: &Call<'_>) -> Outcome<Json> {
    let mut status =
        call.ask_json(&Request::get("sys/seal-status").in_root_namespace()).because(|| "Error checking seal status".into())?;
    let Json::Object(object) = &mut status else { return Ok(status) };
    let sealed = object.get("sealed").and_then(Json::as_bool).unwrap_or(true);
    let mut ha = Json::from(false);
    // A sealed server does not know its place.
    if !sealed {
        let leader =
            call.ask_json(&Request::get("sys/leader").in_root_namespace()).because(|| "Error checking leader status".into())?;
        for (from, to) in [
            ("is_self", "is_self"),
            ("active_time", "active_time"),
            ("leader_address", "leader_address"),
            ("leader_cluster_address", "leader_cluster_address"),
            ("raft_committed_index", "raft_committed_index"),
            ("raft_applied_index", "raft_applied_index"),
        ] {
            let value = leader.get(from).filter(|_| leader.get("ha_enabled").and_then(Json::as_bool) == Some(true));
            if let Some(value) = value {
                object.insert(to, value.clone());
            }
        }
        ha = leader.get("ha_enabled").cloned().unwrap_or(ha);
    }
    if !object.contains("build_date") {
        object.insert("build_date", "");
    }
    object.insert("ha_enabled", ha);
    Ok(status)
}

/// The fields that are shown, in the order in which JSON has always shown them. What a server says beyond them is for `-field`.
const ORDER: &[&str] = &[
    "type",
    "initialized",
    "sealed",
    "t",
    "n",
    "progress",
    "nonce",
    "version",
    "commit_date",
    "migration",
    "cluster_name",
    "cluster_id",
    "recovery_seal",
    "storage_type",
    "build_date",
    "ha_enabled",
    "is_self",
    "active_time",
    "leader_address",
    "leader_cluster_address",
    "raft_committed_index",
    "raft_applied_index",
];

/// Prints a seal's status as every command that changes it does.
pub(crate) fn show(call: &Call<'_>, status: &Json) -> Outcome {
    if let Some(field) = call.field() {
        return match status.get(field).filter(|v| !v.is_null()) {
            Some(value) => alone(call, value),
            None => Err(crate::cli::Failure::usage(format!("Field {field:?} not present in seal status"))),
        };
    }
    let shown: Object = ORDER.iter().filter_map(|name| Some((*name, status.get(name)?.clone()))).collect();
    output::value(call, &Json::Object(shown), |status| table::pairs(rows(status)))
}

fn rows(status: &Json) -> Vec<(String, String)> {
    let text = |name: &str| status.get(name).map(go::text).unwrap_or_default();
    let is = |name: &str| status.get(name).and_then(Json::as_bool).unwrap_or_default();
    let recovery = is("recovery_seal");
    let prefix = if recovery { "Recovery " } else { "" };
    let mut out: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: String| out.push((name.to_owned(), value));
    put(&format!("{prefix}Seal Type"), text("type"));
    put("Initialized", text("initialized"));
    put("Sealed", text("sealed"));
    put(&format!("Total {prefix}Shares"), text("n"));
    put("Threshold", text("t"));
    if is("sealed") {
        put("Unseal Progress", format!("{}/{}", text("progress"), text("t")));
        put("Unseal Nonce", text("nonce"));
    }
    if is("migration") {
        put("Seal Migration in Progress", "true".into());
    }
    put("Version", text("version"));
    for (name, heading) in [("build_date", "Build Date"), ("commit_date", "Commit Date")] {
        if !text(name).is_empty() {
            put(heading, text(name));
        }
    }
    put("Storage Type", text("storage_type"));
    if !text("cluster_name").is_empty() {
        put("Cluster Name", text("cluster_name"));
        put("Cluster ID", text("cluster_id"));
    }
    if status.get("ha_enabled").is_none() {
        return out;
    }
    put("HA Enabled", text("ha_enabled"));
    if is("ha_enabled") {
        put("HA Cluster", text("leader_cluster_address"));
        put("HA Mode", if is("is_self") { "active" } else { "standby" }.into());
        if is("is_self") {
            put("Active Since", text("active_time"));
        } else {
            put("Active Node Address", text("leader_address"));
        }
        for (name, heading) in [("raft_committed_index", "Raft Committed Index"), ("raft_applied_index", "Raft Applied Index")] {
            if status.get(name).is_some() {
                put(heading, text(name));
            }
        }
    }
    out
}
