//! What `operator diagnose` looks at.

use coffer_client::certificate::{self, Chain};
use coffer_server::config::{Bind, Config, KeySource, Listener, Seal, StorageKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How a check came out; the worse the greater.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum State {
    Success,
    Warning,
    Failure,
}

impl State {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One check, or a group of them.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: String,
    pub(super) state: State,
    pub(super) message: String,
    pub(super) children: Vec<Check>,
}

impl Check {
    pub(super) fn new(name: &str, state: State, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state, message: message.into(), children: Vec::new() }
    }

    pub(super) fn group(name: &str, children: Vec<Self>) -> Self {
        Self { name: name.to_owned(), state: State::Success, message: String::new(), children }
    }

    /// A group is as bad as the worst in it.
    pub(super) fn settle(&mut self) -> State {
        for child in &mut self.children {
            self.state = self.state.max(child.settle());
        }
        self.state
    }
}

fn good(name: &str, message: impl Into<String>) -> Check {
    Check::new(name, State::Success, message)
}

fn doubtful(name: &str, message: impl Into<String>) -> Check {
    Check::new(name, State::Warning, message)
}

fn bad(name: &str, message: impl Into<String>) -> Check {
    Check::new(name, State::Failure, message)
}

/// What the machine allows a process: open files, locked memory.
pub(super) fn machine() -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let name = "Check Open File Limits";
    let check = match limit {
        None => good(name, "There is no limit to open files."),
        Some(n) if n < 1024 => doubtful(
            name,
            format!("{n} files may be open at once; each connection needs one. Raise it to 16384 (ulimit -n, LimitNOFILE=)."),
        ),
        Some(n) => good(name, format!("{n} files may be open at once.")),
    };
    Check::group("Check Operating System", vec![check, memory_lock()])
}

/// Each key lies on a page of its own, which the server locks as far as it may.
fn memory_lock() -> Check {
    const ENOUGH: u64 = 64 * 1024;
    let name = "Check Memory Locking";
    match rustix::process::getrlimit(rustix::process::Resource::Memlock).current {
        None => good(name, "All memory can be locked: keys never reach the swap."),
        Some(n) if n < ENOUGH => doubtful(
            name,
            format!(
                "Only {} KiB can be locked: keys may reach the swap. Raise it (ulimit -l, LimitMEMLOCK=), or turn swap off.",
                n / 1024
            ),
        ),
        Some(n) => good(name, format!("{} KiB can be locked, which is enough for the keys.", n / 1024)),
    }
}

pub(super) fn storage(config: &Config) -> Check {
    match config.storage.as_ref().map(|s| &s.kind) {
        None => Check::group(
            "Check Storage",
            vec![bad("Storage Stanza", "There is none. Add: storage \"embedded\" { path = \"/var/lib/coffer\" }")],
        ),
        Some(StorageKind::Memory) => {
            Check::group("Check Storage", vec![doubtful("Memory", "All data is gone when the server stops.")])
        }
        Some(StorageKind::Embedded { path, .. }) => data_directory(path),
        #[allow(unreachable_patterns, reason = "kinds are added to the configuration before they are checked here")]
        Some(_) => Check::group("Check Storage", vec![good("Other storage", "Not checked.")]),
    }
}

/// The directory that keeps the data: there, ours, closed to others, with room.
pub(super) fn data_directory(path: &Path) -> Check {
    let mut children = Vec::new();
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let parent = nearest(path);
            children.push(if writable(&parent) {
                good("Directory", format!("{shown} is not there yet; the server makes it."))
            } else {
                bad("Directory", format!("{shown} is not there, and this user may not make it in {}.", parent.display()))
            });
        }
        Err(e) => children.push(bad("Directory", format!("{shown}: {e}"))),
        Ok(found) if !found.is_dir() => children.push(bad("Directory", format!("{shown} is not a directory."))),
        Ok(found) => {
            children.push(if writable(path) {
                good("Directory", format!("{shown} is there and can be written."))
            } else {
                bad("Directory", format!("This user may not write in {shown}."))
            });
            let mode = found.permissions().mode() & 0o777;
            children.push(if mode & 0o077 == 0 {
                good("Permissions", format!("Only its owner can enter it ({mode:04o})."))
            } else {
                doubtful("Permissions", format!("Others can look into it ({mode:04o}): chmod 0700 {shown}"))
            });
        }
    }
    children.push(room(&nearest(path)));
    Check::group("Check Storage", children)
}

