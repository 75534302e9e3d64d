//! `cargo xtask crash [--kills N]`: the long run of the test that kills the store under 64 writers (100 kills if not said).

use std::process::Command;

use crate::{Outcome, root};

const TEST: &str = "crash::no_acknowledged_commit_is_lost_by_kill_9";

pub(crate) fn run(args: &[String]) -> Outcome {
    let kills = match args {
        [] => 100,
        [flag, count] if flag == "--kills" => match count.parse::<u64>() {
            Ok(count @ 1..) => count,
            _ => return Err(format!("--kills takes a number from 1 on, not {count:?}")),
        },
        _ => return Err("usage: cargo xtask crash [--kills N]".to_owned()),
    };
    let ran = Command::new("cargo")
        .args(["test", "-p", "coffer-storage", "--test", "it", "--", "--exact", TEST, "--nocapture"])
        .env("COFFER_CRASH_KILLS", kills.to_string())
        .current_dir(root())
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if ran.success() { Ok(()) } else { Err("acknowledged commits were lost, or the run could not be made".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_before_anything_runs() {
        for args in [&["--kills"][..], &["--kills", "0"], &["--kills", "many"], &["10"]] {
            let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
            assert!(run(&args).is_err(), "{args:?}");
        }
    }
}
