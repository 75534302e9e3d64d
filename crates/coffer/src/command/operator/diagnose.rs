//! `operator diagnose` and `operator validate-config`: is this configuration good, on this machine?

use super::checks::{self, Check, State};
use crate::cli::{Arity, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, Format};
use coffer_server::config::{Finding, Level, Loaded, environment, load};
use coffer_server::start::solo::{Places, SoloOptions};
use coffer_types::Json;
use coffer_types::json::Object;
use std::path::PathBuf;

pub(super) const COMMANDS: &[&Command] = &[&DIAGNOSE, &VALIDATE_CONFIG];

const CONFIG: Flag =
    Flag::new("config", Kind::List, "A configuration file (HCL or JSON), or a directory of them. May be given several times.");

static DIAGNOSE: Command = Command {
    path: "operator diagnose",
    synopsis: "Find out why a server does not start, or should not",
    args: "",
    about: "Reads a server's configuration and checks what it needs of this machine: limits, the data's directory and who can read it, the seal's key and where it lies, certificates and their dates, addresses. Run it as the user that runs the server, while the server is not running, or with -skip=listener. Without -config it looks at what a server without configuration uses.\n\nExit code 0 where all is well, 2 where there are warnings, 1 where something is wrong, 4 where the configuration can't be read.",
    examples: &[
        ("Before the first start:", "operator diagnose -config=/etc/coffer"),
        ("While it runs:", "operator diagnose -config=/etc/coffer -skip=listener"),
        ("A server without configuration:", "operator diagnose -data=/srv/coffer -seal-key=/etc/coffer/seal.key"),
    ],
    own: &[
        CONFIG.copy(),
        Flag::new("data", Kind::Text, "Without -config: the directory that keeps the data.").env("DATA_DIR"),
        Flag::new("debug", Kind::Switch, "Show what is well in detail, too."),
        Flag::new("seal-key", Kind::Text, "Without -config: the file of the key that seals the data."),
        Flag::new(
            "skip",
            Kind::List,
            "A group of checks to leave out: listener, storage, seal or audit. May be given several times.",
        )
        .values(&["listener", "storage", "seal", "audit"]),
    ],
    output: Output::Format,
    http: false,
    arity: Arity::Exactly(0),
    run: Run::Call(diagnose),
};

fn diagnose(call: &Call<'_>) -> Outcome {
    let skip: Vec<&str> =
        call.list("skip").iter().flat_map(|s| s.split(',')).map(|s| if s == "autounseal" { "seal" } else { s }).collect();
    if let Some(unknown) = skip.iter().find(|s| !["listener", "storage", "seal", "audit"].contains(s)) {
        return Err(Failure::usage(format!(
            "invalid value {unknown:?} for flag -skip: listener, storage, seal and audit are known"
        )));
    }
    let mut root = Check::group(&format!("{} Diagnose", call.context.product()), vec![checks::machine()]);
    let mut unreadable = false;
    if call.list("config").is_empty() {
        let path = |name: &str| Some(call.text(name)).filter(|text| !text.is_empty()).map(PathBuf::from);
        let options = SoloOptions { data: path("data"), seal_key: path("seal-key"), listen: None };
        let places = Places::find(&options, |name| call.context.env.raw(name)).map_err(|e| Failure::usage(e.to_string()))?;
        root.children.push(Check::new(
            "Without Configuration",
            State::Success,
            format!("Data in {}, their key in {}.", places.data.display(), places.seal_key.display()),
        ));
        if !skip.contains(&"storage") {
            root.children.push(checks::data_directory(&places.data));
        }
        if !skip.contains(&"seal") {
            root.children.push(checks::key_file(&places.seal_key, Some(&places.data)));
        }
    } else {
        match read(call) {
            Ok(loaded) => {
                root.children.push(parsed(&loaded.findings));
                if !skip.contains(&"storage") {
                    root.children.push(checks::storage(&loaded.config));
                }
                if !skip.contains(&"seal") {
                    root.children.push(checks::seal(&loaded.config, |name| call.context.env.raw(name)));
                }
                if !skip.contains(&"listener") {
                    root.children.push(checks::listeners(&loaded.config));
                }
                if !skip.contains(&"audit") {
                    root.children.push(checks::audit(&loaded.config));
                }
            }
            Err(why) => {
                unreadable = true;
                root.children.push(Check::new("Parse Configuration", State::Failure, why));
            }
        }
    }
    let state = root.settle();
    if call.format()? == Format::Table {
        call.line("Results:");
        print(call, &root, 0);
    } else {
        output::value(call, &json(&root), |_| Vec::new())?;
    }
    Ok(match state {
        _ if unreadable => 4,
        State::Failure => 1,
        State::Warning => 2,
        State::Success => 0,
    })
}

static VALIDATE_CONFIG: Command = Command {
    path: "operator validate-config",
    synopsis: "Check a configuration without looking at the machine",
    args: "",
    about: "Reads a server's configuration and says what is wrong or unknown in it. Nothing is opened or bound. Exit code 0 where it is good, 1 where not, 3 without -config.",
    examples: &[("Check a file:", "operator validate-config -config=coffer.hcl")],
    own: &[CONFIG.copy()],
    output: Output::Format,
    http: false,
    arity: Arity::Exactly(0),
    run: Run::Call(validate),
};

fn validate(call: &Call<'_>) -> Outcome {
    if call.list("config").is_empty() {
        return Err(no_configuration());
    }
    let mut check = match read(call) {
        Ok(loaded) => parsed(&loaded.findings),
        Err(why) => Check::new("Validate Config", State::Failure, why),
    };
    "Validate Config".clone_into(&mut check.name);
    let state = check.settle();
    if call.format()? == Format::Table {
        print(call, &check, 0);
    } else {
        output::value(call, &json(&check), |_| Vec::new())?;
    }
    Ok(if state == State::Failure { 1 } else { 0 })
}

fn no_configuration() -> Failure {
    let mut failure = Failure::usage("Must specify a configuration file using -config.");
    failure.code = 3;
    failure
}

/// What the server would read, with what the environment overrides.
fn read(call: &Call<'_>) -> Result<Loaded, String> {
    let paths: Vec<PathBuf> = call.list("config").iter().map(PathBuf::from).collect();
    load(&paths, &environment(|name| call.context.env.raw(name))).map_err(|e| format!("Could not parse configuration: {e}."))
}

fn parsed(findings: &[Finding]) -> Check {
    let children = findings
        .iter()
        .map(|finding| {
            let state = if finding.level == Level::Note { State::Success } else { State::Warning };
            Check::new(&finding.at.to_string(), state, finding.text.clone())
        })
        .collect();
    Check::group("Parse Configuration", children)
}

fn print(call: &Call<'_>, check: &Check, depth: usize) {
    let message = if check.message.is_empty() { String::new() } else { format!(": {}", check.message) };
    call.line(&format!("{}[ {} ] {}{message}", "  ".repeat(depth), check.state.word(), check.name));
    for child in &check.children {
        print(call, child, depth + 1);
    }
}

fn json(check: &Check) -> Json {
    let mut object = Object::new().with("name", &check.name).with("status", check.state.word());
    if !check.message.is_empty() {
        object.insert("message", &check.message);
    }
    if !check.children.is_empty() {
        object.insert("children", Json::Array(check.children.iter().map(json).collect()));
    }
    Json::Object(object)
}
