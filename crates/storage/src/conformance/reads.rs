//! Reading: order, paging, children, isolation.

use super::{key, names, put, put_all, value};
use crate::{Batch, MAX_KEY, Revision, Store};
use std::sync::Arc;

pub(super) async fn an_empty_store_is_empty(store: Arc<dyn Store>) {
    let snapshot = store.snapshot();
    assert_eq!(snapshot.revision(), Revision(0));
    assert_eq!(store.revision(), Revision(0));
    for name in [&b""[..], b"a", b"\xff", &[0; MAX_KEY + 1]] {
        assert_eq!(value(&*snapshot, name).await, None);
    }
    assert_eq!(snapshot.list(b"", None, 10).await.unwrap(), []);
    assert_eq!(snapshot.scan(b"", None, 10).await.unwrap().len(), 0);
    assert_eq!(snapshot.children(b"", None, 10).await.unwrap(), []);
}

pub(super) async fn what_was_put_is_read_with_its_revision(store: Arc<dyn Store>) {
    let first = store.commit(put("a", "1")).await.unwrap();
    let second = store.commit(put("b", "2").put(key("c"), "")).await.unwrap();
    let third = store.commit(put("a", "3")).await.unwrap();
    assert!(Revision(0) < first && first < second && second < third);
    let snapshot = store.snapshot();
    assert_eq!(snapshot.revision(), third);
    for (name, expected, revision) in [("a", "3", third), ("b", "2", second), ("c", "", second)] {
        let entry = snapshot.get(name.as_bytes()).await.unwrap().unwrap();
        assert_eq!((&entry.value[..], entry.revision), (expected.as_bytes(), revision), "{name}");
    }
    let scanned = snapshot.scan(b"", None, 10).await.unwrap();
    let scanned: Vec<_> = scanned.iter().map(|(key, entry)| (&key[..], entry.revision)).collect();
    assert_eq!(scanned, [(&b"a"[..], third), (b"b", second), (b"c", second)]);
}

pub(super) async fn lists_are_ordered_paged_and_end_with_their_prefix(store: Arc<dyn Store>) {
    let inside: [&[u8]; 6] = [b"p/", b"p/\x00", b"p/a", b"p/a/b", b"p/b", b"p/\xff\xff"];
    let outside: [&[u8]; 5] = [b"p", b"p.", b"p0", b"o/a", b"q"];
    put_all(&*store, &inside).await;
    put_all(&*store, &outside).await;
    let snapshot = store.snapshot();
    assert_eq!(names(snapshot.list(b"p/", None, usize::MAX).await.unwrap()), inside);
    for limit in 0..8 {
        let page = names(snapshot.list(b"p/", None, limit).await.unwrap());
        assert_eq!(page, inside[..limit.min(6)]);
    }
    for size in 1..4 {
        let mut after: Option<Vec<u8>> = None;
        let mut seen = Vec::new();
        loop {
            let page = names(snapshot.list(b"p/", after.as_deref(), size).await.unwrap());
            let scanned = snapshot.scan(b"p/", after.as_deref(), size).await.unwrap();
            let scanned: Vec<_> = scanned.into_iter().map(|(key, _)| key.to_vec()).collect();
            assert_eq!(page, scanned);
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            seen.extend(page);
        }
        assert_eq!(seen, inside, "in pages of {size}");
    }
}

pub(super) async fn a_list_may_start_anywhere(store: Arc<dyn Store>) {
    put_all(&*store, &[b"p/a", b"p/c", b"q"]).await;
    let snapshot = store.snapshot();
    let cases: [(&[u8], &[&[u8]]); 8] = [
        (b"", &[b"p/a", b"p/c"]),
        (b"a", &[b"p/a", b"p/c"]),
        (b"p/", &[b"p/a", b"p/c"]),
        (b"p/a", &[b"p/c"]),
        (b"p/b", &[b"p/c"]),
        (b"p/c", &[]),
        (b"p/d", &[]),
        (b"z", &[]),
    ];
    for (after, expected) in cases {
        let found = names(snapshot.list(b"p/", Some(after), 10).await.unwrap());
        assert_eq!(found, expected, "after {}", after.escape_ascii());
    }
}

pub(super) async fn children_are_distinct_segments(store: Arc<dyn Store>) {
    let keys: [&[u8]; 12] =
        [b"p/", b"p//deep", b"p/a", b"p/a!", b"p/a/1", b"p/a/2/3", b"p/a0", b"p/b/", b"p/\xff", b"p/\xff/x", b"p", b"q/z"];
    put_all(&*store, &keys).await;
    let snapshot = store.snapshot();
    let children = |prefix: &'static [u8]| {
        let snapshot = Arc::clone(&snapshot);
        async move { names(snapshot.children(prefix, None, 100).await.unwrap()) }
    };
    let below: [&[u8]; 8] = [b"/", b"a", b"a!", b"a/", b"a0", b"b/", b"\xff", b"\xff/"];
    assert_eq!(children(b"p/").await, below);
    assert_eq!(children(b"").await, [&b"p"[..], b"p/", b"q/"]);
    assert_eq!(children(b"p/a/").await, [&b"1"[..], b"2/"]);
    assert_eq!(children(b"p//").await, [b"deep"]);
    assert!(children(b"p/b/").await.is_empty(), "a key equal to the prefix is no child of it");
    assert!(children(b"none/").await.is_empty());
}