fn room(path: &Path) -> Check {
    let name = "Check Disk Usage";
    match rustix::fs::statvfs(path) {
        Err(e) => doubtful(name, format!("{}: {e}", path.display())),
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize) >> 20;
            let percent = stat.f_bavail.saturating_mul(100).checked_div(stat.f_blocks).unwrap_or(100);
            if free < 1024 || percent < 5 {
                doubtful(
                    name,
                    format!(
                        "{free} MiB ({percent} %) are free on the volume of {}. A full disk stops all writing.",
                        path.display()
                    ),
                )
            } else {
                good(name, format!("{free} MiB ({percent} %) are free."))
            }
        }
    }
}

/// The first directory on the way up that exists.
fn nearest(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.ancestors().find(|p| p.is_dir()).unwrap_or(Path::new("/")).to_owned()
}

fn writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

pub(super) fn seal(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Check {
    let data = match config.storage.as_ref().map(|s| &s.kind) {
        Some(StorageKind::Embedded { path, .. }) => Some(path.as_path()),
        _ => None,
    };
    match &config.seal {
        Seal::Shamir => Check::group("Check Seal", vec![good("Shamir", "People unseal the server with their shares.")]),
        Seal::Static(seal) => {
            let source = &seal.current.source;
            let mut check = match source {
                KeySource::File(path) => key_file(path, data),
                KeySource::Environment(name) => Check::group(
                    "Check Seal",
                    vec![good(
                        "Key",
                        format!("It is in the variable {name}. Whoever can read this process's environment has it."),
                    )],
                ),
                KeySource::Inline(_) => Check::group(
                    "Check Seal",
                    vec![doubtful(
                        "Key",
                        "It stands in the configuration itself. Put it into a file of its own, on another volume than the data, mode 0600.",
                    )],
                ),
            };
            check.children.push(match source.load(variable) {
                Ok(_) => good("Key Material", "It is a key of 32 bytes."),
                Err(e) => bad("Key Material", e.to_string()),
            });
            check
        }
    }
}

/// The file of a static seal's key: there, closed to others, and not where the data is: who takes the disk or its
/// backup must not have both.
pub(super) fn key_file(key: &Path, data: Option<&Path>) -> Check {
    let shown = key.display();
    let mut children = Vec::new();
    match std::fs::metadata(key) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let used = data.is_some_and(|d| std::fs::read_dir(d).is_ok_and(|mut d| d.next().is_some()));
            children.push(if used {
                bad("Key", format!("{shown} is not there, but the data is: without its key the data can't be read. Restore the key from its backup."))
            } else {
                good("Key", format!("{shown} is not there yet."))
            });
        }
        Err(e) => children.push(bad("Key", format!("{shown}: {e}"))),
        Ok(found) => {
            let mode = found.permissions().mode() & 0o777;
            children.push(if mode & 0o077 == 0 {
                good("Key Permissions", format!("Only its owner can read it ({mode:04o})."))
            } else {
                bad("Key Permissions", format!("Others can read it ({mode:04o}): chmod 0600 {shown}"))
            });
        }
    }
    if let Some(data) = data {
        children.extend(apart(key, data));
    }
    Check::group("Check Seal", children)
}

