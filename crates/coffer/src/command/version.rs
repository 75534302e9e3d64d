//! `version`, `completion`, `print`: what the program knows without a server.

use crate::cli::{Arity, Call, Command, Outcome, Output, Run, complete, docs};
use coffer_types::version::{API_LEVEL, COFFER};

pub(crate) const COMMANDS: &[&Command] = &[&VERSION, &COMPLETION, &PRINT, &PRINT_TOKEN, &PRINT_COMMANDS];

pub(crate) static VERSION: Command = Command {
    path: "version",
    synopsis: "Print the version of this program",
    args: "",
    about: "Prints the level of Vault's API that this program keeps, as other programs read it, and its own version beside it. \"status\" prints the server's.",
    examples: &[("Print the version:", "version")],
    own: &[],
    output: Output::Format,
    http: false,
    arity: Arity::Any,
    run: Run::Call(|call| {
        call.line(&line());
        Ok(0)
    }),
};

/// The second word of the first line is what clients parse.
pub(crate) fn line() -> String {
    format!(
        "Coffer v{API_LEVEL} ({}), committed {}\nVersion  {COFFER}; v{API_LEVEL} is the level of Vault's API that it keeps",
        env!("COFFER_COMMIT"),
        env!("COFFER_COMMITTED")
    )
}

static COMPLETION: Command = Command {
    path: "completion",
    synopsis: "Print what a shell needs to complete commands",
    args: "bash|zsh|fish",
    about: "Prints a script for the shell to read. \"PROGRAM -autocomplete-install\" puts it into the files of the shells found.",
    examples: &[("Complete in this bash:", "completion bash")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Exactly(1),
    run: Run::Call(|call| {
        call.print(&complete::script(call.arg(0), &call.context.program)?);
        Ok(0)
    }),
};

static PRINT: Command = Command {
    path: "print",
    synopsis: "Print what the program would use",
    args: "",
    about: "Prints settings as they are after flags, environment and files have been read.",
    examples: &[("The token that commands carry:", "print token")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Any,
    run: Run::Group,
};

static PRINT_TOKEN: Command = Command {
    path: "print token",
    synopsis: "Print the token that commands carry",
    args: "",
    about: "Prints the token from the environment, or else the kept one. Prints an empty line where there is none.",
    examples: &[("Send a request with another program:", "print token")],
    own: &[],
    output: Output::Format,
    http: false,
    arity: Arity::Any,
    run: Run::Call(print_token),
};

fn print_token(call: &Call<'_>) -> Outcome {
    let token = call.token()?;
    call.line(token.as_ref().map_or("", |t| t.expose()));
    Ok(0)
}

static PRINT_COMMANDS: Command = Command {
    path: "print commands",
    synopsis: "Print all commands as a table in Markdown",
    args: "",
    about: "Prints every command with what it does and its own flags, for documents.",
    examples: &[("Renew the page of commands:", "print commands")],
    own: &[],
    output: Output::None,
    http: false,
    arity: Arity::Exactly(0),
    run: Run::Call(|call| {
        call.print(&docs::markdown(call.context));
        Ok(0)
    }),
};
