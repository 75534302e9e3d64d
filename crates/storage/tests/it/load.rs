//! Writers whose batches hang together, so that a lost one or half of one shows.
//!
//! The `n`th batch of a writer puts `a/n` and `b/n`, moves a pointer to `n` that it checks was at `n - 1`, and moves a
//! marker `d/n` from `d/(n - 1)`. All a reader needs to know is written in the keys.

use coffer_storage::{Batch, Expect, Key, Snapshot, Store};

/// How many writers there are.
pub(crate) const WRITERS: u64 = 64;

fn key(text: &str) -> Key {
    Key::try_from(text).unwrap()
}

fn pointer(writer: u64) -> Key {
    key(&format!("pointer/{writer:02}"))
}

/// Of many sizes, some over a block's, some over a page of the journal's buffer.
fn content(writer: u64, number: u64, part: char) -> Vec<u8> {
    let length = match number % 16 {
        0 => 20_000,
        1 => 0,
        small => small * 60,
    };
    let text = format!("{part} of {number} by {writer};");
    text.bytes().cycle().take(length as usize).collect()
}

/// Where a writer is: the number of its last batch, 0 if there is none.
pub(crate) async fn position(store: &dyn Store, writer: u64) -> u64 {
    let found = store.snapshot().get(&pointer(writer)).await.unwrap();
    found.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap())
}

/// Writes a writer's next batch; gives its number.
pub(crate) async fn write_next(store: &dyn Store, writer: u64) -> Result<u64, coffer_storage::CommitError> {
    let pointer = pointer(writer);
    let expect = match store.snapshot().get(&pointer).await.unwrap() {
        Some(entry) => Expect::At(entry.revision),
        None => Expect::Absent,
    };
    let number = position(store, writer).await + 1;
    let batch = Batch::default()
        .check(pointer.clone(), expect)
        .put(key(&format!("w/{writer:02}/{number:08}/a")), content(writer, number, 'a'))
        .delete(key(&format!("d/{writer:02}/{:08}", number - 1)))
        .put(key(&format!("d/{writer:02}/{number:08}")), "")
        .put(pointer, number.to_string())
        .put(key(&format!("w/{writer:02}/{number:08}/b")), content(writer, number, 'b'));
    store.commit(batch).await.map(|_| number)
}

/// Reads everything behind the positions that were verified before and compares it; gives each writer's last number.
///
/// # Panics
/// If a batch is missing between others, or there is half of one, or a value is not what was written.
pub(crate) async fn verify(snapshot: &dyn Snapshot, verified: &[u64]) -> Vec<u64> {
    let mut last = Vec::new();
    for writer in 0..WRITERS {
        let pointed = snapshot.get(&pointer(writer)).await.unwrap();
        let pointed: u64 = pointed.map_or(0, |entry| std::str::from_utf8(&entry.value).unwrap().parse().unwrap());
        let prefix = format!("w/{writer:02}/");
        let before = verified.get(writer as usize).copied().unwrap_or(0);
        let after = format!("{prefix}{before:08}/z");
        let mut found = snapshot.scan(prefix.as_bytes(), Some(after.as_bytes()), usize::MAX).await.unwrap().into_iter();
        for number in before + 1..=pointed {
            for part in ['a', 'b'] {
                let (key, entry) = found.next().unwrap_or_else(|| panic!("{prefix}{number} is missing"));
                assert_eq!(&key[..], format!("{prefix}{number:08}/{part}").as_bytes());
                assert!(entry.value == content(writer, number, part), "{key} has another value");
            }
        }
        assert!(found.next().is_none(), "{prefix} goes on behind its pointer {pointed}");
        let markers = snapshot.list(format!("d/{writer:02}/").as_bytes(), None, 10).await.unwrap();
        let expected: Vec<Key> = (pointed > 0).then(|| key(&format!("d/{writer:02}/{pointed:08}"))).into_iter().collect();
        assert_eq!(markers, expected, "the markers of {writer}");
        last.push(pointed);
    }
    last
}
