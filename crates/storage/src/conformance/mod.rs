//! What every kind of store must do, as tests that any kind can run: `run(|| async { a new, empty store })`.
//!
//! Each case gets a store of its own and panics where the store is wrong.

#![allow(clippy::unwrap_used, reason = "a broken expectation is a failed test")]

mod commits;
mod model;
mod reads;
mod watches;

use crate::{Batch, Key, Revision, Snapshot, Store};
use std::sync::Arc;

/// Runs every case, on a tokio runtime with at least two threads.
///
/// # Panics
/// Where the store does not do what [`Store`] and [`Snapshot`] promise.
pub async fn run<F, M>(make: M)
where
    M: Fn() -> F,
    F: Future<Output = Arc<dyn Store>>,
{
    reads::an_empty_store_is_empty(make().await).await;
    reads::what_was_put_is_read_with_its_revision(make().await).await;
    reads::lists_are_ordered_paged_and_end_with_their_prefix(make().await).await;
    reads::a_list_may_start_anywhere(make().await).await;
    reads::children_are_distinct_segments(make().await).await;
    reads::children_page_by_name(make().await).await;
    reads::the_highest_bytes_have_no_successor_and_are_found(make().await).await;
    reads::keys_and_values_of_every_size(make().await).await;
    reads::a_snapshot_never_changes(make().await).await;
    reads::a_large_folder_is_skipped_not_walked(make().await).await;

    commits::checks_hold_or_nothing_happens(make().await).await;
    commits::a_check_names_the_first_key_that_conflicts(make().await).await;
    commits::a_deleted_key_is_absent_and_its_revision_never_returns(make().await).await;
    commits::writes_apply_in_order_and_the_last_wins(make().await).await;
    commits::a_batch_without_writes_only_checks(make().await).await;
    commits::what_is_too_large_is_refused_whole(make().await).await;
    commits::revisions_rise_and_are_seen_at_once(make().await).await;
    commits::no_update_is_lost_among_64_tasks(make().await).await;
    commits::one_of_many_creators_wins(make().await).await;
    commits::no_reader_sees_half_a_batch(make().await).await;
    commits::a_dropped_commit_is_whole_or_absent(make().await).await;
    commits::a_closed_store_refuses(make().await).await;

    watches::commits_are_told_in_order_after_they_are_visible(make().await).await;
    watches::what_did_not_happen_is_not_told(make().await).await;
    watches::two_watchers_hear_the_same(make().await).await;
    watches::who_lags_is_told_and_who_closes_ends_it(make().await).await;

    for seed in 1..=8 {
        model::agrees_with_an_ordered_map(make().await, seed, 150).await;
    }
}

fn key(bytes: impl AsRef<[u8]>) -> Key {
    Key::try_from(bytes.as_ref()).unwrap()
}

fn put(name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Batch {
    Batch::default().put(key(name), value.as_ref().to_vec())
}

async fn put_all(store: &dyn Store, names: &[&[u8]]) -> Revision {
    let mut batch = Batch::default();
    for name in names {
        batch = batch.put(key(name), name.to_vec());
    }
    store.commit(batch).await.unwrap()
}

async fn value(snapshot: &dyn Snapshot, name: impl AsRef<[u8]>) -> Option<Vec<u8>> {
    let name = name.as_ref();
    let entry = snapshot.get(name).await.unwrap();
    if let Some(now) = snapshot.get_now(name) {
        assert_eq!(now.unwrap(), entry, "get_now and get differ");
    }
    entry.map(|entry| entry.value.to_vec())
}

fn names(keys: Vec<Key>) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.to_vec()).collect()
}
