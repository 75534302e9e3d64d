//! `coffer server` without configuration: durable, on loopback, unsealed by a key of its own.
//!
//! What this protects from and what not is in docs/solo.md. The rule that everything here serves: data whose key is missing are
//! refused, and never initialised anew.

use super::private::{self, PrivateError};
use crate::config::{KeySource, parse_address};
use base64::Engine as _;
use coffer_crypto::random::{self, Random};
use coffer_types::{Secret, secret};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What the command line says to a server without configuration.
#[derive(Clone, Debug, Default)]
pub struct SoloOptions {
    /// `-data`: the directory that keeps the data.
    pub data: Option<PathBuf>,
    /// `-seal-key`: the file of the key that seals them.
    pub seal_key: Option<PathBuf>,
    /// Where to listen; loopback only.
    pub listen: Option<String>,
}

/// Where everything lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// What `-data` names; the rest of the data is below it.
    pub data: PathBuf,
    pub store: PathBuf,
    pub audit: PathBuf,
    pub seal_key: PathBuf,
    /// Where the first root token goes when there is no terminal to show it on.
    pub root_token: PathBuf,
    pub recovery_key: PathBuf,
}

/// Why the server can't start without configuration.
#[derive(Debug)]
pub enum SoloError {
    /// No flag and no variable says where the user's files are.
    NoHome { what: &'static str, flag: &'static str },
    /// There are data, and their key is gone.
    KeyMissing { data: PathBuf, key: PathBuf },
    /// The key file must not be used as it is.
    KeyRefused(PrivateError),
    /// The key file holds something else.
    KeyForm { key: PathBuf },
    /// The key file could not be written.
    KeyNotWritten { key: PathBuf, cause: io::Error },
    /// Without configuration there is no TLS, so that only this machine may connect.
    NotLoopback { address: String },
    /// Not an address at all.
    Address { address: String, why: &'static str },
}

impl Places {
    /// By flags, then the XDG variables, then below the home directory.
    ///
    /// # Errors
    /// [`SoloError::NoHome`].
    pub fn find(options: &SoloOptions, variable: impl Fn(&str) -> Option<String>) -> Result<Self, SoloError> {
        // The XDG specification: a relative path in these variables is ignored.
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let below = |xdg: &str, home: &str| {
            absolute(xdg).or_else(|| absolute("HOME").map(|path| path.join(home))).map(|path| path.join("coffer"))
        };
        let data = match &options.data {
            Some(data) => data.clone(),
            None => below("XDG_DATA_HOME", ".local/share").ok_or(SoloError::NoHome { what: "data", flag: "-data" })?,
        };
        let seal_key = match &options.seal_key {
            Some(key) => key.clone(),
            None => {
                let directory = below("XDG_CONFIG_HOME", ".config");
                directory.ok_or(SoloError::NoHome { what: "seal key", flag: "-seal-key" })?.join("seal.key")
            }
        };
        Ok(Self {
            store: data.join("store"),
            audit: data.join("audit.log"),
            root_token: seal_key.with_file_name("root-token"),
            recovery_key: seal_key.with_file_name("recovery-key"),
            data,
            seal_key,
        })
    }

    /// Whether the key lies below the data, so that a copy of one is a copy of both.
    pub fn key_beside_data(&self) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        real(&self.seal_key).starts_with(real(&self.data))
    }
}

/// Where to listen: loopback alone, since without configuration there is no TLS.
///
/// # Errors
/// Another address, or none at all.
pub fn loopback(address: &str) -> Result<(String, u16), SoloError> {
    let (host, port) = parse_address(address).map_err(|why| SoloError::Address { address: address.to_owned(), why })?;
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if loopback { Ok((host, port)) } else { Err(SoloError::NotLoopback { address: address.to_owned() }) }
}

/// The seal's key and the name that the data remember it by.
pub struct SealKey {
    pub id: String,
    pub key: Secret<[u8; 32]>,
    /// Whether it was made just now.
    pub new: bool,
}

/// The key of the file; made first where there is none and the store is empty.
///
/// # Errors
/// [`SoloError::KeyMissing`] where the store is not empty, and whatever else keeps the key from being used.
pub fn seal_key(places: &Places, store_is_empty: bool, random: &dyn Random) -> Result<SealKey, SoloError> {
    let path = &places.seal_key;
    if let Some(bytes) = private::read(path).map_err(SoloError::KeyRefused)? {
        let key = decode(&bytes).ok_or_else(|| SoloError::KeyForm { key: path.clone() })?;
        return Ok(SealKey { id: key_id(&key), key, new: false });
    }
    if !store_is_empty {
        return Err(SoloError::KeyMissing { data: places.data.clone(), key: path.clone() });
    }
    let raw: Zeroizing<[u8; 32]> = random::bytes(random);
    let mut text = base64::prelude::BASE64_STANDARD.encode(raw.as_slice());
    text.push('\n');
    private::create(path, &Secret::from(text)).map_err(|cause| SoloError::KeyNotWritten { key: path.clone(), cause })?;
    let key = Secret::new(*raw);
    Ok(SealKey { id: key_id(&key), key, new: true })
}

