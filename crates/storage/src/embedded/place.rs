//! The directory of an embedded store: who may open it, and which format lies there.
//!
//! ```text
//! DIR/LOCK          held by the one process that has the store open; its process id
//! DIR/data/FORMAT   which format lies here
//! DIR/data/db/      the database
//! ```
//! `data` is made under another name and renamed once it is whole, so that a crash while a store is made
//! leaves either none or a whole empty one.

use super::OpenError;
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The format that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

const FORMAT_LINE: &str = "coffer embedded store, format ";

/// A directory that this process alone uses.
pub(super) struct Place {
    root: PathBuf,
    lock: File,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being started still has a copy of the descriptor.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, path = %self.root.display(), "the store stays locked until this process ends");
        }
    }
}

impl Place {
    /// Makes the directory if there is none, and locks it.
    pub(super) fn lock(root: &Path) -> Result<Self, OpenError> {
        let failed = OpenError::io(root);
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(&failed)?;
        let path = root.join("LOCK");
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(&failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Who holds it is told where it can be read; that it is held is certain.
                let holder = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(OpenError::Locked { path: root.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        lock.set_len(0).map_err(&failed)?;
        lock.write_all(format!("{}\n", std::process::id()).as_bytes()).map_err(&failed)?;
        Ok(Self { root: root.to_owned(), lock })
    }

    /// The database's directory, made by `make` if this is a new store.
    pub(super) fn database(&self, make: impl FnOnce(&Path) -> Result<(), OpenError>) -> Result<PathBuf, OpenError> {
        let data = self.root.join("data");
        if data.try_exists().map_err(OpenError::io(&data))? {
            self.check_format(&data)?;
        } else {
            self.create(&data, make)?;
        }
        Ok(data.join("db"))
    }

    /// How many bytes may still be written here.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.root)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn create(&self, data: &Path, make: impl FnOnce(&Path) -> Result<(), OpenError>) -> Result<(), OpenError> {
        let unfinished = self.root.join("data.unfinished");
        let failed = OpenError::io(&unfinished);
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&unfinished).map_err(&failed)?;
        let mut format = File::create_new(unfinished.join("FORMAT")).map_err(&failed)?;
        format.write_all(format!("{FORMAT_LINE}{FORMAT}\n").as_bytes()).map_err(&failed)?;
        format.sync_all().map_err(&failed)?;
        make(&unfinished.join("db"))?;
        sync_directory(&unfinished).map_err(&failed)?;
        fs::rename(&unfinished, data).map_err(&failed)?;
        sync_directory(&self.root).map_err(&failed)
    }

    fn check_format(&self, data: &Path) -> Result<(), OpenError> {
        let path = data.join("FORMAT");
        let damaged = |what: &str| OpenError::Damaged { path: path.clone(), what: what.into() };
        let mut text = String::new();
        match File::open(&path).map(|file| file.take(1024).read_to_string(&mut text)) {
            Ok(Ok(_)) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(damaged("it is missing beside the data whose format it names"));
            }
            Ok(Err(error)) | Err(error) => return Err(OpenError::io(&path)(error)),
        }
        let found = text.strip_prefix(FORMAT_LINE).and_then(|rest| rest.trim_end().parse::<u32>().ok());
        match found {
            Some(1..=FORMAT) => Ok(()),
            Some(found) if found > FORMAT => Err(OpenError::Future { path: self.root.clone(), found, known: FORMAT }),
            _ => Err(damaged("it names no format")),
        }
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(path: &Path) -> Result<(), OpenError> {
        fs::create_dir(path).map_err(OpenError::io(path))
    }

    fn with_format(text: &str) -> (tempfile::TempDir, Result<PathBuf, OpenError>) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("data")).unwrap();
        fs::write(root.path().join("data/FORMAT"), text).unwrap();
        let place = Place::lock(root.path()).unwrap();
        let database = place.database(|_| panic!("what exists must never be made again"));
        (root, database)
    }

    #[test]
    fn a_second_holder_is_told_the_firsts_process() {
        let root = tempfile::tempdir().unwrap();
        let first = Place::lock(root.path()).unwrap();
        match Place::lock(root.path()) {
            Err(OpenError::Locked { holder, .. }) => assert_eq!(holder, Some(std::process::id())),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("locked twice"),
        }
        drop(first);
        Place::lock(root.path()).unwrap();
    }

    #[test]
    fn a_format_of_tomorrow_is_refused() {
        let (_root, database) = with_format("coffer embedded store, format 2\n");
        assert!(matches!(database, Err(OpenError::Future { found: 2, known: 1, .. })));
    }

    #[test]
    fn no_format_and_nonsense_are_damage() {
        for text in ["", "coffer embedded store, format 0\n", "something else", "coffer embedded store, format x"] {
            let (_root, database) = with_format(text);
            assert!(matches!(database, Err(OpenError::Damaged { .. })), "{text:?}");
        }
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("data")).unwrap();
        let place = Place::lock(root.path()).unwrap();
        assert!(matches!(place.database(make), Err(OpenError::Damaged { .. })));
    }

    #[test]
    fn what_a_crash_left_while_making_a_store_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("data.unfinished/db/half")).unwrap();
        let place = Place::lock(root.path()).unwrap();
        let database = place.database(make).unwrap();
        assert!(database.is_dir() && !database.join("half").exists());
        assert!(!root.path().join("data.unfinished").exists());
    }

    #[test]
    fn others_on_the_machine_cannot_look_in() {
        use std::os::unix::fs::PermissionsExt;
        let root = tempfile::tempdir().unwrap();
        let place = Place::lock(&root.path().join("new")).unwrap();
        place.database(make).unwrap();
        for name in ["new", "new/data"] {
            let mode = fs::metadata(root.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{name}");
        }
    }
}
