//! `token`: made, looked at, renewed, revoked.

use super::basic::nothing;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{self, answer, table};
use coffer_client::Request;
use coffer_types::json::Object;
use coffer_types::{Json, Span};

pub(crate) const COMMANDS: &[&Command] = &[&TOKEN, &CREATE, &LOOKUP, &RENEW, &REVOKE, &CAPABILITIES];

static TOKEN: Command = Command {
    path: "token",
    synopsis: "Create, look at, renew and revoke tokens",
    args: "",
    about: "A token says who calls and what is allowed. An accessor names a token without being one.",
    examples: &[("Who am I:", "token lookup"), ("A token for a program:", "token create -policy=app -ttl=1h")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

const ACCESSOR: Flag = Flag::new("accessor", Kind::Switch, "The argument is an accessor, not a token.");

static CREATE: Command = Command {
    path: "token create",
    synopsis: "Create a token",
    args: "",
    about: "Creates a child of the token that the command carries, with the same policies unless -policy names others. It lives as long as its parent at most, unless it is an orphan.",
    examples: &[
        ("For a program, for an hour:", "token create -policy=app -ttl=1h"),
        ("Only the token, for a script:", "token create -field=token -policy=app"),
        ("One that must be renewed every day:", "token create -policy=app -period=24h"),
    ],
    own: &[
        Flag::new("display-name", Kind::Text, "A name that audit logs show."),
        Flag::new("entity-alias", Kind::Text, "The alias of the entity that the token is for. Only with -role."),
        Flag::new("explicit-max-ttl", Kind::Span, "How long it may live at most, whatever is renewed."),
        Flag::new("id", Kind::Text, "The token itself. Needs sudo; for tests."),
        Flag::new("metadata", Kind::Pairs, "A note that audit logs show, as KEY=VALUE. May be given several times."),
        Flag::new("no-default-policy", Kind::Switch, "Without the policy \"default\"."),
        Flag::new("orphan", Kind::Switch, "Without a parent, so that it outlives the one that made it. Needs sudo."),
        Flag::new("period", Kind::Span, "Each renewal makes it live so long again, for ever. Needs sudo."),
        Flag::new("policy", Kind::List, "A policy that it has. May be given several times."),
        Flag::new("renewable", Kind::Switch, "Whether it can be renewed.").default("true"),
        Flag::new("role", Kind::Text, "The token role to create it with, which may overrule the other flags."),
        Flag::new("ttl", Kind::Span, "How long it lives."),
        Flag::new("type", Kind::Text, "service, or batch for one that is not stored.")
            .default("service")
            .values(&["service", "batch"]),
        Flag::new("use-limit", Kind::Int, "How often it may be used. 0 for no limit."),
    ],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(create),
};

fn create(call: &Call<'_>) -> Outcome {
    let kind = call.text("type");
    let span = |name: &str| call.span(name).unwrap_or(Span::ZERO).to_string();
    let mut body = Object::new();
    if call.given("id") {
        body.insert("id", call.text("id"));
    }
    if !call.list("policy").is_empty() {
        body.insert(
            "policies",
            call.list("policy").iter().flat_map(|p| p.split(',')).map(|p| p.trim().to_owned()).collect::<Vec<_>>(),
        );
    }
    if !call.pairs("metadata").is_empty() {
        body.insert("meta", call.pairs("metadata").iter().map(|(k, v)| (k.as_str(), Json::from(v))).collect::<Object>());
    }
    body = body.with("ttl", span("ttl")).with("explicit_max_ttl", span("explicit-max-ttl")).with("period", span("period"));
    if call.on("orphan") {
        body.insert("no_parent", true);
    }
    if call.on("no-default-policy") {
        body.insert("no_default_policy", true);
    }
    // A batch token can't be renewed, and to ask for it is an error of its own.
    let renewable = call.on("renewable") && kind != "batch";
    let body = body
        .with("display_name", call.text("display-name"))
        .with("num_uses", call.int("use-limit"))
        .with("renewable", renewable)
        .with("type", kind)
        .with("entity_alias", call.text("entity-alias"));
    let path = match call.text("role") {
        "" => "auth/token/create".to_owned(),
        role => format!("auth/token/create/{role}"),
    };
    let found = call.ask(&Request::post(path).json(body)).because(|| "Error creating token".into())?;
    answer::print(call, &found.unwrap_or_default())
}

static LOOKUP: Command = Command {
    path: "token lookup",
    synopsis: "Look at a token",
    args: "[TOKEN|ACCESSOR]",
    about: "Prints what is known of a token: its policies, how long it lives, what it came from. Without an argument of the one that commands carry.",
    examples: &[
        ("Who am I:", "token lookup"),
        ("One that I know by its accessor:", "token lookup -accessor 8OZ48ZoNXFGATpbnQPFjzx4R"),
    ],
    own: &[ACCESSOR],
    output: Output::Field,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(lookup),
};

fn lookup(call: &Call<'_>) -> Outcome {
    let request = match (call.on("accessor"), call.args.first()) {
        (true, None) => return Err(Failure::usage("Not enough arguments with -accessor (expected 1, got 0)")),
        (true, Some(accessor)) => {
            Request::post("auth/token/lookup-accessor").json(Object::new().with("accessor", accessor.trim()))
        }
        (false, Some(token)) => Request::post("auth/token/lookup").json(Object::new().with("token", token.trim())),
        (false, None) => Request::get("auth/token/lookup-self"),
    };
    let found = call.ask(&request).because(|| "Error looking up token".into())?;
    answer::print(call, &found.unwrap_or_default())
}

static RENEW: Command = Command {
    path: "token renew",
    synopsis: "Make a token live longer",
    args: "[TOKEN|ACCESSOR]",
    about: "Renews a token; without an argument the one that commands carry. It fails where the token is not renewable or as old as it may get.",
    examples: &[("Renew my own:", "token renew"), ("Ask for two hours:", "token renew -increment=2h hvs.CAESIJ")],
    own: &[
        ACCESSOR,
        Flag::new("increment", Kind::Span, "How long it is to live from now. The server may allow less.").alias(&["i"]),
    ],
    output: Output::Format,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(renew),
};

fn renew(call: &Call<'_>) -> Outcome {
    let seconds = call.span("increment").unwrap_or(Span::ZERO).secs();
    let body = Object::new().with("increment", seconds);
    let request = match (call.on("accessor"), call.args.first()) {
        (true, None) => return Err(Failure::usage("Not enough arguments with -accessor (expected 1, got 0)")),
        (true, Some(accessor)) => Request::post("auth/token/renew-accessor")
            .json(Object::new().with("accessor", accessor.trim()).with("increment", seconds)),
        (false, Some(token)) => Request::put("auth/token/renew").json(body.with("token", token.trim())),
        (false, None) => Request::put("auth/token/renew-self").json(body),
    };
    let found = call.ask(&request).because(|| "Error renewing token".into())?;
    answer::print(call, &found.unwrap_or_default())
}

static REVOKE: Command = Command {
    path: "token revoke",
    synopsis: "Revoke a token",
    args: "[TOKEN|ACCESSOR]",
    about: "Revokes a token and all its children, at once and for ever.",
    examples: &[
        ("A token and its children:", "token revoke hvs.CAESIJ"),
        ("By its accessor:", "token revoke -accessor 8OZ48ZoNXFGATpbnQPFjzx4R"),
        ("My own:", "token revoke -self"),
        ("Leave the children:", "token revoke -mode=orphan hvs.CAESIJ"),
    ],
    own: &[
        ACCESSOR,
        Flag::new(
            "mode",
            Kind::Text,
            "orphan leaves the children; path revokes every token made by the auth path that is the argument.",
        )
        .values(&["orphan", "path"]),
        Flag::new("self", Kind::Switch, "The token that the command carries."),
    ],
    output: Output::None,
    http: true,
    arity: Arity::Any,
    run: Run::Call(revoke),
};

fn revoke(call: &Call<'_>) -> Outcome {
    let (own, accessor, mode) = (call.on("self"), call.on("accessor"), call.text("mode"));
    let count = call.args.len();
    match (own, count) {
        (false, 0) => return Err(Failure::usage("Not enough arguments (expected 1 or -self, got 0)")),
        (true, 1..) => return Err(Failure::usage(format!("Too many arguments with -self (expected 0, got {count})"))),
        (false, 2..) => return Err(Failure::usage(format!("Too many arguments (expected 1 or -self, got {count})"))),
        _ => {}
    }
    if own && accessor {
        return Err(Failure::usage("Cannot use -self with -accessor!"));
    }
    if own && !mode.is_empty() {
        return Err(Failure::usage("Cannot use -self with -mode!"));
    }
    if accessor && !mode.is_empty() {
        return Err(Failure::usage("Cannot use -accessor with -mode!"));
    }
    let token = call.arg(0).trim();
    let body = Object::new().with("token", token);
    let request = match (own, accessor, mode) {
        (true, ..) => Request::put("auth/token/revoke-self"),
        (_, true, _) => Request::post("auth/token/revoke-accessor").json(Object::new().with("accessor", token)),
        (.., "") => Request::put("auth/token/revoke").json(body),
        (.., "orphan") => Request::put("auth/token/revoke-orphan").json(body),
        (.., "path") => Request::put(format!("sys/leases/revoke-prefix/{token}")),
        (.., other) => return Err(Failure::usage(format!("Invalid mode: {other}"))),
    };
    call.send(&request).because(|| "Error revoking token".into())?;
    call.line("Success! Revoked token (if it existed)");
    Ok(0)
}

static CAPABILITIES: Command = Command {
    path: "token capabilities",
    synopsis: "Print what a token may do at a path",
    args: "[TOKEN] PATH",
    about: "Prints the capabilities of a token at a path; without a token of the one that commands carry. \"policy explain\" says why.",
    examples: &[
        ("What may I do:", "token capabilities secret/data/app"),
        ("What may another do:", "token capabilities hvs.CAESIJ secret/data/app"),
    ],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Between(1, 2),
    run: Run::Call(capabilities),
};

fn capabilities(call: &Call<'_>) -> Outcome {
    let request = match call.args.as_slice() {
        [path] => Request::post("sys/capabilities-self").json(Object::new().with("path", path.trim())),
        _ => Request::post("sys/capabilities")
            .json(Object::new().with("path", call.arg(1).trim()).with("token", call.arg(0).trim())),
    };
    let found = call.ask_data(&request).because(|| "Error listing capabilities".into())?;
    let Some(list) = found.get("capabilities").and_then(Json::as_array) else {
        return Err(nothing("sys/capabilities"));
    };
    let mut names: Vec<String> = list.iter().filter_map(Json::as_str).map(str::to_owned).collect();
    names.sort();
    if call.format()? == output::Format::Table {
        call.line(&names.join(", "));
        return Ok(0);
    }
    output::value(call, &Json::from(names), |_| table::headed([], []))
}
