//! The embedded store and its medium: reopening, torn tails, full disks, failing writes.

use crate::load::{self, WRITERS};
use coffer_storage::{
    Batch, CommitError, Expect, Key, Revision, Store, StoreError, WatchError,
    embedded::{Embedded, OpenError, Options},
    faults::{Tear, tear_tail},
};
use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

fn open(root: &Path) -> Embedded {
    Embedded::open(root, Options::default()).unwrap()
}

fn key(text: &str) -> Key {
    Key::try_from(text).unwrap()
}

fn put(name: &str, value: &str) -> Batch {
    Batch::default().put(key(name), value.to_owned())
}

async fn write(store: &Arc<Embedded>, rounds: u64) {
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(store);
        tasks.push(tokio::spawn(async move {
            for _ in 0..rounds {
                load::write_next(&*store, writer).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn everything_is_there_after_reopening_and_revisions_go_on() {
    let root = tempfile::tempdir().unwrap();
    let mut last = Revision(0);
    for round in 0..4 {
        let store = open(root.path());
        assert_eq!(store.revision(), last);
        let made = store.commit(put("kept", &round.to_string())).await.unwrap();
        store.commit(put("passing", "")).await.unwrap();
        // The last commit leaves no entry that would remember its revision.
        last = store.commit(Batch::default().delete(key("passing"))).await.unwrap();
        drop(store);

        let store = open(root.path());
        assert_eq!(store.revision(), last);
        let snapshot = store.snapshot();
        let entry = snapshot.get(b"kept").await.unwrap().unwrap();
        assert_eq!((entry.revision, entry.value), (made, round.to_string().into()));
        assert_eq!(snapshot.list(b"", None, 10).await.unwrap(), [key("kept")]);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn one_process_at_a_time_and_a_closed_store_frees_the_directory() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let second = Embedded::open(root.path(), Options::default()).err().unwrap();
    let told = second.to_string();
    assert!(matches!(second, OpenError::Locked { holder: Some(pid), .. } if pid == std::process::id()), "{told}");
    assert!(told.contains(&format!("in use by process {}", std::process::id())), "{told}");
    let snapshot = store.snapshot();
    store.close().await.unwrap();
    // Although the closed store and a snapshot of it are still held.
    let next = open(root.path());
    assert!(matches!(snapshot.get(b"a").await, Err(StoreError::Closed)));
    assert!(matches!(store.commit(put("a", "")).await, Err(CommitError::Closed)));
    next.commit(put("a", "")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_share_syncs() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(open(root.path()));
    write(&store, 20).await;
    let stats = store.stats();
    assert_eq!(stats.commits, WRITERS * 20);
    assert!(stats.syncs * 2 <= stats.commits, "{stats:?}");
    assert!(stats.syncs > 0 && stats.disk_bytes > 0, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_takes_its_batch_and_no_more() {
    for how in [Tear::Missing, Tear::Wrong, Tear::Zero] {
        for bytes in [1, 4, 12, 13, 100, u64::MAX] {
            let root = tempfile::tempdir().unwrap();
            let store = Arc::new(open(root.path()));
            write(&store, 3).await;
            let before = store.revision();
            store.commit(put("first/a", "x").put(key("first/b"), "x")).await.unwrap();
            let last = put("last/a", "some words").put(key("last/b"), "more of them");
            let torn = store.commit(last).await.unwrap();
            store.close().await.unwrap();
            assert!(tear_tail(root.path(), bytes, how).unwrap() > 0);

            let store = open(root.path());
            let context = format!("{how:?}, {bytes} bytes");
            let snapshot = store.snapshot();
            assert_eq!(load::verify(&*snapshot, &[]).await, [3; WRITERS as usize], "{context}");
            assert_eq!(snapshot.list(b"first/", None, 9).await.unwrap().len(), 2, "{context}");
            assert_eq!(snapshot.list(b"last/", None, 9).await.unwrap(), [], "{context}");
            assert_eq!(store.revision(), Revision(before.0 + 1), "{context}");
            assert_eq!(store.commit(put("last/a", "")).await.unwrap(), torn, "{context}");
        }
    }
}

#[tokio::test]
async fn damage_before_acknowledged_commits_is_refused_not_dropped() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    for number in 0..50 {
        store.commit(put(&format!("{number}"), "a value that is easy to find")).await.unwrap();
    }
    drop(store);
    let journal = root.path().join("data/db/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let place = bytes.windows(9).position(|window| window == b"is easy t").unwrap();
    bytes[place] ^= 1;
    fs::write(&journal, bytes).unwrap();
    match Embedded::open(root.path(), Options::default()).err() {
        Some(OpenError::Damaged { path, .. }) => assert_eq!(path, journal),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_nearly_full_medium_refuses_puts_before_anything_is_written() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    let revision = store.commit(put("a", "1").put(key("b"), "1")).await.unwrap();
    store.close().await.unwrap();
    let space = rustix_free(root.path());

    let nearly = Options { reserve_bytes: space * 2, ..Options::default() };
    let store = Embedded::open(root.path(), nearly).unwrap();
    assert!(matches!(store.commit(put("c", "1")).await, Err(CommitError::Full)));
    assert!(store.commit(put("a", "2").check(key("a"), Expect::Absent)).await.unwrap_err().is_conflict());
    assert_eq!(store.commit(Batch::default().check(key("a"), Expect::At(revision))).await.unwrap(), revision);
    store.commit(Batch::default().delete(key("b"))).await.unwrap();
    assert!(store.snapshot().get(b"a").await.unwrap().is_some());
    store.close().await.unwrap();

    let quite = Options { reserve_bytes: u64::MAX, ..Options::default() };
    let store = Embedded::open(root.path(), quite).unwrap();
    assert!(matches!(store.commit(Batch::default().delete(key("a"))).await, Err(CommitError::Full)));
    store.close().await.unwrap();

    let store = open(root.path());
    assert_eq!(store.snapshot().list(b"", None, 9).await.unwrap(), [key("a")]);
    store.commit(put("c", "1")).await.unwrap();
}

fn rustix_free(path: &Path) -> u64 {
    let space = rustix::fs::statvfs(path).unwrap();
    space.f_bavail * space.f_frsize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_merging_fails_commits_are_refused_and_never_hang() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(open(root.path()));
    let mut watch = store.watch();
    // Tables can no longer be written, while the journal can.
    let tables = root.path().join("data/db/keyspaces/1/tables");
    fs::remove_dir(&tables).unwrap();
    let mut acknowledged = 0;
    let refused = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            let batch = Batch::default().put(key(&format!("{acknowledged:06}")), vec![7; 1 << 20]);
            match store.commit(batch).await {
                Ok(_) => acknowledged += 1,
                Err(error) => break error,
            }
        }
    })
    .await
    .expect("a commit hangs");
    assert!(matches!(refused, CommitError::Poisoned { .. }), "{refused}");
    assert!(matches!(store.snapshot().get(b"000000").await, Err(StoreError::Poisoned { .. })));
    while let Ok(_) | Err(WatchError::Lagged(_)) = watch.next().await {}
    assert_eq!(watch.next().await, Err(WatchError::Closed));
    store.close().await.unwrap();
    fs::create_dir(&tables).unwrap();
    let store = open(root.path());
    let found = store.snapshot().list(b"", None, usize::MAX).await.unwrap();
    assert_eq!(found.len(), acknowledged, "what was acknowledged is in the journal");
}

const LIMITED: &str = "COFFER_LIMITED_DIRECTORY";

/// The system refuses to let the journal grow: to the store, what a full disk or a failing one is.
#[tokio::test]
async fn a_failed_write_poisons_and_only_what_was_acknowledged_counts() {
    let root = tempfile::tempdir().unwrap();
    let store = open(root.path());
    store.commit(put("before", "")).await.unwrap();
    store.close().await.unwrap();
    // The signal that comes with such a refusal is ignored from the shell on, so that the write just fails.
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact embedded::limited_process --nocapture"])
        .arg(std::env::current_exe().unwrap())
        .env(LIMITED, root.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{told}{}", String::from_utf8_lossy(&child.stderr));
    let acknowledged: u32 = told.lines().find_map(|line| line.strip_prefix("acknowledged ")).unwrap().parse().unwrap();
    assert!(acknowledged > 10);

    let store = open(root.path());
    let found = store.snapshot().list(b"n/", None, usize::MAX).await.unwrap().len();
    let expected = acknowledged as usize..=acknowledged as usize + 1;
    assert!(expected.contains(&found), "{found} found, {acknowledged} acknowledged, at most one in doubt");
    store.commit(put("after", "")).await.unwrap();
}

/// Not a test but the process of the one above; alone it does nothing.
#[tokio::test]
async fn limited_process() {
    let Some(directory) = std::env::var_os(LIMITED) else { return };
    let store = open(Path::new(&directory));
    let limit = rustix::process::Rlimit { current: Some(1 << 20), maximum: None };
    rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        let batch = Batch::default().put(key(&format!("n/{acknowledged:05}")), vec![7; 10_000]);
        match store.commit(batch).await {
            Ok(_) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, CommitError::Io { .. }), "{error:?}");
    for batch in [put("small", ""), Batch::default().delete(key("before")), Batch::default()] {
        let refused = store.commit(batch).await;
        assert!(matches!(refused, Err(CommitError::Poisoned { .. })), "{refused:?}");
    }
    assert!(matches!(store.snapshot().get(b"before").await, Err(StoreError::Poisoned { .. })));
    assert_eq!(store.watch().next().await, Err(WatchError::Closed));
    println!("\nacknowledged {acknowledged}");
}

/// More than the memtables and a journal hold, so that tables are written, merged and read, and a journal is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_journal_is_kept_and_the_log_stays_bounded() {
    let root = tempfile::tempdir().unwrap();
    let store = Arc::new(open(root.path()));
    let value = |number: u32| vec![number as u8; 60_000 + number as usize];
    for round in 0..150 {
        let mut batch = Batch::default();
        for number in round * 12..(round + 1) * 12 {
            batch = batch.put(key(&format!("{number:05}")), value(number % 300));
        }
        store.commit(batch.delete(key(&format!("{:05}", round * 6)))).await.unwrap();
    }
    let stats = store.stats();
    assert!(stats.log_bytes < 200 << 20, "{stats:?}");
    let revision = store.revision();
    drop(store);
    let store = open(root.path());
    assert_eq!(store.revision(), revision);
    let snapshot = store.snapshot();
    for number in 0..1800 {
        let entry = snapshot.get(format!("{number:05}").as_bytes()).await.unwrap();
        let deleted = number % 6 == 0 && number < 900;
        assert_eq!(entry.is_none(), deleted, "{number}");
        if let Some(entry) = entry {
            assert!(entry.value == value(number % 300), "{number}");
        }
    }
}
