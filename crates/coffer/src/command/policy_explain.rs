//! `policy explain` asks the server, `policy test` decides here; both print the same.

use super::basic::nothing;
use super::data::opened;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, Format};
use coffer_client::Request;
use coffer_core::policy::{Ask, NoParameters, Parameters, Policy, compile};
use coffer_types::json::{Limits, Object, parse};
use coffer_types::{Clock, Json, Operation, SystemClock};
use std::fmt::Write as _;
use std::sync::Arc;

pub(crate) const COMMANDS: &[&Command] = &[&EXPLAIN, &TEST];

const OPERATION: Flag = Flag::new("operation", Kind::Text, "The operation.")
    .default("read")
    .values(&["create", "read", "update", "patch", "delete", "list", "scan"]);
const PATH: Flag =
    Flag::new("path", Kind::Text, "The path of the API, as policies name it: for KV with versions with data/ in it.");

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
        OPERATION.copy(),
        PATH.copy(),
        Flag::new("policy", Kind::List, "A policy to decide by in place of the token's. May be given several times."),
        Flag::new("token", Kind::Text, "Another's token. - reads it from standard input."),
    ],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(explain),
};

fn explain(call: &Call<'_>) -> Outcome {
    let mut body = Object::new().with("path", path(call)?).with("operation", call.text("operation"));
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
    match found.as_object() {
        Some(object) if object.contains("allowed") => show(call, object),
        _ => Err(nothing("sys/policies/explain")),
    }
}

fn path<'c>(call: &'c Call<'_>) -> Outcome<&'c str> {
    match call.text("path").trim().trim_start_matches('/') {
        "" => Err(Failure::usage("Must specify the path with -path")),
        path => Ok(path),
    }
}

static TEST: Command = Command {
    path: "policy test",
    synopsis: "Try policy files out, without a server",
    args: "[FILE...]",
    about: "Decides by policy files, named with -policy or as arguments, what a token with all of them could do, with the decider that the server runs, and says why. Templates of identities stay unfilled.\n\nExit code 0 where the call is allowed, 2 where it is denied, 1 where a file is wrong.",
    examples: &[
        ("May a token with this policy read:", "policy test -path=secret/data/app -operation=read app.hcl"),
        ("May it write this field:", "policy test -policy=app.hcl -path=secret/data/app -operation=update -data=ttl=1h"),
    ],
    own: &[
        Flag::new("data", Kind::Pairs, "A field of the request, as KEY=VALUE. May be given several times."),
        Flag::new("data-file", Kind::Text, "A file with the request's body in JSON."),
        Flag::new(
            "kv2-mount",
            Kind::List,
            "The path of an engine for secrets with versions, for hints. May be given several times.",
        )
        .default("secret"),
        OPERATION.copy(),
        PATH.copy(),
        Flag::new("policy", Kind::List, "A policy file. May be given several times."),
        Flag::new("wrap-ttl", Kind::Span, "The time for which the request asks its answer to be wrapped."),
    ],
    output: Output::Format,
    http: false,
    arity: Arity::Any,
    run: Run::Call(test),
};

fn test(call: &Call<'_>) -> Outcome {
    let path = path(call)?;
    let word = call.text("operation");
    let operation = Operation::parse(word).ok_or_else(|| {
        let known: Vec<&str> = Operation::ALL.iter().map(|o| o.as_str()).collect();
        Failure::usage(format!("There is no operation {word:?}: {} are known", known.join(", ")))
    })?;
    let files: Vec<&String> = call.list("policy").iter().chain(&call.args).collect();
    if files.is_empty() {
        return Err(Failure::usage("Not enough arguments (expected at least one policy file, got 0)"));
    }
    let policies: Vec<Arc<Policy>> = files.into_iter().map(|file| read(file).map(Arc::new)).collect::<Outcome<_>>()?;
    let compiled = compile(&policies, &(), SystemClock.now()).map_err(|e| Failure::usage(e.to_string()))?;
    let fields = fields(call)?;
    let parameters: &dyn Parameters = match &fields {
        Some(fields) => fields,
        None => &NoParameters,
    };
    let mounts: Vec<String> = call.list("kv2-mount").iter().map(|m| crate::cli::call::with_slash(m)).collect();
    let mounts: Vec<&str> = mounts.iter().map(String::as_str).collect();
    // Which routes ask for sudo besides is known to a server, not to a file.
    let ask = Ask { operation, path, parameters, wrap_ttl: call.span("wrap-ttl"), sudo: false };
    show(call, &compiled.explain(&ask, &mounts).to_json())
}

