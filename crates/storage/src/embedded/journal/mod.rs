//! Looks through the database's journals before it opens, cuts a torn tail, and leaves out what is in tables already.
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
//! The database starts a new journal only every 64 MB, and opening reads all of it, however much of it went to tables
//! long ago. So the committer notes up to which batch the tables go ([`note_persisted`]), and here a journal whose needless
//! part is large is replaced by the rest of it, as the database itself deletes a whole journal for the same reason. It
//! would pass over the same batches: the note saves reading them.

mod walk;

use super::OpenError;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};
use walk::{Tail, Walk};
use xxhash_rust::xxh3::xxh3_64;

/// A journal is replaced if that saves reading this many bytes.
const WORTHWHILE: u64 = 4 * 1024 * 1024;

/// Where the note stands, beside the journals.
const NOTE: &str = "persisted";

/// What was done to the journals.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mended {
    /// The journal whose tail was torn, and the length that is left.
    pub(super) torn: Option<(PathBuf, u64)>,
    /// Batches up to this one were left out, so the tables must have them.
    pub(super) left_out: Option<u64>,
}

/// Checks every journal in a database's directory, cuts the torn tail of the active one, and shortens what is worth it.
pub(super) fn mend(database: &Path) -> Result<Mended, OpenError> {
    let persisted = read_note(database);
    let mut mended = Mended::default();
    let journals = journals(database).map_err(OpenError::io(database))?;
    let mut walks = Vec::new();
    for (number, path) in journals.iter().enumerate() {
        let failed = OpenError::io(path);
        let mut walk = Walk::open(path, persisted).map_err(&failed)?;
        if let Tail::Broken { at } = walk.walk_on().map_err(&failed)? {
            let active = number + 1 == journals.len();
            if !active || walk.finds_a_batch_after(at).map_err(&failed)? {
                return Err(damaged(path, at));
            }
            cut(path, at).map_err(&failed)?;
            mended.torn = Some((path.clone(), at));
        }
        walks.push((path, walk.needed_from.unwrap_or(walk.whole_to), walk.whole_to));
    }
    // Nothing is left out of a store that turned out to be damaged.
    for (path, from, to) in walks {
        if from >= WORTHWHILE {
            leave_out(path, from, to).map_err(OpenError::io(path))?;
            mended.left_out = persisted;
        }
    }
    Ok(mended)
}

/// Notes that every batch up to the sequence number is in tables. They must be durable; the note need not be.
pub(super) fn note_persisted(database: &Path, seqno: u64) -> io::Result<()> {
    let text = format!("{seqno}\n");
    let unfinished = database.join("persisted.unfinished");
    fs::write(&unfinished, format!("{text}{:016x}\n", xxh3_64(text.as_bytes())))?;
    fs::rename(unfinished, database.join(NOTE))
}

/// What is noted, if it is and legibly so: it only saves time.
fn read_note(database: &Path) -> Option<u64> {
    let mut text = String::new();
    let read = File::open(database.join(NOTE)).and_then(|file| file.take(100).read_to_string(&mut text));
    read.is_ok().then(|| text.split_once('\n')).flatten().and_then(|(number, sum)| {
        let expected = format!("{:016x}\n", xxh3_64(format!("{number}\n").as_bytes()));
        number.parse().ok().filter(|_| sum == expected)
    })
}