fn apart(key: &Path, data: &Path) -> Vec<Check> {
    let name = "Key and Data Apart";
    let real =
        |path: &Path| std::fs::canonicalize(path).or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    let (key, data) = (real(key), real(data));
    let beside = key.parent().map(Path::to_owned).unwrap_or_default();
    let mut out = Vec::new();
    if key.starts_with(&data) {
        out.push(bad(
            name,
            format!("The key {} lies inside the data's directory: every copy of the data holds its key.", key.display()),
        ));
    } else if data.starts_with(&beside) && beside != Path::new("/") {
        out.push(doubtful(name, format!("Key and data lie in one tree ({}): one backup takes both.", beside.display())));
    }
    let volume = |path: &Path| std::fs::metadata(nearest(path)).map(|m| m.dev()).ok();
    if volume(&beside).is_some() && volume(&beside) == volume(&data) {
        out.push(doubtful("Volumes", format!("The key {} and the data {} are on one volume: who takes the disk has both. Put the key on another (-seal-key, or the seal's stanza).", key.display(), data.display())));
    }
    if out.is_empty() {
        out.push(good(name, "They are on different volumes."));
    }
    out
}

pub(super) fn listeners(config: &Config) -> Check {
    let mut children: Vec<Check> = config.listener.iter().map(listener).collect();
    if children.is_empty() {
        children.push(bad(
            "Listener Stanza",
            "There is none: the server would answer nobody. Add: listener \"tcp\" { address = \"127.0.0.1:8200\" … }",
        ));
    }
    Check::group("Check Listeners", children)
}

fn listener(listener: &Listener) -> Check {
    let mut children = Vec::new();
    let name = match &listener.bind {
        Bind::Unix(path) => {
            let parent = nearest(path);
            children.push(if writable(&parent) {
                good("Socket", format!("It can be made in {}.", parent.display()))
            } else {
                bad("Socket", format!("This user may not make it in {}.", parent.display()))
            });
            format!("Socket {}", path.display())
        }
        Bind::Tcp { host, port } => {
            let shown = if host.is_empty() { "0.0.0.0" } else { host };
            children.push(match std::net::TcpListener::bind((shown, *port)) {
                Ok(_) => good("Address", "It is free."),
                Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
                    bad("Address", "Something listens there already. If that is the server itself, use -skip=listener.")
                }
                Err(e) => bad("Address", e.to_string()),
            });
            let loopback = shown == "localhost" || shown.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
            match listener.tls() {
                Some(files) => children.extend(tls(&files.certificates, &files.key)),
                None if loopback => children.push(good("TLS", "Off; only this machine can connect.")),
                None => children.push(doubtful(
                    "TLS",
                    "Off, on an address that other machines reach: tokens and secrets cross the network in plain text.",
                )),
            }
            format!("{shown}:{port}")
        }
    };
    Check::group(&name, children)
}

/// A listener's certificate and key: readable, of one another, within their dates.
fn tls(cert: &Path, key: &Path) -> Vec<Check> {
    let chain = match certificate::chain(cert) {
        Ok(chain) => chain,
        Err(why) => return vec![bad("Certificate", format!("{}: {why}", cert.display()))],
    };
    let mut out = vec![dates(&chain, SystemTime::now())];
    if let Ok(mode) = std::fs::metadata(key).map(|m| m.permissions().mode() & 0o777)
        && mode & 0o077 != 0
    {
        out.push(doubtful("Key Permissions", format!("Others can read it ({mode:04o}): chmod 0600 {}", key.display())));
    }
    out.push(match chain.belongs_to(key) {
        Ok(()) => good("Key", "It belongs to the certificate."),
        Err(why) => bad("Key", format!("{}: {why}", key.display())),
    });
    out
}

fn dates(chain: &Chain, now: SystemTime) -> Check {
    let name = "Certificate Dates";
    let Some((from, until)) = chain.validity() else {
        return bad(name, "The certificate's dates can't be read.");
    };
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX));
    let day = |secs: i64| time::OffsetDateTime::from_unix_timestamp(secs).map_or_else(|_| "?".into(), |t| t.date().to_string());
    if now < from {
        bad(name, format!("It is valid only from {} on.", day(from)))
    } else if now >= until {
        bad(name, format!("It ended on {}.", day(until)))
    } else if until - now < 30 * 86_400 {
        doubtful(name, format!("It ends on {}, in {} days.", day(until), (until - now) / 86_400))
    } else {
        good(name, format!("It is valid until {}.", day(until)))
    }
}

