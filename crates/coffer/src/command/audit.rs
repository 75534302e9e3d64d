//! `audit`: where every call and reply is written down.

use super::data;
use crate::cli::call::with_slash;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, Format, go, json, table};
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;

pub(crate) const COMMANDS: &[&Command] = &[&AUDIT, &ENABLE, &DISABLE, &LIST];

static AUDIT: Command = Command {
    path: "audit",
    synopsis: "Enable, disable and list audit devices",
    args: "",
    about: "An audit device gets a line for every call and every reply. Where none of them can write, no call is answered.",
    examples: &[("See what is enabled:", "audit list -detailed")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static ENABLE: Command = Command {
    path: "audit enable",
    synopsis: "Enable an audit device",
    args: "TYPE [KEY=VALUE...]",
    about: "Enables a device of this type, at the path of the same name unless -path says otherwise. Servers outside dev mode want devices in their configuration instead, unless that allows the API to make them.",
    examples: &[("Write to a file:", "audit enable file file_path=/var/log/coffer/audit.log")],
    own: &[
        Flag::new("description", Kind::Text, "What it is for."),
        Flag::new("local", Kind::Switch, "Do not replicate it."),
        Flag::new("path", Kind::Text, "Where it will be. The default is its type."),
    ],
    output: Output::None,
    http: true,
    arity: Arity::AtLeast(1),
    run: Run::Call(enable),
};

fn enable(call: &Call<'_>) -> Outcome {
    let kind = call.arg(0).trim();
    let path = with_slash(if call.text("path").is_empty() { kind } else { call.text("path") });
    let options = data::read(call, &call.args[1..])?;
    if options.iter().any(|(_, value)| value.as_array().is_some()) {
        return Err(Failure::usage("Each option of an audit device can be given once"));
    }
    let body = Object::new()
        .with("type", kind)
        .with("description", call.text("description"))
        .with("options", options)
        .with("local", call.on("local"));
    call.send(&Request::put(format!("sys/audit/{path}")).json(body)).because(|| "Error enabling audit device".into())?;
    call.line(&format!("Success! Enabled the {kind} audit device at: {path}"));
    Ok(0)
}

static DISABLE: Command = Command {
    path: "audit disable",
    synopsis: "Disable an audit device",
    args: "PATH",
    about: "Nothing more is written to the device at this path. What it holds stays.",
    examples: &[("The device at file/:", "audit disable file/")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let path = with_slash(call.arg(0));
        call.send(&Request::delete(format!("sys/audit/{path}"))).because(|| "Error disabling audit device".into())?;
        call.line(&format!("Success! Disabled audit device (if it was enabled) at: {path}"));
        Ok(0)
    }),
};

static LIST: Command = Command {
    path: "audit list",
    synopsis: "List audit devices",
    args: "",
    about: "Lists the devices that are enabled. Exit code 2 where there is none.",
    examples: &[("See what is enabled:", "audit list"), ("With options:", "audit list -detailed")],
    own: super::mounts::DETAILED,
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(list),
};

fn list(call: &Call<'_>) -> Outcome {
    let found = call.ask_data(&Request::get("sys/audit")).because(|| "Error listing audits".into())?;
    let devices: Object = found
        .as_object()
        .into_iter()
        .flat_map(Object::iter)
        .filter(|(_, d)| d.get("type").is_some())
        .map(|(p, d)| (p, json::sorted(d)))
        .collect();
    if devices.is_empty() && call.format()? == Format::Table {
        return Err(Failure::server("No audit devices are enabled.").on_stdout());
    }
    let devices = json::sorted(&Json::Object(devices));
    let detailed = call.on("detailed");
    output::value(call, &devices, |devices| {
        let rows = devices.as_object().into_iter().flat_map(Object::iter).map(|(path, device)| {
            let text = |name: &str| device.get(name).map(go::text).unwrap_or_default();
            let mut row = vec![path.to_owned(), text("type"), text("description")];
            if detailed {
                row.push(if text("local") == "true" { "local" } else { "replicated" }.to_owned());
                let options: Vec<String> = device
                    .get("options")
                    .and_then(Json::as_object)
                    .into_iter()
                    .flat_map(Object::iter)
                    .map(|(k, v)| format!("{k}={}", go::text(v)))
                    .collect();
                row.push(options.join(" "));
            }
            row
        });
        if detailed {
            table::headed(["Path", "Type", "Description", "Replication", "Options"], rows)
        } else {
            table::headed(["Path", "Type", "Description"], rows)
        }
    })
}
