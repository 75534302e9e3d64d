//! `server`: its flags and what they mean. The server itself is `coffer_server`.

use coffer_server::start::solo::SoloOptions;
use coffer_server::start::{self, Console, DevOptions, ServerOptions};
use coffer_types::Secret;
use std::io::IsTerminal;
use std::path::PathBuf;

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
        Flag::new(
            "listen-address",
            Kind::Text,
            "Without -config: where to listen, on this machine alone. The default is 127.0.0.1:8200.",
        )
        .env("LISTEN_ADDRESS"),
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
    if call.on("recovery") {
        return Err(Failure::usage("-recovery is not built yet."));
    }
    let environment = &call.context.env;
    let variable = |name: &str| environment.raw(name);
    let terminal = std::io::stdout().is_terminal();
    let mut out = std::io::stdout();
    let code = start::run(options(call), &mut Console { out: &mut out, terminal, variable: &variable });
    Ok(code)
}

/// What the flags say. A flag that was not given leaves the word to the environment and the files.
fn options(call: &Call<'_>) -> ServerOptions {
    let text = |name: &str| Some(call.text(name).to_owned()).filter(|text| !text.is_empty());
    let path = |name: &str| text(name).map(PathBuf::from);
    let dev = (call.on("dev") || call.on("dev-tls")).then(|| DevOptions {
        root_token_id: text("dev-root-token-id").map(Secret::from),
        listen_address: text("dev-listen-address"),
        tls: call.on("dev-tls"),
        tls_cert_dir: path("dev-tls-cert-dir"),
        tls_san: call.list("dev-tls-san").to_vec(),
        no_store_token: call.on("dev-no-store-token"),
        cluster_json: path("dev-cluster-json"),
    });
    let logging = [
        ("log_level", "log-level"),
        ("log_format", "log-format"),
        ("log_file", "log-file"),
        ("log_rotate_bytes", "log-rotate-bytes"),
        ("log_rotate_duration", "log-rotate-duration"),
        ("log_rotate_max_files", "log-rotate-max-files"),
    ];
    ServerOptions {
        configs: call.list("config").iter().map(PathBuf::from).collect(),
        dev,
        solo: SoloOptions { data: path("data"), seal_key: path("seal-key"), listen: text("listen-address") },
        flags: logging.into_iter().filter_map(|(key, flag)| written(call, flag).map(|value| (key, value))).collect(),
    }
}

/// The value of a flag as it would be written in a file.
fn written(call: &Call<'_>, flag: &str) -> Option<String> {
    if !call.given(flag) {
        return None;
    }
    match SERVER.own.iter().find(|known| known.name == flag)?.kind {
        Kind::Int => Some(call.int(flag).to_string()),
        Kind::Span => call.span(flag).map(|span| span.to_string()),
        _ => Some(call.text(flag).to_owned()).filter(|text| !text.is_empty()),
    }
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
