//! Where identities are looked for, in sops' order.

use super::identity::{Identity, read};
use super::ssh::SshKey;
use crate::program::{command, run};
use crate::words;
use coffer_client::Environment;
use std::io::Read;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What a file of identities may hold.
pub(super) const MOST: u64 = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    SshKeyFile,
    SshKeyCommand,
    HomeEd25519,
    HomeRsa,
    Key,
    KeyFile,
    KeyCommand,
    ConfigFile,
}

pub(super) enum Loaded {
    Found(Vec<Identity>),
    /// Nothing is there; the place, for the error.
    Absent(String),
    Failed(String),
}

impl Source {
    pub(super) const ALL: [Self; 8] = [
        Self::SshKeyFile,
        Self::SshKeyCommand,
        Self::HomeEd25519,
        Self::HomeRsa,
        Self::Key,
        Self::KeyFile,
        Self::KeyCommand,
        Self::ConfigFile,
    ];

    pub(super) const fn is_command(self) -> bool {
        matches!(self, Self::SshKeyCommand | Self::KeyCommand)
    }

    /// The variable or the path, as errors name it.
    pub(super) fn place(self, env: &Environment) -> String {
        match self {
            Self::SshKeyFile => "SOPS_AGE_SSH_PRIVATE_KEY_FILE".into(),
            Self::SshKeyCommand => "SOPS_AGE_SSH_PRIVATE_KEY_CMD".into(),
            Self::Key => "SOPS_AGE_KEY".into(),
            Self::KeyFile => "SOPS_AGE_KEY_FILE".into(),
            Self::KeyCommand => "SOPS_AGE_KEY_CMD".into(),
            Self::HomeEd25519 | Self::HomeRsa | Self::ConfigFile => {
                self.path(env).map_or_else(|| "the home directory".into(), |path| path.display().to_string())
            }
        }
    }

    /// The path of those that have one of their own.
    fn path(self, env: &Environment) -> Option<PathBuf> {
        match self {
            Self::HomeEd25519 => Some(env.home()?.join(".ssh/id_ed25519")),
            Self::HomeRsa => Some(env.home()?.join(".ssh/id_rsa")),
            Self::ConfigFile => {
                let of_system = || {
                    let home = env.home()?;
                    Some(home.join(if cfg!(target_os = "macos") { "Library/Application Support" } else { ".config" }))
                };
                let folder = env.raw("XDG_CONFIG_HOME").map(PathBuf::from).or_else(of_system)?;
                Some(folder.join("sops/age/keys.txt"))
            }
            _ => None,
        }
    }

    /// Reads what is there. `recipient` is what a command is told that it is for.
    pub(super) fn load(self, env: &Environment, recipient: &str) -> Loaded {
        let place = self.place(env);
        let outcome = match self {
            Self::SshKeyFile => {
                let Some(path) = env.raw(&place) else { return Loaded::Absent(place) };
                file(&path.into()).and_then(|bytes| ssh(&env.raw(&place).unwrap_or_default(), &bytes, true))
            }
            Self::SshKeyCommand => {
                let Some(command) = env.raw(&place) else { return Loaded::Absent(place) };
                output(env, &place, &command, recipient).and_then(|bytes| ssh(&place, &bytes, false))
            }
            Self::Key => {
                let Some(text) = env.raw(&place) else { return Loaded::Absent(place) };
                read(&place, text.into_bytes(), true)
            }
            Self::KeyFile => {
                let Some(path) = env.raw(&place) else { return Loaded::Absent(place) };
                file(&path.into())
                    .map_err(|why| format!("failed to open {place} file: {why}"))
                    .and_then(|mut bytes| read(&place, std::mem::take(&mut *bytes), false))
            }
            Self::KeyCommand => {
                let Some(command) = env.raw(&place) else { return Loaded::Absent(place) };
                output(env, &place, &command, recipient).and_then(|mut bytes| read(&place, std::mem::take(&mut *bytes), false))
            }
            Self::HomeEd25519 | Self::HomeRsa | Self::ConfigFile => {
                let Some(path) = self.path(env) else { return Loaded::Absent(place) };
                match path.metadata() {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Loaded::Absent(place),
                    _ if self == Self::ConfigFile => {
                        file(&path).and_then(|mut bytes| read(&place, std::mem::take(&mut *bytes), false))
                    }
                    _ => file(&path).and_then(|bytes| ssh(&place, &bytes, true)),
                }
            }
        };
        outcome.map_or_else(Loaded::Failed, Loaded::Found)
    }
}

fn ssh(name: &str, bytes: &[u8], may_be_locked: bool) -> Result<Vec<Identity>, String> {
    SshKey::read(name, bytes, may_be_locked).map(|key| vec![Identity::Ssh(key)])
}

fn file(path: &PathBuf) -> Result<Zeroizing<Vec<u8>>, String> {
    let shown = path.display();
    let mut file = std::fs::File::open(path).map_err(|e| format!("{shown}: {e}"))?;
    // Room for any key file, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
    (&mut file).take(MOST + 1).read_to_end(&mut bytes).map_err(|e| format!("{shown}: {e}"))?;
    if bytes.len() as u64 > MOST { Err(format!("{shown}: file too long")) } else { Ok(bytes) }
}

/// What a command prints: run without a shell, told the recipient in `SOPS_AGE_RECIPIENT`.
fn output(env: &Environment, place: &str, text: &str, recipient: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let words = words::split(text).map_err(|why| format!("failed to parse command in {place}: {why}"))?;
    let Some((program, args)) = words.split_first() else { return Err(format!("{place} names no command")) };
    let mut command = command(env, program);
    command.args(args).env("SOPS_AGE_RECIPIENT", recipient);
    run(command, b"").map_err(|failed| format!("failed to execute command in {place}: {program}: {failed}"))
}
