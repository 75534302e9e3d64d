//! One transaction: a snapshot, what was read of it, and what is to be written.

use super::{Barrier, store_error};
use coffer_engine::BoxFuture;
use coffer_engine::view::{OnCommit, Plain, Txn, View};
use coffer_storage::{Revision, Snapshot};
use coffer_types::{Result, secret};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reads see one snapshot and this transaction's own writes. What was read is what the commit depends on.
pub struct Transaction {
    barrier: Arc<Barrier>,
    snapshot: Arc<dyn Snapshot>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    reads: BTreeMap<String, Option<Revision>>,
    writes: BTreeMap<String, Option<Plain>>,
    then: Vec<OnCommit>,
}

/// See [`Transaction::mark`].
#[derive(Clone)]
pub struct Mark {
    writes: BTreeMap<String, Option<Plain>>,
    then: usize,
}

/// What became of a commit.
#[derive(Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is durable and visible; these keys were written.
    Done(Vec<String>),
    /// Something that was read has changed since: run the whole call again.
    Conflict,
}

impl Transaction {
    pub(super) fn new(barrier: Arc<Barrier>, snapshot: Arc<dyn Snapshot>) -> Self {
        Self { barrier, snapshot, state: Mutex::default() }
    }

    /// All keys, for `core` itself.
    pub fn root_view(self: &Arc<Self>) -> View {
        View::new(self.clone(), "".into())
    }

    pub fn view(self: &Arc<Self>, prefix: &str) -> View {
        View::new(self.clone(), prefix.into())
    }

    /// The commit that it sees the state after.
    pub fn revision(&self) -> u64 {
        self.snapshot.revision().0
    }

    /// What was read so far is no precondition. For counting, which writes nothing.
    pub fn forget_reads(&self) {
        self.state.lock().reads.clear();
    }

    pub fn has_writes(&self) -> bool {
        !self.state.lock().writes.is_empty()
    }

    /// What was written so far, to come back to if a handler fails.
    pub fn mark(&self) -> Mark {
        let state = self.state.lock();
        Mark { writes: state.writes.clone(), then: state.then.len() }
    }

    /// Forgets what was written since.
    pub fn back_to(&self, mark: Mark) {
        let mut state = self.state.lock();
        state.writes = mark.writes;
        state.then.truncate(mark.then);
    }

    /// Makes the writes durable, if nothing that was read has changed.
    pub async fn commit(&self) -> Result<Committed> {
        let (reads, writes, then) = {
            let mut state = self.state.lock();
            if state.writes.is_empty() {
                return Ok(Committed::Done(Vec::new()));
            }
            (std::mem::take(&mut state.reads), std::mem::take(&mut state.writes), std::mem::take(&mut state.then))
        };
        let keys: Vec<String> = writes.keys().cloned().collect();
        // The plaintexts were made by this transaction and are shared with nobody yet, or copied wiped.
        let writes = writes
            .into_iter()
            .map(|(key, plain)| (key, plain.map(|p| Arc::try_unwrap(p).unwrap_or_else(|shared| (*shared).clone()))))
            .collect();
        Ok(match self.barrier.commit(reads, writes).await? {
            Some(revision) => {
                for then in then {
                    then(revision.0);
                }
                Committed::Done(keys)
            }
            None => Committed::Conflict,
        })
    }

    async fn read(&self, key: &str) -> Result<Option<Plain>> {
        if let Some(own) = self.state.lock().writes.get(key) {
            return Ok(own.clone());
        }
        let found = self.barrier.read(&*self.snapshot, key).await?;
        let revision = found.as_ref().map(|(revision, _)| *revision);
        self.state.lock().reads.entry(key.to_owned()).or_insert(revision);
        Ok(found.map(|(_, plain)| plain))
    }

    async fn merged_children(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let own: Vec<(String, bool)> = self
            .state
            .lock()
            .writes
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, value)| (key.clone(), value.is_some()))
            .collect();
        if own.is_empty() {
            let found = self.snapshot.children(prefix.as_bytes(), after.map(str::as_bytes), limit).await.map_err(store_error)?;
            return Ok(found.iter().filter_map(|k| std::str::from_utf8(k.as_bytes()).ok()).map(str::to_owned).collect());
        }
        // Own writes below the prefix: build the list from whole keys. Only calls that write and list do this.
        let mut names = std::collections::BTreeSet::new();
        for key in self.merged_keys(prefix, None, usize::MAX).await? {
            let rest = &key[prefix.len()..];
            let name = rest.find('/').map_or(rest, |slash| &rest[..=slash]);
            if !name.is_empty() && after.is_none_or(|a| name > a) {
                names.insert(name.to_owned());
            }
        }
        Ok(names.into_iter().take(limit).collect())
    }

    async fn merged_keys(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        let own: BTreeMap<String, bool> = self
            .state
            .lock()
            .writes
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(key, _)| after.is_none_or(|a| key.as_str() > a))
            .map(|(key, value)| (key.clone(), value.is_some()))
            .collect();
        let wanted = limit.saturating_add(own.len());
        let found = self.snapshot.list(prefix.as_bytes(), after.map(str::as_bytes), wanted).await.map_err(store_error)?;
        let mut keys: std::collections::BTreeSet<String> =
            found.iter().filter_map(|k| std::str::from_utf8(k.as_bytes()).ok()).map(str::to_owned).collect();
        for (key, put) in own {
            if put {
                keys.insert(key);
            } else {
                keys.remove(&key);
            }
        }
        Ok(keys.into_iter().take(limit).collect())
    }
}

impl Txn for Transaction {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Plain>>> {
        Box::pin(self.read(key))
    }

    fn put(&self, key: String, value: secret::Bytes) {
        self.state.lock().writes.insert(key, Some(Arc::new(value)));
    }

    fn delete(&self, key: String) {
        self.state.lock().writes.insert(key, None);
    }

    fn on_commit(&self, then: OnCommit) {
        self.state.lock().then.push(then);
    }

    fn children<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(self.merged_children(prefix, after, limit))
    }

    fn keys<'a>(&'a self, prefix: &'a str, after: Option<&'a str>, limit: usize) -> BoxFuture<'a, Result<Vec<String>>> {
        Box::pin(self.merged_keys(prefix, after, limit))
    }
}
