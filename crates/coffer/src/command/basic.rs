//! `read`, `write`, `list`, `scan`, `delete`, `patch`, `unwrap`: any path of the API.

use super::data;
use crate::cli::call::sanitize;
use crate::cli::options::PAGES;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{Format, answer};
use coffer_client::{Answer, Request};
use coffer_types::json::Object;
use coffer_types::{Json, Secret};

pub(crate) const COMMANDS: &[&Command] = &[&READ, &WRITE, &LIST, &SCAN, &DELETE, &PATCH, &UNWRAP];

const FORCE: &[Flag] = &[Flag::new("force", Kind::Switch, "Go on without any data, for paths that need none.").alias(&["f"])];

static READ: Command = Command {
    path: "read",
    synopsis: "Read what stands at a path",
    args: "PATH [KEY=VALUE...]",
    about: "Reads any path of the API: a secret, a configuration, fresh credentials. Pairs behind the path become the query.",
    examples: &[
        ("Read a configuration:", "read sys/mounts"),
        ("Print one field of a certificate authority:", "read -field=certificate pki/cert/ca"),
    ],
    own: &[],
    output: Output::Field,
    http: true,
    arity: Arity::AtLeast(1),
    run: Run::Call(read),
};

fn read(call: &Call<'_>) -> Outcome {
    let path = call.path(0);
    let request = with_query(Request::get(&path), &data::read(call, &call.args[1..])?);
    let response = match found(call.send(&request)) {
        Ok(Some(response)) => response,
        Ok(None) => return Err(nothing(&path)),
        Err(failure) => return Err(failure).because(|| format!("Error reading {path}")),
    };
    if call.format()? == Format::Raw {
        call.print(&String::from_utf8_lossy(&response));
        return Ok(0);
    }
    match envelope(&response)? {
        Some(found) => answer::print(call, &found),
        None => Err(nothing(&path)),
    }
}

/// A reply's body, or `None` for a 404 that has nothing to say.
fn found(sent: Outcome<coffer_client::Response>) -> Outcome<Option<zeroize::Zeroizing<Vec<u8>>>> {
    match sent {
        Ok(response) => Ok(Some(response.body)),
        Err(failure) => match not_found_body(&failure) {
            Some(body) => Ok(body),
            None => Err(failure),
        },
    }
}

static WRITE: Command = Command {
    path: "write",
    synopsis: "Write data to a path",
    args: "PATH [KEY=VALUE...]",
    about: "Writes to any path of the API. A value that begins with @ is read from that file, - from standard input; \"@file\" or \"-\" alone is a JSON object of all fields. A key given twice becomes a list.",
    examples: &[
        ("Create a key of the transit engine:", "write -f transit/keys/orders"),
        ("Create a user, the password not in the history:", "write auth/userpass/users/bob password=-"),
        ("All fields from a file:", "write auth/approle/role/web @role.json"),
    ],
    own: FORCE,
    output: Output::Field,
    http: true,
    arity: Arity::AtLeast(1),
    run: Run::Call(|call| put(call, Request::put)),
};

static PATCH: Command = Command {
    path: "patch",
    synopsis: "Change some fields at a path",
    args: "PATH [KEY=VALUE...]",
    about: "Changes the fields named and leaves the others, where the path knows how to. Pairs are read as \"write\" reads them.",
    examples: &[("Change one field of a role:", "patch pki/roles/web max_ttl=72h")],
    own: FORCE,
    output: Output::Field,
    http: true,
    arity: Arity::AtLeast(1),
    run: Run::Call(|call| put(call, Request::patch)),
};

fn put(call: &Call<'_>, request: fn(String) -> Request) -> Outcome {
    let path = call.path(0);
    let data = data::read(call, &call.args[1..])?;
    if data.is_empty() && !call.on("force") {
        return Err(Failure::usage("Must supply data or use -force"));
    }
    let request = request(path.clone());
    let request = if data.is_empty() { request } else { request.json(sorted(data)) };
    let answer = call.ask(&request).because(|| format!("Error writing data to {path}"))?;
    written(call, &path, answer)
}

/// Members by name, as the reference sends them.
pub(crate) fn sorted(mut data: Object) -> Object {
    data.sort();
    data
}

/// What a write answered with, or that it was done.
pub(crate) fn written(call: &Call<'_>, path: &str, answer: Option<Answer>) -> Outcome {
    match answer {
        Some(found) => answer::print(call, &found),
        None => {
            if call.format()? == Format::Table {
                call.line(&format!("Success! Data written to: {path}"));
            }
            Ok(0)
        }
    }
}

static LIST: Command = Command {
    path: "list",
    synopsis: "List the keys below a path",
    args: "PATH",
    about: "Lists what stands right below a path of the API. A key that ends with / has keys below it.",
    examples: &[
        ("List the roles of AppRole:", "list auth/approle/role"),
        ("In pages of fifty:", "list -limit=50 -after=last-key pki/certs"),
    ],
    own: PAGES,
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| list(call, Request::list, "listing")),
};

