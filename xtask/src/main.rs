//! The project's own tools: `cargo xtask NAME`. Each is one row of the table below and one file beside this.

mod bench;
mod check;
mod crash;
mod tidy;
mod timing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a tool gives back: an error text for people where it did not pass.
type Outcome = Result<(), String>;

struct Tool {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Outcome,
}

const TOOLS: &[Tool] = &[
    Tool { name: "bench", about: "speed beside the real peer, as tables for docs/performance.md", run: bench::run },
    Tool { name: "check", about: "format, lints, rules, tests: what must pass before a change lands", run: check::run },
    Tool { name: "crash", about: "kill -9 the store under 64 writers, again and again [--kills N]", run: crash::run },
    Tool { name: "tidy", about: "the rules of the house that no compiler checks", run: tidy::run },
    Tool { name: "timing", about: "can refused logins tell who exists? Welch's t over many tries", run: timing::run },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(tool) = args.first().and_then(|name| TOOLS.iter().find(|tool| tool.name == name)) else {
        eprintln!("usage: cargo xtask NAME [ARGUMENTS]\n");
        for tool in TOOLS {
            eprintln!("  {:10} {}", tool.name, tool.about);
        }
        return ExitCode::from(2);
    };
    match (tool.run)(&args[1..]) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}
