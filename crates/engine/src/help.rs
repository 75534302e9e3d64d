//! Help for people (`?help=1`, `path-help`), from the declaration.

use crate::context::Mount;
use crate::field::{FieldKind, Source};
use crate::openapi::{Document, Mounted};
use crate::reply::{Answer, Reply};
use crate::route::{Compiled, Endpoint};
use coffer_types::{Json, Object, Operation};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Help on a path inside a mount: `{help, see_also, openapi}`, a document by itself. On the mount, and on a path that it does
/// not have, the list of its paths.
pub fn answer(mount: &Mount, routes: &Compiled, inside: &str) -> Answer {
    let found = if inside.is_empty() { None } else { routes.find(inside, Operation::Help).ok() };
    let here = Mounted { class: mount.class, path: "", kind: &mount.kind, routes };
    let mut document = Document::new(false);
    let help = match found {
        Some(found) => {
            document.add_endpoint(&here, found.endpoint);
            of_path(inside, found.endpoint)
        }
        None => {
            document.add(&here);
            of_engine(routes)
        }
    };
    let data = Object::new().with("help", help).with("see_also", Json::Null).with("openapi", document.finish());
    Reply::data(data).bare().into_answer()
}

fn of_engine(routes: &Compiled) -> String {
    let mut text =
        format!("## DESCRIPTION\n\n{}\n\n## PATHS\n\nAsk for help on any of these paths to see its fields.\n", routes.about);
    let mut endpoints: Vec<&Endpoint> = routes.endpoints().iter().filter(|e| !e.verb).collect();
    endpoints.sort_by_key(|e| e.pattern);
    for endpoint in endpoints {
        line(&mut text, format_args!("\n    {}\n        {}\n", endpoint.pattern, endpoint.about));
    }
    text
}

fn of_path(path: &str, endpoint: &Endpoint) -> String {
    let mut text = format!("Request:        {path}\nMatching Route: {}\n\n{}\n", endpoint.pattern, endpoint.about);
    let mut fields: BTreeMap<&str, (FieldKind, &str)> = BTreeMap::new();
    for field in endpoint.operations.values().flat_map(|i| &i.fields) {
        let shown = fields.entry(field.name).or_insert((field.kind, field.help));
        // Where a field is of use to one operation only, that one explains it.
        if field.source != Source::Rest && shown.1.len() < field.help.len() {
            shown.1 = field.help;
        }
    }
    if !fields.is_empty() {
        text.push_str("\n## PARAMETERS\n");
        for (name, (kind, help)) in fields {
            line(&mut text, format_args!("\n    {name} ({})\n\n        {help}\n", word(kind)));
        }
    }
    text.push_str("\n## OPERATIONS\n\n");
    for (operation, info) in &endpoint.operations {
        line(&mut text, format_args!("    {operation}: {}\n", info.about));
    }
    for (set, note) in [(endpoint.public, "Answers without a token."), (endpoint.sudo, "Needs the sudo capability.")] {
        if set {
            line(&mut text, format_args!("\n{note}\n"));
        }
    }
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    text.write_fmt(line).ok();
}

const fn word(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::String => "string",
        FieldKind::Integer => "int",
        FieldKind::Boolean => "bool",
        FieldKind::Seconds => "duration (sec)",
        FieldKind::Strings | FieldKind::Integers => "slice",
        FieldKind::Map => "map",
        FieldKind::Any => "any",
    }
}
