//! The file device. Its file is a plain file that is an audit log or empty, reached by no link, private unless
//! told otherwise, and the one that stands at its path: if that is deleted or renamed, it is made anew.

use super::group::Output;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

/// How often the path is compared with the open file. A deletion is noticed at once; this is for renames.
const LOOK: Duration = Duration::from_secs(1);
/// How much of an existing file is read to see what it is.
const PEEK: u64 = 1 << 20;

/// An open file, or the reason to try again with the next line.
pub(super) struct FileOutput {
    path: String,
    mode: Option<u32>,
    open: Option<Open>,
    /// The last bytes written were not a whole line.
    torn: bool,
}

struct Open {
    file: File,
    id: Id,
    looked: Instant,
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Id {
    device: u64,
    inode: u64,
}

impl FileOutput {
    /// Opens or creates the file.
    pub(super) fn open(path: &str, mode: Option<u32>) -> io::Result<Self> {
        let mut output = Self::closed(path, mode);
        output.ensure()?;
        Ok(output)
    }

    /// Opens with the first line.
    pub(super) fn closed(path: &str, mode: Option<u32>) -> Self {
        Self { path: path.to_owned(), mode, open: None, torn: false }
    }

    /// The file at the path, open.
    fn ensure(&mut self) -> io::Result<()> {
        if let Some(open) = &mut self.open
            && open.looked.elapsed() >= LOOK
        {
            open.looked = Instant::now();
            let stands = rustix::fs::statat(CWD, &self.path, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).ok().as_ref().map(id_of);
            if stands != Some(open.id) {
                self.open = None;
            }
        }
        if self.open.is_none() {
            let (file, torn) = open_log(&self.path, self.mode)?;
            let id = id_of(&rustix::fs::fstat(&file)?);
            self.open = Some(Open { file, id, looked: Instant::now() });
            self.torn = torn;
        }
        Ok(())
    }

    fn attempt(&mut self, lines: &[u8]) -> Result<bool, (usize, io::Error)> {
        self.ensure().map_err(|e| (0, e))?;
        // `ensure` has just opened it.
        let Some(open) = &mut self.open else { return Ok(false) };
        if self.torn {
            // Looked at again: who made room may have emptied the file.
            if ends_torn(&open.file).map_err(|e| (0, e))? {
                open.file.write_all(b"\n").map_err(|e| (0, e))?;
            }
            self.torn = false;
        }
        let mut written = 0;
        while written < lines.len() {
            match open.file.write(&lines[written..]) {
                Ok(0) => return Err(self.tear(written, lines, io::ErrorKind::WriteZero.into())),
                Ok(count) => written += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.tear(written, lines, e)),
            }
        }
        // Lines written to a file that is no longer in any directory are lines lost.
        let stat = rustix::fs::fstat(&open.file).map_err(|e| (0, e.into()))?;
        if stat.st_nlink == 0 {
            self.open = None;
            return Ok(false);
        }
        Ok(true)
    }

    /// Ends a line that could not be written whole, so that it spoils no other.
    fn tear(&mut self, written: usize, lines: &[u8], error: io::Error) -> (usize, io::Error) {
        if written > 0 && lines[written - 1] != b'\n' {
            let ended = self.open.as_mut().is_some_and(|open| open.file.write_all(b"\n").is_ok());
            self.torn = !ended;
        }
        (written, error)
    }
}

impl Output for FileOutput {
    fn write(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        // Twice: the first attempt may find out that the file is gone.
        for _ in 0..2 {
            if self.attempt(lines)? {
                return Ok(());
            }
        }
        Err((0, io::Error::other("the file is deleted as often as it is made")))
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.open = None;
        self.ensure()
    }
}

/// Standard output. Rotation and permissions are somebody else's.
pub(super) struct StdoutOutput(File);

impl StdoutOutput {
    pub(super) fn open() -> io::Result<Self> {
        use std::os::fd::AsFd;
        Ok(Self(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }
}

impl Output for StdoutOutput {
    fn write(&mut self, lines: &[u8]) -> Result<(), (usize, io::Error)> {
        self.0.write_all(lines).map_err(|e| (0, e))
    }

    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log at `path`, to append to, and whether its last line is torn. Creates it, but no directory.
fn open_log(path: &str, mode: Option<u32>) -> io::Result<(File, bool)> {
    // Never blocks on a FIFO, never follows a link, never becomes a terminal.
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
    let wanted = Mode::from_raw_mode(mode.unwrap_or(0o600));
    let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path}: {why}")));
    let file = match rustix::fs::openat(CWD, path, flags | OFlags::CREATE | OFlags::EXCL, wanted) {
        Ok(fresh) => {
            let file = File::from(fresh);
            // The process's umask had its say; the option has the last word.
            rustix::fs::fchmod(&file, wanted)?;
            return Ok((file, false));
        }
        Err(Errno::EXIST) => match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
            Ok(old) => File::from(old),
            Err(Errno::LOOP) => return refuse("is a symbolic link; an audit log is never reached by one"),
            Err(Errno::ISDIR) => return refuse("is a directory"),
            Err(Errno::NXIO) => return refuse("is not a regular file"),
            Err(e) => return Err(named(path, e)),
        },
        Err(e) => return Err(named(path, e)),
    };
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return refuse("is not a regular file");
    }
    if stat.st_nlink > 1 {
        return refuse("has a second name (a hard link); an audit log has one");
    }
    if !is_log(&file)? {
        return refuse("exists and is not an audit log; nothing was written to it");
    }
    if mode.is_some() && stat.st_mode & 0o7777 != wanted.as_raw_mode() {
        rustix::fs::fchmod(&file, wanted).map_err(|e| named(path, e))?;
    }
    let torn = ends_torn(&file)?;
    Ok((file, torn))
}

fn named(path: &str, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

fn id_of(stat: &Stat) -> Id {
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the widths differ between systems")]
    Id { device: stat.st_dev as u64, inode: stat.st_ino as u64 }
}

/// Empty, or its first line is an audit line, of ours or of the reference. A first line that is torn or longer
/// than what is read is judged by how it begins.
fn is_log(file: &File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(PEEK).read_to_end(&mut start)?;
    if start.is_empty() {
        return Ok(true);
    }
    let whole = start.iter().position(|b| *b == b'\n').map(|end| &start[..end]);
    if let Some(line) = whole
        && let Ok(serde_json::Value::Object(line)) = serde_json::from_slice(line)
    {
        let kind = line.get("type").and_then(serde_json::Value::as_str);
        return Ok(matches!(kind, Some("request" | "response")) && line.contains_key("time") && line.contains_key("request"));
    }
    let Some(rest) = start.strip_prefix(b"{\"time\":\"") else { return Ok(false) };
    let Some(end) = rest.iter().take(40).position(|b| *b == b'"') else { return Ok(false) };
    let rest = &rest[end..];
    Ok(rest.starts_with(b"\",\"type\":\"request\",") || rest.starts_with(b"\",\"type\":\"response\","))
}

/// Whether the last byte is something other than a newline, as a crash or a full disk leaves it. A line that somebody
/// else is writing just now shows in parts too: only an end that stays is a torn one.
fn ends_torn(mut file: &File) -> io::Result<bool> {
    use std::io::Seek;
    let mut before = None;
    loop {
        let length = file.metadata()?.len();
        if length == 0 {
            return Ok(false);
        }
        file.seek(io::SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last == *b"\n" {
            return Ok(false);
        }
        if before == Some(length) {
            return Ok(true);
        }
        before = Some(length);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
