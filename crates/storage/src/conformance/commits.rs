//! Committing: preconditions, atomicity, concurrency.

use super::{key, put, put_all, value};
use crate::{Batch, CommitError, Expect, Key, Limit, MAX_BATCH, Revision, Store, StoreError};
use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

pub(super) async fn checks_hold_or_nothing_happens(store: Arc<dyn Store>) {
    let first = store.commit(put("a", "1")).await.unwrap();
    let second = store.commit(put("a", "2")).await.unwrap();
    let refused = [Expect::Absent, Expect::At(first), Expect::At(Revision(0)), Expect::At(Revision(second.0 + 1))];
    for expect in refused {
        let batch = put("b", "x").check(key("a"), expect).put(key("a"), "x");
        let error = store.commit(batch).await.unwrap_err();
        assert!(error.is_conflict(), "{expect:?}: {error}");
    }
    let error = store.commit(put("b", "x").check(key("none"), Expect::At(second))).await.unwrap_err();
    assert!(error.is_conflict());
    assert_eq!(store.revision(), second, "a refused batch makes no revision");
    assert_eq!(value(&*store.snapshot(), "a").await.as_deref(), Some(&b"2"[..]));
    assert_eq!(value(&*store.snapshot(), "b").await, None);

    let batch = put("a", "3").check(key("a"), Expect::At(second)).check(key("b"), Expect::Absent);
    let third = store.commit(batch).await.unwrap();
    assert_eq!(store.snapshot().get(b"a").await.unwrap().unwrap().revision, third);
}