/// A policy is called as its file is, without what follows the dot.
fn read(file: &str) -> Outcome<Policy> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Failure::usage(format!("Error opening policy file: {}", opened(file, &e))))?;
    let name = std::path::Path::new(file).file_stem().map_or_else(|| file.to_owned(), |n| n.to_string_lossy().into_owned());
    Policy::parse(&name, &text).map_err(|e| Failure::usage(format!("{file}: {e}")))
}

fn fields(call: &Call<'_>) -> Outcome<Option<Object>> {
    let mut fields: Object = call.pairs("data").iter().map(|(k, v)| (k.as_str(), Json::from(v))).collect();
    let file = call.text("data-file");
    if !file.is_empty() {
        let text = std::fs::read(file).map_err(|e| Failure::usage(opened(file, &e)))?;
        let body = parse(&text, &Limits::NONE).map_err(|fault| Failure::usage(format!("{file}: {fault}")))?;
        for (name, value) in body.into_object().ok_or_else(|| Failure::usage(format!("{file}: a JSON object expected")))? {
            fields.insert(name, value);
        }
    }
    Ok((!fields.is_empty()).then_some(fields))
}

fn show(call: &Call<'_>, found: &Object) -> Outcome {
    if call.format()? == Format::Table {
        call.print(&sentences(call.text("operation"), call.text("path"), found));
    } else {
        output::value(call, &Json::Object(found.clone()), |_| Vec::new())?;
    }
    Ok(if allowed(found) { 0 } else { 2 })
}

fn allowed(found: &Object) -> bool {
    found.get("allowed").and_then(Json::as_bool).unwrap_or(false)
}

/// The decision for a person: what, why, which rule, which others.
fn sentences(operation: &str, path: &str, found: &Object) -> String {
    let text = |value: &Json, name: &str| value.get(name).map(output::go::text).unwrap_or_default();
    let list = |name: &str| found.get(name).and_then(Json::as_array).unwrap_or_default();
    let mut out = format!("{}: {operation} on {path}\n", if allowed(found) { "Allowed" } else { "Denied" });
    let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();
    if let Some(because) = found.get("because").and_then(Json::as_str) {
        line(format!("Because {because}."));
    }
    let rule = |source: &Json| {
        let capabilities = source.get("capabilities").and_then(Json::as_array).unwrap_or_default();
        let capabilities: Vec<&str> = capabilities.iter().filter_map(Json::as_str).collect();
        format!(
            "  policy {:?}, line {}: path {:?} [{}]",
            text(source, "policy"),
            text(source, "line"),
            text(source, "path"),
            capabilities.join(", ")
        )
    };
    for (name, heading) in [("decided_by", "Decided by:"), ("others", "Did not decide:")] {
        if list(name).is_empty() {
            continue;
        }
        line(format!("\n{heading}"));
        for source in list(name) {
            let why = text(source, "why");
            line(if why.is_empty() { rule(source) } else { format!("{}\n      {why}", rule(source)) });
        }
    }
    let left_out = found.get("others_left_out").and_then(Json::as_i64).unwrap_or(0);
    if left_out > 0 {
        line(format!("  and {left_out} more"));
    }
    for hint in list("hints") {
        line(format!("\nHint: {}", hint.as_str().unwrap_or_default()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decision_stands_first_and_the_hint_last() {
        let policy = Policy::parse("app", "path \"secret/app/*\" { capabilities = [\"read\"] }").unwrap();
        let compiled = compile(&[Arc::new(policy)], &(), SystemClock.now()).unwrap();
        let ask =
            Ask { operation: Operation::Read, path: "secret/data/app/x", parameters: &NoParameters, wrap_ttl: None, sudo: false };
        let text = sentences("read", ask.path, &compiled.explain(&ask, &["secret/"]).to_json());
        assert!(text.starts_with("Denied: read on secret/data/app/x\nBecause "), "{text}");
        assert!(text.contains("policy \"app\", line 1: path \"secret/app/*\" [read]"), "{text}");
        assert!(text.lines().last().is_some_and(|l| l.starts_with("Hint: ") && l.contains("data/")), "{text}");
    }
}
