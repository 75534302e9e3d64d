//! Ranges of keys, and the walk over children, which are the same for every ordered map.

use crate::{Key, StoreError};
use std::ops::Bound;

/// A range of keys as borrowed or owned bytes.
pub(crate) type Range = (Bound<Vec<u8>>, Bound<Vec<u8>>);

/// The keys that start with `prefix` and come strictly after `after`.
pub(crate) fn range(prefix: &[u8], after: Option<&[u8]>) -> Range {
    let low = match after {
        Some(after) if after >= prefix => Bound::Excluded(after.to_vec()),
        _ => Bound::Included(prefix.to_vec()),
    };
    (low, end_of(prefix))
}

/// Whether no key can lie in a range; ordered maps may refuse such a range with a panic.
pub(crate) fn is_empty((low, high): &Range) -> bool {
    match (low, high) {
        (Bound::Included(low), Bound::Excluded(high)) | (Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
        _ => false,
    }
}

/// The distinct next segments below `prefix`; `first` gives the first key of a range.
/// See [`crate::Snapshot::children`].
pub(crate) fn children(
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
    mut first: impl FnMut(&Range) -> Result<Option<Vec<u8>>, StoreError>,
) -> Result<Vec<Key>, StoreError> {
    let mut found = Vec::new();
    let mut low = match after {
        // A key equal to the prefix is no child of it.
        None => Bound::Excluded(prefix.to_vec()),
        Some(after) => beyond(prefix, child(after)),
    };
    while found.len() < limit {
        let range = (low, end_of(prefix));
        if is_empty(&range) {
            break;
        }
        let Some(key) = first(&range)? else { break };
        let name = child(&key[prefix.len()..]);
        low = beyond(prefix, name);
        found.push(Key::from_stored(name));
    }
    Ok(found)
}

/// The first segment of `rest`, with its `/` if it has one.
fn child(rest: &[u8]) -> &[u8] {
    match rest.iter().position(|byte| *byte == b'/') {
        Some(slash) => &rest[..=slash],
        None => rest,
    }
}

/// Where the children of `prefix` after the child `name` start: behind all of a folder's contents.
fn beyond(prefix: &[u8], name: &[u8]) -> Bound<Vec<u8>> {
    let mut low = [prefix, name].concat();
    if name.ends_with(b"/") {
        low.pop();
        low.push(b'/' + 1);
        Bound::Included(low)
    } else {
        Bound::Excluded(low)
    }
}

/// The end of the keys that start with `prefix`: its successor among strings of at most its length.
fn end_of(prefix: &[u8]) -> Bound<Vec<u8>> {
    match prefix.iter().rposition(|byte| *byte != 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            Bound::Excluded(end)
        }
        None => Bound::Unbounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_prefix_ends_before_its_successor_and_never_at_ff() {
        assert_eq!(end_of(b""), Bound::Unbounded);
        assert_eq!(end_of(b"\xff\xff"), Bound::Unbounded);
        assert_eq!(end_of(b"a\xff"), Bound::Excluded(b"b".to_vec()));
        assert_eq!(end_of(b"a/"), Bound::Excluded(b"a0".to_vec()));
    }

    #[test]
    fn after_before_the_prefix_starts_at_it_and_after_beyond_it_is_empty() {
        assert_eq!(range(b"b/", Some(b"a")).0, Bound::Included(b"b/".to_vec()));
        assert_eq!(range(b"b/", Some(b"b/x")).0, Bound::Excluded(b"b/x".to_vec()));
        assert!(is_empty(&range(b"b/", Some(b"c"))));
        assert!(!is_empty(&range(b"", Some(b"\xff"))));
    }

    #[test]
    fn a_folder_costs_one_seek_however_much_it_holds() {
        let mut keys: BTreeSet<Vec<u8>> = (0..10_000).map(|n| format!("p/folder/{n}").into_bytes()).collect();
        keys.insert(b"p/z".to_vec());
        let mut seeks = 0;
        let names = children(b"p/", None, usize::MAX, |range| {
            seeks += 1;
            Ok(keys.range::<[u8], _>((as_ref(&range.0), as_ref(&range.1))).next().cloned())
        })
        .unwrap();
        assert_eq!(names, [Key::try_from("folder/").unwrap(), Key::try_from("z").unwrap()]);
        assert_eq!(seeks, 3);
    }

    fn as_ref(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
        bound.as_ref().map(Vec::as_slice)
    }
}
