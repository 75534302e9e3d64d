//! A store that fails on demand, and a journal torn as by a power cut: for tests of what stands above a store.

use crate::{
    Batch, BoxFuture, CommitError, Entry, Key, Revision, Snapshot, Stats, Store, StoreError, Watch, embedded, watch::Publisher,
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, future::ready, io, path::Path, sync::Arc, time::Duration};

/// How one commit fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// As if another commit had come first. Nothing is applied; the store goes on.
    Conflict,
    /// The medium is full. Nothing is applied; the store goes on.
    Full,
    /// Writing fails before anything reached the medium. The store is poisoned.
    Lost,
    /// Writing fails after everything reached the medium: who committed is told of an error, and after the
    /// store was opened again finds the batch applied. The store is poisoned.
    InDoubt,
}

/// Another store, with faults. Without any it is the same store, except that its commits go one at a time.
pub struct Faults {
    inner: Arc<dyn Store>,
    state: Arc<State>,
    /// Held over a commit, so that commits have numbers and watchers hear them in order.
    committing: tokio::sync::Mutex<()>,
    publisher: Publisher,
}

#[derive(Default)]
struct State(Mutex<Plan>);

#[derive(Default)]
struct Plan {
    /// How many commits there were.
    commits: u64,
    /// What happens to later ones, by their number.
    faults: BTreeMap<u64, Fault>,
    full: bool,
    unreadable: bool,
    delay: Duration,
    poison: Option<Arc<str>>,
}

impl Faults {
    /// Wraps a store.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        let committing = tokio::sync::Mutex::new(());
        Self { inner, state: Arc::default(), committing, publisher: Publisher::new() }
    }

    /// The `number`th commit from now fails; 1 is the next one.
    pub fn fail_commit(&self, number: u64, fault: Fault) {
        let mut plan = self.state.0.lock();
        let number = plan.commits + number;
        plan.faults.insert(number, fault);
    }

    /// From now on the medium is full, or no longer so. Deletes are applied nevertheless.
    pub fn set_full(&self, full: bool) {
        self.state.0.lock().full = full;
    }

    /// From now on every read fails, or no longer.
    pub fn set_unreadable(&self, unreadable: bool) {
        self.state.0.lock().unreadable = unreadable;
    }

    /// From now on every commit takes this much longer. Needs tokio's timer.
    pub fn set_delay(&self, delay: Duration) {
        self.state.0.lock().delay = delay;
    }

    /// How many commits were tried, those that failed included.
    pub fn commits_tried(&self) -> u64 {
        self.state.0.lock().commits
    }

    async fn apply(&self, batch: Batch) -> Result<Revision, CommitError> {
        let _one_at_a_time = self.committing.lock().await;
        let (fault, delay) = self.state.next(&batch)?;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match fault {
            None => {}
            Some(Fault::Full) => return Err(CommitError::Full),
            Some(Fault::Lost) => return Err(self.poison()),
            Some(Fault::InDoubt) => {
                self.inner.commit(batch).await?;
                return Err(self.poison());
            }
            Some(Fault::Conflict) => {
                let key = match (batch.checks.first(), batch.writes.first()) {
                    (Some(check), _) => check.key.clone(),
                    (None, Some(write)) => write.key().clone(),
                    // There is nothing that could conflict.
                    (None, None) => return self.inner.commit(batch).await,
                };
                return Err(CommitError::Conflict { key });
            }
        }
        let keys: Arc<[Key]> = batch.writes.iter().map(|write| write.key().clone()).collect();
        let revision = self.inner.commit(batch).await?;
        if !keys.is_empty() {
            self.publisher.tell(revision, || keys);
        }
        Ok(revision)
    }

    fn poison(&self) -> CommitError {
        self.state.0.lock().poison = Some("an injected write error".into());
        self.publisher.close();
        CommitError::Io { cause: Arc::new(io::Error::other("injected write error")) }
    }
}

impl State {
    fn next(&self, batch: &Batch) -> Result<(Option<Fault>, Duration), CommitError> {
        let mut plan = self.0.lock();
        if let Some(reason) = &plan.poison {
            return Err(CommitError::Poisoned { reason: Arc::clone(reason) });
        }
        plan.commits += 1;
        let number = plan.commits;
        let puts = batch.writes.iter().any(|write| write.value().is_some());
        let full = (plan.full && puts).then_some(Fault::Full);
        Ok((plan.faults.remove(&number).or(full), plan.delay))
    }

    fn readable(&self) -> Result<(), StoreError> {
        let plan = self.0.lock();
        match &plan.poison {
            Some(reason) => Err(StoreError::Poisoned { reason: Arc::clone(reason) }),
            None if plan.unreadable => Err(StoreError::Io { cause: Arc::new(io::Error::other("injected read error")) }),
            None => Ok(()),
        }
    }
}

impl Store for Faults {
    fn snapshot(&self) -> Arc<dyn Snapshot> {
        Arc::new(View { inner: self.inner.snapshot(), state: Arc::clone(&self.state) })
    }

