//! `cargo xtask check`: everything that a change must pass before it lands, in the order of what is cheapest.

use std::process::Command;

use crate::{Outcome, root, tidy};

pub(crate) fn run(_: &[String]) -> Outcome {
    cargo(&["fmt", "--all", "--check"])?;
    tidy::run(&[])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    cargo(&["test", "--workspace"])?;
    if Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|out| out.status.success()) {
        // Advisories need their database from the network: `cargo deny check advisories` is a run of its own.
        cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"])
    } else {
        eprintln!("skipped: cargo deny is not installed (cargo install cargo-deny)");
        Ok(())
    }
}

fn cargo(args: &[&str]) -> Outcome {
    let line = format!("cargo {}", args.join(" "));
    eprintln!("== {line}");
    let status = Command::new("cargo").args(args).current_dir(root()).status().map_err(|error| format!("{line}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{line} did not pass")) }
}
