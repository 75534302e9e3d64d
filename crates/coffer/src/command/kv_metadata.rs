//! `kv metadata`: what is known of a secret beside its data.

use super::basic::{nothing, read_at, written};
use super::kv::{print_path, section};
use super::kv_path::{MOUNT, Place};
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{Format, answer};
use coffer_client::Request;
use coffer_types::Json;
use coffer_types::json::Object;

pub(crate) const COMMANDS: &[&Command] = &[&METADATA, &GET, &PUT, &PATCH, &DELETE];

static METADATA: Command = Command {
    path: "kv metadata",
    synopsis: "See and change what is known of a secret",
    args: "",
    about: "Versions, limits and own notes of a secret, for engines with versions.",
    examples: &[
        ("See the versions of a secret:", "kv metadata get -mount=secret app"),
        ("Keep five versions:", "kv metadata put -mount=secret -max-versions=5 app"),
    ],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static GET: Command = Command {
    path: "kv metadata get",
    synopsis: "See the versions of a secret",
    args: "KEY",
    about: "Prints what is known of a secret and each of its versions. The data is not read.",
    examples: &[("See the versions of a secret:", "kv metadata get -mount=secret app")],
    own: &[MOUNT],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(get),
};

fn get(call: &Call<'_>) -> Outcome {
    let place = Place::find_versioned(call, "Metadata")?;
    let path = place.under("metadata");
    let Some(found) = read_at(call, &Request::get(&path)).because(|| format!("Error reading {path}"))? else {
        return Err(nothing(&path));
    };
    if call.format()? != Format::Table || found.wrap.is_some() {
        return answer::print(call, &found);
    }
    let Some(mut data) = found.data else {
        return Err(Failure::server("No metadata found"));
    };
    print_path(call, "Metadata Path", &path);
    let versions = data.remove("versions").and_then(Json::into_object).unwrap_or_default();
    section(call, "Metadata", &data);
    let mut numbered: Vec<(u64, &Object)> =
        versions.iter().filter_map(|(n, v)| Some((n.parse().ok()?, v.as_object()?))).collect();
    numbered.sort_by_key(|(n, _)| *n);
    for (number, version) in numbered {
        call.print("\n");
        section(call, &format!("Version {number}"), version);
    }
    Ok(0)
}

const LIMITS: [Flag; 4] = [
    Flag::new("cas-required", Kind::Choice, "Whether every write must name the version that it follows."),
    Flag::new("custom-metadata", Kind::Pairs, "A note of your own, as KEY=VALUE. May be given several times."),
    Flag::new("delete-version-after", Kind::Span, "How long after it was written a version is deleted. 0s for never."),
    Flag::new("max-versions", Kind::Int, "How many versions are kept.").default("-1"),
];

static PUT: Command = Command {
    path: "kv metadata put",
    synopsis: "Set limits and notes of a secret",
    args: "KEY",
    about: "Sets how many versions of a secret are kept, for how long, and notes. All notes are replaced by those given; \"kv metadata patch\" changes some.",
    examples: &[
        ("Keep five versions:", "kv metadata put -mount=secret -max-versions=5 app"),
        ("Say whose it is:", "kv metadata put -mount=secret -custom-metadata=owner=web app"),
    ],
    own: &[MOUNT, LIMITS[0].copy(), LIMITS[1].copy(), LIMITS[2].copy(), LIMITS[3].copy()],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| put(call, Request::put, false)),
};

static PATCH: Command = Command {
    path: "kv metadata patch",
    synopsis: "Change some limits and notes of a secret",
    args: "KEY",
    about: "Changes the limits and notes given and leaves the others.",
    examples: &[
        ("Change one note:", "kv metadata patch -mount=secret -custom-metadata=owner=ops app"),
        ("Take one away:", "kv metadata patch -mount=secret -remove-custom-metadata=owner app"),
    ],
    own: &[
        MOUNT,
        LIMITS[0].copy(),
        LIMITS[1].copy(),
        LIMITS[2].copy(),
        LIMITS[3].copy(),
        Flag::new("remove-custom-metadata", Kind::List, "A note to take away. May be given several times."),
    ],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| put(call, Request::patch, true)),
};

fn put(call: &Call<'_>, request: fn(String) -> Request, patches: bool) -> Outcome {
    let place = Place::find_versioned(call, "Metadata")?;
    let path = place.under("metadata");
    let mut body = Object::new();
    if let Some(required) = call.choice("cas-required") {
        body.insert("cas_required", required);
    }
    let mut notes: Object = call.pairs("custom-metadata").iter().map(|(k, v)| (k.as_str(), Json::from(v))).collect();
    for name in call.list("remove-custom-metadata") {
        notes.insert(name.as_str(), Json::Null);
    }
    // A patch always speaks of the notes: that is how servers tell it from one that makes the secret.
    if patches || !notes.is_empty() {
        body.insert("custom_metadata", notes);
    }
    if let Some(after) = call.span("delete-version-after") {
        body.insert("delete_version_after", after.to_string());
    }
    if call.int("max-versions") >= 0 {
        body.insert("max_versions", call.int("max-versions"));
    }
    let answer = call.ask(&request(path.clone()).json(body)).because(|| format!("Error writing data to {path}"))?;
    written(call, &path, answer)
}

static DELETE: Command = Command {
    path: "kv metadata delete",
    synopsis: "Remove a secret with all its versions",
    args: "KEY",
    about: "Removes a secret, all its versions and what is known of it, for ever.",
    examples: &[("Remove a secret:", "kv metadata delete -mount=secret app")],
    own: &[MOUNT],
    output: Output::None,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(delete),
};

fn delete(call: &Call<'_>) -> Outcome {
    let place = Place::find_versioned(call, "Metadata")?;
    let path = place.under("metadata");
    call.send(&Request::delete(&path)).because(|| format!("Error deleting {path}"))?;
    call.line(&format!("Success! Data deleted (if it existed) at: {path}"));
    Ok(0)
}
