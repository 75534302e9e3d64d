//! Tells the program which commit it was built from, where git knows.

use std::process::Command;

fn main() {
    let git = |args: &[&str]| {
        let out = Command::new("git").env("TZ", "UTC").args(args).output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8(out.stdout).ok()?.trim().to_owned()).filter(|s| !s.is_empty())
    };
    for word in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", word]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    // A tree without git (a release's archive) says so in the commit's place.
    let commit = git(&["rev-parse", "HEAD"]).unwrap_or_else(|| "built-without-git-0-1-0".into());
    let time = git(&["log", "-1", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd"])
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".into());
    println!("cargo::rustc-env=COFFER_COMMIT={commit}");
    println!("cargo::rustc-env=COFFER_COMMITTED={time}");
}
