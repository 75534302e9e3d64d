//! `kv`: secrets, with versions where the engine keeps them.

use super::basic::{self, mount_path, read_at, sorted, written};
use super::data;
use super::kv_path::{MOUNT, Place};
use crate::cli::options::PAGES;
use crate::cli::{Arity, Because, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};
use crate::output::{Format, alone, answer, table};
use coffer_client::{Answer, Request};
use coffer_types::Json;
use coffer_types::json::Object;

pub(crate) const COMMANDS: &[&Command] =
    &[&KV, &GET, &PUT, &PATCH, &LIST, &SCAN, &DELETE, &UNDELETE, &DESTROY, &ROLLBACK, &ENABLE_VERSIONING];

static KV: Command = Command {
    path: "kv",
    synopsis: "Read and write secrets",
    args: "",
    about: "Reads and writes secrets of a key-value engine. Name the engine with -mount, or begin the path with it: \"-mount=secret app\" and \"secret/app\" are the same secret.",
    examples: &[
        ("Write a secret:", "kv put -mount=secret app user=web password=-"),
        ("Read it:", "kv get -mount=secret app"),
        ("See its versions:", "kv metadata get -mount=secret app"),
    ],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static GET: Command = Command {
    path: "kv get",
    synopsis: "Read a secret",
    args: "KEY",
    about: "Reads a secret: its newest version, or the one that -version names. Exit code 2 where there is none.",
    examples: &[
        ("Read a secret:", "kv get -mount=secret app"),
        ("One field, for a script:", "kv get -mount=secret -field=password app"),
        ("An older version:", "kv get -mount=secret -version=1 app"),
    ],
    own: &[MOUNT, Flag::new("version", Kind::Int, "The version to read. The newest where it is not given.")],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(get),
};

fn get(call: &Call<'_>) -> Outcome {
    let place = Place::find(call)?;
    let path = place.under("data");
    let mut request = Request::get(&path);
    if place.v2 && call.int("version") > 0 {
        request = request.query("version", call.int("version").to_string());
    }
    let Some(found) = read_at(call, &request).because(|| format!("Error reading {path}"))? else {
        return Err(basic::nothing(&path));
    };
    if found.wrap.is_some() {
        return answer::print(call, &found);
    }
    let data = if place.v2 { found.get("data").and_then(Json::as_object) } else { found.data.as_ref() };
    if let Some(field) = call.field() {
        return field_of(call, data, field);
    }
    if call.format()? != Format::Table {
        return answer::print(call, &found);
    }
    answer::warnings(call, &found);
    if place.v2 {
        print_path(call, "Secret Path", &path);
        if let Some(metadata) = found.get("metadata").and_then(Json::as_object) {
            section(call, "Metadata", metadata);
            if data.is_some() {
                call.print("\n");
            }
        }
    }
    if let Some(data) = data {
        section(call, "Data", data);
    }
    Ok(0)
}

fn field_of(call: &Call<'_>, data: Option<&Object>, field: &str) -> Outcome {
    match data.and_then(|d| d.get(field)).filter(|v| !v.is_null()) {
        Some(value) => alone(call, value),
        None => {
            let names: Vec<&str> = data.into_iter().flat_map(Object::names).collect();
            let failure = Failure::usage(format!("Field {field:?} not present in map"));
            Err(if names.is_empty() { failure } else { failure.hint(format!("There are: {}", names.join(", "))) })
        }
    }
}

/// `== Secret Path ==` over the path of the API, which is the one that policies name.
pub(crate) fn print_path(call: &Call<'_>, heading: &str, path: &str) {
    call.print(&format!("{}\n{path}\n\n", headline(heading, path.chars().count())));
}

/// A table under a heading as wide as it.
pub(crate) fn section(call: &Call<'_>, heading: &str, data: &Object) {
    let longest = data.names().map(|n| n.chars().count()).max().unwrap_or(0);
    // As wide as the longest name, the gap and the word "Value".
    call.line(&headline(heading, longest + 9));
    call.print(&table::columns(&table::pairs(answer::data_rows(data))));
}

/// `=== text ===`, at least two signs on each side.
fn headline(text: &str, width: usize) -> String {
    let inner = text.chars().count() + 2;
    let signs = width.saturating_sub(inner).div_ceil(2).max(if width > inner { 1 } else { 2 });
    let side = "=".repeat(signs);
    format!("{side} {text} {side}")
}

static PUT: Command = Command {
    path: "kv put",
    synopsis: "Write a secret",
    args: "KEY [DATA...]",
    about: "Writes a secret; in an engine with versions a new one, the old ones stay. A value that begins with @ is read from that file, - from standard input; \"@file\" or \"-\" alone is a JSON object.\n\nWhat is typed stands in the shell's history and in the list of processes: prefer a file or standard input for passwords.",
    examples: &[
        ("Write two fields:", "kv put -mount=secret app user=web password=-"),
        ("All fields from a file:", "kv put -mount=secret app @app.json"),
        ("Only if it does not exist yet:", "kv put -mount=secret -cas=0 app user=web"),
    ],
    own: &[
        MOUNT,
        Flag::new("cas", Kind::Int, "Write only if this is the current version; 0 if there is none yet.").default("-1"),
    ],
    output: Output::Field,
    http: true,
    arity: Arity::AtLeast(1),
    run: Run::Call(put),
};

fn put(call: &Call<'_>) -> Outcome {
    let fields = data::read(call, &call.args[1..])?;
    if fields.is_empty() {
        return Err(Failure::usage("Must supply data"));
    }
    let place = Place::find(call)?;
    let path = place.under("data");
    let body = if place.v2 {
        let mut options = Object::new();
        if call.int("cas") > -1 {
            options.insert("cas", call.int("cas"));
        }
        Object::new().with("data", sorted(fields)).with("options", options)
    } else {
        sorted(fields)
    };
    let answer = call.ask(&Request::put(&path).json(body)).because(|| format!("Error writing data to {path}"))?;
    version_written(call, &path, answer)
}

/// The new version's metadata under its path.
fn version_written(call: &Call<'_>, path: &str, answer: Option<Answer>) -> Outcome {
    match answer {
        Some(found)
            if found.wrap.is_none() && call.field().is_none() && call.format()? == Format::Table && found.data.is_some() =>
        {
            answer::warnings(call, &found);
            print_path(call, "Secret Path", path);
            if let Some(data) = &found.data {
                section(call, "Metadata", data);
            }
            Ok(0)
        }
        answer => written(call, path, answer),
    }
}

static PATCH: Command = Command {
    path: "kv patch",
    synopsis: "Change some fields of a secret",
    args: "KEY [DATA...]",
    about: "Writes a new version in which the fields named are changed and the others stay. For engines with versions. A path that may not be patched but read and written is changed that way.",
    examples: &[
        ("Change one field:", "kv patch -mount=secret app password=-"),
        ("Take one away:", "kv patch -mount=secret -remove-data=old app"),
    ],
    own: &[
        MOUNT,
        Flag::new("cas", Kind::Int, "Write only if this is the current version.").default("-1"),
        Flag::new("method", Kind::Text, "How: patch in one request, or rw to read, change here and write.")
            .values(&["patch", "rw"]),
        Flag::new("remove-data", Kind::List, "A field to take away. May be given several times."),
    ],
    output: Output::Field,
    http: true,
    arity: Arity::AtLeast(1),
    run: Run::Call(patch),
};

fn patch(call: &Call<'_>) -> Outcome {
    let mut fields = data::read(call, &call.args[1..])?;
    for name in call.list("remove-data") {
        fields.insert(name.as_str(), Json::Null);
    }
    if fields.is_empty() {
        return Err(Failure::usage("Must supply data"));
    }
    let place = Place::find(call)?;
    if !place.v2 {
        return Err(Failure::server("KV engine mount must be version 2 for patch support"));
    }
    let path = place.under("data");
    match call.text("method") {
        "rw" => read_and_write(call, &path, fields),
        "" | "patch" => {
            let mut body = Object::new().with("data", sorted(fields.clone()));
            if call.int("cas") > 0 {
                body.insert("options", Object::new().with("cas", call.int("cas")));
            }
            match call.ask(&Request::patch(&path).json(body)) {
                // Not allowed to patch, or a server that does not know how: there is a longer way.
                Err(failure) if call.text("method").is_empty() && [403, 405].contains(&failure.status) => {
                    read_and_write(call, &path, fields)
                }
                answer => version_written(call, &path, answer.because(|| format!("Error writing data to {path}"))?),
            }
        }
        other => Err(Failure::server(format!("Unsupported method provided to -method flag: {other}"))),
    }
}

/// Reads the current version, changes it here, writes it under a check that nobody else did meanwhile.
fn read_and_write(call: &Call<'_>, path: &str, fields: Object) -> Outcome {
    let found = read_at(call, &Request::get(path)).because(|| format!("Error reading {path}"))?;
    let Some((mut data, version)) = found.and_then(current) else {
        return Err(basic::nothing(path));
    };
    for (name, value) in fields {
        if value.is_null() {
            data.remove(&name);
        } else {
            data.insert(name, value);
        }
    }
    let cas = if call.int("cas") > 0 { call.int("cas") } else { version };
    let body = Object::new().with("data", sorted(data)).with("options", Object::new().with("cas", cas));
    let answer = call.ask(&Request::put(path).json(body)).because(|| format!("Error writing data to {path}"))?;
    version_written(call, path, answer)
}

/// The data and the number of a version that is there.
fn current(mut found: Answer) -> Option<(Object, i64)> {
    let mut data = found.data.take()?;
    let version = data.get("metadata")?.get("version")?.as_i64()?;
    Some((data.remove("data")?.into_object()?, version))
}

static LIST: Command = Command {
    path: "kv list",
    synopsis: "List secrets",
    args: "[PATH]",
    about: "Lists the secrets right below a path. A name that ends with / has secrets below it.",
    examples: &[("List an engine:", "kv list -mount=secret"), ("Below a path:", "kv list -mount=secret team/")],
    own: &[MOUNT, PAGES[0].copy(), PAGES[1].copy(), PAGES[2].copy()],
    output: Output::Format,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(|call| list(call, Request::list, "listing")),
};

static SCAN: Command = Command {
    path: "kv scan",
    synopsis: "List all secrets below a path, however deep",
    args: "[PATH]",
    about: "Lists everything below a path in one request, where the server knows how to.",
    examples: &[("Every secret of an engine:", "kv scan -mount=secret")],
    own: &[MOUNT, PAGES[0].copy(), PAGES[1].copy(), PAGES[2].copy()],
    output: Output::Format,
    http: true,
    arity: Arity::Between(0, 1),
    run: Run::Call(|call| list(call, Request::scan, "scanning")),
};

fn list(call: &Call<'_>, request: fn(String) -> Request, doing: &str) -> Outcome {
    if call.args.is_empty() && call.text("mount").is_empty() {
        return Err(
            Failure::usage("Not enough arguments (expected 1, got 0)").hint("Name the engine with -mount, or as the argument.")
        );
    }
    let place = Place::find(call)?;
    let path = place.under("metadata");
    basic::keys(call, basic::paged(call, request(path.clone())), &path, doing)
}

const VERSIONS: Flag =
    Flag::new("versions", Kind::List, "The numbers of the versions, with commas between them. May be given several times.");

static DELETE: Command = Command {
    path: "kv delete",
    synopsis: "Delete a version of a secret",
    args: "KEY",
    about: "Deletes the newest version of a secret, or those that -versions names. In an engine with versions \"kv undelete\" brings them back; \"kv destroy\" and \"kv metadata delete\" are for ever.",
    examples: &[
        ("Delete the newest version:", "kv delete -mount=secret app"),
        ("Older ones:", "kv delete -mount=secret -versions=1,2 app"),
    ],
    own: &[MOUNT, VERSIONS],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(delete),
};

fn versions(call: &Call<'_>) -> Vec<String> {
    call.list("versions").iter().flat_map(|v| v.split(',')).map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect()
}

fn delete(call: &Call<'_>) -> Outcome {
    let place = Place::find(call)?;
    let versions = versions(call);
    let path = place.under("data");
    let request = match (place.v2, versions.is_empty()) {
        (false, false) => return Err(Failure::usage("Versions are not supported on KV Version 1")),
        (true, false) => Request::put(place.under("delete")).json(Object::new().with("versions", versions)),
        _ => Request::delete(&path),
    };
    let answer = call.ask(&request).because(|| format!("Error deleting {path}"))?;
    match answer {
        Some(found) if call.format()? != Format::Table || !found.warnings.is_empty() => answer::print(call, &found),
        _ => {
            if call.format()? == Format::Table {
                call.line(&format!("Success! Data deleted (if it existed) at: {path}"));
            }
            Ok(0)
        }
    }
}

static UNDELETE: Command = Command {
    path: "kv undelete",
    synopsis: "Bring deleted versions back",
    args: "KEY",
    about: "Brings back versions that were deleted and not destroyed.",
    examples: &[("Bring version 3 back:", "kv undelete -mount=secret -versions=3 app")],
    own: &[MOUNT, VERSIONS],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| with_versions(call, "undelete", "Undelete")),
};