    fn commit<'a>(&'a self, batch: Batch) -> BoxFuture<'a, Result<Revision, CommitError>> {
        Box::pin(self.apply(batch))
    }

    fn watch(&self) -> Watch {
        self.publisher.watch()
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    fn stats(&self) -> Stats {
        self.inner.stats()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            let _after_those_under_way = self.committing.lock().await;
            self.publisher.close();
            self.inner.close().await
        })
    }
}

struct View {
    inner: Arc<dyn Snapshot>,
    state: Arc<State>,
}

impl View {
    fn read<'a, T: Send + 'a>(
        &'a self,
        read: impl FnOnce(&'a dyn Snapshot) -> BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        match self.state.readable() {
            Ok(()) => read(&*self.inner),
            Err(error) => Box::pin(ready(Err(error))),
        }
    }
}

impl Snapshot for View {
    fn revision(&self) -> Revision {
        self.inner.revision()
    }

    fn get<'a>(&'a self, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        self.read(|inner| inner.get(key))
    }

    fn get_now(&self, key: &[u8]) -> Option<Result<Option<Entry>, StoreError>> {
        match self.state.readable() {
            Ok(()) => self.inner.get_now(key),
            Err(error) => Some(Err(error)),
        }
    }

    fn list<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Key>, StoreError>> {
        self.read(|inner| inner.list(prefix, after, limit))
    }

    fn scan<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<(Key, Entry)>, StoreError>> {
        self.read(|inner| inner.scan(prefix, after, limit))
    }

    fn children<'a>(
        &'a self,
        prefix: &'a [u8],
        after: Option<&'a [u8]>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<Key>, StoreError>> {
        self.read(|inner| inner.children(prefix, after, limit))
    }
}

/// What a power cut leaves of the last bytes that were written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tear {
    /// The file ends before them.
    Missing,
    /// They are there, and wrong.
    Wrong,
    /// They read as zeros.
    Zero,
}

/// Tears the last `bytes` bytes off the journal of a closed embedded store. Gives how many that were: at most what
/// its last batch has, since the batches before it were durable before it was written.
///
/// # Errors
/// What the operating system reports.
pub fn tear_tail(store: &Path, bytes: u64, how: Tear) -> io::Result<u64> {
    embedded::tear_tail(store, bytes, how)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WatchError, memory::Memory};

    fn put(name: &str) -> Batch {
        Batch::default().put(Key::try_from(name).unwrap(), "")
    }

    async fn has(store: &dyn Store, name: &str) -> bool {
        store.snapshot().get(name.as_bytes()).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn the_nth_commit_fails_and_the_others_do_not() {
        let store = Faults::new(Arc::new(Memory::new()));
        store.commit(put("a")).await.unwrap();
        store.fail_commit(2, Fault::Conflict);
        store.commit(put("b")).await.unwrap();
        assert!(store.commit(put("c")).await.unwrap_err().is_conflict());
        store.commit(put("d")).await.unwrap();
        assert!(!has(&store, "c").await && has(&store, "d").await);
        assert_eq!(store.commits_tried(), 4);
    }

    #[tokio::test]
    async fn a_full_medium_takes_deletes_only() {
        let store = Faults::new(Arc::new(Memory::new()));
        store.commit(put("a")).await.unwrap();
        store.set_full(true);
        assert!(matches!(store.commit(put("b")).await, Err(CommitError::Full)));
        assert!(has(&store, "a").await, "reading goes on");
        store.commit(Batch::default().delete(Key::try_from("a").unwrap())).await.unwrap();
        store.set_full(false);
        store.commit(put("b")).await.unwrap();
    }

    #[tokio::test]
    async fn a_write_error_poisons_and_leaves_nothing_or_everything() {
        for (fault, applied) in [(Fault::Lost, false), (Fault::InDoubt, true)] {
            let inner: Arc<dyn Store> = Arc::new(Memory::new());
            let store = Faults::new(Arc::clone(&inner));
            let before = store.snapshot();
            let mut watch = store.watch();
            store.fail_commit(1, fault);
            assert!(matches!(store.commit(put("a")).await, Err(CommitError::Io { .. })));
            assert!(matches!(store.commit(put("b")).await, Err(CommitError::Poisoned { .. })));
            assert!(matches!(before.get(b"a").await, Err(StoreError::Poisoned { .. })));
            assert!(matches!(before.get_now(b"a"), Some(Err(StoreError::Poisoned { .. }))));
            assert_eq!(watch.next().await, Err(WatchError::Closed));
            assert_eq!(has(&*inner, "a").await, applied);
            assert!(!has(&*inner, "b").await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_medium_delays_what_is_told_not_only_who_asked() {
        let store = Faults::new(Arc::new(Memory::new()));
        store.set_delay(Duration::from_secs(5));
        let start = tokio::time::Instant::now();
        store.commit(put("a")).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(5));
    }

    #[tokio::test]
    async fn reads_fail_while_they_must() {
        let store = Faults::new(Arc::new(Memory::new()));
        store.set_unreadable(true);
        let snapshot = store.snapshot();
        assert!(matches!(snapshot.list(b"", None, 1).await, Err(StoreError::Io { .. })));
        store.set_unreadable(false);
        assert!(snapshot.list(b"", None, 1).await.is_ok());
    }
}