/// Leaves a secret in a new private file; beside it under a numbered name where that one is taken. The path that was written.
pub(super) fn leave(path: &Path, content: &Secret<String>) -> io::Result<PathBuf> {
    let line = Secret::from(format!("{}\n", content.expose()));
    for n in 1..1000 {
        let mut name = path.as_os_str().to_owned();
        if n > 1 {
            name.push(format!("-{n}"));
        }
        match private::create(Path::new(&name), &line) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| PathBuf::from(name)),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}

fn decode(bytes: &secret::Bytes) -> Option<Secret<[u8; 32]>> {
    let text = std::str::from_utf8(bytes).ok();
    if let Some(Ok(KeySource::Inline(key))) = text.map(|text| KeySource::parse(text.trim())) {
        return Some(key);
    }
    <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Secret::new)
}

/// Names a key without telling anything of it.
fn key_id(key: &Secret<[u8; 32]>) -> String {
    let digest = coffer_crypto::mac::sha256(&[b"coffer/seal-key-id/v1", key.expose()]);
    format!("local-{}", hex::encode(&digest[..8]))
}

impl fmt::Display for SoloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHome { what, flag } => {
                write!(f, "there is no home directory for the {what}: set HOME, or say where with {flag}")
            }
            Self::KeyMissing { data, key } => write!(
                f,
                "the data in {} are sealed, and the file of their key, {}, is missing.\n\
                 Put the key back from your backup, or say where it is with -seal-key. Without it the data can't be read, and the \
                 server does not start over them.\n\
                 To begin anew, move {} away.",
                data.display(),
                key.display(),
                data.display()
            ),
            Self::KeyRefused(error) => write!(f, "the seal key is not used: {error}"),
            Self::KeyForm { key } => {
                write!(f, "{} holds no seal key: it takes 32 bytes, raw, in hex or in base64", key.display())
            }
            Self::KeyNotWritten { key, cause } => write!(f, "the seal key could not be written to {}: {cause}", key.display()),
            Self::NotLoopback { address } => write!(
                f,
                "{address} can be reached from other machines, and without a configuration there is no TLS; listen on 127.0.0.1 or use -config"
            ),
            Self::Address { address, why } => write!(f, "{address:?} is no address to listen on: {why}"),
        }
    }
}

