//! `namespace`: servers within a server, where the server has them.

use super::basic::{keys, nothing, read_at};
use super::mounts::DETAILED;
use crate::cli::call::with_slash;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::answer;
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;

pub(crate) const COMMANDS: &[&Command] = &[&NAMESPACE, &LIST, &SCAN, &LOOKUP, &CREATE, &PATCH, &DELETE, &LOCK, &UNLOCK];

static NAMESPACE: Command = Command {
    path: "namespace",
    synopsis: "List, create and change namespaces",
    args: "",
    about: "A namespace has its own engines, methods, policies and tokens. Servers may be without them.",
    examples: &[("List those right below:", "namespace list")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static LIST: Command = Command {
    path: "namespace list",
    synopsis: "List namespaces",
    args: "",
    about: "Lists the namespaces right below the one that the command runs in. Exit code 2 where there is none.",
    examples: &[("List them:", "namespace list")],
    own: DETAILED,
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(|call| list(call, Request::list("sys/namespaces"))),
};

static SCAN: Command = Command {
    path: "namespace scan",
    synopsis: "List namespaces, however deep",
    args: "",
    about: "Lists all namespaces below the one that the command runs in.",
    examples: &[("List them:", "namespace scan")],
    own: DETAILED,
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(|call| list(call, Request::scan("sys/namespaces"))),
};

fn list(call: &Call<'_>, request: Request) -> Outcome {
    keys(call, request, "sys/namespaces", "listing").map_err(|mut failure| {
        if failure.text == nothing("sys/namespaces").text {
            "No namespaces found".clone_into(&mut failure.text);
        }
        failure
    })
}

static LOOKUP: Command = Command {
    path: "namespace lookup",
    synopsis: "See a namespace",
    args: "PATH",
    about: "Prints what is known of a namespace.",
    examples: &[("See team/:", "namespace lookup team/")],
    own: &[],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        let path = with_slash(call.arg(0));
        match read_at(call, &Request::get(format!("sys/namespaces/{path}")))
            .because(|| format!("Error looking up namespace {path}"))?
        {
            Some(found) => answer::print(call, &found),
            None => Err(Failure::server("Namespace not found")),
        }
    }),
};

const NOTES: Flag = Flag::new("custom-metadata", Kind::Pairs, "A note of your own, as KEY=VALUE. May be given several times.");

static CREATE: Command = Command {
    path: "namespace create",
    synopsis: "Create a namespace",
    args: "PATH",
    about: "Creates a namespace below the one that the command runs in.",
    examples: &[("Create team/:", "namespace create team/")],
    own: &[NOTES],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| write(call, Request::post, "creating")),
};

static PATCH: Command = Command {
    path: "namespace patch",
    synopsis: "Change the notes of a namespace",
    args: "PATH",
    about: "Changes the notes given and leaves the others.",
    examples: &[("Say whose it is:", "namespace patch -custom-metadata=owner=ops team/")],
    own: &[NOTES, Flag::new("remove-custom-metadata", Kind::List, "A note to take away. May be given several times.")],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| write(call, Request::patch, "patching")),
};

fn write(call: &Call<'_>, request: fn(String) -> Request, doing: &str) -> Outcome {
    let path = with_slash(call.arg(0));
    let mut notes: Object = call.pairs("custom-metadata").iter().map(|(k, v)| (k.as_str(), Json::from(v))).collect();
    for name in call.list("remove-custom-metadata") {
        notes.insert(name.as_str(), Json::Null);
    }
    let request = request(format!("sys/namespaces/{path}")).json(Object::new().with("custom_metadata", notes));
    let found = call.ask(&request).because(|| format!("Error {doing} namespace {path}"))?;
    answer::print(call, &found.unwrap_or_default())
}

static DELETE: Command = Command {
    path: "namespace delete",
    synopsis: "Delete a namespace with all that is in it",
    args: "PATH",
    about: "Deletes a namespace, its engines and their data, for ever.",
    examples: &[("Delete team/:", "namespace delete team/")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(delete),
};

fn delete(call: &Call<'_>) -> Outcome {
    let path = with_slash(call.arg(0));
    let found =
        call.ask(&Request::delete(format!("sys/namespaces/{path}"))).because(|| format!("Error deleting namespace {path}"))?;
    if let Some(found) = found {
        if let (None, Some(warning)) = (&found.data, found.warnings.first()) {
            call.note(warning);
            return Ok(0);
        }
        answer::warnings(call, &found);
        if found.data.is_some() {
            call.line(&format!("Success! Namespace deletion scheduled: {path}"));
            return Ok(0);
        }
    }
    call.line(&format!("Success! Namespace deleted (if it existed): {path}"));
    Ok(0)
}

static LOCK: Command = Command {
    path: "namespace lock",
    synopsis: "Lock the API of a namespace",
    args: "[PATH]",
    about: "Nothing in the namespace and below answers until it is unlocked with the key that this prints.",
    examples: &[("Lock team/:", "namespace lock team/")],
    own: &[],
    output: Output::Field,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(lock),
};

fn lock(call: &Call<'_>) -> Outcome {
    let request = Request::put(format!("sys/namespaces/api-lock/lock/{}", call.path(0)));
    let found = call.ask(&request).because(|| "Error locking namespace".into())?.unwrap_or_default();
    if call.field().is_some() || call.format()? != crate::output::Format::Table {
        return answer::print(call, &found);
    }
    call.line(&format!("Unlock Key: {}\n", found.text("unlock_key")));
    call.line("The namespace is locked. Keep the key above: without it only who has sudo can unlock it.");
    Ok(0)
}

static UNLOCK: Command = Command {
    path: "namespace unlock",
    synopsis: "Unlock the API of a namespace",
    args: "[PATH]",
    about: "Unlocks a namespace with the key given as -unlock-key, or by sudo without it.",
    examples: &[("Unlock team/:", "namespace unlock -unlock-key=rOzo7Yivf7HHYqno team/")],
    own: &[],
    output: Output::None,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(|call| {
        let mut request = Request::put(format!("sys/namespaces/api-lock/unlock/{}", call.path(0)));
        let key = call.text("unlock-key");
        if !key.is_empty() {
            request = request.json(Object::new().with("unlock_key", key));
        }
        call.send(&request).because(|| "Error unlocking namespace".into())?;
        call.line(if key.is_empty() { "Namespace unlocked using sudo capabilities" } else { "Namespace unlocked" });
        Ok(0)
    }),
};
