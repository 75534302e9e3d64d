//! `cargo xtask tidy`: the rules of the house that no compiler checks. They run as a test too, so that `cargo test` holds
//! the map of ARCHITECTURE.md to be true.

mod rooms;
mod text;

use std::process::Command;

use crate::{Outcome, root};

pub(crate) fn run(_: &[String]) -> Outcome {
    let mut faults = rooms::faults(&metadata()?);
    faults.extend(text::faults(&root(), &tracked_files()?));
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("{}\n{} faults", faults.join("\n"), faults.len()))
}

/// The workspace's packages with their direct dependencies, as cargo sees them.
fn metadata() -> Result<serde_json::Value, String> {
    let text = output("cargo", &["metadata", "--format-version", "1", "--no-deps", "--offline"])?;
    serde_json::from_str(&text).map_err(|error| format!("cargo metadata: {error}"))
}

/// Every file that the project's history holds or would take, relative to the workspace.
fn tracked_files() -> Result<Vec<String>, String> {
    let text = output("git", &["ls-files", "--cached", "--others", "--exclude-standard"])?;
    let mut files: Vec<String> = text.lines().map(str::to_owned).collect();
    files.retain(|file| root().join(file).is_file()); // one that is deleted and not committed is still listed
    files.sort();
    files.dedup();
    Ok(files)
}

fn output(program: &str, args: &[&str]) -> Result<String, String> {
    let ran = Command::new(program).args(args).current_dir(root()).output().map_err(|error| format!("{program}: {error}"))?;
    if !ran.status.success() {
        return Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&ran.stderr)));
    }
    String::from_utf8(ran.stdout).map_err(|error| format!("{program}: {error}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_project_keeps_its_rules() {
        if let Err(text) = super::run(&[]) {
            panic!("{text}");
        }
    }
}
