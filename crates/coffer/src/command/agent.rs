//! `agent` and `proxy`: declared, so that their flags and refusals are known; built with the agent's room.

use crate::cli::{Arity, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};

pub(crate) const COMMANDS: &[&Command] = &[&AGENT, &PROXY];

const FLAGS: &[Flag] = &[
    Flag::new("config", Kind::List, "A configuration file, or a directory of them. May be given several times."),
    Flag::new("exit-after-auth", Kind::Switch, "End with code 0 once a token was got and every sink has it."),
    Flag::new("log-file", Kind::Text, "Write the log to this file too.").env("LOG_FILE"),
    Flag::new("log-format", Kind::Text, "The form of the log: standard or json.").env("LOG_FORMAT").values(&["standard", "json"]),
    Flag::new("log-level", Kind::Text, "How much to log: trace, debug, info, warn or error.")
        .env("LOG_LEVEL")
        .values(&["trace", "debug", "info", "warn", "error"]),
];

static AGENT: Command = Command {
    path: "agent",
    synopsis: "Start an agent",
    args: "",
    about: "An agent logs in by itself, keeps the token fresh and renders secrets into files.",
    examples: &[("As configured:", "agent -config=agent.hcl")],
    own: FLAGS,
    output: Output::None,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(run),
};

static PROXY: Command = Command {
    path: "proxy",
    synopsis: "Start a proxy",
    args: "",
    about: "A proxy logs in by itself and passes the requests of others on with its token.",
    examples: &[("As configured:", "proxy -config=proxy.hcl")],
    own: FLAGS,
    output: Output::None,
    http: true,
    arity: Arity::Exactly(0),
    run: Run::Call(run),
};

fn run(call: &Call<'_>) -> Outcome {
    if call.list("config").is_empty() {
        return Err(Failure::usage("Must specify exactly at least one config path using -config").on_stdout());
    }
    super::server::configuration_is_there(call)?;
    Err(Failure::usage(format!("\"{} {}\" is not built yet.", call.context.program, call.command.path)))
}