pub(super) async fn a_check_names_the_first_key_that_conflicts(store: Arc<dyn Store>) {
    put_all(&*store, &[b"a", b"b"]).await;
    let batch = Batch::default()
        .check(key("z"), Expect::Absent)
        .check(key("b"), Expect::Absent)
        .check(key("a"), Expect::Absent)
        .put(key("z"), "");
    match store.commit(batch).await {
        Err(CommitError::Conflict { key }) => assert_eq!(&key[..], b"b"),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn a_deleted_key_is_absent_and_its_revision_never_returns(store: Arc<dyn Store>) {
    let made = store.commit(put("a", "1")).await.unwrap();
    let deleted = store.commit(Batch::default().delete(key("a"))).await.unwrap();
    assert!(made < deleted, "a commit that only deletes has a revision too");
    assert_eq!(value(&*store.snapshot(), "a").await, None);
    assert_eq!(store.snapshot().list(b"", None, 10).await.unwrap(), []);
    let late = store.commit(put("a", "x").check(key("a"), Expect::At(made))).await;
    assert!(late.unwrap_err().is_conflict());
    let again = store.commit(put("a", "2").check(key("a"), Expect::Absent)).await.unwrap();
    assert!(deleted < again);
    let late = store.commit(put("a", "x").check(key("a"), Expect::At(made))).await;
    assert!(late.unwrap_err().is_conflict());
    store.commit(Batch::default().delete(key("never was"))).await.unwrap();
}

pub(super) async fn writes_apply_in_order_and_the_last_wins(store: Arc<dyn Store>) {
    let batch = put("a", "1").delete(key("a")).put(key("a"), "2");
    // The checks see the store before the batch.
    let batch = batch.put(key("b"), "1").delete(key("b")).check(key("a"), Expect::Absent);
    let revision = store.commit(batch).await.unwrap();
    let entry = store.snapshot().get(b"a").await.unwrap().unwrap();
    assert_eq!((&entry.value[..], entry.revision), (&b"2"[..], revision));
    assert_eq!(value(&*store.snapshot(), "b").await, None);
}

pub(super) async fn a_batch_without_writes_only_checks(store: Arc<dyn Store>) {
    let revision = store.commit(put("a", "1")).await.unwrap();
    assert_eq!(store.commit(Batch::default()).await.unwrap(), revision);
    let holds = Batch::default().check(key("a"), Expect::At(revision));
    assert_eq!(store.commit(holds).await.unwrap(), revision);
    let fails = Batch::default().check(key("a"), Expect::Absent);
    assert!(store.commit(fails).await.unwrap_err().is_conflict());
    assert_eq!(store.revision(), revision);
}

pub(super) async fn what_is_too_large_is_refused_whole(store: Arc<dyn Store>) {
    let batch = put("small", "1").put(key("large"), vec![0; MAX_BATCH]);
    let size = batch.size();
    match store.commit(batch).await {
        Err(CommitError::TooLarge { what: Limit::Batch, size: told, limit: MAX_BATCH }) => {
            assert_eq!(told, size);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(value(&*store.snapshot(), "small").await, None);
    assert_eq!(store.revision(), Revision(0));
}

pub(super) async fn revisions_rise_and_are_seen_at_once(store: Arc<dyn Store>) {
    let mut tasks = Vec::new();
    for task in 0..16 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let mut revisions = Vec::new();
            for round in 0..25 {
                let name = format!("{task}/{round}");
                let revision = store.commit(put(&name, "")).await.unwrap();
                let snapshot = store.snapshot();
                assert!(snapshot.revision() >= revision);
                let entry = snapshot.get(name.as_bytes()).await.unwrap().unwrap();
                assert_eq!(entry.revision, revision);
                revisions.push(revision);
            }
            assert!(revisions.is_sorted());
            revisions
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.unwrap());
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 16 * 25, "two commits had one revision");
    assert_eq!(all.last(), Some(&store.revision()));
}

pub(super) async fn no_update_is_lost_among_64_tasks(store: Arc<dyn Store>) {
    const TASKS: u64 = 64;
    const ROUNDS: u64 = 10;
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let counter = key(format!("counter/{}", task % 2));
            for _ in 0..ROUNDS {
                while !increment(&*store, &counter).await {}
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for counter in ["counter/0", "counter/1"] {
        let found = value(&*store.snapshot(), counter).await.unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), (TASKS / 2 * ROUNDS).to_string());
    }
}

async fn increment(store: &dyn Store, counter: &Key) -> bool {
    let found = store.snapshot().get(counter).await.unwrap();
    let (expect, count) = match &found {
        None => (Expect::Absent, 0),
        Some(entry) => {
            let text = std::str::from_utf8(&entry.value).unwrap();
            (Expect::At(entry.revision), text.parse::<u64>().unwrap())
        }
    };
    let batch = Batch::default().check(counter.clone(), expect);
    match store.commit(batch.put(counter.clone(), (count + 1).to_string())).await {
        Ok(_) => true,
        Err(error) => {
            assert!(error.is_conflict(), "{error}");
            false
        }
    }
}

pub(super) async fn one_of_many_creators_wins(store: Arc<dyn Store>) {
    for round in 0..10 {
        let mut tasks = Vec::new();
        for task in 0..32 {
            let store = Arc::clone(&store);
            tasks.push(tokio::spawn(async move {
                let name = key(format!("{round}"));
                let batch = Batch::default().check(name.clone(), Expect::Absent);
                store.commit(batch.put(name, task.to_string())).await.is_ok().then_some(task)
            }));
        }
        let mut winners = Vec::new();
        for task in tasks {
            winners.extend(task.await.unwrap());
        }
        assert_eq!(winners.len(), 1);
        let found = value(&*store.snapshot(), round.to_string()).await.unwrap();
        assert_eq!(found, winners[0].to_string().as_bytes());
    }
}

pub(super) async fn no_reader_sees_half_a_batch(store: Arc<dyn Store>) {
    let keys: Vec<Key> = (0..40).map(|n| key(format!("k{n}"))).collect();
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = Vec::new();
    for _ in 0..3 {
        let (store, done, keys) = (Arc::clone(&store), Arc::clone(&done), keys.clone());
        readers.push(tokio::spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let snapshot = store.snapshot();
                let first = value(&*snapshot, &keys[0]).await;
                for key in &keys {
                    assert_eq!(value(&*snapshot, key).await, first, "half a batch");
                }
                let scanned = snapshot.scan(b"k", None, 100).await.unwrap();
                assert!(scanned.is_empty() || scanned.len() == keys.len());
                assert!(scanned.iter().all(|(_, entry)| Some(&entry.value[..]) == first.as_deref()));
                tokio::task::yield_now().await;
            }
        }));
    }
    for round in 0..60 {
        let mut batch = Batch::default();
        for key in &keys {
            batch = batch.put(key.clone(), round.to_string());
        }
        store.commit(batch).await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

pub(super) async fn a_dropped_commit_is_whole_or_absent(store: Arc<dyn Store>) {
    for round in 0..20 {
        let mut commit = store.commit(put(format!("a{round}"), "1").put(key(format!("b{round}")), "1"));
        poll_fn(|context| {
            // Whether it is done or not, it is dropped.
            drop(commit.as_mut().poll(context));
            Poll::Ready(())
        })
        .await;
        drop(commit);
    }
    // A later commit of the same store comes after all of them.
    store.commit(put("end", "")).await.unwrap();
    let snapshot = store.snapshot();
    for round in 0..20 {
        let a = value(&*snapshot, format!("a{round}")).await;
        assert_eq!(a, value(&*snapshot, format!("b{round}")).await);
    }
}

pub(super) async fn a_closed_store_refuses(store: Arc<dyn Store>) {
    let mut under_way = Vec::new();
    for number in 0..16 {
        let store = Arc::clone(&store);
        under_way.push(tokio::spawn(async move { store.commit(put(format!("{number}"), "")).await }));
    }
    store.close().await.unwrap();
    store.close().await.unwrap();
    for commit in under_way {
        let result = commit.await.unwrap();
        assert!(matches!(result, Ok(_) | Err(CommitError::Closed)), "{result:?}");
    }
    assert!(matches!(store.commit(put("a", "")).await, Err(CommitError::Closed)));
    // What memory holds may be read on; a medium that was left may not.
    let read = store.snapshot().get(b"0").await;
    assert!(matches!(read, Ok(_) | Err(StoreError::Closed)), "{read:?}");
}