impl std::error::Error for SoloError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::KeyRefused(error) => Some(error),
            Self::KeyNotWritten { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use coffer_crypto::random::SeededRandom;
    use std::os::unix::fs::PermissionsExt as _;

    fn places(root: &Path) -> Places {
        let root = root.to_str().unwrap().to_owned();
        Places::find(&SoloOptions::default(), move |name| (name == "HOME").then(|| root.clone())).unwrap()
    }

    fn random() -> SeededRandom {
        SeededRandom::for_tests_only(1)
    }

    #[test]
    fn places_by_flag_by_variable_and_by_home() {
        let variables = |pairs: &'static [(&str, &str)]| {
            move |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
        };
        let home = Places::find(&SoloOptions::default(), variables(&[("HOME", "/h")])).unwrap();
        assert_eq!(home.store, Path::new("/h/.local/share/coffer/store"));
        assert_eq!(home.seal_key, Path::new("/h/.config/coffer/seal.key"));
        assert_eq!(home.root_token, Path::new("/h/.config/coffer/root-token"));
        let set = &[("HOME", "/h"), ("XDG_DATA_HOME", "/d"), ("XDG_CONFIG_HOME", "/c")];
        let xdg = Places::find(&SoloOptions::default(), variables(set)).unwrap();
        assert_eq!((xdg.data.as_path(), xdg.seal_key.as_path()), (Path::new("/d/coffer"), Path::new("/c/coffer/seal.key")));
        let options = SoloOptions { data: Some("/x".into()), seal_key: Some("/k/key".into()), listen: None };
        let flags = Places::find(&options, variables(&[])).unwrap();
        assert_eq!((flags.data.as_path(), flags.seal_key.as_path()), (Path::new("/x"), Path::new("/k/key")));
        assert_eq!(flags.root_token, Path::new("/k/root-token"));
        // A relative path in a variable is ignored, and no home is an error that names the flag.
        for pairs in [&[][..], &[("HOME", "")], &[("XDG_DATA_HOME", "relative")]] {
            let error = Places::find(&SoloOptions::default(), variables(pairs)).unwrap_err();
            assert!(error.to_string().contains("-data"), "{error}");
        }
        let options = SoloOptions { data: Some("/x".into()), ..SoloOptions::default() };
        let error = Places::find(&options, variables(&[])).unwrap_err();
        assert!(error.to_string().contains("-seal-key"), "{error}");
    }

    #[test]
    fn a_key_is_made_once_and_comes_back() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        let made = seal_key(&places, true, &random()).unwrap();
        assert!(made.new);
        assert_eq!(std::fs::metadata(&places.seal_key).unwrap().permissions().mode() & 0o777, 0o600);
        for store_is_empty in [false, true] {
            let back = seal_key(&places, store_is_empty, &SeededRandom::for_tests_only(2)).unwrap();
            assert!(!back.new);
            assert_eq!((back.key.expose(), &back.id), (made.key.expose(), &made.id));
        }
        assert!(!places.key_beside_data());
    }

    #[test]
    fn data_without_their_key_are_refused_and_no_key_is_made() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        let error = seal_key(&places, false, &random()).err().unwrap();
        assert!(matches!(error, SoloError::KeyMissing { .. }));
        assert!(error.to_string().contains("-seal-key"), "{error}");
        assert!(!places.seal_key.exists());
    }

    #[test]
    fn keys_that_others_may_read_or_that_are_none_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        seal_key(&places, true, &random()).unwrap();
        let chmod = |mode| std::fs::set_permissions(&places.seal_key, std::fs::Permissions::from_mode(mode)).unwrap();
        chmod(0o644);
        let error = seal_key(&places, false, &random()).err().unwrap();
        assert!(matches!(error, SoloError::KeyRefused(PrivateError::Exposed { mode: 0o644, .. })));
        assert!(error.to_string().contains("chmod 600"), "{error}");
        chmod(0o600);
        for text in ["", "canary", "canarycanarycanarycanarycanarycanarycanary!", &"0".repeat(63)] {
            std::fs::write(&places.seal_key, text).unwrap();
            let error = seal_key(&places, true, &random()).err().unwrap();
            assert!(matches!(error, SoloError::KeyForm { .. }), "{text}: {error}");
            assert!(!error.to_string().contains("canary"));
        }
        std::fs::remove_file(&places.seal_key).unwrap();
        std::fs::create_dir(&places.seal_key).unwrap();
        assert!(matches!(seal_key(&places, true, &random()), Err(SoloError::KeyRefused(PrivateError::NoFile { .. }))));
    }

    #[test]
    fn a_raw_key_reads_too() {
        let root = tempfile::tempdir().unwrap();
        let places = places(root.path());
        private::create(&places.seal_key, &Secret::from("k".repeat(32))).unwrap();
        assert_eq!(seal_key(&places, false, &random()).unwrap().key.expose(), &[b'k'; 32]);
    }

    #[test]
    fn key_beside_data_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        std::fs::create_dir(&data).unwrap();
        let key = data.join("../data/keys/seal.key");
        std::fs::create_dir(data.join("keys")).unwrap();
        std::fs::write(&key, "x").unwrap();
        let options = SoloOptions { data: Some(data), seal_key: Some(key), listen: None };
        assert!(Places::find(&options, |_| None).unwrap().key_beside_data());
    }

    #[test]
    fn only_loopback_is_listened_on() {
        for good in ["127.0.0.1:8200", "[::1]:0", "localhost:1", "127.8.9.1:80"] {
            assert!(loopback(good).is_ok(), "{good}");
        }
        for bad in ["0.0.0.0:8200", ":8200", "[::]:8200", "192.168.1.1:8200", "vault.example.com:8200"] {
            assert!(matches!(loopback(bad), Err(SoloError::NotLoopback { .. })), "{bad}");
        }
        for bad in ["8200", "127.0.0.1", "127.0.0.1:http"] {
            assert!(matches!(loopback(bad), Err(SoloError::Address { .. })), "{bad}");
        }
    }

    #[test]
    fn a_root_token_never_takes_anothers_place() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("root-token");
        assert_eq!(leave(&path, &"one".into()).unwrap(), path);
        let second = leave(&path, &"two".into()).unwrap();
        assert_eq!(second, root.path().join("root-token-2"));
        assert_eq!(std::fs::read(&path).unwrap(), b"one\n");
        assert_eq!(std::fs::read(&second).unwrap(), b"two\n");
    }
}
