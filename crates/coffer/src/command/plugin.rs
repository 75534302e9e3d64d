//! `plugin`: the catalog of engines and methods.

use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, answer, go, json, table};
use coffer_client::{Answer, Request};
use coffer_types::Json;
use coffer_types::json::Object;

pub(crate) const COMMANDS: &[&Command] = &[&PLUGIN, &LIST, &INFO, &REGISTER, &DEREGISTER, &RELOAD, &RELOAD_STATUS];

static PLUGIN: Command = Command {
    path: "plugin",
    synopsis: "See and change the catalog of engines and methods",
    args: "",
    about: "The catalog says which types of engines and methods can be enabled.",
    examples: &[("What can be enabled:", "plugin list")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

const VERSION: Flag = Flag::new("version", Kind::Text, "The version of the plugin.");

/// `auth`, `database` or `secret`.
fn kind(call: &Call<'_>, at: usize) -> Outcome<String> {
    match call.arg(at).trim() {
        known @ ("auth" | "database" | "secret") => Ok(known.to_owned()),
        other => Err(Failure::server(format!("Error parsing type: {other:?} is not a supported plugin type"))
            .hint("Types are auth, database and secret.")),
    }
}

static LIST: Command = Command {
    path: "plugin list",
    synopsis: "List the catalog",
    args: "[TYPE]",
    about: "Lists what can be enabled, of one type (auth, database or secret) or all.",
    examples: &[("Everything:", "plugin list"), ("Engines:", "plugin list secret")],
    own: &[Flag::new("detailed", Kind::Switch, "Show whether each is still supported.")],
    output: Output::Format,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(list),
};

fn list(call: &Call<'_>) -> Outcome {
    let wanted = if call.args.is_empty() { None } else { Some(kind(call, 0)?) };
    let found = call.ask_data(&Request::get("sys/plugins/catalog")).because(|| "Error listing available plugins".into())?;
    let detailed = call.on("detailed");
    let details: Vec<&Json> = found
        .get("detailed")
        .and_then(Json::as_array)
        .unwrap_or_default()
        .iter()
        .filter(|d| wanted.as_deref().is_none_or(|w| d.get("type").and_then(Json::as_str) == Some(w)))
        .collect();
    let mut shown = Object::new();
    for name in ["auth", "database", "secret"] {
        if let Some(names) = found.get(name).filter(|_| wanted.as_deref().is_none_or(|w| w == name)) {
            shown.insert(name, names.clone());
        }
    }
    shown.insert("details", details.iter().map(|d| (*d).clone()).collect::<Vec<_>>());
    output::value(call, &Json::Object(shown), |_| {
        let rows = details.iter().map(|d| {
            let text = |name: &str| d.get(name).map(go::text).unwrap_or_default();
            let mut row = vec![text("name")];
            if wanted.is_none() || detailed {
                row.push(text("type"));
            }
            row.push(text("version"));
            if detailed {
                row.push(text("deprecation_status"));
            }
            row
        });
        match (wanted.is_some(), detailed) {
            (true, false) => table::headed(["Name", "Version"], rows),
            (false, false) => table::headed(["Name", "Type", "Version"], rows),
            (_, true) => table::headed(["Name", "Type", "Version", "Deprecation Status"], rows),
        }
    })
}

static INFO: Command = Command {
    path: "plugin info",
    synopsis: "See one entry of the catalog",
    args: "TYPE NAME",
    about: "Prints what the catalog has of an engine or method.",
    examples: &[("Of kv:", "plugin info secret kv")],
    own: &[VERSION],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(2),
    run: Run::Call(info),
};

fn info(call: &Call<'_>) -> Outcome {
    let (kind, name) = (kind(call, 0)?, call.arg(1).trim());
    let mut request = Request::get(format!("sys/plugins/catalog/{kind}/{name}"));
    if call.given("version") {
        request = request.query("version", call.text("version"));
    }
    let found = call.ask_data(&request).because(|| format!("Error reading plugin named {name}"))?;
    if call.field().is_some() {
        return answer::print(call, &Answer { data: found.into_object(), ..Answer::default() });
    }
    let known = ["args", "builtin", "command", "deprecation_status", "name", "sha256", "version"];
    let shown: Object = known.iter().map(|name| (*name, found.get(name).cloned().unwrap_or_else(|| Json::from("")))).collect();
    output::value(call, &json::sorted(&Json::Object(shown)), |shown| {
        let rows = shown.as_object().into_iter().flat_map(Object::iter);
        // No arguments are an empty list.
        table::pairs(
            rows.map(|(k, v)| (k.to_owned(), if k == "args" && v.as_array().is_none() { "[]".to_owned() } else { go::text(v) })),
        )
    })
}

static REGISTER: Command = Command {
    path: "plugin register",
    synopsis: "Put a program into the catalog",
    args: "TYPE NAME",
    about: "Registers a program in the server's plugin directory under a name. Servers may be without programs as plugins.",
    examples: &[("Register one:", "plugin register -sha256=d3f0a8be secret my-engine")],
    own: &[
        Flag::new("args", Kind::List, "An argument for the program. May be given several times."),
        Flag::new("command", Kind::Text, "The program's name in the plugin directory. The default is NAME."),
        Flag::new("env", Kind::List, "A variable for the program, as NAME=VALUE. May be given several times."),
        Flag::new("sha256", Kind::Text, "The program's SHA-256, in hex."),
        VERSION,
    ],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(2),
    run: Run::Call(register),
};

fn register(call: &Call<'_>) -> Outcome {
    let (kind, name) = (kind(call, 0)?, call.arg(1).trim());
    let sha256 = call.text("sha256");
    if sha256.is_empty() {
        return Err(Failure::usage("SHA256 is required for all plugins, please provide -sha256"));
    }
    let command = if call.text("command").is_empty() { name } else { call.text("command") };
    let mut body = Object::new().with("args", call.list("args").to_vec()).with("command", command).with("sha256", sha256);
    if call.given("version") {
        body.insert("version", call.text("version"));
    }
    if call.given("env") {
        body.insert("env", call.list("env").to_vec());
    }
    call.send(&Request::put(format!("sys/plugins/catalog/{kind}/{name}")).json(body))
        .because(|| format!("Error registering plugin {name}"))?;
    call.line(&format!("Success! Registered plugin: {name}"));
    Ok(0)
}

static DEREGISTER: Command = Command {
    path: "plugin deregister",
    synopsis: "Take a program out of the catalog",
    args: "TYPE NAME",
    about: "Takes a program out of the catalog, if it is there.",
    examples: &[("Take one out:", "plugin deregister secret my-engine")],
    own: &[VERSION],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(2),
    run: Run::Call(|call| {
        let (kind, name) = (kind(call, 0)?, call.arg(1).trim());
        let request = Request::delete(format!("sys/plugins/catalog/{kind}/{name}")).query("version", call.text("version"));
        call.send(&request).because(|| format!("Error deregistering plugin named {name}"))?;
        call.line(&format!("Success! Deregistered {kind} plugin: {name}"));
        Ok(0)
    }),
};

static RELOAD: Command = Command {
    path: "plugin reload",
    synopsis: "Start a plugin's mounts anew",
    args: "",
    about: "Starts the mounts of a plugin anew, or the mounts named.",
    examples: &[("All mounts of one:", "plugin reload -plugin=my-engine")],
    own: &[
        Flag::new("mounts", Kind::List, "A mount. May be given several times."),
        Flag::new("plugin", Kind::Text, "The plugin whose mounts are meant."),
        Flag::new("scope", Kind::Text, "\"global\" for all nodes.").values(&["global"]),
    ],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(reload),
};

fn reload(call: &Call<'_>) -> Outcome {
    let (plugin, mounts) = (call.text("plugin"), call.list("mounts"));
    match (plugin.is_empty(), mounts.is_empty()) {
        (true, true) => return Err(Failure::usage("Must specify -plugin or -mounts")),
        (false, false) => return Err(Failure::usage("Cannot use -plugin with -mounts: name the one or the others")),
        _ => {}
    }
    let body = Object::new()
        .with("plugin", plugin)
        .with("mounts", if mounts.is_empty() { Json::Null } else { Json::from(mounts.to_vec()) })
        .with("scope", call.text("scope"));
    let found = call
        .ask_data(&Request::put("sys/plugins/reload/backend").json(body))
        .because(|| "Error reloading plugin/mounts".into())?;
    match found.get("reload_id").and_then(Json::as_str).filter(|id| !id.is_empty()) {
        Some(id) if call.text("scope") == "global" => call.line(&format!("Success! Reloading plugin, reload_id: {id}")),
        _ if !plugin.is_empty() => call.line(&format!("Success! Reloaded plugin: {plugin}")),
        _ => call.line(&format!("Success! Reloaded mounts: {}", mounts.join(", "))),
    }
    Ok(0)
}

static RELOAD_STATUS: Command = Command {
    path: "plugin reload-status",
    synopsis: "See how far a reload is",
    args: "RELOAD_ID",
    about: "Prints which nodes have reloaded a plugin.",
    examples: &[("Of one:", "plugin reload-status d60a3e83-a598-4f3a-879d-0ddd95f11d4e")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let request = Request::get("sys/plugins/reload/backend/status").query("reload_id", call.arg(0).trim());
        let found = call.ask(&request).because(|| "Error retrieving plugin status".into())?;
        answer::print(call, &found.unwrap_or_default())
    }),
};
