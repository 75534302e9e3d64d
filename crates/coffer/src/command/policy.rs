//! `policy`: who may do what, written, read, tried out and explained.

use super::data::opened;
use crate::cli::{Arity, Because, Call, Command, Failure, Outcome, Output, Run};
use crate::output::{self, Format};
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;
use zeroize::Zeroizing;

pub(crate) const COMMANDS: &[&Command] = &[&POLICY, &LIST, &READ, &WRITE, &DELETE, &FMT];

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
    about: "Prints the text of a policy as it was written. \"root\" has none: it allows everything.",
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
    let Some(text) = found
        .as_ref()
        .and_then(|f| f.get("policy").or_else(|| f.get("rules")))
        .and_then(Json::as_str)
        .filter(|text| !text.is_empty())
    else {
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
