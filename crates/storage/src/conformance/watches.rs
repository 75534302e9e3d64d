//! Watching: order, visibility, and being told what was missed.

use super::{key, put};
use crate::{Batch, Committed, Expect, Revision, Store, WatchError};
use std::sync::Arc;

pub(super) async fn commits_are_told_in_order_after_they_are_visible(store: Arc<dyn Store>) {
    let mut watch = store.watch();
    let watching = Arc::clone(&store);
    let watcher = tokio::spawn(async move {
        let mut told = Vec::new();
        while told.len() < 200 {
            let committed = watch.next().await.unwrap();
            let seen = watching.snapshot().revision();
            assert!(seen >= committed.revision, "told {committed:?} while snapshots are at {seen:?}");
            told.push(committed);
        }
        told
    });
    let mut tasks = Vec::new();
    for task in 0..20 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let mut done = Vec::new();
            for round in 0..10 {
                let (put_key, deleted) = (key(format!("{task}/{round}")), key("shared"));
                let batch = Batch::default().put(put_key.clone(), "").delete(deleted.clone());
                let revision = store.commit(batch).await.unwrap();
                done.push(Committed { revision, keys: [put_key, deleted].into() });
            }
            done
        }));
    }
    let mut done = Vec::new();
    for task in tasks {
        done.extend(task.await.unwrap());
    }
    done.sort_by_key(|committed| committed.revision);
    assert_eq!(watcher.await.unwrap(), done);
}

pub(super) async fn what_did_not_happen_is_not_told(store: Arc<dyn Store>) {
    store.commit(put("a", "before")).await.unwrap();
    let mut watch = store.watch();
    assert_eq!(watch.next_now(), Ok(None), "a watch tells only what comes after it");
    store.commit(put("a", "x").check(key("a"), Expect::Absent)).await.unwrap_err();
    store.commit(Batch::default().check(key("a"), Expect::At(Revision(1)))).await.ok();
    store.commit(Batch::default()).await.unwrap();
    assert_eq!(watch.next_now(), Ok(None));
    let revision = store.commit(put("b", "")).await.unwrap();
    // Told before the commit returned.
    assert_eq!(watch.next_now(), Ok(Some(Committed { revision, keys: [key("b")].into() })));
}

pub(super) async fn two_watchers_hear_the_same(store: Arc<dyn Store>) {
    let (mut first, mut second) = (store.watch(), store.watch());
    for round in 0..10 {
        store.commit(put(format!("{round}"), "")).await.unwrap();
    }
    for _ in 0..10 {
        assert_eq!(first.next().await.unwrap(), second.next().await.unwrap());
    }
}

pub(super) async fn who_lags_is_told_and_who_closes_ends_it(store: Arc<dyn Store>) {
    let mut watch = store.watch();
    let mut last = Revision(0);
    let mut tasks = Vec::new();
    for task in 0..64 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let mut last = Revision(0);
            for round in 0..64 {
                last = store.commit(put(format!("{task}/{round}"), "")).await.unwrap();
            }
            last
        }));
    }
    for task in tasks {
        last = last.max(task.await.unwrap());
    }
    // No kind keeps 4096 commits for one that does not listen, and none forgets one silently.
    let Err(WatchError::Lagged(missed)) = watch.next_now() else {
        panic!("a watch that missed commits did not say so");
    };
    let mut heard = 0;
    let mut newest = Revision(0);
    while let Some(committed) = watch.next_now().unwrap() {
        heard += 1;
        newest = committed.revision;
    }
    assert_eq!(heard + missed, 64 * 64);
    assert_eq!(newest, last);
    store.close().await.unwrap();
    assert_eq!(watch.next().await, Err(WatchError::Closed));
    assert_eq!(store.watch().next().await, Err(WatchError::Closed));
}