static DESTROY: Command = Command {
    path: "kv destroy",
    synopsis: "Remove versions for ever",
    args: "KEY",
    about: "Removes the data of versions for ever. Nothing brings them back.",
    examples: &[("Remove version 3:", "kv destroy -mount=secret -versions=3 app")],
    own: &[MOUNT, VERSIONS],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| with_versions(call, "destroy", "Destroy")),
};

fn with_versions(call: &Call<'_>, word: &str, what: &str) -> Outcome {
    let versions = versions(call);
    if versions.is_empty() {
        return Err(Failure::usage(format!(
            "No versions provided, use the \"-versions\" flag to specify the version to {word}."
        )));
    }
    let place = Place::find_versioned(call, what)?;
    let path = place.under(word);
    let answer = call
        .ask(&Request::put(&path).json(Object::new().with("versions", versions)))
        .because(|| format!("Error writing data to {path}"))?;
    written(call, &path, answer)
}

static ROLLBACK: Command = Command {
    path: "kv rollback",
    synopsis: "Make an older version the newest",
    args: "KEY",
    about: "Writes the data of an older version as a new one. Fails if somebody else wrote meanwhile.",
    examples: &[("Back to version 2:", "kv rollback -mount=secret -version=2 app")],
    own: &[MOUNT, Flag::new("version", Kind::Int, "The version whose data is to be the newest.")],
    output: Output::Field,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(rollback),
};

