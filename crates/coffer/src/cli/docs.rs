//! The table of commands as a page of the documents.

use super::table::{self, Run};
use super::{Context, Kind};
use std::fmt::Write as _;

/// One table of commands with their flags, in Markdown. Connection and output flags are named once.
pub(crate) fn markdown(context: &Context) -> String {
    let mut text = String::from("| command | what it does | its flags |\n| --- | --- | --- |\n");
    let mut all: Vec<_> = table::all().filter(|c| matches!(c.run, Run::Call(_))).collect();
    all.sort_by_key(|c| c.path);
    for command in all {
        let flags: Vec<String> = command
            .own
            .iter()
            .map(|f| if f.kind == Kind::Switch { format!("`-{}`", f.name) } else { format!("`-{}=…`", f.name) })
            .collect();
        writeln!(
            text,
            "| `{} {} {}` | {} | {} |",
            context.program,
            command.path,
            command.args.replace('|', "\\|"),
            command.synopsis,
            flags.join(" ")
        )
        .unwrap_or_default();
    }
    text.replace(" ` |", "` |")
}