pub(super) async fn children_page_by_name(store: Arc<dyn Store>) {
    put_all(&*store, &[b"p/a", b"p/a/1", b"p/a/2", b"p/b/1", b"p/c", b"p/c!"]).await;
    let snapshot = store.snapshot();
    let all: [&[u8]; 5] = [b"a", b"a/", b"b/", b"c", b"c!"];
    for size in 1..6 {
        let mut after: Option<Vec<u8>> = None;
        let mut seen = Vec::new();
        loop {
            let page = names(snapshot.children(b"p/", after.as_deref(), size).await.unwrap());
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            seen.extend(page);
        }
        assert_eq!(seen, all, "in pages of {size}");
    }
    let cases: [(&[u8], usize); 7] = [(b"", 0), (b"0", 0), (b"a", 1), (b"a/", 2), (b"a/1", 2), (b"b", 2), (b"zz", 5)];
    for (after, skipped) in cases {
        let found = names(snapshot.children(b"p/", Some(after), 10).await.unwrap());
        assert_eq!(found, all[skipped..], "after {}", after.escape_ascii());
    }
    assert_eq!(snapshot.children(b"p/", None, 0).await.unwrap(), []);
}

pub(super) async fn the_highest_bytes_have_no_successor_and_are_found(store: Arc<dyn Store>) {
    let keys: [&[u8]; 5] = [b"\xfe", b"\xff", b"\xff\x00", b"\xff\xff", b"\xff\xff/\xff"];
    put_all(&*store, &keys).await;
    let snapshot = store.snapshot();
    assert_eq!(names(snapshot.list(b"\xff", None, 10).await.unwrap()), keys[1..]);
    assert_eq!(names(snapshot.list(b"\xff\xff", None, 10).await.unwrap()), keys[3..]);
    assert_eq!(names(snapshot.list(b"", Some(b"\xff\xff"), 10).await.unwrap()), keys[4..]);
    let children = snapshot.children(b"\xff\xff/", None, 10).await.unwrap();
    assert_eq!(names(children), [b"\xff"]);
}

pub(super) async fn keys_and_values_of_every_size(store: Arc<dyn Store>) {
    let sizes = [0, 1, 7, 8, 9, 4095, 4096, 65_536, 3_000_000];
    for size in sizes {
        let bytes: Vec<u8> = (0..size).map(|n| n as u8).collect();
        store.commit(put(format!("value/{size}"), &bytes)).await.unwrap();
        assert_eq!(value(&*store.snapshot(), format!("value/{size}")).await, Some(bytes));
    }
    for length in [1, 2, 255, 256, MAX_KEY - 1, MAX_KEY] {
        let name = vec![b'k'; length];
        store.commit(put(&name, length.to_string())).await.unwrap();
        let found = value(&*store.snapshot(), &name).await;
        assert_eq!(found, Some(length.to_string().into_bytes()));
    }
    assert_eq!(store.snapshot().list(b"k", None, 100).await.unwrap().len(), 6);
}

pub(super) async fn a_snapshot_never_changes(store: Arc<dyn Store>) {
    put_all(&*store, &[b"changed", b"deleted", b"same"]).await;
    let before = store.snapshot();
    let revision = before.revision();
    for round in 0..50 {
        let batch = put("changed", round.to_string()).delete(key("deleted"));
        store.commit(batch.put(key(format!("new/{round}")), "")).await.unwrap();
        store.commit(put("deleted", "again")).await.unwrap();
    }
    assert_eq!(before.revision(), revision);
    let expected: [&[u8]; 3] = [b"changed", b"deleted", b"same"];
    for name in expected {
        assert_eq!(value(&*before, name).await.as_deref(), Some(name));
    }
    assert_eq!(value(&*before, "new/0").await, None);
    assert_eq!(names(before.list(b"", None, 100).await.unwrap()), expected);
    assert_eq!(names(before.children(b"", None, 100).await.unwrap()), expected);
    let after = store.snapshot();
    assert_eq!(value(&*after, "changed").await.as_deref(), Some(&b"49"[..]));
    assert_eq!(after.list(b"new/", None, 100).await.unwrap().len(), 50);
}

pub(super) async fn a_large_folder_is_skipped_not_walked(store: Arc<dyn Store>) {
    for round in 0..20 {
        let mut batch = Batch::default();
        for number in 0..1000 {
            batch = batch.put(key(format!("big/{round:02}{number:03}")), "x");
        }
        store.commit(batch).await.unwrap();
    }
    store.commit(put("zoo", "")).await.unwrap();
    let snapshot = store.snapshot();
    let walking = std::time::Instant::now();
    assert_eq!(snapshot.list(b"big/", None, usize::MAX).await.unwrap().len(), 20_000);
    let walking = walking.elapsed();
    let seeking = std::time::Instant::now();
    for _ in 0..10 {
        let children = names(snapshot.children(b"", None, 10).await.unwrap());
        assert_eq!(children, [&b"big/"[..], b"zoo"]);
    }
    let seeking = seeking.elapsed() / 10;
    assert!(seeking * 5 < walking, "children took {seeking:?} where walking takes {walking:?}");
}
