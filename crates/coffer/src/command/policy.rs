//! `policy`: who may do what, written, read, tried out and explained.

use super::basic::nothing;
use super::data::opened;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, Format, go, table};
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;
use zeroize::Zeroizing;

pub(crate) const COMMANDS: &[&Command] = &[&POLICY, &LIST, &READ, &WRITE, &DELETE, &FMT, &EXPLAIN];

static POLICY: Command = Command {
    path: "policy",
    synopsis: "Write, read, explain and format policies",
    args: "",
    about: "A policy allows operations on paths. What no policy allows is denied.",
    examples: &[
        ("Write one:", "policy write app app.hcl"),
        ("Why may I not read this:", "policy explain -path=secret/data/app -operation=read"),
    ],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static LIST: Command = Command {
    path: "policy list",
    synopsis: "List policies",
    args: "",
    about: "Lists the names of the policies that the server keeps.",
    examples: &[("List them:", "policy list")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(|call| {
        let found = call.ask(&Request::list("sys/policies/acl")).because(|| "Error listing policies".into())?.unwrap_or_default();
        let names: Vec<String> = found.keys().unwrap_or_default().into_iter().map(str::to_owned).collect();
        if call.format()? == Format::Table {
            call.print(&names.iter().map(|n| format!("{n}\n")).collect::<String>());
            return Ok(0);
        }
        output::value(call, &Json::from(names), |_| Vec::new())
    }),
};

static READ: Command = Command {
    path: "policy read",
    synopsis: "Print a policy",
    args: "NAME",
    about: "Prints the text of a policy as it was written.",
    examples: &[("Print one:", "policy read app")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(read),
};

fn read(call: &Call<'_>) -> Outcome {
    let name = call.arg(0).trim().to_lowercase();
    let found = match call.ask(&Request::get(format!("sys/policies/acl/{name}"))) {
        Err(failure) if failure.status == 404 => None,
        found => found.because(|| format!("Error reading policy named {name}"))?,
    };
    let Some(text) = found.as_ref().and_then(|f| f.get("policy").or_else(|| f.get("rules"))).and_then(Json::as_str) else {
        return Err(Failure::server(format!("No policy named: {name}"))
            .hint(format!("\"{} policy list\" shows those that there are.", call.context.program)));
    };
    if call.format()? == Format::Table {
        call.line(text.trim());
        return Ok(0);
    }
    output::value(call, &Json::from(Object::new().with("policy", text)), |_| Vec::new())
}

static WRITE: Command = Command {
    path: "policy write",
    synopsis: "Write a policy",
    args: "NAME FILE",
    about: "Writes a policy from a file, or from standard input where FILE is -. It is in force at once, for tokens that are already out too.",
    examples: &[("From a file:", "policy write app app.hcl"), ("From standard input:", "policy write app -")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(2),
    run: Run::Call(write),
};

fn write(call: &Call<'_>) -> Outcome {
    let name = call.arg(0).trim().to_lowercase();
    let text = match call.arg(1).trim() {
        "-" => call.stdin()?,
        file => Zeroizing::new(
            std::fs::read_to_string(file)
                .map_err(|e| Failure::server(format!("Error opening policy file: {}", opened(file, &e))))?,
        ),
    };
    let request = Request::put(format!("sys/policies/acl/{name}")).json(Object::new().with("policy", text.as_str()));
    call.send(&request).because(|| "Error uploading policy".into())?;
    call.line(&format!("Success! Uploaded policy: {name}"));
    Ok(0)
}

static DELETE: Command = Command {
    path: "policy delete",
    synopsis: "Delete a policy",
    args: "NAME",
    about: "Deletes a policy. Tokens that have it lose what it allowed at once.",
    examples: &[("Delete one:", "policy delete app")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let name = call.arg(0).trim().to_lowercase();
        call.send(&Request::delete(format!("sys/policies/acl/{name}"))).because(|| format!("Error deleting {name}"))?;
        call.line(&format!("Success! Deleted policy: {name}"));
        Ok(0)
    }),
};

static FMT: Command = Command {
    path: "policy fmt",
    synopsis: "Format a policy file",
    args: "FILE",
    about: "Rewrites a file of HCL in its canonical form; comments stay. Needs no server.",
    examples: &[("Format a file:", "policy fmt app.hcl")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Exactly(1),
    run: Run::Call(fmt),
};

fn fmt(call: &Call<'_>) -> Outcome {
    let file = call.arg(0).trim();
    let text =
        std::fs::read_to_string(file).map_err(|e| Failure::usage(format!("Error reading source file: {}", opened(file, &e))))?;
    let formatted = coffer_hcl::format(&text).map_err(|e| Failure::usage(format!("failed to parse policy: {e}")))?;
    if formatted != text {
        std::fs::write(file, formatted).map_err(|e| Failure::usage(format!("Error writing result: {}", opened(file, &e))))?;
    }
    call.line(&format!("Success! Formatted policy: {file}"));
    Ok(0)
}

static EXPLAIN: Command = Command {
    path: "policy explain",
    synopsis: "Say which rule allows or denies a call, and why",
    args: "",
    about: "Asks the server what it would decide for an operation on a path, which rule of which policy decides it, and why others do not match. For one's own token; with -token or -policy for another's, which needs sudo.\n\nExit code 0 where the call is allowed, 2 where it is denied.",
    examples: &[
        ("May I read this:", "policy explain -path=secret/data/app -operation=read"),
        (
            "May a token with these policies:",
            "policy explain -policy=app -policy=default -path=secret/data/app -operation=update",
        ),
    ],
    own: &[
        Flag::new("operation", Kind::Text, "The operation.")
            .default("read")
            .values(&["create", "read", "update", "patch", "delete", "list", "scan", "recover"]),
        Flag::new("path", Kind::Text, "The path of the API, as policies name it: for KV with versions with data/ in it."),
        Flag::new("policy", Kind::List, "A policy to decide by in place of the token's. May be given several times."),
        Flag::new("token", Kind::Text, "Another's token. - reads it from standard input."),
    ],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(explain),
};

fn explain(call: &Call<'_>) -> Outcome {
    let path = call.text("path").trim().trim_start_matches('/');
    if path.is_empty() {
        return Err(Failure::usage("Must specify the path with -path"));
    }
    let mut body = Object::new().with("path", path).with("operation", call.text("operation"));
    match call.text("token") {
        "" => {}
        "-" => {
            body.insert("token", call.stdin()?.trim());
        }
        token => {
            body.insert("token", token);
        }
    }
    if !call.list("policy").is_empty() {
        if body.contains("token") {
            return Err(Failure::usage("Cannot use -token with -policy: decide by the one or the others"));
        }
        body.insert("policies", call.list("policy").iter().flat_map(|p| p.split(',')).map(str::to_owned).collect::<Vec<_>>());
    }
    let found = call.ask_data(&Request::post("sys/policies/explain").json(body)).because(|| "Error explaining".into())?;
    let Some(object) = found.as_object() else {
        return Err(nothing("sys/policies/explain"));
    };
    let allowed = object.get("allowed").and_then(Json::as_bool).unwrap_or(false);
    output::value(call, &found, |_| explained(object))?;
    Ok(if allowed { 0 } else { 2 })
}

/// One line a member; lists of reasons one line each.
fn explained(found: &Object) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (name, value) in found.iter() {
        match value {
            Json::Array(items) if !items.is_empty() => {
                for (i, item) in items.iter().enumerate() {
                    rows.push((if i == 0 { name.to_owned() } else { " ".to_owned() }, one_line(item)));
                }
            }
            value => rows.push((name.to_owned(), one_line(value))),
        }
    }
    table::pairs(rows)
}

fn one_line(value: &Json) -> String {
    match value {
        Json::Object(object) => object.iter().map(|(k, v)| format!("{k}: {}", go::text(v))).collect::<Vec<_>>().join(", "),
        value => go::text(value),
    }
}
