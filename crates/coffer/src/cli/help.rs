//! Help, from the table.

use super::table::{self, Command, Run};
use super::{Context, Kind};
use std::fmt::Write as _;

const COMMON: &[&str] = &["read", "write", "delete", "list", "kv", "login", "server", "status", "unwrap"];

/// What there is, in two lists.
pub(crate) fn overview(context: &Context, on_stderr: bool) {
    let mut text = format!("Usage: {} <command> [flags] [args]\n\nCommon commands:\n", context.program);
    let top = || table::all().filter(|c| !c.path.contains(' '));
    let width = top().map(|c| c.path.len()).max().unwrap_or(0);
    for name in COMMON {
        if let Some(command) = top().find(|c| c.path == *name) {
            line(&mut text, width, command.path, command.synopsis);
        }
    }
    text.push_str("\nOther commands:\n");
    let mut others: Vec<&Command> = top().filter(|c| !COMMON.contains(&c.path)).collect();
    others.sort_by_key(|c| c.path);
    for command in others {
        line(&mut text, width, command.path, command.synopsis);
    }
    write!(text, "\nRun \"{} <command> -h\" for what a command does, its flags and examples.", context.program)
        .unwrap_or_default();
    show(context, &text, on_stderr);
}

/// What one command does.
pub(crate) fn command(context: &Context, command: &'static Command, on_stderr: bool) {
    show(context, &text(context, command), on_stderr);
}

/// `coffer kv get [flags] KEY`.
pub(crate) fn usage(context: &Context, command: &Command) -> String {
    match command.run {
        Run::Group => format!("{} {} <subcommand> [flags] [args]", context.program, command.path),
        Run::Call(_) => {
            let flags = if command.flags().next().is_some() { " [flags]" } else { "" };
            format!("{} {}{flags} {}", context.program, command.path, command.args).trim_end().to_owned()
        }
    }
}

pub(crate) fn text(context: &Context, command: &'static Command) -> String {
    let mut text = format!("Usage: {}\n", usage(context, command));
    for paragraph in command.about.split("\n\n") {
        write!(text, "\n{}\n", wrap(&paragraph.replace("PROGRAM", &context.program), 2)).unwrap_or_default();
    }
    for (what, example) in command.examples {
        let example = if example.contains("PROGRAM") {
            example.replace("PROGRAM", &context.program)
        } else {
            format!("{} {example}", context.program)
        };
        write!(text, "\n{}\n\n      $ {example}\n", wrap(what, 2)).unwrap_or_default();
    }
    if let Run::Group = command.run {
        text.push_str("\nSubcommands:\n");
        let width = command.children().map(|c| c.name().len()).max().unwrap_or(0);
        let mut children: Vec<_> = command.children().collect();
        children.sort_by_key(|c| c.path);
        for child in children {
            line(&mut text, width, child.name(), child.synopsis);
        }
    }
    for (heading, flags) in command.groups() {
        if flags.is_empty() {
            continue;
        }
        write!(text, "\n{heading}:\n").unwrap_or_default();
        for flag in flags {
            let value = match flag.kind {
                Kind::Switch => String::new(),
                Kind::Choice => "=<true|false>".into(),
                Kind::Text | Kind::List => "=<text>".into(),
                Kind::Int => "=<number>".into(),
                Kind::Span => "=<duration>".into(),
                Kind::Pairs => "=<key=value>".into(),
            };
            let mut help = flag.help.to_owned();
            if !flag.default.is_empty() && flag.default != "-1" {
                write!(help, " The default is {}.", flag.default).unwrap_or_default();
            }
            for alias in flag.aliases {
                write!(help, " -{alias} is short for it.").unwrap_or_default();
            }
            if !flag.env.is_empty() {
                write!(help, " Also VAULT_{} in the environment.", flag.env).unwrap_or_default();
            }
            write!(text, "\n  -{}{value}\n{}\n", flag.name, wrap(&help, 6)).unwrap_or_default();
        }
    }
    text
}

fn line(text: &mut String, width: usize, name: &str, synopsis: &str) {
    writeln!(text, "    {name:width$}    {synopsis}").unwrap_or_default();
}

fn show(context: &Context, text: &str, on_stderr: bool) {
    if on_stderr { context.note(text.trim_end()) } else { context.line(text.trim_end()) }
}

/// Words in lines of at most 80 columns, each indented. Lines that begin with a space stay as they are.
pub(crate) fn wrap(text: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    let mut out: Vec<String> = Vec::new();
    for line in text.lines() {
        if line.starts_with(' ') || line.starts_with("- ") {
            out.push(format!("{pad}{line}"));
            continue;
        }
        let mut row = String::new();
        for word in line.split_whitespace() {
            if !row.is_empty() && indent + row.chars().count() + 1 + word.chars().count() > 80 {
                out.push(format!("{pad}{row}"));
                row.clear();
            }
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
        out.push(format!("{pad}{row}"));
    }
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_client::Environment;

    #[test]
    fn no_line_of_help_is_wider_than_a_terminal() {
        let context = Context::new("coffer", Environment::fixed(&[]));
        for found in table::all() {
            let text = text(&context, found);
            for line in text.lines().filter(|l| !l.contains('$')) {
                assert!(line.chars().count() <= 100, "{}: {line}", found.path);
            }
            assert!(!text.contains("PROGRAM"), "{}", found.path);
        }
    }

    #[test]
    fn wrapping_keeps_words_whole() {
        let text = wrap(&"word ".repeat(40), 2);
        assert!(text.lines().all(|l| l.len() <= 80 && l.starts_with("  word")));
        assert_eq!(text.matches("word").count(), 40);
    }
}
