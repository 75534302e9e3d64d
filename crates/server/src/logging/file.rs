//! A log file that is put aside when it is old or large, and opened again when it was moved away.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;

/// When to start a new file, and what becomes of old ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    pub(super) after: Option<Duration>,
    /// 0 is without limit.
    pub(super) bytes: u64,
    /// 0 keeps all, a negative number none.
    pub(super) keep: i64,
}

pub(super) struct File {
    path: PathBuf,
    rotation: Rotation,
    file: fs::File,
    written: u64,
    since: OffsetDateTime,
}

impl File {
    /// `path` names a file, or a folder (or ends with a slash): then the file in it is `coffer.log`.
    pub(super) fn open(path: &Path, rotation: Rotation, now: OffsetDateTime) -> io::Result<Self> {
        let folder = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
        let path = if folder { path.join("coffer.log") } else { path.to_owned() };
        let (file, written) = append(&path)?;
        Ok(Self { path, rotation, file, written, since: now })
    }

    pub(super) fn reopen(&mut self, now: OffsetDateTime) -> io::Result<()> {
        (self.file, self.written) = append(&self.path)?;
        self.since = now;
        Ok(())
    }

    pub(super) fn write(&mut self, line: &[u8], now: OffsetDateTime) -> io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        let large = self.rotation.bytes > 0 && self.written > 0 && self.written + length > self.rotation.bytes;
        let old = self.rotation.after.is_some_and(|after| now - self.since >= after);
        if large || old {
            self.rotate(now)?;
        }
        self.written += length;
        self.file.write_all(line)
    }

    /// `coffer.log` becomes `coffer-NANOSECONDS.log`, and the oldest of those go.
    fn rotate(&mut self, now: OffsetDateTime) -> io::Result<()> {
        let aside = self.path.with_file_name(format!("{}{}{}", self.prefix(), now.unix_timestamp_nanos(), self.suffix()));
        fs::rename(&self.path, aside)?;
        self.reopen(now)?;
        let keep = match self.rotation.keep {
            0 => return Ok(()),
            keep => usize::try_from(keep).unwrap_or(0),
        };
        let mut aside = self.put_aside()?;
        aside.sort();
        let surplus = aside.len().saturating_sub(keep);
        for (_, path) in aside.drain(..surplus) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    fn prefix(&self) -> String {
        format!("{}-", self.path.file_stem().unwrap_or_default().to_string_lossy())
    }

    fn suffix(&self) -> String {
        self.path.extension().map_or_else(String::new, |suffix| format!(".{}", suffix.to_string_lossy()))
    }

    /// The files that this one's rotation made, by their time.
    fn put_aside(&self) -> io::Result<Vec<(i128, PathBuf)>> {
        let (prefix, suffix) = (self.prefix(), self.suffix());
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let time = name.to_str().and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(&suffix)?.parse().ok());
            found.extend(time.map(|time| (time, entry.path())));
        }
        Ok(found)
    }
}

fn append(path: &Path) -> io::Result<(fs::File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let written = file.metadata()?.len();
    Ok((file, written))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000 + seconds).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    const NEVER: Rotation = Rotation { after: None, bytes: 0, keep: 0 };

    #[test]
    fn a_folder_gets_a_file_for_the_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = File::open(folder.path(), NEVER, at(0)).unwrap();
        file.write(b"a\n", at(0)).unwrap();
        drop(file);
        File::open(folder.path(), NEVER, at(1)).unwrap().write(b"b\n", at(1_000_000)).unwrap();
        let path = folder.path().join("coffer.log");
        assert_eq!(fs::read(&path).unwrap(), b"a\nb\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn rotates_by_size_and_keeps_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        fs::write(folder.path().join("x-other.log"), "").unwrap();
        let mut file = File::open(&path, Rotation { bytes: 10, keep: 2, ..NEVER }, at(0)).unwrap();
        for n in 0..10 {
            file.write(b"12345678\n", at(n)).unwrap();
        }
        assert_eq!(names(folder.path()), ["x-1800000008000000000.log", "x-1800000009000000000.log", "x-other.log", "x.log"]);
        // A line longer than the limit goes into a file of its own.
        file.write(b"123456789012345\n", at(20)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"123456789012345\n");
    }

    #[test]
    fn rotates_by_age_and_may_keep_none() {
        let folder = tempfile::tempdir().unwrap();
        let rotation = Rotation { after: Some(Duration::from_secs(60)), keep: -1, ..NEVER };
        let mut file = File::open(&folder.path().join("x"), rotation, at(0)).unwrap();
        file.write(b"a", at(59)).unwrap();
        file.write(b"b", at(60)).unwrap();
        assert_eq!(fs::read(folder.path().join("x")).unwrap(), b"b");
        assert_eq!(names(folder.path()), ["x"]);
    }
}