pub(super) fn audit(config: &Config) -> Check {
    if config.audit.is_empty() {
        return Check::group("Check Audit", vec![doubtful("Devices", "None is configured: nothing says who did what.")]);
    }
    let children = config
        .audit
        .iter()
        .map(|device| match device.keys.options.get("file_path").filter(|_| device.kind == "file") {
            Some(path) if !["stdout", "discard"].contains(&path.as_str()) => {
                let parent = nearest(Path::new(path).parent().unwrap_or(Path::new("/")));
                if writable(&parent) {
                    good(&device.path, format!("{path} can be written."))
                } else {
                    bad(&device.path, format!("This user may not write {path}: no call would be answered."))
                }
            }
            _ => good(&device.path, device.kind.clone()),
        })
        .collect();
    Check::group("Check Audit", children)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(mut check: Check) -> State {
        check.settle()
    }

    #[test]
    fn a_key_inside_its_data_is_wrong_and_beside_it_doubtful() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("srv/data");
        std::fs::create_dir_all(&data).unwrap();
        let worst = |key: &Path| apart(key, &data).into_iter().map(|c| c.state).max();
        assert_eq!(worst(&data.join("seal.key")), Some(State::Failure));
        assert_eq!(worst(&dir.path().join("srv/seal.key")), Some(State::Warning));
        let elsewhere = apart(&dir.path().join("etc/seal.key"), &data);
        assert!(elsewhere.len() == 1 && elsewhere[0].message.contains("one volume"), "{elsewhere:?}");
    }

    #[test]
    fn data_without_its_key_is_wrong_and_an_open_key_too() {
        let dir = tempfile::tempdir().unwrap();
        let (data, key) = (dir.path().join("data"), dir.path().join("seal.key"));
        std::fs::create_dir(&data).unwrap();
        assert!(key_file(&key, Some(&data)).children.iter().all(|c| c.state < State::Failure));
        std::fs::write(data.join("x"), "x").unwrap();
        assert_eq!(state(key_file(&key, Some(&data))), State::Failure);
        std::fs::write(&key, [7; 32]).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(state(key_file(&key, None)), State::Failure);
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(state(key_file(&key, None)), State::Success);
    }

    #[test]
    fn an_open_data_directory_is_doubtful() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let check = data_directory(dir.path());
        assert!(check.children.iter().any(|c| c.name == "Permissions" && c.state == State::Warning));
        assert_eq!(
            state(data_directory(&dir.path().join("new"))).min(State::Warning),
            state(data_directory(&dir.path().join("new")))
        );
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(state(data_directory(&dir.path().join("file"))), State::Failure);
    }

    #[test]
    fn certificates_have_dates_and_keys_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key, other) = (dir.path().join("c.pem"), dir.path().join("k.pem"), dir.path().join("o.pem"));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        std::fs::write(&other, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(tls(&cert, &key).iter().all(|c| c.state < State::Failure));
        assert!(tls(&cert, &other).iter().any(|c| c.name == "Key" && c.state == State::Failure));
        assert!(tls(&key, &key).iter().any(|c| c.name == "Certificate" && c.state == State::Failure));
        let chain = certificate::chain(&cert).unwrap();
        let (from, until) = chain.validity().unwrap();
        let at = |secs: i64| UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(secs).unwrap());
        assert_eq!(dates(&chain, at(from - 1)).state, State::Failure);
        assert_eq!(dates(&chain, at(until)).state, State::Failure);
        assert_eq!(dates(&chain, at(until - 86_400)).state, State::Warning);
    }
}