/// The journals of a database in the order in which they were written.
fn journals(database: &Path) -> io::Result<Vec<PathBuf>> {
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

fn damaged(path: &Path, at: u64) -> OpenError {
    let what = format!("the batch at byte {at} is broken, and acknowledged ones would be lost with it; restore a backup");
    OpenError::Damaged { path: path.to_owned(), what }
}

fn cut(path: &Path, at: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(at)?;
    file.sync_all()
}

/// Replaces a journal by what it has between two bytes.
fn leave_out(path: &Path, from: u64, to: u64) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut original = File::open(path)?;
    original.seek(SeekFrom::Start(from))?;
    let mut rest = File::create(&unfinished)?;
    io::copy(&mut original.take(to - from), &mut rest)?;
    rest.sync_all()?;
    fs::rename(unfinished, path)?;
    match path.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

/// See [`crate::faults::tear_tail`].
#[cfg(any(test, feature = "conformance"))]
pub(super) fn tear(database: &Path, bytes: u64, how: crate::faults::Tear) -> io::Result<u64> {
    use crate::faults::Tear;
    use std::os::unix::fs::FileExt;
    let Some(path) = journals(database)?.pop() else { return Ok(0) };
    let mut walk = Walk::open(&path, None)?;
    let (mut last, mut end) = (0, 0);
    while let walk::Step::Batch { .. } = walk.batch()? {
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

#[cfg(test)]
mod tests {
    use super::*;
    use fjall::{AbstractTree, Database, KeyspaceCreateOptions, PersistMode};
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
        let mut walk = Walk::open(journal, None).unwrap();
        let mut ends = Vec::new();
        while let walk::Step::Batch { .. } = walk.batch().unwrap() {
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
        assert_eq!(mend(root.path()).unwrap(), Mended::default());
        assert_eq!(readable(root.path()), 7);
        // Opening has cut the zeros behind the last batch, which is as good an end.
        assert_eq!(mend(root.path()).unwrap(), Mended::default());
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
        // In the first batch too, whose sequence number is 0.
        for place in [40, second, second + 2, second + 13, second + 2000, ends[2] - 1] {
            fs::write(&journal, &original).unwrap();
            let file = OpenOptions::new().write(true).open(&journal).unwrap();
            file.write_all_at(b"\xee", place).unwrap();
            let refused = mend(root.path());
            assert!(matches!(refused, Err(OpenError::Damaged { .. })), "at {place}: {refused:?}");
            assert_eq!(fs::metadata(&journal).unwrap().len(), original.len() as u64);
        }
    }

    #[test]
    fn what_tables_have_is_left_out_and_the_rest_is_all_there() {
        let root = tempfile::tempdir().unwrap();
        let database = Database::builder(root.path()).open().unwrap();
        let keyspace = database.keyspace("k", KeyspaceCreateOptions::default).unwrap();
        let write = |number: u8, bytes: usize| keyspace.insert([number], vec![number; bytes]).unwrap();
        for number in 0..100 {
            write(number, 50_000);
        }
        keyspace.rotate_memtable_and_wait().unwrap();
        let persisted = keyspace.tree.get_highest_persisted_seqno().unwrap();
        note_persisted(root.path(), persisted).unwrap();
        for number in 100..110 {
            write(number, 1000);
        }
        database.persist(PersistMode::SyncAll).unwrap();
        drop((keyspace, database));
        let before = ends(&active(root.path()));
        assert_eq!(mend(root.path()).unwrap(), Mended { torn: None, left_out: Some(persisted) });
        let after = ends(&active(root.path()));
        assert_eq!((before.len(), after.len()), (110, 10));
        assert_eq!(fs::metadata(active(root.path())).unwrap().len(), after[9]);
        assert_eq!(readable(root.path()), 110);
        assert_eq!(mend(root.path()).unwrap(), Mended::default());
    }

    #[test]
    fn a_note_that_is_missing_torn_or_altered_leaves_nothing_out() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(read_note(root.path()), None);
        note_persisted(root.path(), 123).unwrap();
        assert_eq!(read_note(root.path()), Some(123));
        let note = root.path().join(NOTE);
        let good = fs::read(&note).unwrap();
        for length in 0..good.len() {
            fs::write(&note, &good[..length]).unwrap();
            assert_eq!(read_note(root.path()), None, "{length}");
        }
        for place in 0..good.len() {
            let mut altered = good.clone();
            altered[place] ^= 1;
            fs::write(&note, altered).unwrap();
            assert_eq!(read_note(root.path()), None, "{place}");
        }
    }

    #[test]
    fn an_older_journal_must_be_whole() {
        let root = tempfile::tempdir().unwrap();
        let ends = written(root.path(), 3);
        let journal = active(root.path());
        fs::write(root.path().join("9999.jnl"), b"").unwrap();
        assert_eq!(mend(root.path()).unwrap(), Mended::default());
        OpenOptions::new().write(true).open(&journal).unwrap().set_len(ends[2] - 1).unwrap();
        assert!(matches!(mend(root.path()), Err(OpenError::Damaged { .. })));
    }
}