fn rollback(call: &Call<'_>) -> Outcome {
    let version = call.int("version");
    match (call.given("version"), version) {
        (false, _) => return Err(Failure::usage("Version flag must be specified")),
        (true, ..=0) => return Err(Failure::usage(format!("Invalid value {version} for the version flag"))),
        _ => {}
    }
    let place = Place::find(call)?;
    if !place.v2 {
        return Err(Failure::server("K/V engine mount must be version 2 for rollback support"));
    }
    let path = place.under("data");
    let reading = || format!("Error reading {path}");
    // The check is against the newest version even where that one is deleted.
    let newest = read_at(call, &Request::get(&path)).because(reading)?.ok_or_else(|| basic::nothing(&path))?;
    let Some(cas) = newest.get("metadata").and_then(|m| m.get("version")).and_then(Json::as_i64) else {
        return Err(basic::nothing(&path));
    };
    let old = read_at(call, &Request::get(&path).query("version", version.to_string())).because(reading)?;
    let Some((data, _)) = old.and_then(current) else {
        return Err(basic::nothing(&path))
            .map_err(|f: Failure| f.hint(format!("Version {version} does not exist, or is deleted or destroyed.")));
    };
    let body = Object::new().with("data", sorted(data)).with("options", Object::new().with("cas", cas));
    let answer = call.ask(&Request::put(&path).json(body)).because(|| format!("Error writing data to {path}"))?;
    written(call, &path, answer)
}

