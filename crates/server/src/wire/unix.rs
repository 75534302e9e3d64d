//! Unix sockets: their file, its permissions, its owner.

use crate::config::ListenerKeys;
use rustix::fs::{Gid, Mode, Uid};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use tokio::net::{UnixListener, UnixStream};

/// Binds `path`, taking the place of a socket that nobody listens on any more, and of nothing else.
pub(super) async fn bind(path: &Path, keys: &ListenerKeys) -> io::Result<UnixListener> {
    clear(path).await?;
    let listener = UnixListener::bind(path)?;
    if let Err(error) = permit(path, keys) {
        // A socket with the wrong permissions is not left behind.
        if let Err(also) = std::fs::remove_file(path) {
            tracing::warn!(target: "server", path = %path.display(), error = %also, "could not remove the socket");
        }
        return Err(error);
    }
    Ok(listener)
}

async fn clear(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket is in its place"))
        }
        Ok(_) if UnixStream::connect(path).await.is_ok() => {
            Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it"))
        }
        Ok(_) => std::fs::remove_file(path),
    }
}

fn permit(path: &Path, keys: &ListenerKeys) -> io::Result<()> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, what.to_owned());
    let user = keys.socket_user.as_deref().filter(|name| !name.is_empty()).map(|name| id("/etc/passwd", name));
    let group = keys.socket_group.as_deref().filter(|name| !name.is_empty()).map(|name| id("/etc/group", name));
    let user = user.transpose()?.map(Uid::from_raw);
    let group = group.transpose()?.map(Gid::from_raw);
    if user.is_some() || group.is_some() {
        rustix::fs::chown(path, user, group)?;
    }
    if let Some(mode) = keys.socket_mode.as_deref().filter(|mode| !mode.is_empty()) {
        let mode = u32::from_str_radix(mode, 8).map_err(|_| bad("socket_mode takes octal permissions"))?;
        rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// The number of a user or group: said as one, or the third field of its line.
fn id(table: &str, name: &str) -> io::Result<u32> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let lines = std::fs::read_to_string(table)?;
    find(&lines, name).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{table} does not name {name:?}")))
}

fn find(lines: &str, name: &str) -> Option<u32> {
    lines
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))?
        .get(2)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn keys(mode: &str) -> ListenerKeys {
        ListenerKeys { socket_mode: Some(mode.to_owned()), ..ListenerKeys::default() }
    }

    #[tokio::test]
    async fn the_socket_has_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let own = std::fs::metadata(folder.path()).unwrap();
        let keys =
            ListenerKeys { socket_user: Some(own.uid().to_string()), socket_group: Some(own.gid().to_string()), ..keys("0640") };
        let _listener = bind(&path, &keys).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    }

    #[tokio::test]
    async fn only_a_dead_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = bind(&path, &keys("0600")).await.unwrap();
        assert_eq!(bind(&path, &keys("0600")).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = bind(&path, &keys("0600")).await.unwrap();
        drop(second);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(bind(&path, &keys("0600")).await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        let link = folder.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(bind(&link, &keys("0600")).await.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[tokio::test]
    async fn an_unknown_owner_leaves_no_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let keys = ListenerKeys { socket_user: Some("no such user".to_owned()), ..ListenerKeys::default() };
        assert_eq!(bind(&path, &keys).await.unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!path.exists());
    }

    #[test]
    fn names_are_found_whole() {
        let lines = "root:x:0:0:root:/root:/bin/sh\nvault:x:997:995::/:/bin/false\nbroken\n";
        assert_eq!((find(lines, "vault"), find(lines, "root")), (Some(997), Some(0)));
        for name in ["vaul", "x", "", "broken", "997"] {
            assert_eq!(find(lines, name), None, "{name}");
        }
    }
}
