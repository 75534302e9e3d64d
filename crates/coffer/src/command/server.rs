//! `server`: its flags and what they mean. The server itself is `coffer_server`.

use crate::cli::{Arity, Call, Command, Failure, Flag, Kind, Outcome, Output, Run};

pub(crate) const COMMANDS: &[&Command] = &[&SERVER];

pub(crate) static SERVER: Command = Command {
    path: "server",
    synopsis: "Start a server",
    args: "",
    about: "Starts a server and runs until it is told to stop (SIGINT, SIGTERM). SIGHUP reads certificates and log levels again and reopens audit files.\n\nWithout flags it keeps its data under the user's data directory, listens on 127.0.0.1:8200, initialises itself the first time and comes back unsealed. With -dev it keeps everything in memory. With -config it does what the files say and nothing else.",
    examples: &[
        ("Durable, with no configuration:", "server"),
        ("For trying things out, everything in memory:", "server -dev -dev-root-token-id=root"),
        ("As configured:", "server -config=/etc/coffer"),
    ],
    own: &[
        Flag::new(
            "config",
            Kind::List,
            "A configuration file (HCL or JSON), or a directory of them. May be given several times.",
        ),
        Flag::new("data", Kind::Text, "Without -config: the directory that keeps the data.").env("DATA_DIR"),
        Flag::new("dev", Kind::Switch, "Keep everything in memory, unsealed, with a root token. For trying things out only."),
        Flag::new("dev-cluster-json", Kind::Text, "With -dev: write addresses and token to this file, for tests."),
        Flag::new("dev-listen-address", Kind::Text, "With -dev: where to listen.")
            .default("127.0.0.1:8200")
            .env("DEV_LISTEN_ADDRESS"),
        Flag::new("dev-no-store-token", Kind::Switch, "With -dev: do not keep the root token for later commands."),
        Flag::new("dev-root-token-id", Kind::Text, "With -dev: the root token.").env("DEV_ROOT_TOKEN_ID"),
        Flag::new("dev-tls", Kind::Switch, "As -dev, with TLS under a certificate made for it."),
        Flag::new(
            "dev-tls-cert-dir",
            Kind::Text,
            "With -dev-tls: where to put certificate and authority. A temporary directory where it is not given.",
        ),
        Flag::new("dev-tls-san", Kind::List, "With -dev-tls: another name for the certificate. May be given several times."),
        Flag::new("exit-on-core-shutdown", Kind::Switch, "End the process when the core shuts down."),
        Flag::new("log-file", Kind::Text, "Write the log to this file too.").env("LOG_FILE"),
        Flag::new("log-format", Kind::Text, "The form of the log: standard or json.")
            .env("LOG_FORMAT")
            .values(&["standard", "json"]),
        Flag::new("log-level", Kind::Text, "How much to log: trace, debug, info, warn or error.")
            .env("LOG_LEVEL")
            .values(&["trace", "debug", "info", "warn", "error"]),
        Flag::new("log-rotate-bytes", Kind::Int, "Begin a new log file after so many bytes."),
        Flag::new("log-rotate-duration", Kind::Span, "Begin a new log file after this time."),
        Flag::new("log-rotate-max-files", Kind::Int, "How many old log files are kept. 0 for all."),
        Flag::new("recovery", Kind::Switch, "Start for recovery only."),
        Flag::new(
            "seal-key",
            Kind::Text,
            "Without -config: the file of the key that seals the data. Keep it on another volume than the data.",
        ),
    ],
    output: Output::None,
    http: false,
    arity: Arity::Exactly(0),
    run: Run::Call(run),
};

fn run(call: &Call<'_>) -> Outcome {
    configuration_is_there(call)?;
    Err(Failure::usage("The server is not part of this build yet."))
}

/// A file that is not there is named before anything else is said.
pub(crate) fn configuration_is_there(call: &Call<'_>) -> Outcome<()> {
    for path in call.list("config") {
        if let Err(e) = std::fs::metadata(path) {
            let why =
                if e.kind() == std::io::ErrorKind::NotFound { "no such file or directory".to_owned() } else { e.to_string() };
            return Err(Failure::usage(format!("error loading configuration from {path}: stat {path}: {why}")).on_stdout());
        }
    }
    Ok(())
}
