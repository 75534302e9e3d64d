//! `path-help`, `version-history`, `monitor`.

use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{Format, answer, go, json, table};
use coffer_client::Request;
use coffer_types::Json;

pub(crate) const COMMANDS: &[&Command] = &[&PATH_HELP, &VERSION_HISTORY, &MONITOR];

static PATH_HELP: Command = Command {
    path: "path-help",
    synopsis: "Say what a path of the API does",
    args: "PATH",
    about: "Prints what the server says of a path: its fields and what they mean; of an engine, its paths. In JSON it is an OpenAPI document.",
    examples: &[("Of an engine:", "path-help secret/"), ("Of one path:", "path-help sys/mounts")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(path_help),
};

fn path_help(call: &Call<'_>) -> Outcome {
    let found = call.ask_json(&Request::get(call.path(0)).query("help", "1")).because(|| "Error retrieving help".into())?;
    match call.format()? {
        Format::Json => {
            let document = found.get("openapi").filter(|o| !o.is_null()).unwrap_or(&found);
            call.line(&String::from_utf8_lossy(&json::sorted(document).to_bytes()));
        }
        Format::Yaml => call.print(&crate::output::yaml::text(&found)),
        _ => match found.get("help").and_then(Json::as_str) {
            Some(help) => call.line(help.trim_end()),
            None => return Err(Failure::server(format!("No help found at {}", call.path(0)))),
        },
    }
    Ok(0)
}

static VERSION_HISTORY: Command = Command {
    path: "version-history",
    synopsis: "Print the versions that the server has run as",
    args: "",
    about: "Prints which versions have served this data, and since when.",
    examples: &[("Print them:", "version-history")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Any,
    run: Run::Call(version_history),
};

fn version_history(call: &Call<'_>) -> Outcome {
    let found =
        call.ask(&Request::list("sys/version-history")).because(|| "Error reading version history".into())?.unwrap_or_default();
    call.note("\nNote:\nUse of this command requires a server running Vault 1.10.0 or greater.\nVersion tracking was added in 1.9.0. Earlier versions have not been tracked.\n\n");
    if call.format()? != Format::Table {
        return answer::print(call, &found);
    }
    let info = found.get("key_info").and_then(Json::as_object).cloned().unwrap_or_default();
    let rows: Vec<Vec<String>> = found
        .keys()
        .unwrap_or_default()
        .iter()
        .map(|version| {
            let text = |name: &str| {
                info.get(version).and_then(|i| i.get(name)).filter(|v| !v.is_null()).map(go::text).unwrap_or_default()
            };
            let built = if text("commit_date").is_empty() { text("build_date") } else { text("commit_date") };
            vec![(*version).to_owned(), text("timestamp_installed"), built]
        })
        .collect();
    call.print(&table::spaced(&table::headed(["Version", "Installation Time", "Commit Date"], rows), 2));
    Ok(0)
}

static MONITOR: Command = Command {
    path: "monitor",
    synopsis: "Follow the server's log",
    args: "",
    about: "Prints the server's log as it is written, until it is interrupted. The level may be lower than the server's own.",
    examples: &[("Everything:", "monitor -log-level=trace")],
    own: &[
        Flag::new("log-format", Kind::Text, "standard or json.").default("standard").values(&["standard", "json"]),
        Flag::new("log-level", Kind::Text, "How much: trace, debug, info, warn or error.")
            .default("info")
            .values(&["trace", "debug", "info", "warn", "error"]),
    ],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(monitor),
};

fn monitor(call: &Call<'_>) -> Outcome {
    let (format, level) = (call.text("log-format").to_lowercase(), call.text("log-level").to_lowercase());
    if !["standard", "json"].contains(&format.as_str()) {
        return Err(Failure::usage(format!("{format} is not a supported log format: standard and json are")));
    }
    if !["trace", "debug", "info", "warn", "error"].contains(&level.as_str()) {
        return Err(Failure::usage(format!(
            "{level} is an unknown log level. Valid log levels are: trace, debug, info, warn and error"
        )));
    }
    let request = Request::get("sys/monitor").query("log_level", level).query("log_format", format);
    call.client()?
        .stream(&request, None, |piece| {
            call.print(&String::from_utf8_lossy(piece));
            !call.context.output_failed()
        })
        .because(|| "Error starting monitor".into())?;
    Ok(0)
}
