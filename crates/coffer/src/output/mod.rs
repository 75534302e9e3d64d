//! Answers for people and for programs: tables, JSON, YAML, one field.

pub(crate) mod answer;
pub(crate) mod go;
pub(crate) mod json;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod yaml;

use crate::cli::{Call, Failure, Outcome};
use coffer_types::Json;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    Table,
    Json,
    Yaml,
    Pretty,
    Raw,
}

impl Format {
    pub(crate) fn parse(name: &str) -> Outcome<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "" | "table" => Self::Table,
            "json" => Self::Json,
            "yaml" | "yml" => Self::Yaml,
            "pretty" => Self::Pretty,
            "raw" => Self::Raw,
            _ => {
                return Err(Failure::usage(format!("Invalid output format: {name}"))
                    .hint("Known formats are table, json, yaml, pretty and, for \"read\", raw."));
            }
        })
    }
}

/// Prints a value as JSON or YAML, or as the table that `rows` makes of it.
pub(crate) fn value(call: &Call<'_>, value: &Json, rows: impl FnOnce(&Json) -> Vec<Vec<String>>) -> Outcome {
    match call.format()? {
        Format::Table => call.print(&table::columns(&rows(value))),
        Format::Json | Format::Raw => call.print(&format!("{}\n", json::pretty(value))),
        Format::Yaml => call.print(&yaml::text(value)),
        Format::Pretty => return Err(Failure::usage("Could not parse output: cannot use the pretty formatter for this type")),
    }
    Ok(0)
}

/// Prints one value alone, for pipes: no newline but on a terminal.
pub(crate) fn alone(call: &Call<'_>, value: &Json) -> Outcome {
    use std::io::IsTerminal;
    let text = match call.format()? {
        Format::Json => json::pretty(value),
        Format::Yaml => yaml::text(value),
        _ => go::text(value),
    };
    call.print(&text);
    if std::io::stdout().is_terminal() && !text.ends_with('\n') {
        call.print("\n");
    }
    Ok(0)
}
