//! Where the token is kept between commands: `~/.vault-token`, or a program of the user's.
//!
//! A helper is named by `token_helper = "/path"` in `~/.vault` (or the file that `CONFIG_PATH` names); it is
//! called with `get`, `store` or `erase`, and the token goes over its standard input and output.

use crate::Environment;
use coffer_types::Secret;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use zeroize::Zeroizing;

/// Where tokens are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Helper {
    File(PathBuf),
    Program(PathBuf),
}

impl Helper {
    /// What the user's configuration says.
    pub fn find(env: &Environment) -> Result<Self, String> {
        let home = env.home().ok_or("no home directory: HOME is not set, so no token can be kept; set VAULT_TOKEN")?;
        let config = env.get("CONFIG_PATH").map_or_else(|| home.join(".vault"), PathBuf::from);
        match std::fs::read_to_string(&config) {
            Ok(text) => match helper_line(&text).map_err(|why| format!("{}: {why}", config.display()))? {
                Some(program) => Ok(Self::Program(expand(&program, &home)?)),
                None => Ok(Self::File(home.join(".vault-token"))),
            },
            // A directory called `.vault` is somebody else's.
            Err(_) => Ok(Self::File(home.join(".vault-token"))),
        }
    }

    /// The kept token, if there is one.
    pub fn get(&self) -> Result<Option<Secret<String>>, String> {
        let text = match self {
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Zeroizing::new(text),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(format!("error getting client token: {}: {e}", path.display())),
            },
            Self::Program(program) => run(program, "get", None)?,
        };
        let token = text.trim();
        Ok((!token.is_empty()).then(|| Secret::from(token)))
    }

    pub fn store(&self, token: &Secret<String>) -> Result<(), String> {
        match self {
            Self::File(path) => write_private(path, token.expose().as_bytes()).map_err(|e| format!("{}: {e}", path.display())),
            Self::Program(program) => run(program, "store", Some(token)).map(drop),
        }
    }

    pub fn erase(&self) -> Result<(), String> {
        match self {
            Self::File(path) => match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", path.display())),
                _ => Ok(()),
            },
            Self::Program(program) => run(program, "erase", None).map(drop),
        }
    }
}

/// Mode 0600 from the first byte, and never half a token: written beside and moved into place.
fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&beside).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    });
    if written.is_err() {
        // The first error is the one to report.
        std::fs::remove_file(&beside).unwrap_or_default();
    }
    written
}

/// The value of `token_helper` in a file of `key = "value"` lines.
fn helper_line(text: &str) -> Result<Option<String>, String> {
    let mut found = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
            continue;
        }
        let wrong = || format!("line {}: token_helper = \"/path/to/program\" expected", number + 1);
        let (key, value) = line.split_once('=').ok_or_else(wrong)?;
        let value = value.trim().strip_prefix('"').and_then(|v| v.strip_suffix('"')).ok_or_else(wrong)?;
        match key.trim() {
            "token_helper" => found = (!value.is_empty()).then(|| value.to_owned()),
            other => return Err(format!("line {}: invalid key {other:?}: token_helper is the one that is known", number + 1)),
        }
    }
    Ok(found)
}

fn expand(program: &str, home: &Path) -> Result<PathBuf, String> {
    let path = match program.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => PathBuf::from(program),
    };
    if !path.is_absolute() {
        return Err(format!("the token helper {program:?} must be an absolute path"));
    }
    Ok(path)
}

fn run(program: &Path, verb: &str, input: Option<&Secret<String>>) -> Result<Zeroizing<String>, String> {
    let failed = |why: String| format!("the token helper {} failed at {verb:?}: {why}", program.display());
    let mut child = Command::new(program)
        .arg(verb)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed(e.to_string()))?;
    if let (Some(token), Some(mut pipe)) = (input, child.stdin.take()) {
        pipe.write_all(token.expose().as_bytes()).map_err(|e| failed(e.to_string()))?;
    }
    let mut out = Zeroizing::new(String::new());
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut out).map_err(|e| failed(e.to_string()))?;
    }
    let status = child.wait().map_err(|e| failed(e.to_string()))?;
    if status.success() { Ok(out) } else { Err(failed(status.to_string())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Environment) {
        let dir = tempfile::tempdir().unwrap();
        let env = Environment::fixed(&[("HOME", dir.path().to_str().unwrap())]);
        (dir, env)
    }

    #[test]
    fn the_file_is_private_whole_and_erasable() {
        let (dir, env) = home();
        let helper = Helper::find(&env).unwrap();
        assert!(helper.get().unwrap().is_none());
        helper.store(&Secret::from("s.one")).unwrap();
        helper.store(&Secret::from("s.two")).unwrap();
        assert_eq!(helper.get().unwrap().unwrap().expose(), "s.two");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(dir.path().join(".vault-token")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        helper.erase().unwrap();
        helper.erase().unwrap();
        assert!(helper.get().unwrap().is_none());
    }

    #[test]
    fn a_program_of_the_users_is_asked() {
        let (dir, env) = home();
        let program = dir.path().join("helper");
        std::fs::write(
            &program,
            format!("#!/bin/sh\ncase $1 in get) cat {0}/kept;; store) cat > {0}/kept;; *) exit 3;; esac\n", dir.path().display()),
        )
        .unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(dir.path().join(".vault"), "# mine\ntoken_helper = \"~/helper\"\n").unwrap();
        let helper = Helper::find(&env).unwrap();
        assert_eq!(helper, Helper::Program(program));
        helper.store(&Secret::from("s.kept")).unwrap();
        assert_eq!(helper.get().unwrap().unwrap().expose(), "s.kept");
        assert!(helper.erase().unwrap_err().contains("exit status: 3"));
    }

    #[test]
    fn a_wrong_configuration_is_refused() {
        let (dir, env) = home();
        for text in ["token_helper", "token_helper = bare", "other = \"x\"", "token_helper = \"relative\""] {
            std::fs::write(dir.path().join(".vault"), text).unwrap();
            assert!(Helper::find(&env).is_err(), "{text}");
        }
        assert!(Helper::find(&Environment::fixed(&[])).unwrap_err().contains("HOME"));
    }
}