static SCAN: Command = Command {
    path: "scan",
    synopsis: "List all keys below a path, however deep",
    args: "PATH",
    about: "Lists everything below a path of the API in one request, where the engine knows how to.",
    examples: &[("Every secret of an engine:", "scan secret/metadata")],
    own: PAGES,
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| list(call, Request::scan, "scanning")),
};

fn list(call: &Call<'_>, request: fn(String) -> Request, doing: &str) -> Outcome {
    let path = call.path(0);
    keys(call, paged(call, request(path.clone())), &path, doing)
}

/// The query of `-after` and `-limit`.
pub(crate) fn paged(call: &Call<'_>, mut request: Request) -> Request {
    if !call.text("after").is_empty() {
        request = request.query("after", call.text("after"));
    }
    if call.int("limit") > 0 {
        request = request.query("limit", call.int("limit").to_string());
    }
    request
}

pub(crate) fn keys(call: &Call<'_>, request: Request, path: &str, doing: &str) -> Outcome {
    let answer = match found(call.send(&request)) {
        Ok(Some(body)) => envelope(&body)?,
        Ok(None) => None,
        Err(failure) => return Err(failure).because(|| format!("Error {doing} {path}")),
    };
    answer::keys(call, path, answer.as_ref())
}

static DELETE: Command = Command {
    path: "delete",
    synopsis: "Delete what stands at a path",
    args: "PATH [KEY=VALUE...]",
    about: "Deletes at any path of the API. What that means is the engine's to say. Pairs behind the path become the query.",
    examples: &[("Delete a role:", "delete auth/approle/role/web")],
    own: &[],
    output: Output::Field,
    http: true,
    arity: Arity::AtLeast(1),
    run: Run::Call(delete),
};

fn delete(call: &Call<'_>) -> Outcome {
    let path = call.path(0);
    let request = with_query(Request::delete(&path), &data::read(call, &call.args[1..])?);
    match call.ask(&request).because(|| format!("Error deleting {path}"))? {
        Some(found) if call.field().is_some() || !found.warnings.is_empty() || found.data.is_some() => {
            answer::print(call, &found)
        }
        _ => {
            if call.format()? == Format::Table {
                call.line(&format!("Success! Data deleted (if it existed) at: {path}"));
            }
            Ok(0)
        }
    }
}

static UNWRAP: Command = Command {
    path: "unwrap",
    synopsis: "Open a wrapped answer",
    args: "[TOKEN]",
    about: "Opens the answer that a wrapping token stands for, once; a second time fails. Without an argument the token that commands carry is opened.",
    examples: &[("Open what was handed over:", "unwrap hvs.CAESIJ")],
    own: &[],
    output: Output::Field,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(unwrap),
};

fn unwrap(call: &Call<'_>) -> Outcome {
    let mut request = Request::put("sys/wrapping/unwrap");
    if let Some(token) = call.args.first() {
        request = request.json(Object::new().with("token", token.trim()));
        if call.client()?.config().token.is_none() {
            // Whoever holds a wrapping token may open it without another.
            request = Request::put("sys/wrapping/unwrap").with_token(Secret::from(token.trim()));
        }
    }
    match call.ask(&request).because(|| "Error unwrapping".into())? {
        Some(found) => answer::print(call, &found),
        None => Err(Failure::server("Could not find wrapped response")),
    }
}

/// The pairs as a query; a list becomes several.
fn with_query(mut request: Request, data: &Object) -> Request {
    for (name, value) in data.iter() {
        let values = value.as_array().map_or_else(|| vec![value], |list| list.iter().collect());
        for value in values {
            request = request.query(name, crate::output::go::text(value));
        }
    }
    request
}

pub(crate) fn nothing(path: &str) -> Failure {
    Failure::server(format!("No value found at {path}"))
}

/// The envelope of a body.
pub(crate) fn envelope(body: &[u8]) -> Outcome<Option<Answer>> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let json = coffer_types::json::parse(body, &coffer_types::json::Limits::NONE).map_err(|fault| {
        Failure::server(format!("The answer is not JSON: {fault}")).hint("The format raw prints it as it is.")
    })?;
    Ok(Answer::read(json))
}

/// For a 404: the body where it has data or warnings, else `Some(None)`; for anything else `None`.
fn not_found_body(failure: &Failure) -> Option<Option<zeroize::Zeroizing<Vec<u8>>>> {
    let body = failure.not_found.as_ref()?;
    let json = coffer_types::json::parse(body.as_bytes(), &coffer_types::json::Limits::NONE).ok();
    let speaks = json.is_some_and(|json| {
        json.get("data").is_some_and(|d| !d.is_null())
            || json.get("warnings").and_then(Json::as_array).is_some_and(|w| !w.is_empty())
    });
    Some(speaks.then(|| zeroize::Zeroizing::new(body.clone().into_bytes())))
}

/// Reads a path; a 404 without data is `None`, one with data (a deleted version) is that data.
pub(crate) fn read_at(call: &Call<'_>, request: &Request) -> Outcome<Option<Answer>> {
    match found(call.send(request))? {
        Some(body) => envelope(&body),
        None => Ok(None),
    }
}

/// The path of an engine with a slash behind it.
pub(crate) fn mount_path(path: &str) -> String {
    format!("{}/", sanitize(path))
}