static ENABLE_VERSIONING: Command = Command {
    path: "kv enable-versioning",
    synopsis: "Give an engine versions",
    args: "PATH",
    about: "Turns an engine without versions into one with them. Its secrets become their first versions. There is no way back, and while it runs the engine does not answer.",
    examples: &[("Give the engine at kv/ versions:", "kv enable-versioning kv/")],
    own: &[],
    output: Output::Format,
    http: true,
    arity: Arity::Exactly(1),
    run: Run::Call(enable_versioning),
};

fn enable_versioning(call: &Call<'_>) -> Outcome {
    let mount = mount_path(call.arg(0));
    let body = Object::new()
        .with("options", Object::new().with("version", "2"))
        .with("default_lease_ttl", "")
        .with("max_lease_ttl", "")
        .with("force_no_cache", false);
    call.send(&Request::post(format!("sys/mounts/{mount}tune")).json(body))
        .because(|| format!("Error tuning secrets engine {mount}"))?;
    call.line(&format!("Success! Tuned the secrets engine at: {mount}"));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_as_wide_as_what_is_under_them() {
        for (text, width, want) in [
            ("Secret Path", 15, "= Secret Path ="),
            ("Secret Path", 16, "== Secret Path =="),
            ("Metadata", 24, "======= Metadata ======="),
            ("Data", 10, "== Data =="),
            ("Data", 13, "==== Data ===="),
            ("Version 1", 22, "====== Version 1 ======"),
            ("Secret Path", 8, "== Secret Path =="),
        ] {
            assert_eq!(headline(text, width), want);
        }
    }
}
