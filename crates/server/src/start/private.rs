//! Files that only their owner may read: seal keys, root tokens.

use coffer_types::{Secret, secret};
use rustix::fs::{Mode, OFlags};
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The longest file that is read: nothing that is kept this way is larger.
const MOST: u64 = 64 * 1024;

/// Why a private file was not used.
#[derive(Debug)]
pub enum PrivateError {
    /// Others may read or write it.
    Exposed {
        path: PathBuf,
        mode: u32,
    },
    /// It belongs to somebody else.
    Foreign {
        path: PathBuf,
        owner: u32,
        own: u32,
    },
    /// A directory, a device, a pipe.
    NoFile {
        path: PathBuf,
    },
    Io {
        path: PathBuf,
        cause: io::Error,
    },
}

/// What a private file holds; `None` where there is none.
///
/// # Errors
/// The file is not a regular one, belongs to another user than this process's (root aside), or others may read or write it.
pub(super) fn read(path: &Path) -> Result<Option<secret::Bytes>, PrivateError> {
    let failed = |cause| PrivateError::Io { path: path.to_owned(), cause };
    // Without blocking, so that a pipe in the file's place can't hold the server up.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno.into())),
    };
    // Asked of the open file, not of the path, which could be another file by now.
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(PrivateError::NoFile { path: path.to_owned() });
    }
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() != own && meta.uid() != 0 {
        return Err(PrivateError::Foreign { path: path.to_owned(), owner: meta.uid(), own });
    }
    if meta.mode() & 0o077 != 0 {
        return Err(PrivateError::Exposed { path: path.to_owned(), mode: meta.mode() & 0o777 });
    }
    let mut bytes = secret::Bytes::new(Vec::with_capacity(256));
    file.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// Writes a new private file, whole or not at all, and durable when this returns. Its directory is made where it is missing.
///
/// # Errors
/// `AlreadyExists` where there is one: nothing is ever overwritten.
pub(super) fn create(path: &Path, content: &Secret<String>) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = PathBuf::from(unfinished);
    let written = write_new(&unfinished, content.expose().as_bytes())
        // A link is refused where its name is taken, a rename is not.
        .and_then(|()| std::fs::hard_link(&unfinished, path));
    let removed = std::fs::remove_file(&unfinished);
    written.and(removed)?;
    File::open(directory)?.sync_all()
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

impl fmt::Display for PrivateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exposed { path, mode } => write!(
                f,
                "{} can be read or written by others (its permissions are {mode:04o}); chmod 600 {}",
                path.display(),
                path.display()
            ),
            Self::Foreign { path, owner, own } => {
                write!(f, "{} belongs to user {owner}, and the server runs as user {own}", path.display())
            }
            Self::NoFile { path } => write!(f, "{} is not a file", path.display()),
            Self::Io { path, cause } => write!(f, "{}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for PrivateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::Io { cause, .. } = self { Some(cause) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_written_is_private_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/key");
        create(&path, &"s3cret\n".into()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(read(&path).unwrap().unwrap().as_slice(), b"s3cret\n");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing unfinished is left");
    }

    #[test]
    fn nothing_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, &"first".into()).unwrap();
        let again = create(&path, &"second".into()).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(read(&path).unwrap().unwrap().as_slice(), b"first");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_missing_file_is_no_error_and_everything_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert!(read(&path).unwrap().is_none());
        create(&path, &"x".into()).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o660, 0o644, 0o610] {
            chmod(&path, mode);
            assert!(matches!(read(&path), Err(PrivateError::Exposed { mode: found, .. }) if found == mode), "{mode:o}");
        }
        for mode in [0o600, 0o400] {
            chmod(&path, mode);
            assert!(read(&path).unwrap().is_some(), "{mode:o}");
        }
        assert!(matches!(read(dir.path()), Err(PrivateError::NoFile { .. })));
        assert!(matches!(read(&path.join("below")), Err(PrivateError::Io { .. })));
    }

    #[test]
    fn a_file_of_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        create(&path, &"x".into()).unwrap();
        // Only root may give files away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(4711), None).unwrap();
            assert!(matches!(read(&path), Err(PrivateError::Foreign { owner: 4711, own: 0, .. })));
        }
    }

    #[test]
    fn a_pipe_does_not_hold_the_reader_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(matches!(read(&path), Err(PrivateError::NoFile { .. })));
    }
}
