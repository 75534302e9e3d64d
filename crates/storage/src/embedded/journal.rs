//! Looks through the database's journals before it opens, and cuts a torn tail.
//!
//! A crash can leave the last batch of the active journal half written. The database itself cuts a batch that
//! simply ends early, but refuses to open for one whose bytes are wrong, and silently drops everything behind
//! the first byte that it does not understand, acknowledged commits too. So each journal is walked here first:
//!
//! - The active journal (the highest number) may end in a broken batch, if no whole batch comes after it: a
//!   batch is only written once the one before it is durable, so this one was never acknowledged. It is cut off.
//! - A broken batch that whole ones follow, or any in an older journal, is damage to what was durable. The
//!   store refuses to open: what to give up is the operator's decision.
//!
//! The layout is that of fjall 3 (its `journal/entry.rs`; a test here holds it to that). A batch is
//! `1, count: u32, seqno: u64`, then `count` items, then `3, xxh3 of the items: u64, "FJL\x03"`, all little endian.
//! An item is `2, kind: u8, compression: u8, keyspace: u64, key length: u16, value length: u32, stored length: u32,
//! key, value` or `4, keyspace: u64`. A journal is made 64 MiB long; what is not yet written reads as zeros.

use super::OpenError;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};
use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = [b'F', b'J', b'L', 3];

/// From a batch's first byte to its first item's.
const START_BYTES: usize = 13;

/// A tail that was cut off.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Torn {
    pub(super) path: PathBuf,
    /// The length that is left.
    pub(super) kept: u64,
}

/// Checks every journal in a database's directory and cuts the torn tail of the active one, if it has one.
pub(super) fn mend(database: &Path) -> Result<Option<Torn>, OpenError> {
    let mut journals = journals(database).map_err(OpenError::io(database))?;
    let Some(active) = journals.pop() else { return Ok(None) };
    for sealed in journals {
        match Walk::open(&sealed).and_then(|mut walk| walk.walk_on()) {
            Ok(Tail::Clean) => {}
            Ok(Tail::Broken { at }) => return Err(damaged(sealed, at)),
            Err(error) => return Err(OpenError::io(&sealed)(error)),
        }
    }
    cut(&active).map_err(OpenError::io(&active))?.map_err(|at| damaged(active, at))
}

