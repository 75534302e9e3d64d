//! Reads a journal batch by batch.
//!
//! The layout is that of fjall 3 (its `journal/entry.rs`; a test of the parent module holds it to that). A batch is
//! `1, count: u32, seqno: u64`, then `count` items, then `3, xxh3 of the items: u64, "FJL\x03"`, all little endian.
//! An item is `2, kind: u8, compression: u8, keyspace: u64, key length: u16, value length: u32, stored length: u32,
//! key, value` or `4, keyspace: u64`. A journal is made 64 MiB long; what is not yet written reads as zeros.

use std::{
    fs::File,
    io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
};
use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: [u8; 4] = [b'F', b'J', b'L', 3];

/// From a batch's first byte to its first item's.
const START_BYTES: usize = 13;

/// How a journal ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// With a whole batch, and nothing or zeros behind it.
    Clean,
    /// With bytes, from this one on, that are no whole batch.
    Broken { at: u64 },
}

pub(super) enum Step {
    Batch {
        seqno: u64,
    },
    /// The end, or a byte 0, with which no batch starts.
    Blank,
    Broken,
}

/// A journal from its start to where it is read.
pub(super) struct Walk {
    reader: BufReader<File>,
    /// Where it is read; after [`Walk::batch`] gave a batch, its end.
    pub(super) at: u64,
    length: u64,
    last_seqno: u64,
    /// Batches up to this one are passed over: what they hold is no longer needed, and their sums are not checked.
    needless: Option<u64>,
    /// Where the first batch after those starts, once it was met.
    pub(super) needed_from: Option<u64>,
    /// The end of the last whole batch that [`Walk::walk_on`] met.
    pub(super) whole_to: u64,
}

impl Walk {
    /// Starts at the first batch. The content of those up to the sequence number `needless` does not matter.
    pub(super) fn open(path: &Path, needless: Option<u64>) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let reader = BufReader::with_capacity(1 << 16, file);
        Ok(Self { reader, at: 0, length, last_seqno: 0, needless, needed_from: None, whole_to: 0 })
    }

    /// Reads to the end, or to the first batch that is not whole.
    pub(super) fn walk_on(&mut self) -> io::Result<Tail> {
        loop {
            let at = self.at;
            match self.batch()? {
                Step::Batch { seqno } => {
                    self.last_seqno = seqno;
                    self.whole_to = self.at;
                    if self.needs(seqno) {
                        self.needed_from.get_or_insert(at);
                    }
                }
                Step::Blank if self.only_zeros_from(at)? => return Ok(Tail::Clean),
                Step::Blank | Step::Broken => return Ok(Tail::Broken { at }),
            }
        }
    }

    /// Reads one batch; `self.at` is behind it if it is whole.
    pub(super) fn batch(&mut self) -> io::Result<Step> {
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
        let mut hash = self.needs(seqno).then(Xxh3::new);
        for _ in 0..count {
            if !self.item(&mut hash)? {
                return Ok(Step::Broken);
            }
        }
        let [tag] = self.array()?;
        let sum = u64::from_le_bytes(self.array()?);
        let trailer: [u8; 4] = self.array()?;
        let right = hash.is_none_or(|hash| hash.digest() == sum);
        let whole = count > 0 && tag == END && right && trailer == TRAILER;
        Ok(if whole { Step::Batch { seqno } } else { Step::Broken })
    }

    fn needs(&self, seqno: u64) -> bool {
        self.needless.is_none_or(|needless| seqno > needless)
    }

    /// Reads one item into the hash; false if it is none.
    fn item(&mut self, hash: &mut Option<Xxh3>) -> io::Result<bool> {
        let [tag] = self.array()?;
        let mut update = |bytes: &[u8]| hash.iter_mut().for_each(|hash| hash.update(bytes));
        update(&[tag]);
        match tag {
            CLEAR => {
                update(&self.array::<8>()?);
                Ok(true)
            }
            ITEM => {
                let head: [u8; 20] = self.array()?;
                update(&head);
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

    fn bytes(&mut self, mut count: u64, hash: &mut Option<Xxh3>) -> io::Result<()> {
        if count > self.length.saturating_sub(self.at) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let Some(hash) = hash else {
            self.reader.seek_relative(i64::try_from(count).map_err(io::Error::other)?)?;
            self.at += count;
            return Ok(());
        };
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
    pub(super) fn finds_a_batch_after(&mut self, broken: u64) -> io::Result<bool> {
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
