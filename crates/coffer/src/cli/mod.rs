//! From the words on the command line to a command that runs.

pub(crate) mod call;
pub(crate) mod complete;
pub(crate) mod docs;
pub(crate) mod failure;
pub(crate) mod flag;
pub(crate) mod help;
pub(crate) mod options;
pub(crate) mod suggest;
pub(crate) mod table;

pub(crate) use call::{Call, Context};
pub(crate) use failure::{Because, Failure, Outcome};
pub(crate) use flag::{Flag, Kind};
pub(crate) use table::{Arity, Command, Output, Run};

use coffer_client::Environment;
use flag::Refusal;

/// Runs what was typed; `args[0]` is the name of the program. Gives the exit code. In place of arguments there may be the number
/// of one that is no UTF-8.
pub(crate) fn main(args: Result<Vec<String>, usize>, env: Environment) -> u8 {
    let args = match args {
        Ok(args) => args,
        Err(number) => {
            Context::new("coffer", env).error(&format!(
                "Argument {number} is not UTF-8 text. Give such a value in a file, encoded, for example with base64."
            ));
            return 1;
        }
    };
    let context = Context::new(args.first().map_or("coffer", String::as_str), env);
    if context.program == "sops" {
        context.error("Called as \"sops\": this version of Coffer does not read SOPS files. Call it as \"coffer\" or \"vault\".");
        return 1;
    }
    let words = args.get(1..).unwrap_or_default();
    if complete::asked(&context) {
        return complete::answer(&context);
    }
    match words.first().map(String::as_str) {
        Some("-v" | "-version" | "--version") => return run(&context, &crate::command::version::VERSION, &[]),
        Some("-autocomplete-install" | "--autocomplete-install") => return complete::install(&context),
        Some("-autocomplete-uninstall" | "--autocomplete-uninstall") => return complete::uninstall(&context),
        _ => {}
    }
    let wants_help = |word: &str| matches!(word, "-h" | "-help" | "--help" | "help");
    let flags_first = words.iter().take_while(|w| w.starts_with('-')).count();
    if flags_first > 0 && !words.iter().take(flags_first).any(|w| wants_help(w)) {
        context.error("Invalid flags before the subcommand. If these flags are for\nthe subcommand, please put them after the subcommand.\n");
        help::overview(&context, true);
        return 1;
    }
    let words = &words[flags_first..];
    let Some((found, used)) = table::find(words) else {
        if flags_first > 0 || words.first().is_some_and(|w| wants_help(w)) {
            if let Some((command, _)) = words.first().filter(|w| wants_help(w)).and_then(|_| table::find(&words[1..])) {
                help::command(&context, command, false);
            } else {
                help::overview(&context, false);
            }
            return 0;
        }
        if let Some(word) = words.first() {
            context.error(&format!("There is no command {word:?}.{}\n", suggest::command(word)));
        }
        help::overview(&context, true);
        return 127;
    };
    if flags_first > 0 {
        help::command(&context, found, false);
        return 0;
    }
    run(&context, found, &words[used..])
}

fn run(context: &Context, command: &'static Command, words: &[String]) -> u8 {
    let Run::Call(handler) = command.run else {
        return match words.first().map(String::as_str) {
            Some("-h" | "-help" | "--help" | "help") => {
                help::command(context, command, false);
                0
            }
            other => {
                if let Some(word) = other {
                    let near = suggest::subcommand(command, word);
                    context.error(&format!("\"{} {}\" has no subcommand {word:?}.{near}\n", context.program, command.path));
                }
                help::command(context, command, true);
                1
            }
        };
    };
    let call = match flag::parse(command, words, &context.env) {
        Ok((values, args)) => Call::new(context, command, values, args),
        Err(Refusal::Help) => {
            help::command(context, command, false);
            return 0;
        }
        Err(Refusal::Wrong(text)) => {
            context.error(&text);
            return 1;
        }
    };
    let outcome = call.check().and_then(|()| handler(&call));
    let code = match outcome {
        Ok(code) => code,
        Err(failure) => failure.report(context),
    };
    if context.output_failed() { code.max(1) } else { code }
}