/// The journals of a database in the order in which they were written.
pub(super) fn journals(database: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(database)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jnl")?.parse::<u64>().ok());
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn damaged(path: PathBuf, at: u64) -> OpenError {
    let what = format!("the batch at byte {at} is broken, and acknowledged ones would be lost with it; restore a backup");
    OpenError::Damaged { path, what }
}

/// `Ok(Err(at))` is damage that must not be cut.
fn cut(path: &Path) -> io::Result<Result<Option<Torn>, u64>> {
    let mut walk = Walk::open(path)?;
    let Tail::Broken { at } = walk.walk_on()? else { return Ok(Ok(None)) };
    if walk.finds_a_batch_after(at)? {
        return Ok(Err(at));
    }
    drop(walk);
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(at)?;
    file.sync_all()?;
    Ok(Ok(Some(Torn { path: path.to_owned(), kept: at })))
}

/// See [`crate::faults::tear_tail`].
#[cfg(any(test, feature = "conformance"))]
pub(super) fn tear(database: &Path, bytes: u64, how: crate::faults::Tear) -> io::Result<u64> {
    use crate::faults::Tear;
    use std::os::unix::fs::FileExt;
    let Some(path) = journals(database)?.pop() else { return Ok(0) };
    let mut walk = Walk::open(&path)?;
    let (mut last, mut end) = (0, 0);
    while let Step::Batch { .. } = walk.batch()? {
        (last, end) = (end, walk.at);
    }
    let start = end.saturating_sub(bytes).max(last);
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    match how {
        Tear::Missing => file.set_len(start)?,
        Tear::Wrong | Tear::Zero => {
            let mut tail = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
            if how == Tear::Wrong {
                file.read_exact_at(&mut tail, start)?;
                tail.iter_mut().for_each(|byte| *byte = !*byte);
            }
            file.write_all_at(&tail, start)?;
        }
    }
    Ok(end - start)
}

/// How a journal ends.
#[derive(Debug, PartialEq, Eq)]
enum Tail {
    /// With a whole batch, and nothing or zeros behind it.
    Clean,
    /// With bytes, from this one on, that are no whole batch.
    Broken { at: u64 },
}

enum Step {
    Batch {
        seqno: u64,
    },
    /// The end, or a byte 0, with which no batch starts.
    Blank,
    Broken,
}

struct Walk {
    reader: BufReader<File>,
    at: u64,
    length: u64,
    last_seqno: u64,
}

impl Walk {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { reader: BufReader::with_capacity(1 << 16, file), at: 0, length, last_seqno: 0 })
    }

    fn walk_on(&mut self) -> io::Result<Tail> {
        loop {
            let at = self.at;
            match self.batch()? {
                Step::Batch { seqno } => self.last_seqno = seqno,
                Step::Blank if self.only_zeros_from(at)? => return Ok(Tail::Clean),
                Step::Blank | Step::Broken => return Ok(Tail::Broken { at }),
            }
        }
    }

    /// Reads one batch; `self.at` is behind it if it is whole.
    fn batch(&mut self) -> io::Result<Step> {
        match self.try_batch() {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Step::Broken),
            other => other,
        }
    }

    fn try_batch(&mut self) -> io::Result<Step> {
        if self.at >= self.length {
            return Ok(Step::Blank);
        }
        match self.array()? {
            [START] => {}
            [0] => return Ok(Step::Blank),
            _ => return Ok(Step::Broken),
        }
        let count = u32::from_le_bytes(self.array()?);
        let seqno = u64::from_le_bytes(self.array()?);
        let mut hash = Xxh3::new();
        for _ in 0..count {
            if !self.item(&mut hash)? {
                return Ok(Step::Broken);
            }
        }
        let [tag] = self.array()?;
        let sum = u64::from_le_bytes(self.array()?);
        let trailer: [u8; 4] = self.array()?;
        let whole = count > 0 && tag == END && sum == hash.digest() && trailer == TRAILER;
        Ok(if whole { Step::Batch { seqno } } else { Step::Broken })
    }

    /// Reads one item into the hash; false if it is none.
    fn item(&mut self, hash: &mut Xxh3) -> io::Result<bool> {
        let [tag] = self.array()?;
        hash.update(&[tag]);
        match tag {
            CLEAR => {
                hash.update(&self.array::<8>()?);
                Ok(true)
            }
            ITEM => {
                let head: [u8; 20] = self.array()?;
                hash.update(&head);
                let [_kind, compression, _, _, _, _, _, _, _, _, k0, k1, .., s0, s1, s2, s3] = head;
                let key = u64::from(u16::from_le_bytes([k0, k1]));
                let value = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
                if compression != 0 {
                    return Ok(false);
                }
                self.bytes(key + value, hash)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn bytes(&mut self, mut count: u64, hash: &mut Xxh3) -> io::Result<()> {
        if count > self.length.saturating_sub(self.at) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut buffer = [0; 4096];
        while count > 0 {
            let step = buffer.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            self.reader.read_exact(&mut buffer[..step])?;
            hash.update(&buffer[..step]);
            self.at += step as u64;
            count -= step as u64;
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.at += N as u64;
        Ok(bytes)
    }

    fn go_to(&mut self, at: u64) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(at))?;
        self.at = at;
        Ok(())
    }

    /// Most of a new journal is a hole, which need not be read.
    fn only_zeros_from(&mut self, at: u64) -> io::Result<bool> {
        self.go_to(at)?;
        let mut buffer = [0; 1 << 16];
        loop {
            #[cfg(target_os = "linux")]
            match rustix::fs::seek(self.reader.get_ref(), rustix::fs::SeekFrom::Data(self.at)) {
                Ok(data) => self.go_to(data)?,
                Err(rustix::io::Errno::NXIO) => return Ok(true),
                // A file system that knows no holes is read.
                Err(_) => self.go_to(self.at)?,
            }
            match self.reader.read(&mut buffer)? {
                0 => return Ok(true),
                read if buffer[..read].iter().any(|byte| *byte != 0) => return Ok(false),
                read => self.at += read as u64,
            }
        }
    }

    /// Whether a whole batch newer than the last good one starts anywhere behind `broken`.
    fn finds_a_batch_after(&mut self, broken: u64) -> io::Result<bool> {
        // A new sequence number is little above the last one, so random bytes are almost never tried.
        let newer = self.last_seqno..self.last_seqno.saturating_add(1 << 32);
        let mut window = vec![0; 1 << 16];
        let mut start = broken + 1;
        while start < self.length {
            self.go_to(start)?;
            let filled = fill(&mut self.reader, &mut window)?;
            for offset in 0..filled {
                let Some(head) = window[offset..filled].first_chunk::<{ START_BYTES + 1 }>() else { break };
                let [START, _, _, _, _, seqno @ .., ITEM | CLEAR] = head else { continue };
                if !newer.contains(&u64::from_le_bytes(*seqno)) {
                    continue;
                }
                self.go_to(start + offset as u64)?;
                if let Step::Batch { .. } = self.batch()? {
                    return Ok(true);
                }
            }
            if filled <= START_BYTES {
                break;
            }
            start += (filled - START_BYTES) as u64;
        }
        Ok(false)
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::{Database, KeyspaceCreateOptions, PersistMode};
    use std::os::unix::fs::FileExt;

    /// A database with `count` batches of two items, closed. Gives each batch's end in the journal.
    fn written(root: &Path, count: u8) -> Vec<u64> {
        let database = Database::builder(root).open().unwrap();
        let keyspace = database.keyspace("k", KeyspaceCreateOptions::default).unwrap();
        for number in 0..count {
            let mut batch = database.batch().durability(Some(PersistMode::SyncData));
            batch.insert(&keyspace, [number], vec![number; 5000]);
            batch.remove(&keyspace, [number, 1]);
            batch.commit().unwrap();
        }
        drop((keyspace, database));
        ends(&active(root))
    }

    fn active(root: &Path) -> PathBuf {
        journals(root).unwrap().pop().unwrap()
    }

    fn ends(journal: &Path) -> Vec<u64> {
        let mut walk = Walk::open(journal).unwrap();
        let mut ends = Vec::new();
        while let Step::Batch { .. } = walk.batch().unwrap() {
            ends.push(walk.at);
        }
        ends
    }

    fn readable(root: &Path) -> usize {
        let database = Database::builder(root).open().unwrap();
        database.keyspace("k", KeyspaceCreateOptions::default).unwrap().len().unwrap()
    }

    #[test]
    fn what_the_database_writes_is_understood_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let ends = written(root.path(), 7);
        assert_eq!(ends.len(), 7, "a batch was not understood: has the journal's layout changed?");
        assert_eq!(mend(root.path()).unwrap(), None);
        assert_eq!(readable(root.path()), 7);
        // Opening has cut the zeros behind the last batch, which is as good an end.
        assert_eq!(mend(root.path()).unwrap(), None);
        assert_eq!(fs::metadata(active(root.path())).unwrap().len(), ends[6]);
    }

    #[test]
    fn every_torn_tail_is_cut_to_the_last_whole_batch() {
        let root = tempfile::tempdir().unwrap();
        let ends = written(root.path(), 4);
        let journal = active(root.path());
        // Some of the zeros behind it, not all of its 64 MiB.
        let mut original = fs::read(&journal).unwrap();
        original.truncate(ends[3] as usize + 100_000);
        let (third, fourth) = (ends[2] as usize, ends[3] as usize);
        for place in [third, third + 1, third + 5, third + 13, third + 40, fourth - 13, fourth - 6, fourth - 1] {
            let mut garbled = original.clone();
            for byte in &mut garbled[place..fourth] {
                *byte = !*byte;
            }
            let truncated = original[..place].to_vec();
            let mut zeroed = original.clone();
            zeroed[place..fourth].fill(0);
            for (name, bytes) in [("garbled", garbled), ("truncated", truncated), ("zeroed", zeroed)] {
                fs::write(&journal, bytes).unwrap();
                mend(root.path()).unwrap();
                assert_eq!(self::ends(&journal), ends[..3], "{name} at {place}");
                assert_eq!(readable(root.path()), 3, "{name} at {place}");
            }
        }
    }

    #[test]
    fn damage_before_a_whole_batch_is_refused_and_nothing_is_cut() {
        let root = tempfile::tempdir().unwrap();
        let ends = written(root.path(), 4);
        let journal = active(root.path());
        let original = fs::read(&journal).unwrap();
        let second = ends[1];
        for place in [second, second + 2, second + 13, second + 2000, ends[2] - 1] {
            fs::write(&journal, &original).unwrap();
            let file = OpenOptions::new().write(true).open(&journal).unwrap();
            file.write_all_at(b"\xee", place).unwrap();
            let refused = mend(root.path());
            assert!(matches!(refused, Err(OpenError::Damaged { .. })), "at {place}: {refused:?}");
            assert_eq!(fs::metadata(&journal).unwrap().len(), original.len() as u64);
        }
    }

    #[test]
    fn an_older_journal_must_be_whole() {
        let root = tempfile::tempdir().unwrap();
        let ends = written(root.path(), 3);
        let journal = active(root.path());
        fs::write(root.path().join("9999.jnl"), b"").unwrap();
        assert_eq!(mend(root.path()).unwrap(), None);
        OpenOptions::new().write(true).open(&journal).unwrap().set_len(ends[2] - 1).unwrap();
        assert!(matches!(mend(root.path()), Err(OpenError::Damaged { .. })));
    }
}
